/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/step.h"

#include "base/limits.h"

enum { STEP_CLOCK_ROWS = 64 };

void step_begin(struct step *s, struct mvcc_view *view, mono_t until)
{
	*s = (struct step){view, LIMIT_GATEWAY_STEP_ROWS, LIMIT_GATEWAY_STEP_BYTES, until, 0};
}

/* The clock is looked at now and then only. */
bool step_over(struct step *s)
{
	if (s->rows == 0 || s->bytes == 0)
		return true;
	if (s->looked % STEP_CLOCK_ROWS == STEP_CLOCK_ROWS - 1 && !mono_before(mono_now(), s->until))
		s->rows = 0;
	return s->rows == 0;
}

void step_spend(struct step *s, size_t rows, size_t bytes)
{
	s->rows -= rows < s->rows ? rows : s->rows;
	s->bytes -= bytes < s->bytes ? bytes : s->bytes;
	s->looked += rows;
}
