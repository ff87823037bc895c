/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes raftd/noise.h. A stranger's bytes never get past the first tag, so besides those (first
 * byte 0) the input steers somebody who sits between two honest ends: four bytes for each message
 * say what becomes of it. Whatever that is, a message is accepted exactly if it is the next one of
 * its direction, unchanged; and the first refusal is the end.
 */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "raftd/noise.h"

#define PLAIN_MAX 200u
#define MSG_MAX (PLAIN_MAX + NOISE_MSG2_OVERHEAD + 256u)
#define NONE bytes_of(NULL, 0)

_Static_assert(PLAIN_MAX <= LIMIT_NOISE_PAYLOAD_BYTES, "every payload here may be sent");

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct message {
	uint8_t data[MSG_MAX];
	size_t len;
};

static void start(struct noise_hs *hs, enum noise_role role)
{
	static const uint8_t psk[NOISE_KEY_LEN] = {1};
	static const uint8_t secrets[2][NOISE_KEY_LEN] = {{2}, {3}};
	static const uint8_t ephemerals[2][NOISE_KEY_LEN] = {{4}, {5}};
	struct noise_hs_config config = {role, secrets[role], psk, bytes_str("fuzz")};

	noise_hs_init(hs, &config, ephemerals[role]);
}

static void check_dead_hs(struct noise_hs *hs, int err)
{
	uint8_t out[MSG_MAX] = {0};
	struct noise_session s;
	size_t len = 1;

	CHECK(noise_hs_write(hs, NONE, out, sizeof out, &len) == err && len == 0);
	CHECK(noise_hs_read(hs, bytes_of(out, sizeof out), out, sizeof out, &len) == err);
	CHECK(noise_hs_split(hs, &s) == err && noise_hs_remote_static(hs) == NULL);
}

/* Anything at all as message 1. */
static void stranger(struct bytes input)
{
	struct noise_hs hs;
	uint8_t out[LIMIT_NOISE_PAYLOAD_BYTES];
	size_t len;
	int rc;

	start(&hs, NOISE_RESPONDER);
	rc = noise_hs_read(&hs, input, out, sizeof out, &len);
	if (rc != ERR_OK)
		check_dead_hs(&hs, rc);
	else
		CHECK(len == input.len - NOISE_MSG1_OVERHEAD);
}

/* What becomes of `m` on its way; `before` is the message sent before it. */
static void meddle(struct cur *in, struct message *m, const struct message *before)
{
	uint8_t action = cur_u8(in);
	size_t where = cur_u8(in) | (size_t)cur_u8(in) << 8;
	uint8_t value = cur_u8(in);

	switch (action % 8) {
	case 1:
		m->data[where % m->len] ^= value;
		break;
	case 2:
		m->len = where % m->len;
		break;
	case 3:
		where %= MSG_MAX - m->len + 1;
		memset(m->data + m->len, value, where);
		m->len += where;
		break;
	case 4:
		*m = *before;
		break;
	case 5:
		memset(m->data, value, m->len);
		break;
	default:
		break;
	}
}

static bool same(const struct message *a, const struct message *b)
{
	return bytes_eq(bytes_of(a->data, a->len), bytes_of(b->data, b->len));
}

static bool pass_handshake(struct cur *in, struct noise_hs *i, struct noise_hs *r)
{
	struct message before = {.len = 0}, sent, got;
	uint8_t plain[PLAIN_MAX] = {6}, out[LIMIT_NOISE_PAYLOAD_BYTES];
	size_t len;

	for (unsigned step = 0; step < NOISE_HS_MESSAGES; step++) {
		struct noise_hs *writer = step % 2 == 0 ? i : r, *reader = step % 2 == 0 ? r : i;
		size_t plain_len = cur_u8(in) % (PLAIN_MAX + 1);
		int rc = noise_hs_write(writer, bytes_of(plain, plain_len), sent.data,
					sizeof sent.data, &sent.len);

		CHECK(rc == ERR_OK);
		got = sent;
		meddle(in, &got, &before);
		rc = noise_hs_read(reader, bytes_of(got.data, got.len), out, sizeof out, &len);
		CHECK((rc == ERR_OK) == same(&got, &sent));
		if (rc != ERR_OK) {
			CHECK(len == 0);
			check_dead_hs(reader, rc);
			return false;
		}
		CHECK(bytes_eq(bytes_of(out, len), bytes_of(plain, plain_len)));
		before = sent;
	}
	return true;
}

static void pass_frames(struct cur *in, struct noise_cipher *send, struct noise_cipher *recv)
{
	struct message before = {.len = 0}, sent, got;
	uint8_t plain[PLAIN_MAX] = {7}, out[MSG_MAX], ad[4];
	size_t len;

	send->rekey_bytes = recv->rekey_bytes = 1000;
	send->rekey_messages = recv->rekey_messages = 5;
	while (cur_left(in) > 0) {
		size_t plain_len = cur_u8(in) % (PLAIN_MAX + 1);
		int rc;

		put_u32be(ad, (uint32_t)plain_len);
		CHECK(noise_cipher_encrypt(send, bytes_of(ad, 4), bytes_of(plain, plain_len),
					   sent.data, sizeof sent.data, &sent.len) == ERR_OK);
		got = sent;
		meddle(in, &got, &before);
		rc = noise_cipher_decrypt(recv, bytes_of(ad, 4), bytes_of(got.data, got.len), out,
					  sizeof out, &len);
		CHECK((rc == ERR_OK) == same(&got, &sent));
		if (rc != ERR_OK) {
			CHECK(len == 0 && noise_cipher_rekey(recv) == rc);
			return;
		}
		CHECK(bytes_eq(bytes_of(out, len), bytes_of(plain, plain_len)));
		CHECK(memcmp(send->k, recv->k, NOISE_KEY_LEN) == 0 && send->n == recv->n);
		before = sent;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cur in = cur_of(bytes_of(data, size));
	struct noise_hs i, r;
	struct noise_session si, sr;

	if (cur_u8(&in) == 0) {
		stranger(cur_take(&in, cur_left(&in)));
		return 0;
	}
	start(&i, NOISE_INITIATOR);
	start(&r, NOISE_RESPONDER);
	if (!pass_handshake(&in, &i, &r))
		return 0;
	CHECK(noise_hs_split(&i, &si) == ERR_OK && noise_hs_split(&r, &sr) == ERR_OK);
	if (cur_u8(&in) % 2 == 0)
		pass_frames(&in, &si.send, &sr.recv);
	else
		pass_frames(&in, &sr.send, &si.recv);
	return 0;
}
