/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to Protocol Buffers. jansson reads the text; it is included here alone. */
#include "gatewayd/http/pbjson.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/err.h"
#include "base/limits.h"

enum { PBJSON_DIGITS = 19 };

/* ---- where a value ends ---- */

bool pbjson_split(struct pbjson_split *s, struct bytes text)
{
	for (; s->pos < text.len; s->pos++) {
		uint8_t c = text.data[s->pos];

		if (s->in_string) {
			if (s->escaped)
				s->escaped = false;
			else if (c == '\\')
				s->escaped = true;
			else
				s->in_string = c != '"';
			continue;
		}
		if (c == '{' || c == '[') {
			s->begun = true;
			s->depth++;
		} else if (c == '}' || c == ']') {
			if (s->depth <= 1) {
				s->pos++;
				return true;
			}
			s->depth--;
		} else if (c == '"') {
			s->begun = true;
			s->in_string = true;
		} else if (s->depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
			s->pos++;
			return true;          /* no object */
		}
	}
	return false;
}

/* ---- values ---- */

struct pbjson_reader {
	struct buf *out;
	char *why;
};

static int pbjson_wrong(struct pbjson_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int pbjson_wrong(struct pbjson_reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r->why, PBJSON_WHY_BYTES, fmt, ap);
	va_end(ap);
	return ERR_MALFORMED;
}

static struct bytes pbjson_bytes(const json_t *v)
{
	return bytes_of(json_string_value(v), json_string_length(v));
}

/* A number, or one in a string; of 64 bits, with or without a sign. */
static bool pbjson_number(const json_t *v, bool is_signed, uint64_t *n)
{
	const char *s;
	char *end;

	if (json_is_integer(v)) {
		json_int_t i = json_integer_value(v);

		*n = (uint64_t)i;
		return is_signed || i >= 0;
	}
	if (json_is_real(v)) {                /* 1e3, 1.0 */
		double d = json_real_value(v);

		if (d > 9007199254740992.0 || d < -9007199254740992.0 || d != (double)(int64_t)d)
			return false;
		*n = (uint64_t)(int64_t)d;
		return is_signed || d >= 0;
	}
	if (!json_is_string(v))
		return false;
	s = json_string_value(v);
	if (!((s[0] >= '0' && s[0] <= '9') || (is_signed && s[0] == '-' && s[1] >= '0' && s[1] <= '9')))
		return false;
	errno = 0;
	*n = is_signed ? (uint64_t)strtoll(s, &end, 10) : strtoull(s, &end, 10);
	return errno == 0 && end == s + json_string_length(v);
}

static bool pbjson_enum(const json_t *v, const struct pb_desc *d, const struct pb_field *f, uint64_t *n)
{
	int value;

	if (json_is_integer(v)) {
		*n = (uint64_t)(int64_t)(int32_t)json_integer_value(v);
		return json_integer_value(v) == (int32_t)json_integer_value(v);
	}
	value = json_is_string(v) ? pbjson_enum_value(d, f, pbjson_bytes(v)) : -1;
	*n = (uint64_t)value;
	return value >= 0;
}

static bool pbjson_scalar(const json_t *v, const struct pb_desc *d, const struct pb_field *f, uint64_t *n)
{
	switch (f->kind) {
	case PB_I64:
		return pbjson_number(v, true, n);
	case PB_U64:
		return pbjson_number(v, false, n);
	case PB_U32:
		return pbjson_number(v, false, n) && *n <= UINT32_MAX;
	case PB_ENUM:
		return pbjson_enum(v, d, f, n);
	default:
		*n = json_is_true(v);
		return json_is_boolean(v);
	}
}

static int pbjson_text(struct pbjson_reader *r, const json_t *v, const struct pb_field *f, const char *name)
{
	size_t mark = r->out->len;
	int err = ERR_OK;

	if (!json_is_string(v))
		return pbjson_wrong(r, "%s: a string is expected", name);
	if (f->kind == PB_STR)
		buf_add_bytes(r->out, pbjson_bytes(v));
	else
		err = base64_decode_any(pbjson_bytes(v), r->out);
	if (err != ERR_OK)
		return r->out->err != ERR_OK ? ERR_LIMIT : pbjson_wrong(r, "%s: illegal base64 data", name);
	/* What is empty is left out, unless it is an element of a list. */
	if (f->bare || r->out->len > mark)
		pb_wrap(r->out, mark, f->number);
	return ERR_OK;
}

/* ---- messages: as deep as the decoder behind it goes ---- */

static int pbjson_message(struct pbjson_reader *r, const json_t *v, const struct pb_desc *d, unsigned depth);

static int pbjson_one(struct pbjson_reader *r, const json_t *v, const struct pb_desc *d, const struct pb_field *f,
		    const char *name, unsigned depth)
{
	size_t mark = r->out->len;
	uint64_t n;
	int err;

	switch (f->kind) {
	case PB_LIST:
	case PB_OPT:
	case PB_ONE:
		err = pbjson_message(r, v, f->sub, depth + 1);
		if (err == ERR_OK)
			pb_wrap(r->out, mark, f->number);
		return err;
	case PB_BYTES:
	case PB_STR:
		return pbjson_text(r, v, f, name);
	default:
		if (!pbjson_scalar(v, d, f, &n))
			return pbjson_wrong(r, "%s: invalid value", name);
		if (f->bare) {                /* 0 counts as an element */
			buf_varint(r->out, (uint64_t)f->number << 3);
			buf_varint(r->out, n);
		} else {
			pb_number(r->out, f->number, n);
		}
		return ERR_OK;
	}
}

/* `name` without its underscores: range_end is rangeEnd. */
static bool pbjson_is_camel(const char *name, const char *given)
{
	for (; *name != '\0'; name++, given++) {
		char want = *name;

		if (want == '_' && name[1] >= 'a' && name[1] <= 'z')
			want = (char)(*++name - 'a' + 'A');
		if (*given != want)
			return false;
	}
	return *given == '\0';
}

static const struct pb_field *pbjson_field(const struct pb_desc *d, const char *given, const char **name)
{
	for (size_t i = 0; i < d->n_fields; i++) {
		*name = pbjson_name(d, &d->fields[i]);
		if (strcmp(*name, given) == 0 || pbjson_is_camel(*name, given))
			return &d->fields[i];
	}
	return NULL;
}

static int pbjson_member(struct pbjson_reader *r, const char *given, const json_t *v, const struct pb_desc *d,
		       unsigned depth)
{
	const char *name;
	const struct pb_field *f = pbjson_field(d, given, &name);
	const json_t *element;
	size_t i;
	int err = ERR_OK;

	if (f == NULL || json_is_null(v))
		return ERR_OK;
	if (f->kind != PB_LIST && !f->bare)
		return pbjson_one(r, v, d, f, name, depth);
	if (!json_is_array(v))
		return pbjson_wrong(r, "%s: an array is expected", name);
	json_array_foreach(v, i, element) {
		err = pbjson_one(r, element, d, f, name, depth);
		if (err != ERR_OK)
			break;
	}
	return err;
}

static int pbjson_message(struct pbjson_reader *r, const json_t *v, const struct pb_desc *d, unsigned depth)
{
	void *at;

	if (!json_is_object(v))
		return pbjson_wrong(r, "an object is expected");
	if (depth > LIMIT_DECODE_DEPTH)
		return pbjson_wrong(r, "nested too deeply");
	/* Order is of no meaning on either side, and a member that comes twice has been merged. */
	for (at = json_object_iter((json_t *)(uintptr_t)v); at != NULL;
	     at = json_object_iter_next((json_t *)(uintptr_t)v, at)) {
		int err = pbjson_member(r, json_object_iter_key(at), json_object_iter_value(at), d, depth);

		if (err != ERR_OK)
			return err;
	}
	return ERR_OK;
}

/* Values, about: two bytes of text can be an object of 200, so they are counted before they are made. */
static bool pbjson_is_modest(struct bytes text)
{
	bool in_string = false;
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == ',' || c == '{' || c == '['))
			n++;
	}
	return n <= LIMIT_HTTP_VALUES;
}

/* The next whole number of so many digits that jansson may not hold it; its length, or 0: there is none. */
static size_t pbjson_large(struct bytes text, size_t *at)
{
	bool in_string = false;
	size_t n;

	for (size_t i = *at; i < text.len; i += n > 0 ? n : 1) {
		uint8_t c = text.data[i], before = i > 0 ? text.data[i - 1] : ' ';

		for (n = 0; !in_string && i + n < text.len && text.data[i + n] >= '0' && text.data[i + n] <= '9'; n++)
			;
		if (n >= PBJSON_DIGITS && c != '0' && strchr(":[, \t\r\n", before) != NULL &&
		    (i + n == text.len || strchr(",]} \t\r\n", text.data[i + n]) != NULL)) {
			*at = i;
			return n;
		}
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
	}
	return 0;
}

/* As strings they are read with all their digits. */
static void pbjson_quote_large(struct bytes text, struct buf *out)
{
	size_t from = 0, at = 0, n;

	while ((n = pbjson_large(text, &at)) > 0) {
		buf_add(out, text.data + from, at - from);
		buf_printf(out, "\"%.*s\"", (int)n, (const char *)text.data + at);
		from = at = at + n;
	}
	if (from > 0)
		buf_add(out, text.data + from, text.len - from);
}

static json_t *pbjson_parse(struct bytes text, json_error_t *error)
{
	struct buf quoted;
	json_t *v;

	buf_init(&quoted, 0);
	pbjson_quote_large(text, &quoted);
	if (quoted.len > 0)
		text = buf_bytes(&quoted);
	v = json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, error);
	buf_free(&quoted);
	return v;
}

static int pbjson_load(struct pbjson_reader *r, struct bytes text, const struct pb_desc *d)
{
	json_error_t error;
	json_t *v;
	int err;

	if (!pbjson_is_modest(text))
		return ERR_LIMIT;
	v = pbjson_parse(text, &error);
	if (v == NULL)
		return pbjson_wrong(r, "invalid JSON: %s", error.text);
	err = pbjson_message(r, v, d, 0);
	json_decref(v);
	return err == ERR_OK && r->out->err != ERR_OK ? ERR_LIMIT : err;
}

int pbjson_in(struct bytes text, const struct pb_desc *d, struct buf *out, char why[PBJSON_WHY_BYTES])
{
	struct pbjson_reader r = {out, why};
	int err;

	why[0] = '\0';
	err = pbjson_load(&r, text, d);
	if (err == ERR_LIMIT)
		(void)snprintf(why, PBJSON_WHY_BYTES, "request is too large");
	return err;
}
