/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timers of a loop: a binary heap of pointers to the callers' structs, earliest first. Each
 * timer knows its place (slot), so setting and clearing are O(log n).
 */
#ifndef QUORATE_LOOP_TIMER_H
#define QUORATE_LOOP_TIMER_H

#include <stddef.h>

#include "rt/loop.h"

struct loop_heap {
	struct loop_timer **v;
	size_t n, cap;
};

void loop_heap_set(struct loop_heap *h, struct loop_timer *t, mono_t due);
void loop_heap_clear(struct loop_heap *h, struct loop_timer *t);
struct loop_timer *loop_heap_top(const struct loop_heap *h);   /* or NULL */
void loop_heap_free(struct loop_heap *h);                      /* forgets all timers */

#endif
