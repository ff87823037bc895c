/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raftd of three members against what its peers may send. First byte even: a stranger's bytes
 * on the peer port, which must never get it in. Odd: two members' connections are up, and each
 * following group of bytes is a message on one of them (well-formed with wild or likely values, or
 * any bytes at all under a good seal), a tick, a sync, a command or a read. Whatever comes, no
 * CHECK of the core, the driver or the log may fire. Time is ours.
 */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "raftd/peer_conn.h"
#include "tests/lib/fake_raftd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static mono_t clock_now = {1000000000};

mono_t mono_now(void)
{
	return clock_now;
}

struct member {
	struct peer_conn *conn;
	struct noise_cipher seal;
	uint64_t seq;
	int fd;
};

static struct config config;
static struct member member[4];       /* 1 and 3; we are 2 */
static struct link gateway = {.name = "gateway"};

static void make_config(void)
{
	static char names[4][8] = {"", "one", "two", "three"}, addr[] = "127.0.0.1:1";

	if (config.n_members > 0)
		return;
	CHECK(noise_start() == 0);
	config.cluster_id = 1;
	config.node_id = 2;
	for (uint64_t id = 1; id <= 3; id++)
		config.members[config.n_members++] = (struct config_member){
			.id = id, .name = names[id], .peer_addr = addr};
}

static void world_open(const struct peers_ops *ops)
{
	struct peers_setup s = {.config = &config, .incarnation = 1, .listen_fd = -1, .ops = ops};
	struct raft_config rc = {.id = 2, .voters = {1, 2, 3}, .voter_count = 3, .seed = 1};
	struct raft_state st = {0};

	make_config();
	fake_open();
	fake.quiet = true;
	fake.n->d->config = &config;
	gateway.down = false;
	s.loop = fake.n->d->loop;
	s.arg = fake.n;
	CHECK(peers_open(&s, &fake.n->peers) == ERR_OK);
	loop_timer_clear(s.loop, &fake.n->peers->watch);   /* nobody is dialled */
	fake.n->raft = raft_create(&rc, &st, mono_now());
	loop_timer_init(&fake.n->tick, raftd_tick, fake.n);
}

static void world_close(void)
{
	peers_close(&fake.n->peers);
	raft_destroy(fake.n->raft);
	fake_close();
}

static int pair(struct peer_conn **c)
{
	int fd[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	*c = peer_conn_accepted(fake.n->peers, fd[0]);
	return fd[1];
}

static void turn(void)
{
	loop_turn(fake.n->d->loop, 0);
	peers_flush(fake.n->peers);
}

/* ---- a stranger */

static void never_up(void *arg, uint64_t id)
{
	(void)arg;
	(void)id;
	panic("a stranger got in");
}

static void stranger(struct cur *in)
{
	static const struct peers_ops ops = {.up = never_up};
	static const char preamble[] = "QUORPEER\0\0\0\1" "\0\0\0\0\0\0\0\1"
				       "\0\0\0\0\0\0\0\1" "\0\0\0\0\0\0\0\2";
	struct peer_conn *c;
	uint8_t sink[4096];
	int fd;

	world_open(&ops);
	fd = pair(&c);
	if (cur_u8(in) & 1)
		CHECK(send(fd, preamble, sizeof preamble - 1, 0) == sizeof preamble - 1);
	while (cur_left(in) > 0) {
		size_t n = 1 + cur_u8(in) * 4u;
		struct bytes v = cur_take(in, n < cur_left(in) ? n : cur_left(in));

		if (send(fd, v.data, v.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		turn();
		while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
			;
	}
	(void)close(fd);
	turn();
	turn();
	CHECK(fake.n->peers->all == NULL && fake.n->peers->strangers == 0);
	world_close();
}

/* ---- members */

static void member_open(uint64_t id)
{
	static const uint8_t there[NOISE_KEY_LEN] = {1}, back[NOISE_KEY_LEN] = {2};
	struct member *m = &member[id];

	m->seq = 0;
	m->fd = pair(&m->conn);
	noise_cipher_init(&m->seal, there);
	noise_cipher_init(&m->conn->session.recv, there);
	noise_cipher_init(&m->conn->session.send, back);
	m->conn->id = id;
	m->conn->state = PEER_UP;
	peers_conn_up(m->conn);
}

static void member_send(struct member *m, struct bytes plain)
{
	uint8_t frame[MSG_FRAME_HEAD + 8192 + NOISE_TAG_LEN], sink[65536];
	size_t len;

	CHECK(plain.len <= 8192);
	put_u32be(frame, (uint32_t)plain.len + NOISE_TAG_LEN);
	CHECK(noise_cipher_encrypt(&m->seal, bytes_of(frame, MSG_FRAME_HEAD), plain, frame +
				   MSG_FRAME_HEAD,
				   sizeof frame - MSG_FRAME_HEAD, &len) == ERR_OK);
	(void)send(m->fd, frame, MSG_FRAME_HEAD + len, MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
	while (recv(m->fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
		;
}

static void member_message(struct member *m, uint32_t number, const void *msg)
{
	struct buf b;

	buf_init(&b, 0);
	CHECK(msg_frame(&b, number, ++m->seq, msg_row(&peer_link, number)->desc, msg) == ERR_OK);
	member_send(m, bytes_of(b.data + MSG_FRAME_HEAD, b.len - MSG_FRAME_HEAD));
	buf_free(&b);
}

/* Fields by whatever bytes follow. */
static void member_raw(struct member *m, struct cur *in)
{
	struct buf b;
	size_t n = cur_u8(in) * 8u;

	buf_init(&b, 0);
	wire_array(&b, 3);
	wire_u64(&b, 16 + cur_u8(in) % 11);
	wire_u64(&b, ++m->seq);
	buf_add_bytes(&b, cur_take(in, n < cur_left(in) ? n : cur_left(in)));
	member_send(m, buf_bytes(&b));
	buf_free(&b);
}

/* Small numbers are likely, and a few that are at the edge of what can be. */
static uint64_t number_of(struct cur *in)
{
	static const uint64_t edges[] = {UINT64_MAX, UINT64_MAX >> 2, (UINT64_MAX >> 2) - 1,
					 (UINT64_MAX >> 2) + 1,
					 UINT32_MAX, 1ull << 32, 1024, 1025};
	uint8_t v = cur_u8(in);

	return v < 248 ? v % 24 : edges[v - 248];
}

static void member_append(struct member *m, struct cur *in)
{
	static struct peer_entry entries[40];
	struct peer_append a = {.term = number_of(in), .prev_index = number_of(in),
				.prev_term = number_of(in),
				.commit = number_of(in), .round = number_of(in)};

	a.entries.v = entries;
	a.entries.n = cur_u8(in) % ARRAY_LEN(entries);
	for (size_t i = 0; i < a.entries.n; i++)
		entries[i] = (struct peer_entry){number_of(in), 1 + cur_u8(in) % 2,
						 bytes_of(NULL, 0)};
	member_message(m, MSG_NO_peer_append, &a);
}

static void member_proposes(struct member *m, uint64_t seq, uint8_t n)
{
	static struct peer_proposal v[16];
	static struct peer_refused no[16];
	struct peer_propose p;
	struct peer_refuse r;

	v[0].gateway = no[0].gateway = 50;
	v[0].seq = no[0].seq = seq;
	p.proposals.v = v;
	r.refused.v = no;
	p.proposals.n = r.refused.n = n % 16;
	if (n & 16)
		member_message(m, MSG_NO_peer_propose, &p);
	else
		member_message(m, MSG_NO_peer_refuse, &r);
}

static void member_likely(struct member *m, struct cur *in)
{
	uint64_t v[7];
	uint8_t bits, kind = cur_u8(in);

	if (kind % 8 == 0) {
		member_append(m, in);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = number_of(in);
	bits = cur_u8(in);
	switch (kind % 8) {
	case 1:
		member_message(m, MSG_NO_peer_vote,
			       &(struct peer_vote){v[0], bits & 1, bits & 2, v[1], v[2]});
		break;
	case 2:
		member_message(m, MSG_NO_peer_vote_resp,
			       &(struct peer_vote_resp){v[0], bits & 1, bits & 2});
		break;
	case 3:
		member_message(m, MSG_NO_peer_append_resp,
			       &(struct peer_append_resp){v[0], v[1], bits & 1, v[2], v[3], v[4],
							  v[5]});
		break;
	case 4:
		member_message(m, MSG_NO_peer_read, &(struct peer_read){v[0], v[1]});
		break;
	case 5:
		member_message(m, MSG_NO_peer_read_resp,
			       &(struct peer_read_resp){v[0], v[1], bits & 1, v[2]});
		break;
	case 6:
		member_message(m, MSG_NO_peer_timeout_now, &(struct peer_timeout_now){v[0]});
		break;
	default:
		member_proposes(m, v[0], bits);
		break;
	}
}

/* The answer that makes us leader, if our core is asking. */
static void member_grants(struct member *m)
{
	struct raft_status st;

	raft_status(fake.n->raft, mono_now(), &st);
	if (st.role == RAFT_PRECANDIDATE)
		member_message(m, MSG_NO_peer_vote_resp,
			       &(struct peer_vote_resp){st.term + 1, true, true});
	else if (st.role == RAFT_CANDIDATE)
		member_message(m, MSG_NO_peer_vote_resp,
			       &(struct peer_vote_resp){st.term, false, true});
	else
		member_message(m, MSG_NO_peer_append_resp,
			       &(struct peer_append_resp){.term = st.term, .index = st.last_index,
							  .match = st.last_index});
}

static void durable(void)
{
	struct raft_event ev = {.type = RAFT_EV_DURABLE};
	struct wal_durable done;

	if (!fake_sync(&done))
		return;
	fake.n->durable_seq = ev.seq = done.seq;
	fake.n->durable_index = ev.last_index = done.last_index;
	ev.last_term = done.last_term;
	(void)raftd_step(fake.n, &ev);
	peers_resume(fake.n->peers);
}

static void ours(struct cur *in)
{
	static struct proposal v[8];
	uint8_t kind = cur_u8(in), n = cur_u8(in);

	switch (kind % 8) {
	case 0:
	case 1:
		clock_now = mono_add_ms(clock_now, n);
		raftd_tick(fake.n);
		break;
	case 2:
	case 3:
		durable();
		break;
	case 4:
		propose_batch(fake.n, v, n % 9, (struct proposer){.link = &gateway});
		break;
	case 5:
		reads_ask(fake.n, &gateway, n);
		break;
	case 6:
		fake.room = n * 1024u;
		break;
	default:
		(void)raftd_step(fake.n, &(struct raft_event){.type = RAFT_EV_TRANSFER,
							      .peer = n % 4});
		break;
	}
	turn();
}

static void members(struct cur *in)
{
	world_open(&raftd_peers_ops);
	member_open(1);
	member_open(3);
	while (cur_left(in) > 0) {
		uint8_t what = cur_u8(in);
		struct member *m = &member[what & 1 ? 1 : 3];

		if (what % 16 < 6)
			member_likely(m, in);
		else if (what % 16 < 8)
			member_grants(m);
		else if (what % 16 < 9)
			member_raw(m, in);
		else
			ours(in);
	}
	(void)close(member[1].fd);
	(void)close(member[3].fd);
	turn();
	world_close();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cur in = cur_of(bytes_of(data, size));

	if (size == 0)
		return 0;
	if (cur_u8(&in) & 1)
		members(&in);
	else
		stranger(&in);
	return 0;
}
