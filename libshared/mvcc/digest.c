/* SPDX-License-Identifier: Apache-2.0 */
#include "mvcc/digest.h"

#include "base/check.h"

_Static_assert(DIGEST_BYTES >= crypto_generichash_BYTES_MIN, "BLAKE2b gives 16 to 64 bytes");

void digest_begin(struct digest *d)
{
	CHECK(crypto_generichash_init(&d->state, NULL, 0, DIGEST_BYTES) == 0);
}

void digest_add(struct digest *d, struct bytes v)
{
	if (v.len != 0)
		CHECK(crypto_generichash_update(&d->state, v.data, v.len) == 0);
}

void digest_u64(struct digest *d, uint64_t v)
{
	uint8_t p[8];

	put_u64(p, v);
	digest_add(d, bytes_of(p, sizeof p));
}

void digest_field(struct digest *d, struct bytes v)
{
	digest_u64(d, v.len);
	digest_add(d, v);
}

void digest_end(struct digest *d, uint8_t out[DIGEST_BYTES])
{
	CHECK(crypto_generichash_final(&d->state, out, DIGEST_BYTES) == 0);
}

void digest_of(struct bytes v, uint8_t out[DIGEST_BYTES])
{
	struct digest d;

	digest_begin(&d);
	digest_add(&d, v);
	digest_end(&d, out);
}
