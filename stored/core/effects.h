/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rolling hash of all that was applied: each entry's hash takes in the hash before it, the
 * entry's place in the log and what it did to the store. Two replicas that have applied the same
 * entries have the same hash, or one of them has gone wrong.
 */
#ifndef QUORATE_EFFECTS_H
#define QUORATE_EFFECTS_H

#include "mvcc/digest.h"

struct effects {
	struct digest digest;
	uint8_t before[DIGEST_BYTES];
	uint64_t index, term, kind;
};

void effects_begin(struct effects *e, const uint8_t before[DIGEST_BYTES], uint64_t index, uint64_t term,
		   uint64_t kind);
/* Forgets what has been added since effects_begin: it was undone. */
void effects_again(struct effects *e);
/* `what` tells the kinds of effects apart; `number` and the bytes are its own. */
void effects_add(struct effects *e, char what, uint64_t number, struct bytes a, struct bytes b);
void effects_end(struct effects *e, uint8_t after[DIGEST_BYTES]);

#endif
