/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/store.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mono.h"
#include "mvcc/view.h"
#include "rt/config.h"
#include "rt/snapname.h"
#include "stored/snap_file.h"

enum { STORE_COMPACT_ROWS = 100, STORE_COMPACT_US = 2000 };

_Noreturn static void store_fatal(int rc, const char *what)
{
	switch (rc) {
	case ERR_FULL:
		fatal("raise store_map_gb in the configuration and start stored again: nothing is lost",
		      "the store has no room left in its map: cannot %s", what);
	case ERR_NO_SPACE:
		fatal("make room on the disk of data_dir and start stored again: nothing is lost",
		      "the disk is full: cannot %s", what);
	case ERR_IO:             /* LMDB calls a short write this, and only a full disk writes short */
		fatal("look at the disk of data_dir (full?) and the kernel's log, then start stored again: nothing is "
		      "lost", "the disk has failed or is full: cannot %s: %s", what, err_text(rc));
	case ERR_CORRUPT:
		fatal("the disk or the memory of this machine is in doubt: test both; then delete data_dir/store and "
		      "start stored again: it builds the store anew from the log",
		      "the store is damaged: cannot %s", what);
	default:
		fatal("see the lines above, and docs/failure-modes.md, stored", "cannot %s: %s", what, err_text(rc));
	}
}

/* ---- opening ---- */

static void store_make_dir(struct store *s, const struct store_setup *setup)
{
	char *snap = snapname_dir(setup->data_dir);

	s->dir = config_path(setup->data_dir, "store");
	if ((mkdir(s->dir, 0700) != 0 && errno != EEXIST) || (mkdir(snap, 0700) != 0 && errno != EEXIST))
		fatal("is data_dir there, and ours?", "cannot make %s and %s: %s", s->dir, snap, strerror(errno));
	/* A helper may have been killed between renaming a snapshot and syncing that. */
	if (generation_sync_dir(snap) != ERR_OK || generation_sync_dir(setup->data_dir) != ERR_OK)
		fatal("is data_dir there, and ours?", "cannot sync %s: %s", setup->data_dir, strerror(errno));
	mem_free(snap);
}

/* What STATE says of an existing store; NULL: it can be gone on with. */
static const char *store_distrust(struct store *s, const struct store_setup *setup, const char *boot_id)
{
	struct generation_state *g = &s->generation;
	int rc = generation_read(s->dir, g);

	if (rc == ERR_IO)
		fatal("see that data_dir belongs to the user of stored", "cannot read %s/STATE: %s", s->dir,
		      strerror(errno));
	if (rc == ERR_NOT_FOUND)
		return "there is none yet";
	if (rc == ERR_VERSION)
		return "it is of another format";
	if (rc != ERR_OK)
		return "its STATE file is damaged";
	if (g->cluster_id != setup->cluster_id || g->node_id != setup->node_id)
		fatal("use the data_dir of this node",
		      "%s belongs to node %" PRIu64 " of cluster %" PRIu64, s->dir, g->node_id, g->cluster_id);
	if (!g->clean && strcmp(g->boot_id, GENERATION_DAMAGED) == 0)
		return "it was found to be damaged";
	if (!g->clean && strcmp(g->boot_id, boot_id) != 0)
		return "the operating system has started anew and stored was not stopped in an orderly way before";
	return generation_exists(s->dir, g->generation) ? NULL : "its file is gone";
}

static int store_try(struct store *s)
{
	const struct generation_state *g = &s->generation;
	struct mvcc_identity id = {STORE_FORMAT, g->cluster_id, g->node_id, g->generation};
	struct okv_lmdb_setup lmdb = {.map_bytes = s->map_bytes, .write = true};
	struct buf dir;
	int rc;

	buf_init(&dir, 0);
	mvcc_generation_dir(&dir, s->dir, g->generation);
	buf_u8(&dir, 0);
	lmdb.dir = (const char *)dir.data;
	rc = okv_lmdb_open(&lmdb, &s->db);
	if (rc == ERR_OK)
		rc = apply_open(s->db, &id, &s->apply);
	if (rc == ERR_OK)
		rc = generation_sync_dir(lmdb.dir);
	if (rc != ERR_OK)
		okv_close(&s->db);
	buf_free(&dir);
	return rc;
}

static void store_write_state(struct store *s, const char *what)
{
	if (generation_write(s->dir, &s->generation) != ERR_OK)
		fatal("see that the disk of data_dir works and has room", "cannot %s: %s/STATE: %s", what, s->dir,
		      strerror(errno));
}

/*
 * Before the first change: from here on a crash of the system makes the file worthless. The state
 * is on disk before anything in the file moves.
 */
static void store_mark_open(struct store *s, const char *boot_id)
{
	struct generation_state *g = &s->generation;

	if (!g->clean && strcmp(g->boot_id, boot_id) == 0)
		return;
	g->clean = false;
	memcpy(g->boot_id, boot_id, strlen(boot_id) + 1);
	store_write_state(s, "mark the store as open");
}

_Noreturn void store_damaged(struct store *s)
{
	struct generation_state *g = &s->generation;

	g->clean = false;
	memcpy(g->boot_id, GENERATION_DAMAGED, sizeof GENERATION_DAMAGED);
	store_write_state(s, "mark the store as damaged");
	fatal("the disk or the memory of this machine is in doubt: test both. Nothing is lost: when stored is started "
	      "again it builds the store anew from its newest snapshot and the log",
	      "the store is damaged: see the line above");
}

/* A snapshot is newer than its store only if the store was to become it (snap_install). */
static bool store_is_outdated(const struct store *s, const struct store_setup *setup)
{
	struct snap_info list[SNAP_LIST_MAX];

	return snap_list(setup->data_dir, setup->cluster_id, list) > 0 &&
	       list[0].index > apply_state(s->apply)->applied;
}

/* The existing file; false: it is not to be gone on with, *why says why not. */
static bool store_go_on(struct store *s, const struct store_setup *setup, const char *boot_id, const char **why)
{
	int rc;

	*why = store_distrust(s, setup, boot_id);
	if (*why != NULL)
		return false;
	store_mark_open(s, boot_id);
	rc = store_try(s);
	if (rc == ERR_OK && !store_is_outdated(s, setup))
		return true;
	if (rc == ERR_OK) {
		apply_close(&s->apply);
		okv_close(&s->db);
		*why = "a snapshot is newer: it was being installed";
		return false;
	}
	if (rc == ERR_IO || rc == ERR_NO_MEMORY || rc == ERR_NO_SPACE || rc == ERR_FULL)
		store_fatal(rc, "open the store");
	*why = rc == ERR_VERSION ? "it is of another format" :
	       rc == ERR_CONFIG  ? "its file is of another store" :
				   "its file is damaged";
	log_error("the store cannot be gone on with dir=%s generation=%" PRIu64 " error=%s", s->dir,
		  s->generation.generation, err_name(rc));
	return false;
}

/* What is begun anew makes all others worthless. Only then are they waited for: see snapshots.h. */
static bool store_make_room(const struct store *s)
{
	uint64_t keep = s->generation.generation;

	if (!generation_has_others(s->dir, keep))
		return false;
	log_warn("the disk is full: stores that are no longer used are removed before the new one is made");
	generation_remove_others(s->dir, keep);
	return true;
}

/* A half-made store must not keep the room that raftd's log needs. */
_Noreturn static void store_no_room(const struct store *s, int rc)
{
	(void)generation_make(s->dir, s->generation.generation);
	store_fatal(rc, "make the store from a snapshot");
}

/* The newest snapshot that is good; a bad one is named and set aside. False: an empty directory. */
static bool store_restore(struct store *s, const struct store_setup *setup)
{
	struct snap_job job = {.data_dir = setup->data_dir, .cluster_id = setup->cluster_id,
			       .node_id = setup->node_id, .generation = s->generation.generation,
			       .map_bytes = setup->map_bytes};
	struct snap_info list[SNAP_LIST_MAX], info;
	size_t n = snap_list(setup->data_dir, setup->cluster_id, list);

	for (size_t i = 0; i < n; i++) {
		char *path = snapname_path(setup->data_dir, list[i].index, list[i].data_crc);
		int rc = snap_restore(&job, path, &info);

		if (rc == ERR_NO_SPACE && store_make_room(s))
			rc = snap_restore(&job, path, &info);
		if (rc == ERR_OK)
			log_info("store made from a snapshot file=%s index=%" PRIu64 " revision=%" PRId64, path,
				 info.index, info.revision);
		else if (rc == ERR_NO_SPACE || rc == ERR_FULL || rc == ERR_NO_MEMORY)
			store_no_room(s, rc);
		else
			log_error("a snapshot is damaged and not used file=%s error=\"%s\"", path, err_text(rc));
		mem_free(path);
		if (rc == ERR_OK)
			return true;
		if (rc == ERR_CORRUPT)
			snap_set_aside(setup->data_dir, &list[i]);
		if (generation_make(s->dir, s->generation.generation) != ERR_OK)
			fatal("see that data_dir belongs to the user of stored", "cannot empty a new store in %s: %s",
			      s->dir, strerror(errno));
	}
	return false;
}

static void store_begin_anew(struct store *s, const struct store_setup *setup, const char *boot_id)
{
	struct generation_state *g = &s->generation;
	uint64_t known = g->generation, highest;
	int rc = generation_highest(s->dir, &highest);

	if (rc == ERR_OK) {
		*g = (struct generation_state){.format = STORE_FORMAT, .cluster_id = setup->cluster_id,
			.node_id = setup->node_id, .generation = (known > highest ? known : highest) + 1};
		memcpy(g->boot_id, boot_id, strlen(boot_id) + 1);
		rc = generation_make(s->dir, g->generation);
	}
	if (rc != ERR_OK)
		fatal("see that data_dir belongs to the user of stored", "cannot make a new store in %s: %s", s->dir,
		      strerror(errno));
	s->restored = store_restore(s, setup);
	rc = store_try(s);
	if (rc != ERR_OK)
		store_fatal(rc, "make a new store");
	store_write_state(s, "begin a new store");
}

void store_open(struct store *s, const struct store_setup *setup)
{
	const char *boot_file = setup->boot_id_file ? setup->boot_id_file : GENERATION_BOOT_ID_FILE;
	char boot_id[GENERATION_BOOT_ID_MAX + 1];

	*s = (struct store){.map_bytes = setup->map_bytes};
	if (generation_boot_id(boot_file, boot_id) != ERR_OK)
		fatal("stored must know whether the system has been restarted: mount /proc",
		      "cannot read %s", boot_file);
	store_make_dir(s, setup);
	if (!store_go_on(s, setup, boot_id, &s->begun))
		store_begin_anew(s, setup, boot_id);
	s->env = mvcc_env_over(s->db);
	s->committed = *apply_state(s->apply);
	if (s->begun != NULL)
		log_info("store begun anew%s, to be filled from the log generation=%" PRIu64 " reason=\"%s\"",
			 s->restored ? " from a snapshot" : "", s->generation.generation, s->begun);
	log_info("store opened dir=%s generation=%" PRIu64 " applied=%" PRIu64 " revision=%" PRId64
		 " keys=%" PRIu64, s->dir, s->generation.generation, s->committed.applied,
		 s->committed.revision, s->committed.keys);
}

void store_switch(struct store *s, uint64_t generation)
{
	int rc;

	CHECK(!s->open && generation > s->generation.generation);
	apply_close(&s->apply);
	mvcc_close(&s->env);
	s->db = NULL;
	s->generation.generation = generation;
	s->generation.clean = false;
	rc = store_try(s);
	if (rc != ERR_OK)
		store_fatal(rc, "open the store made from a snapshot");
	store_write_state(s, "go on with the store made from a snapshot");
	s->env = mvcc_env_over(s->db);
	s->committed = *apply_state(s->apply);
	s->begun = "a snapshot of another node was installed";
	s->restored = true;
	log_info("store is now a snapshot generation=%" PRIu64 " applied=%" PRIu64 " revision=%" PRId64, generation,
		 s->committed.applied, s->committed.revision);
}

void store_close(struct store *s)
{
	int rc;

	if (s->open)
		store_commit(s);
	apply_close(&s->apply);
	rc = okv_sync(s->db);
	if (rc == ERR_OK) {
		s->generation.clean = true;
		store_write_state(s, "mark the store as closed");
	} else {
		log_error("the store could not be synced: it will be built anew after a restart of the system "
			  "error=%s", err_name(rc));
	}
	mvcc_close(&s->env);     /* and the database with it */
	s->db = NULL;
	mem_free(s->dir);
}

/* ---- transactions ---- */

void store_begin(struct store *s)
{
	int rc;

	if (s->open)
		return;
	rc = apply_begin(s->apply);
	if (rc != ERR_OK)
		store_fatal(rc, "begin a transaction");
	s->open = true;
}

void store_commit(struct store *s)
{
	int rc;

	CHECK(s->open);
	rc = apply_commit(s->apply);
	if (rc != ERR_OK)
		store_fatal(rc, "commit a transaction");
	s->open = false;
	s->committed = *apply_state(s->apply);
}

void store_apply(struct store *s, const struct log_entry *entry, struct apply_result *out)
{
	int rc;

	store_begin(s);
	rc = apply_entry(s->apply, entry, out);
	if (rc != ERR_OK)
		store_fatal(rc, "apply a command");
	if (out->rejected)
		log_error("an entry of the log makes no sense and was skipped, as on every node index=%" PRIu64
			  " term=%" PRIu64 " kind=%" PRIu64 " bytes=%zu", entry->index, entry->term, entry->kind,
			  entry->payload.len);
}

bool store_compact(struct store *s, size_t *removed)
{
	mono_t until = mono_add_us(mono_now(), STORE_COMPACT_US);

	*removed = 0;
	CHECK(!s->open);
	if (!apply_compacting(s->apply))
		return false;
	store_begin(s);
	do {
		size_t n;
		int rc = apply_compact_step(s->apply, STORE_COMPACT_ROWS, &n);

		if (rc != ERR_OK)
			store_fatal(rc, "compact");
		*removed += n;
	} while (*removed + STORE_COMPACT_ROWS <= LIMIT_COMPACT_STEP_ROWS && apply_compacting(s->apply) &&
		 mono_before(mono_now(), until));
	store_commit(s);
	return true;
}
