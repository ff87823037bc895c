/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/native-protocol.md says what the code does: its error table is base/err.h, its tables of
 * fields are the message lists, and its examples, played against a gateway, give those very bytes.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "proto/native.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { LINE = 1024, LINES = 2000 };

static struct {
	char line[LINES][LINE];
	size_t n;
} doc;

static void read_doc(void)
{
	const char *top = getenv("srcdir");
	char path[4096];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/docs/native-protocol.md", top ? top : ".");
	f = fopen(path, "r");
	OK(f != NULL);
	for (doc.n = 0; doc.n < LINES && fgets(doc.line[doc.n], LINE, f) != NULL; doc.n++)
		doc.line[doc.n][strcspn(doc.line[doc.n], "\n")] = 0;
	OK(feof(f));
	(void)fclose(f);
}

static size_t find_line(const char *text)
{
	size_t i = 0;

	while (i < doc.n && strcmp(doc.line[i], text) != 0)
		i++;
	if (i == doc.n)
		printf("# no line: %s\n", text);
	OK(i < doc.n);
	return i;
}

TEST(the_error_table_is_the_one_of_the_code)
{
	static const char *const agains[] = {"0 no", "1 safe", "2 unsure"};
	size_t at;

	read_doc();
	at = find_line("| code | name | again | text |") + 2;
#define E(name, code, grpc, again, text) \
	if ((code) != 0) { \
		char want[LINE]; \
		(void)snprintf(want, sizeof want, "| %d | %s | %s | %s |", code, #name, \
			       agains[ERR_AGAIN_##again], text); \
		EQ_STR(doc.line[at++], want); \
	}
	ERR_LIST(E)
#undef E
	EQ_STR(doc.line[at], "");
}

static void type_text(const struct msg_field *f, char *out, size_t size)
{
	static const char *const kinds[] = {"uint", "int", "bool", "bin", "str"};

	if (f->kind == MSG_LIST)
		(void)snprintf(out, size, "list of `%s`", f->sub->name);
	else if (f->kind == MSG_OPT)
		(void)snprintf(out, size, "`%s` or nil", f->sub->name);
	else
		(void)snprintf(out, size, "%s", kinds[f->kind]);
}

/* The table of this message, and of all that it is made of. */
static void check_message(const struct msg_desc *d, const struct msg_desc **seen, size_t *n)
{
	char want[LINE], type[128];
	size_t at;

	for (size_t i = 0; i < *n; i++)
		if (seen[i] == d)
			return;
	OK(*n < 64);
	seen[(*n)++] = d;
	(void)snprintf(want, sizeof want, "#### `%s`", d->name);
	at = find_line(want) + 4;
	for (size_t i = 0; i < d->n_fields; i++, at++) {
		const struct msg_field *f = &d->fields[i];

		type_text(f, type, sizeof type);
		(void)snprintf(want, sizeof want, "| %zu | `%s` | %s | ", i, f->name, type);
		if (strncmp(doc.line[at], want, strlen(want)) != 0)
			EQ_STR(doc.line[at], want);
		if (f->sub != NULL)
			check_message(f->sub, seen, n);
	}
	EQ_STR(doc.line[at], "");
}

TEST(every_message_is_there_with_its_fields_in_order)
{
	const struct msg_desc *seen[64];
	size_t n = 0;

	read_doc();
	for (size_t i = 0; i < native_method_count; i++) {
		check_message(native_methods[i].params, seen, &n);
		check_message(native_methods[i].result, seen, &n);
	}
	for (size_t i = 0; i < native_notification_count; i++)
		check_message(native_notifications[i].params, seen, &n);
	OK(n > 25);
}

TEST(every_notification_is_in_the_list)
{
	size_t at;

	read_doc();
	at = find_line("| method | params | what it says |") + 2;
	for (size_t i = 0; i < native_notification_count; i++) {
		const struct native_notification *m = &native_notifications[i];
		char want[LINE];

		(void)snprintf(want, sizeof want, "| `%s` | `%s` | %s |", m->name, m->params->name, m->help);
		EQ_STR(doc.line[at++], want);
	}
	EQ_STR(doc.line[at], "");
}

TEST(every_method_is_in_the_list)
{
	size_t at;

	read_doc();
	at = find_line("| method | params | result | what it does |") + 2;
	for (size_t i = 0; i < native_method_count; i++) {
		const struct native_method *m = &native_methods[i];
		char want[LINE];

		(void)snprintf(want, sizeof want, "| `%s` | `%s` | `%s` | %s |", m->name, m->params->name,
			       m->result->name, m->help);
		EQ_STR(doc.line[at++], want);
		(void)snprintf(want, sizeof want, "### %s", m->name);
		(void)find_line(want);
	}
	EQ_STR(doc.line[at], "");
}

static void add_hex(struct buf *b, const char *text)
{
	unsigned byte;
	int used;

	while (sscanf(text, " %2x%n", &byte, &used) == 1) {
		buf_u8(b, (uint8_t)byte);
		text += used;
	}
	while (isspace((unsigned char)*text))
		text++;
	EQ_STR(text, "");
}

/* The lines that begin with `mark`, from *at on, as bytes. */
static struct buf example(size_t *at, char mark)
{
	struct buf b = {0};

	for (; *at < doc.n && doc.line[*at][0] == mark && doc.line[*at][1] == ' '; ++*at)
		add_hex(&b, doc.line[*at] + 2);
	return b;
}

TEST(the_examples_are_true)
{
	struct world *w;
	struct rpc_peer p;
	size_t examples = 0;

	read_doc();
	w = world_new(7000);
	world_join(w, &p);
	for (size_t i = find_line("## 6. Examples"); i < doc.n; i++) {
		struct buf ask, want;

		if (doc.line[i][0] != '>')
			continue;
		ask = example(&i, '>');
		want = example(&i, '<');
		OK(want.len > 0);
		rpc_peer_bytes(&p, ask.data, ask.len);
		for (int k = 0; k < 10000 && p.in.len < want.len; k++) {
			rpc_peer_write(&p, 1u << 16);
			world_turn(w);
			rpc_peer_read(&p, 1u << 16);
		}
		if (p.in.len != want.len || memcmp(p.in.data, want.data, want.len) != 0)
			printf("# the example before line %zu\n", i + 1);
		EQ_INT(p.in.len, want.len);
		EQ_MEM(p.in.data, want.data, want.len);
		buf_clear(&p.in);
		buf_free(&ask);
		buf_free(&want);
		examples++;
	}
	OK(examples >= 10);
	rpc_peer_close(&p);
	world_free(w);
}

TESTS = {
	T(the_error_table_is_the_one_of_the_code),
	T(every_message_is_there_with_its_fields_in_order),
	T(every_method_is_in_the_list),
	T(every_notification_is_in_the_list),
	T(the_examples_are_true),
};
TAP_MAIN
