/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/small_store.h"

#include <stdlib.h>

#include "base/err.h"
#include "tests/lib/tap.h"

enum { SMALL_GATEWAY = 424242 };

struct bytes small_store_entry(struct small_store *s, struct bytes command)
{
	struct log_entry e = {++s->index, 1, LOG_ENTRY_COMMAND, command};

	EQ_INT(apply_begin(s->apply), ERR_OK);
	EQ_INT(apply_entry(s->apply, &e, &s->last), ERR_OK);
	EQ_INT(apply_commit(s->apply), ERR_OK);
	return s->last.result;
}

struct bytes small_store_do(struct small_store *s, struct command *cmd)
{
	struct buf b = {0};
	struct bytes result;

	if (cmd->gateway == 0) {
		cmd->gateway = SMALL_GATEWAY;
		cmd->seq = ++s->seq;
	}
	EQ_INT(msg_encode(&b, &command_desc, cmd), ERR_OK);
	result = small_store_entry(s, buf_bytes(&b));
	buf_free(&b);
	return result;
}

void small_store_open(struct small_store *s)
{
	static const struct mvcc_identity id = {STORE_FORMAT, 1, 1, 1};
	struct command open = {.gateway = SMALL_GATEWAY};

	memset(s, 0, sizeof *s);
	EQ_INT(okv_mem_open(&s->db), ERR_OK);
	EQ_INT(apply_open(s->db, &id, &s->apply), ERR_OK);
	s->env = mvcc_env_over(s->db);
	(void)small_store_do(s, &open);
}

void small_store_close(struct small_store *s)
{
	apply_close(&s->apply);
	free(s->env);
	okv_close(&s->db);
}

void small_store_put(struct small_store *s, const char *key, const char *value)
{
	struct kv_put put = {.key = bytes_str(key), .value = bytes_str(value)};

	(void)small_store_do(s, &(struct command){.put = &put});
	EQ_INT(s->last.error, ERR_OK);
}

void small_store_delete(struct small_store *s, const char *key, const char *range_end)
{
	struct kv_delete del = {.key = bytes_str(key), .range_end = bytes_str(range_end)};

	(void)small_store_do(s, &(struct command){.del = &del});
	EQ_INT(s->last.error, ERR_OK);
}

void small_store_compact(struct small_store *s, int64_t revision)
{
	struct kv_compact compact = {.revision = revision};
	size_t removed;

	(void)small_store_do(s, &(struct command){.compact = &compact});
	EQ_INT(s->last.error, ERR_OK);
	while (apply_compacting(s->apply)) {
		EQ_INT(apply_begin(s->apply), ERR_OK);
		EQ_INT(apply_compact_step(s->apply, 100, &removed), ERR_OK);
		EQ_INT(apply_commit(s->apply), ERR_OK);
	}
}

int64_t small_store_revision(const struct small_store *s)
{
	return apply_state(s->apply)->revision;
}
