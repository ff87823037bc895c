/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's file holds, for its one writer (stored) and its readers. The same in prose:
 * docs/store-format.md. Whatever changes here changes STORE_FORMAT.
 *
 * Tables (all plain, no duplicate keys), rows of `past` only for versions that were superseded:
 *
 *   now       key                        -> version   the latest version of each live key
 *   past      key, revision              -> version   what was superseded, and by which revision
 *   log       revision                   -> event     what happened, for watchers
 *   done      raft index                 -> result    recent commands, applied at most once
 *   gateways  gateway incarnation        -> session
 *   meta      name                       -> state, identity, compaction
 *
 * A key is escaped so that the order of rows is the order of keys: 0x00 becomes 0x00 0xff, and
 * 0x00 0x00 ends it. Of an escaped key longer than LIMIT_KEY_INLINE_BYTES the longest run of whole
 * escaped bytes that fits and 0x00 0x01 are a "marker": a row that holds nothing but says that keys
 * go on in the level below it. The rows of that level begin with 0x00 0x01 and the 16-byte BLAKE2b
 * hash of the marker, behind which the key goes on in the same way, level by level to its end. A
 * marker is there as long as the level below it has a row in the same table. In `past` its revision
 * is 0.
 *
 * A revision is 8 bytes main and 4 bytes sub, big-endian. Every value opens with a CRC-32C over the
 * row's key and the rest of its value; all other integers are little-endian.
 */
#ifndef QUORATE_LAYOUT_H
#define QUORATE_LAYOUT_H

#include "base/limits.h"

enum { STORE_FORMAT = 2 };

enum {
	LAYOUT_KEY_END = 0x00,          /* the byte behind 0x00 in an encoded key */
	LAYOUT_KEY_LONG = 0x01,
	LAYOUT_KEY_ZERO = 0xff,
	LAYOUT_HASH_BYTES = 16,
	LAYOUT_REV_BYTES = 12,
	LAYOUT_LEVEL_BYTES = 2 + LAYOUT_HASH_BYTES,
	LAYOUT_KEY_MAX = LIMIT_KEY_INLINE_BYTES + 2,
	LAYOUT_ROW_KEY_MAX = LAYOUT_KEY_MAX + LAYOUT_REV_BYTES,
	LAYOUT_CRC_BYTES = 4
};

/*
 * version: crc u32, by i64, mod i64, sub u32, create i64, version i64, lease i64, key_len u32,
 * key, value. `by` is the revision that superseded it, 0 in `now`. key_len 0: the key is the row's
 * key as it stands, without its end (no byte was escaped); else the whole key follows.
 */
enum { LAYOUT_VERSION_HEAD = LAYOUT_CRC_BYTES + 8 + 8 + 4 + 8 + 8 + 8 + 4 };

/* marker: crc u32. */

/* event: crc u32, type u8, key. */
enum mvcc_event_type { MVCC_EVENT_PUT = 1, MVCC_EVENT_DELETE = 2 };

#define LAYOUT_META_STATE "state"
#define LAYOUT_META_IDENTITY "identity"
#define LAYOUT_META_COMPACTION "compaction"

_Static_assert(LAYOUT_ROW_KEY_MAX <= 511, "LMDB takes keys of up to 511 bytes");

#endif
