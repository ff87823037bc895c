/* SPDX-License-Identifier: Apache-2.0 */
/* What preload_record.so writes down and power_disk.c reads. Records of one machine, not for exchange. */
#ifndef QUORATE_TEST_POWER_RECORD_H
#define QUORATE_TEST_POWER_RECORD_H

#include <stdint.h>

enum power_type {
	POWER_CREATE = 1,        /* ino; path */
	POWER_MKDIR,             /* ino; path */
	POWER_WRITE,             /* ino, offset; bytes */
	POWER_SIZE,              /* ino, offset: the new size */
	POWER_GROW,              /* ino, offset: at least this size */
	POWER_SYNC_BEGIN,        /* ino, offset: who syncs */
	POWER_SYNC_END,
	POWER_RENAME,            /* from, to */
	POWER_REMOVE,            /* path */
	POWER_ACK,               /* offset: a client was told that this revision is written; key, value */
	POWER_ROOT               /* ino of the recorded directory itself */
};

struct power_record {
	uint32_t type, bytes;    /* bytes that follow; paths end with a NUL */
	uint64_t ino, offset;
};

#endif
