/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "client/watching.h"
#include "ctl/codec.h"
#include "ctl/commands.h"
#include "ctl/input.h"
#include "ctl/op.h"
#include "ctl/print.h"
#include "ctl/watch_program.h"

enum { WATCH_LINE_WORDS = 64, WATCH_TURN_MS = 1000 };

struct watch_options {
	bool interactive, prefix, from_key, prev_kv, progress_notify;
	int64_t rev;
};

static const struct flag watch_flags[] = {
	FLAG(struct watch_options, BOOL, interactive, "interactive", 'i', NULL, "",
	     "read lines of watches from standard input"),
	FLAG(struct watch_options, BOOL, prefix, "prefix", 0, NULL, "", "all keys that begin with KEY"),
	FLAG(struct watch_options, BOOL, from_key, "from-key", 0, NULL, "", "all keys from KEY on"),
	FLAG(struct watch_options, I64, rev, "rev", 0, "0", "REV",
	     "begin at this revision, past or future; 0: from now on"),
	FLAG(struct watch_options, BOOL, prev_kv, "prev-kv", 0, NULL, "",
	     "print the pair before each event too"),
	FLAG(struct watch_options, BOOL, progress_notify, "progress-notify", 0, NULL, "",
	     "print now and then how far it has got when nothing happens"),
	FLAG_END
};

/* What is run for the events of one watch; the words live here. */
struct watch_program {
	int64_t id;
	struct watch_program *next;
	char **argv;                  /* ends with NULL */
	struct buf words;
};

struct watch_session {
	struct ctl *ctl;
	const struct printer *printer;
	struct client_watching watching;
	struct watch_program *programs;
	struct kv_header header;      /* of the server that answered last */
	bool interactive, over;       /* interactive: standard input is read */
	int code;
};

static void run_end(struct watch_session *r, int code)
{
	if (!r->over)
		r->code = code;
	r->over = true;
}

/* ---- what comes ---- */

static void run_begun(void *arg, int64_t id, void *owner, const struct kv_header *h, bool again)
{
	struct watch_session *r = arg;

	(void)id;
	(void)owner;
	(void)again;
	r->header = *h;
}

static const struct watch_program *run_program(const struct watch_session *r, int64_t id)
{
	const struct watch_program *p = r->programs;

	while (p != NULL && p->id != id)
		p = p->next;
	return p;
}

static void run_flush(struct watch_session *r)
{
	if (fflush(r->ctl->out) != 0 || ferror(r->ctl->out))
		run_end(r, CTL_IO);
}

static bool run_events(void *arg, int64_t id, void *owner, const struct native_watch_events *m)
{
	struct watch_session *r = arg;
	const struct watch_program *p = run_program(r, id);

	(void)owner;
	r->header.revision = m->revision;
	for (size_t i = 0; i < m->events.n; i++) {
		if (m->events.v[i].kv == NULL) {
			run_end(r, ctl_fail(r->ctl, CTL_ERROR, "the server sent an event without a key"));
			return true;
		}
	}
	if (p == NULL) {
		r->printer->watch(r->ctl, &r->header, m->events.v, m->events.n);
		run_flush(r);
		return true;
	}
	for (size_t i = 0; i < m->events.n && !r->over; i++) {
		r->printer->watch(r->ctl, &r->header, &m->events.v[i], 1);
		run_flush(r);
		if (watch_program_run(r->ctl, p->argv, &m->events.v[i]) != CTL_OK)
			run_end(r, CTL_ERROR);
	}
	return true;
}

static void run_progress(void *arg, int64_t id, void *owner, int64_t revision)
{
	struct watch_session *r = arg;

	(void)id;
	(void)owner;
	r->header.revision = revision;
	if (r->ctl->format == CTL_SIMPLE)
		fprintf(r->ctl->out, "progress notify: %" PRId64 "\n", revision);
	else
		r->printer->watch(r->ctl, &r->header, NULL, 0);
	run_flush(r);
}

static void run_ended(void *arg, int64_t id, void *owner, int code, struct bytes text,
		      int64_t compact_revision)
{
	struct watch_session *r = arg;

	(void)id;
	(void)owner;
	(void)code;
	(void)fflush(r->ctl->out);
	fprintf(r->ctl->err, "watch was canceled (%.*s)\n", (int)text.len, (const char *)text.data);
	if (compact_revision > 0)
		fprintf(r->ctl->err, "the first revision that can be watched is %" PRId64 "\n", compact_revision);
	if (client_watches_count(r->watching.watches) <= 1 && !r->interactive)
		run_end(r, CTL_ERROR);        /* it was the last one */
}

static void run_lost(void *arg, const char *why)
{
	struct watch_session *r = arg;

	(void)fflush(r->ctl->out);
	fprintf(r->ctl->err, "%s; trying again\n", why);
	(void)fflush(r->ctl->err);
}

/* ---- what is asked ---- */

/* Words must last as long as the watch: those of main do, those of a line come with their buffer. */
static int run_add_program(struct watch_session *r, int64_t id, int argc, char **argv, struct buf *words)
{
	struct watch_program *p = calloc(1, sizeof *p);
	char **copy = calloc((size_t)argc + 1, sizeof *copy);

	if (p == NULL || copy == NULL) {
		free(p);
		free(copy);
		return ctl_fail(r->ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	}
	memcpy(copy, argv, (size_t)argc * sizeof *copy);
	p->id = id;
	p->argv = copy;
	if (words != NULL) {
		p->words = *words;
		*words = (struct buf){0};
	}
	p->next = r->programs;
	r->programs = p;
	return CTL_OK;
}

static void run_free_programs(struct watch_session *r)
{
	while (r->programs != NULL) {
		struct watch_program *p = r->programs;

		r->programs = p->next;
		buf_free(&p->words);
		free(p->argv);
		free(p);
	}
}

static int run_add(struct watch_session *r, const struct watch_options *o, int argc, char **argv, int n_program,
		   char **program, struct buf *words)
{
	struct native_watch p = {.start_revision = o->rev, .prev_kv = o->prev_kv,
				 .progress_notify = o->progress_notify};
	struct arena arena;
	int64_t id;
	int code;

	if (o->rev < 0)
		return ctl_fail(r->ctl, CTL_BAD_ARGS, "a revision to begin at is not negative");
	arena_init(&arena, LIMIT_CLIENT_RESPONSE_BYTES);
	code = op_range(r->ctl, &ctl_watch, o->prefix, o->from_key, argc, argv, &arena, &p.key, &p.range_end);
	if (code == CTL_OK && client_watches_add(r->watching.watches, &p, NULL, &id) != ERR_OK)
		code = ctl_fail(r->ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	if (code == CTL_OK && n_program > 0)
		code = run_add_program(r, id, n_program, program, words);
	arena_free(&arena);
	return code;
}

/* `[watch] [flags] KEY [RANGE_END] [-- PROGRAM...]` or `progress`. A bad line is told, and passed over. */
static void run_line(struct watch_session *r, const char *line)
{
	char name[] = "watch", *argv[WATCH_LINE_WORDS + 2] = {name}, why[FLAG_WHY], *at;
	struct watch_options o = {0};
	struct flag_set set = {watch_flags, &o};
	struct buf words = {0};
	size_t n = 0;
	int argc = 1, first, end;

	if (codec_words(line, &words, WATCH_LINE_WORDS, &n) != ERR_OK) {
		(void)ctl_fail(r->ctl, CTL_INVALID_INPUT, "bad line: %s", line);
		buf_free(&words);
		return;
	}
	at = (char *)words.data;
	for (size_t i = 0; i < n; i++, at += strlen(at) + 1)
		if (i > 0 || strcmp(at, name) != 0)
			argv[argc++] = at;
	for (end = 1; end < argc && strcmp(argv[end], "--") != 0;)
		end++;
	if (argc == 2 && strcmp(argv[1], "progress") == 0)
		client_watches_ask(r->watching.watches);
	else if (argc > 1 && flags_parse(&set, 1, false, end, argv, &first, why) != ERR_OK)
		(void)ctl_fail(r->ctl, CTL_INVALID_INPUT, "%s", why);
	else if (argc > 1)
		(void)run_add(r, &o, end - first, argv + first, end < argc ? argc - end - 1 : 0, argv + end + 1,
			      &words);
	(void)fflush(r->ctl->err);
	buf_free(&words);
}

static void run_lines(struct watch_session *r, struct input *in)
{
	struct bytes line;
	char text[4096];
	int rc;

	if (input_fill(in) != ERR_OK)
		run_end(r, ctl_fail(r->ctl, CTL_INVALID_INPUT, "a line is too long"));
	while (!r->over && (rc = input_line(in, &line)) != ERR_TRUNCATED) {
		if (rc == ERR_NOT_FOUND) {
			r->interactive = false;       /* what is watched goes on */
			if (client_watches_count(r->watching.watches) == 0)
				run_end(r, CTL_OK);
			return;
		}
		if (line.len >= sizeof text || (line.len > 0 && memchr(line.data, 0, line.len) != NULL)) {
			/* Cut, it would be about another key. */
			(void)ctl_fail(r->ctl, CTL_INVALID_INPUT, line.len >= sizeof text ? "a line is too long" :
				       "a line has a zero byte; write \\x00 in quotes");
			(void)fflush(r->ctl->err);
			continue;
		}
		(void)snprintf(text, sizeof text, "%.*s", (int)line.len, (const char *)line.data);
		run_line(r, text);
	}
}

static bool run_readable(const struct input *in)
{
	struct pollfd p = {.fd = in->fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void run_loop(struct watch_session *r)
{
	struct input in;

	input_open(&in, r->ctl->in_fd, 4096);
	while (!r->over) {
		if (r->interactive && run_readable(&in))
			run_lines(r, &in);
		if (!r->over)
			client_watching_turn(&r->watching, r->interactive ? in.fd : -1,
					     mono_add_ms(mono_now(), WATCH_TURN_MS));
	}
	input_free(&in);
}

static int watch_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	static const struct client_watches_ops ops = {run_begun, run_events, run_progress, run_ended};
	const struct watch_options *o = options;
	struct watch_session r = {.ctl = ctl, .interactive = o->interactive};
	struct client *c;

	r.printer = print_of(ctl, &r.code);
	c = r.printer != NULL ? ctl_client(ctl, &r.code) : NULL;
	if (c == NULL)
		return r.code;
	if (o->interactive && (argc > 0 || ctl->n_rest > 0))
		return ctl_bad_args(ctl, &ctl_watch, "with -i the watches are read from standard input");
	r.watching = (struct client_watching){.client = c, .lost = run_lost, .arg = &r};
	if (client_watches_open(&ops, &r, &r.watching.watches) != ERR_OK)
		return ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	if (!o->interactive)
		r.code = run_add(&r, o, argc, argv, ctl->n_rest, ctl->rest, NULL);
	if (r.code == CTL_OK)
		run_loop(&r);
	client_watching_end(&r.watching);
	run_free_programs(&r);
	return r.code;
}

const struct ctl_command ctl_watch = {
	.name = "watch", .args = "KEY [RANGE_END] [-- PROGRAM ARGS...]",
	.summary = "Prints what happens to keys, until it is stopped",
	.more = "When the connection fails it is made again, to another endpoint where there is one, and the\n"
		"watch goes on where it was: no event is missing or printed twice.\n"
		"PROGRAM is run for each event, with QUORATE_WATCH_REVISION, QUORATE_WATCH_EVENT_TYPE,\n"
		"QUORATE_WATCH_KEY and QUORATE_WATCH_VALUE (both quoted) in its environment.\n"
		"With -i lines are read: [watch] [flags] KEY [RANGE_END] [-- PROGRAM...], or progress.\n",
	.flags = watch_flags, .takes_program = true, .options_size = sizeof(struct watch_options),
	.run = watch_run};
