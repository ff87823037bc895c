/* SPDX-License-Identifier: Apache-2.0 */
/* Locks: lines whose keys are named as etcd's Mutex and RWMutex name them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/recipes/turn.h"

struct quorate_lock {
	struct turn turn;
};

/* What the key begins with, and what those that are waited for begin with, both behind NAME. */
static const struct lock_mode {
	const char *key, *before;
} lock_modes[] = {
	[QUORATE_MUTEX] = {"/", "/"},
	[QUORATE_READ_LOCK] = {"/read/", "/write/"},
	[QUORATE_WRITE_LOCK] = {"/write/", "/"},
};

static bool lock_mode_known(enum quorate_lock_mode mode)
{
	return mode >= QUORATE_MUTEX && mode <= QUORATE_WRITE_LOCK;
}

/*
 * Of a mutex the lease, which is what etcd's do: two handles of a session find each other. etcd's
 * RWMutex puts a key for each call.
 */
static void lock_suffix(char to[64], const char *key, enum quorate_lock_mode mode, int64_t lease)
{
	if (mode == QUORATE_MUTEX)
		(void)snprintf(to, 64, "%s%" PRIx64, key, (uint64_t)lease);
	else
		(void)snprintf(to, 64, "%s%" PRIx64 "-%016" PRIx64, key, (uint64_t)lease, recipe_random());
}

int quorate_lock_open(struct quorate *q, struct quorate_session *s, struct quorate_bytes name,
		      enum quorate_lock_mode mode, struct quorate_lock **lp, struct quorate_error *e)
{
	struct quorate_lock *l;
	const struct lock_mode *m;
	char suffix[64];
	int rc;

	*lp = NULL;
	if (name.size == 0 || s == NULL || !lock_mode_known(mode))
		return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
				   "a lock needs a session, a name and a mode");
	l = calloc(1, sizeof *l);
	if (l == NULL)
		return recipe_no_memory(e);
	m = &lock_modes[mode];
	lock_suffix(suffix, m->key, mode, quorate_session_lease(s));
	rc = turn_init(&l->turn, q, s, name, suffix, m->before, e);
	if (rc == QUORATE_OK)
		*lp = l;
	else
		free(l);
	return rc;
}

int quorate_lock_acquire(struct quorate_lock *l, int64_t timeout_ms, struct quorate_error *e)
{
	return turn_enter(&l->turn, NULL, TURN_WAIT, recipe_deadline(l->turn.own, timeout_ms), e);
}

int quorate_lock_try(struct quorate_lock *l, int64_t timeout_ms, struct quorate_error *e)
{
	return turn_enter(&l->turn, NULL, TURN_TRY, recipe_deadline(l->turn.own, timeout_ms), e);
}

int quorate_lock_release(struct quorate_lock *l, int64_t timeout_ms, struct quorate_error *e)
{
	return turn_leave(&l->turn, recipe_deadline(l->turn.own, timeout_ms), e);
}

int64_t quorate_lock_token(const struct quorate_lock *l)
{
	return turn_token(&l->turn);
}

struct quorate_compare quorate_lock_held(const struct quorate_lock *l)
{
	return turn_held(&l->turn);
}

struct quorate_bytes quorate_lock_key(const struct quorate_lock *l)
{
	return l->turn.key;
}

int quorate_lock_lost(struct quorate_lock *l, int64_t timeout_ms, struct quorate_error *why)
{
	return turn_lost(&l->turn, timeout_ms, why);
}

void quorate_lock_close(struct quorate_lock *l)
{
	if (l == NULL)
		return;
	turn_free(&l->turn);
	free(l);
}
