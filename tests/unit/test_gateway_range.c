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
#include "proto/etcd.h"
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

static int at_once(struct small_store *s, const struct kv_range *r, const struct form *form, struct buf *out)
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
	if (err == ERR_OK && form == &form_native)
		EQ_INT(msg_encode(out, &kv_range_result_desc, &result), ERR_OK);
	else if (err == ERR_OK)
		EQ_INT(pb_encode(out, &kv_range_result_pb, &result), ERR_OK);
	mvcc_view_end(&v);
	arena_free(&arena);
	return err;
}

/* Of an answer that is not whole, the length that is told before it. */
static void check_total(const struct range_job *j, size_t total, const struct buf *out)
{
	if (total > 0)
		EQ_INT(out->len, total);
	OK(j->kept.data == NULL);
}

static void in_step(struct range_job *j, struct step *step, const struct kv_header *header, struct buf *out,
		    struct buf *spare, size_t *total, int *err)
{
	if (j->phase < RANGE_READY)
		*err = range_job_prepare(j, step, spare);
	else if (j->phase == RANGE_EMIT)
		*err = range_job_emit(j, step, out);
	if (*err != ERR_OK || j->phase != RANGE_READY)
		return;
	if (!range_job_whole(j))
		*total = range_job_total(j, header);
	range_job_head(j, out, header, spare);
}

/* Between two steps other commands may be applied: `meanwhile` of them. */
static int in_steps(struct small_store *s, const struct kv_range *r, const struct form *form, struct buf *out,
		    uint64_t *seed, int meanwhile)
{
	struct kv_header header = {0};
	struct range_job j;
	struct buf spare = {0};
	struct sorter *sort;
	struct mvcc_view *v;
	size_t total = 0;
	int err, steps = 0;

	EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
	err = range_job_begin(&j, r, form, v);
	mvcc_view_end(&v);
	header.revision = j.latest;
	if (tap_rand(seed) % 2)
		j.keep_max = tap_rand(seed) % 2000;
	while (err == ERR_OK && j.phase != RANGE_DONE) {
		struct step step;

		if (meanwhile > 0)
			fill(s, seed, meanwhile);
		if (tap_rand(seed) % 20 == 0 && j.phase < RANGE_READY && !range_job_whole(&j))
			range_job_unkeep(&j);
		EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
		step = small_step(v, seed);
		in_step(&j, &step, &header, out, &spare, &total, &err);
		mvcc_view_end(&v);
		OK(++steps < 100000);
	}
	if (err == ERR_OK)
		check_total(&j, total, out);
	sort = range_job_end(&j);
	while (!sorter_free_some(&sort, 3))
		;
	buf_free(&spare);
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

static void compare_ranges(const struct form *form, uint64_t seed, int rounds, int meanwhile, bool compact)
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
		err = at_once(&s, &r, form, &want);
		EQ_INT(in_steps(&s, &r, form, &got, &seed, meanwhile), err);
		if (err == ERR_OK)
			complain(&r, &want, &got);
		buf_free(&want);
		buf_free(&got);
	}
	small_store_close(&s);
}

TEST(ranges_in_steps_answer_what_they_answer_at_once)
{
	compare_ranges(&form_native, 1, 3000, 0, true);
	compare_ranges(&form_etcd, 5, 3000, 0, true);
}

TEST(writes_between_the_steps_change_nothing)
{
	compare_ranges(&form_native, 2, 300, 2, false);
	compare_ranges(&form_etcd, 6, 300, 2, false);
}

/* The store is compacted when the job has come to `phase`, with something kept or nothing. */
static void compacted_in(enum range_phase phase, size_t keep_max)
{
	struct kv_range r = {.key = bytes_of("", 1), .range_end = bytes_of("", 1)};
	struct kv_header header = {0};
	struct small_store s;
	struct range_job j;
	struct mvcc_view *v;
	struct buf spare = {0}, out = {0};
	struct step step;
	size_t total;
	uint64_t seed = 3;
	int err = ERR_OK;

	small_store_open(&s);
	fill(&s, &seed, 300);
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	EQ_INT(range_job_begin(&j, &r, &form_etcd, v), ERR_OK);
	j.keep_max = keep_max;
	while (j.phase != phase || (phase == RANGE_TAKE && j.taken == 0)) {
		step = (struct step){v, 3, 100, MONO_NEVER, 0};
		in_step(&j, &step, &header, &out, &spare, &total, &err);
		EQ_INT(err, ERR_OK);
	}
	OK(phase == RANGE_EMIT || (j.taken > 0) == (keep_max > 0));
	mvcc_view_end(&v);
	fill(&s, &seed, 3);
	small_store_compact(&s, j.at + 1);
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	step = small_step(v, &seed);
	in_step(&j, &step, &header, &out, &spare, &total, &err);
	EQ_INT(err, ERR_COMPACTED);
	mvcc_view_end(&v);
	(void)range_job_end(&j);
	buf_free(&spare);
	buf_free(&out);
	small_store_close(&s);
}

TEST(a_compaction_between_the_steps_is_noticed)
{
	compacted_in(RANGE_TAKE, 1u << 20);
	compacted_in(RANGE_SIZE, 0);
	compacted_in(RANGE_SIZE, 1000);
	compacted_in(RANGE_EMIT, 0);
	compacted_in(RANGE_EMIT, 1000);
}

struct reading {
	size_t steps, rows, bytes;    /* bytes: of the answer */
	uint64_t sent;
	bool whole;
};

/* Reads all keys in steps of 10 rows. */
static struct reading read_all(struct mvcc_view *v, size_t keep_max)
{
	struct kv_range r = {.key = bytes_of("", 1), .range_end = bytes_of("", 1)};
	struct kv_header header = {0};
	struct buf spare = {0}, out = {0};
	struct reading got = {0};
	struct range_job j;
	size_t total = 0, before;
	int err = ERR_OK;

	EQ_INT(range_job_begin(&j, &r, &form_etcd, v), ERR_OK);
	j.keep_max = keep_max;
	while (j.phase != RANGE_DONE) {
		struct step step = {v, 10, 1000, MONO_NEVER, 0};

		before = j.phase == RANGE_EMIT ? out.len : 0;
		in_step(&j, &step, &header, &out, &spare, &total, &err);
		EQ_INT(err, ERR_OK);
		OK(step.looked <= 10);
		if (before > 0)
			OK(out.len - before < 1000 + sizeof(struct text) + 100);     /* and the last pair */
		OK(spare.len <= keep_max + sizeof(struct text) + 100 && j.kept.len <= keep_max + sizeof(struct text) + 100);
		got.steps++;
		got.rows += step.looked;
	}
	EQ_INT(out.len, total > 0 ? total : out.len);
	got.whole = total == 0;
	got.sent = j.sent;
	got.bytes = out.len;
	(void)range_job_end(&j);
	buf_free(&spare);
	buf_free(&out);
	return got;
}

TEST(a_step_looks_at_no_more_rows_than_it_may)
{
	struct kv_range r = {.key = bytes_of("", 1), .range_end = bytes_of("", 1)};
	struct small_store s;
	struct range_job j;
	struct mvcc_view *v;
	struct buf spare = {0};
	struct reading got;
	struct step step;
	uint64_t seed = 3;

	small_store_open(&s);
	fill(&s, &seed, 2000);
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	got = read_all(v, 0);
	EQ_INT(got.sent, mvcc_view_info(v)->keys);
	OK(got.steps >= 2 * mvcc_view_info(v)->keys / 10);
	step = (struct step){v, 1000, 1000, (mono_t){0}, 0};       /* out of time */
	EQ_INT(range_job_begin(&j, &r, &form_native, v), ERR_OK);
	EQ_INT(range_job_prepare(&j, &step, &spare), ERR_OK);
	OK(step.looked <= 64);
	(void)range_job_end(&j);
	mvcc_view_end(&v);
	buf_free(&spare);
	small_store_close(&s);
}

TEST(only_what_goes_beyond_what_is_kept_is_read_twice)
{
	enum { KEYS = 100, PAIR = 2 + 2 + 3 + 2 + 2 + 2 + 2 + 8 };       /* as etcd_pair writes these */
	struct small_store s;
	struct mvcc_view *v;
	struct reading got;
	size_t whole;
	char key[8];

	small_store_open(&s);
	for (int i = 0; i < KEYS; i++) {
		(void)snprintf(key, sizeof key, "%03d", i);
		small_store_put(&s, key, "12345678");
	}
	EQ_INT(mvcc_view_begin(s.env, &v), ERR_OK);
	got = read_all(v, KEYS * PAIR + 1);
	whole = got.bytes;
	OK(got.whole);
	OK(got.rows <= KEYS + 12);                     /* and steps that end without a row */
	for (size_t keep = KEYS * PAIR; keep > (KEYS - 1) * PAIR; keep--) {
		got = read_all(v, keep);
		OK(got.whole && got.bytes == whole);
	}
	for (size_t n = 1; n < KEYS; n++) {
		got = read_all(v, (KEYS - n) * PAIR);
		OK(!got.whole && got.bytes == whole);
		OK(got.rows >= KEYS + n && got.rows <= KEYS + n + 36);
	}
	mvcc_view_end(&v);
	small_store_close(&s);
}

TEST(etcd_s_pairs_are_written_as_the_list_of_fields_has_them)
{
	static uint8_t bytes[40000];
	uint64_t seed = 21;

	for (int i = 0; i < 5000; i++) {
		struct kv_pair p = {.key = bytes_of(bytes, tap_rand(&seed) % (i % 9 ? 200 : 40000)),
				    .value = bytes_of(bytes, tap_rand(&seed) % (i % 7 ? 200 : 40000))};
		int64_t *numbers[] = {&p.create_revision, &p.mod_revision, &p.version, &p.lease};
		struct buf want = {0}, got = {0};

		for (size_t k = 0; k < ARRAY_LEN(numbers); k++)
			*numbers[k] = tap_rand(&seed) % 4 ? (int64_t)(tap_rand(&seed) >> tap_rand(&seed) % 64) : 0;
		EQ_INT(pb_part(&want, 2, &kv_pair_pb, &p), ERR_OK);      /* RangeResponse.kvs */
		form_etcd.pair(&got, &p);
		EQ_INT(got.len, want.len);
		EQ_MEM(got.data, want.data, want.len);
		EQ_INT(form_etcd.pair_size(&p), want.len);
		buf_free(&want);
		buf_free(&got);
	}
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

TESTS = {
	T(ranges_in_steps_answer_what_they_answer_at_once),
	T(writes_between_the_steps_change_nothing),
	T(a_compaction_between_the_steps_is_noticed),
	T(a_step_looks_at_no_more_rows_than_it_may),
	T(only_what_goes_beyond_what_is_kept_is_read_twice),
	T(etcd_s_pairs_are_written_as_the_list_of_fields_has_them),
	T(reading_transactions_in_steps_answer_what_they_answer_at_once),
	T(a_transaction_that_answers_too_much_is_refused),
};
TAP_MAIN
