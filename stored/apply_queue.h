/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries that raftd has sent and that a turn of the loop had no time for. A thousand commands that
 * look at a hundred thousand keys each come in one message, and are half a minute of work: applied
 * in one turn they would silence every link of stored until all think it dead.
 */
#ifndef QUORATE_STORED_APPLY_QUEUE_H
#define QUORATE_STORED_APPLY_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/link_apply.h"

/* A message's entries on their way into the store. */
struct apply_run {
	const struct log_entry *v;
	size_t n, at;                    /* from `at` on they are to be applied */
	bool applied;                    /* one of them was: else raftd has sent only old ones */
};

struct apply_rest;

struct apply_queue {
	struct apply_rest *first, *last;
	size_t batches, bytes;           /* as raftd counts its window */
	uint64_t last_index;             /* of the newest entry, if there is one */
};

/* Copies what is left of it. ERR_LIMIT: more than raftd may have under way. */
int apply_queue_add(struct apply_queue *q, const struct apply_run *run);
struct apply_run *apply_queue_first(struct apply_queue *q);      /* NULL: none */
void apply_queue_pop(struct apply_queue *q);
void apply_queue_clear(struct apply_queue *q);

#endif
