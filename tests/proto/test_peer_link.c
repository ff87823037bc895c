/* SPDX-License-Identifier: Apache-2.0 */
/* Connections between members: they come up, come back, keep order, and push back. */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/mesh.h"

static struct mesh net;
static struct meddler mid;

#define OF(a, b) net.node[a].of[b]

/* ---- members */

TEST(members_connect_and_messages_keep_their_order)
{
	mesh_open(&net, NULL);
	mesh_start_all(&net);
	for (uint64_t a = 1; a <= MESH_NODES; a++)
		for (uint64_t b = 1; b <= MESH_NODES; b++)
			if (a != b)
				mesh_exchange(&net, a, b, 1, 50);
	for (uint64_t a = 1; a <= MESH_NODES; a++) {
		EQ_INT(mesh_refused(&net, a) + mesh_bad_frames(&net, a), 0);
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
	mesh_exchange(&net, 1, 2, 1, 3);
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
	mesh_exchange(&net, 1, 3, 1, 3);
	for (uint64_t id = 1; id <= MESH_NODES; id++) {
		mesh_stop(&net, id);
		mesh_turns(&net, 20);
		mesh_start(&net, id);
		MESH_UNTIL(&net, mesh_all_up(&net));
	}
	mesh_exchange(&net, 1, 3, 1, 3);
	mesh_exchange(&net, 3, 1, 1, 3);
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
	mesh_exchange(&net, 1, 2, 1, 3);
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
	meddler_close(&mid);
	mesh_close(&net);
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
	meddler_close(&mid);
	mesh_close(&net);
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
	before = net.turns;
	caller_hang_up(&c);                    /* a reset */
	MESH_UNTIL(&net, OF(2, 1).downs == 1);
	OK(net.turns - before < 50);
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
	T(a_full_queue_says_so_and_the_link_survives),
	T(a_queue_that_never_empties_stays_bounded),
	T(what_the_owner_cannot_take_waits_and_is_not_silence),
	T(a_peer_that_dies_while_it_waits_is_noticed_without_a_spin),
	T(what_has_arrived_can_be_taken_before_the_next_turn),
};
TAP_MAIN
