/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/histogram.h"

#include <stddef.h>

/* Values below 128 have a bucket each; each power of two above has 128. */
static size_t histogram_index(uint64_t v)
{
	unsigned shift = 0;

	while (v >> shift >= 2 * HISTOGRAM_SUB)
		shift++;
	return (size_t)shift * HISTOGRAM_SUB + (size_t)(v >> shift);
}

/* The greatest value of a bucket. */
static uint64_t histogram_value(size_t i)
{
	size_t shift = i < 2 * HISTOGRAM_SUB ? 0 : i / HISTOGRAM_SUB - 1;

	return ((uint64_t)(i - shift * HISTOGRAM_SUB) + 1) * (UINT64_C(1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	size_t i = histogram_index(value);

	h->buckets[i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1]++;
	h->count++;
	if (value > h->max)
		h->max = value;
}

uint64_t histogram_at(const struct histogram *h, unsigned per_mille)
{
	uint64_t want = (h->count * per_mille + 999) / 1000, seen = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS && h->count > 0; i++) {
		seen += h->buckets[i];
		if (seen >= want && seen > 0)
			return histogram_value(i) < h->max ? histogram_value(i) : h->max;
	}
	return h->max;
}
