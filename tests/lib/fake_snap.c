/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots (raftd/snap.h) for tests of the driver that have none. */
#include "base/err.h"
#include "tests/lib/fake_raftd.h"

void snap_send_begin(struct raftd *n, uint64_t peer, uint64_t need, bool core)
{
	(void)n;
	fake_say("snapshot to %d need=%d core=%d", (int)peer, (int)need, core);
}

void snap_send_stop(struct raftd *n, uint64_t peer)
{
	(void)n;
	(void)peer;
}

void snap_recv_stop(struct raftd *n, uint64_t peer)
{
	(void)n;
	(void)peer;
}

int snap_send_resp(struct raftd *n, uint64_t peer, const struct peer_snapshot_resp *m)
{
	(void)n;
	(void)m;
	fake_say("snapshot answered by %d", (int)peer);
	return ERR_OK;
}

int snap_recv_piece(struct raftd *n, uint64_t from, const struct peer_snapshot *m)
{
	(void)n;
	(void)m;
	fake_say("piece of a snapshot from %d", (int)from);
	return ERR_OK;
}
