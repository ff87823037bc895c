/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <string.h>

#include "tests/lib/tap.h"

static bool zeroed(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

TEST(memory_is_zeroed_aligned_and_does_not_overlap)
{
	unsigned char *p[300];
	struct arena a;

	arena_init(&a, 1 << 20);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 300; i++) {
			p[i] = arena_alloc(&a, i);
			OK(p[i] != NULL && (uintptr_t)p[i] % 16 == 0 && zeroed(p[i], i));
			memset(p[i], (int)(i & 0xff), i);
		}
		for (size_t i = 0; i < 300; i++)
			for (size_t j = 0; j < i; j++)
				EQ_INT(p[i][j], i & 0xff);
		arena_reset(&a);
		EQ_INT(a.used, 0);
	}
	arena_free(&a);
}

TEST(the_limit_is_kept)
{
	struct arena a;

	arena_init(&a, 1000);
	OK(arena_alloc(&a, 1001) == NULL);
	OK(arena_alloc(&a, SIZE_MAX) == NULL);
	OK(arena_array(&a, SIZE_MAX / 2, 4) == NULL);
	OK(arena_array(&a, SIZE_MAX, SIZE_MAX) == NULL);
	OK(arena_array(&a, 10, 50) != NULL);
	OK(arena_array(&a, 10, 50) == NULL);
	OK(arena_alloc(&a, 400) != NULL);
	arena_reset(&a);
	OK(arena_alloc(&a, 1000) != NULL);
	arena_free(&a);
}

TEST(a_reset_gives_giants_back_and_keeps_one_small_chunk)
{
	struct arena a;

	arena_init(&a, 1 << 20);
	OK(arena_alloc(&a, 1 << 19) != NULL);
	arena_reset(&a);
	OK(a.chunks == NULL);
	OK(arena_alloc(&a, 100) != NULL);
	OK(arena_alloc(&a, 1 << 19) != NULL);
	arena_reset(&a);
	OK(a.chunks != NULL);
	EQ_INT(a.used, 0);
	arena_free(&a);
}

TESTS = {
	T(memory_is_zeroed_aligned_and_does_not_overlap),
	T(the_limit_is_kept),
	T(a_reset_gives_giants_back_and_keeps_one_small_chunk),
};
TAP_MAIN
