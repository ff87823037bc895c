/* SPDX-License-Identifier: Apache-2.0 */
/* Leases in the store: what ends what, and whose word counts. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "mvcc/lease.h"
#include "mvcc/view.h"
#include "tests/lib/store_rig.h"
#include "tests/lib/tap.h"

static struct command_result *put_lease(struct rig *r, const char *key, const char *value, int64_t lease)
{
	struct kv_put p = {.key = bytes_str(key), .value = bytes_str(value), .lease = lease};

	return rig_do(r, (struct command){.put = &p});
}

static void claim(struct rig *r, uint64_t term, uint64_t lessor)
{
	struct lessor_claim c = {term, lessor};

	rig_lessor(r, &(struct command){.claim = &c});
}

static void expire(struct rig *r, uint64_t term, uint64_t lessor, int64_t id, uint64_t granted)
{
	struct lessor_expire e = {term, lessor, id, granted};

	rig_lessor(r, &(struct command){.expire = &e});
}

static void checkpoint(struct rig *r, uint64_t lessor, uint64_t seq, int64_t id, uint64_t granted, int64_t ms)
{
	struct lessor_mark m = {id, granted, ms};
	struct lessor_checkpoint c = {r->term, lessor, seq, {&m, 1}};

	rig_lessor(r, &(struct command){.checkpoint = &c});
}

/* ERR_OK or ERR_NOT_FOUND. */
static int lease(struct rig *r, int64_t id, struct mvcc_lease *l)
{
	struct mvcc_view *v = rig_view(r);
	int rc = mvcc_view_lease(v, id, l);

	mvcc_view_end(&v);
	return rc;
}

static uint64_t grant(struct rig *r, int64_t id, int64_t ttl)
{
	uint64_t index = rig_next_index(r);

	EQ_INT(rig_grant(r, id, ttl)->error, ERR_OK);
	return index;
}

TEST(a_grant_is_kept_and_an_id_is_taken_once)
{
	struct mvcc_lease l;
	struct rig r;

	rig_open(&r, "a");
	EQ_INT(rig_grant(&r, 7, 60)->error, ERR_OK);
	EQ_INT(r.r.lease_grant->id, 7);
	EQ_INT(r.r.lease_grant->ttl, 60);
	EQ_INT(r.r.revision, 1);                  /* no key has changed */
	EQ_INT(rig_grant(&r, 7, 60)->error, ERR_LEASE_EXISTS);
	EQ_INT(rig_grant(&r, 8, 9000000001)->error, ERR_LEASE_TTL);
	EQ_INT(rig_grant(&r, 0, 5)->error, ERR_LEASE_NOT_FOUND);
	EQ_INT(rig_grant(&r, -3, -5)->error, ERR_OK);
	EQ_INT(r.r.lease_grant->ttl, 1);
	rig_restart(&r);
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.ttl_s, 60);
	EQ_INT(l.remaining_ms, 0);
	EQ_INT(lease(&r, 8, &l), ERR_NOT_FOUND);
	EQ_INT(apply_state(r.apply)->leases, 2);
	rig_close(&r);
}

TEST(a_revoke_deletes_all_keys_in_one_revision)
{
	char key[600];
	struct mvcc_lease l;
	struct rig r;

	rig_open(&r, "a");
	(void)grant(&r, 7, 60);
	for (int i = 0; i < 1000; i++) {
		/* Some too long for a row's key, so that runs of them are met. */
		(void)snprintf(key, sizeof key, "%0*d", i % 3 ? 8 : 590, i);
		EQ_INT(put_lease(&r, key, "v", 7)->error, ERR_OK);
	}
	EQ_INT(rig_put(&r, "other", "v")->error, ERR_OK);
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.keys, 1000);
	EQ_INT(rig_revoke(&r, 7)->error, ERR_OK);
	EQ_INT(r.r.revision, 1003);
	EQ_INT(apply_state(r.apply)->keys, 1);
	EQ_STR(rig_get(&r, "other", 0), "v");
	EQ_STR(rig_get(&r, "00000001", 1002), "v");
	EQ_STR(rig_get(&r, "00000001", 1003), "(none)");
	EQ_INT(rig_rows(&r, OKV_LEASE_KEYS), 0);
	EQ_INT(rig_rows(&r, OKV_LEASES), 0);
	EQ_INT(rig_revoke(&r, 7)->error, ERR_LEASE_NOT_FOUND);
	EQ_INT(r.r.revision, 1003);
	rig_close(&r);
}

TEST(a_lease_without_keys_ends_without_a_revision)
{
	struct rig r;

	rig_open(&r, "a");
	(void)grant(&r, 7, 60);
	EQ_INT(rig_revoke(&r, 7)->error, ERR_OK);
	EQ_INT(r.r.revision, 1);
	rig_close(&r);
}

TEST(a_key_belongs_to_the_lease_of_its_last_put)
{
	struct kv_put keep = {.key = bytes_str("k"), .value = bytes_str("3"), .ignore_lease = true};
	struct kv_put move = {.key = bytes_str("k"), .lease = 8, .ignore_value = true};
	struct mvcc_lease l;
	struct rig r;

	rig_open(&r, "a");
	(void)grant(&r, 7, 60);
	(void)grant(&r, 8, 60);
	EQ_INT(put_lease(&r, "k", "1", 9)->error, ERR_LEASE_NOT_FOUND);
	EQ_INT(put_lease(&r, "k", "2", 7)->error, ERR_OK);
	EQ_INT(rig_do(&r, (struct command){.put = &keep})->error, ERR_OK);
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.keys, 1);
	EQ_INT(rig_do(&r, (struct command){.put = &move})->error, ERR_OK);
	EQ_STR(rig_get(&r, "k", 0), "3");
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.keys, 0);
	EQ_INT(rig_revoke(&r, 7)->error, ERR_OK);
	EQ_STR(rig_get(&r, "k", 0), "3");
	EQ_INT(rig_put(&r, "k", "4")->error, ERR_OK);      /* no lease given: detached */
	EQ_INT(rig_revoke(&r, 8)->error, ERR_OK);
	EQ_STR(rig_get(&r, "k", 0), "4");
	rig_close(&r);
}

/* A transaction that fails half way leaves keys where they were attached. */
TEST(what_is_undone_is_attached_as_before)
{
	struct kv_put p = {.key = bytes_str("a"), .value = bytes_str("2"), .lease = 8};
	struct kv_delete d = {.key = bytes_str("b")};
	struct kv_range big = {.key = bytes_str("x"), .range_end = bytes_str("y")};
	struct kv_op ops[3] = {{.put = &p}, {.del = &d}, {.range = &big}};
	struct kv_txn txn = {.success = {ops, 3}};
	static uint8_t value[1000000];
	struct mvcc_lease l;
	struct rig r;

	rig_open(&r, "a");
	(void)grant(&r, 7, 60);
	(void)grant(&r, 8, 60);
	EQ_INT(put_lease(&r, "a", "1", 7)->error, ERR_OK);
	EQ_INT(put_lease(&r, "b", "1", 7)->error, ERR_OK);
	for (int i = 0; i < 4; i++) {
		char key[3] = {'x', (char)('0' + i), 0};
		struct kv_put fat = {.key = bytes_str(key), .value = bytes_of(value, sizeof value)};

		EQ_INT(rig_do(&r, (struct command){.put = &fat})->error, ERR_OK);
	}
	EQ_INT(rig_do(&r, (struct command){.txn = &txn})->error, ERR_RESPONSE_TOO_LARGE);
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.keys, 2);
	EQ_INT(lease(&r, 8, &l), ERR_OK);
	EQ_INT(l.keys, 0);
	EQ_INT(rig_revoke(&r, 7)->error, ERR_OK);
	EQ_STR(rig_get(&r, "a", 0), "(none)");
	EQ_STR(rig_get(&r, "b", 0), "(none)");
	rig_close(&r);
}

TEST(a_lease_takes_so_many_keys_and_no_more)
{
	struct kv_put again = {.key = bytes_str("k00000000"), .value = bytes_str("w"), .lease = 7};
	char key[16];
	struct rig r;

	rig_open(&r, NULL);
	(void)grant(&r, 7, 60);
	for (unsigned i = 0; i < LIMIT_LEASE_KEYS; i++) {
		(void)snprintf(key, sizeof key, "k%08u", i);
		EQ_INT(put_lease(&r, key, "v", 7)->error, ERR_OK);
	}
	EQ_INT(put_lease(&r, "one more", "v", 7)->error, ERR_LEASE_KEYS);
	EQ_STR(rig_get(&r, "one more", 0), "(none)");
	EQ_INT(rig_do(&r, (struct command){.put = &again})->error, ERR_OK);
	EQ_INT(rig_revoke(&r, 7)->error, ERR_OK);
	EQ_INT(apply_state(r.apply)->keys, 0);
	rig_close(&r);
}

TEST(only_the_last_claim_of_this_term_may_end_a_lease)
{
	struct mvcc_lease l;
	uint64_t granted;
	struct rig r;

	rig_open(&r, "a");
	granted = grant(&r, 7, 60);
	expire(&r, 1, 100, 7, granted);           /* nobody has claimed */
	claim(&r, 2, 100);                        /* an entry of term 1 claims nothing for term 2 */
	expire(&r, 2, 100, 7, granted);
	claim(&r, 1, 100);
	expire(&r, 1, 101, 7, granted);           /* another lessor */
	r.term = 2;
	expire(&r, 1, 100, 7, granted);           /* the leader of term 1 is one no more */
	claim(&r, 2, 200);
	expire(&r, 1, 100, 7, granted);
	expire(&r, 2, 100, 7, granted);
	claim(&r, 2, 201);                        /* leased has started anew: its forerunner's are void */
	expire(&r, 2, 200, 7, granted);
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	rig_restart(&r);
	expire(&r, 2, 201, 7, granted);
	EQ_INT(lease(&r, 7, &l), ERR_NOT_FOUND);
	rig_close(&r);
}

TEST(a_new_lease_under_an_old_id_is_not_ended_for_the_old_one)
{
	struct mvcc_lease l;
	uint64_t granted;
	struct rig r;

	rig_open(&r, "a");
	claim(&r, 1, 100);
	granted = grant(&r, 7, 60);
	EQ_INT(rig_revoke(&r, 7)->error, ERR_OK);
	(void)grant(&r, 7, 60);
	expire(&r, 1, 100, 7, granted);
	checkpoint(&r, 100, 1, 7, granted, 5);
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.remaining_ms, 0);
	rig_close(&r);
}

TEST(a_checkpoint_counts_once_and_in_order)
{
	struct mvcc_lease l;
	uint64_t granted;
	struct rig r;

	rig_open(&r, "a");
	claim(&r, 1, 100);
	granted = grant(&r, 7, 60);
	checkpoint(&r, 100, 2, 7, granted, 5000);
	checkpoint(&r, 100, 1, 7, granted, 30000);       /* overtaken on its way */
	checkpoint(&r, 100, 3, 7, granted, 60000);       /* more than there can be left */
	checkpoint(&r, 101, 4, 7, granted, 1);
	rig_restart(&r);
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.remaining_ms, 5000);
	checkpoint(&r, 100, 3, 7, granted, 0);           /* 3 has been counted */
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.remaining_ms, 5000);
	checkpoint(&r, 100, 4, 7, granted, 0);
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.remaining_ms, 0);
	claim(&r, 1, 102);
	checkpoint(&r, 102, 1, 7, granted, 7000);        /* each lessor counts for itself */
	EQ_INT(lease(&r, 7, &l), ERR_OK);
	EQ_INT(l.remaining_ms, 7000);
	rig_close(&r);
}

TEST(what_has_become_of_leases_is_told_in_order)
{
	const struct lease_event *e;
	uint64_t granted;
	struct rig r;
	size_t n;

	rig_open(&r, "a");
	claim(&r, 1, 100);
	granted = grant(&r, 7, 60);
	EQ_INT(rig_grant(&r, 7, 60)->error, ERR_LEASE_EXISTS);
	EQ_INT(put_lease(&r, "k", "v", 7)->error, ERR_OK);
	checkpoint(&r, 100, 1, 7, granted, 5000);
	EQ_INT(rig_revoke(&r, 7)->error, ERR_OK);
	e = apply_lease_events(r.apply, &n);
	EQ_INT(n, 3);
	OK(e[0].id == 7 && e[0].ttl_s == 60 && e[0].remaining_ms == 0 && !e[0].gone && e[0].granted == granted);
	OK(e[1].id == 7 && e[1].remaining_ms == 5000 && !e[1].gone);
	OK(e[2].id == 7 && e[2].gone);
	apply_lease_told(r.apply);
	(void)apply_lease_events(r.apply, &n);
	EQ_INT(n, 0);
	rig_close(&r);
}

TEST(leases_and_keys_are_read_page_by_page)
{
	struct mvcc_lease page[3];
	struct bytes keys[4];
	struct mvcc_view *v;
	char key[16];
	struct rig r;
	int64_t after = 0;
	size_t n, total = 0;
	bool more = true;

	rig_open(&r, "a");
	for (int64_t id = -4; id <= 4; id++)
		if (id != 0)
			(void)grant(&r, id, 60);
	for (int i = 0; i < 10; i++) {
		(void)snprintf(key, sizeof key, "k%d", i);
		EQ_INT(put_lease(&r, key, "v", 4)->error, ERR_OK);
	}
	v = rig_view(&r);
	do {
		EQ_INT(mvcc_view_leases(v, after, page, 3, &n), ERR_OK);
		total += n;
		after = n > 0 ? page[n - 1].id : 0;
	} while (n == 3);
	EQ_INT(total, 8);
	EQ_INT(after, -1);        /* negative ids come last */
	EQ_INT(mvcc_view_leases(v, -1, page, 3, &n), ERR_OK);
	EQ_INT(n, 0);
	total = 0;
	for (struct bytes last = {NULL, 0}; more; last = keys[n - 1]) {
		EQ_INT(mvcc_view_lease_keys(v, 4, last, 100, keys, 4, &n, &more), ERR_OK);
		OK(n > 0);
		total += n;
	}
	EQ_INT(total, 10);
	EQ_INT(mvcc_view_lease_keys(v, 4, bytes_of(NULL, 0), 3, keys, 4, &n, &more), ERR_OK);
	OK(n == 2 && more);       /* the bytes are full */
	EQ_INT(mvcc_view_lease_keys(v, 3, bytes_of(NULL, 0), 100, keys, 4, &n, &more), ERR_OK);
	OK(n == 0 && !more);
	mvcc_view_end(&v);
	rig_close(&r);
}

TESTS = {
	T(a_grant_is_kept_and_an_id_is_taken_once),
	T(a_revoke_deletes_all_keys_in_one_revision),
	T(a_lease_without_keys_ends_without_a_revision),
	T(a_key_belongs_to_the_lease_of_its_last_put),
	T(what_is_undone_is_attached_as_before),
	T(a_lease_takes_so_many_keys_and_no_more),
	T(only_the_last_claim_of_this_term_may_end_a_lease),
	T(a_new_lease_under_an_old_id_is_not_ended_for_the_old_one),
	T(a_checkpoint_counts_once_and_in_order),
	T(what_has_become_of_leases_is_told_in_order),
	T(leases_and_keys_are_read_page_by_page),
};
TAP_MAIN
