/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster of real Raft cores in which nothing happens by itself: the script says which timer
 * fires, which message arrives and which disk syncs. What the cores do is written to `out`, a line
 * each, in the words of the paper. After every step figure 3.2 of the thesis is looked at (one
 * leader a term, no two nodes apply different entries): whatever breaks it ends the script.
 *
 * A node's log holds terms only, as in the paper's figures. A disk syncs at once unless it was
 * told to be slow. Entries of a REPLICATE are all sent at once.
 */
#ifndef QUORATE_SCRIPT_WORLD_H
#define QUORATE_SCRIPT_WORLD_H

#include "base/buf.h"
#include "raftd/core/raft.h"

enum { WORLD_ENTRIES = 256, WORLD_NAME = 8, WORLD_TERMS = 64, WORLD_READS = 32 };

struct world_log {                 /* what is, or will be, on a disk */
	uint64_t term, vote;
	uint64_t base, last;
	uint64_t terms[WORLD_ENTRIES];   /* terms[index]; terms[base] is the base's */
};

struct world_mail {                /* on its way */
	struct raft_msg m;
	uint64_t terms[WORLD_ENTRIES];
	uint64_t snapshot, snapshot_term;   /* not 0: a snapshot instead of a message */
};

struct world_node {
	char name[WORLD_NAME];
	struct raft *r;                  /* NULL: crashed */
	struct raft_effects fx;
	struct world_log mem, disk;
	uint64_t seq, durable_seq;
	bool slow;                       /* the disk syncs when told to */
	uint64_t applied;                /* survives a crash, as the store does */
	uint32_t starts;
	struct { struct raft_msg m; uint64_t need_seq; } held[WORLD_ENTRIES];
	size_t n_held;
	struct raft_effect grants[WORLD_ENTRIES];   /* REPLICATEs with entries, not yet sent */
	size_t n_grants;
};

enum world_read { WORLD_READ_NONE, WORLD_READ_WAITS, WORLD_READ_OK, WORLD_READ_FAILED };

struct world {
	struct buf out;
	bool terse;                      /* no messages, only what becomes of them */
	bool running;                    /* the cores exist: the logs can no longer be given */
	mono_t now;
	uint32_t n;
	struct world_node node[LIMIT_NODES + 1];   /* [1..n] */
	bool cut[LIMIT_NODES + 1][LIMIT_NODES + 1];
	struct world_mail *mail;
	size_t n_mail, mail_cap;
	uint64_t leader_of[WORLD_TERMS]; /* by term */
	uint64_t applied[WORLD_ENTRIES]; /* the term of what any node applied there */
	struct { enum world_read state; uint64_t index; } reads[WORLD_READS];
	uint64_t n_reads;
	char failure[300];               /* "": none; then nothing runs any more */
};

/* world.c */
struct world *world_new(void);
void world_free(struct world **w);
void world_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_add(struct world *w, const char *name);
void world_start(struct world *w);               /* the first time only */
void world_crash(struct world *w, uint64_t id);
void world_restart(struct world *w, uint64_t id);
int world_step(struct world *w, uint64_t id, struct raft_event ev);   /* `now` is filled in */
void world_sync(struct world *w, uint64_t id);
struct raft_status world_status(struct world *w, uint64_t id);

/* world_mail.c */
void world_send(struct world *w, const struct raft_msg *m);
void world_append(struct world *w, const struct world_node *n, const struct raft_effect *e);
void world_snapshot(struct world *w, uint64_t from, uint64_t to);
void world_lose(struct world *w, uint64_t id);   /* all that is on its way from and to it */
struct world_mail world_take(struct world *w, size_t at);
void world_deliver(struct world *w, const struct world_mail *mail);
void world_settle(struct world *w);              /* until nothing is on its way */
void world_wait(struct world *w, uint32_t ms, bool deliver);

/* say.c: what is written to `out` */
void say(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_mail(struct world *w, const char *prefix, const struct world_mail *m);
void say_effect(struct world *w, const struct world_node *n, const struct raft_effect *e);
void say_refusal(struct world *w, uint64_t id, const struct raft_status *before);
void say_node(struct world *w, const struct world_node *n);
void say_terms(struct buf *b, const struct world_log *log, const struct world_log *disk);

/* command.c: one line of a script */
void command_run(struct world *w, const char *line);

#endif
