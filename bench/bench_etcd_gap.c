/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For how long nobody answers: at each endpoint one put after the other, each with a little time only, over a
 * new connection as soon as there is one. The longest time between two answers of any endpoint is printed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "bench/bench_etcd.h"

enum { GAP_PUT_MS = 250, GAP_RETRY_MS = 5, GAP_TURN_MS = 2 };

struct probe {
	const char *address;
	struct h2_conn *conn;
	struct h2_stream put;
	bool in_flight;
	mono_t give_up, not_before;
};

static mono_t last_good;
static int64_t longest_us;

static void probe_answered(struct h2_stream *s)
{
	struct probe *p = s->arg;
	mono_t now = mono_now();

	p->in_flight = false;
	if (s->grpc_status != 0) {
		bench.errors++;
		return;
	}
	bench.done++;
	if (mono_sub_us(now, last_good) > longest_us)
		longest_us = mono_sub_us(now, last_good);
	last_good = now;
}

static void probe_drop(struct probe *p, mono_t now)
{
	h2_conn_free(p->conn);
	p->conn = NULL;
	p->in_flight = false;
	p->not_before = mono_add_ms(now, GAP_RETRY_MS);
}

static void probe_turn(struct probe *p, struct bytes request, mono_t now)
{
	if (p->conn == NULL) {
		if (mono_before(now, p->not_before))
			return;
		p->conn = h2_conn_open(p->address);
		if (p->conn == NULL) {
			p->not_before = mono_add_ms(now, GAP_RETRY_MS);
			return;
		}
	}
	if (!p->in_flight) {
		p->put.arg = p;
		p->put.closed = probe_answered;
		p->in_flight = true;
		p->give_up = mono_add_ms(now, GAP_PUT_MS);
		h2_stream_open(p->conn, &p->put, "/etcdserverpb.KV/Put", request, true);
	}
	if (!h2_conn_turn(p->conn) || !mono_before(now, p->give_up))
		probe_drop(p, now);
}

int bench_gap(char *endpoints)
{
	static struct probe probes[BENCH_CONNECTIONS];
	struct pollfd fds[BENCH_CONNECTIONS];
	struct buf request;
	size_t n = 0;

	for (char *one, *rest = endpoints; n < ARRAY_LEN(probes) && (one = strsep(&rest, ",")) != NULL;)
		probes[n++].address = one;
	buf_init(&request, 0);
	pb_put_bytes(&request, 1, bytes_str("bench/gap"));
	bench_start();
	last_good = bench.began;
	while (!bench_over()) {
		nfds_t open = 0;
		mono_t now = mono_now();

		for (size_t i = 0; i < n; i++) {
			probe_turn(&probes[i], buf_bytes(&request), now);
			if (probes[i].conn != NULL)
				h2_conn_poll(probes[i].conn, &fds[open++]);
		}
		(void)poll(fds, open, GAP_TURN_MS);
	}
	if (mono_sub_us(mono_now(), last_good) > longest_us)
		longest_us = mono_sub_us(mono_now(), last_good);
	for (size_t i = 0; i < n; i++)
		h2_conn_free(probes[i].conn);
	buf_free(&request);
	printf("gap: %.3f s, %" PRIu64 " puts, %" PRIu64 " errors\n", (double)longest_us / 1e6, bench.done,
	       bench.errors);
	return bench.done == 0;
}
