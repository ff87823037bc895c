/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot from another node: its pieces into a file, in order, by a thread (snap_write.h), each
 * answered when it is written; when it is whole stored checks it, and becomes it. The file's name says
 * which snapshot it is and its length how much has come, so the transfer goes on after a restart of either end. A power failure may leave a file that is
 * long and not whole: its checksum shows that, and it is begun anew.
 */
#include "raftd/snap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/node.h"
#include "rt/snapname.h"

enum {
	RECV_SILENT_MS = 5000, RECV_AGAIN_MS = 5000, RECV_COMPLAIN_MS = 10000, RECV_IO_TRIES = 3
};

static void recv_answer(struct raftd *n, uint64_t to, const struct peer_snapshot *m,
			enum peer_snapshot_status status, uint64_t offset)
{
	struct peer_snapshot_resp resp = {m->index, m->crc, status, offset};

	if (peers_send(n->peers, to, MSG_NO_peer_snapshot_resp, &peer_snapshot_resp_desc, &resp) != ERR_OK)
		counter_inc(&n->counters.sends_dropped);
}

static bool recv_is(const struct snap_recv *r, const struct peer_snapshot *m)
{
	return r->id.index == m->index && r->id.term == m->index_term && r->id.bytes == m->bytes &&
	       r->id.crc == m->crc;
}

static void on_written(void *arg, unsigned pieces, int error);

static struct snap_writer *recv_writer(struct raftd *n)
{
	struct snap_recv *r = &n->snap.recv;
	struct snap_writer_setup s = {.loop = n->d->loop, .data_dir = n->d->config->data_dir, .written = on_written,
				      .arg = n, .write = r->write};

	if (r->writer == NULL)
		r->writer = snap_writer_open(&s);
	return r->writer;
}

/* Nothing more comes for this file. */
static void recv_end(struct raftd *n)
{
	struct snap_recv *r = &n->snap.recv;

	if (r->coming)
		snap_writer_end(r->writer);
	r->coming = false;
	r->pending = 0;
}

/* The newest index of the files of transfers that were given up, or that a raftd before us has left. */
static uint64_t recv_left(const struct raftd *n, const struct snapshot_id *keep)
{
	char *path = snapname_dir(n->d->config->data_dir);
	DIR *dir = opendir(path);
	const struct dirent *e;
	struct snapshot_id id;
	uint64_t left = 0;

	while (dir != NULL && (e = readdir(dir)) != NULL)
		if (snapname_parse_incoming(e->d_name, &id) && id.index > left &&
		    (keep == NULL || memcmp(keep, &id, sizeof id) != 0))
			left = id.index;
	if (dir != NULL)
		(void)closedir(dir);
	mem_free(path);
	return left;
}

/* Removes them. `keep` may be NULL. */
static void recv_clean(struct raftd *n, const struct snapshot_id *keep)
{
	n->snap.recv.left = 0;
	if (recv_left(n, keep) > 0)
		snap_writer_clean(recv_writer(n), keep);
}

static void recv_drop(struct raftd *n)
{
	struct snap_recv *r = &n->snap.recv;

	recv_end(n);
	recv_clean(n, NULL);
	r->complete = r->asked = false;
	r->have = r->taken = 0;
	r->id = (struct snapshot_id){0};
}

static bool recv_open_file(struct raftd *n)
{
	struct snap_recv *r = &n->snap.recv;
	char *dir = snapname_dir(n->d->config->data_dir);
	char *path = snapname_incoming(n->d->config->data_dir, &r->id);
	struct stat st;
	int fd;

	(void)mkdir(dir, 0700);          /* stored makes it too: whoever is first */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && fstat(fd, &st) == 0)
		r->have = (uint64_t)st.st_size;
	if (fd >= 0 && r->have > r->id.bytes && ftruncate(fd, 0) == 0)
		r->have = 0;
	r->coming = fd >= 0 && r->have <= r->id.bytes;
	r->taken = r->have;
	if (r->coming)
		snap_writer_begin(recv_writer(n), fd);
	else
		log_error("a snapshot cannot be taken in file=%s error=\"%s\"", path, strerror(errno));
	if (fd >= 0 && !r->coming)
		(void)close(fd);
	mem_free(path);
	mem_free(dir);
	return r->coming;
}

/* ---- to stored */

static void recv_install(struct raftd *n)
{
	struct snap_recv *r = &n->snap.recv;
	struct apply_install m = {&r->id};

	if (!r->complete || r->asked || n->feed.link == NULL || !n->feed.ready ||
	    mono_before(loop_now(n->d->loop), r->asked_at))
		return;
	r->asked = link_send(n->feed.link, MSG_NO_apply_install, &apply_install_desc, &m) == ERR_OK;
}

static void recv_complete(struct raftd *n)
{
	struct snap_recv *r = &n->snap.recv;

	log_info("a snapshot has come in, stored is to check and install it index=%" PRIu64 " bytes=%" PRIu64,
		 r->id.index, r->id.bytes);
	recv_end(n);
	r->complete = true;
	r->tries = 0;
	r->asked = false;
	r->asked_at = loop_now(n->d->loop);
	counter_inc(&n->counters.snapshots_received);
	recv_install(n);
}

/* A new link, so stored's answer is what it says here: it is that snapshot, or beyond, or not yet. */
void snap_recv_state(struct raftd *n, uint64_t applied)
{
	struct snap_recv *r = &n->snap.recv;

	if ((r->complete || r->coming) && applied >= r->id.index) {
		log_info("the store is at or behind the snapshot that came in index=%" PRIu64 " applied=%" PRIu64,
			 r->id.index, applied);
		recv_drop(n);
	}
	recv_install(n);
}

int snap_recv_installed(struct raftd *n, const struct apply_installed *m)
{
	struct snap_recv *r = &n->snap.recv;
	mono_t later = mono_add_ms(loop_now(n->d->loop), RECV_AGAIN_MS);

	if (m->error == ERR_OK)
		return ERR_MALFORMED;
	if (!r->complete || m->index != r->id.index || m->crc != r->id.crc)
		return ERR_OK;
	r->asked = false;
	r->asked_at = later;
	/* Not the file's fault: the helper was killed, or the disk did not work just now. If it never does, it is. */
	if (m->error == ERR_CLOSED || m->error == ERR_NO_MEMORY || (m->error == ERR_IO && ++r->tries < RECV_IO_TRIES))
		return ERR_OK;
	log_error("the snapshot that came in cannot be used index=%" PRIu64 " from=%" PRIu64 " error=\"%s\"", r->id.index,
		  r->from, err_text((int)m->error));
	recv_drop(n);
	r->not_before = later;
	return ERR_OK;
}

/* ---- pieces */

static bool piece_is_possible(const struct raftd *n, const struct peer_snapshot *m)
{
	return m->index > 0 && m->index <= INT64_MAX && m->index_term > 0 && m->index_term <= INT64_MAX &&
	       m->crc <= UINT32_MAX && m->bytes > 0 && m->bytes <= (n->d->config->store_map_gb << 30) &&
	       m->data.len <= LIMIT_SNAPSHOT_CHUNK_BYTES && m->offset <= m->bytes &&
	       m->data.len <= m->bytes - m->offset;
}

/* Of any use: our store is before it, and our own log does not lead there. */
static bool recv_needs(const struct raftd *n, uint64_t index)
{
	return index > n->feed.applied && (n->feed.behind || index > n->commit);
}

/* Its file is taken up when the one before is closed and gone: until then it has to wait. */
static void recv_begin(struct raftd *n, uint64_t from, const struct peer_snapshot *m)
{
	struct snap_recv *r = &n->snap.recv;
	mono_t now = loop_now(n->d->loop);

	if (mono_before(now, r->not_before)) {
		recv_answer(n, from, m, PEER_SNAPSHOT_FAILED, 0);
		return;
	}
	recv_end(n);
	r->id = (struct snapshot_id){m->index, m->index_term, m->bytes, m->crc};
	r->from = from;
	r->heard = now;
	r->have = r->taken = 0;
	if (!snap_writer_idle(recv_writer(n))) {
		recv_answer(n, from, m, PEER_SNAPSHOT_WAIT, 0);
		return;
	}
	recv_clean(n, &r->id);
	if (!recv_open_file(n)) {
		r->not_before = mono_add_ms(now, RECV_AGAIN_MS);
		recv_answer(n, from, m, PEER_SNAPSHOT_FAILED, 0);
		return;
	}
	log_info("a snapshot comes in from=%" PRIu64 " index=%" PRIu64 " bytes=%" PRIu64 " have=%" PRIu64, from,
		 r->id.index, r->id.bytes, r->have);
}

/* To whoever sends now; `r->id` is what the answer is about. */
static void recv_say(struct raftd *n, enum peer_snapshot_status status)
{
	const struct snap_recv *r = &n->snap.recv;
	struct peer_snapshot m = {.index = r->id.index, .crc = r->id.crc};

	if (r->from != 0)
		recv_answer(n, r->from, &m, status, r->have);
}

static void recv_failed(struct raftd *n, int error)
{
	struct snap_recv *r = &n->snap.recv;

	log_error("a snapshot cannot be taken in index=%" PRIu64 " offset=%" PRIu64 " error=\"%s\"", r->id.index, r->have,
		  strerror(error));
	r->have = 0;
	recv_say(n, PEER_SNAPSHOT_FAILED);
	recv_drop(n);
	r->not_before = mono_add_ms(loop_now(n->d->loop), RECV_AGAIN_MS);
}

/* All is there: stored's turn. */
static void recv_whole(struct raftd *n)
{
	recv_complete(n);
	recv_say(n, PEER_SNAPSHOT_WAIT);
}

static void on_written(void *arg, unsigned pieces, int error)
{
	struct raftd *n = arg;
	struct snap_recv *r = &n->snap.recv;

	for (; r->coming && pieces > 0; pieces--) {
		uint32_t len = r->lens[r->first];

		CHECK(r->pending > 0);
		r->first = (r->first + 1) % LIMIT_SNAPSHOT_CHUNKS;
		r->pending--;
		r->have += len;
		counter_add(&n->counters.snapshot_bytes_received, len);
		if (r->have == r->id.bytes)
			recv_whole(n);
		else
			recv_say(n, PEER_SNAPSHOT_NEXT);
	}
	if (r->coming && error != 0)
		recv_failed(n, error);
}

/*
 * A piece is answered when it is written. What is no piece, or not the next one, is answered with the place to go
 * on at; while something is being written that place is not known yet.
 */
static void recv_take(struct raftd *n, uint64_t from, const struct peer_snapshot *m)
{
	struct snap_recv *r = &n->snap.recv;

	r->from = from;
	r->heard = loop_now(n->d->loop);
	if (m->data.len > 0 && m->offset == r->taken && snap_writer_put(r->writer, r->taken, m->data)) {
		r->lens[(r->first + r->pending++) % LIMIT_SNAPSHOT_CHUNKS] = (uint32_t)m->data.len;
		r->taken += m->data.len;
		return;
	}
	if (r->pending > 0)
		recv_say(n, PEER_SNAPSHOT_WAIT);
	else if (r->have == r->id.bytes)
		recv_whole(n);
	else
		recv_say(n, PEER_SNAPSHOT_AGAIN);
}

int snap_recv_piece(struct raftd *n, uint64_t from, const struct peer_snapshot *m)
{
	struct snap_recv *r = &n->snap.recv;
	bool offer = m->data.len == 0 && m->offset == 0, busy;

	if (!piece_is_possible(n, m))
		return ERR_MALFORMED;
	if (!recv_needs(n, m->index)) {
		recv_answer(n, from, m, PEER_SNAPSHOT_DONE, 0);
		return ERR_OK;
	}
	busy = r->complete || (r->coming && r->from != from && r->from != 0 &&
			       mono_sub_ms(loop_now(n->d->loop), r->heard) < RECV_SILENT_MS);
	if (r->complete && r->id.index < m->index && !r->asked)
		recv_install(n);
	if (busy) {
		recv_answer(n, from, m, PEER_SNAPSHOT_WAIT, 0);
		return ERR_OK;
	}
	if (!r->coming || !recv_is(r, m)) {
		if (!offer)
			return ERR_OK;   /* of a transfer that we have forgotten: it will be offered again */
		recv_begin(n, from, m);
		if (!r->coming)
			return ERR_OK;
	}
	recv_take(n, from, m);
	return ERR_OK;
}

/* ---- asking */

/* The leader if there is another, else one after the other: any member's snapshot is a committed state. */
static uint64_t recv_whom(struct raftd *n)
{
	const struct config *c = n->d->config;

	if (n->leader != 0 && n->leader != c->node_id &&
	    peers_version(n->peers, n->leader) >= PEER_VERSION_SNAPSHOTS)
		return n->leader;
	for (size_t i = 0; i < c->n_members; i++) {
		uint64_t id = c->members[n->snap.recv.turn++ % c->n_members].id;

		if (id != c->node_id && peers_version(n->peers, id) >= PEER_VERSION_SNAPSHOTS)
			return id;
	}
	return 0;
}

static void recv_complain(struct raftd *n, uint64_t whom)
{
	struct snap_recv *r = &n->snap.recv;
	mono_t now = loop_now(n->d->loop);

	if (r->complained.ns != 0 && mono_sub_ms(now, r->complained) < RECV_COMPLAIN_MS)
		return;
	r->complained = now;
	log_error("the store ends before the log begins, and no snapshot of this node is between them: %s applied=%" PRIu64
		  " first=%" PRIu64 " asked=%" PRIu64,
		  n->d->config->n_members > 1 ? "another node is asked for one" :
						"bring back the files of data_dir/snap, or a backup",
		  n->feed.applied, wal_first_index(n->wal), whom);
}

void snap_recv_tick(struct raftd *n)
{
	struct snap_recv *r = &n->snap.recv;
	struct peer_snapshot_want m = {wal_first_index(n->wal) - 1};
	mono_t now = loop_now(n->d->loop);
	uint64_t whom;

	if (r->coming && n->feed.applied >= r->id.index)
		recv_drop(n);            /* the log was faster */
	if (r->left != 0 && n->feed.applied >= r->left)
		recv_clean(n, r->coming || r->complete ? &r->id : NULL);
	recv_install(n);
	if (!n->feed.behind || n->feed.link == NULL || r->complete ||
	    (r->coming && mono_sub_ms(now, r->heard) < RECV_SILENT_MS))
		return;
	whom = recv_whom(n);
	recv_complain(n, whom);
	if (whom != 0)
		(void)peers_send(n->peers, whom, MSG_NO_peer_snapshot_want, &peer_snapshot_want_desc, &m);
}

/* What it has sent stays, and anybody may go on. */
void snap_recv_stop(struct raftd *n, uint64_t peer)
{
	if (n->snap.recv.from == peer)
		n->snap.recv.from = 0;
}

/*
 * A transfer that was under way when we stopped is gone on with when it is offered again. If the log
 * leads there meanwhile nobody offers it any more, and its file would stay: hence `left`.
 */
void snap_recv_open(struct raftd *n)
{
	n->snap.recv.left = recv_left(n, NULL);
}

/* What waits to be written is sent again: the file's length says from where. */
void snap_recv_close(struct raftd *n)
{
	recv_end(n);
	snap_writer_close(&n->snap.recv.writer);
}
