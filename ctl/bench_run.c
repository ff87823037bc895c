/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/bench_run.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { BENCH_TURN_MS = 100, BENCH_SILENCE_MS = 15000 };

struct bench_flight {
	struct client_flight flight;
	struct bench_lane *lane;
	mono_t sent;
	bool busy;
};

/* One connection. */
struct bench_lane {
	struct bench *bench;
	struct bench_group *group;
	struct client *client;
	struct client_conn *conn;
	struct bench_flight *flights;
	uint32_t busy;
	mono_t heard;
};

struct bench_group {
	const struct bench_load *load;
	struct bench_result *result;
	uint64_t begun;
};

struct bench {
	struct ctl *ctl;
	const struct bench_keys *keys;
	struct bench_group groups[2];
	size_t n_groups, n_lanes;
	struct bench_lane *lanes;
	char *key, *value;            /* of the request being made */
	uint64_t random;
	mono_t started, until;
	bool over;
};

static void bench_key(struct bench *b, uint64_t number)
{
	const struct bench_keys *k = b->keys;

	(void)snprintf(b->key, (size_t)k->key_size + 1, "%s%0*" PRIu64, k->prefix,
		       (int)(k->key_size - strlen(k->prefix)), number);
}

static bool bench_wants_more(const struct bench *b, const struct bench_group *g)
{
	return !b->over && (g->load->total == 0 || g->begun < g->load->total);
}

static bool bench_is_put(struct bench *b, const struct bench_load *l)
{
	return l->op == BENCH_PUT ||
	       (l->op == BENCH_MIXED && client_random(&b->random, 100) >= l->read_percent);
}

/* Queues one request; false if there is nothing to send or no room. */
static bool bench_send(struct bench_lane *lane, struct bench_flight *f)
{
	struct bench *b = lane->bench;
	const struct bench_load *l = lane->group->load;
	uint64_t number = lane->group->begun;
	struct bytes key = bytes_of(b->key, b->keys->key_size);
	int rc;

	if (!bench_wants_more(b, lane->group))
		return false;
	if (!l->in_order)
		number = client_random(&b->random, b->keys->keyspace);
	bench_key(b, number);
	if (bench_is_put(b, l)) {
		struct kv_put put = {.key = key, .value = bytes_of(b->value, b->keys->value_size)};

		f->flight.method = native_method_find(bytes_str("put"));
		rc = client_conn_send(lane->conn, &f->flight, &put);
	} else {
		struct kv_range range = {.key = key, .serializable = l->serializable};

		if (l->op == BENCH_RANGE) {
			range.range_end = bytes_of("", 1);
			range.limit = l->range_limit;
		}
		f->flight.method = native_method_find(bytes_str("range"));
		rc = client_conn_send(lane->conn, &f->flight, &range);
	}
	if (rc != ERR_OK)
		return false;
	f->busy = true;
	f->sent = mono_now();
	lane->busy++;
	lane->group->begun++;
	return true;
}

static void bench_error(struct bench_result *r, const struct client_reply *reply)
{
	if (r->errors++ > 0)
		return;
	if (reply->text.len > 0)
		(void)snprintf(r->first_error, sizeof r->first_error, "%.*s", (int)reply->text.len,
			       (const char *)reply->text.data);
	else
		(void)snprintf(r->first_error, sizeof r->first_error, "%s", err_text(reply->err));
}

static void bench_done(struct client_flight *flight, const struct client_reply *reply)
{
	struct bench_flight *f = flight->arg;
	struct bench_lane *lane = f->lane;
	struct bench_result *r = lane->group->result;
	mono_t now = mono_now();

	f->busy = false;
	lane->busy--;
	lane->heard = now;
	if (lane->bench->over)   /* cut off by the end of the time: neither good nor bad */
		return;
	if (reply->err != ERR_OK) {
		bench_error(r, reply);
		return;
	}
	r->done++;
	histogram_add(&r->latency_ns, (uint64_t)mono_sub_ns(now, f->sent));
	if (lane->conn != NULL)
		(void)bench_send(lane, f);
}

static int bench_lane_open(struct bench *b, struct bench_lane *lane, struct bench_group *g,
			   unsigned number)
{
	struct ctl *ctl = b->ctl;
	struct client_options o = {.endpoints = ctl->globals.endpoints, .first = number,
				   .dial_timeout_ms = (unsigned)ctl->globals.dial_timeout_ms,
				   .max_flights = g->load->inflight};
	struct client_error e;

	*lane = (struct bench_lane){.bench = b, .group = g, .heard = mono_now()};
	lane->flights = calloc(g->load->inflight, sizeof *lane->flights);
	if (lane->flights == NULL)
		return ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	for (uint32_t i = 0; i < g->load->inflight; i++) {
		lane->flights[i].lane = lane;
		lane->flights[i].flight.done = bench_done;
		lane->flights[i].flight.arg = &lane->flights[i];
	}
	if (client_open(&o, &lane->client, &e) != ERR_OK)
		return ctl_fail(ctl, CTL_BAD_ARGS, "%s", e.text);
	if (client_connect(lane->client, ctl_deadline(ctl), &lane->conn, &e) != ERR_OK)
		return ctl_fail_client(ctl, &e);
	return CTL_OK;
}

static void bench_lane_drop(struct bench_lane *lane)
{
	lane->conn = NULL;   /* what ends now is not sent again at once */
	client_disconnect(lane->client, true);
}

/* A lane whose connection is gone gets another; meanwhile the others wait, as it is said. */
static int bench_lane_fill(struct bench_lane *lane)
{
	uint32_t inflight = lane->group->load->inflight;
	struct client_error e;

	if (lane->conn == NULL &&
	    client_connect(lane->client, ctl_deadline(lane->bench->ctl), &lane->conn,
			   &e) != ERR_OK) {
		lane->conn = NULL;
		return ctl_fail_client(lane->bench->ctl, &e);
	}
	if (lane->busy == 0)
		lane->heard = mono_now();
	for (uint32_t i = 0; lane->busy < inflight && i < inflight; i++)
		if (!lane->flights[i].busy && !bench_send(lane, &lane->flights[i]))
			break;
	return CTL_OK;
}

/*
 * A lane that nothing has happened to costs no system call: there may be a thousand. One whose
 * connection ended while it was written to has no descriptor left, and is ready to be told so.
 */
static void bench_lane_turn(struct bench_lane *lane, bool ready, mono_t now)
{
	bool silent = lane->busy > 0 && mono_sub_ms(now, lane->heard) > BENCH_SILENCE_MS;

	if ((ready && client_conn_turn(lane->conn) != ERR_OK) || silent)
		bench_lane_drop(lane);
}

static bool bench_goes_on(const struct bench *b)
{
	const struct bench_group *g = &b->groups[0];

	if (!mono_before(mono_now(), b->until))
		return false;
	return g->load->total == 0 || g->result->done + g->result->errors < g->load->total;
}

/* One turn of all lanes; `p` has room for each. */
static int bench_turn(struct bench *b, struct pollfd *p)
{
	mono_t now;

	for (size_t i = 0; i < b->n_lanes; i++) {
		int code = bench_lane_fill(&b->lanes[i]);

		if (code != CTL_OK)
			return code;
		if (client_conn_queued(b->lanes[i].conn) > 0)
			(void)client_conn_turn(b->lanes[i].conn);
		p[i] = (struct pollfd){.fd = client_conn_fd(b->lanes[i].conn),
				       .events = client_conn_events(b->lanes[i].conn)};
	}
	(void)poll(p, b->n_lanes, BENCH_TURN_MS);
	now = mono_now();
	for (size_t i = 0; i < b->n_lanes; i++)
		bench_lane_turn(&b->lanes[i], p[i].revents != 0 || p[i].fd < 0, now);
	return CTL_OK;
}

static int bench_loop(struct bench *b)
{
	struct pollfd *p = calloc(b->n_lanes, sizeof *p);
	int64_t ms = b->groups[0].load->duration_ms;
	int code = p == NULL ? ctl_fail(b->ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY)) : CTL_OK;

	b->started = mono_now();
	b->until = ms > 0 ? mono_add_ms(b->started, ms) : MONO_NEVER;
	while (code == CTL_OK && bench_goes_on(b))
		code = bench_turn(b, p);
	b->over = true;
	for (size_t i = 0; i < b->n_groups; i++)
		b->groups[i].result->seconds = (double)mono_sub_us(mono_now(), b->started) / 1e6;
	free(p);
	return code;
}

static void bench_free(struct bench *b)
{
	b->over = true;
	for (size_t i = 0; b->lanes != NULL && i < b->n_lanes; i++) {
		client_close(&b->lanes[i].client);
		free(b->lanes[i].flights);
	}
	free(b->lanes);
	free(b->key);
	free(b->value);
}

static int bench_lanes(struct bench *b)
{
	unsigned number = 0;

	for (size_t g = 0; g < b->n_groups; g++)
		for (uint32_t i = 0; i < b->groups[g].load->clients; i++) {
			int code = bench_lane_open(b, &b->lanes[b->n_lanes++], &b->groups[g],
						   number++);

			if (code != CTL_OK)
				return code;
		}
	return CTL_OK;
}

int bench_run(struct ctl *ctl, const struct bench_keys *keys, const struct bench_load *loads,
	      size_t n,
	      struct bench_result *results)
{
	struct bench b = {.ctl = ctl, .keys = keys, .n_groups = n,
			  .random = (uint64_t)mono_now().ns};
	size_t lanes = 0;
	int code;

	CHECK(n >= 1 && n <= ARRAY_LEN(b.groups));
	for (size_t i = 0; i < n; i++) {
		memset(&results[i], 0, sizeof results[i]);
		b.groups[i] = (struct bench_group){.load = &loads[i], .result = &results[i]};
		lanes += loads[i].clients;
	}
	b.lanes = calloc(lanes, sizeof *b.lanes);
	b.key = calloc(1, (size_t)keys->key_size + 1);
	b.value = malloc((size_t)keys->value_size + 1);
	if (b.lanes == NULL || b.key == NULL || b.value == NULL) {
		bench_free(&b);
		return ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	}
	for (uint32_t i = 0; i < keys->value_size; i++)   /* printable, and not all the same */
		b.value[i] = (char)(33 + client_random(&b.random, 94));
	code = bench_lanes(&b);
	if (code == CTL_OK)
		code = bench_loop(&b);
	bench_free(&b);
	return code;
}
