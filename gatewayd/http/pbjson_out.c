/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol Buffers to JSON, field by field as they come. */
#include <inttypes.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "gatewayd/http/pbjson.h"

enum { PBJSON_VARINT = 0, PBJSON_BYTES = 2 };

static const struct pb_field *pbjson_find(const struct pb_desc *d, uint64_t number)
{
	for (size_t i = 0; i < d->n_fields; i++)
		if (d->fields[i].number == number)
			return &d->fields[i];
	return NULL;
}

void pbjson_string(struct buf *out, struct bytes v)
{
	buf_u8(out, '"');
	for (size_t i = 0; i < v.len; i++) {
		uint8_t c = v.data[i];

		if (c == '"' || c == '\\') {
			buf_u8(out, '\\');
			buf_u8(out, c);
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(out, "\\u%04x", c);
		} else {
			buf_u8(out, c);
		}
	}
	buf_u8(out, '"');
}

/* ---- values ---- */

static void pbjson_put_number(struct buf *out, const struct pb_desc *d, const struct pb_field *f, uint64_t v)
{
	const char *name;

	switch (f->kind) {
	case PB_I64:
		buf_printf(out, "\"%" PRId64 "\"", (int64_t)v);
		break;
	case PB_U64:
		buf_printf(out, "\"%" PRIu64 "\"", v);
		break;
	case PB_BOOL:
		buf_str(out, v != 0 ? "true" : "false");
		break;
	case PB_ENUM:
		name = pbjson_enum_name(d, f, v);
		if (name != NULL)
			buf_printf(out, "\"%s\"", name);
		else
			buf_printf(out, "%" PRId64, (int64_t)v);
		break;
	default:
		buf_printf(out, "%" PRIu64, v);
	}
}

static int pbjson_put_whole(struct buf *out, const struct pb_desc *d, struct bytes in, unsigned depth);

static int pbjson_put_bytes(struct buf *out, const struct pb_field *f, struct bytes v, unsigned depth)
{
	switch (f->kind) {
	case PB_LIST:
	case PB_OPT:
	case PB_ONE:
		return pbjson_put_whole(out, f->sub, v, depth + 1);
	case PB_STR:
		pbjson_string(out, v);
		return ERR_OK;
	default:
		buf_u8(out, '"');
		base64_encode(out, v);
		buf_u8(out, '"');
		return ERR_OK;
	}
}

/* ---- fields ---- */

/* The comma, and the name unless it is a further element of the open array. */
static void pbjson_put_head(struct pbjson_out *j, const struct pb_field *f, struct buf *out)
{
	bool list = f->kind == PB_LIST || f->bare;

	if (list && j->list == f->number) {
		buf_u8(out, ',');
		return;
	}
	if (j->list != 0)
		buf_u8(out, ']');
	if (j->any)
		buf_u8(out, ',');
	j->any = true;
	j->list = list ? f->number : 0;
	buf_printf(out, "\"%s\":%s", pbjson_name(j->desc, f), list ? "[" : "");
}

/* One field. ERR_TRUNCATED: it is not complete. */
static int pbjson_put_field(struct pbjson_out *j, struct cur *in, struct buf *out, unsigned depth)
{
	uint64_t tag = cur_varint(in), n = cur_varint(in);
	const struct pb_field *f = pbjson_find(j->desc, tag >> 3);
	struct bytes v = {NULL, 0};
	bool is_bytes = (tag & 7) == PBJSON_BYTES;

	if (in->err == ERR_OK && is_bytes)
		v = n <= SIZE_MAX ? cur_take(in, (size_t)n) : v;
	if (in->err != ERR_OK)
		return in->err;
	if ((tag & 7) != PBJSON_VARINT && !is_bytes)
		return ERR_MALFORMED;
	if (f == NULL)
		return ERR_OK;
	pbjson_put_head(j, f, out);
	if (is_bytes)
		return pbjson_put_bytes(out, f, v, depth);
	pbjson_put_number(out, j->desc, f, n);
	return ERR_OK;
}

static int pbjson_put_fields(struct pbjson_out *j, struct bytes in, struct buf *out, size_t *used, unsigned depth)
{
	*used = 0;
	while (*used < in.len) {
		struct cur c = cur_of(bytes_of(in.data + *used, in.len - *used));
		int err = pbjson_put_field(j, &c, out, depth);

		if (err == ERR_TRUNCATED)
			break;
		if (err != ERR_OK)
			return err;
		*used = (size_t)(c.pos - in.data);
	}
	return ERR_OK;
}

/* As deep as our own messages are. */
static int pbjson_put_whole(struct buf *out, const struct pb_desc *d, struct bytes in, unsigned depth)
{
	struct pbjson_out j;
	size_t used;
	int err;

	if (depth > LIMIT_DECODE_DEPTH)
		return ERR_LIMIT;
	pbjson_out_begin(&j, d, out);
	err = pbjson_put_fields(&j, in, out, &used, depth);
	pbjson_out_end(&j, out);
	return err != ERR_OK ? err : used == in.len ? ERR_OK : ERR_MALFORMED;
}

void pbjson_out_begin(struct pbjson_out *j, const struct pb_desc *d, struct buf *out)
{
	*j = (struct pbjson_out){.desc = d};
	buf_u8(out, '{');
}

int pbjson_out_fields(struct pbjson_out *j, struct bytes in, struct buf *out, size_t *used)
{
	return pbjson_put_fields(j, in, out, used, 0);
}

void pbjson_out_end(struct pbjson_out *j, struct buf *out)
{
	if (j->list != 0)
		buf_u8(out, ']');
	buf_u8(out, '}');
}
