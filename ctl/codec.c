/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/codec.h"

#include <inttypes.h>
#include <stdbool.h>

#include "base/check.h"
#include "base/err.h"

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void codec_base64(FILE *out, struct bytes v)
{
	size_t i = 0;

	for (; i + 3 <= v.len; i += 3) {
		uint32_t n = (uint32_t)v.data[i] << 16 | (uint32_t)v.data[i + 1] << 8 |
			     v.data[i + 2];
		char quad[4] = {base64_digits[n >> 18], base64_digits[n >> 12 & 63],
				base64_digits[n >> 6 & 63], base64_digits[n & 63]};

		(void)fwrite(quad, 1, sizeof quad, out);
	}
	if (i < v.len) {
		bool two = v.len - i == 2;
		uint32_t n = (uint32_t)v.data[i] << 16 | (two ? (uint32_t)v.data[i + 1] << 8 : 0);
		char quad[4] = {base64_digits[n >> 18], base64_digits[n >> 12 & 63],
				two ? base64_digits[n >> 6 & 63] : '=', '='};

		(void)fwrite(quad, 1, sizeof quad, out);
	}
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

/* Four digits, of which the last `pad` are '='; the bits they would carry must be 0. */
static int base64_quad(const uint8_t *q, unsigned pad, struct buf *out)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < 4; i++) {
		int v = i < 4 - pad ? base64_value(q[i]) : 0;

		if (v < 0)
			return ERR_MALFORMED;
		n = n << 6 | (uint32_t)v;
	}
	if ((pad == 1 && (n & 0xff)) || (pad == 2 && (n & 0xffff)))
		return ERR_MALFORMED;
	buf_u8(out, (uint8_t)(n >> 16));
	if (pad < 2)
		buf_u8(out, (uint8_t)(n >> 8));
	if (pad < 1)
		buf_u8(out, (uint8_t)n);
	return ERR_OK;
}

int codec_base64_decode(struct bytes text, struct buf *out)
{
	if (text.len % 4 != 0)
		return ERR_MALFORMED;
	for (size_t i = 0; i < text.len; i += 4) {
		const uint8_t *q = text.data + i;
		unsigned pad = i + 4 < text.len ? 0 : q[3] != '=' ? 0 : q[2] != '=' ? 1 : 2;

		if (base64_quad(q, pad, out) != ERR_OK)
			return ERR_MALFORMED;
	}
	return out->err;
}

void codec_hex(FILE *out, struct bytes v)
{
	for (size_t i = 0; i < v.len; i++)
		fprintf(out, "\\x%02x", v.data[i]);
}

const char *codec_size(char to[32], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)bytes;
	size_t u = 0;

	for (; v >= 1024 && u + 1 < ARRAY_LEN(units); u++)
		v /= 1024;
	(void)snprintf(to, 32, u == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, units[u]);
	return to;
}

const char *codec_age(char to[32], int64_t ms)
{
	int64_t s = ms / 1000;

	if (ms < 0)
		(void)snprintf(to, 32, "-");
	else if (s < 60)
		(void)snprintf(to, 32, "%" PRId64 "s", s);
	else if (s < 3600)
		(void)snprintf(to, 32, "%" PRId64 "m%" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		(void)snprintf(to, 32, "%" PRId64 "h%" PRId64 "m", s / 3600, s / 60 % 60);
	else
		(void)snprintf(to, 32, "%" PRId64 "d%" PRId64 "h", s / 86400, s / 3600 % 24);
	return to;
}
