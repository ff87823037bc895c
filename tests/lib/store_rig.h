/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for tests: apply over a backend, with the commands wrapped into log entries, in
 * transactions of a chosen length, and restarts.
 */
#ifndef QUORATE_STORE_RIG_H
#define QUORATE_STORE_RIG_H

#include "mvcc/mvcc.h"
#include "mvcc/okv.h"
#include "stored/core/apply.h"

enum { RIG_GATEWAY = 77 };

struct rig {
	char dir[512];               /* "": in memory */
	struct okv *db;
	struct mvcc_env *env;
	struct apply *apply;
	bool open;                   /* a transaction is */
	uint64_t term;               /* of the next entry */
	uint64_t seq;                /* of the last command of RIG_GATEWAY */
	struct arena arena;          /* of the last result */
	struct buf entry, result;
	struct command_result r;
	struct apply_result outcome;
};

/* name: a directory below the case's own, or NULL for memory. Opens RIG_GATEWAY's session. */
void rig_open(struct rig *r, const char *name);
/* The same without a session. */
void rig_open_bare(struct rig *r, const char *name);
void rig_close(struct rig *r);
void rig_restart(struct rig *r);           /* commits first */
void rig_commit(struct rig *r);

/* The next entry of the log as it is, in an open transaction (one is begun, none is ended). */
void rig_entry(struct rig *r, uint64_t kind, struct bytes payload);
/* Encoded, applied, not committed; r->r is the decoded result, r->outcome what apply said. */
struct command_result *rig_command(struct rig *r, const struct command *c);
/* The next command of RIG_GATEWAY. */
struct command_result *rig_do(struct rig *r, struct command c);

/* A lessor's command, which has no result. */
void rig_lessor(struct rig *r, const struct command *c);
struct command_result *rig_grant(struct rig *r, int64_t id, int64_t ttl);
struct command_result *rig_revoke(struct rig *r, int64_t id);
/* Of the entry that rig_do or rig_lessor will be. */
uint64_t rig_next_index(const struct rig *r);
uint64_t rig_rows(struct rig *r, enum okv_table table);    /* commits first */

struct command_result *rig_put(struct rig *r, const char *key, const char *value);
struct command_result *rig_delete(struct rig *r, const char *key, const char *end);
struct command_result *rig_compact(struct rig *r, int64_t revision);
/* Gives back everything that can be; `rows` a step. */
void rig_compact_all(struct rig *r, size_t rows);

struct mvcc_view *rig_view(struct rig *r);     /* commits first */
/* The value of a key at a revision (0: latest) as text, "(none)" if it is not there, or an error's name. */
const char *rig_get(struct rig *r, const char *key, int64_t revision);
/* "a=1 b=2 ..." of a range. */
const char *rig_range(struct rig *r, const struct kv_range *range);
/* The store's hash at a revision, in steps of `rows`. */
void rig_hash(struct rig *r, int64_t revision, size_t rows, uint8_t hash[16]);

#endif
