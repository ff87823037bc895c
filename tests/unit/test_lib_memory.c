/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out once, at the Nth allocation of libquorate in whatever thread, for every N until a
 * whole session of calls, a watch and a lease needs no more. Each call ends, with success or an error in
 * words; the client works on; and the sanitizer build sees what is lost on the way. The linker
 * sends the allocations here (--wrap). The servers are another process, so that none is theirs.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

static atomic_long left;               /* 0 or less: not armed; 1: the next one fails */
static atomic_bool hit;

static bool fails(void)
{
	if (atomic_load(&left) <= 0 || atomic_fetch_sub(&left, 1) != 1)
		return false;
	atomic_store(&hit, true);
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

/* ---- servers in another process ---- */

static pid_t servers_start(char *endpoint, size_t len)
{
	int ends[2];
	ssize_t n;
	pid_t pid;

	CHECK(pipe(ends) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		static struct play p = {.acts = {ACT_OK}, .revision = 5, .ttl = 60, .kept_ttl = 60};

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		play_start(&p);
		CHECK(write(ends[1], play_endpoint(&p), strlen(play_endpoint(&p)) + 1) > 0);
		for (;;)
			(void)pause();
	}
	n = read(ends[0], endpoint, len);
	CHECK(n > 0);
	(void)close(ends[0]);
	(void)close(ends[1]);
	return pid;
}

/* ---- a session ---- */

/* A refusal is said in words; a success is one. */
static void said(int rc, const struct quorate_error *e)
{
	EQ_INT(rc, e->code);
	OK(rc == QUORATE_OK || e->text[0] != 0);
}

static void count_done(void *arg, struct quorate_result *r, const struct quorate_error *e)
{
	unsigned *n = arg;

	said(e->code, e);
	OK((e->code == QUORATE_OK) == (r != NULL));
	quorate_result_free(r);
	(*n)++;
}

static void calls(struct quorate *q)
{
	struct quorate_compare no_key = quorate_if_missing(quorate_str("key"));
	struct quorate_op ops[2] = {quorate_op_put(quorate_str("key"), quorate_str("value"), 0),
				    quorate_op_get(quorate_str("key"))};
	struct quorate_txn txn = {.compares = &no_key, .n_compares = 1, .then = ops, .n_then = 2};
	struct quorate_op op = quorate_op_txn(&txn), status = quorate_op(QUORATE_STATUS);
	struct quorate_error e;
	struct quorate_result *r;

	said(world_put(q, 10000, QUORATE_IDEMPOTENT, &e), &e);
	said(world_get(q, 10000, NULL, &e), &e);
	said(quorate_call(q, &op, 10000, &r, &e), &e);
	quorate_result_free(r);
	said(quorate_call(q, &status, 10000, &r, &e), &e);
	quorate_result_free(r);
}

static void async(struct quorate *q)
{
	struct quorate_op op = quorate_op_put(quorate_str("key"), quorate_str("value"), 0);
	struct quorate_queue *queue;
	struct quorate_error e;
	unsigned done = 0, begun = 0;
	int rc = quorate_queue_open(q, &queue, &e);

	said(rc, &e);
	if (rc != QUORATE_OK)
		return;
	for (int i = 0; i < 3; i++) {
		rc = quorate_submit(q, queue, &op, 10000, count_done, &done, NULL, &e);
		said(rc, &e);
		begun += rc == QUORATE_OK;
	}
	while (done < begun)
		OK(quorate_dispatch(queue, 30000, 0) > 0);
	quorate_queue_close(queue);
}

static void leases(struct quorate *q)
{
	struct quorate_session *s;
	struct quorate_error e;
	int rc = quorate_session_open(q, NULL, 10000, &s, &e);

	said(rc, &e);
	if (rc == QUORATE_OK)
		said(quorate_session_close(s, 10000, &e), &e);
}

/* It begins, or it ends and says why; and then it says so again. */
static void watches(struct quorate *q)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_news *news;
	struct quorate_watch *w;
	struct quorate_error e;
	int rc;

	o.key = quorate_str("key");
	rc = quorate_watch_open(q, &o, &w, &e);
	said(rc, &e);
	if (rc != QUORATE_OK)
		return;
	rc = quorate_watch_next(w, 30000, &news, &e);
	said(rc, &e);
	OK(rc != QUORATE_ERR_TIMEOUT);
	if (rc == QUORATE_OK)
		OK(news->kind == QUORATE_BEGUN || news->error->text[0] != 0);
	quorate_news_free(news);
	quorate_watch_close(w);
}

static void everything(struct quorate *q)
{
	struct quorate *view;
	struct quorate_error e;

	calls(q);
	async(q);
	leases(q);
	watches(q);
	said(quorate_namespace(q, quorate_str(""), &view, &e), &e);
	quorate_close(view);
}

/* ---- recipes ---- */

static void locks(struct quorate *q, struct quorate_session *s)
{
	struct quorate_bytes name = quorate_str("name");
	struct quorate_election *el;
	struct quorate_lock *l;
	struct quorate_error e;

	if (quorate_lock_open(q, s, name, QUORATE_MUTEX, &l, &e) == QUORATE_OK) {
		said(quorate_lock_acquire(l, 10000, &e), &e);
		said(quorate_lock_release(l, 10000, &e), &e);
		said(quorate_lock_try(l, 10000, &e), &e);
		quorate_lock_close(l);
	}
	said(e.code, &e);
	if (quorate_election_open(q, s, name, &el, &e) == QUORATE_OK) {
		said(quorate_election_campaign(el, name, 10000, &e), &e);
		said(quorate_election_proclaim(el, quorate_str("other"), 10000, &e), &e);
		quorate_election_close(el);
	}
	said(e.code, &e);
}

static void observers(struct quorate *q)
{
	const struct quorate_kv *leader;
	struct quorate_observer *ob;
	struct quorate_error e;

	if (quorate_observer_open(q, quorate_str("key"), &ob, &e) == QUORATE_OK) {
		said(quorate_observer_next(ob, 10000, &leader, &e), &e);
		said(quorate_observer_next(ob, 0, &leader, &e), &e);
		quorate_observer_close(ob);
	}
	said(e.code, &e);
}

static int add_one(struct quorate_stm *t, void *arg)
{
	const struct quorate_kv *kv;
	int rc = quorate_stm_get(t, quorate_str("key"), &kv);

	(void)arg;
	if (rc == QUORATE_OK)
		rc = quorate_stm_put(t, quorate_str("key"), quorate_str("more"), 0);
	return rc;
}

static void transactions(struct quorate *q)
{
	struct quorate_stm_options o = QUORATE_STM_OPTIONS_INIT;
	struct quorate_bytes keys[] = {quorate_str("key"), quorate_str("other")};
	struct quorate_error e;

	said(quorate_stm_run(q, NULL, add_one, NULL, 10000, NULL, &e), &e);
	o.prefetch = keys;
	o.n_prefetch = 2;
	said(quorate_stm_run(q, &o, add_one, NULL, 10000, NULL, &e), &e);
	said(quorate_barrier_hold(q, quorate_str("key"), 0, 10000, &e), &e);
	said(quorate_barrier_release(q, quorate_str("key"), 10000, &e), &e);
}

static void subscribers(struct quorate *q)
{
	struct quorate_subscriber_options o = QUORATE_SUBSCRIBER_OPTIONS_INIT;
	struct quorate_message m;
	struct quorate_subscriber *s;
	struct quorate_error e;

	o.prefix = quorate_str("prefix/");
	o.position = quorate_str("position");
	if (quorate_subscriber_open(q, &o, 10000, &s, &e) == QUORATE_OK) {
		said(quorate_subscriber_next(s, 0, &m, &e), &e);
		said(quorate_subscriber_seek(s, 0, 10000, &e), &e);
		said(quorate_subscriber_ack(s, NULL, 10000, &e), &e);
		quorate_subscriber_close(s);
	}
	said(e.code, &e);
}

static void services(struct quorate *q, struct quorate_session *s)
{
	struct quorate_service_options o = QUORATE_SERVICE_OPTIONS_INIT;
	struct quorate_registration *r;
	struct quorate_addresses *list;
	struct quorate_resolver *rs;
	struct quorate_work *w;
	struct quorate_error e;

	o.service = o.address = o.metadata = quorate_str("key");
	for (int own = 0; own < 2; own++) {
		o.session = own ? NULL : s;
		if (quorate_register(q, &o, 10000, &r, &e) == QUORATE_OK) {
			said(quorate_registration_update(r, quorate_str("new"), 10000, &e), &e);
			said(quorate_registration_close(r, 10000, &e), &e);
		}
		said(e.code, &e);
	}
	if (quorate_resolver_open(q, quorate_str("others"), 10000, &rs, &e) == QUORATE_OK) {
		said(quorate_resolver_next(rs, 0, &list, &e), &e);
		quorate_addresses_free(list);
		quorate_resolver_close(rs);
	}
	said(e.code, &e);
	said(quorate_work_put(q, quorate_str("queue"), 1, quorate_str("value"), 10000, &e), &e);
	if (quorate_work_take(q, s, quorate_str("queue"), 10000, &w, &e) == QUORATE_OK)
		quorate_work_close(w);
	said(e.code, &e);
}

static void recipes(struct quorate *q)
{
	struct quorate_session *s;
	struct quorate_error e;

	if (quorate_session_open(q, NULL, 10000, &s, &e) == QUORATE_OK) {
		locks(q, s);
		services(q, s);
		quorate_session_leave(s);
	}
	said(e.code, &e);
	observers(q);
	transactions(q);
	subscribers(q);
}

/* True while the Nth allocation was asked for. */
static bool session(const char *endpoint, long nth, void (*run)(struct quorate *q))
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	struct quorate *q;
	int rc;

	o.endpoints = endpoint;
	atomic_store(&hit, false);
	atomic_store(&left, nth);
	rc = quorate_open(&o, &q, &e);
	said(rc, &e);
	OK((rc == QUORATE_OK) == (q != NULL));
	if (q != NULL)
		run(q);
	atomic_store(&left, 0);
	if (q != NULL) {   /* there is memory again: it works on, without being opened anew */
		EQ_INT(world_put(q, 10000, 0, &e), QUORATE_OK);
		EQ_INT(world_get(q, 10000, NULL, &e), QUORATE_OK);
		quorate_close(q);
	}
	return atomic_load(&hit);
}

static void outlive(void (*run)(struct quorate *q))
{
	char endpoint[64];
	pid_t pid = servers_start(endpoint, sizeof endpoint);
	long nth = 1;

	while (session(endpoint, nth, run)) {
		nth++;
		OK(nth < 10000);
	}
	OK(nth > 50);                  /* else nothing was tested */
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

TEST(a_client_outlives_every_allocation_that_fails)
{
	outlive(everything);
}

TEST(recipes_outlive_every_allocation_that_fails)
{
	outlive(recipes);
}

TESTS = {
	T(a_client_outlives_every_allocation_that_fails),
	T(recipes_outlive_every_allocation_that_fails),
};
TAP_MAIN
