/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recipes of libquorate, by lines of text, for tests/lib/recipes.py: each line of standard input is
 * a call, each answer a line of standard output. Words have no blanks. Objects are numbered as
 * they are made. `&` before a line: in a thread of its own, its answer comes when it comes.
 *
 *	session TTL | leave S | left S | revoke S
 *	lock S MODE NAME | acquire L MS | try L MS | release L | token L | lost L MS | close L
 *	campaign ... and so on: the table below
 *	crowd N NAME MS     that many sessions and locks, a thread each; each says `got`, and goes on at `next`
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/quorate.h"

enum { PLAYER_WORDS = 8, PLAYER_OBJECTS = 64, PLAYER_STACK = 256 * 1024 };

static struct quorate *player_q;
static struct quorate_session *sessions[PLAYER_OBJECTS];
static struct quorate_lock *locks[PLAYER_OBJECTS];
static struct quorate_election *elections[PLAYER_OBJECTS];
static struct quorate_observer *observers[PLAYER_OBJECTS];
static struct quorate_registration *registrations[PLAYER_OBJECTS];
static struct quorate_resolver *resolvers[PLAYER_OBJECTS];
static struct quorate_subscriber *subscribers[PLAYER_OBJECTS];
static struct quorate_message messages[PLAYER_OBJECTS];
static struct quorate_double_barrier *doubles[PLAYER_OBJECTS];
static struct quorate_work *works[PLAYER_OBJECTS];
static size_t n_doubles, n_works;
static size_t n_sessions, n_locks, n_elections, n_observers, n_registrations, n_resolvers, n_subscribers;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	va_list ap;

	(void)pthread_mutex_lock(&lock);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)putchar('\n');
	(void)fflush(stdout);
	(void)pthread_mutex_unlock(&lock);
}

static void say_rc(int rc, const struct quorate_error *e, int64_t value)
{
	if (rc == QUORATE_OK)
		say("ok %" PRId64, value);
	else
		say("error %d %d %s", rc, (int)e->again, e->text);
}

static int64_t number(char **w, int i)
{
	return w[i] != NULL ? strtoll(w[i], NULL, 10) : 0;
}

#define OBJECT(v, i) ((v)[(size_t)number(w, i) % PLAYER_OBJECTS])

/* ---- sessions and locks ---- */

static void do_session(char **w)
{
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_error e;
	int rc;

	o.ttl = number(w, 1);
	rc = quorate_session_open(player_q, &o, 0, &sessions[n_sessions], &e);
	say_rc(rc, &e, rc == QUORATE_OK ? quorate_session_lease(sessions[n_sessions++]) : 0);
}

static void do_leave(char **w)
{
	quorate_session_leave(OBJECT(sessions, 1));
	say("ok 0");
}

static void do_left(char **w)
{
	say("ok %" PRId64, quorate_session_left_ms(OBJECT(sessions, 1)));
}

static void do_lock(char **w)
{
	struct quorate_error e;
	int rc = quorate_lock_open(player_q, OBJECT(sessions, 1), quorate_str(w[3]),
				   (enum quorate_lock_mode)number(w, 2), &locks[n_locks], &e);

	say_rc(rc, &e, (int64_t)n_locks);
	n_locks += rc == QUORATE_OK;
}

static void do_acquire(char **w)
{
	struct quorate_error e;
	int rc = quorate_lock_acquire(OBJECT(locks, 1), number(w, 2), &e);

	say_rc(rc, &e, quorate_lock_token(OBJECT(locks, 1)));
}

static void do_try(char **w)
{
	struct quorate_error e;
	int rc = quorate_lock_try(OBJECT(locks, 1), number(w, 2), &e);

	say_rc(rc, &e, quorate_lock_token(OBJECT(locks, 1)));
}

static void do_release(char **w)
{
	struct quorate_error e;

	say_rc(quorate_lock_release(OBJECT(locks, 1), number(w, 2), &e), &e, 0);
}

static void do_token(char **w)
{
	say("ok %" PRId64, quorate_lock_token(OBJECT(locks, 1)));
}

static void do_lost(char **w)
{
	struct quorate_error e;
	int rc = quorate_lock_lost(OBJECT(locks, 1), number(w, 2), &e);

	if (rc == QUORATE_OK)
		say("lost %d %s", e.code, e.text);
	else
		say_rc(rc, &e, 0);
}

static void do_close(char **w)
{
	quorate_lock_close(OBJECT(locks, 1));
	say("ok 0");
}

/* A put that only the holder may do. */
static void do_guarded(char **w)
{
	struct quorate_compare held = quorate_lock_held(OBJECT(locks, 1));
	struct quorate_op then = quorate_op_put(quorate_str(w[2]), quorate_str(w[3]), 0), op;
	struct quorate_txn txn = {&held, 1, &then, 1, NULL, 0};
	struct quorate_result *r;
	struct quorate_error e;
	int rc;

	op = quorate_op_txn(&txn);
	rc = quorate_call(player_q, &op, 0, &r, &e);
	say_rc(rc, &e, rc == QUORATE_OK && r->succeeded);
	quorate_result_free(r);
}

/* ---- elections ---- */

static void do_election(char **w)
{
	struct quorate_error e;
	int rc = quorate_election_open(player_q, OBJECT(sessions, 1), quorate_str(w[2]), &elections[n_elections], &e);

	say_rc(rc, &e, (int64_t)n_elections);
	n_elections += rc == QUORATE_OK;
}

static void do_campaign(char **w)
{
	struct quorate_error e;
	int rc = quorate_election_campaign(OBJECT(elections, 1), quorate_str(w[3]), number(w, 2), &e);

	say_rc(rc, &e, quorate_election_token(OBJECT(elections, 1)));
}

static void do_proclaim(char **w)
{
	struct quorate_error e;

	say_rc(quorate_election_proclaim(OBJECT(elections, 1), quorate_str(w[2]), 0, &e), &e, 0);
}

static void do_resign(char **w)
{
	struct quorate_error e;

	say_rc(quorate_election_resign(OBJECT(elections, 1), 0, &e), &e, 0);
}

static void do_leader(char **w)
{
	struct quorate_result *r;
	struct quorate_error e;
	int rc = quorate_election_leader(player_q, quorate_str(w[1]), 0, &r, &e);

	if (rc == QUORATE_OK)
		say("leader %.*s", (int)r->kvs[0].value.size, (const char *)r->kvs[0].value.data);
	else
		say_rc(rc, &e, 0);
	quorate_result_free(r);
}

static void do_observe(char **w)
{
	struct quorate_error e;

	say_rc(quorate_observer_open(player_q, quorate_str(w[1]), &observers[n_observers++], &e), &e, 0);
}

static void do_observed(char **w)
{
	const struct quorate_kv *leader;
	struct quorate_error e;
	int rc = quorate_observer_next(OBJECT(observers, 1), number(w, 2), &leader, &e);

	if (rc != QUORATE_OK)
		say_rc(rc, &e, 0);
	else if (leader == NULL)
		say("nobody");
	else
		say("leader %.*s", (int)leader->value.size, (const char *)leader->value.data);
}

/* ---- services ---- */

static void do_register(char **w)
{
	struct quorate_service_options o = QUORATE_SERVICE_OPTIONS_INIT;
	struct quorate_error e;
	int rc;

	o.ttl = number(w, 1);
	o.session = o.ttl == 0 ? sessions[0] : NULL;
	o.service = quorate_str(w[2]);
	o.address = quorate_str(w[3]);
	o.metadata = quorate_str(w[4]);
	rc = quorate_register(player_q, &o, 0, &registrations[n_registrations], &e);
	say_rc(rc, &e, (int64_t)n_registrations);
	n_registrations += rc == QUORATE_OK;
}

static void do_update(char **w)
{
	struct quorate_error e;

	say_rc(quorate_registration_update(OBJECT(registrations, 1), quorate_str(w[2]), 0, &e), &e, 0);
}

static void do_renewals(char **w)
{
	say("ok %u", quorate_registration_renewals(OBJECT(registrations, 1)));
}

static void do_unregister(char **w)
{
	struct quorate_error e;

	say_rc(quorate_registration_close(OBJECT(registrations, 1), 0, &e), &e, 0);
}

static void do_resolve(char **w)
{
	struct quorate_error e;
	int rc = quorate_resolver_open(player_q, quorate_str(w[1]), 0, &resolvers[n_resolvers], &e);

	say_rc(rc, &e, (int64_t)n_resolvers);
	n_resolvers += rc == QUORATE_OK;
}

static void do_list(char **w)
{
	struct quorate_addresses *list;
	struct quorate_error e;
	int rc = quorate_resolver_next(OBJECT(resolvers, 1), number(w, 2), &list, &e);
	char text[4096] = "list";

	if (rc != QUORATE_OK) {
		say_rc(rc, &e, 0);
		return;
	}
	for (size_t i = 0, at = 4; i < list->n && at < sizeof text; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, " %s=%s", list->v[i].address, list->v[i].metadata);
	say("%s", text);
	quorate_addresses_free(list);
}

/* ---- subscribers ---- */

static void do_subscribe(char **w)
{
	struct quorate_subscriber_options o = QUORATE_SUBSCRIBER_OPTIONS_INIT;
	struct quorate_error e;
	int rc;

	o.prefix = quorate_str(w[1]);
	o.position = quorate_str(w[2]);
	o.start_revision = number(w, 3);
	rc = quorate_subscriber_open(player_q, &o, 0, &subscribers[n_subscribers], &e);
	say_rc(rc, &e, (int64_t)n_subscribers);
	n_subscribers += rc == QUORATE_OK;
}

static void do_read(char **w)
{
	struct quorate_message *m = &OBJECT(messages, 1);
	struct quorate_error e;
	int rc = quorate_subscriber_next(OBJECT(subscribers, 1), number(w, 2), m, &e);
	const struct quorate_kv *kv = rc == QUORATE_OK ? &m->event->kv : NULL;

	if (kv == NULL)
		say_rc(rc, &e, 0);
	else
		say("event %d %" PRId64 " %" PRId64 " %.*s %.*s", (int)m->event->type, m->revision, m->number,
		    (int)kv->key.size, (const char *)kv->key.data, (int)kv->value.size,
		    kv->value.size > 0 ? (const char *)kv->value.data : "");
}

static void do_ack(char **w)
{
	struct quorate_error e;

	say_rc(quorate_subscriber_ack(OBJECT(subscribers, 1), &OBJECT(messages, 1), 0, &e), &e, 0);
}

static void do_compacted(char **w)
{
	say("ok %" PRId64, quorate_subscriber_compacted(OBJECT(subscribers, 1)));
}

static void do_seek(char **w)
{
	struct quorate_error e;

	say_rc(quorate_subscriber_seek(OBJECT(subscribers, 1), number(w, 2), 0, &e), &e, 0);
}

static void do_unsubscribe(char **w)
{
	quorate_subscriber_close(OBJECT(subscribers, 1));
	say("ok 0");
}

/* ---- barriers and work ---- */

static void do_hold(char **w)
{
	struct quorate_error e;
	int64_t lease = number(w, 2) >= 0 ? quorate_session_lease(OBJECT(sessions, 2)) : 0;

	say_rc(quorate_barrier_hold(player_q, quorate_str(w[1]), lease, 0, &e), &e, 0);
}

static void do_unhold(char **w)
{
	struct quorate_error e;

	say_rc(quorate_barrier_release(player_q, quorate_str(w[1]), 0, &e), &e, 0);
}

static void do_enter(char **w)
{
	struct quorate_error e;
	int rc = quorate_double_barrier_enter(player_q, OBJECT(sessions, 1), quorate_str(w[2]), (unsigned)number(w, 3),
					      0, &doubles[n_doubles], &e);

	say_rc(rc, &e, (int64_t)n_doubles);
	n_doubles += rc == QUORATE_OK;
}

static void do_out(char **w)
{
	struct quorate_error e;

	say_rc(quorate_double_barrier_leave(OBJECT(doubles, 1), 0, &e), &e, 0);
}

static void do_bring(char **w)
{
	struct quorate_error e;

	say_rc(quorate_work_put(player_q, quorate_str(w[1]), 0, quorate_str(w[2]), 0, &e), &e, 0);
}

static void do_take(char **w)
{
	struct quorate_error e;
	int rc = quorate_work_take(player_q, OBJECT(sessions, 1), quorate_str(w[2]), 0, &works[n_works], &e);

	say_rc(rc, &e, (int64_t)n_works);
	n_works += rc == QUORATE_OK;
}

static void do_done(char **w)
{
	struct quorate_error e;

	say_rc(quorate_work_done(OBJECT(works, 1), number(w, 2), &e), &e, 0);
}

static void do_give(char **w)
{
	quorate_work_close(OBJECT(works, 1));
	say("ok 0");
}

/* ---- a crowd ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	char name[256];
	unsigned ready, may_go;
} crowd = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void crowd_wait_turn(void)
{
	(void)pthread_mutex_lock(&crowd.lock);
	while (crowd.may_go == 0)
		(void)pthread_cond_wait(&crowd.cond, &crowd.lock);
	crowd.may_go--;
	(void)pthread_mutex_unlock(&crowd.lock);
}

static void *crowd_run(void *arg)
{
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_session *s;
	struct quorate_lock *l;
	struct quorate_error e;
	int rc = quorate_session_open(player_q, &o, 120000, &s, &e);

	(void)arg;
	if (rc == QUORATE_OK)
		rc = quorate_lock_open(player_q, s, quorate_str(crowd.name), QUORATE_MUTEX, &l, &e);
	if (rc == QUORATE_OK)
		rc = quorate_lock_acquire(l, QUORATE_FOREVER, &e);
	if (rc != QUORATE_OK) {
		say("error %d %d %s", rc, (int)e.again, e.text);
		return NULL;
	}
	say("got %" PRId64, quorate_lock_token(l));
	crowd_wait_turn();
	rc = quorate_lock_release(l, 0, &e);
	if (rc != QUORATE_OK)
		say("error %d %d %s", rc, (int)e.again, e.text);
	quorate_lock_close(l);
	(void)quorate_session_close(s, 0, NULL);
	say("gone");
	return NULL;
}

static void do_crowd(char **w)
{
	pthread_attr_t small;
	pthread_t t;

	(void)snprintf(crowd.name, sizeof crowd.name, "%s", w[2]);
	(void)pthread_attr_init(&small);
	(void)pthread_attr_setstacksize(&small, PLAYER_STACK);
	(void)pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	for (int64_t i = number(w, 1); i > 0; i--)
		if (pthread_create(&t, &small, crowd_run, NULL) != 0)
			exit(1);
	(void)pthread_attr_destroy(&small);
	say("ok 0");
}

static void do_next(char **w)
{
	(void)pthread_mutex_lock(&crowd.lock);
	crowd.may_go += (unsigned)number(w, 1);
	(void)pthread_cond_broadcast(&crowd.cond);
	(void)pthread_mutex_unlock(&crowd.lock);
	say("ok 0");
}

/* ---- lines ---- */

#define VERBS(V) \
	V(session) V(leave) V(left) V(lock) V(acquire) V(try) V(release) V(token) V(lost) V(close) V(guarded) \
	V(election) V(campaign) V(proclaim) V(resign) V(leader) V(observe) V(observed) \
	V(register) V(update) V(renewals) V(unregister) V(resolve) V(list) \
	V(subscribe) V(read) V(ack) V(compacted) V(seek) V(unsubscribe) \
	V(hold) V(unhold) V(enter) V(out) V(bring) V(take) V(done) V(give) V(crowd) V(next)

static const struct verb {
	const char *name;
	void (*run)(char **w);
} verbs[] = {
#define VERB_ROW_(name) {#name, do_##name},
	VERBS(VERB_ROW_)
#undef VERB_ROW_
};

static void *run_line(void *arg)
{
	char *words[PLAYER_WORDS + 1] = {NULL}, *rest = NULL;
	int n = 0;

	for (char *w = strtok_r(arg, " \n", &rest); w != NULL && n < PLAYER_WORDS; w = strtok_r(NULL, " \n", &rest))
		words[n++] = w;
	for (size_t i = 0; n > 0 && i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(words[0], verbs[i].name) == 0) {
			verbs[i].run(words);
			n = -1;
		}
	}
	if (n > 0)
		say("what is %s", words[0]);
	free(arg);
	return NULL;
}

int main(void)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	char line[8192];

	o.endpoints = getenv("QUORATE_ENDPOINTS");
	if (quorate_open(&o, &player_q, &e) != QUORATE_OK)
		return 1;
	while (fgets(line, sizeof line, stdin) != NULL) {
		bool beside = line[0] == '&';
		char *copy = strdup(line + beside);
		pthread_t t;

		if (copy == NULL || (beside && pthread_create(&t, NULL, run_line, copy) != 0))
			return 1;
		if (beside)
			(void)pthread_detach(t);
		else
			(void)run_line(copy);
	}
	_Exit(0);                                /* threads may still be waiting */
}
