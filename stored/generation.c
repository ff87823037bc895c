/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/generation.h"

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
#include "mvcc/mvcc.h"

enum { GENERATION_FILE_MAX = 4096 };

#define GENERATION_HEAD "quorate store state\n"
#define GENERATION_PREFIX "gen-"

/* ---- paths ---- */

/* DIR/NAME into `path`, ended by a NUL. */
static const char *generation_path(struct buf *path, const char *dir, const char *name)
{
	buf_clear(path);
	buf_printf(path, "%s/%s", dir, name);
	buf_u8(path, 0);
	CHECK(path->err == ERR_OK);
	return (const char *)path->data;
}

static const char *generation_dir_path(struct buf *path, const char *store_dir, uint64_t generation)
{
	buf_clear(path);
	mvcc_generation_dir(path, store_dir, generation);
	buf_u8(path, 0);
	CHECK(path->err == ERR_OK);
	return (const char *)path->data;
}

int generation_sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return ERR_IO;
	rc = fsync(fd) == 0 ? ERR_OK : ERR_IO;
	(void)close(fd);
	return rc;
}

/* ---- the text ---- */

void generation_encode(struct buf *out, const struct generation_state *s)
{
	buf_clear(out);
	buf_str(out, GENERATION_HEAD);
	buf_printf(out, "format %" PRIu32 "\n", s->format);
	buf_printf(out, "cluster_id %" PRIu64 "\n", s->cluster_id);
	buf_printf(out, "node_id %" PRIu64 "\n", s->node_id);
	buf_printf(out, "generation %" PRIu64 "\n", s->generation);
	buf_printf(out, "boot_id %s\n", s->boot_id);
	buf_printf(out, "clean %d\n", s->clean);
	buf_printf(out, "crc32c %08" PRIx32 "\n", crc32c(0, out->data, out->len));
}

/* The value of the next line, which must be "NAME value"; the sticky error is the cursor's. */
static struct bytes state_line(struct cur *c, const char *name)
{
	const uint8_t *end = cur_left(c) ? memchr(c->pos, '\n', cur_left(c)) : NULL;
	size_t n = strlen(name);
	struct bytes line;

	if (c->err != ERR_OK || end == NULL) {
		c->err = ERR_CORRUPT;
		return bytes_of(NULL, 0);
	}
	line = cur_take(c, (size_t)(end - c->pos));
	(void)cur_u8(c);
	if (line.len <= n + 1 || memcmp(line.data, name, n) != 0 || line.data[n] != ' ') {
		c->err = ERR_CORRUPT;
		return bytes_of(NULL, 0);
	}
	return bytes_of(line.data + n + 1, line.len - n - 1);
}

static uint64_t state_number(struct cur *c, const char *name)
{
	struct bytes v = state_line(c, name);
	uint64_t n = 0;

	for (size_t i = 0; i < v.len; i++) {
		unsigned digit = (unsigned)v.data[i] - '0';

		if (digit > 9 || n > (UINT64_MAX - digit) / 10) {
			c->err = ERR_CORRUPT;
			return 0;
		}
		n = n * 10 + digit;
	}
	return n;
}

/* The text before its last line, if that is the right checksum. */
static int state_checked(struct bytes text, struct bytes *body)
{
	char want[32];
	size_t len = strlen("crc32c 01234567\n");

	if (text.len <= len)
		return ERR_CORRUPT;
	*body = bytes_of(text.data, text.len - len);
	(void)snprintf(want, sizeof want, "crc32c %08" PRIx32 "\n", crc32c(0, body->data, body->len));
	return memcmp(text.data + body->len, want, len) == 0 ? ERR_OK : ERR_CORRUPT;
}

int generation_decode(struct bytes text, struct generation_state *s)
{
	struct bytes body, boot;
	uint64_t format, clean;
	struct cur c;

	*s = (struct generation_state){.format = 0};
	if (state_checked(text, &body) != ERR_OK)
		return ERR_CORRUPT;
	c = cur_of(body);
	if (!bytes_eq(cur_take(&c, strlen(GENERATION_HEAD)), bytes_str(GENERATION_HEAD)))
		return ERR_CORRUPT;
	format = state_number(&c, "format");
	if (c.err == ERR_OK && format != STORE_FORMAT)
		return ERR_VERSION;
	s->format = (uint32_t)format;
	s->cluster_id = state_number(&c, "cluster_id");
	s->node_id = state_number(&c, "node_id");
	s->generation = state_number(&c, "generation");
	boot = state_line(&c, "boot_id");
	clean = state_number(&c, "clean");
	if (cur_end(&c) != ERR_OK || clean > 1 || s->generation == 0)
		return ERR_CORRUPT;
	if (boot.len > GENERATION_BOOT_ID_MAX || memchr(boot.data, 0, boot.len) != NULL)
		return ERR_CORRUPT;
	memcpy(s->boot_id, boot.data, boot.len);
	s->clean = clean == 1;
	return ERR_OK;
}

/* ---- files ---- */

/* A small file, whole. ERR_OK, ERR_NOT_FOUND, ERR_IO, ERR_LIMIT. */
static int file_read(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = ERR_OK;
	uint8_t part[1024];
	ssize_t n;

	buf_clear(out);
	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	while ((n = read(fd, part, sizeof part)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = ERR_IO;
			break;
		}
		buf_add(out, part, (size_t)n);
	}
	(void)close(fd);
	return rc != ERR_OK ? rc : out->err;
}

static int file_write_synced(const char *path, struct bytes text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), saved;
	bool good = fd >= 0;

	while (good && text.len > 0) {
		ssize_t n = write(fd, text.data, text.len);

		if (n < 0 && errno == EINTR)
			continue;
		good = n > 0;
		if (good)
			text = bytes_of(text.data + n, text.len - (size_t)n);
	}
	good = good && fsync(fd) == 0;
	saved = errno;
	if (fd >= 0 && close(fd) != 0 && good) {
		saved = errno;
		good = false;
	}
	errno = saved;
	return good ? ERR_OK : ERR_IO;
}

int generation_read(const char *store_dir, struct generation_state *s)
{
	struct buf path, text;
	int rc;

	buf_init(&path, 0);
	buf_init(&text, GENERATION_FILE_MAX);
	rc = file_read(generation_path(&path, store_dir, "STATE"), &text);
	if (rc == ERR_OK)
		rc = generation_decode(buf_bytes(&text), s);
	else if (rc == ERR_LIMIT)
		rc = ERR_CORRUPT;
	buf_free(&path);
	buf_free(&text);
	return rc;
}

int generation_write(const char *store_dir, const struct generation_state *s)
{
	struct buf from, to, text;
	int rc;

	buf_init(&from, 0);
	buf_init(&to, 0);
	buf_init(&text, 0);
	generation_encode(&text, s);
	CHECK(text.err == ERR_OK);
	rc = file_write_synced(generation_path(&from, store_dir, "STATE.new"), buf_bytes(&text));
	if (rc == ERR_OK && rename((const char *)from.data, generation_path(&to, store_dir, "STATE")) != 0)
		rc = ERR_IO;
	if (rc == ERR_OK)
		rc = generation_sync_dir(store_dir);
	buf_free(&from);
	buf_free(&to);
	buf_free(&text);
	return rc;
}

int generation_boot_id(const char *path, char id[GENERATION_BOOT_ID_MAX + 1])
{
	struct buf text;
	size_t n = 0;
	int rc;

	buf_init(&text, GENERATION_FILE_MAX);
	rc = file_read(path, &text);
	while (rc == ERR_OK && n < text.len && text.data[n] > ' ' && text.data[n] < 0x7f)
		n++;
	if (rc != ERR_OK || n == 0 || n > GENERATION_BOOT_ID_MAX)
		rc = ERR_IO;
	else
		memcpy(id, text.data, n);
	id[rc == ERR_OK ? n : 0] = 0;
	buf_free(&text);
	return rc;
}

/* ---- directories ---- */

/* The number in "gen-<number>", or 0: it is something else. */
static uint64_t generation_number(const char *name)
{
	size_t n = strlen(GENERATION_PREFIX);
	char *end = NULL;
	uint64_t number;

	if (strncmp(name, GENERATION_PREFIX, n) != 0 || name[n] < '1' || name[n] > '9')
		return 0;
	errno = 0;
	number = strtoull(name + n, &end, 10);
	return errno == 0 && *end == 0 ? number : 0;
}

int generation_highest(const char *store_dir, uint64_t *highest)
{
	DIR *dir = opendir(store_dir);
	const struct dirent *e;

	*highest = 0;
	if (dir == NULL)
		return ERR_IO;
	while ((e = readdir(dir)) != NULL)
		if (generation_number(e->d_name) > *highest)
			*highest = generation_number(e->d_name);
	(void)closedir(dir);
	return ERR_OK;
}

static int generation_empty(const char *dir)
{
	static const char *const files[] = {"data.mdb", "lock.mdb"};
	struct buf path;
	int rc = ERR_OK;

	buf_init(&path, 0);
	for (size_t i = 0; i < ARRAY_LEN(files) && rc == ERR_OK; i++)
		if (unlink(generation_path(&path, dir, files[i])) != 0 && errno != ENOENT)
			rc = ERR_IO;
	buf_free(&path);
	return rc;
}

int generation_make(const char *store_dir, uint64_t generation)
{
	struct buf path;
	int rc = ERR_OK;

	buf_init(&path, 0);
	if (mkdir(generation_dir_path(&path, store_dir, generation), 0700) != 0)
		rc = errno == EEXIST ? generation_empty((const char *)path.data) : ERR_IO;
	buf_free(&path);
	return rc == ERR_OK ? generation_sync_dir(store_dir) : rc;
}

bool generation_exists(const char *store_dir, uint64_t generation)
{
	struct buf path;
	struct stat st;
	bool there;

	buf_init(&path, 0);
	mvcc_generation_dir(&path, store_dir, generation);
	buf_str(&path, "/data.mdb");
	buf_u8(&path, 0);
	there = stat((const char *)path.data, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
	buf_free(&path);
	return there;
}

static void generation_remove(const char *store_dir, uint64_t generation)
{
	struct buf path;
	const char *dir;

	buf_init(&path, 0);
	dir = generation_dir_path(&path, store_dir, generation);
	if (generation_empty(dir) != ERR_OK || rmdir(dir) != 0)
		log_warn("cannot remove an old store dir=%s error=\"%s\"", dir, strerror(errno));
	else
		log_info("old store removed dir=%s", dir);
	buf_free(&path);
}

/* How many there are besides `keep`. */
static size_t generation_others(const char *store_dir, uint64_t keep, bool remove)
{
	DIR *dir = opendir(store_dir);
	const struct dirent *e;
	size_t n = 0;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		uint64_t number = generation_number(e->d_name);

		if (number == 0 || number == keep)
			continue;
		n++;
		if (remove)
			generation_remove(store_dir, number);
	}
	if (dir != NULL)
		(void)closedir(dir);
	return n;
}

bool generation_has_others(const char *store_dir, uint64_t keep)
{
	return generation_others(store_dir, keep, false) > 0;
}

void generation_remove_others(const char *store_dir, uint64_t keep)
{
	(void)generation_others(store_dir, keep, true);
}
