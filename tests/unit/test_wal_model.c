/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on a log whose disk loses power, whose process is killed and whose spare
 * segments fail, against a model. After each crash the log must be what it was after some prefix
 * of the operations, and that prefix reaches at least to the last one reported durable.
 */
#include "raftd/wal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "tests/lib/tap.h"
#include "tests/lib/wal_disk.h"

#define MODEL_MAX 20000u
#define OPS_MAX 20000u

enum op_type { OP_ENTRY, OP_HARD, OP_TRUNCATE, OP_RESET };

struct op {
	enum op_type type;
	uint64_t index, term, vote, id;   /* id: unique, the payload's seed */
};

struct model {
	uint64_t first, last, prev_term;
	struct wal_hard_state hard;
	uint64_t term[MODEL_MAX], id[MODEL_MAX];   /* of entry i at i % MODEL_MAX */
};

struct world {
	uint64_t random, seed;
	struct wal_disk *disk;
	struct wal *w;
	struct wal_options o;
	struct model *base, *now;   /* as of the last durable mark; as appended */
	struct op *ops;             /* what leads from base to now */
	size_t nops;
	size_t marked[OPS_MAX];     /* ops covered by mark first_seq + i */
	uint64_t first_seq, seq;
	uint64_t next_id;
	struct wal_list list;
	uint64_t crashes, cuts, failures, steps;
};

static uint64_t below(struct world *v, uint64_t n)
{
	return tap_rand(&v->random) % n;
}

static uint64_t model_term(const struct model *m, uint64_t index)
{
	return index < m->first ? m->prev_term : m->term[index % MODEL_MAX];
}

static void model_apply(struct model *m, const struct op *op)
{
	if (op->type == OP_ENTRY) {
		m->last = op->index;
		m->term[op->index % MODEL_MAX] = op->term;
		m->id[op->index % MODEL_MAX] = op->id;
	}
	if (op->type == OP_HARD)
		m->hard = (struct wal_hard_state){op->term, op->vote};
	if (op->type == OP_TRUNCATE) {
		if (op->index <= m->first)
			m->prev_term = op->term;
		if (op->index < m->first)
			m->first = op->index;
		m->last = op->index - 1;
	}
	if (op->type == OP_RESET) {
		m->first = op->index + 1;
		m->last = op->index;
		m->prev_term = op->term;
	}
}

static size_t payload(uint64_t id, uint8_t *to)
{
	static const uint32_t sizes[] = {0, 1, 7, 8, 100, 256, 500, 1500, 4096 - 104, 4096, 9000};
	uint64_t z = id;
	size_t n = sizes[tap_rand(&z) % (sizeof sizes / sizeof sizes[0])];

	if (n > 1 && id % 3 == 0)
		n -= tap_rand(&z) % (n / 2);
	memset(to, 0, n);
	if (id % 5 != 0)   /* some are all zeros */
		for (size_t i = 0; i < n; i++)
			to[i] = (uint8_t)tap_rand(&z);
	return n;
}

static int do_op(struct world *v, struct op *op)
{
	static uint8_t data[16384];

	op->id = v->next_id++;
	switch (op->type) {
	case OP_ENTRY:
		return wal_append_entry(v->w, op->index, op->term, (uint8_t)op->id,
					bytes_of(data, payload(op->id, data)));
	case OP_HARD:
		return wal_append_hard_state(v->w, (struct wal_hard_state){op->term, op->vote});
	case OP_TRUNCATE:
		op->term = model_term(v->now, op->index - 1);
		return wal_append_truncate(v->w, op->index);
	case OP_RESET:
		return wal_append_reset(v->w, op->index, op->term);
	}
	return ERR_INTERNAL;
}

static struct op random_op(struct world *v)
{
	const struct model *m = v->now;
	uint64_t last_term = model_term(m, m->last), dice = below(v, 100),
		held = m->last + 1 - m->first;

	if (dice < 80 || held == 0)
		return (struct op){.type = OP_ENTRY, .index = m->last + 1,
				   .term = last_term + (below(v, 20) == 0)};
	if (dice < 92)
		return (struct op){.type = OP_HARD, .term = m->hard.term + below(v, 2),
				   .vote = below(v, 4)};
	if (dice < 99 || below(v, 10) > 0)
		return (struct op){.type = OP_TRUNCATE,
				   .index = m->last + 1 - 1 - below(v, held < 30 ? held : 30)};
	return (struct op){.type = OP_RESET, .index = m->last + below(v, 50),
			   .term = last_term + 1};
}

static void append_some(struct world *v)
{
	for (uint64_t n = 1 + below(v, 8); n > 0 && v->nops < OPS_MAX - 1; n--) {
		struct op op = random_op(v);
		int rc = do_op(v, &op);

		if (rc == ERR_FULL || rc == ERR_IO)
			return;
		EQ_INT(rc, ERR_OK);
		v->ops[v->nops++] = op;
		model_apply(v->now, &op);
	}
	EQ_INT(wal_first_index(v->w), v->now->first);
	EQ_INT(wal_last_index(v->w), v->now->last);
}

static void mark(struct world *v)
{
	v->seq++;
	v->marked[v->seq - v->first_seq] = v->nops;
	wal_mark(v->w, v->seq);
}

/* What is durable becomes the base. */
static void advance(struct world *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		model_apply(v->base, &v->ops[i]);
	v->nops -= n;
	memmove(v->ops, v->ops + n, v->nops * sizeof *v->ops);
}

static void collect(struct world *v)
{
	struct wal_durable got;
	size_t n, i;

	if (!wal_collect(v->w, &got))
		return;
	OK(got.seq >= v->first_seq && got.seq <= v->seq);
	n = v->marked[got.seq - v->first_seq];
	advance(v, n);
	EQ_INT(v->base->last, got.last_index);
	EQ_INT(model_term(v->base, v->base->last), got.last_term);
	for (i = got.seq - v->first_seq; i <= v->seq - v->first_seq; i++)
		v->marked[i - (got.seq - v->first_seq)] = v->marked[i] - n;
	v->first_seq = got.seq;
}

/* Its kind alone is eight bits of the id: what was taken back and written anew may have the same. */
static bool is_entry(const struct model *m, const struct wal_entry *e)
{
	static uint8_t want[16384];
	uint64_t id = m->id[e->index % MODEL_MAX];
	size_t n = payload(id, want);

	return e->term == m->term[e->index % MODEL_MAX] && e->kind == (uint8_t)id && e->data.len == n &&
	       (n == 0 || memcmp(e->data.data, want, n) == 0);
}

static void check_range(struct world *v, const struct model *m, uint64_t from, uint64_t to)
{
	while (from <= to) {
		EQ_INT(wal_read(v->w, from, to, (size_t)below(v, 50000), 1 + (size_t)below(v, 60),
				&v->list), ERR_OK);
		OK(v->list.n > 0);
		for (size_t i = 0; i < v->list.n; i++) {
			EQ_INT(v->list.entries[i].index, from++);
			OK(is_entry(m, &v->list.entries[i]));
		}
	}
}

static void read_some(struct world *v)
{
	const struct model *m = v->now;
	uint64_t from, to;

	if (m->last < m->first || wal_disk_dead(v->disk))
		return;
	from = m->first + below(v, m->last + 1 - m->first);
	to = from + below(v, 200);
	check_range(v, m, from, to < m->last ? to : m->last);
}

static void cut_some(struct world *v)
{
	uint64_t before = v->base->first + below(v, v->base->last + 2 - v->base->first), first;

	/* A snapshot covers what is durable and not taken back. */
	for (size_t i = 0; i < v->nops; i++)
		if (v->ops[i].type != OP_ENTRY && v->ops[i].type != OP_HARD)
			return;
	wal_cut(v->w, before);
	first = wal_first_index(v->w);
	OK(first <= before || first == v->base->first);
	if (first > v->now->first) {
		v->base->prev_term = v->now->prev_term = model_term(v->now, first - 1);
		v->base->first = v->now->first = first;
		v->cuts++;
	}
}

/*
 * A cut that a crash undid brings old entries back in front; the model may not know them any
 * more.
 */
static bool same(const struct model *m, const struct wal_recovered *rec, struct world *v)
{
	if (m->last != rec->last_index || m->hard.term != rec->hard.term ||
	    m->hard.vote != rec->hard.vote ||
	    rec->first_index > m->first || model_term(m, m->last) != rec->last_term)
		return false;
	if (rec->first_index == m->first && rec->prev_term != m->prev_term)
		return false;
	for (uint64_t i = m->first; i <= m->last; i++) {
		if (wal_read(v->w, i, i, 1, 1, &v->list) != ERR_OK || v->list.n != 1)
			return false;
		if (!is_entry(m, &v->list.entries[0]))
			return false;
	}
	return true;
}

static void reopen(struct world *v)
{
	struct wal_recovered rec;
	size_t k = 0;
	int rc = wal_open("/log", &v->o, &v->w, &rec);

	EQ_STR(rec.why, "");
	EQ_INT(rc, ERR_OK);
	while (!same(v->base, &rec, v)) {
		if (k == v->nops) {
			printf("# no prefix of %zu operations gives first=%" PRIu64 " last=%" PRIu64
			       " term=%" PRIu64 "\n", v->nops, rec.first_index, rec.last_index,
				       rec.hard.term);
			OK(k < v->nops);
		}
		model_apply(v->base, &v->ops[k++]);
	}
	check_range(v, v->base, v->base->first, v->base->last);
	if (rec.first_index < v->base->first) {   /* the cut's files are still there: cut again */
		wal_cut(v->w, v->base->first);
		EQ_INT(wal_first_index(v->w), v->base->first);
	}
	*v->now = *v->base;
	v->nops = 0;
	v->seq = v->first_seq = 0;
	v->marked[0] = 0;
}

static void crash(struct world *v)
{
	wal_abandon(&v->w);
	if (below(v, 2))
		wal_disk_crash(v->disk);
	else
		wal_disk_kill(v->disk);
	v->crashes++;
	/* Sometimes it crashes again while it recovers. */
	while (below(v, 4) == 0) {
		struct wal_recovered rec;

		wal_disk_die_after(v->disk, below(v, 6));
		(void)wal_open("/log", &v->o, &v->w, &rec);
		wal_abandon(&v->w);
		if (below(v, 2))
			wal_disk_crash(v->disk);
		else
			wal_disk_kill(v->disk);
	}
	v->o.segment_bytes = below(v, 8) == 0 ? 131072 : below(v, 30) == 0 ? 1u << 20 : 65536;
	v->o.cache_bytes = 1 + (size_t)below(v, 100000);
	reopen(v);
}

static void step(struct world *v)
{
	uint64_t dice = below(v, 100);
	int rc = ERR_OK;

	v->steps++;
	if (dice < 50)
		append_some(v);
	else if (dice < 60)
		mark(v);
	else if (dice < 75)
		rc = wal_sync_now(v->w);
	else if (dice < 85)
		collect(v);
	else if (dice < 94)
		read_some(v);
	else if (dice < 96)
		cut_some(v);
	else if (dice < 97)
		wal_disk_fail(v->disk, WAL_DISK_ALLOCATE, 1, ENOSPC, false);
	else if (dice < 98)
		wal_disk_die_after(v->disk, below(v, 40));
	else if (dice == 98 && below(v, 3) == 0)
		crash(v);
	if (rc != ERR_OK) {
		EQ_INT(rc, ERR_IO);
		OK(wal_why(v->w)[0] != 0);
		v->failures++;
		crash(v);
	}
	if (v->nops > OPS_MAX - 100 || v->seq - v->first_seq > OPS_MAX - 10)
		crash(v);
}

static void world_open(struct world *v, uint64_t seed)
{
	struct wal_recovered rec;

	v->random = v->seed = seed;
	v->disk = wal_disk_new(seed + 1);
	v->base = mem_alloc(sizeof *v->base);
	v->now = mem_alloc(sizeof *v->now);
	v->ops = mem_array(OPS_MAX, sizeof *v->ops);
	v->o = (struct wal_options){.cluster_id = 1, .node_id = 2, .create = true,
				    .synchronous = true,
				    .segment_bytes = 65536, .cache_bytes = 5000, .salt = seed + 5,
				    .io = wal_disk_io(v->disk)};
	v->base->first = v->now->first = 1;
	EQ_INT(wal_open("/log", &v->o, &v->w, &rec), ERR_OK);
	v->o.create = false;
}

static void world_close(struct world *v)
{
	wal_abandon(&v->w);
	EQ_INT(wal_disk_open_fds(v->disk), 0);
	wal_list_free(&v->list);
	wal_disk_free(v->disk);
	free(v->base);
	free(v->now);
	free(v->ops);
	free(v);
}

static void run(uint64_t seed, uint64_t steps)
{
	struct world *v = mem_alloc(sizeof *v);

	world_open(v, seed);
	printf("# seed %" PRIu64 "\n", seed);
	for (uint64_t i = 0; i < steps; i++)
		step(v);
	printf("# %" PRIu64 " operations, %" PRIu64 " crashes, %" PRIu64 " in a sync, %" PRIu64
	       " cuts\n", v->next_id, v->crashes, v->failures, v->cuts);
	OK(v->crashes > 0);
	world_close(v);
}

TEST(a_log_is_always_a_prefix_that_holds_what_was_acknowledged)
{
	log_set_level(LOG_ERROR);
	for (uint64_t i = 0; i < tap_rounds(8); i++)
		run(tap_seed(1) + i, 4000);
}

TESTS = {
	T(a_log_is_always_a_prefix_that_holds_what_was_acknowledged),
};
TAP_MAIN
