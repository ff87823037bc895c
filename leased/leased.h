/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of leased share. */
#ifndef QUORATE_LEASED_H
#define QUORATE_LEASED_H

#include "base/counter.h"
#include "leased/core/lessor.h"
#include "proto/link_lease.h"
#include "proto/link_leases.h"
#include "proto/link_lessor.h"
#include "rt/daemon.h"
#include "rt/link.h"

#define LEASED_COUNTERS(C) \
	C(COUNTER, asks, "keepalives and questions of this node's gatewayds") \
	C(COUNTER, asks_forwarded, "of them sent on to the leader's lessor") \
	C(COUNTER, asks_far, "keepalives and questions of other nodes' gatewayds") \
	C(COUNTER, answers, "answers given, errors included") \
	C(COUNTER, answers_homeless, "answers for gatewayds that have gone") \
	C(COUNTER, proposals, "claims, ends and checkpoints proposed") \
	C(COUNTER, refused, "of them not taken by raftd") \
	C(COUNTER, expired, "leases that have run out and ended") \
	C(COUNTER, renewed, "keepalives that gave a lease its whole TTL again") \
	C(COUNTER, rounds, "times the quorum was asked whether this node leads") \
	C(COUNTER, checkpoints, "commands with remaining times") \
	C(COUNTER, marks, "remaining times in them") \
	C(COUNTER, wakes, "dozing leases woken by a keepalive") \
	C(COUNTER, resent, "ends and wakes proposed again") \
	C(COUNTER, takeovers, "times this node's clocks were started") \
	C(GAUGE,   raftd_up, "raftd is linked") \
	C(GAUGE,   stored_up, "stored is linked") \
	C(GAUGE,   gateways, "gatewayds linked") \
	C(GAUGE,   leading, "1: this node's clocks count") \
	C(GAUGE,   term, "of the leader") \
	C(GAUGE,   leases, "leases there are") \
	C(GAUGE,   asks_waiting, "keepalives and questions not yet answered") \
	C(GAUGE,   asks_held, "of them confirmed, and waiting for stored to come as far") \
	C(GAUGE,   over, "leases that have run out and whose turn has not come") \
	C(GAUGE,   ending, "leases whose end is proposed")
COUNTER_SET(leased_counters, LEASED_COUNTERS);

enum { LEASED_GATEWAYS = 32 };

struct leased {
	struct daemon *d;
	struct lessor *lessor;
	struct leased_counters counters;
	struct loop_hook turn_end;
	struct loop_timer due;

	struct link_dialer *raft_dialer, *store_dialer;
	struct link *raft, *store;               /* NULL: down */
	struct link_server *gateway_server;
	struct link *gateways[LEASED_GATEWAYS];
	size_t n_gateways;
	struct buf commands;                     /* of the proposals being gathered */
};

/* driver.c: the life of the daemon, and the lessor's effects carried out */
int leased_open(struct daemon *d);
int leased_start(struct daemon *d);
void leased_stop(struct daemon *d);

/* raftd_ipc.c */
int leased_dial_raftd(struct leased *x);
/* stored_ipc.c */
int leased_dial_stored(struct leased *x);
/* gateway_ipc.c */
int leased_open_gateways(struct leased *x);
/* To the gatewayd of that incarnation, if it is there. At most LIMIT_BATCH_ITEMS. */
void leased_answer_gateway(struct leased *x, uint64_t gateway, struct leased_answer *v, size_t n);

/* report.c */
void leased_report(void *daemon, struct admin_reply *r);
void leased_refresh(void *daemon);

#endif
