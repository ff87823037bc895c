/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of `quorate bench`: groups of connections, each group with its own kind of request
 * and its own window, run side by side until the first group is done.
 */
#ifndef QUORATE_CTL_BENCH_RUN_H
#define QUORATE_CTL_BENCH_RUN_H

#include <stdbool.h>

#include "ctl/ctl.h"
#include "ctl/histogram.h"

enum bench_op { BENCH_PUT, BENCH_GET, BENCH_RANGE, BENCH_MIXED };

struct bench_load {
	enum bench_op op;
	uint32_t clients, inflight;      /* connections, and requests in flight on each */
	uint64_t total;                  /* requests; 0: as many as go into the time */
	int64_t duration_ms;             /* 0: until total */
	bool serializable;
	bool in_order;                   /* keys 0, 1, 2...: to fill the key space */
	unsigned read_percent;           /* of BENCH_MIXED */
	int64_t range_limit;
};

struct bench_keys {
	const char *prefix;
	uint32_t key_size, value_size;
	uint64_t keyspace;
};

struct bench_result {
	uint64_t done, errors;
	double seconds;
	struct histogram latency_ns;
	char first_error[LIMIT_CLIENT_ERROR_BYTES];
};

/* An exit code; what stops the whole run is printed. loads[0] decides when it ends. */
int bench_run(struct ctl *ctl, const struct bench_keys *keys, const struct bench_load *loads,
	      size_t n,
	      struct bench_result *results);

#endif
