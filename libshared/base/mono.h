/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Monotonic time, wrapped so that the compiler refuses to mix it with the wall clock or with a
 * bare number. The wall clock is used in log lines and nowhere else.
 */
#ifndef QUORATE_MONO_H
#define QUORATE_MONO_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
	int64_t ns;
} mono_t;

#define MONO_NEVER ((mono_t){INT64_MAX})

mono_t mono_now(void);

static inline mono_t mono_add_ns(mono_t t, int64_t ns)
{
	return (mono_t){t.ns > INT64_MAX - ns ? INT64_MAX : t.ns + ns};
}
static inline mono_t mono_add_us(mono_t t, int64_t us)
{
	return mono_add_ns(t, us * 1000);
}
static inline mono_t mono_add_ms(mono_t t, int64_t ms)
{
	return mono_add_ns(t, ms * 1000000);
}
static inline int64_t mono_sub_ns(mono_t later, mono_t earlier)
{
	return later.ns - earlier.ns;
}
static inline int64_t mono_sub_us(mono_t later, mono_t earlier)
{
	return (later.ns - earlier.ns) / 1000;
}
static inline int64_t mono_sub_ms(mono_t later, mono_t earlier)
{
	return (later.ns - earlier.ns) / 1000000;
}
static inline bool mono_before(mono_t a, mono_t b)
{
	return a.ns < b.ns;
}
static inline mono_t mono_min(mono_t a, mono_t b)
{
	return a.ns < b.ns ? a : b;
}

#endif
