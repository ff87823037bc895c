/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of libquorate and time: the system is suspended, and a clock is looked at twice. */
#include <stdatomic.h>
#include <time.h>

#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

enum { TTL_S = 60 };

/* For so long has the system been suspended: only the clock of the boot has seen it. */
static atomic_int asleep_s;

int __real_clock_gettime(clockid_t which, struct timespec *ts);
int __wrap_clock_gettime(clockid_t which, struct timespec *ts);

int __wrap_clock_gettime(clockid_t which, struct timespec *ts)
{
	int rc = __real_clock_gettime(which, ts);

	if (which == CLOCK_BOOTTIME)
		ts->tv_sec += asleep_s;
	return rc;
}

static void begin(struct play *p, struct quorate **q, struct quorate_session **s)
{
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;

	asleep_s = 0;
	o.ttl = TTL_S;
	play_start(p);
	*q = world_open(play_endpoint(p), NULL, NULL);
	EQ_INT(quorate_session_open(*q, &o, 0, s, NULL), QUORATE_OK);
}

static void end(struct play *p, struct quorate *q, struct quorate_session *s)
{
	quorate_session_leave(s);
	quorate_close(q);
	play_stop(p);
}

TEST(a_lease_runs_out_while_the_system_is_suspended)
{
	struct play p = {.acts = {ACT_OK}, .revision = 3, .ttl = TTL_S, .kept_ttl = TTL_S};
	struct quorate_session *s;
	struct quorate_error why;
	struct quorate *q;

	begin(&p, &q, &s);
	OK(quorate_session_left_ms(s) > 0);
	asleep_s = TTL_S / 2;
	OK(quorate_session_left_ms(s) > 0);
	OK(quorate_session_left_ms(s) <= TTL_S * 1000 / 2);
	asleep_s = TTL_S;
	EQ_INT(quorate_session_left_ms(s), 0);
	EQ_INT(quorate_session_wait(s, 0, &why), QUORATE_OK);
	EQ_INT(why.code, QUORATE_ERR_TIMEOUT);
	end(&p, q, s);
}

/* Else what was held by it would be given up here, and kept alive there. */
TEST(a_session_that_was_seen_to_be_lost_is_lost_for_ever)
{
	struct play p = {.acts = {ACT_OK}, .revision = 3, .ttl = TTL_S, .kept_ttl = TTL_S};
	struct quorate_session *s;
	struct quorate *q;

	begin(&p, &q, &s);
	asleep_s = TTL_S;
	EQ_INT(quorate_session_left_ms(s), 0);
	asleep_s = 0;                  /* as if a keepalive sent in time were answered now */
	EQ_INT(quorate_session_left_ms(s), 0);
	EQ_INT(quorate_session_wait(s, 0, NULL), QUORATE_OK);
	end(&p, q, s);
}

TESTS = {
	T(a_lease_runs_out_while_the_system_is_suspended),
	T(a_session_that_was_seen_to_be_lost_is_lost_for_ever),
};
TAP_MAIN
