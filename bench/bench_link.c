/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a local link costs: two processes, one link.
 *   bench_link [BYTES [IN_FLIGHT [SECONDS]]]
 * The asker keeps IN_FLIGHT messages of BYTES under way; the answerer sends each one back.
 * Prints answers per second, and the round trip's quantiles in microseconds.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "proto/msg.h"
#include "rt/link.h"
#include "rt/loop.h"

#define BENCH_ECHO_FIELDS(F, L, O) \
	F(U64, sent_ns, "") \
	F(BYTES, body, "")
MSG_DECLARE(bench_echo, BENCH_ECHO_FIELDS)
#define MSG_T bench_echo
MSG_DEFINE(BENCH_ECHO_FIELDS)
#undef MSG_T
#define BENCH_LINK(M) M(16, bench_echo, "both")
enum { BENCH_LINK(MSG_LINK_ENUM) };
static const struct msg_row bench_rows[] = {BENCH_LINK(MSG_LINK_ROW)};
static const struct msg_link bench_messages = {"bench", bench_rows, 1};

enum { BENCH_SAMPLES = 1 << 20 };

struct bench {
	struct loop *loop;
	enum daemon_kind self;
	size_t size, in_flight;
	mono_t end;
	uint8_t *body;
	uint64_t answers;
	uint32_t *us10;               /* round trips in tenths of a microsecond */
};

static void bench_hello(void *arg, struct link_hello *out)
{
	const struct bench *b = arg;

	*out = (struct link_hello){1, b->self, (uint64_t)getpid(), 0};
}

static int bench_ask(struct bench *b, struct link *l)
{
	struct bench_echo m = {(uint64_t)mono_now().ns, bytes_of(b->body, b->size)};

	return link_send(l, MSG_NO_bench_echo, &bench_echo_desc, &m);
}

static int bench_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct bench *b = arg;
	int err = ERR_OK;

	(void)peer;
	for (size_t i = 0; b->self == DAEMON_GATEWAYD && i < b->in_flight && !err; i++)
		err = bench_ask(b, l);
	return err;
}

static int bench_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct bench *b = arg;
	const struct bench_echo *m = in->msg;
	mono_t now;

	if (b->self == DAEMON_RAFTD)
		return link_send(l, MSG_NO_bench_echo, &bench_echo_desc, m);
	now = mono_now();
	b->us10[b->answers++ % BENCH_SAMPLES] = (uint32_t)((now.ns - (int64_t)m->sent_ns) / 100);
	if (mono_before(now, b->end))
		return bench_ask(b, l);
	loop_stop(b->loop);
	return ERR_OK;
}

static void bench_down(void *arg, struct link *l, const char *reason)
{
	(void)arg;
	(void)l;
	(void)reason;
}

static const struct link_ops bench_ops = {bench_hello, bench_up, bench_msg, bench_down, NULL};

static int bench_compare(const void *a, const void *b)
{
	uint32_t x, y;

	x = *(const uint32_t *)a;
	y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static double bench_cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void bench_report(struct bench *b, double seconds)
{
	size_t n = b->answers < BENCH_SAMPLES ? (size_t)b->answers : BENCH_SAMPLES;

	qsort(b->us10, n, sizeof *b->us10, bench_compare);
	printf("bytes=%zu in_flight=%zu answers_per_s=%.0f round_trip_us p50=%.1f p90=%.1f p99=%.1f "
	       "cpu_us_per_answer=%.2f\n", b->size, b->in_flight, (double)b->answers / seconds,
	       b->us10[n / 2] / 10.0, b->us10[n * 9 / 10] / 10.0, b->us10[n * 99 / 100] / 10.0,
	       bench_cpu_us() / (double)b->answers);
}

static void bench_run(struct bench *b, const char *path, double seconds)
{
	struct link_setup s = {.path = path, .messages = &bench_messages, .ops = &bench_ops, .arg = b, .max_links = 1};
	struct link_server *server = NULL;
	struct link_dialer *dialer = NULL;

	s.loop = b->loop = loop_new();
	s.peer = b->self == DAEMON_RAFTD ? DAEMON_GATEWAYD : DAEMON_RAFTD;
	b->end = mono_add_ms(mono_now(), (int64_t)(seconds * 1000));
	if ((b->self == DAEMON_RAFTD ? link_server_open(&s, &server) : link_dialer_open(&s, &dialer)) != ERR_OK)
		_exit(1);
	loop_run(b->loop);
}

int main(int argc, char **argv)
{
	struct bench b = {.size = 128, .in_flight = 1};
	double seconds = argc > 3 ? strtod(argv[3], NULL) : 2;
	char dir[] = "/tmp/bench-link-XXXXXX", path[64];
	pid_t pid;

	log_set_level(LOG_ERROR);
	if (argc > 1)
		b.size = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		b.in_flight = strtoul(argv[2], NULL, 10);
	if (mkdtemp(dir) == NULL)
		return 1;
	(void)snprintf(path, sizeof path, "%s/s", dir);
	b.body = mem_alloc(b.size + 1);
	b.us10 = mem_array(BENCH_SAMPLES, sizeof *b.us10);
	pid = fork();                 /* before nng starts */
	b.self = pid == 0 ? DAEMON_RAFTD : DAEMON_GATEWAYD;
	bench_run(&b, path, seconds);
	bench_report(&b, seconds);
	fflush(stdout);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	(void)unlink(path);
	(void)rmdir(dir);
	_exit(0);
}
