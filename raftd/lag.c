/* SPDX-License-Identifier: Apache-2.0 */
#include "raftd/lag.h"

void lag_moved(struct lag *l, uint64_t commit, uint64_t applied, mono_t now)
{
	if (applied >= commit) {
		*l = (struct lag){.mark = 0};
	} else if (applied >= l->mark) {
		l->last_ms = l->mark != 0 ? mono_sub_ms(now, l->since) : 0;
		l->mark = commit;
		l->since = now;
	}
}

int64_t lag_ms(const struct lag *l, mono_t now)
{
	int64_t ms = l->mark != 0 ? mono_sub_ms(now, l->since) : 0;

	return ms > l->last_ms ? ms : l->last_ms;
}
