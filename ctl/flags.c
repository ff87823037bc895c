/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/flags.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

enum { FLAGS_MAX = 64, FLAGS_LONG_BASE = 256 };

int number_parse(const char *text, int base, int64_t *value)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, base);
	if (errno != 0 || end == text || *end != 0 || text[0] == ' ' || text[0] == '\t')
		return ERR_BAD_ARGUMENT;
	*value = v;
	return ERR_OK;
}

int number_parse_u64(const char *text, int base, uint64_t *value)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, base);
	if (errno != 0 || end == text || *end != 0 || strchr(" \t+-", text[0]) != NULL)
		return ERR_BAD_ARGUMENT;
	*value = v;
	return ERR_OK;
}

static double duration_unit_ms(const char *text, size_t *len)
{
	static const struct { const char *name; double ms; } units[] = {
		{"ms", 1}, {"us", 1e-3}, {"ns", 1e-6}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		*len = strlen(units[i].name);
		if (strncmp(text, units[i].name, *len) == 0)
			return units[i].ms;
	}
	*len = 0;
	return *text == 0 ? 1e3 : -1;
}

int duration_parse(const char *text, int64_t *ms)
{
	double sum = 0;

	do {
		size_t digits = strspn(text, "0123456789."), unit;
		char *end;
		double v, scale;

		if (digits == 0)
			return ERR_BAD_ARGUMENT;
		v = strtod(text, &end);
		if (end != text + digits)
			return ERR_BAD_ARGUMENT;
		scale = duration_unit_ms(end, &unit);
		if (scale < 0)
			return ERR_BAD_ARGUMENT;
		sum += v * scale;
		text = end + unit;
	} while (*text != 0);
	if (sum > 1e12)
		return ERR_BAD_ARGUMENT;
	*ms = (int64_t)(sum + 0.999999);   /* a positive duration is never none at all */
	return ERR_OK;
}

static int flag_bool(bool *to, const char *text)
{
	static const char *const yes[] = {"", "true", "1", "t"}, *const no[] = {"false", "0", "f"};

	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		if (strcmp(text, yes[i]) == 0) {
			*to = true;
			return ERR_OK;
		}
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (strcmp(text, no[i]) == 0) {
			*to = false;
			return ERR_OK;
		}
	return ERR_BAD_ARGUMENT;
}

int flag_set_text(const struct flag *f, void *target, const char *text)
{
	void *to = (char *)target + f->offset;

	switch (f->kind) {
	case FLAG_BOOL:
		return flag_bool(to, text);
	case FLAG_STR:
		*(const char **)to = text;
		return ERR_OK;
	case FLAG_I64:
		return number_parse(text, 10, to);
	case FLAG_U64:
		return number_parse_u64(text, 10, to);
	case FLAG_DURATION:
		return duration_parse(text, to);
	}
	return ERR_BAD_ARGUMENT;
}

void flags_default(const struct flag_set *set)
{
	for (const struct flag *f = set->flags; f->name != NULL; f++)
		if (f->def != NULL)
			CHECK(flag_set_text(f, set->target, f->def) == ERR_OK);
}

/* What getopt_long wants, made from the tables. */
struct flags_getopt {
	struct option options[FLAGS_MAX + 1];
	const struct flag *flags[FLAGS_MAX];
	void *targets[FLAGS_MAX];
	char letters[2 * FLAGS_MAX + 4];
	size_t n, n_letters;
};

static void flags_add(struct flags_getopt *g, const struct flag_set *set)
{
	for (const struct flag *f = set->flags; f->name != NULL; f++) {
		CHECK(g->n < FLAGS_MAX);
		g->flags[g->n] = f;
		g->targets[g->n] = set->target;
		g->options[g->n] = (struct option){
			f->name, f->kind == FLAG_BOOL ? optional_argument : required_argument, NULL,
			FLAGS_LONG_BASE + (int)g->n};
		if (f->letter != 0) {
			g->letters[g->n_letters++] = f->letter;
			if (f->kind != FLAG_BOOL)
				g->letters[g->n_letters++] = ':';
		}
		g->n++;
	}
}

static size_t flags_find(const struct flags_getopt *g, int got)
{
	if (got >= FLAGS_LONG_BASE)
		return (size_t)(got - FLAGS_LONG_BASE);
	for (size_t i = 0; i < g->n; i++)
		if (g->flags[i]->letter != 0 && g->flags[i]->letter == got)
			return i;
	return g->n;
}

static int flags_take(const struct flags_getopt *g, int got, char **argv, char why[FLAG_WHY])
{
	size_t i = flags_find(g, got);
	const char *text = optarg != NULL ? optarg : "";

	if (got == '?' || got == ':' || i >= g->n) {
		const char *what = got == ':' ? "a value is missing after the" : "unknown";

		if (optopt > 0 && optopt < FLAGS_LONG_BASE)
			(void)snprintf(why, FLAG_WHY, "%s flag: -%c", what, optopt);
		else
			(void)snprintf(why, FLAG_WHY, "%s flag: %s", what, argv[optind - 1]);
		return ERR_BAD_ARGUMENT;
	}
	if (flag_set_text(g->flags[i], g->targets[i], text) == ERR_OK)
		return ERR_OK;
	(void)snprintf(why, FLAG_WHY, "bad value \"%s\" for --%s", text, g->flags[i]->name);
	return ERR_BAD_ARGUMENT;
}

int flags_parse(const struct flag_set *sets, size_t n_sets, bool leading, int argc, char **argv,
		int *first, char why[FLAG_WHY])
{
	struct flags_getopt g = {0};
	int got;

	/* '+' stops at the first other word; ':' tells a missing value from an unknown flag. */
	if (leading)
		g.letters[g.n_letters++] = '+';
	g.letters[g.n_letters++] = ':';
	for (size_t i = 0; i < n_sets; i++)
		flags_add(&g, &sets[i]);
	opterr = 0;
	optind = 0;   /* glibc and musl: start over, forget everything */
	while ((got = getopt_long(argc, argv, g.letters, g.options, NULL)) != -1)
		if (flags_take(&g, got, argv, why) != ERR_OK)
			return ERR_BAD_ARGUMENT;
	*first = optind;
	return ERR_OK;
}

void flags_usage(FILE *out, const struct flag *flags)
{
	for (const struct flag *f = flags; f->name != NULL; f++) {
		char left[64];
		bool value = f->kind != FLAG_BOOL;

		(void)snprintf(left, sizeof left, "%c%c%s --%s%s%s", f->letter ? '-' : ' ',
			       f->letter ? f->letter : ' ', f->letter ? "," : " ", f->name,
			       value ? " " : "", value ? f->arg : "");
		fprintf(out, "  %-30s %s", left, f->help);
		if (value && f->def != NULL && f->def[0] != 0 && strcmp(f->def, "0") != 0)
			fprintf(out, " (default %s)", f->def);
		fputc('\n', out);
	}
}
