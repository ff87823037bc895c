/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What watches cost, against a running cluster:
 *
 *   bench_watch ENDPOINT live CONNECTIONS WATCHES SECONDS INFLIGHT RATE
 *       one writer puts one key (RATE a second, 0: as fast as INFLIGHT allows), WATCHES watches of it
 *   bench_watch ENDPOINT catchup REVISIONS
 *       puts so many, then one watch reads them all
 *   bench_watch ENDPOINT idle WATCHES
 *       watches of different keys to which nothing happens; waits for a key
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "client/conn.h"
#include "client/endpoints.h"

enum { MAX_CONNECTIONS = 128, MAX_SAMPLES = 4000000, PUTS = 1024 };

struct reader {
	struct client_conn *conn;
	struct client_flight *flights;
	size_t begun, failed;
	uint64_t delivered, notifications;
	int64_t reached;               /* next revision of its watches */
};

static struct {
	struct client_endpoints endpoints;
	struct reader readers[MAX_CONNECTIONS];
	size_t n;
	int64_t *samples;              /* ns from the begin of a put to its event's arrival */
	size_t n_samples;
	/* the writer */
	struct client_conn *writer;
	struct client_flight puts[PUTS];
	bool busy[PUTS];
	uint64_t sent, done, errors;
	int64_t last_revision;
} bench;

static struct client_conn *dial(void)
{
	struct client_endpoint *at = &bench.endpoints.v[0];
	struct client_conn *c;

	if (client_conn_open((const struct sockaddr *)&at->addr, at->addr_len, LIMIT_CLIENT_INFLIGHT, &c) != ERR_OK) {
		fprintf(stderr, "cannot connect\n");
		exit(111);
	}
	return c;
}

static void turn(struct client_conn *c)
{
	if (client_conn_turn(c) != ERR_OK) {
		fprintf(stderr, "connection lost: %s\n", err_text(client_conn_err(c)));
		exit(111);
	}
}

static void got_notice(void *arg, const struct native_notification *n, const void *params)
{
	const struct native_watch_events *m = params;
	struct reader *r = arg;
	int64_t sent;

	if (n->params != &native_watch_events_desc)
		return;
	r->delivered += m->watches.n * m->events.n;
	r->notifications++;
	r->reached = m->next_revision;
	for (size_t i = 0; i < m->events.n && bench.samples != NULL && bench.n_samples < MAX_SAMPLES; i++) {
		if (m->events.v[i].kv == NULL || m->events.v[i].kv->value.len < sizeof sent)
			continue;
		memcpy(&sent, m->events.v[i].kv->value.data, sizeof sent);
		bench.samples[bench.n_samples++] = mono_now().ns - sent;
	}
}

static void got_watch(struct client_flight *f, const struct client_reply *reply)
{
	struct reader *r = f->arg;

	r->begun++;
	r->failed += reply->err != ERR_OK;
}

static void begin(size_t connections, size_t watches, int64_t start, bool distinct)
{
	char key[32];

	bench.n = connections;
	for (size_t i = 0; i < connections; i++) {
		struct reader *r = &bench.readers[i];
		size_t n = watches / connections;

		r->conn = dial();
		r->flights = calloc(n, sizeof *r->flights);
		CHECK(r->flights != NULL);
		client_conn_notices(r->conn, got_notice, r);
		for (size_t k = 0; k < n; k++) {
			struct native_watch p = {.start_revision = start};

			(void)snprintf(key, sizeof key, distinct ? "idle/%05zu/%05zu" : "bench", i, k);
			p.key = bytes_str(key);
			r->flights[k] = (struct client_flight){.method = native_method_find(bytes_str("watch")),
							       .done = got_watch, .arg = r};
			CHECK(client_conn_send(r->conn, &r->flights[k], &p) == ERR_OK);
			if (k % 512 == 511)
				turn(r->conn);
		}
		while (r->begun < n)
			(void)client_conn_wait(r->conn, mono_add_ms(mono_now(), 100));
		if (r->failed > 0) {
			fprintf(stderr, "%zu watches were refused\n", r->failed);
			exit(1);
		}
	}
}

static void got_put(struct client_flight *f, const struct client_reply *reply)
{
	bool *busy = f->arg;
	const struct kv_put_result *res = reply->result;

	*busy = false;
	bench.done++;
	if (reply->err != ERR_OK || res->header == NULL)
		bench.errors++;
	else if (res->header->revision > bench.last_revision)
		bench.last_revision = res->header->revision;
}

static bool put_one(size_t inflight, size_t value_len)
{
	uint8_t value[256] = {0};
	int64_t now = mono_now().ns;
	struct kv_put put = {.key = bytes_str("bench"), .value = bytes_of(value, value_len)};

	memcpy(value, &now, sizeof now);
	for (size_t i = 0; i < inflight; i++) {
		if (bench.busy[i])
			continue;
		bench.puts[i] = (struct client_flight){.method = native_method_find(bytes_str("put")),
						       .done = got_put, .arg = &bench.busy[i]};
		if (client_conn_send(bench.writer, &bench.puts[i], &put) != ERR_OK)
			return false;
		bench.busy[i] = true;
		bench.sent++;
		return true;
	}
	return false;
}

static void wait_all(int ms)
{
	struct pollfd p[MAX_CONNECTIONS + 1];

	for (size_t i = 0; i < bench.n; i++)
		p[i] = (struct pollfd){client_conn_fd(bench.readers[i].conn),
				       client_conn_events(bench.readers[i].conn), 0};
	p[bench.n] = (struct pollfd){client_conn_fd(bench.writer), client_conn_events(bench.writer), 0};
	(void)poll(p, bench.n + 1, ms);
	for (size_t i = 0; i < bench.n; i++)
		if (p[i].revents != 0)
			turn(bench.readers[i].conn);
	turn(bench.writer);
}

static uint64_t delivered(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < bench.n; i++)
		n += bench.readers[i].delivered;
	return n;
}

static int sample_cmp(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int run_live(size_t connections, size_t watches, int seconds, size_t inflight, int64_t rate)
{
	mono_t start, end;
	double took;

	bench.samples = calloc(MAX_SAMPLES, sizeof *bench.samples);
	CHECK(bench.samples != NULL && connections <= MAX_CONNECTIONS && inflight <= PUTS);
	begin(connections, watches, 0, false);
	start = mono_now();
	end = mono_add_ms(start, (int64_t)seconds * 1000);
	while (mono_before(mono_now(), end)) {
		double past = (double)mono_sub_us(mono_now(), start) / 1e6;

		while ((rate == 0 || (double)bench.sent < past * (double)rate) && put_one(inflight, 64))
			;
		wait_all(1);
	}
	while (bench.done < bench.sent || delivered() < bench.sent * watches)
		wait_all(10);
	took = (double)mono_sub_us(mono_now(), start) / 1e6;
	qsort(bench.samples, bench.n_samples, sizeof *bench.samples, sample_cmp);
	printf("live: %zu connections, %zu watches, inflight %zu, %.1f s: %.0f puts/s, %.0f deliveries/s; "
	       "put to delivery p50 %.2f ms p99 %.2f ms; errors %" PRIu64 "\n", connections, watches, inflight, took,
	       (double)bench.sent / took, (double)delivered() / took,
	       (double)bench.samples[bench.n_samples / 2] / 1e6,
	       (double)bench.samples[bench.n_samples / 100 * 99] / 1e6, bench.errors);
	return bench.errors > 0;
}

static int run_catchup(uint64_t revisions)
{
	mono_t start;
	int64_t first;
	double took;

	(void)put_one(1, 64);
	while (bench.done < bench.sent)
		wait_all(10);
	first = bench.last_revision;
	while (bench.sent < revisions) {
		while (bench.sent < revisions && put_one(PUTS, 64))
			;
		wait_all(10);
	}
	while (bench.done < bench.sent)
		wait_all(10);
	start = mono_now();
	begin(1, 1, first, false);
	while (bench.readers[0].reached <= bench.last_revision)
		wait_all(10);
	took = (double)mono_sub_us(mono_now(), start) / 1e6;
	printf("catchup: %" PRIu64 " events in %.2f s: %.0f events/s, %" PRIu64 " notifications; errors %" PRIu64 "\n",
	       bench.readers[0].delivered, took, (double)bench.readers[0].delivered / took,
	       bench.readers[0].notifications, bench.errors);
	return bench.readers[0].delivered != revisions - bench.errors;
}

static int run_idle(size_t watches)
{
	begin((watches + LIMIT_CONN_WATCHES - 1) / LIMIT_CONN_WATCHES, watches, 0, true);
	printf("idle: %zu watches are there; press return\n", watches);
	(void)fflush(stdout);
	(void)getchar();
	return 0;
}

int main(int argc, char **argv)
{
	char why[256];

	if (argc < 4 || client_endpoints_parse(&bench.endpoints, argv[1], CLIENT_LOOKUP, 1, why,
						sizeof why) != ERR_OK) {
		fprintf(stderr, "usage: bench_watch ENDPOINT live CONNECTIONS WATCHES SECONDS INFLIGHT RATE\n"
				"       bench_watch ENDPOINT catchup REVISIONS\n"
				"       bench_watch ENDPOINT idle WATCHES\n");
		return 100;
	}
	bench.writer = dial();
	if (strcmp(argv[2], "live") == 0 && argc == 8)
		return run_live((size_t)strtoul(argv[3], NULL, 10), (size_t)strtoul(argv[4], NULL, 10),
				(int)strtol(argv[5], NULL, 10), (size_t)strtoul(argv[6], NULL, 10),
				strtoll(argv[7], NULL, 10));
	if (strcmp(argv[2], "catchup") == 0)
		return run_catchup(strtoull(argv[3], NULL, 10));
	return run_idle((size_t)strtoul(argv[3], NULL, 10));
}
