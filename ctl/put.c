/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/commands.h"
#include "ctl/input.h"
#include "ctl/op.h"
#include "ctl/print.h"

static const struct flag put_flags[] = {
	FLAG(struct put_options, STR, lease, "lease", 0, "0", "ID",
	     "attach to this lease (hexadecimal)"),
	FLAG(struct put_options, BOOL, prev_kv, "prev-kv", 0, NULL, "",
	     "print the pair before the change"),
	FLAG(struct put_options, BOOL, ignore_value, "ignore-value", 0, NULL, "", "keep the value"),
	FLAG(struct put_options, BOOL, ignore_lease, "ignore-lease", 0, NULL, "", "keep the lease"),
	FLAG_END
};

static const char put_needs[] = "put command needs 1 argument and input from stdin or 2 arguments";

static int put_value(struct ctl *ctl, struct arena *arena, struct bytes *value)
{
	struct input in;
	struct bytes all = {0};
	uint8_t *copy = NULL;
	int rc, code = CTL_OK;

	input_open(&in, ctl->in_fd, LIMIT_REQUEST_BYTES);
	rc = ctl->in_fd < 0 ? ERR_IO : input_read_all(&in, &all);
	if (rc == ERR_LIMIT)
		code = ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_REQUEST_TOO_LARGE));
	else if (rc != ERR_OK || all.len == 0)
		code = ctl_bad_args(ctl, &ctl_put, "%s", put_needs);
	else
		copy = arena_alloc(arena, all.len);
	if (code == CTL_OK && copy == NULL)
		code = ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	if (copy != NULL) {
		memcpy(copy, all.data, all.len);
		*value = bytes_of(copy, all.len);
	}
	input_free(&in);
	return code;
}

int op_put(struct ctl *ctl, const struct put_options *o, int argc, char **argv, struct arena *arena,
	   struct kv_put *out)
{
	if (argc < 1 || argc > 2)
		return ctl_bad_args(ctl, &ctl_put, "%s", put_needs);
	if (o->ignore_value && argc > 1)
		return ctl_bad_args(ctl, &ctl_put,
				    "put command needs only 1 argument when 'ignore-value' is set");
	*out = (struct kv_put){.key = bytes_str(argv[0]), .prev_kv = o->prev_kv,
			       .ignore_value = o->ignore_value, .ignore_lease = o->ignore_lease};
	if (number_parse(o->lease, 16, &out->lease) != ERR_OK)
		return ctl_bad_args(ctl, &ctl_put, "bad lease ID (%s), expecting ID in Hex",
				    o->lease);
	if (argc == 2)
		out->value = bytes_str(argv[1]);
	else if (!o->ignore_value)
		return put_value(ctl, arena, &out->value);
	return CTL_OK;
}

static int put_send(struct ctl *ctl, const struct kv_put *put, struct arena *arena)
{
	int code = CTL_OK;
	const struct printer *p = print_of(ctl, &code);
	struct kv_put_result result;
	struct client_request r = {.method = "put", .params = put, .arena = arena,
				   .result = &result};

	if (p == NULL)
		return code;
	code = ctl_call(ctl, &r);
	if (code == CTL_OK)
		p->put(ctl, &result);
	return code;
}

static int put_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	struct kv_put put;
	struct arena arena;
	int code;

	arena_init(&arena, LIMIT_CLIENT_RESPONSE_BYTES);
	code = op_put(ctl, options, argc, argv, &arena, &put);
	if (code == CTL_OK)
		code = put_send(ctl, &put, &arena);
	arena_free(&arena);
	return code;
}

const struct ctl_command ctl_put = {
	.name = "put", .args = "KEY [VALUE]", .summary = "Puts the given key into the store",
	.more = "Without VALUE it is read from standard input. A VALUE that begins with '-' needs "
		"`--`\n"
		"before it: quorate put KEY -- VALUE.\n",
	.flags = put_flags, .options_size = sizeof(struct put_options), .run = put_run};
