/* SPDX-License-Identifier: Apache-2.0 */
/* raftd: the order of all commands. How it lives; what it decides is in core/. */
#include <inttypes.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/node.h"
#include "raftd/peers.h"

enum { RAFTD_STOP_MS = 2000, RAFTD_TRANSFER_MS = 700 };

static void on_tick(void *arg)
{
	struct raft_event ev = {.type = RAFT_EV_TICK};

	(void)raftd_step(arg, &ev);
}

static void on_durable(void *arg, uint32_t events)
{
	struct raft_event ev = {.type = RAFT_EV_DURABLE};
	struct raftd *n = arg;
	struct wal_durable done;

	(void)events;
	if (!wal_collect(n->wal, &done))
		return;
	n->durable_seq = done.seq;
	n->durable_index = done.last_index;
	ev.seq = done.seq;
	ev.last_index = done.last_index;
	ev.last_term = done.last_term;
	(void)raftd_step(n, &ev);
	peers_resume(n);
}

/* What the turn has gathered goes out together: one sync, one write per peer. */
static void on_turn_end(void *arg)
{
	struct raftd *n = arg;

	wal_kick(n->wal);
	peers_flush(n);
	wal_kick(n->wal);      /* burying a peer may have stepped */
	gateways_state(n);
	raftd_tick_arm(n);
}

static int raftd_open_log(struct raftd *n, struct wal_recovered *rec)
{
	const struct config *config = n->d->config;
	char *dir = config->log_dir[0] ? mem_strdup(config->log_dir) : config_path(config->data_dir, "raft");
	struct wal_options o = {.cluster_id = config->cluster_id, .node_id = config->node_id, .create = true,
				.segment_bytes = config->segment_mb * MIB, .cache_bytes = config->cache_mb * MIB,
				.batch_bytes = 8 * MIB};
	int rc;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		fatal("is data_dir there, and ours?", "cannot make %s: %s", dir, strerror(errno));
	rc = wal_open(dir, &o, &n->wal, rec);
	if (rc != ERR_OK)
		fatal("see docs/failure-modes.md, raftd", "cannot open the log in %s: %s: %s", dir, err_text(rc), rec->why);
	log_info("log opened dir=%s created=%d term=%" PRIu64 " first=%" PRIu64 " last=%" PRIu64 " cut_bytes=%" PRIu64,
		 dir, rec->created, rec->hard.term, rec->first_index, rec->last_index, rec->cut_bytes);
	mem_free(dir);
	return ERR_OK;
}

static void raftd_make_core(struct raftd *n, const struct wal_recovered *rec)
{
	const struct config *config = n->d->config;
	struct raft_config rc = {.id = config->node_id,
				 .voter_count = (uint32_t)config->n_members,
				 .election_min_ms = (uint32_t)config->election_min_ms,
				 .election_max_ms = (uint32_t)config->election_max_ms,
				 .heartbeat_ms = (uint32_t)config->heartbeat_ms};
	struct raft_run *runs = mem_array(rec->nruns, sizeof *runs);
	struct raft_state st = {.term = rec->hard.term, .vote = rec->hard.vote,
				.base_index = rec->first_index - 1, .base_term = rec->prev_term,
				.last_index = rec->last_index, .runs = runs, .run_count = rec->nruns};

	for (size_t i = 0; i < config->n_members; i++)
		rc.voters[i] = config->members[i].id;
	for (size_t i = 0; i < rec->nruns; i++)
		runs[i] = (struct raft_run){rec->runs[i].first_index, rec->runs[i].term};
	if (getrandom(&rc.seed, sizeof rc.seed, 0) != sizeof rc.seed)
		fatal(NULL, "no random numbers from the system");
	if (raft_state_check(&rc, &st) != ERR_OK)
		fatal("the log's content is impossible: restore the node from its peers under a new node id",
		      "the log does not look like a Raft log");
	n->raft = raft_create(&rc, &st, mono_now());
	n->term = rec->hard.term;
	mem_free(runs);
}

static int raftd_open(struct daemon *d)
{
	struct raftd *n = mem_alloc(sizeof *n);
	struct wal_recovered rec;

	n->d = d;
	d->state = n;
	raftd_counters_init(&n->counters);
	loop_timer_init(&n->tick, on_tick, n);
	(void)raftd_open_log(n, &rec);
	n->durable_index = rec.last_index;
	raftd_make_core(n, &rec);
	return peers_open(n);
}

static int raftd_start(struct daemon *d)
{
	struct raftd *n = d->state;
	int rc;

	loop_io_add(d->loop, &n->wal_ready, wal_event_fd(n->wal), EPOLLIN, on_durable, n);
	/* First, so that what it sends on links is flushed by the links' own hooks behind it. */
	loop_hook_add(d->loop, &n->turn_end, on_turn_end, n);
	rc = gateways_open(n);
	if (rc == ERR_OK)
		rc = feed_open(n);
	peers_start(n);
	raftd_tick_arm(n);
	return rc;
}

static void raftd_finish(struct raftd *n)
{
	log_info("stopping term=%" PRIu64 " commit=%" PRIu64 " last=%" PRIu64, n->term, n->commit,
		 wal_last_index(n->wal));
	wal_close(&n->wal);
	daemon_stopped(n->d);
}

static void on_stop_timer(void *arg)
{
	struct raftd *n = arg;

	if (n->role == RAFT_LEADER && mono_before(loop_now(n->d->loop), mono_add_ms(n->stop_began, RAFTD_TRANSFER_MS)))
		loop_timer_set(n->d->loop, &n->stop_timer, mono_add_ms(loop_now(n->d->loop), 10));
	else
		raftd_finish(n);
}

/* A leader hands over first: the cluster then has no gap of an election timeout. */
static void raftd_stop(struct daemon *d)
{
	struct raft_event ev = {.type = RAFT_EV_TRANSFER};
	struct raftd *n = d->state;

	n->stop_began = loop_now(d->loop);
	if (n->role == RAFT_LEADER && d->config->n_members > 1 && raftd_step(n, &ev) == ERR_OK)
		log_info("handing the leadership over before stopping");
	loop_timer_init(&n->stop_timer, on_stop_timer, n);
	loop_timer_set(d->loop, &n->stop_timer, mono_add_ms(n->stop_began, n->role == RAFT_LEADER && d->config->n_members > 1 ? 10 : 0));
}

static const struct counter *raftd_counters_of(struct daemon *d, size_t *count)
{
	struct raftd *n = d->state;

	*count = COUNTER_COUNT(&n->counters);
	return &n->counters.proposals;
}

int main(int argc, char **argv)
{
	static const struct daemon_setup setup = {
		.kind = DAEMON_RAFTD,
		.summary = "decides the order of all commands: elections, log, commit, read index",
		.open = raftd_open,
		.start = raftd_start,
		.stop = raftd_stop,
		.commands = raftd_commands,
		.status = raftd_report,
		.refresh = raftd_refresh,
		.counters = raftd_counters_of,
		.stop_timeout_ms = RAFTD_STOP_MS,
	};

	return daemon_main(argc, argv, &setup);
}
