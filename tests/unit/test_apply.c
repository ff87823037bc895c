/* SPDX-License-Identifier: Apache-2.0 */
/* What commands do: etcd's rules one by one, errors that change nothing, entries without sense. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "mvcc/view.h"
#include "tests/lib/store_rig.h"
#include "tests/lib/tap.h"

#define K(s) bytes_str(s)
#define ALL bytes_of("\0", 1)
#define OPS(list) {list, sizeof(list) / sizeof(list[0])}

static const struct mvcc_state *state(const struct rig *r)
{
	return apply_state(r->apply);
}

static const char *all(struct rig *r)
{
	return rig_range(r, &(struct kv_range){.key = ALL, .range_end = ALL});
}

static struct command_result *do_put(struct rig *r, struct kv_put p)
{
	return rig_do(r, (struct command){.put = &p});
}

static struct command_result *do_delete(struct rig *r, struct kv_delete d)
{
	return rig_do(r, (struct command){.del = &d});
}

static struct command_result *do_txn(struct rig *r, struct kv_txn t)
{
	return rig_do(r, (struct command){.txn = &t});
}

TEST(a_fresh_store_is_at_revision_1)
{
	struct rig r;

	rig_open(&r, "s");
	EQ_INT(state(&r)->revision, 1);
	EQ_INT(state(&r)->compact_revision, -1);
	EQ_INT(rig_put(&r, "a", "1")->revision, 2);
	EQ_INT(r.r.put->header->revision, 2);
	rig_close(&r);
}

TEST(versions_start_anew_after_a_delete)
{
	struct rig r;
	struct kv_pair *prev;

	rig_open(&r, "s");
	rig_put(&r, "a", "1");
	rig_put(&r, "a", "2");
	prev = do_put(&r, (struct kv_put){.key = K("a"), .value = K("3"), .prev_kv = true})->put->prev_kv;
	OK(prev->create_revision == 2 && prev->mod_revision == 3 && prev->version == 2);
	OK(bytes_eq(prev->value, K("2")) && bytes_eq(prev->key, K("a")));
	rig_delete(&r, "a", NULL);
	rig_put(&r, "a", "4");
	prev = do_put(&r, (struct kv_put){.key = K("a"), .prev_kv = true})->put->prev_kv;
	OK(prev->create_revision == 6 && prev->mod_revision == 6 && prev->version == 1);
	OK(do_put(&r, (struct kv_put){.key = K("b"), .prev_kv = true})->put->prev_kv == NULL);
	EQ_STR(all(&r), "a= b= (2)");
	rig_close(&r);
}

TEST(ignoring_needs_a_key_to_be_there)
{
	struct rig r;

	rig_open(&r, "s");
	EQ_INT(do_put(&r, (struct kv_put){.key = K("a"), .ignore_value = true})->error, ERR_KEY_NOT_FOUND);
	EQ_INT(do_put(&r, (struct kv_put){.key = K("a"), .value = K("1"), .ignore_lease = true})->error, ERR_KEY_NOT_FOUND);
	rig_put(&r, "a", "1");
	EQ_INT(do_put(&r, (struct kv_put){.key = K("a"), .value = K("2"), .ignore_value = true})->error, ERR_VALUE_PROVIDED);
	EQ_INT(do_put(&r, (struct kv_put){.key = K("a"), .lease = 2, .ignore_lease = true})->error, ERR_LEASE_PROVIDED);
	EQ_INT(do_put(&r, (struct kv_put){.key = K("a"), .ignore_value = true})->error, ERR_OK);
	EQ_INT(r.r.revision, 3);
	EQ_STR(all(&r), "a=1 (1)");
	rig_close(&r);
}

TEST(there_are_no_leases_yet)
{
	struct rig r;

	rig_open(&r, "s");
	EQ_INT(do_put(&r, (struct kv_put){.key = K("a"), .lease = 7})->error, ERR_LEASE_NOT_FOUND);
	EQ_INT(r.r.revision, 1);
	OK(r.r.put == NULL);
	EQ_INT(do_put(&r, (struct kv_put){.key = K("")})->error, ERR_KEY_EMPTY);
	rig_close(&r);
}

TEST(a_delete_of_nothing_changes_nothing)
{
	struct rig r;

	rig_open(&r, "s");
	rig_put(&r, "b", "1");
	EQ_INT(rig_delete(&r, "a", NULL)->del->deleted, 0);
	EQ_INT(r.r.revision, 2);
	EQ_INT(r.r.del->header->revision, 2);
	EQ_INT(rig_delete(&r, "c", "z")->del->deleted, 0);
	EQ_INT(rig_delete(&r, "z", "a")->del->deleted, 0);
	EQ_INT(state(&r)->revision, 2);
	rig_close(&r);
}

TEST(a_range_is_deleted_at_one_revision)
{
	struct kv_delete_result *d;
	struct mvcc_events *events;
	struct mvcc_event e;
	struct mvcc_view *v;
	struct rig r;

	rig_open(&r, "s");
	rig_put(&r, "b", "1");
	rig_put(&r, "a", "2");
	rig_put(&r, "c", "3");
	d = do_delete(&r, (struct kv_delete){.key = K("a"), .range_end = K("c"), .prev_kv = true})->del;
	EQ_INT(d->deleted, 2);
	EQ_INT(d->header->revision, 5);
	EQ_INT(d->prev_kvs.n, 2);
	OK(bytes_eq(d->prev_kvs.v[0].value, K("2")) && bytes_eq(d->prev_kvs.v[1].key, K("b")));
	v = rig_view(&r);
	EQ_INT(mvcc_events_begin(v, 5, &events), ERR_OK);
	EQ_INT(mvcc_events_next(events, &e), ERR_OK);
	OK(e.rev == 5 && e.sub == 0 && e.type == MVCC_EVENT_DELETE && bytes_eq(e.key, K("a")));
	EQ_INT(mvcc_events_next(events, &e), ERR_OK);
	OK(e.rev == 5 && e.sub == 1 && e.type == MVCC_EVENT_DELETE && bytes_eq(e.key, K("b")));
	EQ_INT(mvcc_events_next(events, &e), ERR_NOT_FOUND);
	mvcc_events_end(&events);
	mvcc_view_end(&v);
	EQ_INT(rig_delete(&r, "a", "")->del->deleted, 1);
	EQ_STR(all(&r), " (0)");
	EQ_INT(state(&r)->keys, 0);
	rig_close(&r);
}

/* More keys than are gathered at a time, long ones among them. */
TEST(a_large_range_is_deleted_whole)
{
	uint8_t key[600];
	struct rig r;

	rig_open(&r, "s");
	for (unsigned i = 0; i < 1500; i++) {
		size_t len = i % 2 ? 600 : 20;

		memset(key, 'x', sizeof key);
		put_u32be(key + len - 4, i);
		do_put(&r, (struct kv_put){.key = bytes_of(key, len)});
	}
	EQ_INT(state(&r)->keys, 1500);
	memset(key, 'x', sizeof key);
	put_u32be(key + 596, 301);
	EQ_INT(do_delete(&r, (struct kv_delete){.key = bytes_of(key, 600), .range_end = ALL})->del->deleted, 600);
	EQ_INT(do_delete(&r, (struct kv_delete){.key = ALL, .range_end = ALL})->del->deleted, 900);
	EQ_INT(state(&r)->keys, 0);
	EQ_INT(state(&r)->revision, 1503);
	rig_close(&r);
}

/* ---- transactions ---- */

TEST(a_transaction_has_one_revision_and_reads_its_own_writes)
{
	struct kv_put a = {.key = K("a"), .value = K("new")}, b = {.key = K("b"), .value = K("2")};
	struct kv_delete d = {.key = K("c")};
	struct kv_range ra = {.key = K("a"), .range_end = ALL}, old = {.key = K("a"), .revision = 3};
	struct kv_op ops[] = {{.range = &ra}, {.put = &a}, {.range = &ra}, {.del = &d}, {.put = &b}, {.range = &ra}, {.range = &old}};
	struct kv_op_result *o;
	struct rig r;

	rig_open(&r, "s");
	rig_put(&r, "a", "old");
	rig_put(&r, "c", "3");
	o = do_txn(&r, (struct kv_txn){.success = OPS(ops)})->txn->responses.v;
	OK(r.r.txn->succeeded && r.r.revision == 4 && r.r.txn->header->revision == 4);
	EQ_INT(o[0].range->header->revision, 3);
	OK(o[0].range->count == 2 && bytes_eq(o[0].range->kvs.v[0].value, K("old")));
	EQ_INT(o[1].put->header->revision, 4);
	EQ_INT(o[2].range->header->revision, 4);
	OK(bytes_eq(o[2].range->kvs.v[0].value, K("new")) && o[2].range->kvs.v[0].mod_revision == 4);
	OK(o[3].del->deleted == 1 && o[5].range->count == 2);
	OK(bytes_eq(o[6].range->kvs.v[0].value, K("old")));
	EQ_STR(all(&r), "a=new b=2 (2)");
	rig_close(&r);
}

TEST(an_empty_transaction_changes_nothing)
{
	struct rig r;

	rig_open(&r, "s");
	OK(do_txn(&r, (struct kv_txn){.compares = {NULL, 0}})->txn->succeeded);
	EQ_INT(r.r.txn->header->revision, 1);
	EQ_INT(r.r.revision, 1);
	rig_close(&r);
}

/* Does the compare hold? */
static bool holds(struct rig *r, struct kv_compare c)
{
	EQ_INT(do_txn(r, (struct kv_txn){.compares = {&c, 1}})->error, ERR_OK);
	return r->r.txn->succeeded;
}

TEST(a_missing_key_is_zero_but_has_no_value)
{
	struct rig r;

	rig_open(&r, "s");
	for (uint64_t target = 0; target <= KV_TARGET_LEASE; target++) {
		EQ_INT(holds(&r, (struct kv_compare){.key = K("x"), .target = target, .op = KV_EQUAL}), target != KV_TARGET_VALUE);
		EQ_INT(holds(&r, (struct kv_compare){.key = K("x"), .range_end = K("z"), .target = target, .op = KV_EQUAL}), target != KV_TARGET_VALUE);
	}
	OK(!holds(&r, (struct kv_compare){.key = K("x"), .target = KV_TARGET_VALUE, .op = KV_NOT_EQUAL, .value = K("v")}));
	OK(holds(&r, (struct kv_compare){.key = K("x"), .target = KV_TARGET_VERSION, .op = KV_LESS, .number = 1}));
	rig_close(&r);
}

TEST(a_compare_of_a_range_holds_for_every_key)
{
	struct rig r;

	rig_open(&r, "s");
	rig_put(&r, "a", "v");
	rig_put(&r, "b", "v");
	rig_put(&r, "c", "w");
	OK(holds(&r, (struct kv_compare){.key = K("a"), .range_end = K("c"), .target = KV_TARGET_VALUE, .op = KV_EQUAL, .value = K("v")}));
	OK(!holds(&r, (struct kv_compare){.key = K("a"), .range_end = ALL, .target = KV_TARGET_VALUE, .op = KV_EQUAL, .value = K("v")}));
	OK(holds(&r, (struct kv_compare){.key = K("a"), .range_end = ALL, .target = KV_TARGET_MOD, .op = KV_GREATER, .number = 1}));
	OK(holds(&r, (struct kv_compare){.key = K("a"), .range_end = ALL, .target = KV_TARGET_CREATE, .op = KV_LESS, .number = 5}));
	rig_close(&r);
}

TEST(nested_compares_see_the_state_before_the_transaction)
{
	struct kv_compare is_new = {.key = K("a"), .target = KV_TARGET_VERSION, .op = KV_EQUAL};
	struct kv_put a = {.key = K("a")}, b = {.key = K("b")}, c = {.key = K("c")};
	struct kv_op then[] = {{.put = &b}}, other[] = {{.put = &c}};
	struct kv_txn inner = {.compares = {&is_new, 1}, .success = OPS(then), .failure = OPS(other)};
	struct kv_op ops[] = {{.put = &a}, {.txn = &inner}};
	struct rig r;

	rig_open(&r, "s");
	do_txn(&r, (struct kv_txn){.success = OPS(ops)});
	OK(r.r.txn->responses.v[1].txn->succeeded);
	EQ_INT(r.r.txn->responses.v[1].txn->header->revision, 2);
	EQ_STR(all(&r), "a= b= (2)");
	rig_close(&r);
}

TEST(whatever_fails_in_a_transaction_fails_it_whole)
{
	struct kv_put a = {.key = K("a"), .value = K("2")}, lease = {.key = K("b"), .lease = 5}, miss = {.key = K("m"), .ignore_value = true};
	struct kv_range future = {.key = K("a"), .revision = 99}, gone = {.key = K("a"), .revision = 2}, neg = {.key = K("a"), .revision = -2};
	struct kv_op with_lease[] = {{.put = &a}, {.put = &lease}}, with_miss[] = {{.put = &a}, {.put = &miss}};
	struct kv_op with_future[] = {{.put = &a}, {.range = &future}}, with_gone[] = {{.put = &a}, {.range = &gone}};
	struct kv_op with_neg[] = {{.put = &a}, {.range = &neg}}, twice[] = {{.put = &a}, {.put = &a}};
	struct kv_txn inner = {.success = OPS(with_future)};
	struct kv_op nested[] = {{.txn = &inner}};
	struct rig r;

	rig_open(&r, "s");
	rig_put(&r, "a", "1");
	rig_put(&r, "x", "1");
	rig_put(&r, "x", "2");
	rig_compact(&r, 3);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(with_lease)})->error, ERR_LEASE_NOT_FOUND);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(with_miss)})->error, ERR_KEY_NOT_FOUND);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(with_future)})->error, ERR_FUTURE_REV);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(with_gone)})->error, ERR_COMPACTED);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(with_neg)})->error, ERR_COMPACTED);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(twice)})->error, ERR_DUPLICATE_KEY);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(nested)})->error, ERR_FUTURE_REV);
	EQ_INT(do_txn(&r, (struct kv_txn){.failure = OPS(with_future)})->error, ERR_OK);     /* not the way taken */
	EQ_INT(state(&r)->revision, 4);
	EQ_STR(all(&r), "a=1 x=2 (2)");
	rig_close(&r);
}

/* Fails only when some of it has been done: it must be as if it never began. */
TEST(a_too_large_answer_takes_everything_back)
{
	uint8_t before[16], after[16], *big = mem_alloc(1u << 20);
	struct kv_put a = {.key = K("a"), .value = K("2")}, fresh = {.key = K("n")};
	struct kv_delete d = {.key = K("big1")};
	struct kv_range everything = {.key = ALL, .range_end = ALL};
	struct kv_txn inner = {.compares = {NULL, 0}};
	struct kv_op deep[] = {{.put = &fresh}}, ops[] = {{.put = &a}, {.del = &d}, {.txn = &inner}, {.range = &everything}, {.range = &everything}};
	struct kv_op good[] = {{.put = &a}, {.del = &d}, {.txn = &inner}};
	struct rig r;
	char key[8] = "big0";

	inner.success.v = deep;
	inner.success.n = 1;
	rig_open(&r, "s");
	rig_put(&r, "a", "1");
	for (; key[3] < '3'; key[3]++)
		do_put(&r, (struct kv_put){.key = K(key), .value = bytes_of(big, 1u << 20)});
	rig_hash(&r, 0, 100, before);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(ops)})->error, ERR_RESPONSE_TOO_LARGE);
	EQ_INT(r.r.revision, 5);
	rig_hash(&r, 0, 100, after);
	EQ_MEM(after, before, 16);
	EQ_INT(state(&r)->keys, 4);
	EQ_INT(state(&r)->revision, 5);
	EQ_INT(do_delete(&r, (struct kv_delete){.key = ALL, .range_end = ALL, .prev_kv = true})->error, ERR_RESPONSE_TOO_LARGE);
	rig_hash(&r, 0, 100, after);
	EQ_MEM(after, before, 16);
	EQ_INT(do_txn(&r, (struct kv_txn){.success = OPS(good)})->error, ERR_OK);
	EQ_STR(rig_get(&r, "a", 0), "2");
	EQ_STR(rig_get(&r, "a", 5), "1");
	EQ_STR(rig_get(&r, "big1", 0), "(none)");
	EQ_INT(state(&r)->keys, 4);
	EQ_INT(do_delete(&r, (struct kv_delete){.key = ALL, .range_end = ALL})->del->deleted, 4);
	rig_close(&r);
	free(big);
}

/* ---- compaction, as a command ---- */

TEST(compact_is_refused_as_etcd_refuses_it)
{
	struct rig r;

	rig_open(&r, "s");
	EQ_INT(rig_compact(&r, -1)->error, ERR_COMPACTED);
	EQ_INT(rig_compact(&r, 0)->error, ERR_OK);
	EQ_INT(rig_compact(&r, 0)->error, ERR_COMPACTED);
	rig_put(&r, "a", "1");
	rig_put(&r, "a", "2");
	EQ_INT(rig_compact(&r, 4)->error, ERR_FUTURE_REV);
	EQ_INT(rig_compact(&r, 3)->error, ERR_OK);
	EQ_INT(r.r.compact->header->revision, 3);
	EQ_INT(rig_compact(&r, 3)->error, ERR_COMPACTED);
	EQ_STR(rig_get(&r, "a", 2), "COMPACTED");
	EQ_STR(rig_get(&r, "a", 3), "2");
	rig_close(&r);
}

/* ---- entries that make no sense ---- */

static void nonsense(struct rig *r, uint64_t kind, struct bytes payload)
{
	uint64_t rejected = state(r)->rejected;

	rig_entry(r, kind, payload);
	OK(r->outcome.rejected && r->outcome.gateway == 0);
	EQ_INT(state(r)->rejected, rejected + 1);
}

TEST(entries_without_sense_are_counted_and_skipped)
{
	struct kv_put p = {.key = K("a")};
	struct kv_delete d = {.key = K("a")};
	struct command both = {.gateway = RIG_GATEWAY, .seq = 1, .put = &p, .del = &d};
	struct command nobody = {.seq = 1, .put = &p}, unnumbered = {.gateway = RIG_GATEWAY, .put = &p};
	struct command empty = {.gateway = RIG_GATEWAY, .seq = 5};
	const struct command *bad[] = {&both, &nobody, &unnumbered, &empty};
	struct rig r, again;
	struct buf b;

	buf_init(&b, 0);
	rig_open(&r, "s");
	rig_open(&again, "t");
	for (int i = 0; i < 2; i++) {
		struct rig *x = i ? &again : &r;

		nonsense(x, LOG_ENTRY_COMMAND, K("garbage"));
		nonsense(x, LOG_ENTRY_COMMAND, K(""));
		nonsense(x, 77, K("of a later version"));
		for (size_t j = 0; j < ARRAY_LEN(bad); j++) {
			buf_clear(&b);
			EQ_INT(msg_encode(&b, &command_desc, bad[j]), ERR_OK);
			nonsense(x, LOG_ENTRY_COMMAND, buf_bytes(&b));
		}
		buf_clear(&b);
		EQ_INT(msg_encode(&b, &command_desc, &(struct command){.gateway = RIG_GATEWAY}), ERR_OK);
		buf_u8(&b, 0);
		nonsense(x, LOG_ENTRY_COMMAND, buf_bytes(&b));          /* trailing byte */
		rig_entry(x, LOG_ENTRY_NOOP, K(""));
		OK(!x->outcome.rejected);
		EQ_INT(rig_put(x, "a", "1")->revision, 2);
	}
	EQ_MEM(state(&r)->apply_hash, state(&again)->apply_hash, 16);
	EQ_INT(state(&r)->applied, 11);
	rig_close(&r);
	rig_close(&again);
	buf_free(&b);
}

TEST(what_was_applied_shows_in_the_rolling_hash)
{
	struct rig a, b;

	rig_open(&a, "a");
	rig_open(&b, "b");
	EQ_MEM(state(&a)->apply_hash, state(&b)->apply_hash, 16);
	rig_put(&a, "k", "1");
	rig_put(&b, "k", "2");
	OK(memcmp(state(&a)->apply_hash, state(&b)->apply_hash, 16) != 0);
	rig_put(&a, "k", "3");
	rig_put(&b, "k", "3");
	OK(memcmp(state(&a)->apply_hash, state(&b)->apply_hash, 16) != 0);      /* for good */
	rig_close(&a);
	rig_close(&b);
}

TEST(another_store_is_not_taken_up)
{
	struct mvcc_identity other = {STORE_FORMAT, 1, 2, 1}, format = {STORE_FORMAT + 1, 1, 1, 1};
	struct apply *a = NULL;
	struct rig r;

	rig_open(&r, "s");
	rig_put(&r, "a", "1");
	rig_commit(&r);
	apply_close(&r.apply);
	EQ_INT(apply_open(r.db, &other, &a), ERR_CONFIG);
	EQ_INT(apply_open(r.db, &format, &a), ERR_VERSION);
	mvcc_close(&r.env);
	r.db = NULL;
	rig_restart(&r);
	EQ_STR(all(&r), "a=1 (1)");
	rig_close(&r);
}

TESTS = {
	T(a_fresh_store_is_at_revision_1),
	T(versions_start_anew_after_a_delete),
	T(ignoring_needs_a_key_to_be_there),
	T(there_are_no_leases_yet),
	T(a_delete_of_nothing_changes_nothing),
	T(a_range_is_deleted_at_one_revision),
	T(a_large_range_is_deleted_whole),
	T(a_transaction_has_one_revision_and_reads_its_own_writes),
	T(an_empty_transaction_changes_nothing),
	T(a_missing_key_is_zero_but_has_no_value),
	T(a_compare_of_a_range_holds_for_every_key),
	T(nested_compares_see_the_state_before_the_transaction),
	T(whatever_fails_in_a_transaction_fails_it_whole),
	T(a_too_large_answer_takes_everything_back),
	T(compact_is_refused_as_etcd_refuses_it),
	T(entries_without_sense_are_counted_and_skipped),
	T(what_was_applied_shows_in_the_rolling_hash),
	T(another_store_is_not_taken_up),
};
TAP_MAIN
