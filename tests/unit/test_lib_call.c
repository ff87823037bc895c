/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of libquorate that wait, against servers that answer, lie, stall, close and send garbage. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

TEST(the_numbers_of_the_header_are_the_protocols)
{
	static const struct {
		int code;
		int err;
	} same[] = {
#define S(name) {QUORATE_ERR_##name, ERR_##name}
		S(KEY_EMPTY), S(KEY_NOT_FOUND), S(VALUE_PROVIDED), S(LEASE_PROVIDED), S(TOO_MANY_OPS),
		S(DUPLICATE_KEY), S(SORT_OPTION), S(REQUEST_TOO_LARGE), S(COMPACTED), S(FUTURE_REV),
		S(LEASE_NOT_FOUND), S(LEASE_EXISTS), S(LEASE_TTL), S(BAD_ARGUMENT), S(SORT_TOO_LARGE),
		S(TXN_TOO_DEEP), S(RESPONSE_TOO_LARGE), S(TXN_TOO_LARGE), S(LEASE_KEYS),
		S(TOO_MANY_LEASES), S(WATCH_RANGE), S(WATCH_NOT_FOUND), S(TOO_MANY_WATCHES), S(NO_LEADER),
		S(LEADER_CHANGED), S(TIMEOUT), S(STOPPED), S(TOO_MANY_REQUESTS), S(NO_SPACE), S(CORRUPT),
		S(RESULT_LOST), S(OUTCOME_UNKNOWN), S(STORE_DOWN), S(BAD_TARGET), S(NOT_LEADER),
		S(MALFORMED), S(LIMIT), S(UNKNOWN_METHOD), S(UNIMPLEMENTED), S(IO), S(NO_MEMORY), S(FULL),
		S(CLOSED), S(INTERNAL), S(CANCELED),
#undef S
	};

	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		EQ_INT(same[i].code, same[i].err);
	EQ_INT(QUORATE_AGAIN_SAFE, ERR_AGAIN_SAFE);
	EQ_INT(QUORATE_AGAIN_UNSURE, ERR_AGAIN_UNSURE);
	EQ_INT(QUORATE_DESCEND, KV_ORDER_DESCEND);
	EQ_INT(QUORATE_SORT_VALUE, KV_SORT_VALUE);
	EQ_INT(QUORATE_SORT_CREATE, KV_SORT_CREATE);
	EQ_INT(QUORATE_TARGET_MOD, KV_TARGET_MOD);
	EQ_INT(QUORATE_TARGET_LEASE, KV_TARGET_LEASE);
	EQ_INT(QUORATE_GREATER, KV_GREATER);
	EQ_INT(QUORATE_NOT_EQUAL, KV_NOT_EQUAL);
}

TEST(puts_and_gets_say_what_was_answered)
{
	struct play p = {.acts = {ACT_OK}, .revision = 5}, last;
	struct quorate_result *r;
	struct quorate_error e;
	struct quorate *q;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(quorate_put(q, "colour", "blue", &e), QUORATE_OK);
	play_last(&p, &last);
	EQ_STR(last.method, "put");
	EQ_STR(last.key, "colour");
	EQ_STR(last.value, "blue");
	EQ_INT(quorate_get(q, "key", &r, &e), QUORATE_OK);
	EQ_INT(r->header.revision, 5);
	EQ_INT(r->header.member_id, 2);
	EQ_INT(r->n_kvs, 1);
	EQ_MEM(r->kvs[0].value.data, "value", 5);
	EQ_INT(r->kvs[0].mod_revision, 5);
	quorate_result_free(r);
	quorate_close(q);
	play_stop(&p);
}

TEST(a_transaction_is_one_struct_of_ops_and_compares)
{
	struct play p = {.acts = {ACT_OK}, .revision = 5};
	struct quorate_compare no_key = quorate_if_missing(quorate_str("key"));
	struct quorate_op ops[2] = {quorate_op_put(quorate_str("key"), quorate_str("value"), 0),
				    quorate_op_get(quorate_str("key"))};
	struct quorate_txn txn = {.compares = &no_key, .n_compares = 1, .then = ops, .n_then = 2};
	struct quorate_op op = quorate_op_txn(&txn);
	struct quorate_result *r;
	struct quorate_error e;
	struct quorate *q;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(quorate_call(q, &op, 0, &r, &e), QUORATE_OK);
	OK(r->succeeded);
	EQ_INT(r->n_results, 2);
	EQ_INT(r->results[0]->kind, QUORATE_PUT);
	EQ_INT(r->results[1]->kind, QUORATE_GET);
	EQ_MEM(r->results[1]->kvs[0].key.data, "key", 3);
	quorate_result_free(r);
	quorate_close(q);
	play_stop(&p);
}

TEST(what_makes_no_sense_is_refused_before_it_is_sent)
{
	struct play p = {.acts = {ACT_OK}};
	struct quorate_op op = quorate_op_get(quorate_str("key")), inner = quorate_op(QUORATE_STATUS);
	struct quorate_txn txn = {.then = &inner, .n_then = 1}, deep[10] = {{0}};
	struct quorate_op nested[10];
	struct {
		struct quorate_options o;
		long more;             /* of a header newer than the library... */
	} newer = {QUORATE_OPTIONS_INIT, 1};
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	struct quorate *q, *none;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	op.flags = QUORATE_PREV_KV;
	EQ_INT(quorate_call(q, &op, 0, NULL, &e), QUORATE_ERR_BAD_ARGUMENT);
	OK(e.text[0] != 0 && e.again == QUORATE_AGAIN_NO && e.endpoint[0] == 0);
	op = quorate_op_get(quorate_str(""));
	EQ_INT(quorate_call(q, &op, 0, NULL, NULL), QUORATE_ERR_KEY_EMPTY);
	op = quorate_op_get(quorate_str("key"));
	op.reserved[2] = 1;
	EQ_INT(quorate_call(q, &op, 0, NULL, NULL), QUORATE_ERR_BAD_ARGUMENT);
	op = quorate_op_txn(&txn);
	EQ_INT(quorate_call(q, &op, 0, NULL, NULL), QUORATE_ERR_BAD_ARGUMENT);
	op = quorate_op_txn(NULL);
	EQ_INT(quorate_call(q, &op, 0, NULL, NULL), QUORATE_ERR_BAD_ARGUMENT);
	for (size_t i = 0; i < 9; i++) {
		nested[i] = quorate_op_txn(&deep[i + 1]);
		deep[i] = (struct quorate_txn){.then = &nested[i], .n_then = 1};
	}
	op = quorate_op_txn(&deep[0]);
	EQ_INT(quorate_call(q, &op, 0, NULL, NULL), QUORATE_ERR_TXN_TOO_DEEP);
	op = quorate_op_get(quorate_str("key"));
	op.endpoint = "192.0.2.1:1";
	EQ_INT(quorate_call(q, &op, 0, NULL, &e), QUORATE_ERR_BAD_ARGUMENT);
	EQ_INT(fake_requests(p.server), 0);
	o.endpoints = "a:b:c";
	EQ_INT(quorate_open(&o, &none, &e), QUORATE_ERR_BAD_ARGUMENT);
	OK(none == NULL);
	newer.o.size = sizeof newer;
	EQ_INT(quorate_open(&newer.o, &none, &e), QUORATE_ERR_BAD_ARGUMENT);
	newer.more = 0;                /* ...whose new option is not used */
	EQ_INT(quorate_open(&newer.o, &none, &e), QUORATE_OK);
	quorate_close(none);
	quorate_close(q);
	play_stop(&p);
}

TEST(an_error_has_code_text_again_and_who_said_it)
{
	struct play p = {.acts = {ACT_ERROR}, .code = ERR_COMPACTED, .again = 0};
	struct quorate_error e;
	struct quorate *q;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(world_get(q, 0, NULL, &e), QUORATE_ERR_COMPACTED);
	EQ_STR(e.text, "as the server says");
	EQ_INT(e.again, QUORATE_AGAIN_NO);
	EQ_STR(e.endpoint, play_endpoint(&p));
	EQ_INT(fake_requests(p.server), 1);
	quorate_close(q);
	play_stop(&p);
}

TEST(what_was_not_done_is_repeated_elsewhere)
{
	struct play a = {.acts = {ACT_ERROR}, .code = ERR_NO_LEADER, .again = 1};
	struct play b = {.acts = {ACT_OK}, .revision = 9};
	struct quorate_error e;
	struct quorate *q;

	play_start(&a);
	play_start(&b);
	q = world_open(play_endpoint(&a), play_endpoint(&b), NULL);
	EQ_INT(world_put(q, 0, 0, &e), QUORATE_OK);
	EQ_INT(fake_requests(a.server), 1);
	EQ_INT(fake_requests(b.server), 1);
	quorate_close(q);
	play_stop(&a);
	play_stop(&b);
}

TEST(a_write_that_may_have_been_done_is_not_repeated)
{
	enum act ends[] = {ACT_CLOSE, ACT_GARBAGE};

	for (size_t i = 0; i < 2; i++) {
		struct play a = {.acts = {ends[i], ACT_OK}, .n = 2};
		struct quorate_error e;
		struct quorate *q;

		play_start(&a);
		q = world_open(play_endpoint(&a), NULL, NULL);
		OK(world_put(q, 0, 0, &e) != QUORATE_OK);
		EQ_INT(e.again, QUORATE_AGAIN_UNSURE);
		EQ_STR(e.endpoint, play_endpoint(&a));
		EQ_INT(fake_requests(a.server), 1);
		EQ_INT(world_put(q, 0, 0, &e), QUORATE_OK);
		quorate_close(q);
		play_stop(&a);
	}
}

TEST(a_read_and_a_write_that_may_be_done_twice_are_repeated)
{
	enum act ends[] = {ACT_CLOSE, ACT_GARBAGE, ACT_HALF};

	for (size_t i = 0; i < 3; i++) {
		struct play a = {.acts = {ends[i], ACT_OK}, .n = 2, .revision = 7};
		struct quorate_error e;
		struct quorate *q;
		int64_t rev;

		play_start(&a);
		q = world_open(play_endpoint(&a), NULL, NULL);
		EQ_INT(world_get(q, 0, &rev, &e), QUORATE_OK);
		EQ_INT(rev, 7);
		quorate_close(q);
		play_stop(&a);
	}
	for (size_t i = 0; i < 2; i++) {
		struct play a = {.acts = {ends[i], ACT_OK}, .n = 2};
		struct quorate_error e;
		struct quorate *q;

		play_start(&a);
		q = world_open(play_endpoint(&a), NULL, NULL);
		EQ_INT(world_put(q, 0, QUORATE_IDEMPOTENT, &e), QUORATE_OK);
		EQ_INT(fake_requests(a.server), 2);
		quorate_close(q);
		play_stop(&a);
	}
}

TEST(a_deadline_ends_a_write_that_is_not_answered)
{
	struct play p = {.acts = {ACT_SILENT, ACT_OK}, .n = 2};
	struct quorate_error e;
	struct quorate *q;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(world_put(q, 400, 0, &e), QUORATE_ERR_TIMEOUT);
	EQ_INT(e.again, QUORATE_AGAIN_UNSURE);
	EQ_STR(e.endpoint, play_endpoint(&p));
	EQ_INT(world_put(q, 0, 0, &e), QUORATE_OK);
	EQ_INT(fake_accepted(p.server), 1);   /* a slow answer is no reason to leave */
	quorate_close(q);
	play_stop(&p);
}

TEST(a_result_that_is_too_large_costs_nobody_else_anything)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct play p = {.acts = {ACT_BIG, ACT_OK}, .n = 2, .revision = 3};
	struct quorate_error e;
	struct quorate *q;
	int64_t rev;

	o.max_result_bytes = 1000000;
	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, &o);
	EQ_INT(world_get(q, 0, NULL, &e), QUORATE_ERR_RESPONSE_TOO_LARGE);
	EQ_INT(world_get(q, 0, &rev, &e), QUORATE_OK);
	EQ_INT(rev, 3);
	EQ_INT(fake_accepted(p.server), 1);
	quorate_close(q);
	play_stop(&p);
}

TEST(a_namespace_is_all_that_a_view_sees)
{
	struct play p = {.acts = {ACT_OK, ACT_OK, ACT_OK, ACT_OK, ACT_FOREIGN}, .n = 5, .revision = 3}, last;
	struct quorate_op op = quorate_op_delete(quorate_str("")), get = quorate_op_get(quorate_str("key"));
	struct quorate *q, *outer, *view;
	struct quorate_result *r;
	struct quorate_error e;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(quorate_namespace(q, quorate_str("oth"), &outer, &e), QUORATE_OK);
	EQ_INT(quorate_namespace(outer, quorate_str("ers/"), &view, &e), QUORATE_OK);
	EQ_INT(quorate_put(view, "a", "1", &e), QUORATE_OK);
	play_last(&p, &last);
	EQ_STR(last.key, "others/a");
	op.flags = QUORATE_FROM_KEY;
	EQ_INT(quorate_call(view, &op, 0, NULL, &e), QUORATE_OK);
	play_last(&p, &last);
	EQ_STR(last.key, "others/");
	EQ_STR(last.end, "others0");
	op.flags = QUORATE_PREFIX;
	op.key = quorate_str("b");
	EQ_INT(quorate_call(view, &op, 0, NULL, &e), QUORATE_OK);
	play_last(&p, &last);
	EQ_STR(last.key, "others/b");
	EQ_STR(last.end, "others/c");
	/* An answer with a key of somebody else is not believed... */
	EQ_INT(quorate_call(view, &get, 0, NULL, &e), QUORATE_ERR_MALFORMED);
	/* ...and one of ours comes without the prefix. */
	EQ_INT(quorate_call(view, &get, 0, &r, &e), QUORATE_OK);
	EQ_INT(r->kvs[0].key.size, 3);
	EQ_MEM(r->kvs[0].key.data, "key", 3);
	quorate_result_free(r);
	quorate_close(q);       /* in any order */
	quorate_close(view);
	quorate_close(outer);
	play_stop(&p);
}

/* ---- the keys of a lease, of which others have some ---- */

struct lease_pages {
	_Atomic unsigned asked;
	char after[4][32];             /* of each question, as text */
};

/* Three pages: nothing but others', one of ours between others', others' again. */
static bool lease_pages_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	static const char *const keys[][3] = {{"a", "b", "c"}, {"c/z", "ours/1", "p"}, {"q", "r", "s"}};
	struct lease_pages *l = arg;
	const struct native_time_to_live *t = r->params;
	struct native_lease_key v[3];
	struct native_time_to_live_result result = {.id = t->id, .ttl = 5, .granted_ttl = 9, .keys = {v, 3}};
	unsigned page = atomic_load(&l->asked);

	EQ_STR(r->method->name, "lease_time_to_live");
	EQ_INT(t->id, 77);
	OK(t->keys && page < 4);
	(void)snprintf(l->after[page], sizeof l->after[page], "%.*s", (int)t->after.len, (const char *)t->after.data);
	for (size_t i = 0; i < 3; i++)
		v[i].key = bytes_str(keys[page < 3 ? page : 2][i]);
	result.more = page < 2;
	fake_result(c, r, &result);
	atomic_fetch_add(&l->asked, 1);
	return true;
}

TEST(a_page_of_a_lease_with_nothing_but_keys_of_others_is_passed_over)
{
	struct lease_pages l = {.asked = 0};
	struct fake_setup s = {.serve = lease_pages_serve, .arg = &l};
	struct fake_server *server = fake_start(&s);
	struct quorate_op op = quorate_op(QUORATE_LEASE_TIME_TO_LIVE);
	struct quorate *q = world_open(fake_endpoint(server), NULL, NULL), *view;
	struct quorate_result *r;

	op.lease = 77;
	op.flags = QUORATE_LEASE_KEYS;
	EQ_INT(quorate_namespace(q, quorate_str("ours/"), &view, NULL), QUORATE_OK);
	EQ_INT(quorate_call(view, &op, 0, &r, NULL), QUORATE_OK);
	EQ_INT(atomic_load(&l.asked), 2);
	EQ_STR(l.after[0], "");
	EQ_STR(l.after[1], "c");
	OK(r->more);
	EQ_INT(r->n_kvs, 1);
	EQ_MEM(r->kvs[0].key.data, "1", 1);
	EQ_INT(r->granted_ttl, 9);
	quorate_result_free(r);
	op.key = quorate_str("1");
	EQ_INT(quorate_call(view, &op, 0, &r, NULL), QUORATE_OK);
	EQ_STR(l.after[2], "ours/1");
	OK(!r->more);                  /* and no key: what is behind it is not ours */
	EQ_INT(r->n_kvs, 0);
	quorate_result_free(r);
	quorate_close(view);
	quorate_close(q);
	fake_stop(&server);
}

/* ---- threads ---- */

enum { THREADS = 1000, THREAD_CALLS = 5 };

struct crowd {
	struct quorate *q;
	atomic_uint good;
};

static void *crowd_run(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < THREAD_CALLS; i++)
		if ((i % 2 ? world_get(c->q, 60000, NULL, NULL) : world_put(c->q, 60000, 0, NULL)) == QUORATE_OK)
			atomic_fetch_add(&c->good, 1);
	return NULL;
}

TEST(a_thousand_threads_share_one_client)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct play p = {.acts = {ACT_OK}, .revision = 3};
	static pthread_t threads[THREADS];
	struct crowd crowd = {.good = 0};
	pthread_attr_t attr;
	int n = 0;

	o.max_calls = 100;             /* the others wait for room */
	play_start(&p);
	crowd.q = world_open(play_endpoint(&p), NULL, &o);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, 256 * 1024);
	while (n < THREADS && pthread_create(&threads[n], &attr, crowd_run, &crowd) == 0)
		n++;
	(void)pthread_attr_destroy(&attr);
	for (int i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
	EQ_INT(n, THREADS);
	EQ_INT(atomic_load(&crowd.good), THREADS * THREAD_CALLS);
	EQ_INT(fake_accepted(p.server), 1);
	quorate_close(crowd.q);
	play_stop(&p);
}

struct waiter {
	struct quorate *view;
	struct quorate_error e;
};

static void *waiter_run(void *arg)
{
	struct waiter *w = arg;

	(void)world_put(w->view, QUORATE_FOREVER, 0, &w->e);
	return NULL;
}

TEST(a_view_can_be_cancelled_under_a_thread_that_waits)
{
	struct play p = {.acts = {ACT_SILENT, ACT_OK}, .n = 2};
	struct quorate *q;
	struct waiter w = {.e = {0}};
	pthread_t thread;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(quorate_namespace(q, quorate_str(""), &w.view, NULL), QUORATE_OK);
	EQ_INT(pthread_create(&thread, NULL, waiter_run, &w), 0);
	WORLD_UNTIL(fake_requests(p.server) == 1);
	quorate_cancel_all(w.view);
	(void)pthread_join(thread, NULL);
	EQ_INT(w.e.code, QUORATE_ERR_CANCELED);
	EQ_INT(w.e.again, QUORATE_AGAIN_UNSURE);   /* the server had it */
	EQ_INT(world_put(w.view, 0, 0, NULL), QUORATE_ERR_CANCELED);
	EQ_INT(world_put(q, 0, 0, NULL), QUORATE_OK);
	quorate_close(w.view);
	quorate_close(q);
	play_stop(&p);
}

TEST(a_child_is_refused_and_its_parent_works_on)
{
	struct play p = {.acts = {ACT_OK}, .revision = 3};
	struct quorate_error e;
	struct quorate *q;
	int status;
	pid_t pid;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(world_put(q, 0, 0, NULL), QUORATE_OK);
	pid = fork();
	if (pid == 0) {
		bool refused = world_put(q, 0, 0, &e) == QUORATE_ERR_BAD_ARGUMENT && e.text[0] != 0;

		quorate_close(q);
		_exit(refused ? 0 : 1);
	}
	OK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	EQ_INT(world_put(q, 0, 0, NULL), QUORATE_OK);
	quorate_close(q);
	play_stop(&p);
}

/* The child has none of the threads that its parent's recipes wait for, and are waited for by. */
TEST(a_child_is_refused_by_recipes_too_and_can_close_them)
{
	struct play p = {.acts = {ACT_OK, ACT_FOREIGN, ACT_ERROR}, .n = 3, .code = ERR_WATCH_RANGE, .revision = 3,
			 .ttl = 60, .kept_ttl = 60};
	struct quorate_resolver *rs;
	struct quorate_addresses *list;
	struct quorate_session *s;
	struct quorate_lock *l;
	struct quorate_work *work;
	struct quorate *q;
	int status;
	pid_t pid;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	EQ_INT(quorate_session_open(q, NULL, 0, &s, NULL), QUORATE_OK);
	EQ_INT(quorate_lock_open(q, s, quorate_str("lock"), QUORATE_MUTEX, &l, NULL), QUORATE_OK);
	EQ_INT(quorate_resolver_open(q, quorate_str("others"), 0, &rs, NULL), QUORATE_OK);
	EQ_INT(quorate_resolver_next(rs, 0, &list, NULL), QUORATE_OK);
	quorate_addresses_free(list);
	pid = fork();
	if (pid == 0) {
		bool refused;

		(void)alarm(20);       /* or it hangs */
		refused = quorate_lock_acquire(l, 0, NULL) == QUORATE_ERR_BAD_ARGUMENT &&
			  quorate_work_take(q, s, quorate_str("work"), 0, &work, NULL) == QUORATE_ERR_BAD_ARGUMENT &&
			  quorate_resolver_next(rs, QUORATE_FOREVER, &list, NULL) == QUORATE_ERR_BAD_ARGUMENT;
		quorate_lock_close(l);
		quorate_resolver_close(rs);
		quorate_session_leave(s);
		quorate_close(q);
		_exit(refused ? 0 : 1);
	}
	OK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	quorate_lock_close(l);
	quorate_resolver_close(rs);
	quorate_session_leave(s);
	quorate_close(q);
	play_stop(&p);
}

static int count_runs(struct quorate_stm *t, void *arg)
{
	(void)t;
	++*(int *)arg;
	return 0;
}

TEST(a_transactional_memory_without_time_left_does_not_take_the_clients)
{
	struct play p = {.acts = {ACT_OK}, .revision = 3};
	struct quorate_stm_options o = QUORATE_STM_OPTIONS_INIT;
	struct quorate_bytes keys[] = {quorate_str("key"), quorate_str("other")};
	struct quorate_error e;
	struct quorate *q;
	int runs = 0;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	o.prefetch = keys;
	o.n_prefetch = 2;
	EQ_INT(quorate_stm_run(q, &o, count_runs, &runs, 1, NULL, &e), QUORATE_ERR_TIMEOUT);
	EQ_INT(e.again, QUORATE_AGAIN_SAFE);
	EQ_INT(runs, 0);
	EQ_INT(quorate_stm_run(q, &o, count_runs, &runs, 0, NULL, &e), QUORATE_OK);
	EQ_INT(runs, 1);
	quorate_close(q);
	play_stop(&p);
}

TEST(options_of_a_newer_transactional_memory_are_refused)
{
	struct play p = {.acts = {ACT_OK}, .revision = 3};
	struct {
		struct quorate_stm_options o;
		uint64_t newer;
	} options = {QUORATE_STM_OPTIONS_INIT, 0};
	struct quorate_error e;
	struct quorate *q;
	int runs = 0;

	play_start(&p);
	q = world_open(play_endpoint(&p), NULL, NULL);
	options.o.size = sizeof options;
	EQ_INT(quorate_stm_run(q, &options.o, count_runs, &runs, 0, NULL, &e), QUORATE_OK);
	options.newer = 1;
	EQ_INT(quorate_stm_run(q, &options.o, count_runs, &runs, 0, NULL, &e), QUORATE_ERR_BAD_ARGUMENT);
	EQ_INT(runs, 1);
	quorate_close(q);
	play_stop(&p);
}

TESTS = {
	T(the_numbers_of_the_header_are_the_protocols),
	T(puts_and_gets_say_what_was_answered),
	T(a_transaction_is_one_struct_of_ops_and_compares),
	T(what_makes_no_sense_is_refused_before_it_is_sent),
	T(an_error_has_code_text_again_and_who_said_it),
	T(what_was_not_done_is_repeated_elsewhere),
	T(a_write_that_may_have_been_done_is_not_repeated),
	T(a_read_and_a_write_that_may_be_done_twice_are_repeated),
	T(a_deadline_ends_a_write_that_is_not_answered),
	T(a_result_that_is_too_large_costs_nobody_else_anything),
	T(a_namespace_is_all_that_a_view_sees),
	T(a_page_of_a_lease_with_nothing_but_keys_of_others_is_passed_over),
	T(a_thousand_threads_share_one_client),
	T(a_view_can_be_cancelled_under_a_thread_that_waits),
	T(a_child_is_refused_and_its_parent_works_on),
	T(a_child_is_refused_by_recipes_too_and_can_close_them),
	T(a_transactional_memory_without_time_left_does_not_take_the_clients),
	T(options_of_a_newer_transactional_memory_are_refused),
};
TAP_MAIN
