/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words and flags of get, put and del, as commands and as lines of txn: each becomes the
 * request that it means.
 */
#ifndef QUORATE_CTL_OP_H
#define QUORATE_CTL_OP_H

#include "ctl/ctl.h"

struct get_options {
	const char *consistency, *order, *sort_by;
	int64_t limit, rev, min_mod, max_mod, min_create, max_create;
	bool prefix, from_key, keys_only, count_only, print_value_only;
};

struct put_options {
	const char *lease;   /* hexadecimal */
	bool prev_kv, ignore_value, ignore_lease;
};

struct del_options {
	bool prefix, prev_kv, from_key, range;
};

/*
 * CTL_OK, or an exit code with the error printed. What is not in argv lives in the arena. A value
 * that is not given is read from ctl->in_fd, unless that is -1.
 */
int op_get(struct ctl *ctl, const struct get_options *o, int argc, char **argv, struct arena *arena,
	   struct kv_range *out);
int op_put(struct ctl *ctl, const struct put_options *o, int argc, char **argv, struct arena *arena,
	   struct kv_put *out);
int op_del(struct ctl *ctl, const struct del_options *o, int argc, char **argv, struct arena *arena,
	   struct kv_delete *out);

/* The key and range_end of `words` with --prefix or --from-key. */
int op_range(struct ctl *ctl, const struct ctl_command *c, bool prefix, bool from_key, int argc,
	     char **argv,
	     struct arena *arena, struct bytes *key, struct bytes *range_end);

#endif
