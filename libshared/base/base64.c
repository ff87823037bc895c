/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include "base/err.h"

static const char base64_letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Three bytes, of which the last `pad` are not there. */
static void base64_quad_of(char *to, const uint8_t *v, unsigned pad)
{
	uint32_t n = (uint32_t)v[0] << 16 | (pad < 2 ? (uint32_t)v[1] << 8 : 0) | (pad < 1 ? v[2] : 0);

	to[0] = base64_letters[n >> 18];
	to[1] = base64_letters[n >> 12 & 63];
	to[2] = pad < 2 ? base64_letters[n >> 6 & 63] : '=';
	to[3] = pad < 1 ? base64_letters[n & 63] : '=';
}

void base64_encode(struct buf *out, struct bytes v)
{
	size_t quads = v.len / 3 + (v.len % 3 != 0), i = 0;
	char *to = v.len > 0 ? buf_reserve(out, quads * 4) : NULL;

	if (to == NULL)
		return;
	for (; i + 3 <= v.len; i += 3, to += 4)
		base64_quad_of(to, v.data + i, 0);
	if (i < v.len)
		base64_quad_of(to, v.data + i, v.len - i == 2 ? 1 : 2);
	out->len += quads * 4;
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four letters, of which the last `pad` are '='; strict: the bits they would carry must be 0. */
static int base64_quad(const uint8_t *q, unsigned pad, bool strict, struct buf *out)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < 4; i++) {
		int v = i < 4 - pad ? base64_value(q[i]) : 0;

		if (v < 0)
			return ERR_MALFORMED;
		n = n << 6 | (uint32_t)v;
	}
	if (strict && ((pad == 1 && (n & 0xff)) || (pad == 2 && (n & 0xffff))))
		return ERR_MALFORMED;
	buf_u8(out, (uint8_t)(n >> 16));
	if (pad < 2)
		buf_u8(out, (uint8_t)(n >> 8));
	if (pad < 1)
		buf_u8(out, (uint8_t)n);
	return ERR_OK;
}

int base64_decode(struct bytes text, struct buf *out)
{
	if (text.len % 4 != 0)
		return ERR_MALFORMED;
	for (size_t i = 0; i < text.len; i += 4) {
		const uint8_t *q = text.data + i;
		unsigned pad = i + 4 < text.len ? 0 : q[3] != '=' ? 0 : q[2] != '=' ? 1 : 2;

		if (base64_quad(q, pad, true, out) != ERR_OK)
			return ERR_MALFORMED;
	}
	return out->err;
}

static bool base64_is_end(uint8_t c)
{
	return c == '\r' || c == '\n';
}

int base64_decode_any(struct bytes text, struct buf *out)
{
	uint8_t q[4];
	unsigned n = 0;

	while (text.len > 0 && (text.data[text.len - 1] == '=' || base64_is_end(text.data[text.len - 1])))
		text.len--;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (base64_is_end(c))
			continue;
		q[n++] = c == '-' ? '+' : c == '_' ? '/' : c;
		if (n == 4 && base64_quad(q, 0, false, out) != ERR_OK)
			return ERR_MALFORMED;
		n %= 4;
	}
	if (n == 1 || (n > 1 && base64_quad(q, 4 - n, false, out) != ERR_OK))
		return ERR_MALFORMED;
	return out->err;
}
