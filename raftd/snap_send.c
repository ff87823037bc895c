/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot to a node that needs one: offered, then sent in pieces from where that node says.
 *
 *   IDLE --begin--> SEEK --a file that will do--> OFFERED --"from here"--> SENDING
 *     ^               ^                              ^  no answer, "wait"      |
 *     |  done, down,  |  it failed there, or here    '-------------------------'
 *     '-- too long ---'
 *
 * The file is read without waiting for the disk (what is not in memory is asked for and looked at
 * again). Pieces go behind heartbeats already queued, and only as many are under way as are
 * answered within half a heartbeat more than an idle line takes: no heartbeat waits long for them.
 * The file is kept open, so it may be removed meanwhile; and the log behind it is held (snap_cut.c).
 */
#include "raftd/snap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/node.h"
#include "rt/snapname.h"

enum {
	SEND_SEEK_MS = 100, SEND_OFFER_MS = 500, SEND_STALL_MS = 3000, SEND_FAILED_MS = 5000,
	SEND_GIVE_UP_MS = 60000, SEND_PATIENCE_MS = 600000, SEND_READ_MS = 2, SEND_ROOM_MS = 5, SEND_BURST_MS = 20,
	SEND_AHEAD_BYTES = 4 * 1024 * 1024
};

static void send_after(struct snap_send *o, int64_t ms)
{
	loop_timer_set(o->n->d->loop, &o->timer, mono_add_ms(loop_now(o->n->d->loop), ms));
}

static void send_close(struct snap_send *o)
{
	if (o->fd >= 0)
		(void)close(o->fd);
	o->fd = -1;
}

static void send_end(struct snap_send *o, const char *why)
{
	struct raft_event ev = {.type = RAFT_EV_SNAPSHOT_DONE, .peer = o->peer};
	bool core = o->core;

	log_info("sending a snapshot ended peer=%" PRIu64 " index=%" PRIu64 " reason=\"%s\"", o->peer, o->id.index,
		 why);
	snap_send_stop(o->n, o->peer);
	if (core)
		(void)raftd_step(o->n, &ev);
}

static bool send_open_file(struct snap_send *o)
{
	char *path = snapname_path(o->n->d->config->data_dir, o->id.index, o->id.crc);
	struct stat st;

	o->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (o->fd >= 0 && (fstat(o->fd, &st) != 0 || (uint64_t)st.st_size != o->id.bytes)) {
		log_error("a snapshot is not what stored says of it file=%s", path);
		send_close(o);
	}
	mem_free(path);
	return o->fd >= 0;
}

static void send_offer(struct snap_send *o)
{
	struct peer_snapshot m = {o->id.index, o->id.term, o->id.bytes, o->id.crc, 0, {NULL, 0}};

	(void)peers_send(o->n->peers, o->peer, MSG_NO_peer_snapshot, &peer_snapshot_desc, &m);
	o->state = SNAP_SEND_OFFERED;
	send_after(o, SEND_OFFER_MS);
}

/* This file will not do, whatever is wrong with it. The log is not held for it any more. */
static void send_newer(struct snap_send *o)
{
	send_close(o);
	o->need = o->id.index + 1;
	o->state = SNAP_SEND_SEEK;
	send_after(o, SEND_SEEK_MS);
}

static bool send_choose(struct snap_send *o)
{
	uint64_t begin = wal_first_index(o->n->wal) - 1;

	/* The log may have been cut since: what follows the snapshot must be in it. */
	if (o->core && o->need < begin)
		o->need = begin;
	o->id = o->n->snap.newest;
	if (o->id.index == 0 || o->id.index < o->need)
		return false;
	if (send_open_file(o))
		return true;
	o->need = o->id.index + 1;
	return false;
}

static void send_seek(struct snap_send *o)
{
	uint64_t applied = o->n->feed.applied, asked = o->n->snap.asked;

	if (!send_choose(o)) {
		/* Not if what is under way will do, nor if what would be made now will not. */
		if (applied >= o->need && (asked == 0 || asked < o->need))
			snap_ask(o->n, applied);
		send_after(o, SEND_SEEK_MS);
		return;
	}
	o->sent = o->acked = o->best = 0;
	o->flight_n = 0;
	o->window = 1;
	log_info("sending a snapshot peer=%" PRIu64 " index=%" PRIu64 " bytes=%" PRIu64, o->peer, o->id.index,
		 o->id.bytes);
	send_offer(o);
}

/* Bytes read; 0: not in memory yet; -1: it cannot be read. */
static ssize_t send_read(const struct snap_send *o, uint8_t *piece, size_t len)
{
	struct iovec v = {piece, len};
	ssize_t n = preadv2(o->fd, &v, 1, (off_t)o->sent, RWF_NOWAIT);

	if (n < 0 && errno == EAGAIN) {
		(void)posix_fadvise(o->fd, (off_t)o->sent, SEND_AHEAD_BYTES, POSIX_FADV_WILLNEED);
		return 0;
	}
	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
		n = pread(o->fd, piece, len, (off_t)o->sent);
	if (n == 0)
		errno = ENODATA;         /* it has become shorter */
	return n > 0 ? n : -1;
}

static void flight_add(struct snap_send *o, uint64_t end)
{
	if (o->flight_n < ARRAY_LEN(o->flight)) {
		o->flight[o->flight_n].end = end;
		o->flight[o->flight_n++].at = mono_now();
	}
}

/* One piece; how long to wait before the next, -1: until something is answered. */
static int64_t send_piece(struct snap_send *o)
{
	uint8_t piece[LIMIT_SNAPSHOT_CHUNK_BYTES];
	uint64_t left = o->id.bytes - o->sent, rate = o->n->d->config->snapshot_rate_mb * MIB;
	struct peer_snapshot m = {o->id.index, o->id.term, o->id.bytes, o->id.crc, o->sent, {piece, 0}};
	mono_t now = loop_now(o->n->d->loop);
	int64_t ahead_ms = mono_sub_ms(o->free_at, now);
	ssize_t n;

	if (left == 0 || o->sent - o->acked >= (uint64_t)o->window * sizeof piece)
		return -1;
	if (ahead_ms > SEND_BURST_MS)
		return ahead_ms - SEND_BURST_MS;
	if (!peers_room(o->n->peers, o->peer))
		return SEND_ROOM_MS;
	n = send_read(o, piece, left < sizeof piece ? (size_t)left : sizeof piece);
	if (n == 0)
		return SEND_READ_MS;
	if (n < 0) {
		log_error("a snapshot cannot be read index=%" PRIu64 " offset=%" PRIu64 " error=\"%s\"", o->id.index,
			  o->sent, strerror(errno));
		send_newer(o);
		return SEND_SEEK_MS;
	}
	m.data.len = (size_t)n;
	if (peers_send(o->n->peers, o->peer, MSG_NO_peer_snapshot, &peer_snapshot_desc, &m) != ERR_OK)
		return SEND_ROOM_MS;
	o->sent += (uint64_t)n;
	flight_add(o, o->sent);
	counter_add(&o->n->counters.snapshot_bytes_sent, n);
	o->free_at = mono_add_us(mono_before(o->free_at, now) ? now : o->free_at,
				 (int64_t)((uint64_t)n * 1000000 / rate));
	return 0;
}

static void send_more(struct snap_send *o)
{
	int64_t wait = 0;

	for (unsigned i = 0; i < LIMIT_SNAPSHOT_CHUNKS && wait == 0; i++)
		wait = send_piece(o);
	if (wait >= 0)
		send_after(o, wait);
	else
		send_after(o, SEND_STALL_MS);
}

static void on_send_timer(void *arg)
{
	struct snap_send *o = arg;
	mono_t now = loop_now(o->n->d->loop);

	if (o->state == SNAP_SEND_IDLE)
		return;
	if (mono_sub_ms(now, o->progress) > SEND_GIVE_UP_MS && o->state != SNAP_SEND_SEEK)
		send_end(o, "no progress");
	else if (o->waiting.ns != 0 && mono_sub_ms(now, o->waiting) > SEND_PATIENCE_MS)
		send_end(o, "it is not installed there");   /* the log is not held for ever */
	else if (o->state == SNAP_SEND_SEEK)
		send_seek(o);
	else if (o->state == SNAP_SEND_OFFERED || mono_sub_ms(now, o->progress) >= SEND_STALL_MS)
		send_offer(o);
	else
		send_more(o);
}

/* ---- answers */

/* The line's own delay is the least ever seen; what is above it is made by what we have queued. */
static void window_learn(struct snap_send *o, uint64_t acked)
{
	int64_t us = -1, most = (int64_t)o->n->d->config->heartbeat_ms * 500;
	uint32_t gone = 0;

	while (gone < o->flight_n && o->flight[gone].end <= acked)
		us = mono_sub_us(mono_now(), o->flight[gone++].at);
	o->flight_n -= gone;
	memmove(o->flight, o->flight + gone, o->flight_n * sizeof o->flight[0]);
	if (us < 0)
		return;
	if (o->rtt_min_us == 0 || us < o->rtt_min_us)
		o->rtt_min_us = us + 1;
	if (us > o->rtt_min_us + most)
		o->window = o->window > 1 ? o->window / 2 : 1;
	else if (o->window < LIMIT_SNAPSHOT_CHUNKS)
		o->window++;
}

static void send_got(struct snap_send *o, uint64_t offset)
{
	if (offset > o->best) {
		o->best = offset;
		o->progress = loop_now(o->n->d->loop);
	}
}

static void send_next(struct snap_send *o, uint64_t offset)
{
	if (o->state != SNAP_SEND_SENDING || offset <= o->acked || offset > o->sent)
		return;                  /* of before we went back, or said twice */
	o->acked = offset;
	send_got(o, offset);
	window_learn(o, offset);
	send_more(o);
}

static void send_again(struct snap_send *o, uint64_t offset)
{
	o->sent = o->acked = offset;
	o->flight_n = 0;
	o->window = 1;
	o->waiting.ns = 0;
	if (o->state == SNAP_SEND_OFFERED)
		o->progress = loop_now(o->n->d->loop);
	send_got(o, offset);
	o->state = SNAP_SEND_SENDING;
	send_more(o);
}

/* Once all of it was there it is the file that is bad: sent again it would be refused again. */
static void send_failed(struct snap_send *o)
{
	if (o->best == o->id.bytes) {
		send_newer(o);
		return;
	}
	send_close(o);
	o->state = SNAP_SEND_SEEK;
	send_after(o, SEND_FAILED_MS);
}

static struct snap_send *send_find(struct raftd *n, uint64_t peer)
{
	for (size_t i = 0; i < n->snap.n_send; i++)
		if (n->snap.send[i].peer == peer)
			return &n->snap.send[i];
	return NULL;
}

int snap_send_resp(struct raftd *n, uint64_t peer, const struct peer_snapshot_resp *m)
{
	struct snap_send *o = send_find(n, peer);

	if (m->status >= PEER_SNAPSHOT_STATUSES)
		return ERR_MALFORMED;
	if (o == NULL || o->fd < 0 || m->index != o->id.index || m->crc != o->id.crc)
		return ERR_OK;           /* answers a transfer that has ended */
	if (m->offset > o->id.bytes)
		return ERR_MALFORMED;
	switch ((enum peer_snapshot_status)m->status) {
	case PEER_SNAPSHOT_NEXT:
		send_next(o, m->offset);
		break;
	case PEER_SNAPSHOT_AGAIN:
		send_again(o, m->offset);
		break;
	case PEER_SNAPSHOT_WAIT:
		o->state = SNAP_SEND_OFFERED;
		o->progress = loop_now(n->d->loop);
		send_got(o, m->offset);
		if (o->waiting.ns == 0)
			o->waiting = o->progress;
		send_after(o, SEND_OFFER_MS);
		break;
	case PEER_SNAPSHOT_DONE:
		send_end(o, "done");
		break;
	case PEER_SNAPSHOT_FAILED:
	case PEER_SNAPSHOT_STATUSES:
		log_warn("a snapshot could not be taken there peer=%" PRIu64 " index=%" PRIu64, peer, o->id.index);
		send_failed(o);
		break;
	}
	return ERR_OK;
}

/* ---- begin and end */

void snap_send_begin(struct raftd *n, uint64_t peer, uint64_t need, bool core)
{
	struct snap_send *o = send_find(n, peer);

	if (o == NULL)
		return;
	o->core = o->core || core;
	if (o->state != SNAP_SEND_IDLE && o->need >= need)
		return;
	if (peers_version(n->peers, peer) < PEER_VERSION_SNAPSHOTS) {
		log_error("a node needs a snapshot and is too old to take one: upgrade it peer=%" PRIu64, peer);
		return;
	}
	send_close(o);
	o->need = need;
	o->state = SNAP_SEND_SEEK;
	o->progress = loop_now(n->d->loop);
	send_after(o, 0);
}

void snap_send_stop(struct raftd *n, uint64_t peer)
{
	struct snap_send *o = send_find(n, peer);

	if (o == NULL)
		return;
	send_close(o);
	o->state = SNAP_SEND_IDLE;
	o->core = false;
	o->need = 0;
	o->rtt_min_us = 0;
	o->waiting.ns = 0;
	loop_timer_clear(n->d->loop, &o->timer);
}

uint64_t snap_send_hold(const struct raftd *n)
{
	uint64_t hold = UINT64_MAX;

	for (size_t i = 0; i < n->snap.n_send; i++) {
		const struct snap_send *o = &n->snap.send[i];

		if (o->fd >= 0 && o->id.index + 1 < hold)
			hold = o->id.index + 1;
	}
	return hold;
}

void snap_send_open(struct raftd *n)
{
	const struct config *c = n->d->config;

	for (size_t i = 0; i < c->n_members; i++) {
		struct snap_send *o = &n->snap.send[n->snap.n_send];

		if (c->members[i].id == c->node_id)
			continue;
		*o = (struct snap_send){.n = n, .peer = c->members[i].id, .fd = -1};
		loop_timer_init(&o->timer, on_send_timer, o);
		n->snap.n_send++;
	}
}
