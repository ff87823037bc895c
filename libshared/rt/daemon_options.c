/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/daemon_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "rt/config_table.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif

static int daemon_number(const char *text, unsigned max, unsigned *out)
{
	size_t len = text ? strlen(text) : 0;

	if (len == 0 || len > 9 || strspn(text, "0123456789") != len)
		return ERR_BAD_ARGUMENT;
	*out = (unsigned)strtoul(text, NULL, 10);
	return *out <= max ? ERR_OK : ERR_BAD_ARGUMENT;
}

/* An option with a value. */
static int daemon_option_value(struct daemon_options *o, char letter, const char *value)
{
	unsigned n;

	if (value == NULL)
		return ERR_BAD_ARGUMENT;
	if (letter == 'c') {
		o->config = value;
		return ERR_OK;
	}
	if (daemon_number(value, letter == 'i' ? 15 : 1 << 20, &n) != ERR_OK)
		return ERR_BAD_ARGUMENT;
	if (letter == 'i')
		o->instance = n;
	else
		o->ready_fd = (int)n;
	return ERR_OK;
}

/* Returns how many words were used; 0: this one is wrong. */
static int daemon_option(struct daemon_options *o, char *const *argv, int left)
{
	bool takes_next;

	if (config_is_flag(argv[0], &takes_next)) {
		if (takes_next && left < 2)
			return 0;
		for (int i = 0; i <= takes_next; i++)
			o->flags[o->n_flags++] = argv[i];
		return 1 + takes_next;
	}
	if (strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "--help") == 0)
		o->what = DAEMON_WHAT_HELP;
	else if (strcmp(argv[0], "-V") == 0 || strcmp(argv[0], "--version") == 0)
		o->what = DAEMON_WHAT_VERSION;
	else if (strcmp(argv[0], "-d") == 0)
		o->debug = true;
	else if (argv[0][0] == '-' && strlen(argv[0]) == 2 && strchr("cir", argv[0][1]) != NULL)
		return daemon_option_value(o, argv[0][1], left > 1 ? argv[1] : NULL) == ERR_OK ? 2 : 0;
	else
		return 0;
	return 1;
}

int daemon_options_read(int argc, char **argv, struct daemon_options *o, char *why, size_t size)
{
	int used;

	*o = (struct daemon_options){.config = SYSCONFDIR "/quorate/quorate.conf", .ready_fd = -1};
	o->flags = mem_array((size_t)argc + 1, sizeof *o->flags);
	for (int i = 1; i < argc; i += used) {
		used = daemon_option(o, argv + i, argc - i);
		if (used > 0)
			continue;
		(void)snprintf(why, size, "bad option or value: %s (try -h)", argv[i]);
		mem_free(o->flags);
		o->flags = NULL;
		return ERR_BAD_ARGUMENT;
	}
	return ERR_OK;
}

void daemon_options_help(const char *daemon, const char *summary)
{
	printf("%s: %s\n\nusage: %s [-c FILE] [-i N] [-r FD] [-d] [--KEY VALUE ...]\n"
	       "  -c FILE  configuration (default " SYSCONFDIR "/quorate/quorate.conf)\n"
	       "  -i N     instance, for gatewayd: 0 to gateways - 1\n"
	       "  -r FD    write a newline to this descriptor when ready\n"
	       "  -d       log level debug\n"
	       "  -V       version\n"
	       "  -h       this help\n\nkeys, which win over the file:\n",
	       daemon, summary, daemon);
	for (size_t i = 0; i < config_n_rows; i++)
		printf("  --%-18s %s%s%s%s\n", config_rows[i].key, config_rows[i].help,
		       config_rows[i].def[0] ? " (default " : "", config_rows[i].def,
		       config_rows[i].def[0] ? ")" : "");
}
