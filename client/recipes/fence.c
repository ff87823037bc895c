/* SPDX-License-Identifier: Apache-2.0 */
#include "client/recipes/fence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int fence_init(struct fence *f, struct quorate_bytes name, struct quorate_error *e)
{
	char behind[32];

	(void)snprintf(behind, sizeof behind, ".void/%016" PRIx64, recipe_random());
	*f = (struct fence){.text = recipe_join(name, quorate_str(behind), quorate_str(NULL))};
	if (f->text == NULL)
		return recipe_no_memory(e);
	f->key = quorate_bytes(f->text, name.size + strlen(behind));
	return QUORATE_OK;
}

void fence_free(struct fence *f)
{
	free(f->text);
	*f = (struct fence){.text = NULL};
}

struct quorate_compare fence_open(const struct fence *f)
{
	return quorate_if(f->key, QUORATE_TARGET_MOD, QUORATE_LESS, f->known + 1);
}

/* A late copy of this one finds the fence closed by the other, at a revision above `known`. */
int fence_close(struct fence *f, struct quorate *q, struct quorate_session *s, mono_t deadline,
		struct quorate_error *e)
{
	struct quorate_compare open = fence_open(f);
	struct quorate_op then = quorate_op_put(f->key, quorate_str(NULL), quorate_session_lease(s)), op;
	struct quorate_txn txn = {&open, 1, &then, 1, NULL, 0};
	struct quorate_result *r;
	int rc;

	if (!f->late)
		return recipe_ok(e);
	op = quorate_op_txn(&txn);
	op.flags = QUORATE_IDEMPOTENT;
	rc = recipe_call(q, s, &op, deadline, &r, e);
	if (rc == QUORATE_OK)
		f->known = r->header.revision;
	if (rc == QUORATE_OK || rc == QUORATE_ERR_LOST)
		f->late = false;
	quorate_result_free(r);
	return rc;
}
