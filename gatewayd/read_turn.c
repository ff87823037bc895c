/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading, about a millisecond a turn, in one view. What has just become ready goes first: most of
 * it fits into one step and is answered at once. Then those that are too large for that take
 * turns, a step each.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "gatewayd/read_own.h"

/* Answers of this size are handed over and not copied. */
enum { READ_HAND_OVER_BYTES = 16384 };
/* Reads that hold no more than this are never refused for what all of them hold. */
enum { READ_SMALL_BYTES = 16384 };
enum { READ_REAP_ROWS = 500, READ_REAP_US = LIMIT_GATEWAY_TURN_US / 4, READ_COMPLAIN_MS = 1000, READ_RETRY_MS = 10 };

/* ---- memory ---- */

struct spent {
	struct list node;
	struct sorter *sort;
	size_t bytes;
};

static void read_spent(struct gateway *g, struct sorter *sort)
{
	struct spent *x;

	if (sorter_free_some(&sort, READ_REAP_ROWS))
		return;
	x = mem_alloc(sizeof *x);
	x->sort = sort;
	x->bytes = sort->bytes;
	list_push(&g->reads.spent, &x->node);
	g->reads.spent_bytes += x->bytes;
	g->reads.work += x->bytes;
}

/* A million rows are not freed at once; but faster than others are gathered. */
void read_reap(struct gateway *g, mono_t until)
{
	struct reads *rs = &g->reads;
	struct list *l;

	while ((l = list_first(&rs->spent)) != NULL) {
		struct spent *x = container_of(l, struct spent, node);

		if (sorter_free_some(&x->sort, READ_REAP_ROWS)) {
			list_remove(l);
			rs->spent_bytes -= x->bytes;
			rs->work -= x->bytes;
			mem_free(x);
		}
		if (!mono_before(mono_now(), until))
			return;
	}
}

/* So much is to be freed that nothing is read meanwhile: then it is bounded, however fast they are. */
static bool read_must_reap(const struct gateway *g)
{
	return g->reads.spent_bytes > g->reads.max_work / 2;
}

static void read_count_work(struct gateway *g, struct read *rd)
{
	size_t now = 0, kept = 0;

	if (rd->begun) {
		now = rd->is_txn ? txn_job_bytes(rd->txn_job) : range_job_bytes(&rd->range_job);
		kept = rd->is_txn ? 0 : rd->range_job.kept.cap;
	}
	g->reads.work += now - rd->work;
	g->reads.kept += kept - rd->kept;
	rd->work = now;
	rd->kept = kept;
}

void read_job_end(struct gateway *g, struct read *rd)
{
	if (!rd->begun)
		return;
	read_spent(g, rd->is_txn ? txn_job_end(rd->txn_job) : range_job_end(&rd->range_job));
	mem_free(rd->txn_job);
	rd->txn_job = NULL;
	rd->begun = false;
	read_count_work(g, rd);
}

/* ---- ends ---- */

static void read_complain(struct gateway *g, int err)
{
	mono_t now = loop_now(g->loop);

	if (mono_before(now, g->reads.complain_at))
		return;
	g->reads.complain_at = mono_add_ms(now, READ_COMPLAIN_MS);
	log_error("cannot read the store generation=%llu error=\"%s\"", (unsigned long long)g->map.generation,
		  err_text(err));
}

/* In the middle of an answer there is no other way to say it. */
static void read_break_off(struct gateway *g, struct read *rd, int err)
{
	struct caller *k = rd->r.caller;

	if (err == ERR_COMPACTED)
		counter_inc(&g->counters.read_compacted_total);
	k->ops->broken(k, err, rd->header.revision);     /* which forgets the read */
}

/* Was it the revision chosen for it that was lost, and not one it asked for? */
static bool read_lost_revision(const struct read *rd, const struct mvcc_info *info)
{
	int64_t at = rd->is_txn ? rd->txn_job->at : rd->range_job.at;

	if (!rd->is_txn && rd->range.revision > 0)
		return false;
	return at < info->compact_revision || at > info->revision;
}

static void read_failed(struct gateway *g, struct read *rd, struct mvcc_view *v, int err)
{
	if (err == ERR_CORRUPT || err == ERR_IO)
		read_complain(g, err);
	if (rd->streaming) {
		read_break_off(g, rd, err);
	} else if (err == ERR_COMPACTED && rd->begun && rd->restarts < READ_RESTARTS &&
		   read_lost_revision(rd, mvcc_view_info(v))) {
		rd->restarts++;
		read_job_end(g, rd);
		read_queue(g, rd);
	} else {
		read_fail(g, rd, err);
	}
}

static void read_done(struct gateway *g, struct read *rd)
{
	struct caller *k = rd->r.caller;
	bool streamed = rd->streaming;

	read_end(g, rd);
	request_forget(g, &rd->r);
	if (streamed)
		k->ops->stream_end(k);
}

/* ---- one step ---- */

static int read_start(struct gateway *g, struct read *rd, struct mvcc_view *v)
{
	const struct form *form = rd->r.caller->ops->form;
	int err = ERR_OK;

	rd->header = gateway_header(g, mvcc_view_info(v)->revision);
	rd->drained = 0;
	rd->begun = true;
	if (rd->is_txn) {
		rd->txn_job = mem_alloc(sizeof *rd->txn_job);
		txn_job_begin(rd->txn_job, &rd->txn, form, v, &rd->header);
	} else {
		err = range_job_begin(&rd->range_job, &rd->range, form, v);
	}
	return err;
}

/* The whole answer at once, without a copy. */
static bool read_hand_over(struct gateway *g, struct read *rd)
{
	struct caller *k = rd->r.caller;
	uint32_t id = rd->r.id;
	struct buf b;
	size_t at;

	if (rd->is_txn || range_job_kept(&rd->range_job, &g->reads.spare) < READ_HAND_OVER_BYTES ||
	    k->ops->can_take == NULL || !k->ops->can_take(k))
		return false;
	range_job_hand_over(&rd->range_job, &b, &at, &rd->header, &g->reads.spare);
	read_done(g, rd);
	k->ops->take(k, id, &b, at, ERR_TOO_MANY_REQUESTS);
	return true;
}

/* The whole answer at once. */
static void read_answer(struct gateway *g, struct read *rd)
{
	struct caller *k = rd->r.caller;
	uint32_t id = rd->r.id;
	size_t mark;
	struct buf *b;

	if (read_hand_over(g, rd))
		return;
	b = k->ops->begin(k, id, &mark);
	if (rd->is_txn)
		buf_add_bytes(b, buf_bytes(&rd->txn_job->out));
	else
		range_job_head(&rd->range_job, b, &rd->header, &g->reads.spare);
	read_done(g, rd);
	k->ops->end(k, id, b, mark, ERR_TOO_MANY_REQUESTS);
}

/*
 * All reads under way hold too much, and this one its share. Twice too much: many small ones do. Who is being written
 * goes on: it holds no more than before, and its client's pace is watched.
 */
static bool read_holds_too_much(struct gateway *g, struct read *rd)
{
	size_t max = g->reads.max_work;

	read_count_work(g, rd);
	if (rd->streaming || g->reads.work <= max)
		return false;
	return rd->work > (g->reads.work > 2 * max ? READ_SMALL_BYTES : LIMIT_REQUEST_BYTES);
}

/* `total` bytes are going to be written in pieces. False: it is refused, or another answer is just being written. */
static bool read_stream(struct gateway *g, struct read *rd, size_t total)
{
	struct caller *k = rd->r.caller;

	if (read_holds_too_much(g, rd)) {
		read_fail(g, rd, ERR_TOO_MANY_REQUESTS);
		return false;
	}
	if (!k->ops->stream_begin(k, rd->r.id, total)) {
		read_park(rd);
		return false;
	}
	rd->streaming = true;
	counter_inc(&g->counters.read_streams_total);
	return true;
}

/* Back into the line. */
static void read_more(struct gateway *g, struct read *rd)
{
	if (read_holds_too_much(g, rd)) {
		read_fail(g, rd, ERR_TOO_MANY_REQUESTS);
		return;
	}
	list_push(&g->reads.slow, &rd->run);
}

/* Of many reads that go on in the next turn only some may keep what they have: the others read it again. */
static void read_bound_kept(struct gateway *g, struct read *rd)
{
	read_count_work(g, rd);
	if (g->reads.kept <= g->reads.max_kept || range_job_whole(&rd->range_job))
		return;
	range_job_unkeep(&rd->range_job);
	read_count_work(g, rd);
}

static void read_step_range(struct gateway *g, struct read *rd, struct step *s)
{
	struct range_job *j = &rd->range_job;
	struct caller *k = rd->r.caller;
	int err = ERR_OK;

	if (j->phase <= RANGE_READY) {        /* READY: it has waited for another answer's end */
		conn_spare_take(&g->conns, &g->reads.spare);
		err = range_job_prepare(j, s, &g->reads.spare);
		read_bound_kept(g, rd);
	}
	if (err == ERR_OK && j->phase == RANGE_READY) {
		if (range_job_whole(j)) {
			read_answer(g, rd);
			return;
		}
		if (range_job_total(j, &rd->header) > INT32_MAX) {
			read_fail(g, rd, ERR_RESPONSE_TOO_LARGE);
			return;
		}
		if (!read_stream(g, rd, range_job_total(j, &rd->header)))
			return;
		range_job_head(j, k->ops->stream(k), &rd->header, &g->reads.spare);
	}
	if (err == ERR_OK && j->phase == RANGE_EMIT) {
		err = range_job_emit(j, s, k->ops->stream(k));
		k->ops->touch(k);
	}
	if (err != ERR_OK)
		read_failed(g, rd, s->view, err);
	else if (j->phase == RANGE_DONE)
		read_done(g, rd);
	else
		read_more(g, rd);
}

/* A piece of the gathered answer. */
static void read_drain_txn(struct gateway *g, struct read *rd)
{
	const struct buf *out = &rd->txn_job->out;
	struct caller *k = rd->r.caller;
	size_t n = out->len - rd->drained;

	if (n > LIMIT_GATEWAY_STEP_BYTES)
		n = LIMIT_GATEWAY_STEP_BYTES;
	buf_add(k->ops->stream(k), out->data + rd->drained, n);
	rd->drained += n;
	k->ops->touch(k);
	if (rd->drained == out->len)
		read_done(g, rd);
	else
		read_more(g, rd);
}

static void read_step_txn(struct gateway *g, struct read *rd, struct step *s)
{
	struct txn_job *j = rd->txn_job;
	struct sorter *spent = NULL;
	int err = ERR_OK;

	if (j->depth > 0)
		err = txn_job_step(j, s, &g->reads.spare, &spent);
	read_spent(g, spent);
	if (err != ERR_OK)
		read_failed(g, rd, s->view, err);
	else if (j->depth > 0)
		read_more(g, rd);
	else if (!rd->streaming && j->out.len <= LIMIT_CONN_OUT_HIGH)
		read_answer(g, rd);
	else if (rd->streaming || read_stream(g, rd, j->out.len))
		read_drain_txn(g, rd);
}

static void read_step(struct gateway *g, struct read *rd, struct mvcc_view *v, mono_t until)
{
	struct caller *k = rd->r.caller;
	struct step s;
	int err;

	if (!(rd->streaming ? k->ops->stream_room(k) : k->ops->room(k))) {
		read_park(rd);
		k->ops->want_room(k);
		return;
	}
	if (!rd->begun) {
		if (mvcc_view_info(v)->applied < rd->need) {
			read_wait(g, rd);         /* another generation, which is behind */
			return;
		}
		if (rd->look != NULL) {
			rd->look(g, rd, v);
			return;
		}
		err = read_start(g, rd, v);
		if (err != ERR_OK) {
			read_fail(g, rd, err);
			return;
		}
	}
	step_begin(&s, v, until);
	if (rd->is_txn)
		read_step_txn(g, rd, &s);
	else
		read_step_range(g, rd, &s);
	counter_add(&g->counters.read_rows_total, (int64_t)s.looked);
}

/* ---- a turn ---- */

static void read_list(struct gateway *g, struct list *from, struct mvcc_view *v, mono_t until, bool once)
{
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, from);                /* what comes back waits for the next round */
	while ((once || mono_before(mono_now(), until)) && (l = list_pop(&todo)) != NULL) {
		read_step(g, container_of(l, struct read, run), v, until);
		once = false;
	}
	list_splice(&todo, from);
	list_splice(from, &todo);
}

/* stored was killed or stopped in the middle of a commit: what is ready waits until it is back. */
static void read_later(struct gateway *g)
{
	struct reads *rs = &g->reads;
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, &rs->slow);
	list_splice(&todo, &rs->fast);
	while ((l = list_pop(&todo)) != NULL) {
		struct read *rd = container_of(l, struct read, run);

		if (rd->streaming || mono_before(loop_now(g->loop), rd->r.deadline))
			list_push(rd->begun ? &rs->slow : &rs->fast, &rd->run);
		else
			read_fail(g, rd, ERR_STORE_DOWN);
	}
	loop_timer_set(g->loop, &rs->retry, mono_add_ms(loop_now(g->loop), READ_RETRY_MS));
}

/* No view, no answers: all that is ready fails, since the next view will hardly be better. */
static void read_no_view(struct gateway *g, int err)
{
	struct reads *rs = &g->reads;
	struct list *l;

	if (err == ERR_STORE_DOWN) {
		read_later(g);
		return;
	}
	read_complain(g, err);
	list_splice(&rs->fast, &rs->slow);
	while ((l = list_pop(&rs->fast)) != NULL) {
		struct read *rd = container_of(l, struct read, run);

		if (rd->streaming)
			read_break_off(g, rd, err);
		else
			read_fail(g, rd, err);
	}
}

/* While stored is down, nobody tells how far the mapped store has come. */
static bool read_must_look(const struct gateway *g)
{
	return g->store.n_waits > 0 && !g->store.up;
}

void read_turn(struct gateway *g)
{
	struct reads *rs = &g->reads;
	struct mvcc_view *v;
	mono_t until;
	int err;

	read_reap(g, mono_add_us(mono_now(), read_must_reap(g) ? LIMIT_GATEWAY_TURN_US : READ_REAP_US));
	if (read_must_reap(g)) {
		loop_again(g->loop);
		return;
	}
	until = mono_add_us(mono_now(), LIMIT_GATEWAY_TURN_US);
	if (rs->retry.slot != 0)                 /* armed: not yet */
		return;
	if (g->map.env != NULL && (!list_empty(&rs->fast) || !list_empty(&rs->slow) || read_must_look(g))) {
		err = mvcc_view_begin(g->map.env, &v);
		if (err != ERR_OK) {
			read_no_view(g, err);
			return;
		}
		store_clnt_saw(&g->store, g->map.epoch, mvcc_view_info(v)->applied,
			       mvcc_view_info(v)->revision);
		read_poll(g);
		read_list(g, &rs->fast, v, until, true);
		do
			read_list(g, &rs->slow, v, until, true);
		while (!list_empty(&rs->slow) && mono_before(mono_now(), until));
		mvcc_view_end(&v);
	}
	if (!list_empty(&rs->fast) || !list_empty(&rs->slow) || !list_empty(&rs->spent))
		loop_again(g->loop);
}
