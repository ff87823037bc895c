/* SPDX-License-Identifier: Apache-2.0 */
#include "client/reply.h"

#include <limits.h>

/*
 * What one decoded answer may take, the lists of its pairs: a pair of 9 bytes on the wire is a
 * struct of 64.
 */
#define REPLY_ARENA_BYTES (LIMIT_CLIENT_RESPONSE_BYTES * 8u)

enum {
	REPLY_HEAD_BYTES = 1 + 9 + 9,        /* [1, id */
	REPLY_RANGE_HEAD_BYTES = 256,        /* [header, count, more, [ */
	REPLY_WORD_BYTES = 4 * KIB,          /* the last word of a server */
	REPLY_TAIL_BYTES = 64 * KIB,         /* fields of a later protocol behind what we know */
	REPLY_SMALL_BYTES = 16 * KIB,        /* a range up to here is decoded as one */
	ERROR_FIELDS = 3,
	RANGE_FIELDS = 4
};

void client_reader_init(struct client_reader *r)
{
	*r = (struct client_reader){.state = CLIENT_REPLY_HEAD};
	arena_init(&r->arena, REPLY_ARENA_BYTES);
}

void client_reader_free(struct client_reader *r)
{
	arena_free(&r->arena);
}

/* The bytes of a value are all there: what is missing inside it will never come. */
static int reply_settled(int err)
{
	return err == ERR_TRUNCATED ? ERR_MALFORMED : err;
}

static void reply_finish(struct client_reader *r, const void *result, struct bytes raw)
{
	struct client_flight *f = r->flight;
	struct client_reply reply = {r->err, r->again, bytes_of(r->text, r->text_len), result, raw};

	r->flight = NULL;
	r->state = CLIENT_REPLY_HEAD;
	r->finish(r->arg, f, &reply);
	arena_reset(&r->arena);
}

/* A head that must fit what has arrived or what a head can be. */
static int reply_short(struct bytes in, size_t max, int err)
{
	return err == ERR_TRUNCATED && in.len >= max ? ERR_MALFORMED : err;
}

/* [1, id. Notifications have a beginning of their own. */
static int reply_head(struct client_reader *r, struct bytes in, size_t *used)
{
	struct cur c = cur_of(in);
	const uint8_t *start = c.pos;
	struct wire_head outer = wire_head(&c), type = wire_head(&c), id = wire_head(&c);

	/* The first bytes decide, so that nothing is waited for from a stranger. */
	if (outer.kind == WIRE_ARRAY && outer.n == 3) {
		r->state = CLIENT_REPLY_NOTICE;
		client_scan_start(&r->scan, 1);
		return ERR_OK;
	}
	if (outer.kind != WIRE_END && (outer.kind != WIRE_ARRAY || outer.n != 4))
		return ERR_MALFORMED;
	if (type.kind != WIRE_END && (type.kind != WIRE_UINT || type.n != NATIVE_RESPONSE))
		return ERR_MALFORMED;
	if (c.err != ERR_OK)
		return reply_short(in, REPLY_HEAD_BYTES, c.err);
	if (id.kind != WIRE_UINT || id.n > UINT32_MAX)
		return ERR_MALFORMED;
	r->flight = r->find(r->arg, (uint32_t)id.n);
	if (r->flight == NULL)
		return ERR_MALFORMED;
	*used = (size_t)(c.pos - start);
	r->state = CLIENT_REPLY_ERROR;
	client_scan_start(&r->scan, 1);
	return ERR_OK;
}

/* [code, "text", again] */
static int reply_error_parts(struct client_reader *r, struct bytes in)
{
	struct wire w = wire_of(in, WIRE_TOLERANT);
	uint64_t code, again;
	struct bytes text;
	uint32_t n;

	n = wire_get_array(&w);
	if (n < ERROR_FIELDS)
		wire_fail(&w, ERR_MALFORMED);
	code = wire_get_u64(&w);
	text = wire_get_str(&w);
	again = wire_get_u64(&w);
	for (uint32_t i = ERROR_FIELDS; i < n && w.c.err == ERR_OK; i++)
		wire_skip(&w);
	if (code == 0 || code > INT_MAX || again > ERR_AGAIN_UNSURE)
		wire_fail(&w, ERR_MALFORMED);
	if (wire_end(&w) != ERR_OK)
		return reply_settled(w.c.err);
	r->err = (int)code;
	r->again = (enum err_again)again;
	r->text_len = text.len < sizeof r->text ? text.len : sizeof r->text;
	if (r->text_len > 0)
		memcpy(r->text, text.data, r->text_len);
	return ERR_OK;
}

/* Why the server ends the connection: in its own words, if they can be read. */
static int reply_last_word(struct client_reader *r, struct bytes rest)
{
	r->last_word = reply_error_parts(r, rest) == ERR_OK;
	return ERR_CLOSED;
}

/*
 * [2, "method", params]; one that this client does not know is passed over. Of who wants none nothing long is
 * waited for.
 */
static int reply_notice(struct client_reader *r, struct bytes in, size_t *used)
{
	const struct native_notification *n;
	struct bytes name;
	void *params = NULL;
	struct wire w;
	size_t max = r->notice != NULL ? LIMIT_CLIENT_RESPONSE_BYTES : REPLY_WORD_BYTES;
	int rc = client_scan_on(&r->scan, in, max, used);

	if (rc != ERR_OK)
		return rc == ERR_LIMIT && r->notice == NULL ? ERR_MALFORMED : rc;
	w = wire_of(bytes_of(in.data, *used), WIRE_TOLERANT);
	(void)wire_get_array(&w);
	if (wire_get_u64(&w) != NATIVE_NOTIFICATION)
		return ERR_MALFORMED;
	name = wire_get_str(&w);
	if (w.c.err == ERR_OK && bytes_eq(name, bytes_str("error")))
		return reply_last_word(r, bytes_of(w.c.pos, cur_left(&w.c)));
	if (r->notice == NULL)
		return ERR_MALFORMED;
	n = native_notification_find(name);
	if (n == NULL) {
		wire_skip(&w);
	} else {
		params = arena_alloc(&r->arena, n->params->size);
		if (params == NULL)
			return ERR_NO_MEMORY;
		(void)msg_decode(&w, n->params, &r->arena, params);
	}
	rc = reply_settled(wire_end(&w));
	if (rc == ERR_OK && n != NULL)
		r->notice(r->arg, n, params);
	r->state = CLIENT_REPLY_HEAD;
	arena_reset(&r->arena);
	return rc;
}

static int reply_error(struct client_reader *r, struct bytes in, size_t *used)
{
	struct wire w;
	int rc = client_scan_on(&r->scan, in, 64 * KIB, used);

	if (rc != ERR_OK)
		return rc;
	r->err = ERR_OK;
	r->again = ERR_AGAIN_NO;
	r->text_len = 0;
	w = wire_of(bytes_of(in.data, *used), WIRE_TOLERANT);
	if (!wire_get_nil(&w)) {
		rc = reply_error_parts(r, bytes_of(in.data, *used));
		if (rc != ERR_OK)
			return rc;
	}
	r->state = r->err == ERR_OK && r->flight->sink != NULL ? CLIENT_REPLY_RANGE :
								 CLIENT_REPLY_WHOLE;
	client_scan_start(&r->scan, 1);
	return ERR_OK;
}

static int reply_whole(struct client_reader *r, struct bytes in, size_t *used)
{
	const struct msg_desc *d = r->flight->method->result;
	void *result = NULL;
	struct wire w;
	int rc = client_scan_on(&r->scan, in, LIMIT_CLIENT_RESPONSE_BYTES, used);

	if (rc != ERR_OK)
		return rc;
	w = wire_of(bytes_of(in.data, *used), WIRE_TOLERANT);
	if (r->err != ERR_OK) {
		if (!wire_get_nil(&w))
			return ERR_MALFORMED;
	} else {
		result = arena_alloc(&r->arena, d->size);
		if (result == NULL)
			return ERR_NO_MEMORY;
		(void)msg_decode(&w, d, &r->arena, result);
	}
	rc = reply_settled(wire_end(&w));
	if (rc == ERR_OK)
		reply_finish(r, result, bytes_of(in.data, result != NULL ? *used : 0));
	return rc;
}

/* header, count, more: in `in`, whole. */
static int reply_range_fields(struct client_reader *r, struct bytes in)
{
	struct wire w = wire_of(in, WIRE_TOLERANT);

	r->range = (struct kv_range_result){0};
	if (!wire_get_nil(&w)) {
		(void)msg_decode(&w, &kv_header_desc, &r->arena, &r->header);
		r->range.header = &r->header;
	}
	r->range.count = wire_get_i64(&w);
	r->range.more = wire_get_bool(&w);
	return wire_end(&w);
}

/* range.kvs.n counts down to the end of the pairs. */
static void reply_pairs_on(struct client_reader *r)
{
	bool more = r->range.kvs.n > 0;

	r->state = more ? CLIENT_REPLY_PAIRS : CLIENT_REPLY_RANGE_END;
	client_scan_start(&r->scan, more ? 1 : r->more_fields);
}

/*
 * A short range that has come whole is decoded as one, instead of looking for the end of each part first. False:
 * it has not, or there is something wrong that the longer way will say.
 */
static bool reply_range_small(struct client_reader *r, struct bytes in, size_t *used)
{
	struct wire w = wire_of(bytes_of(in.data, in.len < REPLY_SMALL_BYTES ? in.len : REPLY_SMALL_BYTES),
				WIRE_TOLERANT);

	if (msg_decode(&w, &kv_range_result_desc, &r->arena, &r->range) != ERR_OK) {
		arena_reset(&r->arena);
		return false;
	}
	*used = (size_t)(w.c.pos - in.data);
	return true;
}

static int reply_range_whole(struct client_reader *r)
{
	const struct client_sink *sink = r->flight->sink;
	const struct kv_pair *pairs = r->range.kvs.v;
	size_t n = r->range.kvs.n;
	int rc;

	r->range.kvs.v = NULL;
	rc = sink->begin(sink->arg, &r->range);
	r->range.kvs.n = 0;
	for (size_t i = 0; i < n && rc == ERR_OK; i++)
		rc = sink->pair(sink->arg, &pairs[i]);
	if (rc == ERR_OK)
		reply_finish(r, &r->range, bytes_of(NULL, 0));
	return rc;
}

static int reply_range(struct client_reader *r, struct bytes in, size_t *used)
{
	struct client_scan fields;
	struct cur c = cur_of(in);
	const uint8_t *body, *start = c.pos;
	struct wire_head outer = wire_head(&c), list;
	size_t len = 0;
	int rc;

	if (reply_range_small(r, in, used))
		return reply_range_whole(r);
	if (c.err != ERR_OK)
		return c.err;
	if (outer.kind != WIRE_ARRAY || outer.n < RANGE_FIELDS)
		return ERR_MALFORMED;
	body = c.pos;
	client_scan_start(&fields, 3);
	rc = client_scan_on(&fields, bytes_of(body, cur_left(&c)), REPLY_RANGE_HEAD_BYTES, &len);
	if (rc != ERR_OK)
		return rc;
	(void)cur_take(&c, len);
	list = wire_head(&c);
	if (c.err != ERR_OK)
		return c.err;
	if (list.kind != WIRE_ARRAY || reply_range_fields(r, bytes_of(body, len)) != ERR_OK)
		return ERR_MALFORMED;
	r->range.kvs.n = (size_t)list.n;
	r->more_fields = outer.n - RANGE_FIELDS;
	*used = (size_t)(c.pos - start);
	reply_pairs_on(r);
	return r->flight->sink->begin(r->flight->sink->arg, &r->range);
}

/* What a later protocol says behind the pairs is passed over. */
static int reply_range_end(struct client_reader *r, struct bytes in, size_t *used)
{
	int rc = client_scan_on(&r->scan, in, REPLY_TAIL_BYTES, used);

	if (rc == ERR_OK)
		reply_finish(r, &r->range, bytes_of(NULL, 0));
	return rc;
}

static int reply_pair(struct client_reader *r, struct bytes in, size_t *used)
{
	struct kv_pair pair;
	struct wire w;
	int rc;

	rc = client_scan_on(&r->scan, in, LIMIT_CLIENT_PAIR_BYTES, used);
	if (rc != ERR_OK)
		return rc;
	w = wire_of(bytes_of(in.data, *used), WIRE_TOLERANT);
	(void)msg_decode(&w, &kv_pair_desc, &r->arena, &pair);
	rc = reply_settled(wire_end(&w));
	if (rc != ERR_OK)
		return rc;
	r->range.kvs.n--;
	reply_pairs_on(r);
	return r->flight->sink->pair(r->flight->sink->arg, &pair);
}

static int reply_step(struct client_reader *r, struct bytes in, size_t *used)
{
	switch (r->state) {
	case CLIENT_REPLY_HEAD:
		return reply_head(r, in, used);
	case CLIENT_REPLY_NOTICE:
		return reply_notice(r, in, used);
	case CLIENT_REPLY_ERROR:
		return reply_error(r, in, used);
	case CLIENT_REPLY_WHOLE:
		return reply_whole(r, in, used);
	case CLIENT_REPLY_RANGE:
		return reply_range(r, in, used);
	case CLIENT_REPLY_PAIRS:
		return reply_pair(r, in, used);
	case CLIENT_REPLY_RANGE_END:
		break;
	}
	return reply_range_end(r, in, used);
}

int client_reader_on(struct client_reader *r, struct bytes in, size_t *used)
{
	int rc = ERR_OK;

	*used = 0;
	if (in.len == 0)
		return ERR_OK;
	while (rc == ERR_OK) {
		size_t step = 0;

		rc = reply_step(r, bytes_of(in.data + *used, in.len - *used), &step);
		if (rc == ERR_OK)
			*used += step;
	}
	return rc == ERR_TRUNCATED ? ERR_OK : rc;
}
