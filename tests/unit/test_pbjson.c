/* SPDX-License-Identifier: Apache-2.0 */
/* etcd's messages as JSON: names, forms of values, what is refused; random messages there and back. */
#include "gatewayd/http/pbjson.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "proto/etcd.h"
#include "tests/lib/tap.h"

static struct buf message, text;

static int in(const struct pb_desc *d, const char *json, char why[PBJSON_WHY_BYTES])
{
	buf_free(&message);
	buf_init(&message, 0);
	return pbjson_in(bytes_str(json), d, &message, why);
}

static const char *out(const struct pb_desc *d, struct bytes m)
{
	struct pbjson_out j;
	size_t used;

	buf_free(&text);
	buf_init(&text, 0);
	pbjson_out_begin(&j, d, &text);
	EQ_INT(pbjson_out_fields(&j, m, &text, &used), ERR_OK);
	EQ_INT(used, m.len);
	pbjson_out_end(&j, &text);
	buf_u8(&text, 0);
	return (const char *)text.data;
}

/* JSON in, and the canonical JSON of the same message out. */
static void same(const struct pb_desc *d, const char *json, const char *want)
{
	char why[PBJSON_WHY_BYTES];

	printf("# %s\n", json);
	EQ_INT(in(d, json, why), ERR_OK);
	EQ_STR(out(d, buf_bytes(&message)), want);
}

static void refused(const struct pb_desc *d, const char *json, const char *want)
{
	char why[PBJSON_WHY_BYTES];

	printf("# %s\n", json);
	EQ_INT(in(d, json, why), ERR_MALFORMED);
	EQ_STR(why, want);
}

TEST(values_have_the_forms_that_grpc_gateway_gives_them)
{
	same(&kv_range_pb, "{\"key\":\"Zm9v\",\"limit\":\"5\",\"sort_order\":\"DESCEND\",\"serializable\":true}",
	     "{\"key\":\"Zm9v\",\"limit\":\"5\",\"sort_order\":\"DESCEND\",\"serializable\":true}");
	same(&kv_range_pb, "{\"limit\":5,\"sortOrder\":2,\"sort_target\":\"MOD\",\"revision\":-1,\"keysOnly\":false}",
	     "{\"limit\":\"5\",\"sort_order\":\"DESCEND\",\"sort_target\":\"MOD\",\"revision\":\"-1\"}");
}

TEST(names_are_etcds)
{
	same(&lease_grant_pb, "{\"TTL\":60,\"ID\":\"7\"}", "{\"TTL\":\"60\",\"ID\":\"7\"}");
	same(&etcd_member_pb, "{\"ID\":\"18446744073709551615\",\"peerURLs\":[\"a\",\"b\"],\"isLearner\":true}",
	     "{\"ID\":\"18446744073709551615\",\"peerURLs\":[\"a\",\"b\"],\"isLearner\":true}");
	same(&etcd_txn_pb, "{\"compare\":[{\"result\":\"NOT_EQUAL\",\"target\":\"LEASE\",\"key\":\"YQ==\"}],"
	     "\"success\":[{\"requestDeleteRange\":{\"key\":\"YQ\",\"prevKv\":true}},{\"request_range\":{}}]}",
	     "{\"compare\":[{\"result\":\"NOT_EQUAL\",\"target\":\"LEASE\",\"key\":\"YQ==\"}],"
	     "\"success\":[{\"request_delete_range\":{\"key\":\"YQ==\",\"prev_kv\":true}},{\"request_range\":{}}]}");
	same(&etcd_watch_request_pb, "{\"create_request\":{\"filters\":[\"NOPUT\",\"NODELETE\"]}}",
	     "{\"create_request\":{\"filters\":[\"NOPUT\",\"NODELETE\"]}}");
}

TEST(what_is_unknown_or_null_is_passed_over)
{
	same(&kv_put_pb, "{\"key\":\"YQ==\",\"value\":null,\"nothing\":{\"a\":[1,{}]},\"lease\":\"0\"}", "{\"key\":\"YQ==\"}");
	same(&etcd_empty_pb, " { \"a\" : 1 } ", "{}");
}

TEST(base64_is_read_in_all_its_forms)
{
	same(&kv_put_pb, "{\"key\":\"-_-_\",\"value\":\"_w\"}", "{\"key\":\"+/+/\",\"value\":\"/w==\"}");
	/* as Go reads it: with the line ends that others' encoders put in, and whatever bits are behind the end */
	same(&kv_put_pb, "{\"key\":\"Z\\nm\\r\\n9v\\n\",\"value\":\"dg=\\n=\\n\"}", "{\"key\":\"Zm9v\",\"value\":\"dg==\"}");
	same(&kv_put_pb, "{\"key\":\"dh==\",\"value\":\"Zm8\"}", "{\"key\":\"dg==\",\"value\":\"Zm8=\"}");
	same(&kv_put_pb, "{\"key\":\"\\n\"}", "{}");
}

/* Members' ids are such, and are often given as they are. */
TEST(a_number_may_have_64_bits_without_a_sign)
{
	same(&etcd_member_pb, "{\"ID\":18446744073709551615,\"name\":\"18446744073709551615\"}",
	     "{\"ID\":\"18446744073709551615\",\"name\":\"18446744073709551615\"}");
	same(&etcd_member_pb, "{ \"ID\" :9223372036854775808 }", "{\"ID\":\"9223372036854775808\"}");
	same(&etcd_member_pb, "{\"name\":\"\\\":9223372036854775808\",\"ID\":9223372036854775807}",
	     "{\"name\":\"\\\":9223372036854775808\",\"ID\":\"9223372036854775807\"}");
	refused(&etcd_member_pb, "{\"ID\":18446744073709551616}", "ID: invalid value");
	refused(&kv_put_pb, "{\"lease\":9223372036854775808}", "lease: invalid value");
	refused(&kv_put_pb, "{\"lease\":1.9223372036854775808}", "lease: invalid value");
}

TEST(what_is_wrong_is_named)
{
	refused(&kv_put_pb, "{\"key\":1}", "key: a string is expected");
	refused(&kv_put_pb, "{\"key\":\"a\"}", "key: illegal base64 data");
	refused(&kv_put_pb, "{\"key\":\"a*aa\"}", "key: illegal base64 data");
	refused(&kv_put_pb, "{\"lease\":\"x\"}", "lease: invalid value");
	refused(&kv_put_pb, "{\"lease\":\"9223372036854775808\"}", "lease: invalid value");
	refused(&kv_put_pb, "{\"lease\":1.5}", "lease: invalid value");
	refused(&kv_put_pb, "{\"prev_kv\":\"true\"}", "prev_kv: invalid value");
	refused(&kv_range_pb, "{\"sort_order\":\"UP\"}", "sort_order: invalid value");
	refused(&etcd_member_pb, "{\"ID\":-1}", "ID: invalid value");
	refused(&etcd_txn_pb, "{\"compare\":{}}", "compare: an array is expected");
	refused(&etcd_txn_pb, "{\"compare\":[1]}", "an object is expected");
	refused(&kv_put_pb, "[]", "an object is expected");
	refused(&kv_put_pb, "{} {}", "invalid JSON: end of file expected near '{'");
}

/* Of n elements, each two bytes and a comma. */
static int in_of_many(const char *element, size_t n)
{
	char why[PBJSON_WHY_BYTES];
	struct buf b;
	int err;

	buf_init(&b, 0);
	buf_str(&b, "{\"key\":\"[[,\",\"x\":[");
	for (size_t i = 0; i < n; i++) {
		buf_str(&b, i > 0 ? "," : "");
		buf_str(&b, element);
	}
	buf_str(&b, "]}");
	buf_u8(&b, 0);
	err = in(&kv_put_pb, (const char *)b.data, why);
	if (err == ERR_LIMIT)
		EQ_STR(why, "request is too large");
	buf_free(&b);
	return err;
}

TEST(what_unfolds_to_too_much_is_refused)
{
	EQ_INT(in_of_many("{}", 300000), ERR_LIMIT);
	EQ_INT(in_of_many("00", 300000), ERR_LIMIT);
	EQ_INT(in_of_many("\"{{{{{{{{{{{{{{{{\"", 10000), ERR_MALFORMED);   /* the key is no base64 */
}

TEST(nesting_is_bounded)
{
	struct buf deep;
	char why[PBJSON_WHY_BYTES];

	buf_init(&deep, 0);
	for (int i = 0; i < 40; i++)
		buf_str(&deep, "{\"success\":[{\"request_txn\":");
	buf_str(&deep, "{}");
	for (int i = 0; i < 40; i++)
		buf_str(&deep, "}]}");
	buf_u8(&deep, 0);
	EQ_INT(in(&etcd_txn_pb, (const char *)deep.data, why), ERR_MALFORMED);
	EQ_STR(why, "nested too deeply");
	buf_free(&deep);
}

TEST(objects_that_follow_each_other_are_told_apart)
{
	static const char all[] = " {\"a\":\"}\\\"{\"} \n{}[1]x";
	static const size_t ends[] = {13, 4, 3, 1};
	struct bytes rest = bytes_of(all, sizeof all - 1);

	for (size_t i = 0; i < 4; i++) {
		struct pbjson_split s = {.pos = 0};
		size_t n = 0;

		while (!pbjson_split(&s, bytes_of(rest.data, n)))
			OK(++n <= rest.len);  /* byte by byte */
		EQ_INT(n, ends[i]);
		EQ_INT(s.pos, ends[i]);
		rest = bytes_of(rest.data + s.pos, rest.len - s.pos);
	}
	EQ_INT(rest.len, 0);
}

/* ---- random messages, as bytes that the decoder accepts ---- */

static void random_message(const struct pb_desc *d, uint64_t *seed, unsigned depth, struct buf *b);

static void random_field(const struct pb_field *f, uint64_t *seed, unsigned depth, struct buf *b)
{
	size_t mark = b->len;

	switch (f->kind) {
	case PB_LIST:
	case PB_OPT:
	case PB_ONE:
		random_message(f->sub, seed, depth + 1, b);
		pb_wrap(b, mark, f->number);
		break;
	case PB_STR:
		buf_str(b, (const char *const[]){"", "a\"\\\n\x01", "é", "x"}[tap_rand(seed) % 4]);
		pb_wrap(b, mark, f->number);
		break;
	case PB_BYTES:
		for (uint64_t n = tap_rand(seed) % 6; n > 0; n--)
			buf_u8(b, (uint8_t)tap_rand(seed));
		pb_wrap(b, mark, f->number);
		break;
	case PB_BOOL:
		pb_number(b, f->number, tap_rand(seed) % 2);
		break;
	case PB_ENUM:
		pb_number(b, f->number, tap_rand(seed) % 4);
		break;
	case PB_U32:
		pb_number(b, f->number, tap_rand(seed) % UINT32_MAX);
		break;
	default:
		pb_number(b, f->number, tap_rand(seed) >> tap_rand(seed) % 64);
	}
}

static void random_message(const struct pb_desc *d, uint64_t *seed, unsigned depth, struct buf *b)
{
	for (size_t i = 0; i < d->n_fields && depth < 5; i++) {
		const struct pb_field *f = &d->fields[i];
		uint64_t n = f->kind == PB_LIST || f->bare ? tap_rand(seed) % 3 : tap_rand(seed) % 2;

		if (f->bare && f->kind == PB_ENUM)
			n = 0;                /* packed by our encoder, one by one by JSON */
		for (; n > 0; n--)
			random_field(f, seed, depth, b);
	}
}

static void canonical(const struct pb_desc *d, struct bytes m, struct buf *to)
{
	struct arena a;
	void *msg;

	arena_init(&a, 16 * MIB);
	msg = arena_alloc(&a, d->size);
	EQ_INT(pb_decode(m, d, &a, msg), ERR_OK);
	EQ_INT(pb_encode(to, d, msg), ERR_OK);
	arena_free(&a);
}

TEST(random_messages_come_back_as_they_were)
{
	uint64_t first = tap_seed(1);
	char why[PBJSON_WHY_BYTES];

	for (uint64_t i = 0; i < tap_rounds(4000); i++) {
		const struct pb_desc *d = etcd_messages[i % etcd_message_count];
		uint64_t seed = first * 1000003 + i;
		struct buf m, want, got;
		const char *json;

		buf_init(&m, 0);
		buf_init(&want, 0);
		buf_init(&got, 0);
		random_message(d, &seed, 0, &m);
		canonical(d, buf_bytes(&m), &want);
		json = out(d, buf_bytes(&want));
		if (in(d, json, why) != ERR_OK)
			printf("# %s: %s\n", why, json);
		canonical(d, buf_bytes(&message), &got);
		EQ_INT(got.len, want.len);
		EQ_MEM(got.data, want.data, want.len);
		buf_free(&m);
		buf_free(&want);
		buf_free(&got);
	}
}

TESTS = {
	T(values_have_the_forms_that_grpc_gateway_gives_them),
	T(names_are_etcds),
	T(what_is_unknown_or_null_is_passed_over),
	T(base64_is_read_in_all_its_forms),
	T(a_number_may_have_64_bits_without_a_sign),
	T(what_is_wrong_is_named),
	T(what_unfolds_to_too_much_is_refused),
	T(nesting_is_bounded),
	T(objects_that_follow_each_other_are_told_apart),
	T(random_messages_come_back_as_they_were),
};

int main(int argc, char **argv)
{
	int rc = tap_main(argc, argv, tap_cases, sizeof tap_cases / sizeof tap_cases[0]);

	buf_free(&message);
	buf_free(&text);
	return rc;
}
