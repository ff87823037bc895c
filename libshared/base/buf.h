/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct buf: a byte buffer that grows up to a limit. The first failure (out of memory, over the
 *   limit) sticks: later appends do nothing, and one look at `err` at the end is enough.
 * struct cur: a bounds-checked read cursor with the same habit; it owns nothing.
 * Fixed-width integers are little-endian unless the name says be.
 */
#ifndef QUORATE_BUF_H
#define QUORATE_BUF_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {            /* borrowed bytes; data may be NULL when len is 0 */
	const uint8_t *data;
	size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
	return (struct bytes){(const uint8_t *)data, len};
}
static inline struct bytes bytes_str(const char *s)
{
	return bytes_of(s, strlen(s));
}
static inline bool bytes_eq(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
int bytes_cmp(struct bytes a, struct bytes b);   /* memcmp order, shorter first */

struct buf {
	uint8_t *data;
	size_t len, cap;
	size_t max;       /* never grows beyond; 0 = SIZE_MAX / 2 */
	int err;          /* sticky: ERR_OK, ERR_LIMIT or ERR_NO_MEMORY */
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);
void buf_clear(struct buf *b);                    /* keeps the memory, forgets the error */
void buf_shrink(struct buf *b, size_t keep_cap);  /* after buf_clear: gives memory above keep_cap back */
void *buf_reserve(struct buf *b, size_t n);       /* room for n more bytes, or NULL (sticky) */
void buf_add_growing(struct buf *b, const void *data, size_t n);        /* the rest of buf_add */
void buf_varint(struct buf *b, uint64_t v);       /* LEB128 */
void buf_str(struct buf *b, const char *s);       /* without the NUL */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n);        /* drops the first n bytes (memmove) */
static inline struct bytes buf_bytes(const struct buf *b)
{
	return bytes_of(b->data, b->len);
}

struct cur {
	const uint8_t *pos, *end;
	int err;          /* sticky: ERR_OK or ERR_TRUNCATED / ERR_MALFORMED */
};

struct cur cur_of(struct bytes v);
size_t cur_left(const struct cur *c);
struct bytes cur_take(struct cur *c, size_t n);   /* borrowed; empty on error */
uint8_t cur_u8(struct cur *c);
uint32_t cur_u32(struct cur *c);
uint64_t cur_u64(struct cur *c);
uint32_t cur_u32be(struct cur *c);
uint64_t cur_u64be(struct cur *c);
uint64_t cur_varint(struct cur *c);
int cur_end(struct cur *c);                       /* ERR_TRAILING if bytes are left; else err */

static inline void put_u32be(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof v);
}
static inline uint32_t get_u32be(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return be32toh(v);
}
static inline void put_u32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof v);
}
static inline uint32_t get_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return le32toh(v);
}
static inline void put_u64be(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof v);
}
static inline uint64_t get_u64be(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return be64toh(v);
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof v);
}
static inline uint64_t get_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

/* Messages are encoded by this, field by field: what there is room for costs no call. */
static inline void buf_add(struct buf *b, const void *data, size_t n)
{
	if (n == 0 || b->err != 0 || n > b->cap - b->len || b->len + n > b->max) {
		buf_add_growing(b, data, n);
		return;
	}
	memcpy(b->data + b->len, data, n);
	b->len += n;
}
static inline void buf_add_bytes(struct buf *b, struct bytes v)
{
	buf_add(b, v.data, v.len);
}
static inline void buf_u8(struct buf *b, uint8_t v)
{
	buf_add(b, &v, 1);
}
static inline void buf_u32(struct buf *b, uint32_t v)
{
	v = htole32(v);
	buf_add(b, &v, sizeof v);
}
static inline void buf_u64(struct buf *b, uint64_t v)
{
	v = htole64(v);
	buf_add(b, &v, sizeof v);
}
static inline void buf_u32be(struct buf *b, uint32_t v)
{
	v = htobe32(v);
	buf_add(b, &v, sizeof v);
}
static inline void buf_u64be(struct buf *b, uint64_t v)
{
	v = htobe64(v);
	buf_add(b, &v, sizeof v);
}

#endif
