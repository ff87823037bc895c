/* SPDX-License-Identifier: Apache-2.0 */
/* 16-byte BLAKE2b, in pieces: for keys too long for a row's key, and for the store's hashes. */
#ifndef QUORATE_DIGEST_H
#define QUORATE_DIGEST_H

#include <sodium.h>
#include <stdint.h>

#include "base/buf.h"

enum { DIGEST_BYTES = 16 };

struct digest {
	crypto_generichash_state state;
};

void digest_begin(struct digest *d);
void digest_add(struct digest *d, struct bytes v);
void digest_u64(struct digest *d, uint64_t v);
/* The bytes behind their length, so that no two lists of them look alike. */
void digest_field(struct digest *d, struct bytes v);
void digest_end(struct digest *d, uint8_t out[DIGEST_BYTES]);
void digest_of(struct bytes v, uint8_t out[DIGEST_BYTES]);

#endif
