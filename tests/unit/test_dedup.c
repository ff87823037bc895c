/* SPDX-License-Identifier: Apache-2.0 */
/* At most once: repeats, restarts, what falls out of the window, sessions that come and go. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "stored/core/dedup.h"
#include "tests/lib/store_rig.h"
#include "tests/lib/tap.h"

#define K(s) bytes_str(s)
#define ALL bytes_of("\0", 1)

static const char *all(struct rig *r)
{
	return rig_range(r, &(struct kv_range){.key = ALL, .range_end = ALL});
}

static struct command_result *send_put(struct rig *r, uint64_t gateway, uint64_t seq, const char *key, const char *value)
{
	struct kv_put p = {.key = K(key), .value = K(value), .prev_kv = true};
	struct command c = {.gateway = gateway, .seq = seq, .put = &p};

	return rig_command(r, &c);
}

static void open_session(struct rig *r, uint64_t gateway)
{
	struct command c = {.gateway = gateway};

	EQ_INT(rig_command(r, &c)->error, ERR_OK);
	EQ_INT(r->outcome.gateway, gateway);
}

static struct rig *rig_new(const char *name)
{
	struct rig *r = mem_alloc(sizeof *r);

	rig_open_bare(r, name);
	return r;
}

static void rig_done(struct rig *r)
{
	rig_close(r);
	free(r);
}

TEST(a_repeated_command_has_its_first_answer)
{
	struct rig *r = rig_new("s");

	open_session(r, 1);
	send_put(r, 1, 1, "a", "1");
	EQ_INT(send_put(r, 1, 2, "a", "2")->revision, 3);
	OK(bytes_eq(r->r.put->prev_kv->value, K("1")));
	EQ_INT(send_put(r, 1, 2, "a", "2")->revision, 3);
	OK(r->outcome.repeated && bytes_eq(r->r.put->prev_kv->value, K("1")));
	EQ_INT(send_put(r, 1, 1, "b", "other")->revision, 2);   /* the id counts, not the content */
	EQ_STR(all(r), "a=2 (1)");
	rig_restart(r);
	EQ_INT(send_put(r, 1, 2, "a", "2")->revision, 3);
	OK(r->outcome.repeated);
	EQ_INT(send_put(r, 1, 3, "a", "3")->revision, 4);
	OK(!r->outcome.repeated);
	rig_done(r);
}

TEST(an_error_is_repeated_too)
{
	struct kv_put p = {.key = K("a"), .ignore_value = true};
	struct command c = {.gateway = 1, .seq = 1, .put = &p};
	struct rig *r = rig_new("s");

	open_session(r, 1);
	EQ_INT(rig_command(r, &c)->error, ERR_KEY_NOT_FOUND);
	EQ_INT(send_put(r, 1, 2, "a", "1")->error, ERR_OK);
	EQ_INT(rig_command(r, &c)->error, ERR_KEY_NOT_FOUND);
	OK(r->outcome.repeated);
	rig_done(r);
}

TEST(ids_of_two_gateways_are_two)
{
	struct rig *r = rig_new("s");

	open_session(r, 1);
	open_session(r, 2);
	EQ_INT(send_put(r, 1, 1, "a", "1")->revision, 2);
	EQ_INT(send_put(r, 2, 1, "a", "2")->revision, 3);
	EQ_INT(send_put(r, 1, 1, "a", "1")->revision, 2);
	EQ_STR(all(r), "a=2 (1)");
	rig_done(r);
}

TEST(without_a_session_nothing_is_applied)
{
	struct rig *r = rig_new("s");

	EQ_INT(send_put(r, 1, 1, "a", "1")->error, ERR_OUTCOME_UNKNOWN);
	EQ_INT(r->outcome.gateway, 1);
	EQ_STR(all(r), " (0)");
	open_session(r, 1);
	open_session(r, 1);                                     /* repeated: still open */
	EQ_INT(send_put(r, 1, 1, "a", "1")->error, ERR_OK);
	open_session(r, 1);
	EQ_INT(send_put(r, 1, 1, "a", "1")->revision, 2);
	OK(r->outcome.repeated);
	rig_done(r);
}

TEST(a_large_result_is_lost_but_its_revision_is_not)
{
	size_t n = LIMIT_DEDUP_RESULT_BYTES;
	char *value = mem_alloc(n + 1);
	struct rig *r = rig_new("s");

	memset(value, 'v', n);
	open_session(r, 1);
	send_put(r, 1, 1, "a", value);
	EQ_INT(send_put(r, 1, 2, "a", "2")->put->prev_kv->value.len, n);
	for (int i = 0; i < 2; i++) {
		EQ_INT(send_put(r, 1, 2, "a", "2")->error, ERR_RESULT_LOST);
		EQ_INT(r->r.revision, 3);
		OK(r->outcome.repeated);
		rig_restart(r);
	}
	EQ_STR(all(r), "a=2 (1)");
	rig_done(r);
	free(value);
}

TEST(what_has_left_the_window_is_never_applied_again)
{
	struct rig *r = rig_new(NULL), *other = rig_new("s");
	struct rig *both[2] = {r, other};

	for (int i = 0; i < 2; i++) {
		struct rig *x = both[i];

		open_session(x, 1);
		open_session(x, 2);
		send_put(x, 2, 5, "other", "5");
		for (uint64_t seq = 1; seq <= LIMIT_DEDUP_ROWS + 10; seq++) {
			EQ_INT(send_put(x, 1, seq, "k", "v")->error, ERR_OK);
			if (i == 1 && seq % 5000 == 0)
				rig_restart(x);
		}
		EQ_INT(dedup_rows(apply_dedup(x->apply)), LIMIT_DEDUP_ROWS);
		/* 11 rows have gone: gateway 2's, and 1 to 10 of gateway 1 */
		EQ_INT(send_put(x, 1, 10, "k", "v")->error, ERR_OUTCOME_UNKNOWN);
		EQ_INT(send_put(x, 1, 1, "k", "v")->error, ERR_OUTCOME_UNKNOWN);
		EQ_INT(send_put(x, 1, 11, "k", "v")->error, ERR_OK);
		OK(x->outcome.repeated);
		EQ_INT(send_put(x, 2, 5, "other", "5")->error, ERR_OUTCOME_UNKNOWN);
		EQ_INT(send_put(x, 2, 4, "other", "4")->error, ERR_OUTCOME_UNKNOWN);
		EQ_INT(send_put(x, 2, 6, "other", "6")->error, ERR_OK);
		rig_restart(x);
		EQ_INT(send_put(x, 1, 11, "k", "v")->error, ERR_OUTCOME_UNKNOWN);       /* pushed out by 2's 6 */
		EQ_INT(send_put(x, 1, 12, "k", "v")->error, ERR_OK);
		OK(x->outcome.repeated);
	}
	EQ_MEM(apply_state(r->apply)->apply_hash, apply_state(other->apply)->apply_hash, 16);
	rig_done(r);
	rig_done(other);
}

TEST(kept_results_are_bounded_in_bytes)
{
	enum { SIZE = 60000 };
	char *value = mem_alloc(SIZE + 1);
	uint64_t n = LIMIT_DEDUP_BYTES / SIZE + 50;
	struct rig *r = rig_new(NULL);

	memset(value, 'v', SIZE);
	open_session(r, 1);
	for (uint64_t seq = 1; seq <= n; seq++)
		send_put(r, 1, seq, "a", value);
	OK(dedup_bytes(apply_dedup(r->apply)) <= LIMIT_DEDUP_BYTES);
	OK(dedup_rows(apply_dedup(r->apply)) < n - 10);
	EQ_INT(send_put(r, 1, 2, "a", value)->error, ERR_OUTCOME_UNKNOWN);
	EQ_INT(send_put(r, 1, n, "a", value)->error, ERR_OK);
	OK(r->outcome.repeated);
	rig_done(r);
	free(value);
}

/* By the log alone: the session whose last command is the oldest goes. */
TEST(the_least_used_session_goes_first)
{
	struct rig *r = rig_new("s");

	for (uint64_t g = 1; g <= LIMIT_GATEWAY_SESSIONS; g++)
		open_session(r, g);
	send_put(r, 1, 1, "a", "1");
	rig_restart(r);
	EQ_INT(dedup_sessions(apply_dedup(r->apply)), LIMIT_GATEWAY_SESSIONS);
	open_session(r, 5000);
	EQ_INT(dedup_sessions(apply_dedup(r->apply)), LIMIT_GATEWAY_SESSIONS);
	EQ_INT(send_put(r, 2, 1, "b", "1")->error, ERR_OUTCOME_UNKNOWN);
	EQ_INT(send_put(r, 1, 2, "a", "2")->error, ERR_OK);
	EQ_INT(send_put(r, 3, 1, "c", "3")->error, ERR_OK);
	rig_restart(r);
	open_session(r, 5001);
	EQ_INT(send_put(r, 4, 1, "d", "4")->error, ERR_OUTCOME_UNKNOWN);
	EQ_INT(send_put(r, 3, 1, "c", "3")->error, ERR_OK);
	OK(r->outcome.repeated);
	EQ_STR(all(r), "a=2 c=3 (2)");
	rig_done(r);
}

/* More sessions in one transaction than there may be: some are opened and evicted unflushed. */
TEST(sessions_come_and_go_within_a_transaction)
{
	struct rig *r = rig_new("s"), *single = rig_new("t");

	for (uint64_t g = 1; g <= 2 * LIMIT_GATEWAY_SESSIONS + 5; g++) {
		open_session(r, g * 7919);
		open_session(single, g * 7919);
		rig_commit(single);
	}
	rig_restart(r);
	rig_restart(single);
	EQ_INT(dedup_sessions(apply_dedup(r->apply)), LIMIT_GATEWAY_SESSIONS);
	EQ_INT(dedup_sessions(apply_dedup(single->apply)), LIMIT_GATEWAY_SESSIONS);
	EQ_INT(send_put(r, 7919, 1, "a", "1")->error, ERR_OUTCOME_UNKNOWN);
	EQ_INT(send_put(single, 7919, 1, "a", "1")->error, ERR_OUTCOME_UNKNOWN);
	EQ_MEM(apply_state(r->apply)->apply_hash, apply_state(single->apply)->apply_hash, 16);
	rig_done(r);
	rig_done(single);
}

TESTS = {
	T(a_repeated_command_has_its_first_answer),
	T(an_error_is_repeated_too),
	T(ids_of_two_gateways_are_two),
	T(without_a_session_nothing_is_applied),
	T(a_large_result_is_lost_but_its_revision_is_not),
	T(what_has_left_the_window_is_never_applied_again),
	T(kept_results_are_bounded_in_bytes),
	T(the_least_used_session_goes_first),
	T(sessions_come_and_go_within_a_transaction),
};
TAP_MAIN
