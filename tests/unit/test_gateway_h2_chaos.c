/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of etcd's API that reset streams, shut windows, fall silent and go, in the middle of everything, while links break
 * and limits are reached: nothing of them is left behind, and nobody else is held up. Best under a sanitizer.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/lib/h2_peer.h"
#include "tests/lib/tap.h"

enum { PEERS = 4, TEXTS = 3, TURNS = 1500, KEYS = 200, VALUE = 8000, TIMEOUT = 300, OPEN = 40 };

struct open {
	int32_t id;
	unsigned peer;
	int kind;                     /* of a stream: what may be said on it; 0: it is a call */
};

struct chaos {
	struct world *w;
	struct h2_peer *peers[PEERS];
	int32_t last[PEERS];
	struct rpc_peer texts[TEXTS]; /* speak HTTP/1.1 */
	struct open open[OPEN];
	size_t n_open, n_begun, n_ended;
};

enum { SAYS_NOTHING, SAYS_WATCH, SAYS_KEEPALIVE };

static uint64_t rnd(struct chaos *c, uint64_t n)
{
	return tap_rand(&c->w->seed) % n;
}

static struct bytes key_of(struct chaos *c)
{
	static char text[16];

	return bytes_of(text, (size_t)snprintf(text, sizeof text, "k%03u", (unsigned)rnd(c, KEYS)));
}

static void opened(struct chaos *c, unsigned peer, int32_t id, int kind)
{
	if (c->n_open == OPEN)
		c->open[rnd(c, OPEN)] = (struct open){id, peer, kind};
	else
		c->open[c->n_open++] = (struct open){id, peer, kind};
	c->last[peer] = id;
	c->n_begun++;
}

/* ---- calls ---- */

static void call(struct chaos *c, unsigned peer, const char *path, const struct pb_desc *d, const void *msg)
{
	const char *const soon[] = {"grpc-timeout", "3m", "hasleader", "true", NULL};

	opened(c, peer, h2_peer_call(c->peers[peer], path, d, msg, rnd(c, 8) == 0 ? soon : NULL), SAYS_NOTHING);
}

static void call_kv(struct chaos *c, unsigned peer)
{
	static uint8_t value[VALUE];
	struct kv_range all = {.key = bytes_str("k"), .range_end = bytes_str("l"), .serializable = rnd(c, 2),
			       .limit = (int64_t)rnd(c, 300)};
	struct kv_put put = {.key = key_of(c), .value = bytes_of(value, rnd(c, VALUE)), .lease = (int64_t)rnd(c, 3)};
	struct kv_delete del = {.key = all.key, .range_end = all.range_end, .prev_kv = rnd(c, 2)};
	struct kv_compact compact = {.revision = small_store_revision(&c->w->store), .physical = rnd(c, 2)};

	switch (rnd(c, 12)) {
	case 0:
	case 1:
	case 2:
		all.sort_target = rnd(c, 2) * rnd(c, 5);
		all.sort_order = rnd(c, 3);
		call(c, peer, KV "Range", &kv_range_pb, &all);
		break;
	case 3:
		call(c, peer, KV "RangeStream", &kv_range_pb, &all);
		break;
	case 4:
		if (rnd(c, 10) == 0)
			call(c, peer, KV "DeleteRange", &kv_delete_pb, &del);
		break;
	case 5:
		if (rnd(c, 4) == 0)
			call(c, peer, KV "Compact", &kv_compact_pb, &compact);
		break;
	default:
		put.lease = put.lease == 1 ? 1 : 0;
		call(c, peer, KV "Put", &kv_put_pb, &put);
	}
}

static void call_other(struct chaos *c, unsigned peer)
{
	struct lease_grant grant = {.id = (int64_t)rnd(c, 3), .ttl = 60};
	struct native_time_to_live ttl = {.id = 1, .keys = rnd(c, 2)};
	struct etcd_lock lock = {bytes_str("lock"), rnd(c, 2) ? 1 : 0};
	struct etcd_campaign campaign = {bytes_str("vote"), rnd(c, 2) ? 1 : 0, bytes_str("me")};
	struct etcd_leader leader = {bytes_str("vote")};
	struct etcd_unlock unlock = {bytes_str("lock/1")};
	struct etcd_member_list list = {rnd(c, 2)};
	struct native_hash hash = {0};
	struct etcd_empty none = {0};

	switch (rnd(c, 11)) {
	case 0:
		call(c, peer, "/etcdserverpb.Lease/LeaseGrant", &lease_grant_pb, &grant);
		break;
	case 1:
		call(c, peer, "/etcdserverpb.Lease/LeaseTimeToLive", &native_time_to_live_pb, &ttl);
		break;
	case 2:
		call(c, peer, "/etcdserverpb.Lease/LeaseLeases", &etcd_empty_pb, &none);
		break;
	case 3:
	case 4:
		call(c, peer, "/v3lockpb.Lock/Lock", &etcd_lock_pb, &lock);
		break;
	case 5:
		call(c, peer, "/v3electionpb.Election/Campaign", &etcd_campaign_pb, &campaign);
		break;
	case 6:
		call(c, peer, "/v3electionpb.Election/Observe", &etcd_leader_pb, &leader);
		break;
	case 7:
		call(c, peer, "/v3lockpb.Lock/Unlock", &etcd_unlock_pb, &unlock);
		break;
	case 8:
		call(c, peer, "/etcdserverpb.Cluster/MemberList", &etcd_member_list_pb, &list);
		break;
	case 9:
		call(c, peer, "/etcdserverpb.Maintenance/HashKV", &native_hash_pb, &hash);
		break;
	default:
		call(c, peer, "/etcdserverpb.Maintenance/Status", &etcd_empty_pb, &none);
	}
}

/* ---- streams ---- */

static void say_watch(struct chaos *c, struct h2_peer *h, int32_t id)
{
	struct etcd_watch_create create = {
		.key = key_of(c), .range_end = rnd(c, 2) ? bytes_str("l") : bytes_str(""), .prev_kv = rnd(c, 2),
		.start_revision = rnd(c, 3) ? 0 : (int64_t)rnd(c, 20), .progress_notify = rnd(c, 2),
		.fragment = rnd(c, 2), .watch_id = (int64_t)rnd(c, 6) - 1,
	};
	struct etcd_watch_cancel cancel = {(int64_t)rnd(c, 6) - 1};
	struct etcd_empty progress = {0};
	struct etcd_watch_request r = {.create = NULL};

	switch (rnd(c, 4)) {
	case 0:
		r.cancel = &cancel;
		break;
	case 1:
		r.progress = &progress;
		break;
	default:
		r.create = &create;
	}
	h2_peer_say(h, id, &etcd_watch_request_pb, &r);
}

static void say(struct chaos *c, const struct open *o)
{
	struct h2_peer *h = c->peers[o->peer];
	struct native_lease lease = {(int64_t)rnd(c, 3)};

	if (h2_peer_of(h, o->id)->closed || h2_peer_of(h, o->id)->ends)
		return;
	for (uint64_t n = 1 + rnd(c, 6) * rnd(c, 2); n > 0; n--) {
		if (o->kind == SAYS_WATCH)
			say_watch(c, h, o->id);
		else
			h2_peer_say(h, o->id, &native_lease_pb, &lease);
	}
	if (rnd(c, 10) == 0) {
		h2_peer_of(h, o->id)->ends = true;
		(void)nghttp2_session_resume_data(h->session, o->id);
	}
}

static void begin(struct chaos *c)
{
	unsigned peer = (unsigned)rnd(c, PEERS);

	switch (rnd(c, 6)) {
	case 0:
		opened(c, peer, h2_peer_open(c->peers[peer], "/etcdserverpb.Watch/Watch"), SAYS_WATCH);
		break;
	case 1:
		opened(c, peer, h2_peer_open(c->peers[peer], "/etcdserverpb.Lease/LeaseKeepAlive"), SAYS_KEEPALIVE);
		break;
	case 2:
		call_other(c, peer);
		break;
	default:
		call_kv(c, peer);
	}
}

/* ---- JSON ---- */

static void post(struct chaos *c, struct rpc_peer *p, const char *path, const char *body)
{
	size_t n = strlen(body), cut = rnd(c, 10) == 0 ? rnd(c, n) : 0;

	buf_printf(&p->out, "POST /v3/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%.*s", path, n,
		   (int)(n - cut), body);     /* what is cut off never comes, or something else in its place */
}

static void say_text(struct chaos *c, struct rpc_peer *p)
{
	switch (rnd(c, 9)) {
	case 0:
		post(c, p, "watch", "{\"create_request\":{\"key\":\"aw==\",\"range_end\":\"bA==\",\"start_revision\":\"1\"}}"
		     "{\"create_request\":{\"key\":\"aw==\",\"fragment\":true}}{\"progress_request\":{}}");
		break;
	case 1:
		post(c, p, "lease/keepalive", "{\"ID\":1}{\"ID\":2} {\"ID\":1}");
		break;
	case 2:
		post(c, p, "kv/put", "{\"key\":\"azAwMQ==\",\"value\":\"azAwMQ==\"}");
		break;
	case 3:
		post(c, p, "lock/lock", "{\"name\":\"bG9jaw==\",\"lease\":\"1\"}");
		break;
	case 4:
		buf_str(&p->out, rnd(c, 2) ? "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" : "GET /readyz?verbose HTTP/1.1\r\nHost:");
		break;
	case 5:
		buf_str(&p->out, "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
		break;
	default:
		post(c, p, "kv/range", "{\"key\":\"aw==\",\"range_end\":\"bA==\",\"serializable\":true}");
	}
}

static void turn_text(struct chaos *c, struct rpc_peer *p)
{
	if (rnd(c, 8) == 0)
		say_text(c, p);
	rpc_peer_write(p, 1 + rnd(c, 300));
	if (rnd(c, 3) != 0)
		rpc_peer_read(p, 1 + rnd(c, 60000));
	buf_clear(&p->in);
	if (p->closed || rnd(c, 200) == 0) {
		rpc_peer_close(p);
		world_join(c->w, p);
	}
}

/* ---- trouble ---- */

static void rejoin(struct chaos *c, unsigned peer)
{
	h2_peer_free(c->peers[peer]);
	c->peers[peer] = h2_peer_new(c->w, rnd(c, 3) ? H2_PEER_WINDOW : (uint32_t)rnd(c, 70000));
	c->last[peer] = 0;
	for (size_t i = 0; i < c->n_open;)
		if (c->open[i].peer == peer)
			c->open[i] = c->open[--c->n_open];
		else
			i++;
}

static void settings(struct chaos *c, struct h2_peer *h)
{
	static const uint32_t windows[] = {0, 1, 100, 65535, 1 << 20};
	const nghttp2_settings_entry s[] = {
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, windows[rnd(c, ARRAY_LEN(windows))]},
		{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, (uint32_t)rnd(c, 2) * 4096},
	};

	(void)nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, s, ARRAY_LEN(s));
}

static void upset(struct chaos *c)
{
	struct world *w = c->w;
	unsigned peer = (unsigned)rnd(c, PEERS);

	switch (rnd(c, 60)) {
	case 0:
		world_raft(w, !w->g.raft.up);
		break;
	case 1:
		world_store(w, !w->g.store.up);
		break;
	case 2:
		world_lease(w, !w->g.lease.up);
		break;
	case 3:
		world_watchd(w, !w->g.watch.up);
		break;
	case 4:
		world_leader(w, rnd(c, 3));
		break;
	case 5:
		w->forgets = rnd(c, 3) == 0;
		break;
	case 6:
		w->applies = rnd(c, 3) != 0;
		break;
	case 7:
		if (rnd(c, 3) == 0)
			world_generation(w, false);
		break;
	case 8:
		rejoin(c, peer);
		break;
	case 9:
		c->peers[peer]->deaf = rnd(c, 3) == 0;
		break;
	case 10:
	case 11:
		settings(c, c->peers[peer]);
		break;
	case 12:
		w->lease_forgets = rnd(c, 3) == 0;
		break;
	case 13:
		w->mute_results = rnd(c, 4) == 0;
		break;
	default:
		break;
	}
}

static void reset_one(struct chaos *c)
{
	const struct open *o = &c->open[rnd(c, OPEN)];

	if (o < &c->open[c->n_open])
		(void)nghttp2_submit_rst_stream(c->peers[o->peer]->session, NGHTTP2_FLAG_NONE, o->id, NGHTTP2_CANCEL);
}

static void turn(struct chaos *c)
{
	for (unsigned i = 0; i < PEERS; i++) {
		h2_peer_turn(c->peers[i]);
		if (c->peers[i]->p.closed || c->peers[i]->goaway || c->last[i] > 2 * H2_PEER_STREAMS - 100)
			rejoin(c, i);
	}
	for (unsigned i = 0; i < TEXTS; i++)
		turn_text(c, &c->texts[i]);
}

static void calm(struct world *w)
{
	w->forgets = w->mute_results = w->lease_forgets = false;
	w->applies = true;
	world_raft(w, true);
	world_store(w, true);
	world_lease(w, true);
	world_watchd(w, true);
	world_leader(w, 1);
}

static void narrow(struct gateway *g)
{
	g->reads.max_kept = 300000;
	g->reads.max_work = 4 << 20;
	g->conns.max_out_bytes = 6 << 20;
	g->conns.max_in_bytes = 4 << 20;
	g->conns.max_session_bytes = 400000;
	g->conns.stall_ms = 200;
}

static void run(uint64_t seed)
{
	struct chaos *c = mem_alloc(sizeof *c);
	struct lease_grant grant = {.id = 1, .ttl = 60};
	struct h2_peer *last;
	int32_t id;

	c->w = world_new(TIMEOUT);
	c->w->seed = seed;
	last = h2_peer_new(c->w, H2_PEER_WINDOW);
	h2_peer_wait(last, h2_peer_call(last, "/etcdserverpb.Lease/LeaseGrant", &lease_grant_pb, &grant, NULL));
	h2_peer_fill(last, 100, VALUE);
	h2_peer_free(last);
	narrow(&c->w->g);
	for (unsigned i = 0; i < PEERS; i++)
		c->peers[i] = h2_peer_new(c->w, H2_PEER_WINDOW);
	for (unsigned i = 0; i < TEXTS; i++)
		world_join(c->w, &c->texts[i]);
	for (int i = 0; i < TURNS; i++) {
		for (uint64_t n = rnd(c, 4); n > 0; n--)
			begin(c);
		for (uint64_t n = rnd(c, 4); n > 0 && c->n_open > 0; n--) {
			const struct open *o = &c->open[rnd(c, c->n_open)];

			if (o->kind != SAYS_NOTHING)
				say(c, o);
		}
		if (rnd(c, 3) == 0)
			reset_one(c);
		upset(c);
		turn(c);
	}
	calm(c->w);
	for (unsigned i = 0; i < PEERS; i++)
		h2_peer_free(c->peers[i]);
	for (unsigned i = 0; i < TEXTS; i++)
		rpc_peer_close(&c->texts[i]);
	world_ms(c->w, 2 * TIMEOUT);
	EQ_INT(c->w->g.conns.n, 0);
	EQ_INT(c->w->g.conns.in_bytes + c->w->g.conns.out_bytes + c->w->g.conns.session_bytes, 0);
	EQ_INT(c->w->g.n_requests + c->w->g.n_questions, 0);
	EQ_INT(c->w->g.reads.n + c->w->g.reads.bytes + c->w->g.reads.work + c->w->g.reads.kept, 0);
	EQ_INT(c->w->g.watch.n + c->w->g.watch.n_clients + c->w->g.watch_bytes, 0);
	EQ_INT(c->w->g.raft.n_reads + c->w->g.store.n_waits + c->w->g.lease.n, 0);
	/* whoever comes now is served */
	last = h2_peer_new(c->w, H2_PEER_WINDOW);
	id = h2_peer_call(last, KV "Put", &kv_put_pb, &(struct kv_put){.key = bytes_str("x")}, NULL);
	h2_peer_wait(last, id);
	EQ_STR(h2_peer_of(last, id)->status, "0");
	h2_peer_free(last);
	world_turns(c->w, 3);
	world_free(c->w);
	mem_free(c);
}

TEST(nothing_is_left_of_clients_that_come_and_go_as_they_like)
{
	for (uint64_t i = 0; i < tap_rounds(3); i++) {
		printf("# seed %llu\n", (unsigned long long)(tap_seed(1) + i));
		run(tap_seed(1) + i);
	}
}

TESTS = {
	T(nothing_is_left_of_clients_that_come_and_go_as_they_like),
};
TAP_MAIN
