/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leases of the store: granted, ended, which keys are attached to which, and how much time the
 * lessor has said they have left. No clock runs here (proto/lease.h says whose does).
 *
 * Results are those of the writer: ERR_OK, what the client is told, or the backend's error.
 */
#ifndef QUORATE_LEASES_H
#define QUORATE_LEASES_H

#include "mvcc/key.h"
#include "mvcc/lease.h"
#include "stored/core/effects.h"

/* What has changed, for leased: the lease as it is now. */
struct lease_event {
	int64_t id;
	int64_t ttl_s, remaining_ms;
	uint64_t granted;
	bool gone;
};

struct leases {
	struct okv_txn *txn;
	struct mvcc_state *state;
	struct effects *effects;
	struct buf row;
	struct lease_event *events;      /* of the entries since leases_told */
	size_t n, cap;
};

void leases_init(struct leases *ls);
void leases_free(struct leases *ls);
void leases_begin(struct leases *ls, struct okv_txn *txn, struct mvcc_state *state, struct effects *effects);
void leases_told(struct leases *ls);

/* ERR_OK or ERR_LEASE_NOT_FOUND. */
int leases_find(struct leases *ls, int64_t id, struct mvcc_lease *out);
/* May one more key be attached? ERR_OK, ERR_LEASE_NOT_FOUND, ERR_LEASE_KEYS. */
int leases_may_attach(struct leases *ls, int64_t id);
/* The key is no longer attached to `from` but to `to`; 0: to none. */
int leases_move(struct leases *ls, struct bytes key, struct bytes enc, int64_t from, int64_t to);
/* The same for one of the keys that go with their lease: its row of `leases` is about to go too. */
int leases_drop_key(struct leases *ls, struct bytes enc, int64_t id);

/* ERR_OK, ERR_LEASE_EXISTS, ERR_TOO_MANY_LEASES, ERR_LEASE_NOT_FOUND (id 0). index: of its entry. */
int leases_grant(struct leases *ls, const struct lease_grant *g, uint64_t index, struct lease_grant_result *out);
/* Its keys are gone already. */
int leases_remove(struct leases *ls, int64_t id);

/* term: of the entry. */
void leases_claim(struct leases *ls, const struct lessor_claim *c, uint64_t term);
/* May this lessor end that lease? */
int leases_may_expire(struct leases *ls, const struct lessor_expire *e, uint64_t term, bool *may);
int leases_checkpoint(struct leases *ls, const struct lessor_checkpoint *c, uint64_t term);

#endif
