/* SPDX-License-Identifier: Apache-2.0 */
/* Leases in the simulator: part of sim_int.h, which includes this. */
#ifndef QUORATE_SIM_LEASE_H
#define QUORATE_SIM_LEASE_H

#include "clnt/lease_clnt.h"
#include "leased/core/lessor.h"
#include "proto/link_leases.h"
#include "proto/link_lessor.h"

struct sim_leased {
	struct lessor *lessor;           /* NULL: down */
	mono_t due;                      /* the world's time */
	uint32_t stall_ms;               /* a fault: it is stopped when it is about to end a lease */
};

/* stored's side of its link. */
struct sim_leased_link {
	bool listing;
	int64_t after;
	uint64_t want, term, lessor, seq;
};

/* Keeps a lease alive, or does not. */
struct sim_holder {
	int64_t id, ttl_s;               /* what it holds, or asks for; id 0: nothing */
	uint64_t granted;                /* 0: not known to be granted */
	uint64_t counter;
	struct lease_ask ask;
	bool asking, granting;
	bool doubts;                     /* its id was just revoked, or granted anew: it asks what has become of it */
	int64_t sent_ns;                 /* sim_fastest when its question was asked */
};
enum { SIM_HOLDERS = 3 };

/* A lease that was granted, from there to its end. Times are sim_fastest's. */
struct sim_life {
	int64_t id, ttl_s;
	uint64_t granted;
	int64_t relied_ns;               /* until then its holder may think that it lives */
	uint64_t ended;                  /* log position; 0: not yet */
	int64_t ended_ns;
	bool expired;                    /* by a lessor, not by its holder */
};

#endif
