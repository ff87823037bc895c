/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/gateway_world.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "mvcc/lease.h"
#include "proto/native.h"
#include "tests/lib/tap.h"

/* ---- raftd ---- */

static void raftd_tell(struct world *w)
{
	struct raftd_state s = {w->leader == 1 ? NODE_LEADER : NODE_FOLLOWER, w->term, w->leader, w->n_log,
				w->log_begins};

	if (w->g.raft.up)
		net_send(&w->to_gateway_raft, mono_now(), MSG_NO_raftd_state, &raftd_state_desc, &s);
}

static void raftd_refused(struct world *w, uint64_t seq, int error)
{
	struct raftd_refused no = {seq, (uint64_t)error};
	struct raftd_refuse m = {{&no, 1}};

	net_send(&w->to_gateway_raft, mono_now(), MSG_NO_raftd_refuse, &raftd_refuse_desc, &m);
}

static void raftd_propose(struct world *w, const struct raftd_propose *m)
{
	for (size_t i = 0; i < m->proposals.n; i++) {
		w->n_proposals++;
		if (w->refuses || w->leader == 0) {
			raftd_refused(w, m->proposals.v[i].seq, w->refuses ? w->refuses : ERR_NO_LEADER);
		} else if (!w->forgets) {
			OK(w->n_log < WORLD_LOG);
			buf_add_bytes(&w->log[w->n_log++], m->proposals.v[i].command);
		}
	}
}

static void raftd_read(struct world *w, const struct raftd_read *m)
{
	struct raftd_read_result r = {m->ctx, (uint64_t)w->refuses, w->n_log + 1};

	w->n_reads++;
	if (w->leader == 0)
		r.error = ERR_NO_LEADER;
	if (!w->forgets)
		net_send(&w->to_gateway_raft, mono_now(), MSG_NO_raftd_read_result, &raftd_read_result_desc, &r);
}

static void raftd_status(struct world *w, const struct raftd_status_ask *m)
{
	struct raftd_status_result r = {.ctx = m->ctx, .role = w->leader == 1 ? NODE_LEADER : NODE_FOLLOWER,
					.term = w->term, .leader = w->leader, .commit = w->n_log,
					.last = w->n_log, .log_bytes = 4711, .age_ms = 12};

	w->n_status++;
	if (!w->forgets)
		net_send(&w->to_gateway_raft, mono_now(), MSG_NO_raftd_status_result,
			 &raftd_status_result_desc, &r);
}

static void raftd_transfer(struct world *w, const struct raftd_transfer *m)
{
	struct raftd_transfer_result r = {m->ctx, w->leader == 1 ? ERR_OK : ERR_NOT_LEADER};

	w->n_transfers++;
	w->transfer_target = m->target;
	net_send(&w->to_gateway_raft, mono_now(), MSG_NO_raftd_transfer_result, &raftd_transfer_result_desc, &r);
}

static void raftd_msg(struct world *w, const struct msg_in *in)
{
	switch (in->row->number) {
	case MSG_NO_raftd_propose:
		raftd_propose(w, in->msg);
		break;
	case MSG_NO_raftd_read:
		raftd_read(w, in->msg);
		break;
	case MSG_NO_raftd_status_ask:
		raftd_status(w, in->msg);
		break;
	default:
		EQ_INT(in->row->number, MSG_NO_raftd_transfer);
		raftd_transfer(w, in->msg);
	}
}

/* ---- stored ---- */

void world_progress(struct world *w)
{
	const struct mvcc_state *s = apply_state(w->store.apply);
	struct store_progress p = {w->generation, w->store.index, s->revision, s->compact_revision, w->compacted};

	if (w->g.store.up)
		net_send(&w->to_gateway_store, mono_now(), MSG_NO_store_progress, &store_progress_desc, &p);
}

static void stored_apply(struct world *w)
{
	bool any = false;

	while (w->commits && w->applies && w->store.index < w->n_log + 1) {
		struct store_result r = {0};
		struct store_results m = {{&r, 1}};

		r.result = small_store_entry(&w->store, buf_bytes(&w->log[w->store.index - 1]));
		r.seq = w->store.last.seq;
		r.index = w->store.index;
		any = true;
		if (w->g.store.up && w->store.last.gateway == w->hello && !w->mute_results)
			net_send(&w->to_gateway_store, mono_now(), MSG_NO_store_results, &store_results_desc, &m);
	}
	if (any)
		world_progress(w);
}

static void stored_msg(struct world *w, const struct msg_in *in)
{
	uint8_t digest[16] = {1, 2, 3};
	const struct store_status_ask *status = in->msg;
	const struct store_hash_ask *hash = in->msg;
	struct store_status_result sr = {.applied = w->store.index, .keys = 7, .age_ms = 34,
					 .revision = small_store_revision(&w->store),
					 .apply_hash = bytes_of(digest, 16)};
	struct store_hash_result hr = {.hash = bytes_of(digest, 16), .compact_revision = -1};

	if (in->row->number == MSG_NO_store_status_ask) {
		sr.ctx = status->ctx;
		net_send(&w->to_gateway_store, mono_now(), MSG_NO_store_status_result,
			 &store_status_result_desc, &sr);
		return;
	}
	EQ_INT(in->row->number, MSG_NO_store_hash_ask);
	hr.ctx = hash->ctx;
	hr.revision = hash->revision;
	if (hash->revision > small_store_revision(&w->store))
		hr.error = ERR_FUTURE_REV;
	net_send(&w->to_gateway_store, mono_now(), MSG_NO_store_hash_result, &store_hash_result_desc, &hr);
}

/* ---- leased ---- */

/* Its clocks stand still: a lease has its whole TTL left. */
static void leased_msg(struct world *w, const struct msg_in *in)
{
	const struct leased_asks *m = in->msg;

	EQ_INT(in->row->number, MSG_NO_leased_asks);
	for (size_t i = 0; i < m->asks.n; i++) {
		struct leased_answer a = {0, m->asks.v[i].ctx, (uint64_t)w->lease_refuses, 0, 0};
		struct leased_answers out = {{&a, 1}};
		struct mvcc_view *v;
		struct mvcc_lease l;

		w->n_lease_asks++;
		EQ_INT(mvcc_view_begin(w->store.env, &v), ERR_OK);
		if (w->lease_refuses == 0 && mvcc_view_lease(v, m->asks.v[i].id, &l) == ERR_OK) {
			a.ttl_s = l.ttl_s;
			a.remaining_ms = l.ttl_s * 1000 - 500;
		}
		mvcc_view_end(&v);
		if (!w->lease_forgets)
			net_send(&w->to_gateway_lease, mono_now(), MSG_NO_leased_answers, &leased_answers_desc, &out);
	}
}

/* ---- what the gateway asks of the outside ---- */

static int io_send_raft(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct world *w = arg;

	if (!w->g.raft.up)
		return ERR_CLOSED;
	net_send(&w->to_raftd, mono_now(), number, d, msg);
	w->raft_unwritten = true;
	return ERR_OK;
}

static void io_flush_raft(void *arg)
{
	struct world *w = arg;
	char byte;

	if (w->raft_unwritten && w->witness != NULL)
		w->n_written_first += recv(w->witness->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
	w->raft_unwritten = false;
}

static int io_send_store(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct world *w = arg;

	if (!w->g.store.up)
		return ERR_CLOSED;
	net_send(&w->to_stored, mono_now(), number, d, msg);
	return ERR_OK;
}

static int io_send_lease(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct world *w = arg;

	if (!w->g.lease.up)
		return ERR_CLOSED;
	net_send(&w->to_leased, mono_now(), number, d, msg);
	return ERR_OK;
}

static int io_send_watch(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct world *w = arg;

	if (!w->g.watch.up)
		return ERR_CLOSED;
	net_send(&w->to_watchd, mono_now(), number, d, msg);
	return ERR_OK;
}

static uint64_t io_incarnation(void *arg)
{
	struct world *w = arg;

	return w->hello + 1;
}

static void io_hello_again(void *arg, uint64_t incarnation)
{
	struct world *w = arg;

	w->hello = incarnation;
	w->n_hellos++;
}

static int io_map_open(void *arg, uint64_t generation, struct mvcc_env **out)
{
	struct world *w = arg;

	if (w->unmappable || generation != w->generation)
		return ERR_NOT_FOUND;
	w->n_opened++;
	*out = w->store.env;
	return ERR_OK;
}

static void io_map_close(void *arg, struct mvcc_env **env)
{
	struct world *w = arg;

	w->n_closed++;
	*env = NULL;
}

/* ---- the world ---- */

struct world *world_new_down(int64_t timeout_ms)
{
	struct world *w = mem_alloc(sizeof *w);
	struct gateway_io io = {io_send_raft, io_send_store, io_send_lease, io_send_watch, io_flush_raft, io_incarnation,
				io_hello_again, io_map_open, io_map_close, w};

	log_set_level(LOG_ERROR);
	w->seed = 1;
	net_init(&w->to_raftd, &link_raft, &w->seed);
	net_init(&w->to_gateway_raft, &link_raft, &w->seed);
	net_init(&w->to_stored, &link_store, &w->seed);
	net_init(&w->to_gateway_store, &link_store, &w->seed);
	net_init(&w->to_leased, &link_lease, &w->seed);
	net_init(&w->to_gateway_lease, &link_lease, &w->seed);
	net_init(&w->to_watchd, &link_watch, &w->seed);
	net_init(&w->to_gateway_watch, &link_watch, &w->seed);
	w->to_watchd.ordered = w->to_gateway_watch.ordered = true;
	w->to_raftd.ordered = w->to_stored.ordered = true;
	w->to_gateway_raft.ordered = w->to_gateway_store.ordered = true;
	w->term = 5;
	w->leader = 1;
	w->commits = w->applies = true;
	w->generation = 1;
	w->hello = 1000;
	w->compacted = -1;
	small_store_open(&w->store);
	w->config.cluster_id = 77;
	w->config.node_id = 1;
	w->config.request_timeout_ms = (uint64_t)timeout_ms;
	w->config.n_members = 2;
	for (size_t i = 0; i < 2; i++)
		w->config.members[i] = (struct config_member){.id = i + 1, .name = mem_strdup(i ? "two" : "one"),
			.peer_addr = mem_strdup("127.0.0.1:1"), .client_addr = mem_strdup("127.0.0.1:2")};
	w->loop = loop_new();
	gateway_init(&w->g, w->loop, &io, &w->config, 0, w->hello);
	return w;
}

struct world *world_new(int64_t timeout_ms)
{
	struct world *w = world_new_down(timeout_ms);

	world_raft(w, true);
	world_store(w, true);
	world_lease(w, true);
	world_watchd(w, true);
	while (!w->g.raft.session_open || w->g.map.env == NULL)
		world_turn(w);
	return w;
}

void world_free(struct world *w)
{
	world_watchd(w, false);
	gateway_free(&w->g);
	loop_free(w->loop);
	net_free(&w->to_raftd);
	net_free(&w->to_stored);
	net_free(&w->to_gateway_raft);
	net_free(&w->to_gateway_store);
	net_free(&w->to_leased);
	net_free(&w->to_gateway_lease);
	net_free(&w->to_watchd);
	net_free(&w->to_gateway_watch);
	small_store_close(&w->store);
	for (size_t i = 0; i < w->n_log; i++)
		buf_free(&w->log[i]);
	for (size_t i = 0; i < w->config.n_members; i++) {
		mem_free(w->config.members[i].name);
		mem_free(w->config.members[i].peer_addr);
		mem_free(w->config.members[i].client_addr);
	}
	mem_free(w);
}

static int watchd_send(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct world *w = arg;

	net_send(&w->to_gateway_watch, mono_now(), number, d, msg);
	return ERR_OK;
}

void world_watchd(struct world *w, bool up)
{
	struct watch_setup setup = {.seed = 1, .interval_ms = 100, .max_watches = 100000};
	struct clnt_io io = {watchd_send, w};
	struct watch_hail hail = {56};

	if (up == w->g.watch.up)
		return;
	if (up) {
		w->core = watch_core_new(&setup);
		w->serve = serve_new(w->core);
		serve_open(w->serve, &w->watch_peer, &io);
		gateway_watch_up(&w->g);
		(void)watchd_send(w, MSG_NO_watch_hail, &watch_hail_desc, &hail);
		return;
	}
	serve_close(w->serve, &w->watch_peer);
	serve_free(&w->serve);
	watch_core_free(&w->core);
	gateway_watch_down(&w->g);
	net_cut(&w->to_watchd);
	net_cut(&w->to_gateway_watch);
}

static void watchd_turn(struct world *w)
{
	struct mvcc_view *view;
	struct msg_in in;

	while (w->g.watch.up && net_next(&w->to_watchd, mono_now(), &in)) {
		EQ_INT(serve_msg(w->serve, &w->watch_peer, &in, mono_now()), ERR_OK);
		serve_effects(w->serve);
	}
	if (!w->g.watch.up)
		return;
	watch_core_tick(w->core, mono_now());
	while (history_read(w->core, w->store.env, mono_now(), &w->watch_counts, &view) == ERR_OK) {
		serve_slice(w->serve);
		history_close(w->core, &view);
	}
	serve_effects(w->serve);
	serve_heads(w->serve);
}

void world_raft(struct world *w, bool up)
{
	if (up == w->g.raft.up)
		return;
	if (up) {
		gateway_raft_up(&w->g);
		raftd_tell(w);
		return;
	}
	gateway_raft_down(&w->g);
	net_cut(&w->to_raftd);
	net_cut(&w->to_gateway_raft);
}

void world_store(struct world *w, bool up)
{
	if (up == w->g.store.up)
		return;
	if (up) {
		gateway_store_up(&w->g);
		world_progress(w);
		return;
	}
	gateway_store_down(&w->g);
	net_cut(&w->to_stored);
	net_cut(&w->to_gateway_store);
}

void world_lease(struct world *w, bool up)
{
	struct leased_here here = {12};

	if (up == w->g.lease.up)
		return;
	if (up) {
		gateway_lease_up(&w->g);
		net_send(&w->to_gateway_lease, mono_now(), MSG_NO_leased_here, &leased_here_desc, &here);
		return;
	}
	gateway_lease_down(&w->g);
	net_cut(&w->to_leased);
	net_cut(&w->to_gateway_lease);
}

void world_leader(struct world *w, uint64_t leader)
{
	w->term++;
	w->leader = leader;
	raftd_tell(w);
}

/* The new store has no entries of the log: they are gone with the old one. */
void world_generation(struct world *w, bool empty)
{
	world_store(w, false);
	w->generation++;
	if (empty) {
		map_close(&w->g);              /* nobody may be looking */
		small_store_close(&w->store);
		small_store_open(&w->store);
		for (size_t i = 0; i < w->n_log; i++)
			buf_free(&w->log[i]);
		w->n_log = 0;
	}
	world_store(w, true);
}

void world_rebuild(struct world *w)
{
	static struct buf log[WORLD_LOG];
	size_t n = w->n_log;

	memcpy(log, w->log, n * sizeof *log);
	memset(w->log, 0, n * sizeof *log);
	w->applies = false;
	world_generation(w, true);
	memcpy(w->log, log, n * sizeof *log);
	w->n_log = n;
	while (w->g.map.env == NULL || w->g.map.generation != w->generation)
		world_turn(w);
}

void world_turn(struct world *w)
{
	struct msg_in in;
	mono_t now;

	loop_turn(w->loop, 0);
	now = mono_now();
	while (net_next(&w->to_raftd, now, &in))
		raftd_msg(w, &in);
	while (net_next(&w->to_stored, now, &in))
		stored_msg(w, &in);
	stored_apply(w);
	while (net_next(&w->to_leased, now, &in))
		leased_msg(w, &in);
	while (w->g.lease.up && net_next(&w->to_gateway_lease, now, &in))
		EQ_INT(gateway_lease_msg(&w->g, &in), ERR_OK);
	watchd_turn(w);
	while (w->g.watch.up && net_next(&w->to_gateway_watch, now, &in))
		EQ_INT(gateway_watch_msg(&w->g, &in), ERR_OK);
	while (w->g.raft.up && net_next(&w->to_gateway_raft, now, &in))
		EQ_INT(gateway_raft_msg(&w->g, &in), ERR_OK);
	while (w->g.store.up && net_next(&w->to_gateway_store, now, &in))
		EQ_INT(gateway_store_msg(&w->g, &in), ERR_OK);
	loop_again(w->loop);
}

void world_turns(struct world *w, int n)
{
	while (n-- > 0)
		world_turn(w);
}

void world_ms(struct world *w, int ms)
{
	mono_t end = mono_add_ms(mono_now(), ms);

	while (mono_before(mono_now(), end))
		world_turn(w);
}

/* ---- clients ---- */

void world_join(struct world *w, struct rpc_peer *p)
{
	(void)conn_new(&w->g.conns, rpc_peer_open(p), "test");
}

void world_send(struct rpc_peer *p, uint32_t id, const char *method, const struct msg_desc *d,
		const void *params)
{
	struct buf b = {0};

	EQ_INT(msg_encode(&b, d, params), ERR_OK);
	rpc_peer_request(p, id, method, buf_bytes(&b));
	buf_free(&b);
}

bool world_reply(struct world *w, struct rpc_peer *p, struct rpc_reply *r)
{
	mono_t end = mono_add_ms(mono_now(), 60000);

	while (!rpc_peer_next(p, r)) {
		if (p->closed)
			return false;
		OK(mono_before(mono_now(), end));
		rpc_peer_write(p, 1u << 20);
		world_turn(w);
		rpc_peer_read(p, 1u << 20);
	}
	return true;
}

bool world_silence(struct world *w, struct rpc_peer *p)
{
	struct rpc_reply r;

	for (int i = 0; i < 20; i++) {
		rpc_peer_write(p, 1u << 20);
		world_turn(w);
		rpc_peer_read(p, 1u << 20);
	}
	return !p->closed && !rpc_peer_next(p, &r);
}

void world_call(struct world *w, struct rpc_peer *p, const char *method, const struct msg_desc *d,
		const void *params, struct rpc_reply *r)
{
	static uint32_t id;

	world_send(p, ++id, method, d, params);
	OK(world_reply(w, p, r));
	OK(!r->goodbye);
	EQ_INT(r->id, id);
}

void *world_decode(const struct rpc_reply *r, const struct msg_desc *d, void *out)
{
	static struct arena arena = {.max = 1u << 28};
	struct wire in = wire_of(r->result, WIRE_STRICT);

	arena_free(&arena);
	EQ_INT(r->error, 0);
	EQ_INT(msg_decode(&in, d, &arena, out), ERR_OK);
	EQ_INT(wire_end(&in), ERR_OK);
	return out;
}

int world_put(struct world *w, struct rpc_peer *p, const char *key, const char *value)
{
	struct kv_put put = {.key = bytes_str(key), .value = bytes_str(value)};
	struct rpc_reply r;

	world_call(w, p, "put", &kv_put_desc, &put, &r);
	return r.error;
}

int world_range(struct world *w, struct rpc_peer *p, const struct kv_range *r, struct kv_range_result *out)
{
	struct rpc_reply reply;

	world_call(w, p, "range", &kv_range_desc, r, &reply);
	if (reply.error == 0)
		(void)world_decode(&reply, &kv_range_result_desc, out);
	return reply.error;
}
