/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges and transactions read in small steps, each in a view of its own, must answer byte for
 * byte what the store's own reader answers at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "gatewayd/range_job.h"
#include "gatewayd/txn_job.h"
#include "mvcc/kv_check.h"
#include "tests/lib/small_store.h"
#include "tests/lib/tap.h"

static struct step small_step(struct mvcc_view *v, uint64_t *seed)
{
	uint64_t r = tap_rand(seed);

	return (struct step){v, 1 + r % 7, 1 + r / 7 % 200, MONO_NEVER, 0};
}

/* ---- random requests ---- */

struct text {
	char s[1000];
};

/* Keys below "c" are long: three levels (mvcc/layout.h), or two. */
static struct bytes any_key(uint64_t *seed, struct text *t)
{
	uint64_t r = tap_rand(seed);
	char first = (char)('a' + r / 10 % 5);
	int n = first != 'c' ? 0 : r / 50 % 2 ? 950 : 700;

	memset(t->s, first, (size_t)n);
	if (r % 10 == 0)
		(void)snprintf(t->s + n, sizeof t->s - (size_t)n, "%c", first);
	else
		(void)snprintf(t->s + n, sizeof t->s - (size_t)n, "%c/%02u", first, (unsigned)(r / 100 % 40));
	return bytes_str(t->s);
}

static struct bytes any_end(uint64_t *seed, struct text *t)
{
	uint64_t r = tap_rand(seed) % 5;

	if (r == 0)
		return bytes_of(NULL, 0);
	if (r == 1)
		return bytes_of("", 1);         /* one zero byte */
	return any_key(seed, t);
}

static int64_t any_revision(uint64_t *seed, int64_t latest)
{
	return tap_rand(seed) % 3 ? 0 : (int64_t)(tap_rand(seed) % (uint64_t)(latest + 3)) - 1;
}

static void any_range(struct kv_range *r, uint64_t *seed, int64_t latest, struct text t[2])
{
	*r = (struct kv_range){.key = any_key(seed, &t[0]), .range_end = any_end(seed, &t[1])};
	if (tap_rand(seed) % 4 == 0)
		r->key = bytes_of("", 1);
	r->limit = tap_rand(seed) % 2 ? (int64_t)(tap_rand(seed) % 40) : 0;
	r->revision = any_revision(seed, latest);
	if (tap_rand(seed) % 2) {
		r->sort_order = tap_rand(seed) % 3;
		r->sort_target = tap_rand(seed) % 5;
	}
	r->keys_only = tap_rand(seed) % 4 == 0;
	r->count_only = tap_rand(seed) % 8 == 0;
	if (tap_rand(seed) % 3)
		return;
	r->min_mod_revision = any_revision(seed, latest);
	r->max_mod_revision = any_revision(seed, latest);
	r->min_create_revision = any_revision(seed, latest);
	r->max_create_revision = any_revision(seed, latest);
}

static void fill(struct small_store *s, uint64_t *seed, int steps)
{
	struct text k, e, v;

	for (int i = 0; i < steps; i++) {
		(void)any_key(seed, &k);
		(void)snprintf(v.s, sizeof v.s, "%u", (unsigned)(tap_rand(seed) % 1000));
		if (tap_rand(seed) % 8 == 0)
			small_store_delete(s, k.s, tap_rand(seed) % 20 ? "" : (any_key(seed, &e), e.s));
		else
			small_store_put(s, k.s, v.s);
	}
}

/* ---- both ways ---- */

static int at_once(struct small_store *s, const struct kv_range *r, struct buf *out)
{
	struct mvcc_view *v;
	struct kv_range_result result;
	struct arena arena;
	int64_t at;
	int err;

	arena_init(&arena, 1u << 26);
	EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
	err = mvcc_view_revision(v, r->revision, &at);
	if (err == ERR_OK)
		err = mvcc_range(v, r, at, &arena, &result);
	if (err == ERR_OK)
		EQ_INT(msg_encode(out, &kv_range_result_desc, &result), ERR_OK);
	mvcc_view_end(&v);
	arena_free(&arena);
	return err;
}

/* Between two steps other commands may be applied: `meanwhile` of them. */
static int in_steps(struct small_store *s, const struct kv_range *r, struct buf *out, uint64_t *seed,
		    int meanwhile)
{
	struct kv_header header = {0};
	struct range_job j;
	struct buf kept = {0};
	struct sorter *sort;
	struct mvcc_view *v;
	int err, steps = 0;

	EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
	err = range_job_begin(&j, r, &form_native, v);
	mvcc_view_end(&v);
	header.revision = j.latest;
	while (err == ERR_OK && j.phase != RANGE_DONE) {
		struct step step;

		if (meanwhile > 0)
			fill(s, seed, meanwhile);
		EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
		step = small_step(v, seed);
		if (j.phase < RANGE_READY)
			err = range_job_prepare(&j, &step, &kept);
		else if (j.phase == RANGE_EMIT)
			err = range_job_emit(&j, &step, out);
		if (err == ERR_OK && j.phase == RANGE_READY)
			range_job_head(&j, out, &header, &kept);
		mvcc_view_end(&v);
		OK(++steps < 100000);
	}
	sort = range_job_end(&j);
	while (!sorter_free_some(&sort, 3))
		;
	buf_free(&kept);
	return err;
}

static void complain(const struct kv_range *r, const struct buf *want, const struct buf *got)
{
	struct buf b = {0};

	if (want->len == got->len && memcmp(want->data, got->data, got->len) == 0)
		return;
	msg_print(&b, &kv_range_desc, r);
	printf("# %.*s\n", (int)b.len, (const char *)b.data);
	buf_free(&b);
	OK(want == NULL);               /* the answers differ */
}

static void compare_ranges(uint64_t seed, int rounds, int meanwhile, bool compact)
{
	struct small_store s;

	small_store_open(&s);
	for (int i = 0; i < rounds; i++) {
		struct buf want = {0}, got = {0};
		struct text t[2];
		struct kv_range r;
		int err;

		fill(&s, &seed, i % 10 == 0 ? 40 : 1);
		if (compact && i % 200 == 199)
			small_store_compact(&s, small_store_revision(&s) - (int64_t)(tap_rand(&seed) % 100));
		any_range(&r, &seed, small_store_revision(&s), t);
		err = at_once(&s, &r, &want);
		EQ_INT(in_steps(&s, &r, &got, &seed, meanwhile), err);
		if (err == ERR_OK)
			complain(&r, &want, &got);
		buf_free(&want);
		buf_free(&got);
	}
	small_store_close(&s);
}

TEST(ranges_in_steps_answer_what_they_answer_at_once)
{
	compare_ranges(1, 4000, 0, true);
}

TEST(writes_between_the_steps_change_nothing)
{
	compare_ranges(2, 400, 2, false);
}

TEST(a_compaction_between_the_steps_is_noticed)
{
	struct kv_range r = {.key = bytes_of("", 1), .range_end = bytes_of("", 1)};
	struct small_store s;
	struct range_job j;
	struct mvcc_view *v;
	struct buf kept = {0};
	struct step step;
	uint64_t seed = 3;

	small_store_open(&s);
	fill(&s, &seed, 300);
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	EQ_INT(range_job_begin(&j, &r, &form_native, v), ERR_OK);
	step = small_step(v, &seed);
	EQ_INT(range_job_prepare(&j, &step, &kept), ERR_OK);
	OK(j.phase < RANGE_READY);
	mvcc_view_end(&v);
	fill(&s, &seed, 3);
	small_store_compact(&s, j.at + 1);
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	step = small_step(v, &seed);
	EQ_INT(range_job_prepare(&j, &step, &kept), ERR_COMPACTED);
	mvcc_view_end(&v);
	(void)range_job_end(&j);
	buf_free(&kept);
	small_store_close(&s);
}

TEST(a_step_looks_at_no_more_rows_than_it_may)
{
	struct kv_range r = {.key = bytes_of("", 1), .range_end = bytes_of("", 1)};
	struct small_store s;
	struct range_job j;
	struct mvcc_view *v;
	struct buf kept = {0}, out = {0};
	struct kv_header header = {0};
	struct step step;
	uint64_t seed = 3;
	int steps = 0;

	small_store_open(&s);
	fill(&s, &seed, 2000);
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	EQ_INT(range_job_begin(&j, &r, &form_native, v), ERR_OK);
	while (j.phase != RANGE_DONE) {
		size_t before = out.len;

		step = (struct step){v, 10, 1000, MONO_NEVER, 0};
		if (j.phase < RANGE_READY)
			EQ_INT(range_job_prepare(&j, &step, &kept), ERR_OK);
		else
			EQ_INT(range_job_emit(&j, &step, &out), ERR_OK);
		OK(step.looked <= 10);
		OK(out.len - before < 1000 + sizeof(struct text) + 100);     /* and the last pair */
		if (j.phase == RANGE_READY)
			range_job_head(&j, &out, &header, &kept);
		steps++;
	}
	EQ_INT(j.sent, mvcc_view_info(v)->keys);
	OK((size_t)steps >= 2 * mvcc_view_info(v)->keys / 10);
	step = (struct step){v, 1000, 1000, (mono_t){0}, 0};       /* out of time */
	(void)range_job_end(&j);
	EQ_INT(range_job_begin(&j, &r, &form_native, v), ERR_OK);
	EQ_INT(range_job_prepare(&j, &step, &kept), ERR_OK);
	OK(step.looked <= 64);
	(void)range_job_end(&j);
	mvcc_view_end(&v);
	buf_free(&kept);
	buf_free(&out);
	small_store_close(&s);
}

/* ---- transactions ---- */

enum { OPS = 6 };

struct random_txn {
	struct kv_txn txn;
	struct kv_compare compares[OPS];
	struct kv_op success[OPS], failure[OPS];
	struct kv_range ranges[2 * OPS];
	struct text text[4 * OPS + 2 * OPS];
	struct random_txn *nested;
};

static void any_compare(struct kv_compare *c, uint64_t *seed, int64_t latest, struct text t[2])
{
	*c = (struct kv_compare){.key = any_key(seed, &t[0]), .target = tap_rand(seed) % 5,
				 .op = tap_rand(seed) % 4};
	if (tap_rand(seed) % 3 == 0)
		c->range_end = any_end(seed, &t[1]);
	c->number = tap_rand(seed) % 2 ? 0 : (int64_t)(tap_rand(seed) % (uint64_t)latest);
	c->value = tap_rand(seed) % 2 ? bytes_str("5") : bytes_of(NULL, 0);
}

static struct random_txn *any_txn(uint64_t *seed, int64_t latest, int depth)
{
	struct random_txn *x = mem_alloc(sizeof *x);
	size_t t = 0;

	x->txn.compares.v = x->compares;
	x->txn.compares.n = tap_rand(seed) % 3;
	for (size_t i = 0; i < x->txn.compares.n; i++, t += 2)
		any_compare(&x->compares[i], seed, latest, &x->text[t]);
	x->txn.success.v = x->success;
	x->txn.failure.v = x->failure;
	x->txn.success.n = tap_rand(seed) % OPS;
	x->txn.failure.n = tap_rand(seed) % OPS;
	for (size_t i = 0; i < x->txn.success.n + x->txn.failure.n; i++, t += 2) {
		struct kv_op *op = i < x->txn.success.n ? &x->success[i] : &x->failure[i - x->txn.success.n];

		if (depth > 0 && x->nested == NULL && tap_rand(seed) % 3 == 0) {
			x->nested = any_txn(seed, latest, depth - 1);
			op->txn = &x->nested->txn;
			continue;
		}
		any_range(&x->ranges[i], seed, latest, &x->text[t]);
		if (tap_rand(seed) % 4)
			x->ranges[i].revision = 0;
		op->range = &x->ranges[i];
	}
	return x;
}

static void free_txn(struct random_txn *x)
{
	if (x == NULL)
		return;
	free_txn(x->nested);
	free(x);
}

static int txn_at_once(struct small_store *s, const struct kv_txn *txn, struct buf *out)
{
	struct mvcc_view *v;
	struct kv_txn_result result;
	struct arena arena;
	int err;

	arena_init(&arena, 1u << 26);
	EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
	err = mvcc_read_txn(v, txn, &arena, &result);
	if (err == ERR_OK)
		EQ_INT(msg_encode(out, &kv_txn_result_desc, &result), ERR_OK);
	mvcc_view_end(&v);
	arena_free(&arena);
	return err;
}

static int txn_in_steps(struct small_store *s, const struct kv_txn *txn, struct buf *out, uint64_t *seed)
{
	struct kv_header header = {0};
	struct buf kept = {0};
	struct sorter *sort = NULL;
	struct txn_job j;
	struct mvcc_view *v;
	int err = ERR_OK, steps = 0;

	EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
	txn_job_begin(&j, txn, &form_native, v, &header);
	mvcc_view_end(&v);
	while (err == ERR_OK && j.depth > 0) {
		struct step step;

		if (tap_rand(seed) % 4 == 0)
			fill(s, seed, 1);
		EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
		step = small_step(v, seed);
		err = txn_job_step(&j, &step, &kept, &sort);
		mvcc_view_end(&v);
		while (!sorter_free_some(&sort, 100))
			;
		OK(++steps < 100000);
	}
	buf_add_bytes(out, buf_bytes(&j.out));
	sort = txn_job_end(&j);
	while (!sorter_free_some(&sort, 100))
		;
	buf_free(&kept);
	return err;
}

TEST(reading_transactions_in_steps_answer_what_they_answer_at_once)
{
	struct small_store s;
	uint64_t seed = 11;
	int good = 0;

	small_store_open(&s);
	for (int i = 0; i < 3000; i++) {
		struct buf want = {0}, got = {0};
		struct random_txn *x;
		int err;

		fill(&s, &seed, i % 10 == 0 ? 30 : 1);
		if (i % 500 == 499)
			small_store_compact(&s, small_store_revision(&s) - 20);
		x = any_txn(&seed, small_store_revision(&s), 3);
		EQ_INT(kv_check_txn(&x->txn), ERR_OK);
		err = txn_at_once(&s, &x->txn, &want);
		EQ_INT(txn_in_steps(&s, &x->txn, &got, &seed), err);
		if (err == ERR_OK) {
			EQ_INT(got.len, want.len);
			EQ_MEM(got.data, want.data, want.len);
			good++;
		}
		buf_free(&want);
		buf_free(&got);
		free_txn(x);
	}
	OK(good > 1000);
	small_store_close(&s);
}

TEST(a_transaction_that_answers_too_much_is_refused)
{
	static char value[100001];
	struct kv_range all = {.key = bytes_of("", 1), .range_end = bytes_of("", 1)};
	struct kv_op ops[30];
	struct kv_txn txn = {.success = {ops, 30}};
	struct small_store s;
	struct txn_job j;
	struct kv_header header = {0};
	struct mvcc_view *v;
	struct buf kept = {0};
	struct sorter *sort;
	struct step step;
	int err = ERR_OK;

	memset(value, 'v', sizeof value - 1);
	memset(ops, 0, sizeof ops);
	small_store_open(&s);
	for (int i = 0; i < 10; i++)
		small_store_put(&s, (char[]){(char)('a' + i), 0}, value);
	for (size_t i = 0; i < 30; i++)
		ops[i].range = &all;
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	txn_job_begin(&j, &txn, &form_native, v, &header);
	while (err == ERR_OK && j.depth > 0) {
		step_begin(&step, v, MONO_NEVER);
		err = txn_job_step(&j, &step, &kept, &sort);
		OK(txn_job_bytes(&j) <= LIMIT_TXN_RESPONSE_BYTES + 2 * LIMIT_REQUEST_BYTES);
	}
	EQ_INT(err, ERR_RESPONSE_TOO_LARGE);
	(void)txn_job_end(&j);
	mvcc_view_end(&v);
	buf_free(&kept);
	small_store_close(&s);
}

/* ---- sorting ---- */

struct number {
	int64_t mod;
	char key[12];
};

static int by_mod(const void *a, const void *b)
{
	const struct number *x = a, *y = b;

	if (x->mod != y->mod)
		return x->mod < y->mod ? -1 : 1;
	return strcmp(x->key, y->key);
}

static void sort_numbers(size_t n, size_t max)
{
	struct sorter *s = sorter_new(KV_SORT_MOD, false, max);
	struct number *v = mem_array(n + 1, sizeof *v);
	uint64_t seed = n;

	for (size_t i = 0; i < n; i++) {
		struct kv_pair p = {.mod_revision = (int64_t)(tap_rand(&seed) % (n / 2 + 1))};

		v[i].mod = p.mod_revision;
		(void)snprintf(v[i].key, sizeof v[i].key, "%zu", i);
		p.key = bytes_str(v[i].key);
		EQ_INT(sorter_add(s, &p), ERR_OK);
	}
	qsort(v, n, sizeof *v, by_mod);
	while (!sorter_order(s, 7))
		;
	EQ_INT(s->n, max && max < n ? max : n);
	for (size_t i = 0; i < s->n; i++)
		OK(bytes_eq(sorter_key(s, i), bytes_str(v[i].key)));
	while (!sorter_free_some(&s, 5))
		;
	OK(s == NULL);
	free(v);
}

TEST(rows_come_out_in_order)
{
	for (size_t n = 0; n < 60; n++)
		for (size_t max = 0; max < 60; max += 7)
			sort_numbers(n, max);
	sort_numbers(20000, 0);
	sort_numbers(20000, 100);
}

TEST(sorting_holds_no_more_than_its_limits)
{
	static uint8_t big[1u << 20];
	struct sorter *s = sorter_new(KV_SORT_VALUE, false, 0);
	struct kv_pair p = {.key = bytes_str("k"), .value = bytes_of(big, sizeof big)};
	int err = ERR_OK;
	size_t n = 0;

	while ((err = sorter_add(s, &p)) == ERR_OK)
		n++;
	EQ_INT(err, ERR_SORT_TOO_LARGE);
	EQ_INT(n, LIMIT_GATEWAY_SORT_BYTES / sizeof big - 1);
	while (!sorter_free_some(&s, 100))
		;
	s = sorter_new(KV_SORT_VALUE, false, 10);     /* a limit bounds it */
	for (int i = 0; i < 1000; i++)
		EQ_INT(sorter_add(s, &p), ERR_OK);
	OK(s->bytes < 11 * sizeof big);
	while (!sorter_free_some(&s, 100))
		;
}

TESTS = {
	T(ranges_in_steps_answer_what_they_answer_at_once),
	T(writes_between_the_steps_change_nothing),
	T(a_compaction_between_the_steps_is_noticed),
	T(a_step_looks_at_no_more_rows_than_it_may),
	T(reading_transactions_in_steps_answer_what_they_answer_at_once),
	T(a_transaction_that_answers_too_much_is_refused),
	T(rows_come_out_in_order),
	T(sorting_holds_no_more_than_its_limits),
};
TAP_MAIN
