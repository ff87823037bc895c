/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/wal_disk_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

#define FOLIO 16384u

static void node_put(struct node *n)
{
	if (--n->links > 0)
		return;
	free(n->now);
	free(n->medium);
	free(n->dirty);
	free(n);
}

void wal_disk_grow(struct node *n, size_t size)
{
	size_t cap = (size + SECTOR - 1) / SECTOR * SECTOR, old = n->cap;

	if (size > n->size)
		n->size = size;
	if (cap <= old)
		return;
	n->now = mem_grow(n->now, cap, 1);
	n->medium = mem_grow(n->medium, cap, 1);
	n->dirty = mem_grow(n->dirty, cap / SECTOR, sizeof *n->dirty);
	memset(n->now + old, 0, cap - old);
	memset(n->medium + old, 0, cap - old);
	memset(n->dirty + old / SECTOR, 0, (cap - old) / SECTOR * sizeof *n->dirty);
	n->cap = cap;
}

size_t wal_disk_find(const struct dir *d, const char *name)
{
	for (size_t i = 0; i < NAMES; i++)
		if (d->node[i] != NULL && strcmp(d->name[i], name) == 0)
			return i;
	return NAMES;
}

static void dir_remove(struct dir *d, const char *name)
{
	size_t i = wal_disk_find(d, name);

	if (i == NAMES)
		return;
	node_put(d->node[i]);
	d->node[i] = NULL;
}

static void dir_add(struct dir *d, const char *name, struct node *n)
{
	size_t i = 0;

	n->links++;
	dir_remove(d, name);
	while (i < NAMES && d->node[i] != NULL)
		i++;
	CHECK(i < NAMES);
	CHECK(snprintf(d->name[i], sizeof d->name[i], "%s", name) < (int)sizeof d->name[i]);
	d->node[i] = n;
}

static void dir_apply(struct dir *d, const struct change *c)
{
	size_t i = wal_disk_find(d, c->name);

	if (c->type == CHANGE_ADD)
		dir_add(d, c->name, c->node);
	if (c->type == CHANGE_RENAME && i < NAMES) {
		dir_add(d, c->to, d->node[i]);
		dir_remove(d, c->name);
	}
	if (c->type == CHANGE_REMOVE)
		dir_remove(d, c->name);
}

static void sync_changes(struct wal_disk *d, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dir_apply(&d->medium, &d->changes[i]);
	for (size_t i = 0; i < d->nchanges; i++)
		if (d->changes[i].node != NULL)
			node_put(d->changes[i].node);
	d->nchanges = 0;
}

static void change(struct wal_disk *d, enum change_type type, const char *name, const char *to,
		   struct node *n)
{
	struct change *c = &d->changes[d->nchanges++];

	CHECK(d->nchanges < NAMES);
	*c = (struct change){.type = type, .node = n};
	(void)snprintf(c->name, sizeof c->name, "%s", name);
	(void)snprintf(c->to, sizeof c->to, "%s", to);
	if (n != NULL)
		n->links++;
	dir_apply(&d->now, c);
}

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* 0 or -errno. `changes`: the operation that die_after counts. */
static int enter(struct wal_disk *d, enum wal_disk_op op, bool changes)
{
	if (d->dead)
		return -EIO;
	d->count[op]++;
	if (d->fail_at[op] != 0 && (d->count[op] == d->fail_at[op] ||
				    (d->fail_forever[op] && d->count[op] > d->fail_at[op])))
		return -d->fail_error[op];
	if (changes && d->dying && d->die_after-- == 0)
		d->dead = true;
	return 0;
}

static struct node *node_of(struct wal_disk *d, int fd)
{
	CHECK(fd >= 0 && (size_t)fd < FDS && d->fds[fd] != NULL);
	return d->fds[fd];
}

static int give_fd(struct wal_disk *d, struct node *n)
{
	size_t fd = 0;

	while (fd < FDS && d->fds[fd] != NULL)
		fd++;
	if (fd == FDS)
		return -EMFILE;
	d->fds[fd] = n;
	n->links++;
	return (int)fd;
}

static int disk_open(void *ctx, const char *path, bool create)
{
	struct wal_disk *d = ctx;
	size_t i = wal_disk_find(&d->now, base(path));
	int rc = enter(d, WAL_DISK_OPEN, create);
	struct node *n;

	if (rc < 0 || d->dead)
		return rc < 0 ? rc : -EIO;
	if (!create)
		return i == NAMES ? -ENOENT : give_fd(d, d->now.node[i]);
	if (i != NAMES)
		return -EEXIST;
	change(d, CHANGE_ADD, base(path), "", mem_alloc(sizeof(struct node)));
	n = d->now.node[wal_disk_find(&d->now, base(path))];
	n->inode = ++d->inodes;
	return give_fd(d, n);
}

static int disk_close(void *ctx, int fd)
{
	struct wal_disk *d = ctx;
	struct node *n;

	if (fd == (int)FDS) {   /* the lock */
		d->locked = false;
		return 0;
	}
	n = node_of(d, fd);
	d->fds[fd] = NULL;
	node_put(n);
	return 0;
}

static int64_t disk_size(void *ctx, int fd)
{
	return (int64_t)node_of(ctx, fd)->size;
}

static int64_t disk_pread(void *ctx, int fd, void *to, size_t n, uint64_t offset)
{
	struct wal_disk *d = ctx;
	const struct node *f = node_of(d, fd);
	int rc = enter(d, WAL_DISK_PREAD, false);

	if (rc < 0)
		return rc;
	if (offset >= f->size)
		return 0;
	if (n > f->size - offset)
		n = f->size - (size_t)offset;
	memcpy(to, f->now + offset, n);
	return (int64_t)n;
}

static int64_t disk_pwrite(void *ctx, int fd, const void *from, size_t n, uint64_t offset)
{
	struct wal_disk *d = ctx;
	struct node *f = node_of(d, fd);
	int rc = enter(d, WAL_DISK_PWRITE, true);

	if (rc < 0)
		return rc;
	if (d->dead)   /* a killed process: the kernel had copied some pages */
		n = (size_t)(tap_rand(&d->random) % (n / 4096 + 1)) * 4096;
	if (n == 0)
		return d->dead ? -EIO : 0;
	wal_disk_grow(f, (size_t)offset + n);
	f->version++;
	memcpy(f->now + offset, from, n);
	for (size_t s = (size_t)offset / SECTOR; s <= (offset + n - 1) / SECTOR; s++)
		f->dirty[s] = true;
	return d->dead ? -EIO : (int64_t)n;
}

static int disk_allocate(void *ctx, int fd, uint64_t bytes)
{
	struct wal_disk *d = ctx;
	int rc = enter(d, WAL_DISK_ALLOCATE, true);

	if (rc < 0 || d->dead)
		return rc < 0 ? rc : -EIO;
	node_of(d, fd)->version++;
	wal_disk_grow(node_of(d, fd), (size_t)bytes);
	return 0;
}

static void node_sync(struct node *n)
{
	for (size_t s = 0; s < n->cap / SECTOR; s++)
		if (n->dirty[s])
			memcpy(n->medium + s * SECTOR, n->now + s * SECTOR, SECTOR);
	if (n->cap > 0)
		memset(n->dirty, 0, n->cap / SECTOR * sizeof *n->dirty);
	n->medium_size = n->size;
}

/* As Linux has it: what could not be written stays in the cache, and is called clean. */
static void node_sync_fails(struct wal_disk *d, struct node *n)
{
	for (size_t s = 0; s < n->cap / SECTOR; s++) {
		if (n->dirty[s] && (tap_rand(&d->random) & 1))
			memcpy(n->medium + s * SECTOR, n->now + s * SECTOR, SECTOR);
		n->dirty[s] = false;
	}
}

static int node_sync_op(struct wal_disk *d, enum wal_disk_op op, int fd)
{
	int rc = enter(d, op, true);

	if (rc < 0 && !d->dead)
		node_sync_fails(d, node_of(d, fd));
	if (rc < 0 || d->dead)
		return rc < 0 ? rc : -EIO;
	node_sync(node_of(d, fd));
	return 0;
}

static int disk_fdatasync(void *ctx, int fd)
{
	return node_sync_op(ctx, WAL_DISK_FDATASYNC, fd);
}

static int disk_fsync(void *ctx, int fd)
{
	return node_sync_op(ctx, WAL_DISK_FSYNC, fd);
}

/*
 * Linux drops whole folios only, and those that a segment was filled with are as large as the writes were: what
 * lies in one with a byte outside of the range stays.
 */
static int disk_drop_cache(void *ctx, int fd, uint64_t offset, uint64_t bytes)
{
	struct node *n = node_of(ctx, fd);
	size_t end = bytes == 0 || bytes > n->cap - offset ? n->cap : (size_t)(offset + bytes) / FOLIO * FOLIO;

	for (size_t s = (size_t)(offset + FOLIO - 1) / FOLIO * FOLIO / SECTOR; s < end / SECTOR; s++)
		if (!n->dirty[s])
			memcpy(n->now + s * SECTOR, n->medium + s * SECTOR, SECTOR);
	return 0;
}

/* Past the cache. What is dirty goes to the medium first, as it does in Linux. */
static int64_t disk_pread_disk(void *ctx, int fd, void *to, size_t n, uint64_t offset)
{
	struct wal_disk *d = ctx;
	struct node *f = node_of(d, fd);
	int rc = enter(d, WAL_DISK_PREAD, false);

	CHECK(offset % 4096 == 0 && n % 4096 == 0 && (uintptr_t)to % 4096 == 0);
	if (rc < 0)
		return rc;
	if (offset >= f->size)
		return 0;
	if (n > f->size - offset)
		n = f->size - (size_t)offset;
	for (size_t s = (size_t)offset / SECTOR; s < (offset + n) / SECTOR; s++)
		if (f->dirty[s])
			memcpy(f->medium + s * SECTOR, f->now + s * SECTOR, SECTOR);
	memcpy(to, f->medium + offset, n);
	return (int64_t)n;
}

static int disk_stamp(void *ctx, int fd, struct wal_stamp *stamp)
{
	const struct node *n = node_of(ctx, fd);

	*stamp = (struct wal_stamp){.inode = n->inode, .size = n->size, .modified_ns = (int64_t)n->version,
				    .changed_ns = (int64_t)n->version};
	return 0;
}

static int disk_boot(void *ctx, uint8_t boot[WAL_BOOT_BYTES])
{
	const struct wal_disk *d = ctx;

	memset(boot, 0, WAL_BOOT_BYTES);
	memcpy(boot, &d->boot, sizeof d->boot);
	return 0;
}

static int disk_rename(void *ctx, const char *from, const char *to)
{
	struct wal_disk *d = ctx;
	int rc = enter(d, WAL_DISK_RENAME, true);

	if (rc < 0 || d->dead)
		return rc < 0 ? rc : -EIO;
	if (wal_disk_find(&d->now, base(from)) == NAMES)
		return -ENOENT;
	change(d, CHANGE_RENAME, base(from), base(to), NULL);
	return 0;
}

static int disk_unlink(void *ctx, const char *path)
{
	struct wal_disk *d = ctx;
	int rc = enter(d, WAL_DISK_UNLINK, true);

	if (rc < 0 || d->dead)
		return rc < 0 ? rc : -EIO;
	if (wal_disk_find(&d->now, base(path)) == NAMES)
		return -ENOENT;
	change(d, CHANGE_REMOVE, base(path), "", NULL);
	return 0;
}

static int disk_sync_dir(void *ctx, const char *dir)
{
	struct wal_disk *d = ctx;
	int rc = enter(d, WAL_DISK_SYNC_DIR, true);

	(void)dir;
	if (rc < 0 || d->dead)
		return rc < 0 ? rc : -EIO;
	sync_changes(d, d->nchanges);
	return 0;
}

static int disk_list(void *ctx, const char *dir, void (*each)(void *arg, const char *name),
		     void *arg)
{
	struct wal_disk *d = ctx;

	(void)dir;
	if (d->dead)
		return -EIO;
	each(arg, ".");
	for (size_t i = NAMES; i-- > 0;)
		if (d->now.node[i] != NULL)
			each(arg, d->now.name[i]);
	return 0;
}

static int disk_lock(void *ctx, const char *path)
{
	struct wal_disk *d = ctx;

	(void)path;
	if (d->locked)
		return -EWOULDBLOCK;
	d->locked = true;
	return (int)FDS;
}

struct wal_disk *wal_disk_new(uint64_t seed)
{
	struct wal_disk *d = mem_alloc(sizeof *d);

	d->random = seed;
	d->io = (struct wal_io){
		.ctx = d, .open = disk_open, .close = disk_close, .size = disk_size,
		.pread = disk_pread,
		.pwrite = disk_pwrite, .allocate = disk_allocate, .fdatasync = disk_fdatasync,
		.fsync = disk_fsync, .pread_disk = disk_pread_disk, .drop_cache = disk_drop_cache,
		.stamp = disk_stamp, .boot = disk_boot, .rename = disk_rename,
		.unlink = disk_unlink, .sync_dir = disk_sync_dir, .list = disk_list,
		.lock = disk_lock};
	return d;
}

const struct wal_io *wal_disk_io(struct wal_disk *d)
{
	return &d->io;
}

void wal_disk_kill(struct wal_disk *d)
{
	for (size_t i = 0; i < FDS; i++)
		if (d->fds[i] != NULL)
			(void)disk_close(d, (int)i);
	d->locked = d->dead = d->dying = false;
	memset(d->fail_at, 0, sizeof d->fail_at);
}

static void node_crash(struct wal_disk *d, struct node *n)
{
	for (size_t s = 0; s < n->cap / SECTOR; s++)
		if (n->dirty[s] && (tap_rand(&d->random) & 1))
			memcpy(n->medium + s * SECTOR, n->now + s * SECTOR, SECTOR);
	if (n->cap > 0) {
		memcpy(n->now, n->medium, n->cap);
		memset(n->dirty, 0, n->cap / SECTOR * sizeof *n->dirty);
	}
	if (tap_rand(&d->random) & 1)
		n->medium_size = n->size;
	n->size = n->medium_size;
}

void wal_disk_crash(struct wal_disk *d)
{
	wal_disk_kill(d);
	d->boot++;
	sync_changes(d, (size_t)(tap_rand(&d->random) % (d->nchanges + 1)));
	for (size_t i = 0; i < NAMES; i++)
		if (d->now.node[i] != NULL)
			dir_remove(&d->now, d->now.name[i]);
	for (size_t i = 0; i < NAMES; i++) {
		if (d->medium.node[i] == NULL)
			continue;
		node_crash(d, d->medium.node[i]);
		dir_add(&d->now, d->medium.name[i], d->medium.node[i]);
	}
}

static struct node *node_copy(const struct node *n)
{
	struct node *c = mem_alloc(sizeof *c);

	wal_disk_grow(c, n->medium_size);
	if (c->cap > 0) {
		memcpy(c->now, n->medium, c->cap);
		memcpy(c->medium, n->medium, c->cap);
	}
	c->medium_size = c->size;
	c->inode = n->inode;
	c->version = n->version;
	return c;
}

struct wal_disk *wal_disk_clone(const struct wal_disk *d)
{
	struct wal_disk *c = wal_disk_new(d->random);

	c->boot = d->boot + 1;
	c->inodes = d->inodes;
	for (size_t i = 0; i < NAMES; i++) {
		if (d->medium.node[i] == NULL)
			continue;
		dir_add(&c->medium, d->medium.name[i], node_copy(d->medium.node[i]));
		dir_add(&c->now, d->medium.name[i], c->medium.node[wal_disk_find(&c->medium,
			d->medium.name[i])]);
	}
	return c;
}

void wal_disk_free(struct wal_disk *d)
{
	if (d == NULL)
		return;
	wal_disk_kill(d);
	sync_changes(d, 0);
	for (size_t i = 0; i < NAMES; i++) {
		if (d->now.node[i] != NULL)
			dir_remove(&d->now, d->now.name[i]);
		if (d->medium.node[i] != NULL)
			dir_remove(&d->medium, d->medium.name[i]);
	}
	free(d);
}

void wal_disk_die_after(struct wal_disk *d, uint64_t ops)
{
	d->dying = true;
	d->die_after = ops;
}

void wal_disk_fail(struct wal_disk *d, enum wal_disk_op op, uint64_t nth, int error, bool forever)
{
	d->fail_at[op] = nth ? d->count[op] + nth : 0;
	d->fail_error[op] = error;
	d->fail_forever[op] = forever;
}

uint64_t wal_disk_count(const struct wal_disk *d, enum wal_disk_op op)
{
	return d->count[op];
}
