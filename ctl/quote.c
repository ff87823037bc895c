/* SPDX-License-Identifier: Apache-2.0 */
/* The quoting half of codec.h: UTF-8, escapes, words. */
#include "ctl/codec.h"

#include <stdbool.h>

#include "base/err.h"

/* One rune at the front of v: its length and value; length 0 if it is not UTF-8. */
static size_t utf8_rune(struct bytes v, uint32_t *rune)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t b = v.data[0];
	size_t n = b < 0x80 ? 1 : b >= 0xf0 && b < 0xf5 ? 4 : b >= 0xe0 && b < 0xf0 ? 3 :
		   b >= 0xc2 && b < 0xe0 ? 2 : 0;
	uint32_t r = n == 1 ? b : (uint32_t)b & (0x7fu >> n);

	if (n == 0 || n > v.len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((v.data[i] & 0xc0) != 0x80)
			return 0;
		r = r << 6 | (v.data[i] & 0x3fu);
	}
	if (r < least[n] || r > 0x10ffff || (r >= 0xd800 && r < 0xe000))
		return 0;
	*rune = r;
	return n;
}

/* Near enough to Go's notion without its tables: no controls, no blank but ' ', none private. */
static bool rune_prints(uint32_t r)
{
	if (r < 0x20 || (r >= 0x7f && r <= 0xa0) || r == 0xad)
		return false;
	if ((r >= 0x2000 && r <= 0x200f) || (r >= 0x2028 && r <= 0x202f) || (r >= 0x205f &&
		r <= 0x206f))
		return false;
	if (r == 0x3000 || r == 0xfeff || (r >= 0xe000 && r <= 0xf8ff) || (r >= 0xfff0 &&
		r <= 0xfffb))
		return false;
	return (r & 0xfffe) != 0xfffe && r < 0xe0000;
}

/* The letter of \a \b \t \n \v \f \r, which are 7 to 13; or 0. */
static char escape_letter(uint32_t r)
{
	return r >= 7 && r <= 13 ? "abtnvfr"[r - 7] : 0;
}

static int escape_value(char letter)
{
	const char *letters = "abtnvfr", *at = letter ? strchr(letters, letter) : NULL;

	return at != NULL ? (int)(at - letters) + 7 : -1;
}

static void quote_rune(FILE *out, uint32_t r, struct bytes raw)
{
	if (r == '"' || r == '\\')
		fprintf(out, "\\%c", (char)r);
	else if (escape_letter(r))
		fprintf(out, "\\%c", escape_letter(r));
	else if (rune_prints(r))
		(void)fwrite(raw.data, 1, raw.len, out);
	else if (r < 0x80)
		fprintf(out, "\\x%02x", r);
	else
		fprintf(out, r < 0x10000 ? "\\u%04x" : "\\U%08x", r);
}

void codec_quote(FILE *out, struct bytes v)
{
	fputc('"', out);
	for (size_t i = 0, n; i < v.len; i += n) {
		uint32_t r = 0;

		n = utf8_rune(bytes_of(v.data + i, v.len - i), &r);
		if (n == 0) {
			fprintf(out, "\\x%02x", v.data[i]);
			n = 1;
		} else {
			quote_rune(out, r, bytes_of(v.data + i, n));
		}
	}
	fputc('"', out);
}

void codec_json(FILE *out, struct bytes v)
{
	fputc('"', out);
	for (size_t i = 0, n; i < v.len; i += n) {
		uint32_t r = 0;

		n = utf8_rune(bytes_of(v.data + i, v.len - i), &r);
		if (n == 0) {
			fputs("\\ufffd", out);
			n = 1;
		} else if (r == '"' || r == '\\') {
			fprintf(out, "\\%c", (char)r);
		} else if (r < 0x20 || r == 0x7f) {
			fprintf(out, "\\u%04x", r);
		} else {
			(void)fwrite(v.data + i, 1, n, out);
		}
	}
	fputc('"', out);
}

void codec_escape(FILE *out, struct bytes v)
{
	for (size_t i = 0; i < v.len; i++) {
		uint8_t b = v.data[i];

		if (b == '\\')
			fputs("\\\\", out);
		else if (escape_letter(b))
			fprintf(out, "\\%c", escape_letter(b));
		else if (b < 0x20 || b == 0x7f)
			fprintf(out, "\\x%02x", b);
		else
			fputc(b, out);
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* `digits` digits of a base at s[0..left): the value, or -1. */
static int64_t escape_number(const char *s, size_t left, size_t digits, int base)
{
	int64_t v = 0;

	if (left < digits)
		return -1;
	for (size_t i = 0; i < digits; i++) {
		int d = hex_digit(s[i]);

		if (d < 0 || d >= base)
			return -1;
		v = v * base + d;
	}
	return v;
}

static void utf8_put(struct buf *out, uint32_t r)
{
	if (r < 0x80) {
		buf_u8(out, (uint8_t)r);
		return;
	}
	if (r < 0x800) {
		buf_u8(out, (uint8_t)(0xc0 | r >> 6));
	} else {
		if (r < 0x10000) {
			buf_u8(out, (uint8_t)(0xe0 | r >> 12));
		} else {
			buf_u8(out, (uint8_t)(0xf0 | r >> 18));
			buf_u8(out, (uint8_t)(0x80 | (r >> 12 & 0x3f)));
		}
		buf_u8(out, (uint8_t)(0x80 | (r >> 6 & 0x3f)));
	}
	buf_u8(out, (uint8_t)(0x80 | (r & 0x3f)));
}

/* What follows a backslash in a Go string; the number of characters taken, 0 if it is wrong. */
static size_t unquote_escape(const char *s, size_t left, struct buf *out)
{
	int64_t v;

	if (left == 0)
		return 0;
	if (*s == '\\' || *s == '"' || escape_value(*s) >= 0) {
		buf_u8(out, escape_value(*s) >= 0 ? (uint8_t)escape_value(*s) : (uint8_t)*s);
		return 1;
	}
	if (*s == 'x' || (*s >= '0' && *s <= '7')) {
		v = *s == 'x' ? escape_number(s + 1, left - 1, 2, 16) : escape_number(s, left, 3,
			8);
		if (v < 0 || v > 255)
			return 0;
		buf_u8(out, (uint8_t)v);
		return 3;
	}
	if (*s == 'u' || *s == 'U') {
		size_t digits = *s == 'u' ? 4 : 8;

		v = escape_number(s + 1, left - 1, digits, 16);
		if (v < 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
			return 0;
		utf8_put(out, (uint32_t)v);
		return 1 + digits;
	}
	return 0;
}

static int unquote_raw(const char **s, struct buf *out)
{
	const char *end = strchr(*s + 1, '`');

	if (end == NULL)
		return ERR_MALFORMED;
	buf_add(out, *s + 1, (size_t)(end - *s - 1));
	*s = end + 1;
	return out->err;
}

int codec_unquote(const char **s, struct buf *out)
{
	const char *p = *s;

	if (*p == '`')
		return unquote_raw(s, out);
	if (*p++ != '"')
		return ERR_MALFORMED;
	while (*p != '"') {
		size_t n = 1;

		if (*p == 0 || *p == '\n')
			return ERR_MALFORMED;
		if (*p != '\\') {
			buf_u8(out, (uint8_t)*p++);
			continue;
		}
		n = unquote_escape(p + 1, strlen(p + 1), out);
		if (n == 0)
			return ERR_MALFORMED;
		p += 1 + n;
	}
	*s = p + 1;
	return out->err;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One word. As in etcdctl a bare word runs to the next blank, whatever quotes are inside. */
static int word_take(const char **s, struct buf *out)
{
	const char *p = *s, *end = p;

	if (*p == '"')
		return codec_unquote(s, out);
	if (*p == '\'') {
		end = strchr(p + 1, '\'');
		if (end == NULL)
			return ERR_MALFORMED;
		buf_add(out, p + 1, (size_t)(end - p - 1));
		*s = end + 1;
		return out->err;
	}
	while (*end != 0 && !is_blank(*end))
		end++;
	buf_add(out, p, (size_t)(end - p));
	*s = end;
	return out->err;
}

int codec_words(const char *line, struct buf *out, size_t max, size_t *n)
{
	*n = 0;
	for (;;) {
		size_t start = out->len;
		int rc;

		while (is_blank(*line))
			line++;
		if (*line == 0)
			return out->err;
		if (*n == max)
			return ERR_LIMIT;
		rc = word_take(&line, out);
		if (rc != ERR_OK)
			return rc;
		if (out->len > start && memchr(out->data + start, 0, out->len - start) != NULL)
			return ERR_MALFORMED;
		buf_u8(out, 0);
		++*n;
	}
}

/* As unquote_escape, with C's looser octal and both quotes. */
static size_t unescape_one(const char *s, size_t left, struct buf *out)
{
	size_t digits = 0;

	if (left > 0 && *s == '\'') {
		buf_u8(out, '\'');
		return 1;
	}
	while (digits < 3 && digits < left && s[digits] >= '0' && s[digits] <= '7')
		digits++;
	if (digits > 0) {
		int64_t v = escape_number(s, left, digits, 8);

		buf_u8(out, (uint8_t)v);
		return v <= 255 ? digits : 0;
	}
	if (left > 0 && (*s == 'u' || *s == 'U'))
		return 0;
	return unquote_escape(s, left, out);
}

int codec_unescape(struct bytes text, struct buf *out)
{
	const char *s = (const char *)text.data;

	for (size_t i = 0; i < text.len;) {
		const void *slash = memchr(s + i, '\\', text.len - i);
		size_t plain = slash ? (size_t)((const char *)slash - (s + i)) : text.len - i, n;

		buf_add(out, s + i, plain);
		i += plain;
		if (slash == NULL)
			break;
		n = unescape_one(s + i + 1, text.len - i - 1, out);
		if (n == 0)
			return ERR_MALFORMED;
		i += 1 + n;
	}
	return out->err;
}
