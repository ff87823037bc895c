/* SPDX-License-Identifier: Apache-2.0 */
/* A line on a terminal that says how far something has come; nothing where there is no terminal. */
#ifndef QUORATE_CTL_PROGRESS_H
#define QUORATE_CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/mono.h"

struct progress {
	FILE *out;
	bool on;
	mono_t started, shown;
	uint64_t shown_count;
};

void progress_start(struct progress *p, FILE *out);
/* At most ten times a second. `part` of `whole` is done; whole 0: nobody knows. */
void progress_show(struct progress *p, mono_t now, uint64_t count, uint64_t part, uint64_t whole);
void progress_end(struct progress *p);

#endif
