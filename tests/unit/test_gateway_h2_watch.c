/* SPDX-License-Identifier: Apache-2.0 */
/* Watches of etcd's through a gateway: their order, their fragments, what they may gather. */
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/h2_peer.h"
#include "tests/lib/tap.h"

static size_t watches_of_the_first(struct world *w)
{
	return container_of(list_first(&w->g.conns.all), struct conn, node)->watches.n;
}

TEST(an_event_for_many_watches_of_a_stream_is_not_gathered_beyond_all_bounds)
{
	enum { WATCHES = 100, VALUE = 100000 };
	struct etcd_watch_create c = {.key = bytes_str("a"), .start_revision = 1};
	struct etcd_watch_request create = {.create = &c};
	static uint8_t value[VALUE];
	struct h2_peer *h, *other;
	struct world *w;
	int64_t before;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	other = h2_peer_new(w, H2_PEER_WINDOW);
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	for (int i = 0; i < WATCHES; i++)
		h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	H2_UNTIL(h, watches_of_the_first(w) == WATCHES);
	w->g.conns.max_out_bytes = 1 << 20;
	before = w->g.counters.watch_notifications_total.value;
	h2_peer_wait(other, h2_peer_put(other, "a", bytes_of(value, VALUE)));
	H2_UNTIL(h, watches_of_the_first(w) == 0);
	OK(w->g.counters.watch_notifications_total.value - before <= 2 * (1 << 20) / VALUE);
	h2_peer_free(other);
	h2_peer_teardown(w, h);
}

/* etcd's Go client puts fragments together as they come, and loses what stands in between. */
TEST(nothing_comes_between_the_fragments_of_a_revision)
{
	enum { WATCHES = 2, KEYS = 6 };
	struct etcd_watch_create c = {.key = bytes_str("k"), .range_end = bytes_str("l"), .prev_kv = true, .fragment = true};
	struct etcd_watch_request create = {.create = &c};
	struct kv_delete del = {.key = c.key, .range_end = c.range_end};
	struct etcd_watch_response r;
	size_t created = 0, events = 0, fragments = 0;
	int64_t open = -1;
	struct h2_peer *h, *other;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	other = h2_peer_new(w, H2_PEER_WINDOW);
	h2_peer_fill(other, KEYS, 500000);
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	for (int i = 0; i < WATCHES; i++)
		h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	for (; created < WATCHES; created += r.created)
		h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	h2_peer_wait(other, h2_peer_call(other, KV "DeleteRange", &kv_delete_pb, &del, NULL));
	while (events < WATCHES * KEYS) {
		h2_peer_next(h, id, &etcd_watch_response_pb, &r);
		OK(r.events.n > 0 && r.events.n < KEYS);
		OK(open == -1 || open == r.watch_id);
		open = r.fragment ? r.watch_id : -1;
		events += r.events.n;
		fragments += r.fragment;
	}
	EQ_INT(open, -1);
	OK(events == WATCHES * KEYS && fragments >= WATCHES);
	h2_peer_free(other);
	h2_peer_teardown(w, h);
}

/* Without fragments a revision is gathered, for each watch, as far as a connection may hold it. */
TEST(an_event_comes_once_though_memory_does_not_suffice_to_gather_them)
{
	enum { WATCHES = 4, KEYS = 8 };
	struct etcd_watch_create c = {.key = bytes_str("k"), .range_end = bytes_str("l"), .prev_kv = true};
	struct etcd_watch_request create = {.create = &c};
	struct kv_delete del = {.key = c.key, .range_end = c.range_end};
	struct etcd_watch_response r;
	size_t created = 0, events = 0;
	struct h2_peer *h, *other;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	other = h2_peer_new(w, H2_PEER_WINDOW);
	h2_peer_fill(other, KEYS, 1000000);
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	for (int i = 0; i < WATCHES; i++)
		h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	for (; created < WATCHES; created += r.created)
		h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	h2_peer_wait(other, h2_peer_call(other, KV "DeleteRange", &kv_delete_pb, &del, NULL));
	while (events < WATCHES * KEYS) {
		h2_peer_next(h, id, &etcd_watch_response_pb, &r);
		events += r.events.n;
	}
	for (int i = 0; i < 100; i++)
		h2_peer_turn(h);
	EQ_INT(events, WATCHES * KEYS);
	EQ_INT(h2_peer_of(h, id)->in.len, h2_peer_of(h, id)->in_pos);
	h2_peer_free(other);
	h2_peer_teardown(w, h);
}

TEST(one_watch_waits_for_the_other_and_answers_keep_their_order)
{
	struct etcd_watch_create now = {.key = bytes_str("a")}, past = {.key = bytes_str("a"), .start_revision = 1};
	struct etcd_watch_request first = {.create = &now}, second = {.create = &past};
	struct etcd_watch_response r;
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_wait(h, h2_peer_put(h, "a", bytes_str("1")));
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	h2_peer_say(h, id, &etcd_watch_request_pb, &first);
	h2_peer_say(h, id, &etcd_watch_request_pb, &second);
	h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	OK(r.created);
	EQ_INT(r.watch_id, 0);
	h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	OK(r.created);
	EQ_INT(r.watch_id, 1);
	h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	EQ_INT(r.watch_id, 1);
	EQ_INT(r.events.n, 1);
	h2_peer_teardown(w, h);
}

/* k00000 and so on, a hundred at a time. */
static void fill_fast(struct world *w, int n)
{
	enum { AT_ONCE = 100 };
	struct kv_put puts[AT_ONCE];
	struct kv_op ops[AT_ONCE];
	struct kv_txn txn = {{NULL, 0}, {ops, AT_ONCE}, {NULL, 0}};
	char keys[AT_ONCE][8];
	struct rpc_reply r;
	struct rpc_peer p;

	world_join(w, &p);
	for (int i = 0; i < n; i++) {
		int at = i % AT_ONCE;

		puts[at] = (struct kv_put){.key = bytes_of(keys[at], (size_t)snprintf(keys[at], 8, "k%05d", i))};
		ops[at] = (struct kv_op){.put = &puts[at]};
		if (at < AT_ONCE - 1)
			continue;
		world_call(w, &p, "txn", &kv_txn_desc, &txn, &r);
		EQ_INT(r.error, 0);
	}
	rpc_peer_close(&p);
}

/* Of such a revision each watch has one event, in one of many parts, and is to be told when it is whole. */
TEST(a_cut_revision_comes_whole_to_each_of_ten_thousand_watches)
{
	enum { WATCHES = LIMIT_CONN_WATCHES };
	struct kv_delete del = {.key = bytes_str("k"), .range_end = bytes_str("l")};
	struct etcd_watch_response r;
	struct h2_peer *h, *other;
	struct world *w;
	char key[8];
	int32_t id;

	h2_peer_setup(&w, &h, 64 << 20);
	other = h2_peer_new(w, H2_PEER_WINDOW);
	fill_fast(w, WATCHES);
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	for (int i = 0; i < WATCHES; i++) {
		struct etcd_watch_create c = {.start_revision = small_store_revision(&w->store) + 1};
		struct etcd_watch_request create = {.create = &c};

		c.key = bytes_of(key, (size_t)snprintf(key, sizeof key, "k%05d", i));
		h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	}
	for (int created = 0; created < WATCHES; created++) {
		h2_peer_next(h, id, &etcd_watch_response_pb, &r);
		OK(r.created && !r.canceled);
	}
	h2_peer_wait(other, h2_peer_call(other, KV "DeleteRange", &kv_delete_pb, &del, NULL));
	for (int told = 0; told < WATCHES; told++) {
		h2_peer_next(h, id, &etcd_watch_response_pb, &r);
		EQ_INT(r.events.n, 1);
		EQ_INT(r.events.v[0].type, ETCD_DELETE_EVENT);
	}
	h2_peer_free(other);
	h2_peer_teardown(w, h);
}

/* There it begins where this gatewayd has known the old store to be, and not where the new one stands. */
TEST(a_watch_from_now_on_does_not_begin_in_the_past_of_a_rebuilt_store)
{
	struct etcd_watch_create c = {.key = bytes_str("a")};
	struct etcd_watch_request create = {.create = &c};
	struct etcd_watch_response r;
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_wait(h, h2_peer_put(h, "a", bytes_str("1")));
	h2_peer_wait(h, h2_peer_put(h, "a", bytes_str("2")));
	world_rebuild(w);
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	OK(r.created);
	EQ_INT(r.header->revision, 3);
	w->applies = true;
	h2_peer_wait(h, h2_peer_put(h, "a", bytes_str("3")));
	h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	EQ_INT(r.events.n, 1);
	EQ_INT(r.events.v[0].kv->mod_revision, 4);
	h2_peer_teardown(w, h);
}

/* The rest of the connection is its own business: what is taken of a watch is credit for its next events. */
TEST(a_watch_that_is_taken_goes_on_beside_answers_that_are_not)
{
	enum { RANGES = 20, PUTS = 60, VALUE = 100000 };
	struct kv_range range = {.key = bytes_str("k"), .range_end = bytes_str("l"), .serializable = true};
	struct etcd_watch_create c = {.key = bytes_str("a"), .start_revision = 1};
	struct etcd_watch_request create = {.create = &c};
	static uint8_t value[VALUE];
	struct etcd_watch_response r;
	struct h2_peer *h, *other;
	struct conn *conn;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, 0);
	other = h2_peer_new(w, H2_PEER_WINDOW);
	h2_peer_fill(other, 6, 131072);
	conn = container_of(list_first(&w->g.conns.all), struct conn, node);
	for (int i = 0; i < RANGES; i++)
		(void)h2_peer_call(h, KV "Range", &kv_range_pb, &range, NULL);
	H2_UNTIL(h, conn->extra_out >= LIMIT_CONN_OUT_MAX);
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	h2_peer_turn(h);
	EQ_INT(nghttp2_submit_window_update(h->session, NGHTTP2_FLAG_NONE, id, 64 << 20), 0);
	EQ_INT(nghttp2_submit_window_update(h->session, NGHTTP2_FLAG_NONE, 0, 64 << 20), 0);
	h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	OK(r.created);
	for (int i = 0; i < PUTS; i++)
		h2_peer_wait(other, h2_peer_put(other, "a", bytes_of(value, VALUE)));
	for (int told = 0; told < PUTS; told += (int)r.events.n)
		h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	h2_peer_free(other);
	h2_peer_teardown(w, h);
}

/* To look and to watch again would be done for ever, as fast as it goes. */
TEST(who_waits_for_a_lock_is_told_that_watchd_takes_no_more_watches)
{
	struct lease_grant first = {.id = 1, .ttl = 60}, second = {.id = 2, .ttl = 60};
	struct etcd_lock mine = {bytes_str("l"), 1}, yours = {bytes_str("l"), 2};
	struct watch_canceled no = {0, ERR_TOO_MANY_WATCHES, 0};
	struct watch_news m = {.head_rev = 1, .canceled = {&no, 1}};
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_wait(h, h2_peer_call(h, "/etcdserverpb.Lease/LeaseGrant", &lease_grant_pb, &first, NULL));
	h2_peer_wait(h, h2_peer_call(h, "/etcdserverpb.Lease/LeaseGrant", &lease_grant_pb, &second, NULL));
	h2_peer_wait(h, h2_peer_call(h, "/v3lockpb.Lock/Lock", &etcd_lock_pb, &mine, NULL));
	id = h2_peer_call(h, "/v3lockpb.Lock/Lock", &etcd_lock_pb, &yours, NULL);
	H2_UNTIL(h, w->g.watch.n == 1);
	no.watch = w->g.watch.next_id;
	net_send(&w->to_gateway_watch, mono_now(), MSG_NO_watch_news, &watch_news_desc, &m);
	H2_UNTIL(h, h2_peer_of(h, id)->closed);
	EQ_STR(h2_peer_of(h, id)->text, "etcdserver: too many watches");
	EQ_INT(w->g.watch.n, 0);
	h2_peer_teardown(w, h);
}

/* Trailers are no data: no window keeps them back (RFC 9113, 5.2.1). */
TEST(a_status_needs_no_window)
{
	const nghttp2_settings_entry shut[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}};
	struct etcd_watch_create c = {.key = bytes_str("a"), .start_revision = 1};
	struct etcd_watch_request create = {.create = &c};
	struct etcd_watch_response r;
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	h2_peer_next(h, id, &etcd_watch_response_pb, &r);
	OK(r.created);
	EQ_INT(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, shut, 1), 0);
	for (int i = 0; i < 5; i++)
		h2_peer_turn(h);
	gateway_stop(&w->g);
	H2_UNTIL(h, h2_peer_of(h, id)->closed || h->p.closed);
	EQ_STR(h2_peer_of(h, id)->text, "etcdserver: server stopped");
	h2_peer_teardown(w, h);
}

TESTS = {
	T(an_event_for_many_watches_of_a_stream_is_not_gathered_beyond_all_bounds),
	T(nothing_comes_between_the_fragments_of_a_revision),
	T(an_event_comes_once_though_memory_does_not_suffice_to_gather_them),
	T(one_watch_waits_for_the_other_and_answers_keep_their_order),
	T(a_watch_from_now_on_does_not_begin_in_the_past_of_a_rebuilt_store),
	T(a_watch_that_is_taken_goes_on_beside_answers_that_are_not),
	T(who_waits_for_a_lock_is_told_that_watchd_takes_no_more_watches),
	T(a_status_needs_no_window),
	T(a_cut_revision_comes_whole_to_each_of_ten_thousand_watches),
};
TAP_MAIN
