/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Against copies of a write that come late. A write that is made again on another node, because its
 * answer was lost, may be done by both: the first copy can lie in a node that stands still, for any time.
 * Most writes are void the second time since they compare a revision that has passed by then. One
 * that needs a key to be missing is not: the key may be missing again.
 *
 * Such a write compares its fence, a key that is not there until it is needed. Who takes back what the
 * write has done, after a copy may have been left behind, closes the fence first: puts that key, so that
 * no copy from before has any effect. The key is attached to the same lease as what the
 * write puts: when that ends a copy fails anyway.
 */
#ifndef QUORATE_FENCE_H
#define QUORATE_FENCE_H

#include "client/recipes/recipe.h"

struct fence {
	char *text;
	struct quorate_bytes key;      /* NAME.void/RANDOM: nobody else's */
	int64_t known;                 /* it was not put after this revision */
	bool late;                     /* a copy may be on its way */
};

/* *f is zeroed if there is no memory. */
int fence_init(struct fence *f, struct quorate_bytes name, struct quorate_error *e);
void fence_free(struct fence *f);
/* In the write: holds until the fence is closed. Then open again, for writes from then on. */
struct quorate_compare fence_open(const struct fence *f);
/* QUORATE_OK: whatever was sent before is done by now, or never. LOST: the same, with the session. */
int fence_close(struct fence *f, struct quorate *q, struct quorate_session *s, mono_t deadline,
		struct quorate_error *e);

#endif
