/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file the store is in, and whether it can be trusted. The store's LMDB is never synced while
 * it works. After the death of a process its file is whole, since the kernel keeps the pages; after
 * a crash of the operating system it may be torn, and nothing in it can tell. So STORE_DIR/STATE
 * says under which boot of the system the file was written, and whether it was synced and closed in
 * an orderly way. Same boot, or closed: it goes on. Else, and if it was found to be damaged, it is
 * thrown away, and an empty new generation is filled from the log.
 *
 *   STORE_DIR/STATE          text, replaced whole; the last line is its checksum
 *   STORE_DIR/gen-<number>/  data.mdb, lock.mdb
 */
#ifndef QUORATE_GENERATION_H
#define QUORATE_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define GENERATION_BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

/* In the place of a boot id: no boot of any system has left this file in order. */
#define GENERATION_DAMAGED "damaged"

enum { GENERATION_BOOT_ID_MAX = 64 };

struct generation_state {
	uint32_t format;
	uint64_t cluster_id, node_id;
	uint64_t generation;
	char boot_id[GENERATION_BOOT_ID_MAX + 1];
	bool clean;              /* synced, closed, and not opened since */
};

/* ERR_OK, ERR_NOT_FOUND, ERR_CORRUPT (it is not what was written), ERR_VERSION, ERR_IO. */
int generation_read(const char *store_dir, struct generation_state *s);
/* Synced, renamed, its directory synced: when it returns ERR_OK it stands. ERR_IO (errno). */
int generation_write(const char *store_dir, const struct generation_state *s);

/* The text of STATE, and back; for generation_read and its tests. */
void generation_encode(struct buf *out, const struct generation_state *s);
int generation_decode(struct bytes text, struct generation_state *s);

/* The first line of a file such as the above. ERR_OK or ERR_IO. */
int generation_boot_id(const char *path, char id[GENERATION_BOOT_ID_MAX + 1]);

/* The highest generation that has a directory; 0: none. ERR_IO. */
int generation_highest(const char *store_dir, uint64_t *highest);
/* Makes the directory, without content if it was there. ERR_IO. */
int generation_make(const char *store_dir, uint64_t generation);
/* There are directories of others. */
bool generation_has_others(const char *store_dir, uint64_t keep);
/* Removes them, which takes a disk a while. A failure is logged: it costs room, nothing else. */
void generation_remove_others(const char *store_dir, uint64_t keep);
/* There is a file of it. */
bool generation_exists(const char *store_dir, uint64_t generation);
/* A directory's entries survive a crash. ERR_IO. */
int generation_sync_dir(const char *dir);

#endif
