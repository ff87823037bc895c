/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The primitives under raftd/noise.h, named as the Noise specification names them (sections 4 and
 * 5.1). Only noise_*.c include this; noise_crypto.c is the only file of raftd that includes sodium.
 */
#ifndef QUORATE_NOISE_CRYPTO_H
#define QUORATE_NOISE_CRYPTO_H

#include <stdint.h>

#include "raftd/noise.h"

/* The nonce that Noise keeps for REKEY(): no message is ever sealed with it. */
#define NOISE_NONCE_MAX UINT64_MAX

/* HASH(a || b); `out` may be `a`. */
void noise_hash(struct bytes a, struct bytes b, uint8_t out[NOISE_HASH_LEN]);

/* HKDF(ck, ikm): its first two outputs, the same for 2 and 3. They may be `ck`. */
void noise_hkdf(const uint8_t ck[NOISE_HASH_LEN], struct bytes ikm, uint8_t out1[NOISE_HASH_LEN],
		uint8_t out2[NOISE_HASH_LEN]);

/* DH(): ERR_AUTHENTICATION if the result is all zeros (a point of small order was sent). */
int noise_dh(const uint8_t secret[NOISE_KEY_LEN], const uint8_t public[NOISE_KEY_LEN],
	     uint8_t out[NOISE_KEY_LEN]);
void noise_public(const uint8_t secret[NOISE_KEY_LEN], uint8_t out[NOISE_KEY_LEN]);

/* ENCRYPT(): writes plain.len + NOISE_TAG_LEN bytes. */
void noise_seal(const uint8_t k[NOISE_KEY_LEN], uint64_t n, struct bytes ad, struct bytes plain,
		uint8_t *out);
/* DECRYPT(): sealed.len >= NOISE_TAG_LEN; writes sealed.len - NOISE_TAG_LEN bytes. */
int noise_open(const uint8_t k[NOISE_KEY_LEN], uint64_t n, struct bytes ad, struct bytes sealed,
	       uint8_t *out);

void noise_random(uint8_t *out, size_t len);
void noise_wipe(void *p, size_t len);

#endif
