/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random commands against a model that could not be simpler. Three stores are fed the same log: one
 * in LMDB in long transactions with restarts, one in LMDB with a transaction per entry and hasty
 * compaction, one in memory. Every result, old revisions, events and hashes must agree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "mvcc/lease.h"
#include "mvcc/view.h"
#include "tests/lib/store_gen.h"
#include "tests/lib/store_model.h"
#include "tests/lib/store_rig.h"
#include "tests/lib/tap.h"

enum { STORES = 3, STEPS = 3000 };

struct run {
	struct gen g;
	struct model m;
	struct rig stores[STORES];
	struct arena arena;
	struct buf want, got;
	unsigned errors[128];
};

static void encode(struct buf *b, const struct msg_desc *d, const void *msg)
{
	buf_clear(b);
	EQ_INT(msg_encode(b, d, msg), ERR_OK);
}

/* What differs, in words. */
static void tell(const struct run *r, const struct msg_desc *d, const struct buf *b)
{
	struct wire w = wire_of(buf_bytes(b), WIRE_STRICT);
	struct buf text;
	struct arena arena;
	void *msg = calloc(1, d->size);

	buf_init(&text, 0);
	arena_init(&arena, 64u << 20);
	if (msg != NULL && msg_decode(&w, d, &arena, msg) == ERR_OK)
		msg_print(&text, d, msg);
	printf("# %s %.*s\n", b == &r->want ? "want" : "got ", (int)text.len, (const char *)text.data);
	buf_free(&text);
	arena_free(&arena);
	free(msg);
}

static void same(const struct run *r, const struct msg_desc *d)
{
	if (!bytes_eq(buf_bytes(&r->got), buf_bytes(&r->want))) {
		tell(r, d, &r->want);
		tell(r, d, &r->got);
	}
	EQ_INT(r->got.len, r->want.len);
	EQ_MEM(r->got.data, r->want.data, r->want.len);
}

static void next_entry(struct run *r)
{
	if (gen_below(&r->g, 40) == 0)
		r->m.term++;
	r->m.index = apply_state(r->stores[0].apply)->applied + 1;
	for (int i = 0; i < STORES; i++)
		r->stores[i].term = r->m.term;
}

/* What a lessor has written, at its time or too late, about leases that are there or were. */
static void one_lessor(struct run *r)
{
	uint64_t granted[65] = {1};
	size_t n = 1;
	struct command c;

	arena_reset(&r->arena);
	next_entry(r);
	for (size_t i = 0; i < r->m.n_leases && n < ARRAY_LEN(granted); i++)
		granted[n++] = r->m.leases[i].granted;
	gen_lessor(&r->g, &r->arena, r->m.term, granted, n, &c);
	model_lessor(&r->m, &c, &r->arena);
	for (int i = 0; i < STORES; i++)
		rig_lessor(&r->stores[i], &c);
	r->g.revision = r->m.revision;
}

static void one_command(struct run *r)
{
	struct command_result want;
	struct command c;

	arena_reset(&r->arena);
	next_entry(r);
	gen_command(&r->g, &r->arena, &c);
	model_apply(&r->m, &c, &r->arena, &want);
	encode(&r->want, &command_result_desc, &want);
	for (int i = 0; i < STORES; i++) {
		encode(&r->got, &command_result_desc, rig_do(&r->stores[i], c));
		same(r, &command_result_desc);
	}
	r->errors[want.error]++;
	r->g.revision = r->m.revision;
	r->g.compact_revision = r->m.compact_revision;
}

/* The ways to end a transaction, to restart, to compact: each store has its own. */
static void housekeeping(struct run *r)
{
	struct rig *slow = &r->stores[0], *hasty = &r->stores[1];

	if (gen_below(&r->g, 30) == 0)
		rig_commit(slow);
	if (gen_below(&r->g, 100) == 0)
		rig_restart(slow);
	rig_commit(hasty);
	if (gen_below(&r->g, 10) == 0 && apply_compacting(hasty->apply)) {
		size_t removed;

		EQ_INT(apply_begin(hasty->apply), ERR_OK);
		EQ_INT(apply_compact_step(hasty->apply, 1 + gen_below(&r->g, 50), &removed), ERR_OK);
		EQ_INT(apply_commit(hasty->apply), ERR_OK);
	}
	if (gen_below(&r->g, 200) == 0)
		rig_restart(hasty);
}

static void one_range(struct run *r, struct rig *store)
{
	struct kv_range_result want, got;
	struct kv_range range;
	struct mvcc_view *v;
	int64_t at = 0;
	int rc, want_rc;

	arena_reset(&r->arena);
	gen_range(&r->g, &range);
	want_rc = model_range(&r->m, &range, &r->arena, &want);
	v = rig_view(store);
	rc = mvcc_view_revision(v, range.revision, &at);
	if (rc == ERR_OK)
		rc = mvcc_range(v, &range, at, &r->arena, &got);
	EQ_INT(rc, want_rc);
	if (rc == ERR_OK) {
		encode(&r->want, &kv_range_result_desc, &want);
		encode(&r->got, &kv_range_result_desc, &got);
		same(r, &kv_range_result_desc);
	}
	mvcc_view_end(&v);
}

/* A scan that stops every few rows and goes on in a new view. */
static void one_scan(struct run *r, struct rig *store)
{
	struct mvcc_span span;
	struct kv_range range;
	struct kv_range_result want;
	struct mvcc_scan *scan;
	struct mvcc_view *v;
	struct kv_pair pair;
	struct buf after;
	size_t n = 0;
	int64_t at;
	int rc;

	arena_reset(&r->arena);
	gen_range(&r->g, &range);
	range = (struct kv_range){.key = range.key, .range_end = range.range_end, .revision = range.revision};
	if (model_range(&r->m, &range, &r->arena, &want) != ERR_OK)
		return;
	span = (struct mvcc_span){range.key, range.range_end};
	at = range.revision > 0 ? range.revision : r->m.revision;
	buf_init(&after, 0);
	do {
		v = rig_view(store);
		EQ_INT(mvcc_scan_begin(v, &span, at, &scan), ERR_OK);
		if (after.len > 0)
			EQ_INT(mvcc_scan_after(scan, buf_bytes(&after)), ERR_OK);
		mvcc_scan_limit(scan, gen_below(&r->g, 2) ? 1 : 1 + gen_below(&r->g, 20));
		while ((rc = mvcc_scan_next(scan, &pair)) == ERR_OK) {
			OK(n < want.kvs.n);
			OK(bytes_eq(pair.key, want.kvs.v[n].key) && bytes_eq(pair.value, want.kvs.v[n].value));
			EQ_INT(pair.mod_revision, want.kvs.v[n].mod_revision);
			n++;
		}
		if (rc == ERR_LIMIT) {
			buf_clear(&after);
			buf_add_bytes(&after, mvcc_scan_last(scan));
		}
		mvcc_scan_end(&scan);
		mvcc_view_end(&v);
	} while (rc == ERR_LIMIT);
	EQ_INT(rc, ERR_NOT_FOUND);
	EQ_INT(n, want.kvs.n);
	buf_free(&after);
}

static void one_count(struct run *r, struct rig *store)
{
	struct kv_range range;
	struct kv_range_result want;
	struct mvcc_scan *scan;
	struct kv_pair pair;
	int64_t at, count = 0, some;
	uint64_t first = gen_below(&r->g, 4);
	struct buf after;
	int rc;

	arena_reset(&r->arena);
	gen_range(&r->g, &range);
	if (model_range(&r->m, &range, &r->arena, &want) != ERR_OK)
		return;
	at = range.revision > 0 ? range.revision : r->m.revision;
	buf_init(&after, 0);
	do {
		struct mvcc_view *v = rig_view(store);
		struct mvcc_span span = {range.key, range.range_end};

		EQ_INT(mvcc_scan_begin(v, &span, at, &scan), ERR_OK);
		if (after.len > 0)
			EQ_INT(mvcc_scan_after(scan, buf_bytes(&after)), ERR_OK);
		for (; first > 0 && mvcc_scan_next(scan, &pair) == ERR_OK; first--)
			count++;
		first = 0;
		rc = mvcc_count(scan, gen_below(&r->g, 2) ? 1 : 1 + gen_below(&r->g, 20), &some);
		count += some;
		if (rc == ERR_LIMIT) {
			buf_clear(&after);
			buf_add_bytes(&after, mvcc_scan_last(scan));
		}
		mvcc_scan_end(&scan);
		mvcc_view_end(&v);
	} while (rc == ERR_LIMIT);
	EQ_INT(rc, ERR_OK);
	EQ_INT(count, want.count);
	buf_free(&after);
}

/* Every event that a watcher may ask for, against the model's versions. */
static void all_events(struct run *r, struct rig *store)
{
	int64_t from = r->m.compact_revision > 0 ? r->m.compact_revision : 0;
	struct mvcc_view *v = rig_view(store);
	struct mvcc_events *events;
	struct mvcc_event e;
	size_t want = 0, got = 0;
	struct kv_pair pair;

	for (size_t i = 0; i < r->m.n_keys; i++)
		for (size_t j = 0; j < r->m.keys[i].n; j++)
			want += r->m.keys[i].v[j].mod >= from;
	if (from > 0)
		EQ_INT(mvcc_events_begin(v, from - 1, &events), ERR_COMPACTED);
	EQ_INT(mvcc_events_begin(v, from, &events), ERR_OK);
	for (; mvcc_events_next(events, &e) == ERR_OK; got++) {
		const struct model_version *mv = NULL;

		for (size_t i = 0; i < r->m.n_keys && mv == NULL; i++)
			for (size_t j = 0; bytes_eq(r->m.keys[i].key, e.key) && j < r->m.keys[i].n; j++)
				if (r->m.keys[i].v[j].mod == e.rev)
					mv = &r->m.keys[i].v[j];
		OK(mv != NULL);
		EQ_INT(e.sub, mv->sub);
		EQ_INT(e.type == MVCC_EVENT_DELETE, mv->deleted);
		if (!mv->deleted) {
			EQ_INT(mvcc_event_pair(v, &e, &pair), ERR_OK);
			OK(bytes_eq(pair.value, mv->value) && pair.version == mv->version);
		}
	}
	EQ_INT(got, want);
	mvcc_events_end(&events);
	EQ_INT(mvcc_view_info(v)->keys, model_live(&r->m));
	mvcc_view_end(&v);
}

/* The leases, what is attached to them, and what leased has been told of them. */
static void all_leases(struct run *r, struct rig *store)
{
	struct mvcc_lease v[16];
	struct mvcc_view *view = rig_view(store);
	struct bytes got[GEN_KEYS];
	size_t n, total = 0;
	bool more;

	arena_reset(&r->arena);
	EQ_INT(mvcc_view_leases(view, 0, v, ARRAY_LEN(v), &n), ERR_OK);
	EQ_INT(n, r->m.n_leases);
	EQ_INT(apply_state(store->apply)->leases, n);
	EQ_INT(apply_state(store->apply)->lessor, r->m.lessor);
	EQ_INT(apply_state(store->apply)->lessor_seq, r->m.lessor_seq);
	for (size_t i = 0; i < n; i++) {
		struct model_lease *l = NULL;
		struct bytes *want;
		size_t n_want, n_got;

		for (size_t j = 0; j < r->m.n_leases; j++)
			if (r->m.leases[j].id == v[i].id)
				l = &r->m.leases[j];
		OK(l != NULL && (i == 0 || (uint64_t)v[i - 1].id < (uint64_t)v[i].id));
		EQ_INT(v[i].ttl_s, l->ttl);
		EQ_INT(v[i].remaining_ms, l->remaining_ms);
		EQ_INT(v[i].granted, l->granted);
		want = model_lease_keys(&r->m, l->id, &r->arena, &n_want);
		EQ_INT(v[i].keys, n_want);
		EQ_INT(mvcc_view_lease_keys(view, l->id, bytes_of(NULL, 0), 1u << 20, got, ARRAY_LEN(got), &n_got,
					    &more), ERR_OK);
		EQ_INT(n_got, n_want);
		for (size_t k = 0; k < n_got; k++)
			OK(bytes_eq(got[k], want[k]));
		total += n_got;
	}
	mvcc_view_end(&view);
	EQ_INT(rig_rows(store, OKV_LEASE_KEYS), total);
}

static void hashes_agree(struct run *r)
{
	uint8_t want[16], got[16];
	int64_t at = r->m.compact_revision > 0 ? r->m.compact_revision : 1;

	at += (int64_t)gen_below(&r->g, (uint64_t)(r->m.revision - at) + 1);
	rig_hash(&r->stores[0], at, 1000000, want);
	for (int i = 0; i < STORES; i++) {
		rig_hash(&r->stores[i], at, 1 + gen_below(&r->g, 40), got);
		EQ_MEM(got, want, 16);
		EQ_MEM(apply_state(r->stores[i].apply)->apply_hash, apply_state(r->stores[0].apply)->apply_hash, 16);
		EQ_INT(apply_state(r->stores[i].apply)->keys, model_live(&r->m));
	}
}

static void run_free(struct run *r)
{
	for (int i = 0; i < STORES; i++)
		rig_close(&r->stores[i]);
	model_free(&r->m);
	gen_free(&r->g);
	arena_free(&r->arena);
	buf_free(&r->want);
	buf_free(&r->got);
	free(r);
}

static void random_run(uint64_t seed)
{
	struct run *r = calloc(1, sizeof *r);
	char slow[32], hasty[32];

	OK(r != NULL);
	printf("# seed %llu\n", (unsigned long long)seed);
	(void)snprintf(slow, sizeof slow, "slow-%llu", (unsigned long long)seed);
	(void)snprintf(hasty, sizeof hasty, "hasty-%llu", (unsigned long long)seed);
	gen_init(&r->g, seed);
	model_init(&r->m);
	r->m.term = 1;
	r->g.revision = 1;
	arena_init(&r->arena, 64u << 20);
	rig_open(&r->stores[0], slow);
	rig_open(&r->stores[1], hasty);
	rig_open(&r->stores[2], NULL);
	for (int step = 0; step < STEPS; step++) {
		struct rig *store = &r->stores[gen_below(&r->g, STORES)];

		one_command(r);
		if (step % 3 == 0)
			one_lessor(r);
		housekeeping(r);
		one_range(r, &r->stores[1]);
		if (step % 7 == 0)
			one_range(r, store);
		if (step % 5 == 0)
			one_scan(r, store);
		if (step % 6 == 0)
			one_count(r, store);
		if (step % 100 == 0)
			all_events(r, store);
		if (step % 20 == 0)
			all_leases(r, store);
		if (step % 200 == 0)
			hashes_agree(r);
	}
	for (int i = 0; i < STORES; i++) {
		rig_compact_all(&r->stores[i], 100);
		rig_restart(&r->stores[i]);
		all_events(r, &r->stores[i]);
	}
	hashes_agree(r);
	printf("# revision %lld, errors: ", (long long)r->m.revision);
	for (unsigned i = 0; i < 128; i++)
		if (r->errors[i])
			printf("%s %u ", err_name((int)i), r->errors[i]);
	printf("\n");
	run_free(r);
}

TEST(every_answer_is_the_model_s)
{
	for (uint64_t i = 0; i < tap_rounds(1); i++)
		random_run(tap_seed(1) + i);
}

TEST(every_answer_is_the_model_s_again)
{
	random_run(tap_seed(1) + 1000);
}

TESTS = {
	T(every_answer_is_the_model_s),
	T(every_answer_is_the_model_s_again),
};
TAP_MAIN
