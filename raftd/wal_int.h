/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raft log's inside: who owns what.
 *
 *   loop      struct wal but for the two below: state (as appended), cache, points and segments
 *             (as durable and collected), the list of reads
 *   writer    struct wal_tail: the end of the log. In synchronous mode the loop is the writer.
 *   lock      struct wal_shared: the two batch buffers, news from the writer, the spare segment
 *
 * The preparer owns nothing: it makes a file and hands it over under the lock.
 */
#ifndef QUORATE_WAL_INT_H
#define QUORATE_WAL_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/mono.h"
#include "raftd/wal.h"
#include "raftd/wal_cache.h"
#include "raftd/wal_format.h"
#include "raftd/wal_io.h"
#include "raftd/wal_points.h"
#include "raftd/wal_scan.h"
#include "raftd/wal_state.h"
#include "raftd/wal_sum.h"

struct wal_why {
	char text[512];
};

void wal_why_set(struct wal_why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A segment file that is open, made or found. */
struct wal_file {
	int fd;                  /* -1 = none */
	struct wal_header header;
};

/* A batch that gathers or is being written. Space for its BATCH record is kept at the front. */
struct wal_pack {
	uint8_t *data;
	uint32_t len;            /* WAL_BATCH_HEAD when empty */
	uint32_t records;
	struct wal_segment_head start;   /* before its first record; prev_end, prev_crc unused */
	uint64_t last_index;     /* of the log behind its last record */
	uint64_t min_from;       /* smallest index its truncations touch; UINT64_MAX = none */
	bool marked;
	struct wal_durable mark;
};

/* What a durable batch changes in the index, in the order of its records. */
enum wal_op_type { WAL_OP_POINT, WAL_OP_TRUNCATE, WAL_OP_SEGMENT };

struct wal_op {
	enum wal_op_type type;
	/* TRUNCATE: only index, the first to go. SEGMENT: segment, and offset is prev_end. */
	struct wal_point point;
	uint32_t size, seed;     /* SEGMENT */
};

struct wal_ops {
	struct wal_op *v;
	size_t n, cap;
};

void wal_ops_add(struct wal_ops *ops, const struct wal_op *op);
void wal_ops_free(struct wal_ops *ops);

/* From the writer to the loop, gathered until wal_collect. */
struct wal_news {
	bool any;                /* a batch has become durable */
	bool marked;             /* and a mark */
	struct wal_durable mark;
	struct wal_ops ops;
	uint32_t end;            /* durable end of the newest segment */
	uint64_t last_index;     /* of the durable log */
};

#define WAL_HIST_BUCKETS 256u
#define WAL_HIST_WINDOW 8192u    /* newest samples: between one and two windows */

struct wal_hist {
	uint32_t count[2][WAL_HIST_BUCKETS];   /* [0] fills, [1] is the window before */
	uint64_t max_us[2];
	uint32_t n;
};

void wal_hist_add(struct wal_hist *h, uint64_t us);
uint64_t wal_hist_quantile(const struct wal_hist *h, unsigned percent);

/* The writer's: where the next batch goes. */
struct wal_tail {
	struct wal_file file;
	uint32_t offset;
	uint32_t chain;          /* checksum of the last record */
	uint64_t number;         /* of the next batch */
	uint64_t point_offset;   /* of the last point in this segment */
	bool jump;               /* the next entry must become a jump point */
	struct wal_sum sum;      /* of this segment so far */
	struct wal_why why;
};

struct wal_shared {
	pthread_mutex_t lock;
	pthread_cond_t work;     /* for the writer: pending or stop */
	pthread_cond_t idle;     /* for wal_sync_now: the writer has nothing */
	pthread_cond_t prepare;  /* for the preparer: spare wanted, removal wanted, stop_spare */
	pthread_cond_t spare_changed;   /* for the writer */
	bool stop, stop_spare;
	bool pending;            /* kicked */
	bool busy;               /* `flight` is being written */
	struct wal_pack gather, flight;
	struct wal_news news;
	struct wal_hist hist;
	uint64_t batches, batch_bytes;
	/* spare */
	enum wal_spare spare;
	struct wal_file spare_file;   /* when READY */
	struct wal_file spare_found;  /* by its summary at the start: to be looked at, then READY */
	uint64_t spare_next;     /* number of the next segment to be made */
	bool rolling;            /* the last spare was taken, its first batch is not durable yet */
	struct wal_why spare_why;
	struct wal_sum sealed;   /* by the writer, and its summary is still to be written: */
	bool sealed_any;
	size_t unread;        /* segments that the start believed and nobody has read yet */
	/* removal: segments [oldest, keep) */
	uint64_t oldest, keep;
	bool remove_stuck;       /* it failed; the next cut tries again */
	struct wal_why remove_why;
};

/* What the start believed of sealed segments, to be read when there is time. The preparer's. */
struct wal_believed {
	uint64_t number;
	uint32_t end, crc;
};

struct wal_check {
	struct wal_believed *v;
	size_t n, next;
	struct wal_file file;    /* of v[next], if it is being read */
	struct wal_scan scan;
	struct wal_why why;
};

struct wal_segment {
	uint64_t number;
	uint32_t size, used, seed;   /* used: end of its durable batches */
};

struct wal {
	const struct wal_io *io;
	char *dir;
	struct wal_options options;
	uint32_t batch_max;      /* bytes of a batch with padding */
	int lock_fd, event_fd;
	bool dead;               /* synchronous mode: a write has failed */
	bool threads;            /* the writer runs */
	bool preparer_runs;
	atomic_bool stopping;    /* a segment being made is not worth finishing */
	atomic_bool hurry;       /* the writer waits for it */
	pthread_t writer, preparer;
	struct wal_state state;
	struct wal_cache cache;
	struct wal_points points;
	struct wal_segment *segments;   /* ascending, contiguous; the last is the tail's */
	size_t nsegments, segments_cap;
	uint64_t durable_index;  /* last entry of the durable log, as collected */
	uint64_t marked_seq;
	struct wal_file cold;    /* the segment last read from */
	struct wal_why why;
	struct wal_ops ops_back; /* swapped with news.ops */
	struct wal_tail tail;
	struct wal_check check;
	bool boot_known;
	uint8_t boot[WAL_BOOT_BYTES];
	struct wal_shared sh;
};

/* wal_segment.c: files. All set `why` unless they give ERR_OK. */
void wal_path(const struct wal *w, char *path, size_t cap, const char *name);
#define WAL_PATH_MAX 4352u
void wal_header_init(const struct wal *w, uint64_t number, struct wal_header *h);
/* ERR_IO: not made, may be tried again. ERR_INTERNAL: the directory's state is not known, stop. */
int wal_segment_make(const struct wal *w, uint64_t number, struct wal_file *file,
		     struct wal_why *why);
int wal_segment_open(const struct wal *w, uint64_t number, struct wal_file *file,
		     struct wal_why *why);
/* Says where and what to do; ERR_CORRUPT. The next start will read that segment. */
int wal_damaged(const struct wal *w, struct wal_why *why, uint64_t number, uint64_t offset,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));
int wal_segment_remove(const struct wal *w, uint64_t first, uint64_t end, struct wal_why *why);
void wal_file_close(const struct wal *w, struct wal_file *file);
/* 0, -errno, or -ENODATA */
int wal_read_full(const struct wal *w, int fd, uint8_t *to, size_t n, uint64_t offset);

/* wal_known.c: summaries on disk. */
bool wal_known_read(const struct wal *w, const struct wal_file *file, struct wal_sum *s);
void wal_known_write(const struct wal *w, struct wal_sum *s);   /* sets s->boot */
void wal_known_write_unused(const struct wal *w, const struct wal_header *h,
			    const struct wal_stamp *stamp);
int wal_known_remove(const struct wal *w, uint64_t number);     /* 0, also if there is none; -errno */

/* wal_check.c: what the start believed. ERR_OK; else why: it is damaged or cannot be read. */
struct wal_reader {
	const struct wal *w;
	int fd;
};

struct wal_source wal_source_of(struct wal_reader *r);
int wal_check_unused(const struct wal *w, const struct wal_file *file, struct wal_why *why);
int wal_check_slice(struct wal *w, uint64_t oldest);
void wal_check_free(struct wal *w);

/* wal_writer.c: batches. ERR_OK, or ERR_IO with tail.why: nothing may be written any more. */
void wal_pack_init(struct wal_pack *p, uint32_t batch_max);
void wal_pack_clear(struct wal_pack *p);
void wal_pack_free(struct wal_pack *p);
int wal_tail_begin(struct wal *w, const struct wal_segment_head *head, struct wal_ops *ops);
int wal_tail_write(struct wal *w, struct wal_pack *p, struct wal_ops *ops);
void wal_tail_index(struct wal_tail *t, const uint8_t *data, const struct wal_batch *b,
		    struct wal_ops *ops);
void wal_tail_seal(struct wal_tail *t, const struct wal_stamp *stamp);
bool wal_flight_take(struct wal_shared *sh);
/* Writes `flight`, publishes, and takes the next one if there was a kick meanwhile. */
int wal_flight_write(struct wal *w);

/* wal_spare.c: the next segment, and removal of old ones. */
int wal_spare_take(struct wal *w, struct wal_file *file);   /* for the writer; waits */
/* Its first batch is durable, which seals the segment before. */
void wal_spare_used(struct wal *w, struct wal_sum *sealed);
void wal_spare_work(struct wal *w);   /* synchronous mode: what the preparer would do */
void *wal_spare_main(void *wal);

/* wal_recover.c */
int wal_recover(struct wal *w, struct wal_recovered *rec);

/* wal_log.c */
void wal_ops_apply(struct wal *w, const struct wal_ops *ops);

/* wal_thread.c */
void wal_shared_init(struct wal *w);
void wal_shared_free(struct wal *w);
int wal_threads_start(struct wal *w);
void wal_threads_stop(struct wal *w);
void wal_wake(const struct wal *w);

#endif
