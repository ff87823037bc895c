/* SPDX-License-Identifier: Apache-2.0 */
/* The transport of raftd/noise.h: what it must refuse, and that both sides rekey alike. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "raftd/noise.h"
#include "rt/keyfile.h"
#include "tests/lib/tap.h"

#define NONE bytes_of(NULL, 0)
#define CANARY 0xa5

/* Two ends of one link, as a handshake leaves them. */
static void open_sessions(struct noise_session *i, struct noise_session *r)
{
	uint8_t forth[KEY_LEN] = {1}, back[KEY_LEN] = {2};

	noise_cipher_init(&i->send, forth);
	noise_cipher_init(&r->recv, forth);
	noise_cipher_init(&r->send, back);
	noise_cipher_init(&i->recv, back);
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
static void cipher_is_dead(struct noise_cipher *c, int err)
{
	struct noise_cipher rest = *c;
	uint8_t out[64] = {0};
	size_t len = 1;

	rest.err = 0;
	OK(all_are(&rest, 0, sizeof rest));
	EQ_INT(noise_cipher_encrypt(c, NONE, NONE, out, sizeof out, &len), err);
	EQ_INT(len, 0);
	len = 1;
	EQ_INT(noise_cipher_decrypt(c, NONE, bytes_of(out, 32), out, sizeof out, &len), err);
	EQ_INT(len, 0);
	EQ_INT(noise_cipher_rekey(c), err);
}

TEST(a_cipher_of_zeros_or_a_wiped_one_refuses_everything)
{
	struct noise_session i, r;
	struct noise_cipher c = {0};

	cipher_is_dead(&c, ERR_CLOSED);
	open_sessions(&i, &r);
	noise_session_wipe(&i);
	OK(all_are(&i, 0, sizeof i));
	cipher_is_dead(&i.send, ERR_CLOSED);
	noise_cipher_wipe(&r.send);
	cipher_is_dead(&r.send, ERR_CLOSED);
}

static size_t seal(struct noise_cipher *c, const char *ad, const char *plain, uint8_t *out,
		   size_t cap)
{
	size_t len;

	EQ_INT(noise_cipher_encrypt(c, bytes_str(ad), bytes_str(plain), out, cap, &len), ERR_OK);
	EQ_INT(len, strlen(plain) + NOISE_TAG_LEN);
	return len;
}

static int open_frame(struct noise_cipher *c, const char *ad, const uint8_t *sealed,
		      size_t sealed_len)
{
	uint8_t out[256];
	size_t len;
	int rc = noise_cipher_decrypt(c, bytes_str(ad), bytes_of(sealed, sealed_len), out,
				      sizeof out, &len);

	EQ_INT(len, rc == ERR_OK ? sealed_len - NOISE_TAG_LEN : 0);
	return rc;
}

TEST(every_flipped_bit_of_a_frame_or_its_header_is_rejected)
{
	struct noise_session i, r;
	struct noise_cipher fresh;
	uint8_t msg[64];
	char ad[] = "head";

	open_sessions(&i, &r);
	size_t len = seal(&i.send, ad, "some plain text", msg, sizeof msg);

	for (size_t bit = 0; bit < len * 8; bit++) {
		fresh = r.recv;
		msg[bit / 8] ^= (uint8_t)(1u << bit % 8);
		EQ_INT(open_frame(&fresh, ad, msg, len), ERR_AUTHENTICATION);
		cipher_is_dead(&fresh, ERR_AUTHENTICATION);
		msg[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t bit = 0; bit < 4 * 8; bit++) {
		fresh = r.recv;
		ad[bit / 8] = (char)(ad[bit / 8] ^ (1 << bit % 8));
		EQ_INT(open_frame(&fresh, ad, msg, len), ERR_AUTHENTICATION);
		ad[bit / 8] = (char)(ad[bit / 8] ^ (1 << bit % 8));
	}
	EQ_INT(open_frame(&r.recv, ad, msg, len), ERR_OK);
}

TEST(every_shorter_or_longer_frame_is_rejected)
{
	struct noise_session i, r;
	struct noise_cipher fresh;
	uint8_t msg[64] = {0};

	open_sessions(&i, &r);
	size_t len = seal(&i.send, "", "some plain text", msg, sizeof msg);

	for (size_t n = 0; n <= sizeof msg; n++) {
		fresh = r.recv;
		EQ_INT(open_frame(&fresh, "", msg, n), n < NOISE_TAG_LEN ? ERR_TRUNCATED :
			n == len ? ERR_OK : ERR_AUTHENTICATION);
	}
}

TEST(a_replayed_dropped_reordered_or_reflected_frame_is_rejected)
{
	struct noise_session i, r;
	struct noise_cipher fresh;
	uint8_t msg[3][64];
	size_t len = 0;

	open_sessions(&i, &r);
	for (int k = 0; k < 3; k++)
		len = seal(&i.send, "", "the same each time", msg[k], sizeof msg[k]);
	OK(memcmp(msg[0], msg[1], len) != 0);

	fresh = r.recv;
	EQ_INT(open_frame(&fresh, "", msg[0], len), ERR_OK);
	EQ_INT(open_frame(&fresh, "", msg[0], len), ERR_AUTHENTICATION);   /* replayed */
	cipher_is_dead(&fresh, ERR_AUTHENTICATION);
	EQ_INT(open_frame(&fresh, "", msg[1], len), ERR_AUTHENTICATION);   /* and no way back */

	fresh = r.recv;
	EQ_INT(open_frame(&fresh, "", msg[0], len), ERR_OK);
	EQ_INT(open_frame(&fresh, "", msg[2], len), ERR_AUTHENTICATION);   /* dropped */

	fresh = r.recv;
	EQ_INT(open_frame(&fresh, "", msg[1], len), ERR_AUTHENTICATION);   /* reordered */

	fresh = i.recv;
	EQ_INT(open_frame(&fresh, "", msg[0], len), ERR_AUTHENTICATION);   /* reflected */

	for (int k = 0; k < 3; k++)
		EQ_INT(open_frame(&r.recv, "", msg[k], len), ERR_OK);
}

/* One frame of n bytes: exactly its room, a byte too little, and a canary behind. */
static void check_room(struct noise_session *i, struct noise_session *r, struct bytes plain)
{
	uint8_t msg[100 + NOISE_TAG_LEN + 1], out[100 + 1];
	struct noise_cipher send = i->send, recv = r->recv;
	size_t total = plain.len + NOISE_TAG_LEN, len;

	memset(msg, CANARY, sizeof msg);
	memset(out, CANARY, sizeof out);
	EQ_INT(noise_cipher_encrypt(&send, NONE, plain, msg, total - 1, &len), ERR_LIMIT);
	cipher_is_dead(&send, ERR_LIMIT);
	OK(all_are(msg, CANARY, sizeof msg));
	EQ_INT(noise_cipher_encrypt(&i->send, NONE, plain, msg, total, &len), ERR_OK);
	EQ_INT(len, total);
	OK(all_are(msg + len, CANARY, sizeof msg - len));

	if (plain.len > 0)
		EQ_INT(noise_cipher_decrypt(&recv, NONE, bytes_of(msg, total), out, plain.len - 1,
					    &len), ERR_LIMIT);
	OK(all_are(out, CANARY, sizeof out));
	EQ_INT(noise_cipher_decrypt(&r->recv, NONE, bytes_of(msg, total), out, plain.len, &len),
	       ERR_OK);
	EQ_INT(len, plain.len);
	EQ_MEM(out, plain.data, len);
	OK(all_are(out + len, CANARY, sizeof out - len));
}

TEST(transport_output_keeps_to_its_stated_size)
{
	struct noise_session i, r;
	uint8_t plain[100] = {9};

	open_sessions(&i, &r);
	for (size_t n = 0; n <= sizeof plain; n++)
		check_room(&i, &r, bytes_of(plain, n));
}

TEST(the_largest_frame_passes_in_place_and_a_larger_one_does_not)
{
	struct noise_session i, r;
	struct noise_cipher c;
	size_t max = LIMIT_FRAME_BYTES, cap = max + NOISE_TAG_LEN + 1, len;
	uint8_t *data = mem_alloc(cap);

	open_sessions(&i, &r);
	data[0] = 'a';
	data[max - 1] = 'z';
	c = i.send;
	EQ_INT(noise_cipher_encrypt(&c, NONE, bytes_of(data, max + 1), data, cap, &len), ERR_LIMIT);
	c = r.recv;
	EQ_INT(noise_cipher_decrypt(&c, NONE, bytes_of(data, cap), data, cap, &len), ERR_LIMIT);
	EQ_INT(noise_cipher_encrypt(&i.send, NONE, bytes_of(data, max), data, cap, &len), ERR_OK);
	OK(!all_are(data + 1, 0, 1000));
	EQ_INT(noise_cipher_decrypt(&r.recv, NONE, bytes_of(data, len), data, max, &len), ERR_OK);
	EQ_INT(len, max);
	OK(data[0] == 'a' && data[max - 1] == 'z' && all_are(data + 1, 0, max - 2));
	free(data);
}

TEST(used_up_nonces_are_an_error)
{
	struct noise_session i, r;
	uint8_t msg[64];

	open_sessions(&i, &r);
	i.send.n = r.recv.n = UINT64_MAX - 1;
	size_t len = seal(&i.send, "", "the last", msg, sizeof msg);

	EQ_INT(open_frame(&r.recv, "", msg, len), ERR_OK);
	EQ_INT(noise_cipher_encrypt(&i.send, NONE, NONE, msg, sizeof msg, &len), ERR_LIMIT);
	cipher_is_dead(&i.send, ERR_LIMIT);
	EQ_INT(open_frame(&r.recv, "", msg, NOISE_TAG_LEN), ERR_LIMIT);
	cipher_is_dead(&r.recv, ERR_LIMIT);
}

TEST(the_rekey_limits_are_those_of_the_protocol)
{
	struct noise_session i, r;

	open_sessions(&i, &r);
	EQ_INT(i.send.rekey_bytes, 1 << 30);
	EQ_INT(i.recv.rekey_bytes, 1 << 30);
	EQ_INT(r.send.rekey_messages, INT64_C(1) << 32);
	EQ_INT(r.recv.rekey_messages, INT64_C(1) << 32);
}

/* At the threshold exactly, behind the message that reaches it, and the nonces go on. */
TEST(a_rekey_comes_behind_the_message_that_reaches_the_bytes)
{
	struct noise_session i, r;
	uint8_t msg[64], key[KEY_LEN];
	size_t len;

	open_sessions(&i, &r);
	i.send.rekey_bytes = r.recv.rekey_bytes = 2 * (10 + NOISE_TAG_LEN);
	memcpy(key, i.send.k, KEY_LEN);
	for (unsigned n = 1; n <= 6; n++) {
		len = seal(&i.send, "header, not counted", "ten bytes.", msg, sizeof msg);
		EQ_INT(i.send.n, n);
		OK(key_equal(key, i.send.k) == (n % 2 != 0));
		EQ_INT(i.send.bytes, n % 2 * (10 + NOISE_TAG_LEN));
		EQ_INT(i.send.messages, n % 2);
		memcpy(key, i.send.k, KEY_LEN);
		EQ_INT(open_frame(&r.recv, "header, not counted", msg, len), ERR_OK);
		EQ_MEM(r.recv.k, i.send.k, KEY_LEN);
	}
	OK(!key_equal(i.recv.k, i.send.k));
	EQ_INT(i.recv.n, 0);
}

TEST(both_sides_rekey_alike_through_a_long_conversation)
{
	struct noise_session i, r;
	uint8_t plain[900] = {0}, msg[sizeof plain + NOISE_TAG_LEN], key[KEY_LEN];
	uint64_t seed = 42;
	unsigned rekeys = 0;
	size_t len, got;

	open_sessions(&i, &r);
	i.send.rekey_bytes = r.recv.rekey_bytes = 5000;
	i.recv.rekey_messages = r.send.rekey_messages = 7;
	for (int k = 0; k < 5000; k++) {
		bool forth = tap_rand(&seed) % 2 == 0;
		struct noise_cipher *send = forth ? &i.send : &r.send;
		struct noise_cipher *recv = forth ? &r.recv : &i.recv;
		size_t n = tap_rand(&seed) % sizeof plain;

		memcpy(key, send->k, KEY_LEN);
		plain[0] = (uint8_t)k;
		EQ_INT(noise_cipher_encrypt(send, bytes_of(&n, 4), bytes_of(plain, n), msg,
					    sizeof msg, &len), ERR_OK);
		EQ_INT(noise_cipher_decrypt(recv, bytes_of(&n, 4), bytes_of(msg, len), msg,
					    sizeof msg, &got), ERR_OK);
		EQ_INT(got, n);
		EQ_MEM(msg, plain, n);
		rekeys += !key_equal(key, send->k);
	}
	EQ_INT(i.send.n + r.send.n, 5000);
	OK(rekeys > 400);
}

TEST(a_side_that_rekeys_alone_is_not_understood)
{
	struct noise_session i, r;
	uint8_t msg[64];
	size_t len;

	open_sessions(&i, &r);
	EQ_INT(noise_cipher_rekey(&i.send), ERR_OK);
	len = seal(&i.send, "", "x", msg, sizeof msg);
	EQ_INT(open_frame(&r.recv, "", msg, len), ERR_AUTHENTICATION);

	open_sessions(&i, &r);
	i.send.rekey_messages = 1;
	len = seal(&i.send, "", "x", msg, sizeof msg);
	EQ_INT(open_frame(&r.recv, "", msg, len), ERR_OK);
	len = seal(&i.send, "", "y", msg, sizeof msg);
	EQ_INT(open_frame(&r.recv, "", msg, len), ERR_AUTHENTICATION);

	open_sessions(&i, &r);
	EQ_INT(noise_cipher_rekey(&i.send), ERR_OK);
	EQ_INT(noise_cipher_rekey(&r.recv), ERR_OK);
	len = seal(&i.send, "", "x", msg, sizeof msg);
	EQ_INT(open_frame(&r.recv, "", msg, len), ERR_OK);
}

TESTS = {
	T(a_cipher_of_zeros_or_a_wiped_one_refuses_everything),
	T(every_flipped_bit_of_a_frame_or_its_header_is_rejected),
	T(every_shorter_or_longer_frame_is_rejected),
	T(a_replayed_dropped_reordered_or_reflected_frame_is_rejected),
	T(transport_output_keeps_to_its_stated_size),
	T(the_largest_frame_passes_in_place_and_a_larger_one_does_not),
	T(used_up_nonces_are_an_error),
	T(the_rekey_limits_are_those_of_the_protocol),
	T(a_rekey_comes_behind_the_message_that_reaches_the_bytes),
	T(both_sides_rekey_alike_through_a_long_conversation),
	T(a_side_that_rekeys_alone_is_not_understood),
};
TAP_MAIN
