/* SPDX-License-Identifier: Apache-2.0 */
/* What sorted ranges are sorted with: in pieces, within limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gatewayd/sort.h"
#include "tests/lib/tap.h"

struct number {
	int64_t mod;
	char key[12];
};

static int by_mod(const void *a, const void *b)
{
	const struct number *x = a, *y = b;

	if (x->mod != y->mod)
		return x->mod < y->mod ? -1 : 1;
	return strcmp(x->key, y->key);
}

static void sort_numbers(size_t n, size_t max)
{
	struct sorter *s = sorter_new(KV_SORT_MOD, false, max);
	struct number *v = mem_array(n + 1, sizeof *v);
	uint64_t seed = n;

	for (size_t i = 0; i < n; i++) {
		struct kv_pair p = {.mod_revision = (int64_t)(tap_rand(&seed) % (n / 2 + 1))};

		v[i].mod = p.mod_revision;
		(void)snprintf(v[i].key, sizeof v[i].key, "%zu", i);
		p.key = bytes_str(v[i].key);
		EQ_INT(sorter_add(s, &p), ERR_OK);
	}
	qsort(v, n, sizeof *v, by_mod);
	while (!sorter_order(s, 7))
		;
	EQ_INT(s->n, max && max < n ? max : n);
	for (size_t i = 0; i < s->n; i++)
		OK(bytes_eq(sorter_key(s, i), bytes_str(v[i].key)));
	while (!sorter_free_some(&s, 5))
		;
	OK(s == NULL);
	free(v);
}

TEST(rows_come_out_in_order)
{
	for (size_t n = 0; n < 60; n++)
		for (size_t max = 0; max < 60; max += 7)
			sort_numbers(n, max);
	sort_numbers(20000, 0);
	sort_numbers(20000, 100);
}

TEST(sorting_holds_no_more_than_its_limits)
{
	static uint8_t big[1u << 20];
	struct sorter *s = sorter_new(KV_SORT_VALUE, false, 0);
	struct kv_pair p = {.key = bytes_str("k"), .value = bytes_of(big, sizeof big)};
	int err = ERR_OK;
	size_t n = 0;

	while ((err = sorter_add(s, &p)) == ERR_OK)
		n++;
	EQ_INT(err, ERR_SORT_TOO_LARGE);
	EQ_INT(n, LIMIT_GATEWAY_SORT_BYTES / sizeof big - 1);
	while (!sorter_free_some(&s, 100))
		;
	s = sorter_new(KV_SORT_VALUE, false, 10);     /* a limit bounds it */
	for (int i = 0; i < 1000; i++)
		EQ_INT(sorter_add(s, &p), ERR_OK);
	OK(s->bytes < 11 * sizeof big);
	while (!sorter_free_some(&s, 100))
		;
}

TESTS = {
	T(rows_come_out_in_order),
	T(sorting_holds_no_more_than_its_limits),
};
TAP_MAIN
