/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages as lists of fields. A message is declared once, as a list:
 *
 *   #define POINT_FIELDS(F, L, O) \
 *       F(I64,   x,     "help") \
 *       F(BYTES, label, "help") \
 *       L(other, items, 128, "a list of at most 128 `struct other`") \
 *       O(other, extra, "one `struct other`, or NULL")
 *   MSG_DECLARE(point, POINT_FIELDS)          in a header: struct point, point_desc
 *   MSG_DEFINE(POINT_FIELDS)                  in one .c file: the descriptor (see below)
 *
 * and one generic encoder, decoder and printer walk the descriptor. On the wire a message is the
 * MessagePack array of its fields, in order: integers as integers, BYTES as bin, STR as str, lists
 * as arrays of arrays, optional parts as nil or an array. New fields are only ever appended.
 *
 * A link numbers its messages by a second list (see link headers such as proto/link_raft.h):
 *
 *   #define X_LINK(M) M(1, point, POINT_FIELDS, "sender: what it means, what answers it")
 *
 * Decoding is strict or lenient as the struct wire says. Decoded bytes point into the message,
 * lists live in the arena: both must outlive the struct.
 */
#ifndef QUORATE_MSG_H
#define QUORATE_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "proto/wire.h"

enum msg_kind { MSG_U64, MSG_I64, MSG_BOOL, MSG_BYTES, MSG_STR, MSG_LIST, MSG_OPT };

struct msg_desc;

struct msg_field {
	enum msg_kind kind;
	const char *name;
	size_t offset;
	const struct msg_desc *sub;   /* of LIST and OPT */
	uint32_t max;                 /* of LIST */
	const char *help;
};

struct msg_desc {
	const char *name;
	size_t size;
	const struct msg_field *fields;
	size_t n_fields;
};

struct msg_list {                     /* the shape shared by every list member */
	void *v;
	size_t n;
};

#define MSG_C_U64 uint64_t
#define MSG_C_I64 int64_t
#define MSG_C_BOOL bool
#define MSG_C_BYTES struct bytes
#define MSG_C_STR struct bytes

#define MSG_MEMBER_F(kind, name, help) MSG_C_##kind name;
#define MSG_MEMBER_L(sub, name, max, help) struct { struct sub *v; size_t n; } name;
#define MSG_MEMBER_O(sub, name, help) struct sub *name;

#define MSG_DECLARE(type, FIELDS) \
	struct type { FIELDS(MSG_MEMBER_F, MSG_MEMBER_L, MSG_MEMBER_O) }; \
	extern const struct msg_desc type##_desc;

/*
 * offsetof needs the struct's name, which a field row does not carry: a static table filled once
 * by a constructor would cost a start-up step, so the row macros take it from MSG_T instead, which
 * the defining file sets around each MSG_DEFINE:
 *   #define MSG_T point
 *   MSG_DEFINE(POINT_FIELDS)
 *   #undef MSG_T
 */
#define MSG_CAT_(a, b) a##b
#define MSG_CAT(a, b) MSG_CAT_(a, b)
#define MSG_TEXT_(a) #a
#define MSG_TEXT(a) MSG_TEXT_(a)
#define MSG_ROW_F(k, n, h) {MSG_##k, #n, offsetof(struct MSG_T, n), NULL, 0, h},
#define MSG_ROW_L(s, n, m, h) {MSG_LIST, #n, offsetof(struct MSG_T, n), &s##_desc, m, h},
#define MSG_ROW_O(s, n, h) {MSG_OPT, #n, offsetof(struct MSG_T, n), &s##_desc, 0, h},
#define MSG_DEFINE(FIELDS) \
	static const struct msg_field MSG_CAT(MSG_T, _fields)[] = { \
		FIELDS(MSG_ROW_F, MSG_ROW_L, MSG_ROW_O)}; \
	const struct msg_desc MSG_CAT(MSG_T, _desc) = { \
		MSG_TEXT(MSG_T), sizeof(struct MSG_T), MSG_CAT(MSG_T, _fields), \
		sizeof MSG_CAT(MSG_T, _fields) / sizeof(struct msg_field)};

int msg_encode(struct buf *out, const struct msg_desc *d, const void *msg);   /* ERR_OK or buf's */
int msg_decode(struct wire *in, const struct msg_desc *d, struct arena *arena, void *msg);

/* name{field=value ...}; bytes are escaped and cut, lists show their length and first items. */
void msg_print(struct buf *out, const struct msg_desc *d, const void *msg);

/* One row of a link's list. */
struct msg_row {
	uint32_t number;
	const struct msg_desc *desc;
	const char *help;
};

struct msg_link {
	const char *name;
	const struct msg_row *rows;
	size_t n_rows;
};

#define MSG_LINK_ENUM(number, type, help) MSG_NO_##type = (number),
#define MSG_LINK_ROW(number, type, help) {number, &type##_desc, help},
const struct msg_row *msg_row(const struct msg_link *link, uint32_t number);   /* or NULL */

/* A frame is a 4-byte big-endian length and [number, sequence, [fields...]]. */
enum { MSG_FRAME_HEAD = 4 };
int msg_frame(struct buf *out, uint32_t number, uint64_t seq, const struct msg_desc *d, const void *msg);

struct msg_in {
	const struct msg_row *row;
	uint64_t seq;
	void *msg;                    /* of row->desc's type, in the arena */
};

/* `frame` is without its length. The arena is not reset. */
int msg_unframe(const struct msg_link *link, struct bytes frame, struct arena *arena, struct msg_in *in);

#endif
