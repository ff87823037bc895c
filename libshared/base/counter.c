/* SPDX-License-Identifier: Apache-2.0 */
#include "base/counter.h"

#include <inttypes.h>

void counter_print(struct buf *out, const char *prefix, const struct counter *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_printf(out, "# HELP quorate_%s_%s %s\n", prefix, c[i].name, c[i].help);
		buf_printf(out, "# TYPE quorate_%s_%s %s\n", prefix, c[i].name,
			   c[i].kind == COUNTER_KIND_GAUGE ? "gauge" : "counter");
		buf_printf(out, "quorate_%s_%s %" PRId64 "\n", prefix, c[i].name, c[i].value);
	}
}
