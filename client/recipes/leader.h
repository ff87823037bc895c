/* SPDX-License-Identifier: Apache-2.0 */
/* The read that says who leads an election. */
#ifndef QUORATE_LEADER_H
#define QUORATE_LEADER_H

#include "client/quorate.h"

/* Of the keys that begin with `before` (NAME and a slash) the one that was created first. */
struct quorate_op leader_op(struct quorate_bytes before);

#endif
