/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/help.h"

#include <string.h>

#include "ctl/commands.h"

void help_all(FILE *out)
{
	fputs("quorate " QUORATE_VERSION ": a strongly consistent key-value store\n\n"
	      "Usage: quorate COMMAND [flags] [words]\n\nCommands:\n", out);
	for (size_t i = 0; ctl_commands[i] != NULL; i++)
		fprintf(out, "  %-12s %s\n", ctl_commands[i]->name, ctl_commands[i]->summary);
	fputs("\nFlags of all commands (QUORATE_ENDPOINTS and so on in the environment do the "
	      "same):\n", out);
	flags_usage(out, ctl_global_flags);
	fputs("\n`quorate help COMMAND` says more; so does quorate(1).\n", out);
}

void help_command(FILE *out, const struct ctl_command *c)
{
	fprintf(out, "%s\n\nUsage: quorate %s [flags]%s%s\n", c->summary, c->name,
		c->args[0] ? " " : "",
		c->args);
	if (c->alias != NULL)
		fprintf(out, "Also: quorate %s\n", c->alias);
	if (c->more != NULL)
		fprintf(out, "\n%s", c->more);
	if (c->flags != NULL && c->flags[0].name != NULL) {
		fputs("\nFlags:\n", out);
		flags_usage(out, c->flags);
	}
	fputs("\nFlags of all commands:\n", out);
	flags_usage(out, ctl_global_flags);
}

static int help_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct ctl_command *c;

	(void)options;
	if (argc == 0) {
		help_all(ctl->out);
		return CTL_OK;
	}
	c = ctl_command_find(argv[0]);
	if (c == NULL)
		return ctl_fail(ctl, CTL_ERROR, "unknown command \"%s\"", argv[0]);
	help_command(ctl->out, c);
	return CTL_OK;
}

const struct ctl_command ctl_help = {
	.name = "help", .args = "[COMMAND]",
	.summary = "Says what quorate or one of its commands does",
	.run = help_run};
