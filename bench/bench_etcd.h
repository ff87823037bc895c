/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of bench_etcd share: one run, its connections, and what came of it. */
#ifndef QUORATE_BENCH_ETCD_H
#define QUORATE_BENCH_ETCD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"
#include "bench/bench_h2.h"
#include "ctl/histogram.h"

enum {
	BENCH_CONNECTIONS = 128, BENCH_STREAMS = 1024, BENCH_VALUE_MAX = 1 << 20, BENCH_WATCHERS = 1000000,
	BENCH_LEASES = 1000000,
	BENCH_STAMP = 8,             /* bytes of a time in a value */
	BENCH_WRONG = 1000           /* instead of a gRPC status: good, but not what was asked for */
};

struct bench {
	/* flags */
	int64_t connections, streams, duration_ms, total, value_bytes, keys, rows, watchers, leases;
	/* the run */
	struct h2_conn *conns[BENCH_CONNECTIONS];
	size_t n_conns;
	mono_t began, end, ended;
	uint64_t random;
	char run[32];                /* of no other run: for keys that must be new */
	/* what came of it; times in microseconds */
	uint64_t begun, done, errors;
	int last_error;
	struct histogram times;
};

extern struct bench bench;

/* Sends what has gathered, waits up to 100 ms for something to come, and takes it. */
void bench_turn(void);
/* The time or the number is reached: nothing new is begun. */
bool bench_over(void);
/* The clock of --duration starts. */
void bench_start(void);
/* A call that was begun then has ended so. */
void bench_note(mono_t begun, int grpc_status);

/* The kinds that are no unary calls: bench_etcd_streams.c, bench_etcd_gap.c. */
void bench_watch(void);
void bench_keepalive(void);
int bench_gap(char *endpoints);

#endif
