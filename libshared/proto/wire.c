/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire.h"

#include <msgpack/pack.h>

#include "base/err.h"
#include "base/limits.h"

static int wire_write(void *data, const char *bytes, size_t len)
{
	struct buf *b = data;

	buf_add(b, bytes, len);
	return b->err ? -1 : 0;
}

#define WIRE_PACKER(b) (&(msgpack_packer){.data = (b), .callback = wire_write})

void wire_array(struct buf *b, size_t n)
{
	msgpack_pack_array(WIRE_PACKER(b), n);
}

void wire_map(struct buf *b, size_t n)
{
	msgpack_pack_map(WIRE_PACKER(b), n);
}

void wire_nil(struct buf *b)
{
	msgpack_pack_nil(WIRE_PACKER(b));
}

void wire_bool(struct buf *b, bool v)
{
	if (v)
		msgpack_pack_true(WIRE_PACKER(b));
	else
		msgpack_pack_false(WIRE_PACKER(b));
}

void wire_u64(struct buf *b, uint64_t v)
{
	msgpack_pack_uint64(WIRE_PACKER(b), v);
}

void wire_i64(struct buf *b, int64_t v)
{
	msgpack_pack_int64(WIRE_PACKER(b), v);
}

void wire_bin_head(struct buf *b, size_t len)
{
	msgpack_pack_bin(WIRE_PACKER(b), len);
}

void wire_bin(struct buf *b, struct bytes v)
{
	wire_bin_head(b, v.len);
	buf_add_bytes(b, v);
}

void wire_str(struct buf *b, struct bytes v)
{
	msgpack_pack_str(WIRE_PACKER(b), v.len);
	buf_add_bytes(b, v);
}

void wire_cstr(struct buf *b, const char *s)
{
	wire_str(b, bytes_str(s));
}

struct wire wire_of(struct bytes message, enum wire_mode mode)
{
	return (struct wire){cur_of(message), mode, 0};
}

void wire_fail(struct wire *w, int err)
{
	if (w->c.err == ERR_OK)
		w->c.err = err;
}

int wire_end(struct wire *w)
{
	return cur_end(&w->c);
}

static uint64_t wire_be(struct cur *c, unsigned width)
{
	struct bytes v = cur_take(c, width);
	uint64_t n = 0;

	for (size_t i = 0; i < v.len; i++)
		n = n << 8 | v.data[i];
	return n;
}

static struct wire_head wire_fixed(uint8_t b)
{
	if (b < 0x80)
		return (struct wire_head){WIRE_UINT, b};
	if (b < 0x90)
		return (struct wire_head){WIRE_MAP, b & 0x0f};
	if (b < 0xa0)
		return (struct wire_head){WIRE_ARRAY, b & 0x0f};
	if (b < 0xc0)
		return (struct wire_head){WIRE_STR, b & 0x1f};
	return (struct wire_head){WIRE_INT, (uint64_t)(int64_t)(int8_t)b};
}

static uint64_t wire_sign(uint64_t v, unsigned width)
{
	unsigned shift = 64 - 8 * width;

	return (uint64_t)((int64_t)(v << shift) >> shift);
}

struct wire_head wire_head(struct cur *c)
{
	uint8_t b = cur_u8(c);
	unsigned width;

	if (c->err)
		return (struct wire_head){WIRE_END, 0};
	if (b < 0xc0 || b >= 0xe0)
		return wire_fixed(b);
	switch (b) {
	case 0xc0:
		return (struct wire_head){WIRE_NIL, 0};
	case 0xc2: case 0xc3:
		return (struct wire_head){WIRE_BOOL, b & 1u};
	case 0xc4: case 0xc5: case 0xc6:
		return (struct wire_head){WIRE_BIN, wire_be(c, 1u << (b - 0xc4))};
	case 0xc7: case 0xc8: case 0xc9:
		return (struct wire_head){WIRE_EXT, wire_be(c, 1u << (b - 0xc7)) + 1};
	case 0xca: case 0xcb:
		return (struct wire_head){WIRE_FLOAT, wire_be(c, b == 0xca ? 4 : 8)};
	case 0xcc: case 0xcd: case 0xce: case 0xcf:
		return (struct wire_head){WIRE_UINT, wire_be(c, 1u << (b - 0xcc))};
	case 0xd0: case 0xd1: case 0xd2: case 0xd3:
		width = 1u << (b - 0xd0);
		return (struct wire_head){WIRE_INT, wire_sign(wire_be(c, width), width)};
	case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8:
		return (struct wire_head){WIRE_EXT, (1u << (b - 0xd4)) + 1u};
	case 0xd9: case 0xda: case 0xdb:
		return (struct wire_head){WIRE_STR, wire_be(c, 1u << (b - 0xd9))};
	case 0xdc: case 0xdd:
		return (struct wire_head){WIRE_ARRAY, wire_be(c, b == 0xdc ? 2 : 4)};
	case 0xde: case 0xdf:
		return (struct wire_head){WIRE_MAP, wire_be(c, b == 0xde ? 2 : 4)};
	default:
		c->err = ERR_MALFORMED;
		return (struct wire_head){WIRE_END, 0};
	}
}

enum wire_kind wire_peek(const struct wire *w)
{
	struct cur c = w->c;

	return wire_head(&c).kind;
}

/* The next head, which must be of this kind. */
static uint64_t wire_expect(struct wire *w, enum wire_kind kind)
{
	struct wire_head h = wire_head(&w->c);

	if (h.kind != kind)
		wire_fail(w, ERR_MALFORMED);
	return w->c.err ? 0 : h.n;
}

uint32_t wire_get_array(struct wire *w)
{
	uint64_t n = wire_expect(w, WIRE_ARRAY);

	if (n > cur_left(&w->c)) {
		wire_fail(w, ERR_TRUNCATED);
		return 0;
	}
	return (uint32_t)n;
}

uint32_t wire_get_map(struct wire *w)
{
	uint64_t n = wire_expect(w, WIRE_MAP);

	if (n > cur_left(&w->c) / 2) {
		wire_fail(w, ERR_TRUNCATED);
		return 0;
	}
	return (uint32_t)n;
}

bool wire_get_nil(struct wire *w)
{
	if (w->c.err || wire_peek(w) != WIRE_NIL)
		return false;
	(void)cur_u8(&w->c);
	return true;
}

bool wire_get_bool(struct wire *w)
{
	return wire_expect(w, WIRE_BOOL) != 0;
}

uint64_t wire_get_u64(struct wire *w)
{
	struct wire_head h = wire_head(&w->c);

	if ((h.kind != WIRE_UINT && h.kind != WIRE_INT) || (h.kind == WIRE_INT && h.n >> 63))
		wire_fail(w, ERR_MALFORMED);
	return w->c.err ? 0 : h.n;
}

int64_t wire_get_i64(struct wire *w)
{
	struct wire_head h = wire_head(&w->c);

	if ((h.kind != WIRE_UINT && h.kind != WIRE_INT) || (h.kind == WIRE_UINT && h.n >> 63))
		wire_fail(w, ERR_MALFORMED);
	return w->c.err ? 0 : (int64_t)h.n;
}

static struct bytes wire_body(struct wire *w, uint64_t n)
{
	if (w->c.err || n > cur_left(&w->c)) {
		wire_fail(w, ERR_TRUNCATED);
		return bytes_of(NULL, 0);
	}
	return cur_take(&w->c, (size_t)n);
}

struct bytes wire_get_str(struct wire *w)
{
	return wire_body(w, wire_expect(w, WIRE_STR));
}

struct bytes wire_get_bin(struct wire *w)
{
	if (w->mode == WIRE_LENIENT && wire_peek(w) == WIRE_STR)
		return wire_get_str(w);
	return wire_body(w, wire_expect(w, WIRE_BIN));
}

/* `todo` counts the values still to come; each costs a byte, so it may not exceed the bytes left. */
void wire_skip(struct wire *w)
{
	for (uint64_t todo = 1; todo > 0 && !w->c.err; todo--) {
		struct wire_head h = wire_head(&w->c);

		if (h.kind == WIRE_STR || h.kind == WIRE_BIN || h.kind == WIRE_EXT)
			(void)wire_body(w, h.n);
		else if (h.kind == WIRE_ARRAY)
			todo += h.n;
		else if (h.kind == WIRE_MAP)
			todo += 2 * h.n;
		if (todo - 1 > cur_left(&w->c))
			wire_fail(w, ERR_TRUNCATED);
	}
}
