/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: defaults, file, flags. What the values must be together is config_check.c's. */
#include "rt/config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "rt/config_table.h"

const struct config_row config_rows[] = {
#define CONFIG_ROW(kind, key, def, min, max, help) \
	{CONFIG_##kind, #key, def, help, min, max, offsetof(struct config, key)},
	CONFIG_LIST(CONFIG_ROW)
#undef CONFIG_ROW
};
enum { CONFIG_ROWS = ARRAY_LEN(config_rows) };
const size_t config_n_rows = CONFIG_ROWS;

_Static_assert(CONFIG_ROWS <= 64, "the keys seen are bits of one word");

/* One source of settings: the file, or the flags. */
struct config_source {
	struct config *c;
	struct config_error *e;
	uint64_t seen;                /* a bit per row */
};

int config_fail(struct config_error *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	return ERR_CONFIG;
}

static const struct config_row *config_find(const char *key, size_t len)
{
	for (size_t i = 0; i < CONFIG_ROWS; i++)
		if (strlen(config_rows[i].key) == len && memcmp(config_rows[i].key, key, len) == 0)
			return &config_rows[i];
	return NULL;
}

/* Decimal, or hexadecimal with 0x; nothing else that strtoull would take. */
static bool config_number(const char *text, uint64_t *out)
{
	bool hex = text[0] == '0' && text[1] == 'x';
	const char *digits = hex ? text + 2 : text;
	char *end;

	if (digits[0] == 0 || digits[strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789")] != 0)
		return false;
	errno = 0;
	*out = strtoull(digits, &end, hex ? 16 : 10);
	return errno == 0 && *end == 0;
}

bool config_is_writable(const char *v)
{
	size_t n = strlen(v);

	return text_is_plain(v) && strstr(v, " #") == NULL && v[0] != ' ' && (n == 0 || v[n - 1] != ' ');
}

static int config_set(struct config *c, const struct config_row *row, const char *value,
		      struct config_error *e)
{
	uint64_t n;

	if (row->kind == CONFIG_STR) {
		if (!config_is_writable(value))
			return config_fail(e, "%s: control characters, blanks around it, or a comment, which "
					   "must stand on a line of its own", row->key);
		mem_free(*CONFIG_STR_AT(c, row));
		*CONFIG_STR_AT(c, row) = mem_strdup(value);
		return ERR_OK;
	}
	if (!config_number(value, &n))
		return config_fail(e, "%s: not a number: %s", row->key, value);
	if (n < row->min || n > row->max)
		return config_fail(e, "%s: %" PRIu64 " is not within %" PRIu64 " to %" PRIu64, row->key, n,
				   row->min, row->max);
	*CONFIG_U64_AT(c, row) = n;
	return ERR_OK;
}

static int config_set_once(struct config_source *s, const struct config_row *row, const char *value)
{
	uint64_t bit = UINT64_C(1) << (row - config_rows);

	if (s->seen & bit)
		return config_fail(s->e, "%s: given twice", row->key);
	s->seen |= bit;
	return config_set(s->c, row, value, s->e);
}

static int config_line(struct config_source *s, char *line)
{
	char *key = text_trim(line), *value;
	const struct config_row *row;

	if (key[0] == 0 || key[0] == '#')
		return ERR_OK;
	value = strchr(key, '=');
	if (value == NULL)
		return config_fail(s->e, "not of the form key = value");
	*value++ = 0;
	key = text_trim(key);
	value = text_trim(value);
	if (strcmp(key, "member") == 0)
		return config_member_parse(value, s->c, s->e);
	row = config_find(key, strlen(key));
	if (row == NULL)
		return config_fail(s->e, "unknown key: %s", key);
	return config_set_once(s, row, value);
}

/* Puts where it was before what it was. */
static int config_at(struct config_error *e, const char *name, unsigned line)
{
	struct config_error inner = *e;

	if (line > 0)
		return config_fail(e, "%s:%u: %s", name, line, inner.text);
	return config_fail(e, "%s: %s", name, inner.text);
}

static int config_text(struct config *c, struct bytes text, const char *name, struct config_error *e)
{
	struct config_source s = {c, e, 0};
	char line[LIMIT_CONFIG_LINE_BYTES + 1];
	unsigned number = 1;
	size_t len;
	int err;

	for (; text.len > 0; number++) {
		const uint8_t *end = memchr(text.data, '\n', text.len);

		len = end ? (size_t)(end - text.data) : text.len;
		err = len > LIMIT_CONFIG_LINE_BYTES ? config_fail(e, "line too long") : ERR_OK;
		if (!err && memchr(text.data, 0, len) != NULL)
			err = config_fail(e, "NUL byte");
		if (!err) {
			memcpy(line, text.data, len);
			line[len] = 0;
			err = config_line(&s, line);
		}
		if (err)
			return config_at(e, name, number);
		len += end != NULL;
		text = bytes_of(text.data + len, text.len - len);
	}
	return ERR_OK;
}

bool config_is_flag(const char *word, bool *takes_next)
{
	size_t len;

	if (strncmp(word, "--", 2) != 0)
		return false;
	len = strcspn(word + 2, "=");
	*takes_next = word[2 + len] == 0;
	return config_find(word + 2, len) != NULL;
}

static int config_flags(struct config *c, int argc, char *const *argv, struct config_error *e)
{
	struct config_source s = {c, e, 0};
	const char *value;
	bool takes_next;
	size_t len;

	for (int i = 0; i < argc; i++) {
		if (!config_is_flag(argv[i], &takes_next))
			return config_fail(e, "unknown flag: %s", argv[i]);
		if (takes_next && i + 1 == argc)
			return config_fail(e, "%s: no value", argv[i]);
		len = strcspn(argv[i] + 2, "=");
		value = takes_next ? argv[i + 1] : argv[i] + 2 + len + 1;
		if (config_set_once(&s, config_find(argv[i] + 2, len), value) != ERR_OK)
			return config_at(e, "flag", 0);
		i += takes_next;
	}
	return ERR_OK;
}

static void config_defaults(struct config *c)
{
	struct config_error e;

	memset(c, 0, sizeof *c);
	for (size_t i = 0; i < CONFIG_ROWS; i++)
		if (config_rows[i].kind == CONFIG_STR || config_rows[i].def[0] != 0)
			CHECK(config_set(c, &config_rows[i], config_rows[i].def, &e) == ERR_OK);
}

int config_parse(struct bytes text, const char *name, int argc, char *const *argv, struct config *c,
		 struct config_error *e)
{
	int err;

	config_defaults(c);
	err = config_text(c, text, name, e);
	if (!err)
		err = config_flags(c, argc, argv, e);
	if (!err && config_check(c, e) != ERR_OK)
		err = config_at(e, name, 0);
	if (err)
		config_free(c);
	return err;
}

static int config_load(const char *path, struct buf *text, struct config_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;
	void *to;

	if (fd >= 0) {
		while ((to = buf_reserve(text, 4096)) != NULL && (n = read(fd, to, 4096)) > 0)
			text->len += (size_t)n;
		(void)close(fd);
	}
	if (text->err)
		return config_fail(e, "%s: larger than %u bytes", path, LIMIT_CONFIG_BYTES);
	if (n < 0)
		return config_fail(e, "%s: %s", path, strerror(errno));
	return ERR_OK;
}

int config_read(const char *path, int argc, char *const *argv, struct config *c, struct config_error *e)
{
	struct buf text;
	int err;

	memset(c, 0, sizeof *c);
	buf_init(&text, LIMIT_CONFIG_BYTES + 4096);
	err = config_load(path, &text, e);
	if (!err)
		err = config_parse(buf_bytes(&text), path, argc, argv, c, e);
	buf_free(&text);
	return err;
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < CONFIG_ROWS; i++)
		if (config_rows[i].kind == CONFIG_STR)
			mem_free(*CONFIG_STR_AT(c, &config_rows[i]));
	for (size_t i = 0; i < c->n_members; i++) {
		mem_free(c->members[i].name);
		mem_free(c->members[i].peer_addr);
		mem_free(c->members[i].client_addr);
	}
	memset(c, 0, sizeof *c);
}

const struct config_member *config_member_by_id(const struct config *c, uint64_t id)
{
	for (size_t i = 0; i < c->n_members; i++)
		if (c->members[i].id == id)
			return &c->members[i];
	return NULL;
}

const struct config_member *config_self(const struct config *c)
{
	const struct config_member *m = config_member_by_id(c, c->node_id);

	CHECK(m != NULL);
	return m;
}

char *config_path(const char *dir, const char *name)
{
	size_t size = strlen(dir) + 1 + strlen(name) + 1;
	char *path = mem_alloc(size);

	(void)snprintf(path, size, "%s/%s", dir, name);
	return path;
}
