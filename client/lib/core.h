/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of libquorate. A client is a core: one thread of its own (io.h) that owns connections,
 * calls under way and watches, and what other threads share with it under one lock. A struct
 * quorate is a view of a core: a prefix and something to cancel.
 *
 * A call's way: a caller's thread writes it down as bytes (request.h), puts it in `incoming` and wakes
 * the I/O thread, which sends it, repeats it where it may, keeps its time, and ends it: exactly
 * once, and nobody else does. Then the caller's thread wakes, or a queue has one more.
 */
#ifndef QUORATE_LIB_CORE_H
#define QUORATE_LIB_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mono.h"
#include "client/conn.h"
#include "client/endpoints.h"
#include "client/lib/request.h"
#include "client/lib/queue.h"
#include "client/quorate.h"

struct io;
struct result_box;

struct core_options {
	char *endpoints;
	int64_t timeout_ms;
	unsigned dial_timeout_ms, max_calls, flags;
	size_t max_bytes, max_result_bytes;
};

/* Room for a result that is made with each call: for a pair or two. With its head it is below 1 KiB. */
enum { CALL_RESULT_BYTES = 400 };

struct call_slot {
	struct call *call;             /* NULL: free */
	uint32_t uses, next_free;
};

struct core {
	struct core_options o;
	unsigned generation;           /* of the process that opened it: a child must not go on with it */
	pthread_t thread;
	int wake_fd;
	struct io *io;                 /* the thread's own */

	pthread_mutex_t lock;          /* of all that follows */
	pthread_cond_t room;           /* a call has ended, or a view was cancelled */
	unsigned users;                /* views, queues, watches and sessions that are open */
	bool sleeping, stop;           /* sleeping: wake_fd must be written to */
	bool views_canceled;           /* calls of such views are to be ended */
	struct list incoming;          /* calls by item.node: for the I/O thread */
	struct list canceled;          /* calls by cancel_node */
	struct list watch_work;        /* watches by work_node: opened, closed, drained, asked */
	struct list session_work;      /* likewise */
	struct call_slot *slots;       /* o.max_calls of them */
	uint32_t first_free, n_fresh;
	unsigned n_calls, room_wanted; /* room_wanted: threads that wait for room */
	size_t bytes;
};

struct quorate {
	struct core *core;
	atomic_bool canceled;
	unsigned refs;                 /* the handle, calls, watches, sessions; under the lock */
	struct quorate_bytes prefix;
	uint8_t prefix_data[];
};

struct call {
	struct queue_item item;        /* node: of incoming, of the I/O thread's lists, of a queue */
	struct list cancel_node;
	struct quorate *view;
	uint64_t id;
	enum quorate_kind kind;
	bool repeatable;               /* reads, and what may be done twice */
	bool canceled;                 /* by its id; under the lock until it is taken */
	struct request request;        /* encoded */
	size_t bytes;                  /* of it, as they count against the limit */
	char *endpoint;                /* the only one to ask; NULL: any */
	mono_t deadline;
	/* the I/O thread's */
	struct shot *shot;             /* in flight */
	mono_t not_before, sent;
	unsigned tries;
	bool handed;                   /* it may have reached a server: a try had no clear end */
	/* the outcome; `box` is room for it, made by the thread that will free it */
	struct quorate_result *result;
	struct result_box *box;
	int code;                      /* of the last try, until it has ended */
	enum err_again again;
	char *text;                    /* what was said about it; NULL: what the code says */
	bool done;                     /* under the lock */
	/* who is told: a thread that waits, or a callback, or the library itself: in the I/O thread, no lock held */
	struct quorate_queue *queue;
	void (*tell)(void *arg, struct quorate_result *r, const struct quorate_error *e);
	void *arg;
	void (*ended)(struct call *c);
	/*
	 * Not zeroed when it is made. All in all it is below what malloc() keeps for a thread without a lock
	 * (1 KiB), which a struct quorate_error in it would not be.
	 */
	char at[CLIENT_ENDPOINT_TEXT]; /* who said so */
	pthread_cond_t done_cond;      /* of the thread that waits */
};

/* ---- errors ---- */

int lib_error(struct quorate_error *e, int code, enum err_again again, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int lib_error_of(struct quorate_error *e, int code);     /* text and again of base/err.h */
void lib_error_clear(struct quorate_error *e);
void lib_error_at(struct quorate_error *e, const char *endpoint);   /* who said so */
/* QUORATE_OK, or BAD_ARGUMENT after a fork, CANCELED of a view. */
int view_usable(const struct quorate *q, struct quorate_error *e);
int lib_error_foreign(struct quorate_error *e, const char *what);   /* a queue or session of another client */

/* ---- core.c ---- */

/* Of options that begin with their size; false: it has something that this library does not know. */
bool options_take(void *to, size_t to_size, const void *from, size_t from_size);
void core_use(struct core *c);
void core_leave(struct core *c);       /* the last one stops the thread and frees all */
void core_free(struct core *c);        /* whose thread has stopped, or never was */
/* With the lock held: true if core_wake() must be called after it is let go. */
bool core_must_wake(struct core *c);
void core_wake(struct core *c);
void view_hold(struct quorate *q);     /* with the lock held, as the next */
void view_drop(struct quorate *q);
/* When a call that says `timeout_ms` gives up; of one that only waits 0 is now. */
mono_t core_deadline(const struct core *c, int64_t timeout_ms);
mono_t wait_deadline(int64_t timeout_ms);
/* Waits on a condition of lib_cond_init(); false: the deadline has passed. */
void lib_cond_init(pthread_cond_t *cond);
bool lib_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, mono_t deadline);
unsigned core_generation(void);
bool core_forked(const struct core *c);

/* ---- call.c ---- */

/* Encodes and checks; NULL and *e: BAD_ARGUMENT, REQUEST_TOO_LARGE, NO_MEMORY ... */
struct call *call_make(struct quorate *q, const struct quorate_op *op, int64_t timeout_ms,
		       struct quorate_error *e);
void call_free(struct call *c);        /* of one that was never begun, or has ended */
/* What it has ended with, or its last try. text NULL: that of the code. */
void call_say(struct call *c, int code, enum err_again again, const char *text, const char *endpoint);
void call_error(const struct call *c, struct quorate_error *e);
/*
 * Hands it to the I/O thread. With `wait` it waits for room until the call's deadline; without, there
 * may be FULL. The library's own calls (`ended`) take no room. *id: or NULL.
 */
int call_begin(struct call *c, bool wait, uint64_t *id, struct quorate_error *e);
/* With the lock held: all of a queue that is closed. */
void call_cancel_queue(struct core *core, const struct quorate_queue *queue);
/*
 * quorate_call(), for the library itself. *handed: a try had no clear end, so that what the call has
 * asked for may still be done, or done once more, at any time.
 */
int call_wait(struct quorate *q, const struct quorate_op *op, int64_t timeout_ms,
	      struct quorate_result **r, bool *handed, struct quorate_error *e);
/* The I/O thread's: all that is in the list has ended. */
void call_hand_out(struct core *core, struct list *ended);

#endif
