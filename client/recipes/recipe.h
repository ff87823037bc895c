/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the recipes share: errors, time, calls that end when a session is lost, and waiting for a
 * key to go. Nothing here knows more of the library than its public header.
 */
#ifndef QUORATE_RECIPE_H
#define QUORATE_RECIPE_H

#include "base/mono.h"
#include "client/quorate.h"

enum {
	RECIPE_TIMEOUT_MS = 10000,     /* for who says 0 */
	RECIPE_CLEAN_MS = 2000         /* to take back what was begun, beyond the caller's time */
};

/* Both return the code; e may be NULL. */
int recipe_fail(struct quorate_error *e, int code, enum quorate_again again, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int recipe_ok(struct quorate_error *e);
int recipe_no_memory(struct quorate_error *e);

mono_t recipe_deadline(int64_t timeout_ms);
/* What is left, as a timeout: at least 1, or QUORATE_FOREVER. */
int64_t recipe_left_ms(mono_t deadline);
bool recipe_over(mono_t deadline);

/* a, b and c one behind the other with a NUL behind, or NULL. */
char *recipe_join(struct quorate_bytes a, struct quorate_bytes b, struct quorate_bytes c);
struct quorate_bytes recipe_copy(const struct quorate_bytes *v, char **to);   /* *to NULL: no memory */

/*
 * A call that may be made twice. With a session it ends with LOST as soon as that is lost, also when
 * nothing can be reached.
 */
int recipe_call(struct quorate *q, const struct quorate_session *s, const struct quorate_op *op,
		mono_t deadline, struct quorate_result **r, struct quorate_error *e);

/*
 * Waits until `key`, which was there at `revision`, is deleted: QUORATE_OK, and the revision of that, or
 * 0 if the history in between is gone: look. Ends with LOST like recipe_call().
 */
int recipe_wait_gone(struct quorate *q, struct quorate_session *s, struct quorate_bytes key,
		     int64_t revision, mono_t deadline, int64_t *gone, struct quorate_error *e);

/* 64 bits that nobody else has. */
uint64_t recipe_random(void);

#endif
