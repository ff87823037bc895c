/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libquorate costs above the protocol: the same requests by one thread on a bare connection
 * (client/conn.h, the raw driver), and by one thread through a queue of the library, in turns.
 *
 *   bench_library ENDPOINT [SECONDS OF A TURN [TURNS [INFLIGHT]]]
 *
 * Prints a line for each kind of request: the medians of the turns' rates, their ratio, and CPU of
 * this process per request. The cluster should be one of its own.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/err.h"
#include "client/conn.h"
#include "client/endpoints.h"
#include "client/quorate.h"

enum { KEYS = 10000, VALUE_BYTES = 256, MAX_TURNS = 99, MAX_INFLIGHT = 1024 };

enum kind { PUT, GET, GET_SERIALIZABLE, KINDS };
static const char *const kind_names[KINDS] = {"put", "get, linearizable", "get, serializable"};

static struct {
	enum kind kind;
	unsigned inflight;
	uint64_t random, done, errors;
	mono_t until;
	char value[VALUE_BYTES], key[32];
	/* the raw driver */
	struct client_conn *conn;
	struct client_flight flights[MAX_INFLIGHT];
	/* the library */
	struct quorate *q;
	struct quorate_queue *queue;
	unsigned under_way;
} bench;

static void die(const char *why)
{
	fprintf(stderr, "bench_library: %s\n", why);
	exit(111);
}

static const char *key(void)
{
	(void)snprintf(bench.key, sizeof bench.key, "bench/%08u",
		       (unsigned)client_random(&bench.random, KEYS));
	return bench.key;
}

/* ---- the raw driver ---- */

static bool raw_send(struct client_flight *f)
{
	struct kv_put put = {.key = bytes_str(key()), .value = bytes_of(bench.value, VALUE_BYTES)};
	struct kv_range range = {.key = put.key, .serializable = bench.kind == GET_SERIALIZABLE};

	if (!mono_before(mono_now(), bench.until))
		return false;
	f->method = native_method_find(bytes_str(bench.kind == PUT ? "put" : "range"));
	return client_conn_send(bench.conn, f, bench.kind == PUT ? (void *)&put : (void *)&range) == ERR_OK;
}

static void raw_done(struct client_flight *f, const struct client_reply *reply)
{
	bench.done++;
	bench.errors += reply->err != ERR_OK;
	(void)raw_send(f);
}

static void raw_turn(void)
{
	for (unsigned i = 0; i < bench.inflight; i++) {
		bench.flights[i] = (struct client_flight){.done = raw_done};
		if (!raw_send(&bench.flights[i]))
			die("cannot send");
	}
	while (client_conn_flights(bench.conn) > 0) {
		if (client_conn_queued(bench.conn) > 0)
			(void)client_conn_turn(bench.conn);
		if (client_conn_wait(bench.conn, mono_add_ms(mono_now(), 1000)) != ERR_OK)
			die("the connection was lost");
	}
}

/* ---- the library ---- */

static void lib_done(void *arg, struct quorate_result *r, const struct quorate_error *e);

static bool lib_send(void)
{
	struct quorate_op op;

	if (!mono_before(mono_now(), bench.until))
		return false;
	if (bench.kind == PUT)
		op = quorate_op_put(quorate_str(key()), quorate_bytes(bench.value, VALUE_BYTES), 0);
	else
		op = quorate_op_get(quorate_str(key()));
	op.flags = bench.kind == GET_SERIALIZABLE ? QUORATE_SERIALIZABLE : 0;
	bench.under_way++;
	return quorate_submit(bench.q, bench.queue, &op, 0, lib_done, NULL, NULL, NULL) == QUORATE_OK;
}

static void lib_done(void *arg, struct quorate_result *r, const struct quorate_error *e)
{
	(void)arg;
	bench.under_way--;
	bench.done++;
	bench.errors += e->code != QUORATE_OK;
	quorate_result_free(r);
	(void)lib_send();
}

static void lib_turn(void)
{
	for (unsigned i = 0; i < bench.inflight; i++)
		if (!lib_send())
			die("cannot submit");
	while (bench.under_way > 0)
		(void)quorate_dispatch(bench.queue, 1000, 0);
}

/* ---- turns ---- */

struct figure {
	double rate, cpu_us;
};

static double cpu_seconds(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct figure turn(void (*run)(void), double seconds)
{
	mono_t begun = mono_now();
	double cpu = cpu_seconds(), took;

	bench.done = 0;
	bench.until = mono_add_ms(begun, (int64_t)(seconds * 1000));
	run();
	took = (double)mono_sub_us(mono_now(), begun) / 1e6;
	return (struct figure){(double)bench.done / took, (cpu_seconds() - cpu) * 1e6 / (double)bench.done};
}

static int by_rate(const void *a, const void *b)
{
	const struct figure *x = a, *y = b;

	return x->rate < y->rate ? -1 : x->rate > y->rate;
}

static void compare(enum kind kind, double seconds, unsigned turns)
{
	static struct figure raw[MAX_TURNS], lib[MAX_TURNS];

	bench.kind = kind;
	for (unsigned i = 0; i < turns; i++) {
		raw[i] = turn(raw_turn, seconds);
		lib[i] = turn(lib_turn, seconds);
	}
	qsort(raw, turns, sizeof *raw, by_rate);
	qsort(lib, turns, sizeof *lib, by_rate);
	printf("%-18s %4u in flight  raw %8.0f/s %5.2f us  library %8.0f/s %5.2f us  ratio %.2f\n",
	       kind_names[kind], bench.inflight, raw[turns / 2].rate, raw[turns / 2].cpu_us, lib[turns / 2].rate,
	       lib[turns / 2].cpu_us, lib[turns / 2].rate / raw[turns / 2].rate);
	fflush(stdout);
}

static void setup(const char *endpoint)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct client_endpoints e;
	struct quorate_error why;
	char text[256];

	if (client_endpoints_parse(&e, endpoint, CLIENT_LOOKUP, 1, text, sizeof text) != ERR_OK)
		die(text);
	if (client_conn_open((struct sockaddr *)&e.v[0].addr, e.v[0].addr_len, MAX_INFLIGHT, &bench.conn) != ERR_OK)
		die("cannot connect");
	o.endpoints = endpoint;
	if (quorate_open(&o, &bench.q, &why) != QUORATE_OK || quorate_queue_open(bench.q, &bench.queue, &why) != QUORATE_OK)
		die(why.text);
	for (size_t i = 0; i < VALUE_BYTES; i++)
		bench.value[i] = (char)(33 + client_random(&bench.random, 94));
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 1;
	unsigned turns = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 7;

	bench.inflight = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 256;
	if (argc < 2 || seconds <= 0 || turns < 1 || turns > MAX_TURNS || bench.inflight < 1 ||
	    bench.inflight > MAX_INFLIGHT) {
		fprintf(stderr, "usage: bench_library ENDPOINT [SECONDS [TURNS [INFLIGHT]]]\n");
		return 100;
	}
	setup(argv[1]);
	for (enum kind k = PUT; k < KINDS; k++)
		compare(k, seconds, turns);
	if (bench.errors > 0)
		die("some requests failed");
	quorate_queue_close(bench.queue);
	quorate_close(bench.q);
	client_conn_close(&bench.conn);
	return 0;
}
