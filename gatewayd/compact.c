/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction by itself. Every node remembers when which revision was the newest, so a new leader
 * needs not begin to count; only the first gatewayd of the leader's node asks for anything. Two who
 * do, since one does not know yet that it leads no more, do no harm: the log takes one compaction after
 * the other, and a second one of a revision changes nothing.
 */
#include <inttypes.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "gatewayd/gateway.h"

static void compact_failed(struct caller *k, uint32_t id, int err)
{
	struct gateway *g = container_of(k, struct gateway, compacter);

	(void)id;
	if (err != ERR_COMPACTED)        /* somebody else's went further */
		log_info("no compaction by itself this time revision=%" PRId64 " error=\"%s\"",
			 g->store.progress.revision, err_text(err));
}

static void compact_done(struct caller *k, uint32_t id, const struct msg_desc *d, const void *result, int lost)
{
	struct gateway *g = container_of(k, struct gateway, compacter);

	(void)id;
	(void)d;
	(void)result;
	(void)lost;
	counter_inc(&g->counters.compactions_total);
}

static const struct caller_ops compacter_ops = {.form = &form_native, .error = compact_failed, .result = compact_done};

static bool compact_is_mine(const struct gateway *g)
{
	return g->instance == 0 && g->raft.up && g->raft.state.leader == g->config->node_id &&
	       list_empty(&g->compacter.requests);
}

static void compact_look(void *arg)
{
	struct gateway *g = arg;
	const struct store_progress *p = &g->store.progress;
	struct rpc_request rpc = {0, bytes_str(""), bytes_str("")};
	struct kv_compact compact = {0};
	mono_t now = loop_now(g->loop);

	loop_timer_set(g->loop, &g->retention_timer, mono_add_ms(now, retention_look_ms(&g->retention)));
	if (!g->store.known)
		return;
	compact.revision = retention_look(&g->retention, now, p->revision, p->compact_revision);
	if (compact.revision > 0 && compact_is_mine(g))
		write_compact(g, &g->compacter, &rpc, &compact);
}

void compact_init(struct gateway *g)
{
	caller_init(&g->compacter, &compacter_ops);
	loop_timer_init(&g->retention_timer, compact_look, g);
	retention_init(&g->retention, g->config->history_s, g->config->history_revisions);
	if (retention_look_ms(&g->retention) > 0)
		loop_timer_set(g->loop, &g->retention_timer,
			       mono_add_ms(loop_now(g->loop), retention_look_ms(&g->retention)));
}

void compact_free(struct gateway *g)
{
	loop_timer_clear(g->loop, &g->retention_timer);
	request_drop(g, &g->compacter);
}
