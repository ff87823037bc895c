/* SPDX-License-Identifier: Apache-2.0 */
/* Random commands and ranges over a small pool of keys, chosen to hurt. Everything is in the arena. */
#ifndef QUORATE_STORE_GEN_H
#define QUORATE_STORE_GEN_H

#include "base/arena.h"
#include "proto/kv.h"

enum { GEN_KEYS = 144 };

struct gen {
	uint64_t seed;
	struct bytes keys[GEN_KEYS];
	uint8_t *memory;
	int64_t revision, compact_revision;      /* of the store, for revisions that matter */
};

void gen_init(struct gen *g, uint64_t seed);
void gen_free(struct gen *g);
uint64_t gen_below(struct gen *g, uint64_t n);
struct bytes gen_key(struct gen *g);

void gen_range(struct gen *g, struct kv_range *r);
/* One part, without id. */
void gen_command(struct gen *g, struct arena *a, struct command *c);

#endif
