/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place in a line: a key attached to a session's lease, whose turn it is when no key under a
 * prefix that was created before it is left. Locks and elections are lines.
 *
 * Who waits watches the last of the keys before his own. When that goes, whoever had it may have
 * given up only: so he looks again, at the revision at which it went. That read needs no quorum: what
 * is in front of a place at a revision can only become less afterwards.
 */
#ifndef QUORATE_TURN_H
#define QUORATE_TURN_H

#include <pthread.h>
#include <stdatomic.h>

#include "client/recipes/fence.h"

enum turn_state {
	TURN_OUT,        /* no place */
	TURN_UNSURE,     /* there may be one, of which nothing is known */
	TURN_IN,         /* a place: our turn, or not yet */
	TURN_LEAVING     /* being given up, but it is not known whether that was done */
};

struct turn {
	struct quorate *q;             /* for waiting: it may be cancelled */
	struct quorate *own;           /* for taking back what was begun */
	struct quorate_session *session;
	char *key_text, *before_text;
	struct quorate_bytes key;
	struct quorate_bytes before;   /* what the keys begin with that are waited for */
	char mark[24];                 /* the value of a lock's key: which handle put it */
	pthread_mutex_t lock;
	/* Under the lock: */
	bool busy;                     /* some thread is changing the state */
	enum turn_state state;
	/* Read by anybody: */
	_Atomic int64_t revision;      /* the key's creation while it is our turn, else 0 */
	/* Of the busy thread: */
	int64_t created;               /* the key's creation; 0: not known */
	int64_t modified;              /* its last change, as far as we know */
	struct fence fence;            /* of what puts the key */
	bool doubt;                    /* it may have been deleted already */
	bool marked;                   /* the key's value is the mark */
};

/* The key and `before` are `name` and what stands behind it. On failure nothing is left. */
int turn_init(struct turn *t, struct quorate *q, struct quorate_session *s, struct quorate_bytes name,
	      const char *key, const char *before, struct quorate_error *e);
void turn_free(struct turn *t);        /* leaves if need be and if it can */

enum turn_patience { TURN_WAIT, TURN_TRY };

/*
 * Takes a place and waits for the turn. value NULL: the line's own mark, and a key of the same session
 * with another mark is waited for too; else such a key is taken over, with the new value.
 * QUORATE_OK, LOST, TIMEOUT, HELD (if it only tries), CANCELED, BAD_ARGUMENT: it has its turn already.
 */
int turn_enter(struct turn *t, const struct quorate_bytes *value, enum turn_patience patience,
	       mono_t deadline, struct quorate_error *e);
/* The turn is over. QUORATE_OK, LOST: it was over before; else it is not known. */
int turn_leave(struct turn *t, mono_t deadline, struct quorate_error *e);
/* Another value, while it is our turn: QUORATE_OK or LOST. */
int turn_say(struct turn *t, struct quorate_bytes value, mono_t deadline, struct quorate_error *e);
/* Waits until the turn is lost. */
int turn_lost(struct turn *t, int64_t timeout_ms, struct quorate_error *why);
int64_t turn_token(const struct turn *t);
struct quorate_compare turn_held(const struct turn *t);

#endif
