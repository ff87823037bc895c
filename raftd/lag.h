/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For how long what is committed has been waiting for this node's store: not a number of commands, of
 * which one takes ten microseconds and another ten milliseconds. One commit index at a time is
 * watched until the store has it; what that took counts until the next one has taken its time.
 */
#ifndef QUORATE_LAG_H
#define QUORATE_LAG_H

#include <stdint.h>

#include "base/mono.h"

struct lag {
	uint64_t mark;          /* the index that is watched; 0: none, the store has all */
	mono_t since;
	int64_t last_ms;        /* what the one before took */
};

/* The commit index, or what the store has applied, has moved. */
void lag_moved(struct lag *l, uint64_t commit, uint64_t applied, mono_t now);
int64_t lag_ms(const struct lag *l, mono_t now);

#endif
