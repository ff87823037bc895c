/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pb.h"

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "proto/msg.h"

#define PB_AT(msg, f, type) ((type const *)(const void *)((const char *)(msg) + (f)->offset))
#define PB_TO(msg, f, type) ((type *)(void *)((char *)(msg) + (f)->offset))

enum { PB_WIRE_VARINT = 0, PB_WIRE_64 = 1, PB_WIRE_BYTES = 2, PB_WIRE_GROUP = 3, PB_WIRE_END = 4, PB_WIRE_32 = 5 };
enum { PB_LIST_FIRST = 4 };       /* elements a list has room for at first */
#define PB_NUMBER_MAX 0x1fffffffu

static bool pb_is_bytes(enum pb_kind kind)
{
	return kind == PB_BYTES || kind == PB_STR;
}

/* ---- sizes ---- */

static size_t pb_tag_size(uint32_t number)
{
	return pb_varint_size((uint64_t)number << 3);
}

size_t pb_head_size(uint32_t number, size_t len)
{
	return pb_tag_size(number) + pb_varint_size(len);
}

size_t pb_number_size(uint32_t number, uint64_t v)
{
	return v == 0 ? 0 : pb_tag_size(number) + pb_varint_size(v);
}

/* A number as its varint has it. `at` is the member, or an element of a bare list. */
static uint64_t pb_load(enum pb_kind kind, const void *at)
{
	switch (kind) {
	case PB_U32:
		return *(const uint32_t *)at;
	case PB_BOOL:
		return *(const bool *)at;
	default:
		return *(const uint64_t *)at;
	}
}

static size_t pb_bare_body(const struct pb_field *f, const struct msg_list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		n += pb_varint_size(pb_load(f->kind, (const char *)list->v + i * f->size));
	return n;
}

static size_t pb_bare_size(const struct pb_field *f, const struct msg_list *list)
{
	size_t n = 0;

	if (!pb_is_bytes(f->kind)) {
		n = pb_bare_body(f, list);
		return n == 0 ? 0 : pb_head_size(f->number, n) + n;
	}
	for (size_t i = 0; i < list->n; i++) {
		const struct bytes *b = (const void *)((const char *)list->v + i * f->size);

		n += pb_head_size(f->number, b->len) + b->len;
	}
	return n;
}

static size_t pb_sub_size(const struct pb_field *f, const void *sub)
{
	size_t n = pb_size(f->sub, sub);

	return pb_head_size(f->number, n) + n;
}

static size_t pb_field_size(const struct pb_field *f, const void *msg)
{
	const struct msg_list *list = PB_AT(msg, f, struct msg_list);
	size_t n = 0;

	if (f->bare)
		return pb_bare_size(f, list);
	switch (f->kind) {
	case PB_LIST:
		for (size_t i = 0; i < list->n; i++)
			n += pb_sub_size(f, (const char *)list->v + i * f->size);
		return n;
	case PB_OPT:
	case PB_ONE:
		return *PB_AT(msg, f, void *) == NULL ? 0 : pb_sub_size(f, *PB_AT(msg, f, void *));
	case PB_BYTES:
	case PB_STR:
		n = PB_AT(msg, f, struct bytes)->len;
		return n == 0 ? 0 : pb_head_size(f->number, n) + n;
	default:
		return pb_number_size(f->number, pb_load(f->kind, PB_AT(msg, f, char)));
	}
}

size_t pb_size(const struct pb_desc *d, const void *msg)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n_fields; i++)
		n += pb_field_size(&d->fields[i], msg);
	return n;
}

/* ---- writing: backwards, since a part's length stands before it and is known after it ---- */

struct pb_back {
	uint8_t *at;                  /* the first byte written so far */
	uint8_t *begin;
};

static void pb_back_bytes(struct pb_back *b, struct bytes v)
{
	CHECK((size_t)(b->at - b->begin) >= v.len);
	b->at -= v.len;
	if (v.len > 0)
		memcpy(b->at, v.data, v.len);
}

static void pb_back_varint(struct pb_back *b, uint64_t v)
{
	size_t n = pb_varint_size(v);

	CHECK((size_t)(b->at - b->begin) >= n);
	b->at -= n;
	(void)pb_put_varint(b->at, v);
}

static void pb_back_head(struct pb_back *b, uint32_t number, const uint8_t *end)
{
	pb_back_varint(b, (uint64_t)(end - b->at));
	pb_back_varint(b, (uint64_t)number << 3 | PB_WIRE_BYTES);
}

static void pb_back_msg(struct pb_back *b, const struct pb_desc *d, const void *msg);

static void pb_back_sub(struct pb_back *b, const struct pb_field *f, const void *sub)
{
	const uint8_t *end = b->at;

	pb_back_msg(b, f->sub, sub);
	pb_back_head(b, f->number, end);
}

static void pb_back_one_bytes(struct pb_back *b, uint32_t number, struct bytes v)
{
	const uint8_t *end = b->at;

	pb_back_bytes(b, v);
	pb_back_head(b, number, end);
}

static void pb_back_bare(struct pb_back *b, const struct pb_field *f, const struct msg_list *list)
{
	const uint8_t *end = b->at;

	for (size_t i = list->n; i-- > 0;) {
		const char *at = (const char *)list->v + i * f->size;

		if (pb_is_bytes(f->kind))
			pb_back_one_bytes(b, f->number, *(const struct bytes *)(const void *)at);
		else
			pb_back_varint(b, pb_load(f->kind, at));
	}
	if (list->n > 0 && !pb_is_bytes(f->kind))
		pb_back_head(b, f->number, end);
}

static void pb_back_number(struct pb_back *b, uint32_t number, uint64_t v)
{
	if (v == 0)
		return;
	pb_back_varint(b, v);
	pb_back_varint(b, (uint64_t)number << 3 | PB_WIRE_VARINT);
}

static void pb_back_field(struct pb_back *b, const struct pb_field *f, const void *msg)
{
	const struct msg_list *list = PB_AT(msg, f, struct msg_list);

	if (f->bare) {
		pb_back_bare(b, f, list);
		return;
	}
	switch (f->kind) {
	case PB_LIST:
		for (size_t i = list->n; i-- > 0;)
			pb_back_sub(b, f, (const char *)list->v + i * f->size);
		break;
	case PB_OPT:
	case PB_ONE:
		if (*PB_AT(msg, f, void *) != NULL)
			pb_back_sub(b, f, *PB_AT(msg, f, void *));
		break;
	case PB_BYTES:
	case PB_STR:
		if (PB_AT(msg, f, struct bytes)->len > 0)
			pb_back_one_bytes(b, f->number, *PB_AT(msg, f, struct bytes));
		break;
	default:
		pb_back_number(b, f->number, pb_load(f->kind, PB_AT(msg, f, char)));
		break;
	}
}

static void pb_back_msg(struct pb_back *b, const struct pb_desc *d, const void *msg)
{
	for (size_t i = d->n_fields; i-- > 0;)
		pb_back_field(b, &d->fields[i], msg);
}

/* With a head before it if `number` is not 0. */
static int pb_write(struct buf *out, const struct pb_desc *d, const void *msg, uint32_t number)
{
	size_t body = pb_size(d, msg), n = body + (number != 0 ? pb_head_size(number, body) : 0);
	uint8_t *p = n > 0 ? buf_reserve(out, n) : NULL;
	struct pb_back b;

	if (p == NULL)
		return out->err;
	b = (struct pb_back){p + n, p};
	pb_back_msg(&b, d, msg);
	if (number != 0)
		pb_back_head(&b, number, p + n);
	CHECK(b.at == p);
	out->len += n;
	return ERR_OK;
}

int pb_encode(struct buf *out, const struct pb_desc *d, const void *msg)
{
	return pb_write(out, d, msg, 0);
}

int pb_part(struct buf *out, uint32_t number, const struct pb_desc *d, const void *msg)
{
	CHECK(number != 0);
	return pb_write(out, d, msg, number);
}

void pb_head(struct buf *out, uint32_t number, size_t len)
{
	buf_varint(out, (uint64_t)number << 3 | PB_WIRE_BYTES);
	buf_varint(out, len);
}

void pb_number(struct buf *out, uint32_t number, uint64_t v)
{
	if (v == 0)
		return;
	buf_varint(out, (uint64_t)number << 3 | PB_WIRE_VARINT);
	buf_varint(out, v);
}

void pb_wrap(struct buf *out, size_t from, uint32_t number)
{
	size_t body = out->len - from, head = pb_head_size(number, body);

	CHECK(from <= out->len);
	if (buf_reserve(out, head) == NULL)
		return;
	if (body > 0)
		memmove(out->data + from + head, out->data + from, body);
	out->len = from;
	pb_head(out, number, body);
	out->len += body;
}

/* ---- reading ---- */

struct pb_in {
	struct cur c;
	struct arena *arena;
};

/* As Go reads it: ten bytes at most, what does not fit 64 bits is dropped. */
static uint64_t pb_get_varint(struct pb_in *in)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte = cur_u8(&in->c);

		if (in->c.err)
			return 0;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return v;
	}
	in->c.err = ERR_MALFORMED;
	return 0;
}

static struct bytes pb_get_bytes(struct pb_in *in)
{
	uint64_t n = pb_get_varint(in);

	if (!in->c.err && n > cur_left(&in->c))
		in->c.err = ERR_TRUNCATED;
	return in->c.err ? bytes_of(NULL, 0) : cur_take(&in->c, (size_t)n);
}

/* A tag: the number, and the wire type in *type. */
static uint32_t pb_get_tag(struct pb_in *in, unsigned *type)
{
	uint64_t tag = pb_get_varint(in);

	*type = (unsigned)(tag & 7);
	if (!in->c.err && (tag >> 3 == 0 || tag >> 3 > PB_NUMBER_MAX))
		in->c.err = ERR_MALFORMED;
	return (uint32_t)(tag >> 3);
}

/* An unknown field's value. Groups, which nobody writes any more, are skipped without recursion. */
static void pb_skip(struct pb_in *in, unsigned type)
{
	unsigned depth = 0;

	do {
		switch (type) {
		case PB_WIRE_VARINT:
			(void)pb_get_varint(in);
			break;
		case PB_WIRE_64:
			(void)cur_take(&in->c, 8);
			break;
		case PB_WIRE_BYTES:
			(void)pb_get_bytes(in);
			break;
		case PB_WIRE_GROUP:
			depth++;
			break;
		case PB_WIRE_END:
			if (depth-- == 0)
				in->c.err = ERR_MALFORMED;
			break;
		case PB_WIRE_32:
			(void)cur_take(&in->c, 4);
			break;
		default:
			in->c.err = ERR_MALFORMED;
			break;
		}
		if (depth > 0 && !in->c.err)
			(void)pb_get_tag(in, &type);
	} while (depth > 0 && !in->c.err);
}

static void pb_store(enum pb_kind kind, void *at, uint64_t v)
{
	switch (kind) {
	case PB_U32:
		*(uint32_t *)at = (uint32_t)v;
		break;
	case PB_BOOL:
		*(bool *)at = v != 0;
		break;
	case PB_ENUM:
		*(uint64_t *)at = (uint64_t)(int64_t)(int32_t)(uint32_t)v;
		break;
	default:
		*(uint64_t *)at = v;
		break;
	}
}

/* Room for one more; the room doubles, so a list costs the arena at most twice its size. */
static void *pb_grow(struct pb_in *in, const struct pb_field *f, struct msg_list *list)
{
	size_t n = list->n;
	bool full = n == 0 || (n >= PB_LIST_FIRST && (n & (n - 1)) == 0);
	void *v;

	if (n >= f->max) {
		in->c.err = ERR_LIMIT;
		return NULL;
	}
	if (full) {
		v = arena_array(in->arena, n == 0 ? PB_LIST_FIRST : 2 * n, f->size);
		if (v == NULL) {
			in->c.err = ERR_LIMIT;
			return NULL;
		}
		if (n > 0)
			memcpy(v, list->v, n * f->size);
		list->v = v;
	}
	list->n++;
	return (char *)list->v + n * f->size;
}

static void pb_get_msg(struct pb_in *in, const struct pb_desc *d, void *msg, unsigned depth);

static void pb_get_sub(struct pb_in *in, const struct pb_field *f, void *sub, unsigned depth)
{
	struct bytes body = pb_get_bytes(in);
	struct pb_in inner = {cur_of(body), in->arena};

	if (in->c.err)
		return;
	pb_get_msg(&inner, f->sub, sub, depth);
	in->c.err = inner.c.err;
}

static void pb_get_list(struct pb_in *in, const struct pb_field *f, void *msg, unsigned depth)
{
	void *item = pb_grow(in, f, PB_TO(msg, f, struct msg_list));

	if (item != NULL)
		pb_get_sub(in, f, item, depth);
}

static void pb_get_opt(struct pb_in *in, const struct pb_field *f, void *msg, unsigned depth)
{
	void **at = PB_TO(msg, f, void *);

	if (*at == NULL)
		*at = arena_alloc(in->arena, f->size);
	if (*at == NULL)
		in->c.err = ERR_LIMIT;
	else
		pb_get_sub(in, f, *at, depth);
}

static void pb_get_one(struct pb_in *in, const struct pb_desc *d, const struct pb_field *f, void *msg,
		       unsigned depth)
{
	for (size_t i = 0; i < d->n_fields; i++)
		if (d->fields[i].kind == PB_ONE)
			*PB_TO(msg, &d->fields[i], void *) = NULL;
	pb_get_opt(in, f, msg, depth);
}

static void pb_get_bare(struct pb_in *in, const struct pb_field *f, void *msg, unsigned type)
{
	struct msg_list *list = PB_TO(msg, f, struct msg_list);
	struct pb_in packed = {.arena = in->arena};
	void *item;

	if (pb_is_bytes(f->kind)) {
		item = pb_grow(in, f, list);
		if (item != NULL)
			*(struct bytes *)item = pb_get_bytes(in);
		return;
	}
	if (type == PB_WIRE_VARINT) {
		item = pb_grow(in, f, list);
		if (item != NULL)
			pb_store(f->kind, item, pb_get_varint(in));
		return;
	}
	packed.c = cur_of(pb_get_bytes(in));
	while (!in->c.err && cur_left(&packed.c) > 0) {
		item = pb_grow(in, f, list);
		if (item != NULL)
			pb_store(f->kind, item, pb_get_varint(&packed));
		if (packed.c.err)
			in->c.err = packed.c.err;
	}
}

static bool pb_type_fits(const struct pb_field *f, unsigned type)
{
	bool number = f->kind < PB_LIST && !pb_is_bytes(f->kind);

	if (number)
		return type == PB_WIRE_VARINT || (f->bare && type == PB_WIRE_BYTES);
	return type == PB_WIRE_BYTES;
}

static void pb_get_field(struct pb_in *in, const struct pb_desc *d, const struct pb_field *f, unsigned type,
			 void *msg, unsigned depth)
{
	if (!pb_type_fits(f, type)) {
		in->c.err = ERR_MALFORMED;
		return;
	}
	if (f->bare) {
		pb_get_bare(in, f, msg, type);
		return;
	}
	switch (f->kind) {
	case PB_LIST:
		pb_get_list(in, f, msg, depth);
		break;
	case PB_OPT:
		pb_get_opt(in, f, msg, depth);
		break;
	case PB_ONE:
		pb_get_one(in, d, f, msg, depth);
		break;
	case PB_BYTES:
	case PB_STR:
		*PB_TO(msg, f, struct bytes) = pb_get_bytes(in);
		break;
	default:
		pb_store(f->kind, PB_TO(msg, f, char), pb_get_varint(in));
		break;
	}
}

static const struct pb_field *pb_find(const struct pb_desc *d, uint32_t number)
{
	for (size_t i = 0; i < d->n_fields; i++)
		if (d->fields[i].number == number)
			return &d->fields[i];
	return NULL;
}

static void pb_get_msg(struct pb_in *in, const struct pb_desc *d, void *msg, unsigned depth)
{
	const struct pb_field *f;
	uint32_t number;
	unsigned type;

	if (depth > LIMIT_DECODE_DEPTH)
		in->c.err = ERR_LIMIT;
	while (!in->c.err && cur_left(&in->c) > 0) {
		number = pb_get_tag(in, &type);
		if (in->c.err)
			return;
		f = pb_find(d, number);
		if (f != NULL)
			pb_get_field(in, d, f, type, msg, depth + 1);
		else
			pb_skip(in, type);
	}
}

int pb_decode(struct bytes in, const struct pb_desc *d, struct arena *arena, void *msg)
{
	struct pb_in p = {cur_of(in), arena};

	memset(msg, 0, d->size);
	pb_get_msg(&p, d, msg, 1);
	return p.c.err;
}
