/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subcommands of `quorate` share. A subcommand is a row of the table in commands.c; it
 * reads its flags into a struct, talks to the cluster through ctl_call(), prints through
 * print.h, and returns an exit code. Exit codes are etcdctl's.
 */
#ifndef QUORATE_CTL_H
#define QUORATE_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/client.h"
#include "ctl/flags.h"

enum ctl_exit {
	CTL_OK = 0,
	/* the cluster said no, or did not answer; an unknown flag or command */
	CTL_ERROR = 1,
	CTL_BAD_CONNECTION = 2,   /* no endpoint could be reached */
	CTL_INVALID_INPUT = 3,    /* what was read from a file or standard input */
	CTL_BAD_FEATURE = 4,      /* a known flag with a value it does not have */
	CTL_INTERRUPTED = 5,
	CTL_IO = 6,               /* output could not be written */
	CTL_BAD_ARGS = 128        /* words that are missing, too many, or do not go together */
};

enum ctl_format { CTL_SIMPLE, CTL_JSON, CTL_FIELDS, CTL_TABLE };

struct ctl_globals {
	const char *endpoints;
	int64_t dial_timeout_ms;
	int64_t command_timeout_ms;
	bool hex;
	const char *write_out;
	bool help;
};

struct ctl {
	struct ctl_globals globals;
	enum ctl_format format;
	bool value_only;          /* print: get --print-value-only */
	const char *program;      /* argv[0], for finding the daemons beside it */
	int in_fd;                /* standard input */
	FILE *out, *err;
	struct client *client;    /* opened by the first call */
	int n_rest;               /* words behind `--`, of a command that takes a program to run */
	char **rest;
};

struct ctl_command {
	const char *name, *alias; /* alias may be NULL */
	const char *args;         /* of the usage line */
	const char *summary;      /* one line */
	const char *more;         /* paragraphs, or NULL */
	const struct flag *flags;
	bool takes_program;       /* words behind `--` are not argv's but ctl->rest */
	bool program_is_second;   /* so are those from the second one on, whatever they look like */
	size_t options_size;      /* of the struct that the flags fill; at most CTL_OPTIONS_MAX */
	/* argv holds the words that are no flags. Returns an exit code. */
	int (*run)(struct ctl *ctl, const void *options, int argc, char **argv);
};

enum { CTL_OPTIONS_MAX = 512 };

extern const struct ctl_command *const ctl_commands[];   /* ends with NULL */
extern const struct flag ctl_global_flags[];
const struct ctl_command *ctl_command_find(const char *name);   /* or NULL */

/* The whole program: argv as main() gets it. Returns the exit code. */
int ctl_main(struct ctl *ctl, int argc, char **argv);

/* "Error: ..." on standard error; returns `code`, so that it can end a function. */
int ctl_fail(struct ctl *ctl, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int ctl_fail_client(struct ctl *ctl, const struct client_error *e);
/* To be used where the words of a command are counted. */
int ctl_bad_args(struct ctl *ctl, const struct ctl_command *c, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Calls the cluster within --command-timeout. CTL_OK, or the exit code with the error printed. */
int ctl_call(struct ctl *ctl, const struct client_request *r);
/* The client, opened if need be; NULL with the error printed and in *exit_code. */
struct client *ctl_client(struct ctl *ctl, int *exit_code);
mono_t ctl_deadline(const struct ctl *ctl);

#endif
