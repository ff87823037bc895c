/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the log made of arbitrary bytes, applied to a store in memory. Nothing may crash it,
 * and after all of them it must still be consistent. The first byte chooses:
 *   even  the rest is entries, each a 2-byte length and its payload
 *   odd   8 bytes of seed for random commands; the rest changes bytes of their encodings
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "mvcc/view.h"
#include "stored/core/apply.h"
#include "stored/core/hash.h"
#include "tests/lib/store_gen.h"

enum { FUZZ_ENTRIES = 40 };

struct store {
	struct okv *db;
	struct mvcc_env *env;
	struct apply *apply;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct store *s, struct bytes payload)
{
	struct log_entry e = {.index = apply_state(s->apply)->applied + 1, .term = 1,
			      .kind = LOG_ENTRY_COMMAND, .payload = payload};
	int64_t before = apply_state(s->apply)->revision;
	struct apply_result r;

	CHECK(apply_begin(s->apply) == ERR_OK);
	CHECK(apply_entry(s->apply, &e, &r) == ERR_OK);
	CHECK(apply_commit(s->apply) == ERR_OK);
	CHECK(apply_state(s->apply)->revision - before <= (r.error == ERR_OK && !r.rejected));
	CHECK(r.rejected == (r.gateway == 0));
}

static void feed_command(struct store *s, const struct command *c, struct cur *changes)
{
	struct buf b;

	buf_init(&b, 0);
	CHECK(msg_encode(&b, &command_desc, c) == ERR_OK);
	for (unsigned n = cur_left(changes) > 0 ? cur_u8(changes) % 4 : 0; n > 0 && cur_left(changes) >= 3; n--) {
		size_t at = (size_t)(cur_u8(changes) << 8 | cur_u8(changes)) % b.len;

		b.data[at] = cur_u8(changes);
	}
	feed(s, buf_bytes(&b));
	buf_free(&b);
}

static void feed_random(struct store *s, struct cur *c)
{
	struct arena arena;
	struct command cmd;
	struct gen g;

	gen_init(&g, cur_u64(c));
	arena_init(&arena, 64u << 20);
	for (uint64_t seq = 1; seq <= FUZZ_ENTRIES; seq++) {
		g.revision = apply_state(s->apply)->revision;
		g.compact_revision = apply_state(s->apply)->compact_revision;
		arena_reset(&arena);
		gen_command(&g, &arena, &cmd);
		cmd.gateway = 1;
		cmd.seq = seq;
		feed_command(s, &cmd, c);
	}
	arena_free(&arena);
	gen_free(&g);
}

static void feed_raw(struct store *s, struct cur *c)
{
	for (int i = 0; i < FUZZ_ENTRIES && cur_left(c) > 2; i++) {
		size_t len = (size_t)cur_u8(c) << 8 | cur_u8(c);

		feed(s, cur_take(c, len < cur_left(c) ? len : cur_left(c)));
	}
}

static void compact(struct store *s)
{
	size_t removed;

	while (apply_compacting(s->apply)) {
		CHECK(apply_begin(s->apply) == ERR_OK);
		CHECK(apply_compact_step(s->apply, 7, &removed) == ERR_OK);
		CHECK(apply_commit(s->apply) == ERR_OK);
	}
}

static void check_store(struct store *s, uint8_t hash[16])
{
	struct mvcc_span all = {bytes_of("\0", 1), bytes_of("\0", 1)};
	struct mvcc_scan *scan;
	struct store_hash h;
	struct mvcc_view *v;
	struct kv_pair pair;
	uint64_t keys = 0;
	int rc;

	CHECK(mvcc_view_begin(s->env, &v) == ERR_OK);
	CHECK(mvcc_scan_begin(v, &all, mvcc_view_info(v)->revision, &scan) == ERR_OK);
	while ((rc = mvcc_scan_next(scan, &pair)) == ERR_OK)
		keys++;
	CHECK(rc == ERR_NOT_FOUND && keys == mvcc_view_info(v)->keys);
	mvcc_scan_end(&scan);
	CHECK(store_hash_begin(&h, v, 0) == ERR_OK);
	while ((rc = store_hash_step(&h, v, 100)) == ERR_LIMIT)
		;
	CHECK(rc == ERR_OK);
	memcpy(hash, h.hash, 16);
	mvcc_view_end(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mvcc_identity id = {STORE_FORMAT, 1, 1, 1};
	struct cur c = cur_of(bytes_of(data, size)), none = cur_of(bytes_of(NULL, 0));
	struct command open = {.gateway = 1};
	uint8_t before[16], after[16], kind;
	struct store s;

	kind = cur_u8(&c);
	CHECK(okv_mem_open(&s.db) == ERR_OK);
	CHECK(apply_open(s.db, &id, &s.apply) == ERR_OK);
	s.env = mvcc_env_over(s.db);
	feed_command(&s, &open, &none);
	if (kind % 2)
		feed_random(&s, &c);
	else
		feed_raw(&s, &c);
	check_store(&s, before);
	compact(&s);
	check_store(&s, after);
	CHECK(memcmp(before, after, 16) == 0);
	apply_close(&s.apply);
	mvcc_close(&s.env);
	return 0;
}
