/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/codec.h"

#include <inttypes.h>

#include "base/base64.h"
#include "base/check.h"

enum { CODEC_BASE64_BYTES = 48 * 1024 };   /* encoded at a time: no padding in between */

void codec_base64(FILE *out, struct bytes v)
{
	struct buf text;

	for (size_t n; v.len > 0; v = bytes_of(v.data + n, v.len - n)) {
		n = v.len < CODEC_BASE64_BYTES ? v.len : CODEC_BASE64_BYTES;
		buf_init(&text, 0);
		base64_encode(&text, bytes_of(v.data, n));
		(void)fwrite(text.data, 1, text.len, out);
		buf_free(&text);
	}
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
