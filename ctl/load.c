/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "ctl/commands.h"
#include "ctl/input.h"
#include "ctl/load_parse.h"
#include "ctl/load_window.h"
#include "ctl/print.h"
#include "ctl/progress.h"

struct load_options {
	const char *format, *acked;
	int64_t inflight, patience_ms;
	bool retry, quiet;
};

static const struct flag load_flags[] = {
	FLAG(struct load_options, STR, format, "format", 0, "tsv", "FORMAT", "tsv, json or length"),
	FLAG(struct load_options, I64, inflight, "inflight", 0, "256", "N", "puts in flight"),
	FLAG(struct load_options, BOOL, retry, "retry", 0, NULL, "",
	     "put again what may or may not have been put: fine if nobody else writes these keys"),
	FLAG(struct load_options, DURATION, patience_ms, "patience", 0, "30s", "TIME",
	     "give up when nothing has been acknowledged for so long"),
	FLAG(struct load_options, STR, acked, "acked", 0, NULL, "FILE",
	     "write each acknowledged key to FILE, a line each, escaped"),
	FLAG(struct load_options, BOOL, quiet, "quiet", 'q', NULL, "", "no progress bar"),
	FLAG_END
};

enum { LOAD_TURN_MS = 100, LOAD_ANSWER_MS = 10000, LOAD_INPUT_BYTES = 8 * 1024 * 1024 };

struct load {
	struct ctl *ctl;
	const struct load_options *o;
	enum load_format format;
	struct input in;
	uint64_t in_size, pairs;      /* of a plain file, else 0; read so far */
	bool want_input, ended;       /* the parser needs more bytes; there are no more pairs */
	struct load_window window;
	struct progress progress;
	int code;                     /* why reading ended early */
};

/* Fills the window from what has been read. */
static void load_read_pairs(struct load *l)
{
	struct load_slot *s;

	l->want_input = false;
	while (!l->ended && (s = load_window_slot(&l->window)) != NULL) {
		const char *why;
		size_t used;
		int rc = load_parse(l->format, input_have(&l->in), l->in.eof, &s->key, &s->value,
				    &used, &why);

		if (rc == ERR_TRUNCATED) {
			l->want_input = true;
			return;
		}
		if (rc == ERR_OK) {
			input_take(&l->in, used);
			l->pairs++;
			load_window_add(&l->window, s);
			continue;
		}
		l->ended = true;
		if (rc != ERR_NOT_FOUND)
			l->code = ctl_fail(l->ctl, CTL_INVALID_INPUT,
					   "pair %" PRIu64 " of the input: %s",
					   l->pairs + 1, why);
	}
}

static void load_fill(struct load *l)
{
	int rc = input_fill(&l->in);

	if (rc == ERR_OK)
		return;
	l->ended = true;
	l->code = rc == ERR_LIMIT ?
		ctl_fail(l->ctl, CTL_INVALID_INPUT,
			 "pair %" PRIu64 " of the input: the pair is too large",
			 l->pairs + 1) :
		ctl_fail(l->ctl, CTL_INVALID_INPUT, "the input cannot be read: %s",
			 strerror(errno));
}

static int load_timeout(const struct load *l)
{
	int64_t ms = mono_sub_ms(l->window.pause, mono_now()) + 1;

	return ms > 0 && ms < LOAD_TURN_MS && l->window.redo != NULL ? (int)ms : LOAD_TURN_MS;
}

/* Waits for answers, for room to write and for input, whichever comes first. */
static void load_wait(struct load *l, struct client_conn *conn)
{
	struct pollfd p[2] = {{.fd = -1}, {.fd = l->want_input ? l->in.fd : -1, .events = POLLIN}};

	if (conn != NULL && client_conn_queued(conn) > 0)
		(void)client_conn_turn(conn);
	if (conn != NULL) {
		p[0].fd = client_conn_fd(conn);
		p[0].events = client_conn_events(conn);
	}
	(void)poll(p, ARRAY_LEN(p), load_timeout(l));
	if (p[1].revents != 0)
		load_fill(l);
	if (conn != NULL)
		load_window_turn(&l->window, conn);
}

static void load_give_up(struct load *l)
{
	struct load_window *w = &l->window;
	mono_t now = mono_now();

	if (w->busy == 0)
		w->progressed = now;
	if (w->failed.code != ERR_OK || mono_sub_ms(now, w->progressed) <= l->o->patience_ms)
		return;
	w->failed = (struct client_error){.code = ERR_TIMEOUT, .again = ERR_AGAIN_UNSURE};
	(void)snprintf(w->failed.text, sizeof w->failed.text,
		       "nothing has been acknowledged for %.0f s",
		       (double)l->o->patience_ms / 1000);
	client_disconnect(w->client, true);
}

static bool load_goes_on(const struct load *l)
{
	const struct load_window *w = &l->window;

	if (w->busy > 0)
		return true;
	return w->failed.code == ERR_OK && (!l->ended || w->held != NULL);
}

static void load_loop(struct load *l)
{
	struct load_window *w = &l->window;

	while (load_goes_on(l)) {
		struct client_conn *conn;

		load_read_pairs(l);
		load_window_pump(w, mono_add_ms(w->progressed, l->o->patience_ms), &conn);
		load_wait(l, conn);
		load_give_up(l);
		if (w->acked != NULL && fflush(w->acked) != 0 && w->failed.code == ERR_OK) {
			w->failed.code = ERR_IO;
			(void)snprintf(w->failed.text, sizeof w->failed.text, "%s: %s", l->o->acked,
				       strerror(errno));
		}
		progress_show(&l->progress, mono_now(), w->count, l->in.taken, l->in_size);
	}
}

static void load_print(struct ctl *ctl, const struct load_window *w, double seconds)
{
	double rate = seconds > 0 ? (double)w->count / seconds : 0;

	if (ctl->format == CTL_JSON)
		fprintf(ctl->out, "{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.3f"
			",\"per_second\":%.0f,\"repeats\":%" PRIu64 ",\"revision\":%" PRId64 "}\n",
			w->count, w->bytes, seconds, rate, w->repeats, w->revision);
	else
		fprintf(ctl->out, "loaded %" PRIu64 " keys in %.2f s (%.0f/s), revision "
						    "%" PRId64 "\n",
			w->count, seconds, rate, w->revision);
}

static int load_report(struct load *l)
{
	struct load_window *w = &l->window;
	double seconds = (double)mono_sub_us(mono_now(), l->progress.started) / 1e6;

	progress_end(&l->progress);
	load_print(l->ctl, w, seconds);
	if (w->failed.code == ERR_OK)
		return l->code;
	if (w->unsure > 0)
		fprintf(l->ctl->err, "%" PRIu64 " more may or may not have been put (see "
						"--retry)\n", w->unsure);
	return ctl_fail_client(l->ctl, &w->failed);
}

static int load_with(struct load *l, struct client *client)
{
	struct load_window *w = &l->window;
	int64_t answer = l->ctl->globals.command_timeout_ms;
	struct client_conn *conn;
	int code;

	if (load_window_init(w, client, (uint32_t)l->o->inflight) != ERR_OK)
		return ctl_fail(l->ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	if (client_connect(client, ctl_deadline(l->ctl), &conn, &w->failed) != ERR_OK) {
		code = ctl_fail_client(l->ctl, &w->failed);
		load_window_free(w);
		return code;
	}
	w->retry_unsure = l->o->retry;
	w->answer_timeout_ms = answer > LOAD_ANSWER_MS ? answer : LOAD_ANSWER_MS;
	if (l->o->acked != NULL) {
		w->acked = fopen(l->o->acked, "we");
		if (w->acked == NULL) {
			load_window_free(w);
			return ctl_fail(l->ctl, CTL_IO, "%s: %s", l->o->acked, strerror(errno));
		}
	}
	progress_start(&l->progress, l->ctl->err);
	l->progress.on = l->progress.on && !l->o->quiet;
	load_loop(l);
	code = load_report(l);
	client_disconnect(client, false);   /* before the memory that its flights point to goes */
	if (w->acked != NULL && fclose(w->acked) != 0 && code == CTL_OK)
		code = ctl_fail(l->ctl, CTL_IO, "%s: %s", l->o->acked, strerror(errno));
	load_window_free(w);
	return code;
}

static int load_input(struct load *l, const char *path)
{
	int fd = l->ctl->in_fd;
	struct stat st;

	if (path != NULL && strcmp(path, "-") != 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ctl_fail(l->ctl, CTL_INVALID_INPUT, "%s: %s", path != NULL ? path : "-",
				strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		l->in_size = (uint64_t)st.st_size;
	input_open(&l->in, fd, LOAD_INPUT_BYTES);
	return CTL_OK;
}

static int load_check(struct ctl *ctl, const struct load_options *o, int argc, struct load *l)
{
	if (argc > 1)
		return ctl_bad_args(ctl, &ctl_load, "load takes one file at most");
	if (load_format_parse(o->format, &l->format) != ERR_OK)
		return ctl_fail(ctl, CTL_BAD_FEATURE, "unknown format \"%s\"", o->format);
	if (o->inflight < 1 || o->inflight > LIMIT_CLIENT_INFLIGHT)
		return ctl_bad_args(ctl, &ctl_load, "--inflight is between 1 and %u",
				    LIMIT_CLIENT_INFLIGHT);
	return CTL_OK;
}

static int load_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct load_options *o = options;
	struct load l = {.ctl = ctl, .o = o};
	struct client_options co = {.endpoints = ctl->globals.endpoints,
				    .max_flights = (uint32_t)o->inflight,
				    .dial_timeout_ms = (unsigned)ctl->globals.dial_timeout_ms};
	struct client_error e;
	struct client *client;
	int code = load_check(ctl, o, argc, &l);

	if (code == CTL_OK)
		code = load_input(&l, argc == 1 ? argv[0] : NULL);
	if (code != CTL_OK)
		return code;
	if (client_open(&co, &client, &e) != ERR_OK) {
		code = ctl_fail(ctl, CTL_BAD_ARGS, "%s", e.text);
	} else {
		code = load_with(&l, client);
		client_close(&client);
	}
	input_free(&l.in);
	if (l.in.fd != ctl->in_fd)
		(void)close(l.in.fd);
	return code;
}

const struct ctl_command ctl_load = {
	.name = "load", .args = "[FILE|-]",
	.summary = "Puts many keys from a file or standard input",
	.more = "Formats:\n"
		"  tsv     KEY TAB VALUE on a line; C escapes (\\t \\n \\\\ \\xHH) inside both\n"
		"  json    {\"key\":\"BASE64\",\"value\":\"BASE64\"} on a line\n"
		"  length  LENGTH:KEYLENGTH:VALUE without anything between, such as "
		"3:abc5:hello\n\n"
		"If a key comes several times its last value wins. What surely failed is put "
		"again;\n"
		"what may have been put only with --retry.\n",
	.flags = load_flags, .options_size = sizeof(struct load_options), .run = load_run};
