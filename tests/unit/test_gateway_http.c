/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 through a gateway, with the daemons' models around it: memory, limits, the end. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "tests/lib/gateway_world.h"
#include "tests/lib/tap.h"

enum { PATIENCE = 3000 };

static void turn(struct world *w, struct rpc_peer *p)
{
	rpc_peer_write(p, 1u << 16);
	world_turns(w, 1);
	rpc_peer_read(p, 1u << 18);
}

static void post(struct rpc_peer *p, const char *path, size_t length, const char *body)
{
	char head[256];

	(void)snprintf(head, sizeof head, "POST /v3/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", path,
		       length);
	rpc_peer_bytes(p, head, strlen(head));
	rpc_peer_bytes(p, body, strlen(body));
}

static bool has(const struct rpc_peer *p, const char *text)
{
	return p->in.len > 0 && memmem(p->in.data, p->in.len, text, strlen(text)) != NULL;
}

/* Turns until it holds. */
#define UNTIL(w, p, cond) \
	do { \
		for (int turns_ = 0; turns_ < PATIENCE && !(cond); turns_++) \
			turn((w), (p)); \
		OK(cond); \
	} while (0)

static void teardown(struct world *w)
{
	world_turns(w, 3);
	EQ_INT(w->g.conns.n, 0);
	EQ_INT(w->g.conns.in_bytes + w->g.conns.out_bytes, 0);
	world_free(w);
}

static char *long_text(size_t n)
{
	char *text = malloc(n + 1);

	memset(text, ' ', n);
	text[n] = '\0';
	return text;
}

TEST(bodies_that_do_not_come_make_room_for_others)
{
	struct world *w = world_new(7000);
	char *blanks = long_text(200000);
	struct rpc_peer hog, p;

	world_join(w, &hog);
	world_join(w, &p);
	post(&hog, "watch", 3000000, blanks);
	UNTIL(w, &hog, hog.out.len == 0 && w->g.conns.in_bytes >= 200000);
	w->g.conns.max_in_bytes = 300000;
	blanks[150000] = '\0';
	post(&p, "kv/range", 150000 + 14, blanks);
	rpc_peer_bytes(&p, "{\"key\":\"YQ==\"}", 14);
	UNTIL(w, &p, has(&p, "}"));
	OK(has(&p, "HTTP/1.1 200 OK"));
	UNTIL(w, &hog, hog.closed);
	free(blanks);
	rpc_peer_close(&hog);
	rpc_peer_close(&p);
	teardown(w);
}

TEST(a_request_that_must_go_is_not_told_so_in_the_native_protocol)
{
	struct world *w = world_new(7000);
	char *blanks = long_text(15000);
	struct rpc_peer slow, p;

	world_join(w, &slow);
	world_join(w, &p);
	rpc_peer_bytes(&slow, "GET / HTTP/1.1\r\nX: ", 19);
	rpc_peer_bytes(&slow, blanks, 15000);
	UNTIL(w, &slow, w->g.conns.in_bytes >= 15000);
	w->g.conns.max_in_bytes = 20000;
	rpc_peer_bytes(&p, "GET / HTTP/1.1\r\nX: ", 19);
	rpc_peer_bytes(&p, blanks, 15000);
	for (int i = 0; i < 5; i++)
		turn(w, &p);
	UNTIL(w, &slow, slow.closed);
	EQ_INT(slow.in.len, 0);
	free(blanks);
	rpc_peer_close(&slow);
	rpc_peer_close(&p);
	teardown(w);
}

/* The limit is shortened; what is idle, or waits for an answer, is not meant by it. */
TEST(a_head_that_does_not_come_whole_is_answered_408)
{
	static const char health[] = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
	struct world *w = world_new(7000);
	struct rpc_peer first, later, idle, silent;

	w->g.conns.head_ms = 60;
	world_join(w, &first);
	world_join(w, &later);
	world_join(w, &idle);
	world_join(w, &silent);
	rpc_peer_bytes(&idle, health, sizeof health - 1);
	UNTIL(w, &idle, has(&idle, "200 OK"));
	rpc_peer_bytes(&later, health, sizeof health - 1);
	UNTIL(w, &later, has(&later, "200 OK"));
	OK(list_empty(&w->g.conns.begun));
	rpc_peer_bytes(&first, "GET /ver", 8);
	rpc_peer_write(&first, 8);
	rpc_peer_bytes(&later, "G", 1);
	rpc_peer_write(&later, 1);
	for (int i = 0; i < 4; i++) {         /* drops do not help */
		world_ms(w, 10);
		rpc_peer_bytes(&first, "s", 1);
		rpc_peer_write(&first, 1);
	}
	UNTIL(w, &first, has(&first, "HTTP/1.1 408 Request Timeout"));
	UNTIL(w, &first, first.closed);
	OK(has(&first, "Connection: close"));
	UNTIL(w, &later, has(&later, "HTTP/1.1 408 "));
	UNTIL(w, &later, later.closed);
	world_ms(w, 70);
	turn(w, &idle);
	turn(w, &silent);
	OK(!idle.closed && !silent.closed && list_empty(&w->g.conns.begun));
	rpc_peer_close(&first);
	rpc_peer_close(&later);
	rpc_peer_close(&idle);
	rpc_peer_close(&silent);
	teardown(w);
}

TEST(a_head_that_comes_in_time_is_answered)
{
	static const char health[] = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
	struct world *w = world_new(7000);
	struct rpc_peer p;

	w->g.conns.head_ms = 60000;
	world_join(w, &p);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof health - 1; i++) {
			rpc_peer_bytes(&p, health + i, 1);
			turn(w, &p);
		}
		UNTIL(w, &p, has(&p, "200 OK"));
		buf_clear(&p.in);
	}
	OK(!p.closed);
	rpc_peer_close(&p);
	teardown(w);
}

TEST(a_preface_that_does_not_come_whole_ends_the_connection)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	struct world *w = world_new(7000);
	const size_t lengths[] = {2, 10, 24, 30, sizeof preface - 1};
	struct rpc_peer p[ARRAY_LEN(lengths)];

	w->g.conns.head_ms = 60;
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		world_join(w, &p[i]);
		rpc_peer_bytes(&p[i], preface, lengths[i]);
		rpc_peer_write(&p[i], lengths[i]);
	}
	for (size_t i = 0; i + 1 < ARRAY_LEN(lengths); i++) {
		UNTIL(w, &p[i], p[i].closed);
		OK(lengths[i] < 4 ? p[i].in.len == 0 : has(&p[i], "the preface has not come in time"));
	}
	world_ms(w, 70);
	turn(w, &p[ARRAY_LEN(lengths) - 1]);
	OK(!p[ARRAY_LEN(lengths) - 1].closed);
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
		rpc_peer_close(&p[i]);
	teardown(w);
}

TEST(a_stop_does_not_wait_for_a_body)
{
	struct world *w = world_new(7000);
	struct rpc_peer p;

	world_join(w, &p);
	post(&p, "kv/range", 100, "{");
	for (int i = 0; i < 5; i++)
		turn(w, &p);
	conn_set_stop(&w->g.conns);
	UNTIL(w, &p, p.closed);
	OK(has(&p, "HTTP/1.1 503 "));
	rpc_peer_close(&p);
	teardown(w);
}

TEST(a_watch_holds_no_memory_for_what_it_has_said)
{
	static const char create[] = "{\"create_request\":{\"key\":\"YQ==\"}}";
	struct world *w = world_new(7000);
	char *value = long_text(500000);
	struct rpc_peer watch, p;

	world_join(w, &watch);
	world_join(w, &p);
	post(&watch, "watch", sizeof create - 1, create);
	UNTIL(w, &watch, has(&watch, "\"created\":true"));
	EQ_INT(world_put(w, &p, "a", value), 0);
	UNTIL(w, &watch, has(&watch, "ICAgICAg"));
	UNTIL(w, &watch, w->g.conns.out_bytes < 10000);
	free(value);
	rpc_peer_close(&watch);
	rpc_peer_close(&p);
	teardown(w);
}

TEST(what_comes_behind_a_watch_is_not_gathered)
{
	static const char create[] = "{\"create_request\":{\"key\":\"YQ==\"}}";
	struct world *w = world_new(7000);
	char *more = long_text(1000000);
	struct rpc_peer p;

	world_join(w, &p);
	post(&p, "watch", sizeof create - 1, create);
	UNTIL(w, &p, has(&p, "\"created\":true"));
	rpc_peer_bytes(&p, more, 1000000);
	for (int i = 0; i < 100 && !p.closed; i++) {
		turn(w, &p);
		OK(w->g.conns.in_bytes <= 4 * LIMIT_CONN_READ_BYTES);
	}
	OK(p.closed);
	free(more);
	rpc_peer_close(&p);
	teardown(w);
}

TESTS = {
	T(bodies_that_do_not_come_make_room_for_others),
	T(a_request_that_must_go_is_not_told_so_in_the_native_protocol),
	T(a_head_that_does_not_come_whole_is_answered_408),
	T(a_head_that_comes_in_time_is_answered),
	T(a_preface_that_does_not_come_whole_ends_the_connection),
	T(a_stop_does_not_wait_for_a_body),
	T(a_watch_holds_no_memory_for_what_it_has_said),
	T(what_comes_behind_a_watch_is_not_gathered),
};
TAP_MAIN
