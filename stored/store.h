/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on this machine's disk: the right generation of the file, opened; transactions of the
 * state machine; compaction in small steps. Without links, so that tests can drive it.
 *
 * Nothing here gives an error back: what goes wrong is the machine's fault and ends the process
 * with a message that says what to do.
 */
#ifndef QUORATE_STORE_H
#define QUORATE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "mvcc/mvcc.h"
#include "mvcc/okv.h"
#include "stored/core/apply.h"
#include "stored/generation.h"

struct store_setup {
	const char *data_dir;            /* there already; the store is data_dir/store */
	const char *boot_id_file;        /* NULL: GENERATION_BOOT_ID_FILE; tests have their own */
	uint64_t cluster_id, node_id;
	uint64_t map_bytes;
};

struct store {
	char *dir;
	uint64_t map_bytes;
	struct generation_state generation;
	const char *begun;               /* why it was begun anew; NULL: it goes on */
	bool restored;                   /* it was begun from a snapshot */
	struct okv *db;
	struct mvcc_env *env;            /* over db, for views of this process */
	struct apply *apply;
	bool open;                       /* a transaction is under way */
	struct mvcc_state committed;     /* as of the last commit: what readers can see */
};

void store_open(struct store *s, const struct store_setup *setup);
/* Commits what is open, syncs everything, and marks the store as closed in an orderly way. */
void store_close(struct store *s);

void store_begin(struct store *s);                     /* unless one is under way */
void store_commit(struct store *s);
/* The next entry, in the transaction under way, or in a new one. The result lasts until the next. */
void store_apply(struct store *s, const struct log_entry *entry, struct apply_result *out);

/*
 * From now on the store is that generation, made whole by snap_install and newer than what is
 * there. No transaction is open, nobody of this process has a view.
 */
void store_switch(struct store *s, uint64_t generation);

/* It has been found to be damaged: the process ends, and the next start begins a new store. */
_Noreturn void store_damaged(struct store *s);

/* One bounded step in a transaction of its own; false if there was nothing to do. */
bool store_compact(struct store *s, size_t *removed);

#endif
