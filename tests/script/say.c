/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the transcripts. An entry is written INDEX@TERM. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "tests/script/world.h"

static const char *name_of(const struct world *w, uint64_t id)
{
	return id ? w->node[id].name : "nobody";
}

void say(struct world *w, const char *fmt, ...)
{
	char line[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	buf_printf(&w->out, "    %s\n", line);
}

static void say_append(struct buf *b, const struct raft_msg_append *a, const uint64_t *terms)
{
	buf_printf(b, ": after %" PRIu64 "@%" PRIu64, a->prev_index, a->prev_term);
	if (a->n == 0)
		buf_str(b, " nothing");
	for (uint32_t i = 0; i < a->n; i++)
		buf_printf(b, " %" PRIu64 "@%" PRIu64, a->prev_index + 1 + i, terms[i]);
	buf_printf(b, ", commit %" PRIu64, a->commit);
	if (a->round)
		buf_printf(b, ", read round %" PRIu64, a->round);
}

static void say_append_resp(struct buf *b, const struct raft_msg_append_resp *a)
{
	if (a->reject && a->index == 0)
		buf_str(b, ": your term is over");
	else if (a->reject)
		buf_printf(b, ": no such %" PRIu64 ", perhaps after %" PRIu64 "@%" PRIu64, a->index,
			   a->hint_index, a->hint_term);
	else
		buf_printf(b, ": yes to %" PRIu64 ", synced to %" PRIu64, a->index, a->match);
	if (a->round)
		buf_printf(b, ", read round %" PRIu64, a->round);
}

static void say_msg(struct buf *b, const struct raft_msg *m, const uint64_t *terms)
{
	buf_printf(b, "%s term %" PRIu64, raft_msg_name(m->type), m->term);
	switch (m->type) {
	case RAFT_MSG_PREVOTE:
	case RAFT_MSG_VOTE:
		buf_printf(b, ": my log ends %" PRIu64 "@%" PRIu64 "%s", m->vote.last_index,
			   m->vote.last_term, m->vote.transfer ? ", the leader chose me" : "");
		break;
	case RAFT_MSG_PREVOTE_RESP:
	case RAFT_MSG_VOTE_RESP:
		buf_str(b, m->vote_resp.granted ? ": yes" : ": no");
		break;
	case RAFT_MSG_APPEND:
		say_append(b, &m->append, terms);
		break;
	case RAFT_MSG_APPEND_RESP:
		say_append_resp(b, &m->append_resp);
		break;
	case RAFT_MSG_READ_RESP:
		if (m->read.ok)
			buf_printf(b, ": serve once %" PRIu64 " is applied", m->read.index);
		else
			buf_str(b, ": ask another");
		break;
	default:
		break;
	}
}

void say_mail(struct world *w, const char *prefix, const struct world_mail *m)
{
	struct buf b;

	buf_init(&b, 0);
	if (m->snapshot)
		buf_printf(&b, "snapshot of all up to %" PRIu64 "@%" PRIu64, m->snapshot,
			   m->snapshot_term);
	else
		say_msg(&b, &m->m, m->terms);
	say(w, "%s%s->%s %.*s", prefix, name_of(w, m->m.from), name_of(w, m->m.to), (int)b.len,
	    (const char *)b.data);
	buf_free(&b);
}

static void say_role(struct world *w, const struct world_node *n, const struct raft_effect *e)
{
	static const char *const words[RAFT_ROLE_COUNT] = {
		[RAFT_FOLLOWER] = "is a follower without leader in",
		[RAFT_PRECANDIDATE] = "asks for pre-votes in",
		[RAFT_CANDIDATE] = "is a candidate in",
		[RAFT_LEADER] = "LEADS",
	};

	if (e->role.role == RAFT_FOLLOWER && e->role.leader)
		say(w, "%s follows %s in term %" PRIu64, n->name, name_of(w, e->role.leader),
		    e->role.term);
	else
		say(w, "%s %s term %" PRIu64 " (%s)", n->name, words[e->role.role], e->role.term,
		    e->role.reason);
}

static void say_appended(struct world *w, const struct world_node *n, const struct raft_effect *e)
{
	struct buf b;

	buf_init(&b, 0);
	for (uint64_t i = e->append.first; i < e->append.first + e->append.n; i++)
		buf_printf(&b, " %" PRIu64 "@%" PRIu64, i, n->mem.terms[i]);
	say(w, "%s appends%.*s", n->name, (int)b.len, (const char *)b.data);
	buf_free(&b);
}

/* What of it can only be seen when messages are: votes on their way to the disk, what waits. */
static void say_detail(struct world *w, const struct world_node *n, const struct raft_effect *e)
{
	if (e->type == RAFT_FX_HARD_STATE)
		say(w, "%s writes: term %" PRIu64 ", vote for %s", n->name, e->hard_state.term,
		    name_of(w, e->hard_state.vote));
	else if (e->type == RAFT_FX_SEND && e->send.need_seq > n->durable_seq && n->slow)
		say(w, "%s holds its %s to %s until its disk is synced", n->name,
		    raft_msg_name(e->send.msg.type), name_of(w, e->send.msg.to));
}

void say_effect(struct world *w, const struct world_node *n, const struct raft_effect *e)
{
	switch (e->type) {
	case RAFT_FX_ROLE:
		say_role(w, n, e);
		break;
	case RAFT_FX_APPEND:
		say_appended(w, n, e);
		break;
	case RAFT_FX_TRUNCATE:
		say(w, "%s removes all from %" PRIu64 " on", n->name, e->truncate.from);
		break;
	case RAFT_FX_RESET:
		say(w, "%s begins its log anew after %" PRIu64 "@%" PRIu64, n->name, e->reset.index,
		    e->reset.term);
		break;
	case RAFT_FX_COMMIT:
		say(w, "%s applies up to %" PRIu64, n->name, e->commit.index);
		break;
	case RAFT_FX_READ_OK:
		say(w, "read %" PRIu64 " at %s: serve once %" PRIu64 " is applied", e->read.ctx, n->name,
		    e->read.index);
		break;
	case RAFT_FX_READ_FAIL:
		say(w, "read %" PRIu64 " at %s fails: ask again", e->read.ctx, n->name);
		break;
	case RAFT_FX_SNAPSHOT:
		say(w, "%s sends %s a snapshot", n->name, name_of(w, e->peer.peer));
		break;
	case RAFT_FX_TRANSFER_ABORTED:
		say(w, "%s leads on, %s has not taken over", n->name, name_of(w, e->peer.peer));
		break;
	default:
		if (!w->terse)
			say_detail(w, n, e);
		break;
	}
}

/* Refusals are only counted by the core. */
void say_refusal(struct world *w, uint64_t id, const struct raft_status *before)
{
	struct raft_status now = world_status(w, id);

	for (int why = 0; why < RAFT_REFUSAL_COUNT; why++) {
		if (now.refused[why] == before->refused[why])
			continue;
		if (!w->terse)
			say(w, "%s refuses it: %s", w->node[id].name,
			    raft_refusal_text((enum raft_refusal)why));
		if (why > RAFT_REFUSED_STICKY)
			world_fail(w, "%s was lied to: %s", w->node[id].name,
				   raft_refusal_text((enum raft_refusal)why));
	}
}

/* In brackets what the disk has not got yet. */
void say_terms(struct buf *b, const struct world_log *log, const struct world_log *disk)
{
	bool open = false;

	if (log->base)
		buf_printf(b, " ..%" PRIu64 "@%" PRIu64, log->base, log->terms[log->base]);
	for (uint64_t i = log->base + 1; i <= log->last; i++) {
		bool synced = disk == NULL || (i <= disk->last && i > disk->base &&
					       disk->terms[i] == log->terms[i]);

		buf_printf(b, " %s%" PRIu64, !synced && !open ? "[" : "", log->terms[i]);
		open |= !synced;
	}
	if (open)
		buf_str(b, "]");
}

void say_node(struct world *w, const struct world_node *n)
{
	static const char *const words[RAFT_ROLE_COUNT] = {"follower", "precand.", "candid.", "LEADER"};
	struct raft_status s = {0};
	struct buf b;

	buf_init(&b, 0);
	if (n->r == NULL) {
		say_terms(&b, &n->disk, NULL);
		say(w, "%-2s down      term %" PRIu64 "  vote %-6s           log%.*s", n->name,
		    n->disk.term, name_of(w, n->disk.vote), (int)b.len, (const char *)b.data);
	} else {
		raft_status(n->r, w->now, &s);
		say_terms(&b, &n->mem, &n->disk);
		say(w, "%-2s %-8s  term %" PRIu64 "  vote %-6s  commit %-2" PRIu64 "  log%.*s", n->name,
		    words[s.role], s.term, name_of(w, s.vote), s.commit, (int)b.len,
		    (const char *)b.data);
	}
	buf_free(&b);
}
