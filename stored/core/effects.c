/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/effects.h"

void effects_begin(struct effects *e, const uint8_t before[DIGEST_BYTES], uint64_t index, uint64_t term,
		   uint64_t kind)
{
	memcpy(e->before, before, sizeof e->before);
	e->index = index;
	e->term = term;
	e->kind = kind;
	effects_again(e);
}

void effects_again(struct effects *e)
{
	digest_begin(&e->digest);
	digest_add(&e->digest, bytes_of(e->before, sizeof e->before));
	digest_u64(&e->digest, e->index);
	digest_u64(&e->digest, e->term);
	digest_u64(&e->digest, e->kind);
}

void effects_add(struct effects *e, char what, uint64_t number, struct bytes a, struct bytes b)
{
	digest_add(&e->digest, bytes_of(&what, 1));
	digest_u64(&e->digest, number);
	digest_field(&e->digest, a);
	digest_field(&e->digest, b);
}

void effects_end(struct effects *e, uint8_t after[DIGEST_BYTES])
{
	digest_end(&e->digest, after);
}
