/* SPDX-License-Identifier: Apache-2.0 */
/* raftd's driver against the contract of core/raft.h, with a core that says what the test wrote. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/fake_raftd.h"
#include "tests/lib/tap.h"

/* ---- the scripted core */

struct raft {
	struct raft_effect fx[64];
	uint32_t n, given;              /* effects of the next steps; a step ends at RAFT_FX_COUNT */
	mono_t deadline, now;
	int answer;
};

static struct raft core;

static const char *event_name(enum raft_event_type type)
{
	static const char *const names[] = {"TICK", "RECV", "PROPOSE", "SENT", "DURABLE", "READ",
					    "TRANSFER", "PEER_UP", "PEER_DOWN"};

	return names[type];
}

int raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	CHECK(r == &core && !mono_before(ev->now, r->now));
	r->now = ev->now;
	if (ev->type == RAFT_EV_SENT)
		fake_say("step SENT peer=%d grant=%d last=%d bytes=%d", (int)ev->peer,
			 (int)ev->grant,
			 (int)ev->last, (int)ev->bytes);
	else
		fake_say("step %s", event_name(ev->type));
	fx->n = 0;
	if (fx->v == NULL) {
		fx->cap = 64;
		fx->v = mem_array(fx->cap, sizeof *fx->v);
	}
	while (core.given < core.n && core.fx[core.given].type != RAFT_FX_COUNT)
		fx->v[fx->n++] = core.fx[core.given++];
	core.given++;
	return core.answer;
}

mono_t raft_deadline(const struct raft *r)
{
	return r->deadline;
}

const char *raft_role_name(enum raft_role role)
{
	return role == RAFT_LEADER ? "LEADER" : "?";
}

/* What driver.c calls besides. */
void propose_committed(struct raftd *n, uint64_t index)
{
	(void)n;
	fake_say("committed %d", (int)index);
}

void propose_reset(struct raftd *n)
{
	(void)n;
	fake_say("proposals reset");
}

void propose_batch(struct raftd *n, const struct proposal *v, size_t count, struct proposer from)
{
	(void)n;
	(void)v;
	(void)from;
	fake_say("propose %zu", count);
}

void reads_answer(struct raftd *n, uint64_t ctx, int err, uint64_t index)
{
	(void)n;
	fake_say("read %d err=%d index=%d", (int)ctx, err, (int)index);
}

struct link *gateways_find(struct raftd *n, uint64_t incarnation)
{
	(void)n;
	(void)incarnation;
	return NULL;
}

int lessors_asked(struct raftd *n, uint64_t from, const struct peer_lease_asks *in)
{
	(void)n;
	fake_say("lessor asked by %d: %zu", (int)from, in->asks.n);
	return ERR_OK;
}

int lessors_answered(struct raftd *n, const struct peer_lease_answers *in)
{
	(void)n;
	fake_say("lessor answered: %zu", in->answers.n);
	return ERR_OK;
}

void gateways_refuse(struct link *l, struct raftd_refused *v, size_t count)
{
	(void)l;
	(void)v;
	(void)count;
}

/* ---- scripts */

static void begin(void)
{
	fake_open();
	core = (struct raft){.deadline = MONO_NEVER};
	fake.n->raft = &core;
	loop_timer_init(&fake.n->tick, raftd_tick, fake.n);
}

static struct raft_effect *fx(enum raft_effect_type type)
{
	CHECK(core.n < ARRAY_LEN(core.fx));
	core.fx[core.n] = (struct raft_effect){.type = type};
	return &core.fx[core.n++];
}

static void next_step(void)
{
	(void)fx(RAFT_FX_COUNT);
}

static void fx_vote_to(uint64_t to, uint64_t need_seq)
{
	struct raft_effect *e = fx(RAFT_FX_SEND);

	e->send.need_seq = need_seq;
	e->send.msg = (struct raft_msg){.type = RAFT_MSG_VOTE, .from = 1, .to = to, .term = 7};
}

static void fx_hard_state_is(uint64_t seq, uint64_t term)
{
	struct raft_effect *e = fx(RAFT_FX_HARD_STATE);

	e->seq = seq;
	e->hard_state.term = term;
	e->hard_state.vote = 1;
}

static void fx_replicate_to(uint64_t to, uint64_t grant, uint64_t first, uint64_t last)
{
	struct raft_effect *e = fx(RAFT_FX_REPLICATE);

	e->replicate.peer = to;
	e->replicate.grant = grant;
	e->replicate.prev_index = first - 1;
	e->replicate.prev_term = 3;
	e->replicate.first = first;
	e->replicate.last = last;
	e->replicate.commit = 1;
	e->replicate.term = 7;
	e->replicate.round = 5;
}

static void fx_role_is(enum raft_role role, uint64_t leader)
{
	struct raft_effect *e = fx(RAFT_FX_ROLE);

	e->role.role = role;
	e->role.term = 7;
	e->role.leader = leader;
	e->role.reason = "the test says so";
}

static int step(enum raft_event_type type)
{
	struct raft_event ev = {.type = type};

	return raftd_step(fake.n, &ev);
}

static void durable(uint64_t seq)
{
	struct raft_event ev = {.type = RAFT_EV_DURABLE, .seq = seq};

	fake.n->durable_seq = seq;
	(void)raftd_step(fake.n, &ev);
}

#define VOTE(to) "to " to ": peer_vote{term=7 pre=false transfer=false last_index=0 last_term=0}\n"

/* ---- tests */

TEST(effects_are_carried_out_in_the_order_of_the_list)
{
	struct raft_effect *e;

	begin();
	fx_hard_state_is(1, 7);
	e = fx(RAFT_FX_APPEND);
	e->seq = 2;
	e->append.first = 1;
	e->append.n = 1;
	e->append.term = 7;
	e->append.noop = true;
	fx_vote_to(2, 0);
	fx_replicate_to(3, 9, 1, 1);
	e = fx(RAFT_FX_COMMIT);
	e->commit.index = 1;
	e = fx(RAFT_FX_READ_OK);
	e->read.ctx = 4;
	e->read.index = 1;
	EQ_INT(step(RAFT_EV_TICK), ERR_OK);
	EQ_STR(fake_journal(), "step TICK\n"
			       "hard term=7 vote=1\n"
			       "mark 1\n"
			       "entry 1 term=7 kind=1 \n"
			       "mark 2\n"
			       VOTE("2")
			       "to 3: peer_append{term=7 prev_index=0 prev_term=3 commit=1 round=5 "
			       "entries=[1 peer_entry{term=7 kind=1 payload=\"\"}]}\n"
			       "committed 1\n"
			       "read 4 err=0 index=1\n"
			       "step SENT peer=3 grant=9 last=1 bytes=0\n");
	OK(fake.n->feed.due);
	EQ_INT(fake.n->commit, 1);
	fake_close();
}

TEST(a_message_waits_for_the_sync_it_needs)
{
	begin();
	fx_hard_state_is(1, 7);
	fx_vote_to(2, 1);
	next_step();
	fx_vote_to(3, 0);
	(void)step(RAFT_EV_TICK);
	EQ_STR(fake_journal(), "step TICK\nhard term=7 vote=1\nmark 1\n");
	(void)step(RAFT_EV_TICK);
	EQ_STR(fake_journal(), "step TICK\n" VOTE("3"));
	durable(1);
	EQ_STR(fake_journal(), "step DURABLE\n" VOTE("2"));
	durable(1);
	EQ_STR(fake_journal(), "step DURABLE\n");
	fake_close();
}

TEST(what_is_durable_already_needs_no_waiting)
{
	begin();
	durable(5);
	core.n = core.given = 0;
	(void)fake_journal();
	fx_vote_to(2, 5);
	fx_vote_to(3, 6);
	(void)step(RAFT_EV_TICK);
	EQ_STR(fake_journal(), "step TICK\n" VOTE("2"));
	EQ_INT(fake.n->held.count, 1);
	fake_close();
}

TEST(effects_of_durable_go_before_the_messages_it_frees)
{
	begin();
	fx_vote_to(2, 3);
	next_step();
	fx_vote_to(3, 0);
	(void)step(RAFT_EV_TICK);
	(void)fake_journal();
	durable(3);
	EQ_STR(fake_journal(), "step DURABLE\n" VOTE("3") VOTE("2"));
	fake_close();
}

TEST(a_full_hold_drops_and_counts)
{
	begin();
	for (int i = 0; i < HELD_MAX + 3; i++) {
		core.n = core.given = 0;
		fx_vote_to(2, 100);
		(void)step(RAFT_EV_TICK);
	}
	EQ_INT(fake.n->held.count, HELD_MAX);
	EQ_INT(fake.n->counters.sends_dropped.value, 3);
	core.n = core.given = 0;
	durable(100);
	EQ_INT(fake.n->held.count, 0);
	fake_close();
}

TEST(each_permission_is_answered_once_by_what_was_sent)
{
	begin();
	for (int i = 0; i < 5; i++)
		fake_have(3, WAL_COMMAND, 0);
	fake.read_max = 4;
	fx_replicate_to(2, 1, 1, 5);
	fx_replicate_to(3, 2, 5, 5);
	next_step();
	fx_replicate_to(2, 3, 5, 5);       /* what the core says to the first SENT */
	(void)step(RAFT_EV_PROPOSE);
	EQ_STR(fake_journal(),
	       "step PROPOSE\n"
	       "to 2: peer_append{term=7 prev_index=0 prev_term=3 commit=1 round=5 entries=[4 peer_entry{term=3 "
	       "kind=2 payload=\"\"} peer_entry{term=3 kind=2 payload=\"\"} peer_entry{term=3 kind=2 "
	       "payload=\"\"} ...]}\n"
	       "to 3: peer_append{term=7 prev_index=4 prev_term=3 commit=1 round=5 entries=[1 peer_entry{term=3 "
	       "kind=2 payload=\"\"}]}\n"
	       "step SENT peer=2 grant=1 last=4 bytes=0\n"
	       "to 2: peer_append{term=7 prev_index=4 prev_term=3 commit=1 round=5 entries=[1 peer_entry{term=3 "
	       "kind=2 payload=\"\"}]}\n"
	       "step SENT peer=3 grant=2 last=5 bytes=0\n"
	       "step SENT peer=2 grant=3 last=5 bytes=0\n");
	EQ_INT(fake.n->sent_count, 0);
	fake_close();
}

TEST(a_full_or_broken_connection_is_answered_with_nothing_sent)
{
	begin();
	fake_have(3, WAL_COMMAND, 10);
	fake.peer_full[2] = true;
	fake.peer_answer[3] = ERR_CLOSED;
	fx_replicate_to(2, 1, 1, 1);
	fx_replicate_to(3, 2, 1, 1);
	(void)step(RAFT_EV_TICK);
	EQ_STR(fake_journal(), "step TICK\n"
			       "step SENT peer=2 grant=1 last=0 bytes=0\n"
			       "step SENT peer=3 grant=2 last=0 bytes=0\n");
	fake_close();
}

TEST(a_heartbeat_goes_even_if_no_batch_would_and_is_not_answered)
{
	begin();
	fake.peer_full[2] = true;
	fx_replicate_to(2, 0, 4, 3);
	(void)step(RAFT_EV_TICK);
	EQ_STR(fake_journal(), "step TICK\n"
			       "to 2: peer_append{term=7 prev_index=3 prev_term=3 commit=1 round=5 entries=[0]}\n");
	fake_close();
}

TEST(a_permission_dies_with_the_role)
{
	begin();
	fake_have(3, WAL_COMMAND, 10);
	fake.n->role = RAFT_LEADER;
	fx_replicate_to(2, 1, 1, 1);
	fx_role_is(RAFT_FOLLOWER, 3);
	(void)step(RAFT_EV_TICK);
	OK(strstr(fake_journal(), "SENT") == NULL);
	EQ_INT(fake.n->leader, 3);
	OK(fake.n->gateways.state_dirty);
	fake_close();
}

TEST(the_largest_append_fits_a_frame_and_the_room_that_was_asked_for)
{
	begin();
	for (int i = 0; i < 1024; i++)
		fake_have(UINT64_MAX >> 3, WAL_COMMAND, 1024);
	fx_replicate_to(2, 1, 1, 1024);
	(void)step(RAFT_EV_TICK);
	OK(strstr(fake_journal(), "last=1024 bytes=1048576") != NULL);
	OK(fake.bytes_sent[2] > MIB && fake.bytes_sent[2] < APPEND_ROOM);
	core.n = core.given = 0;
	fake_have(UINT64_MAX >> 3, WAL_COMMAND, ENTRY_BYTES_MAX);
	fake_have(UINT64_MAX >> 3, WAL_COMMAND, 1);
	fx_replicate_to(3, 1, 1025, 1026);
	(void)step(RAFT_EV_TICK);
	OK(strstr(fake_journal(), "last=1025 bytes=1638400") != NULL);
	OK(fake.bytes_sent[3] < APPEND_ROOM);
	fake_close();
}

/* ---- messages */

static struct peer_entry entries[LIMIT_APPEND_ENTRIES];

static struct peer_append append_of(size_t n, size_t bytes)
{
	static uint8_t body[2 * MIB];
	struct peer_append m = {.term = 7};

	for (size_t i = 0; i < n; i++)
		entries[i] = (struct peer_entry){7, WAL_COMMAND, bytes_of(body, bytes)};
	m.entries.v = entries;
	m.entries.n = n;
	return m;
}

static struct msg_in in_of(uint32_t number, void *msg)
{
	return (struct msg_in){.row = msg_row(&peer_link, number), .msg = msg};
}

static bool can_take(uint32_t number, void *msg)
{
	struct msg_in in = in_of(number, msg);

	return raftd_peers_ops.can_take(fake.n, &in);
}

static int message(uint32_t number, void *msg)
{
	struct msg_in in = in_of(number, msg);

	return raftd_peers_ops.message(fake.n, 2, &in);
}

TEST(entries_wait_for_room_and_all_else_does_not)
{
	struct peer_append some = append_of(1, 10), none = append_of(0, 0);
	struct peer_append_resp resp = {0};
	struct peer_vote vote = {0};

	begin();
	OK(can_take(MSG_NO_peer_append, &some));
	fake.room = APPEND_ROOM + SMALL_ROOM - 1;
	OK(!can_take(MSG_NO_peer_append, &some));
	OK(can_take(MSG_NO_peer_append, &none));
	OK(can_take(MSG_NO_peer_append_resp, &resp));
	OK(can_take(MSG_NO_peer_vote, &vote));
	fake.room = SMALL_ROOM / 2 - 1;
	OK(!can_take(MSG_NO_peer_append, &none));
	OK(!can_take(MSG_NO_peer_vote, &vote));
	fake_close();
}

TEST(an_append_that_no_member_would_send_is_refused)
{
	struct peer_append m;

	begin();
	m = append_of(1, ENTRY_BYTES_MAX);
	EQ_INT(message(MSG_NO_peer_append, &m), ERR_OK);
	m = append_of(1, ENTRY_BYTES_MAX + 1);
	EQ_INT(message(MSG_NO_peer_append, &m), ERR_LIMIT);
	m = append_of(2, ENTRY_BYTES_MAX / 2 + 64 * KIB);
	EQ_INT(message(MSG_NO_peer_append, &m), ERR_LIMIT);
	m = append_of(1, 10);
	entries[0].kind = 3;
	EQ_INT(message(MSG_NO_peer_append, &m), ERR_MALFORMED);
	entries[0].kind = 256 + WAL_COMMAND;
	EQ_INT(message(MSG_NO_peer_append, &m), ERR_MALFORMED);
	entries[0].kind = WAL_NOOP;
	EQ_INT(message(MSG_NO_peer_append, &m), ERR_MALFORMED);
	EQ_STR(fake_journal(), "step RECV\n");
	fake_close();
}

TEST(received_entries_go_into_the_log_behind_those_it_has)
{
	struct peer_append m = append_of(3, 1);
	struct raft_effect *e;

	begin();
	fake_have(6, WAL_NOOP, 0);
	entries[0].kind = WAL_NOOP;
	entries[0].payload.len = 0;
	entries[1].payload = bytes_str("one");
	entries[2].payload = bytes_str("two");
	e = fx(RAFT_FX_APPEND);
	e->seq = 4;
	e->append.first = 2;
	e->append.n = 2;
	e->append.skip = 1;
	EQ_INT(message(MSG_NO_peer_append, &m), ERR_OK);
	EQ_STR(fake_journal(), "step RECV\nentry 2 term=7 kind=2 one\nentry 3 term=7 kind=2 two\nmark 4\n");
	OK(fake.n->received == NULL);
	fake_close();
}

TEST(a_truncation_comes_before_what_replaces_it)
{
	struct peer_append m = append_of(1, 3);
	struct raft_effect *e;

	begin();
	fake_have(6, WAL_NOOP, 0);
	fake_have(6, WAL_NOOP, 0);
	e = fx(RAFT_FX_TRUNCATE);
	e->seq = 1;
	e->truncate.from = 2;
	e = fx(RAFT_FX_APPEND);
	e->seq = 2;
	e->append.first = 2;
	e->append.n = 1;
	entries[0].payload = bytes_str("new");
	EQ_INT(message(MSG_NO_peer_append, &m), ERR_OK);
	EQ_STR(fake_journal(), "step RECV\ntruncate 2\nmark 1\nentry 2 term=7 kind=2 new\nmark 2\n");
	fake_close();
}

TEST(a_new_connection_is_an_end_and_a_beginning)
{
	begin();
	raftd_peers_ops.up(fake.n, 2);
	EQ_STR(fake_journal(), "step PEER_DOWN\nstep PEER_UP\n");
	raftd_peers_ops.down(fake.n, 2);
	EQ_STR(fake_journal(), "step PEER_DOWN\n");
	fake_close();
}

TEST(a_leader_that_must_wait_hears_that_we_live)
{
	begin();
	fake.n->term = 7;
	raftd_peers_ops.waiting(fake.n, 2);          /* not our leader */
	fake.n->leader = 2;
	raftd_peers_ops.waiting(fake.n, 3);
	EQ_STR(fake_journal(), "");
	raftd_peers_ops.waiting(fake.n, 2);
	EQ_STR(fake_journal(), "to 2: peer_append_resp{term=7 round=0 reject=false index=0 match=0 hint_index=0 "
			       "hint_term=0}\n");
	fx_hard_state_is(3, 8);
	(void)step(RAFT_EV_TICK);
	(void)fake_journal();
	raftd_peers_ops.waiting(fake.n, 2);          /* its term is not durable */
	EQ_STR(fake_journal(), "");
	core.n = core.given = 0;
	durable(3);
	(void)fake_journal();
	raftd_peers_ops.waiting(fake.n, 2);
	OK(strstr(fake_journal(), "peer_append_resp") != NULL);
	fake_close();
}

/* ---- the tick */

TEST(what_has_arrived_is_taken_in_before_a_tick)
{
	begin();
	raftd_tick(fake.n);
	EQ_STR(fake_journal(), "poll\nstep TICK\n");
	fake_close();
}

TEST(a_follower_that_holds_back_messages_does_not_judge_silence)
{
	mono_t now;

	begin();
	now = loop_now(fake.n->d->loop);
	core.deadline = now;
	fake.withheld = true;
	raftd_tick(fake.n);
	EQ_STR(fake_journal(), "poll\n");
	raftd_tick_arm(fake.n);
	OK(mono_before(now, fake.n->tick.due));      /* and does not spin on it */
	fake.withheld = false;
	fake.room = 100;                             /* no room for a vote of its own */
	raftd_tick(fake.n);
	EQ_STR(fake_journal(), "poll\n");
	fake.room = SMALL_ROOM;
	raftd_tick(fake.n);
	EQ_STR(fake_journal(), "poll\nstep TICK\n");
	fake_close();
}

TEST(a_leader_ticks_whatever_is_held_back)
{
	begin();
	fake.n->role = RAFT_LEADER;
	fake.withheld = true;
	fake.room = 0;
	raftd_tick(fake.n);
	EQ_STR(fake_journal(), "poll\nstep TICK\n");
	fake_close();
}

TESTS = {
	T(effects_are_carried_out_in_the_order_of_the_list),
	T(a_message_waits_for_the_sync_it_needs),
	T(what_is_durable_already_needs_no_waiting),
	T(effects_of_durable_go_before_the_messages_it_frees),
	T(a_full_hold_drops_and_counts),
	T(each_permission_is_answered_once_by_what_was_sent),
	T(a_full_or_broken_connection_is_answered_with_nothing_sent),
	T(a_heartbeat_goes_even_if_no_batch_would_and_is_not_answered),
	T(a_permission_dies_with_the_role),
	T(the_largest_append_fits_a_frame_and_the_room_that_was_asked_for),
	T(entries_wait_for_room_and_all_else_does_not),
	T(an_append_that_no_member_would_send_is_refused),
	T(received_entries_go_into_the_log_behind_those_it_has),
	T(a_truncation_comes_before_what_replaces_it),
	T(a_new_connection_is_an_end_and_a_beginning),
	T(a_leader_that_must_wait_hears_that_we_live),
	T(what_has_arrived_is_taken_in_before_a_tick),
	T(a_follower_that_holds_back_messages_does_not_judge_silence),
	T(a_leader_ticks_whatever_is_held_back),
};
TAP_MAIN
