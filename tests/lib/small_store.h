/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in memory for tests of readers: commands are applied by stored's own code, views are
 * opened by the reader's.
 */
#ifndef QUORATE_TEST_SMALL_STORE_H
#define QUORATE_TEST_SMALL_STORE_H

#include "mvcc/view.h"
#include "proto/kv.h"
#include "stored/core/apply.h"

struct small_store {
	struct okv *db;
	struct apply *apply;
	struct mvcc_env *env;
	uint64_t index, seq;
	struct apply_result last;     /* of the last command; its bytes until the next one */
};

void small_store_open(struct small_store *s);
void small_store_close(struct small_store *s);
/* gateway and seq are filled in unless gateway is set. The encoded command_result. */
struct bytes small_store_do(struct small_store *s, struct command *cmd);
/* An entry as it stands in the log. */
struct bytes small_store_entry(struct small_store *s, struct bytes command);
void small_store_put(struct small_store *s, const char *key, const char *value);
void small_store_delete(struct small_store *s, const char *key, const char *range_end);
void small_store_compact(struct small_store *s, int64_t revision);   /* and gives the space back */
int64_t small_store_revision(const struct small_store *s);

#endif
