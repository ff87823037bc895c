/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets in at the peer port, and who does not, and whom that troubles. */
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/mesh.h"

static struct mesh net;

#define OF(a, b) net.node[a].of[b]

/* ---- strangers */

/* The members have noticed nothing. */
static void expect_untouched(void)
{
	for (uint64_t a = 1; a <= MESH_NODES; a++)
		for (uint64_t b = 1; b <= MESH_NODES; b++)
			EQ_INT(OF(a, b).downs, 0);
	mesh_exchange(&net, 1, 2, 1000, 1003);
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
	before = mesh_refused(&net, 2);
	OK(!caller_shake(&c, &net, from, 2, face));
	caller_expect_out(&c);
	EQ_INT(mesh_refused(&net, 2), before + 1);
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
	OK(mesh_refused(&net, 2) >= 2 && mesh_refused(&net, 2) < 60);
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
	caller_expect_out(&c);
	EQ_INT(mesh_refused(&net, 2), 1);
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
		caller_expect_out(&c[i]);
	OK(mono_sub_ms(mono_now(), began) >= 300);
	EQ_INT(mesh_refused(&net, 2), 3);
	expect_untouched();
	mesh_close(&net);
}

TEST(a_hundred_strangers_keep_no_member_out)
{
	enum { MANY = 100 };
	static struct caller c[MANY];
	const struct peer_times patient = {.handshake_ms = 60000, .ping_ms = 20, .dead_ms = 200,
					   .retry_min_ms = 1, .retry_max_ms = 20,
					   .complain_ms = 1000};
	unsigned open = 0;

	mesh_open(&net, &patient);
	mesh_start_all(&net);
	for (size_t i = 0; i < MANY; i++)
		caller_connect(&c[i], &net, 2);
	MESH_UNTIL(&net, mesh_refused(&net, 2) >= MANY - LIMIT_PEER_STRANGERS);
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
	MESH_UNTIL(&net, mesh_refused(&net, 2) >= MANY - LIMIT_PEER_STRANGERS);
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
	EQ_INT(mesh_refused(&net, 2), 0);
	OK(turns < 100);                 /* and no spin meanwhile */
	OK(send(c.fd, "GARBAGE GARBAGE GARBAGE GARBAGE GARBAGE", 39, 0) == 39);
	caller_expect_out(&c);
	EQ_INT(mesh_refused(&net, 2), 1);
	mesh_close(&net);
}

TESTS = {
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
};
TAP_MAIN
