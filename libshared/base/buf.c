/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

int bytes_cmp(struct bytes a, struct bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.data, b.data, n) : 0;

	if (c != 0)
		return c;
	return a.len < b.len ? -1 : a.len > b.len;
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max ? max : SIZE_MAX / 2};
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->err = ERR_OK;
}

void buf_shrink(struct buf *b, size_t keep_cap)
{
	CHECK(b->len == 0);
	if (b->cap > keep_cap) {
		free(b->data);
		b->data = NULL;
		b->cap = 0;
	}
}

void *buf_reserve(struct buf *b, size_t n)
{
	size_t max = b->max ? b->max : SIZE_MAX / 2, cap;
	uint8_t *data;

	if (b->err)
		return NULL;
	if (n > max || b->len > max - n) {
		b->err = ERR_LIMIT;
		return NULL;
	}
	if (b->data != NULL && b->cap - b->len >= n)
		return b->data + b->len;
	for (cap = b->cap ? b->cap : 64; cap < b->len + n;)
		cap *= 2;
	if (cap > max)
		cap = max;
	data = realloc(b->data, cap);
	if (data == NULL) {
		b->err = ERR_NO_MEMORY;
		return NULL;
	}
	b->data = data;
	b->cap = cap;
	return b->data + b->len;
}

void buf_add_growing(struct buf *b, const void *data, size_t n)
{
	void *to;

	if (n == 0)
		return;
	to = buf_reserve(b, n);
	if (to == NULL)
		return;
	memcpy(to, data, n);
	b->len += n;
}

void buf_varint(struct buf *b, uint64_t v)
{
	uint8_t p[10];
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	buf_add(b, p, n);
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	char *to;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	CHECK(n >= 0);
	to = buf_reserve(b, (size_t)n + 1);
	if (to == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
	CHECK(n <= b->len);
	b->len -= n;
	if (n > 0 && b->len > 0)
		memmove(b->data, b->data + n, b->len);
}

struct cur cur_of(struct bytes v)
{
	static const uint8_t nothing[1];
	const uint8_t *p = v.data ? v.data : nothing;

	return (struct cur){p, p + v.len, ERR_OK};
}

size_t cur_left(const struct cur *c)
{
	return (size_t)(c->end - c->pos);
}

struct bytes cur_take(struct cur *c, size_t n)
{
	struct bytes v;

	if (c->err || n > cur_left(c)) {
		c->err = c->err ? c->err : ERR_TRUNCATED;
		return bytes_of(NULL, 0);
	}
	v = bytes_of(c->pos, n);
	c->pos += n;
	return v;
}

uint8_t cur_u8(struct cur *c)
{
	struct bytes v = cur_take(c, 1);

	return c->err ? 0 : v.data[0];
}

uint32_t cur_u32(struct cur *c)
{
	struct bytes v = cur_take(c, 4);

	return c->err ? 0 : get_u32(v.data);
}

uint64_t cur_u64(struct cur *c)
{
	struct bytes v = cur_take(c, 8);

	return c->err ? 0 : get_u64(v.data);
}

uint32_t cur_u32be(struct cur *c)
{
	struct bytes v = cur_take(c, 4);

	return c->err ? 0 : get_u32be(v.data);
}

uint64_t cur_u64be(struct cur *c)
{
	struct bytes v = cur_take(c, 8);

	return c->err ? 0 : get_u64be(v.data);
}

uint64_t cur_varint(struct cur *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b = cur_u8(c);

		if (c->err)
			return 0;
		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80)
			return v;
	}
	c->err = ERR_MALFORMED;
	return 0;
}

int cur_end(struct cur *c)
{
	if (!c->err && c->pos != c->end)
		c->err = ERR_TRAILING;
	return c->err;
}
