/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake of a peer connection: who calls whom, then Noise, then versions. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/peer.h"
#include "raftd/peer_conn.h"
#include "rt/keyfile.h"

static const uint8_t magic[8] = {'Q', 'U', 'O', 'R', 'P', 'E', 'E', 'R'};

static int handshake_refuse(struct peer_conn *c, int err, const char *reason)
{
	c->reason = reason;
	return err;
}

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
	const struct peer_keys *keys = &c->ps->s.keys;
	struct noise_hs_config config = {.role = c->role, .static_secret = keys->secret,
					 .psk = keys->cluster_secret,
					 .prologue = bytes_of(c->preamble, PEER_PREAMBLE_BYTES)};

	noise_hs_init_random(&c->hs, &config);
}

/* Writes the next Noise message as a frame. Message 1 says nothing; 2 and 3 carry our hello. */
static int handshake_write(struct peer_conn *c, bool hello)
{
	struct peer_hello m = {PEER_VERSION, PEER_VERSION_MIN, c->ps->s.incarnation};
	uint8_t noise[NOISE_HS_MSG_MAX];
	struct buf payload;
	size_t len;
	int rc;

	buf_init(&payload, LIMIT_NOISE_PAYLOAD_BYTES);
	if (hello)
		(void)msg_encode(&payload, &peer_hello_desc, &m);
	rc = payload.err != ERR_OK ? payload.err
				   : noise_hs_write(&c->hs, buf_bytes(&payload), noise,
						    sizeof noise, &len);
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
	(void)msg_decode(&w, &peer_hello_desc, &none, &m);
	rc = wire_end(&w);
	if (rc != ERR_OK)
		return handshake_refuse(c, rc, "malformed hello");
	if (m.version < PEER_VERSION_MIN || m.version_min > PEER_VERSION)
		return handshake_refuse(c, ERR_VERSION, "no protocol version in common");
	c->version = m.version < PEER_VERSION ? (unsigned)m.version : PEER_VERSION;
	c->incarnation = m.incarnation;
	return ERR_OK;
}

/* The key that Noise has proved must be the one the membership has for this id. */
static int handshake_key(struct peer_conn *c)
{
	const struct config_member *m = config_member_by_id(c->ps->s.config, c->id);
	const uint8_t *key = noise_hs_remote_static(&c->hs);

	CHECK(m != NULL && key != NULL);
	if (key_equal(key, m->key))
		return ERR_OK;
	return handshake_refuse(c, ERR_AUTHENTICATION, "its key is not the one in the member line");
}

/*
 * The initiator does not know yet whether it was accepted: the responder's first message says so,
 * and it says it at once.
 */
static int handshake_done(struct peer_conn *c)
{
	struct peer_ping ping = {c->ps->s.incarnation};
	int rc = noise_hs_split(&c->hs, &c->session);

	if (rc != ERR_OK)
		return rc;
	if (c->role == NOISE_INITIATOR) {
		c->state = PEER_CONFIRM;
		return ERR_OK;
	}
	c->state = PEER_UP;
	rc = peer_conn_send(c, MSG_NO_peer_ping, &peer_ping_desc, &ping);
	if (rc == ERR_OK)
		peers_conn_up(c);
	return rc;
}

int peer_handshake_begin(struct peer_conn *c)
{
	const struct config *config = c->ps->s.config;

	CHECK(c->role == NOISE_INITIATOR);
	preamble_write(c->preamble, config->cluster_id, config->node_id, c->id);
	buf_add(&c->out, c->preamble, PEER_PREAMBLE_BYTES);
	handshake_init(c);
	return handshake_write(c, false);
}

/* Nothing here is proved yet. It becomes Noise's prologue, so nothing of it can be altered. */
int peer_handshake_preamble(struct peer_conn *c, const uint8_t *p)
{
	const struct config *config = c->ps->s.config;
	uint64_t from = get_u64be(p + 20);

	/* The version is only the initiator's newest: the hellos agree on one. */
	if (memcmp(p, magic, sizeof magic) != 0)
		return handshake_refuse(c, ERR_MALFORMED, "not our protocol");
	if (get_u64be(p + 12) != config->cluster_id)
		return handshake_refuse(c, ERR_AUTHENTICATION, "of another cluster");
	if (get_u64be(p + 28) != config->node_id)
		return handshake_refuse(c, ERR_AUTHENTICATION, "meant for another node");
	/* Only the smaller id dials: anything else is a mix-up or a lie. */
	if (!peers_may_call(c->ps, from))
		return handshake_refuse(c, ERR_AUTHENTICATION, "from no member that dials us");
	c->id = from;
	memcpy(c->preamble, p, PEER_PREAMBLE_BYTES);
	handshake_init(c);
	return ERR_OK;
}

int peer_handshake_frame(struct peer_conn *c, struct bytes frame)
{
	uint8_t payload[NOISE_HS_MSG_MAX];
	unsigned step = c->hs.step;
	size_t len;
	int rc = noise_hs_read(&c->hs, frame, payload, sizeof payload, &len);

	if (rc != ERR_OK)
		return handshake_refuse(c, rc, step == 0 ? "it does not know the cluster's secret"
							 : "its handshake does not verify");
	if (step == 0)                       /* responder: message 1 came */
		return len == 0 ? handshake_write(c, true) : ERR_MALFORMED;
	rc = handshake_key(c);
	if (rc == ERR_OK)
		rc = handshake_hello(c, bytes_of(payload, len));
	if (rc == ERR_OK && c->role == NOISE_INITIATOR)
		rc = handshake_write(c, true);
	return rc == ERR_OK ? handshake_done(c) : rc;
}
