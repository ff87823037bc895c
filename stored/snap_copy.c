/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a snapshot from a store that others use, and a store from a snapshot. LMDB writes its copy
 * into a pipe; what comes out is checksummed, paced and written here, in one pass.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mono.h"
#include "mvcc/mvcc.h"
#include "mvcc/okv.h"
#include "mvcc/view.h"
#include "rt/config.h"
#include "rt/snapname.h"
#include "stored/generation.h"
#include "stored/snap_check.h"
#include "stored/snap_file.h"

enum { SNAP_PART_BYTES = 256 * 1024, SNAP_WRITEOUT_BYTES = 8 * 1024 * 1024 };

/* ---- bytes ---- */

static int io_error(void)
{
	return errno == ENOSPC || errno == EDQUOT ? ERR_NO_SPACE : ERR_IO;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return io_error();
		p += n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

static int sync_file(int fd)
{
	return fsync(fd) == 0 ? ERR_OK : io_error();
}

/* A stretch of bytes on its way: counted, checksummed, and no faster than allowed. */
struct flow {
	uint64_t bytes, bytes_per_s;
	uint32_t crc;
	mono_t began;
};

static void flow_pace(const struct flow *f)
{
	int64_t due_ms, ahead_ms;

	if (f->bytes_per_s == 0)
		return;
	due_ms = (int64_t)(f->bytes * 1000 / f->bytes_per_s);
	ahead_ms = due_ms - mono_sub_ms(mono_now(), f->began);
	if (ahead_ms > 0)
		(void)poll(NULL, 0, ahead_ms < 1000 ? (int)ahead_ms : 1000);
}

static int flow_write(struct flow *f, int to, const uint8_t *p, size_t len)
{
	int rc = write_all(to, p, len);

	f->crc = crc32c(f->crc, p, len);
	f->bytes += len;
	/* Written out as it grows, so that the sync at the end finds little left to do. */
	if (rc == ERR_OK && f->bytes / SNAP_WRITEOUT_BYTES != (f->bytes - len) / SNAP_WRITEOUT_BYTES)
		(void)sync_file_range(to, 0, 0, SYNC_FILE_RANGE_WRITE);
	flow_pace(f);
	return rc;
}

/* Up to `most` bytes, or to the end. */
static int flow_run(struct flow *f, int from, int to, uint64_t most)
{
	uint8_t *part = mem_alloc(SNAP_PART_BYTES);
	int rc = ERR_OK;

	while (rc == ERR_OK && most > 0) {
		ssize_t n = read(from, part, most < SNAP_PART_BYTES ? (size_t)most : SNAP_PART_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = ERR_IO;
		if (n <= 0)
			break;
		most -= (uint64_t)n;
		rc = flow_write(f, to, part, (size_t)n);
	}
	mem_free(part);
	return rc;
}

static void flow_drain(int from)
{
	uint8_t part[4096];
	ssize_t n;

	while ((n = read(from, part, sizeof part)) > 0 || (n < 0 && errno == EINTR))
		;
}

/* ---- out of the store ---- */

struct copier {
	struct okv *db;
	int fd, rc;
	bool compact;
};

static void *copier_main(void *arg)
{
	struct copier *c = arg;

	c->rc = okv_lmdb_copy(c->db, c->fd, c->compact);
	(void)close(c->fd);
	return NULL;
}

static int copy_stream(struct okv *db, int to, bool compact, struct flow *f)
{
	struct copier c = {.db = db, .compact = compact};
	pthread_t thread;
	int fd[2], rc;

	if (pipe2(fd, O_CLOEXEC) != 0)
		return ERR_IO;
	c.fd = fd[1];
	if (pthread_create(&thread, NULL, copier_main, &c) != 0) {
		(void)close(fd[0]);
		(void)close(fd[1]);
		return ERR_NO_MEMORY;
	}
	rc = flow_run(f, fd[0], to, UINT64_MAX);
	/* LMDB waits for a signal of the broken pipe, which is ignored here: so it is never broken. */
	if (rc != ERR_OK)
		flow_drain(fd[0]);
	CHECK(pthread_join(thread, NULL) == 0);
	(void)close(fd[0]);
	return rc != ERR_OK ? rc : c.rc;
}

static int copy_data(const struct snap_job *j, int to, struct flow *f)
{
	struct okv_lmdb_setup lmdb = {.map_bytes = j->map_bytes, .damage_code = j->helper ? ERR_CORRUPT : 0};
	char *store = config_path(j->data_dir, "store");
	struct buf dir;
	struct okv *db;
	int rc;

	buf_init(&dir, 0);
	mvcc_generation_dir(&dir, store, j->generation);
	buf_u8(&dir, 0);
	lmdb.dir = (const char *)dir.data;
	rc = okv_lmdb_open(&lmdb, &db);
	if (rc == ERR_OK) {
		rc = copy_stream(db, to, true, f);
		if (rc == ERR_VERSION && lseek(to, 0, SEEK_SET) == 0 && ftruncate(to, 0) == 0) {
			*f = (struct flow){.bytes_per_s = j->bytes_per_s, .began = mono_now()};
			rc = copy_stream(db, to, false, f);
		}
		okv_close(&db);
	}
	buf_free(&dir);
	mem_free(store);
	return rc;
}

/* What the tables of a file say of themselves; `adopt`: from now on it is this node's. */
static int read_meta(const struct snap_job *j, const char *dir, bool adopt, struct mvcc_state *state)
{
	struct okv_lmdb_setup lmdb = {.dir = dir, .map_bytes = j->map_bytes, .write = adopt,
				      .damage_code = j->helper ? ERR_CORRUPT : 0};
	struct mvcc_identity id;
	struct okv_txn *t = NULL;
	struct bytes row;
	struct okv *db;
	struct buf value;
	int rc = okv_lmdb_open(&lmdb, &db);

	if (rc != ERR_OK)
		return rc;
	buf_init(&value, 0);
	rc = okv_begin(db, adopt, &t);
	if (rc == ERR_OK)
		rc = okv_get(t, OKV_META, bytes_str(LAYOUT_META_IDENTITY), &row);
	if (rc == ERR_OK)
		rc = mvcc_identity_decode(row, &id);
	if (rc == ERR_OK && id.format != STORE_FORMAT)
		rc = ERR_VERSION;
	if (rc == ERR_OK && id.cluster_id != j->cluster_id)
		rc = ERR_CONFIG;
	if (rc == ERR_OK)
		rc = mvcc_state_read(t, state);
	if (rc == ERR_OK && !adopt)
		rc = snap_check(t);
	if (rc == ERR_OK && adopt) {
		id.node_id = j->node_id;
		id.generation = j->generation;
		mvcc_identity_encode(&value, &id);
		rc = okv_put(t, OKV_META, bytes_str(LAYOUT_META_IDENTITY), buf_bytes(&value));
		if (rc == ERR_OK)
			rc = okv_commit(&t);
		if (rc == ERR_OK)
			rc = okv_sync(db);
	}
	okv_abort(&t);
	okv_close(&db);
	buf_free(&value);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int append_trailer(int fd, const struct snap_info *info)
{
	uint8_t trailer[SNAP_TRAILER_BYTES];
	int rc;

	snap_trailer_encode(trailer, info);
	rc = lseek(fd, 0, SEEK_END) == (off_t)info->data_bytes ? write_all(fd, trailer, sizeof trailer) : ERR_IO;
	return rc == ERR_OK ? sync_file(fd) : rc;
}

static int copy_into(const struct snap_job *j, const char *dir, int fd, struct snap_info *made)
{
	struct flow f = {.bytes_per_s = j->bytes_per_s, .began = mono_now()};
	struct mvcc_state state;
	int rc = copy_data(j, fd, &f);

	if (rc == ERR_OK)
		rc = read_meta(j, dir, false, &state);
	if (rc != ERR_OK)
		return rc;
	*made = (struct snap_info){.cluster_id = j->cluster_id, .index = state.applied, .term = state.applied_term,
				   .revision = state.revision, .data_bytes = f.bytes, .data_crc = f.crc};
	memcpy(made->apply_hash, state.apply_hash, sizeof made->apply_hash);
	return append_trailer(fd, made);
}

int snap_copy(const struct snap_job *j, struct snap_info *made)
{
	char *snap = snapname_dir(j->data_dir), *dir = config_path(snap, "new");
	char *file = config_path(dir, "data.mdb"), *name = NULL;
	int fd = -1, rc = ERR_OK;

	if ((mkdir(snap, 0700) != 0 && errno != EEXIST) || (mkdir(dir, 0700) != 0 && errno != EEXIST))
		rc = io_error();
	if (rc == ERR_OK) {
		fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		rc = fd >= 0 ? copy_into(j, dir, fd, made) : io_error();
	}
	if (rc == ERR_OK) {
		name = snapname_path(j->data_dir, made->index, made->data_crc);
		rc = rename(file, name) == 0 ? generation_sync_dir(snap) : io_error();
	}
	if (fd >= 0)
		(void)close(fd);
	mem_free(name);
	mem_free(file);
	mem_free(dir);
	mem_free(snap);
	return rc;
}

int snap_verify(const struct snap_job *j)
{
	char *store = config_path(j->data_dir, "store");
	struct mvcc_state state;
	struct buf dir;
	int rc;

	buf_init(&dir, 0);
	mvcc_generation_dir(&dir, store, j->generation);
	buf_u8(&dir, 0);
	rc = read_meta(j, (const char *)dir.data, false, &state);
	buf_free(&dir);
	mem_free(store);
	return rc;
}

/* ---- into a store ---- */

static int restore_data(const struct snap_job *j, const char *path, const char *to_path, const struct snap_info *info)
{
	struct flow f = {.bytes_per_s = j->bytes_per_s, .began = mono_now()};
	int from = open(path, O_RDONLY | O_CLOEXEC);
	int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = from >= 0 && to >= 0 ? flow_run(&f, from, to, info->data_bytes) : io_error();

	if (rc == ERR_OK && (f.bytes != info->data_bytes || f.crc != info->data_crc))
		rc = ERR_CORRUPT;
	if (rc == ERR_OK)
		rc = sync_file(to);
	if (from >= 0)
		(void)close(from);
	if (to >= 0)
		(void)close(to);
	return rc;
}

static bool state_is(const struct mvcc_state *state, const struct snap_info *info)
{
	return state->applied == info->index && state->applied_term == info->term &&
	       state->revision == info->revision &&
	       memcmp(state->apply_hash, info->apply_hash, sizeof info->apply_hash) == 0;
}

int snap_restore(const struct snap_job *j, const char *path, struct snap_info *info)
{
	char *store = config_path(j->data_dir, "store"), *to;
	struct mvcc_state state;
	struct buf dir;
	int rc = snap_info_read(path, info);

	if (rc == ERR_OK && info->cluster_id != j->cluster_id)
		rc = ERR_CONFIG;
	if (rc == ERR_OK)
		rc = generation_make(store, j->generation);
	buf_init(&dir, 0);
	mvcc_generation_dir(&dir, store, j->generation);
	buf_u8(&dir, 0);
	to = config_path((const char *)dir.data, "data.mdb");
	if (rc == ERR_OK)
		rc = restore_data(j, path, to, info);
	if (rc == ERR_OK)
		rc = read_meta(j, (const char *)dir.data, true, &state);
	if (rc == ERR_OK && !state_is(&state, info))
		rc = ERR_CORRUPT;
	if (rc == ERR_OK)
		rc = generation_sync_dir((const char *)dir.data);
	mem_free(to);
	buf_free(&dir);
	mem_free(store);
	return rc;
}

static int sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = fd >= 0 ? sync_file(fd) : ERR_IO;

	if (fd >= 0)
		(void)close(fd);
	return rc;
}

/*
 * It becomes a snapshot before the store becomes it: whoever is interrupted in between finds a
 * snapshot that is newer than the store, and begins anew from it.
 */
int snap_install(const struct snap_job *j, const struct snapshot_id *id)
{
	char *from = snapname_incoming(j->data_dir, id), *snap = snapname_dir(j->data_dir);
	char *name = snapname_path(j->data_dir, id->index, id->crc);
	struct snap_info info = {.index = 0};
	int rc = snap_restore(j, from, &info);
	struct snapshot_id found = snap_id(&info);

	if (rc == ERR_OK && (found.index != id->index || found.term != id->term || found.bytes != id->bytes ||
			     found.crc != id->crc))
		rc = ERR_CORRUPT;
	if (rc == ERR_OK)
		rc = sync_path(from);
	if (rc == ERR_OK && (rename(from, name) != 0 || generation_sync_dir(snap) != ERR_OK))
		rc = io_error();
	mem_free(name);
	mem_free(snap);
	mem_free(from);
	return rc;
}
