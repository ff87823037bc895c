/* SPDX-License-Identifier: Apache-2.0 */
/* The program that `quorate watch ... -- PROGRAM` runs for each event. */
#ifndef QUORATE_CTL_WATCH_PROGRAM_H
#define QUORATE_CTL_WATCH_PROGRAM_H

#include "ctl/ctl.h"

/*
 * Runs it with QUORATE_WATCH_REVISION, _EVENT_TYPE, _KEY and _VALUE in its environment, and waits
 * for it. argv ends with NULL. CTL_OK, or an exit code with the error printed.
 */
int watch_program_run(struct ctl *ctl, char **argv, const struct watch_event *e);

#endif
