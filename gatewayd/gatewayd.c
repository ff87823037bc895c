/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd: who may ask, and how the answer is written. It owns nothing on disk; several of them
 * may share the client port.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "gatewayd/gateway.h"
#include "gatewayd/listen.h"
#include "rt/daemon.h"
#include "rt/link.h"

enum { GATEWAYD_STOP_MS = 3000, GATEWAYD_CLIENTS_SHOWN = 1000 };

struct gatewayd {
	struct daemon *d;
	struct gateway g;
	struct listen_port port;
	int fd;                               /* of the port, until it is listened on */
	size_t max_conns;
	uint64_t incarnation;                 /* as the hellos say it */
	struct link_dialer *raft_dialer, *store_dialer, *lease_dialer, *watch_dialer;
	struct link *raft, *store, *lease, *watch;    /* NULL: down */
	struct loop_hook stopped;
	char *store_dir;
};

/* ---- links ---- */

static void link_say_hello(void *arg, struct link_hello *out)
{
	struct gatewayd *x = arg;

	*out = (struct link_hello){x->d->config->node_id, DAEMON_GATEWAYD, x->incarnation, 0};
}

static int link_up(struct gatewayd *x, struct link **at, struct link *l, const struct link_hello *peer)
{
	if (peer->node_id != x->d->config->node_id)
		return ERR_CONFIG;
	*at = l;
	return ERR_OK;
}

static int raft_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct gatewayd *x = arg;
	int err = link_up(x, &x->raft, l, peer);

	if (err == ERR_OK)
		gateway_raft_up(&x->g);
	return err;
}

static int raft_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct gatewayd *x = arg;

	(void)l;
	return gateway_raft_msg(&x->g, in);
}

static void raft_down(void *arg, struct link *l, const char *reason)
{
	struct gatewayd *x = arg;

	(void)l;
	(void)reason;
	x->raft = NULL;
	gateway_raft_down(&x->g);
}

static int store_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct gatewayd *x = arg;
	int err = link_up(x, &x->store, l, peer);

	if (err == ERR_OK)
		gateway_store_up(&x->g);
	return err;
}

static int store_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct gatewayd *x = arg;

	(void)l;
	return gateway_store_msg(&x->g, in);
}

static void store_down(void *arg, struct link *l, const char *reason)
{
	struct gatewayd *x = arg;

	(void)l;
	(void)reason;
	x->store = NULL;
	gateway_store_down(&x->g);
}

static int lease_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct gatewayd *x = arg;
	int err = link_up(x, &x->lease, l, peer);

	if (err == ERR_OK)
		gateway_lease_up(&x->g);
	return err;
}

static int lease_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct gatewayd *x = arg;

	(void)l;
	return gateway_lease_msg(&x->g, in);
}

static void lease_down(void *arg, struct link *l, const char *reason)
{
	struct gatewayd *x = arg;

	(void)l;
	(void)reason;
	x->lease = NULL;
	gateway_lease_down(&x->g);
}

static int watch_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct gatewayd *x = arg;
	int err = link_up(x, &x->watch, l, peer);

	if (err == ERR_OK)
		gateway_watch_up(&x->g);
	return err;
}

static int watch_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct gatewayd *x = arg;

	(void)l;
	return gateway_watch_msg(&x->g, in);
}

static void watch_down(void *arg, struct link *l, const char *reason)
{
	struct gatewayd *x = arg;

	(void)l;
	(void)reason;
	x->watch = NULL;
	gateway_watch_down(&x->g);
}

static const struct link_ops raft_ops = {link_say_hello, raft_up, raft_msg, raft_down, NULL};
static const struct link_ops store_ops = {link_say_hello, store_up, store_msg, store_down, NULL};
static const struct link_ops lease_ops = {link_say_hello, lease_up, lease_msg, lease_down, NULL};
static const struct link_ops watch_ops = {link_say_hello, watch_up, watch_msg, watch_down, NULL};

/* ---- what the gateway asks of the outside ---- */

static int io_send_raft(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct gatewayd *x = arg;

	return x->raft != NULL ? link_send(x->raft, number, d, msg) : ERR_CLOSED;
}

static void io_flush_raft(void *arg)
{
	struct gatewayd *x = arg;

	if (x->raft != NULL)
		link_flush(x->raft);
}

static int io_send_store(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct gatewayd *x = arg;

	return x->store != NULL ? link_send(x->store, number, d, msg) : ERR_CLOSED;
}

static int io_send_lease(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct gatewayd *x = arg;

	return x->lease != NULL ? link_send(x->lease, number, d, msg) : ERR_CLOSED;
}

static int io_send_watch(void *arg, uint32_t number, const struct msg_desc *d, const void *msg)
{
	struct gatewayd *x = arg;

	return x->watch != NULL ? link_send(x->watch, number, d, msg) : ERR_CLOSED;
}

static uint64_t io_incarnation(void *arg)
{
	uint64_t n = 0;

	(void)arg;
	while (n == 0)
		CHECK(getrandom(&n, sizeof n, 0) == sizeof n);
	return n;
}

static void io_hello_again(void *arg, uint64_t incarnation)
{
	struct gatewayd *x = arg;

	x->incarnation = incarnation;
	if (x->store != NULL)
		link_drop(x->store, "new session");
	if (x->raft != NULL)
		link_drop(x->raft, "new session");
}

static int io_map_open(void *arg, uint64_t generation, struct mvcc_env **out)
{
	struct gatewayd *x = arg;
	struct buf dir;
	int err;

	buf_init(&dir, 0);
	mvcc_generation_dir(&dir, x->store_dir, generation);
	buf_u8(&dir, 0);
	err = dir.err ? dir.err : mvcc_open((const char *)dir.data, x->d->config->store_map_gb << 30, out);
	buf_free(&dir);
	return err;
}

static void io_map_close(void *arg, struct mvcc_env **env)
{
	(void)arg;
	mvcc_close(env);
}

/* ---- the daemon ---- */

static int gatewayd_open(struct daemon *d)
{
	struct gatewayd *x = mem_alloc(sizeof *x);
	const char *why;

	d->state = x;
	x->d = d;
	x->incarnation = d->incarnation;
	x->max_conns = listen_max_conns();
	x->store_dir = config_path(d->config->data_dir, "store");
	x->fd = listen_socket(d->config->client_listen, d->config->gateways > 1, &why);
	if (x->fd < 0)
		fatal("free the port or change client_listen", "cannot listen on %s: %s: %s",
		      d->config->client_listen, why, strerror(errno));
	return ERR_OK;
}

static int gatewayd_dial(struct gatewayd *x, enum daemon_kind peer, const struct msg_link *messages,
			 const struct link_ops *ops, struct link_dialer **out)
{
	char *path = daemon_socket(x->d, peer, DAEMON_GATEWAYD);
	struct link_setup s = {.loop = x->d->loop, .path = path, .messages = messages, .peer = peer,
			       .ops = ops, .arg = x};
	int err = link_dialer_open(&s, out);

	mem_free(path);
	return err;
}

/* The gateway's hook comes before the links', which write what it has gathered in the same turn. */
static int gatewayd_start(struct daemon *d)
{
	struct gatewayd *x = d->state;
	struct gateway_io io = {io_send_raft, io_send_store, io_send_lease, io_send_watch, io_flush_raft, io_incarnation,
				io_hello_again, io_map_open, io_map_close, x};
	int err;

	gateway_init(&x->g, d->loop, &io, d->config, d->instance, x->incarnation);
	err = gatewayd_dial(x, DAEMON_RAFTD, &link_raft, &raft_ops, &x->raft_dialer);
	if (err == ERR_OK)
		err = gatewayd_dial(x, DAEMON_STORED, &link_store, &store_ops, &x->store_dialer);
	if (err == ERR_OK)
		err = gatewayd_dial(x, DAEMON_LEASED, &link_lease, &lease_ops, &x->lease_dialer);
	if (err == ERR_OK)
		err = gatewayd_dial(x, DAEMON_WATCHD, &link_watch, &watch_ops, &x->watch_dialer);
	if (err == ERR_OK)
		listen_start(&x->port, &x->g.conns, x->fd, x->max_conns);
	return err;
}

static void gatewayd_check_stopped(void *arg)
{
	struct gatewayd *x = arg;

	if (x->g.conns.n == 0)
		daemon_stopped(x->d);
}

/* Bounded by stop_timeout_ms, whatever clients and cluster do. */
static void gatewayd_stop(struct daemon *d)
{
	struct gatewayd *x = d->state;

	listen_stop(&x->port);
	gateway_stop(&x->g);
	loop_hook_add(d->loop, &x->stopped, gatewayd_check_stopped, x);
}

static void gatewayd_refresh(void *arg)
{
	struct daemon *d = arg;
	struct gatewayd *x = d->state;

	gateway_refresh(&x->g);
}

static const struct counter *gatewayd_counters_list(struct daemon *d, size_t *n)
{
	struct gatewayd *x = d->state;

	*n = COUNTER_COUNT(&x->g.counters);
	return &x->g.counters.clients;
}

/* ---- admin ---- */

static void admin_link(struct admin_reply *r, const char *name, const struct link *l)
{
	admin_begin(r, name);
	admin_bool(r, "up", l != NULL);
	admin_i64(r, "age_ms", l != NULL ? link_age_ms(l) : -1);
	admin_u64(r, "queued_bytes", l != NULL ? link_queued(l) : 0);
	admin_end(r);
}

static void gatewayd_status(void *arg, struct admin_reply *r)
{
	struct daemon *d = arg;
	const struct gatewayd *x = d->state;
	const struct gateway *g = &x->g;

	admin_str(r, "client_listen", d->config->client_listen);
	admin_u64(r, "clients", g->conns.n);
	admin_u64(r, "clients_max", x->max_conns);
	admin_u64(r, "client_in_bytes", g->conns.in_bytes);
	admin_u64(r, "client_out_bytes", g->conns.out_bytes);
	admin_u64(r, "session_bytes", g->conns.session_bytes);
	admin_u64(r, "requests_in_flight", g->n_requests);
	admin_u64(r, "proposals", g->raft.n_proposals);
	admin_bool(r, "session_open", g->raft.session_open);
	admin_u64(r, "reads", g->reads.n);
	admin_u64(r, "reads_waiting_for_index", g->raft.n_reads);
	admin_u64(r, "reads_waiting_for_store", g->store.n_waits);
	admin_u64(r, "read_rounds", g->raft.n_rounds);
	admin_u64(r, "term", g->raft.state.term);
	admin_u64(r, "leader", g->raft.state.leader);
	admin_bool(r, "store_mapped", g->map.env != NULL);
	admin_u64(r, "store_generation", g->map.generation);
	admin_u64(r, "applied", g->store.progress.applied);
	admin_i64(r, "revision", g->store.progress.revision);
	admin_link(r, "raftd", x->raft);
	admin_u64(r, "lease_asks", g->lease.n);
	admin_link(r, "stored", x->store);
	admin_link(r, "leased", x->lease);
	admin_link(r, "watchd", x->watch);
	admin_u64(r, "watches", g->watch.n);
}

static void admin_clients(void *arg, const char *args, struct admin_reply *r)
{
	static const char *const states[] = {"open", "ending", "lingering", "dead"};
	struct daemon *d = arg;
	struct gatewayd *x = d->state;
	struct buf *out = admin_raw(r);
	unsigned shown = 0;

	(void)args;
	for (struct list *l = x->g.conns.all.next; l != &x->g.conns.all; l = l->next) {
		const struct conn *c = container_of(l, struct conn, node);

		if (shown++ == GATEWAYD_CLIENTS_SHOWN) {
			buf_printf(out, "... %zu in all\n", x->g.conns.n);
			return;
		}
		buf_printf(out, "%s state=%s in_flight=%zu in_bytes=%zu out_bytes=%zu%s\n", c->peer,
			   states[c->state], c->in_flight, c->in.len, c->out.len - c->out_pos + c->held.len,
			   c->streaming ? " streaming" : "");
	}
}

static const struct admin_command gatewayd_commands[] = {
	{"clients", "", "connections of client programs", admin_clients},
	{NULL, NULL, NULL, NULL},
};

static const struct daemon_setup gatewayd = {
	.kind = DAEMON_GATEWAYD,
	.summary = "the client port of a Quorate node: the native protocol and etcd's gRPC",
	.open = gatewayd_open,
	.start = gatewayd_start,
	.stop = gatewayd_stop,
	.commands = gatewayd_commands,
	.status = gatewayd_status,
	.refresh = gatewayd_refresh,
	.counters = gatewayd_counters_list,
	.stop_timeout_ms = GATEWAYD_STOP_MS,
};

int main(int argc, char **argv)
{
	return daemon_main(argc, argv, &gatewayd);
}
