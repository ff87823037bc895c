/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's duties, as raft.h states them. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/lib/raft_cluster_int.h"

static void held_push(struct cluster_node *n, const struct raft_msg *m, uint64_t need_seq)
{
	if (n->held_count == n->held_cap) {
		n->held_cap = n->held_cap ? n->held_cap * 2 : 16;
		n->held = mem_grow(n->held, n->held_cap, sizeof *n->held);
	}
	n->held[n->held_count++] = (struct cluster_held){*m, need_seq};
}

static void held_release(struct cluster *c, struct cluster_node *n)
{
	size_t keep = 0;

	for (size_t i = 0; i < n->held_count; i++) {
		if (n->held[i].need_seq > n->durable_seq)
			n->held[keep++] = n->held[i];
		else
			cluster_send(c, n, &n->held[i].msg, NULL);
	}
	n->held_count = keep;
}

static void do_append(struct cluster *c, struct cluster_node *n, const struct raft_effect *e,
		      const struct raft_msg *msg, const struct cluster_input *in)
{
	struct cluster_op op = {
		.type = e->type, .seq = e->seq, .a = e->append.first, .n = e->append.n};

	if (e->append.first != n->mem.last + 1 || e->append.n == 0) {
		cluster_fail(c, "node %llu appends with a gap", (unsigned long long)n->id);
		return;
	}
	op.entries = mem_array(op.n, sizeof *op.entries);
	for (uint32_t i = 0; i < op.n; i++) {
		uint64_t term = e->append.term, value = 0;

		if (e->append.own)
			value = in->proposed + i;
		else if (!e->append.noop) {
			term = msg->append.terms[e->append.skip + i];
			value = in->values[e->append.skip + i];
		}
		op.entries[i] = cluster_entry_make(&n->mem, term, value);
		cluster_log_add(&n->mem, op.entries[i]);
		oracle_appended(c, n, n->mem.last);
	}
	cluster_disk_push(c, n, op);
}

static struct cluster_grant grant_make(const struct cluster_node *n, const struct raft_effect *e)
{
	return (struct cluster_grant){*e, n->epoch, n->link_epoch[e->replicate.peer]};
}

static void grant_push(struct cluster_node *n, struct cluster_grant g)
{
	if (n->grant_count == n->grant_cap) {
		n->grant_cap = n->grant_cap ? n->grant_cap * 2 : 16;
		n->grants = mem_grow(n->grants, n->grant_cap, sizeof *n->grants);
	}
	n->grants[n->grant_count++] = g;
}

/* Builds the APPEND that a REPLICATE permits, with entries up to `last`. */
static void send_append(struct cluster *c, struct cluster_node *n, const struct raft_effect *e,
			uint64_t last)
{
	uint64_t terms[LIMIT_APPEND_ENTRIES], values[LIMIT_APPEND_ENTRIES];
	struct raft_msg m = {.type = RAFT_MSG_APPEND, .from = n->id, .to = e->replicate.peer,
			     .term = e->replicate.term};

	m.append.prev_index = e->replicate.prev_index;
	m.append.prev_term = e->replicate.prev_term;
	m.append.commit = e->replicate.commit;
	m.append.round = e->replicate.round;
	for (uint64_t i = e->replicate.first; i <= last; i++) {
		terms[m.append.n] = n->mem.v[i].term;
		values[m.append.n++] = n->mem.v[i].value;
	}
	m.append.terms = terms;
	cluster_send(c, n, &m, values);
}

static void do_replicate(struct cluster *c, struct cluster_node *n, const struct raft_effect *e)
{
	if (e->replicate.last < e->replicate.first) {
		send_append(c, n, e, e->replicate.last);
	} else if (cluster_chance(c, c->o.grant_delay_permille)) {
		cluster_schedule(c, (struct cluster_event){
			.at = mono_add_us(c->now, cluster_between_us(c, 1, 5000)),
			.kind = EVENT_GRANT,
			.node = n->id,
			.incarnation = n->incarnation,
			.grant = grant_make(n, e),
		});
	} else {
		grant_push(n, grant_make(n, e));
	}
}

static void do_effect(struct cluster *c, struct cluster_node *n, const struct raft_effect *e,
		      const struct raft_event *ev, const struct cluster_input *in)
{
	cluster_trace_effect(c, n, e);
	switch (e->type) {
	case RAFT_FX_HARD_STATE:
		cluster_disk_push(c, n,
				  (struct cluster_op){.type = e->type,
						      .seq = e->seq,
						      .a = e->hard_state.term,
						      .b = e->hard_state.vote});
		break;
	case RAFT_FX_TRUNCATE:
		n->mem.last = e->truncate.from - 1;
		cluster_disk_push(
			c, n,
			(struct cluster_op){.type = e->type, .seq = e->seq, .a = e->truncate.from});
		break;
	case RAFT_FX_RESET:
		cluster_log_reset(c, &n->mem, e->reset.index);
		cluster_disk_push(
			c, n,
			(struct cluster_op){.type = e->type, .seq = e->seq, .a = e->reset.index});
		break;
	case RAFT_FX_APPEND:
		do_append(c, n, e, ev->msg, in);
		break;
	case RAFT_FX_SEND:
		if (e->send.need_seq > n->durable_seq)
			held_push(n, &e->send.msg, e->send.need_seq);
		else
			cluster_send(c, n, &e->send.msg, NULL);
		break;
	case RAFT_FX_REPLICATE:
		do_replicate(c, n, e);
		break;
	case RAFT_FX_COMMIT:
		oracle_committed(c, n, e->commit.index);
		n->applied = e->commit.index;
		break;
	case RAFT_FX_ROLE:
		n->epoch++;
		c->role_changes++;
		break;
	case RAFT_FX_READ_OK:
	case RAFT_FX_READ_FAIL:
		oracle_read(c, n, e);
		break;
	case RAFT_FX_SNAPSHOT:
		cluster_schedule(
			c, (struct cluster_event){
				   .at = mono_add_us(c->now, cluster_between_us(c, 1000, 50000)),
				   .kind = EVENT_SNAPSHOT_SEND,
				   .node = n->id,
				   .incarnation = n->incarnation,
				   .peer = e->peer.peer});
		break;
	case RAFT_FX_TRANSFER_ABORTED:
		c->aborted_transfers++;
		break;
	default:
		cluster_fail(c, "unknown effect");
	}
}

void cluster_grant_use(struct cluster *c, struct cluster_node *n, const struct cluster_grant *g)
{
	const struct raft_effect *e = &g->effect;
	struct raft_event sent = {
		.type = RAFT_EV_SENT, .peer = e->replicate.peer, .grant = e->replicate.grant};
	uint64_t n_max = cluster_rand(c, c->o.append_max) + 1;

	if (g->epoch != n->epoch || g->link_epoch != n->link_epoch[e->replicate.peer])
		return;
	sent.last = e->replicate.prev_index + n_max;
	if (sent.last > e->replicate.last)
		sent.last = e->replicate.last;
	if (cluster_chance(c, c->o.grant_empty_permille))
		sent.last = e->replicate.prev_index;
	else
		send_append(c, n, e, sent.last);
	sent.bytes = (sent.last - e->replicate.prev_index) * 100;
	cluster_node_step(c, n, sent, NULL);
}

int cluster_node_step(struct cluster *c, struct cluster_node *n, struct raft_event ev,
		      const struct cluster_input *in)
{
	ev.now = c->now;
	cluster_trace_event(c, n, &ev);
	c->steps++;

	int rc = raft_step(n->r, &ev, &n->fx);

	for (uint32_t i = 0; i < n->fx.n && !c->failure[0]; i++)
		do_effect(c, n, &n->fx.v[i], &ev, in);
	oracle_stepped(c, n);
	cluster_disk_start(c, n);
	if (n->using_grants)
		return rc;
	n->using_grants = true;
	while (n->grant_count > 0 && !c->failure[0]) {
		struct cluster_grant g = n->grants[--n->grant_count];

		cluster_grant_use(c, n, &g);
	}
	n->using_grants = false;
	return rc;
}

int cluster_event(struct cluster *c, uint64_t id, struct raft_event ev)
{
	return cluster_node_step(c, &c->nodes[id], ev, NULL);
}

int cluster_propose(struct cluster *c, uint64_t id, uint32_t n)
{
	struct cluster_input in = {.proposed = c->next_value};

	c->next_value += n;
	return cluster_node_step(c, &c->nodes[id],
				 (struct raft_event){.type = RAFT_EV_PROPOSE, .n = n}, &in);
}

uint64_t cluster_read(struct cluster *c, uint64_t id)
{
	uint64_t ctx = c->read_count;

	if (c->read_count == c->read_cap) {
		c->read_cap = c->read_cap ? c->read_cap * 2 : 64;
		c->reads = mem_grow(c->reads, c->read_cap, sizeof *c->reads);
	}
	c->reads[c->read_count++] = (struct cluster_read){.node = id, .floor = cluster_committed(c),
							  .incarnation = c->nodes[id].incarnation};
	cluster_event(c, id, (struct raft_event){.type = RAFT_EV_READ, .ctx = ctx});
	return ctx;
}

void cluster_deliver(struct cluster *c, const struct raft_msg *msg)
{
	uint64_t values[LIMIT_APPEND_ENTRIES] = {0};
	struct cluster_input in = {.values = values};

	cluster_node_step(c, &c->nodes[msg->to],
			  (struct raft_event){.type = RAFT_EV_RECV, .msg = msg}, &in);
}

void cluster_synced(struct cluster *c, struct cluster_node *n, uint64_t seq)
{
	cluster_disk_write(c, n, seq);
	held_release(c, n);
	cluster_node_step(c, n,
			  (struct raft_event){.type = RAFT_EV_DURABLE,
					      .seq = seq,
					      .last_index = n->disk.last,
					      .last_term = n->disk.v[n->disk.last].term},
			  NULL);
}
