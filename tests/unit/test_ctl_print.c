/* SPDX-License-Identifier: Apache-2.0 */
/* What commands print in each format, byte for byte as etcdctl 3.5 does, and their exit codes. */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "tests/lib/ctl_run.h"
#include "tests/lib/fake_server.h"
#include "tests/lib/tap.h"

/* The server answers every request with what the case has set up, and keeps what was asked. */
static struct kv_header header = {10, 20, 6, 2};
static struct kv_pair pairs[3];
static struct kv_range_result range_result;
static struct kv_put_result put_result;
static struct kv_delete_result delete_result;
static struct kv_txn_result txn_result;
static struct kv_compact_result compact_result;
static int fail_code;
static char fail_text[128];
static char asked[4096];

static bool serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct buf b;

	(void)arg;
	buf_init(&b, sizeof asked - 1);
	msg_print(&b, r->method->params, r->params);
	memcpy(asked, b.data, b.len);
	asked[b.len] = 0;
	buf_free(&b);
	if (fail_code != 0)
		fake_error(c, r, fail_code, fail_text, ERR_AGAIN_NO);
	else if (r->method->result == &kv_put_result_desc)
		fake_result(c, r, &put_result);
	else if (r->method->result == &kv_delete_result_desc)
		fake_result(c, r, &delete_result);
	else if (r->method->result == &kv_txn_result_desc)
		fake_result(c, r, &txn_result);
	else if (r->method->result == &kv_compact_result_desc)
		fake_result(c, r, &compact_result);
	else
		fake_result(c, r, &range_result);
	return true;
}

static struct ctl_result got;

static void reset(void)
{
	pairs[0] = (struct kv_pair){bytes_str("a"), 2, 3, 2, bytes_str("2"), 0};
	pairs[1] = (struct kv_pair){bytes_str("b"), 4, 5, 2, bytes_str("x z"), 0};
	pairs[2] = (struct kv_pair){bytes_str("u"), 9, 9, 1,
				    bytes_str("tab\there\001 \xc3\xa9 \xff q\" back\\"), 77};
	range_result = (struct kv_range_result){.header = &header, .count = 1};
	range_result.kvs.v = pairs;
	range_result.kvs.n = 1;
	put_result = (struct kv_put_result){.header = &header};
	delete_result = (struct kv_delete_result){.header = &header, .deleted = 1};
	txn_result = (struct kv_txn_result){.header = &header};
	fail_code = 0;
}

static void run_with(const char *input, const char *line)
{
	struct fake_setup s = {.serve = serve};
	struct fake_server *f = fake_start(&s);

	ctl_run(&got, fake_endpoint(f), input, line);
	fake_stop(&f);
}

static void run(const char *line)
{
	run_with(NULL, line);
}

#define HEADER_JSON \
	"{\"header\":{\"cluster_id\":10,\"member_id\":20,\"revision\":6,\"raft_term\":2}"
#define HEADER_FIELDS \
	"\"ClusterID\" : 10\n\"MemberID\" : 20\n\"Revision\" : 6\n\"RaftTerm\" : 2\n"
#define PAIR_A_JSON "{\"key\":\"YQ==\",\"create_revision\":2,\"mod_revision\":3," \
	"\"version\":2,\"value\":\"Mg==\"}"
#define PAIR_B_JSON "{\"key\":\"Yg==\",\"create_revision\":4,\"mod_revision\":5," \
	"\"version\":2,\"value\":\"eCB6\"}"
#define PAIR_A_FIELDS(p) \
	"\"" p "Key\" : \"a\"\n\"" p "CreateRevision\" : 2\n\"" p "ModRevision\" : 3\n\"" p \
	"Version\" : 2\n\"" p "Value\" : \"2\"\n\"" p "Lease\" : 0\n"

TEST(put_says_ok)
{
	reset();
	run("put a 1");
	EQ_INT(got.code, 0);
	EQ_STR(got.out, "OK\n");
	EQ_STR(asked, "kv_put{key=\"a\" value=\"1\" lease=0 prev_kv=false ignore_value=false "
		      "ignore_lease=false}");
	put_result.prev_kv = &pairs[0];
	run("put a 1 --prev-kv");
	EQ_STR(got.out, "OK\na\n2\n");
	run("put a 1 --prev-kv -w json");
	EQ_STR(got.out, HEADER_JSON ",\"prev_kv\":" PAIR_A_JSON "}\n");
	run("put a 1 --prev-kv -w fields");
	EQ_STR(got.out, HEADER_FIELDS PAIR_A_FIELDS("Prev"));
	run("put a 1 -w table");
	EQ_INT(got.code, CTL_BAD_FEATURE);
	EQ_STR(got.err, "Error: table not supported as output format\n");
}

TEST(put_reads_words_and_input_as_etcdctl_does)
{
	reset();
	run_with("from stdin\n", "put d");
	EQ_STR(got.out, "OK\n");
	OK(strstr(asked, "value=\"from stdin\\x0a\"") != NULL);
	run("put d");
	EQ_INT(got.code, CTL_BAD_ARGS);
	run("put");
	EQ_INT(got.code, CTL_BAD_ARGS);
	OK(strstr(got.err, "Error: put command needs 1 argument and input from stdin or 2 "
			   "arguments\n") == got.err);
	run("put a --ignore-value x");
	EQ_INT(got.code, CTL_BAD_ARGS);
	run("put a --ignore-value --ignore-lease");
	OK(strstr(asked, "ignore_value=true ignore_lease=true") != NULL);
	run("put k --lease 1a v");
	OK(strstr(asked, "lease=26") != NULL);
	run("put k --lease zz v");
	EQ_INT(got.code, CTL_BAD_ARGS);
	run("put -- -k -v");
	OK(strstr(asked, "key=\"-k\" value=\"-v\"") != NULL);
	run("put a '' ");
	EQ_STR(got.out, "OK\n");
}

TEST(get_prints_keys_and_values)
{
	reset();
	range_result.kvs.n = 2;
	range_result.count = 2;
	run("get a --prefix");
	EQ_INT(got.code, 0);
	EQ_STR(got.out, "a\n2\nb\nx z\n");
	run("get a --prefix --print-value-only");
	EQ_STR(got.out, "2\nx z\n");
	run("get a --prefix --hex");
	EQ_STR(got.out, "\\x61\n\\x32\n\\x62\n\\x78\\x20\\x7a\n");
	run("get a -w fields --hex");
	OK(strstr(got.out, PAIR_A_FIELDS("")) != NULL);
	range_result.kvs.n = 0;
	range_result.count = 0;
	run("get nokey");
	EQ_INT(got.code, 0);
	EQ_STR(got.out, "");
}

TEST(get_prints_json)
{
	reset();
	run("get a -w json");
	EQ_STR(got.out, HEADER_JSON ",\"kvs\":[" PAIR_A_JSON "],\"count\":1}\n");
	range_result.kvs.n = 2;
	range_result.count = 3;
	range_result.more = true;
	run("get a b --limit 2 -w json");
	EQ_STR(got.out, HEADER_JSON ",\"kvs\":[" PAIR_A_JSON "," PAIR_B_JSON
	       "],\"more\":true,\"count\":3}\n");
	range_result = (struct kv_range_result){.header = &header};
	run("get nokey -w json");
	EQ_STR(got.out, HEADER_JSON "}\n");
	range_result.kvs.v = &pairs[2];
	range_result.kvs.n = 1;
	run("get u --write-out=json");
	EQ_STR(got.out, HEADER_JSON ",\"kvs\":[{\"key\":\"dQ==\",\"create_revision\":9,"
	       "\"mod_revision\":9,\"version\":1,"
	       "\"value\":\"dGFiCWhlcmUBIMOpIP8gcSIgYmFja1w=\",\"lease\":77}]}\n");
}

TEST(get_prints_fields)
{
	reset();
	run("get a -w fields");
	EQ_STR(got.out, HEADER_FIELDS PAIR_A_FIELDS("") "\"More\" : false\n\"Count\" : 1\n");
	range_result.kvs.v = &pairs[2];
	run("get u -w fields");
	OK(strstr(got.out, "\"Value\" : \"tab\\there\\x01 \xc3\xa9 \\xff q\\\" "
			   "back\\\\\"\n\"Lease\" : 77\n") != NULL);
	range_result = (struct kv_range_result){.header = &header, .count = 3};
	run("get a --prefix --count-only -w fields");
	EQ_STR(got.out, HEADER_FIELDS "\"More\" : false\n\"Count\" : 3\n");
}

TEST(get_asks_for_what_its_flags_say)
{
	reset();
	run("get a b --limit 7 --rev 5 --order descend --sort-by modify --consistency s "
	    "--min-mod-rev 1 "
	    "--max-mod-rev 2 --min-create-rev 3 --max-create-rev 4 --keys-only");
	EQ_STR(asked, "kv_range{key=\"a\" range_end=\"b\" limit=7 revision=5 sort_order=2 "
		      "sort_target=3 "
	       "serializable=true keys_only=true count_only=false min_mod_revision=1 "
	       "max_mod_revision=2 "
	       "min_create_revision=3 max_create_revision=4}");
	run("get a --order ASCEND --sort-by KEY");
	OK(strstr(asked, "sort_order=0 sort_target=0") != NULL);
	run("get ab --prefix");
	OK(strstr(asked, "key=\"ab\" range_end=\"ac\"") != NULL);
	run("get '' --prefix");
	OK(strstr(asked, "key=\"\\x00\" range_end=\"\\x00\"") != NULL);
	run("get x --from-key");
	OK(strstr(asked, "key=\"x\" range_end=\"\\x00\"") != NULL);
	run("get '' --from-key");
	OK(strstr(asked, "key=\"\\x00\" range_end=\"\\x00\"") != NULL);
	run("get a\xff --prefix");
	OK(strstr(asked, "key=\"a\\xff\" range_end=\"b\"") != NULL);
	run("get \xff\xff --prefix");
	OK(strstr(asked, "range_end=\"\\x00\"") != NULL);
}

TEST(get_refuses_what_etcdctl_refuses)
{
	static const struct { const char *line; int code; } bad[] = {
		{"get", CTL_BAD_ARGS}, {"get a b c", CTL_BAD_ARGS}, {"get a --prefix --from-key",
			CTL_BAD_ARGS},
		{"get a b --prefix", CTL_BAD_ARGS}, {"get a --keys-only --count-only -w fields",
						     CTL_BAD_ARGS},
		{"get a --count-only", CTL_BAD_ARGS}, {"get a --print-value-only -w json",
						       CTL_BAD_ARGS},
		{"get a --order up", CTL_BAD_FEATURE}, {"get a --sort-by foo", CTL_BAD_FEATURE},
		{"get a --consistency x", CTL_BAD_FEATURE}, {"get a -w yaml", CTL_BAD_FEATURE},
		{"get a -w table", CTL_BAD_FEATURE}, {"get a --min-mod-rev 5 --max-mod-rev 4",
						      CTL_BAD_FEATURE},
		{"get a --frob", CTL_ERROR}, {"get a --limit", CTL_ERROR}, {"get a --limit x",
			CTL_ERROR},
		{"frobnicate", CTL_ERROR}, {"", CTL_BAD_ARGS}};

	reset();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		run(bad[i].line);
		EQ_INT(got.code, bad[i].code);
		OK(got.err[0] != 0);
		EQ_STR(got.out, "");
	}
}

TEST(del_prints_how_many)
{
	reset();
	run("del a");
	EQ_STR(got.out, "1\n");
	delete_result.prev_kvs.v = pairs;
	delete_result.prev_kvs.n = 1;
	run("del a --prev-kv");
	EQ_STR(got.out, "1\na\n2\n");
	OK(strstr(asked, "prev_kv=true") != NULL);
	run("del a --prev-kv -w json");
	EQ_STR(got.out, HEADER_JSON ",\"deleted\":1,\"prev_kvs\":[" PAIR_A_JSON "]}\n");
	run("del a --prev-kv -w fields");
	EQ_STR(got.out, HEADER_FIELDS "\"Deleted\" : 1\n" PAIR_A_FIELDS("Prev"));
	delete_result = (struct kv_delete_result){.header = &header};
	run("del nokey -w json");
	EQ_STR(got.out, HEADER_JSON "}\n");
	run("del a b c");
	EQ_INT(got.code, CTL_BAD_ARGS);
}

TEST(txn_prints_each_answer_after_an_empty_line)
{
	struct kv_header inner = {.revision = 7};
	struct kv_put_result put = {.header = &inner};
	struct kv_delete_result del = {.header = &inner, .deleted = 2};
	struct kv_range_result range = {.header = &inner, .count = 1};
	struct kv_op_result ops[3] = {{.put = &put}, {.range = &range}, {.del = &del}};
	static const char input[] = "mod(\"a\") > \"0\"\n\nput a 1\nget a\ndel b\n\n\n";

	reset();
	range.kvs.v = pairs;
	range.kvs.n = 1;
	txn_result.succeeded = true;
	txn_result.responses.v = ops;
	txn_result.responses.n = 3;
	run_with(input, "txn");
	EQ_INT(got.code, 0);
	EQ_STR(got.out, "SUCCESS\n\nOK\n\na\n2\n\n2\n");
	run_with(input, "txn -i");
	EQ_STR(got.out, "compares:\nsuccess requests (get, put, del):\n"
	       "failure requests (get, put, del):\nSUCCESS\n\nOK\n\na\n2\n\n2\n");
	run_with(input, "txn -w json");
	EQ_STR(got.out, HEADER_JSON ",\"succeeded\":true,\"responses\":["
	       "{\"Response\":{\"response_put\":{\"header\":{\"revision\":7}}}},"
	       "{\"Response\":{\"response_range\":{\"header\":{\"revision\":7},\"kvs\":["
	       PAIR_A_JSON "],\"count\":1}}},"
	       "{\"Response\":{\"response_delete_range\":{\"header\":{\"revision\":7},"
	       "\"deleted\":2}}}]}\n");
	run_with(input, "txn -w fields");
	OK(strstr(got.out, HEADER_FIELDS "\"Succeeded\" : true\n\"ClusterID\" : 0\n\"MemberID\" : "
					 "0\n"
		  "\"Revision\" : 7\n\"RaftTerm\" : 0\n") == got.out);
	txn_result = (struct kv_txn_result){.header = &header};
	run_with("\n\n\n", "txn");
	EQ_STR(got.out, "FAILURE\n");
	run("txn x");
	EQ_INT(got.code, CTL_BAD_ARGS);
}

TEST(compaction_says_what_it_compacted)
{
	reset();
	run("compaction 5");
	EQ_STR(got.out, "compacted revision 5\n");
	run("compact 6 --physical");
	EQ_STR(got.out, "compacted revision 6\n");
	EQ_STR(asked, "kv_compact{revision=6 physical=true}");
	run("compaction");
	EQ_INT(got.code, CTL_BAD_ARGS);
	run("compaction x");
	EQ_INT(got.code, CTL_ERROR);
}

TEST(errors_go_to_standard_error)
{
	reset();
	fail_code = ERR_FUTURE_REV;
	(void)snprintf(fail_text, sizeof fail_text, "mvcc: required revision is a future revision");
	run("get a --rev 99");
	EQ_INT(got.code, CTL_ERROR);
	EQ_STR(got.out, "");
	EQ_STR(got.err, "Error: mvcc: required revision is a future revision\n");
	ctl_run(&got, "127.0.0.1:1", NULL, "get a --dial-timeout 100ms");
	EQ_INT(got.code, CTL_BAD_CONNECTION);
	OK(strstr(got.err, "Error: cannot reach 127.0.0.1:1: Connection refused") != NULL);
	ctl_run(&got, "nonsense:", NULL, "get a");
	EQ_INT(got.code, CTL_BAD_ARGS);
}

/* Not about what is left of it when it is cut: with a watch the command would go on. */
TEST(watch_passes_over_a_line_that_is_too_long)
{
	static char line[5100];

	(void)snprintf(line, sizeof line, "watch %05000d\n\n", 0);
	ctl_run(&got, "127.0.0.1:1", line, "watch -i");
	EQ_INT(got.code, CTL_OK);
	OK(strstr(got.err, "a line is too long") != NULL);
}

TESTS = {
	T(put_says_ok),
	T(put_reads_words_and_input_as_etcdctl_does),
	T(get_prints_keys_and_values),
	T(get_prints_json),
	T(get_prints_fields),
	T(get_asks_for_what_its_flags_say),
	T(get_refuses_what_etcdctl_refuses),
	T(del_prints_how_many),
	T(txn_prints_each_answer_after_an_empty_line),
	T(compaction_says_what_it_compacted),
	T(errors_go_to_standard_error),
	T(watch_passes_over_a_line_that_is_too_long),
};
TAP_MAIN
