/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the cluster harness offer each other. */
#ifndef QUORATE_RAFT_CLUSTER_INT_H
#define QUORATE_RAFT_CLUSTER_INT_H

#include "tests/lib/raft_cluster.h"

enum event_kind {
	EVENT_MESSAGE, EVENT_SYNCED, EVENT_GRANT,
	EVENT_SNAPSHOT_SEND, EVENT_SNAPSHOT, EVENT_SNAPSHOT_END
};

struct cluster_event {
	mono_t at;
	uint64_t order;
	enum event_kind kind;
	uint64_t node;
	uint32_t incarnation;            /* of the process it is for, if it is not from outside */
	struct raft_msg msg;             /* MESSAGE; its terms and values are owned here */
	uint64_t *terms, *values;
	uint64_t seq;                    /* SYNCED */
	uint64_t peer, index, term;      /* SNAPSHOT*: index with its term */
	struct cluster_grant grant;
};

/* What a step of a node was fed with: the payloads of its APPEND. */
struct cluster_input {
	const uint64_t *values;          /* of the message */
	uint64_t proposed;               /* of the first proposal */
};

/* raft_cluster.c */
int64_t cluster_between_us(struct cluster *c, uint32_t low, uint32_t high);
void cluster_schedule(struct cluster *c, struct cluster_event ev);
void cluster_send(struct cluster *c, struct cluster_node *n, const struct raft_msg *m,
		  const uint64_t *values);

/* raft_cluster_log.c */
void cluster_log_add(struct cluster_log *log, struct cluster_entry e);
void cluster_log_copy(struct cluster_log *to, const struct cluster_log *from);
void cluster_log_reset(struct cluster *c, struct cluster_log *log, uint64_t index);
struct cluster_entry cluster_entry_make(const struct cluster_log *log, uint64_t term,
					uint64_t value);
void cluster_disk_push(struct cluster *c, struct cluster_node *n, struct cluster_op op);
void cluster_disk_start(struct cluster *c, struct cluster_node *n);
void cluster_disk_write(struct cluster *c, struct cluster_node *n, uint64_t seq);
void cluster_disk_crash(struct cluster *c, struct cluster_node *n);
void cluster_disk_clear(struct cluster_node *n);

/* raft_cluster_driver.c */
int cluster_node_step(struct cluster *c, struct cluster_node *n, struct raft_event ev,
		      const struct cluster_input *in);
void cluster_grant_use(struct cluster *c, struct cluster_node *n, const struct cluster_grant *g);
void cluster_synced(struct cluster *c, struct cluster_node *n, uint64_t seq);

/* raft_cluster_trace.c */
void cluster_trace_event(struct cluster *c, const struct cluster_node *n,
			 const struct raft_event *ev);
void cluster_trace_effect(struct cluster *c, const struct cluster_node *n,
			  const struct raft_effect *e);

/* raft_oracle.c */
struct cluster_oracle *oracle_create(void);
void oracle_destroy(struct cluster_oracle *o);
void oracle_appended(struct cluster *c, struct cluster_node *n, uint64_t index);
void oracle_sending(struct cluster *c, struct cluster_node *n, const struct raft_msg *m);
void oracle_committed(struct cluster *c, struct cluster_node *n, uint64_t told);
void oracle_stepped(struct cluster *c, struct cluster_node *n);
void oracle_read(struct cluster *c, struct cluster_node *n, const struct raft_effect *e);

#endif
