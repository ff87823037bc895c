/* SPDX-License-Identifier: Apache-2.0 */
/* Runs `quorate` in the test's own process and keeps what it prints. */
#ifndef QUORATE_CTL_RUN_H
#define QUORATE_CTL_RUN_H

struct ctl_result {
	int code;
	char out[65536], err[16384];   /* cut at the end */
};

/* `line` is split at blanks; a word in '...' may hold some or be empty. `input` may be NULL. */
void ctl_run(struct ctl_result *r, const char *endpoints, const char *input, const char *line);

#endif
