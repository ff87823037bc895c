/* SPDX-License-Identifier: Apache-2.0 */
/* Calls as other threads see them: begun, waited for, cancelled. */
#include <stdlib.h>

#include "base/check.h"
#include "client/lib/core.h"
#include "client/lib/result.h"

enum { CALL_SLOT_BITS = 32 };
#define CALL_OF(l) container_of(container_of((l), struct queue_item, node), struct call, item)

/* ---- made and freed ---- */

static int call_encode(struct call *c, const struct quorate_op *op, struct quorate_error *e)
{
	struct bytes prefix = bytes_of(c->view->prefix.data, c->view->prefix.size);
	const char *why = NULL;
	int rc = request_encode(op, prefix, &c->request, &why);

	if (rc != ERR_OK)
		return lib_error(e, rc, err_again(rc), "%s", why != NULL ? why : err_text(rc));
	if (op->endpoint == NULL)
		return ERR_OK;
	c->endpoint = strdup(op->endpoint);
	return c->endpoint != NULL ? ERR_OK : lib_error_of(e, ERR_NO_MEMORY);
}

struct call *call_make(struct quorate *q, const struct quorate_op *op, int64_t timeout_ms,
		       struct quorate_error *e)
{
	struct call *c;

	if (view_usable(q, e) != ERR_OK)
		return NULL;
	c = malloc(sizeof *c);
	if (c == NULL) {
		(void)lib_error_of(e, ERR_NO_MEMORY);
		return NULL;
	}
	memset(c, 0, offsetof(struct call, at));
	c->at[0] = 0;
	list_init(&c->item.node);
	list_init(&c->cancel_node);
	c->view = q;
	c->kind = op->kind;
	c->deadline = core_deadline(q->core, timeout_ms);
	if (call_encode(c, op, e) != ERR_OK) {
		call_free(c);
		return NULL;
	}
	c->box = result_make(c->kind, bytes_of(q->prefix.data, q->prefix.size), CALL_RESULT_BYTES,
			     q->core->o.max_result_bytes);
	if (c->box == NULL) {
		(void)lib_error_of(e, ERR_NO_MEMORY);
		call_free(c);
		return NULL;
	}
	c->repeatable = c->request.read || (op->flags & QUORATE_IDEMPOTENT) != 0;
	return c;
}

void call_free(struct call *c)
{
	quorate_result_free(c->result);
	result_drop(c->box);
	free(c->text);
	request_free(&c->request);
	free(c->endpoint);
	free(c);
}

/* Without memory the text is that of the code. */
void call_say(struct call *c, int code, enum err_again again, const char *text, const char *endpoint)
{
	size_t len = strnlen(endpoint, sizeof c->at - 1);
	char *copy = code != ERR_OK && text != NULL ? strdup(text) : NULL;

	free(c->text);
	c->text = copy;
	c->code = code;
	c->again = again;
	memcpy(c->at, endpoint, len);
	c->at[len] = 0;
}

void call_error(const struct call *c, struct quorate_error *e)
{
	if (c->code != ERR_OK)
		(void)lib_error(e, c->code, c->again, "%s", c->text != NULL ? c->text : err_text(c->code));
	else
		lib_error_clear(e);
	lib_error_at(e, c->at);
}

/* ---- its place: with the lock held ---- */

static void call_take_slot(struct core *core, struct call *c)
{
	uint32_t i = core->first_free;

	if (i != UINT32_MAX)
		core->first_free = core->slots[i].next_free;
	else
		i = core->n_fresh++;
	CHECK(i < core->o.max_calls);
	core->slots[i].call = c;
	c->id = ((uint64_t)core->slots[i].uses << CALL_SLOT_BITS) + i + 1;
	core->n_calls++;
	c->bytes = c->request.params.len;
	core->bytes += c->bytes;
}

static struct call *call_find(struct core *core, uint64_t id)
{
	uint64_t i = (id & UINT32_MAX) - 1;

	if (i >= core->n_fresh || core->slots[i].uses != id >> CALL_SLOT_BITS)
		return NULL;
	return core->slots[i].call;
}

static void call_leave_slot(struct core *core, struct call *c)
{
	uint32_t i = (uint32_t)((c->id & UINT32_MAX) - 1);

	if (c->id == 0)
		return;
	CHECK(core->slots[i].call == c);
	core->slots[i].call = NULL;
	core->slots[i].uses++;
	core->slots[i].next_free = core->first_free;
	core->first_free = i;
	core->n_calls--;
	core->bytes -= c->bytes;
	if (core->room_wanted > 0)
		(void)pthread_cond_broadcast(&core->room);
}

static bool call_has_room(const struct core *core, const struct call *c)
{
	return core->n_calls < core->o.max_calls &&
	       (core->bytes == 0 || core->bytes + c->request.params.len <= core->o.max_bytes);
}

static int call_wait_room(struct core *core, const struct call *c, bool wait)
{
	bool in_time = true;

	while (!atomic_load(&c->view->canceled) && !call_has_room(core, c)) {
		if (!wait)
			return ERR_FULL;
		if (!in_time)
			return ERR_TIMEOUT;
		core->room_wanted++;
		in_time = lib_cond_wait(&core->room, &core->lock, c->deadline);
		core->room_wanted--;
	}
	return atomic_load(&c->view->canceled) ? ERR_CANCELED : ERR_OK;
}

static void call_cancel(struct core *core, struct call *c)
{
	if (c->done || c->canceled)
		return;
	c->canceled = true;
	list_push(&core->canceled, &c->cancel_node);
}

/* ---- begun and ended ---- */

int call_begin(struct call *c, bool wait, uint64_t *id, struct quorate_error *e)
{
	struct core *core = c->view->core;
	bool wake = false;
	int rc = ERR_OK;

	(void)pthread_mutex_lock(&core->lock);
	if (c->ended == NULL)
		rc = call_wait_room(core, c, wait);
	if (rc == ERR_OK) {
		if (c->ended == NULL)
			call_take_slot(core, c);
		if (c->queue != NULL)
			queue_hold(c->queue);
		view_hold(c->view);
		if (id != NULL)
			*id = c->id;
		list_push(&core->incoming, &c->item.node);
		wake = core_must_wake(core);
	}
	(void)pthread_mutex_unlock(&core->lock);
	if (wake)
		core_wake(core);
	if (rc != ERR_OK)
		return lib_error(e, rc, ERR_AGAIN_SAFE, "%s", rc == ERR_TIMEOUT ?
				 "too many calls are under way, for too long" : err_text(rc));
	return ERR_OK;
}

/* With the lock held. */
static void call_leave(struct core *core, struct call *c)
{
	call_leave_slot(core, c);
	view_drop(c->view);
	if (c->queue != NULL)
		queue_drop(c->queue);
}

/* Out of a queue, which is before its callback: so that finds room for another. With the lock held. */
static void call_taken(struct queue_item *item)
{
	struct call *c = container_of(item, struct call, item);

	call_leave(c->view->core, c);
}

static void call_run(struct queue_item *item)
{
	struct call *c = container_of(item, struct call, item);
	struct quorate_result *r = c->result;
	struct quorate_error e;

	c->result = NULL;
	call_error(c, &e);
	c->tell(c->arg, r, &e);
	call_free(c);
}

/* From a queue that is closed. */
static void call_drop(struct queue_item *item)
{
	call_free(container_of(item, struct call, item));
}

void call_cancel_queue(struct core *core, const struct quorate_queue *queue)
{
	for (uint32_t i = 0; i < core->n_fresh; i++) {
		struct call *c = core->slots[i].call;

		if (c != NULL && c->queue == queue)
			call_cancel(core, c);
	}
}

void call_hand_out(struct core *core, struct list *ended)
{
	struct list mine, *l;

	if (list_empty(ended))
		return;
	list_init(&mine);
	(void)pthread_mutex_lock(&core->lock);
	while ((l = list_pop(ended)) != NULL) {
		struct call *c = CALL_OF(l);

		list_remove(&c->cancel_node);
		c->done = true;
		if (c->ended != NULL || (c->queue != NULL && queue_closed(c->queue))) {
			call_leave(core, c);
			list_push(&mine, l);
		} else if (c->queue != NULL) {
			queue_push(c->queue, &c->item);
		} else {
			call_leave(core, c);
			(void)pthread_cond_signal(&c->done_cond);
		}
	}
	(void)pthread_mutex_unlock(&core->lock);
	while ((l = list_pop(&mine)) != NULL) {
		struct call *c = CALL_OF(l);

		if (c->ended != NULL)
			c->ended(c);
		else
			call_free(c);
	}
}

int call_wait(struct quorate *q, const struct quorate_op *op, int64_t timeout_ms,
	      struct quorate_result **r, bool *handed, struct quorate_error *e)
{
	struct core *core = q->core;
	struct call *c;
	int rc;

	*handed = false;
	if (r != NULL)
		*r = NULL;
	c = call_make(q, op, timeout_ms, e);
	if (c == NULL)
		return e->code;
	(void)pthread_cond_init(&c->done_cond, NULL);
	rc = call_begin(c, true, NULL, e);
	if (rc == ERR_OK) {
		(void)pthread_mutex_lock(&core->lock);
		while (!c->done)
			(void)pthread_cond_wait(&c->done_cond, &core->lock);
		(void)pthread_mutex_unlock(&core->lock);
		rc = c->code;
		call_error(c, e);
		*handed = c->handed;
		if (r != NULL) {
			*r = c->result;
			c->result = NULL;
		}
	}
	(void)pthread_cond_destroy(&c->done_cond);
	call_free(c);
	return rc;
}

/* ---- the public calls ---- */

int quorate_call(struct quorate *q, const struct quorate_op *op, int64_t timeout_ms,
		 struct quorate_result **r, struct quorate_error *e)
{
	struct quorate_error own;
	bool handed;

	return call_wait(q, op, timeout_ms, r, &handed, e != NULL ? e : &own);
}

int quorate_submit(struct quorate *q, struct quorate_queue *queue, const struct quorate_op *op,
		   int64_t timeout_ms,
		   void (*done)(void *arg, struct quorate_result *r, const struct quorate_error *e),
		   void *arg, uint64_t *id, struct quorate_error *e)
{
	struct quorate_error own;
	struct call *c;
	int rc;

	e = e != NULL ? e : &own;
	if (!queue_is_of(queue, q->core))
		return lib_error_foreign(e, "queue");
	c = call_make(q, op, timeout_ms, e);
	if (c == NULL)
		return e->code;
	c->queue = queue;
	c->item.taken = call_taken;
	c->item.run = call_run;
	c->item.drop = call_drop;
	c->tell = done;
	c->arg = arg;
	rc = call_begin(c, false, id, e);
	if (rc != ERR_OK)
		call_free(c);
	return rc;
}

void quorate_cancel(struct quorate *q, uint64_t id)
{
	struct core *core = q->core;
	struct call *c;
	bool wake = false;

	if (core_forked(core))
		return;
	(void)pthread_mutex_lock(&core->lock);
	c = call_find(core, id);
	if (c != NULL) {
		call_cancel(core, c);
		wake = core_must_wake(core);
	}
	(void)pthread_mutex_unlock(&core->lock);
	if (wake)
		core_wake(core);
}

/* ---- for short programs ---- */

int quorate_get(struct quorate *q, const char *key, struct quorate_result **r, struct quorate_error *e)
{
	struct quorate_op op = quorate_op_get(quorate_str(key));

	return quorate_call(q, &op, 0, r, e);
}

int quorate_put(struct quorate *q, const char *key, const char *value, struct quorate_error *e)
{
	struct quorate_op op = quorate_op_put(quorate_str(key), quorate_str(value), 0);

	return quorate_call(q, &op, 0, NULL, e);
}

int quorate_delete(struct quorate *q, const char *key, struct quorate_error *e)
{
	struct quorate_op op = quorate_op_delete(quorate_str(key));

	return quorate_call(q, &op, 0, NULL, e);
}
