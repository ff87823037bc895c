/* SPDX-License-Identifier: Apache-2.0 */
/* One at a time, with a limit to the waiting, on the monotonic clock. */
#ifndef QUORATE_GATE_H
#define QUORATE_GATE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/mono.h"

struct gate {
	pthread_mutex_t lock;          /* also for what its owner keeps under it */
	pthread_cond_t cond;           /* something has changed under the lock */
	bool taken;
};

void gate_init(struct gate *g);
void gate_free(struct gate *g);
/* With the lock held. False: not within the time. */
bool gate_wait(struct gate *g, mono_t deadline);
/* Without. False: somebody has had it all the time. */
bool gate_enter(struct gate *g, mono_t deadline);
void gate_leave(struct gate *g);

/* A thread that no signal is delivered to. 0, or an error number. */
int gate_thread(pthread_t *t, void *(*run)(void *arg), void *arg);

#endif
