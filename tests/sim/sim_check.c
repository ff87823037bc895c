/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients are promised, by replay: the committed log is applied to a simple model of the store
 * (tests/lib/store_model.h), each id once. Every answer must be the model's at its place in the
 * log, and no answer may lie before one that a client had got before the question was asked.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/sim/sim_int.h"

typedef unsigned long long ull;

void sim_check_open(struct sim *s)
{
	model_init(&s->model);
	s->applied_cap = 64;
	s->applied = mem_array(s->applied_cap, sizeof *s->applied);
	s->applied[0] = (struct sim_applied){.revision = 1, .compact_revision = -1};
}

void sim_check_free(struct sim *s)
{
	for (uint64_t i = 0; i <= s->applied_last; i++) {
		void *p;

		memcpy(&p, &s->applied[i].result.data, sizeof p);
		free(p);
	}
	free(s->applied);
	free(s->done);
	model_free(&s->model);
}

/* seq 0 stands for the session itself. */
static const struct sim_done *done_find(const struct sim *s, uint64_t gateway, uint64_t seq)
{
	for (size_t i = s->n_done; i-- > 0;)
		if (s->done[i].gateway == gateway && s->done[i].seq == seq)
			return &s->done[i];
	return NULL;
}

static void model_command(struct sim *s, uint64_t index, const struct command *c, struct sim_applied *a)
{
	struct command_result r;
	struct buf out;

	if (c->gateway == 0) {
		model_lessor(&s->model, c, &s->model_arena);
		return;
	}
	if (done_find(s, c->gateway, c->seq) != NULL ||
	    (c->seq != 0 && done_find(s, c->gateway, 0) == NULL))
		return;
	s->done = mem_grow(s->done, s->n_done + 1, sizeof *s->done);
	s->done[s->n_done++] = (struct sim_done){c->gateway, c->seq, index};
	if (c->seq == 0)
		return;
	model_apply(&s->model, c, &s->model_arena, &r);
	buf_init(&out, 0);
	CHECK(msg_encode(&out, &command_result_desc, &r) == ERR_OK);
	a->gateway = c->gateway;
	a->seq = c->seq;
	a->result = buf_bytes(&out);
}

/* The model goes on to `index`; false: so much is not committed. */
bool sim_check_advance(struct sim *s, uint64_t index)
{
	if (index > s->committed_last)
		return false;
	while (s->applied_last < index) {
		uint64_t i = s->applied_last + 1;
		const struct sim_record *r = sim_committed_at(s, i);
		struct sim_applied a = {0};

		arena_reset(&s->model_arena);
		if (r->kind == WAL_COMMAND) {
			struct wire w = wire_of(r->payload, WIRE_STRICT);
			struct command c;

			CHECK(msg_decode(&w, &command_desc, &s->model_arena, &c) == ERR_OK);
			s->model.index = i;
			s->model.term = r->term;
			model_command(s, i, &c, &a);
			sim_life_note(s, i, &c);
		}
		if (s->model.revision > s->applied[i - 1].revision)
			sim_history_note(s);
		a.revision = s->model.revision;
		a.compact_revision = s->model.compact_revision;
		a.leases = s->model.n_leases;
		a.lessor_term = s->model.lessor_term;
		a.lessor = s->model.lessor;
		a.lessor_seq = s->model.lessor_seq;
		if (i >= s->applied_cap) {
			s->applied_cap *= 2;
			s->applied = mem_grow(s->applied, s->applied_cap, sizeof *s->applied);
		}
		s->applied[i] = a;
		s->applied_last = i;
	}
	return true;
}

static void floor_raise(struct sim *s, uint64_t position)
{
	if (position > s->floor)
		s->floor = position;
}

void sim_check_write(struct sim_client *c, uint64_t index, struct bytes result)
{
	struct sim *s = c->node->s;
	uint64_t gateway = c->node->gateway.clnt.incarnation, seq = c->gateway_seq;
	const struct sim_done *done;

	if (!sim_check_advance(s, index)) {
		sim_fail(s, "client %u: its write at %llu was acknowledged, committed is %llu", c->id, (ull)index,
			 (ull)s->committed_last);
		return;
	}
	done = done_find(s, gateway, seq);
	if (done == NULL || done->index > index) {
		sim_fail(s, "client %u: its acknowledged write is not in the log up to %llu", c->id, (ull)index);
		return;
	}
	if (!bytes_eq(s->applied[done->index].result, result))
		sim_fail(s, "at most once: client %u: its write at %llu (first at %llu) has another answer than "
			 "the model's", c->id, (ull)index, (ull)done->index);
	if (done->index <= c->floor)
		sim_fail(s, "real time: client %u: its write at %llu lies before %llu, which was over when it began",
			 c->id, (ull)done->index, (ull)c->floor);
	floor_raise(s, done->index);
	c->seen_revision = s->applied[done->index].revision;
	c->at = done->index;
	s->out->acked++;
}

/* The model as it was when `index` had just been applied. */
static struct model model_then(const struct sim *s, uint64_t index)
{
	struct model m = s->model;

	m.revision = s->applied[index].revision;
	m.compact_revision = s->applied[index].compact_revision;
	return m;
}

static bool ranges_equal(struct sim *s, const struct kv_range_result *a, const struct kv_range_result *b)
{
	struct buf x, y;
	bool equal;

	buf_init(&x, 0);
	buf_init(&y, 0);
	equal = msg_encode(&x, &kv_range_result_desc, a) == ERR_OK &&
		msg_encode(&y, &kv_range_result_desc, b) == ERR_OK && bytes_eq(buf_bytes(&x), buf_bytes(&y));
	buf_free(&x);
	buf_free(&y);
	(void)s;
	return equal;
}

void sim_check_read(struct sim_client *c, struct mvcc_view *v, int rc, const struct kv_range_result *r)
{
	struct sim *s = c->node->s;
	const struct mvcc_info *info = mvcc_view_info(v);
	struct kv_range_result want = {0};
	struct model then;
	int want_rc;

	if (!sim_check_advance(s, info->applied)) {
		sim_fail(s, "client %u read what is not committed", c->id);
		return;
	}
	then = model_then(s, info->applied);
	arena_reset(&s->model_arena);
	want_rc = model_range(&then, &c->range, &s->model_arena, &want);
	if (rc != want_rc || (rc == ERR_OK && !ranges_equal(s, r, &want)) || info->revision != then.revision)
		sim_fail(s, "client %u at node %llu, applied %llu: a read is not the model's (%s, want %s, "
			 "revision %lld, want %lld)", c->id, (ull)c->node->id, (ull)info->applied, err_name(rc),
			 err_name(want_rc), (long long)info->revision, (long long)then.revision);
	if (c->linear && info->applied < c->floor)
		sim_fail(s, "linearizable: client %u read at %llu, but %llu was over when it asked", c->id,
			 (ull)info->applied, (ull)c->floor);
	if (c->linear)
		floor_raise(s, info->applied);
	c->seen_revision = info->revision;
	s->out->reads++;
}

/* What an entry has done to a store, as far as its state tells. */
void sim_check_applied(struct sim_node *n, const struct mvcc_state *st)
{
	struct sim *s = n->s;
	const struct sim_applied *a;

	if (!sim_check_advance(s, st->applied))
		return;
	a = &s->applied[st->applied];
	if (st->leases != a->leases || st->lessor_term != a->lessor_term || st->lessor != a->lessor ||
	    st->lessor_seq != a->lessor_seq)
		sim_fail(s, "lease: node %llu, applied %llu: %llu leases, lessor of term %llu, checkpoint %llu; the "
			 "model has %llu, %llu, %llu", (ull)n->id, (ull)st->applied, (ull)st->leases,
			 (ull)st->lessor_term, (ull)st->lessor_seq, (ull)a->leases, (ull)a->lessor_term,
			 (ull)a->lessor_seq);
	if (st->revision != a->revision || st->compact_revision != a->compact_revision)
		sim_fail(s, "node %llu, applied %llu: revision %lld, the model's is %lld", (ull)n->id, (ull)st->applied,
			 (long long)st->revision, (long long)a->revision);
}

void sim_check_store(struct sim_node *n)
{
	static const uint8_t zero[1] = {0};
	const struct kv_range all = {.key = bytes_of(zero, 1), .range_end = bytes_of(zero, 1)};
	struct sim_client c = {.id = 99, .node = n, .range = all};
	struct kv_range_result r = {0};
	struct mvcc_view *v;
	struct arena arena;
	int64_t at;
	int rc;

	CHECK(mvcc_view_begin(n->stored.env, &v) == ERR_OK);
	arena_init(&arena, 16u << 20);
	rc = mvcc_view_revision(v, 0, &at);
	if (rc == ERR_OK)
		rc = mvcc_range(v, &all, at, &arena, &r);
	sim_check_read(&c, v, rc, &r);
	if (sim_ok(n->s))
		sim_life_check(n, v);
	arena_free(&arena);
	mvcc_view_end(&v);
}
