/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers, broken peers and crashes may do to a link's ends, by raw sockets. After each
 * attack a real pair on the same socket file must still work, and nobody else was disturbed.
 */
#include "rt/link.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "proto/link_hello.h"
#include "tests/lib/link_pair.h"
#include "tests/lib/raw_sock.h"
#include "tests/lib/tap.h"

static const struct link_times quick = {.heartbeat_ms = 20, .dead_ms = 1500, .retry_min_ms = 1, .retry_max_ms = 5};

static int raw_wait_connect(struct link_pair *p)
{
	int fd = -1;

	UNTIL(p, (fd = raw_connect(p->path)) >= 0);
	return fd;
}

static void raw_expect_close(struct link_pair *p, int fd)
{
	UNTIL(p, raw_closed(fd));
	close(fd);
}

static struct hello_frame raw_hello(void)
{
	return (struct hello_frame){
		.magic = LINK_MAGIC,
		.version = LINK_VERSION,
		.link = bytes_str("pair"),
		.node_id = 1,
		.daemon = DAEMON_GATEWAYD,
		.incarnation = 77,
	};
}

static void raw_frame(int fd, uint32_t number, uint64_t seq, const struct msg_desc *d, const void *msg)
{
	struct buf b;

	buf_init(&b, 0);
	EQ_INT(msg_frame(&b, number, seq, d, msg), ERR_OK);
	raw_send(fd, b.data, b.len);
	buf_free(&b);
}

static int raw_up(struct link_pair *p)
{
	struct hello_frame h = raw_hello();
	unsigned before = p->server.ups;
	int fd = raw_wait_connect(p);

	raw_frame(fd, 0, 1, &hello_frame_desc, &h);
	UNTIL(p, p->server.ups == before + 1);
	return fd;
}

/* A pair that has been up all the time says something and is heard. */
static void still_works(struct link_pair *p)
{
	uint64_t got = p->client.got;

	EQ_INT(p->client.downs, 0);
	EQ_INT(link_pair_send(&p->server, got, 1000), ERR_OK);
	UNTIL(p, p->client.got == got + 1);
	OK(!p->client.disorder && !p->server.disorder);
}

static void pair_up_quick(struct link_pair *p)
{
	link_pair_open(p, &quick);
	link_pair_up(p);
}

static size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	OK(dir != NULL);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

TEST(a_storm_of_connects_leaves_the_server_working)
{
	struct link_pair p;
	uint64_t seed = 1;
	size_t before;
	int fd;

	pair_up_quick(&p);
	before = open_descriptors();
	for (int i = 0; i < 300; i++) {
		fd = raw_wait_connect(&p);
		if (i % 3 == 1)
			raw_send(fd, &seed, sizeof seed);
		if (i % 3 == 2)
			raw_send(fd, "\0\0\0\20half", 8);
		close(fd);
		(void)tap_rand(&seed);
		if (i % 50 == 0)
			still_works(&p);
	}
	still_works(&p);
	fd = raw_up(&p);
	close(fd);
	UNTIL(&p, open_descriptors() <= before);
	link_pair_close(&p);
}

TEST(connections_that_say_nothing_are_closed_and_keep_nobody_out)
{
	struct link_pair p;
	int fds[100];

	link_pair_init(&p, &quick);
	link_pair_serve(&p);
	for (size_t i = 0; i < 100; i++)
		fds[i] = raw_wait_connect(&p);
	link_pair_dial(&p);
	link_pair_up(&p);
	for (size_t i = 0; i < 100; i++)
		raw_expect_close(&p, fds[i]);
	still_works(&p);
	link_pair_close(&p);
}

static void expect_bad(struct link_pair *p, int fd)
{
	uint64_t bad = link_stats_total().bad_frames;

	UNTIL(p, raw_closed(fd));
	OK(link_stats_total().bad_frames >= bad);
	close(fd);
	still_works(p);
}

TEST(garbage_and_hostile_lengths_are_refused)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{"GET / HTTP/1.1\r\n\r\n", 18},
		{"\xff\xff\xff\xff", 4},           /* 4 GiB */
		{"\x7f\xff\xff\xff", 4},
		{"\0\0\0\0", 4},
		{"\0\0\1\1", 4},                   /* one more than a hello may have */
		{"\0\0\0\1\xc1", 5},
		{"\0\0\0\1\x93", 5},
		{"\0\0\0\5\xdd\xff\xff\xff\xff", 9},
		{"\0\0\0\3\x93\1\1", 7},
	};
	struct link_pair p;
	struct link_stats before;

	pair_up_quick(&p);
	before = link_stats_total();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int fd = raw_wait_connect(&p);

		raw_send(fd, bad[i].bytes, bad[i].len);
		expect_bad(&p, fd);
	}
	EQ_INT(link_stats_total().bad_frames - before.bad_frames, sizeof bad / sizeof bad[0]);
	EQ_INT(p.server.ups, 1);
	link_pair_close(&p);
}

TEST(a_hello_that_does_not_fit_is_refused)
{
	struct link_pair p;
	struct hello_frame h;

	pair_up_quick(&p);
	for (int i = 0; i < 8; i++) {
		uint64_t seq = 1;
		int fd = raw_wait_connect(&p);

		h = raw_hello();
		if (i == 0)
			h.magic++;
		else if (i == 1)
			h.version++;
		else if (i == 2)
			h.link = bytes_str("pairs");
		else if (i == 3)
			h.daemon = DAEMON_STORED;
		else if (i == 4)
			h.daemon = UINT64_C(1) << 32 | DAEMON_GATEWAYD;
		else if (i == 5)
			h.node_id = 2;
		else if (i == 6)
			h.incarnation = 0;
		else
			seq = 2;
		raw_frame(fd, 0, seq, &hello_frame_desc, &h);
		expect_bad(&p, fd);
	}
	EQ_INT(p.server.ups, 1);
	link_pair_close(&p);
}

TEST(more_links_than_agreed_are_refused)
{
	struct link_pair p;
	struct hello_frame h = raw_hello();
	int second, third;

	pair_up_quick(&p);
	second = raw_up(&p);
	third = raw_wait_connect(&p);
	raw_frame(third, 0, 1, &hello_frame_desc, &h);
	raw_expect_close(&p, third);
	EQ_INT(p.server.ups, 2);
	close(second);
	UNTIL(&p, p.server.downs == 1);
	third = raw_up(&p);
	close(third);
	link_pair_close(&p);
}

/* What a peer that was up may not say. */
static void say_wrong(int fd, int which)
{
	struct hello_frame h = raw_hello();
	struct pair_note n = {.number = 0};
	struct beat_frame beat = {0};

	switch (which) {
	case 0:
		raw_frame(fd, 16, 3, &pair_note_desc, &n);           /* a gap */
		break;
	case 1:
		raw_frame(fd, 16, 1, &pair_note_desc, &n);           /* again */
		break;
	case 2:
		raw_frame(fd, 17, 2, &pair_note_desc, &n);           /* unknown */
		break;
	case 3:
		raw_frame(fd, 0, 2, &hello_frame_desc, &h);          /* hello twice */
		break;
	case 4:
		raw_frame(fd, 16, 2, &beat_frame_desc, &beat);       /* fields missing */
		break;
	case 5:
		raw_frame(fd, 1, 2, &pair_note_desc, &n);            /* fields too many */
		break;
	case 6:
		raw_send(fd, "\0\x40\0\1", 4);                       /* LIMIT_FRAME_BYTES + 1 */
		break;
	case 7:
		raw_send(fd, "\0\0\0\6\x93\x10\2\x92\1\xc4", 10);    /* ends too early */
		break;
	case 8:
		raw_send(fd, "\0\0\0\10\x93\x10\2\x92\1\xc4\0\0", 12);   /* a trailing byte */
		break;
	case 9:
		raw_send(fd, "\0\0\0\12\x93\x10\2\x92\1\xc6\xff\xff\xff\xff", 14);   /* hostile length */
		break;
	default:
		raw_frame(fd, 2, 2, &beat_frame_desc, &beat);        /* reserved number */
		break;
	}
}

TEST(what_is_out_of_sequence_unknown_or_malformed_drops_that_link_only)
{
	struct link_pair p;

	pair_up_quick(&p);
	for (int which = 0; which <= 10; which++) {
		struct link *mine = p.server.link;
		uint64_t bad = link_stats_total().bad_frames;
		int fd = raw_up(&p);
		unsigned downs = p.server.downs;

		say_wrong(fd, which);
		UNTIL(&p, p.server.downs == downs + 1);
		EQ_INT(link_stats_total().bad_frames, bad + 1);
		p.server.link = mine;
		expect_bad(&p, fd);
	}
	link_pair_close(&p);
}

TEST(frames_byte_by_byte_are_put_together)
{
	struct link_pair p;
	struct hello_frame h = raw_hello();
	struct pair_note n = {.number = 0, .body = bytes_str("")};
	struct buf b;
	int fd;

	link_pair_init(&p, &quick);
	link_pair_serve(&p);
	fd = raw_wait_connect(&p);
	buf_init(&b, 0);
	EQ_INT(msg_frame(&b, 0, 1, &hello_frame_desc, &h), ERR_OK);
	for (; n.number < 5; n.number++)
		EQ_INT(msg_frame(&b, 16, 2 + n.number, &pair_note_desc, &n), ERR_OK);
	for (size_t i = 0; i < b.len; i++) {
		raw_send(fd, b.data + i, 1);
		loop_turn(p.loop, 1);
	}
	UNTIL(&p, p.server.got == 5);
	OK(!p.server.disorder);
	buf_free(&b);
	close(fd);
	UNTIL(&p, p.server.downs == 1);
	EQ_STR(p.server.reason, "closed by the peer");
	link_pair_close(&p);
}

TEST(every_truncation_of_a_hello_is_survived)
{
	struct link_pair p;
	struct hello_frame h = raw_hello();
	struct buf b;

	pair_up_quick(&p);
	buf_init(&b, 0);
	EQ_INT(msg_frame(&b, 0, 1, &hello_frame_desc, &h), ERR_OK);
	for (size_t i = 0; i < b.len; i++) {
		int fd = raw_wait_connect(&p);

		if (i > 0)
			raw_send(fd, b.data, i);
		EQ_INT(shutdown(fd, SHUT_WR), 0);
		raw_expect_close(&p, fd);
	}
	EQ_INT(p.server.ups, 1);
	still_works(&p);
	buf_free(&b);
	link_pair_close(&p);
}

TEST(random_frames_after_a_good_hello_are_survived)
{
	struct link_pair p;
	uint64_t seed = tap_seed(42);

	pair_up_quick(&p);
	for (uint64_t round = 0; round < tap_rounds(200); round++) {
		struct link *mine = p.server.link;
		uint8_t bytes[64];
		int fd = raw_up(&p);
		unsigned downs = p.server.downs;

		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (uint8_t)tap_rand(&seed);
		put_u32be(bytes, (uint32_t)(tap_rand(&seed) % 48));
		raw_send(fd, bytes, sizeof bytes);
		EQ_INT(shutdown(fd, SHUT_WR), 0);
		UNTIL(&p, p.server.downs == downs + 1);
		p.server.link = mine;
		raw_expect_close(&p, fd);
	}
	still_works(&p);
	link_pair_close(&p);
}

TEST(a_peer_that_never_reads_costs_a_bounded_queue_and_ends_well)
{
	struct link_pair p;
	struct link_times times = quick;
	int fd, err;

	times.dead_ms = 60000;
	link_pair_init(&p, &times);
	link_pair_serve(&p);
	fd = raw_up(&p);
	while ((err = link_pair_send(&p.server, 0, 100 * KIB)) == ERR_OK) {
		OK(link_queued(p.server.link) <= LIMIT_LINK_QUEUE_BYTES + LIMIT_FRAME_BYTES);
		loop_turn(p.loop, 0);
	}
	EQ_INT(err, ERR_FULL);
	EQ_INT(link_pair_send(&p.server, 0, 1), ERR_FULL);
	for (int i = 0; i < 50; i++)
		loop_turn(p.loop, 1);
	EQ_INT(p.server.downs, 0);
	close(fd);
	UNTIL(&p, p.server.downs == 1);
	link_pair_close(&p);
}

TEST(a_dialer_bears_a_listener_that_is_not_its_server_and_finds_the_real_one)
{
	struct link_pair p;
	struct hello_frame h = raw_hello();
	int listener, fd;

	link_pair_init(&p, &quick);
	listener = raw_listen(p.path);
	link_pair_dial(&p);
	for (int i = 0; i < 60; i++) {
		UNTIL(&p, (fd = accept(listener, NULL, NULL)) >= 0);
		if (i % 4 == 0)
			raw_send(fd, "\xff\xff\xff\xff garbage", 12);
		if (i % 4 == 1)
			raw_frame(fd, 0, 1, &hello_frame_desc, &h);   /* of a gatewayd */
		if (i % 4 == 2)
			raw_send(fd, "\0\0", 2);
		close(fd);
	}
	EQ_INT(p.client.ups, 0);
	close(listener);          /* leaves a stale socket file, as a killed daemon does */
	link_pair_serve(&p);
	link_pair_up(&p);
	still_works(&p);
	link_pair_close(&p);
}

TEST(a_listener_that_says_nothing_is_left_after_a_while)
{
	const struct link_times times = {.heartbeat_ms = 10, .dead_ms = 60, .retry_min_ms = 1, .retry_max_ms = 2};
	struct link_pair p;
	int listener, one = -1, two = -1;

	link_pair_init(&p, &times);
	listener = raw_listen(p.path);
	link_pair_dial(&p);
	UNTIL(&p, one >= 0 || (one = accept(listener, NULL, NULL)) >= 0);
	UNTIL(&p, (two = accept(listener, NULL, NULL)) >= 0);
	EQ_INT(p.client.ups, 0);
	close(one);
	close(two);
	close(listener);
	link_pair_close(&p);
}

/* The process has one descriptor left: for the connecting end, not for the accepted one. */
TEST(an_accept_that_finds_no_descriptor_is_tried_again)
{
	struct link_pair p;
	struct rlimit was, low;
	int fd, last = -1;

	pair_up_quick(&p);
	for (int i = 0; i < 50; i++)
		loop_turn(p.loop, 1);     /* earlier cases' descriptors are closed by now */
	OK(getrlimit(RLIMIT_NOFILE, &was) == 0);
	last = fcntl(0, F_DUPFD_CLOEXEC, 0);
	OK(last >= 0);
	low = (struct rlimit){(rlim_t)last + 1, was.rlim_max};
	OK(setrlimit(RLIMIT_NOFILE, &low) == 0);
	close(last);
	fd = raw_connect(p.path);
	OK(fd >= 0);
	for (int i = 0; i < 30; i++)
		loop_turn(p.loop, 10);
	OK(!raw_closed(fd));
	OK(setrlimit(RLIMIT_NOFILE, &was) == 0);
	still_works(&p);
	raw_send(fd, "\xff\xff\xff\xff", 4);
	raw_expect_close(&p, fd);
	fd = raw_up(&p);
	close(fd);
	link_pair_close(&p);
}

TESTS = {
	T(a_storm_of_connects_leaves_the_server_working),
	T(connections_that_say_nothing_are_closed_and_keep_nobody_out),
	T(garbage_and_hostile_lengths_are_refused),
	T(a_hello_that_does_not_fit_is_refused),
	T(more_links_than_agreed_are_refused),
	T(what_is_out_of_sequence_unknown_or_malformed_drops_that_link_only),
	T(frames_byte_by_byte_are_put_together),
	T(every_truncation_of_a_hello_is_survived),
	T(random_frames_after_a_good_hello_are_survived),
	T(a_peer_that_never_reads_costs_a_bounded_queue_and_ends_well),
	T(a_dialer_bears_a_listener_that_is_not_its_server_and_finds_the_real_one),
	T(a_listener_that_says_nothing_is_left_after_a_while),
	T(an_accept_that_finds_no_descriptor_is_tried_again),
};
TAP_MAIN
