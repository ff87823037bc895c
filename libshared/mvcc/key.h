/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as the store's rows have them: see mvcc/layout.h. */
#ifndef QUORATE_MVCC_KEY_H
#define QUORATE_MVCC_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "mvcc/layout.h"

struct mvcc_key {
	uint8_t data[LAYOUT_ROW_KEY_MAX];
	size_t len;
};

static inline struct bytes mvcc_key_bytes(const struct mvcc_key *k)
{
	return bytes_of(k->data, k->len);
}

/* The row of the key itself: in the level where it ends. */
void mvcc_key_encode(struct mvcc_key *out, struct bytes key);
/* Appends a revision: the key of a row of `past`. */
void mvcc_key_add_rev(struct mvcc_key *k, int64_t rev, uint32_t sub);

/*
 * A key level by level: its marker in each, at last its row. *rest is what lower levels hold, at
 * first the key. mvcc_key_down only if the one before goes on.
 */
void mvcc_key_top(struct mvcc_key *out, struct bytes *rest);
void mvcc_key_down(struct mvcc_key *k, struct bytes *rest);
/* How all rows of the level below a marker begin. */
void mvcc_key_level_below(struct mvcc_key *level, struct bytes marker);

/* Of an encoded key (without revision): */
bool mvcc_key_is_long(struct bytes enc);          /* in a level below the top */
bool mvcc_key_goes_on(struct bytes enc);          /* a marker */
struct bytes mvcc_key_level(struct bytes enc);    /* its level's name, in enc; empty: the top */
/* The key itself, if no byte of it was escaped or hashed; else empty. */
struct bytes mvcc_key_plain(struct bytes enc);

/* A row of `past` ends in a revision: splits it off. False if the row's key is too short. */
bool mvcc_key_split(struct bytes row_key, struct bytes *enc, int64_t *rev, uint32_t *sub);

/* Revisions as keys of `log`. */
struct mvcc_rev_key {
	uint8_t data[LAYOUT_REV_BYTES];
};
void mvcc_rev_encode(struct mvcc_rev_key *out, int64_t rev, uint32_t sub);
bool mvcc_rev_decode(struct bytes b, int64_t *rev, uint32_t *sub);

#endif
