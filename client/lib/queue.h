/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of what has ended, until a thread of the program takes it: quorate_dispatch(). */
#ifndef QUORATE_LIB_QUEUE_H
#define QUORATE_LIB_QUEUE_H

#include "base/list.h"
#include "client/quorate.h"

struct core;
struct quorate_queue;

/* What a queue hands out: embedded in what it is about. */
struct queue_item {
	struct list node;              /* linked: it waits in the queue */
	void (*taken)(struct queue_item *item);   /* out of it, with the lock held; or NULL */
	/* In quorate_dispatch(), without a lock; or, of a queue that is closed, drop() (may be NULL). */
	void (*run)(struct queue_item *item);
	void (*drop)(struct queue_item *item);
};

/* Of another core nothing can be kept in it. Without the lock. */
bool queue_is_of(const struct quorate_queue *q, const struct core *core);
/* All with the core's lock held. A queue lives until it is closed and nobody holds it. */
void queue_hold(struct quorate_queue *q);
void queue_drop(struct quorate_queue *q);
bool queue_closed(const struct quorate_queue *q);
void queue_push(struct quorate_queue *q, struct queue_item *item);    /* once: if it is not there */
void queue_remove(struct quorate_queue *q, struct queue_item *item);

#endif
