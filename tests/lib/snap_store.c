/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/snap_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "mvcc/view.h"
#include "tests/lib/tap.h"

enum { MAP_BYTES = 1 << 28 };

const char *snap_store_path(const char *name)
{
	static char p[8][600];
	static unsigned next;

	next = (next + 1) % 8;
	(void)snprintf(p[next], sizeof p[next], "%s/%s", tap_dir(), name);
	return p[next];
}

void snap_store_up_in(struct store *s, const char *data_dir, uint64_t node_id, const char *boot)
{
	struct store_setup setup = {.data_dir = data_dir, .cluster_id = 5, .node_id = node_id, .map_bytes = MAP_BYTES,
				    .boot_id_file = snap_store_path("boot")};
	FILE *f = fopen(setup.boot_id_file, "w");

	OK(f != NULL && fputs(boot, f) >= 0 && fclose(f) == 0);
	store_open(s, &setup);
}

void snap_store_up(struct store *s, uint64_t node_id, const char *boot)
{
	snap_store_up_in(s, tap_dir(), node_id, boot);
}

void snap_store_drop(struct store *s)
{
	if (s->open)
		store_commit(s);
	apply_close(&s->apply);
	mvcc_close(&s->env);
	free(s->dir);
}

static void apply_one_put(struct store *s, const char *key, const char *value)
{
	uint64_t index = apply_state(s->apply)->applied + 1;
	struct kv_put p = {.key = bytes_str(key), .value = bytes_str(value)};
	struct command c = {.gateway = 1, .seq = index - 1};
	struct log_entry e = {.index = index, .term = 3, .kind = LOG_ENTRY_COMMAND};
	struct apply_result r;
	struct buf b;

	buf_init(&b, 0);
	if (index > 1)
		c.put = &p;
	CHECK(msg_encode(&b, &command_desc, &c) == ERR_OK);
	e.payload = buf_bytes(&b);
	store_apply(s, &e, &r);
	CHECK(!r.rejected && r.error == ERR_OK);
	buf_free(&b);
}

void snap_store_put(struct store *s, const char *key, const char *value)
{
	if (s->committed.applied == 0)
		apply_one_put(s, "", "");       /* the session */
	apply_one_put(s, key, value);
	store_commit(s);
}

const char *snap_store_value(struct store *s, const char *key)
{
	static char text[64];
	struct kv_pair pair;
	struct mvcc_view *v = NULL;
	int rc;

	EQ_INT(mvcc_view_begin(s->env, &v), ERR_OK);
	rc = mvcc_get(v, bytes_str(key), mvcc_view_info(v)->revision, &pair);
	(void)snprintf(text, sizeof text, "%.*s", rc == ERR_OK ? (int)pair.value.len : 6,
		       rc == ERR_OK ? (const char *)pair.value.data : "(none)");
	mvcc_view_end(&v);
	return text;
}

struct snap_job snap_store_job(uint64_t node_id, uint64_t generation)
{
	return (struct snap_job){.data_dir = tap_dir(), .cluster_id = 5, .node_id = node_id,
				 .generation = generation, .map_bytes = MAP_BYTES};
}
