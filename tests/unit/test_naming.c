/* SPDX-License-Identifier: Apache-2.0 */
/* The values of services' keys: what is written is what etcd's naming reads, and what Go writes is read. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "client/recipes/naming.h"
#include "tests/lib/tap.h"

/* "ADDRESS|METADATA", or "" if the value is refused. */
static const char *read_value(struct bytes value)
{
	static char said[8192];
	struct buf address, metadata;
	int rc;

	buf_init(&address, 0);
	buf_init(&metadata, 0);
	rc = naming_read(value, &address, &metadata);
	OK(rc == ERR_OK || rc == ERR_MALFORMED);
	(void)snprintf(said, sizeof said, "%.*s|%.*s", (int)address.len, (const char *)address.data,
		       (int)metadata.len, (const char *)metadata.data);
	buf_free(&address);
	buf_free(&metadata);
	return rc == ERR_OK ? said : "";
}

static int write_value(struct buf *out, const char *address, const char *metadata)
{
	buf_init(out, 0);
	return naming_write(out, bytes_str(address), bytes_str(metadata));
}

TEST(what_is_written_is_go_s_encoding)
{
	struct buf out;

	EQ_INT(write_value(&out, "10.0.0.1:80", ""), ERR_OK);
	buf_u8(&out, 0);
	EQ_STR((const char *)out.data, "{\"Op\":0,\"Addr\":\"10.0.0.1:80\",\"Metadata\":null}");
	buf_free(&out);
	EQ_INT(write_value(&out, "a", "say \"hi\"\\\n\x01"), ERR_OK);
	buf_u8(&out, 0);
	EQ_STR((const char *)out.data, "{\"Op\":0,\"Addr\":\"a\",\"Metadata\":\"say \\\"hi\\\"\\\\\\u000a\\u0001\"}");
	buf_free(&out);
}

TEST(what_is_no_text_is_not_written)
{
	static const char *const bad[] = {"", "\xff", "\xc0\x80", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80"};
	struct buf out;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		EQ_INT(write_value(&out, bad[i], "m"), ERR_BAD_ARGUMENT);
		buf_free(&out);
		EQ_INT(write_value(&out, "a", bad[i]), i == 0 ? ERR_OK : ERR_BAD_ARGUMENT);
		buf_free(&out);
	}
	buf_init(&out, 0);
	EQ_INT(naming_write(&out, bytes_of("a\0b", 3), bytes_str("")), ERR_BAD_ARGUMENT);
	buf_free(&out);
}

TEST(what_others_write_is_read)
{
	static const char *const good[][2] = {
		{"{\"Op\":0,\"Addr\":\"h:1\",\"Metadata\":null}", "h:1|"},
		{"{\"Addr\":\"h:1\"}", "h:1|"},
		{" {\t\"Metadata\" : \"m\" ,\n\"Addr\":\"h:1\" } ", "h:1|m"},
		{"{\"Addr\":\"\\u0068\\u00e9\\u20ac\\ud83d\\ude00\\/\\n\",\"Metadata\":\"\\\"\"}",
		 "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/\n|\""},
		{"{\"Addr\":\"h\",\"Metadata\":{\"a\":[1,-2.5e3,true,{\"b\":null}]},\"More\":[{}]}",
		 "h|{\"a\":[1,-2.5e3,true,{\"b\":null}]}"},
		{"{\"Addr\":\"h\",\"Metadata\":17}", "h|17"},
		{"{\"Addr\":\"h\",\"Metadata\":[]}", "h|[]"},
	};

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		EQ_STR(read_value(bytes_str(good[i][0])), good[i][1]);
}

TEST(what_is_no_such_value_is_refused)
{
	static const char *const bad[] = {
		"", "x", "10.0.0.1:80", "{}", "[]", "{\"Addr\":1}", "{\"Addr\":\"\"}", "{\"Addr\":\"h\"", "{\"Addr\":\"h\"}x",
		"{\"Addr\":\"h\",}", "{\"Addr\" \"h\"}", "{\"Addr\":\"\\u0000\"}", "{\"Addr\":\"\\ud800\"}",
		"{\"Addr\":\"\\ude00\"}", "{\"Addr\":\"\\ud83dx\"}", "{\"Addr\":\"\\x\"}", "{\"Addr\":\"\\u12\"}",
		"{\"Addr\":\"a\nb\"}", "{\"Addr\":\"\xff\"}", "{\"Addr\":\"h\",\"Metadata\":\"\xff\"}",
		"{\"Addr\":\"h\",\"Metadata\":}", "{\"Addr\":\"h\",\"Metadata\":[1}", "{\"Addr\":\"h\",\"Metadata\":\"m}"};
	char deep[300];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		const char *said = read_value(bytes_str(bad[i]));

		if (said[0] != 0)
			printf("# %s is read as %s\n", bad[i], said);
		EQ_STR(said, "");
	}
	memset(deep, '[', sizeof deep);
	memcpy(deep, "{\"Addr\":\"h\",\"More\":", 19);
	EQ_STR(read_value(bytes_of(deep, sizeof deep)), "");
}

/* Whatever is read is in bounds (sanitizers tell), and what was written is read back. */
TEST(damaged_values_do_no_harm)
{
	uint64_t seed = 42;
	struct buf out;
	char damaged[128];

	EQ_INT(write_value(&out, "h:1 \xe2\x82\xac", "zone \"a\" \\ \x02"), ERR_OK);
	OK(out.len < sizeof damaged);
	EQ_STR(read_value(buf_bytes(&out)), "h:1 \xe2\x82\xac|zone \"a\" \\ \x02");
	for (int i = 0; i < 20000; i++) {
		size_t len = tap_rand(&seed) % (out.len + 1);

		memcpy(damaged, out.data, out.len);
		for (uint64_t k = tap_rand(&seed) % 4; k > 0; k--)
			damaged[tap_rand(&seed) % out.len] = (char)"{}[]\"\\,:u0\xff"[tap_rand(&seed) % 11];
		(void)read_value(bytes_of(damaged, i % 2 ? len : out.len));
	}
	buf_free(&out);
}

TESTS = {
	T(what_is_written_is_go_s_encoding),
	T(what_is_no_text_is_not_written),
	T(what_others_write_is_read),
	T(what_is_no_such_value_is_refused),
	T(damaged_values_do_no_harm),
};
TAP_MAIN
