/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The peer channel's cryptography: Noise_XXpsk0_25519_ChaChaPoly_SHA256 (Noise Protocol Framework,
 * revision 34). Pure: no sockets, no clock, no globals; bytes in, bytes out.
 *
 *   initiator                                  responder
 *     1  psk, e                 ->               the cluster secret keeps strangers out here
 *     2                         <-  e, ee, s, es
 *     3  s, se                  ->
 *        noise_hs_split: two ciphers, one a direction
 *
 * Noise proves that the other side holds a static key, not that the key belongs to a member:
 * look at noise_hs_remote_static() as soon as it is known and close the link if it is a stranger's.
 *
 * Errors are values and they stick: the first one wipes the object's secrets, and every later call
 * gives the same error again. So the caller closes the link on any error, and nothing is retried.
 *   ERR_AUTHENTICATION  forged, altered, replayed, lost, out of order, or another psk or prologue
 *   ERR_TRUNCATED       shorter than such a message can be
 *   ERR_LIMIT           over a limit, over the room given, or the nonces are used up
 *   ERR_INTERNAL        called out of turn
 *   ERR_CLOSED          a handshake used after its split, or an object never set up
 * On an error *out_len is 0 and what `out` holds is worth nothing. At most `cap` bytes of `out` are
 * ever written.
 */
#ifndef QUORATE_NOISE_H
#define QUORATE_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"

#define NOISE_KEY_LEN 32u
#define NOISE_HASH_LEN 32u
#define NOISE_TAG_LEN 16u
#define NOISE_HS_MESSAGES 3u

/* What a handshake message has beyond its payload: e; s and its tag; the payload's tag. */
#define NOISE_MSG1_OVERHEAD (NOISE_KEY_LEN + NOISE_TAG_LEN)
#define NOISE_MSG2_OVERHEAD (NOISE_KEY_LEN + NOISE_KEY_LEN + NOISE_TAG_LEN + NOISE_TAG_LEN)
#define NOISE_MSG3_OVERHEAD (NOISE_KEY_LEN + NOISE_TAG_LEN + NOISE_TAG_LEN)
/* No handshake message is longer: read no more than this from a stranger. */
#define NOISE_HS_MSG_MAX (NOISE_MSG2_OVERHEAD + LIMIT_NOISE_PAYLOAD_BYTES)

enum noise_role { NOISE_INITIATOR, NOISE_RESPONDER };

struct noise_keys {
	uint8_t secret[NOISE_KEY_LEN];
	uint8_t public[NOISE_KEY_LEN];
};

/*
 * One handshake. A plain struct of the caller's: no memory behind it, but noise_hs_wipe() it.
 *
 * Initiator: init -> write 1 -> read 2 -> write 3 -> split
 * Responder: init -> read 1 -> write 2 -> read 3 -> split
 */
struct noise_hs {
	bool live;                      /* set up, and no error yet */
	int err;                        /* the error that ended it */
	enum noise_role role;
	unsigned step;                  /* messages done: 0 to NOISE_HS_MESSAGES */
	uint64_t n;                     /* nonce of the key k */
	uint8_t ck[NOISE_HASH_LEN];     /* chaining key */
	uint8_t h[NOISE_HASH_LEN];      /* hash of everything said so far */
	uint8_t k[NOISE_KEY_LEN];
	uint8_t psk[NOISE_KEY_LEN];
	struct noise_keys s, e;         /* ours */
	uint8_t rs[NOISE_KEY_LEN];      /* theirs */
	uint8_t re[NOISE_KEY_LEN];
};

/* Both sides must give the same psk and prologue. All pointers are borrowed during the call. */
struct noise_hs_config {
	enum noise_role role;
	const uint8_t *static_secret;   /* NOISE_KEY_LEN bytes */
	const uint8_t *psk;             /* NOISE_KEY_LEN bytes: the cluster secret */
	struct bytes prologue;          /* what both know: version, cluster, who calls whom */
};

/* One direction of the transport. A plain struct too. */
struct noise_cipher {
	bool live;                      /* set up, and no error yet */
	int err;                        /* the error that ended it */
	uint8_t k[NOISE_KEY_LEN];
	uint64_t n;                     /* of the next message; a rekey does not touch it */
	uint64_t bytes, messages;       /* under the present key */
	uint64_t rekey_bytes;           /* part of the protocol: other values are for tests only */
	uint64_t rekey_messages;
};

struct noise_session {
	struct noise_cipher send, recv;
	uint8_t remote_static[NOISE_KEY_LEN];
	uint8_t handshake_hash[NOISE_HASH_LEN];   /* unique to this connection */
};

/* Picks the fastest code for this processor. Once per process, before threads and sandbox. */
int noise_start(void);

/* `ephemeral_secret`: NOISE_KEY_LEN random bytes, never used twice. Only tests give it. */
void noise_hs_init(struct noise_hs *hs, const struct noise_hs_config *config,
		   const uint8_t *ephemeral_secret);
/* The same with a fresh ephemeral key from the system. */
void noise_hs_init_random(struct noise_hs *hs, const struct noise_hs_config *config);

/* Writes the next message: payload.len + NOISE_MSGn_OVERHEAD bytes. No overlap with `out`. */
int noise_hs_write(struct noise_hs *hs, struct bytes payload, uint8_t *out, size_t cap,
		   size_t *out_len);
/* Reads the next one. `out` gets its payload, msg.len - NOISE_MSGn_OVERHEAD bytes. No overlap. */
int noise_hs_read(struct noise_hs *hs, struct bytes msg, uint8_t *out, size_t cap,
		  size_t *out_len);

/* The other side's static key, or NULL while unknown: the initiator knows it from message 2 on,
 * the responder from message 3 on. Borrowed from hs. */
const uint8_t *noise_hs_remote_static(const struct noise_hs *hs);

/* After message 3. The handshake is used up and wiped by it; `out` is the caller's to wipe. */
int noise_hs_split(struct noise_hs *hs, struct noise_session *out);

void noise_hs_wipe(struct noise_hs *hs);
void noise_session_wipe(struct noise_session *session);

/*
 * Transport: at most LIMIT_FRAME_BYTES of plain text in a message, NOISE_TAG_LEN bytes more on the
 * wire. `ad` is sent by the caller in the clear and authenticated: the frame's length header.
 * `out` may be the very bytes of the input, but may not overlap it otherwise.
 * Beyond Noise: a message may be longer than 65,535 bytes, and each direction rekeys by itself
 * behind the message that reaches rekey_bytes (on the wire, without ad) or rekey_messages; both
 * sides count the same.
 */
void noise_cipher_init(struct noise_cipher *c, const uint8_t *key);
int noise_cipher_encrypt(struct noise_cipher *c, struct bytes ad, struct bytes plain, uint8_t *out,
			 size_t cap, size_t *out_len);
int noise_cipher_decrypt(struct noise_cipher *c, struct bytes ad, struct bytes sealed, uint8_t *out,
			 size_t cap, size_t *out_len);
/* Noise REKEY(): the other side must do it at the same message. */
int noise_cipher_rekey(struct noise_cipher *c);
void noise_cipher_wipe(struct noise_cipher *c);

#endif
