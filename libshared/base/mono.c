/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mono.h"

#include <time.h>

#include "base/check.h"

mono_t mono_now(void)
{
	struct timespec ts;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
	return (mono_t){(int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec};
}
