/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XXpsk0 handshake: Noise's SymmetricState and HandshakeState (sections 5.2, 5.3 and 9).
 * The pattern is a table of tokens; writer and reader walk the same table, so they cannot drift.
 */
#include "raftd/noise.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "raftd/noise_crypto.h"

static const char protocol_name[] = "Noise_XXpsk0_25519_ChaChaPoly_SHA256";
_Static_assert(sizeof protocol_name - 1 > NOISE_HASH_LEN, "a shorter name would not be hashed");

enum token { TOKEN_END, TOKEN_PSK, TOKEN_E, TOKEN_S, TOKEN_EE, TOKEN_ES, TOKEN_SE };

static const struct {
	enum token tokens[5];
	size_t overhead;
} pattern[NOISE_HS_MESSAGES] = {
	{{TOKEN_PSK, TOKEN_E, TOKEN_END}, NOISE_MSG1_OVERHEAD},
	{{TOKEN_E, TOKEN_EE, TOKEN_S, TOKEN_ES, TOKEN_END}, NOISE_MSG2_OVERHEAD},
	{{TOKEN_S, TOKEN_SE, TOKEN_END}, NOISE_MSG3_OVERHEAD},
};

/*
 * SymmetricState. There is no "no key yet" here: with a psk the first ephemeral key already makes
 * one, so each payload and each static key is sealed.
 */

static void mix_hash(struct noise_hs *hs, struct bytes data)
{
	noise_hash(bytes_of(hs->h, sizeof hs->h), data, hs->h);
}

static void mix_key(struct noise_hs *hs, const uint8_t *key)
{
	noise_hkdf(hs->ck, bytes_of(key, NOISE_KEY_LEN), hs->ck, hs->k);
	hs->n = 0;
}

/* MixKeyAndHash() without the key it makes too: at psk0 an ephemeral key replaces it at once. */
static void mix_psk(struct noise_hs *hs)
{
	uint8_t temp_h[NOISE_HASH_LEN];

	noise_hkdf(hs->ck, bytes_of(hs->psk, NOISE_KEY_LEN), hs->ck, temp_h);
	mix_hash(hs, bytes_of(temp_h, sizeof temp_h));
	noise_wipe(temp_h, sizeof temp_h);
}

static void encrypt_and_hash(struct noise_hs *hs, struct bytes plain, uint8_t *out)
{
	noise_seal(hs->k, hs->n++, bytes_of(hs->h, sizeof hs->h), plain, out);
	mix_hash(hs, bytes_of(out, plain.len + NOISE_TAG_LEN));
}

static int decrypt_and_hash(struct noise_hs *hs, struct bytes sealed, uint8_t *out)
{
	int rc = noise_open(hs->k, hs->n++, bytes_of(hs->h, sizeof hs->h), sealed, out);

	if (rc == ERR_OK)
		mix_hash(hs, sealed);
	return rc;
}

/* HandshakeState. */

/* In a pattern's name the initiator's key comes first: "es" is its ephemeral, their static. */
static int mix_dh(struct noise_hs *hs, enum token token)
{
	bool our_static = token == (hs->role == NOISE_INITIATOR ? TOKEN_SE : TOKEN_ES);
	bool their_static = token == (hs->role == NOISE_INITIATOR ? TOKEN_ES : TOKEN_SE);
	uint8_t shared[NOISE_KEY_LEN];
	int rc = noise_dh(our_static ? hs->s.secret : hs->e.secret,
			  their_static ? hs->rs : hs->re, shared);

	if (rc == ERR_OK)
		mix_key(hs, shared);
	noise_wipe(shared, sizeof shared);
	return rc;
}

/* With a psk in the pattern an ephemeral key also goes into the key, not only into the hash. */
static void mix_ephemeral(struct noise_hs *hs, const uint8_t *public)
{
	mix_hash(hs, bytes_of(public, NOISE_KEY_LEN));
	mix_key(hs, public);
}

static int write_token(struct noise_hs *hs, enum token token, uint8_t **out)
{
	switch (token) {
	case TOKEN_PSK:
		mix_psk(hs);
		return ERR_OK;
	case TOKEN_E:
		memcpy(*out, hs->e.public, NOISE_KEY_LEN);
		*out += NOISE_KEY_LEN;
		mix_ephemeral(hs, hs->e.public);
		return ERR_OK;
	case TOKEN_S:
		encrypt_and_hash(hs, bytes_of(hs->s.public, NOISE_KEY_LEN), *out);
		*out += NOISE_KEY_LEN + NOISE_TAG_LEN;
		return ERR_OK;
	case TOKEN_EE:
	case TOKEN_ES:
	case TOKEN_SE:
		return mix_dh(hs, token);
	case TOKEN_END:
		break;
	}
	panic("a token that no pattern has");
}

/* The caller has checked that `in` is at least the message's overhead. */
static int read_token(struct noise_hs *hs, enum token token, struct cur *in)
{
	switch (token) {
	case TOKEN_PSK:
		mix_psk(hs);
		return ERR_OK;
	case TOKEN_E:
		memcpy(hs->re, cur_take(in, NOISE_KEY_LEN).data, NOISE_KEY_LEN);
		mix_ephemeral(hs, hs->re);
		return ERR_OK;
	case TOKEN_S:
		return decrypt_and_hash(hs, cur_take(in, NOISE_KEY_LEN + NOISE_TAG_LEN), hs->rs);
	case TOKEN_EE:
	case TOKEN_ES:
	case TOKEN_SE:
		return mix_dh(hs, token);
	case TOKEN_END:
		break;
	}
	panic("a token that no pattern has");
}

/* Why it is not live. Nor is an object full of zeros: that must not pass for keys of zeros. */
static int hs_err(const struct noise_hs *hs)
{
	return hs->err != ERR_OK ? hs->err : ERR_CLOSED;
}

static int hs_fail(struct noise_hs *hs, int err)
{
	noise_hs_wipe(hs);
	hs->err = err;
	return err;
}

/* Messages 1 and 3 are the initiator's. */
static bool our_turn(const struct noise_hs *hs)
{
	return (hs->step % 2 == 0) == (hs->role == NOISE_INITIATOR);
}

void noise_hs_init(struct noise_hs *hs, const struct noise_hs_config *config,
		   const uint8_t *ephemeral_secret)
{
	CHECK(config->role == NOISE_INITIATOR || config->role == NOISE_RESPONDER);

	*hs = (struct noise_hs){.live = true, .role = config->role};
	memcpy(hs->s.secret, config->static_secret, NOISE_KEY_LEN);
	memcpy(hs->e.secret, ephemeral_secret, NOISE_KEY_LEN);
	memcpy(hs->psk, config->psk, NOISE_KEY_LEN);
	noise_public(hs->s.secret, hs->s.public);
	noise_public(hs->e.secret, hs->e.public);

	noise_hash(bytes_str(protocol_name), bytes_of(NULL, 0), hs->h);
	memcpy(hs->ck, hs->h, NOISE_HASH_LEN);
	mix_hash(hs, config->prologue);
}

void noise_hs_init_random(struct noise_hs *hs, const struct noise_hs_config *config)
{
	uint8_t secret[NOISE_KEY_LEN];

	noise_random(secret, sizeof secret);
	noise_hs_init(hs, config, secret);
	noise_wipe(secret, sizeof secret);
}

int noise_hs_write(struct noise_hs *hs, struct bytes payload, uint8_t *out, size_t cap,
		   size_t *out_len)
{
	uint8_t *at = out;
	size_t total;

	*out_len = 0;
	if (!hs->live)
		return hs_err(hs);
	if (hs->step == NOISE_HS_MESSAGES || !our_turn(hs))
		return hs_fail(hs, ERR_INTERNAL);
	total = payload.len + pattern[hs->step].overhead;
	if (payload.len > LIMIT_NOISE_PAYLOAD_BYTES || cap < total)
		return hs_fail(hs, ERR_LIMIT);

	for (const enum token *t = pattern[hs->step].tokens; *t != TOKEN_END; t++) {
		int rc = write_token(hs, *t, &at);

		if (rc != ERR_OK)
			return hs_fail(hs, rc);
	}
	encrypt_and_hash(hs, payload, at);
	CHECK((size_t)(at - out) + payload.len + NOISE_TAG_LEN == total);
	hs->step++;
	*out_len = total;
	return ERR_OK;
}

int noise_hs_read(struct noise_hs *hs, struct bytes msg, uint8_t *out, size_t cap, size_t *out_len)
{
	struct cur in = cur_of(msg);
	size_t len;
	int rc;

	*out_len = 0;
	if (!hs->live)
		return hs_err(hs);
	if (hs->step == NOISE_HS_MESSAGES || our_turn(hs))
		return hs_fail(hs, ERR_INTERNAL);
	if (msg.len < pattern[hs->step].overhead)
		return hs_fail(hs, ERR_TRUNCATED);
	len = msg.len - pattern[hs->step].overhead;
	if (len > LIMIT_NOISE_PAYLOAD_BYTES || cap < len)
		return hs_fail(hs, ERR_LIMIT);

	for (const enum token *t = pattern[hs->step].tokens; *t != TOKEN_END; t++) {
		rc = read_token(hs, *t, &in);
		if (rc != ERR_OK)
			return hs_fail(hs, rc);
	}
	CHECK(cur_left(&in) == len + NOISE_TAG_LEN);
	rc = decrypt_and_hash(hs, cur_take(&in, cur_left(&in)), out);
	if (rc != ERR_OK)
		return hs_fail(hs, rc);
	hs->step++;
	*out_len = len;
	return ERR_OK;
}

const uint8_t *noise_hs_remote_static(const struct noise_hs *hs)
{
	unsigned known_from = hs->role == NOISE_INITIATOR ? 2 : 3;

	return hs->live && hs->step >= known_from ? hs->rs : NULL;
}

/* Section 5.2, Split(): the first key is for what the initiator sends. */
int noise_hs_split(struct noise_hs *hs, struct noise_session *out)
{
	uint8_t k1[NOISE_KEY_LEN], k2[NOISE_KEY_LEN];
	bool initiator = hs->role == NOISE_INITIATOR;

	noise_session_wipe(out);
	if (!hs->live)
		return hs_err(hs);
	if (hs->step != NOISE_HS_MESSAGES)
		return hs_fail(hs, ERR_INTERNAL);
	noise_hkdf(hs->ck, bytes_of(NULL, 0), k1, k2);
	noise_cipher_init(&out->send, initiator ? k1 : k2);
	noise_cipher_init(&out->recv, initiator ? k2 : k1);
	memcpy(out->remote_static, hs->rs, NOISE_KEY_LEN);
	memcpy(out->handshake_hash, hs->h, NOISE_HASH_LEN);
	noise_wipe(k1, sizeof k1);
	noise_wipe(k2, sizeof k2);
	noise_hs_wipe(hs);
	return ERR_OK;
}

void noise_hs_wipe(struct noise_hs *hs)
{
	noise_wipe(hs, sizeof *hs);
}
