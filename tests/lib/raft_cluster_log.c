/* SPDX-License-Identifier: Apache-2.0 */
/* A node's log in memory, and its disk: slow, and it forgets what was not synced. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/lib/raft_cluster_int.h"

void cluster_log_add(struct cluster_log *log, struct cluster_entry e)
{
	if (log->last + 1 >= log->cap) {
		log->cap = log->cap * 2 + 64;
		log->v = mem_grow(log->v, log->cap, sizeof *log->v);
		log->v[0] = (struct cluster_entry){0};
	}
	log->v[++log->last] = e;
}

void cluster_log_copy(struct cluster_log *to, const struct cluster_log *from)
{
	to->last = 0;
	for (uint64_t i = 1; i <= from->last; i++)
		cluster_log_add(to, from->v[i]);
	to->base = from->base;
}

/* An entry below the base can only be committed, so everybody's copy is the same. */
void cluster_log_reset(struct cluster *c, struct cluster_log *log, uint64_t index)
{
	log->last = 0;
	while (log->last < index)
		cluster_log_add(log, *cluster_committed_entry(c, log->last + 1));
	log->base = index;
}

struct cluster_entry cluster_entry_make(const struct cluster_log *log, uint64_t term,
					uint64_t value)
{
	uint64_t h = log->last ? log->v[log->last].hash : 0;

	h = (h ^ term) * 0xff51afd7ed558ccdu;
	h = ((h ^ (h >> 33)) + value) * 0xc4ceb9fe1a85ec53u;
	return (struct cluster_entry){term, value, h ^ (h >> 29)};
}

/* ---- the disk ---- */

static void op_free(struct cluster_op *op)
{
	free(op->entries);
}

static void op_write(struct cluster *c, struct cluster_node *n, const struct cluster_op *op,
		     uint32_t entries)
{
	switch (op->type) {
	case RAFT_FX_HARD_STATE:
		n->disk_term = op->a;
		n->disk_vote = op->b;
		break;
	case RAFT_FX_TRUNCATE:
		n->disk.last = op->a - 1;
		break;
	case RAFT_FX_APPEND:
		CHECK(op->a == n->disk.last + 1);
		for (uint32_t i = 0; i < entries; i++)
			cluster_log_add(&n->disk, op->entries[i]);
		break;
	case RAFT_FX_RESET:
		cluster_log_reset(c, &n->disk, op->a);
		break;
	default:
		panic("not for the disk");
	}
}

void cluster_disk_push(struct cluster *c, struct cluster_node *n, struct cluster_op op)
{
	if (op.seq != ++n->seq)
		cluster_fail(c, "node %llu: seq is not the next", (unsigned long long)n->id);
	if (n->op_count == n->op_cap) {
		n->op_cap = n->op_cap ? n->op_cap * 2 : 16;
		n->ops = mem_grow(n->ops, n->op_cap, sizeof *n->ops);
	}
	n->ops[n->op_count++] = op;
}

void cluster_disk_start(struct cluster *c, struct cluster_node *n)
{
	if (n->syncing || n->op_count == 0)
		return;
	n->syncing = true;
	cluster_schedule(c,
			 (struct cluster_event){
				 .at = mono_add_us(c->now, cluster_between_us(c, c->o.sync_min_us,
									      c->o.sync_max_us)),
				 .kind = EVENT_SYNCED,
				 .node = n->id,
				 .incarnation = n->incarnation,
				 .seq = n->seq,
			 });
}

static void disk_drop(struct cluster_node *n, size_t count)
{
	for (size_t i = 0; i < count; i++)
		op_free(&n->ops[i]);
	if (n->op_count > count)
		memmove(n->ops, n->ops + count, (n->op_count - count) * sizeof *n->ops);
	n->op_count -= count;
}

/* The sync up to seq is done. */
void cluster_disk_write(struct cluster *c, struct cluster_node *n, uint64_t seq)
{
	size_t done = 0;

	while (done < n->op_count && n->ops[done].seq <= seq) {
		op_write(c, n, &n->ops[done], n->ops[done].n);
		done++;
	}
	disk_drop(n, done);
	n->syncing = false;
	n->durable_seq = seq;
}

/* Of what was not synced some beginning may have reached the disk all the same. */
void cluster_disk_crash(struct cluster *c, struct cluster_node *n)
{
	size_t keep = cluster_rand(c, n->op_count + 1);

	for (size_t i = 0; i < keep; i++)
		op_write(c, n, &n->ops[i], n->ops[i].n);
	if (keep < n->op_count && n->ops[keep].n > 0)
		op_write(c, n, &n->ops[keep], (uint32_t)cluster_rand(c, n->ops[keep].n));
	cluster_disk_clear(n);
	n->syncing = false;
}

void cluster_disk_clear(struct cluster_node *n)
{
	disk_drop(n, n->op_count);
}
