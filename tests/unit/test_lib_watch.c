/* SPDX-License-Identifier: Apache-2.0 */
/* Watches and sessions of libquorate, against servers that break off, forget, refuse and fall silent. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mono.h"
#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

enum { WATCHED_ASKED = 64 };

/* A server of watches: what it says of one is a function of how often it was asked for one. */
struct watched {
	/* False: the connection is closed when all has been sent. */
	bool (*say)(struct watched *w, struct fake_conn *c, int64_t id, unsigned nth);
	int code;                      /* not 0: the first one asked for is refused with it... */
	unsigned again;
	struct fake_server *server;
	pthread_mutex_t lock;
	unsigned asked, canceled, progress;   /* progress: how often that was asked for */
	int64_t on;                    /* the watch that is registered; 0: none */
	struct native_watch params[WATCHED_ASKED];   /* as asked, without the bytes */
	int64_t last;                  /* of its history */
	char key[64];
};

static void notify(struct fake_conn *c, const char *name, const struct msg_desc *d, const void *params)
{
	struct buf b;

	buf_init(&b, 0);
	wire_array(&b, 3);
	wire_u64(&b, NATIVE_NOTIFICATION);
	wire_cstr(&b, name);
	(void)msg_encode(&b, d, params);
	fake_bytes(c, buf_bytes(&b));
	buf_free(&b);
}

/* One put of "key" at `revision`, after which the watch stands at (next, sub). */
static void say_put(struct fake_conn *c, int64_t id, const char *key, int64_t revision, int64_t next,
		    uint64_t sub)
{
	static char value[1000];
	struct kv_pair kv = {bytes_str(key), 1, revision, revision, bytes_of(value, sizeof value), 0};
	struct watch_event event = {1, &kv, NULL};
	struct native_watch_ref ref = {id};
	struct native_watch_events m = {.watches = {&ref, 1}, .events = {&event, 1}, .revision = revision,
					.next_revision = next, .next_sub = sub};

	notify(c, "watch_events", &native_watch_events_desc, &m);
}

/* Of what is not registered nobody is told how far it has got. */
static void watched_other(struct watched *w, struct fake_conn *c, const char *method)
{
	struct native_watch_ref ref = {0};
	struct native_watch_progress m = {.watches = {&ref, 1}, .revision = w->last};
	bool tell = false;

	(void)pthread_mutex_lock(&w->lock);
	if (strcmp(method, "watch_cancel") == 0) {
		w->canceled++;
		w->on = 0;
	} else if (strcmp(method, "watch_progress") == 0) {
		w->progress++;
		ref.watch_id = w->on;
		tell = w->on != 0;
	}
	(void)pthread_mutex_unlock(&w->lock);
	if (tell)
		notify(c, "watch_progress", &native_watch_progress_desc, &m);
}

static bool watched_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct watched *w = arg;
	struct kv_header h = {1, 2, 10, 4};
	struct native_watch_header header = {&h};
	const struct native_watch *p = r->params;
	struct native_watch_result res = {&h, 0};
	unsigned nth;

	if (strcmp(r->method->name, "watch") != 0) {
		watched_other(w, c, r->method->name);
		fake_result(c, r, &header);
		return true;
	}
	(void)pthread_mutex_lock(&w->lock);
	nth = w->asked++;
	w->on = p->watch_id;
	if (nth < WATCHED_ASKED)
		w->params[nth] = *p;
	(void)snprintf(w->key, sizeof w->key, "%.*s", (int)p->key.len, (const char *)p->key.data);
	(void)pthread_mutex_unlock(&w->lock);
	if (w->code != 0 && nth == 0) {
		fake_error(c, r, w->code, "refused", w->again);
		return true;
	}
	res.watch_id = p->watch_id;
	fake_result(c, r, &res);
	return w->say(w, c, p->watch_id, nth);
}

static void watched_start(struct watched *w)
{
	struct fake_setup s = {.serve = watched_serve, .arg = w};

	(void)pthread_mutex_init(&w->lock, NULL);
	w->server = fake_start(&s);
}

static void watched_stop(struct watched *w)
{
	fake_stop(&w->server);
	(void)pthread_mutex_destroy(&w->lock);
}

static unsigned watched_canceled(struct watched *w)
{
	unsigned n;

	(void)pthread_mutex_lock(&w->lock);
	n = w->canceled;
	(void)pthread_mutex_unlock(&w->lock);
	return n;
}

static struct quorate_watch *watch_open(struct quorate *q, const char *key, int64_t from, size_t max_bytes)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_watch *w;

	o.key = quorate_str(key);
	o.start_revision = from;
	o.max_bytes = max_bytes;
	EQ_INT(quorate_watch_open(q, &o, &w, NULL), QUORATE_OK);
	return w;
}

static struct quorate_news *next(struct quorate_watch *w, enum quorate_news_kind kind)
{
	struct quorate_news *news;

	EQ_INT(quorate_watch_next(w, 10000, &news, NULL), QUORATE_OK);
	EQ_INT(news->kind, kind);
	return news;
}

static bool say_and_break_off(struct watched *w, struct fake_conn *c, int64_t id, unsigned nth)
{
	(void)w;
	if (nth == 0) {
		say_put(c, id, "key", 11, 12, 0);
		return false;
	}
	if (nth == 1) {
		say_put(c, id, "key", 12, 12, 1);   /* the beginning of a large revision */
		return false;
	}
	say_put(c, id, "key", 12, 13, 0);
	return true;
}

TEST(a_watch_goes_on_from_where_the_last_connection_broke)
{
	struct watched s = {.say = say_and_break_off};
	static const int64_t from[] = {0, 12, 12}, sub[] = {0, 0, 1};
	struct quorate_news *n;
	struct quorate_watch *w;
	struct quorate *q;

	watched_start(&s);
	q = world_open(fake_endpoint(s.server), NULL, NULL);
	w = watch_open(q, "key", 0, 0);
	n = next(w, QUORATE_BEGUN);
	EQ_INT(n->header.revision, 10);
	quorate_news_free(n);
	for (int i = 0; i < 3; i++) {
		n = next(w, QUORATE_EVENTS);
		EQ_INT(n->n_events, 1);
		EQ_INT(n->events[0].kv.mod_revision, i == 0 ? 11 : 12);
		EQ_INT(n->partial, i == 1);
		EQ_INT(n->revision, i == 2 ? 12 : 11);
		quorate_news_free(n);
	}
	quorate_watch_close(w);
	quorate_close(q);
	for (int i = 0; i < 3; i++) {
		EQ_INT(s.params[i].start_revision, from[i]);
		EQ_INT(s.params[i].start_sub, sub[i]);
	}
	watched_stop(&s);
}

static bool say_compacted(struct watched *w, struct fake_conn *c, int64_t id, unsigned nth)
{
	struct native_watch_canceled m = {id, ERR_COMPACTED, bytes_str("gone"), 50};

	(void)w;
	(void)nth;
	notify(c, "watch_canceled", &native_watch_canceled_desc, &m);
	return true;
}

TEST(that_history_was_compacted_is_the_last_news)
{
	struct watched s = {.say = say_compacted};
	struct quorate_error e;
	struct quorate_news *n;
	struct quorate_watch *w;
	struct quorate *q;

	watched_start(&s);
	q = world_open(fake_endpoint(s.server), NULL, NULL);
	w = watch_open(q, "key", 3, 0);
	quorate_news_free(next(w, QUORATE_BEGUN));
	n = next(w, QUORATE_COMPACTED);
	EQ_INT(n->compact_revision, 50);
	EQ_INT(n->error->code, QUORATE_ERR_COMPACTED);
	EQ_STR(n->error->text, "gone");
	quorate_news_free(n);
	for (int i = 0; i < 2; i++) {
		EQ_INT(quorate_watch_next(w, QUORATE_FOREVER, &n, &e), QUORATE_ERR_COMPACTED);
		OK(n == NULL && e.code == QUORATE_ERR_COMPACTED);
	}
	quorate_watch_close(w);
	quorate_close(q);
	watched_stop(&s);
}

/* All of its history, from where it is asked for: whoever cannot take it must say so. */
static bool say_history(struct watched *w, struct fake_conn *c, int64_t id, unsigned nth)
{
	int64_t from = w->params[nth < WATCHED_ASKED ? nth : WATCHED_ASKED - 1].start_revision;

	for (int64_t rev = from; rev <= w->last; rev++)
		say_put(c, id, "key", rev, rev + 1, 0);
	return fake_flush(c);
}

TEST(a_reader_that_is_behind_holds_its_watch_and_misses_nothing)
{
	struct watched s = {.say = say_history, .last = 300};
	struct quorate_news *n;
	struct quorate_watch *w;
	struct quorate *q;
	unsigned canceled;
	int64_t want = 1;

	watched_start(&s);
	q = world_open(fake_endpoint(s.server), NULL, NULL);
	w = watch_open(q, "key", 1, 20000);
	quorate_news_free(next(w, QUORATE_BEGUN));
	WORLD_UNTIL(watched_canceled(&s) > 0);   /* it stands still */
	while (want <= s.last) {
		n = next(w, QUORATE_EVENTS);
		for (size_t i = 0; i < n->n_events; i++)
			EQ_INT(n->events[i].kv.mod_revision, want++);
		quorate_news_free(n);
	}
	EQ_INT(quorate_watch_next(w, 0, &n, NULL), QUORATE_ERR_TIMEOUT);
	canceled = watched_canceled(&s);
	quorate_watch_close(w);        /* which is another one */
	quorate_close(q);
	OK(s.asked > 1 && s.asked < WATCHED_ASKED);
	EQ_INT(canceled, s.asked - 1);
	watched_stop(&s);
}

static unsigned watched_progress(struct watched *w)
{
	unsigned n;

	(void)pthread_mutex_lock(&w->lock);
	n = w->progress;
	(void)pthread_mutex_unlock(&w->lock);
	return n;
}

TEST(a_reader_that_is_behind_is_told_how_far_it_has_got_when_it_has_got_there)
{
	struct watched s = {.say = say_history, .last = 60};
	struct quorate_news *n;
	struct quorate_watch *w;
	struct quorate *q;
	bool told = false;
	int64_t seen = 0;

	watched_start(&s);
	q = world_open(fake_endpoint(s.server), NULL, NULL);
	w = watch_open(q, "key", 1, 20000);
	quorate_news_free(next(w, QUORATE_BEGUN));
	WORLD_UNTIL(watched_canceled(&s) > 0);   /* it stands still */
	EQ_INT(quorate_watch_progress(w, NULL), QUORATE_OK);
	WORLD_UNTIL(watched_progress(&s) > 0);   /* which finds nothing to tell it of */
	while (!told) {
		EQ_INT(quorate_watch_next(w, 10000, &n, NULL), QUORATE_OK);
		told = n->kind == QUORATE_PROGRESSED;
		EQ_INT(n->kind, told ? QUORATE_PROGRESSED : QUORATE_EVENTS);
		OK(n->revision >= seen);
		seen = n->revision;
		quorate_news_free(n);
	}
	EQ_INT(seen, s.last);
	quorate_watch_close(w);
	quorate_close(q);
	watched_stop(&s);
}

static bool say_foreign(struct watched *w, struct fake_conn *c, int64_t id, unsigned nth)
{
	(void)w;
	(void)nth;
	say_put(c, id, "app/key", 11, 12, 0);
	say_put(c, id, "other", 12, 13, 0);
	return true;
}

TEST(a_watch_of_a_namespace_sees_no_other_and_believes_no_other)
{
	struct watched s = {.say = say_foreign};
	struct quorate_news *n;
	struct quorate_watch *w;
	struct quorate *q, *view;

	watched_start(&s);
	q = world_open(fake_endpoint(s.server), NULL, NULL);
	EQ_INT(quorate_namespace(q, quorate_str("app/"), &view, NULL), QUORATE_OK);
	w = watch_open(view, "key", 0, 0);
	quorate_news_free(next(w, QUORATE_BEGUN));
	n = next(w, QUORATE_EVENTS);
	EQ_INT(n->events[0].kv.key.size, 3);
	EQ_MEM(n->events[0].kv.key.data, "key", 3);
	quorate_news_free(n);
	n = next(w, QUORATE_ENDED);
	EQ_INT(n->error->code, QUORATE_ERR_MALFORMED);
	quorate_news_free(n);
	quorate_watch_close(w);
	quorate_close(view);
	quorate_close(q);
	EQ_STR(s.key, "app/key");
	watched_stop(&s);
}

static bool say_nothing(struct watched *w, struct fake_conn *c, int64_t id, unsigned nth)
{
	(void)w;
	(void)c;
	(void)id;
	(void)nth;
	return true;
}

TEST(a_refusal_that_may_pass_is_no_end_and_another_is_one)
{
	struct watched s = {.say = say_nothing, .code = ERR_NO_LEADER, .again = 1};
	struct watched t = {.say = say_nothing, .code = ERR_WATCH_RANGE, .again = 0};
	struct quorate_news *n;
	struct quorate_watch *w;
	struct quorate *q;

	watched_start(&s);
	q = world_open(fake_endpoint(s.server), NULL, NULL);
	w = watch_open(q, "key", 0, 0);
	quorate_news_free(next(w, QUORATE_BEGUN));
	quorate_watch_close(w);
	quorate_close(q);
	EQ_INT(s.asked, 2);
	watched_stop(&s);
	watched_start(&t);
	q = world_open(fake_endpoint(t.server), NULL, NULL);
	w = watch_open(q, "key", 0, 0);
	n = next(w, QUORATE_ENDED);
	EQ_INT(n->error->code, QUORATE_ERR_WATCH_RANGE);
	quorate_news_free(n);
	quorate_watch_close(w);
	quorate_close(q);
	watched_stop(&t);
}

struct readiness {
	unsigned told, events;
};

static void ready(void *arg, struct quorate_watch *w)
{
	struct readiness *r = arg;
	struct quorate_news *n;

	r->told++;
	while (quorate_watch_next(w, 0, &n, NULL) == QUORATE_OK) {
		r->events += (unsigned)n->n_events;
		quorate_news_free(n);
	}
}

TEST(a_queue_says_that_a_watch_has_news_and_a_hundred_watches_share_a_connection)
{
	struct watched s = {.say = say_history, .last = 3};
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct readiness r = {0};
	struct quorate_watch *w[100];
	struct quorate_queue *queue;
	struct quorate *q;

	watched_start(&s);
	q = world_open(fake_endpoint(s.server), NULL, NULL);
	EQ_INT(quorate_queue_open(q, &queue, NULL), QUORATE_OK);
	o.key = quorate_str("key");
	o.start_revision = 1;
	o.queue = queue;
	o.ready = ready;
	o.arg = &r;
	for (int i = 0; i < 100; i++)
		EQ_INT(quorate_watch_open(q, &o, &w[i], NULL), QUORATE_OK);
	while (r.events < 300)
		OK(quorate_dispatch(queue, 10000, 0) > 0);
	OK(r.told >= 100);
	EQ_INT(fake_accepted(s.server), 1);
	for (int i = 0; i < 50; i++)
		quorate_watch_close(w[i]);
	quorate_queue_close(queue);    /* before its watches */
	for (int i = 50; i < 100; i++)
		quorate_watch_close(w[i]);
	quorate_close(q);
	watched_stop(&s);
}

/* ---- sessions ---- */

static struct quorate_session *session_open(struct quorate *q)
{
	struct quorate_session *s;

	EQ_INT(quorate_session_open(q, NULL, 0, &s, NULL), QUORATE_OK);
	EQ_INT(quorate_session_lease(s), 77);
	return s;
}

TEST(a_session_is_kept_alive_by_whoever_answers_and_ends_with_a_revoke)
{
	struct play a = {.acts = {ACT_OK, ACT_CLOSE}, .n = 2, .ttl = 1};
	struct play b = {.acts = {ACT_OK}, .kept_ttl = 1}, last;
	struct quorate_session *s;
	struct quorate_error e;
	struct quorate *q;

	play_start(&a);
	play_start(&b);
	q = world_open(play_endpoint(&a), play_endpoint(&b), NULL);
	s = session_open(q);
	WORLD_UNTIL(fake_requests(b.server) >= 4);   /* longer than the lease would last by itself */
	EQ_INT(quorate_session_wait(s, 0, &e), QUORATE_ERR_TIMEOUT);
	OK(quorate_session_left_ms(s) > 0);
	EQ_INT(quorate_session_close(s, 0, &e), QUORATE_OK);
	play_last(&b, &last);
	EQ_STR(last.method, "lease_revoke");
	quorate_close(q);
	play_stop(&a);
	play_stop(&b);
}

struct loss {
	unsigned told;
	int code;
};

static void lost(void *arg, struct quorate_session *s, const struct quorate_error *why)
{
	struct loss *l = arg;

	EQ_INT(quorate_session_left_ms(s), 0);
	l->told++;
	l->code = why->code;
}

TEST(a_session_is_lost_when_the_server_says_so_and_its_watches_end_with_it)
{
	struct play p = {.acts = {ACT_OK}, .ttl = 1, .kept_ttl = 0};
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_watch_options wo = QUORATE_WATCH_OPTIONS_INIT;
	struct loss l = {0};
	struct quorate_session *s;
	struct quorate_queue *queue;
	struct quorate_watch *w;
	struct quorate_news *n;
	struct quorate *q;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(quorate_queue_open(q, &queue, NULL), QUORATE_OK);
	o.queue = queue;
	o.lost = lost;
	o.arg = &l;
	EQ_INT(quorate_session_open(q, &o, 0, &s, NULL), QUORATE_OK);
	wo.key = quorate_str("key");
	wo.session = s;
	wo.start_revision = 1000;
	EQ_INT(quorate_watch_open(q, &wo, &w, NULL), QUORATE_OK);
	quorate_news_free(next(w, QUORATE_BEGUN));
	EQ_INT(quorate_dispatch(queue, 10000, 0), 1);
	EQ_INT(l.told, 1);
	EQ_INT(l.code, QUORATE_ERR_LEASE_NOT_FOUND);
	n = next(w, QUORATE_ENDED);
	EQ_INT(n->error->code, QUORATE_ERR_LEASE_NOT_FOUND);
	quorate_news_free(n);
	quorate_watch_close(w);
	quorate_session_leave(s);
	quorate_queue_close(queue);
	quorate_close(q);
	play_stop(&p);
}

TEST(a_session_is_lost_when_nobody_answers_for_its_ttl_and_not_before)
{
	struct play p = {.acts = {ACT_OK, ACT_SILENT}, .n = 2, .ttl = 1};
	struct quorate_session *s;
	struct quorate_error why;
	struct quorate *q;
	mono_t begun = mono_now();

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	s = session_open(q);
	EQ_INT(quorate_session_wait(s, 20000, &why), QUORATE_OK);
	OK(mono_sub_ms(mono_now(), begun) >= 1000);
	EQ_INT(why.code, QUORATE_ERR_TIMEOUT);
	EQ_INT(quorate_session_left_ms(s), 0);
	EQ_INT(quorate_session_wait(s, 0, &why), QUORATE_OK);   /* for ever */
	quorate_session_leave(s);
	quorate_close(q);
	play_stop(&p);
}

TEST(a_cancelled_view_loses_its_sessions_and_watches)
{
	struct play p = {.acts = {ACT_OK}, .ttl = 30, .kept_ttl = 30};
	struct quorate_session *s;
	struct quorate_error why;
	struct quorate_watch *w;
	struct quorate_news *n;
	struct quorate *q;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	s = session_open(q);
	w = watch_open(q, "key", 1000, 0);
	quorate_news_free(next(w, QUORATE_BEGUN));
	quorate_cancel_all(q);
	EQ_INT(quorate_session_wait(s, QUORATE_FOREVER, &why), QUORATE_OK);
	EQ_INT(why.code, QUORATE_ERR_CANCELED);
	n = next(w, QUORATE_ENDED);
	EQ_INT(n->error->code, QUORATE_ERR_CANCELED);
	quorate_news_free(n);
	EQ_INT(quorate_session_close(s, 0, NULL), QUORATE_ERR_CANCELED);
	quorate_close(q);
	quorate_watch_close(w);
	play_stop(&p);
}

TESTS = {
	T(a_watch_goes_on_from_where_the_last_connection_broke),
	T(that_history_was_compacted_is_the_last_news),
	T(a_reader_that_is_behind_holds_its_watch_and_misses_nothing),
	T(a_reader_that_is_behind_is_told_how_far_it_has_got_when_it_has_got_there),
	T(a_watch_of_a_namespace_sees_no_other_and_believes_no_other),
	T(a_refusal_that_may_pass_is_no_end_and_another_is_one),
	T(a_queue_says_that_a_watch_has_news_and_a_hundred_watches_share_a_connection),
	T(a_session_is_kept_alive_by_whoever_answers_and_ends_with_a_revoke),
	T(a_session_is_lost_when_the_server_says_so_and_its_watches_end_with_it),
	T(a_session_is_lost_when_nobody_answers_for_its_ttl_and_not_before),
	T(a_cancelled_view_loses_its_sessions_and_watches),
};
TAP_MAIN
