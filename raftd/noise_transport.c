/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a peer link: Noise's CipherState (section 5.1), with rekey. */
#include "raftd/noise.h"

#include <string.h>

#include "base/err.h"
#include "raftd/noise_crypto.h"

void noise_cipher_init(struct noise_cipher *c, const uint8_t *key)
{
	*c = (struct noise_cipher){
		.live = true,
		.rekey_bytes = LIMIT_NOISE_REKEY_BYTES,
		.rekey_messages = LIMIT_NOISE_REKEY_MESSAGES,
	};
	memcpy(c->k, key, NOISE_KEY_LEN);
}

void noise_cipher_wipe(struct noise_cipher *c)
{
	noise_wipe(c, sizeof *c);
}

/* Why it is not live. Nor is an object full of zeros: that must not pass for a key of zeros. */
static int cipher_err(const struct noise_cipher *c)
{
	return c->err != ERR_OK ? c->err : ERR_CLOSED;
}

static int cipher_fail(struct noise_cipher *c, int err)
{
	noise_cipher_wipe(c);
	c->err = err;
	return err;
}

/* Section 4.2: the first 32 bytes of 32 zeros sealed with the nonce that no message uses. */
static void rekey(struct noise_cipher *c)
{
	static const uint8_t zeros[NOISE_KEY_LEN];
	uint8_t sealed[NOISE_KEY_LEN + NOISE_TAG_LEN];

	noise_seal(c->k, NOISE_NONCE_MAX, bytes_of(NULL, 0), bytes_of(zeros, sizeof zeros), sealed);
	memcpy(c->k, sealed, NOISE_KEY_LEN);
	noise_wipe(sealed, sizeof sealed);
	c->bytes = 0;
	c->messages = 0;
}

/* Behind a message: the next nonce, and a new key if this one has served enough. */
static void cipher_count(struct noise_cipher *c, size_t wire_len)
{
	c->n++;
	c->messages++;
	c->bytes += wire_len;
	if (c->bytes >= c->rekey_bytes || c->messages >= c->rekey_messages)
		rekey(c);
}

int noise_cipher_encrypt(struct noise_cipher *c, struct bytes ad, struct bytes plain, uint8_t *out,
			 size_t cap, size_t *out_len)
{
	size_t wire_len;

	*out_len = 0;
	if (!c->live)
		return cipher_err(c);
	if (c->n == NOISE_NONCE_MAX || plain.len > LIMIT_FRAME_BYTES)
		return cipher_fail(c, ERR_LIMIT);
	wire_len = plain.len + NOISE_TAG_LEN;
	if (cap < wire_len)
		return cipher_fail(c, ERR_LIMIT);
	noise_seal(c->k, c->n, ad, plain, out);
	cipher_count(c, wire_len);
	*out_len = wire_len;
	return ERR_OK;
}

int noise_cipher_decrypt(struct noise_cipher *c, struct bytes ad, struct bytes sealed, uint8_t *out,
			 size_t cap, size_t *out_len)
{
	size_t plain_len;

	*out_len = 0;
	if (!c->live)
		return cipher_err(c);
	if (sealed.len < NOISE_TAG_LEN)
		return cipher_fail(c, ERR_TRUNCATED);
	plain_len = sealed.len - NOISE_TAG_LEN;
	if (c->n == NOISE_NONCE_MAX || plain_len > LIMIT_FRAME_BYTES || cap < plain_len)
		return cipher_fail(c, ERR_LIMIT);
	if (noise_open(c->k, c->n, ad, sealed, out) != ERR_OK)
		return cipher_fail(c, ERR_AUTHENTICATION);
	cipher_count(c, sealed.len);
	*out_len = plain_len;
	return ERR_OK;
}

int noise_cipher_rekey(struct noise_cipher *c)
{
	if (!c->live)
		return cipher_err(c);
	rekey(c);
	return ERR_OK;
}

void noise_session_wipe(struct noise_session *session)
{
	noise_wipe(session, sizeof *session);
}
