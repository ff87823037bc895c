/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/rpc.h"

#include "base/err.h"
#include "base/limits.h"
#include "proto/native.h"
#include "proto/wire.h"

struct rpc_head {
	enum wire_kind kind;
	uint64_t n;           /* a number, or how many bytes or elements follow */
	size_t len;           /* of the head itself */
};

/* Bytes of the number behind the first byte of a head. */
static size_t rpc_width(uint8_t first)
{
	switch (first) {
	case 0xc4: case 0xc7: case 0xcc: case 0xd0: case 0xd9:
		return 1;
	case 0xc5: case 0xc8: case 0xcd: case 0xd1: case 0xda: case 0xdc: case 0xde:
		return 2;
	case 0xc6: case 0xc9: case 0xca: case 0xce: case 0xd2: case 0xdb: case 0xdd: case 0xdf:
		return 4;
	case 0xcb: case 0xcf: case 0xd3:
		return 8;
	default:
		return 0;
	}
}

static struct rpc_head rpc_short_head(uint8_t first)
{
	if (first < 0x80)
		return (struct rpc_head){WIRE_UINT, first, 1};
	if (first < 0x90)
		return (struct rpc_head){WIRE_MAP, first & 0x0fu, 1};
	if (first < 0xa0)
		return (struct rpc_head){WIRE_ARRAY, first & 0x0fu, 1};
	if (first < 0xc0)
		return (struct rpc_head){WIRE_STR, first & 0x1fu, 1};
	if (first >= 0xe0)
		return (struct rpc_head){WIRE_INT, first, 1};
	if (first >= 0xd4 && first <= 0xd8)
		return (struct rpc_head){WIRE_EXT, (1u << (first - 0xd4)) + 1u, 1};
	return (struct rpc_head){first == 0xc0 ? WIRE_NIL : WIRE_BOOL, 0, 1};
}

static enum wire_kind rpc_long_kind(uint8_t first)
{
	switch (first) {
	case 0xc4: case 0xc5: case 0xc6:
		return WIRE_BIN;
	case 0xc7: case 0xc8: case 0xc9:
		return WIRE_EXT;
	case 0xca: case 0xcb:
		return WIRE_FLOAT;
	case 0xcc: case 0xcd: case 0xce: case 0xcf:
		return WIRE_UINT;
	case 0xd0: case 0xd1: case 0xd2: case 0xd3:
		return WIRE_INT;
	case 0xd9: case 0xda: case 0xdb:
		return WIRE_STR;
	case 0xdc: case 0xdd:
		return WIRE_ARRAY;
	default:
		return WIRE_MAP;
	}
}

static int rpc_head(struct bytes in, struct rpc_head *h)
{
	uint8_t first;
	size_t width;

	if (in.len == 0)
		return ERR_TRUNCATED;
	first = in.data[0];
	if (first == 0xc1)                    /* the one byte that MessagePack never uses */
		return ERR_MALFORMED;
	width = rpc_width(first);
	if (width == 0) {
		*h = rpc_short_head(first);
		return ERR_OK;
	}
	if (in.len < 1 + width)
		return ERR_TRUNCATED;
	*h = (struct rpc_head){rpc_long_kind(first), 0, 1 + width};
	for (size_t i = 1; i <= width; i++)
		h->n = h->n << 8 | in.data[i];
	if (h->kind == WIRE_EXT)
		h->n++;                       /* its type */
	return ERR_OK;
}

void rpc_scan_begin(struct rpc_scan *s)
{
	*s = (struct rpc_scan){.stage = RPC_ENVELOPE, .todo = 1};
}

/* Is this the head that the envelope must have here? */
static int rpc_envelope(struct rpc_scan *s, const struct rpc_head *h)
{
	switch (s->stage) {
	case RPC_ENVELOPE:
		return h->kind == WIRE_ARRAY && h->n == 4 ? ERR_OK : ERR_MALFORMED;
	case RPC_TYPE:
		return h->kind == WIRE_UINT && h->n == NATIVE_REQUEST ? ERR_OK : ERR_MALFORMED;
	case RPC_ID:
		if (h->kind != WIRE_UINT || h->n > UINT32_MAX)
			return ERR_MALFORMED;
		s->id = (uint32_t)h->n;
		s->id_known = true;
		return ERR_OK;
	case RPC_METHOD:
		s->method_at = s->pos + h->len;
		s->method_len = (size_t)h->n;
		return h->kind == WIRE_STR && h->n <= RPC_METHOD_BYTES ? ERR_OK : ERR_MALFORMED;
	case RPC_PARAMS:
		s->params_at = s->pos;
		return h->kind == WIRE_ARRAY ? ERR_OK : ERR_MALFORMED;
	case RPC_VALUES:
		break;
	}
	return ERR_OK;
}

/* Every value still to come costs at least a byte. */
static int rpc_step(struct rpc_scan *s, const struct rpc_head *h)
{
	uint64_t body = 0;
	int err = rpc_envelope(s, h);

	if (err != ERR_OK)
		return err;
	if (s->stage < RPC_VALUES)
		s->stage++;
	s->todo--;
	if (h->kind == WIRE_STR || h->kind == WIRE_BIN || h->kind == WIRE_EXT)
		body = h->n;
	else if (h->kind == WIRE_ARRAY)
		s->todo += h->n;
	else if (h->kind == WIRE_MAP)
		s->todo += 2 * h->n;
	if (s->pos + h->len + body + s->todo > LIMIT_CONN_MESSAGE_BYTES)
		return ERR_REQUEST_TOO_LARGE;
	s->pos += h->len + (size_t)body;
	return ERR_OK;
}

int rpc_scan(struct rpc_scan *s, struct bytes in, struct rpc_request *r)
{
	struct rpc_head h;
	int err;

	while (s->todo > 0) {
		if (s->pos >= in.len)
			return ERR_TRUNCATED;
		err = rpc_head(bytes_of(in.data + s->pos, in.len - s->pos), &h);
		if (err == ERR_OK)
			err = rpc_step(s, &h);
		if (err != ERR_OK)
			return err;
	}
	if (s->pos > in.len)
		return ERR_TRUNCATED;
	r->id = s->id;
	r->method = bytes_of(in.data + s->method_at, s->method_len);
	r->params = bytes_of(in.data + s->params_at, s->pos - s->params_at);
	return ERR_OK;
}

void rpc_result_head(struct buf *out, uint32_t id)
{
	wire_array(out, 4);
	wire_u64(out, NATIVE_RESPONSE);
	wire_u64(out, id);
	wire_nil(out);
}

static void rpc_put_error(struct buf *out, int err)
{
	wire_array(out, 3);
	wire_u64(out, (uint64_t)err);
	wire_cstr(out, err_text(err));
	wire_u64(out, (uint64_t)err_again(err));
}

void rpc_error(struct buf *out, uint32_t id, int err)
{
	wire_array(out, 4);
	wire_u64(out, NATIVE_RESPONSE);
	wire_u64(out, id);
	rpc_put_error(out, err);
	wire_nil(out);
}

void rpc_notify_head(struct buf *out, const char *method)
{
	wire_array(out, 3);
	wire_u64(out, NATIVE_NOTIFICATION);
	wire_cstr(out, method);
}

void rpc_goodbye(struct buf *out, int err)
{
	rpc_notify_head(out, "error");
	rpc_put_error(out, err);
}
