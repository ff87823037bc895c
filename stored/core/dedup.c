/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/dedup.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

enum {
	DEDUP_RING = LIMIT_DEDUP_ROWS + 1,       /* one more than stays: it is added first */
	DEDUP_BUCKETS = 2 * LIMIT_DEDUP_ROWS,
	DEDUP_ROW_COST = 64                      /* counted for a row besides its result */
};

_Static_assert((DEDUP_BUCKETS & (DEDUP_BUCKETS - 1)) == 0, "a mask finds the bucket");
_Static_assert(LIMIT_DEDUP_RESULT_BYTES + DEDUP_ROW_COST <= LIMIT_DEDUP_BYTES, "one result fits");

/* A row of `done`, in the ring in the order of the log and in its bucket's chain. */
struct dedup_entry {
	uint64_t index, gateway, seq;
	uint32_t cost;
	uint32_t next;                   /* in the chain: place in the ring + 1; 0 ends it */
};

struct dedup_session {
	struct mvcc_session s;
	bool dirty;
};

struct dedup {
	struct dedup_entry ring[DEDUP_RING];
	size_t first, n;
	size_t bytes;
	uint32_t buckets[DEDUP_BUCKETS];         /* place in the ring + 1, or 0 */
	struct dedup_session sessions[LIMIT_GATEWAY_SESSIONS + 1];   /* by gateway */
	size_t n_sessions;
	struct buf row;
};

struct dedup *dedup_new(void)
{
	struct dedup *d = mem_alloc(sizeof *d);

	buf_init(&d->row, 0);
	return d;
}

void dedup_free(struct dedup **d)
{
	if (*d != NULL)
		buf_free(&(*d)->row);
	mem_free(*d);
	*d = NULL;
}

/* ---- the ring and its chains ---- */

/* A gateway counts its commands, so those of one batch lie beside each other here as in the ring. */
static size_t dedup_bucket(uint64_t gateway, uint64_t seq)
{
	return (size_t)((gateway * 0x9e3779b97f4a7c15u >> 32) + seq) & (DEDUP_BUCKETS - 1);
}

static const struct dedup_entry *dedup_find(const struct dedup *d, uint64_t gateway, uint64_t seq)
{
	uint32_t place = d->buckets[dedup_bucket(gateway, seq)];

	for (; place != 0; place = d->ring[place - 1].next) {
		const struct dedup_entry *e = &d->ring[place - 1];

		if (e->gateway == gateway && e->seq == seq)
			return e;
	}
	return NULL;
}

static uint32_t done_cost(const struct mvcc_done *done)
{
	return DEDUP_ROW_COST + (uint32_t)done->result.len;
}

static void dedup_push(struct dedup *d, const struct mvcc_done *done)
{
	size_t place = (d->first + d->n) % DEDUP_RING;
	uint32_t *bucket = &d->buckets[dedup_bucket(done->gateway, done->seq)];

	CHECK(d->n < DEDUP_RING);
	d->ring[place] = (struct dedup_entry){done->index, done->gateway, done->seq, done_cost(done), *bucket};
	*bucket = (uint32_t)place + 1;
	d->n++;
	d->bytes += done_cost(done);
}

static void dedup_pop(struct dedup *d)
{
	const struct dedup_entry *e = &d->ring[d->first];
	uint32_t *link = &d->buckets[dedup_bucket(e->gateway, e->seq)];

	CHECK(d->n > 0 && d->bytes >= e->cost);
	while (*link != (uint32_t)d->first + 1) {
		CHECK(*link != 0);
		link = &d->ring[*link - 1].next;
	}
	*link = e->next;
	d->bytes -= e->cost;
	d->first = (d->first + 1) % DEDUP_RING;
	d->n--;
}

static bool dedup_full(const struct dedup *d)
{
	return d->n > LIMIT_DEDUP_ROWS || d->bytes > LIMIT_DEDUP_BYTES;
}

/* ---- sessions ---- */

/* Where the gateway's session is, or would have to be put. */
static size_t session_place(const struct dedup *d, uint64_t gateway)
{
	size_t low = 0, high = d->n_sessions;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (d->sessions[mid].s.gateway < gateway)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct dedup_session *session_find(struct dedup *d, uint64_t gateway)
{
	size_t i = session_place(d, gateway);

	return i < d->n_sessions && d->sessions[i].s.gateway == gateway ? &d->sessions[i] : NULL;
}

static struct dedup_session *session_insert(struct dedup *d, const struct mvcc_session *s)
{
	size_t i = session_place(d, s->gateway);

	CHECK(d->n_sessions <= LIMIT_GATEWAY_SESSIONS);
	memmove(&d->sessions[i + 1], &d->sessions[i], (d->n_sessions - i) * sizeof d->sessions[0]);
	d->sessions[i] = (struct dedup_session){.s = *s};
	d->n_sessions++;
	return &d->sessions[i];
}

/* Each command stands at an index of its own, so there is exactly one least recently used. */
static size_t session_oldest(const struct dedup *d)
{
	size_t oldest = 0;

	for (size_t i = 1; i < d->n_sessions; i++)
		if (d->sessions[i].s.used < d->sessions[oldest].s.used)
			oldest = i;
	return oldest;
}

static int session_evict(struct dedup *d, struct okv_txn *txn, struct effects *e)
{
	size_t i = session_oldest(d);
	uint8_t key[8];
	int rc;

	put_u64be(key, d->sessions[i].s.gateway);
	rc = okv_del(txn, OKV_GATEWAYS, bytes_of(key, sizeof key));
	effects_add(e, 's', d->sessions[i].s.gateway, bytes_of(NULL, 0), bytes_of(NULL, 0));
	d->n_sessions--;
	memmove(&d->sessions[i], &d->sessions[i + 1], (d->n_sessions - i) * sizeof d->sessions[0]);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;    /* opened and not yet flushed */
}

int dedup_open(struct dedup *d, struct okv_txn *txn, struct effects *e, uint64_t gateway, uint64_t index)
{
	struct mvcc_session s = {.gateway = gateway, .opened = index, .used = index};

	if (session_find(d, gateway) != NULL) {
		dedup_use(d, gateway, index);
		return ERR_OK;
	}
	session_insert(d, &s)->dirty = true;
	effects_add(e, 'o', gateway, bytes_of(NULL, 0), bytes_of(NULL, 0));
	return d->n_sessions > LIMIT_GATEWAY_SESSIONS ? session_evict(d, txn, e) : ERR_OK;
}

void dedup_use(struct dedup *d, uint64_t gateway, uint64_t index)
{
	struct dedup_session *s = session_find(d, gateway);

	CHECK(s != NULL);
	s->s.used = index;
	s->dirty = true;
}

int dedup_flush(struct dedup *d, struct okv_txn *txn)
{
	int rc = ERR_OK;

	for (size_t i = 0; i < d->n_sessions && rc == ERR_OK; i++) {
		struct dedup_session *s = &d->sessions[i];
		uint8_t key[8];

		if (!s->dirty)
			continue;
		put_u64be(key, s->s.gateway);
		mvcc_session_encode(&d->row, bytes_of(key, sizeof key), &s->s);
		rc = okv_put(txn, OKV_GATEWAYS, bytes_of(key, sizeof key), buf_bytes(&d->row));
		s->dirty = false;
	}
	return rc;
}

/* ---- results ---- */

enum dedup_verdict dedup_judge(const struct dedup *d, uint64_t gateway, uint64_t seq, uint64_t *index)
{
	size_t i = session_place(d, gateway);
	const struct dedup_entry *e;

	if (i == d->n_sessions || d->sessions[i].s.gateway != gateway)
		return DEDUP_NO_SESSION;
	e = dedup_find(d, gateway, seq);
	if (e != NULL) {
		*index = e->index;
		return DEDUP_DONE;
	}
	return seq <= d->sessions[i].s.floor ? DEDUP_TOO_OLD : DEDUP_NEW;
}

int dedup_result(struct okv_txn *txn, uint64_t index, struct mvcc_done *out)
{
	struct okv_row row;
	uint8_t key[8];
	int rc;

	put_u64be(key, index);
	row.key = bytes_of(key, sizeof key);
	rc = okv_get(txn, OKV_DONE, row.key, &row.value);
	if (rc == ERR_OK)
		rc = mvcc_done_decode(&row, out);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int dedup_evict(struct dedup *d, struct okv_txn *txn, struct effects *e)
{
	const struct dedup_entry *old = &d->ring[d->first];
	struct dedup_session *s = session_find(d, old->gateway);
	uint8_t key[8];
	int rc;

	put_u64be(key, old->index);
	rc = okv_del(txn, OKV_DONE, bytes_of(key, sizeof key));
	effects_add(e, 'e', old->index, bytes_of(NULL, 0), bytes_of(NULL, 0));
	if (s != NULL && s->s.floor < old->seq) {
		s->s.floor = old->seq;
		s->dirty = true;
	}
	dedup_pop(d);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

int dedup_add(struct dedup *d, struct okv_txn *txn, struct effects *e, const struct mvcc_done *done)
{
	uint8_t key[8];
	int rc;

	CHECK(done->result.len <= LIMIT_DEDUP_RESULT_BYTES);
	put_u64be(key, done->index);
	mvcc_done_encode(&d->row, bytes_of(key, sizeof key), done);
	rc = okv_append(txn, OKV_DONE, bytes_of(key, sizeof key), buf_bytes(&d->row));
	effects_add(e, 'r', done->seq, done->result, bytes_of(NULL, 0));
	dedup_push(d, done);
	while (rc == ERR_OK && dedup_full(d))
		rc = dedup_evict(d, txn, e);
	return rc;
}

/* ---- loading ---- */

static int dedup_load_rows(struct dedup *d, struct okv_cursor *c)
{
	struct mvcc_done done;
	struct okv_row row;
	uint64_t last = 0;
	int rc = okv_step(c, OKV_FIRST, &row);

	for (; rc == ERR_OK; rc = okv_step(c, OKV_NEXT, &row)) {
		rc = mvcc_done_decode(&row, &done);
		if (rc != ERR_OK)
			return rc;
		if (done.index <= last || d->n == LIMIT_DEDUP_ROWS || dedup_find(d, done.gateway, done.seq))
			return ERR_CORRUPT;
		last = done.index;
		dedup_push(d, &done);
	}
	return rc == ERR_NOT_FOUND && !dedup_full(d) ? ERR_OK : rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int dedup_load_sessions(struct dedup *d, struct okv_cursor *c)
{
	struct mvcc_session s;
	struct okv_row row;
	int rc = okv_step(c, OKV_FIRST, &row);

	for (; rc == ERR_OK; rc = okv_step(c, OKV_NEXT, &row)) {
		rc = mvcc_session_decode(&row, &s);
		if (rc != ERR_OK)
			return rc;
		if (d->n_sessions == LIMIT_GATEWAY_SESSIONS)
			return ERR_CORRUPT;
		session_insert(d, &s);
	}
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

int dedup_load(struct dedup *d, struct okv_txn *txn)
{
	struct okv_cursor *c;
	int rc;

	CHECK(d->n == 0 && d->n_sessions == 0);
	rc = okv_cursor(txn, OKV_DONE, &c);
	if (rc == ERR_OK) {
		rc = dedup_load_rows(d, c);
		okv_cursor_end(&c);
	}
	if (rc == ERR_OK)
		rc = okv_cursor(txn, OKV_GATEWAYS, &c);
	if (rc == ERR_OK) {
		rc = dedup_load_sessions(d, c);
		okv_cursor_end(&c);
	}
	return rc;
}

size_t dedup_rows(const struct dedup *d)
{
	return d->n;
}

size_t dedup_bytes(const struct dedup *d)
{
	return d->bytes;
}

size_t dedup_sessions(const struct dedup *d)
{
	return d->n_sessions;
}
