/* SPDX-License-Identifier: Apache-2.0 */
/* libquorate against servers whose answers are well-formed and cannot be true, and against odd wishes. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

/* What the liar says; else it is honest. */
struct liar {
	struct kv_txn_result txn;      /* to every transaction */
	struct kv_pair pair;           /* the one of each range */
	atomic_uint progress;          /* how often it was asked how far watches have got, which it refuses */
	int64_t ttl, revision;
	bool more;                     /* there is always another page */
	const uint64_t *cancel;        /* each watch is ended with this code at once */
	struct fake_server *server;
};

static void liar_cancels(struct fake_conn *c, int64_t id, uint64_t code)
{
	struct native_watch_canceled m = {.watch_id = id, .code = code};
	struct buf b;

	buf_init(&b, 0);
	wire_array(&b, 3);
	wire_u64(&b, NATIVE_NOTIFICATION);
	wire_cstr(&b, "watch_canceled");
	(void)msg_encode(&b, &native_watch_canceled_desc, &m);
	fake_bytes(c, buf_bytes(&b));
	buf_free(&b);
}

static bool liar_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct liar *l = arg;
	struct kv_header h = {1, 2, l->revision, 4};
	struct kv_range_result range = {.header = &h, .count = 1, .more = l->more, .kvs = {.v = &l->pair, .n = 1}};
	struct lease_grant_result grant = {&h, 77, l->ttl};
	struct native_keepalive_result keep = {&h, 77, l->ttl};
	struct native_watch_result watch = {&h, 1};

	l->txn.header = &h;
	if (strcmp(r->method->name, "txn") == 0)
		fake_result(c, r, &l->txn);
	else if (strcmp(r->method->name, "range") == 0)
		fake_result(c, r, &range);
	else if (strcmp(r->method->name, "lease_grant") == 0)
		fake_result(c, r, &grant);
	else if (strcmp(r->method->name, "lease_keepalive") == 0)
		fake_result(c, r, &keep);
	else if (strcmp(r->method->name, "watch") == 0)
		fake_result(c, r, &watch);
	else
		fake_error(c, r, ERR_NO_LEADER, "nobody leads", ERR_AGAIN_SAFE);
	if (strcmp(r->method->name, "watch") == 0 && l->cancel != NULL)
		liar_cancels(c, ((const struct native_watch *)r->params)->watch_id, *l->cancel);
	if (strcmp(r->method->name, "watch_progress") == 0)
		atomic_fetch_add(&l->progress, 1);
	return true;
}

static struct quorate *liar_start(struct liar *l)
{
	struct fake_setup s = {.serve = liar_serve, .arg = l};

	l->revision = l->revision == 0 ? 5 : l->revision;
	l->ttl = l->ttl == 0 ? 60 : l->ttl;
	l->server = fake_start(&s);
	return world_open(fake_endpoint(l->server), NULL, NULL);
}

static void liar_stop(struct liar *l, struct quorate *q)
{
	quorate_close(q);
	fake_stop(&l->server);
}

static void lied(void *arg, struct quorate_result *r, const struct quorate_error *e)
{
	*(int *)arg = e->code;
	quorate_result_free(r);
}

static int stm_nothing(struct quorate_stm *t, void *arg)
{
	const struct quorate_kv *kv;

	(void)arg;
	return quorate_stm_get(t, quorate_str("a"), &kv);
}

static void refuse_parts(struct kv_txn_result said)
{
	struct liar l = {.txn = said};
	struct quorate *q = liar_start(&l);
	struct quorate_bytes key = quorate_str("a");
	struct quorate_op get[] = {quorate_op_get(key), quorate_op_get(quorate_str("b"))};
	struct quorate_op put = quorate_op_put(key, key, 0), inner, op;
	struct quorate_compare missing = quorate_if_missing(key);
	struct quorate_txn reads = {.then = get, .n_then = 2};
	struct quorate_txn txn = {&missing, 1, &inner, 1, &put, 1};
	struct quorate_stm_options so = QUORATE_STM_OPTIONS_INIT;
	struct quorate_result *r = NULL;
	struct quorate_session *s;
	struct quorate_queue *queue;
	struct quorate_lock *lock;
	struct quorate_error e;
	int code = -1;

	inner = quorate_op_txn(&reads);
	op = quorate_op_txn(&txn);
	EQ_INT(quorate_call(q, &op, 0, &r, &e), QUORATE_ERR_MALFORMED);
	EQ_INT(e.again, QUORATE_AGAIN_UNSURE);
	OK(r == NULL);
	EQ_INT(quorate_queue_open(q, &queue, &e), QUORATE_OK);
	EQ_INT(quorate_submit(q, queue, &op, 0, lied, &code, NULL, &e), QUORATE_OK);
	EQ_INT(quorate_dispatch(queue, 10000, 0), 1);
	EQ_INT(code, QUORATE_ERR_MALFORMED);
	quorate_queue_close(queue);
	EQ_INT(quorate_session_open(q, NULL, 0, &s, &e), QUORATE_OK);
	EQ_INT(quorate_lock_open(q, s, quorate_str("lock"), QUORATE_MUTEX, &lock, &e), QUORATE_OK);
	OK(quorate_lock_acquire(lock, 100, &e) != QUORATE_OK);   /* one of these lies is an answer to it */
	quorate_lock_close(lock);
	quorate_session_leave(s);
	so.prefetch = &key;
	so.n_prefetch = 1;
	EQ_INT(quorate_stm_run(q, &so, stm_nothing, NULL, 0, NULL, &e), QUORATE_ERR_MALFORMED);
	liar_stop(&l, q);
}

TEST(a_transaction_without_its_parts_is_no_answer)
{
	struct kv_range_result range = {.count = 0};
	struct kv_put_result put = {0};
	struct kv_op_result two[] = {{.range = &range}, {.range = &range}}, puts[] = {{.put = &put}};
	struct kv_txn_result inner = {.succeeded = true, .responses = {two, 1}};
	struct kv_op_result nested[] = {{.txn = &inner}};

	refuse_parts((struct kv_txn_result){.succeeded = true});
	refuse_parts((struct kv_txn_result){.succeeded = false});
	refuse_parts((struct kv_txn_result){.succeeded = true, .responses = {puts, 1}});
	refuse_parts((struct kv_txn_result){.succeeded = false, .responses = {two, 1}});
	refuse_parts((struct kv_txn_result){.succeeded = true, .responses = {nested, 1}});
}

TEST(a_transaction_with_its_parts_is_one)
{
	struct kv_range_result range = {.count = 0};
	struct kv_op_result two[] = {{.range = &range}, {.range = &range}};
	struct kv_txn_result inner = {.succeeded = true, .responses = {two, 2}};
	struct kv_op_result nested[] = {{.txn = &inner}};
	struct liar l = {.txn = {.succeeded = true, .responses = {nested, 1}}};
	struct quorate *q = liar_start(&l);
	struct quorate_bytes key = quorate_str("a");
	struct quorate_op get[] = {quorate_op_get(key), quorate_op_get(key)}, put = quorate_op_put(key, key, 0), op;
	struct quorate_txn reads = {.then = get, .n_then = 2, .or_else = &put, .n_or_else = 1};
	struct quorate_op inner_op = quorate_op_txn(&reads);
	struct quorate_txn txn = {.then = &inner_op, .n_then = 1, .or_else = &put, .n_or_else = 1};
	struct quorate_result *r;

	op = quorate_op_txn(&txn);
	EQ_INT(quorate_call(q, &op, 0, &r, NULL), QUORATE_OK);
	EQ_INT(r->results[0]->n_results, 2);
	quorate_result_free(r);
	liar_stop(&l, q);
}

TEST(keys_that_nobody_asked_for_are_not_believed)
{
	struct liar l = {.pair = {bytes_str("x"), 2, 3, 1, bytes_str("value"), 0}};
	struct quorate *q = liar_start(&l);
	struct quorate_resolver *rs;
	struct quorate_session *s;
	struct quorate_work *w;
	struct quorate_error e;

	EQ_INT(quorate_session_open(q, NULL, 0, &s, &e), QUORATE_OK);
	EQ_INT(quorate_resolver_open(q, quorate_str("service"), 1000, &rs, &e), QUORATE_ERR_MALFORMED);
	quorate_resolver_close(rs);
	EQ_INT(quorate_work_take(q, s, quorate_str("queue"), 1000, &w, &e), QUORATE_ERR_MALFORMED);
	quorate_session_leave(s);
	liar_stop(&l, q);
}

static int count_to_a_hundred(void *arg, const struct quorate_kv *kv)
{
	(void)kv;
	return ++*(int *)arg == 100 ? 1 : 0;
}

TEST(pages_that_do_not_go_on_are_not_turned_for_ever)
{
	struct liar l = {.pair = {bytes_str("key"), 2, 3, 1, bytes_str("value"), 0}, .more = true};
	struct quorate *q = liar_start(&l);
	struct quorate_op op = quorate_op_get(quorate_str("k"));
	struct quorate_error e;
	int n = 0;

	op.flags = QUORATE_PREFIX;
	EQ_INT(quorate_each(q, &op, 0, count_to_a_hundred, &n, NULL, &e), QUORATE_ERR_MALFORMED);
	EQ_INT(n, 1);
	liar_stop(&l, q);
}

TEST(who_is_refused_how_far_watches_have_got_does_not_ask_all_the_time)
{
	struct liar l = {.revision = 5};
	struct quorate *q = liar_start(&l);
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_news *n;
	struct quorate_watch *w;
	struct quorate_error e;

	o.key = quorate_str("key");
	EQ_INT(quorate_watch_open(q, &o, &w, &e), QUORATE_OK);
	EQ_INT(quorate_watch_next(w, 10000, &n, &e), QUORATE_OK);
	quorate_news_free(n);
	EQ_INT(quorate_watch_progress(w, &e), QUORATE_OK);
	WORLD_UNTIL(atomic_load(&l.progress) >= 2);
	EQ_INT(quorate_watch_next(w, 300, &n, &e), QUORATE_ERR_TIMEOUT);
	OK(atomic_load(&l.progress) < 20);
	quorate_watch_close(w);
	liar_stop(&l, q);
}

TEST(a_watch_does_not_end_with_success)
{
	static const uint64_t codes[] = {0, (uint64_t)INT32_MAX + 1, UINT64_C(1) << 32, UINT64_MAX};

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		struct liar l = {.cancel = &codes[i]};
		struct quorate *q = liar_start(&l);
		struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
		struct quorate_news *n;
		struct quorate_watch *w;
		struct quorate_error e;
		int rc;

		o.key = quorate_str("key");
		EQ_INT(quorate_watch_open(q, &o, &w, &e), QUORATE_OK);
		while ((rc = quorate_watch_next(w, 10000, &n, &e)) == QUORATE_OK && n != NULL)
			quorate_news_free(n);
		EQ_INT(rc, QUORATE_ERR_MALFORMED);
		quorate_watch_close(w);
		liar_stop(&l, q);
	}
}

TEST(a_prefix_that_no_request_holds_is_too_large)
{
	struct liar l = {.revision = 5};
	struct quorate *q = liar_start(&l);
	struct quorate_op op = quorate_op(QUORATE_GET);
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_watch *w;
	struct quorate_error e;
	void *big = calloc(1, 9 * MIB);

	op.key = o.key = quorate_bytes(big, 9 * MIB);
	memset(big, 'k', 9 * MIB);
	EQ_INT(quorate_call(q, &op, 0, NULL, &e), QUORATE_ERR_REQUEST_TOO_LARGE);
	op.flags = o.flags = QUORATE_PREFIX;
	EQ_INT(quorate_call(q, &op, 0, NULL, &e), QUORATE_ERR_REQUEST_TOO_LARGE);
	EQ_INT(quorate_watch_open(q, &o, &w, &e), QUORATE_ERR_REQUEST_TOO_LARGE);
	free(big);
	liar_stop(&l, q);
}

TEST(a_subscriber_does_not_hear_of_its_own_keys)
{
	static const char *const prefixes[] = {"", "jobs", "jobs/", "jobs/owner"};
	struct quorate_subscriber_options o = QUORATE_SUBSCRIBER_OPTIONS_INIT;
	struct liar l = {.revision = 5};
	struct quorate *q = liar_start(&l);
	struct quorate_subscriber *s;
	struct quorate_error e;

	o.position = quorate_str("jobs");
	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		o.prefix = quorate_str(prefixes[i]);
		EQ_INT(quorate_subscriber_open(q, &o, 100, &s, &e), QUORATE_ERR_BAD_ARGUMENT);
	}
	liar_stop(&l, q);
}

TEST(numbers_at_the_end_of_their_range_do_no_harm)
{
	static const int64_t odd[] = {INT64_MIN, INT64_MIN / 1000, -1, INT64_MAX};

	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		struct liar l = {.revision = odd[i], .ttl = odd[i]};
		struct quorate *q = liar_start(&l);
		struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
		struct quorate_news *n;
		struct quorate_session *s;
		struct quorate_watch *w;
		struct quorate_error e;

		if (quorate_session_open(q, NULL, 0, &s, &e) == QUORATE_OK)
			quorate_session_leave(s);
		o.key = quorate_str("key");
		EQ_INT(quorate_watch_open(q, &o, &w, &e), QUORATE_OK);
		if (quorate_watch_next(w, 100, &n, &e) == QUORATE_OK)
			quorate_news_free(n);
		quorate_watch_close(w);
		liar_stop(&l, q);
	}
}

TEST(what_is_another_clients_is_refused)
{
	struct liar l = {.revision = 5};
	struct quorate *q = liar_start(&l), *other = world_open(fake_endpoint(l.server), NULL, NULL);
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_op op = quorate_op_get(quorate_str("key"));
	struct quorate_service_options so = QUORATE_SERVICE_OPTIONS_INIT;
	struct quorate_double_barrier *barrier;
	struct quorate_registration *registration;
	struct quorate_election *election;
	struct quorate_session *s;
	struct quorate_queue *queue;
	struct quorate_watch *w;
	struct quorate_lock *lock;
	struct quorate_work *work;
	struct quorate_error e;
	int code;

	EQ_INT(quorate_session_open(other, NULL, 0, &s, &e), QUORATE_OK);
	EQ_INT(quorate_queue_open(other, &queue, &e), QUORATE_OK);
	o.key = quorate_str("key");
	o.session = s;
	EQ_INT(quorate_watch_open(q, &o, &w, &e), QUORATE_ERR_BAD_ARGUMENT);
	EQ_INT(quorate_submit(q, queue, &op, 0, lied, &code, NULL, &e), QUORATE_ERR_BAD_ARGUMENT);
	EQ_INT(quorate_lock_open(q, s, o.key, QUORATE_MUTEX, &lock, &e), QUORATE_ERR_BAD_ARGUMENT);
	EQ_INT(quorate_election_open(q, s, o.key, &election, &e), QUORATE_ERR_BAD_ARGUMENT);
	EQ_INT(quorate_work_take(q, s, o.key, 100, &work, &e), QUORATE_ERR_BAD_ARGUMENT);
	EQ_INT(quorate_double_barrier_enter(q, s, o.key, 1, 100, &barrier, &e), QUORATE_ERR_BAD_ARGUMENT);
	so.service = so.address = o.key;
	so.session = s;
	EQ_INT(quorate_register(q, &so, 100, &registration, &e), QUORATE_ERR_BAD_ARGUMENT);
	quorate_queue_close(queue);
	quorate_session_leave(s);
	quorate_close(other);
	liar_stop(&l, q);
}

TESTS = {
	T(a_transaction_without_its_parts_is_no_answer),
	T(a_transaction_with_its_parts_is_one),
	T(keys_that_nobody_asked_for_are_not_believed),
	T(pages_that_do_not_go_on_are_not_turned_for_ever),
	T(who_is_refused_how_far_watches_have_got_does_not_ask_all_the_time),
	T(a_watch_does_not_end_with_success),
	T(a_prefix_that_no_request_holds_is_too_large),
	T(a_subscriber_does_not_hear_of_its_own_keys),
	T(numbers_at_the_end_of_their_range_do_no_harm),
	T(what_is_another_clients_is_refused),
};
TAP_MAIN
