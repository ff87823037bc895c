/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a request: from a caller to its answer, its deadline, or the caller's end. */
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "gatewayd/gateway.h"

void *request_new(struct gateway *g, struct caller *k, uint32_t id, const struct request_kind *kind, size_t size)
{
	struct request *r = mem_alloc(size);

	r->caller = k;
	r->id = id;
	r->kind = kind;
	r->deadline = mono_add_ms(loop_now(g->loop), g->timeout_ms);
	list_push(&k->requests, &r->by_caller);
	list_push(&g->deadlines, &r->by_deadline);
	g->n_requests++;
	g->n_questions += kind->question;
	return r;
}

void request_short(struct gateway *g, struct request *r, int64_t ms)
{
	r->deadline = mono_add_ms(loop_now(g->loop), ms);
	list_remove(&r->by_deadline);
	list_push(&g->short_deadlines, &r->by_deadline);
}

void request_inherit(struct request *r, struct request *old)
{
	r->deadline = old->deadline;
	list_remove(&r->by_deadline);
	list_insert_before(&old->by_deadline, &r->by_deadline);
}

static void request_take_out(struct gateway *g, struct request *r)
{
	list_remove(&r->by_caller);
	list_remove(&r->by_deadline);
	g->n_requests--;
	g->n_questions -= r->kind->question;
}

void request_forget(struct gateway *g, struct request *r)
{
	request_take_out(g, r);
	mem_free(r);
}

void request_error(struct gateway *g, struct request *r, int err)
{
	struct caller *k = r->caller;
	uint32_t id = r->id;

	request_forget(g, r);
	caller_error(k, id, err);
}

/* The result may lie in the request. */
void request_result(struct gateway *g, struct request *r, const struct msg_desc *d, const void *result)
{
	request_take_out(g, r);
	caller_result(r->caller, r->id, d, result, ERR_RESULT_LOST);
	mem_free(r);
}

struct kv_header gateway_header(const struct gateway *g, int64_t revision)
{
	return (struct kv_header){g->config->cluster_id, g->config->node_id, revision, g->raft.state.term};
}

static void request_expire_one(struct gateway *g, struct request *r)
{
	list_remove(&r->by_deadline);
	if (r->kind->expire != NULL) {
		r->kind->expire(g, r);
		return;
	}
	counter_inc(&g->counters.timeouts_total);
	request_error(g, r, r->kind->give_up(g, r));
}

void request_expire(struct gateway *g, mono_t now)
{
	struct list *lists[] = {&g->deadlines, &g->short_deadlines}, *l;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		while ((l = list_first(lists[i])) != NULL) {
			struct request *r = container_of(l, struct request, by_deadline);

			if (mono_before(now, r->deadline))
				break;
			request_expire_one(g, r);
		}
	}
}

void request_drop(struct gateway *g, struct caller *k)
{
	struct list *l;

	while ((l = list_first(&k->requests)) != NULL) {
		struct request *r = container_of(l, struct request, by_caller);

		(void)r->kind->give_up(g, r);
		request_forget(g, r);
	}
	CHECK(list_empty(&k->parked));
}
