/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/commands.h"
#include "ctl/op.h"
#include "ctl/print.h"

static const struct flag del_flags[] = {
	FLAG(struct del_options, BOOL, prefix, "prefix", 0, NULL, "",
	     "all keys that begin with KEY"),
	FLAG(struct del_options, BOOL, from_key, "from-key", 0, NULL, "", "all keys from KEY on"),
	FLAG(struct del_options, BOOL, prev_kv, "prev-kv", 0, NULL, "",
	     "print the pairs that were deleted"),
	FLAG(struct del_options, BOOL, range, "range", 0, NULL, "",
	     "taken for etcdctl's sake; does nothing"),
	FLAG_END
};

int op_del(struct ctl *ctl, const struct del_options *o, int argc, char **argv, struct arena *arena,
	   struct kv_delete *out)
{
	*out = (struct kv_delete){.prev_kv = o->prev_kv};
	return op_range(ctl, &ctl_del, o->prefix, o->from_key, argc, argv, arena, &out->key,
			&out->range_end);
}

static int del_send(struct ctl *ctl, const struct kv_delete *del, struct arena *arena)
{
	int code = CTL_OK;
	const struct printer *p = print_of(ctl, &code);
	struct kv_delete_result result;
	struct client_request r = {.method = "delete", .params = del, .arena = arena,
				   .result = &result};

	if (p == NULL)
		return code;
	code = ctl_call(ctl, &r);
	if (code == CTL_OK)
		p->del(ctl, &result);
	return code;
}

static int del_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	struct kv_delete del;
	struct arena arena;
	int code;

	/* The answer as it comes, and the list of its pairs. */
	arena_init(&arena, LIMIT_CLIENT_RESPONSE_BYTES * 9u);
	code = op_del(ctl, options, argc, argv, &arena, &del);
	if (code == CTL_OK)
		code = del_send(ctl, &del, &arena);
	arena_free(&arena);
	return code;
}

const struct ctl_command ctl_del = {
	.name = "del", .args = "KEY [RANGE_END]",
	.summary = "Removes the specified key or range of keys [key, range_end)",
	.more = "Prints how many keys were removed.\n",
	.flags = del_flags, .options_size = sizeof(struct del_options), .run = del_run};
