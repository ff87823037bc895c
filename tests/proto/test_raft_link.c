/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd's half of the raftd link joined with a model of raftd, the log and the store in one
 * process, under virtual time. Messages are lost, doubled and reordered, links break, leaders come
 * and go and forget what was not committed, the store forgets sessions. In the end each request
 * must have had exactly one answer, and its effect must agree with that answer.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "clnt/raft_clnt.h"
#include "proto/link_store.h"
#include "tests/lib/tap.h"
#include "tests/proto/net.h"

enum { REQUESTS = 300, READS = 200, LOG_MAX = 60000, DEADLINE_MS = 7000, SESSIONS = 64 };

struct faults {
	unsigned drop, twice;
	int delay_ms;
	bool ordered;
	unsigned cut, elect, refuse, forget, forward_loss;   /* of 1000 per step of 1 ms */
};

struct ask {
	struct raft_proposal p;
	bool asked, answered;
	int error;
	mono_t deadline;
	unsigned effects;
};

struct look {
	struct raft_read r;
	bool asked, answered;
	uint64_t least;         /* what was committed when it was asked */
	mono_t deadline;
};

struct entry {
	uint64_t gateway, seq;
	uint64_t request;       /* what it puts; meaningless for a session */
	bool is_put;
};

struct world {
	uint64_t seed;
	struct faults f;
	mono_t now;
	struct raft_clnt c;
	struct net to_raftd, to_gateway, to_gateway_from_store;
	uint64_t hello;         /* incarnation the store was told */
	/* raftd and the log */
	uint64_t term, leader;
	struct entry log[LOG_MAX];
	size_t n_log, commit, applied;
	/* the store */
	uint64_t sessions[SESSIONS];
	size_t n_sessions;
	struct entry *done;     /* (gateway, seq) that were applied */
	size_t n_done;
	struct ask asks[REQUESTS];
	struct look looks[READS];
	size_t n_asked, n_looked, n_answered, n_looks_answered;
	uint64_t lost_sessions;
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
	if (chance(w, 5) && w->f.refuse > 0)
		return ERR_FULL;
	net_send(&w->to_raftd, w->now, number, d, msg);
	return ERR_OK;
}

static void world_answer(struct world *w, struct ask *a, int error)
{
	OK(a->asked);
	OK(!a->answered);
	a->answered = true;
	a->error = error;
	w->n_answered++;
}

static void tell_state(struct world *w)
{
	struct raftd_state s = {w->leader == 1 ? NODE_LEADER : NODE_FOLLOWER, w->term, w->leader, w->commit, 0};

	if (w->c.up)
		net_send(&w->to_gateway, w->now, MSG_NO_raftd_state, &raftd_state_desc, &s);
}

static void raftd_elect(struct world *w)
{
	w->term++;
	w->leader = tap_rand(&w->seed) % 3;
	if (chance(w, 500))
		w->n_log = w->commit;   /* the new leader never had them */
	tell_state(w);
}

static void raftd_take(struct world *w, const struct raftd_propose *m)
{
	struct raftd_refused no[LIMIT_BATCH_ITEMS];
	struct raftd_refuse refuse = {{no, 0}};
	struct command cmd;
	struct arena arena;

	arena_init(&arena, 1u << 20);
	for (size_t i = 0; i < m->proposals.n; i++) {
		struct wire in = wire_of(m->proposals.v[i].command, WIRE_STRICT);

		if (w->leader == 0 || chance(w, w->f.refuse)) {
			no[refuse.refused.n++] = (struct raftd_refused){m->proposals.v[i].seq,
				w->leader == 0 ? ERR_NO_LEADER : ERR_FULL};
			continue;
		}
		if (chance(w, w->f.forward_loss))
			continue;
		EQ_INT(msg_decode(&in, &command_desc, &arena, &cmd), ERR_OK);
		EQ_INT(cmd.seq, m->proposals.v[i].seq);
		OK(w->n_log < LOG_MAX);
		w->log[w->n_log++] = (struct entry){cmd.gateway, cmd.seq,
			cmd.put != NULL ? get_u64be(cmd.put->key.data) : 0, cmd.put != NULL};
	}
	arena_free(&arena);
	if (refuse.refused.n > 0)
		net_send(&w->to_gateway, w->now, MSG_NO_raftd_refuse, &raftd_refuse_desc, &refuse);
}

static void raftd_read_index(struct world *w, const struct raftd_read *m)
{
	struct raftd_read_result r = {m->ctx, ERR_OK, w->commit + 1};

	if (w->leader == 0 || chance(w, w->f.refuse))
		r = (struct raftd_read_result){m->ctx, ERR_NO_LEADER, 0};
	if (!chance(w, w->f.forward_loss))
		net_send(&w->to_gateway, w->now, MSG_NO_raftd_read_result, &raftd_read_result_desc, &r);
}

static void raftd_msg(struct world *w, const struct msg_in *in)
{
	const struct raftd_status_ask *ask = in->msg;
	struct raftd_status_result r = {.role = NODE_FOLLOWER, .term = w->term, .leader = w->leader};

	switch (in->row->number) {
	case MSG_NO_raftd_propose:
		raftd_take(w, in->msg);
		return;
	case MSG_NO_raftd_read:
		raftd_read_index(w, in->msg);
		return;
	case MSG_NO_raftd_status_ask:
		r.ctx = ask->ctx;
		net_send(&w->to_gateway, w->now, MSG_NO_raftd_status_result, &raftd_status_result_desc, &r);
		return;
	default:
		OK(in->row->number == 0);   /* one that gatewayd never sends */
	}
}

static bool store_has_session(const struct world *w, uint64_t gateway)
{
	for (size_t i = 0; i < w->n_sessions; i++)
		if (w->sessions[i] == gateway)
			return true;
	return false;
}

static uint64_t store_apply(struct world *w, const struct entry *e)
{
	if (!e->is_put) {
		if (!store_has_session(w, e->gateway)) {
			OK(w->n_sessions < SESSIONS);
			w->sessions[w->n_sessions++] = e->gateway;
		}
		return ERR_OK;
	}
	if (!store_has_session(w, e->gateway))
		return ERR_OUTCOME_UNKNOWN;
	for (size_t i = 0; i < w->n_done; i++)
		if (w->done[i].gateway == e->gateway && w->done[i].seq == e->seq)
			return ERR_OK;          /* the kept result */
	w->done[w->n_done++] = *e;
	w->asks[e->request].effects++;
	return ERR_OK;
}

static void store_step(struct world *w)
{
	struct store_result r = {0};
	struct store_results m = {{&r, 1}};

	while (w->applied < w->commit) {
		const struct entry *e = &w->log[w->applied];
		uint8_t code = (uint8_t)store_apply(w, e);

		r.seq = e->seq;
		r.index = ++w->applied;
		r.result = bytes_of(&code, 1);
		if (e->gateway == w->hello)
			net_send(&w->to_gateway_from_store, w->now, MSG_NO_store_results, &store_results_desc, &m);
	}
	if (chance(w, w->f.forget) && w->n_sessions < SESSIONS - 2) {
		for (size_t i = 0; i < w->n_sessions; i++)
			w->sessions[i] = 0;
	}
}

static void gateway_results(struct world *w, const struct store_results *m)
{
	for (size_t i = 0; i < m->results.n; i++) {
		int error = m->results.v[i].result.data[0];
		struct raft_proposal *p = raft_clnt_result(&w->c, m->results.v[i].seq, error, w->now);

		if (p != NULL)
			world_answer(w, container_of(p, struct ask, p), error);
	}
	if (!w->c.session_lost)
		return;
	raft_clnt_new_session(&w->c, w->c.incarnation + 1);
	w->lost_sessions++;
	w->hello = w->c.incarnation;            /* the link is made anew */
	net_cut(&w->to_gateway_from_store);
	raft_clnt_resend(&w->c);
}

static void gateway_take(struct world *w)
{
	struct raft_proposal *p;
	struct raft_read *r;

	while ((p = raft_clnt_pop_failed(&w->c)) != NULL)
		world_answer(w, container_of(p, struct ask, p), p->error);
	while ((r = raft_clnt_pop_read(&w->c)) != NULL) {
		struct look *l = container_of(r, struct look, r);

		OK(!l->answered);
		OK(r->index >= l->least);
		l->answered = true;
		w->n_looks_answered++;
	}
}

static void gateway_expire(struct world *w)
{
	for (size_t i = 0; i < w->n_asked; i++)
		if (!w->asks[i].answered && !mono_before(w->now, w->asks[i].deadline))
			world_answer(w, &w->asks[i], raft_clnt_give_up(&w->c, &w->asks[i].p));
	for (size_t i = 0; i < w->n_looked; i++)
		if (!w->looks[i].answered && !mono_before(w->now, w->looks[i].deadline)) {
			w->looks[i].answered = true;
			w->n_looks_answered++;
			(void)raft_clnt_read_give_up(&w->c, &w->looks[i].r);
		}
}

static void gateway_ask(struct world *w)
{
	uint8_t key[8];
	struct kv_put put = {.key = bytes_of(key, sizeof key)};
	struct command cmd = {.put = &put};

	if (w->n_asked < REQUESTS && chance(w, 300)) {
		struct ask *a = &w->asks[w->n_asked];

		put_u64be(key, w->n_asked++);
		a->asked = true;
		a->deadline = mono_add_ms(w->now, DEADLINE_MS);
		EQ_INT(raft_clnt_propose(&w->c, &a->p, &cmd), ERR_OK);
	}
	if (w->n_looked < READS && chance(w, 200)) {
		struct look *l = &w->looks[w->n_looked++];

		l->asked = true;
		l->least = w->commit;
		l->deadline = mono_add_ms(w->now, DEADLINE_MS);
		raft_clnt_read(&w->c, &l->r);
	}
}

static void world_links(struct world *w)
{
	if (w->c.up && chance(w, w->f.cut)) {
		raft_clnt_down(&w->c);
		net_cut(&w->to_raftd);
		net_cut(&w->to_gateway);
	} else if (!w->c.up && chance(w, 100)) {
		raft_clnt_up(&w->c, w->now);
		tell_state(w);
	}
	if (chance(w, w->f.cut)) {
		net_cut(&w->to_gateway_from_store);
		raft_clnt_resend(&w->c);
	}
}

static void world_step(struct world *w)
{
	struct msg_in in;

	w->now = mono_add_ms(w->now, 1);
	world_links(w);
	if (chance(w, w->f.elect))
		raftd_elect(w);
	if (w->leader != 0 && chance(w, 400))
		w->commit = w->n_log;
	store_step(w);
	while (net_next(&w->to_raftd, w->now, &in))
		raftd_msg(w, &in);
	while (net_next(&w->to_gateway, w->now, &in))
		EQ_INT(raft_clnt_msg(&w->c, &in, w->now), ERR_OK);
	while (net_next(&w->to_gateway_from_store, w->now, &in))
		gateway_results(w, in.msg);
	gateway_ask(w);
	gateway_take(w);
	gateway_expire(w);
	(void)raft_clnt_flush(&w->c, w->now);
	OK(w->c.n_proposals <= REQUESTS + 1);
}

static void world_net(struct world *w, struct net *n, const struct msg_link *link)
{
	net_init(n, link, &w->seed);
	n->drop = w->f.drop;
	n->twice = w->f.twice;
	n->delay_ms = w->f.delay_ms;
	n->ordered = w->f.ordered;
}

static struct world *world_new(uint64_t seed, const struct faults *f)
{
	struct world *w = mem_alloc(sizeof *w);

	w->seed = seed;
	w->f = *f;
	w->now = (mono_t){1000000000};
	w->term = w->leader = 1;
	w->done = mem_array(LOG_MAX, sizeof(struct entry));
	w->hello = 1000;
	world_net(w, &w->to_raftd, &link_raft);
	if (f->forget > 0)
		w->to_raftd.twice = 0;  /* as on a real link: a copy of what is refused would be a second effect */
	world_net(w, &w->to_gateway, &link_raft);
	world_net(w, &w->to_gateway_from_store, &link_store);
	raft_clnt_init(&w->c, &(struct clnt_io){world_send, w}, w->hello, 8192, 1u << 26);
	return w;
}

static void world_free(struct world *w)
{
	raft_clnt_free(&w->c);
	net_free(&w->to_raftd);
	net_free(&w->to_gateway);
	net_free(&w->to_gateway_from_store);
	free(w->done);
	free(w);
}

/* All that is still in the log or under way takes effect before the books are checked. */
static void world_settle(struct world *w)
{
	struct msg_in in;

	w->leader = 1;
	while (w->n_asked < REQUESTS || w->n_looked < READS || w->n_answered < REQUESTS ||
	       w->n_looks_answered < READS)
		world_step(w);
	w->now = mono_add_ms(w->now, 60000);
	while (net_next(&w->to_raftd, w->now, &in))
		raftd_msg(w, &in);
	w->commit = w->n_log;
	store_step(w);
}

static void world_check(const struct world *w)
{
	for (size_t i = 0; i < REQUESTS; i++) {
		const struct ask *a = &w->asks[i];

		OK(a->answered);
		OK(a->effects <= 1);
		if (a->error == ERR_OK)
			EQ_INT(a->effects, 1);
		if (err_again(a->error) == ERR_AGAIN_SAFE)
			EQ_INT(a->effects, 0);
	}
}

static unsigned world_ok(const struct world *w)
{
	unsigned n = 0;

	for (size_t i = 0; i < REQUESTS; n += w->asks[i++].error == ERR_OK);
	return n;
}

static void world_run(const struct faults *f, unsigned seeds, unsigned least_ok)   /* on average */
{
	uint64_t good = 0;

	for (uint64_t s = tap_seed(1), end = s + tap_rounds(seeds); s < end; s++) {
		struct world *w = world_new(s * 7919u, f);

		for (int i = 0; i < 3000; i++)
			world_step(w);
		world_settle(w);
		world_check(w);
		good += world_ok(w);
		world_free(w);
	}
	OK(good >= least_ok * tap_rounds(seeds));
}

TEST(without_faults_every_request_succeeds)
{
	world_run(&(struct faults){.delay_ms = 3, .ordered = true}, 10, REQUESTS);
}

TEST(broken_links_and_new_leaders_cost_time_not_requests)
{
	world_run(&(struct faults){.delay_ms = 3, .ordered = true, .cut = 5, .elect = 5, .refuse = 20}, 60,
		  REQUESTS);
}

TEST(lost_doubled_and_reordered_messages_are_harmless)
{
	world_run(&(struct faults){.delay_ms = 20, .drop = 50, .twice = 100, .cut = 3, .elect = 3,
				   .refuse = 50, .forward_loss = 20}, 60, REQUESTS * 9 / 10);
}

TEST(a_forgotten_session_gives_unknown_outcomes_and_no_double_effects)
{
	world_run(&(struct faults){.delay_ms = 20, .drop = 20, .twice = 50, .cut = 3, .elect = 3,
				   .refuse = 50, .forward_loss = 20, .forget = 3}, 60, REQUESTS / 10);
}

static int count_sends(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	size_t *n = arg;

	(void)d;
	if (number == MSG_NO_raftd_propose)
		*n += ((const struct raftd_propose *)msg)->proposals.n;
	return ERR_OK;
}

struct fixture {
	struct raft_clnt c;
	size_t sent;
	mono_t now;
	uint8_t value[1u << 20];
	struct raft_proposal p[70];
};

static struct fixture *fixture_new(size_t max, size_t max_bytes)
{
	struct fixture *f = mem_alloc(sizeof *f);
	struct raftd_state s = {NODE_LEADER, 3, 1, 10, 0};
	struct msg_in in = {msg_row(&link_raft, MSG_NO_raftd_state), 1, &s};

	f->now = (mono_t){5000000000};
	raft_clnt_init(&f->c, &(struct clnt_io){count_sends, &f->sent}, 77, max, max_bytes);
	raft_clnt_up(&f->c, f->now);
	EQ_INT(raft_clnt_msg(&f->c, &in, f->now), ERR_OK);
	return f;
}

static void fixture_free(struct fixture *f)
{
	raft_clnt_free(&f->c);
	free(f);
}

static int fixture_put(struct fixture *f, size_t i, size_t bytes)
{
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_of(f->value, bytes)};
	struct command cmd = {.put = &put};

	return raft_clnt_propose(&f->c, &f->p[i], &cmd);
}

TEST(commands_wait_for_the_session)
{
	struct fixture *f = fixture_new(100, 1u << 26);

	EQ_INT(fixture_put(f, 0, 10), ERR_OK);
	OK(!raft_clnt_flush(&f->c, f->now));
	EQ_INT(f->sent, 1);                             /* only the session */
	OK(raft_clnt_result(&f->c, 0, ERR_OK, f->now) == NULL);
	OK(!raft_clnt_flush(&f->c, f->now));
	EQ_INT(f->sent, 2);
	OK(raft_clnt_result(&f->c, 1, ERR_OK, f->now) == &f->p[0]);
	OK(raft_clnt_result(&f->c, 1, ERR_OK, f->now) == NULL);
	fixture_free(f);
}

TEST(too_many_commands_and_bytes_are_refused)
{
	struct fixture *f = fixture_new(4, 3u << 20);

	EQ_INT(fixture_put(f, 0, 1u << 20), ERR_OK);    /* the session is the first of four */
	EQ_INT(fixture_put(f, 1, 1u << 20), ERR_OK);
	EQ_INT(fixture_put(f, 2, 1u << 20), ERR_TOO_MANY_REQUESTS);
	EQ_INT(fixture_put(f, 2, 10), ERR_OK);
	EQ_INT(fixture_put(f, 3, 10), ERR_TOO_MANY_REQUESTS);
	for (size_t i = 0; i < 3; i++)
		EQ_INT(raft_clnt_give_up(&f->c, &f->p[i]), ERR_STORE_DOWN);
	fixture_free(f);
}

TEST(an_oversized_command_is_refused)
{
	struct fixture *f = fixture_new(4, 1u << 26);
	uint8_t *big = mem_alloc(LIMIT_REQUEST_BYTES);
	struct kv_put put = {.key = bytes_str("k"), .value = bytes_of(big, LIMIT_REQUEST_BYTES)};
	struct command cmd = {.put = &put};

	EQ_INT(raft_clnt_propose(&f->c, &f->p[0], &cmd), ERR_REQUEST_TOO_LARGE);
	EQ_INT(f->c.n_proposals, 1);
	free(big);
	fixture_free(f);
}

TEST(batches_are_bounded_by_bytes)
{
	struct fixture *f = fixture_new(100, 1u << 27);

	(void)raft_clnt_result(&f->c, 0, ERR_OK, f->now);
	for (size_t i = 0; i < 70; i++)
		EQ_INT(fixture_put(f, i, 1u << 19), ERR_OK);
	OK(raft_clnt_flush(&f->c, f->now));             /* more is left */
	EQ_INT(f->c.n_batches, RAFT_CLNT_FLUSH_BATCHES);
	OK(f->sent >= 4 && f->sent <= 12);
	while (raft_clnt_flush(&f->c, f->now))
		;
	EQ_INT(f->sent, 70);
	for (size_t i = 0; i < 70; i++)
		EQ_INT(raft_clnt_give_up(&f->c, &f->p[i]), ERR_TIMEOUT);
	fixture_free(f);
}

TEST(unanswered_commands_go_out_again_with_growing_pauses)
{
	struct fixture *f = fixture_new(100, 1u << 27);

	(void)raft_clnt_result(&f->c, 0, ERR_OK, f->now);
	EQ_INT(fixture_put(f, 0, 1), ERR_OK);
	for (int ms = 0; ms < 20000; ms++) {
		(void)raft_clnt_flush(&f->c, f->now);
		f->now = mono_add_ms(f->now, 1);
	}
	OK(f->sent >= 6 && f->sent <= 8);               /* at 0, 1, 3, 7, 11, 15, 19 s */
	OK(!mono_before(raft_clnt_due(&f->c), f->now));
	EQ_INT(raft_clnt_give_up(&f->c, &f->p[0]), ERR_TIMEOUT);
	fixture_free(f);
}

/* raftd tells its term before it is durable: killed then, it comes back with an older one. */
TEST(a_raftd_that_lost_its_newest_term_is_listened_to)
{
	struct fixture *f = fixture_new(100, 1u << 26);
	struct raftd_state lost = {NODE_CANDIDATE, 7, 0, 1, 0}, back = {NODE_FOLLOWER, 6, 2, 1, 0};
	struct msg_in in = {.row = msg_row(&link_raft, MSG_NO_raftd_state), .msg = &lost};

	EQ_INT(raft_clnt_msg(&f->c, &in, f->now), ERR_OK);
	in.msg = &back;
	EQ_INT(raft_clnt_msg(&f->c, &in, f->now), ERR_OK);
	EQ_INT(f->c.state.leader, 0);                   /* stale on this connection */
	raft_clnt_down(&f->c);
	raft_clnt_up(&f->c, f->now);
	EQ_INT(raft_clnt_msg(&f->c, &in, f->now), ERR_OK);
	EQ_INT(f->c.state.leader, 2);
	fixture_free(f);
}

TESTS = {
	T(without_faults_every_request_succeeds),
	T(broken_links_and_new_leaders_cost_time_not_requests),
	T(lost_doubled_and_reordered_messages_are_harmless),
	T(a_forgotten_session_gives_unknown_outcomes_and_no_double_effects),
	T(commands_wait_for_the_session),
	T(too_many_commands_and_bytes_are_refused),
	T(an_oversized_command_is_refused),
	T(batches_are_bounded_by_bytes),
	T(unanswered_commands_go_out_again_with_growing_pauses),
	T(a_raftd_that_lost_its_newest_term_is_listened_to),
};
TAP_MAIN
