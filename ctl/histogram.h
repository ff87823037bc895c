/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies in buckets that are narrow where values are small: within 1 % of the truth. */
#ifndef QUORATE_CTL_HISTOGRAM_H
#define QUORATE_CTL_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB = 128, HISTOGRAM_BUCKETS = 58 * HISTOGRAM_SUB };

struct histogram {
	uint64_t buckets[HISTOGRAM_BUCKETS];
	uint64_t count, max;
};

void histogram_add(struct histogram *h, uint64_t value);
/* The least value that `per_mille` of all values do not exceed (999: p99.9); 0 of nothing. */
uint64_t histogram_at(const struct histogram *h, unsigned per_mille);

#endif
