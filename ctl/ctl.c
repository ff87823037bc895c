/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/ctl.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ctl/help.h"

const struct flag ctl_global_flags[] = {
	FLAG(struct ctl_globals, STR, endpoints, "endpoints", 0, "127.0.0.1:2379", "LIST",
	     "HOST:PORT of gatewayds, with commas between them"),
	FLAG(struct ctl_globals, DURATION, command_timeout_ms, "command-timeout", 0, "5s", "TIME",
	     "longest wait for an answer"),
	FLAG(struct ctl_globals, DURATION, dial_timeout_ms, "dial-timeout", 0, "2s", "TIME",
	     "longest search for an endpoint that answers"),
	FLAG(struct ctl_globals, STR, write_out, "write-out", 'w', "simple", "FORMAT",
	     "simple, json, fields or table"),
	FLAG(struct ctl_globals, BOOL, hex, "hex", 0, NULL, "",
	     "print keys, values and ids in hexadecimal"),
	FLAG(struct ctl_globals, BOOL, help, "help", 'h', NULL, "", "say what the command does"),
	FLAG_END
};

const struct ctl_command *ctl_command_find(const char *name)
{
	for (size_t i = 0; ctl_commands[i] != NULL; i++) {
		const struct ctl_command *c = ctl_commands[i];

		if (strcmp(c->name, name) == 0 || (c->alias != NULL && strcmp(c->alias, name) == 0))
			return c;
	}
	return NULL;
}

int ctl_fail(struct ctl *ctl, int code, const char *fmt, ...)
{
	va_list ap;

	(void)fflush(ctl->out);
	fputs("Error: ", ctl->err);
	va_start(ap, fmt);
	(void)vfprintf(ctl->err, fmt, ap);
	va_end(ap);
	fputc('\n', ctl->err);
	return code;
}

int ctl_bad_args(struct ctl *ctl, const struct ctl_command *c, const char *fmt, ...)
{
	va_list ap;

	fputs("Error: ", ctl->err);
	va_start(ap, fmt);
	(void)vfprintf(ctl->err, fmt, ap);
	va_end(ap);
	fprintf(ctl->err, "\nUsage: quorate %s [flags] %s\n", c->name, c->args);
	return CTL_BAD_ARGS;
}

int ctl_fail_client(struct ctl *ctl, const struct client_error *e)
{
	if (e->dial)
		return ctl_fail(ctl, CTL_BAD_CONNECTION, "cannot reach %s: %s",
				e->endpoint[0] ? e->endpoint : ctl->globals.endpoints, e->text);
	if (e->again == ERR_AGAIN_UNSURE)
		return ctl_fail(ctl, CTL_ERROR,
				"%s (%s%sit is not known whether the request was carried out)",
				e->text, e->endpoint, e->endpoint[0] ? "; " : "");
	return ctl_fail(ctl, CTL_ERROR, "%s", e->text);
}

mono_t ctl_deadline(const struct ctl *ctl)
{
	return mono_add_ms(mono_now(), ctl->globals.command_timeout_ms);
}

static unsigned ctl_dial_ms(const struct ctl *ctl)
{
	int64_t ms = ctl->globals.dial_timeout_ms;

	return ms < 1 ? 1 : ms > 3600000 ? 3600000 : (unsigned)ms;
}

struct client *ctl_client(struct ctl *ctl, int *exit_code)
{
	struct client_options o = {.endpoints = ctl->globals.endpoints,
				   .dial_timeout_ms = ctl_dial_ms(ctl)};
	struct client_error e;

	if (ctl->client == NULL && client_open(&o, &ctl->client, &e) != ERR_OK)
		*exit_code = ctl_fail(ctl, CTL_BAD_ARGS, "%s", e.text);
	return ctl->client;
}

int ctl_call(struct ctl *ctl, const struct client_request *r)
{
	int code = CTL_OK;
	struct client *c = ctl_client(ctl, &code);
	struct client_error e;

	if (c == NULL)
		return code;
	if (client_call(c, r, ctl_deadline(ctl), &e) == ERR_OK)
		return CTL_OK;
	/* Not an error of the cluster: our own output is gone, said where it is noticed. */
	if (ferror(ctl->out))
		return CTL_IO;
	return ctl_fail_client(ctl, &e);
}

/* QUORATE_COMMAND_TIMEOUT=9s stands for --command-timeout=9s, and so on; flags win. */
static int ctl_environment(struct ctl *ctl)
{
	for (const struct flag *f = ctl_global_flags; f->name != NULL; f++) {
		char name[64] = "QUORATE_";
		size_t n = strlen(name);
		const char *text;

		for (const char *p = f->name; *p != 0 && n + 1 < sizeof name; p++)
			name[n++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
		name[n] = 0;
		text = getenv(name);
		if (f->kind == FLAG_BOOL && text != NULL && *text == 0)
			continue;
		if (text != NULL && flag_set_text(f, &ctl->globals, text) != ERR_OK)
			return ctl_fail(ctl, CTL_BAD_ARGS, "bad value \"%s\" in %s", text, name);
	}
	return CTL_OK;
}

static int ctl_format_parse(struct ctl *ctl)
{
	static const char *const names[] = {"simple", "json", "fields", "table"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(ctl->globals.write_out, names[i]) == 0) {
			ctl->format = (enum ctl_format)i;
			return CTL_OK;
		}
	return ctl_fail(ctl, CTL_BAD_FEATURE, "unsupported output format \"%s\"",
			ctl->globals.write_out);
}

/*
 * Flags and one word, and what comes behind is a program's: `lock NAME ls -l`. ERR_OK, the index
 * of the word and in *end that behind it.
 */
static int ctl_parse_leading(struct ctl *ctl, const struct flag_set *sets, size_t n_sets, int argc,
			     char **argv, int *first, int *end, char why[FLAG_WHY])
{
	int more, rc = flags_parse(sets, n_sets, true, argc, argv, first, why);

	*end = argc;
	if (rc != ERR_OK || *first >= argc)
		return rc;
	rc = flags_parse(sets, n_sets, true, argc - *first, argv + *first, &more, why);
	*end = *first + 1;
	ctl->rest = argv + *first + more;
	ctl->n_rest = argc - *first - more;
	return rc;
}

static int ctl_run(struct ctl *ctl, const struct ctl_command *c, int argc, char **argv)
{
	static const struct flag none[] = {FLAG_END};
	union { char room[CTL_OPTIONS_MAX]; max_align_t align; } options = {{0}};
	struct flag_set sets[] = {{c->flags ? c->flags : none, &options},
				  {ctl_global_flags, &ctl->globals}};
	char why[FLAG_WHY];
	int first, rc, code;

	CHECK(c->options_size <= sizeof options);
	for (int i = 1; c->takes_program && i < argc; i++) {
		if (strcmp(argv[i], "--") != 0)
			continue;
		ctl->rest = argv + i + 1;
		ctl->n_rest = argc - i - 1;
		argc = i;
	}
	flags_default(&sets[0]);
	rc = c->program_is_second ?
	     ctl_parse_leading(ctl, sets, ARRAY_LEN(sets), argc, argv, &first, &argc, why) :
	     flags_parse(sets, ARRAY_LEN(sets), false, argc, argv, &first, why);
	if (rc != ERR_OK)
		return ctl_fail(ctl, CTL_ERROR, "%s; see `quorate help %s`", why, c->name);
	if (ctl->globals.help) {
		help_command(ctl->out, c);
		return CTL_OK;
	}
	code = ctl_format_parse(ctl);
	return code != CTL_OK ? code : c->run(ctl, &options, argc - first, argv + first);
}

static int ctl_dispatch(struct ctl *ctl, int argc, char **argv)
{
	struct flag_set set = {ctl_global_flags, &ctl->globals};
	const struct ctl_command *c;
	char why[FLAG_WHY];
	int first = 1, code;

	flags_default(&set);
	code = ctl_environment(ctl);
	if (code != CTL_OK)
		return code;
	if (flags_parse(&set, 1, true, argc, argv, &first, why) != ERR_OK)
		return ctl_fail(ctl, CTL_ERROR, "%s", why);
	if (first >= argc || ctl->globals.help) {
		help_all(ctl->globals.help ? ctl->out : ctl->err);
		return ctl->globals.help ? CTL_OK : CTL_BAD_ARGS;
	}
	c = ctl_command_find(argv[first]);
	if (c == NULL)
		return ctl_fail(ctl, CTL_ERROR, "unknown command \"%s\"; `quorate help` lists them",
				argv[first]);
	return ctl_run(ctl, c, argc - first, argv + first);
}

int ctl_main(struct ctl *ctl, int argc, char **argv)
{
	int code = ctl_dispatch(ctl, argc, argv);

	client_close(&ctl->client);
	if (fflush(ctl->out) != 0 || ferror(ctl->out)) {
		if (code == CTL_OK || code == CTL_IO)
			code = ctl_fail(ctl, CTL_IO, "the output could not be written");
	}
	return code;
}
