/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction between its begin and its commit: what it has read, what it will write. Both are
 * bounded by what one transaction of the store may hold.
 */
#ifndef QUORATE_RECIPES_STM_INT_H
#define QUORATE_RECIPES_STM_INT_H

#include "base/limits.h"
#include "client/recipes/recipe.h"

#define STM_KEYS LIMIT_TXN_OPS         /* read; and as many written */

struct stm_read {
	struct quorate_bytes key;      /* owned */
	const struct quorate_kv *kv;   /* NULL: there is no such key; in `own`, or in what was fetched ahead */
	struct quorate_result *own;
	bool seen;                     /* the function has asked for it: else only fetched ahead */
};

struct stm_write {
	bool put;                      /* else delete */
	struct quorate_kv kv;          /* key and value are behind the struct */
};

struct quorate_stm {
	struct quorate *q;
	enum quorate_isolation isolation;
	mono_t deadline;
	int64_t pin;                   /* reads are of this revision; 0: the first one will say */
	struct quorate_error error;    /* code not OK: doomed, for this reason... */
	bool stale;                    /* ...which another try may not meet */

	struct stm_read reads[STM_KEYS];
	unsigned n_reads;
	struct quorate_result *ahead;  /* a transaction of reads: what was fetched ahead */
	struct stm_write *writes[STM_KEYS];
	unsigned n_writes;

	/* Of the request being made: too much for the stack of somebody else's thread. */
	struct quorate_compare compares[2 * STM_KEYS];
	struct quorate_op then[STM_KEYS], or_else[STM_KEYS];
};

/* What is left of the whole time, as a call's timeout_ms; 0: nothing, and t->error says so. */
int64_t stm_left_ms(struct quorate_stm *t);

/* ---- stm_sets.c: memory only ---- */

struct stm_read *stm_read_find(struct quorate_stm *t, struct quorate_bytes key);
struct stm_write *stm_write_find(struct quorate_stm *t, struct quorate_bytes key);
/* A new one, of a copy of the key, without kv. NULL: no memory, or too many; t->error says so. */
struct stm_read *stm_read_add(struct quorate_stm *t, struct quorate_bytes key);
/*
 * *r answers a GET for each read, in order: they are fetched ahead now, none is seen. Takes *r.
 */
void stm_read_ahead(struct quorate_stm *t, struct quorate_result **r);
void stm_drop_unseen(struct quorate_stm *t);
/* A new write in the place of the one of the same key. OK, NO_MEMORY, TOO_MANY_OPS: in t->error. */
int stm_write_set(struct quorate_stm *t, bool put, struct quorate_bytes key, struct quorate_bytes value,
		  int64_t lease);
void stm_forget_writes(struct quorate_stm *t);
void stm_forget_reads(struct quorate_stm *t);

/* ---- stm_commit.c ---- */

/*
 * QUORATE_OK and *done: it has taken effect, or there was nothing to do; *r then says how, or is
 * NULL. QUORATE_OK and not *done: what was read has changed; the reads are made anew and fetched
 * ahead. Else t->error.
 */
int stm_commit(struct quorate_stm *t, bool *done, struct quorate_result **r);

#endif
