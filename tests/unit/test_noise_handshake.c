/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake of raftd/noise.h: what it must refuse, and what it must never do. That it speaks
 * Noise at all is test_noise_vectors.c's business.
 */
#include <string.h>

#include "base/err.h"
#include "raftd/noise.h"
#include "rt/keyfile.h"
#include "tests/lib/tap.h"

#define NONE bytes_of(NULL, 0)
#define CANARY 0xa5

struct pair {
	struct noise_hs i, r;
};

static const size_t overheads[NOISE_HS_MESSAGES] = {
	NOISE_MSG1_OVERHEAD, NOISE_MSG2_OVERHEAD, NOISE_MSG3_OVERHEAD,
};

/* A fixed key for each number: failures repeat. */
static void fill_key(uint8_t key[KEY_LEN], unsigned number)
{
	uint64_t state = number;

	for (size_t i = 0; i < KEY_LEN; i++)
		key[i] = (uint8_t)tap_rand(&state);
}

static void start(struct noise_hs *hs, enum noise_role role, unsigned psk_number,
		  const char *prologue)
{
	uint8_t secret[KEY_LEN], ephemeral[KEY_LEN], psk[KEY_LEN];
	struct noise_hs_config config = {role, secret, psk, bytes_str(prologue)};

	fill_key(secret, role == NOISE_INITIATOR ? 1 : 2);
	fill_key(ephemeral, role == NOISE_INITIATOR ? 3 : 4);
	fill_key(psk, psk_number);
	noise_hs_init(hs, &config, ephemeral);
}

static void start_pair(struct pair *p)
{
	start(&p->i, NOISE_INITIATOR, 5, "prologue");
	start(&p->r, NOISE_RESPONDER, 5, "prologue");
}

static struct noise_hs *writer(struct pair *p, unsigned step)
{
	return step % 2 == 0 ? &p->i : &p->r;
}

static struct noise_hs *reader(struct pair *p, unsigned step)
{
	return step % 2 == 0 ? &p->r : &p->i;
}

/* Writes message `step` and returns its length. */
static size_t write_step(struct pair *p, unsigned step, const char *payload, uint8_t *msg)
{
	size_t len;
	int rc = noise_hs_write(writer(p, step), bytes_str(payload), msg, NOISE_HS_MSG_MAX, &len);

	EQ_INT(rc, ERR_OK);
	return len;
}

static int read_step(struct noise_hs *hs, const uint8_t *msg, size_t msg_len)
{
	uint8_t payload[LIMIT_NOISE_PAYLOAD_BYTES];
	size_t len;
	int rc = noise_hs_read(hs, bytes_of(msg, msg_len), payload, sizeof payload, &len);

	OK(rc == ERR_OK || len == 0);
	return rc;
}

static void pass_steps(struct pair *p, unsigned steps)
{
	uint8_t msg[NOISE_HS_MSG_MAX];

	start_pair(p);
	for (unsigned step = 0; step < steps; step++)
		EQ_INT(read_step(reader(p, step), msg, write_step(p, step, "x", msg)), ERR_OK);
}

static void open_sessions(struct noise_session *i, struct noise_session *r)
{
	struct pair p;

	pass_steps(&p, NOISE_HS_MESSAGES);
	EQ_INT(noise_hs_split(&p.i, i), ERR_OK);
	EQ_INT(noise_hs_split(&p.r, r), ERR_OK);
}

static bool all_are(const void *data, uint8_t value, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		if (p[i] != value)
			return false;
	return true;
}

/* Nothing is left of it but its error; every call gives `err`. */
static void hs_is_dead(struct noise_hs *hs, int err)
{
	struct noise_hs rest = *hs;
	struct noise_session s;
	uint8_t out[NOISE_HS_MSG_MAX];
	size_t len = 1;

	rest.err = 0;
	OK(all_are(&rest, 0, sizeof rest));
	EQ_INT(noise_hs_write(hs, NONE, out, sizeof out, &len), err);
	EQ_INT(len, 0);
	len = 1;
	EQ_INT(noise_hs_read(hs, bytes_of(out, NOISE_MSG1_OVERHEAD), out, sizeof out, &len), err);
	EQ_INT(len, 0);
	EQ_INT(noise_hs_split(hs, &s), err);
	OK(noise_hs_remote_static(hs) == NULL);
}

TEST(both_sides_agree_and_know_each_other)
{
	struct noise_session i, r;
	uint8_t secret[KEY_LEN], public[KEY_LEN];

	open_sessions(&i, &r);
	EQ_MEM(i.handshake_hash, r.handshake_hash, NOISE_HASH_LEN);
	EQ_MEM(i.send.k, r.recv.k, KEY_LEN);
	EQ_MEM(i.recv.k, r.send.k, KEY_LEN);
	OK(!key_equal(i.send.k, i.recv.k));
	fill_key(secret, 1);
	key_public(secret, public);
	EQ_MEM(r.remote_static, public, KEY_LEN);
	fill_key(secret, 2);
	key_public(secret, public);
	EQ_MEM(i.remote_static, public, KEY_LEN);
	noise_session_wipe(&i);
	OK(all_are(&i, 0, sizeof i));
}

TEST(a_remote_key_is_told_only_once_it_is_proven)
{
	struct pair p;

	for (unsigned steps = 0; steps <= NOISE_HS_MESSAGES; steps++) {
		pass_steps(&p, steps);
		OK((noise_hs_remote_static(&p.i) != NULL) == (steps >= 2));
		OK((noise_hs_remote_static(&p.r) != NULL) == (steps >= 3));
	}
}

TEST(fresh_ephemerals_give_fresh_sessions)
{
	uint8_t key[KEY_LEN] = {1}, msg[2][NOISE_HS_MSG_MAX];
	struct noise_hs_config config = {NOISE_INITIATOR, key, key, NONE};
	struct noise_hs hs;
	size_t len;

	EQ_INT(noise_start(), ERR_OK);
	for (int i = 0; i < 2; i++) {
		noise_hs_init_random(&hs, &config);
		EQ_INT(noise_hs_write(&hs, NONE, msg[i], NOISE_HS_MSG_MAX, &len), ERR_OK);
	}
	OK(memcmp(msg[0], msg[1], len) != 0);
	noise_hs_wipe(&hs);
	hs_is_dead(&hs, ERR_CLOSED);
}

TEST(another_psk_is_rejected_at_message_1)
{
	struct pair p;
	uint8_t msg[NOISE_HS_MSG_MAX];

	start_pair(&p);
	start(&p.i, NOISE_INITIATOR, 6, "prologue");
	EQ_INT(read_step(&p.r, msg, write_step(&p, 0, "", msg)), ERR_AUTHENTICATION);
	hs_is_dead(&p.r, ERR_AUTHENTICATION);
}

TEST(another_prologue_is_rejected_at_message_1)
{
	const char *others[] = {"", "prologu", "prologue ", "Prologue"};
	struct pair p;
	uint8_t msg[NOISE_HS_MSG_MAX];

	for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
		start_pair(&p);
		start(&p.i, NOISE_INITIATOR, 5, others[k]);
		EQ_INT(read_step(&p.r, msg, write_step(&p, 0, "", msg)), ERR_AUTHENTICATION);
	}
}

TEST(a_message_of_another_handshake_is_rejected)
{
	struct pair p, q;
	uint8_t msg[NOISE_HS_MSG_MAX], ephemeral[KEY_LEN];
	size_t len;

	pass_steps(&p, 2);
	len = write_step(&p, 2, "", msg);
	pass_steps(&q, 1);
	fill_key(ephemeral, 7);
	memcpy(q.r.e.secret, ephemeral, KEY_LEN);
	key_public(ephemeral, q.r.e.public);
	write_step(&q, 1, "", (uint8_t[NOISE_HS_MSG_MAX]){0});
	EQ_INT(read_step(&q.r, msg, len), ERR_AUTHENTICATION);
}

TEST(every_flipped_bit_of_a_handshake_message_is_rejected)
{
	struct pair p;
	struct noise_hs fresh;
	uint8_t msg[NOISE_HS_MSG_MAX];

	for (unsigned step = 0; step < NOISE_HS_MESSAGES; step++) {
		pass_steps(&p, step);
		size_t len = write_step(&p, step, "payload", msg);

		for (size_t bit = 0; bit < len * 8; bit++) {
			fresh = *reader(&p, step);
			msg[bit / 8] ^= (uint8_t)(1u << bit % 8);
			EQ_INT(read_step(&fresh, msg, len), ERR_AUTHENTICATION);
			msg[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		hs_is_dead(&fresh, ERR_AUTHENTICATION);
		EQ_INT(read_step(reader(&p, step), msg, len), ERR_OK);
	}
}

TEST(every_shorter_or_longer_handshake_message_is_rejected)
{
	struct pair p;
	struct noise_hs fresh;
	uint8_t msg[NOISE_HS_MSG_MAX + NOISE_MSG2_OVERHEAD + 1] = {0};

	for (unsigned step = 0; step < NOISE_HS_MESSAGES; step++) {
		pass_steps(&p, step);
		size_t len = write_step(&p, step, "payload", msg);

		for (size_t n = 0; n <= sizeof msg; n++) {
			int want = n < overheads[step] ? ERR_TRUNCATED :
				   n > overheads[step] + LIMIT_NOISE_PAYLOAD_BYTES ? ERR_LIMIT :
				   n == len ? ERR_OK : ERR_AUTHENTICATION;

			fresh = *reader(&p, step);
			EQ_INT(read_step(&fresh, msg, n), want);
		}
	}
}

/* Points of small order, and such ones plus p: X25519 with any secret gives zero. */
static const uint8_t small_order[][KEY_LEN] = {
	{0},
	{1},
	{
		0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa,
		0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd,
		0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
	},
	{
		0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55,
		0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86,
		0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
	},
	{[0] = 0xec, [1 ... 30] = 0xff, [31] = 0x7f},
	{[0] = 0xed, [1 ... 30] = 0xff, [31] = 0x7f},
	{[0] = 0xee, [1 ... 30] = 0xff, [31] = 0x7f},
	{[31] = 0x80},
};

/* Somebody who knows the psk can send such keys: the transcript is right, the secret is known. */
TEST(an_all_zero_dh_result_is_an_error)
{
	struct pair p;
	uint8_t msg[NOISE_HS_MSG_MAX];
	size_t len;

	for (size_t k = 0; k < sizeof small_order / sizeof small_order[0]; k++) {
		start_pair(&p);
		memcpy(p.i.e.public, small_order[k], KEY_LEN);
		EQ_INT(read_step(&p.r, msg, write_step(&p, 0, "", msg)), ERR_OK);
		EQ_INT(noise_hs_write(&p.r, NONE, msg, sizeof msg, &len), ERR_AUTHENTICATION);
		hs_is_dead(&p.r, ERR_AUTHENTICATION);

		pass_steps(&p, 1);
		memcpy(p.r.e.public, small_order[k], KEY_LEN);
		EQ_INT(read_step(&p.i, msg, write_step(&p, 1, "", msg)), ERR_AUTHENTICATION);
		pass_steps(&p, 1);
		memcpy(p.r.s.public, small_order[k], KEY_LEN);
		EQ_INT(read_step(&p.i, msg, write_step(&p, 1, "", msg)), ERR_AUTHENTICATION);

		pass_steps(&p, 2);
		memcpy(p.i.s.public, small_order[k], KEY_LEN);
		EQ_INT(read_step(&p.r, msg, write_step(&p, 2, "", msg)), ERR_AUTHENTICATION);
	}
}

TEST(calls_out_of_turn_are_errors)
{
	struct pair p, q;
	struct noise_session s;
	uint8_t out[NOISE_HS_MSG_MAX] = {0};
	size_t len;

	for (unsigned step = 0; step <= NOISE_HS_MESSAGES; step++) {
		pass_steps(&p, step);
		q = p;
		EQ_INT(read_step(writer(&q, step), out, sizeof out), ERR_INTERNAL);
		hs_is_dead(writer(&q, step), ERR_INTERNAL);
		EQ_INT(noise_hs_write(reader(&q, step), NONE, out, sizeof out, &len), ERR_INTERNAL);
		if (step == NOISE_HS_MESSAGES) {
			q = p;
			EQ_INT(read_step(reader(&q, step), out, sizeof out), ERR_INTERNAL);
			EQ_INT(noise_hs_write(writer(&q, step), NONE, out, sizeof out, &len),
			       ERR_INTERNAL);
		}
		q = p;
		EQ_INT(noise_hs_split(&q.i, &s), step == NOISE_HS_MESSAGES ? ERR_OK : ERR_INTERNAL);
		hs_is_dead(&q.i, step == NOISE_HS_MESSAGES ? ERR_CLOSED : ERR_INTERNAL);
		EQ_INT(s.send.live, step == NOISE_HS_MESSAGES);
	}
}

TEST(a_handshake_of_zeros_refuses_everything)
{
	struct noise_hs hs = {0};

	hs_is_dead(&hs, ERR_CLOSED);
}

/* `payload` in message `step` of p: exactly its room, and a canary behind. */
static void exact_room_is_enough(struct pair p, unsigned step, struct bytes payload)
{
	uint8_t msg[NOISE_HS_MSG_MAX + 1], out[LIMIT_NOISE_PAYLOAD_BYTES + 1];
	size_t total = payload.len + overheads[step], len;

	memset(msg, CANARY, sizeof msg);
	EQ_INT(noise_hs_write(writer(&p, step), payload, msg, total, &len), ERR_OK);
	EQ_INT(len, total);
	OK(all_are(msg + len, CANARY, sizeof msg - len));
	memset(out, CANARY, sizeof out);
	EQ_INT(noise_hs_read(reader(&p, step), bytes_of(msg, len), out, payload.len, &len), ERR_OK);
	EQ_INT(len, payload.len);
	EQ_MEM(out, payload.data, len);
	OK(all_are(out + len, CANARY, sizeof out - len));
}

static void a_byte_less_is_an_error(struct pair p, unsigned step, struct bytes payload)
{
	uint8_t msg[NOISE_HS_MSG_MAX], out[LIMIT_NOISE_PAYLOAD_BYTES];
	size_t total = payload.len + overheads[step], len;

	memset(msg, CANARY, sizeof msg);
	EQ_INT(noise_hs_write(writer(&p, step), payload, msg, total - 1, &len), ERR_LIMIT);
	OK(all_are(msg, CANARY, sizeof msg));
	if (payload.len == 0)
		return;
	memset(out, CANARY, sizeof out);
	EQ_INT(noise_hs_read(reader(&p, step), bytes_of(msg, total), out, payload.len - 1, &len),
	       ERR_LIMIT);
	OK(all_are(out, CANARY, sizeof out));
}

TEST(handshake_output_keeps_to_its_stated_size)
{
	uint8_t payload[LIMIT_NOISE_PAYLOAD_BYTES + 1] = {7}, msg[NOISE_HS_MSG_MAX + 1];
	struct pair p;
	size_t len;

	for (unsigned step = 0; step < NOISE_HS_MESSAGES; step++) {
		pass_steps(&p, step);
		for (size_t n = 0; n <= LIMIT_NOISE_PAYLOAD_BYTES; n += 32) {
			exact_room_is_enough(p, step, bytes_of(payload, n));
			a_byte_less_is_an_error(p, step, bytes_of(payload, n));
		}
		EQ_INT(noise_hs_write(writer(&p, step), bytes_of(payload, sizeof payload), msg,
				      sizeof msg, &len), ERR_LIMIT);
	}
}

TESTS = {
	T(both_sides_agree_and_know_each_other),
	T(a_remote_key_is_told_only_once_it_is_proven),
	T(fresh_ephemerals_give_fresh_sessions),
	T(another_psk_is_rejected_at_message_1),
	T(another_prologue_is_rejected_at_message_1),
	T(a_message_of_another_handshake_is_rejected),
	T(every_flipped_bit_of_a_handshake_message_is_rejected),
	T(every_shorter_or_longer_handshake_message_is_rejected),
	T(an_all_zero_dh_result_is_an_error),
	T(calls_out_of_turn_are_errors),
	T(a_handshake_of_zeros_refuses_everything),
	T(handshake_output_keeps_to_its_stated_size),
};
TAP_MAIN
