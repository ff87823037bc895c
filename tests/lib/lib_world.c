/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/lib_world.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/tap.h"

enum { WORLD_BIG_PAIRS = 3000, WORLD_BIG_VALUE = 1000, WORLD_TXN_OPS = 8 };

void world_sleep(int ms)
{
	(void)poll(NULL, 0, ms);
}

static void play_text(char *to, size_t len, struct bytes from)
{
	(void)snprintf(to, len, "%.*s", (int)from.len, (const char *)from.data);
}

static void play_note(struct play *p, const struct fake_request *r)
{
	const struct kv_put *put = r->params;
	const struct kv_range *range = r->params;
	const struct kv_delete *del = r->params;

	(void)pthread_mutex_lock(&p->lock);
	play_text(p->method, sizeof p->method, bytes_str(r->method->name));
	p->key[0] = p->end[0] = p->value[0] = 0;
	if (r->method->params == &kv_put_desc) {
		play_text(p->key, sizeof p->key, put->key);
		play_text(p->value, sizeof p->value, put->value);
	} else if (r->method->params == &kv_range_desc) {
		play_text(p->key, sizeof p->key, range->key);
		play_text(p->end, sizeof p->end, range->range_end);
	} else if (r->method->params == &kv_delete_desc) {
		play_text(p->key, sizeof p->key, del->key);
		play_text(p->end, sizeof p->end, del->range_end);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

/* Its first branch is done, with as many answers as there are operations: there is `kv`, and no other key. */
static void play_txn(struct fake_conn *c, const struct fake_request *r, struct kv_header *h, struct kv_pair *kv)
{
	const struct kv_txn *txn = r->params;
	struct kv_range_result none = {0}, one = {.count = 1, .kvs = {.v = kv, .n = 1}};
	struct kv_put_result put = {0};
	struct kv_delete_result del = {0};
	struct kv_op_result parts[WORLD_TXN_OPS] = {{0}};
	struct kv_txn_result result = {.header = h, .succeeded = true, .responses = {parts, txn->success.n}};

	CHECK(txn->success.n <= WORLD_TXN_OPS);
	for (size_t i = 0; i < txn->success.n; i++) {
		const struct kv_op *op = &txn->success.v[i];

		if (op->range != NULL)
			parts[i].range = bytes_eq(op->range->key, kv->key) ? &one : &none;
		else if (op->put != NULL)
			parts[i].put = &put;
		else
			parts[i].del = &del;
	}
	fake_result(c, r, &result);
}

static bool play_honest(struct play *p, struct fake_conn *c, const struct fake_request *r, const char *name)
{
	struct kv_header h = {1, 2, p->revision, 4};
	struct kv_pair kv = {bytes_str(name), 2, p->revision, 1, bytes_str("value"), 0};
	struct kv_range_result range = {.header = &h, .count = 1, .kvs = {.v = &kv, .n = 1}};
	struct kv_put_result put = {.header = &h};
	struct kv_delete_result del = {.header = &h, .deleted = 1};
	struct lease_grant_result grant = {&h, 77, p->ttl};
	struct native_keepalive_result keep = {&h, 77, p->kept_ttl};
	struct lease_revoke_result revoke = {&h};
	struct native_watch_result watch = {&h, 1};
	struct native_status_result status = {.header = &h, .name = bytes_str("fake"),
					      .role = bytes_str("leader"), .leader = 2};

	h.member_id = p->member_id != 0 ? p->member_id : h.member_id;

	if (r->method->params == &kv_range_desc)
		fake_result(c, r, &range);
	else if (r->method->params == &kv_put_desc)
		fake_result(c, r, &put);
	else if (r->method->params == &kv_delete_desc)
		fake_result(c, r, &del);
	else if (r->method->params == &kv_txn_desc)
		play_txn(c, r, &h, &kv);
	else if (r->method->params == &lease_grant_desc)
		fake_result(c, r, &grant);
	else if (strcmp(r->method->name, "lease_keepalive") == 0)
		fake_result(c, r, &keep);
	else if (strcmp(r->method->name, "watch") == 0)
		fake_result(c, r, &watch);
	else if (r->method->params == &lease_revoke_desc)
		fake_result(c, r, &revoke);
	else if (strcmp(r->method->name, "status") == 0)
		fake_result(c, r, &status);
	else
		fake_error(c, r, ERR_UNIMPLEMENTED, "not played", 0);
	return true;
}

/* The first half of a range, or more than a client was told to take. */
static bool play_range(struct fake_conn *c, const struct fake_request *r, size_t pairs, size_t sent)
{
	static char value[WORLD_BIG_VALUE];
	struct kv_pair kv = {bytes_str("key"), 2, 3, 1, bytes_of(value, sizeof value), 0};
	struct buf b;
	bool good = true;

	buf_init(&b, 0);
	wire_array(&b, 4);
	wire_u64(&b, NATIVE_RESPONSE);
	wire_u64(&b, r->id);
	wire_nil(&b);
	wire_array(&b, 4);
	wire_nil(&b);
	wire_i64(&b, (int64_t)pairs);
	wire_bool(&b, false);
	wire_array(&b, pairs);
	for (size_t i = 0; good && i < sent; i++) {
		(void)msg_encode(&b, &kv_pair_desc, &kv);
		if (i % 64 == 0) {
			fake_bytes(c, buf_bytes(&b));
			buf_clear(&b);
			good = fake_flush(c);
		}
	}
	fake_bytes(c, buf_bytes(&b));
	buf_free(&b);
	return good && fake_flush(c);
}

static bool play_version(struct play *p, struct fake_conn *c, const struct fake_request *r)
{
	struct native_version_result version = {bytes_str("fake"), 1};
	bool first;

	(void)pthread_mutex_lock(&p->lock);
	first = p->hellos++ == 0;
	(void)pthread_mutex_unlock(&p->lock);
	if (first)
		fake_result(c, r, &version);
	return true;
}

static enum act play_act(struct play *p, unsigned number)
{
	enum act act;

	(void)pthread_mutex_lock(&p->lock);
	if (p->calm)
		act = ACT_OK;
	else if (p->by_lot != 0)
		act = p->acts[tap_rand(&p->by_lot) % p->n];
	else
		act = p->acts[number < p->n ? number : p->n - 1];
	(void)pthread_mutex_unlock(&p->lock);
	return act;
}

void play_calm(struct play *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->calm = true;
	(void)pthread_mutex_unlock(&p->lock);
}

static bool play_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct play *p = arg;

	if (strcmp(r->method->name, "version") == 0)
		return play_version(p, c, r);
	play_note(p, r);
	switch (play_act(p, r->number)) {
	case ACT_OK:
		return play_honest(p, c, r, "key");
	case ACT_FOREIGN:
		return play_honest(p, c, r, "others/key");
	case ACT_ERROR:
		fake_error(c, r, p->code, "as the server says", p->again);
		return true;
	case ACT_CLOSE:
		return false;
	case ACT_SILENT:
		return true;
	case ACT_GARBAGE:
		fake_bytes(c, bytes_str("\x91garbage"));
		return true;
	case ACT_HALF:
		(void)play_range(c, r, WORLD_BIG_PAIRS, WORLD_BIG_PAIRS / 2);
		return false;
	case ACT_BIG:
		return play_range(c, r, WORLD_BIG_PAIRS, WORLD_BIG_PAIRS);
	}
	return false;
}

void play_start(struct play *p)
{
	struct fake_setup s = {.serve = play_serve, .arg = p, .own_version = p->dead_pings};

	(void)pthread_mutex_init(&p->lock, NULL);
	p->n = p->n == 0 ? 1 : p->n;
	p->server = fake_start(&s);
}

void play_stop(struct play *p)
{
	fake_stop(&p->server);
	(void)pthread_mutex_destroy(&p->lock);
}

const char *play_endpoint(const struct play *p)
{
	return fake_endpoint(p->server);
}

void play_last(struct play *p, struct play *copy)
{
	(void)pthread_mutex_lock(&p->lock);
	memcpy(copy, p, sizeof *copy);
	(void)pthread_mutex_unlock(&p->lock);
}

struct quorate *world_open(const char *a, const char *b, const struct quorate_options *given)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_error e;
	struct quorate *q;
	char list[200];

	if (given != NULL)
		o = *given;
	(void)snprintf(list, sizeof list, "%s%s%s", a, b ? "," : "", b ? b : "");
	o.endpoints = list;
	if (o.dial_timeout_ms == 0)
		o.dial_timeout_ms = 300;
	o.flags |= QUORATE_IN_ORDER;
	if (given == NULL)   /* else what servers are asked depends on the time */
		o.flags |= QUORATE_ANY_NODE;
	EQ_INT(quorate_open(&o, &q, &e), QUORATE_OK);
	return q;
}

int world_get(struct quorate *q, int64_t timeout_ms, int64_t *revision, struct quorate_error *e)
{
	struct quorate_op op = quorate_op_get(quorate_str("key"));
	struct quorate_result *r;
	int rc = quorate_call(q, &op, timeout_ms, &r, e);

	if (revision != NULL)
		*revision = r != NULL ? r->header.revision : 0;
	quorate_result_free(r);
	return rc;
}

int world_put(struct quorate *q, int64_t timeout_ms, unsigned flags, struct quorate_error *e)
{
	struct quorate_op op = quorate_op_put(quorate_str("key"), quorate_str("value"), 0);

	op.flags = flags;
	return quorate_call(q, &op, timeout_ms, NULL, e);
}
