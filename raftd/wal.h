/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raft log on disk: segment files to which batches of records are appended, each batch with
 * one write and one sync. The bytes are described in docs/log-format.md.
 *
 * One thread (the loop) calls all of this; a writer thread and a preparer thread do the disk's
 * work behind it. Nothing here waits for the disk except wal_open, wal_close, wal_sync_now and a
 * wal_read of entries older than the cache.
 *
 * The way of a change:
 *   wal_append_*()          into the gathering batch, readable at once, not durable
 *   wal_mark(w, seq)        "all appended so far is persist sequence seq"
 *   wal_kick(w)             the writer takes the batch now, or as soon as it is done with the last
 *   wal_event_fd() readable, then wal_collect(): seq is durable
 *
 * A failed write or sync is the end: nothing is known about the disk after it, so it is never
 * tried again. The process exits (fatal()); in synchronous mode the log is dead (ERR_IO).
 */
#ifndef QUORATE_WAL_H
#define QUORATE_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"

struct wal;
struct wal_io;   /* raftd/wal_io.h: the table of file operations */

enum wal_kind {
	WAL_NOOP = 1,      /* a new leader's first entry, no payload needed */
	WAL_COMMAND = 2    /* a command for the store */
	/* 3 to 255: the caller's own (membership changes); the log only keeps the byte */
};

struct wal_hard_state {
	uint64_t term;
	uint64_t vote;     /* node id, 0 = none */
};

struct wal_options {
	uint64_t cluster_id, node_id;   /* a log of another cluster or node is refused */
	bool create;               /* no log there: begin one (else ERR_NOT_FOUND) */
	bool synchronous;          /* no threads, no event fd: only wal_sync_now writes */
	/* 0 in these three: the limit of base/limits.h that has the name. */
	size_t segment_bytes;      /* of new segments; a multiple of 4 KiB */
	size_t batch_bytes;        /* also at most a segment less 8 KiB */
	size_t cache_bytes;        /* newest entries kept in memory */
	uint64_t salt;             /* 0 = from the system; else every run writes the same bytes */
	const struct wal_io *io;   /* NULL = the real files; borrowed until wal_close */
};

/* A stretch of entries of one term; the next run, or last_index, says where it ends. */
struct wal_term_run {
	uint64_t first_index, term;
};

struct wal_recovered {
	struct wal_hard_state hard;
	uint64_t first_index;           /* oldest entry held; last_index + 1 if there is none */
	uint64_t last_index;
	uint64_t prev_term;             /* of entry first_index - 1; 0 at the very beginning */
	uint64_t last_term;             /* of entry last_index */
	const struct wal_term_run *runs;   /* borrowed until the next call of any wal_ function */
	size_t nruns;
	uint64_t cut_bytes;             /* size of the torn batch that was cut off, 0 = none */
	size_t unread;                  /* older segments of which summaries were believed */
	bool created;
	/* wal_open failed: file, offset, what is wrong, what to do */
	char why[512];
};

/*
 * `dir` exists and belongs to this log alone (a lock file in it keeps a second opener out).
 * ERR_OK        *w is ready; all that `rec` says is durable
 * ERR_EXISTS    another process has it open
 * ERR_NOT_FOUND no log there and not options->create
 * ERR_CONFIG    a log of another cluster or node, or impossible options
 * ERR_CORRUPT   damage that no crash explains: acknowledged entries may be gone
 * ERR_VERSION   written by a newer format
 * ERR_IO        the machine's fault
 */
int wal_open(const char *dir, const struct wal_options *options, struct wal **w,
	     struct wal_recovered *rec);
void wal_close(struct wal **w);     /* writes and syncs what is gathered, stops the threads */
void wal_abandon(struct wal **w);   /* as a crash would: what is only gathered is forgotten */

/*
 * ERR_FULL: the gathering batch has no room; nothing was taken. Kick, wait for the event fd, go on.
 * ERR_LIMIT: the payload can never fit, or no snapshot has cut the log for a million terms.
 * ERR_IO: the log is dead (synchronous mode). Out-of-order indexes are the caller's bug: CHECK.
 */
int wal_append_hard_state(struct wal *w, struct wal_hard_state hard);
/* index == last_index + 1; the payload is copied. */
int wal_append_entry(struct wal *w, uint64_t index, uint64_t term, uint8_t kind,
		     struct bytes payload);
int wal_append_truncate(struct wal *w, uint64_t from);   /* forget entries >= from */
/* A snapshot replaces all entries, the next is index + 1. */
int wal_append_reset(struct wal *w, uint64_t index, uint64_t term);
size_t wal_room(struct wal *w);   /* largest payload that wal_append_entry takes now; 0 = full */

/*
 * All that was appended so far is persist sequence `seq` (never smaller than the last one).
 * Append the whole of one persist before its mark; ERR_FULL in between is harmless, since only
 * marked and synced work is reported. A mark with nothing new is durable with what came before.
 */
void wal_mark(struct wal *w, uint64_t seq);
void wal_kick(struct wal *w);

/* What the newest durable mark stood for when it was made. */
struct wal_durable {
	uint64_t seq;
	uint64_t last_index, last_term;
};

int wal_event_fd(const struct wal *w);   /* readable = call wal_collect; -1 in synchronous mode */

/* True if a mark has become durable since the last call. Also lets the cache let go: call it. */
bool wal_collect(struct wal *w, struct wal_durable *durable);

/* Writes and syncs all that is gathered, here and now. ERR_OK, or ERR_IO: the log is dead. */
int wal_sync_now(struct wal *w);

struct wal_entry {
	uint64_t index, term;
	uint8_t kind;
	struct bytes data;   /* borrowed, see wal_read */
};

/* A reader's list, reused from call to call. Start with {0}. */
struct wal_list {
	struct wal_entry *entries;
	size_t n, cap;
	uint8_t *cold;       /* what was read from disk */
	size_t cold_cap;
};

/*
 * Entries from `first` on, to `last` at most. May give fewer: stops at max_bytes of payload (the
 * first entry always comes), at max_entries, where the cache begins and at a segment's end. So
 * loop; n == 0 only if first > last_index. Not yet durable entries come too.
 * The bytes stay valid until the next wal_append_*, wal_collect, wal_sync_now, wal_close or
 * wal_read into the same list.
 * ERR_COMPACTED: first < first_index. ERR_CORRUPT, ERR_IO: wal_why() says what and where.
 */
int wal_read(struct wal *w, uint64_t first, uint64_t last, size_t max_bytes, size_t max_entries,
	     struct wal_list *out);
void wal_list_free(struct wal_list *list);

/* As appended, durable or not. first_index == last_index + 1 when empty. */
uint64_t wal_first_index(const struct wal *w);
uint64_t wal_last_index(const struct wal *w);

/*
 * Entries below `before_index` are in a durable snapshot: removes the segments that hold nothing
 * else. wal_first_index moves at once, the files go in the background.
 */
void wal_cut(struct wal *w, uint64_t before_index);

/*
 * About how many bytes of the durable log hold the entries from `index` on; and the other way
 * round: where the last so many bytes begin (the oldest entry if they are not so many).
 */
uint64_t wal_bytes_from(const struct wal *w, uint64_t index);
uint64_t wal_index_behind(const struct wal *w, uint64_t bytes);

enum wal_spare {
	WAL_SPARE_NONE,     /* about to be made */
	WAL_SPARE_MAKING,
	WAL_SPARE_READY,
	WAL_SPARE_FAILED    /* alarm: spare_error; tried again each second and when it is needed */
};

struct wal_status {
	uint64_t segments;              /* files in use, the spare not counted */
	uint64_t bytes;                 /* disk space of those */
	uint64_t first_index, last_index, durable_index;
	uint64_t segment_number, segment_offset;   /* where the next batch goes */
	uint64_t batches;               /* written since open */
	uint64_t batch_bytes;           /* their size with padding */
	uint64_t sync_p50_us, sync_p99_us, sync_max_us;   /* write + sync; newest 8,192 or more */
	uint64_t cached_entries, cached_bytes;
	uint64_t index_points;          /* sparse index rows in memory */
	uint64_t unread;                /* segments that the start believed and nobody has read yet */
	enum wal_spare spare;
	char spare_error[128];          /* also a failed removal of cut segments; "" = none */
};

void wal_status(struct wal *w, struct wal_status *st);
const char *wal_spare_name(enum wal_spare spare);
const char *wal_why(const struct wal *w);   /* text of the last ERR_CORRUPT or ERR_IO; "" = none */

#endif
