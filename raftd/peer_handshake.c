/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake of a peer connection: who calls whom, then Noise, then versions. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "raftd/peer_conn.h"
#include "raftd/peers.h"
#include "rt/keyfile.h"

static const uint8_t magic[8] = {'Q', 'U', 'O', 'R', 'P', 'E', 'E', 'R'};

static void preamble_write(uint8_t *p, uint64_t cluster, uint64_t from, uint64_t to)
{
	memcpy(p, magic, sizeof magic);
	put_u32be(p + 8, PEER_VERSION);
	put_u64be(p + 12, cluster);
	put_u64be(p + 20, from);
	put_u64be(p + 28, to);
}

static void handshake_init(struct peer_conn *c)
{
	const struct peer_identity *me = peers_identity(c->n);
	struct noise_hs_config config = {.role = c->role, .static_secret = me->secret_key,
					 .psk = me->cluster_secret,
					 .prologue = bytes_of(c->preamble, PEER_PREAMBLE_BYTES)};

	noise_hs_init_random(&c->hs, &config);
}

/* Writes the next Noise message as a frame. Message 1 says nothing; 2 and 3 carry our hello. */
static int handshake_write(struct peer_conn *c, bool hello)
{
	struct peer_hello m = {PEER_VERSION, PEER_VERSION_MIN, c->n->d->incarnation};
	uint8_t noise[NOISE_HS_MSG_MAX];
	struct buf payload;
	size_t len;
	int rc;

	buf_init(&payload, LIMIT_NOISE_PAYLOAD_BYTES);
	if (hello)
		(void)msg_encode(&payload, &peer_hello_desc, &m);
	rc = noise_hs_write(&c->hs, buf_bytes(&payload), noise, sizeof noise, &len);
	buf_free(&payload);
	if (rc != ERR_OK)
		return rc;
	buf_u32be(&c->out, (uint32_t)len);
	buf_add(&c->out, noise, len);
	return c->out.err;
}

static int handshake_hello(struct peer_conn *c, struct bytes payload)
{
	struct wire w = wire_of(payload, WIRE_STRICT);
	struct peer_hello m;
	struct arena none;
	int rc;

	arena_init(&none, 0);
	rc = msg_decode(&w, &peer_hello_desc, &none, &m);
	if (rc == ERR_OK)
		rc = wire_end(&w);
	if (rc != ERR_OK)
		return rc;
	if (m.version < PEER_VERSION_MIN || m.version_min > PEER_VERSION)
		return ERR_VERSION;
	c->incarnation = m.incarnation;
	return ERR_OK;
}

/* The key that Noise has proved must be the one the membership has for this id. */
static int handshake_key(struct peer_conn *c)
{
	const struct config_member *m = config_member_by_id(c->n->d->config, c->id);
	const uint8_t *key = noise_hs_remote_static(&c->hs);

	CHECK(m != NULL && key != NULL);
	if (key_equal(key, m->key))
		return ERR_OK;
	log_warn("peer's key is not the member's peer=%s", m->name);
	return ERR_AUTHENTICATION;
}

static int handshake_done(struct peer_conn *c)
{
	int rc = noise_hs_split(&c->hs, &c->session);

	if (rc != ERR_OK)
		return rc;
	c->state = PEER_UP;
	peers_up(c->n, c);
	return ERR_OK;
}

int peer_handshake_begin(struct peer_conn *c)
{
	const struct peer_identity *me = peers_identity(c->n);

	CHECK(c->role == NOISE_INITIATOR);
	preamble_write(c->preamble, me->cluster_id, me->node_id, c->id);
	buf_add(&c->out, c->preamble, PEER_PREAMBLE_BYTES);
	handshake_init(c);
	return handshake_write(c, false);
}

int peer_handshake_preamble(struct peer_conn *c, const uint8_t *p)
{
	const struct peer_identity *me = peers_identity(c->n);
	uint64_t from = get_u64be(p + 20);
	uint8_t want[PEER_PREAMBLE_BYTES];

	preamble_write(want, me->cluster_id, from, me->node_id);
	/* The version is only the initiator's newest: the hellos agree on one. */
	if (memcmp(p, want, 8) != 0 || memcmp(p + 12, want + 12, 24) != 0)
		return ERR_MALFORMED;
	memcpy(c->preamble, p, PEER_PREAMBLE_BYTES);
	handshake_init(c);
	return peers_identified(c->n, c, from);
}

int peer_handshake_frame(struct peer_conn *c, struct bytes frame)
{
	uint8_t payload[NOISE_HS_MSG_MAX];
	unsigned step = c->hs.step;
	size_t len;
	int rc = noise_hs_read(&c->hs, frame, payload, sizeof payload, &len);

	if (rc != ERR_OK)
		return rc;
	if (step == 0)                       /* responder: message 1 came */
		return len == 0 ? handshake_write(c, true) : ERR_MALFORMED;
	rc = handshake_key(c);
	if (rc == ERR_OK)
		rc = handshake_hello(c, bytes_of(payload, len));
	if (rc == ERR_OK && c->role == NOISE_INITIATOR)
		rc = handshake_write(c, true);
	return rc == ERR_OK ? handshake_done(c) : rc;
}
