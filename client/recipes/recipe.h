/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the recipes share: errors, time, calls that end when a session is lost, and waiting for a
 * key to go. Nothing here knows more of the library than its public header.
 */
#ifndef QUORATE_RECIPE_H
#define QUORATE_RECIPE_H

#include "base/mono.h"
#include "client/quorate.h"

/* To take back what was begun, beyond the caller's time. */
enum { RECIPE_CLEAN_MS = 2000 };

/* Both return the code; e may be NULL. */
int recipe_fail(struct quorate_error *e, int code, enum quorate_again again, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int recipe_ok(struct quorate_error *e);
int recipe_no_memory(struct quorate_error *e);

/* Of a call: 0 is the client's default. */
mono_t recipe_deadline(const struct quorate *q, int64_t timeout_ms);
/* Of what only waits for something to have come: 0 is now. */
mono_t recipe_wait_deadline(int64_t timeout_ms);
/* What is left, for what only waits. */
int64_t recipe_wait_ms(mono_t deadline);
/* What is left, as a timeout: at least 1, or QUORATE_FOREVER. */
int64_t recipe_left_ms(mono_t deadline);
bool recipe_over(mono_t deadline);

/* a, b and c one behind the other with a NUL behind, or NULL. */
char *recipe_join(struct quorate_bytes a, struct quorate_bytes b, struct quorate_bytes c);
struct quorate_bytes recipe_copy(const struct quorate_bytes *v, char **to);   /* *to NULL: no memory */

/*
 * A read, or a write that is IDEMPOTENT: it may be made twice, and a copy of it that is done at any later
 * time must do no harm. With a session it ends with LOST as soon as that is lost, also when
 * nothing can be reached.
 */
int recipe_call(struct quorate *q, struct quorate_session *s, const struct quorate_op *op,
		mono_t deadline, struct quorate_result **r, struct quorate_error *e);

/* The same, and *late is set if a copy of it may have been left on its way. */
int recipe_write(struct quorate *q, struct quorate_session *s, const struct quorate_op *op,
		 mono_t deadline, struct quorate_result **r, bool *late, struct quorate_error *e);

/* What a wait of a session has ended with: rc, or LOST if that is why. */
int recipe_why(struct quorate *q, struct quorate_session *s, int rc, struct quorate_error *e);

/*
 * Waits until `key`, which was there at `revision`, is deleted: QUORATE_OK, and the revision of that, or
 * 0 if the history in between is gone: look. Ends with LOST like recipe_call().
 */
int recipe_wait_gone(struct quorate *q, struct quorate_session *s, struct quorate_bytes key,
		     int64_t revision, mono_t deadline, int64_t *gone, struct quorate_error *e);

/* Options that begin with their size: false if they ask for what this library does not know. */
bool recipe_options(void *to, size_t to_size, const void *from, size_t from_size, struct quorate_error *e);

/* This process is a child of the one that opened it: nothing may be used, its threads are not there. */
bool recipe_forked(const struct quorate *q);
/* QUORATE_OK, or BAD_ARGUMENT: it is, and must not even take a lock that a thread there may have had. */
int recipe_ours(const struct quorate *q, struct quorate_error *e);

/* QUORATE_OK, or BAD_ARGUMENT: there is no session, or one of another client, whose lock is another one. */
int recipe_session(const struct quorate *q, const struct quorate_session *s, struct quorate_error *e);

/* 64 bits that nobody else has. */
uint64_t recipe_random(void);

#endif
