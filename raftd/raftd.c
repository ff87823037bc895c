/* SPDX-License-Identifier: Apache-2.0 */
/* raftd: the order of all commands. How it lives; what it decides is in core/. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "raftd/node.h"
#include "raftd/noise.h"
#include "rt/keyfile.h"

enum { RAFTD_STOP_MS = 2000, RAFTD_TRANSFER_MS = 700, RAFTD_STOP_LOOK_MS = 5 };

static void on_durable(void *arg, uint32_t events)
{
	struct raft_event ev = {.type = RAFT_EV_DURABLE};
	struct raftd *n = arg;
	struct wal_durable done;

	(void)events;
	if (wal_collect(n->wal, &done)) {
		n->durable_seq = done.seq;
		n->durable_index = done.last_index;
		ev.seq = done.seq;
		ev.last_index = done.last_index;
		ev.last_term = done.last_term;
		(void)raftd_step(n, &ev);
	}
	peers_resume(n->peers);      /* the batch that was written left room for the next */
}

/*
 * What the turn has gathered goes out together: one sync, one batch to stored, one write a peer. A
 * leader's clients wait for its store, a follower's acknowledgement is waited for by the leader.
 */
static void on_turn_end(void *arg)
{
	struct raftd *n = arg;

	wal_kick(n->wal);
	if (n->role == RAFT_LEADER && n->feed.due)
		feed_now(n);
	peers_flush(n->peers);       /* may step: a peer was lost */
	wal_kick(n->wal);
	if (n->feed.due)
		feed_more(n);
	gateways_state(n);
	lessors_state(n);
	raftd_tick_arm(n);
}

/*
 * A log is made once in a node's life. Made anew by itself, it would forget votes and entries under
 * the same node id, and that can cost the cluster acknowledged writes.
 */
static bool raftd_had_log(const char *mark)
{
	struct stat st;

	if (stat(mark, &st) == 0)
		return true;
	if (errno != ENOENT)
		fatal("is data_dir ours?", "cannot look for %s: %s", mark, strerror(errno));
	return false;
}

/* Durable before the first vote can be: the log's own first sync comes later. */
static void raftd_mark_log(const char *mark, const char *data_dir)
{
	int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int dir = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || dir < 0 || fsync(fd) != 0 || fsync(dir) != 0)
		fatal("is the disk full or broken?", "cannot make %s: %s", mark, strerror(errno));
	(void)close(fd);
	(void)close(dir);
}

static void raftd_open_log(struct raftd *n, struct wal_recovered *rec)
{
	const struct config *config = n->d->config;
	char *dir = config->log_dir[0] ? mem_strdup(config->log_dir)
				       : config_path(config->data_dir, "raft");
	char *mark = config_path(config->data_dir, "raft.made");
	bool had = raftd_had_log(mark);
	struct wal_options o = {.cluster_id = config->cluster_id, .node_id = config->node_id,
				.create = !had,
				.segment_bytes = config->segment_mb * MIB,
				.cache_bytes = config->cache_mb * MIB};
	int rc;

	if (config->segment_mb < SEGMENT_MIN_MB)
		fatal("raise it in the configuration",
		      "segment_mb must be at least %d: a batch must fit a segment",
		      SEGMENT_MIN_MB);
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		fatal("is data_dir there, and ours?", "cannot make %s: %s", dir, strerror(errno));
	rc = wal_open(dir, &o, &n->wal, rec);
	if (rc == ERR_NOT_FOUND)
		fatal("bring the log back, or rebuild the node from its peers under a new node id: see "
		      "docs/failure-modes.md, raftd",
		      "the log that was in %s is gone", dir);
	if (rc != ERR_OK)
		fatal("see docs/failure-modes.md, raftd", "cannot open the log in %s: %s: %s", dir,
		      err_text(rc), rec->why);
	log_info("log opened dir=%s created=%d term=%" PRIu64 " first=%" PRIu64 " last=%" PRIu64
		 " cut_bytes=%" PRIu64 " unread=%zu", dir, rec->created, rec->hard.term,
		 rec->first_index, rec->last_index, rec->cut_bytes, rec->unread);
	if (!had || rec->hard.term == 0)    /* else it was durable before that term was */
		raftd_mark_log(mark, config->data_dir);
	mem_free(mark);
	mem_free(dir);
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
				.last_index = rec->last_index, .runs = runs,
				.run_count = rec->nruns};

	for (size_t i = 0; i < config->n_members; i++)
		rc.voters[i] = config->members[i].id;
	for (size_t i = 0; i < rec->nruns; i++)
		runs[i] = (struct raft_run){rec->runs[i].first_index, rec->runs[i].term};
	if (getrandom(&rc.seed, sizeof rc.seed, 0) != sizeof rc.seed)
		fatal(NULL, "no random numbers from the system");
	switch (raft_state_check(&rc, &st)) {
	case ERR_OK:
		break;
	case ERR_CONFIG:
		fatal("compare them with quorate.conf(5)", "these members and times make no Raft node");
	default:
		fatal("rebuild the node from its peers, under a new node id",
		      "the log does not look like a Raft log");
	}
	n->raft = raft_create(&rc, &st, mono_now());
	n->term = rec->hard.term;
	mem_free(runs);
}

static void raftd_read_key(const char *configured, const char *data_dir, const char *name,
			   uint8_t key[KEY_LEN])
{
	char *path = configured[0] ? mem_strdup(configured) : config_path(data_dir, name);
	const char *why;

	if (keyfile_load(path, key, &why) != ERR_OK)
		fatal("make the node's keys with `quorate init`", "cannot use %s: %s", path, why);
	mem_free(path);
}

static void raftd_read_keys(struct raftd *n)
{
	const struct config *config = n->d->config;
	uint8_t public[KEY_LEN];

	raftd_read_key(config->key_file, config->data_dir, "node.key", n->keys.secret);
	raftd_read_key(config->secret_file, config->data_dir, "cluster.secret",
		       n->keys.cluster_secret);
	key_public(n->keys.secret, public);
	if (!key_equal(public, config_self(config)->key))
		fatal("the member line of this node must carry the public key of its node.key",
		      "node.key does not fit the configuration");
}

static int raftd_listen(const struct config *config)
{
	struct sockaddr_storage ss;
	int fd, on = 1;
	socklen_t len;

	if (config->n_members == 1)
		return -1;
	if (config_address(config->peer_listen, &ss, &len) != ERR_OK)
		fatal("give an address and port as 10.0.0.1:2380", "bad peer_listen \"%s\"",
		      config->peer_listen);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    bind(fd, (const struct sockaddr *)&ss, len) != 0 || listen(fd, SOMAXCONN) != 0)
		fatal("is another program using it?", "cannot listen for peers on %s: %s",
		      config->peer_listen,
		      strerror(errno));
	return fd;
}

static int raftd_open(struct daemon *d)
{
	struct raftd *n = mem_alloc(sizeof *n);
	struct wal_recovered rec;

	n->d = d;
	d->state = n;
	raftd_counters_init(&n->counters);
	loop_timer_init(&n->tick, raftd_tick, n);
	if (noise_start() != 0)
		fatal(NULL, "libsodium does not start");
	raftd_read_keys(n);
	n->peer_fd = raftd_listen(d->config);
	raftd_open_log(n, &rec);
	raftd_make_core(n, &rec);
	n->durable_index = rec.last_index;
	n->commit = rec.first_index - 1;
	return ERR_OK;
}

static int raftd_start_peers(struct raftd *n)
{
	struct peers_setup s = {.loop = n->d->loop, .config = n->d->config, .keys = n->keys,
				.incarnation = n->d->incarnation, .listen_fd = n->peer_fd,
				.ops = &raftd_peers_ops, .arg = n};
	int rc = peers_open(&s, &n->peers);

	key_wipe(s.keys.secret);
	key_wipe(s.keys.cluster_secret);
	key_wipe(n->keys.secret);
	key_wipe(n->keys.cluster_secret);
	return rc;
}

static int raftd_start(struct daemon *d)
{
	struct raftd *n = d->state;
	int rc = raftd_start_peers(n);

	if (rc != ERR_OK)
		return rc;
	loop_io_add(d->loop, &n->wal_ready, wal_event_fd(n->wal), EPOLLIN, on_durable, n);
	/* First, so that what it sends on links is flushed by the links' own hooks behind it. */
	loop_hook_add(d->loop, &n->turn_end, on_turn_end, n);
	rc = gateways_open(n);
	if (rc == ERR_OK)
		rc = feed_open(n);
	if (rc == ERR_OK)
		rc = lessors_open(n);
	snap_open(n);
	handover_open(n);
	raftd_tick_arm(n);
	return rc;
}

/* Nothing steps from here on: the log is closed. */
static void raftd_finish(struct raftd *n)
{
	log_info("stopping term=%" PRIu64 " commit=%" PRIu64 " last=%" PRIu64, n->term, n->commit,
		 wal_last_index(n->wal));
	loop_hook_del(n->d->loop, &n->turn_end);
	loop_io_del(n->d->loop, &n->wal_ready);
	loop_timer_clear(n->d->loop, &n->tick);
	handover_close(n);
	snap_close(n);
	peers_close(&n->peers);
	wal_close(&n->wal);
	daemon_stopped(n->d);
}

static void on_stop_timer(void *arg)
{
	struct raftd *n = arg;
	mono_t now = loop_now(n->d->loop);
	bool patient = mono_before(now, mono_add_ms(n->stop_began, RAFTD_TRANSFER_MS));

	if (n->handing_over && patient && (n->role == RAFT_LEADER || n->leader == 0)) {
		loop_timer_set(n->d->loop, &n->stop_timer, mono_add_ms(now, RAFTD_STOP_LOOK_MS));
		return;
	}
	if (n->handing_over && n->role != RAFT_LEADER)
		log_info("leadership handed over to=%" PRIu64, n->leader);
	else if (n->role == RAFT_LEADER && n->d->config->n_members > 1)
		log_warn("stopping as leader: there is no successor");
	raftd_finish(n);
}

/* A leader hands over first: the cluster then has no gap of an election timeout. */
static void raftd_stop(struct daemon *d)
{
	struct raft_event ev = {.type = RAFT_EV_TRANSFER};
	struct raftd *n = d->state;

	n->stop_began = loop_now(d->loop);
	n->handing_over = n->role == RAFT_LEADER && d->config->n_members > 1 &&
			  raftd_step(n, &ev) == ERR_OK;
	loop_timer_init(&n->stop_timer, on_stop_timer, n);
	loop_timer_set(d->loop, &n->stop_timer, n->stop_began);
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
