/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program written from quorate.h alone, built outside the source tree with pkg-config: see
 * test_library.py. It uses a bit of everything, and says "done" if all was as the header says.
 *
 *	outside ENDPOINTS             once through
 *	outside ENDPOINTS attacked    puts, and watches what it puts; daemons may die from the line "attack" on until its
 *	                              standard input is closed; then the same
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <quorate.h>

#define MUST(call) must((call), &e, #call, __LINE__)

static struct quorate_error e;

static void must(int code, const struct quorate_error *why, const char *what, int line)
{
	if (code == QUORATE_OK)
		return;
	printf("line %d: %s: %d %s (%s)\n", line, what, code, why->text, why->endpoint);
	exit(1);
}

static void check(int good, const char *what)
{
	if (good)
		return;
	printf("not so: %s\n", what);
	exit(1);
}

static int is(struct quorate_bytes b, const char *s)
{
	return b.size == strlen(s) && memcmp(b.data, s, b.size) == 0;
}

static void simple_calls(struct quorate *q)
{
	struct quorate_result *r;
	struct quorate_compare blue;
	struct quorate_op op, then[2];
	struct quorate_txn txn;

	MUST(quorate_put(q, "colour", "blue", &e));
	MUST(quorate_get(q, "colour", &r, &e));
	check(r->n_kvs == 1 && is(r->kvs[0].value, "blue"), "what was put is there");
	quorate_result_free(r);
	memset(&txn, 0, sizeof txn);
	blue = quorate_if_value(quorate_str("colour"), QUORATE_EQUAL, quorate_str("blue"));
	then[0] = quorate_op_put(quorate_str("colour"), quorate_str("red"), 0);
	then[0].flags = QUORATE_PREV_KV;
	then[1] = quorate_op_get(quorate_str(""));
	then[1].flags = QUORATE_PREFIX | QUORATE_KEYS_ONLY;
	txn.compares = &blue;
	txn.n_compares = 1;
	txn.then = then;
	txn.n_then = 2;
	op = quorate_op_txn(&txn);
	MUST(quorate_call(q, &op, 0, &r, &e));
	check(r->succeeded && r->n_results == 2, "a transaction");
	check(is(r->results[0]->kvs[0].value, "blue"), "the pair before");
	check(r->results[1]->n_kvs == 2 && is(r->results[1]->kvs[1].key, "colour"), "the namespace alone");
	quorate_result_free(r);
	MUST(quorate_call(q, &op, 0, &r, &e));
	check(!r->succeeded && r->n_results == 0, "it is red now");
	quorate_result_free(r);
	op = quorate_op_get(quorate_str("colour"));
	op.revision = 1000000000;
	check(quorate_call(q, &op, 0, &r, &e) == QUORATE_ERR_FUTURE_REV && r == NULL, "a future revision");
	check(e.again == QUORATE_AGAIN_NO && e.endpoint[0] != 0, "and who said so");
	MUST(quorate_delete(q, "colour", &e));
}

static void every_kind(struct quorate *q, struct quorate *all, const char *endpoint)
{
	static const enum quorate_kind kinds[] = {QUORATE_STATUS, QUORATE_MEMBERS, QUORATE_HASH,
						  QUORATE_SERVER_VERSION, QUORATE_LEASE_LIST};
	struct quorate_op op = quorate_op(QUORATE_LEASE_GRANT);
	struct quorate_result *r;
	int64_t lease;
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct quorate_op ask = quorate_op(kinds[i]);

		ask.endpoint = endpoint;
		MUST(quorate_call(all, &ask, 0, &r, &e));
		check(r->kind == kinds[i], "the kind of a result");
		quorate_result_free(r);
	}
	op.ttl = 60;
	MUST(quorate_call(q, &op, 0, &r, &e));
	lease = r->lease;
	quorate_result_free(r);
	op = quorate_op_put(quorate_str("leased"), quorate_str("x"), lease);
	MUST(quorate_call(q, &op, 0, NULL, &e));
	op = quorate_op(QUORATE_LEASE_TIME_TO_LIVE);
	op.lease = lease;
	op.flags = QUORATE_LEASE_KEYS;
	MUST(quorate_call(q, &op, 0, &r, &e));
	check(r->granted_ttl == 60 && r->n_kvs == 1 && is(r->kvs[0].key, "leased"), "what a lease has");
	quorate_result_free(r);
	op = quorate_op(QUORATE_LEASE_REVOKE);
	op.lease = lease;
	MUST(quorate_call(q, &op, 0, NULL, &e));
	MUST(quorate_get(q, "leased", &r, &e));
	check(r->n_kvs == 0, "its key went with it");
	op = quorate_op(QUORATE_COMPACT);
	op.revision = r->header.revision;
	quorate_result_free(r);
	MUST(quorate_call(q, &op, 0, NULL, &e));
	op = quorate_op(QUORATE_MOVE_LEADER);   /* whoever leads */
	MUST(quorate_call(q, &op, 0, NULL, &e));
}

static void a_session(struct quorate *q)
{
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_session *s;
	struct quorate_result *r;
	struct quorate_op op;

	o.ttl = 2;
	MUST(quorate_session_open(q, &o, 0, &s, &e));
	op = quorate_op_put(quorate_str("alive"), quorate_str("yes"), quorate_session_lease(s));
	MUST(quorate_call(q, &op, 0, NULL, &e));
	check(quorate_session_wait(s, 3000, &e) == QUORATE_ERR_TIMEOUT, "it outlives its TTL");
	check(quorate_session_left_ms(s) > 0, "and can be relied on");
	MUST(quorate_session_close(s, 0, &e));
	MUST(quorate_get(q, "alive", &r, &e));
	check(r->n_kvs == 0, "its keys go with it");
	quorate_result_free(r);
}

/* ---- everything at once: puts through a queue, and a watch that sees each of them once ---- */

struct busy {
	struct quorate *q;
	struct quorate_queue *queue;
	unsigned begun, done, seen, unsure;
	int64_t last;                  /* revision seen */
};

static void put_done(void *arg, struct quorate_result *r, const struct quorate_error *why)
{
	struct busy *b = arg;

	b->done++;
	b->unsure += why->again == QUORATE_AGAIN_UNSURE;
	if (why->code != QUORATE_OK && why->again != QUORATE_AGAIN_UNSURE)
		must(why->code, why, "a put", __LINE__);
	quorate_result_free(r);
}

static void news(void *arg, struct quorate_watch *w)
{
	struct busy *b = arg;
	struct quorate_news *n;
	size_t i;

	while (quorate_watch_next(w, 0, &n, &e) == QUORATE_OK) {
		check(n->kind == QUORATE_BEGUN || n->kind == QUORATE_EVENTS, "the watch goes on");
		for (i = 0; i < n->n_events; i++) {
			check(n->events[i].kv.mod_revision > b->last, "in order, and once");
			b->last = n->events[i].kv.mod_revision;
			b->seen++;
		}
		quorate_news_free(n);
	}
}

static void put_one(struct busy *b)
{
	struct quorate_op op = quorate_op_put(quorate_str("busy"), quorate_str("value"), 0);

	MUST(quorate_submit(b->q, b->queue, &op, 30000, put_done, b, NULL, &e));
	b->begun++;
}

/* Waits for the queue, and while it is open for the standard input, whose end closes it. */
static void wait_for(struct pollfd p[2])
{
	check(poll(p, 2, 30000) >= 1, "something comes in time");
	if (p[1].revents != 0)
		p[1].fd = -1;
}

static void busy(struct quorate *q, int attacked)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct busy b;
	struct quorate_watch *w;
	struct quorate_result *r;
	struct pollfd p[2];

	memset(&b, 0, sizeof b);
	b.q = q;
	MUST(quorate_queue_open(q, &b.queue, &e));
	p[0].fd = quorate_queue_fd(b.queue);
	p[1].fd = attacked ? STDIN_FILENO : -1;
	p[0].events = p[1].events = POLLIN;
	MUST(quorate_delete(q, "busy", &e));
	MUST(quorate_get(q, "busy", &r, &e));
	o.key = quorate_str("busy");
	o.start_revision = r->header.revision + 1;
	quorate_result_free(r);
	o.queue = b.queue;
	o.ready = news;
	o.arg = &b;
	MUST(quorate_watch_open(q, &o, &w, &e));
	if (attacked) {
		puts("attack");
		fflush(stdout);
	}
	while (b.begun < 1000 || p[1].fd >= 0 || b.done < b.begun || b.seen + b.unsure < b.done) {
		while (b.begun - b.done < 64 && (b.begun < 1000 || p[1].fd >= 0))
			put_one(&b);
		wait_for(p);
		(void)quorate_dispatch(b.queue, 0, 0);
	}
	check(b.seen <= b.done, "no event comes twice");
	MUST(quorate_get(q, "busy", &r, &e));
	check(r->kvs[0].version <= (int64_t)b.done && r->kvs[0].version >= (int64_t)(b.done - b.unsure),
	      "each put was done once");
	printf("%u puts, %u of them unsure, %u seen\n", b.done, b.unsure, b.seen);
	quorate_result_free(r);
	quorate_watch_close(w);
	quorate_queue_close(b.queue);
}

int main(int argc, char **argv)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate *q, *mine;
	char first[100];

	o.endpoints = argv[1];
	o.timeout_ms = 30000;
	MUST(quorate_open(&o, &q, &e));
	MUST(quorate_namespace(q, quorate_str("outside/"), &mine, &e));
	snprintf(first, sizeof first, "%.*s", (int)strcspn(argv[1], ","), argv[1]);
	busy(mine, argc > 2 && strcmp(argv[2], "attacked") == 0);
	simple_calls(mine);
	every_kind(mine, q, first);
	a_session(mine);
	quorate_close(mine);
	quorate_close(q);
	puts("done");
	return 0;
}
