/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of answers: whole, in pieces, and wrong in every way that can be listed. */
#include "client/reply.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/tap.h"

struct seen {
	struct client_flight flight;
	struct client_sink sink;
	unsigned done, begun, pairs;
	int err;
	enum err_again again;
	char text[64];
	int64_t count, revision;
	size_t value_bytes, n_kvs, announced;
	int sink_error;
};

static struct client_flight *find(void *arg, uint32_t id)
{
	struct seen *s = arg;

	return id == 7 && s->done == 0 ? &s->flight : NULL;
}

static void finish(void *arg, struct client_flight *f, const struct client_reply *reply)
{
	struct seen *s = arg;

	OK(f == &s->flight);
	s->done++;
	s->err = reply->err;
	s->again = reply->again;
	(void)snprintf(s->text, sizeof s->text, "%.*s", (int)reply->text.len,
		       (const char *)reply->text.data);
	if (reply->result != NULL && f->method->result == &kv_range_result_desc) {
		const struct kv_range_result *r = reply->result;

		s->count = r->count;
		s->n_kvs = r->kvs.n;
		s->revision = r->header != NULL ? r->header->revision : -1;
	}
}

static int begin(void *arg, const struct kv_range_result *head)
{
	struct seen *s = arg;

	s->begun++;
	s->announced = head->kvs.n;
	s->count = head->count;
	s->revision = head->header != NULL ? head->header->revision : -1;
	return s->sink_error;
}

static int pair(void *arg, const struct kv_pair *p)
{
	struct seen *s = arg;

	s->pairs++;
	s->value_bytes += p->value.len;
	return ERR_OK;
}

static void start(struct seen *s, struct client_reader *r, const char *method, bool stream)
{
	*s = (struct seen){0};
	s->sink = (struct client_sink){begin, pair, s};
	s->flight.method = native_method_find(bytes_str(method));
	s->flight.sink = stream ? &s->sink : NULL;
	client_reader_init(r);
	r->find = find;
	r->finish = finish;
	r->arg = s;
}

static void answer(struct buf *b, uint32_t id, const struct msg_desc *d, const void *result)
{
	wire_array(b, 4);
	wire_u64(b, 1);
	wire_u64(b, id);
	wire_nil(b);
	(void)msg_encode(b, d, result);
}

/* Feeds `b` in pieces of at most `step` bytes, as a connection would. */
static int feed(struct client_reader *r, struct bytes b, size_t step)
{
	struct buf in;
	size_t at = 0, used;
	int rc = ERR_OK;

	buf_init(&in, 0);
	while (rc == ERR_OK && at < b.len) {
		size_t n = b.len - at < step ? b.len - at : step;

		buf_add(&in, b.data + at, n);
		at += n;
		rc = client_reader_on(r, buf_bytes(&in), &used);
		buf_consume(&in, rc == ERR_OK ? used : 0);
	}
	buf_free(&in);
	return rc;
}

static void range_answer(struct buf *b, size_t n, size_t value_len)
{
	struct kv_header h = {1, 2, 33, 4};
	struct kv_pair *kvs = calloc(n + 1, sizeof *kvs);
	struct kv_range_result res = {.header = &h, .count = (int64_t)n + 5, .more = true};
	char *value = calloc(1, value_len + 1);

	for (size_t i = 0; i < n; i++)
		kvs[i] = (struct kv_pair){bytes_str("key"), 2, 3, 1, bytes_of(value, value_len), 0};
	res.kvs.v = kvs;
	res.kvs.n = n;
	buf_init(b, 0);
	answer(b, 7, &kv_range_result_desc, &res);
	free(kvs);
	free(value);
}

TEST(an_answer_is_the_same_in_pieces_of_any_size)
{
	struct client_reader r;
	struct seen s;
	struct buf b;

	range_answer(&b, 5, 300);
	for (size_t step = 1; step <= b.len; step++) {
		start(&s, &r, "range", false);
		EQ_INT(feed(&r, buf_bytes(&b), step), ERR_OK);
		EQ_INT(s.done, 1);
		EQ_INT(s.err, ERR_OK);
		EQ_INT(s.count, 10);
		EQ_INT(s.n_kvs, 5);
		EQ_INT(s.revision, 33);
		client_reader_free(&r);
		start(&s, &r, "range", true);
		EQ_INT(feed(&r, buf_bytes(&b), step), ERR_OK);
		EQ_INT(s.done, 1);
		EQ_INT(s.begun, 1);
		EQ_INT(s.announced, 5);
		EQ_INT(s.pairs, 5);
		EQ_INT(s.value_bytes, 1500);
		client_reader_free(&r);
	}
	buf_free(&b);
}

TEST(a_streamed_range_holds_no_more_than_a_pair)
{
	struct client_reader r;
	struct seen s;
	struct buf b;
	size_t at = 0, peak = 0, used;

	range_answer(&b, 2000, 3000);
	start(&s, &r, "range", true);
	for (size_t end = 0; end < b.len; end = end + 4096 < b.len ? end + 4096 : b.len) {
		EQ_INT(client_reader_on(&r, bytes_of(b.data + at, end - at), &used), ERR_OK);
		at += used;
		peak = end - at > peak ? end - at : peak;
	}
	EQ_INT(client_reader_on(&r, bytes_of(b.data + at, b.len - at), &used), ERR_OK);
	EQ_INT(s.pairs, 2000);
	EQ_INT(s.done, 1);
	OK(peak < 3100);
	EQ_INT(r.arena.used, 0);
	client_reader_free(&r);
	buf_free(&b);
}

TEST(an_error_answer_carries_code_text_and_again)
{
	struct client_reader r;
	struct seen s;
	struct buf b;

	start(&s, &r, "put", false);
	buf_init(&b, 0);
	wire_array(&b, 4);
	wire_u64(&b, 1);
	wire_u64(&b, 7);
	wire_array(&b, 3);
	wire_u64(&b, ERR_NO_LEADER);
	wire_cstr(&b, "no leader");
	wire_u64(&b, ERR_AGAIN_SAFE);
	wire_nil(&b);
	EQ_INT(feed(&r, buf_bytes(&b), 3), ERR_OK);
	EQ_INT(s.err, ERR_NO_LEADER);
	EQ_INT(s.again, ERR_AGAIN_SAFE);
	EQ_STR(s.text, "no leader");
	client_reader_free(&r);
	buf_free(&b);
}

static int feed_raw(const char *method, bool stream, const char *raw, size_t len)
{
	struct client_reader r;
	struct seen s;
	int rc;

	start(&s, &r, method, stream);
	rc = feed(&r, bytes_of(raw, len), len);
	if (rc == ERR_OK && s.done == 0)
		rc = ERR_TRUNCATED;
	client_reader_free(&r);
	return rc;
}
#define FEED(method, stream, lit) feed_raw(method, stream, lit, sizeof(lit) - 1)

static unsigned n_notices;

static void count_notice(void *arg, const struct native_notification *n, const void *params)
{
	const struct native_watch_progress *m = params;

	(void)arg;
	EQ_STR(n->name, "watch_progress");
	EQ_INT(m->watches.n, 1);
	EQ_INT(m->watches.v[0].watch_id, 3);
	EQ_INT(m->revision, 9);
	n_notices++;
}

static int feed_notice(const char *raw, size_t len, size_t step)
{
	struct client_reader r;
	struct seen s;
	int rc;

	start(&s, &r, "put", false);
	r.notice = count_notice;
	rc = feed(&r, bytes_of(raw, len), step);
	EQ_INT(s.done, 0);
	client_reader_free(&r);
	return rc;
}
#define NOTICE(lit, step) feed_notice(lit, sizeof(lit) - 1, step)

TEST(notifications_go_to_who_wants_them)
{
	n_notices = 0;
	EQ_INT(NOTICE("\x93\x02\xaewatch_progress\x92\x91\x91\x03\x09", 100), ERR_OK);
	EQ_INT(NOTICE("\x93\x02\xaewatch_progress\x92\x91\x91\x03\x09", 1), ERR_OK);
	EQ_INT(n_notices, 2);
	/* two, and one that nobody knows between them; fields of a later protocol */
	EQ_INT(NOTICE("\x93\x02\xaewatch_progress\x92\x91\x91\x03\x09\x93\x02\xa3new\x91\x80"
		      "\x93\x02\xaewatch_progress\x93\x91\x91\x03\x09\x01", 1), ERR_OK);
	EQ_INT(n_notices, 4);
	EQ_INT(NOTICE("\x93\x02\xa5" "error\x93\x22\xa1x\x01", 100), ERR_CLOSED);
	EQ_INT(NOTICE("\x93\x01\xaewatch_progress\x92\x91\x91\x03\x09", 100), ERR_MALFORMED);
	EQ_INT(NOTICE("\x93\x02\xaewatch_progress\x92\x91\x91\xc4\x09", 100), ERR_OK);   /* not whole yet */
	EQ_INT(NOTICE("\x93\x02\xaewatch_progress\x92\x91\x91\xa1\x33\x09", 100), ERR_MALFORMED);
	EQ_INT(NOTICE("\x93\x02\xaewatch_progress\x91\x90", 100), ERR_MALFORMED);
	EQ_INT(n_notices, 4);
}

TEST(wrong_answers_are_refused)
{
	EQ_INT(FEED("put", false, "HTTP/1.1 400 Bad Request\r\n"), ERR_MALFORMED);
	EQ_INT(FEED("put", false, "\x94\x00\x07\xc0\x92\xc0\xc0"), ERR_MALFORMED);   /* a request */
	/* a notification */
	EQ_INT(FEED("put", false, "\x93\x02\xa1x\x90"), ERR_MALFORMED);
	/* not our id */
	EQ_INT(FEED("put", false, "\x94\x01\x08\xc0\x92\xc0\xc0"), ERR_MALFORMED);
	EQ_INT(FEED("put", false, "\x94\x01\xff\xc0"), ERR_MALFORMED);               /* id -1 */
	EQ_INT(FEED("put", false, "\x94\x01\xcf\x01\0\0\0\0\0\0\x07\xc0"), ERR_MALFORMED);
	/* the good one */
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\x92\xc0\xc0"), ERR_OK);
	/* a field missing */
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\x91\xc0"), ERR_MALFORMED);
	/* nil result */
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\xc0"), ERR_MALFORMED);
	/* no such type */
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc1"), ERR_MALFORMED);
	/* both */
	EQ_INT(FEED("put", false, "\x94\x01\x07\x93\x01\xa1x\x01\x92\xc0\xc0"), ERR_MALFORMED);
	/* code 0 */
	EQ_INT(FEED("put", false, "\x94\x01\x07\x93\x00\xa1x\x01\xc0"), ERR_MALFORMED);
	/* again 3 */
	EQ_INT(FEED("put", false, "\x94\x01\x07\x93\x01\xa1x\x03\xc0"), ERR_MALFORMED);
	EQ_INT(FEED("put", false, "\x94\x01\x07\x92\x01\xa1x\xc0"), ERR_MALFORMED);
	/* error is text */
	EQ_INT(FEED("put", false, "\x94\x01\x07\xa1x\xc0"), ERR_MALFORMED);
}

/* A later server appends fields to what it sends, and takes none away: docs/native-protocol.md. */
TEST(fields_of_a_later_protocol_are_passed_over)
{
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\x93\xc0\xc0\xc0"), ERR_OK);
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\x93\xc0\xc0\x92\x90\x81\x01\xa1x"), ERR_OK);
	/* in the header */
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\x92\x95\x01\x02\x03\x04\x05\xc0"), ERR_OK);
	/* in an error */
	EQ_INT(FEED("put", false, "\x94\x01\x07\x95\x01\xa1x\x01\xc0\x91\x07\xc0"), ERR_OK);
	/* behind the pairs of a range, and in a pair */
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x96\xc0\x01\xc2\x90\x05\x92\xc0\xa1x"), ERR_OK);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2\x91\x97\xc4\x01k\x02\x03\x01\xc4\x01v\0\xa3new"),
	       ERR_OK);
	EQ_INT(FEED("range", false, "\x94\x01\x07\xc0\x95\xc0\x01\xc2\x90\xc0"), ERR_OK);
	/* but not for ever */
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x95\xc0\x01\xc2\x90\xc6\x00\x02\x00\x00"), ERR_LIMIT);
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\x93\xc0\xc0\xc1"), ERR_MALFORMED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x95\xc0\x01\xc2\x90"), ERR_TRUNCATED);
}

TEST(a_wrong_range_stream_is_refused)
{
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2\x90"), ERR_OK);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2"), ERR_TRUNCATED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2\x91"), ERR_TRUNCATED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\xc0"), ERR_MALFORMED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x93\xc0\x01\xc2"), ERR_MALFORMED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\xc2\xc2\x90"), ERR_MALFORMED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\x01\x90"), ERR_MALFORMED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2\xc0"), ERR_MALFORMED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2\x91\x90"), ERR_MALFORMED);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2\x91\xc0"), ERR_MALFORMED);
	/* a header that goes on and on */
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc4\xff"), ERR_LIMIT);
}

TEST(promised_sizes_beyond_the_limits_are_refused_at_once)
{
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\xc6\xff\xff\xff\xff"), ERR_LIMIT);
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\xdd\xff\xff\xff\xff"), ERR_LIMIT);
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc0\xdf\xff\xff\xff\xff"), ERR_LIMIT);
	EQ_INT(FEED("put", false, "\x94\x01\x07\xc6\x00\x02\x00\x00"), ERR_LIMIT);
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2\x91\x96\xc6\x00\x20\x00\x00"),
	       ERR_LIMIT);
	/* but a stream may promise any number of pairs */
	EQ_INT(FEED("range", true, "\x94\x01\x07\xc0\x94\xc0\x01\xc2\xdd\xff\xff\xff\xff"),
	       ERR_TRUNCATED);
}

TEST(a_sinks_error_ends_the_reading)
{
	struct client_reader r;
	struct seen s;
	struct buf b;

	range_answer(&b, 3, 10);
	start(&s, &r, "range", true);
	s.sink_error = ERR_IO;
	EQ_INT(feed(&r, buf_bytes(&b), 11), ERR_IO);
	EQ_INT(s.pairs, 0);
	EQ_INT(s.done, 0);
	client_reader_free(&r);
	buf_free(&b);
}

TEST(altered_answers_never_break_the_reader)
{
	uint64_t seed = 20260101;
	struct buf b;

	range_answer(&b, 4, 40);
	for (int i = 0; i < 20000; i++) {
		struct client_reader r;
		struct seen s;
		struct buf copy;

		buf_init(&copy, 0);
		buf_add_bytes(&copy, buf_bytes(&b));
		for (int k = 0; k < 3; k++)
			copy.data[tap_rand(&seed) % copy.len] = (uint8_t)tap_rand(&seed);
		start(&s, &r, i % 3 ? "range" : "delete", i % 2);
		if (i % 3 == 0)
			s.flight.sink = NULL;
		(void)feed(&r, buf_bytes(&copy), 1 + tap_rand(&seed) % 64);
		OK(s.done <= 1);
		client_reader_free(&r);
		buf_free(&copy);
	}
	buf_free(&b);
}

TESTS = {
	T(an_answer_is_the_same_in_pieces_of_any_size),
	T(a_streamed_range_holds_no_more_than_a_pair),
	T(an_error_answer_carries_code_text_and_again),
	T(notifications_go_to_who_wants_them),
	T(wrong_answers_are_refused),
	T(fields_of_a_later_protocol_are_passed_over),
	T(a_wrong_range_stream_is_refused),
	T(promised_sizes_beyond_the_limits_are_refused_at_once),
	T(a_sinks_error_ends_the_reading),
	T(altered_answers_never_break_the_reader),
};
TAP_MAIN
