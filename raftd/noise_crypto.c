/* SPDX-License-Identifier: Apache-2.0 */
/* Noise's primitives on libsodium: X25519, ChaCha20-Poly1305 (RFC 8439), SHA-256, HMAC. */
#include "raftd/noise_crypto.h"

#include <sodium.h>

#include "base/check.h"
#include "base/err.h"

_Static_assert(NOISE_KEY_LEN == crypto_scalarmult_curve25519_BYTES, "X25519 keys");
_Static_assert(NOISE_KEY_LEN == crypto_scalarmult_curve25519_SCALARBYTES, "X25519 secrets");
_Static_assert(NOISE_KEY_LEN == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "cipher keys");
_Static_assert(NOISE_TAG_LEN == crypto_aead_chacha20poly1305_ietf_ABYTES, "tags");
_Static_assert(NOISE_HASH_LEN == crypto_hash_sha256_BYTES, "hashes");
_Static_assert(NOISE_HASH_LEN == crypto_auth_hmacsha256_BYTES, "HMACs");

int noise_start(void)
{
	return sodium_init() < 0 ? ERR_INTERNAL : ERR_OK;
}

void noise_hash(struct bytes a, struct bytes b, uint8_t out[NOISE_HASH_LEN])
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, a.data, a.len);
	crypto_hash_sha256_update(&st, b.data, b.len);
	crypto_hash_sha256_final(&st, out);
	sodium_memzero(&st, sizeof st);
}

/* HMAC-HASH(key, a || last byte), without the byte if it is 0: the only shapes that HKDF needs. */
static void hmac(const uint8_t key[NOISE_HASH_LEN], struct bytes a, uint8_t last,
		 uint8_t out[NOISE_HASH_LEN])
{
	crypto_auth_hmacsha256_state st;

	crypto_auth_hmacsha256_init(&st, key, NOISE_HASH_LEN);
	crypto_auth_hmacsha256_update(&st, a.data, a.len);
	if (last != 0)
		crypto_auth_hmacsha256_update(&st, &last, 1);
	crypto_auth_hmacsha256_final(&st, out);
	sodium_memzero(&st, sizeof st);
}

void noise_hkdf(const uint8_t ck[NOISE_HASH_LEN], struct bytes ikm, uint8_t out1[NOISE_HASH_LEN],
		uint8_t out2[NOISE_HASH_LEN])
{
	uint8_t temp[NOISE_HASH_LEN];

	hmac(ck, ikm, 0, temp);
	hmac(temp, bytes_of(NULL, 0), 1, out1);
	hmac(temp, bytes_of(out1, NOISE_HASH_LEN), 2, out2);
	sodium_memzero(temp, sizeof temp);
}

int noise_dh(const uint8_t secret[NOISE_KEY_LEN], const uint8_t public[NOISE_KEY_LEN],
	     uint8_t out[NOISE_KEY_LEN])
{
	/* The result is looked at as well: this must not hang on one library's habit. */
	if (crypto_scalarmult_curve25519(out, secret, public) != 0 ||
	    sodium_is_zero(out, NOISE_KEY_LEN)) {
		sodium_memzero(out, NOISE_KEY_LEN);
		return ERR_AUTHENTICATION;
	}
	return ERR_OK;
}

void noise_public(const uint8_t secret[NOISE_KEY_LEN], uint8_t out[NOISE_KEY_LEN])
{
	int rc = crypto_scalarmult_curve25519_base(out, secret);

	CHECK(rc == 0);
}

/* Noise section 12.3: 4 zero bytes, then the counter in little-endian. */
static void nonce_bytes(uint64_t n, uint8_t out[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
	_Static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == 12, "nonces");
	put_u32(out, 0);
	put_u64(out + 4, n);
}

void noise_seal(const uint8_t k[NOISE_KEY_LEN], uint64_t n, struct bytes ad, struct bytes plain,
		uint8_t *out)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	unsigned long long len = 0;

	nonce_bytes(n, nonce);
	crypto_aead_chacha20poly1305_ietf_encrypt(out, &len, plain.data, plain.len, ad.data, ad.len,
						  NULL, nonce, k);
	CHECK(len == plain.len + NOISE_TAG_LEN);
}

int noise_open(const uint8_t k[NOISE_KEY_LEN], uint64_t n, struct bytes ad, struct bytes sealed,
	       uint8_t *out)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	unsigned long long len = 0;

	CHECK(sealed.len >= NOISE_TAG_LEN);
	nonce_bytes(n, nonce);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, &len, NULL, sealed.data, sealed.len,
						      ad.data, ad.len, nonce, k) != 0)
		return ERR_AUTHENTICATION;
	CHECK(len == sealed.len - NOISE_TAG_LEN);
	return ERR_OK;
}

void noise_random(uint8_t *out, size_t len)
{
	randombytes_buf(out, len);
}

void noise_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}
