/* SPDX-License-Identifier: Apache-2.0 */
/* Watches, with one writer, and keepalives. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "bench/bench_etcd.h"

static void stop(const char *what, int status)
{
	fprintf(stderr, "bench_etcd: %s, grpc-status %d\n", what, status);
	exit(EXIT_FATAL);
}

static void stream_lost(struct h2_stream *s)
{
	stop("a stream ended", s->grpc_status);
}

/* ---- watches: all of one key; each put holds the time it was begun at */

static struct {
	struct h2_stream streams[BENCH_CONNECTIONS];
	struct h2_stream put;
	mono_t put_begun;
	uint64_t created, events, expected;
	bool put_done;
} watching;

/* Event.kv.value */
static void event_taken(struct bytes event)
{
	struct bytes kv, b;
	uint64_t n;
	unsigned field, inner;

	while (pb_next(&event, &field, &n, &kv))
		while (field == 2 && pb_next(&kv, &inner, &n, &b))
			if (inner == 5 && b.len >= BENCH_STAMP) {
				mono_t begun;

				memcpy(&begun.ns, b.data, BENCH_STAMP);
				watching.events++;
				bench_note(begun, 0);
			}
}

static void watch_message(struct h2_stream *s, struct bytes m)
{
	struct bytes b;
	uint64_t n;
	unsigned field;

	(void)s;
	while (pb_next(&m, &field, &n, &b)) {
		if (field == 3)
			watching.created += n;
		else if (field == 4)
			stop("a watch was cancelled", 0);
		else if (field == 11)
			event_taken(b);
	}
}

static void watch_open(void)
{
	struct buf create, request;

	buf_init(&create, 0);
	buf_init(&request, 0);
	pb_put_bytes(&create, 1, bytes_str("bench/watched"));
	pb_put_bytes(&request, 1, buf_bytes(&create));
	for (size_t i = 0; i < (size_t)bench.watchers; i++) {
		struct h2_stream *s = &watching.streams[i % bench.n_conns];

		if (i < bench.n_conns) {
			s->message = watch_message;
			s->closed = stream_lost;
			h2_stream_open(bench.conns[i], s, "/etcdserverpb.Watch/Watch", buf_bytes(&request), false);
		} else {
			h2_stream_send(s, buf_bytes(&request));
		}
	}
	buf_free(&create);
	buf_free(&request);
	while (watching.created < (uint64_t)bench.watchers)
		bench_turn();
}

static void watch_put_closed(struct h2_stream *s)
{
	if (s->grpc_status != 0)
		stop("a put failed", s->grpc_status);
	watching.put_done = true;
}

static void watch_put(void)
{
	static uint8_t value[BENCH_VALUE_MAX];
	struct buf request;
	int64_t now = mono_now().ns;

	memcpy(value, &now, BENCH_STAMP);
	buf_init(&request, 0);
	pb_put_bytes(&request, 1, bytes_str("bench/watched"));
	pb_put_bytes(&request, 2, bytes_of(value, (size_t)bench.value_bytes));
	watching.put_done = false;
	watching.put.closed = watch_put_closed;
	bench.begun++;
	watching.expected += (uint64_t)bench.watchers;
	h2_stream_open(bench.conns[0], &watching.put, "/etcdserverpb.KV/Put", buf_bytes(&request), true);
	buf_free(&request);
}

/*
 * The writer begins a put when the one before is answered, and not more than BENCH_AHEAD puts before the
 * slowest watcher: what is measured is delivery, not a queue that grows. One event for one watcher counts.
 */
enum { BENCH_AHEAD = 4 };

void bench_watch(void)
{
	uint64_t n = (uint64_t)bench.watchers;

	watch_open();
	bench_start();
	watching.put_done = true;
	while (!bench_over()) {
		if (watching.put_done && watching.expected - watching.events <= (BENCH_AHEAD - 1) * n)
			watch_put();
		bench_turn();
	}
	while (!watching.put_done || watching.events < watching.expected)
		bench_turn();
	bench.ended = mono_now();
}

/* ---- keepalives: each stream has --streams of them in flight, of leases one after the other */

struct keeper {
	struct h2_stream stream;
	mono_t *begun;               /* of those in flight, a ring: they are answered in order */
	uint64_t sent, answered;
};

static struct keeper keepers[BENCH_CONNECTIONS];
static int64_t *lease_ids;
static uint64_t granted, next_lease;

static void keepalive_send(struct keeper *k, bool first)
{
	struct buf request;

	buf_init(&request, 0);
	pb_put_num(&request, 1, (uint64_t)lease_ids[next_lease++ % (uint64_t)bench.leases]);
	k->begun[k->sent++ % (uint64_t)bench.streams] = mono_now();
	bench.begun++;
	if (first)
		h2_stream_open(k->stream.conn, &k->stream, "/etcdserverpb.Lease/LeaseKeepAlive", buf_bytes(&request),
			       false);
	else
		h2_stream_send(&k->stream, buf_bytes(&request));
	buf_free(&request);
}

/* LeaseKeepAliveResponse.TTL is 0 of a lease that is gone. */
static void keepalive_message(struct h2_stream *s, struct bytes m)
{
	struct keeper *k = s->arg;
	struct bytes b;
	uint64_t n, ttl = 0;
	unsigned field;

	while (pb_next(&m, &field, &n, &b))
		if (field == 3)
			ttl = n;
	bench_note(k->begun[k->answered++ % (uint64_t)bench.streams], ttl > 0 ? 0 : BENCH_WRONG);
	if (!bench_over())
		keepalive_send(k, false);
}

/* LeaseGrantResponse.ID */
static void grant_message(struct h2_stream *s, struct bytes m)
{
	struct bytes b;
	uint64_t n;
	unsigned field;

	(void)s;
	while (pb_next(&m, &field, &n, &b))
		if (field == 2)
			lease_ids[granted++] = (int64_t)n;
}

static void grant_closed(struct h2_stream *s)
{
	if (s->grpc_status != 0)
		stop("a lease was not granted", s->grpc_status);
	s->arg = NULL;
}

enum { GRANT_WINDOW = 64, GRANT_TTL_S = 600 };

static void grant_all(void)
{
	static struct h2_stream grants[GRANT_WINDOW];
	struct buf request;
	uint64_t begun = 0;

	lease_ids = calloc((size_t)bench.leases, sizeof *lease_ids);
	CHECK(lease_ids != NULL);
	buf_init(&request, 0);
	pb_put_num(&request, 1, GRANT_TTL_S);
	while (granted < (uint64_t)bench.leases) {
		for (size_t i = 0; i < GRANT_WINDOW && begun < (uint64_t)bench.leases; i++) {
			struct h2_stream *s = &grants[i];

			if (s->arg != NULL)
				continue;
			s->arg = &begun;      /* in flight */
			s->message = grant_message;
			s->closed = grant_closed;
			begun++;
			h2_stream_open(bench.conns[i % bench.n_conns], s, "/etcdserverpb.Lease/LeaseGrant",
				       buf_bytes(&request), true);
		}
		bench_turn();
	}
	buf_free(&request);
}

void bench_keepalive(void)
{
	bool left = true;

	grant_all();
	bench_start();
	for (size_t i = 0; i < bench.n_conns; i++) {
		struct keeper *k = &keepers[i];

		k->begun = calloc((size_t)bench.streams, sizeof *k->begun);
		CHECK(k->begun != NULL);
		k->stream = (struct h2_stream){.arg = k, .message = keepalive_message, .closed = stream_lost,
					       .conn = bench.conns[i]};
		for (int64_t n = 0; n < bench.streams; n++)
			keepalive_send(k, n == 0);
	}
	while (left) {
		bench_turn();
		left = !bench_over();
		for (size_t i = 0; i < bench.n_conns; i++)
			left |= keepers[i].answered < keepers[i].sent;
	}
	bench.ended = mono_now();
	for (size_t i = 0; i < bench.n_conns; i++)
		free(keepers[i].begun);
	free(lease_ids);
}
