/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/effects.h"

#include "base/check.h"

static void effects_update(struct effects *e, const void *data, size_t len)
{
	CHECK(crypto_generichash_update(&e->hash, data, len) == 0);
}

void effects_begin(struct effects *e, const uint8_t before[EFFECTS_HASH_BYTES], uint64_t index,
		   uint64_t term, uint64_t kind)
{
	memcpy(e->before, before, sizeof e->before);
	e->index = index;
	e->term = term;
	e->kind = kind;
	effects_again(e);
}

void effects_again(struct effects *e)
{
	uint8_t head[EFFECTS_HASH_BYTES + 24];

	memcpy(head, e->before, sizeof e->before);
	put_u64(head + EFFECTS_HASH_BYTES, e->index);
	put_u64(head + EFFECTS_HASH_BYTES + 8, e->term);
	put_u64(head + EFFECTS_HASH_BYTES + 16, e->kind);
	CHECK(crypto_generichash_init(&e->hash, NULL, 0, EFFECTS_HASH_BYTES) == 0);
	effects_update(e, head, sizeof head);
}

/* Lengths are part of it, so that no two lists of effects look alike. */
void effects_add(struct effects *e, char what, uint64_t number, struct bytes a, struct bytes b)
{
	uint8_t head[1 + 3 * 8];

	head[0] = (uint8_t)what;
	put_u64(head + 1, number);
	put_u64(head + 9, a.len);
	put_u64(head + 17, b.len);
	effects_update(e, head, sizeof head);
	if (a.len)
		effects_update(e, a.data, a.len);
	if (b.len)
		effects_update(e, b.data, b.len);
}

void effects_end(struct effects *e, uint8_t after[EFFECTS_HASH_BYTES])
{
	CHECK(crypto_generichash_final(&e->hash, after, EFFECTS_HASH_BYTES) == 0);
}
