/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots in raftd (raftd/snap.h): a file's way to another node. Sender and receiver are the same
 * node here, with the test as the line between them; the core says nothing but what it was told.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "rt/snapname.h"
#include "tests/lib/snap_world.h"
#include "tests/lib/tap.h"

/* All that is on the line arrives. */
static void deliver_pieces(void)
{
	unsigned n = line.pieces;

	for (unsigned i = 0; i < n; i++)
		EQ_INT(snap_recv_piece(fake.n, 2, &line.piece[i].m), ERR_OK);
	line.pieces = 0;
}

static void deliver_resps(void)
{
	struct peer_snapshot_resp resp[WIRE_MAX];
	unsigned n = line.resps;

	memcpy(resp, line.resp, sizeof resp);
	line.resps = 0;
	for (unsigned i = 0; i < n; i++)
		EQ_INT(snap_send_resp(fake.n, 2, &resp[i]), ERR_OK);
}

/* ---- what the core says */

static void step(enum raft_event_type type)
{
	struct raft_event ev = {.type = type};

	EQ_INT(raftd_step(fake.n, &ev), ERR_OK);
}

TEST(a_log_is_begun_anew_and_what_tells_of_it_waits_for_the_disk)
{
	begin();
	fake_have(6, WAL_NOOP, 0);
	core.fx[0] = (struct raft_effect){.type = RAFT_FX_RESET, .seq = 1};
	core.fx[0].reset.index = 500;
	core.fx[0].reset.term = 7;
	core.fx[1] = (struct raft_effect){.type = RAFT_FX_SEND};
	core.fx[1].send.need_seq = 1;
	core.fx[1].send.msg = (struct raft_msg){.type = RAFT_MSG_VOTE, .to = 2, .term = 7};
	core.n = 2;
	step(RAFT_EV_INSTALLED);
	OK(strstr(fake_journal(), "reset 500 term=7\nmark 1\n") != NULL);
	EQ_INT(wal_first_index(fake.n->wal), 501);
	EQ_INT(wal_last_index(fake.n->wal), 500);
	EQ_INT(fake.n->held.count, 1);
	fake.n->durable_seq = 1;
	step(RAFT_EV_DURABLE);
	EQ_INT(fake.n->held.count, 0);
	end();
}

TEST(a_snapshot_goes_to_whom_the_core_names_and_to_who_asks)
{
	struct peer_snapshot_want want = {.index = 900};
	struct msg_in in = {.row = msg_row(&peer_link, MSG_NO_peer_snapshot_want), .msg = &want};

	begin();
	have_snapshot();
	core.fx[0] = (struct raft_effect){.type = RAFT_FX_SNAPSHOT};
	core.fx[0].peer.peer = 2;
	core.n = 1;
	step(RAFT_EV_TICK);
	UNTIL(line.pieces == 1);
	OK(fake.n->snap.send[0].core);
	line.pieces = 0;
	EQ_INT(raftd_peers_ops.message(fake.n, 3, &in), ERR_OK);
	UNTIL(fake.n->snap.send[1].state == SNAP_SEND_OFFERED);
	OK(!fake.n->snap.send[1].core);
	raftd_peers_ops.down(fake.n, 2);
	EQ_INT(fake.n->snap.send[0].state, SNAP_SEND_IDLE);
	end();
}

/* ---- the way of a file */

TEST(a_file_arrives_as_it_is_and_stored_is_told)
{
	begin();
	have_snapshot();
	snap_send_begin(fake.n, 2, 900, true);
	for (int i = 0; i < 1000 && !fake.n->snap.recv.complete; i++) {
		loop_turn(fake.n->d->loop, 2);
		deliver_pieces();
		deliver_resps();
	}
	OK(fake.n->snap.recv.complete);
	OK(incoming_is(FILE_BYTES));
	OK(strstr(fake_journal(), "stored: apply_install{") != NULL);
	EQ_INT(snap_send_hold(fake.n), 901);         /* its log is needed until it is installed there */
	fake.n->feed.applied = 900;                  /* which it now is */
	snap_recv_state(fake.n, 900);
	UNTIL(!incoming_exists());
	UNTIL(line.pieces > 0);                      /* the sender looks again */
	deliver_pieces();
	deliver_resps();
	OK(strstr(fake_journal(), "step 10 peer=2") != NULL);      /* SNAPSHOT_DONE */
	EQ_INT(snap_send_hold(fake.n), UINT64_MAX);
	end();
}

TEST(only_so_many_pieces_are_sent_and_not_answered)
{
	struct peer_snapshot_resp again = {900, 0xabcdef01, PEER_SNAPSHOT_AGAIN, 0}, next = again;

	begin();
	have_snapshot();
	snap_send_begin(fake.n, 2, 900, true);
	UNTIL(line.pieces == 1);
	EQ_INT(line.piece[0].m.data.len, 0);
	line.pieces = 0;
	EQ_INT(snap_send_resp(fake.n, 2, &again), ERR_OK);
	next.status = PEER_SNAPSHOT_NEXT;
	for (int i = 0; i < 24; i++) {
		next.offset += LIMIT_SNAPSHOT_CHUNK_BYTES;
		EQ_INT(snap_send_resp(fake.n, 2, &next), ERR_OK);
		OK(fake.n->snap.send[0].sent - next.offset <=
		   LIMIT_SNAPSHOT_CHUNKS * LIMIT_SNAPSHOT_CHUNK_BYTES);
		line.pieces = 0;
	}
	OK(fake.n->snap.send[0].sent > next.offset);
	line.full = true;                            /* heartbeats and entries go first */
	next.offset += LIMIT_SNAPSHOT_CHUNK_BYTES;
	EQ_INT(snap_send_resp(fake.n, 2, &next), ERR_OK);
	EQ_INT(line.pieces, 0);
	end();
}

TEST(a_sender_goes_back_to_where_it_is_asked_to)
{
	struct peer_snapshot_resp again = {900, 0xabcdef01, PEER_SNAPSHOT_AGAIN, 5 * LIMIT_SNAPSHOT_CHUNK_BYTES};

	begin();
	have_snapshot();
	snap_send_begin(fake.n, 2, 900, false);
	UNTIL(line.pieces == 1);
	line.pieces = 0;
	EQ_INT(snap_send_resp(fake.n, 2, &again), ERR_OK);
	EQ_INT(line.piece[0].m.offset, 5 * LIMIT_SNAPSHOT_CHUNK_BYTES);
	line.pieces = 0;
	again.offset = 0;
	EQ_INT(snap_send_resp(fake.n, 2, &again), ERR_OK);
	EQ_INT(line.piece[0].m.offset, 0);
	OK(memcmp(line.piece[0].data, content, LIMIT_SNAPSHOT_CHUNK_BYTES) == 0);
	end();
}

TEST(answers_that_cannot_be_are_refused_and_strange_ones_ignored)
{
	struct peer_snapshot_resp m = {900, 0xabcdef01, PEER_SNAPSHOT_AGAIN, FILE_BYTES + 1};

	begin();
	have_snapshot();
	m.status = PEER_SNAPSHOT_STATUSES;
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_MALFORMED);
	m.status = PEER_SNAPSHOT_NEXT;
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_OK);     /* nothing is being sent */
	snap_send_begin(fake.n, 2, 900, true);
	UNTIL(line.pieces == 1);
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_MALFORMED);
	m.offset = FILE_BYTES;
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_OK);     /* not sent yet: of no consequence */
	EQ_INT(fake.n->snap.send[0].acked, 0);
	m.crc++;
	m.status = PEER_SNAPSHOT_DONE;
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_OK);
	EQ_INT(fake.n->snap.send[0].state, SNAP_SEND_OFFERED);
	EQ_INT(snap_send_resp(fake.n, 77, &m), ERR_OK);
	end();
}

TEST(an_old_node_is_sent_nothing_it_does_not_know)
{
	begin();
	have_snapshot();
	line.version = 1;
	snap_send_begin(fake.n, 2, 900, true);
	loop_turn(fake.n->d->loop, 20);
	EQ_INT(line.pieces, 0);
	end();
}

TEST(without_a_snapshot_that_will_do_one_is_asked_for)
{
	begin();
	have_snapshot();
	fake.n->feed.applied = 1000;
	the_id.index = 950;
	snap_send_begin(fake.n, 2, 950, false);
	UNTIL(fake.n->snap.asked == 1000);
	OK(strstr(fake_journal(), "stored: apply_snapshot{index=1000}") != NULL);
	EQ_INT(line.pieces, 0);
	fake.n->feed.applied = 1010;                 /* the one under way will do */
	snap_send_begin(fake.n, 3, 940, false);
	loop_turn(fake.n->d->loop, 5);
	loop_turn(fake.n->d->loop, 5);
	OK(strstr(fake_journal(), "apply_snapshot") == NULL);
	snap_send_stop(fake.n, 3);
	have_snapshot();
	UNTIL(line.pieces == 1);
	EQ_INT(line.piece[0].m.index, 950);
	snap_send_stop(fake.n, 2);
	EQ_INT(snap_send_hold(fake.n), UINT64_MAX);
	end();
}

TEST(a_snapshot_that_cannot_be_read_gives_way_to_a_newer_one)
{
	struct peer_snapshot_resp again = {900, 0xabcdef01, PEER_SNAPSHOT_AGAIN, 0};
	char *path;

	begin();
	have_snapshot();
	fake.n->feed.applied = 1000;
	path = snapname_path(config.data_dir, 900, 0xabcdef01);
	snap_send_begin(fake.n, 2, 900, true);
	UNTIL(line.pieces == 1);
	line.pieces = 0;
	OK(truncate(path, 0) == 0);
	EQ_INT(snap_send_resp(fake.n, 2, &again), ERR_OK);
	EQ_INT(snap_send_hold(fake.n), UINT64_MAX);  /* it must not hold the log meanwhile */
	UNTIL(fake.n->snap.asked == 1000);
	EQ_INT(line.pieces, 0);
	the_id.index = 950;
	have_snapshot();
	UNTIL(line.pieces == 1);
	EQ_INT(line.piece[0].m.index, 950);
	mem_free(path);
	end();
}

TEST(a_snapshot_found_bad_there_gives_way_to_a_newer_one)
{
	struct peer_snapshot_resp m = {900, 0xabcdef01, PEER_SNAPSHOT_AGAIN, FILE_BYTES - 1};

	begin();
	have_snapshot();
	fake.n->feed.applied = 1000;
	snap_send_begin(fake.n, 2, 900, true);
	UNTIL(line.pieces == 1);
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_OK);
	m.status = PEER_SNAPSHOT_FAILED;             /* a full disk, perhaps: the file may be good */
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_OK);
	EQ_INT(fake.n->snap.send[0].need, 900);
	snap_send_stop(fake.n, 2);
	line.pieces = 0;
	snap_send_begin(fake.n, 2, 900, true);
	UNTIL(line.pieces == 1);
	m.status = PEER_SNAPSHOT_WAIT;
	m.offset = FILE_BYTES;                       /* all of it was there */
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_OK);
	m.offset = 0;
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_OK);
	line.pieces = 0;
	m.status = PEER_SNAPSHOT_FAILED;
	EQ_INT(snap_send_resp(fake.n, 2, &m), ERR_OK);
	UNTIL(fake.n->snap.asked == 1000);
	EQ_INT(line.pieces, 0);
	end();
}

TEST(a_snapshot_of_the_future_is_not_asked_for)
{
	struct peer_snapshot_want want = {.index = UINT64_MAX};
	struct msg_in in = {.row = msg_row(&peer_link, MSG_NO_peer_snapshot_want), .msg = &want};

	begin();
	have_snapshot();
	fake.n->feed.applied = 1000;
	EQ_INT(raftd_peers_ops.message(fake.n, 3, &in), ERR_OK);
	snap_send_begin(fake.n, 2, 900, true);
	UNTIL(line.pieces == 1);                     /* so the other has been looked at as well */
	EQ_INT(fake.n->snap.send[1].state, SNAP_SEND_SEEK);
	EQ_INT(fake.n->snap.asked, 0);
	end();
}

/* ---- receiving */

TEST(a_transfer_goes_on_where_it_was_after_a_restart)
{
	begin();
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	SAYS(0, 1000, PEER_SNAPSHOT_NEXT, 1000);
	SAYS(1000, 500, PEER_SNAPSHOT_NEXT, 1500);
	snap_recv_close(fake.n);
	snap_recv_open(fake.n);
	SAYS(1500, 10, PEER_SNAPSHOT_STATUSES, 0);   /* of a transfer it knows nothing of: silence */
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 1500);
	SAYS(1500, 500, PEER_SNAPSHOT_NEXT, 2000);
	OK(incoming_is(2000));
	end();
}

TEST(pieces_out_of_order_are_not_taken)
{
	begin();
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	SAYS(1000, 500, PEER_SNAPSHOT_AGAIN, 0);
	SAYS(0, 1000, PEER_SNAPSHOT_NEXT, 1000);
	SAYS(0, 1000, PEER_SNAPSHOT_AGAIN, 1000);
	SAYS(999, 10, PEER_SNAPSHOT_AGAIN, 1000);
	OK(incoming_is(1000));
	end();
}

TEST(lies_about_lengths_and_places_close_the_connection)
{
	struct peer_snapshot m;

	begin();
#define LIE(field, value) do { \
		m = piece_at(0, 100); \
		m.field = (value); \
		EQ_INT(snap_recv_piece(fake.n, 2, &m), ERR_MALFORMED); \
	} while (0)
	LIE(index, 0);
	LIE(index, UINT64_MAX);
	LIE(index_term, 0);
	LIE(index_term, UINT64_MAX);
	LIE(bytes, 0);
	LIE(bytes, 99);
	LIE(bytes, (1ull << 30) + 1);
	LIE(crc, 1ull << 32);
	LIE(offset, FILE_BYTES);
	LIE(offset, UINT64_MAX);
	LIE(data.len, LIMIT_SNAPSHOT_CHUNK_BYTES + 1);
	EQ_INT(line.resps, 0);
	OK(!incoming_exists());
	end();
}

TEST(what_is_not_needed_is_not_taken)
{
	begin();
	fake.n->feed.applied = 900;
	SAYS(0, 0, PEER_SNAPSHOT_DONE, 0);
	fake.n->feed.applied = 10;
	fake.n->commit = 900;                        /* our own log leads there */
	SAYS(0, 0, PEER_SNAPSHOT_DONE, 0);
	fake.n->feed.behind = true;                  /* or it does not */
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	end();
}

TEST(a_transfer_that_the_log_has_overtaken_leaves_nothing)
{
	begin();
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	SAYS(0, 1000, PEER_SNAPSHOT_NEXT, 1000);
	OK(incoming_exists());
	fake.n->feed.applied = 900;
	UNTIL(!incoming_exists());
	OK(!fake.n->snap.recv.coming);
	end();
}

/* raftd was started anew in the middle of a transfer, and nobody offers it again. */
TEST(what_a_raftd_before_has_left_goes_when_the_store_is_beyond_it)
{
	begin();
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	SAYS(0, 1000, PEER_SNAPSHOT_NEXT, 1000);
	snap_recv_close(fake.n);
	snap_recv_open(fake.n);
	fake.n->feed.applied = 899;
	snap_recv_state(fake.n, 899);
	snap_recv_tick(fake.n);
	OK(incoming_is(1000));
	fake.n->feed.applied = 900;
	UNTIL(!incoming_exists());
	end();
}

/* It has to wait until the file of the one before is closed. */
static void offer_until_taken(uint64_t from, const struct peer_snapshot *m)
{
	do {
		line.resps = 0;
		EQ_INT(snap_recv_piece(fake.n, from, m), ERR_OK);
		OK(line.resp[0].status == PEER_SNAPSHOT_WAIT || line.resp[0].status == PEER_SNAPSHOT_AGAIN);
	} while (line.resp[0].status != PEER_SNAPSHOT_AGAIN);
}

TEST(one_transfer_at_a_time_and_a_newer_one_replaces_its_own)
{
	struct peer_snapshot other;

	begin();
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	SAYS(0, 1000, PEER_SNAPSHOT_NEXT, 1000);
	other = piece_at(0, 0);
	other.index = 950;
	line.resps = 0;
	EQ_INT(snap_recv_piece(fake.n, 3, &other), ERR_OK);        /* another node's has to wait */
	EQ_INT(line.resp[0].status, PEER_SNAPSHOT_WAIT);
	OK(incoming_is(1000));
	EQ_INT(snap_recv_piece(fake.n, 3, &other), ERR_OK);
	offer_until_taken(2, &other);                /* the same node has thought better */
	UNTIL(!incoming_exists());
	raftd_peers_ops.down(fake.n, 2);             /* and when that has gone another may */
	other.index = 960;
	offer_until_taken(3, &other);
	end();
}

static void receive_all(void)
{
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	for (uint64_t at = 0; at < FILE_BYTES; at += LIMIT_SNAPSHOT_CHUNK_BYTES) {
		struct peer_snapshot m = piece_at(at, FILE_BYTES - at < LIMIT_SNAPSHOT_CHUNK_BYTES
						  ? (size_t)(FILE_BYTES - at) : LIMIT_SNAPSHOT_CHUNK_BYTES);

		line.resps = 0;
		EQ_INT(snap_recv_piece(fake.n, 2, &m), ERR_OK);
		UNTIL(line.resps > 0);
	}
	EQ_INT(line.resp[0].status, PEER_SNAPSHOT_WAIT);
}

TEST(a_file_that_stored_finds_bad_is_thrown_away)
{
	struct apply_installed m = {900, 0xabcdef01, ERR_CORRUPT};

	begin();
	receive_all();
	OK(strstr(fake_journal(), "stored: apply_install{") != NULL);
	EQ_INT(snap_recv_installed(fake.n, &m), ERR_OK);
	UNTIL(!incoming_exists());
	SAYS(0, 0, PEER_SNAPSHOT_FAILED, 0);         /* not again at once */
	m.error = ERR_OK;
	EQ_INT(snap_recv_installed(fake.n, &m), ERR_MALFORMED);
	end();
}

TEST(a_file_whose_install_was_interrupted_is_kept)
{
	struct apply_installed m = {900, 0xabcdef01, ERR_CLOSED};

	begin();
	fake.n->feed.link = NULL;                    /* stored is away when the last piece comes */
	receive_all();
	EQ_STR(fake_journal(), "");
	fake.n->feed.link = &stored;
	snap_recv_state(fake.n, 10);
	OK(strstr(fake_journal(), "stored: apply_install{") != NULL);
	EQ_INT(snap_recv_installed(fake.n, &m), ERR_OK);
	OK(incoming_is(FILE_BYTES));
	SAYS(0, 0, PEER_SNAPSHOT_WAIT, 0);
	snap_link_down(fake.n);                      /* killed: a new link says where it is */
	fake.n->snap.recv.asked_at = (mono_t){0};
	snap_recv_state(fake.n, 10);
	OK(strstr(fake_journal(), "stored: apply_install{") != NULL);
	end();
}

/* A bad sector below it, perhaps: the next one lies elsewhere. */
TEST(a_file_that_cannot_be_read_is_not_tried_for_ever)
{
	struct apply_installed m = {900, 0xabcdef01, ERR_IO};
	unsigned tries = 0;

	begin();
	receive_all();
	while (fake.n->snap.recv.complete && tries < 10) {
		fake.n->snap.recv.asked_at = (mono_t){0};
		snap_recv_tick(fake.n);
		OK(fake.n->snap.recv.asked);
		EQ_INT(snap_recv_installed(fake.n, &m), ERR_OK);
		tries++;
	}
	OK(tries > 1 && tries < 10);
	UNTIL(!incoming_exists());
	SAYS(0, 0, PEER_SNAPSHOT_FAILED, 0);
	end();
}

TEST(a_store_with_a_gap_to_its_log_asks_the_others)
{
	begin();
	for (int i = 0; i < 10; i++)
		fake_have(1, WAL_COMMAND, 0);
	wal_cut(fake.n->wal, 6);
	fake.n->feed.behind = true;
	fake.n->feed.applied = 3;
	fake.n->leader = 3;
	UNTIL(line.wants > 0);
	EQ_INT(line.want_to, 3);
	EQ_INT(line.want_index, 5);
	fake.n->leader = 1;                          /* itself: then anybody */
	line.wants = 0;
	UNTIL(line.wants > 0);
	OK(line.want_to == 2 || line.want_to == 3);
	end();
}

TESTS = {
	T(a_log_is_begun_anew_and_what_tells_of_it_waits_for_the_disk),
	T(a_snapshot_goes_to_whom_the_core_names_and_to_who_asks),
	T(a_file_arrives_as_it_is_and_stored_is_told),
	T(only_so_many_pieces_are_sent_and_not_answered),
	T(a_sender_goes_back_to_where_it_is_asked_to),
	T(answers_that_cannot_be_are_refused_and_strange_ones_ignored),
	T(an_old_node_is_sent_nothing_it_does_not_know),
	T(without_a_snapshot_that_will_do_one_is_asked_for),
	T(a_snapshot_that_cannot_be_read_gives_way_to_a_newer_one),
	T(a_snapshot_found_bad_there_gives_way_to_a_newer_one),
	T(a_snapshot_of_the_future_is_not_asked_for),
	T(a_transfer_goes_on_where_it_was_after_a_restart),
	T(pieces_out_of_order_are_not_taken),
	T(lies_about_lengths_and_places_close_the_connection),
	T(what_is_not_needed_is_not_taken),
	T(a_transfer_that_the_log_has_overtaken_leaves_nothing),
	T(what_a_raftd_before_has_left_goes_when_the_store_is_beyond_it),
	T(one_transfer_at_a_time_and_a_newer_one_replaces_its_own),
	T(a_file_that_stored_finds_bad_is_thrown_away),
	T(a_file_whose_install_was_interrupted_is_kept),
	T(a_file_that_cannot_be_read_is_not_tried_for_ever),
	T(a_store_with_a_gap_to_its_log_asks_the_others),
};
TAP_MAIN
