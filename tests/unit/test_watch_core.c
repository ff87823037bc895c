/* SPDX-License-Identifier: Apache-2.0 */
/* watchd's core by itself: the index against a list, large revisions, limits, memory. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "tests/lib/tap.h"
#include "watchd/core/watch_own.h"

enum { SPANS = 300, TEXT = 4 };

/* ---- the index ---- */

struct plain {
	char key[TEXT + 1], end[TEXT + 1];
	struct watch_span *span;
};

static struct bytes end_of(const struct plain *p)
{
	return p->end[0] == '0' ? bytes_of("", 1) : bytes_str(p->end);
}

static void random_text(uint64_t *seed, char out[TEXT + 1])
{
	size_t n = 1 + tap_rand(seed) % TEXT;

	memset(out, 0, TEXT + 1);
	for (size_t i = 0; i < n; i++)
		out[i] = (char)('a' + tap_rand(seed) % 3);
}

static void random_range(uint64_t *seed, struct plain *p)
{
	random_text(seed, p->key);
	memset(p->end, 0, sizeof p->end);
	if (tap_rand(seed) % 3 == 0)
		return;
	if (tap_rand(seed) % 10 == 0) {
		p->end[0] = '0';
		return;
	}
	do
		random_text(seed, p->end);
	while (strcmp(p->end, p->key) <= 0 && tap_rand(seed) % 20 != 0);
}

static bool plain_has(const struct plain *p, const char *key)
{
	if (p->end[0] == 0)
		return strcmp(p->key, key) == 0;
	return strcmp(key, p->key) >= 0 && (p->end[0] == '0' || strcmp(key, p->end) < 0);
}

static size_t hits;

static void count_hit(struct watch_core *c, struct watch_span *s)
{
	(void)c;
	hits += s->n;
}

TEST(the_index_finds_what_a_list_finds)
{
	for (uint64_t seed = tap_seed(1), end = seed + tap_rounds(30); seed < end; seed++) {
		uint64_t rand = seed;
		static struct plain v[SPANS];
		struct watch_index x;
		struct watch_hit hit = {count_hit, NULL};

		memset(v, 0, sizeof v);
		watch_index_init(&x, seed);
		for (int step = 0; step < 3000; step++) {
			struct plain *p = &v[tap_rand(&rand) % SPANS];
			char key[TEXT + 1];
			size_t want = 0;

			if (p->span != NULL) {
				watch_index_put(&x, p->span);
				p->span = NULL;
			} else {
				random_range(&rand, p);
				p->span = watch_index_get(&x, bytes_str(p->key), end_of(p));
				p->span->n++;
			}
			random_text(&rand, key);
			for (size_t i = 0; i < SPANS; i++)
				want += v[i].span != NULL && plain_has(&v[i], key);
			hits = 0;
			watch_index_match(&x, bytes_str(key), &hit);
			EQ_INT(hits, want);
		}
		for (size_t i = 0; i < SPANS; i++)
			if (v[i].span != NULL)
				watch_index_put(&x, v[i].span);
		watch_index_free(&x);
	}
}

/* ---- slices by hand ---- */

static const mono_t now = {1000000000};

static struct watch_core *core_new(struct watch_link **l, size_t max)
{
	struct watch_setup setup = {.seed = 7, .interval_ms = 1000, .max_watches = max};
	struct watch_core *c = watch_core_new(&setup);

	*l = watch_link_open(c, NULL);
	return c;
}

static void core_free(struct watch_core *c, struct watch_link *l)
{
	watch_core_effects_done(c);
	watch_link_close(c, &l);
	watch_core_free(&c);
}

static int create(struct watch_core *c, struct watch_link *l, uint64_t watch, uint64_t stream, const char *key,
		  const char *end, int64_t next)
{
	struct watch_create m = {.stream = stream, .watch = watch, .key = bytes_str(key),
				 .range_end = bytes_str(end), .next_rev = next};

	return watch_link_create(c, l, &m, now);
}

/* Reads `n` deletes of one revision from where the core wants, until it is full; how many it took. */
static uint32_t slice_of_deletes(struct watch_core *c, int64_t rev, uint32_t n)
{
	struct watch_pos from, at = {rev, 0};
	char key[16];
	bool head;

	OK(watch_slice_begin(c, &from, &head));
	EQ_INT(from.rev, rev);
	for (at.sub = from.sub; at.sub < n && !watch_slice_full(c, at); at.sub++) {
		struct watch_slice_event e = {.at = at, .type = WATCH_EVENT_DELETE};

		(void)snprintf(key, sizeof key, "k%06u", at.sub);
		e.kv = (struct kv_pair){.key = bytes_str(key), .mod_revision = rev};
		if (watch_slice_match(c, at, WATCH_EVENT_DELETE, e.kv.key) != 0)
			watch_slice_add(c, &e);
	}
	watch_slice_end(c, at.sub < n ? at : (struct watch_pos){rev + 1, 0}, now);
	return at.sub - from.sub;
}

TEST(a_large_revision_is_cut_and_its_end_is_told_to_all)
{
	struct watch_link *l;
	struct watch_core *c = core_new(&l, 100);
	const struct watch_out *out;
	uint32_t got = 0, slices = 0;
	size_t n, ends = 0;

	watch_core_store(c, 1, -1);
	EQ_INT(create(c, l, 1, 1, "k", "l", 2), ERR_OK);         /* all of it */
	EQ_INT(create(c, l, 2, 2, "k000003", "", 2), ERR_OK);    /* one event, in the first piece */
	watch_core_store(c, 2, -1);
	while (got < 5000) {
		got += slice_of_deletes(c, 2, 5000);
		slices++;
		n = watch_slice_out(c, &out);
		for (size_t i = 0; i < n; i++) {
			if (out[i].stream == 1)
				OK((out[i].next.sub == 0) == (got == 5000));
			ends += out[i].stream == 2 && out[i].n_events == 0 && out[i].next.rev == 3;
			if (slices == 1 && out[i].stream == 2)
				EQ_INT(out[i].n_events, 1);
		}
		watch_slice_done(c);
		watch_link_credit(c, l, 1, UINT64_MAX);
		watch_link_credit(c, l, 2, UINT64_MAX);
	}
	OK(slices > 3);
	EQ_INT(ends, 1);
	core_free(c, l);
}

/* Who was sent the beginning by another watchd is told the end by this one, though there is no more for it. */
TEST(a_watcher_that_comes_back_within_a_revision_is_told_its_end)
{
	struct watch_create m = {.stream = 2, .watch = 2, .key = bytes_str("k000003"), .next_rev = 2, .next_sub = 10,
				 .untaken = 0};
	struct watch_link *l;
	struct watch_core *c = core_new(&l, 100);
	const struct watch_out *out;
	uint32_t got = 0;
	size_t n, ends = 0;

	watch_core_store(c, 1, -1);
	EQ_INT(create(c, l, 1, 1, "k", "l", 2), ERR_OK);
	watch_core_store(c, 2, -1);
	EQ_INT(watch_link_create(c, l, &m, now), ERR_OK);
	while (got < 5000) {
		got += slice_of_deletes(c, 2, 5000);
		n = watch_slice_out(c, &out);
		for (size_t i = 0; i < n; i++) {
			OK(out[i].stream == 1 || (out[i].n_events == 0 && out[i].next.rev == 3));
			ends += out[i].stream == 2;
		}
		watch_slice_done(c);
		watch_link_credit(c, l, 1, UINT64_MAX);
		watch_link_credit(c, l, 2, UINT64_MAX);
	}
	EQ_INT(ends, 1);
	core_free(c, l);
}

/* Wherever it stands: the store is not known yet, its client has no credit, it follows the newest. */
TEST(a_watcher_of_the_future_is_told_no_progress_before_its_start)
{
	struct watch_create m = {.stream = 1, .watch = 1, .key = bytes_str("k"), .next_rev = 50,
				 .untaken = LIMIT_WATCH_STREAM_BYTES};
	const struct watch_effect *fx;
	struct watch_link *l;
	struct watch_core *c = core_new(&l, 100);
	struct watch_pos from;
	bool head;
	size_t n;

	EQ_INT(watch_link_create(c, l, &m, now), ERR_OK);
	watch_link_ask(c, l, 1, 20);
	watch_core_store(c, 20, -1);
	watch_link_ask(c, l, 1, 20);
	watch_link_credit(c, l, 1, LIMIT_WATCH_STREAM_BYTES);
	OK(!watch_slice_begin(c, &from, &head));
	watch_link_ask(c, l, 1, 20);
	n = watch_core_effects(c, &fx);
	for (size_t i = 0; i < n; i++)
		OK(fx[i].kind != WATCH_PROGRESSED);
	core_free(c, l);
}

/*
 * It followed the newest revision when the store was compacted ahead of it, and lost its credit
 * before it had read on: what it stands before may be gone by the time that it has credit again.
 */
TEST(a_watch_that_fell_behind_over_a_compaction_is_ended)
{
	struct watch_create m = {.stream = 1, .watch = 1, .key = bytes_str("k"), .next_rev = 2,
				 .untaken = LIMIT_WATCH_STREAM_BYTES};
	struct watch_slice_event e = {.at = {3, 0}, .type = WATCH_EVENT_DELETE,
				      .kv = {.key = bytes_str("k"), .mod_revision = 3}};
	const struct watch_effect *fx;
	struct watch_link *l;
	struct watch_core *c = core_new(&l, 100);
	struct watch_pos from;
	bool head;

	watch_core_store(c, 1, -1);
	EQ_INT(watch_link_create(c, l, &m, now), ERR_OK);
	watch_core_store(c, 10, 5);
	OK(watch_slice_begin(c, &from, &head) && head && from.rev == 2);
	OK(watch_slice_match(c, e.at, e.type, e.kv.key) != 0);
	watch_slice_add(c, &e);
	watch_slice_end(c, (struct watch_pos){11, 0}, now);
	watch_slice_done(c);
	watch_link_credit(c, l, 1, LIMIT_WATCH_STREAM_BYTES);
	watch_core_effects_done(c);

	OK(watch_slice_begin(c, &from, &head) && !head && from.rev == 2);
	watch_slice_end(c, from, now);
	watch_core_lost(c);
	watch_slice_done(c);
	EQ_INT(watch_core_effects(c, &fx), 1);
	OK(fx[0].kind == WATCH_CANCELED && fx[0].error == ERR_COMPACTED && fx[0].revision == 5);
	OK(!watch_slice_begin(c, &from, &head));
	core_free(c, l);
}

TEST(one_too_many_is_refused_with_the_reason)
{
	struct watch_link *l;
	struct watch_core *c = core_new(&l, 2);
	const struct watch_effect *e;

	watch_core_store(c, 10, 5);
	EQ_INT(create(c, l, 1, 1, "a", "", 11), ERR_OK);
	EQ_INT(create(c, l, 2, 1, "b", "a", 11), ERR_OK);
	EQ_INT(create(c, l, 3, 1, "b", "", 4), ERR_OK);
	EQ_INT(create(c, l, 4, 1, "b", "", 11), ERR_OK);
	EQ_INT(create(c, l, 5, 1, "b", "", 11), ERR_OK);
	EQ_INT(watch_core_effects(c, &e), 5);
	EQ_INT(e[0].kind, WATCH_PLACED);
	EQ_INT(e[1].error, ERR_WATCH_RANGE);
	EQ_INT(e[2].error, ERR_COMPACTED);
	EQ_INT(e[2].revision, 5);
	EQ_INT(e[3].kind, WATCH_PLACED);
	EQ_INT(e[4].error, ERR_TOO_MANY_WATCHES);
	core_free(c, l);
}

TEST(keys_beyond_what_watchd_may_hold_are_refused)
{
	struct watch_setup setup = {.seed = 7, .interval_ms = 1000, .max_watches = 100, .max_bytes = 10};
	struct watch_core *c = watch_core_new(&setup);
	struct watch_link *l = watch_link_open(c, NULL);
	const struct watch_effect *e;

	watch_core_store(c, 1, -1);
	EQ_INT(create(c, l, 1, 1, "four", "fove", 2), ERR_OK);
	EQ_INT(create(c, l, 2, 1, "k", "", 2), ERR_OK);
	watch_core_effects_done(c);
	EQ_INT(create(c, l, 3, 1, "twelve", "", 2), ERR_OK);
	EQ_INT(watch_core_effects(c, &e), 1);
	OK(e[0].kind == WATCH_CANCELED && e[0].watch == 3 && e[0].error == ERR_TOO_MANY_WATCHES);
	watch_core_effects_done(c);
	watch_link_cancel(c, l, 1);
	EQ_INT(create(c, l, 4, 1, "twelve", "", 2), ERR_OK);
	EQ_INT(watch_core_effects(c, &e), 1);
	EQ_INT(e[0].kind, WATCH_PLACED);
	core_free(c, l);
}

TEST(a_gatewayd_without_credit_holds_up_nobody_else)
{
	struct watch_link *slow, *fast;
	struct watch_core *c = core_new(&slow, 100);
	const struct watch_out *out;
	size_t n, slow_got = 0, fast_got = 0;

	fast = watch_link_open(c, NULL);
	watch_core_store(c, 1, -1);
	for (uint64_t i = 1; i <= 40; i++)                       /* more than one stream may owe */
		EQ_INT(create(c, slow, i, i, "k", "l", 2), ERR_OK);
	EQ_INT(create(c, fast, 1, 1, "k", "l", 2), ERR_OK);
	for (int64_t rev = 2; rev < 100; rev++) {
		watch_core_store(c, rev, -1);
		(void)slice_of_deletes(c, rev, 400);
		n = watch_slice_out(c, &out);
		for (size_t i = 0; i < n; i++)
			*(out[i].link == slow ? &slow_got : &fast_got) += out[i].cost;
		watch_slice_done(c);
		watch_core_effects_done(c);
		watch_link_credit(c, fast, 1, UINT64_MAX);
		watch_link_taken(c, fast, UINT64_MAX);
		for (uint64_t i = 1; i <= 40; i++)
			watch_link_credit(c, slow, i, UINT64_MAX);   /* the clients read, gatewayd says nothing */
	}
	OK(slow_got >= LIMIT_WATCH_LINK_BYTES && slow_got < LIMIT_WATCH_LINK_BYTES + LIMIT_WATCH_SLICE_BYTES);
	OK(fast_got > 98 * 400 * 64);
	watch_link_close(c, &fast);
	core_free(c, slow);
}

TEST(an_idle_watcher_takes_at_most_300_bytes)
{
	enum { MANY = 100000 };
	struct watch_link *l;
	struct watch_core *c = core_new(&l, MANY);
	size_t before, after;
	char key[32];

	watch_core_store(c, 1, -1);
	before = mallinfo2().uordblks;
	for (uint64_t i = 0; i < MANY; i++) {
		(void)snprintf(key, sizeof key, "/registry/pods/%08llu", (unsigned long long)i);
		EQ_INT(create(c, l, i + 1, 1 + i / 1000, key, i % 2 ? "/registry/pods0" : "", 2), ERR_OK);
		watch_core_effects_done(c);
	}
	after = mallinfo2().uordblks;
	if (after > before)                     /* 0 under a sanitizer's own allocator */
		printf("# %zu bytes each\n", (after - before) / MANY);
	OK(after - before <= (size_t)MANY * 300);
	core_free(c, l);
}

TESTS = {
	T(the_index_finds_what_a_list_finds),
	T(a_large_revision_is_cut_and_its_end_is_told_to_all),
	T(a_watcher_that_comes_back_within_a_revision_is_told_its_end),
	T(a_watcher_of_the_future_is_told_no_progress_before_its_start),
	T(a_watch_that_fell_behind_over_a_compaction_is_ended),
	T(one_too_many_is_refused_with_the_reason),
	T(keys_beyond_what_watchd_may_hold_are_refused),
	T(a_gatewayd_without_credit_holds_up_nobody_else),
	T(an_idle_watcher_takes_at_most_300_bytes),
};
TAP_MAIN
