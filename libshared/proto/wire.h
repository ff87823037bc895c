/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MessagePack, one value at a time. Packing is msgpack-c's; reading is our own pull reader, since
 * msgpack-c's unpacker allocates from lengths that it has not checked (upstream issue #1013).
 * The reader never allocates, never reads past the end, and its first error sticks.
 *
 * This is the only includer of msgpack.
 */
#ifndef QUORATE_WIRE_H
#define QUORATE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Packing appends to the buffer; errors stick in buf.err. */
void wire_array(struct buf *b, size_t n);
void wire_map(struct buf *b, size_t n);
void wire_nil(struct buf *b);
void wire_bool(struct buf *b, bool v);
void wire_u64(struct buf *b, uint64_t v);
void wire_i64(struct buf *b, int64_t v);
void wire_bin(struct buf *b, struct bytes v);
void wire_bin_head(struct buf *b, size_t len);   /* the caller adds len bytes itself */
void wire_str(struct buf *b, struct bytes v);
void wire_cstr(struct buf *b, const char *s);

enum wire_kind { WIRE_NIL, WIRE_BOOL, WIRE_UINT, WIRE_INT, WIRE_FLOAT, WIRE_STR, WIRE_BIN,
		 WIRE_ARRAY, WIRE_MAP, WIRE_EXT, WIRE_END /* no bytes left, or an error */ };

/* How forgiving the reader is; a client's library may know only str, a daemon knows bin. */
enum wire_mode {
	WIRE_STRICT,    /* between our own daemons: exactly what the list says */
	WIRE_LENIENT,   /* from clients: str for bin, nil or absence at the end for a default */
	WIRE_TOLERANT   /* from servers, perhaps later ones: fields behind those of the list are skipped */
};

struct wire {
	struct cur c;
	enum wire_mode mode;
	unsigned depth;          /* kept by the callers that nest, against LIMIT_DECODE_DEPTH */
};

struct wire wire_of(struct bytes message, enum wire_mode mode);
enum wire_kind wire_peek(const struct wire *w);
uint32_t wire_get_array(struct wire *w);      /* the count; never more than the bytes left */
uint32_t wire_get_map(struct wire *w);        /* likewise, twice the count */
bool wire_get_nil(struct wire *w);            /* takes a nil if one is next */
bool wire_get_bool(struct wire *w);
uint64_t wire_get_u64(struct wire *w);        /* any non-negative integer encoding */
int64_t wire_get_i64(struct wire *w);
struct bytes wire_get_bin(struct wire *w);    /* borrowed; LENIENT: str too */
struct bytes wire_get_str(struct wire *w);
void wire_skip(struct wire *w);               /* one whole value, without recursion */
int wire_end(struct wire *w);                 /* ERR_OK, the sticky error, or ERR_TRAILING */
void wire_fail(struct wire *w, int err);      /* sets the sticky error, if none is set */

/*
 * What one head says: the kind, and for integers the value (two's complement), for strings, bins
 * and exts the length of the body, for arrays and maps the count. For a reader whose value has not
 * arrived whole: ERR_TRUNCATED in c->err means that more of the head must come.
 */
struct wire_head {
	enum wire_kind kind;
	uint64_t n;
};
struct wire_head wire_head(struct cur *c);

#endif
