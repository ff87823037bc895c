/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs scenario scripts and compares what happens with what they say. A script is lines of
 *   # a comment        command        <four blanks>what happens
 * A TAP case per script. Programs arguments: [--rewrite] [SCRIPT...]; without a script all of
 * $srcdir/tests/script. --rewrite puts what happens into the files, for a person to review the
 * difference; a script whose claims (expect) fail is not rewritten.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/script/world.h"

static bool file_read(const char *path, struct buf *text)
{
	FILE *f = fopen(path, "re");
	char piece[4096];
	size_t n;

	if (f == NULL)
		return false;
	while ((n = fread(piece, 1, sizeof piece, f)) > 0)
		buf_add(text, piece, n);
	(void)fclose(f);
	return text->err == ERR_OK;
}

static bool file_write(const char *path, const struct buf *text)
{
	FILE *f = fopen(path, "we");
	bool good;

	if (f == NULL)
		return false;
	good = fwrite(text->data, 1, text->len, f) == text->len;
	return fclose(f) == 0 && good;
}

/* The whole script as it should read. `why`: what ended it, with its line; "" if nothing did. */
static void script_play(struct buf *script, struct buf *out, char why[400])
{
	struct world *w = world_new();
	int number = 0;
	char *rest = NULL, *line;

	why[0] = 0;
	buf_u8(script, 0);
	for (line = (char *)script->data; line != NULL && *line != 0 && !w->failure[0]; line = rest) {
		rest = strchr(line, '\n');
		if (rest != NULL)
			*rest++ = 0;
		number++;
		if (strncmp(line, "    ", 4) == 0)
			continue;
		buf_printf(&w->out, "%s\n", line);
		if (line[0] != '#' && line[0] != 0)
			command_run(w, line);
		if (w->failure[0])
			(void)snprintf(why, 400, "line %d, %s: %s", number, line, w->failure);
	}
	buf_add_bytes(out, buf_bytes(&w->out));
	world_free(&w);
}

/* How it came to the failure: the transcript's last lines. */
static void last_lines(const struct buf *out)
{
	size_t from = out->len, lines = 0;

	while (from > 0 && lines <= 12)
		lines += out->data[--from] == '\n';
	for (const char *at = (const char *)out->data + from; *at != 0;) {
		size_t len = strcspn(at, "\n");

		if (len > 0)
			printf("# %.*s\n", (int)len, at);
		at += len + (at[len] == '\n');
	}
}

static void differences(const struct buf *want, const struct buf *got)
{
	size_t i = 0, from = 0, line = 1;

	while (i < want->len && i < got->len && want->data[i] == got->data[i]) {
		if (want->data[i++] == '\n') {
			line++;
			from = i;
		}
	}
	printf("# line %zu is \"%.*s\"\n", line,
	       (int)strcspn((const char *)want->data + from, "\n"), (const char *)want->data + from);
	printf("# what happens is \"%.*s\"\n",
	       (int)strcspn((const char *)got->data + from, "\n"), (const char *)got->data + from);
}

/* Text against itself, as a file would be. */
static bool text_holds(const char *text, char why[400])
{
	struct buf script, out, want;
	bool same;

	buf_init(&script, 0);
	buf_init(&out, 0);
	buf_init(&want, 0);
	buf_str(&script, text);
	buf_str(&want, text);
	script_play(&script, &out, why);
	same = bytes_eq(buf_bytes(&want), buf_bytes(&out));
	buf_free(&script);
	buf_free(&out);
	buf_free(&want);
	return same && why[0] == 0;
}

/* The judge, judged. */
static bool judge_is_awake(void)
{
	static const char good[] = "nodes 1\ntimeout 1\n    1 asks for pre-votes in term 0 (heard from no leader)\n";
	char why[400];

	return !text_holds(good, why) &&                              /* more happens than that */
	       text_holds("# nothing\nnodes 1 2\nexpect leader none\n", why) &&
	       !text_holds("nodes 1 2\nexpect leader 1\n", why) && strstr(why, "1 does not lead") &&
	       !text_holds("nodes 1 2\nexpect leader none\n    1 dances\n", why) && why[0] == 0 &&
	       !text_holds("nodes 1 2\ndeliver\n", why) && why[0] != 0 &&
	       !text_holds("nodes 1 2\nnonsense\n", why) && why[0] != 0;
}

static bool script_run(const char *path, bool rewrite)
{
	struct buf script, want, out;
	char why[400];
	bool good;

	buf_init(&script, 0);
	buf_init(&want, 0);
	buf_init(&out, 0);
	good = file_read(path, &script);
	if (!good)
		printf("# %s: %s\n", path, strerror(errno));
	buf_add_bytes(&want, buf_bytes(&script));
	buf_u8(&want, 0);
	script_play(&script, &out, why);
	buf_u8(&out, 0);
	if (good && why[0]) {
		last_lines(&out);
		printf("# %s: %s\n", path, why);
		good = false;
	} else if (good && !bytes_eq(buf_bytes(&want), buf_bytes(&out))) {
		good = false;
		out.len--;
		if (rewrite)
			good = file_write(path, &out);
		else
			differences(&want, &out);
	}
	buf_free(&script);
	buf_free(&want);
	buf_free(&out);
	return good;
}

int main(int argc, char **argv)
{
	bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
	const char *top = getenv("srcdir"), *name;
	char pattern[4096];
	size_t bad = 0;
	glob_t g = {0};

	(void)snprintf(pattern, sizeof pattern, "%s/tests/script/*.script", top ? top : ".");
	for (int i = rewrite ? 2 : 1; i < argc; i++)
		CHECK(glob(argv[i], g.gl_pathc ? GLOB_APPEND : 0, NULL, &g) == 0);
	if (g.gl_pathc == 0 && glob(pattern, 0, NULL, &g) != 0) {
		printf("Bail out! no scripts at %s\n", pattern);
		return EXIT_FATAL;
	}
	printf("1..%zu\n", g.gl_pathc + 1);
	for (size_t i = 0; i <= g.gl_pathc; i++) {
		bool good = i == 0 ? judge_is_awake() : script_run(g.gl_pathv[i - 1], rewrite);

		name = i == 0 ? "judge_is_awake" : strrchr(g.gl_pathv[i - 1], '/');
		printf("%s %zu - %s\n", good ? "ok" : "not ok", i + 1, name && i ? name + 1 : name);
		bad += !good;
	}
	globfree(&g);
	return bad != 0;
}
