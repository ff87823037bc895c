/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/snap_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "mvcc/layout.h"
#include "rt/config.h"
#include "rt/snapname.h"
#include "stored/generation.h"

static const uint8_t snap_magic[8] = {'Q', 'U', 'O', 'R', 'S', 'N', 'A', 'P'};

/* ---- the trailer ---- */

void snap_trailer_encode(uint8_t out[SNAP_TRAILER_BYTES], const struct snap_info *info)
{
	memcpy(out, snap_magic, 8);
	put_u32(out + 8, SNAP_FORMAT);
	put_u32(out + 12, STORE_FORMAT);
	put_u64(out + 16, info->cluster_id);
	put_u64(out + 24, info->index);
	put_u64(out + 32, info->term);
	put_u64(out + 40, (uint64_t)info->revision);
	memcpy(out + 48, info->apply_hash, 16);
	put_u64(out + 64, info->data_bytes);
	put_u32(out + 72, info->data_crc);
	put_u64(out + 76, 0);
	put_u32(out + 84, crc32c(0, out, 84));
}

int snap_trailer_decode(struct bytes in, struct snap_info *info)
{
	const uint8_t *p = in.data;

	if (in.len != SNAP_TRAILER_BYTES || memcmp(p, snap_magic, 8) != 0 ||
	    get_u32(p + 84) != crc32c(0, p, 84))
		return ERR_CORRUPT;
	if (get_u32(p + 8) != SNAP_FORMAT || get_u32(p + 12) != STORE_FORMAT || get_u64(p + 76) != 0)
		return ERR_VERSION;
	*info = (struct snap_info){
		.cluster_id = get_u64(p + 16), .index = get_u64(p + 24), .term = get_u64(p + 32),
		.revision = (int64_t)get_u64(p + 40), .data_bytes = get_u64(p + 64),
		.data_crc = get_u32(p + 72),
	};
	memcpy(info->apply_hash, p + 48, 16);
	return ERR_OK;
}

int snap_info_read(const char *path, struct snap_info *info)
{
	uint8_t trailer[SNAP_TRAILER_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = ERR_CORRUPT;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	if (fstat(fd, &st) != 0)
		rc = ERR_IO;
	else if (S_ISREG(st.st_mode) && st.st_size > SNAP_TRAILER_BYTES) {
		off_t at = st.st_size - SNAP_TRAILER_BYTES;

		if (pread(fd, trailer, sizeof trailer, at) != (ssize_t)sizeof trailer)
			rc = ERR_IO;
		else
			rc = snap_trailer_decode(bytes_of(trailer, sizeof trailer), info);
		if (rc == ERR_OK && info->data_bytes != (uint64_t)at)
			rc = ERR_CORRUPT;
	}
	(void)close(fd);
	return rc;
}

struct snapshot_id snap_id(const struct snap_info *info)
{
	return (struct snapshot_id){info->index, info->term, info->data_bytes + SNAP_TRAILER_BYTES,
				    info->data_crc};
}

/* ---- the directory ---- */

static void list_insert(struct snap_info *out, size_t *n, const struct snap_info *info)
{
	size_t at = *n;

	while (at > 0 && out[at - 1].index < info->index)
		at--;
	if (at == SNAP_LIST_MAX)
		return;
	if (*n < SNAP_LIST_MAX)
		++*n;
	memmove(out + at + 1, out + at, (*n - at - 1) * sizeof *out);
	out[at] = *info;
}

static void list_one(const char *dir, const char *name, uint64_t cluster_id, struct snap_info *out, size_t *n)
{
	uint64_t index, crc;
	struct snap_info info;
	char *path;
	int rc;

	if (!snapname_parse(name, &index, &crc))
		return;
	path = config_path(dir, name);
	rc = snap_info_read(path, &info);
	if (rc == ERR_OK && (info.index != index || info.data_crc != crc))
		rc = ERR_CORRUPT;
	if (rc == ERR_OK && info.cluster_id != cluster_id)
		rc = ERR_CONFIG;
	if (rc == ERR_OK)
		list_insert(out, n, &info);
	else
		log_error("a snapshot cannot be used file=%s error=\"%s\"", path, err_text(rc));
	mem_free(path);
}

size_t snap_list(const char *data_dir, uint64_t cluster_id, struct snap_info *out)
{
	char *path = snapname_dir(data_dir);
	DIR *dir = opendir(path);
	const struct dirent *e;
	size_t n = 0;

	while (dir != NULL && (e = readdir(dir)) != NULL)
		list_one(path, e->d_name, cluster_id, out, &n);
	if (dir != NULL)
		(void)closedir(dir);
	mem_free(path);
	return n;
}

static bool name_is_old(const char *name, const struct snap_info *keep)
{
	size_t len = strlen(name);
	uint64_t index, crc;

	if (len > 4 && strcmp(name + len - 4, ".bad") == 0)
		return keep != NULL;
	if (!snapname_parse(name, &index, &crc) || keep == NULL)
		return false;
	/* A newer one that is not known yet may be what the store is about to become. */
	return index < keep->index || (index == keep->index && crc != keep->data_crc);
}

static void remove_unfinished(const char *dir)
{
	static const char *const unfinished[] = {"new/data.mdb", "new/lock.mdb", "new"};

	for (size_t i = 0; i < ARRAY_LEN(unfinished); i++) {
		char *file = config_path(dir, unfinished[i]);

		if (remove(file) != 0 && errno != ENOENT)
			log_warn("cannot remove an unfinished snapshot file=%s error=\"%s\"", file, strerror(errno));
		mem_free(file);
	}
}

static void remove_old(const char *dir, const char *name)
{
	char *file = config_path(dir, name);

	if (unlink(file) != 0)
		log_warn("cannot remove an old snapshot file=%s error=\"%s\"", file, strerror(errno));
	mem_free(file);
}

/* How many there are besides `keep`, with what is unfinished. */
static size_t snap_others(const char *data_dir, const struct snap_info *keep, bool remove)
{
	char *path = snapname_dir(data_dir);
	DIR *dir = opendir(path);
	const struct dirent *e;
	size_t n = 0;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		bool unfinished = strcmp(e->d_name, "new") == 0;

		if (!unfinished && !name_is_old(e->d_name, keep))
			continue;
		n++;
		if (remove && unfinished)
			remove_unfinished(path);
		else if (remove)
			remove_old(path, e->d_name);
	}
	if (dir != NULL)
		(void)closedir(dir);
	mem_free(path);
	return n;
}

bool snap_has_others(const char *data_dir, const struct snap_info *keep)
{
	return snap_others(data_dir, keep, false) > 0;
}

void snap_remove_others(const char *data_dir, const struct snap_info *keep)
{
	(void)snap_others(data_dir, keep, true);
}

void snap_set_aside(const char *data_dir, const struct snap_info *info)
{
	char *path = snapname_path(data_dir, info->index, info->data_crc), *dir = snapname_dir(data_dir);
	struct buf bad;

	buf_init(&bad, 0);
	buf_printf(&bad, "%s.bad", path);
	buf_u8(&bad, 0);
	CHECK(bad.err == ERR_OK);
	if (rename(path, (const char *)bad.data) != 0 || generation_sync_dir(dir) != ERR_OK)
		log_error("cannot set a damaged snapshot aside file=%s error=\"%s\"", path, strerror(errno));
	buf_free(&bad);
	mem_free(dir);
	mem_free(path);
}
