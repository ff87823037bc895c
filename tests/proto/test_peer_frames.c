/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that are wrong, by a member that misbehaves or by somebody between two honest ends. */
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/err.h"
#include "tests/lib/mesh.h"

static struct mesh net;
static struct meddler mid;

#define OF(a, b) net.node[a].of[b]

/* ---- members that misbehave */

/* A member by hand sends that frame: it is cut off, once. */
static void frame_is_fatal(void (*make)(struct caller *c, struct buf *frame))
{
	struct caller c;
	struct buf frame;

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	OK(caller_shake(&c, &net, 1, 2, NULL));
	buf_init(&frame, 0);
	make(&c, &frame);
	caller_put(&c, frame.data, frame.len);
	buf_free(&frame);
	MESH_UNTIL(&net, OF(2, 1).downs == 1);
	EQ_INT(mesh_bad_frames(&net, 2), 1);
	EQ_INT(OF(2, 1).pings, 0);
	caller_expect_out(&c);
	mesh_close(&net);
}

static const struct peer_ping some_ping = {5};

static void make_oversized(struct caller *c, struct buf *frame)
{
	(void)c;
	buf_u32be(frame, LIMIT_FRAME_BYTES + NOISE_TAG_LEN + 1);
}

static void make_empty(struct caller *c, struct buf *frame)
{
	(void)c;
	buf_u32be(frame, 0);
}

static void make_altered(struct caller *c, struct buf *frame)
{
	caller_message(c, 1, MSG_NO_peer_ping, &peer_ping_desc, &some_ping, frame);
	frame->data[frame->len - 1] ^= 1;
}

static void make_gap(struct caller *c, struct buf *frame)
{
	caller_message(c, 1, MSG_NO_peer_ping, &peer_ping_desc, &some_ping, frame);
	buf_clear(frame);                /* the first one gets lost */
	caller_message(c, 2, MSG_NO_peer_ping, &peer_ping_desc, &some_ping, frame);
}

static void make_wrong_sequence(struct caller *c, struct buf *frame)
{
	caller_message(c, 2, MSG_NO_peer_ping, &peer_ping_desc, &some_ping, frame);
}

static void make_unknown_number(struct caller *c, struct buf *frame)
{
	caller_message(c, 1, 99, &peer_ping_desc, &some_ping, frame);
}

static void make_wrong_fields(struct caller *c, struct buf *frame)
{
	caller_message(c, 1, MSG_NO_peer_vote, &peer_ping_desc, &some_ping, frame);
}

static void make_noise_inside(struct caller *c, struct buf *frame)
{
	caller_seal(c, bytes_str("sealed well, and yet no message"), frame);
}

static void make_nothing_inside(struct caller *c, struct buf *frame)
{
	caller_seal(c, bytes_of(NULL, 0), frame);
}

TEST(an_oversized_frame_ends_the_connection)
{
	frame_is_fatal(make_oversized);
}

TEST(an_empty_frame_ends_the_connection)
{
	frame_is_fatal(make_empty);
}

TEST(an_altered_frame_ends_the_connection)
{
	frame_is_fatal(make_altered);
}

TEST(a_lost_frame_ends_the_connection)
{
	frame_is_fatal(make_gap);
}

TEST(a_wrong_sequence_ends_the_connection)
{
	frame_is_fatal(make_wrong_sequence);
}

TEST(an_unknown_message_ends_the_connection)
{
	frame_is_fatal(make_unknown_number);
}

TEST(wrong_fields_end_the_connection)
{
	frame_is_fatal(make_wrong_fields);
}

TEST(what_is_no_message_ends_the_connection)
{
	frame_is_fatal(make_noise_inside);
}

TEST(an_empty_message_ends_the_connection)
{
	frame_is_fatal(make_nothing_inside);
}

TEST(an_error_of_the_owner_ends_the_connection_and_retries_slow_down)
{
	const struct peer_times times = {.handshake_ms = 300, .ping_ms = 20, .dead_ms = 200,
					 .retry_min_ms = 10, .retry_max_ms = 1000,
					 .complain_ms = 1000};
	unsigned before;

	mesh_open(&net, &times);
	mesh_start(&net, 1);
	mesh_start(&net, 2);
	net.node[2].answer = ERR_LIMIT;
	for (int i = 0; i < 5; i++) {
		before = OF(2, 1).downs;
		MESH_UNTIL(&net, mesh_all_up(&net));
		EQ_INT(mesh_send(&net, 1, 2, 1, 1), ERR_OK);
		MESH_UNTIL(&net, OF(2, 1).downs == before + 1 && !OF(1, 2).up);
	}
	before = OF(2, 1).ups;
	mesh_turns(&net, 30);            /* by now the back-off is 80 ms or more */
	EQ_INT(OF(2, 1).ups, before);
	mesh_close(&net);
}

TEST(a_new_connection_replaces_the_old_one)
{
	struct caller old, new;

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	OK(caller_shake(&old, &net, 1, 2, NULL));
	EQ_INT(OF(2, 1).ups, 1);
	OK(caller_shake(&new, &net, 1, 2, NULL));
	MESH_UNTIL(&net, OF(2, 1).ups == 2);
	caller_expect_out(&old);
	EQ_INT(OF(2, 1).downs, 0);
	OK(OF(2, 1).up);
	caller_hang_up(&new);
	MESH_UNTIL(&net, OF(2, 1).downs == 1);
	mesh_close(&net);
}

/* Both in one turn: the old one's end and the new one's beginning. */
TEST(a_replacement_that_crosses_the_end_of_the_old_one_is_told_once)
{
	struct caller old, new;

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	OK(caller_shake(&old, &net, 1, 2, NULL));
	caller_connect(&new, &net, 2);
	caller_preamble(&new, 1, 2, NULL);
	caller_put(&new, new.preamble, sizeof new.preamble);
	caller_write(&new, false, NULL);
	OK(caller_read(&new));
	OK(shutdown(old.fd, SHUT_RDWR) == 0);
	caller_write(&new, true, NULL);
	MESH_UNTIL(&net, OF(2, 1).ups == 2);
	mesh_turns(&net, 20);
	OK(OF(2, 1).up && OF(2, 1).downs <= 1);
	caller_hang_up(&old);
	caller_hang_up(&new);
	mesh_close(&net);
}

/* ---- between two honest ends */

/* Connects 1 and 2 through the meddler, which behaves at first. */
static void meddled_pair(void)
{
	mesh_open(&net, NULL);
	meddler_open(&mid, &net, 1, 2);
	mesh_start(&net, 1);
	mesh_start(&net, 2);
	MESH_UNTIL(&net, mesh_all_up(&net));
	mesh_exchange(&net, 1, 2, 1, 10);
	mesh_exchange(&net, 2, 1, 1, 10);
}

static void meddled_end(void)
{
	meddler_close(&mid);
	mesh_close(&net);
}

enum meddling { ALTER, ALTER_LENGTH, REPEAT, DROP, SWAP, CUT_SHORT };

/* Does it once, to the frame that comes next from side m->b. */
static void meddle_once(struct meddler *m, int side, uint64_t number, struct bytes frame,
			struct buf *out)
{
	size_t start = out->len;

	(void)number;
	buf_add_bytes(out, frame);
	if (m->connections > 1 || side != (int)m->b)
		return;
	switch ((enum meddling)m->a) {
	case ALTER:
		out->data[start + frame.len / 2] ^= 0x40;
		break;
	case ALTER_LENGTH:
		out->data[start + 3] ^= 1;
		break;
	case REPEAT:
		buf_add_bytes(out, frame);
		break;
	case DROP:
		out->len = start;
		break;
	case SWAP:
		out->len = start;
		if (m->kept.len > 0) {
			buf_add_bytes(out, frame);
			buf_add_bytes(out, buf_bytes(&m->kept));
		}
		buf_clear(&m->kept);
		buf_add_bytes(&m->kept, frame);
		break;
	case CUT_SHORT:
		out->len = start + frame.len - 1;
		break;
	}
}

/* The receiver takes nothing behind it, both ends notice, and a new connection works. */
static void meddling_is_noticed(enum meddling what)
{
	for (int side = 0; side < 2; side++) {
		uint64_t from = side == 0 ? 1 : 2, to = 3 - from;

		meddled_pair();
		mid.a = what;
		mid.b = (uint64_t)side;
		mid.meddle = meddle_once;
		for (uint64_t i = 11; i <= 20; i++)
			EQ_INT(mesh_send(&net, from, to, i, 100), ERR_OK);
		MESH_UNTIL(&net, OF(1, 2).downs == 1 && OF(2, 1).downs == 1);
		OK(!OF(to, from).disorder && OF(to, from).got <= 11);
		MESH_UNTIL(&net, mesh_all_up(&net));
		mesh_exchange(&net, 1, 2, 30, 40);
		mesh_exchange(&net, 2, 1, 30, 40);
		meddled_end();
	}
}

TEST(alteration_between_the_ends_is_noticed)
{
	meddling_is_noticed(ALTER);
}

TEST(alteration_of_a_length_is_noticed)
{
	meddling_is_noticed(ALTER_LENGTH);
}

TEST(a_replay_is_noticed)
{
	meddling_is_noticed(REPEAT);
}

TEST(a_loss_is_noticed)
{
	meddling_is_noticed(DROP);
}

TEST(another_order_is_noticed)
{
	meddling_is_noticed(SWAP);
}

TEST(a_missing_byte_is_noticed)
{
	meddling_is_noticed(CUT_SHORT);
}

/* Bit by bit through the handshake: no flip of any byte lets it succeed. */
static void meddle_handshake(struct meddler *m, int side, uint64_t number, struct bytes frame,
			     struct buf *out)
{
	size_t start = out->len;

	buf_add_bytes(out, frame);
	if (side == (int)(m->a >> 32) && number == (uint32_t)m->a >> 16 && m->b < frame.len)
		out->data[start + m->b] ^= 0x10;
}

static void handshake_survives_no_flip(int side, uint64_t number, size_t len)
{
	for (size_t at = 0; at < len; at += number == 0 && side == 0 ? 1 : 7) {
		/* The version in the preamble may be any: it is checked by the hash. */
		mesh_open(&net, NULL);
		meddler_open(&mid, &net, 1, 2);
		mid.a = (uint64_t)side << 32 | number << 16;
		mid.b = at;
		mid.meddle = meddle_handshake;
		mesh_start(&net, 1);
		mesh_start(&net, 2);
		MESH_UNTIL(&net, mid.connections >= 3);
		EQ_INT(OF(1, 2).ups + OF(2, 1).ups, 0);
		mid.meddle = NULL;
		MESH_UNTIL(&net, mesh_all_up(&net));
		meddled_end();
	}
}

TEST(no_byte_of_the_preamble_can_be_altered)
{
	handshake_survives_no_flip(0, 0, 36);
}

TEST(no_byte_of_message_one_can_be_altered)
{
	handshake_survives_no_flip(0, 1, 4 + NOISE_MSG1_OVERHEAD);
}

TEST(no_byte_of_message_two_can_be_altered)
{
	handshake_survives_no_flip(1, 0, 4 + NOISE_MSG2_OVERHEAD);
}

TEST(no_byte_of_message_three_can_be_altered)
{
	handshake_survives_no_flip(0, 2, 4 + NOISE_MSG3_OVERHEAD);
}

TEST(a_silent_peer_is_dropped_by_both_ends)
{
	meddled_pair();
	mid.stuck[0] = mid.stuck[1] = true;
	loop_io_set(net.loop, &mid.side[0], 0);
	loop_io_set(net.loop, &mid.side[1], 0);
	MESH_UNTIL(&net, OF(1, 2).downs == 1 && OF(2, 1).downs == 1);
	MESH_UNTIL(&net, mesh_all_up(&net));
	mesh_exchange(&net, 1, 2, 11, 20);
	meddled_end();
}

/* A frame of a megabyte over a line that takes longer for it than the silence that is suffered. */
static void meddle_trickle(struct meddler *m, int side, uint64_t number, struct bytes frame,
			   struct buf *out)
{
	(void)number;
	if (side == 0)
		buf_add_bytes(&m->kept, frame);
	else
		buf_add_bytes(out, frame);
}

TEST(a_slow_line_is_not_silence)
{
	mono_t began;

	meddled_pair();
	mid.meddle = meddle_trickle;
	EQ_INT(mesh_send(&net, 1, 2, 11, 400000), ERR_OK);
	MESH_UNTIL(&net, mid.kept.len > 400000);
	began = mono_now();
	while (mid.kept.len > 0) {
		size_t n = mid.kept.len < 10000 ? mid.kept.len : 10000;

		buf_add(&mid.out[1], mid.kept.data, n);
		buf_consume(&mid.kept, n);
		loop_io_set(net.loop, &mid.side[1], EPOLLIN | EPOLLOUT);
		mesh_turns(&net, 10);
		if (mono_sub_ms(mono_now(), began) < 100)
			OK(OF(2, 1).got == 11 || peers_withheld(net.node[2].ps, 1));
	}
	mid.meddle = NULL;
	MESH_UNTIL(&net, OF(2, 1).got == 11);
	OK(OF(2, 1).waits > 10);
	OK(mono_sub_ms(mono_now(), began) > 300);
	EQ_INT(OF(2, 1).downs, 0);
	meddled_end();
}

/* An altered length: bytes come, but the frame they belong to never ends. */
TEST(a_frame_that_never_ends_is_given_up)
{
	static const uint8_t head[4] = {0, 0x3f, 0, 0}, more[100];
	struct caller c;
	mono_t began;

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	OK(caller_shake(&c, &net, 1, 2, NULL));
	caller_put(&c, head, sizeof head);
	began = mono_now();
	while (OF(2, 1).downs == 0) {
		caller_put(&c, more, sizeof more);
		mesh_turns(&net, 10);
		OK(mono_sub_ms(mono_now(), began) < 5000);
	}
	OK(mono_sub_ms(mono_now(), began) >= 200);
	OK(!peers_withheld(net.node[2].ps, 1));
	caller_hang_up(&c);
	mesh_close(&net);
}

TESTS = {
	T(an_oversized_frame_ends_the_connection),
	T(an_empty_frame_ends_the_connection),
	T(an_altered_frame_ends_the_connection),
	T(a_lost_frame_ends_the_connection),
	T(a_wrong_sequence_ends_the_connection),
	T(an_unknown_message_ends_the_connection),
	T(wrong_fields_end_the_connection),
	T(what_is_no_message_ends_the_connection),
	T(an_empty_message_ends_the_connection),
	T(an_error_of_the_owner_ends_the_connection_and_retries_slow_down),
	T(a_new_connection_replaces_the_old_one),
	T(a_replacement_that_crosses_the_end_of_the_old_one_is_told_once),
	T(alteration_between_the_ends_is_noticed),
	T(alteration_of_a_length_is_noticed),
	T(a_replay_is_noticed),
	T(a_loss_is_noticed),
	T(another_order_is_noticed),
	T(a_missing_byte_is_noticed),
	T(no_byte_of_the_preamble_can_be_altered),
	T(no_byte_of_message_one_can_be_altered),
	T(no_byte_of_message_two_can_be_altered),
	T(no_byte_of_message_three_can_be_altered),
	T(a_silent_peer_is_dropped_by_both_ends),
	T(a_slow_line_is_not_silence),
	T(a_frame_that_never_ends_is_given_up),
};
TAP_MAIN
