/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd's half of the link to leased: keepalives and questions how long leases have left. A
 * state machine; see clnt.h. Asking twice is harmless, so whatever may have been lost is asked again:
 *
 *            ask             flush            answer
 *   (none) -------> QUEUED ---------> SENT ----------> done
 *                     ^  ^              | NO_LEADER and the like
 *                     |  +-- 50 ms -- DELAYED
 *                     +-- link up, LEASE_CLNT_RESEND_MS
 */
#ifndef QUORATE_LEASE_CLNT_H
#define QUORATE_LEASE_CLNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/mono.h"
#include "clnt/clnt.h"
#include "proto/link_lease.h"

enum {
	LEASE_CLNT_RESEND_MS = 1000,
	LEASE_CLNT_REFUSED_MS = 50,
	LEASE_CLNT_FLUSH_BATCHES = 16,
	LEASE_CLNT_BUCKETS = 4096
};

/* Embedded in the owner's request. */
struct lease_ask {
	struct list node;
	struct lease_ask *hash_next;
	uint64_t ctx;
	enum leased_ask_kind kind;
	int64_t id;
	mono_t moved;                   /* when it was sent or refused */
	int refused;                    /* the last refusal, or 0 */
	int64_t ttl_s, remaining_ms;    /* the answer; ttl_s 0: there is no such lease */
};

struct lease_clnt {
	struct clnt_io io;
	bool up;
	mono_t began;                   /* leased, as it says itself */
	struct list queued, sent, delayed, done;
	struct lease_ask *buckets[LEASE_CLNT_BUCKETS];
	uint64_t ctx;
	size_t n;                       /* not yet answered */
	uint64_t n_resent;
};

void lease_clnt_init(struct lease_clnt *c, const struct clnt_io *io);
void lease_clnt_free(struct lease_clnt *c);     /* nothing is asked any more */

void lease_clnt_up(struct lease_clnt *c);
void lease_clnt_down(struct lease_clnt *c);
int lease_clnt_msg(struct lease_clnt *c, const struct msg_in *in, mono_t now);

/* Sends what is due, once a turn. True: more is left that could be sent at once. */
bool lease_clnt_flush(struct lease_clnt *c, mono_t now);
mono_t lease_clnt_due(const struct lease_clnt *c);

/* ERR_OK or ERR_TOO_MANY_REQUESTS. */
int lease_clnt_ask(struct lease_clnt *c, struct lease_ask *a, enum leased_ask_kind kind, int64_t id);
/* The next one that has been answered, taken out; or NULL. */
struct lease_ask *lease_clnt_pop(struct lease_clnt *c);
/* Takes it out; the error to answer. */
int lease_clnt_give_up(struct lease_clnt *c, struct lease_ask *a);

#endif
