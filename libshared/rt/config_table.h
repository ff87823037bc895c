/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of CONFIG_LIST as data; private to config*.c. */
#ifndef QUORATE_CONFIG_TABLE_H
#define QUORATE_CONFIG_TABLE_H

#include "rt/config.h"

struct config_row {
	enum config_kind kind;
	const char *key, *def, *help;
	uint64_t min, max;
	size_t offset;
};

extern const struct config_row config_rows[];
extern const size_t config_n_rows;

#define CONFIG_U64_AT(c, row) ((uint64_t *)(void *)((char *)(c) + (row)->offset))
#define CONFIG_STR_AT(c, row) ((char **)(void *)((char *)(c) + (row)->offset))

/* Sets the text and gives ERR_CONFIG, for the callers' return. */
int config_fail(struct config_error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A string that is read back as it was written. */
bool config_is_writable(const char *v);

/* config_check.c */
int config_member_parse(const char *text, struct config *c, struct config_error *e);
int config_check(const struct config *c, struct config_error *e);

#endif
