/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/snap_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "rt/snapname.h"
#include "tests/lib/tap.h"

/* ---- the core, and the line */

struct raft core;

int raft_step(struct raft *r, const struct raft_event *ev, struct raft_effects *fx)
{
	fake_say("step %d peer=%d index=%d", (int)ev->type, (int)ev->peer, (int)ev->index);
	fx->n = 0;
	if (fx->v == NULL) {
		fx->cap = ARRAY_LEN(core.fx);
		fx->v = mem_array(fx->cap, sizeof *fx->v);
	}
	while (fx->n < r->n) {
		fx->v[fx->n] = r->fx[fx->n];
		fx->n++;
	}
	r->n = 0;
	return ERR_OK;
}

void raft_status(const struct raft *r, mono_t now, struct raft_status *out)
{
	(void)now;
	*out = (struct raft_status){.peer_count = 1};
	out->peers[0] = (struct raft_peer_status){.id = 2, .match = r->match, .up = r->peer_up,
						  .state = RAFT_PEER_REPLICATE};
}

mono_t raft_deadline(const struct raft *r)
{
	(void)r;
	return MONO_NEVER;
}

const char *raft_role_name(enum raft_role role)
{
	(void)role;
	return "?";
}

void propose_committed(struct raftd *n, uint64_t index)
{
	(void)n;
	(void)index;
}

void propose_reset(struct raftd *n)
{
	(void)n;
}

void propose_batch(struct raftd *n, const struct proposal *v, size_t count, struct proposer from)
{
	(void)n;
	(void)v;
	(void)count;
	(void)from;
}

void reads_answer(struct raftd *n, uint64_t ctx, int err, uint64_t index)
{
	(void)n;
	(void)ctx;
	(void)err;
	(void)index;
}

struct link *gateways_find(struct raftd *n, uint64_t incarnation)
{
	(void)n;
	(void)incarnation;
	return NULL;
}

/* No leased is there: whatever is asked is of no concern here. */
int lessors_asked(struct raftd *n, uint64_t from, const struct peer_lease_asks *in)
{
	(void)n;
	(void)from;
	(void)in;
	return ERR_OK;
}

int lessors_answered(struct raftd *n, const struct peer_lease_answers *in)
{
	(void)n;
	(void)in;
	return ERR_OK;
}

void gateways_refuse(struct link *l, struct raftd_refused *v, size_t count)
{
	(void)l;
	(void)v;
	(void)count;
}

struct snap_line line;

int peers_send(struct peers *ps, uint64_t id, uint32_t number, const struct msg_desc *d, const void *msg)
{
	(void)ps;
	(void)d;
	if (number == MSG_NO_peer_snapshot) {
		struct wire_piece *p = &line.piece[line.pieces];

		CHECK(line.pieces < WIRE_MAX);
		p->m = *(const struct peer_snapshot *)msg;
		if (p->m.data.len > 0)
			memcpy(p->data, p->m.data.data, p->m.data.len);
		p->m.data.data = p->data;
		line.pieces++;
		line.most = line.pieces > line.most ? line.pieces : line.most;
	} else if (number == MSG_NO_peer_snapshot_resp) {
		CHECK(line.resps < WIRE_MAX);
		line.resp[line.resps++] = *(const struct peer_snapshot_resp *)msg;
	} else if (number == MSG_NO_peer_snapshot_want) {
		line.wants++;
		line.want_to = id;
		line.want_index = ((const struct peer_snapshot_want *)msg)->index;
	}
	return ERR_OK;
}

bool peers_room(const struct peers *ps, uint64_t id)
{
	(void)ps;
	(void)id;
	return !line.full;
}

unsigned peers_version(const struct peers *ps, uint64_t id)
{
	(void)ps;
	(void)id;
	return line.version;
}

void peers_poll(struct peers *ps)
{
	(void)ps;
}

bool peers_withheld(const struct peers *ps, uint64_t id)
{
	(void)ps;
	(void)id;
	return false;
}

/* ---- the node */

struct config config;
struct link stored;
uint8_t content[FILE_BYTES];
struct snapshot_id the_id;

void begin(void)
{
	static char dir[512], none[] = "";

	fake_open();
	core = (struct raft){.match = 0};
	fake.n->raft = &core;
	(void)snprintf(dir, sizeof dir, "%s", tap_dir());
	config = (struct config){.node_id = 1, .data_dir = dir, .log_dir = none, .run_dir = dir, .snapshot_log_mb = 4,
				 .snapshot_rate_mb = 1024, .heartbeat_ms = 50, .store_map_gb = 1, .n_members = 3};
	for (uint64_t i = 0; i < 3; i++)
		config.members[i].id = i + 1;
	fake.n->d->config = &config;
	line.piece = mem_array(WIRE_MAX, sizeof *line.piece);
	line.pieces = line.most = line.resps = line.wants = 0;
	line.full = false;
	line.version = PEER_VERSION;
	stored = (struct link){.name = "stored"};
	loop_timer_init(&fake.n->tick, raftd_tick, fake.n);
	fake.n->feed.link = &stored;
	fake.n->feed.ready = true;
	for (size_t i = 0; i < sizeof content; i++)
		content[i] = (uint8_t)(i * 7 + i / 999);
	the_id = (struct snapshot_id){900, 4, FILE_BYTES, 0xabcdef01};
	snap_open(fake.n);
}

void end(void)
{
	snap_close(fake.n);
	mem_free(line.piece);
	fake_close();
}

void have_snapshot(void)
{
	char *dir = snapname_dir(config.data_dir), *path = snapname_path(config.data_dir, the_id.index, the_id.crc);
	struct apply_state m = {.applied = the_id.index, .applied_term = the_id.term, .snapshot = &the_id};
	int fd;

	(void)mkdir(dir, 0700);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	OK(fd >= 0 && write(fd, content, sizeof content) == (ssize_t)sizeof content);
	(void)close(fd);
	snap_state(fake.n, &m);
	mem_free(path);
	mem_free(dir);
}

/* ---- what comes in */

bool incoming_is(size_t bytes)
{
	char *path = snapname_incoming(config.data_dir, &the_id);
	uint8_t *got = mem_alloc(FILE_BYTES + 1);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, got, FILE_BYTES + 1) : -1;
	bool same = n == (ssize_t)bytes && memcmp(got, content, bytes) == 0;

	if (fd >= 0)
		(void)close(fd);
	mem_free(got);
	mem_free(path);
	return same;
}

bool incoming_exists(void)
{
	char *path = snapname_incoming(config.data_dir, &the_id);
	bool there = access(path, F_OK) == 0;

	mem_free(path);
	return there;
}

struct peer_snapshot piece_at(uint64_t offset, size_t len)
{
	return (struct peer_snapshot){the_id.index, the_id.term, the_id.bytes, the_id.crc, offset,
				      bytes_of(content + offset, len)};
}

int say_piece(uint64_t offset, size_t len, enum peer_snapshot_status *status, uint64_t *at)
{
	struct peer_snapshot m = piece_at(offset, len);
	int rc;

	line.resps = 0;
	rc = snap_recv_piece(fake.n, 2, &m);
	UNTIL(line.resps > 0 || fake.n->snap.recv.pending == 0);   /* it is answered when it is written */
	if (line.resps > 0) {
		*status = (enum peer_snapshot_status)line.resp[line.resps - 1].status;
		*at = line.resp[line.resps - 1].offset;
	} else {
		*status = PEER_SNAPSHOT_STATUSES;
	}
	return rc;
}
