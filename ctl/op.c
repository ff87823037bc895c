/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/op.h"

#include <string.h>

/* The first key behind all that begin with `prefix`: one zero byte means "to the end". */
static int op_prefix_end(struct bytes prefix, struct arena *arena, struct bytes *end)
{
	uint8_t *copy = arena_alloc(arena, prefix.len + 1);
	size_t n = prefix.len;

	if (copy == NULL)
		return ERR_LIMIT;
	memcpy(copy, prefix.data, prefix.len);
	while (n > 0 && copy[n - 1] == 0xff)
		n--;
	if (n == 0) {
		*end = bytes_of("", 1);
		return ERR_OK;
	}
	copy[n - 1]++;
	*end = bytes_of(copy, n);
	return ERR_OK;
}

int op_range(struct ctl *ctl, const struct ctl_command *c, bool prefix, bool from_key, int argc,
	     char **argv,
	     struct arena *arena, struct bytes *key, struct bytes *range_end)
{
	if (argc < 1 || argc > 2)
		return ctl_bad_args(ctl, c,
				    "%s command needs one argument as key and an optional argument "
				    "as range_end", c->name);
	if (prefix && from_key)
		return ctl_bad_args(ctl, c,
				    "`--prefix` and `--from-key` cannot be set at the same time, "
				    "choose one");
	if (argc == 2 && (prefix || from_key))
		return ctl_bad_args(ctl, c,
				    "too many arguments, only accept one argument when `--prefix` "
				    "or `--from-key` is set");
	*key = bytes_str(argv[0]);
	*range_end = argc == 2 ? bytes_str(argv[1]) : bytes_of(NULL, 0);
	if (!prefix && !from_key)
		return CTL_OK;
	if (key->len == 0)   /* all keys there are */
		*key = bytes_of("", 1);
	if (from_key || argv[0][0] == 0)
		*range_end = bytes_of("", 1);
	else if (op_prefix_end(*key, arena, range_end) != ERR_OK)
		return ctl_fail(ctl, CTL_ERROR, "the key is too long");
	return CTL_OK;
}
