/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol Buffers (proto3), as far as etcd's messages need them. A message is a list of fields with
 * their numbers, as in proto/msg.h:
 *
 *   #define POINT_PB(F, L, O, B) \
 *       F(1, I64,   x) \
 *       F(2, BYTES, label) \
 *       L(3, other, items, 128)     repeated `struct other`, at most 128
 *       O(4, other, extra)          one `struct other`, or NULL
 *       B(5, U64, num, nums, 128)   repeated numbers or bytes: each the only member of `struct num`
 *   PB_DECLARE(point, POINT_PB)     in a header: struct point, point_pb
 *   PB_DEFINE(POINT_PB)             in one .c file, with PB_T as in proto/msg.h
 *
 * PB_ROWS alone declares only point_pb: the list then says where the fields of a struct lie that
 * something else has declared, so that one struct has two forms on two wires.
 *
 * Decoding copies no bytes (they point into the message), nests at most LIMIT_DECODE_DEPTH, and
 * spends only the arena. Unknown fields are skipped; of repeated single fields the last one counts,
 * messages are merged. Fields of a list that all say ONE exclude each other: the last one stands.
 */
#ifndef QUORATE_PB_H
#define QUORATE_PB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

/* ENUM is int32 on the wire and a uint64_t here, a negative one being huge. */
enum pb_kind { PB_U64, PB_I64, PB_U32, PB_ENUM, PB_BOOL, PB_BYTES, PB_STR, PB_LIST, PB_OPT, PB_ONE };

struct pb_desc;

struct pb_field {
	uint32_t number;
	enum pb_kind kind;            /* of a bare list: of its elements */
	bool bare;
	const char *name;
	size_t offset;
	const struct pb_desc *sub;    /* of LIST, OPT, ONE */
	size_t size;                  /* of an element of a list */
	uint32_t max;                 /* elements of a list */
};

struct pb_desc {
	const char *name;
	size_t size;
	const struct pb_field *fields;   /* by number, upwards */
	size_t n_fields;
};

#define PB_C_U64 uint64_t
#define PB_C_I64 int64_t
#define PB_C_U32 uint32_t
#define PB_C_ENUM uint64_t
#define PB_C_BOOL bool
#define PB_C_BYTES struct bytes
#define PB_C_STR struct bytes

#define PB_MEMBER_F(number, kind, name) PB_C_##kind name;
#define PB_MEMBER_L(number, sub, name, max) struct { struct sub *v; size_t n; } name;
#define PB_MEMBER_O(number, sub, name) struct sub *name;
#define PB_MEMBER_B(number, kind, sub, name, max) struct { struct sub *v; size_t n; } name;

#define PB_ROWS(type) extern const struct pb_desc type##_pb;
#define PB_DECLARE(type, FIELDS) \
	struct type { FIELDS(PB_MEMBER_F, PB_MEMBER_L, PB_MEMBER_O, PB_MEMBER_B) }; \
	PB_ROWS(type)

#define PB_CAT_(a, b) a##b
#define PB_CAT(a, b) PB_CAT_(a, b)
#define PB_TEXT_(a) #a
#define PB_TEXT(a) PB_TEXT_(a)
#define PB_ROW_F(no, k, n) {no, PB_##k, false, #n, offsetof(struct PB_T, n), NULL, 0, 0},
#define PB_ROW_L(no, s, n, m) {no, PB_LIST, false, #n, offsetof(struct PB_T, n), &s##_pb, sizeof(struct s), m},
#define PB_ROW_O(no, s, n) {no, PB_OPT, false, #n, offsetof(struct PB_T, n), &s##_pb, sizeof(struct s), 0},
#define PB_ROW_ONE(no, s, n) {no, PB_ONE, false, #n, offsetof(struct PB_T, n), &s##_pb, sizeof(struct s), 0},
#define PB_ROW_B(no, k, s, n, m) {no, PB_##k, true, #n, offsetof(struct PB_T, n), NULL, sizeof(struct s), m},
#define PB_DEFINE_(...) \
	static const struct pb_field PB_CAT(PB_T, _rows)[] = {__VA_ARGS__}; \
	const struct pb_desc PB_CAT(PB_T, _pb) = {PB_TEXT(PB_T), sizeof(struct PB_T), \
		PB_CAT(PB_T, _rows), sizeof PB_CAT(PB_T, _rows) / sizeof(struct pb_field)};
#define PB_DEFINE(FIELDS) PB_DEFINE_(FIELDS(PB_ROW_F, PB_ROW_L, PB_ROW_O, PB_ROW_B))
/* All O fields exclude each other: a oneof. */
#define PB_DEFINE_ONE(FIELDS) PB_DEFINE_(FIELDS(PB_ROW_F, PB_ROW_L, PB_ROW_ONE, PB_ROW_B))
/* Without fields. */
#define PB_DEFINE_EMPTY const struct pb_desc PB_CAT(PB_T, _pb) = {PB_TEXT(PB_T), sizeof(struct PB_T), NULL, 0};

/* Zeros, empty bytes and absent parts are left out, as proto3 does. */
size_t pb_size(const struct pb_desc *d, const void *msg);
int pb_encode(struct buf *out, const struct pb_desc *d, const void *msg);   /* ERR_OK or buf's */
/* ERR_OK, ERR_TRUNCATED, ERR_MALFORMED, ERR_LIMIT (a list, the depth or the arena). */
int pb_decode(struct bytes in, const struct pb_desc *d, struct arena *arena, void *msg);

/* For what is written piece by piece. */
enum { PB_VARINT_BYTES = 10 };
/* A byte for each seven bits. */
static inline size_t pb_varint_size(uint64_t v)
{
	return (size_t)(64 - __builtin_clzll(v | 1) + 6) / 7;
}
/* Writes it; returns where it ends. */
static inline uint8_t *pb_put_varint(uint8_t *to, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*to++ = (uint8_t)(v | 0x80);
	*to++ = (uint8_t)v;
	return to;
}
size_t pb_head_size(uint32_t number, size_t len);             /* of a field's head before len bytes */
void pb_head(struct buf *out, uint32_t number, size_t len);
int pb_part(struct buf *out, uint32_t number, const struct pb_desc *d, const void *msg);   /* with its head */
void pb_number(struct buf *out, uint32_t number, uint64_t v); /* left out if it is 0 */
size_t pb_number_size(uint32_t number, uint64_t v);
/* What stands in `out` from `from` on becomes a field: its head goes in before it. */
void pb_wrap(struct buf *out, size_t from, uint32_t number);

#endif
