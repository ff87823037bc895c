/* SPDX-License-Identifier: Apache-2.0 */
/* What comes in of a snapshot is written by a thread (raftd/snap_write.h): a disk that takes its time, or fails. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/lib/snap_world.h"
#include "tests/lib/tap.h"

static struct {
	atomic_bool shut;                /* nothing is written until the test says so */
	atomic_int error;
	atomic_uint begun, done;
} slow;

static ssize_t slow_write(int fd, const void *data, size_t len, off_t offset)
{
	ssize_t n = -1;

	atomic_fetch_add(&slow.begun, 1);
	while (atomic_load(&slow.shut))
		(void)sched_yield();
	errno = atomic_load(&slow.error);
	if (errno == 0)
		n = pwrite(fd, data, len, offset);
	atomic_fetch_add(&slow.done, 1);
	return n;
}

static void begin_slow(void)
{
	begin();
	atomic_store(&slow.begun, 0);
	atomic_store(&slow.done, 0);
	atomic_store(&slow.error, 0);
	atomic_store(&slow.shut, false);
	fake.n->snap.recv.write = slow_write;
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	SAYS(0, 1000, PEER_SNAPSHOT_NEXT, 1000);
	atomic_store(&slow.shut, true);
	line.resps = 0;
}

static void give(uint64_t offset, size_t len)
{
	struct peer_snapshot m = piece_at(offset, len);

	EQ_INT(snap_recv_piece(fake.n, 2, &m), ERR_OK);
}

TEST(a_piece_is_answered_when_it_is_written_and_the_loop_does_not_wait_for_it)
{
	begin_slow();
	for (unsigned i = 0; i < LIMIT_SNAPSHOT_CHUNKS; i++)
		give(1000 + i * 100, 100);
	UNTIL(atomic_load(&slow.begun) == 2);
	for (int i = 0; i < 20; i++)
		loop_turn(fake.n->d->loop, 1);
	EQ_INT(line.resps, 0);
	give(1000 + LIMIT_SNAPSHOT_CHUNKS * 100, 100);         /* more than may be under way */
	give(0, 0);                                            /* the sender asks what has become of it */
	EQ_INT(line.resps, 2);
	EQ_INT(line.resp[0].status, PEER_SNAPSHOT_WAIT);
	EQ_INT(line.resp[1].status, PEER_SNAPSHOT_WAIT);
	EQ_INT(line.resp[1].offset, 1000);
	atomic_store(&slow.shut, false);
	UNTIL(line.resps == 2 + LIMIT_SNAPSHOT_CHUNKS);
	EQ_INT(line.resp[2].status, PEER_SNAPSHOT_NEXT);
	EQ_INT(line.resp[2].offset, 1100);
	EQ_INT(line.resp[line.resps - 1].offset, 1000 + LIMIT_SNAPSHOT_CHUNKS * 100);
	OK(incoming_is(1000 + LIMIT_SNAPSHOT_CHUNKS * 100));
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 1000 + LIMIT_SNAPSHOT_CHUNKS * 100);
	end();
}

TEST(a_transfer_that_ends_while_it_is_written_leaves_nothing_and_tells_nothing)
{
	begin_slow();
	give(1000, 100);
	give(1100, 100);
	UNTIL(atomic_load(&slow.begun) == 2);
	fake.n->feed.applied = 900;
	snap_recv_tick(fake.n);                      /* the log was faster */
	fake.n->feed.applied = 10;
	give(0, 0);                                  /* and then it was not: it has to wait */
	EQ_INT(line.resp[line.resps - 1].status, PEER_SNAPSHOT_WAIT);
	OK(!fake.n->snap.recv.coming);
	line.resps = 0;
	atomic_store(&slow.shut, false);
	UNTIL(!incoming_exists() && snap_writer_idle(fake.n->snap.recv.writer));
	EQ_INT(atomic_load(&slow.done), 2);          /* what waited behind it was not written any more */
	EQ_INT(line.resps, 0);
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, 0);
	SAYS(0, 500, PEER_SNAPSHOT_NEXT, 500);
	OK(incoming_is(500));
	end();
}

TEST(a_write_that_fails_ends_the_transfer_and_what_waits_behind_it)
{
	begin_slow();
	atomic_store(&slow.error, ENOSPC);
	give(1000, 100);
	give(1100, 100);
	atomic_store(&slow.shut, false);
	UNTIL(line.resps > 0 && !incoming_exists());
	EQ_INT(line.resps, 1);
	EQ_INT(line.resp[0].status, PEER_SNAPSHOT_FAILED);
	EQ_INT(line.resp[0].index, 900);
	EQ_INT(atomic_load(&slow.begun), 2);
	SAYS(0, 0, PEER_SNAPSHOT_FAILED, 0);
	end();
}

TEST(a_raftd_that_stops_while_it_is_written_goes_on_from_what_is)
{
	begin_slow();
	give(1000, 100);
	give(1100, 100);
	UNTIL(atomic_load(&slow.begun) == 2);
	atomic_store(&slow.shut, false);
	snap_recv_close(fake.n);
	snap_recv_open(fake.n);
	OK(incoming_is(1100) || incoming_is(1200));
	SAYS(0, 0, PEER_SNAPSHOT_AGAIN, incoming_is(1100) ? 1100 : 1200);
	end();
}

TESTS = {
	T(a_piece_is_answered_when_it_is_written_and_the_loop_does_not_wait_for_it),
	T(a_transfer_that_ends_while_it_is_written_leaves_nothing_and_tells_nothing),
	T(a_write_that_fails_ends_the_transfer_and_what_waits_behind_it),
	T(a_raftd_that_stops_while_it_is_written_goes_on_from_what_is),
};
TAP_MAIN
