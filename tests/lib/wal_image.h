/* SPDX-License-Identifier: Apache-2.0 */
/* The image of a segment in memory as the source of a scan. */
#ifndef QUORATE_WAL_IMAGE_H
#define QUORATE_WAL_IMAGE_H

#include <string.h>

#include "raftd/wal_scan.h"

static inline int wal_image_read(void *arg, uint8_t *to, size_t n, uint64_t offset)
{
	memcpy(to, (const uint8_t *)arg + offset, n);
	return 0;
}

static inline void wal_image_scan(struct wal_scan *s, uint8_t *image, const struct wal_header *h,
				  uint64_t number)
{
	wal_scan_open(s, &(struct wal_source){wal_image_read, image}, h, number);
}

#endif
