/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/commands.h"
#include "ctl/print.h"
#include "ctl/txn_parse.h"

struct txn_options {
	bool interactive;
};

static const struct flag txn_flags[] = {
	FLAG(struct txn_options, BOOL, interactive, "interactive", 'i', NULL, "",
	     "ask for each block"),
	FLAG_END
};

static int txn_send(struct ctl *ctl, const struct kv_txn *txn, struct arena *arena)
{
	int code = CTL_OK;
	const struct printer *p = print_of(ctl, &code);
	struct kv_txn_result result;
	struct client_request r = {.method = "txn", .params = txn, .arena = arena,
				   .result = &result};

	if (p == NULL)
		return code;
	code = ctl_call(ctl, &r);
	if (code == CTL_OK)
		p->txn(ctl, &result);
	return code;
}

static int txn_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct txn_options *o = options;
	struct arena arena;
	struct input in;
	struct kv_txn txn;
	int code;

	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_txn, "txn command does not accept argument");
	arena_init(&arena, LIMIT_CLIENT_RESPONSE_BYTES * 9u);
	input_open(&in, ctl->in_fd, LIMIT_REQUEST_BYTES * 4);
	code = txn_parse(ctl, &in, o->interactive, &arena, &txn);
	if (code == CTL_OK)
		code = txn_send(ctl, &txn, &arena);
	input_free(&in);
	arena_free(&arena);
	return code;
}

const struct ctl_command ctl_txn = {
	.name = "txn", .args = "", .summary = "Processes all the requests in one transaction",
	.more = "Reads three blocks from standard input, each ended by an empty line: "
		"comparisons,\n"
		"requests for when all of them hold, requests for when one does not.\n\n"
		"  mod(\"key1\") > \"0\"\n\n  put key1 \"overwrote-key1\"\n\n"
		"  put key1 \"created-key1\"\n  put key2 \"some extra key\"\n\n"
		"A comparison is TARGET(\"KEY\") OP \"VALUE\": OP is =, !=, < or >; TARGET is "
		"value (val),\n"
		"version (ver), create (c), mod (m) or lease, whose value is hexadecimal. "
		"Requests are\n"
		"get, put and del with their flags. Words in \"...\" know Go's escapes, words in "
		"'...' are\n"
		"taken as they are.\n",
	.flags = txn_flags, .options_size = sizeof(struct txn_options), .run = txn_run};
