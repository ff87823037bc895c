/* SPDX-License-Identifier: Apache-2.0 */
/* Usage texts, made from the tables of commands and flags. */
#ifndef QUORATE_CTL_HELP_H
#define QUORATE_CTL_HELP_H

#include "ctl/ctl.h"

void help_all(FILE *out);                                   /* every command, a line each */
void help_command(FILE *out, const struct ctl_command *c);

#endif
