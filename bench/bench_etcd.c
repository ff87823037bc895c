/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load for anything that speaks etcd's v3 gRPC. `bench_etcd --help` says what there is; bench_etcd.py
 * compares two servers with it. One line is printed:
 *
 *   put: 123456 in 5.000 s, 24691/s, p50 8.123 p99 20.456 max 31.000 ms, 0 errors
 *
 * All calls in flight are counted out before it ends; memory does not grow with what is done.
 */
#include "bench/bench_etcd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "ctl/flags.h"

struct bench bench;

static const struct flag bench_flags[] = {
	FLAG(struct bench, I64, connections, "conns", 'c', "8", "N", "connections"),
	FLAG(struct bench, I64, streams, "streams", 's', "32", "N", "calls in flight on each"),
	FLAG(struct bench, DURATION, duration_ms, "duration", 'd', "5s", "TIME", "how long"),
	FLAG(struct bench, I64, total, "total", 'n', "0", "N", "end after so many instead"),
	FLAG(struct bench, I64, value_bytes, "value", 'v', "256", "N", "bytes of a value"),
	FLAG(struct bench, I64, keys, "keys", 'k', "10000", "N", "different keys"),
	FLAG(struct bench, I64, rows, "rows", 'r', "1000", "N", "range: keys of one answer"),
	FLAG(struct bench, I64, watchers, "watchers", 'w', "1000", "N", "watch: how many, over the connections"),
	FLAG(struct bench, I64, leases, "leases", 'l', "1000", "N", "keepalive: how many"),
	FLAG_END};

/* ---- turning */

static void bench_poll(int timeout_ms)
{
	struct pollfd p[BENCH_CONNECTIONS + 1];
	size_t n = 0;

	for (size_t i = 0; i < bench.n_conns; i++)
		h2_conn_poll(bench.conns[i], &p[n++]);
	(void)poll(p, n, timeout_ms);
	for (size_t i = 0; i < bench.n_conns; i++)
		if (!h2_conn_turn(bench.conns[i])) {
			fprintf(stderr, "bench_etcd: connection lost\n");
			exit(EXIT_FATAL);
		}
}

void bench_turn(void)
{
	for (size_t i = 0; i < bench.n_conns; i++)
		(void)h2_conn_turn(bench.conns[i]);   /* what was submitted since */
	bench_poll(100);
}

bool bench_over(void)
{
	if (bench.total > 0)
		return bench.begun >= (uint64_t)bench.total;
	return !mono_before(mono_now(), bench.end);
}

void bench_note(mono_t begun, int grpc_status)
{
	if (grpc_status != 0) {
		bench.errors++;
		bench.last_error = grpc_status;
		return;
	}
	bench.done++;
	histogram_add(&bench.times, (uint64_t)mono_sub_us(mono_now(), begun));
}

void bench_start(void)
{
	bench.began = mono_now();
	bench.end = mono_add_ms(bench.began, bench.duration_ms);
}

/* ---- unary calls: a slot has one in flight; what it asks is made anew each time */

struct slot {
	struct h2_stream stream;
	mono_t begun;
	size_t number;
	uint64_t rounds;         /* cas: how often its key was swapped */
	bool succeeded;
};

/* A kind of load: what one call asks, and what its answer means. */
struct load {
	const char *name, *path;
	void (*make)(struct slot *s, struct buf *out);
	void (*answer)(struct h2_stream *s, struct bytes message);
	void (*prepare)(void);
};

static const struct load *load;
static uint64_t in_flight;

static uint64_t draw(uint64_t n)
{
	bench.random = bench.random * 6364136223846793005u + 1442695040888963407u;
	return (bench.random >> 33) % n;
}

static void key_add(struct buf *out, unsigned field, const char *kind, uint64_t number)
{
	char key[80];

	(void)snprintf(key, sizeof key, "bench/%s/%010" PRIu64, kind, number);
	pb_put_bytes(out, field, bytes_str(key));
}

static struct bytes value(void)
{
	static uint8_t data[BENCH_VALUE_MAX];

	for (size_t i = 0; i < 8; i++)
		data[i] = (uint8_t)draw(256);
	return bytes_of(data, (size_t)bench.value_bytes);
}

static void make_put(struct slot *s, struct buf *out)
{
	(void)s;
	key_add(out, 1, "key", draw((uint64_t)bench.keys));
	pb_put_bytes(out, 2, value());
}

/* Every key once. */
static void make_fill(struct slot *s, struct buf *out)
{
	(void)s;
	key_add(out, 1, "key", bench.begun % (uint64_t)bench.keys);
	pb_put_bytes(out, 2, value());
}

static void make_get(struct slot *s, struct buf *out)
{
	(void)s;
	key_add(out, 1, "key", draw((uint64_t)bench.keys));
}

static void make_serializable(struct slot *s, struct buf *out)
{
	make_get(s, out);
	pb_put_num(out, 7, 1);
}

static void make_range(struct slot *s, struct buf *out)
{
	uint64_t first = draw((uint64_t)(bench.keys - bench.rows) + 1);

	(void)s;
	key_add(out, 1, "key", first);
	key_add(out, 2, "key", first + (uint64_t)bench.rows);
}

/* RangeResponse.count */
static void answer_range(struct h2_stream *stream, struct bytes m)
{
	struct slot *s = stream->arg;
	struct bytes b;
	uint64_t n;
	unsigned field;

	while (pb_next(&m, &field, &n, &b))
		if (field == 4)
			s->succeeded = n == (uint64_t)bench.rows;
}

/* If the version is what it was then put, else get. */
static void make_cas(struct slot *s, struct buf *out)
{
	struct buf part, op;

	buf_init(&part, 0);
	buf_init(&op, 0);
	pb_put_num(&part, 1, 0);
	pb_put_num(&part, 2, 0);
	key_add(&part, 3, bench.run, s->number);
	pb_put_num(&part, 4, s->rounds);
	pb_put_bytes(out, 1, buf_bytes(&part));
	buf_clear(&part);
	key_add(&part, 1, bench.run, s->number);
	pb_put_bytes(&part, 2, value());
	pb_put_bytes(&op, 2, buf_bytes(&part));
	pb_put_bytes(out, 2, buf_bytes(&op));
	buf_clear(&part);
	buf_clear(&op);
	key_add(&part, 1, bench.run, s->number);
	pb_put_bytes(&op, 1, buf_bytes(&part));
	pb_put_bytes(out, 3, buf_bytes(&op));
	buf_free(&part);
	buf_free(&op);
}

/* TxnResponse.succeeded */
static void answer_cas(struct h2_stream *stream, struct bytes m)
{
	struct slot *s = stream->arg;
	struct bytes b;
	uint64_t n;
	unsigned field;

	while (pb_next(&m, &field, &n, &b))
		if (field == 2 && n == 1) {
			s->succeeded = true;
			s->rounds++;
		}
}

static void slot_closed(struct h2_stream *stream);

static void slot_begin(struct slot *s, struct h2_conn *c)
{
	static struct buf request;

	if (request.max == 0)
		buf_init(&request, H2_MESSAGE_MAX);
	buf_clear(&request);
	load->make(s, &request);
	s->succeeded = load->answer == NULL;
	s->begun = mono_now();
	bench.begun++;
	in_flight++;
	h2_stream_open(c, &s->stream, load->path, buf_bytes(&request), true);
}

static void slot_closed(struct h2_stream *stream)
{
	struct slot *s = stream->arg;

	in_flight--;
	bench_note(s->begun, stream->grpc_status == 0 && !s->succeeded ? BENCH_WRONG : stream->grpc_status);
	if (!bench_over())
		slot_begin(s, stream->conn);
}

static void run_load(const struct load *l)
{
	size_t n = (size_t)(bench.connections * bench.streams);
	struct slot *slots = calloc(n, sizeof *slots);

	CHECK(slots != NULL);
	load = l;
	bench_start();
	for (size_t i = 0; i < n && !bench_over(); i++) {
		slots[i].number = i;
		slots[i].stream = (struct h2_stream){.arg = &slots[i], .closed = slot_closed, .message = l->answer};
		slot_begin(&slots[i], bench.conns[i % bench.n_conns]);
	}
	while (in_flight > 0)
		bench_turn();
	bench.ended = mono_now();
	for (size_t i = 0; i < n; i++) {
		buf_free(&slots[i].stream.in);
		buf_free(&slots[i].stream.out);
	}
	free(slots);
}

static const struct load loads[] = {
	{.name = "put", .path = "/etcdserverpb.KV/Put", .make = make_put},
	{.name = "get", .path = "/etcdserverpb.KV/Range", .make = make_get},
	{.name = "get-serializable", .path = "/etcdserverpb.KV/Range", .make = make_serializable},
	{.name = "range", .path = "/etcdserverpb.KV/Range", .make = make_range, .answer = answer_range},
	{.name = "cas", .path = "/etcdserverpb.KV/Txn", .make = make_cas, .answer = answer_cas}};
static const struct load load_fill = {.name = "fill", .path = "/etcdserverpb.KV/Put", .make = make_fill};

static void run_fill(void)
{
	if (bench.total == 0)
		bench.total = bench.keys;
	run_load(&load_fill);
}

/* ---- the program */

static void bench_print(const char *name)
{
	double seconds = (double)mono_sub_us(bench.ended, bench.began) / 1e6;
	const struct histogram *h = &bench.times;

	printf("%s: %" PRIu64 " in %.3f s, %.0f/s, p50 %.3f p99 %.3f max %.3f ms, %" PRIu64 " errors", name, bench.done,
	       seconds, (double)bench.done / seconds, (double)histogram_at(h, 500) / 1e3,
	       (double)histogram_at(h, 990) / 1e3, (double)h->max / 1e3, bench.errors);
	if (bench.errors > 0)
		printf(" (last: %s %d)", bench.last_error == BENCH_WRONG ? "wrong answer," : "grpc-status",
		       bench.last_error);
	printf("\n");
}

static int bench_usage(FILE *out, int code)
{
	fprintf(out, "usage: bench_etcd ENDPOINT[,ENDPOINT...] KIND [flags]\n\n"
		"KIND is fill, put, get, get-serializable, range, cas, watch, keepalive, or\n"
		"gap: one put after the other at each endpoint; prints the longest time without any\n\n");
	flags_usage(out, bench_flags);
	return code;
}

static bool bench_flags_good(void)
{
	return bench.connections > 0 && bench.connections <= BENCH_CONNECTIONS && bench.streams > 0 &&
	       bench.streams <= BENCH_STREAMS && bench.value_bytes >= BENCH_STAMP &&
	       bench.value_bytes <= BENCH_VALUE_MAX && bench.keys > 0 && bench.rows > 0 && bench.rows <= bench.keys &&
	       bench.watchers > 0 && bench.watchers <= BENCH_WATCHERS && bench.leases > 0 &&
	       bench.leases <= BENCH_LEASES && bench.total >= 0 && bench.duration_ms > 0;
}

static void bench_connect(char *endpoints)
{
	char *rest = endpoints, *at[BENCH_CONNECTIONS];
	size_t n = 0;

	for (char *one; n < ARRAY_LEN(at) && (one = strsep(&rest, ",")) != NULL;)
		at[n++] = one;
	for (size_t i = 0; i < (size_t)bench.connections; i++) {
		bench.conns[i] = h2_conn_open(at[i % n]);
		if (bench.conns[i] == NULL) {
			fprintf(stderr, "bench_etcd: %s: %s\n", at[i % n], strerror(errno));
			exit(EXIT_FATAL);
		}
		bench.n_conns++;
	}
}

static int bench_run(char *endpoints, const char *kind)
{
	const struct load *l = NULL;

	for (size_t i = 0; i < ARRAY_LEN(loads); i++)
		if (strcmp(kind, loads[i].name) == 0)
			l = &loads[i];
	if (strcmp(kind, "gap") == 0)
		return bench_gap(endpoints);
	(void)snprintf(bench.run, sizeof bench.run, "cas%" PRIx64, (uint64_t)mono_now().ns);
	bench_connect(endpoints);
	if (l != NULL)
		run_load(l);
	else if (strcmp(kind, "fill") == 0)
		run_fill();
	else if (strcmp(kind, "watch") == 0)
		bench_watch();
	else if (strcmp(kind, "keepalive") == 0)
		bench_keepalive();
	else
		return bench_usage(stderr, EXIT_USAGE);
	bench_print(kind);
	return bench.errors > 0;
}

int main(int argc, char **argv)
{
	const struct flag_set set = {bench_flags, &bench};
	char why[FLAG_WHY];
	int first, rc;

	flags_default(&set);
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return bench_usage(stdout, 0);
	rc = flags_parse(&set, 1, false, argc, argv, &first, why);
	if (rc != ERR_OK || argc - first != 2 || !bench_flags_good()) {
		fprintf(stderr, "bench_etcd: %s\n", rc != ERR_OK ? why : "words or values that do not fit");
		return bench_usage(stderr, EXIT_USAGE);
	}
	rc = bench_run(argv[first], argv[first + 1]);
	for (size_t i = 0; i < bench.n_conns; i++)
		h2_conn_free(bench.conns[i]);
	return rc;
}
