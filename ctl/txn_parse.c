/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/txn_parse.h"

#include <string.h>

#include "base/check.h"
#include "ctl/commands.h"
#include "ctl/op.h"
#include "ctl/codec.h"

enum { TXN_WORDS = 64 };

static const struct { const char *name; enum kv_compare_target target; int base; } txn_targets[] = {
	{"ver", KV_TARGET_VERSION, 10}, {"version", KV_TARGET_VERSION, 10},
	{"c", KV_TARGET_CREATE, 10}, {"create", KV_TARGET_CREATE, 10},
	{"m", KV_TARGET_MOD, 10}, {"mod", KV_TARGET_MOD, 10},
	{"val", KV_TARGET_VALUE, 0}, {"value", KV_TARGET_VALUE, 0},
	{"lease", KV_TARGET_LEASE, 16}};

static const struct { const char *name; enum kv_compare_op op; } txn_ops[] = {
	{"=", KV_EQUAL}, {"!=", KV_NOT_EQUAL}, {">", KV_GREATER}, {"<", KV_LESS}};

static int txn_why(char why[256], const char *what, const char *line, const char *more)
{
	(void)snprintf(why, 256, "%s: %s%s", what, line, more);
	return ERR_MALFORMED;
}

/* Takes a quoted string off *s, copied into the arena and ended by a NUL beyond its length. */
static int txn_quoted(const char **s, struct arena *arena, struct bytes *out)
{
	struct buf b;
	uint8_t *copy = NULL;
	int rc;

	*s += strspn(*s, " \t");
	buf_init(&b, LIMIT_REQUEST_BYTES);
	rc = codec_unquote(s, &b);
	if (rc == ERR_OK)
		copy = arena_alloc(arena, b.len + 1);
	if (copy != NULL) {
		if (b.len > 0)
			memcpy(copy, b.data, b.len);
		*out = bytes_of(copy, b.len);
	}
	buf_free(&b);
	return copy != NULL ? ERR_OK : ERR_MALFORMED;
}

static size_t txn_target(const char *name, size_t len)
{
	size_t i = 0;

	while (i < ARRAY_LEN(txn_targets) &&
	       (strlen(txn_targets[i].name) != len || strncmp(txn_targets[i].name, name, len) != 0))
		i++;
	return i;
}

static int txn_operator(const char **s, uint64_t *op)
{
	size_t len;

	*s += strspn(*s, " \t");
	len = strspn(*s, "=!<>");
	for (size_t i = 0; i < ARRAY_LEN(txn_ops); i++)
		if (strlen(txn_ops[i].name) == len && strncmp(txn_ops[i].name, *s, len) == 0) {
			*op = txn_ops[i].op;
			*s += len;
			return ERR_OK;
		}
	return ERR_MALFORMED;
}

int txn_parse_compare(const char *line, struct arena *arena, struct kv_compare *out, char why[256])
{
	static const char malformed[] = "malformed comparison";
	const char *s = strchr(line, '(');
	struct bytes value;
	size_t t;

	*out = (struct kv_compare){0};
	if (s == NULL)
		return txn_why(why, malformed, line, "");
	t = txn_target(line, (size_t)(s - line));
	s++;
	if (txn_quoted(&s, arena, &out->key) != ERR_OK || *s++ != ')' ||
	    txn_operator(&s, &out->op) != ERR_OK || txn_quoted(&s, arena, &value) != ERR_OK)
		return txn_why(why, malformed, line, "");
	if (s[strspn(s, " \t\r")] != 0)
		return txn_why(why, malformed, line, "");
	if (t == ARRAY_LEN(txn_targets))
		return txn_why(why, malformed, line, " (unknown target)");
	out->target = txn_targets[t].target;
	if (out->target == KV_TARGET_VALUE)
		out->value = value;
	else if (memchr(value.data, 0, value.len + 1) != value.data + value.len ||
		 number_parse((const char *)value.data, txn_targets[t].base,
			      &out->number) != ERR_OK)
		return txn_why(why, "invalid txn compare request", line, "");
	return ERR_OK;
}

/* The words of the line as an argument vector in the arena. */
static int txn_argv(const char *line, struct arena *arena, char **argv, size_t max, int *argc)
{
	struct buf b;
	char *copy = NULL;
	size_t n = 0;
	int rc;

	buf_init(&b, LIMIT_REQUEST_BYTES);
	rc = codec_words(line, &b, max, &n);
	if (rc == ERR_OK)
		copy = arena_alloc(arena, b.len + 1);
	if (copy != NULL) {
		if (b.len > 0)
			memcpy(copy, b.data, b.len);
		for (size_t i = 0; i < n; i++) {
			argv[i] = copy;
			copy += strlen(copy) + 1;
		}
		argv[n] = NULL;
		*argc = (int)n;
	}
	buf_free(&b);
	return rc != ERR_OK ? rc : copy == NULL ? ERR_LIMIT : ERR_OK;
}

/* The flags of a command, read from a line's words. */
static int txn_flags(struct ctl *ctl, const struct ctl_command *c, void *options, int argc,
		     char **argv, int *first)
{
	struct flag_set set = {c->flags, options};
	char why[FLAG_WHY];

	flags_default(&set);
	if (flags_parse(&set, 1, false, argc, argv, first, why) != ERR_OK)
		return ctl_fail(ctl, CTL_INVALID_INPUT, "invalid txn request: %s", why);
	return CTL_OK;
}

static int txn_get(struct ctl *ctl, int argc, char **argv, struct arena *arena, struct kv_op *out)
{
	struct get_options o = {0};
	int first, code = txn_flags(ctl, &ctl_get, &o, argc, argv, &first);

	out->range = arena_alloc(arena, sizeof *out->range);
	if (code != CTL_OK || out->range == NULL)
		return code != CTL_OK ? code : CTL_ERROR;
	return op_get(ctl, &o, argc - first, argv + first, arena, out->range);
}

static int txn_put(struct ctl *ctl, int argc, char **argv, struct arena *arena, struct kv_op *out)
{
	struct put_options o = {0};
	int first, code = txn_flags(ctl, &ctl_put, &o, argc, argv, &first);
	struct ctl no_input = *ctl;

	out->put = arena_alloc(arena, sizeof *out->put);
	if (code != CTL_OK || out->put == NULL)
		return code != CTL_OK ? code : CTL_ERROR;
	no_input.in_fd = -1;   /* the transaction itself is there, not a value */
	return op_put(&no_input, &o, argc - first, argv + first, arena, out->put);
}

static int txn_del(struct ctl *ctl, int argc, char **argv, struct arena *arena, struct kv_op *out)
{
	struct del_options o = {0};
	int first, code = txn_flags(ctl, &ctl_del, &o, argc, argv, &first);

	out->del = arena_alloc(arena, sizeof *out->del);
	if (code != CTL_OK || out->del == NULL)
		return code != CTL_OK ? code : CTL_ERROR;
	return op_del(ctl, &o, argc - first, argv + first, arena, out->del);
}

int txn_parse_op(struct ctl *ctl, const char *line, struct arena *arena, struct kv_op *out)
{
	char *argv[TXN_WORDS + 1];
	int argc;

	*out = (struct kv_op){0};
	if (txn_argv(line, arena, argv, TXN_WORDS, &argc) != ERR_OK || argc < 2)
		return ctl_fail(ctl, CTL_INVALID_INPUT, "invalid txn request: %s", line);
	if (strcmp(argv[0], "put") == 0)
		return txn_put(ctl, argc, argv, arena, out);
	if (strcmp(argv[0], "get") == 0)
		return txn_get(ctl, argc, argv, arena, out);
	if (strcmp(argv[0], "del") == 0)
		return txn_del(ctl, argc, argv, arena, out);
	return ctl_fail(ctl, CTL_INVALID_INPUT, "invalid txn request: %s", line);
}

/*
 * The next line of a block, trimmed and ended by a NUL, or "" at its end. A text that just stops
 * is refused: half a transaction must not run.
 */
static int txn_line(struct ctl *ctl, struct input *in, struct arena *arena, const char **out)
{
	struct bytes line;
	char *copy;
	int rc = input_read_line(in, &line);

	if (rc == ERR_NOT_FOUND)
		return ctl_fail(ctl, CTL_INVALID_INPUT,
				"EOF: each of the three blocks ends with an empty line");
	if (rc != ERR_OK)
		return ctl_fail(ctl, CTL_INVALID_INPUT, "%s", err_text(rc));
	while (line.len > 0 && memchr(" \t\r\n\v\f", line.data[0], 6) != NULL)
		line = bytes_of(line.data + 1, line.len - 1);
	while (line.len > 0 && memchr(" \t\r\n\v\f", line.data[line.len - 1], 6) != NULL)
		line.len--;
	copy = arena_alloc(arena, line.len + 1);
	if (copy == NULL)
		return ctl_fail(ctl, CTL_INVALID_INPUT, "%s", err_text(ERR_REQUEST_TOO_LARGE));
	if (line.len > 0)
		memcpy(copy, line.data, line.len);
	if (strlen(copy) != line.len)
		return ctl_fail(ctl, CTL_INVALID_INPUT,
				"a line has a zero byte; write \\x00 in quotes");
	*out = copy;
	return CTL_OK;
}

static int txn_compares(struct ctl *ctl, struct input *in, struct arena *arena, struct kv_txn *out)
{
	const char *line;
	char why[256];
	int code;

	out->compares.v = arena_array(arena, LIMIT_TXN_OPS, sizeof *out->compares.v);
	if (out->compares.v == NULL)
		return CTL_ERROR;
	for (;;) {
		code = txn_line(ctl, in, arena, &line);
		if (code != CTL_OK || *line == 0)
			return code;
		if (out->compares.n == LIMIT_TXN_OPS)
			return ctl_fail(ctl, CTL_INVALID_INPUT, "%s", err_text(ERR_TOO_MANY_OPS));
		if (txn_parse_compare(line, arena, &out->compares.v[out->compares.n++],
				      why) != ERR_OK)
			return ctl_fail(ctl, CTL_INVALID_INPUT, "%s", why);
	}
}

static int txn_requests(struct ctl *ctl, struct input *in, struct arena *arena, struct kv_op **v,
			size_t *n)
{
	const char *line;
	int code;

	*v = arena_array(arena, LIMIT_TXN_OPS, sizeof **v);
	if (*v == NULL)
		return CTL_ERROR;
	for (;;) {
		code = txn_line(ctl, in, arena, &line);
		if (code != CTL_OK || *line == 0)
			return code;
		if (*n == LIMIT_TXN_OPS)
			return ctl_fail(ctl, CTL_INVALID_INPUT, "%s", err_text(ERR_TOO_MANY_OPS));
		code = txn_parse_op(ctl, line, arena, &(*v)[(*n)++]);
		if (code != CTL_OK)
			return code;
	}
}

static void txn_prompt(struct ctl *ctl, bool prompt, const char *text)
{
	if (prompt) {
		fprintf(ctl->out, "%s\n", text);
		(void)fflush(ctl->out);
	}
}

int txn_parse(struct ctl *ctl, struct input *in, bool prompt, struct arena *arena,
	      struct kv_txn *out)
{
	int code;

	*out = (struct kv_txn){0};
	txn_prompt(ctl, prompt, "compares:");
	code = txn_compares(ctl, in, arena, out);
	if (code == CTL_OK) {
		txn_prompt(ctl, prompt, "success requests (get, put, del):");
		code = txn_requests(ctl, in, arena, &out->success.v, &out->success.n);
	}
	if (code == CTL_OK) {
		txn_prompt(ctl, prompt, "failure requests (get, put, del):");
		code = txn_requests(ctl, in, arena, &out->failure.v, &out->failure.n);
	}
	return code;
}
