/* SPDX-License-Identifier: Apache-2.0 */
/* The disk's inside, for its two files. */
#ifndef QUORATE_WAL_DISK_INT_H
#define QUORATE_WAL_DISK_INT_H

#include "tests/lib/wal_disk.h"

#define SECTOR 512u
#define NAMES 1024u
#define FDS 64u

struct node {
	uint8_t *now, *medium;
	size_t size, cap;         /* cap: a multiple of SECTOR, both images */
	size_t medium_size;
	bool *dirty;              /* per sector */
	uint64_t inode, version;  /* version: grows with each write */
	int links;                /* names in either directory, and descriptors */
};

struct dir {
	char name[NAMES][64];
	struct node *node[NAMES];
};

enum change_type { CHANGE_ADD, CHANGE_RENAME, CHANGE_REMOVE };

struct change {
	enum change_type type;
	char name[64], to[64];
	struct node *node;
};

struct wal_disk {
	struct wal_io io;
	uint64_t random;
	uint64_t boot, inodes;    /* numbers: of this boot, of the newest file */
	struct dir now, medium;
	struct change changes[NAMES];   /* of the directory, unsynced */
	size_t nchanges;
	struct node *fds[FDS];
	bool locked;
	bool dead, dying;
	uint64_t die_after;
	uint64_t count[WAL_DISK_OPS], fail_at[WAL_DISK_OPS];
	int fail_error[WAL_DISK_OPS];
	bool fail_forever[WAL_DISK_OPS];
};

size_t wal_disk_find(const struct dir *d, const char *name);   /* NAMES: it is not there */
void wal_disk_grow(struct node *n, size_t size);

#endif
