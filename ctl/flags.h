/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command-line flags as tables: parsing, defaults and the usage text come from the same rows.
 *
 *   struct demo { bool all; int64_t limit; };
 *   static const struct flag demo_flags[] = {
 *       FLAG(struct demo, BOOL, all, "all", 0, NULL, "", "everything"),
 *       FLAG(struct demo, I64, limit, "limit", 'l', "10", "N", "at most N"),
 *       FLAG_END};
 *
 * `--name value`, `--name=value`, flags before or after other words, `--` ends them. A BOOL takes
 * `--name` and `--name=false`.
 */
#ifndef QUORATE_CTL_FLAGS_H
#define QUORATE_CTL_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum flag_kind {
	FLAG_BOOL,       /* bool */
	FLAG_STR,        /* const char *; NULL without a default */
	FLAG_I64,        /* int64_t, decimal */
	FLAG_U64,        /* uint64_t, decimal */
	FLAG_DURATION    /* int64_t, milliseconds: 5s, 1m30s, 250ms; a bare number is seconds */
};

struct flag {
	const char *name;
	char letter;          /* 0: none */
	enum flag_kind kind;
	size_t offset;
	const char *def;      /* text of the default; NULL: zero */
	const char *arg;      /* what the value is called */
	const char *help;
};

#define FLAG(type, kind, member, name, letter, def, arg, help) \
	{name, letter, FLAG_##kind, offsetof(type, member), def, arg, help}
#define FLAG_END {NULL, 0, FLAG_BOOL, 0, NULL, NULL, NULL}

struct flag_set {
	const struct flag *flags;
	void *target;
};

enum { FLAG_WHY = 256 };

void flags_default(const struct flag_set *set);
/* One flag from a text, as `--name=text` would. ERR_OK or ERR_BAD_ARGUMENT. */
int flag_set_text(const struct flag *f, void *target, const char *text);

/*
 * Parses argv[1..] against all sets (the first that has the name wins). The words that are no
 * flags are moved to the end; *first is the index of the first of them. With `leading`, parsing
 * stops at the first of them.
 * ERR_OK, or ERR_BAD_ARGUMENT and why.
 */
int flags_parse(const struct flag_set *sets, size_t n_sets, bool leading, int argc, char **argv,
		int *first, char why[FLAG_WHY]);

void flags_usage(FILE *out, const struct flag *flags);

/* "1m30s" -> milliseconds; ERR_OK or ERR_BAD_ARGUMENT. */
int duration_parse(const char *text, int64_t *ms);
int number_parse(const char *text, int base, int64_t *value);
int number_parse_u64(const char *text, int base, uint64_t *value);

#endif
