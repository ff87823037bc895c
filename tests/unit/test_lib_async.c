/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of libquorate that do not wait: queues, cancelling, limits. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "tests/lib/lib_world.h"
#include "tests/lib/tap.h"

struct tally {
	unsigned good, bad;
	int code;
	enum quorate_again again;
	struct quorate *q;             /* not NULL: submits another one */
	struct quorate_queue *queue;
	int more;
};

static void tally_done(void *arg, struct quorate_result *r, const struct quorate_error *e);

static int submit(struct quorate *q, struct quorate_queue *queue, int64_t timeout_ms, struct tally *t,
		  uint64_t *id)
{
	struct quorate_op op = quorate_op_put(quorate_str("key"), quorate_str("value"), 0);

	return quorate_submit(q, queue, &op, timeout_ms, tally_done, t, id, NULL);
}

static void tally_done(void *arg, struct quorate_result *r, const struct quorate_error *e)
{
	struct tally *t = arg;

	t->good += e->code == QUORATE_OK && r != NULL;
	t->bad += e->code != QUORATE_OK && r == NULL && e->text[0] != 0;
	t->code = e->code;
	t->again = e->again;
	quorate_result_free(r);
	if (t->more-- > 0)
		OK(submit(t->q, t->queue, 0, t, NULL) == QUORATE_OK);
}

struct setup {
	struct play p;
	struct quorate *q;
	struct quorate_queue *queue;
};

static void setup(struct setup *s, const struct quorate_options *o)
{
	play_start(&s->p);
	s->q = world_open(play_endpoint(&s->p), NULL, o);
	EQ_INT(quorate_queue_open(s->q, &s->queue, NULL), QUORATE_OK);
}

static void teardown(struct setup *s)
{
	quorate_queue_close(s->queue);
	quorate_close(s->q);
	play_stop(&s->p);
}

TEST(completions_come_when_the_descriptor_is_readable_and_are_gone_then)
{
	struct setup s = {.p = {.acts = {ACT_OK}}};
	struct tally t = {0};
	struct pollfd p;

	setup(&s, NULL);
	p = (struct pollfd){.fd = quorate_queue_fd(s.queue), .events = POLLIN};
	EQ_INT(poll(&p, 1, 0), 0);
	for (int i = 0; i < 100; i++)
		EQ_INT(submit(s.q, s.queue, 0, &t, NULL), QUORATE_OK);
	EQ_INT(t.good, 0);             /* never before it is dispatched */
	while (t.good + t.bad < 100) {
		EQ_INT(poll(&p, 1, 10000), 1);
		OK(quorate_dispatch(s.queue, 0, 7) <= 7);
	}
	EQ_INT(t.good, 100);
	EQ_INT(poll(&p, 1, 0), 0);
	EQ_INT(quorate_dispatch(s.queue, 0, 0), 0);
	teardown(&s);
}

TEST(a_queue_that_was_filled_before_it_is_polled_is_readable)
{
	struct setup s = {.p = {.acts = {ACT_OK}}};
	struct tally t = {0};
	struct pollfd p;

	setup(&s, NULL);
	EQ_INT(submit(s.q, s.queue, 0, &t, NULL), QUORATE_OK);
	EQ_INT(world_put(s.q, 0, 0, NULL), QUORATE_OK);
	EQ_INT(world_put(s.q, 0, 0, NULL), QUORATE_OK);   /* by now the first has ended, most likely */
	p = (struct pollfd){.fd = quorate_queue_fd(s.queue), .events = POLLIN};
	EQ_INT(poll(&p, 1, 10000), 1);
	EQ_INT(quorate_dispatch(s.queue, 0, 0), 1);
	EQ_INT(t.good, 1);
	teardown(&s);
}

TEST(a_callback_may_submit_the_next_one_also_when_all_places_are_taken)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct setup s = {.p = {.acts = {ACT_OK}}};
	struct tally t = {.more = 500};

	o.max_calls = 4;
	setup(&s, &o);
	t.q = s.q;
	t.queue = s.queue;
	for (int i = 0; i < 4; i++)
		EQ_INT(submit(s.q, s.queue, 0, &t, NULL), QUORATE_OK);
	EQ_INT(submit(s.q, s.queue, 0, &t, NULL), QUORATE_ERR_FULL);
	while (t.good < 504)
		OK(quorate_dispatch(s.queue, 10000, 0) > 0);
	teardown(&s);
}

TEST(bytes_are_limited_as_calls_are)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct setup s = {.p = {.acts = {ACT_OK}}};
	struct quorate_op op;
	struct tally t = {0};
	static char value[4000];

	o.max_bytes = 10000;
	setup(&s, &o);
	op = quorate_op_put(quorate_str("key"), quorate_bytes(value, sizeof value), 0);
	EQ_INT(quorate_submit(s.q, s.queue, &op, 0, tally_done, &t, NULL, NULL), QUORATE_OK);
	EQ_INT(quorate_submit(s.q, s.queue, &op, 0, tally_done, &t, NULL, NULL), QUORATE_OK);
	EQ_INT(quorate_submit(s.q, s.queue, &op, 0, tally_done, &t, NULL, NULL), QUORATE_ERR_FULL);
	while (t.good < 2)
		OK(quorate_dispatch(s.queue, 10000, 0) > 0);
	EQ_INT(quorate_submit(s.q, s.queue, &op, 0, tally_done, &t, NULL, NULL), QUORATE_OK);
	teardown(&s);
}

TEST(a_call_in_flight_can_be_cancelled_and_says_that_it_is_unsure)
{
	struct setup s = {.p = {.acts = {ACT_SILENT, ACT_OK}, .n = 2}};
	struct tally t = {0};
	uint64_t id;

	setup(&s, NULL);
	EQ_INT(submit(s.q, s.queue, QUORATE_FOREVER, &t, &id), QUORATE_OK);
	WORLD_UNTIL(fake_requests(s.p.server) == 1);
	EQ_INT(quorate_dispatch(s.queue, 0, 0), 0);
	quorate_cancel(s.q, id);
	quorate_cancel(s.q, id);
	EQ_INT(quorate_dispatch(s.queue, 10000, 0), 1);
	EQ_INT(t.code, QUORATE_ERR_CANCELED);
	EQ_INT(t.again, QUORATE_AGAIN_UNSURE);
	quorate_cancel(s.q, id);       /* an old one, and one that never was */
	quorate_cancel(s.q, 12345678901);
	EQ_INT(world_put(s.q, 0, 0, NULL), QUORATE_OK);
	EQ_INT(quorate_dispatch(s.queue, 0, 0), 0);
	teardown(&s);
}

TEST(a_call_that_was_never_sent_is_cancelled_safely)
{
	char dead[64];
	struct quorate_queue *queue;
	struct quorate *q;
	struct tally t = {0};
	uint64_t id;

	fake_dead_endpoint(dead, sizeof dead);
	q = world_open(dead, NULL, NULL);
	EQ_INT(quorate_queue_open(q, &queue, NULL), QUORATE_OK);
	EQ_INT(submit(q, queue, QUORATE_FOREVER, &t, &id), QUORATE_OK);
	quorate_cancel(q, id);
	EQ_INT(quorate_dispatch(queue, 10000, 0), 1);
	EQ_INT(t.code, QUORATE_ERR_CANCELED);
	EQ_INT(t.again, QUORATE_AGAIN_SAFE);
	quorate_queue_close(queue);
	quorate_close(q);
}

TEST(deadlines_of_many_calls_are_kept_each_by_itself)
{
	struct setup s = {.p = {.acts = {ACT_SILENT}}};
	struct tally brief = {0}, lasting = {0};

	setup(&s, NULL);
	for (int i = 0; i < 50; i++)
		EQ_INT(submit(s.q, s.queue, 20 + i, &brief, NULL), QUORATE_OK);
	EQ_INT(submit(s.q, s.queue, QUORATE_FOREVER, &lasting, NULL), QUORATE_OK);
	while (brief.bad < 50)
		OK(quorate_dispatch(s.queue, 10000, 0) > 0);
	EQ_INT(brief.code, QUORATE_ERR_TIMEOUT);
	EQ_INT(lasting.bad, 0);
	teardown(&s);
}

TEST(a_queue_is_closed_with_calls_under_way_and_calls_ended)
{
	struct setup s = {.p = {.acts = {ACT_OK, ACT_OK, ACT_OK, ACT_SILENT}, .n = 4}};
	struct tally t = {0};

	setup(&s, NULL);
	for (int i = 0; i < 20; i++)
		EQ_INT(submit(s.q, s.queue, QUORATE_FOREVER, &t, NULL), QUORATE_OK);
	WORLD_UNTIL(fake_requests(s.p.server) == 20);
	teardown(&s);
	EQ_INT(t.good + t.bad, 0);
}

TEST(a_client_is_closed_before_its_queue)
{
	struct setup s = {.p = {.acts = {ACT_SILENT}}};
	struct tally t = {0};

	setup(&s, NULL);
	EQ_INT(submit(s.q, s.queue, QUORATE_FOREVER, &t, NULL), QUORATE_OK);
	quorate_close(s.q);
	EQ_INT(quorate_dispatch(s.queue, 10000, 0), 1);
	EQ_INT(t.code, QUORATE_ERR_CANCELED);
	quorate_queue_close(s.queue);
	play_stop(&s.p);
}

/* ---- a range of any size ---- */

struct paged {
	int64_t keys, seen, stop_at;
	unsigned pages;
	int64_t revisions[8];
};

/* "00000" ... in order; as a store of so many keys would answer. */
static bool paged_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct paged *p = arg;
	const struct kv_range *range = r->params;
	struct kv_header h = {1, 2, 40 + p->pages, 4};
	struct kv_pair *kvs = calloc((size_t)range->limit, sizeof *kvs);
	char (*names)[8] = calloc((size_t)range->limit, sizeof *names);
	struct kv_range_result res = {.header = &h, .count = p->keys, .kvs = {.v = kvs}};
	int64_t next = 0;

	if (range->key.len > 5)        /* right behind a key */
		next = strtoll((const char *)range->key.data + 1, NULL, 10) + 1;
	p->revisions[p->pages++] = range->revision;
	for (; next < p->keys && res.kvs.n < (size_t)range->limit; next++) {
		char *name = names[res.kvs.n];

		(void)snprintf(name, 8, "k%05d", (int)next);
		kvs[res.kvs.n++] = (struct kv_pair){bytes_str(name), 1, 1, 1, bytes_str("v"), 0};
	}
	res.more = next < p->keys;
	fake_result(c, r, &res);
	free(names);
	free(kvs);
	return true;
}

static int paged_each(void *arg, const struct quorate_kv *kv)
{
	struct paged *p = arg;

	EQ_INT(strtoll((const char *)kv->key.data + 1, NULL, 10), p->seen);
	p->seen++;
	return p->stop_at > 0 && p->seen == p->stop_at ? 55 : 0;
}

TEST(a_range_of_any_size_comes_page_by_page_at_one_revision)
{
	struct paged p = {.keys = 2500};
	struct fake_setup setup_paged = {.serve = paged_serve, .arg = &p};
	struct fake_server *f = fake_start(&setup_paged);
	struct quorate *q = world_open(fake_endpoint(f), NULL, NULL);
	struct quorate_op op = quorate_op_get(quorate_str(""));
	struct quorate_result *r;

	op.flags = QUORATE_PREFIX;
	EQ_INT(quorate_each(q, &op, 0, paged_each, &p, &r, NULL), QUORATE_OK);
	EQ_INT(p.seen, 2500);
	EQ_INT(r->count, 2500);
	EQ_INT(r->header.revision, 40);
	OK(!r->more && r->n_kvs == 0);
	quorate_result_free(r);
	EQ_INT(p.pages, 3);
	OK(p.revisions[0] == 0 && p.revisions[1] == 40 && p.revisions[2] == 40);
	p.seen = p.pages = 0;
	op.limit = 1200;
	EQ_INT(quorate_each(q, &op, 0, paged_each, &p, &r, NULL), QUORATE_OK);
	EQ_INT(p.seen, 1200);
	OK(r->more);
	quorate_result_free(r);
	p.seen = p.pages = 0;
	p.stop_at = 1100;
	EQ_INT(quorate_each(q, &op, 0, paged_each, &p, &r, NULL), 55);
	EQ_INT(p.seen, 1100);
	quorate_close(q);
	fake_stop(&f);
}

TESTS = {
	T(completions_come_when_the_descriptor_is_readable_and_are_gone_then),
	T(a_queue_that_was_filled_before_it_is_polled_is_readable),
	T(a_callback_may_submit_the_next_one_also_when_all_places_are_taken),
	T(bytes_are_limited_as_calls_are),
	T(a_call_in_flight_can_be_cancelled_and_says_that_it_is_unsure),
	T(a_call_that_was_never_sent_is_cancelled_safely),
	T(deadlines_of_many_calls_are_kept_each_by_itself),
	T(a_queue_is_closed_with_calls_under_way_and_calls_ended),
	T(a_client_is_closed_before_its_queue),
	T(a_range_of_any_size_comes_page_by_page_at_one_revision),
};
TAP_MAIN
