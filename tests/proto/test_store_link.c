/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd's half of the stored link joined with a model of stored in one process, under virtual
 * time: messages are lost, doubled and reordered, links break, stored starts again with a store of
 * a new generation. A read must never be let go before the store has come as far as it needs, and
 * each request has exactly one answer.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "clnt/store_clnt.h"
#include "tests/lib/tap.h"
#include "tests/proto/net.h"

enum { WAITS = 400, ASKS = 60, DEADLINE_MS = 3000 };

struct wait {
	struct store_wait w;
	struct store_compact_wait c;
	bool compact, answered;
	int64_t need;
	mono_t deadline;
};

struct question {
	struct store_ask a;
	bool answered, given_up;
	mono_t deadline;
};

struct faults {
	unsigned drop, twice, cut, rebuild;
	int delay_ms;
	bool ordered;
};

struct world {
	uint64_t seed;
	struct faults f;
	mono_t now;
	struct store_clnt c;
	struct net to_stored, to_gateway;
	struct store_progress p;
	struct wait waits[WAITS];
	struct question asks[ASKS];
	size_t n_waits, n_waits_answered, n_asks, n_asks_answered, n_released, n_told;
};

static bool chance(struct world *w, unsigned of_1000)
{
	return tap_rand(&w->seed) % 1000 < of_1000;
}

static int world_send(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct world *w = arg;

	if (!w->c.up)
		return ERR_CLOSED;
	net_send(&w->to_stored, w->now, number, d, msg);
	return ERR_OK;
}

static void stored_tell(struct world *w)
{
	if (w->c.up)
		net_send(&w->to_gateway, w->now, MSG_NO_store_progress, &store_progress_desc, &w->p);
}

static void stored_msg(struct world *w, const struct msg_in *in)
{
	uint8_t digest[16];
	const struct store_status_ask *status = in->msg;
	const struct store_hash_ask *hash = in->msg;
	struct store_status_result sr = {.applied = w->p.applied, .apply_hash = bytes_of(digest, 16)};
	struct store_hash_result hr = {.hash = bytes_of(digest, 16)};

	memset(digest, 0x5a, sizeof digest);
	if (in->row->number == MSG_NO_store_status_ask) {
		sr.ctx = status->ctx;
		net_send(&w->to_gateway, w->now, MSG_NO_store_status_result, &store_status_result_desc, &sr);
		return;
	}
	EQ_INT(in->row->number, MSG_NO_store_hash_ask);
	hr.ctx = hash->ctx;
	hr.revision = hash->revision;
	net_send(&w->to_gateway, w->now, MSG_NO_store_hash_result, &store_hash_result_desc, &hr);
}

static void stored_step(struct world *w)
{
	struct msg_in in;

	if (chance(w, w->f.rebuild)) {
		if (w->c.up)
			store_clnt_down(&w->c);
		net_cut(&w->to_stored);
		net_cut(&w->to_gateway);
		w->p.generation++;
		w->p.applied = w->p.applied / 2;
	}
	if (chance(w, 300)) {
		w->p.applied += tap_rand(&w->seed) % 5;
		w->p.revision = (int64_t)w->p.applied;
		w->p.compacted_revision = w->p.revision / 2;
		stored_tell(w);
	}
	while (net_next(&w->to_stored, w->now, &in))
		stored_msg(w, &in);
}

static void gateway_take(struct world *w)
{
	struct store_wait *a;
	struct store_compact_wait *c;
	struct store_ask *q;

	while ((a = store_clnt_pop_applied(&w->c)) != NULL) {
		struct wait *x = container_of(a, struct wait, w);

		OK(!x->answered && !x->compact);
		OK(w->c.progress.applied >= (uint64_t)x->need);
		OK(w->p.applied >= (uint64_t)x->need || w->f.rebuild > 0);
		x->answered = true;
		w->n_waits_answered++;
		w->n_released++;
	}
	while ((c = store_clnt_pop_compacted(&w->c)) != NULL) {
		struct wait *x = container_of(c, struct wait, c);

		OK(!x->answered && x->compact);
		OK(w->p.compacted_revision >= x->need || w->f.rebuild > 0);
		x->answered = true;
		w->n_waits_answered++;
		w->n_released++;
	}
	while ((q = store_clnt_pop_ask(&w->c)) != NULL) {
		struct question *x = container_of(q, struct question, a);

		OK(!x->answered);
		if (q->kind == STORE_ASK_HASH)
			EQ_INT(q->u.hash.revision, q->revision);
		EQ_INT(q->kind == STORE_ASK_HASH ? q->u.hash.hash.len : q->u.status.apply_hash.len, 16);
		EQ_INT(q->digest[15], 0x5a);
		x->answered = true;
		w->n_asks_answered++;
		w->n_told++;
	}
}

static void gateway_expire(struct world *w)
{
	for (size_t i = 0; i < w->n_waits; i++) {
		struct wait *x = &w->waits[i];

		if (x->answered || mono_before(w->now, x->deadline))
			continue;
		if (x->compact)
			store_clnt_compact_give_up(&w->c, &x->c);
		else
			EQ_INT(store_clnt_give_up(&w->c, &x->w), w->c.up ? ERR_TIMEOUT : ERR_STORE_DOWN);
		x->answered = true;
		w->n_waits_answered++;
	}
	for (size_t i = 0; i < w->n_asks; i++) {
		struct question *x = &w->asks[i];

		if (x->answered || mono_before(w->now, x->deadline))
			continue;
		(void)store_clnt_ask_give_up(&w->c, &x->a);
		x->answered = true;
		w->n_asks_answered++;
	}
}

static void gateway_ask(struct world *w)
{
	if (w->n_waits < WAITS && chance(w, 300)) {
		struct wait *x = &w->waits[w->n_waits++];

		x->deadline = mono_add_ms(w->now, DEADLINE_MS);
		x->compact = chance(w, 200);
		x->need = (int64_t)(w->p.applied + tap_rand(&w->seed) % 20);
		if (x->compact)
			x->need /= 2;
		if (x->compact)
			store_clnt_wait_compacted(&w->c, &x->c, x->need);
		else
			store_clnt_wait(&w->c, &x->w, (uint64_t)x->need);
	}
	if (w->n_asks < ASKS && chance(w, 50)) {
		struct question *x = &w->asks[w->n_asks++];

		x->deadline = mono_add_ms(w->now, DEADLINE_MS);
		if (chance(w, 500))
			store_clnt_status(&w->c, &x->a);
		else
			store_clnt_hash(&w->c, &x->a, 17);
	}
}

static void world_step(struct world *w)
{
	struct msg_in in;

	w->now = mono_add_ms(w->now, 1);
	if (w->c.up && chance(w, w->f.cut)) {
		store_clnt_down(&w->c);
		net_cut(&w->to_stored);
		net_cut(&w->to_gateway);
	} else if (!w->c.up && chance(w, 100)) {
		store_clnt_up(&w->c);
		stored_tell(w);
	}
	stored_step(w);
	while (net_next(&w->to_gateway, w->now, &in))
		EQ_INT(store_clnt_msg(&w->c, &in), ERR_OK);
	gateway_ask(w);
	gateway_take(w);
	gateway_expire(w);
	store_clnt_flush(&w->c);
}

static struct world *world_new(uint64_t seed, const struct faults *f)
{
	struct world *w = mem_alloc(sizeof *w);
	struct net *nets[] = {&w->to_stored, &w->to_gateway};

	w->seed = seed;
	w->f = *f;
	w->now = (mono_t){1000000000};
	w->p = (struct store_progress){1, 10, 10, -1, 0};
	for (size_t i = 0; i < 2; i++) {
		net_init(nets[i], &link_store, &w->seed);
		nets[i]->drop = f->drop;
		nets[i]->twice = f->twice;
		nets[i]->delay_ms = f->delay_ms;
		nets[i]->ordered = f->ordered;
	}
	store_clnt_init(&w->c, &(struct clnt_io){world_send, w});
	return w;
}

static void world_run(const struct faults *f, unsigned seeds, unsigned least)
{
	for (uint64_t i = 0; i < tap_rounds(seeds); i++) {
		struct world *w = world_new((tap_seed(1) + i) * 104729u, f);

		while (w->n_waits_answered < WAITS || w->n_asks_answered < ASKS)
			world_step(w);
		OK(w->n_released >= WAITS * least / 100);
		OK(w->n_told >= ASKS * least / 100);
		EQ_INT(w->c.n_waits, 0);
		store_clnt_free(&w->c);
		net_free(&w->to_stored);
		net_free(&w->to_gateway);
		free(w);
	}
}

TEST(without_faults_every_wait_and_question_ends_well)
{
	world_run(&(struct faults){.delay_ms = 3, .ordered = true}, 10, 100);
}

TEST(broken_links_lose_no_question)
{
	world_run(&(struct faults){.delay_ms = 3, .ordered = true, .cut = 10}, 40, 100);
}

TEST(no_read_is_let_go_too_early_whatever_the_messages_do)
{
	world_run(&(struct faults){.delay_ms = 20, .drop = 100, .twice = 100, .cut = 3}, 40, 70);
}

TEST(a_new_generation_may_start_behind_the_old_one)
{
	world_run(&(struct faults){.delay_ms = 3, .ordered = true, .cut = 3, .rebuild = 3}, 40, 50);
}

static int no_send(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	(void)arg;
	(void)number;
	(void)d;
	(void)msg;
	return ERR_CLOSED;
}

static void progress(struct store_clnt *c, uint64_t generation, uint64_t applied)
{
	struct store_progress p = {generation, applied, 1, -1, 0};
	struct msg_in in = {msg_row(&link_store, MSG_NO_store_progress), 1, &p};

	EQ_INT(store_clnt_msg(c, &in), ERR_OK);
}

TEST(the_epoch_says_when_to_map_the_store_anew)
{
	struct store_clnt c;

	store_clnt_init(&c, &(struct clnt_io){no_send, NULL});
	EQ_INT(c.epoch, 0);
	store_clnt_up(&c);
	progress(&c, 5, 100);
	EQ_INT(c.epoch, 1);
	progress(&c, 5, 200);
	EQ_INT(c.epoch, 1);
	progress(&c, 5, 150);           /* stale */
	EQ_INT(c.progress.applied, 200);
	store_clnt_down(&c);
	store_clnt_up(&c);
	progress(&c, 5, 200);
	EQ_INT(c.epoch, 1);
	store_clnt_down(&c);
	store_clnt_up(&c);
	progress(&c, 5, 3);             /* another store under the same number */
	EQ_INT(c.epoch, 2);
	EQ_INT(c.progress.applied, 3);
	progress(&c, 6, 1);
	EQ_INT(c.epoch, 3);
	store_clnt_free(&c);
}

TEST(what_the_map_shows_counts_while_stored_is_down)
{
	struct store_clnt c;
	struct store_wait w = {0};

	store_clnt_init(&c, &(struct clnt_io){no_send, NULL});
	store_clnt_up(&c);
	progress(&c, 1, 10);
	store_clnt_down(&c);
	store_clnt_wait(&c, &w, 12);
	OK(store_clnt_pop_applied(&c) == NULL);
	store_clnt_saw(&c, 1, 11, 5);
	OK(store_clnt_pop_applied(&c) == NULL);
	store_clnt_saw(&c, 2, 12, 6);      /* another map */
	OK(store_clnt_pop_applied(&c) == NULL);
	EQ_INT(c.progress.revision, 5);
	store_clnt_saw(&c, 1, 12, 6);
	EQ_INT(c.progress.revision, 6);
	OK(store_clnt_pop_applied(&c) == &w);
	store_clnt_free(&c);
}

TESTS = {
	T(without_faults_every_wait_and_question_ends_well),
	T(broken_links_lose_no_question),
	T(no_read_is_let_go_too_early_whatever_the_messages_do),
	T(a_new_generation_may_start_behind_the_old_one),
	T(the_epoch_says_when_to_map_the_store_anew),
	T(what_the_map_shows_counts_while_stored_is_down),
};
TAP_MAIN
