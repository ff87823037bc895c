/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/power_disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

enum { SECTOR = 512, NODES = 4096, SYNCS = 64, NAME = 64, PERCENT = 100, PIECE = 16384 };

struct entry {
	char name[NAME];
	size_t node;
};

struct dir {
	struct entry *v;
	size_t n;
};

/* A write, a change of size, or a change of a directory. */
struct change {
	enum power_type type;
	uint64_t offset;
	const uint8_t *data;
	size_t bytes;
	char name[NAME], to[NAME];
	size_t node;
};

struct node {
	bool is_dir;
	uint8_t *medium;
	size_t size, cap;
	struct dir now, synced;          /* of a directory */
	struct change *v;                /* unsynced, in order */
	size_t n, n_cap;
	uint64_t first;                  /* number of v[0], counted from the beginning */
};

struct power_disk {
	uint8_t *trace;
	size_t bytes, at, records;
	struct node *nodes;
	size_t n;
	struct { uint64_t ino; size_t node; } inodes[NODES];   /* as they are used now */
	size_t n_inodes;
	struct { uint64_t ino, who, until; } syncs[SYNCS];
	size_t n_syncs;
	size_t root;
};

/* ---- directories */

static struct entry *dir_find(const struct dir *d, const char *name)
{
	for (size_t i = 0; i < d->n; i++)
		if (strcmp(d->v[i].name, name) == 0)
			return &d->v[i];
	return NULL;
}

static void dir_set(struct dir *d, const char *name, size_t node)
{
	struct entry *e = dir_find(d, name);

	if (e == NULL) {
		d->v = mem_grow(d->v, d->n + 1, sizeof *d->v);
		e = &d->v[d->n++];
		(void)snprintf(e->name, sizeof e->name, "%s", name);
	}
	e->node = node;
}

static void dir_apply(struct dir *d, const struct change *c)
{
	struct entry *e = dir_find(d, c->name);

	if (c->type == POWER_CREATE || c->type == POWER_MKDIR) {
		dir_set(d, c->name, c->node);
		return;
	}
	if (e == NULL)
		return;
	if (c->type == POWER_RENAME) {
		dir_set(d, c->to, e->node);
		e = dir_find(d, c->name);
	}
	*e = d->v[--d->n];
}

static struct dir dir_copy(const struct dir *d)
{
	struct dir c = {.n = d->n, .v = mem_array(d->n + 1, sizeof *c.v)};

	if (d->n > 0)
		memcpy(c.v, d->v, d->n * sizeof *d->v);
	return c;
}

/* ---- files */

static size_t sized(size_t size, const struct change *c)
{
	size_t end = (size_t)c->offset + c->bytes;

	if (c->type == POWER_SIZE)
		return (size_t)c->offset;
	return size > end ? size : end;
}

static uint8_t *bytes_room(uint8_t *v, size_t *cap, size_t size)
{
	size_t want = (size + 65535) / 65536 * 65536;

	if (want <= *cap)
		return v;
	v = mem_grow(v, want, 1);
	memset(v + *cap, 0, want - *cap);
	*cap = want;
	return v;
}

static void file_apply(struct node *n, const struct change *c)
{
	size_t size = sized(n->size, c);

	n->medium = bytes_room(n->medium, &n->cap, size);
	if (c->type == POWER_WRITE)
		memcpy(n->medium + c->offset, c->data, c->bytes);
	if (size < n->size)
		memset(n->medium + size, 0, n->size - size);
	n->size = size;
}

static void node_change(struct power_disk *d, size_t node, const struct change *c)
{
	struct node *n = &d->nodes[node];

	if (n->n == n->n_cap) {
		n->n_cap = n->n_cap ? 2 * n->n_cap : 16;
		n->v = mem_grow(n->v, n->n_cap, sizeof *n->v);
	}
	n->v[n->n++] = *c;
	if (n->is_dir)
		dir_apply(&n->now, c);
}

static void node_sync(struct node *n, uint64_t until)
{
	size_t count = until > n->first ? (size_t)(until - n->first) : 0;

	for (size_t i = 0; i < count; i++) {
		if (n->is_dir)
			dir_apply(&n->synced, &n->v[i]);
		else
			file_apply(n, &n->v[i]);
	}
	n->n -= count;
	n->first += count;
	if (count > 0 && n->n > 0)
		memmove(n->v, n->v + count, n->n * sizeof *n->v);
}

/* ---- playing */

static size_t node_new(struct power_disk *d, uint64_t ino, bool is_dir)
{
	size_t i = 0;

	d->nodes = mem_grow(d->nodes, d->n + 1, sizeof *d->nodes);
	d->nodes[d->n] = (struct node){.is_dir = is_dir};
	while (i < d->n_inodes && d->inodes[i].ino != ino)
		i++;
	CHECK(i < NODES);
	if (i == d->n_inodes)
		d->n_inodes++;
	d->inodes[i].ino = ino;
	d->inodes[i].node = d->n;
	return d->n++;
}

/* The node of an inode; SIZE_MAX: a file that was there before the recording. */
static size_t node_of(const struct power_disk *d, uint64_t ino)
{
	for (size_t i = 0; i < d->n_inodes; i++)
		if (d->inodes[i].ino == ino)
			return d->inodes[i].node;
	return SIZE_MAX;
}

/* The directory of a path; *name is what the path ends with. */
static size_t parent_of(const struct power_disk *d, const char *path, const char **name)
{
	size_t at = d->root;
	const char *slash;
	char part[NAME];

	while ((slash = strchr(path, '/')) != NULL) {
		const struct entry *e;

		(void)snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
		e = dir_find(&d->nodes[at].now, part);
		CHECK(e != NULL);
		at = e->node;
		path = slash + 1;
	}
	*name = path;
	return at;
}

static void play_name(struct power_disk *d, const struct power_record *r, const char *path)
{
	struct change c = {.type = (enum power_type)r->type};
	const char *name, *to;
	size_t dir = parent_of(d, path, &name);

	CHECK(strlen(name) < sizeof c.name);
	(void)snprintf(c.name, sizeof c.name, "%s", name);
	if (r->type == POWER_RENAME) {
		CHECK(parent_of(d, path + strlen(path) + 1, &to) == dir);
		(void)snprintf(c.to, sizeof c.to, "%s", to);
	}
	if (r->type == POWER_CREATE || r->type == POWER_MKDIR)
		c.node = node_new(d, r->ino, r->type == POWER_MKDIR);
	node_change(d, dir, &c);
}

static void play_sync(struct power_disk *d, const struct power_record *r, struct node *n)
{
	size_t i = 0;

	while (i < d->n_syncs && (d->syncs[i].ino != r->ino || d->syncs[i].who != r->offset))
		i++;
	if (r->type == POWER_SYNC_BEGIN) {       /* one that never ended is overwritten */
		CHECK(i < SYNCS);
		if (i == d->n_syncs)
			d->n_syncs++;
		d->syncs[i].ino = r->ino;
		d->syncs[i].who = r->offset;
		d->syncs[i].until = n->first + n->n;
	} else if (i < d->n_syncs) {
		node_sync(n, d->syncs[i].until);
		d->syncs[i] = d->syncs[--d->n_syncs];
	}
}

static void play_file(struct power_disk *d, const struct power_record *r, const uint8_t *data)
{
	struct change c = {.type = (enum power_type)r->type, .offset = r->offset, .data = data,
			   .bytes = r->type == POWER_WRITE ? r->bytes : 0};
	size_t node = node_of(d, r->ino);

	if (node == SIZE_MAX)
		return;
	if (r->type == POWER_SYNC_BEGIN || r->type == POWER_SYNC_END)
		play_sync(d, r, &d->nodes[node]);
	else
		node_change(d, node, &c);
}

const struct power_record *power_disk_step(struct power_disk *d, const uint8_t **data)
{
	static struct power_record r;

	if (d->at == d->bytes)
		return NULL;
	memcpy(&r, d->trace + d->at, sizeof r);
	*data = d->trace + d->at + sizeof r;
	d->at += sizeof r + r.bytes;
	CHECK(d->at <= d->bytes);
	switch (r.type) {
	case POWER_ROOT:
		d->root = node_new(d, r.ino, true);
		break;
	case POWER_CREATE:
	case POWER_MKDIR:
	case POWER_RENAME:
	case POWER_REMOVE:
		play_name(d, &r, (const char *)*data);
		break;
	case POWER_ACK:
		break;
	default:
		play_file(d, &r, *data);
	}
	return &r;
}

struct power_disk *power_disk_read(const char *trace)
{
	struct power_disk *d = mem_alloc(sizeof *d);
	int fd = open(trace, O_RDONLY | O_CLOEXEC);
	struct power_record r;
	struct stat st;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	d->bytes = (size_t)st.st_size;
	d->trace = mem_array(d->bytes + 1, 1);
	for (size_t n = 0; n < d->bytes;) {
		ssize_t got = read(fd, d->trace + n, d->bytes - n);

		CHECK(got > 0);
		n += (size_t)got;
	}
	(void)close(fd);
	for (size_t at = 0; at < d->bytes; at += sizeof r + r.bytes) {
		CHECK(d->bytes - at >= sizeof r);
		memcpy(&r, d->trace + at, sizeof r);
		d->records++;
	}
	return d;
}

void power_disk_free(struct power_disk *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->nodes[i].medium);
		free(d->nodes[i].now.v);
		free(d->nodes[i].synced.v);
		free(d->nodes[i].v);
	}
	free(d->nodes);
	free(d->trace);
	free(d);
}

size_t power_disk_records(const struct power_disk *d)
{
	return d->records;
}

/* ---- images */

struct chance {
	uint64_t *random;
	unsigned percent;        /* of the unsynced sectors make it */
	bool lose;
};

static bool makes_it(const struct chance *c)
{
	return !c->lose || tap_rand(c->random) % PERCENT < c->percent;
}

/* The first so many of n happen. */
static size_t so_many(const struct chance *c, size_t n)
{
	return c->lose ? (size_t)(tap_rand(c->random) % (n + 1)) : n;
}

/* With holes where there are zeros: most of a log segment is. */
static void write_whole(const char *path, const uint8_t *data, size_t n)
{
	static const uint8_t zeros[PIECE];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)n) == 0);
	for (size_t at = 0; at < n; at += PIECE) {
		size_t part = n - at < PIECE ? n - at : PIECE;

		if (memcmp(data + at, zeros, part) != 0)
			CHECK(pwrite(fd, data + at, part, (off_t)at) == (ssize_t)part);
	}
	(void)close(fd);
}

static void image_write(uint8_t *v, const struct change *c, const struct chance *chance)
{
	size_t end = (size_t)c->offset + c->bytes;

	for (size_t at = (size_t)c->offset; at < end;) {
		size_t next = (at / SECTOR + 1) * SECTOR;

		if (next > end)
			next = end;
		if (makes_it(chance))
			memcpy(v + at, c->data + (at - (size_t)c->offset), next - at);
		at = next;
	}
}

static void image_file(const struct node *n, const struct chance *chance, const char *path)
{
	size_t size = n->size, most = n->size, cap = 0, count = so_many(chance, n->n);
	uint8_t *v;

	for (size_t i = 0; i < n->n; i++) {
		most = sized(most, &n->v[i]) > most ? sized(most, &n->v[i]) : most;
		if (i < count)
			size = sized(size, &n->v[i]);
	}
	v = bytes_room(NULL, &cap, most + 1);
	if (n->size > 0)
		memcpy(v, n->medium, n->size);
	for (size_t i = 0; i < n->n; i++)
		if (n->v[i].type == POWER_WRITE)
			image_write(v, &n->v[i], chance);
	write_whole(path, v, size);
	free(v);
}

static void image_dir(const struct power_disk *d, const struct node *n, const struct chance *chance,
		      const char *path)
{
	struct dir names = dir_copy(&n->synced);
	size_t count = so_many(chance, n->n);
	char child[1024];

	for (size_t i = 0; i < count; i++)
		dir_apply(&names, &n->v[i]);
	for (size_t i = 0; i < names.n; i++) {
		const struct node *c = &d->nodes[names.v[i].node];

		CHECK(snprintf(child, sizeof child, "%s/%s", path, names.v[i].name) < (int)sizeof child);
		if (c->is_dir) {
			CHECK(mkdir(child, 0700) == 0);
			image_dir(d, c, chance, child);
		} else {
			image_file(c, chance, child);
		}
	}
	free(names.v);
}

void power_disk_image(const struct power_disk *d, uint64_t *random, bool lose, const char *dir)
{
	static const unsigned percents[] = {0, 3, 50, 97, 100};
	struct chance chance = {random, percents[tap_rand(random) % ARRAY_LEN(percents)], lose};

	image_dir(d, &d->nodes[d->root], &chance, dir);
}
