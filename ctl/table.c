/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of a few rows, kept as texts until all widths are known. */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/print.h"

enum { TABLE_CELLS = 4096 };

struct table {
	size_t columns, n;
	const char *const *headings;
	char *cells[TABLE_CELLS];
};

struct table *table_new(size_t columns, const char *const *headings)
{
	struct table *t = calloc(1, sizeof *t);

	if (t != NULL) {
		t->columns = columns;
		t->headings = headings;
	}
	return t;
}

void table_free(struct table **t)
{
	if (*t == NULL)
		return;
	for (size_t i = 0; i < (*t)->n; i++)
		free((*t)->cells[i]);
	free(*t);
	*t = NULL;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;

	if (t == NULL || t->n == TABLE_CELLS)
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text == NULL)
		return;
	for (char *p = text; *p != 0; p++)   /* what a server says must not draw on the terminal */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	t->cells[t->n++] = text;
}

static size_t table_width(const struct table *t, size_t column)
{
	size_t width = strlen(t->headings[column]);

	for (size_t i = column; i < t->n; i += t->columns)
		if (strlen(t->cells[i]) > width)
			width = strlen(t->cells[i]);
	return width;
}

static void table_rule(FILE *out, const struct table *t)
{
	for (size_t c = 0; c < t->columns; c++) {
		fputs("+-", out);
		for (size_t w = table_width(t, c); w > 0; w--)
			fputc('-', out);
		fputc('-', out);
	}
	fputs("+\n", out);
}

static void table_headings(FILE *out, const struct table *t)
{
	for (size_t c = 0; c < t->columns; c++) {
		size_t len = strlen(t->headings[c]), pad = table_width(t, c) - len;

		fprintf(out, "| %*s", (int)(pad / 2), "");
		for (size_t i = 0; i < len; i++)
			fputc(toupper((unsigned char)t->headings[c][i]), out);
		fprintf(out, "%*s ", (int)(pad - pad / 2), "");
	}
	fputs("|\n", out);
}

void table_print(FILE *out, const struct table *t)
{
	if (t == NULL)
		return;
	table_rule(out, t);
	table_headings(out, t);
	table_rule(out, t);
	for (size_t row = 0; (row + 1) * t->columns <= t->n; row++) {
		for (size_t c = 0; c < t->columns; c++)
			fprintf(out, "| %*s ", (int)table_width(t, c),
				t->cells[row * t->columns + c]);
		fputs("|\n", out);
	}
	table_rule(out, t);
}
