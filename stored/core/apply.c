/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/core/apply.h"

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/kv_check.h"
#include "stored/core/compact.h"
#include "stored/core/dedup.h"
#include "stored/core/effects.h"
#include "stored/core/writer.h"

enum {
	APPLY_DECODE_BYTES = 16 * LIMIT_REQUEST_BYTES,        /* lists are larger decoded than encoded */
	APPLY_RESULT_ARENA = 2 * LIMIT_RESULT_BYTES + MIB,    /* a pair costs at least half of its room */
	APPLY_KEEP_BYTES = MIB
};

struct apply {
	struct okv *db;
	struct okv_txn *txn;
	struct mvcc_state state;
	struct dedup *dedup;
	struct compactor compactor;
	struct effects effects;
	struct writer writer;
	struct arena request, answer;
	struct buf row;                  /* of meta */
	struct buf result;               /* encoded */
};

/* ---- taking up ---- */

static void apply_fresh(struct mvcc_state *s)
{
	*s = (struct mvcc_state){.revision = 1, .compact_revision = -1, .compacted_revision = -1};
}

static int apply_put_meta(struct apply *a, const char *name)
{
	return okv_put(a->txn, OKV_META, bytes_str(name), buf_bytes(&a->row));
}

static int apply_create(struct apply *a, const struct mvcc_identity *id)
{
	int rc;

	apply_fresh(&a->state);
	mvcc_identity_encode(&a->row, id);
	rc = apply_put_meta(a, LAYOUT_META_IDENTITY);
	mvcc_state_encode(&a->row, &a->state);
	return rc == ERR_OK ? apply_put_meta(a, LAYOUT_META_STATE) : rc;
}

static int apply_load(struct apply *a, const struct mvcc_identity *id, struct bytes value)
{
	struct mvcc_identity found;
	int rc = mvcc_identity_decode(value, &found);

	if (rc == ERR_OK && found.format != id->format)
		rc = ERR_VERSION;
	if (rc == ERR_OK && (found.cluster_id != id->cluster_id || found.node_id != id->node_id ||
			     found.generation != id->generation))
		rc = ERR_CONFIG;
	if (rc == ERR_OK)
		rc = mvcc_state_read(a->txn, &a->state);
	if (rc == ERR_OK)
		rc = dedup_load(a->dedup, a->txn);
	if (rc == ERR_OK)
		rc = compactor_load(&a->compactor, a->txn);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int apply_take_up(struct apply *a, const struct mvcc_identity *id)
{
	struct bytes value;
	int rc = okv_begin(a->db, true, &a->txn);

	if (rc != ERR_OK)
		return rc;
	rc = okv_get(a->txn, OKV_META, bytes_str(LAYOUT_META_IDENTITY), &value);
	if (rc == ERR_OK) {
		rc = apply_load(a, id, value);
		okv_abort(&a->txn);
	} else if (rc == ERR_NOT_FOUND) {
		rc = apply_create(a, id);
		if (rc == ERR_OK)
			rc = okv_commit(&a->txn);
	}
	okv_abort(&a->txn);
	return rc;
}

int apply_open(struct okv *db, const struct mvcc_identity *id, struct apply **out)
{
	struct apply *a = mem_alloc(sizeof *a);
	int rc;

	a->db = db;
	a->dedup = dedup_new();
	writer_init(&a->writer);
	arena_init(&a->request, APPLY_DECODE_BYTES);
	arena_init(&a->answer, APPLY_RESULT_ARENA);
	buf_init(&a->row, 0);
	buf_init(&a->result, 0);
	rc = apply_take_up(a, id);
	if (rc != ERR_OK)
		apply_close(&a);
	else
		*out = a;
	return rc;
}

void apply_close(struct apply **a)
{
	struct apply *x = *a;

	*a = NULL;
	if (x == NULL)
		return;
	okv_abort(&x->txn);
	dedup_free(&x->dedup);
	writer_free(&x->writer);
	arena_free(&x->request);
	arena_free(&x->answer);
	buf_free(&x->row);
	buf_free(&x->result);
	mem_free(x);
}

const struct mvcc_state *apply_state(const struct apply *a)
{
	return &a->state;
}

const struct dedup *apply_dedup(const struct apply *a)
{
	return a->dedup;
}

const struct lease_event *apply_lease_events(const struct apply *a, size_t *n)
{
	*n = a->writer.leases.n;
	return a->writer.leases.events;
}

void apply_lease_told(struct apply *a)
{
	leases_told(&a->writer.leases);
}

/* ---- transactions ---- */

int apply_begin(struct apply *a)
{
	CHECK(a->txn == NULL);
	return okv_begin(a->db, true, &a->txn);
}

int apply_commit(struct apply *a)
{
	int rc = dedup_flush(a->dedup, a->txn);

	if (rc == ERR_OK)
		rc = compactor_flush(&a->compactor, a->txn);
	mvcc_state_encode(&a->row, &a->state);
	if (rc == ERR_OK)
		rc = apply_put_meta(a, LAYOUT_META_STATE);
	if (rc == ERR_OK)
		rc = okv_commit(&a->txn);
	return rc;
}

bool apply_compacting(const struct apply *a)
{
	return compactor_has_work(&a->compactor, &a->state);
}

int apply_compact_step(struct apply *a, size_t rows, size_t *removed)
{
	CHECK(a->txn != NULL && rows > 0);
	return compactor_step(&a->compactor, a->txn, &a->state, rows, removed);
}

/* ---- results ---- */

/* An error that is the answer to the command; all others mean that the store cannot go on. */
static bool apply_is_answer(int rc)
{
	switch (rc) {
	case ERR_KEY_EMPTY:
	case ERR_KEY_NOT_FOUND:
	case ERR_VALUE_PROVIDED:
	case ERR_LEASE_PROVIDED:
	case ERR_TOO_MANY_OPS:
	case ERR_DUPLICATE_KEY:
	case ERR_SORT_OPTION:
	case ERR_COMPACTED:
	case ERR_FUTURE_REV:
	case ERR_LEASE_NOT_FOUND:
	case ERR_BAD_ARGUMENT:
	case ERR_SORT_TOO_LARGE:
	case ERR_TXN_TOO_DEEP:
	case ERR_RESPONSE_TOO_LARGE:
	case ERR_TXN_TOO_LARGE:
	case ERR_LEASE_EXISTS:
	case ERR_LEASE_TTL:
	case ERR_LEASE_KEYS:
	case ERR_TOO_MANY_LEASES:
		return true;
	default:
		return false;
	}
}

static void apply_encode(struct apply *a, const struct command_result *r)
{
	buf_clear(&a->result);
	buf_shrink(&a->result, APPLY_KEEP_BYTES);
	CHECK(msg_encode(&a->result, &command_result_desc, r) == ERR_OK);
	CHECK(a->result.len <= LIMIT_RESULT_BYTES + KIB);
}

static void apply_encode_error(struct apply *a, int error)
{
	const struct command_result r = {.error = (uint64_t)error, .revision = a->state.revision};

	apply_encode(a, &r);
}

/* ---- commands ---- */

static int apply_compact(struct apply *a, const struct kv_compact *c, struct kv_compact_result *out)
{
	if (c->revision <= a->state.compact_revision)
		return ERR_COMPACTED;
	if (c->revision > a->state.revision)
		return ERR_FUTURE_REV;
	a->state.compact_revision = c->revision;
	effects_add(&a->effects, 'c', (uint64_t)c->revision, bytes_of(NULL, 0), bytes_of(NULL, 0));
	out->header = mvcc_header(&a->answer, a->state.revision);
	return out->header ? ERR_OK : ERR_LIMIT;
}

/* Room for one part of the result. */
static void *apply_part(struct apply *a, size_t size)
{
	void *part = arena_alloc(&a->answer, size);

	CHECK(part != NULL);     /* the first of its arena */
	return part;
}

static int apply_grant(struct apply *a, const struct lease_grant *g, struct lease_grant_result *out)
{
	int rc = leases_grant(&a->writer.leases, g, a->state.applied + 1, out);

	if (rc != ERR_OK)
		return rc;
	out->header = mvcc_header(&a->answer, a->state.revision);
	return out->header ? ERR_OK : ERR_LIMIT;
}

static int apply_revoke(struct apply *a, const struct lease_revoke *v, struct lease_revoke_result *out)
{
	int rc = writer_revoke(&a->writer, v->id);

	if (rc != ERR_OK)
		return rc;
	out->header = mvcc_header(&a->answer, a->state.revision);
	return out->header ? ERR_OK : ERR_LIMIT;
}

static int apply_parts(struct apply *a, const struct command *c, struct command_result *r)
{
	if (c->put != NULL) {
		r->put = apply_part(a, sizeof *r->put);
		return writer_put(&a->writer, c->put, r->put);
	}
	if (c->del != NULL) {
		r->del = apply_part(a, sizeof *r->del);
		return writer_delete(&a->writer, c->del, r->del);
	}
	if (c->txn != NULL) {
		r->txn = apply_part(a, sizeof *r->txn);
		return writer_txn(&a->writer, c->txn, r->txn);
	}
	if (c->lease_grant != NULL) {
		r->lease_grant = apply_part(a, sizeof *r->lease_grant);
		return apply_grant(a, c->lease_grant, r->lease_grant);
	}
	if (c->lease_revoke != NULL) {
		r->lease_revoke = apply_part(a, sizeof *r->lease_revoke);
		return apply_revoke(a, c->lease_revoke, r->lease_revoke);
	}
	CHECK(c->compact != NULL);
	r->compact = apply_part(a, sizeof *r->compact);
	return apply_compact(a, c->compact, r->compact);
}

/* Does the command, all of it or nothing, and encodes its result. */
static int apply_do(struct apply *a, const struct command *c, uint32_t *error)
{
	struct command_result r = {.error = ERR_OK};
	size_t bytes_left = LIMIT_RESULT_BYTES;
	int rc = kv_check_command(c), undo;

	arena_reset(&a->answer);
	writer_begin(&a->writer, a->txn, &a->state, &a->effects, &a->answer, &bytes_left);
	if (rc == ERR_OK)
		rc = apply_parts(a, c, &r);
	if (rc == ERR_LIMIT)             /* the arena of the answer is full */
		rc = ERR_RESPONSE_TOO_LARGE;
	*error = (uint32_t)rc;
	if (rc == ERR_OK) {
		r.revision = a->state.revision;
		apply_encode(a, &r);
		return ERR_OK;
	}
	if (!apply_is_answer(rc))
		return rc;
	undo = writer_undo(&a->writer);
	apply_encode_error(a, rc);
	return undo;
}

static int apply_new(struct apply *a, const struct command *c, uint64_t index, struct apply_result *out)
{
	struct mvcc_done done = {.index = index, .gateway = c->gateway, .seq = c->seq};
	int rc = apply_do(a, c, &out->error);

	if (rc != ERR_OK)
		return rc;
	done.revision = a->state.revision;
	done.kept = a->result.len <= LIMIT_DEDUP_RESULT_BYTES;
	if (done.kept)
		done.result = buf_bytes(&a->result);
	return dedup_add(a->dedup, a->txn, &a->effects, &done);
}

/* It was applied at `at`: the same answer again, if it was small enough to be kept. */
static int apply_again(struct apply *a, uint64_t at, struct apply_result *out)
{
	struct command_result lost = {.error = ERR_RESULT_LOST};
	struct mvcc_done done;
	struct wire w;
	int rc = dedup_result(a->txn, at, &done);

	if (rc != ERR_OK)
		return rc;
	out->repeated = true;
	if (!done.kept) {
		lost.revision = done.revision;
		out->error = ERR_RESULT_LOST;
		apply_encode(a, &lost);
		return ERR_OK;
	}
	buf_clear(&a->result);
	buf_add_bytes(&a->result, done.result);
	w = wire_of(done.result, WIRE_STRICT);
	(void)wire_get_array(&w);
	out->error = (uint32_t)wire_get_u64(&w);     /* the first field of a command_result */
	return a->result.err;
}

static int apply_command(struct apply *a, const struct command *c, uint64_t index, struct apply_result *out)
{
	uint64_t at = 0;
	enum dedup_verdict verdict = dedup_judge(a->dedup, c->gateway, c->seq, &at);

	out->gateway = c->gateway;
	out->seq = c->seq;
	if (c->seq == 0) {
		apply_encode_error(a, ERR_OK);
		return dedup_open(a->dedup, a->txn, &a->effects, c->gateway, index);
	}
	if (verdict != DEDUP_NO_SESSION)
		dedup_use(a->dedup, c->gateway, index);
	if (verdict == DEDUP_NEW)
		return apply_new(a, c, index, out);
	if (verdict == DEDUP_DONE)
		return apply_again(a, at, out);
	out->error = ERR_OUTCOME_UNKNOWN;
	apply_encode_error(a, ERR_OUTCOME_UNKNOWN);
	return ERR_OK;
}

static int lessor_parts(const struct command *c)
{
	return (c->claim != NULL) + (c->expire != NULL) + (c->checkpoint != NULL);
}

/* A command that names itself: it can be answered, whatever else is wrong with it. */
static bool apply_is_command(const struct command *c)
{
	return c->gateway != 0 && kv_command_parts(c) == (c->seq != 0) && lessor_parts(c) == 0;
}

static bool apply_is_lessor(const struct command *c)
{
	return c->gateway == 0 && c->seq == 0 && lessor_parts(c) == 1 && kv_command_parts(c) == 0;
}

/* Nobody waits for a result: leased sees what has become of it in what the store tells. */
static int apply_lessor(struct apply *a, const struct command *c, uint64_t term)
{
	struct leases *ls = &a->writer.leases;
	size_t bytes_left = 0;
	bool may;
	int rc;

	arena_reset(&a->answer);
	writer_begin(&a->writer, a->txn, &a->state, &a->effects, &a->answer, &bytes_left);
	if (c->claim != NULL) {
		leases_claim(ls, c->claim, term);
		return ERR_OK;
	}
	if (c->checkpoint != NULL)
		return leases_checkpoint(ls, c->checkpoint, term);
	rc = leases_may_expire(ls, c->expire, term, &may);
	return rc == ERR_OK && may ? writer_revoke(&a->writer, c->expire->id) : rc;
}

static int apply_payload(struct apply *a, const struct log_entry *entry, struct apply_result *out)
{
	struct wire w = wire_of(entry->payload, WIRE_STRICT);
	struct command c;
	int rc;

	arena_reset(&a->request);
	rc = msg_decode(&w, &command_desc, &a->request, &c);
	if (rc == ERR_OK)
		rc = wire_end(&w);
	if (rc == ERR_OK && apply_is_command(&c))
		return apply_command(a, &c, entry->index, out);
	if (rc == ERR_OK && apply_is_lessor(&c))
		return apply_lessor(a, &c, entry->term);
	out->rejected = true;
	return ERR_OK;
}

int apply_entry(struct apply *a, const struct log_entry *entry, struct apply_result *out)
{
	int rc = ERR_OK;

	CHECK(a->txn != NULL && entry->index == a->state.applied + 1);
	*out = (struct apply_result){.gateway = 0};
	buf_clear(&a->result);
	effects_begin(&a->effects, a->state.apply_hash, entry->index, entry->term, entry->kind);
	if (entry->kind == LOG_ENTRY_COMMAND)
		rc = apply_payload(a, entry, out);
	else if (entry->kind != LOG_ENTRY_NOOP)
		out->rejected = true;
	if (rc != ERR_OK)
		return rc;
	if (out->rejected) {
		a->state.rejected++;
		effects_add(&a->effects, 'x', 0, entry->payload, bytes_of(NULL, 0));
	}
	a->state.applied = entry->index;
	a->state.applied_term = entry->term;
	effects_end(&a->effects, a->state.apply_hash);
	out->result = buf_bytes(&a->result);
	return ERR_OK;
}
