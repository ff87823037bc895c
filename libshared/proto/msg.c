/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/msg.h"

#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"

#define MSG_AT(msg, f, type) ((type const *)(const void *)((const char *)(msg) + (f)->offset))
#define MSG_TO(msg, f, type) ((type *)(void *)((char *)(msg) + (f)->offset))

/* The depth of what we send is bounded by what was decoded or built under the same limits. */
static void msg_put(struct buf *out, const struct msg_desc *d, const void *msg, unsigned depth);

static void msg_put_list(struct buf *out, const struct msg_field *f, const void *msg, unsigned depth)
{
	const struct msg_list *list = MSG_AT(msg, f, struct msg_list);

	CHECK(list->n <= f->max);
	wire_array(out, list->n);
	for (size_t i = 0; i < list->n; i++)
		msg_put(out, f->sub, (const char *)list->v + i * f->sub->size, depth);
}

static void msg_put_field(struct buf *out, const struct msg_field *f, const void *msg, unsigned depth)
{
	const void *sub;

	switch (f->kind) {
	case MSG_U64:
		wire_u64(out, *MSG_AT(msg, f, uint64_t));
		break;
	case MSG_I64:
		wire_i64(out, *MSG_AT(msg, f, int64_t));
		break;
	case MSG_BOOL:
		wire_bool(out, *MSG_AT(msg, f, bool));
		break;
	case MSG_BYTES:
		wire_bin(out, *MSG_AT(msg, f, struct bytes));
		break;
	case MSG_STR:
		wire_str(out, *MSG_AT(msg, f, struct bytes));
		break;
	case MSG_LIST:
		msg_put_list(out, f, msg, depth);
		break;
	case MSG_OPT:
		sub = *MSG_AT(msg, f, void *);
		if (sub != NULL)
			msg_put(out, f->sub, sub, depth);
		else
			wire_nil(out);
		break;
	}
}

static void msg_put(struct buf *out, const struct msg_desc *d, const void *msg, unsigned depth)
{
	CHECK(depth < LIMIT_DECODE_DEPTH);
	wire_array(out, d->n_fields);
	for (size_t i = 0; i < d->n_fields; i++)
		msg_put_field(out, &d->fields[i], msg, depth + 1);
}

int msg_encode(struct buf *out, const struct msg_desc *d, const void *msg)
{
	msg_put(out, d, msg, 0);
	return out->err;
}

static void msg_get(struct wire *in, const struct msg_desc *d, struct arena *arena, void *msg);

static void msg_get_list(struct wire *in, const struct msg_field *f, struct arena *arena, void *msg)
{
	struct msg_list *list = MSG_TO(msg, f, struct msg_list);
	uint32_t n = wire_get_array(in);

	if (n > f->max) {
		wire_fail(in, ERR_LIMIT);
		return;
	}
	list->v = n ? arena_array(arena, n, f->sub->size) : NULL;
	if (n != 0 && list->v == NULL) {
		wire_fail(in, ERR_LIMIT);
		return;
	}
	list->n = n;
	for (uint32_t i = 0; i < n && !in->c.err; i++)
		msg_get(in, f->sub, arena, (char *)list->v + i * f->sub->size);
}

static void msg_get_opt(struct wire *in, const struct msg_field *f, struct arena *arena, void *msg)
{
	void *sub;

	if (wire_get_nil(in))
		return;
	sub = arena_alloc(arena, f->sub->size);
	if (sub == NULL) {
		wire_fail(in, ERR_LIMIT);
		return;
	}
	*MSG_TO(msg, f, void *) = sub;
	msg_get(in, f->sub, arena, sub);
}

static void msg_get_field(struct wire *in, const struct msg_field *f, struct arena *arena, void *msg)
{
	if (in->mode == WIRE_LENIENT && f->kind != MSG_OPT && wire_get_nil(in))
		return;
	switch (f->kind) {
	case MSG_U64:
		*MSG_TO(msg, f, uint64_t) = wire_get_u64(in);
		break;
	case MSG_I64:
		*MSG_TO(msg, f, int64_t) = wire_get_i64(in);
		break;
	case MSG_BOOL:
		*MSG_TO(msg, f, bool) = wire_get_bool(in);
		break;
	case MSG_BYTES:
		*MSG_TO(msg, f, struct bytes) = wire_get_bin(in);
		break;
	case MSG_STR:
		*MSG_TO(msg, f, struct bytes) = wire_get_str(in);
		break;
	case MSG_LIST:
		msg_get_list(in, f, arena, msg);
		break;
	case MSG_OPT:
		msg_get_opt(in, f, arena, msg);
		break;
	}
}

/* `msg` is zeroed memory: what a lenient sender leaves out keeps its default. */
static void msg_get(struct wire *in, const struct msg_desc *d, struct arena *arena, void *msg)
{
	uint32_t n;

	if (++in->depth > LIMIT_DECODE_DEPTH)
		wire_fail(in, ERR_LIMIT);
	n = wire_get_array(in);
	if ((n > d->n_fields && in->mode != WIRE_TOLERANT) || (n < d->n_fields && in->mode != WIRE_LENIENT))
		wire_fail(in, ERR_MALFORMED);
	for (uint32_t i = 0; i < n && !in->c.err; i++) {
		if (i < d->n_fields)
			msg_get_field(in, &d->fields[i], arena, msg);
		else
			wire_skip(in);
	}
	in->depth--;
}

int msg_decode(struct wire *in, const struct msg_desc *d, struct arena *arena, void *msg)
{
	memset(msg, 0, d->size);
	msg_get(in, d, arena, msg);
	return in->c.err;
}

enum { MSG_PRINT_BYTES = 48, MSG_PRINT_ITEMS = 3 };

static void msg_print_bytes(struct buf *out, struct bytes v)
{
	size_t n = v.len < MSG_PRINT_BYTES ? v.len : MSG_PRINT_BYTES;

	buf_u8(out, '"');
	for (size_t i = 0; i < n; i++) {
		if (v.data[i] >= 0x20 && v.data[i] < 0x7f && v.data[i] != '"' && v.data[i] != '\\')
			buf_u8(out, v.data[i]);
		else
			buf_printf(out, "\\x%02x", v.data[i]);
	}
	buf_u8(out, '"');
	if (n < v.len)
		buf_printf(out, "+%zu", v.len - n);
}

static void msg_print_list(struct buf *out, const struct msg_field *f, const void *msg)
{
	const struct msg_list *list = MSG_AT(msg, f, struct msg_list);

	buf_printf(out, "[%zu", list->n);
	for (size_t i = 0; i < list->n && i < MSG_PRINT_ITEMS; i++) {
		buf_u8(out, ' ');
		msg_print(out, f->sub, (const char *)list->v + i * f->sub->size);
	}
	buf_str(out, list->n > MSG_PRINT_ITEMS ? " ...]" : "]");
}

static void msg_print_field(struct buf *out, const struct msg_field *f, const void *msg)
{
	const void *sub;

	switch (f->kind) {
	case MSG_U64:
		buf_printf(out, "%" PRIu64, *MSG_AT(msg, f, uint64_t));
		break;
	case MSG_I64:
		buf_printf(out, "%" PRId64, *MSG_AT(msg, f, int64_t));
		break;
	case MSG_BOOL:
		buf_str(out, *MSG_AT(msg, f, bool) ? "true" : "false");
		break;
	case MSG_BYTES:
	case MSG_STR:
		msg_print_bytes(out, *MSG_AT(msg, f, struct bytes));
		break;
	case MSG_LIST:
		msg_print_list(out, f, msg);
		break;
	case MSG_OPT:
		sub = *MSG_AT(msg, f, void *);
		if (sub != NULL)
			msg_print(out, f->sub, sub);
		else
			buf_str(out, "nil");
		break;
	}
}

void msg_print(struct buf *out, const struct msg_desc *d, const void *msg)
{
	buf_printf(out, "%s{", d->name);
	for (size_t i = 0; i < d->n_fields; i++) {
		buf_printf(out, "%s%s=", i ? " " : "", d->fields[i].name);
		msg_print_field(out, &d->fields[i], msg);
	}
	buf_u8(out, '}');
}

const struct msg_row *msg_row(const struct msg_link *link, uint32_t number)
{
	for (size_t i = 0; i < link->n_rows; i++)
		if (link->rows[i].number == number)
			return &link->rows[i];
	return NULL;
}

int msg_frame(struct buf *out, uint32_t number, uint64_t seq, const struct msg_desc *d, const void *msg)
{
	size_t start = out->len, body;

	buf_u32be(out, 0);
	wire_array(out, 3);
	wire_u64(out, number);
	wire_u64(out, seq);
	msg_put(out, d, msg, 1);
	if (out->err)
		return out->err;
	body = out->len - start - MSG_FRAME_HEAD;
	if (body > LIMIT_FRAME_BYTES) {
		out->len = start;
		return ERR_LIMIT;
	}
	put_u32be(out->data + start, (uint32_t)body);
	return ERR_OK;
}

int msg_unframe(const struct msg_link *link, struct bytes frame, struct arena *arena, struct msg_in *in)
{
	struct wire w = wire_of(frame, WIRE_STRICT);
	uint64_t number;

	if (wire_get_array(&w) != 3)
		wire_fail(&w, ERR_MALFORMED);
	number = wire_get_u64(&w);
	in->seq = wire_get_u64(&w);
	in->row = number <= UINT32_MAX ? msg_row(link, (uint32_t)number) : NULL;
	if (w.c.err || in->row == NULL)
		return w.c.err ? w.c.err : ERR_UNKNOWN_METHOD;
	in->msg = arena_alloc(arena, in->row->desc->size);
	if (in->msg == NULL)
		return ERR_LIMIT;
	(void)msg_decode(&w, in->row->desc, arena, in->msg);
	return wire_end(&w);
}
