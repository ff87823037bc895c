/* SPDX-License-Identifier: Apache-2.0 */
#include "client/recipes/naming.h"

#include "base/err.h"

enum { NAMING_DEEP = 32 };             /* nesting of metadata that is looked through */

/* ---- writing ---- */

/* The length of the character at the front of valid UTF-8 (RFC 3629), else 0. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 :
		   p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* overlong, surrogates, above U+10FFFF */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return n;
}

static bool naming_is_text(struct bytes v)
{
	for (size_t i = 0, n; i < v.len; i += n) {
		n = utf8_length(v.data + i, v.len - i);
		if (n == 0 || v.data[i] == 0)
			return false;
	}
	return true;
}

static void naming_quote(struct buf *out, struct bytes v)
{
	buf_u8(out, '"');
	for (size_t i = 0; i < v.len; i++) {
		uint8_t c = v.data[i];

		if (c == '"' || c == '\\')
			buf_u8(out, '\\');
		if (c < 0x20)
			buf_printf(out, "\\u%04x", c);
		else
			buf_u8(out, c);
	}
	buf_u8(out, '"');
}

int naming_write(struct buf *out, struct bytes address, struct bytes metadata)
{
	if (address.len == 0 || !naming_is_text(address) || !naming_is_text(metadata))
		return ERR_BAD_ARGUMENT;
	buf_str(out, "{\"Op\":0,\"Addr\":");
	naming_quote(out, address);
	buf_str(out, ",\"Metadata\":");
	if (metadata.len > 0)
		naming_quote(out, metadata);
	else
		buf_str(out, "null");
	buf_u8(out, '}');
	return ERR_OK;
}

/* ---- reading: errors stick to the cursor ---- */

static uint8_t json_peek(struct cur *c)
{
	while (c->pos < c->end && (*c->pos == ' ' || *c->pos == '\t' || *c->pos == '\r' || *c->pos == '\n'))
		c->pos++;
	return c->pos < c->end && c->err == ERR_OK ? *c->pos : 0;
}

static void json_bad(struct cur *c)
{
	if (c->err == ERR_OK)
		c->err = ERR_MALFORMED;
}

static void json_expect(struct cur *c, uint8_t what)
{
	if (json_peek(c) != what)
		json_bad(c);
	else
		c->pos++;
}

static uint32_t json_hex4(struct cur *c)
{
	struct bytes four = cur_take(c, 4);
	uint32_t v = 0;

	for (size_t i = 0; i < four.len; i++) {
		uint8_t d = four.data[i], low = d | 0x20;

		if (!(d >= '0' && d <= '9') && !(low >= 'a' && low <= 'f'))
			json_bad(c);
		v = v << 4 | (uint32_t)(d <= '9' ? d - '0' : low - 'a' + 10);
	}
	return v;
}

/* A pair of surrogates is one character; half a pair, and NUL, are no text. */
static void json_unicode(struct cur *c, struct buf *out)
{
	uint32_t v = json_hex4(c);

	if (v >= 0xd800 && v < 0xdc00 && cur_u8(c) == '\\' && cur_u8(c) == 'u') {
		uint32_t low = json_hex4(c);

		v = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00) : 0;
	}
	if (v == 0 || (v >= 0xd800 && v < 0xe000)) {
		json_bad(c);
	} else if (v < 0x80) {
		buf_u8(out, (uint8_t)v);
	} else {
		unsigned n = v < 0x800 ? 1 : v < 0x10000 ? 2 : 3;

		buf_u8(out, (uint8_t)((n == 1 ? 0xc0 : n == 2 ? 0xe0 : 0xf0) | v >> 6 * n));
		while (n-- > 0)
			buf_u8(out, (uint8_t)(0x80 | (v >> 6 * n & 0x3f)));
	}
}

static void json_string(struct cur *c, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	json_expect(c, '"');
	while (c->err == ERR_OK) {
		uint8_t b = cur_u8(c);
		const char *at;

		if (b == '"' || c->err != ERR_OK)
			return;
		if (b < 0x20) {
			json_bad(c);
		} else if (b != '\\') {
			buf_u8(out, b);
		} else if ((b = cur_u8(c)) == 'u') {
			json_unicode(c, out);
		} else if (b != 0 && (at = strchr(from, b)) != NULL) {
			buf_u8(out, (uint8_t)to[at - from]);
		} else {
			json_bad(c);
		}
	}
}

/* Passes over any value. Numbers and words are only passed over, not checked. */
static void json_skip(struct cur *c, unsigned deep)
{
	uint8_t first = json_peek(c), end = first == '{' ? '}' : ']';
	struct buf none;

	if (deep == 0) {
		json_bad(c);
	} else if (first == '"') {
		buf_init(&none, 0);
		json_string(c, &none);
		buf_free(&none);
	} else if (first == '{' || first == '[') {
		do {
			c->pos++;
			if (json_peek(c) == end)
				break;
			json_skip(c, deep - 1);
			if (first == '{') {
				json_expect(c, ':');
				json_skip(c, deep - 1);
			}
		} while (json_peek(c) == ',');
		json_expect(c, end);
	} else {
		const uint8_t *from = c->pos;

		while (c->pos < c->end && strchr("+-.0123456789aeflnrstuE", *c->pos) != NULL && *c->pos != 0)
			c->pos++;
		if (c->pos == from)
			json_bad(c);
	}
}

static void naming_member(struct cur *c, struct buf *address, struct buf *metadata)
{
	const uint8_t *from;
	struct buf name;

	buf_init(&name, 0);
	json_string(c, &name);
	json_expect(c, ':');
	if (bytes_eq(buf_bytes(&name), bytes_str("Addr")) && address->len == 0) {
		json_string(c, address);
	} else if (bytes_eq(buf_bytes(&name), bytes_str("Metadata")) && metadata->len == 0) {
		bool text = json_peek(c) == '"';

		from = c->pos;
		if (text)
			json_string(c, metadata);
		else
			json_skip(c, NAMING_DEEP);
		if (!text && c->err == ERR_OK && !bytes_eq(bytes_of(from, (size_t)(c->pos - from)), bytes_str("null")))
			buf_add(metadata, from, (size_t)(c->pos - from));
	} else {
		json_skip(c, NAMING_DEEP);
	}
	buf_free(&name);
}

int naming_read(struct bytes value, struct buf *address, struct buf *metadata)
{
	struct cur c = cur_of(value);

	json_expect(&c, '{');
	if (json_peek(&c) != '}')
		naming_member(&c, address, metadata);
	while (c.err == ERR_OK && json_peek(&c) == ',') {
		c.pos++;
		naming_member(&c, address, metadata);
	}
	json_expect(&c, '}');
	(void)json_peek(&c);                  /* blanks at the end */
	if (c.err != ERR_OK || c.pos != c.end)
		return ERR_MALFORMED;
	return address->len > 0 && naming_is_text(buf_bytes(address)) && naming_is_text(buf_bytes(metadata)) ?
		ERR_OK : ERR_MALFORMED;
}
