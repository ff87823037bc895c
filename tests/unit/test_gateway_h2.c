/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC through a gateway, with the daemons' models around it: statuses, deadlines, limits, the end. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/h2_peer.h"
#include "tests/lib/tap.h"

TEST(a_put_and_a_range_are_answered_with_trailers)
{
	struct kv_range_result r;
	struct kv_put_result p;
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	id = h2_peer_put(h, "a", bytes_str("1"));
	h2_peer_next(h, id, &kv_put_result_pb, &p);
	EQ_INT(p.header->revision, 2);
	h2_peer_ends(h, id, "0", "");
	EQ_STR(h2_peer_of(h, id)->http, "200");
	id = h2_peer_get(h, "a", "", NULL);
	h2_peer_next(h, id, &kv_range_result_pb, &r);
	EQ_INT(r.count, 1);
	OK(bytes_eq(r.kvs.v[0].value, bytes_str("1")));
	h2_peer_ends(h, id, "0", "");
	id = h2_peer_get(h, "", "", NULL);
	h2_peer_ends(h, id, "3", "etcdserver: key is not provided");
	h2_peer_teardown(w, h);
}

TEST(what_is_no_grpc_gets_an_http_status)
{
	nghttp2_nv nv[5];
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
#define NV(name, value) {(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, sizeof name - 1, sizeof value - 1, 0}
	nv[0] = (nghttp2_nv)NV(":method", "GET");
	nv[1] = (nghttp2_nv)NV(":scheme", "http");
	nv[2] = (nghttp2_nv)NV(":path", "/health");
	nv[3] = (nghttp2_nv)NV(":authority", "x");
	id = nghttp2_submit_request(h->session, NULL, nv, 4, NULL, NULL);
	h2_peer_wait(h, id);
	EQ_STR(h2_peer_of(h, id)->http, "405");
	nv[0] = (nghttp2_nv)NV(":method", "POST");
	nv[4] = (nghttp2_nv)NV("content-type", "application/grpc-web");
	id = nghttp2_submit_request(h->session, NULL, nv, 5, NULL, NULL);
	h2_peer_wait(h, id);
	EQ_STR(h2_peer_of(h, id)->http, "415");
	h2_peer_teardown(w, h);
}

TEST(a_caller_s_deadline_ends_its_work)
{
	const char *const soon[] = {"grpc-timeout", "20m", NULL};
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	w->forgets = true;
	id = h2_peer_get(h, "a", "", soon);
	H2_UNTIL(h, w->g.n_requests == 1);
	h2_peer_ends(h, id, "4", "context deadline exceeded");
	EQ_INT(w->g.n_requests, 0);
	id = h2_peer_get(h, "a", "", NULL);
	H2_UNTIL(h, w->g.n_requests == 1);
	(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
	H2_UNTIL(h, w->g.n_requests == 0);
	(void)h2_peer_put(h, "a", bytes_str("1"));
	H2_UNTIL(h, w->g.n_requests == 1);
	rpc_peer_close(&h->p);                /* and so does the end of its connection */
	for (int i = 0; i < 10; i++)
		world_turn(w);
	EQ_INT(w->g.n_requests, 0);
	h->p.closed = true;
	h2_peer_teardown(w, h);
}

TEST(who_wants_a_leader_is_told_that_there_is_none)
{
	const char *const wants[] = {"hasleader", "true", NULL};
	struct h2_peer *h;
	struct world *w;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_wait(h, h2_peer_put(h, "a", bytes_str("1")));
	world_leader(w, 0);
	H2_UNTIL(h, w->g.raft.state.leader == 0);
	h2_peer_ends(h, h2_peer_get(h, "a", "", wants), "14", "etcdserver: no leader");
	h2_peer_teardown(w, h);
}

TEST(a_large_answer_comes_whole_through_a_small_window)
{
	struct kv_range_result r;
	struct h2_peer *h;
	struct world *w;
	int32_t id, other;

	h2_peer_setup(&w, &h, 1000);
	h2_peer_fill(h, 300, 4000);
	id = h2_peer_get(h, "k", "l", NULL);
	H2_UNTIL(h, w->g.counters.read_streams_total.value == 1);
	other = h2_peer_put(h, "z", bytes_str("1"));          /* nobody waits for it */
	h2_peer_wait(h, other);
	OK(!h2_peer_of(h, id)->closed);
	OK(w->g.conns.out_bytes < 2 * MIB);
	h2_peer_next(h, id, &kv_range_result_pb, &r);
	EQ_INT(r.count, 300);
	EQ_INT(r.kvs.n, 300);
	OK(bytes_eq(r.kvs.v[299].key, bytes_str("k00299")));
	h2_peer_ends(h, id, "0", "");
	h2_peer_teardown(w, h);
}

/* A buffer that was lent for what may not be written goes back. */
TEST(a_connection_whose_windows_are_shut_keeps_no_empty_buffer)
{
	struct h2_peer *h, *shut;
	struct world *w;
	struct buf lent;
	size_t before;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_fill(h, 100, 4000);
	shut = h2_peer_new(w, 0);
	id = h2_peer_get(shut, "k", "l", NULL);
	H2_UNTIL(shut, w->g.conns.out_bytes > 0 && list_empty(&w->g.conns.dirty));
	before = w->g.conns.out_bytes;
	buf_init(&lent, 0);
	OK(buf_reserve(&lent, CONN_SPARE_MIN) != NULL);
	conn_spare_give(&w->g.conns, &lent);
	(void)nghttp2_submit_window_update(shut->session, NGHTTP2_FLAG_NONE, 0, 1);       /* not the stream's */
	for (int i = 0; i < 10; i++)
		h2_peer_turn(shut);
	EQ_INT(w->g.conns.out_bytes, before);
	(void)nghttp2_submit_rst_stream(shut->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
	H2_UNTIL(shut, w->g.conns.out_bytes == 0);
	h2_peer_free(shut);
	h2_peer_teardown(w, h);
}

/* Gets all the keys; true if the answer was longer than what is kept, so that a part of it was read twice. */
static bool get_all(struct world *w, struct h2_peer *h, int n)
{
	int64_t streams = w->g.counters.read_streams_total.value;
	int32_t id = h2_peer_get(h, "k", "l", NULL);
	struct kv_range_result r;

	h2_peer_next(h, id, &kv_range_result_pb, &r);
	EQ_INT(r.count, n);
	EQ_INT(r.kvs.n, n);
	for (int i = 0; i < n; i++) {
		EQ_INT(strtol((const char *)r.kvs.v[i].key.data + 1, NULL, 10), i);
		EQ_INT(r.kvs.v[i].value.len, 4000);
	}
	h2_peer_ends(h, id, "0", "");
	EQ_INT(w->g.reads.work + w->g.reads.kept, w->g.reads.spent_bytes);
	return w->g.counters.read_streams_total.value > streams;
}

TEST(answers_around_what_is_kept_are_the_same)
{
	enum { PAIR = 4000 + 3 + 8 + 3 + 3 + 2 + 3, FITS = LIMIT_GATEWAY_KEEP_BYTES / PAIR + 1 };
	struct h2_peer *h;
	struct world *w;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_fill(h, FITS - 1, 4000);
	OK(!get_all(w, h, FITS - 1));
	h2_peer_fill(h, FITS, 4000);
	OK(!get_all(w, h, FITS));
	h2_peer_fill(h, FITS + 1, 4000);
	OK(get_all(w, h, FITS + 1));
	h2_peer_teardown(w, h);
}

/* Large answers go out in the buffer they were gathered in; when nobody asks any more, it is given back. */
TEST(buffers_of_large_answers_are_used_again_and_given_back)
{
	struct h2_peer *h;
	struct world *w;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_fill(h, 100, 4000);
	for (int i = 0; i < 20; i++) {
		OK(!get_all(w, h, 100));
		OK(w->g.conns.n_spares <= CONN_SPARES);
	}
	OK(w->g.conns.n_spares > 0 && w->g.conns.n_spares < 4);
	H2_UNTIL(h, w->g.conns.n_spares > 0);
	w->g.conns.spare_used.ns -= CONN_SPARE_MS * INT64_C(1000000);
	H2_UNTIL(h, w->g.conns.n_spares == 0);
	OK(!get_all(w, h, 100));
	h2_peer_teardown(w, h);
}

TEST(when_too_much_is_kept_answers_are_read_again)
{
	struct kv_range_result r;
	struct h2_peer *h;
	struct world *w;
	int32_t ids[20];

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_fill(h, 300, 4000);
	w->g.reads.max_kept = 0;
	OK(get_all(w, h, 300));
	for (int i = 0; i < 20; i++)
		ids[i] = h2_peer_get(h, "k", "l", NULL);
	for (int i = 0; i < 20; i++) {
		h2_peer_next(h, ids[i], &kv_range_result_pb, &r);
		EQ_INT(r.kvs.n, 300);
		h2_peer_ends(h, ids[i], "0", "");
	}
	EQ_INT(w->g.reads.work + w->g.reads.kept, w->g.reads.spent_bytes);
	h2_peer_teardown(w, h);
}

TEST(a_range_stream_is_the_range_in_pieces)
{
	struct kv_range range = {.key = bytes_str("k"), .range_end = bytes_str("l"), .limit = 250};
	struct etcd_range_chunk chunk;
	struct h2_peer *h;
	struct world *w;
	size_t n = 0, messages = 0;
	int32_t id, cut;

	h2_peer_setup(&w, &h, 100000);
	h2_peer_fill(h, 300, 4000);
	id = h2_peer_call(h, KV "RangeStream", &kv_range_pb, &range, NULL);
	do {
		h2_peer_next(h, id, &etcd_range_chunk_pb, &chunk);
		n += chunk.range->kvs.n;
		messages++;
	} while (chunk.range->header == NULL);
	EQ_INT(n, 250);
	OK(messages > 3);
	OK(chunk.range->more && chunk.range->count == 300);
	h2_peer_ends(h, id, "0", "");
	cut = h2_peer_call(h, KV "RangeStream", &kv_range_pb, &range, NULL);
	h2_peer_next(h, cut, &etcd_range_chunk_pb, &chunk);
	(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, cut, NGHTTP2_CANCEL);
	H2_UNTIL(h, w->g.n_requests == 0);
	range = (struct kv_range){.key = range.key, .range_end = range.range_end, .count_only = true};
	for (range.sort_target = KV_SORT_KEY; range.sort_target <= KV_SORT_VALUE; range.sort_target++) {
		id = h2_peer_call(h, KV "RangeStream", &kv_range_pb, &range, NULL);
		h2_peer_next(h, id, &etcd_range_chunk_pb, &chunk);
		EQ_INT(chunk.range->count, 300);
		h2_peer_ends(h, id, "0", "");
	}
	range.sort_order = KV_ORDER_ASCEND;
	range.sort_target = KV_SORT_KEY;
	id = h2_peer_call(h, KV "RangeStream", &kv_range_pb, &range, NULL);
	h2_peer_next(h, id, &etcd_range_chunk_pb, &chunk);
	EQ_INT(chunk.range->count, 300);
	h2_peer_ends(h, id, "0", "");
	range.sort_target = KV_SORT_MOD;
	id = h2_peer_call(h, KV "RangeStream", &kv_range_pb, &range, NULL);
	h2_peer_ends(h, id, "12", "RangeStream does not support custom sort orders");
	h2_peer_teardown(w, h);
}

TEST(who_waits_for_a_lock_leaves_the_queue_with_its_connection)
{
	struct lease_grant first = {.ttl = 60, .id = 1}, second = {.ttl = 60, .id = 2};
	struct etcd_lock a = {bytes_str("l"), 1}, b = {bytes_str("l"), 2};
	struct kv_range all = {.key = bytes_str("l/"), .range_end = bytes_str("l0"), .count_only = true};
	struct kv_range_result r;
	struct h2_peer *h, *gone;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	gone = h2_peer_new(w, H2_PEER_WINDOW);
	h2_peer_wait(h, h2_peer_call(h, "/etcdserverpb.Lease/LeaseGrant", &lease_grant_pb, &first, NULL));
	h2_peer_wait(h, h2_peer_call(h, "/etcdserverpb.Lease/LeaseGrant", &lease_grant_pb, &second, NULL));
	h2_peer_wait(h, h2_peer_call(h, "/v3lockpb.Lock/Lock", &etcd_lock_pb, &a, NULL));
	id = h2_peer_call(gone, "/v3lockpb.Lock/Lock", &etcd_lock_pb, &b, NULL);
	H2_UNTIL(gone, w->g.watch.n == 1);
	OK(!h2_peer_of(gone, id)->closed);
	h2_peer_free(gone);
	do {
		id = h2_peer_call(h, KV "Range", &kv_range_pb, &all, NULL);
		h2_peer_next(h, id, &kv_range_result_pb, &r);
	} while (r.count != 1);
	EQ_INT(w->g.watch.n, 0);
	h2_peer_teardown(w, h);
}

TEST(a_lock_that_cannot_queue_once_it_has_its_lease_is_refused)
{
	struct etcd_lock lock = {bytes_str("l"), 0};
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	id = h2_peer_call(h, "/v3lockpb.Lock/Lock", &etcd_lock_pb, &lock, NULL);
	H2_UNTIL(h, w->g.raft.n_proposals == 1);
	w->g.raft.max_proposals = 0;
	h2_peer_wait(h, id);
	h2_peer_ends(h, id, "2", "etcdserver: too many requests");
	h2_peer_teardown(w, h);
}

TEST(a_compaction_in_the_middle_of_an_answer_resets_only_its_stream)
{
	struct h2_peer *h;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, 1000);
	h2_peer_fill(h, 300, 4000);
	h->deaf = true;
	id = h2_peer_get(h, "k", "l", NULL);
	for (int i = 0; i < 50; i++)
		h2_peer_turn(h);
	EQ_INT(w->g.counters.read_streams_total.value, 1);
	OK(!h2_peer_of(h, id)->closed);
	h->deaf = false;
	{
		struct kv_compact c = {302, false};
		struct kv_compact_result compacted;
		int32_t other;

		h2_peer_wait(h, h2_peer_put(h, "k00000", bytes_str("new")));
		other = h2_peer_call(h, KV "Compact", &kv_compact_pb, &c, NULL);
		h2_peer_next(h, other, &kv_compact_result_pb, &compacted);
		h2_peer_ends(h, other, "0", "");
	}
	h2_peer_wait(h, id);
	EQ_INT(h2_peer_of(h, id)->error_code, NGHTTP2_INTERNAL_ERROR);
	EQ_INT(w->g.counters.read_compacted_total.value, 1);
	h2_peer_wait(h, h2_peer_put(h, "z", bytes_str("1")));
	h2_peer_teardown(w, h);
}

TEST(a_window_that_stays_shut_ends_the_connection)
{
	struct h2_peer *h;
	struct world *w;

	h2_peer_setup(&w, &h, 0);
	w->g.conns.stall_ms = 50;
	(void)h2_peer_get(h, "a", "", NULL);
	H2_UNTIL(h, h->p.closed);
	EQ_INT(w->g.counters.clients_stalled_total.value, 1);
	h2_peer_teardown(w, h);
}

TEST(full_memory_costs_those_who_hold_the_most)
{
	struct h2_peer *h, *hog;
	struct world *w;
	int32_t id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	hog = h2_peer_new(w, H2_PEER_WINDOW);
	id = h2_peer_open(hog, KV "Put");
	buf_u8(&h2_peer_of(hog, id)->out, 0);
	buf_u32be(&h2_peer_of(hog, id)->out, 1000000);
	(void)buf_reserve(&h2_peer_of(hog, id)->out, 200000);
	memset(h2_peer_of(hog, id)->out.data + 5, 'x', 199995);
	h2_peer_of(hog, id)->out.len = 200000;
	for (int i = 0; i < 100; i++)
		h2_peer_turn(hog);
	OK(w->g.conns.in_bytes >= 200000);
	w->g.conns.max_in_bytes = 100000;
	id = h2_peer_open(h, KV "Put");
	buf_add(&h2_peer_of(h, id)->out, "\0\0\0\0\5\n", 6);
	H2_UNTIL(h, w->g.conns.n == 1);
	h2_peer_turn(hog);
	OK(hog->p.closed);
	buf_add(&h2_peer_of(h, id)->out, "\1a\22\0", 4);
	h2_peer_of(h, id)->ends = true;
	(void)nghttp2_session_resume_data(h->session, id);
	H2_UNTIL(h, h2_peer_of(h, id)->closed);
	EQ_STR(h2_peer_of(h, id)->status, "0");
	h2_peer_free(hog);
	h2_peer_teardown(w, h);
}

/* Each less than a request may be, and whole after one step: only their number makes them too much. */
TEST(answers_that_nobody_takes_do_not_fill_the_memory)
{
	enum { CALLS = 24 };
	struct kv_range range = {.key = bytes_str("k00000")};
	struct etcd_op op = {.range = &range};
	struct etcd_txn txn = {.success = {&op, 1}};
	struct h2_peer *h, *shut;
	int32_t ids[CALLS];
	int refused = 0;
	struct world *w;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_fill(h, 1, 900 * KIB);
	shut = h2_peer_new(w, 0);
	w->g.reads.max_work = 4 * MIB;
	for (int i = 0; i < CALLS; i++)
		ids[i] = h2_peer_call(shut, KV "Txn", &etcd_txn_pb, &txn, NULL);
	H2_UNTIL(shut, w->g.counters.reads_total.value >= CALLS && list_empty(&w->g.reads.slow));
	for (int i = 0; i < 100; i++)
		h2_peer_turn(shut);
	OK(w->g.reads.work <= 2 * w->g.reads.max_work + MIB);
	for (int i = 0; i < CALLS; i++)
		refused += strcmp(h2_peer_of(shut, ids[i])->status, "8") == 0;
	OK(refused > 0 && refused < CALLS);
	h2_peer_free(shut);
	world_turns(w, 3);
	EQ_INT(w->g.reads.work, w->g.reads.spent_bytes);
	h2_peer_teardown(w, h);
}

static bool is_closed(struct h2_peer *h)
{
	for (int i = 0; i < 20 && !h->p.closed; i++)
		h2_peer_turn(h);
	return h->p.closed;
}

TEST(newcomers_are_refused_in_words_when_all_sessions_are_in_use)
{
	struct etcd_watch_create of_a = {.key = bytes_str("a")};
	struct etcd_watch_request create = {.create = &of_a};
	struct etcd_watch_response r;
	struct h2_peer *h, *late;
	struct world *w;
	int32_t watch, id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	watch = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	h2_peer_say(h, watch, &etcd_watch_request_pb, &create);
	h2_peer_next(h, watch, &etcd_watch_response_pb, &r);
	w->g.conns.max_session_bytes = 1000;
	late = h2_peer_new(w, H2_PEER_WINDOW);
	OK(is_closed(late));
	OK(late->goaway && late->goaway_code == NGHTTP2_ENHANCE_YOUR_CALM);
	EQ_STR(late->goaway_text, "too many connections");
	/* who is there goes on, without more streams */
	id = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	h2_peer_say(h, id, &etcd_watch_request_pb, &create);
	h2_peer_wait(h, id);
	EQ_INT(h2_peer_of(h, id)->error_code, NGHTTP2_REFUSED_STREAM);
	OK(!h2_peer_of(h, watch)->closed);
	h2_peer_free(late);
	h2_peer_teardown(w, h);
}

TEST(idle_sessions_make_room_the_longest_idle_first)
{
	struct etcd_watch_create of_a = {.key = bytes_str("a")};
	struct etcd_watch_request create = {.create = &of_a};
	struct etcd_watch_response r;
	struct h2_peer *h, *idle[3], *late;
	struct world *w;
	int32_t watch, id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	watch = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	h2_peer_say(h, watch, &etcd_watch_request_pb, &create);
	h2_peer_next(h, watch, &etcd_watch_response_pb, &r);
	for (int i = 0; i < 3; i++)
		idle[i] = h2_peer_new(w, H2_PEER_WINDOW);
	for (int i = 0; i < 12; i++)          /* so that all that they say has been read */
		h2_peer_turn(idle[i % 3]);
	h2_peer_wait(idle[0], h2_peer_put(idle[0], "x", bytes_str("y")));      /* so the second is idle for longer */
	w->g.conns.max_session_bytes = w->g.conns.session_bytes - 1;
	late = h2_peer_new(w, H2_PEER_WINDOW);
	h2_peer_turn(late);
	OK(is_closed(idle[1]));
	OK(idle[1]->goaway && idle[1]->goaway_code == NGHTTP2_NO_ERROR);
	OK(!is_closed(idle[0]) && !is_closed(idle[2]) && !is_closed(late));
	/* a stream of who is busy is worth more than any idle session */
	w->g.conns.max_session_bytes = w->g.conns.session_bytes * 2 / 5;       /* of four */
	id = h2_peer_put(h, "z", bytes_str("y"));
	h2_peer_wait(h, id);
	EQ_STR(h2_peer_of(h, id)->status, "0");
	OK(is_closed(idle[0]) && is_closed(idle[2]) && is_closed(late));
	OK(!h2_peer_of(h, watch)->closed);
	EQ_INT(w->g.conns.n, 1);
	for (int i = 0; i < 3; i++)
		h2_peer_free(idle[i]);
	h2_peer_free(late);
	h2_peer_teardown(w, h);
}

/* Its stream has ended for the session, but the socket was full. */
TEST(idle_sessions_that_have_not_taken_their_answer_go_last)
{
	struct h2_peer *h, *slow, *idle, *late;
	struct kv_range_result r;
	struct world *w;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	h2_peer_fill(h, 62, 4000);            /* more than a socket takes, and less than waits to be written */
	slow = h2_peer_new(w, H2_PEER_WINDOW);
	(void)nghttp2_submit_window_update(slow->session, NGHTTP2_FLAG_NONE, 0, H2_PEER_WINDOW);
	idle = h2_peer_new(w, H2_PEER_WINDOW);
	slow->deaf = true;
	(void)h2_peer_get(slow, "k", "l", NULL);
	H2_UNTIL(slow, w->g.n_requests == 0 && !list_empty(&w->g.conns.blocked));
	h2_peer_wait(idle, h2_peer_put(idle, "x", bytes_str("y")));
	h2_peer_wait(h, h2_peer_put(h, "x", bytes_str("y")));
	w->g.conns.max_session_bytes = w->g.conns.session_bytes - 1;
	late = h2_peer_new(w, H2_PEER_WINDOW);
	h2_peer_turn(late);
	OK(is_closed(idle) && !is_closed(late) && !is_closed(h));
	slow->deaf = false;
	h2_peer_next(slow, 1, &kv_range_result_pb, &r);
	EQ_INT(r.kvs.n, 62);
	h2_peer_free(slow);
	h2_peer_free(idle);
	h2_peer_free(late);
	h2_peer_teardown(w, h);
}

TEST(a_stop_answers_what_is_under_way_and_ends_what_goes_on_for_ever)
{
	struct etcd_watch_create c = {.key = bytes_str("a")};
	struct etcd_watch_request create = {.create = &c};
	struct etcd_watch_response r;
	struct h2_peer *h;
	struct world *w;
	int32_t watch, id;

	h2_peer_setup(&w, &h, H2_PEER_WINDOW);
	watch = h2_peer_open(h, "/etcdserverpb.Watch/Watch");
	h2_peer_say(h, watch, &etcd_watch_request_pb, &create);
	h2_peer_next(h, watch, &etcd_watch_response_pb, &r);
	OK(r.created);
	w->commits = false;
	id = h2_peer_put(h, "a", bytes_str("1"));
	H2_UNTIL(h, w->n_proposals > 0 && w->g.n_requests == 1);
	gateway_stop(&w->g);
	H2_UNTIL(h, h->goaway);
	EQ_INT(h->goaway_code, NGHTTP2_NO_ERROR);
	h2_peer_ends(h, watch, "14", "etcdserver: server stopped");
	OK(!h2_peer_of(h, id)->closed && !h->p.closed);
	w->commits = true;
	world_raft(w, false);
	world_raft(w, true);                  /* it is proposed again */
	h2_peer_wait(h, id);
	EQ_STR(h2_peer_of(h, id)->status, "0");
	H2_UNTIL(h, h->p.closed);
	EQ_INT(h->goaway_last, INT32_MAX);            /* first: no more streams */
	EQ_INT(id, 3);                                /* then: that was the last one */
	EQ_MEM(h->tail, "\0\0\10\7\0\0\0\0\0\0\0\0\3\0\0\0\0", H2_PEER_TAIL);
	h2_peer_teardown(w, h);
}

TESTS = {
	T(a_put_and_a_range_are_answered_with_trailers),
	T(what_is_no_grpc_gets_an_http_status),
	T(a_caller_s_deadline_ends_its_work),
	T(who_wants_a_leader_is_told_that_there_is_none),
	T(a_large_answer_comes_whole_through_a_small_window),
	T(answers_around_what_is_kept_are_the_same),
	T(a_connection_whose_windows_are_shut_keeps_no_empty_buffer),
	T(buffers_of_large_answers_are_used_again_and_given_back),
	T(when_too_much_is_kept_answers_are_read_again),
	T(a_range_stream_is_the_range_in_pieces),
	T(who_waits_for_a_lock_leaves_the_queue_with_its_connection),
	T(a_lock_that_cannot_queue_once_it_has_its_lease_is_refused),
	T(a_compaction_in_the_middle_of_an_answer_resets_only_its_stream),
	T(a_window_that_stays_shut_ends_the_connection),
	T(full_memory_costs_those_who_hold_the_most),
	T(answers_that_nobody_takes_do_not_fill_the_memory),
	T(newcomers_are_refused_in_words_when_all_sessions_are_in_use),
	T(idle_sessions_make_room_the_longest_idle_first),
	T(idle_sessions_that_have_not_taken_their_answer_go_last),
	T(a_stop_answers_what_is_under_way_and_ends_what_goes_on_for_ever),
};
TAP_MAIN
