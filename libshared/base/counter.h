/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and gauges with help text. Each daemon declares its own as one X-macro list, so that
 * the number, its name and its help cannot drift apart:
 *
 *   #define RAFTD_COUNTERS(C) \
 *       C(COUNTER, proposals, "commands handed to the leader") \
 *       C(GAUGE,   term,      "current term")
 *   COUNTER_SET(raftd_counters, RAFTD_COUNTERS);
 *
 * gives `struct raftd_counters` with a `struct counter` per row and `raftd_counters_init(&c)`,
 * which registers nothing globally: the admin socket is handed the set. Only the loop thread
 * writes them.
 */
#ifndef QUORATE_COUNTER_H
#define QUORATE_COUNTER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum counter_kind { COUNTER_KIND_COUNTER, COUNTER_KIND_GAUGE };

struct counter {
	int64_t value;
	const char *name;
	const char *help;
	enum counter_kind kind;
};

#define COUNTER_MEMBER_(k, n, h) struct counter n;
#define COUNTER_INIT_(k, n, h) c->n = (struct counter){0, #n, h, COUNTER_KIND_##k};
#define COUNTER_SET(set, LIST) \
	struct set { LIST(COUNTER_MEMBER_) }; \
	static inline void set##_init(struct set *c) { LIST(COUNTER_INIT_) } \
	_Static_assert(sizeof(struct set) % sizeof(struct counter) == 0, "only counters")
#define COUNTER_COUNT(setptr) (sizeof(*(setptr)) / sizeof(struct counter))

static inline void counter_add(struct counter *c, int64_t n)
{
	c->value += n;
}
static inline void counter_inc(struct counter *c)
{
	c->value++;
}
static inline void counter_set(struct counter *c, int64_t v)
{
	c->value = v;
}

/* Prometheus text: `# HELP`, `# TYPE` and a line per counter, named quorate_<prefix>_<name>. */
void counter_print(struct buf *out, const char *prefix, const struct counter *c, size_t n);

#endif
