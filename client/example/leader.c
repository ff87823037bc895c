/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leader election with hand-over.
 *
 *	leader NAME MYSELF
 *
 * Start it on several machines: one leads and works, the others wait. SIGTERM hands the leadership over
 * at once; after kill -9 another leads when the TTL has passed; a leader that loses the cluster stops
 * working before another one can begin, and stands for election again.
 */
#include <err.h>
#include <inttypes.h>
#include <pthread.h>
#include <quorate.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { TTL_S = 3, STEP_MS = 100 };

static void check(int rc, const struct quorate_error *e, const char *what)
{
	if (rc != QUORATE_OK)
		errx(1, "%s: %s", what, e->text);
}

static void say(const char *what, int64_t term)
{
	printf("%s %" PRId64 "\n", what, term);
	fflush(stdout);
}

static sigset_t stop_signals;
static atomic_bool stopping;

/* Waits to be asked to stop, then ends whatever goes on through the view. */
static void *stopper(void *view)
{
	int sig;

	sigwait(&stop_signals, &sig);
	atomic_store(&stopping, true);
	quorate_cancel_all(view);
	return NULL;
}

/*
 * One step of the leader's work, guarded by a compare, so that a leader that does not know yet that it
 * leads no more changes nothing. False: it leads no more.
 */
static bool step(struct quorate *q, const struct quorate_election *el, const char *name)
{
	struct quorate_compare leads = quorate_election_held(el);
	struct quorate_op then, op;
	struct quorate_txn txn = {&leads, 1, &then, 1, NULL, 0};
	struct quorate_result *r;
	char key[256];
	bool led;

	snprintf(key, sizeof key, "%s.work", name);
	then = quorate_op_put(quorate_str(key), quorate_election_key(el), 0);
	op = quorate_op_txn(&txn);
	op.flags = QUORATE_IDEMPOTENT;           /* done late, by the same leader, it says the same again */
	led = quorate_call(q, &op, TTL_S * 1000, &r, NULL) == QUORATE_OK && r->succeeded;
	quorate_result_free(r);
	return led;
}

/*
 * A session, however long the cluster cannot be reached; false: we are to stop before there is one. Not through
 * the view that is cancelled then: the session must end in good order.
 */
static bool session(struct quorate *q, struct quorate_session **s)
{
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_error e;
	int rc;

	o.ttl = TTL_S;
	do
		rc = quorate_session_open(q, &o, TTL_S * 1000, s, &e);
	while (rc != QUORATE_OK && e.again != QUORATE_AGAIN_NO && !atomic_load(&stopping));
	if (rc != QUORATE_OK && !atomic_load(&stopping))
		check(rc, &e, "session");
	return rc == QUORATE_OK;
}

/* Stands for election and leads, until that is lost, or we are to stop: QUORATE_ERR_CANCELED. */
static int lead(struct quorate *q, struct quorate *view, struct quorate_session *s, char **argv)
{
	struct quorate_election *el;
	struct quorate_error e;
	int rc = quorate_election_open(view, s, quorate_str(argv[1]), &el, &e);

	if (rc != QUORATE_OK)
		return rc;
	rc = quorate_election_campaign(el, quorate_str(argv[2]), QUORATE_FOREVER, &e);
	if (rc == QUORATE_OK)
		say("leading", quorate_election_token(el));
	while (rc == QUORATE_OK && step(q, el, argv[1]))
		if (quorate_election_lost(el, STEP_MS, &e) != QUORATE_ERR_TIMEOUT)
			rc = e.code;
	say(rc == QUORATE_ERR_CANCELED ? "resigning" : "lost", 0);
	quorate_election_close(el);              /* resigns, if there is something to resign from */
	return rc == QUORATE_ERR_CANCELED ? rc : QUORATE_ERR_LOST;
}

int main(int argc, char **argv)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate *q, *view;
	struct quorate_error e;
	pthread_t thread;
	int rc = QUORATE_OK;

	if (argc != 3)
		errx(100, "usage: leader NAME MYSELF");
	sigemptyset(&stop_signals);
	sigaddset(&stop_signals, SIGTERM);
	sigaddset(&stop_signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);   /* in all threads: before the first is made */
	o.endpoints = getenv("QUORATE_ENDPOINTS");
	check(quorate_open(&o, &q, &e), &e, "open");
	check(quorate_namespace(q, quorate_str(NULL), &view, &e), &e, "view");
	if (pthread_create(&thread, NULL, stopper, view) != 0)
		errx(1, "no thread");
	do {                                     /* once for each session */
		struct quorate_session *s;

		if (!session(q, &s))
			break;
		rc = lead(q, view, s, argv);
		quorate_session_close(s, 0, NULL);
	} while (rc == QUORATE_ERR_LOST);
	pthread_join(thread, NULL);
	quorate_close(view);
	quorate_close(q);
	return 0;
}
