/* SPDX-License-Identifier: Apache-2.0 */
#include <strings.h>

#include "base/check.h"
#include "ctl/commands.h"
#include "ctl/op.h"
#include "ctl/print.h"

static const struct flag get_flags[] = {
	FLAG(struct get_options, STR, consistency, "consistency", 0, "l", "l|s",
	     "Linearizable(l) or Serializable(s)"),
	FLAG(struct get_options, STR, order, "order", 0, "", "ORDER", "ASCEND or DESCEND"),
	FLAG(struct get_options, STR, sort_by, "sort-by", 0, "", "WHAT",
	     "CREATE, KEY, MODIFY, VALUE or VERSION"),
	FLAG(struct get_options, I64, limit, "limit", 0, "0", "N",
	     "at most this many pairs; 0: all"),
	FLAG(struct get_options, BOOL, prefix, "prefix", 0, NULL, "",
	     "all keys that begin with KEY"),
	FLAG(struct get_options, BOOL, from_key, "from-key", 0, NULL, "", "all keys from KEY on"),
	FLAG(struct get_options, I64, rev, "rev", 0, "0", "REV",
	     "read at this revision; 0: the latest"),
	FLAG(struct get_options, BOOL, keys_only, "keys-only", 0, NULL, "", "leave the values out"),
	FLAG(struct get_options, BOOL, count_only, "count-only", 0, NULL, "",
	     "only count (with -w fields or json)"),
	FLAG(struct get_options, BOOL, print_value_only, "print-value-only", 0, NULL, "",
	     "print only values (with -w simple)"),
	FLAG(struct get_options, I64, min_create, "min-create-rev", 0, "0", "REV",
	     "least create revision"),
	FLAG(struct get_options, I64, max_create, "max-create-rev", 0, "0", "REV",
	     "greatest create revision"),
	FLAG(struct get_options, I64, min_mod, "min-mod-rev", 0, "0", "REV",
	     "least modification revision"),
	FLAG(struct get_options, I64, max_mod, "max-mod-rev", 0, "0", "REV",
	     "greatest modification revision"),
	FLAG_END
};

struct get_word {
	const char *word;
	uint64_t value;
};

/* The value of a word of either case; an empty word is 0. */
static int get_word(struct ctl *ctl, const char *what, const char *word,
		    const struct get_word *words, size_t n,
		    uint64_t *value)
{
	*value = 0;
	if (word[0] == 0)
		return CTL_OK;
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(word, words[i].word) == 0) {
			*value = words[i].value;
			return CTL_OK;
		}
	return ctl_fail(ctl, CTL_BAD_FEATURE, "bad %s %s", what, word);
}

static int get_sort(struct ctl *ctl, const struct get_options *o, struct kv_range *out)
{
	static const struct get_word orders[] = {{"ASCEND", KV_ORDER_ASCEND},
						 {"DESCEND", KV_ORDER_DESCEND}};
	static const struct get_word targets[] = {
		{"CREATE", KV_SORT_CREATE}, {"KEY", KV_SORT_KEY}, {"MODIFY", KV_SORT_MOD},
		{"VALUE", KV_SORT_VALUE}, {"VERSION", KV_SORT_VERSION}};
	int code = get_word(ctl, "sort order", o->order, orders, ARRAY_LEN(orders),
			    &out->sort_order);

	if (code == CTL_OK)
		code = get_word(ctl, "sort target", o->sort_by, targets, ARRAY_LEN(targets),
				&out->sort_target);
	/* As etcd's client does: keys come in ascending order anyway, and unsorted is cheaper. */
	if (out->sort_target == KV_SORT_KEY && out->sort_order == KV_ORDER_ASCEND)
		out->sort_order = KV_ORDER_NONE;
	return code;
}

static int get_bounds(struct ctl *ctl, const struct get_options *o, struct kv_range *out)
{
	if (o->max_create > 0 && o->min_create > o->max_create)
		return ctl_fail(ctl, CTL_BAD_FEATURE, "--min-create-rev is above --max-create-rev");
	if (o->max_mod > 0 && o->min_mod > o->max_mod)
		return ctl_fail(ctl, CTL_BAD_FEATURE, "--min-mod-rev is above --max-mod-rev");
	out->min_create_revision = o->min_create > 0 ? o->min_create : 0;
	out->max_create_revision = o->max_create > 0 ? o->max_create : 0;
	out->min_mod_revision = o->min_mod > 0 ? o->min_mod : 0;
	out->max_mod_revision = o->max_mod > 0 ? o->max_mod : 0;
	out->revision = o->rev > 0 ? o->rev : 0;
	out->limit = o->limit > 0 ? o->limit : 0;
	return CTL_OK;
}

int op_get(struct ctl *ctl, const struct get_options *o, int argc, char **argv, struct arena *arena,
	   struct kv_range *out)
{
	int code;

	*out = (struct kv_range){.keys_only = o->keys_only, .count_only = o->count_only};
	if (o->keys_only && o->count_only)
		return ctl_bad_args(ctl, &ctl_get,
				    "`--keys-only` and `--count-only` cannot be set at the same "
				    "time, choose one");
	code = op_range(ctl, &ctl_get, o->prefix, o->from_key, argc, argv, arena, &out->key,
			&out->range_end);
	if (code != CTL_OK)
		return code;
	if (o->consistency[0] == 's' && o->consistency[1] == 0)
		out->serializable = true;
	else if (o->consistency[0] != 'l' || o->consistency[1] != 0)
		return ctl_fail(ctl, CTL_BAD_FEATURE, "unknown consistency flag \"%s\"",
				o->consistency);
	code = get_sort(ctl, o, out);
	return code != CTL_OK ? code : get_bounds(ctl, o, out);
}

/* The pairs are printed as they arrive. */
struct get_print {
	struct ctl *ctl;
	const struct printer *printer;
	struct kv_range_result head;
	struct kv_header header;
	bool any;
};

static int get_begin(void *arg, const struct kv_range_result *head)
{
	struct get_print *g = arg;

	g->head = *head;
	if (head->header != NULL) {
		g->header = *head->header;
		g->head.header = &g->header;
	}
	g->printer->range_begin(g->ctl, &g->head);
	return ferror(g->ctl->out) ? ERR_IO : ERR_OK;
}

static int get_pair(void *arg, const struct kv_pair *pair)
{
	struct get_print *g = arg;

	g->printer->range_pair(g->ctl, pair, !g->any);
	g->any = true;
	return ferror(g->ctl->out) ? ERR_IO : ERR_OK;
}

static int get_format(struct ctl *ctl, const struct get_options *o)
{
	if (o->count_only && ctl->format != CTL_FIELDS && ctl->format != CTL_JSON)
		return ctl_fail(ctl, CTL_BAD_ARGS,
				"--count-only is only for `--write-out=fields` or json");
	if (o->print_value_only && ctl->format != CTL_SIMPLE)
		return ctl_fail(ctl, CTL_BAD_ARGS,
				"print-value-only is only for `--write-out=simple`");
	ctl->value_only = o->print_value_only;
	return CTL_OK;
}

static int get_send(struct ctl *ctl, const struct kv_range *range)
{
	int code = CTL_OK;
	struct get_print g = {.ctl = ctl, .printer = print_of(ctl, &code)};
	struct client_sink sink = {get_begin, get_pair, &g};
	struct client_request r = {.method = "range", .params = range, .sink = &sink};

	if (g.printer == NULL)
		return code;
	code = ctl_call(ctl, &r);
	if (code == CTL_OK)
		g.printer->range_end(ctl, &g.head, g.any);
	return code;
}

static int get_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct get_options *o = options;
	struct kv_range range;
	struct arena arena;
	int code = get_format(ctl, o);

	if (code != CTL_OK)
		return code;
	arena_init(&arena, LIMIT_REQUEST_BYTES * 2);
	code = op_get(ctl, o, argc, argv, &arena, &range);
	if (code == CTL_OK)
		code = get_send(ctl, &range);
	arena_free(&arena);
	return code;
}

const struct ctl_command ctl_get = {
	.name = "get", .args = "KEY [RANGE_END]", .summary = "Gets the key or a range of keys",
	.more = "Prints each key and its value on a line of its own. With RANGE_END all keys from "
		"KEY up\n"
		"to but not including it. An empty KEY with --prefix or --from-key means all "
		"keys.\n",
	.flags = get_flags, .options_size = sizeof(struct get_options), .run = get_run};
