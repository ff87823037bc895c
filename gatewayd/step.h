/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a read is done before others have their turn. */
#ifndef QUORATE_STEP_H
#define QUORATE_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"
#include "mvcc/mvcc.h"

/* What a step may spend; whoever takes part in it takes off. */
struct step {
	struct mvcc_view *view;
	size_t rows, bytes;
	mono_t until;
	uint64_t looked;              /* rows, for the counter */
};

void step_begin(struct step *s, struct mvcc_view *view, mono_t until);
bool step_over(struct step *s);
void step_spend(struct step *s, size_t rows, size_t bytes);

#endif
