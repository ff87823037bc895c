/* SPDX-License-Identifier: Apache-2.0 */
#include "client/lib/queue.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "client/lib/core.h"

struct quorate_queue {
	struct core *core;             /* whose lock guards it */
	struct list items;
	unsigned n, refs, waiting;     /* waiting: threads */
	pthread_cond_t come;
	int fd;
	bool fd_wanted, fd_set, closed;
};

int quorate_queue_open(struct quorate *q, struct quorate_queue **out, struct quorate_error *e)
{
	struct quorate_queue *queue;
	int rc = view_usable(q, e);

	*out = NULL;
	if (rc != ERR_OK)
		return rc;
	queue = calloc(1, sizeof *queue);
	if (queue == NULL)
		return lib_error_of(e, ERR_NO_MEMORY);
	queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->fd < 0) {
		free(queue);
		return lib_error(e, ERR_IO, ERR_AGAIN_SAFE, "eventfd: %m");
	}
	queue->core = q->core;
	queue->refs = 1;
	list_init(&queue->items);
	lib_cond_init(&queue->come);
	core_use(q->core);
	*out = queue;
	return ERR_OK;
}

bool queue_is_of(const struct quorate_queue *q, const struct core *core)
{
	return q->core == core;
}

/* ---- with the lock held ---- */

void queue_hold(struct quorate_queue *q)
{
	q->refs++;
}

void queue_drop(struct quorate_queue *q)
{
	CHECK(q->refs > 0);
	if (--q->refs > 0)
		return;
	(void)close(q->fd);
	(void)pthread_cond_destroy(&q->come);
	free(q);
}

bool queue_closed(const struct quorate_queue *q)
{
	return q->closed;
}

/* The descriptor is written to only if somebody polls it: a system call less each time. */
static void queue_signal(struct quorate_queue *q)
{
	uint64_t count = 1;

	if (q->n > 0 && q->fd_wanted && !q->fd_set) {
		(void)!write(q->fd, &count, sizeof count);
		q->fd_set = true;
	} else if (q->n == 0 && q->fd_set) {
		(void)!read(q->fd, &count, sizeof count);
		q->fd_set = false;
	}
}

void queue_push(struct quorate_queue *q, struct queue_item *item)
{
	if (q->closed || list_linked(&item->node))
		return;
	list_push(&q->items, &item->node);
	q->n++;
	queue_signal(q);
	/* Who waits found nothing: for each thread that waits one of the items that have come since. */
	if (q->n <= q->waiting)
		(void)pthread_cond_signal(&q->come);
}

void queue_remove(struct quorate_queue *q, struct queue_item *item)
{
	if (!list_linked(&item->node))
		return;
	list_remove(&item->node);
	q->n--;
	queue_signal(q);
}

static struct queue_item *queue_pop(struct quorate_queue *q)
{
	struct list *l = list_first(&q->items);
	struct queue_item *item;

	if (l == NULL)
		return NULL;
	item = container_of(l, struct queue_item, node);
	queue_remove(q, item);
	if (item->taken != NULL)
		item->taken(item);
	return item;
}

/* ---- the public calls ---- */

int quorate_queue_fd(struct quorate_queue *q)
{
	if (core_forked(q->core))
		return -1;
	(void)pthread_mutex_lock(&q->core->lock);
	q->fd_wanted = true;
	queue_signal(q);
	(void)pthread_mutex_unlock(&q->core->lock);
	return q->fd;
}

unsigned quorate_dispatch(struct quorate_queue *q, int64_t timeout_ms, unsigned most)
{
	struct queue_item *item;
	mono_t deadline;
	unsigned done = 0;
	bool in_time = timeout_ms != 0;

	if (core_forked(q->core))
		return 0;
	deadline = wait_deadline(timeout_ms);
	(void)pthread_mutex_lock(&q->core->lock);
	while (q->n == 0 && in_time) {
		q->waiting++;
		in_time = lib_cond_wait(&q->come, &q->core->lock, deadline);
		q->waiting--;
	}
	most = most == 0 || most > q->n ? q->n : most;   /* not what they bring about */
	while (done < most && (item = queue_pop(q)) != NULL) {
		(void)pthread_mutex_unlock(&q->core->lock);
		item->run(item);
		done++;
		(void)pthread_mutex_lock(&q->core->lock);
	}
	(void)pthread_mutex_unlock(&q->core->lock);
	return done;
}

void quorate_queue_close(struct quorate_queue *q)
{
	struct queue_item *item;
	struct core *core;
	bool wake;

	if (q == NULL || core_forked(q->core))
		return;
	core = q->core;
	(void)pthread_mutex_lock(&core->lock);
	q->closed = true;
	call_cancel_queue(core, q);
	wake = core_must_wake(core);
	while ((item = queue_pop(q)) != NULL) {
		if (item->drop == NULL)
			continue;
		(void)pthread_mutex_unlock(&core->lock);
		item->drop(item);
		(void)pthread_mutex_lock(&core->lock);
	}
	queue_drop(q);
	(void)pthread_mutex_unlock(&core->lock);
	if (wake)
		core_wake(core);
	core_leave(core);
}
