/* SPDX-License-Identifier: Apache-2.0 */
/* Bulk input: the formats, and a window of puts that survives servers which fail in every way. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "ctl/ctl.h"
#include "ctl/histogram.h"
#include "ctl/load_parse.h"
#include "tests/lib/ctl_run.h"
#include "tests/lib/fake_server.h"
#include "tests/lib/tap.h"

static struct buf key, value;

/* Parses `text` whole; the pairs as "key=value;". */
static int parse_all(enum load_format f, struct bytes text, char *to, size_t cap)
{
	size_t used, n = 0;
	const char *why;
	int rc;

	to[0] = 0;
	while ((rc = load_parse(f, text, true, &key, &value, &used, &why)) == ERR_OK) {
		n += (size_t)snprintf(to + n, cap - n, "%.*s=%.*s;", (int)key.len,
				      (const char *)key.data,
				      (int)value.len, (const char *)value.data);
		text = bytes_of(text.data + used, text.len - used);
	}
	return rc;
}

static void good(enum load_format f, const char *text, const char *want)
{
	char out[1024];

	EQ_INT(parse_all(f, bytes_str(text), out, sizeof out), ERR_NOT_FOUND);
	EQ_STR(out, want);
}

static void bad(enum load_format f, const char *text)
{
	char out[1024];

	EQ_INT(parse_all(f, bytes_str(text), out, sizeof out), ERR_MALFORMED);
}

static void buffers(void)
{
	buf_init(&key, LIMIT_REQUEST_BYTES);
	buf_init(&value, LIMIT_REQUEST_BYTES);
}

static void buffers_free(void)
{
	buf_free(&key);
	buf_free(&value);
}

TEST(lines_with_a_tab)
{
	buffers();
	good(LOAD_TSV, "", "");
	good(LOAD_TSV, "a\t1\nb\t2\n", "a=1;b=2;");
	good(LOAD_TSV, "a\t1\n\n\nb\t2", "a=1;b=2;");
	good(LOAD_TSV, "a\t\n", "a=;");
	good(LOAD_TSV, "a\\tb\t\\n\\\\\\x41\\101\\'\\\"\n", "a\tb=\n\\AA'\";");
	bad(LOAD_TSV, "a\n");
	bad(LOAD_TSV, "a\tb\tc\n");
	bad(LOAD_TSV, "\tv\n");
	bad(LOAD_TSV, "a\t\\q\n");
	bad(LOAD_TSV, "a\t\\x4\n");
	bad(LOAD_TSV, "a\tb\\\n");
	bad(LOAD_TSV, "a\t\\777\n");
	buffers_free();
}

TEST(lines_of_json)
{
	buffers();
	good(LOAD_JSON, "{\"key\":\"YQ==\",\"value\":\"MQ==\"}\n", "a=1;");
	good(LOAD_JSON, " { \"value\" : \"MQ==\" , \"key\" : \"YQ==\" } \n\n{\"key\":\"Yg==\"}",
	     "a=1;b=;");
	good(LOAD_JSON, "{\"key\":\"YQ==\",\"value\":\"Pz8\\/\"}", "a=???;");
	good(LOAD_JSON, "{\"key\":\"YQ\\u003d\\u003D\"}", "a=;");
	bad(LOAD_JSON, "{\"key\":\"YQ==\"");
	bad(LOAD_JSON, "{\"key\":\"YQ\"}");
	bad(LOAD_JSON, "{\"key\":\"YQ==\",\"key\":\"YQ==\"}");
	bad(LOAD_JSON, "{\"key\":\"YQ==\",\"lease\":\"YQ==\"}");
	bad(LOAD_JSON, "{\"key\":7}");
	bad(LOAD_JSON, "{\"value\":\"YQ==\"}");
	bad(LOAD_JSON, "{\"key\":\"\"}");
	bad(LOAD_JSON, "{\"key\":\"YQ==\"} x");
	bad(LOAD_JSON, "[]");
	bad(LOAD_JSON, "{}");
	bad(LOAD_JSON, "{\"key\":\"YQ==\",}");
	buffers_free();
}

TEST(counted_bytes)
{
	char out[64];

	buffers();
	good(LOAD_LENGTH, "1:a1:1", "a=1;");
	good(LOAD_LENGTH, "1:a0:3:b\nc2:xy\n1:z1:0\n\n", "a=;b\nc=xy;z=0;");
	good(LOAD_LENGTH, "", "");
	bad(LOAD_LENGTH, "1:a");
	bad(LOAD_LENGTH, "1:a5:xy");
	bad(LOAD_LENGTH, "a:b");
	bad(LOAD_LENGTH, "1:a 1:b");
	bad(LOAD_LENGTH, ":a1:b");
	bad(LOAD_LENGTH, "0:1:b");
	EQ_INT(parse_all(LOAD_LENGTH, bytes_str("99999999999999999999999:a"), out, sizeof out),
	       ERR_LIMIT);
	buffers_free();
}

TEST(pieces_of_input_wait_for_the_rest)
{
	static const struct { enum load_format f; const char *text; } whole[] = {
		{LOAD_TSV, "a\\n\tbc\n"}, {LOAD_JSON, "{\"key\":\"YQ==\"}\n"}, {LOAD_LENGTH,
			"2:ab3:xyz"}};
	const char *why;
	size_t used;

	buffers();
	for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
		size_t len = strlen(whole[i].text);

		for (size_t n = 0; n < len; n++)
			EQ_INT(load_parse(whole[i].f, bytes_of(whole[i].text, n), false, &key,
					  &value, &used, &why),
			       ERR_TRUNCATED);
		EQ_INT(load_parse(whole[i].f, bytes_of(whole[i].text, len), false, &key, &value,
				  &used, &why), ERR_OK);
		EQ_INT(used, len);
	}
	buffers_free();
}

/* A server that keeps the last value of each key 0..KEYS-1 and fails as the case wants. */
enum { KEYS = 500 };

struct store {
	int values[KEYS];
	unsigned puts, inflight_max;
	unsigned close_every, refuse_every, unsure_every, swallow_every;
	int64_t revision;
	bool wrong;
};

static bool store_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct store *s = arg;
	const struct kv_put *p = r->params;
	struct kv_header h = {1, 1, 0, 1};
	struct kv_put_result result = {.header = &h};
	char text[64];
	int k, v;

	s->puts++;
	if (s->close_every && s->puts % s->close_every == 0)
		return false;
	if (s->refuse_every && s->puts % s->refuse_every == 0) {
		fake_error(c, r, ERR_NO_LEADER, "no leader", ERR_AGAIN_SAFE);
		return true;
	}
	(void)snprintf(text, sizeof text, "%.*s %.*s", (int)p->key.len, (const char *)p->key.data,
		       (int)p->value.len,
		       (const char *)p->value.data);
	s->wrong |= sscanf(text, "key%d %d", &k, &v) != 2 || k < 0 || k >= KEYS;
	if (s->wrong)
		return false;
	s->values[k] = v;
	h.revision = ++s->revision;
	if (s->swallow_every && s->puts % s->swallow_every == 0)   /* done, but nobody is told */
		return false;
	if (s->unsure_every && s->puts % s->unsure_every == 0)
		fake_error(c, r, ERR_TIMEOUT, "request timed out", ERR_AGAIN_UNSURE);
	else
		fake_result(c, r, &result);
	return true;
}

/* n lines: keys in a scrambled order, each several times, with rising values. */
static char *lines_of(unsigned n)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	uint64_t seed = 5;

	for (unsigned i = 0; i < n; i++)
		fprintf(f, "key%d\t%u\n", (int)(tap_rand(&seed) % KEYS), i);
	(void)fclose(f);
	return text;
}

static bool last_values_are_there(const char *text, const struct store *s)
{
	int want[KEYS] = {0}, k, v, n;

	for (; sscanf(text, "key%d\t%d\n%n", &k, &v, &n) == 2; text += n)
		want[k] = v;
	return memcmp(want, s->values, sizeof want) == 0;
}

static struct ctl_result got;

static void load_into(struct store *s, const char *text, const char *flags)
{
	struct fake_setup setup = {.serve = store_serve, .arg = s};
	struct fake_server *f = fake_start(&setup);
	char line[256];

	(void)snprintf(line, sizeof line, "load %s", flags);
	ctl_run(&got, fake_endpoint(f), text, line);
	fake_stop(&f);
	OK(!s->wrong);
}

TEST(all_keys_are_loaded_and_counted)
{
	char *text = lines_of(20000);
	struct store s = {.puts = 0};

	load_into(&s, text, "--inflight 64");
	EQ_INT(got.code, 0);
	OK(strncmp(got.out, "loaded 20000 keys in ", 21) == 0);
	OK(strstr(got.out, "revision 20000\n") != NULL);
	OK(last_values_are_there(text, &s));
	EQ_INT(s.puts, 20000);
	load_into(&s, "key1\t7\n", "-w json");
	OK(strstr(got.out, "{\"count\":1,\"bytes\":5,") == got.out && strstr(got.out,
		"\"revision\":20001}") != NULL);
	free(text);
}

TEST(what_surely_failed_is_put_again)
{
	char *text = lines_of(3000);
	struct store s = {.refuse_every = 50};

	load_into(&s, text, "");
	EQ_INT(got.code, 0);
	OK(last_values_are_there(text, &s));
	OK(s.puts > 3000);
	free(text);
}

TEST(what_may_have_been_put_is_put_again_only_with_retry)
{
	char *text = lines_of(3000);
	struct store s = {.unsure_every = 1000};

	load_into(&s, text, "");
	EQ_INT(got.code, CTL_ERROR);
	OK(strstr(got.err, "request timed out") != NULL && strstr(got.err,
								  "may or may not") != NULL);
	memset(&s, 0, sizeof s);
	s.unsure_every = 200;
	s.close_every = 301;
	s.swallow_every = 407;
	load_into(&s, text, "--retry --inflight 100");
	EQ_INT(got.code, 0);
	OK(strncmp(got.out, "loaded 3000 keys in ", 20) == 0);
	OK(last_values_are_there(text, &s));
	free(text);
}

TEST(every_acknowledged_key_is_written_down)
{
	struct store s = {.puts = 0};
	char path[4200], flags[4300], text[256] = {0};
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/acked", tap_dir());
	(void)snprintf(flags, sizeof flags, "--acked %s --inflight 1", path);
	load_into(&s, "key1\t1\nkey2\t2\nkey1\t3\n", flags);
	EQ_INT(got.code, 0);
	f = fopen(path, "r");
	OK(f != NULL);
	OK(fread(text, 1, sizeof text - 1, f) > 0);
	(void)fclose(f);
	EQ_STR(text, "key1\nkey2\nkey1\n");
}

TEST(bad_input_is_named_after_what_was_good)
{
	struct store s = {.puts = 0};

	load_into(&s, "key1\t1\nkey2\t2\nkey3\n", "");
	EQ_INT(got.code, CTL_INVALID_INPUT);
	OK(strstr(got.err, "pair 3 of the input: no tab") != NULL);
	EQ_INT(s.values[1], 1);
	EQ_INT(s.values[2], 2);
	load_into(&s, "", "");
	EQ_INT(got.code, 0);
	load_into(&s, "", "--format xml");
	EQ_INT(got.code, CTL_BAD_FEATURE);
	load_into(&s, "", "--inflight 0");
	EQ_INT(got.code, CTL_BAD_ARGS);
	load_into(&s, "", "/nowhere/at/all");
	EQ_INT(got.code, CTL_INVALID_INPUT);
	ctl_run(&got, "127.0.0.1:1", "a\tb\n", "load --dial-timeout 50ms");
	EQ_INT(got.code, CTL_BAD_CONNECTION);
}

TEST(a_cluster_that_only_refuses_is_given_up)
{
	struct store s = {.refuse_every = 1};

	load_into(&s, "key1\t1\n", "--patience 300ms");
	EQ_INT(got.code, CTL_ERROR);
	OK(strstr(got.err, "nothing has been acknowledged") != NULL);
}

TEST(a_benchmark_counts_what_was_done)
{
	struct store s = {.puts = 0};
	struct fake_setup setup = {.serve = store_serve, .arg = &s};
	struct fake_server *f = fake_start(&setup);

	ctl_run(&got, fake_endpoint(f), NULL,
		"bench put --total 2000 --clients 3 --inflight 8 --prefix key --key-size 6 "
		"--keyspace 500 "
		"--val-size 0 -w json");
	fake_stop(&f);
	/* the values are not numbers: the server closes, and each failure is counted */
	EQ_INT(got.code, CTL_ERROR);
	OK(strstr(got.out, "\"bench\":\"put\",\"clients\":3,\"inflight\":8") != NULL);
	OK(strstr(got.err, "requests failed") != NULL);
}

TEST(percentiles_are_within_a_hundredth)
{
	struct histogram *h = calloc(1, sizeof *h);

	EQ_INT(histogram_at(h, 500), 0);
	for (uint64_t i = 1; i <= 100000; i++)
		histogram_add(h, i * 1000);
	OK(llabs((long long)histogram_at(h, 500) - 50000000) <= 500000);
	OK(llabs((long long)histogram_at(h, 999) - 99900000) <= 999000);
	EQ_INT(histogram_at(h, 1000), 100000000);
	EQ_INT(h->max, 100000000);
	histogram_add(h, UINT64_MAX);
	OK(histogram_at(h, 1000) > INT64_MAX);
	free(h);
}

TESTS = {
	T(lines_with_a_tab),
	T(lines_of_json),
	T(counted_bytes),
	T(pieces_of_input_wait_for_the_rest),
	T(all_keys_are_loaded_and_counted),
	T(what_surely_failed_is_put_again),
	T(what_may_have_been_put_is_put_again_only_with_retry),
	T(every_acknowledged_key_is_written_down),
	T(bad_input_is_named_after_what_was_good),
	T(a_cluster_that_only_refuses_is_given_up),
	T(a_benchmark_counts_what_was_done),
	T(percentiles_are_within_a_hundredth),
};
TAP_MAIN
