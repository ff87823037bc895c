/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored behind its real links, with a raftd and gatewayds played by the test: what each is told,
 * what is skipped, refused, dropped, and that nobody who hangs holds up the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mvcc/mvcc.h"
#include "stored/stored.h"
#include "tests/lib/tap.h"

/* One end played by the test. */
struct end {
	struct loop *loop;               /* its own if it is to hang, else stored's */
	struct link_dialer *dialer;
	struct link_hello self, peer;
	struct link *link;
	unsigned ups, downs;
	/* a raftd's */
	struct apply_done done;
	unsigned n_done;
	/* a gatewayd's */
	struct store_progress progress;
	unsigned n_progress, n_results;
	uint64_t last_seq, last_index;
	struct command_result last;      /* its numbers only */
	struct store_status_result status;
	struct store_hash_result hash;
	uint8_t hash_bytes[16];
	unsigned n_hashes;
	/* a watchd's */
	struct store_news news;
	unsigned n_news;
};

struct world {
	struct config config;
	struct daemon d;
	struct loop *loop;
	struct end raftd, gateways[2], watchd;
	uint64_t index;                  /* of the last entry fed */
};

static void end_hello(void *arg, struct link_hello *out)
{
	struct end *e = arg;

	*out = e->self;
}

static int end_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct end *e = arg;

	e->link = l;
	e->peer = *peer;
	e->ups++;
	return ERR_OK;
}

static void end_down(void *arg, struct link *l, const char *reason)
{
	struct end *e = arg;

	(void)l;
	(void)reason;
	e->link = NULL;
	e->downs++;
}

static void end_results(struct end *e, const struct store_results *m)
{
	for (size_t i = 0; i < m->results.n; i++) {
		struct wire w = wire_of(m->results.v[i].result, WIRE_STRICT);
		struct arena arena;

		arena_init(&arena, 64u << 20);
		OK(msg_decode(&w, &command_result_desc, &arena, &e->last) == ERR_OK);
		e->last_seq = m->results.v[i].seq;
		e->last_index = m->results.v[i].index;
		e->n_results++;
		arena_free(&arena);
	}
}

static int end_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct end *e = arg;

	(void)l;
	if (in->row->desc == &apply_done_desc) {
		e->done = *(const struct apply_done *)in->msg;
		e->n_done++;
	} else if (in->row->desc == &store_results_desc) {
		end_results(e, in->msg);
	} else if (in->row->desc == &store_progress_desc) {
		e->progress = *(const struct store_progress *)in->msg;
		e->n_progress++;
	} else if (in->row->desc == &store_status_result_desc) {
		e->status = *(const struct store_status_result *)in->msg;
	} else if (in->row->desc == &store_hash_result_desc) {
		e->hash = *(const struct store_hash_result *)in->msg;
		if (e->hash.hash.len == 16)
			memcpy(e->hash_bytes, e->hash.hash.data, 16);
		e->n_hashes++;
	} else if (in->row->desc == &store_news_desc) {
		e->news = *(const struct store_news *)in->msg;
		e->n_news++;
	}
	return ERR_OK;
}

static void end_dial(struct world *w, struct end *e, enum daemon_kind kind, uint64_t incarnation)
{
	static const struct link_ops ops = {end_hello, end_up, end_msg, end_down, NULL};
	char *path = daemon_socket(&w->d, DAEMON_STORED, kind);
	struct link_setup s = {.loop = e->loop ? e->loop : w->loop, .path = path,
			       .messages = kind == DAEMON_RAFTD ? &link_apply :
					   kind == DAEMON_WATCHD ? &link_news : &link_store,
			       .peer = DAEMON_STORED, .ops = &ops, .arg = e};

	e->self = (struct link_hello){1, kind, incarnation, 0};
	EQ_INT(link_dialer_open(&s, &e->dialer), ERR_OK);
	mem_free(path);
}

#define UNTIL(w, cond) do { \
		mono_t until_ = mono_add_ms(mono_now(), TAP_PATIENCE_MS); \
		while (!(cond)) { \
			tap_ok(mono_before(mono_now(), until_), "in time: " #cond, __FILE__, __LINE__); \
			loop_turn((w)->loop, 5); \
		} \
	} while (0)

static struct stored *stored_of(struct world *w)
{
	return w->d.state;
}

static struct world *world_open(void)
{
	struct world *w = mem_alloc(sizeof *w);

	w->config.data_dir = mem_strdup(tap_dir());
	w->config.run_dir = mem_strdup(tap_dir());
	w->config.cluster_id = 5;
	w->config.node_id = 1;
	w->config.store_map_gb = 1;
	w->loop = loop_new();
	w->d = (struct daemon){.kind = DAEMON_STORED, .incarnation = 99, .loop = w->loop, .config = &w->config};
	EQ_INT(stored_open(&w->d), ERR_OK);
	EQ_INT(stored_start(&w->d), ERR_OK);
	end_dial(w, &w->raftd, DAEMON_RAFTD, 7);
	end_dial(w, &w->gateways[0], DAEMON_GATEWAYD, 100);
	end_dial(w, &w->gateways[1], DAEMON_GATEWAYD, 200);
	UNTIL(w, w->raftd.link != NULL && w->gateways[0].n_progress == 1 && w->gateways[1].n_progress == 1);
	return w;
}

static void world_close(struct world *w)
{
	struct stored *s = stored_of(w);

	link_dialer_close(&w->raftd.dialer);
	link_dialer_close(&w->gateways[0].dialer);
	link_dialer_close(&w->gateways[1].dialer);
	if (w->watchd.dialer != NULL)
		link_dialer_close(&w->watchd.dialer);
	stored_stop(&w->d);
	link_server_close(&s->raftd_server);
	link_server_close(&s->gateway_server);
	link_server_close(&s->leased.server);
	link_server_close(&s->watch_server);
	loop_free(w->loop);
	mem_free(w->config.data_dir);
	mem_free(w->config.run_dir);
	mem_free(s);
	mem_free(w);
}

/* ---- feeding ---- */

enum { FEED_MAX = 512 };

struct feed {
	struct log_entry entries[FEED_MAX];
	struct buf payloads[FEED_MAX];
	size_t n;
};

static void feed_add(struct feed *f, uint64_t index, const struct command *c)
{
	struct buf *b = &f->payloads[f->n];

	buf_init(b, 0);
	if (c != NULL)
		OK(msg_encode(b, &command_desc, c) == ERR_OK);
	f->entries[f->n++] = (struct log_entry){index, 2, c ? LOG_ENTRY_COMMAND : LOG_ENTRY_NOOP, buf_bytes(b)};
}

static void feed_send(struct world *w, struct feed *f)
{
	struct apply_batch m = {.commit = 1000};

	m.entries.v = f->entries;
	m.entries.n = f->n;
	EQ_INT(link_send(w->raftd.link, MSG_NO_apply_batch, &apply_batch_desc, &m), ERR_OK);
	for (size_t i = 0; i < f->n; i++)
		buf_free(&f->payloads[i]);
	f->n = 0;
}

static void feed_one(struct world *w, const struct command *c)
{
	struct feed f = {.n = 0};

	feed_add(&f, ++w->index, c);
	feed_send(w, &f);
}

static void feed_session(struct world *w, uint64_t gateway)
{
	feed_one(w, &(struct command){.gateway = gateway});
}

static void feed_put(struct world *w, uint64_t gateway, uint64_t seq, struct bytes value, bool prev)
{
	struct kv_put p = {.key = bytes_str("key"), .value = value, .prev_kv = prev};

	feed_one(w, &(struct command){.gateway = gateway, .seq = seq, .put = &p});
}

/* ---- */

TEST(each_is_told_what_it_must_know_to_begin)
{
	struct world *w = world_open();

	EQ_INT(w->raftd.peer.resume, 0);
	EQ_INT(w->gateways[0].peer.resume, 1);
	EQ_INT(w->gateways[0].progress.generation, 1);
	EQ_INT(w->gateways[0].progress.revision, 1);
	EQ_INT(w->gateways[0].progress.compact_revision, -1);
	world_close(w);
}

TEST(results_go_to_the_gateway_that_asked)
{
	struct world *w = world_open();
	struct end *a = &w->gateways[0], *b = &w->gateways[1];

	feed_session(w, 100);
	feed_session(w, 200);
	feed_put(w, 100, 1, bytes_str("1"), false);
	feed_put(w, 200, 1, bytes_str("2"), false);
	feed_put(w, 300, 1, bytes_str("3"), false);              /* nobody: no session, not linked */
	UNTIL(w, w->raftd.done.index == 5 && b->progress.applied == 5 && a->progress.applied == 5);
	EQ_INT(a->n_results, 2);
	OK(a->last_seq == 1 && a->last_index == 3 && a->last.revision == 2);
	EQ_INT(b->n_results, 2);
	OK(b->last_seq == 1 && b->last_index == 4 && b->last.revision == 3);
	EQ_INT(a->progress.revision, 3);
	EQ_INT(stored_of(w)->counters.results_homeless.value, 1);
	world_close(w);
}

/* The store that progress speaks of can be read by then. */
TEST(progress_is_visible_in_the_file)
{
	struct world *w = world_open();
	struct mvcc_view *v = NULL;

	feed_session(w, 100);
	feed_put(w, 100, 1, bytes_str("1"), false);
	UNTIL(w, w->gateways[0].progress.applied == 2);
	EQ_INT(mvcc_view_begin(stored_of(w)->store.env, &v), ERR_OK);
	EQ_INT(mvcc_view_info(v)->applied, 2);
	EQ_INT(mvcc_view_info(v)->revision, 2);
	mvcc_view_end(&v);
	world_close(w);
}

TEST(what_was_applied_is_skipped_and_what_is_missing_breaks_the_link)
{
	struct world *w = world_open();
	struct feed f = {.n = 0};

	for (uint64_t i = 1; i <= 5; i++)
		feed_add(&f, i, NULL);
	feed_send(w, &f);
	UNTIL(w, w->raftd.done.index == 5);
	for (uint64_t i = 3; i <= 7; i++)
		feed_add(&f, i, NULL);
	feed_send(w, &f);
	UNTIL(w, w->raftd.done.index == 7);
	EQ_INT(stored_of(w)->counters.entries_skipped.value, 3);
	EQ_INT(stored_of(w)->counters.entries_applied.value, 7);
	feed_add(&f, 9, NULL);
	feed_send(w, &f);
	UNTIL(w, w->raftd.ups == 2);
	EQ_INT(w->raftd.downs, 1);
	EQ_INT(w->raftd.peer.resume, 7);
	EQ_INT(stored_of(w)->store.committed.applied, 7);
	world_close(w);
}

/* Else the window of a raftd that sends only what is there already would never open again. */
TEST(a_batch_of_nothing_but_skipped_entries_is_done_too)
{
	struct world *w = world_open();
	struct feed f = {.n = 0};

	for (uint64_t i = 1; i <= 5; i++)
		feed_add(&f, i, NULL);
	feed_send(w, &f);
	UNTIL(w, w->raftd.done.index == 5);
	w->raftd.done.index = 0;
	for (uint64_t i = 2; i <= 4; i++)
		feed_add(&f, i, NULL);
	feed_send(w, &f);
	UNTIL(w, w->raftd.done.index == 4);      /* no more than this batch held */
	feed_add(&f, 5, NULL);
	feed_send(w, &f);
	UNTIL(w, w->raftd.done.index == 5);
	EQ_INT(stored_of(w)->counters.entries_skipped.value, 4);
	EQ_INT(stored_of(w)->counters.entries_applied.value, 5);
	feed_add(&f, 6, NULL);
	feed_send(w, &f);
	UNTIL(w, w->raftd.done.index == 6);
	EQ_INT(w->raftd.downs, 0);
	world_close(w);
}

/* However slow the machine is: one a quarter of the window, and one each APPLY_DONE_MS. */
TEST(raftd_is_told_once_for_many_batches)
{
	enum { BATCHES = 200 };
	struct world *w = world_open();
	mono_t began = mono_now();
	int64_t most;

	feed_session(w, 100);
	for (uint64_t seq = 1; seq < BATCHES; seq++) {
		feed_put(w, 100, seq, bytes_str("v"), false);
		UNTIL(w, w->gateways[0].progress.applied == w->index);
	}
	UNTIL(w, w->raftd.done.index == BATCHES);
	most = mono_sub_ms(mono_now(), began) / APPLY_DONE_MS + BATCHES / (LIMIT_APPLY_WINDOW_BATCHES / 4) + 1;
	OK(w->raftd.n_done <= most);
	world_close(w);
}

TEST(a_repeated_command_is_answered_again)
{
	struct world *w = world_open();
	struct end *a = &w->gateways[0];

	feed_session(w, 100);
	feed_put(w, 100, 1, bytes_str("1"), false);
	feed_put(w, 100, 2, bytes_str("2"), false);
	feed_put(w, 100, 1, bytes_str("1"), false);
	UNTIL(w, a->n_results == 4);
	OK(a->last_seq == 1 && a->last_index == 4 && a->last.revision == 2);
	EQ_INT(stored_of(w)->counters.commands_repeated.value, 1);
	world_close(w);
}

TEST(a_gateway_that_comes_back_takes_its_old_place)
{
	struct world *w = world_open();
	struct end again = {.ups = 0};

	feed_session(w, 100);
	UNTIL(w, w->gateways[0].n_results == 1);
	end_dial(w, &again, DAEMON_GATEWAYD, 100);
	UNTIL(w, again.n_progress == 1 && w->gateways[0].downs == 1);
	link_dialer_close(&w->gateways[0].dialer);
	feed_put(w, 100, 1, bytes_str("1"), false);
	UNTIL(w, again.n_results == 1 || again.downs == 1);
	link_dialer_close(&again.dialer);
	world_close(w);
}

TEST(status_and_hashes_are_answered)
{
	struct world *w = world_open();
	struct end *a = &w->gateways[0];
	struct store_status_ask ask = {42};
	struct store_hash_ask hash = {43, 0}, future = {44, 100};
	uint8_t first[16];

	feed_session(w, 100);
	for (uint64_t seq = 1; seq <= 20; seq++)
		feed_put(w, 100, seq, bytes_str("value"), false);
	UNTIL(w, a->n_results == 21);
	EQ_INT(link_send(a->link, MSG_NO_store_status_ask, &store_status_ask_desc, &ask), ERR_OK);
	UNTIL(w, a->status.ctx == 42);
	OK(a->status.applied == 21 && a->status.revision == 21 && a->status.keys == 1 && a->status.raftd_up);
	OK(a->status.store_bytes >= a->status.used_bytes && a->status.used_bytes > 0);
	EQ_INT(link_send(a->link, MSG_NO_store_hash_ask, &store_hash_ask_desc, &hash), ERR_OK);
	UNTIL(w, a->n_hashes == 1);
	OK(a->hash.ctx == 43 && a->hash.error == ERR_OK && a->hash.revision == 21);
	memcpy(first, a->hash_bytes, 16);
	feed_put(w, 100, 21, bytes_str("later"), false);
	hash.revision = 21;
	UNTIL(w, a->n_results == 22);
	EQ_INT(link_send(a->link, MSG_NO_store_hash_ask, &store_hash_ask_desc, &hash), ERR_OK);
	EQ_INT(link_send(a->link, MSG_NO_store_hash_ask, &store_hash_ask_desc, &future), ERR_OK);
	UNTIL(w, a->n_hashes == 3);
	EQ_MEM(a->hash_bytes, first, 16);
	world_close(w);
}

static void watchd_follows(struct world *w, bool each)
{
	struct store_news_follow m = {each};

	EQ_INT(link_send(w->watchd.link, MSG_NO_store_news_follow, &store_news_follow_desc, &m), ERR_OK);
	UNTIL(w, stored_of(w)->watch_follows == each);
}

TEST(watchd_is_told_how_far_the_store_has_come)
{
	struct world *w = world_open();

	end_dial(w, &w->watchd, DAEMON_WATCHD, 300);
	UNTIL(w, w->watchd.n_news == 1);
	EQ_INT(w->watchd.peer.resume, 1);
	EQ_INT(w->watchd.news.generation, 1);
	EQ_INT(w->watchd.news.revision, 1);
	EQ_INT(w->watchd.news.compact_revision, -1);
	feed_session(w, 100);
	watchd_follows(w, true);
	feed_put(w, 100, 1, bytes_str("a"), false);
	UNTIL(w, w->watchd.news.revision == 2);
	world_close(w);
}

TEST(a_watchd_that_does_not_follow_is_told_of_compactions_alone)
{
	struct kv_compact c = {.revision = 2};
	struct world *w = world_open();

	end_dial(w, &w->watchd, DAEMON_WATCHD, 300);
	UNTIL(w, w->watchd.n_news == 1);
	feed_session(w, 100);
	feed_put(w, 100, 1, bytes_str("a"), false);
	UNTIL(w, w->gateways[0].progress.revision == 2);
	watchd_follows(w, true);
	UNTIL(w, w->watchd.news.revision == 2);      /* what it may have missed */
	EQ_INT(w->watchd.n_news, 2);
	watchd_follows(w, false);
	feed_put(w, 100, 2, bytes_str("b"), false);
	UNTIL(w, w->gateways[0].progress.revision == 3);
	feed_one(w, &(struct command){.gateway = 100, .seq = 3, .compact = &c});
	UNTIL(w, w->watchd.news.compact_revision == 2);
	EQ_INT(w->watchd.n_news, 3);
	world_close(w);
}

static void compact_at(struct world *w, int64_t revision)
{
	struct kv_compact c = {.revision = revision};

	feed_session(w, 100);
	for (uint64_t i = 1; i <= 40; i++)
		feed_put(w, 100, i, bytes_str("x"), false);
	feed_one(w, &(struct command){.gateway = 100, .seq = 41, .compact = &c});
}

TEST(history_that_watchd_has_not_read_stays_a_moment)
{
	struct world *w = world_open();
	struct end *a = &w->gateways[0];
	struct store_news_read read = {29};

	end_dial(w, &w->watchd, DAEMON_WATCHD, 300);
	UNTIL(w, w->watchd.n_news == 1);
	compact_at(w, 30);
	UNTIL(w, w->watchd.news.compact_revision == 30);
	for (int i = 0; i < 20; i++)
		loop_turn(w->loop, 5);
	EQ_INT(a->progress.compacted_revision, -1);
	EQ_INT(link_send(w->watchd.link, MSG_NO_store_news_read, &store_news_read_desc, &read), ERR_OK);
	UNTIL(w, a->progress.compacted_revision == 30);
	world_close(w);
}

TEST(a_watchd_that_says_nothing_is_not_waited_for_for_ever)
{
	struct world *w = world_open();
	struct end *a = &w->gateways[0];

	end_dial(w, &w->watchd, DAEMON_WATCHD, 300);
	UNTIL(w, w->watchd.n_news == 1);
	compact_at(w, 30);
	UNTIL(w, w->watchd.news.compact_revision == 30);
	UNTIL(w, a->progress.compacted_revision == 30);
	world_close(w);
}

TEST(compaction_is_told_when_it_is_done)
{
	struct world *w = world_open();
	struct kv_compact c = {.revision = 30};
	struct end *a = &w->gateways[0];

	feed_session(w, 100);
	for (uint64_t seq = 1; seq <= 40; seq++)
		feed_put(w, 100, seq, bytes_str("value"), false);
	feed_one(w, &(struct command){.gateway = 100, .seq = 41, .compact = &c});
	UNTIL(w, a->progress.compact_revision == 30);
	UNTIL(w, a->progress.compacted_revision == 30);
	OK(stored_of(w)->counters.compact_rows.value >= 28 + 28);
	world_close(w);
}

/* It does not take its results because its loop does not turn; the other one has its own. */
TEST(a_gateway_that_hangs_is_dropped_and_nobody_waits_for_it)
{
	enum { BIG = 1u << 20, ROUNDS = 40 };
	struct end hanging = {.loop = loop_new()};
	uint8_t *value = mem_alloc(BIG);
	struct world *w = world_open();
	uint64_t seq = 0;

	end_dial(w, &hanging, DAEMON_GATEWAYD, 300);
	while (hanging.n_progress == 0) {
		loop_turn(hanging.loop, 5);
		loop_turn(w->loop, 5);
	}
	feed_session(w, 300);
	feed_session(w, 100);
	while (stored_of(w)->counters.gateways_dropped.value == 0) {
		OK(seq < ROUNDS);
		feed_put(w, 300, ++seq, bytes_of(value, BIG), true);
		UNTIL(w, w->raftd.done.index == w->index);
	}
	OK(seq > 8);
	feed_put(w, 100, 1, bytes_str("alive"), false);
	UNTIL(w, w->gateways[0].n_results == 2);
	EQ_INT(w->gateways[0].downs, 0);
	link_dialer_close(&hanging.dialer);
	loop_free(hanging.loop);
	free(value);
	world_close(w);
}

TEST(a_turn_applies_for_a_moment_only_and_everybody_is_heard_in_between)
{
	struct kv_compare all[LIMIT_TXN_OPS];
	struct kv_txn txn = {.compares.v = all, .compares.n = LIMIT_TXN_OPS};
	struct store_status_ask ask = {.ctx = 1};
	struct world *w = world_open();
	struct feed f = {.n = 0};
	uint64_t last;

	for (size_t i = 0; i < LIMIT_TXN_OPS; i++)
		all[i] = (struct kv_compare){.key = bytes_of("\0", 1), .range_end = bytes_of("\0", 1), .op = KV_GREATER};
	feed_session(w, 100);
	for (last = 1; last <= 64; last++)
		feed_one(w, &(struct command){.gateway = 100, .seq = last,
					      .put = &(struct kv_put){.key = bytes_of(&last, sizeof last)}});
	for (; f.n < FEED_MAX; last++)               /* each looks at thousands of keys */
		feed_add(&f, last + 1, &(struct command){.gateway = 100, .seq = last, .txn = &txn});
	feed_send(w, &f);
	UNTIL(w, w->raftd.done.index > 65);
	EQ_INT(link_send(w->gateways[0].link, MSG_NO_store_status_ask, &store_status_ask_desc, &ask), ERR_OK);
	UNTIL(w, w->gateways[0].status.applied > 0);
	OK(w->gateways[0].status.applied < last);
	UNTIL(w, w->raftd.done.index == last && w->gateways[0].n_results == last);
	world_close(w);
}

TESTS = {
	T(each_is_told_what_it_must_know_to_begin),
	T(results_go_to_the_gateway_that_asked),
	T(progress_is_visible_in_the_file),
	T(what_was_applied_is_skipped_and_what_is_missing_breaks_the_link),
	T(a_batch_of_nothing_but_skipped_entries_is_done_too),
	T(raftd_is_told_once_for_many_batches),
	T(a_repeated_command_is_answered_again),
	T(a_gateway_that_comes_back_takes_its_old_place),
	T(status_and_hashes_are_answered),
	T(watchd_is_told_how_far_the_store_has_come),
	T(a_watchd_that_does_not_follow_is_told_of_compactions_alone),
	T(history_that_watchd_has_not_read_stays_a_moment),
	T(a_watchd_that_says_nothing_is_not_waited_for_for_ever),
	T(compaction_is_told_when_it_is_done),
	T(a_turn_applies_for_a_moment_only_and_everybody_is_heard_in_between),
	T(a_gateway_that_hangs_is_dropped_and_nobody_waits_for_it),
};
TAP_MAIN
