/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a supervisor says. As a daemon (base/log.h) it waits for nobody who does not read: a full pipe or a
 * terminal that was stopped loses what is said, and not the cluster.
 */
#ifndef QUORATE_CTL_SHOW_H
#define QUORATE_CTL_SHOW_H

#include <stdio.h>

#include "base/buf.h"

void show_text(FILE *out, struct bytes text);

#endif
