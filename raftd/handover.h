/* SPDX-License-Identifier: Apache-2.0 */
/* A leader whose stored stays away or behind gives the lead to the next member. */
#ifndef QUORATE_HANDOVER_H
#define QUORATE_HANDOVER_H

#include <stdint.h>

#include "rt/loop.h"

struct raftd;

struct handover {
	struct loop_timer timer;
	uint64_t commit;          /* at the last look at which our store followed, or we did not lead */
	mono_t patient_since;     /* that look, or the last try to hand over */
	size_t tried;             /* members in their order since that look */
};

void handover_open(struct raftd *n);
void handover_close(struct raftd *n);

#endif
