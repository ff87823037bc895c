/* SPDX-License-Identifier: Apache-2.0 */
/* Words of a script's line, for the files that give them a meaning. */
#ifndef QUORATE_SCRIPT_COMMAND_H
#define QUORATE_SCRIPT_COMMAND_H

#include "tests/script/world.h"

/* Both: 0 and the script has failed if there is no such. */
uint64_t command_node(struct world *w, const char *name, bool alive);
uint64_t command_number(struct world *w, const char *text);

/* expect.c: the claims of a script, which rewriting its transcript cannot change */
void expect_run(struct world *w, char **arg, int n);

#endif
