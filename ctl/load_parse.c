/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/load_parse.h"

#include "base/base64.h"
#include "base/err.h"
#include "base/limits.h"
#include "ctl/codec.h"

int load_format_parse(const char *name, enum load_format *format)
{
	static const char *const names[] = {"tsv", "json", "length"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(name, names[i]) == 0) {
			*format = (enum load_format)i;
			return ERR_OK;
		}
	return ERR_BAD_ARGUMENT;
}

static int load_bad(const char **why, const char *text)
{
	*why = text;
	return ERR_MALFORMED;
}

/* The line at the front, without its newline; *used with it. */
static int load_line(struct bytes have, bool eof, struct bytes *line, size_t *used)
{
	const uint8_t *end = have.len > 0 ? memchr(have.data, '\n', have.len) : NULL;

	if (end == NULL && !eof)
		return ERR_TRUNCATED;
	if (end == NULL && have.len == 0)
		return ERR_NOT_FOUND;
	line->data = have.data;
	line->len = end != NULL ? (size_t)(end - have.data) : have.len;
	*used = line->len + (end != NULL);
	return ERR_OK;
}

static int load_tsv(struct bytes line, struct buf *key, struct buf *value, const char **why)
{
	const uint8_t *tab = memchr(line.data, '\t', line.len);
	size_t key_len;

	if (tab == NULL)
		return load_bad(why, "no tab between key and value");
	key_len = (size_t)(tab - line.data);
	if (memchr(tab + 1, '\t', line.len - key_len - 1) != NULL)
		return load_bad(why, "a second tab; write it as \\t");
	if (codec_unescape(bytes_of(line.data, key_len), key) == ERR_MALFORMED ||
	    codec_unescape(bytes_of(tab + 1, line.len - key_len - 1), value) == ERR_MALFORMED)
		return load_bad(why, "a bad escape after a backslash");
	return ERR_OK;
}

/* A JSON object of strings, as far as that is needed: no escapes but \/ and \u00xx. */
static void json_blanks(struct cur *c)
{
	while (c->pos < c->end && memchr(" \t\r", *c->pos, 3) != NULL)
		c->pos++;
}

static bool json_take(struct cur *c, uint8_t what)
{
	json_blanks(c);
	if (c->pos == c->end || *c->pos != what)
		return false;
	c->pos++;
	return true;
}

static int json_hex(struct bytes four)
{
	unsigned v = 0;

	for (size_t i = 0; i < four.len; i++) {
		uint8_t c = four.data[i];

		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')))
			return -1;
		v = v << 4 | (c <= '9' ? c - 48u : (c | 0x20u) - 87u);   /* ASCII */
	}
	return four.len == 4 && v < 0x80 ? (int)v : -1;
}

static bool json_string(struct cur *c, struct buf *out)
{
	if (!json_take(c, '"'))
		return false;
	for (;;) {
		uint8_t b = cur_u8(c);

		if (c->err != ERR_OK || b < 0x20)
			return false;
		if (b == '"')
			return true;
		if (b == '\\') {
			uint8_t what = cur_u8(c);
			int v = what == 'u' ? json_hex(cur_take(c, 4)) : what == '/' ? '/' : -1;

			if (v < 0)
				return false;
			b = (uint8_t)v;
		}
		buf_u8(out, b);
	}
}

/* One member; `seen` has a bit for each that came before. */
static int json_member(struct cur *c, struct buf *key, struct buf *value, unsigned *seen,
		       const char **why)
{
	struct buf name, text;
	unsigned bit;
	int rc = ERR_OK;

	buf_init(&name, 64);
	buf_init(&text, LIMIT_REQUEST_BYTES * 2);
	if (!json_string(c, &name) || !json_take(c, ':') || !json_string(c, &text))
		rc = load_bad(why, "not an object of strings");
	bit = bytes_eq(buf_bytes(&name), bytes_str("key")) ? 1 :
	      bytes_eq(buf_bytes(&name), bytes_str("value")) ? 2 : 0;
	if (rc == ERR_OK && (bit == 0 || (*seen & bit)))
		rc = load_bad(why, "a member that is neither \"key\" nor \"value\", or twice the "
				   "same");
	*seen |= bit;
	if (rc == ERR_OK && text.err != ERR_OK)
		rc = text.err;
	if (rc == ERR_OK && base64_decode(buf_bytes(&text),
						bit == 1 ? key : value) == ERR_MALFORMED)
		rc = load_bad(why, "bad base64");
	buf_free(&name);
	buf_free(&text);
	return rc;
}

static int load_json(struct bytes line, struct buf *key, struct buf *value, const char **why)
{
	struct cur c = cur_of(line);
	unsigned seen = 0;

	if (!json_take(&c, '{'))
		return load_bad(why, "not a JSON object");
	do {
		int rc = json_member(&c, key, value, &seen, why);

		if (rc != ERR_OK)
			return rc;
	} while (json_take(&c, ','));
	if (!json_take(&c, '}'))
		return load_bad(why, "not a JSON object");
	json_blanks(&c);
	if (c.pos != c.end)
		return load_bad(why, "something behind the JSON object");
	return seen & 1 ? ERR_OK : load_bad(why, "no \"key\"");
}

/* LENGTH:BYTES at *at. */
static int load_counted(struct bytes have, bool eof, size_t *at, struct buf *out, const char **why)
{
	size_t n = 0, i = *at;

	for (; i < have.len && have.data[i] >= '0' && have.data[i] <= '9'; i++) {
		n = n * 10 + (size_t)(have.data[i] - '0');
		if (n > LIMIT_REQUEST_BYTES)
			return ERR_LIMIT;
	}
	if (i < have.len && (have.data[i] != ':' || i == *at))
		return load_bad(why, "not LENGTH:BYTES");
	if (i == have.len || have.len - i - 1 < n)
		return eof ? load_bad(why, "it ends in the middle of a pair") : ERR_TRUNCATED;
	buf_add(out, have.data + i + 1, n);
	*at = i + 1 + n;
	return ERR_OK;
}

static int load_length(struct bytes have, bool eof, struct buf *key, struct buf *value,
		       size_t *used,
		       const char **why)
{
	size_t at = 0;
	int rc;

	while (at < have.len && have.data[at] == '\n')
		at++;
	if (at == have.len)
		return eof ? ERR_NOT_FOUND : ERR_TRUNCATED;
	rc = load_counted(have, eof, &at, key, why);
	if (rc == ERR_OK)
		rc = load_counted(have, eof, &at, value, why);
	*used = at;
	return rc;
}

static int load_one(enum load_format format, struct bytes have, bool eof, struct buf *key,
		    struct buf *value,
		    size_t *used, const char **why)
{
	struct bytes line;
	size_t skipped = 0;
	int rc;

	if (format == LOAD_LENGTH)
		return load_length(have, eof, key, value, used, why);
	do {
		rc = load_line(bytes_of(have.data + skipped, have.len - skipped), eof, &line, used);
		skipped += rc == ERR_OK ? *used : 0;
	} while (rc == ERR_OK && line.len == 0);
	*used = skipped;
	if (rc != ERR_OK)
		return rc;
	return format == LOAD_TSV ? load_tsv(line, key, value, why) : load_json(line, key, value,
		why);
}

int load_parse(enum load_format format, struct bytes have, bool eof, struct buf *key,
	       struct buf *value,
	       size_t *used, const char **why)
{
	int rc;

	*why = "the pair is too large";
	*used = 0;
	buf_clear(key);
	buf_clear(value);
	if (have.len == 0)
		return eof ? ERR_NOT_FOUND : ERR_TRUNCATED;
	rc = load_one(format, have, eof, key, value, used, why);
	if (rc == ERR_OK && (key->err != ERR_OK || value->err != ERR_OK))
		rc = key->err != ERR_OK ? key->err : value->err;
	if (rc == ERR_OK && key->len == 0)
		rc = load_bad(why, "an empty key");
	return rc;
}
