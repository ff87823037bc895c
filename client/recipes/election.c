/* SPDX-License-Identifier: Apache-2.0 */
/* Elections: the first of a line leads, and its key's value is what the leader says. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/recipes/turn.h"
#include "client/recipes/leader.h"

struct quorate_election {
	struct turn turn;
};

struct quorate_op leader_op(struct quorate_bytes before)
{
	struct quorate_op op = quorate_op_get(before);

	op.flags = QUORATE_PREFIX;
	op.order = QUORATE_ASCEND;
	op.sort = QUORATE_SORT_CREATE;
	op.limit = 1;
	return op;
}

int quorate_election_open(struct quorate *q, struct quorate_session *s, struct quorate_bytes name,
			  struct quorate_election **elp, struct quorate_error *e)
{
	struct quorate_election *el;
	char suffix[32];
	int rc;

	*elp = NULL;
	if (name.size == 0 || s == NULL)
		return recipe_fail(e, QUORATE_ERR_BAD_ARGUMENT, QUORATE_AGAIN_NO,
				   "an election needs a session and a name");
	el = calloc(1, sizeof *el);
	if (el == NULL)
		return recipe_no_memory(e);
	(void)snprintf(suffix, sizeof suffix, "/%" PRIx64, (uint64_t)quorate_session_lease(s));
	rc = turn_init(&el->turn, q, s, name, suffix, "/", e);
	if (rc == QUORATE_OK)
		*elp = el;
	else
		free(el);
	return rc;
}

int quorate_election_campaign(struct quorate_election *el, struct quorate_bytes value, int64_t timeout_ms,
			      struct quorate_error *e)
{
	return turn_enter(&el->turn, &value, TURN_WAIT, recipe_deadline(el->turn.own, timeout_ms), e);
}

int quorate_election_proclaim(struct quorate_election *el, struct quorate_bytes value, int64_t timeout_ms,
			      struct quorate_error *e)
{
	return turn_say(&el->turn, value, recipe_deadline(el->turn.own, timeout_ms), e);
}

int quorate_election_resign(struct quorate_election *el, int64_t timeout_ms, struct quorate_error *e)
{
	return turn_leave(&el->turn, recipe_deadline(el->turn.own, timeout_ms), e);
}

int64_t quorate_election_token(const struct quorate_election *el)
{
	return turn_token(&el->turn);
}

struct quorate_compare quorate_election_held(const struct quorate_election *el)
{
	return turn_held(&el->turn);
}

struct quorate_bytes quorate_election_key(const struct quorate_election *el)
{
	return el->turn.key;
}

int quorate_election_lost(struct quorate_election *el, int64_t timeout_ms, struct quorate_error *why)
{
	return turn_lost(&el->turn, timeout_ms, why);
}

void quorate_election_close(struct quorate_election *el)
{
	if (el == NULL)
		return;
	turn_free(&el->turn);
	free(el);
}

int quorate_election_leader(struct quorate *q, struct quorate_bytes name, int64_t timeout_ms,
			    struct quorate_result **r, struct quorate_error *e)
{
	char *before = recipe_join(name, quorate_str("/"), quorate_str(NULL));
	struct quorate_op op = leader_op(quorate_bytes(before, name.size + 1));
	int rc;

	*r = NULL;
	if (before == NULL)
		return recipe_no_memory(e);
	rc = quorate_call(q, &op, timeout_ms, r, e);
	free(before);
	if (rc != QUORATE_OK || (*r)->n_kvs > 0)
		return rc;
	quorate_result_free(*r);
	*r = NULL;
	return recipe_fail(e, QUORATE_ERR_NOT_FOUND, QUORATE_AGAIN_NO, "nobody leads");
}
