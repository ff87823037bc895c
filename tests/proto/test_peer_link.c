/* SPDX-License-Identifier: Apache-2.0 */
/* Connections between nodes: who gets in, who does not, and what becomes of what was sent. */
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/mesh.h"

static struct mesh net;
static struct meddler mid;

#define OF(a, b) net.node[a].of[b]

static uint64_t refused(uint64_t id)
{
	return peers_stats(net.node[id].ps)->refused;
}

static uint64_t bad_frames(uint64_t id)
{
	return peers_stats(net.node[id].ps)->bad_frames;
}

/* Messages `first` to `last` from a to b arrive, in order and whole. */
static void exchange(uint64_t a, uint64_t b, uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i <= last; i++)
		EQ_INT(mesh_send(&net, a, b, i, 100), ERR_OK);
	MESH_UNTIL(&net, OF(b, a).last == last);
	OK(!OF(b, a).disorder);
}

/* ---- members */

TEST(members_connect_and_messages_keep_their_order)
{
	mesh_open(&net, NULL);
	mesh_start_all(&net);
	for (uint64_t a = 1; a <= MESH_NODES; a++)
		for (uint64_t b = 1; b <= MESH_NODES; b++)
			if (a != b)
				exchange(a, b, 1, 50);
	for (uint64_t a = 1; a <= MESH_NODES; a++) {
		EQ_INT(refused(a) + bad_frames(a), 0);
		EQ_INT(peers_stats(net.node[a].ps)->connects, 2);
		EQ_INT(mesh_send(&net, a, a, 1, 1), ERR_CLOSED);
		EQ_INT(mesh_send(&net, a, 9, 1, 1), ERR_CLOSED);
	}
	mesh_close(&net);
}

TEST(messages_of_the_largest_size_pass)
{
	mesh_open(&net, NULL);
	mesh_start_all(&net);
	for (uint64_t i = 1; i <= 8; i++)
		EQ_INT(mesh_send(&net, 1, 2, i, LIMIT_REQUEST_BYTES + 64 * KIB), ERR_OK);
	MESH_UNTIL(&net, OF(2, 1).got == 8);
	EQ_INT(OF(2, 1).bytes, 8 * (LIMIT_REQUEST_BYTES + 64 * KIB));
	OK(!OF(2, 1).disorder);
	mesh_close(&net);
}

TEST(what_no_frame_holds_is_refused_and_the_link_lives)
{
	static uint8_t body[LIMIT_FRAME_BYTES];
	struct peer_proposal p = {.command = bytes_of(body, sizeof body)};
	struct peer_propose m;

	mesh_open(&net, NULL);
	mesh_start_all(&net);
	m.proposals.v = &p;
	m.proposals.n = 1;
	EQ_INT(peers_send(net.node[1].ps, 2, MSG_NO_peer_propose, &peer_propose_desc, &m),
	       ERR_LIMIT);
	exchange(1, 2, 1, 3);
	EQ_INT(OF(1, 2).downs, 0);
	mesh_close(&net);
}

TEST(an_idle_mesh_is_nearly_still)
{
	const struct peer_times slow = {0};
	uint64_t before;

	mesh_open(&net, &slow);
	mesh_start_all(&net);
	mesh_turns(&net, 100);
	before = net.turns;
	mesh_turns(&net, 500);
	/* Of 500 ms in waits of 5: about 100 turns by themselves, 30 of watches, 30 of pings. */
	OK(net.turns - before < 400);
	EQ_INT(OF(1, 2).downs, 0);
	mesh_close(&net);
}

TEST(a_restarted_node_is_back_at_both_ends)
{
	mesh_open(&net, NULL);
	mesh_start_all(&net);
	exchange(1, 3, 1, 3);
	for (uint64_t id = 1; id <= MESH_NODES; id++) {
		mesh_stop(&net, id);
		mesh_turns(&net, 20);
		mesh_start(&net, id);
		MESH_UNTIL(&net, mesh_all_up(&net));
	}
	exchange(1, 3, 1, 3);
	exchange(3, 1, 1, 3);
	mesh_close(&net);
}

TEST(both_ends_may_restart_at_once)
{
	mesh_open(&net, NULL);
	mesh_start_all(&net);
	for (int i = 0; i < 10; i++) {
		mesh_stop(&net, 1);
		mesh_stop(&net, 2);
		mesh_start(&net, 1 + (uint64_t)i % 2);
		mesh_turns(&net, i);
		mesh_start(&net, 2 - (uint64_t)i % 2);
		MESH_UNTIL(&net, mesh_all_up(&net));
	}
	exchange(1, 2, 1, 3);
	mesh_close(&net);
}

TEST(two_hundred_reconnects_leave_no_descriptor_behind)
{
	int before, after;

	mesh_open(&net, NULL);
	mesh_start_all(&net);
	before = dup(0);
	(void)close(before);
	for (int i = 0; i < 200; i++) {
		mesh_stop(&net, 2);
		mesh_start(&net, 2);
		MESH_UNTIL(&net, mesh_all_up(&net));
	}
	mesh_turns(&net, 50);
	after = dup(0);
	(void)close(after);
	OK(after <= before + 2);
	mesh_close(&net);
}

/* ---- strangers */

static void expect_out(struct caller *c)
{
	MESH_UNTIL(&net, caller_closed(c));
	caller_hang_up(c);
}

/* The members have noticed nothing. */
static void expect_untouched(void)
{
	for (uint64_t a = 1; a <= MESH_NODES; a++)
		for (uint64_t b = 1; b <= MESH_NODES; b++)
			EQ_INT(OF(a, b).downs, 0);
	exchange(1, 2, 1000, 1003);
}

TEST(a_caller_by_hand_that_is_a_member_gets_in)
{
	struct caller c;

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	OK(caller_shake(&c, &net, 1, 2, NULL));
	MESH_UNTIL(&net, OF(2, 1).up);
	caller_hang_up(&c);
	MESH_UNTIL(&net, !OF(2, 1).up);
	mesh_close(&net);
}

TEST(a_handshake_may_come_byte_by_byte)
{
	struct caller c;
	struct buf frame;
	struct peer_ping ping = {5};

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	caller_connect(&c, &net, 2);
	caller_preamble(&c, 1, 2, NULL);
	for (size_t i = 0; i < sizeof c.preamble; i++) {
		caller_put(&c, c.preamble + i, 1);
		loop_turn(net.loop, 1);
	}
	caller_write(&c, false, NULL);
	OK(caller_read(&c));
	caller_write(&c, true, NULL);
	OK(noise_hs_split(&c.hs, &c.session) == ERR_OK);
	MESH_UNTIL(&net, OF(2, 1).up);
	buf_init(&frame, 0);
	caller_message(&c, 1, MSG_NO_peer_ping, &peer_ping_desc, &ping, &frame);
	for (size_t i = 0; i < frame.len; i++) {
		caller_put(&c, frame.data + i, 1);
		loop_turn(net.loop, 1);
	}
	MESH_UNTIL(&net, OF(2, 1).pings == 1);
	EQ_INT(OF(2, 1).downs, 0);
	buf_free(&frame);
	caller_hang_up(&c);
	mesh_close(&net);
}

/* Whoever shows that face to node 2 stays out, and the real member 1 stays in. */
static void face_is_refused(uint64_t from, const struct caller_face *face)
{
	struct caller c;
	uint64_t before;

	mesh_open(&net, NULL);
	mesh_start_all(&net);
	before = refused(2);
	OK(!caller_shake(&c, &net, from, 2, face));
	expect_out(&c);
	EQ_INT(refused(2), before + 1);
	expect_untouched();
	mesh_close(&net);
}

TEST(without_the_secret_nobody_gets_in)
{
	static const uint8_t guess[32] = {1, 2, 3};

	face_is_refused(1, &(struct caller_face){.cluster_secret = guess});
}

TEST(a_key_that_is_not_the_members_is_refused)
{
	static const uint8_t other[32] = {9, 9, 9};

	face_is_refused(1, &(struct caller_face){.key = other});
}

TEST(a_member_that_claims_to_be_another_is_refused)
{
	face_is_refused(3, &(struct caller_face){.claim = 1});
}

TEST(another_cluster_is_refused)
{
	face_is_refused(1, &(struct caller_face){.cluster = MESH_CLUSTER + 1});
}

TEST(a_call_for_another_node_is_refused)
{
	face_is_refused(1, &(struct caller_face){.to = 3});
}

TEST(a_larger_id_that_dials_is_refused)
{
	face_is_refused(3, NULL);
}

TEST(our_own_id_is_refused)
{
	face_is_refused(2, NULL);
}

TEST(an_id_that_is_no_member_is_refused)
{
	face_is_refused(1, &(struct caller_face){.claim = UINT64_MAX});
}

TEST(versions_without_overlap_are_refused)
{
	face_is_refused(1, &(struct caller_face){.version = PEER_VERSION + 5,
						 .version_min = PEER_VERSION + 1});
}

TEST(a_newer_version_that_speaks_ours_gets_in)
{
	struct caller c;

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	OK(caller_shake(&c, &net, 1, 2, &(struct caller_face){.version = PEER_VERSION + 5}));
	MESH_UNTIL(&net, OF(2, 1).up);
	caller_hang_up(&c);
	mesh_close(&net);
}

/* The listening end is the wrong one: the calling member must not take it for connected. */
TEST(an_impostor_that_listens_is_never_up)
{
	mesh_open(&net, NULL);
	memset(net.node[2].keys.secret, 7, 32);
	mesh_start(&net, 1);
	mesh_start(&net, 2);
	mesh_turns(&net, 200);
	EQ_INT(OF(1, 2).ups + OF(2, 1).ups, 0);
	mesh_close(&net);
}

/* The caller's own key is the wrong one: it learns that it was not accepted, and does not hurry. */
TEST(a_caller_that_is_refused_is_never_up)
{
	mesh_open(&net, NULL);
	memset(net.node[1].keys.secret, 7, 32);
	mesh_start(&net, 1);
	mesh_start(&net, 2);
	mesh_turns(&net, 200);
	EQ_INT(OF(1, 2).ups + OF(2, 1).ups, 0);
	OK(refused(2) >= 2 && refused(2) < 60);
	mesh_close(&net);
}

static void garbage_is_refused(const void *data, size_t len, bool preamble)
{
	struct caller c;

	mesh_open(&net, NULL);
	mesh_start_all(&net);
	caller_connect(&c, &net, 2);
	if (preamble) {
		caller_preamble(&c, 1, 2, NULL);
		caller_put(&c, c.preamble, sizeof c.preamble);
	}
	caller_put(&c, data, len);
	expect_out(&c);
	EQ_INT(refused(2), 1);
	expect_untouched();
	mesh_close(&net);
}

TEST(a_http_request_is_refused)
{
	static const char http[] = "GET /health HTTP/1.1\r\nHost: quorate\r\n\r\n";

	garbage_is_refused(http, sizeof http - 1, false);
}

TEST(zeros_are_refused)
{
	static const uint8_t zeros[4096];

	garbage_is_refused(zeros, sizeof zeros, false);
}

TEST(an_empty_first_frame_is_refused)
{
	static const uint8_t empty[4];

	garbage_is_refused(empty, sizeof empty, true);
}

TEST(a_first_frame_longer_than_a_handshake_is_refused_at_its_head)
{
	static const uint8_t head[4] = {0, 0, 4, 0};

	garbage_is_refused(head, sizeof head, true);
}

TEST(a_stranger_that_says_nothing_is_closed_in_time)
{
	struct caller c[3];
	mono_t began = mono_now();

	mesh_open(&net, NULL);
	mesh_start_all(&net);
	for (size_t i = 0; i < 3; i++)
		caller_connect(&c[i], &net, 2);
	caller_preamble(&c[1], 1, 2, NULL);
	caller_put(&c[1], c[1].preamble, sizeof c[1].preamble);
	caller_preamble(&c[2], 1, 2, NULL);
	caller_put(&c[2], c[2].preamble, sizeof c[2].preamble);
	caller_write(&c[2], false, NULL);
	OK(caller_read(&c[2]));          /* and never the third message */
	for (size_t i = 0; i < 3; i++)
		expect_out(&c[i]);
	OK(mono_sub_ms(mono_now(), began) >= 300);
	EQ_INT(refused(2), 3);
	expect_untouched();
	mesh_close(&net);
}

TEST(a_hundred_strangers_keep_no_member_out)
{
	enum { MANY = 100 };
	static struct caller c[MANY];
	const struct peer_times patient = {.handshake_ms = 60000, .ping_ms = 20, .dead_ms = 200,
					   .retry_min_ms = 1, .retry_max_ms = 20, .complain_ms = 1000};
	unsigned open = 0;

	mesh_open(&net, &patient);
	mesh_start_all(&net);
	for (size_t i = 0; i < MANY; i++)
		caller_connect(&c[i], &net, 2);
	MESH_UNTIL(&net, refused(2) >= MANY - LIMIT_PEER_STRANGERS);
	for (size_t i = 0; i < MANY; i++)
		open += !caller_closed(&c[i]);
	EQ_INT(open, LIMIT_PEER_STRANGERS);
	expect_untouched();
	mesh_stop(&net, 1);
	mesh_start(&net, 1);
	MESH_UNTIL(&net, OF(1, 2).up && OF(2, 1).up);
	for (size_t i = 0; i < MANY; i++)
		caller_hang_up(&c[i]);
	mesh_close(&net);
}

/* Those who know the secret are not pushed out by those who do not. */
TEST(a_slow_member_is_not_evicted_by_strangers)
{
	enum { MANY = 100 };
	static struct caller c[MANY];
	const struct peer_times patient = {.handshake_ms = 60000};
	struct caller slow;

	mesh_open(&net, &patient);
	mesh_start(&net, 2);
	caller_connect(&slow, &net, 2);
	caller_preamble(&slow, 1, 2, NULL);
	caller_put(&slow, slow.preamble, sizeof slow.preamble);
	caller_write(&slow, false, NULL);
	OK(caller_read(&slow));
	for (size_t i = 0; i < MANY; i++)
		caller_connect(&c[i], &net, 2);
	MESH_UNTIL(&net, refused(2) >= MANY - LIMIT_PEER_STRANGERS);
	caller_write(&slow, true, NULL);
	MESH_UNTIL(&net, OF(2, 1).up);
	caller_hang_up(&slow);
	for (size_t i = 0; i < MANY; i++)
		caller_hang_up(&c[i]);
	mesh_close(&net);
}

TEST(without_descriptors_callers_wait_and_are_served_later)
{
	struct rlimit limit, low;
	struct caller c;
	uint64_t turns;
	int last;

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	caller_connect(&c, &net, 2);     /* in the kernel's queue */
	caller_preamble(&c, 1, 2, NULL);
	OK(send(c.fd, "x", 1, 0) == 1);
	last = dup(0);
	(void)close(last);
	OK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	low = limit;
	low.rlim_cur = (rlim_t)last;
	OK(setrlimit(RLIMIT_NOFILE, &low) == 0);
	turns = net.turns;
	mesh_turns(&net, 60);
	turns = net.turns - turns;
	OK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	EQ_INT(refused(2), 0);
	OK(turns < 100);                 /* and no spin meanwhile */
	OK(send(c.fd, "GARBAGE GARBAGE GARBAGE GARBAGE GARBAGE", 39, 0) == 39);
	expect_out(&c);
	EQ_INT(refused(2), 1);
	mesh_close(&net);
}

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
	EQ_INT(bad_frames(2), 1);
	EQ_INT(OF(2, 1).pings, 0);
	expect_out(&c);
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
					 .retry_min_ms = 10, .retry_max_ms = 1000, .complain_ms = 1000};
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
	expect_out(&old);
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
	exchange(1, 2, 1, 10);
	exchange(2, 1, 1, 10);
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
		exchange(1, 2, 30, 40);
		exchange(2, 1, 30, 40);
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
	exchange(1, 2, 11, 20);
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
		OK(OF(2, 1).got == 11 || peers_withheld(net.node[2].ps, 1));
	}
	mid.meddle = NULL;
	MESH_UNTIL(&net, OF(2, 1).got == 11);
	OK(OF(2, 1).waits > 10);
	OK(mono_sub_ms(mono_now(), began) > 300);
	EQ_INT(OF(2, 1).downs, 0);
	meddled_end();
}

/* ---- back-pressure */

TEST(a_full_queue_says_so_and_the_link_survives)
{
	const struct peer_times patient = {.dead_ms = 60000, .ping_ms = 20};
	uint64_t number = 0, sent = 0;
	int rc = ERR_OK;

	mesh_open(&net, &patient);
	meddler_open(&mid, &net, 1, 2);
	mesh_start(&net, 1);
	mesh_start(&net, 2);
	MESH_UNTIL(&net, mesh_all_up(&net));
	mid.stuck[0] = true;             /* node 1's bytes go nowhere */
	loop_io_set(net.loop, &mid.side[0], 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 1000 && (rc = mesh_send(&net, 1, 2, ++number,
							    100000)) == ERR_OK; i++)
			sent++;
		EQ_INT(rc, ERR_FULL);
		OK(!peers_room(net.node[1].ps, 2));
		mesh_turns(&net, 20);    /* a part of it leaves, and more is put behind it */
	}
	OK(sent * 100000 > LIMIT_PEER_QUEUE_BYTES && sent * 100000 < LIMIT_PEER_QUEUE_BYTES +
	   16 * MIB);
	mid.stuck[0] = false;
	loop_io_set(net.loop, &mid.side[0], EPOLLIN);
	MESH_UNTIL(&net, OF(2, 1).got == sent);
	OK(!OF(2, 1).disorder && peers_room(net.node[1].ps, 2));
	EQ_INT(OF(1, 2).downs + OF(2, 1).downs, 0);
	meddled_end();
}

/* The queue is drained in part and filled up again, over and over: its memory has a bound. */
TEST(a_queue_that_never_empties_stays_bounded)
{
	const struct peer_times patient = {.dead_ms = 60000, .ping_ms = 20};
	uint64_t number = 0, sent = 0;

	mesh_open(&net, &patient);
	meddler_open(&mid, &net, 1, 2);
	mesh_start(&net, 1);
	mesh_start(&net, 2);
	MESH_UNTIL(&net, mesh_all_up(&net));
	for (int round = 0; round < 100; round++) {
		while (mesh_send(&net, 1, 2, ++number, 1000000) == ERR_OK)
			sent++;
		for (int i = 0; i < 20; i++)
			loop_turn(net.loop, 0);
	}
	MESH_UNTIL(&net, OF(2, 1).got == sent);
	OK(!OF(2, 1).disorder);
	EQ_INT(OF(1, 2).downs + OF(2, 1).downs, 0);
	meddled_end();
}

TEST(what_the_owner_cannot_take_waits_and_is_not_silence)
{
	mesh_open(&net, NULL);
	mesh_start_all(&net);
	net.node[2].full = true;
	EQ_INT(mesh_send(&net, 1, 2, 1, 1), ERR_OK);
	for (uint64_t i = 2; i <= 300; i++)
		EQ_INT(mesh_send(&net, 1, 2, i, 10000), ERR_OK);
	MESH_UNTIL(&net, OF(2, 1).got == 1 && peers_withheld(net.node[2].ps, 0));
	mesh_turns(&net, 400);           /* twice what a silent peer is suffered */
	EQ_INT(OF(2, 1).got, 1);
	EQ_INT(OF(2, 1).downs + OF(1, 2).downs, 0);
	OK(OF(2, 1).waits > 10 && OF(2, 3).waits == 0);
	peers_resume(net.node[2].ps);    /* it still cannot */
	EQ_INT(OF(2, 1).got, 1);
	EQ_INT(mesh_send(&net, 3, 2, 1, 1), ERR_OK);
	MESH_UNTIL(&net, OF(2, 3).got == 1);   /* another peer is not held up by it */
	net.node[2].full = false;
	peers_resume(net.node[2].ps);
	MESH_UNTIL(&net, OF(2, 1).got == 300);
	OK(!OF(2, 1).disorder && !peers_withheld(net.node[2].ps, 0));
	mesh_close(&net);
}

TEST(a_peer_that_dies_while_it_waits_is_noticed_without_a_spin)
{
	struct caller c;
	struct buf frame;
	struct peer_proposal p = {.seq = 1, .command = bytes_str("more than one byte")};
	struct peer_propose m;
	uint64_t before;

	mesh_open(&net, NULL);
	mesh_start(&net, 2);
	net.node[2].full = true;
	OK(caller_shake(&c, &net, 1, 2, NULL));
	buf_init(&frame, 0);
	m.proposals.v = &p;
	m.proposals.n = 1;
	caller_message(&c, 1, MSG_NO_peer_propose, &peer_propose_desc, &m, &frame);
	caller_put(&c, frame.data, frame.len);
	buf_free(&frame);
	MESH_UNTIL(&net, peers_withheld(net.node[2].ps, 0));
	OK(shutdown(c.fd, SHUT_WR) == 0);      /* half of it: we would only see this by reading */
	before = net.turns;
	mesh_turns(&net, 100);
	OK(net.turns - before < 200);
	OK(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
		      sizeof(struct linger)) == 0);
	caller_hang_up(&c);                    /* a reset */
	MESH_UNTIL(&net, OF(2, 1).downs == 1);
	mesh_close(&net);
}

TEST(what_has_arrived_can_be_taken_before_the_next_turn)
{
	mesh_open(&net, NULL);
	mesh_start_all(&net);
	for (uint64_t i = 1; i <= 20; i++)
		EQ_INT(mesh_send(&net, 1, 2, i, 100), ERR_OK);
	peers_flush(net.node[1].ps);
	EQ_INT(OF(2, 1).got, 0);
	peers_poll(net.node[2].ps);      /* loopback: what was written has arrived */
	EQ_INT(OF(2, 1).got, 20);
	mesh_close(&net);
}

TESTS = {
	T(members_connect_and_messages_keep_their_order),
	T(messages_of_the_largest_size_pass),
	T(what_no_frame_holds_is_refused_and_the_link_lives),
	T(an_idle_mesh_is_nearly_still),
	T(a_restarted_node_is_back_at_both_ends),
	T(both_ends_may_restart_at_once),
	T(two_hundred_reconnects_leave_no_descriptor_behind),
	T(a_caller_by_hand_that_is_a_member_gets_in),
	T(a_handshake_may_come_byte_by_byte),
	T(without_the_secret_nobody_gets_in),
	T(a_key_that_is_not_the_members_is_refused),
	T(a_member_that_claims_to_be_another_is_refused),
	T(another_cluster_is_refused),
	T(a_call_for_another_node_is_refused),
	T(a_larger_id_that_dials_is_refused),
	T(our_own_id_is_refused),
	T(an_id_that_is_no_member_is_refused),
	T(versions_without_overlap_are_refused),
	T(a_newer_version_that_speaks_ours_gets_in),
	T(an_impostor_that_listens_is_never_up),
	T(a_caller_that_is_refused_is_never_up),
	T(a_http_request_is_refused),
	T(zeros_are_refused),
	T(an_empty_first_frame_is_refused),
	T(a_first_frame_longer_than_a_handshake_is_refused_at_its_head),
	T(a_stranger_that_says_nothing_is_closed_in_time),
	T(a_hundred_strangers_keep_no_member_out),
	T(a_slow_member_is_not_evicted_by_strangers),
	T(without_descriptors_callers_wait_and_are_served_later),
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
	T(a_full_queue_says_so_and_the_link_survives),
	T(a_queue_that_never_empties_stays_bounded),
	T(what_the_owner_cannot_take_waits_and_is_not_silence),
	T(a_peer_that_dies_while_it_waits_is_noticed_without_a_spin),
	T(what_has_arrived_can_be_taken_before_the_next_turn),
};
TAP_MAIN
