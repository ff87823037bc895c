/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/admin_reply.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"

/* Length of the well-formed UTF-8 sequence at p, or 0 (Unicode standard, table 3-7). */
static size_t admin_utf8(const uint8_t *p, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	if (p[0] == 0xed)
		high = 0x9f;
	if (p[0] == 0xf0)
		low = 0x90;
	if (p[0] == 0xf4)
		high = 0x8f;
	if (n > left || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}

void admin_json_string(struct buf *out, struct bytes v)
{
	size_t n;

	buf_u8(out, '"');
	for (size_t i = 0; i < v.len; i += n ? n : 1) {
		uint8_t c = v.data[i];

		n = admin_utf8(v.data + i, v.len - i);
		if (n == 0)
			buf_str(out, "\\ufffd");
		else if (c == '\n')
			buf_str(out, "\\n");
		else if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else
			buf_add(out, v.data + i, n);
	}
	buf_u8(out, '"');
}

/* Text answers end at an empty line and are read on terminals: no control characters in values. */
static void admin_text(struct buf *out, const char *s)
{
	for (; *s; s++) {
		uint8_t c = (uint8_t)*s;

		if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\x%02x", c);
		else
			buf_u8(out, c);
	}
}

static void admin_comma(struct admin_reply *r)
{
	if (r->values.len > 0 && r->values.data[r->values.len - 1] != '{')
		buf_u8(&r->values, ',');
}

static void admin_name(struct admin_reply *r, const char *name)
{
	if (r->json) {
		admin_comma(r);
		admin_json_string(&r->values, bytes_str(name));
		buf_u8(&r->values, ':');
		return;
	}
	for (unsigned i = 0; i < r->depth; i++)
		buf_printf(&r->values, "%s.", r->groups[i]);
	buf_printf(&r->values, "%s: ", name);
}

static void admin_line_end(struct admin_reply *r)
{
	if (!r->json)
		buf_u8(&r->values, '\n');
}

void admin_str(struct admin_reply *r, const char *name, const char *value)
{
	admin_name(r, name);
	if (r->json)
		admin_json_string(&r->values, bytes_str(value));
	else
		admin_text(&r->values, value);
	admin_line_end(r);
}

void admin_u64(struct admin_reply *r, const char *name, uint64_t value)
{
	admin_name(r, name);
	buf_printf(&r->values, "%" PRIu64, value);
	admin_line_end(r);
}

void admin_i64(struct admin_reply *r, const char *name, int64_t value)
{
	admin_name(r, name);
	buf_printf(&r->values, "%" PRId64, value);
	admin_line_end(r);
}

void admin_bool(struct admin_reply *r, const char *name, bool value)
{
	admin_name(r, name);
	buf_str(&r->values, value ? "true" : "false");
	admin_line_end(r);
}

void admin_f64(struct admin_reply *r, const char *name, double value)
{
	admin_name(r, name);
	if (isfinite(value))
		buf_printf(&r->values, "%.6g", value);
	else
		buf_str(&r->values, r->json ? "null" : "unknown");
	admin_line_end(r);
}

void admin_begin(struct admin_reply *r, const char *group)
{
	CHECK(r->depth < ADMIN_DEPTH);
	if (r->json) {
		admin_name(r, group);
		buf_u8(&r->values, '{');
	}
	r->groups[r->depth++] = group;
}

void admin_end(struct admin_reply *r)
{
	CHECK(r->depth > 0);
	r->depth--;
	if (r->json)
		buf_u8(&r->values, '}');
}

struct buf *admin_raw(struct admin_reply *r)
{
	return &r->raw;
}

void admin_error(struct admin_reply *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r->error, sizeof r->error, fmt, ap);
	va_end(ap);
	r->failed = true;
}

void admin_reply_init(struct admin_reply *r, bool json)
{
	memset(r, 0, sizeof *r);
	r->json = json;
	buf_init(&r->values, LIMIT_ADMIN_REPLY_BYTES);
	buf_init(&r->raw, LIMIT_ADMIN_REPLY_BYTES);
}

void admin_reply_free(struct admin_reply *r)
{
	buf_free(&r->values);
	buf_free(&r->raw);
}

/* Line by line, since an empty one would end the answer too early. */
static void admin_raw_lines(struct buf *out, struct bytes raw)
{
	size_t start = out->len;

	for (size_t i = 0; i < raw.len; i++)
		if (raw.data[i] != '\n' || (out->len > start && out->data[out->len - 1] != '\n'))
			buf_u8(out, raw.data[i]);
	if (out->len > start && out->data[out->len - 1] != '\n')
		buf_u8(out, '\n');
}

static void admin_write(struct admin_reply *r, struct buf *out)
{
	if (r->json)
		buf_u8(out, '{');
	buf_add_bytes(out, buf_bytes(&r->values));
	if (r->raw.len > 0 && r->json) {
		buf_str(out, r->values.len > 0 ? ",\"text\":" : "\"text\":");
		admin_json_string(out, buf_bytes(&r->raw));
	} else {
		admin_raw_lines(out, buf_bytes(&r->raw));
	}
	buf_str(out, r->json ? "}\n\n" : "\n");
}

static void admin_write_error(const struct admin_reply *r, struct buf *out)
{
	if (r->json) {
		buf_str(out, "{\"error\":");
		admin_json_string(out, bytes_str(r->error));
		buf_str(out, "}\n\n");
		return;
	}
	buf_str(out, "error: ");
	admin_text(out, r->error);
	buf_str(out, "\n\n");
}

void admin_reply_finish(struct admin_reply *r, struct buf *out)
{
	size_t start = out->len;

	if (!r->failed) {
		CHECK(r->depth == 0);
		admin_write(r, out);
		if (r->values.err || r->raw.err || out->err || out->len - start > LIMIT_ADMIN_REPLY_BYTES)
			admin_error(r, "the answer is larger than %u bytes", LIMIT_ADMIN_REPLY_BYTES);
	}
	if (r->failed) {
		out->len = start;
		out->err = 0;
		admin_write_error(r, out);
	}
}
