/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of YAML as etcd's configuration files use: `key: value`, one level of sections, quotes, comments,
 * and lists of words in brackets or on lines of their own, which are joined with commas.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/text.h"
#include "ctl/etcd_flags.h"

struct yaml {
	struct etcd_flags *flags;
	char section[64];        /* "" or "peer-" within it */
	char key[128], value[4096];
	bool open;               /* a key whose value, if it has one, is on the next lines */
};

/* Cuts a comment: a # at the beginning or behind a blank, outside of quotes. */
static void yaml_uncomment(char *line)
{
	char quote = 0;

	for (char *c = line; *c != 0; c++) {
		if (quote != 0) {
			quote = *c == quote ? 0 : quote;
		} else if (*c == '"' || *c == '\'') {
			quote = *c;
		} else if (*c == '#' && (c == line || c[-1] == ' ' || c[-1] == '\t')) {
			*c = 0;
			return;
		}
	}
}

/* Without quotes or brackets; null and ~ are nothing. */
static char *yaml_scalar(char *text)
{
	size_t n;

	text = text_trim(text);
	n = strlen(text);
	if (n >= 2 && ((text[0] == '[' && text[n - 1] == ']') || (text[0] == text[n - 1] &&
								    (text[0] == '"' || text[0] == '\'')))) {
		text[n - 1] = 0;
		return yaml_scalar(text + 1);
	}
	if (strcmp(text, "null") == 0 || strcmp(text, "~") == 0)
		return text + n;
	return text;
}

static int yaml_flush(struct yaml *y)
{
	if (y->key[0] == 0)
		return ERR_OK;
	y->open = false;
	return etcd_flags_file(y->flags, y->key, y->value);
}

static bool yaml_item(struct yaml *y, char *text)
{
	size_t n = strlen(y->value);
	char *word = yaml_scalar(text);

	return y->open && snprintf(y->value + n, sizeof y->value - n, "%s%s", n > 0 ? "," : "", word) <
		(int)(sizeof y->value - n);
}

/* Names of sections are prefixes of flags. */
static bool yaml_section(struct yaml *y, const char *name)
{
	if (strcmp(name, "client-transport-security") == 0)
		y->section[0] = 0;
	else if (strcmp(name, "peer-transport-security") == 0)
		(void)snprintf(y->section, sizeof y->section, "peer-");
	else
		return false;
	y->key[0] = 0;
	return true;
}

static bool yaml_line(struct yaml *y, char *line, int *rc)
{
	bool inside = line[0] == ' ' || line[0] == '\t';
	char *text, *colon;

	yaml_uncomment(line);
	text = text_trim(line);
	if (text[0] == 0 || strcmp(text, "---") == 0 || strcmp(text, "...") == 0)
		return true;
	if (text[0] == '-' && (text[1] == ' ' || text[1] == 0))
		return yaml_item(y, text + 1);
	*rc = yaml_flush(y);
	if (*rc != ERR_OK)
		return true;
	colon = strchr(text, ':');
	if (colon == NULL || (colon[1] != 0 && colon[1] != ' ' && colon[1] != '\t'))
		return false;
	*colon = 0;
	if (!inside) {
		y->section[0] = 0;
		if (yaml_section(y, text))
			return true;
	}
	text = yaml_scalar(text);
	if (snprintf(y->key, sizeof y->key, "%s%s", inside ? y->section : "", text) >= (int)sizeof y->key)
		return false;
	text = yaml_scalar(colon + 1);
	y->open = text[0] == 0;
	return snprintf(y->value, sizeof y->value, "%s", text) < (int)sizeof y->value;
}

int etcd_yaml_read(const char *path, struct etcd_flags *f, char why[ETCD_WHY])
{
	struct yaml y = {.flags = f};
	char line[LIMIT_CONFIG_LINE_BYTES + 2];
	unsigned number = 0;
	int rc = ERR_OK;
	FILE *in = fopen(path, "re");

	if (in == NULL) {
		(void)snprintf(why, ETCD_WHY, "%.200s: %s", path, strerror(errno));
		return ERR_CONFIG;
	}
	while (rc == ERR_OK && fgets(line, sizeof line, in) != NULL) {
		number++;
		if (strchr(line, '\n') == NULL && !feof(in)) {
			(void)snprintf(why, ETCD_WHY, "%.200s:%u: the line is too long", path, number);
			rc = ERR_CONFIG;
			break;
		}
		line[strcspn(line, "\n")] = 0;
		if (!yaml_line(&y, line, &rc)) {
			(void)snprintf(why, ETCD_WHY, "%.200s:%u: not `key: value`", path, number);
			rc = ERR_CONFIG;
		}
	}
	if (rc == ERR_OK && ferror(in)) {
		(void)snprintf(why, ETCD_WHY, "%.200s: it cannot be read", path);
		rc = ERR_CONFIG;
	}
	(void)fclose(in);
	return rc == ERR_OK ? yaml_flush(&y) : rc;
}
