/* SPDX-License-Identifier: Apache-2.0 */
/* quorate-etcd: what becomes of etcd's flags, and the keys and lines that it makes. */
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "ctl/etcd_node.h"
#include "tests/lib/tap.h"

static struct etcd_options o;
static char why[ETCD_WHY];

enum { WORDS = 32 };

static int read_words(char *env, const char *const *words)
{
	char copies[WORDS][512], *argv[WORDS + 1] = {copies[0]}, *envp[2] = {env, NULL};
	int argc = 1;

	(void)snprintf(copies[0], sizeof copies[0], "quorate-etcd");
	for (; *words != NULL; words++, argc++) {
		CHECK(argc < WORDS);
		(void)snprintf(copies[argc], sizeof copies[argc], "%s", *words);
		argv[argc] = copies[argc];
	}
	return etcd_options_read(argc, argv, envp, &o, why);
}

#define READ(env, ...) read_words(env, (const char *const[]){__VA_ARGS__, NULL})

TEST(flags_win_over_the_environment_and_both_over_defaults)
{
	char env[] = "ETCD_NAME=from-env";

	EQ_INT(READ(env, "--data-dir=/x"), ERR_OK);
	EQ_STR(o.name, "from-env");
	EQ_STR(o.data_dir, "/x");
	EQ_STR(o.initial_cluster_token, "etcd-cluster");
	etcd_options_free(&o);
	EQ_INT(READ(env, "-name", "from-flag"), ERR_OK);
	EQ_STR(o.name, "from-flag");
	etcd_options_free(&o);
}

TEST(what_is_no_flag_of_etcds_is_refused_with_its_words)
{
	EQ_INT(READ(NULL, "--bogus"), ERR_BAD_ARGUMENT);
	EQ_STR(why, "flag provided but not defined: -bogus");
	etcd_options_free(&o);
	EQ_INT(READ(NULL, "--name"), ERR_BAD_ARGUMENT);
	EQ_STR(why, "flag needs an argument: -name");
	etcd_options_free(&o);
	EQ_INT(READ(NULL, "gateway"), ERR_BAD_ARGUMENT);
	etcd_options_free(&o);
}

TEST(a_setting_without_a_meaning_is_one_line)
{
	EQ_INT(READ(NULL, "--snapshot-count=5", "--pre-vote", "--quota-backend-bytes", "100",
		    "--experimental-initial-corrupt-check", "--experimental-compaction-batch-limit", "7"), ERR_OK);
	EQ_INT(o.n_notes, 5);
	etcd_options_free(&o);
	EQ_INT(READ(NULL, "--quota-backend-bytes", "0", "--enable-v2=false"), ERR_OK);   /* asks for nothing */
	EQ_INT(o.n_notes, 0);
	etcd_options_free(&o);
}

TEST(what_would_be_unsafe_to_ignore_is_refused)
{
	static const char *const flags[] = {"--cert-file=x", "--client-cert-auth", "--auto-tls", "--trusted-ca-file=x",
					    "--peer-auto-tls", "--peer-client-cert-auth=true", "--discovery-srv=x",
					    "--force-new-cluster", "--auth-token=jwt,sign-method=RS256", "--proxy=on",
					    "--host-whitelist=example.org"};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		EQ_INT(READ(NULL, flags[i]), ERR_CONFIG);
		OK(strstr(why, "is refused") != NULL);
		etcd_options_free(&o);
	}
	EQ_INT(READ(NULL, "--auto-tls=false", "--auth-token=simple", "--proxy=off", "--host-whitelist=*"), ERR_OK);
	etcd_options_free(&o);
}

TEST(peer_tls_gives_way_to_a_cluster_secret)
{
	EQ_INT(READ(NULL, "--peer-cert-file=x", "--quorate-secret-file=y"), ERR_OK);
	EQ_INT(o.n_notes, 1);
	etcd_options_free(&o);
}

static void write_file(const char *name, const char *text, char path[4200])
{
	FILE *f;

	(void)snprintf(path, 4200, "%s/%s", tap_dir(), name);
	f = fopen(path, "w");
	CHECK(f != NULL);
	(void)fputs(text, f);
	(void)fclose(f);
}

TEST(a_configuration_file_is_all_that_counts)
{
	char path[4200], env[] = "ETCD_DATA_DIR=/env";

	write_file("conf.yml", "# etcd.conf.yml.sample\nname: 'a b'\n\ndata-dir: /file   # here\nsnapshot-count: 10000\n"
		   "client-transport-security:\n  cert-file:\n  client-cert-auth: false\nlog-outputs: [stderr]\n"
		   "heartbeat-interval: 100\ninitial-cluster-token: \"t#t\"\nwal-dir: null\n", path);
	EQ_INT(READ(env, "--config-file", path, "--name=flag"), ERR_OK);
	EQ_STR(o.name, "a b");
	EQ_STR(o.data_dir, "/file");
	EQ_STR(o.initial_cluster_token, "t#t");
	EQ_STR(o.heartbeat_interval, "100");
	EQ_STR(o.wal_dir, "");
	etcd_options_free(&o);
	write_file("tls.yml", "peer-transport-security:\n  cert-file: /x\n", path);
	EQ_INT(READ(NULL, "--config-file", path), ERR_CONFIG);
	OK(strstr(why, "--peer-cert-file=/x is refused") != NULL);
	etcd_options_free(&o);
	write_file("bad.yml", "name: x\nnonsense\n", path);
	EQ_INT(READ(NULL, "--config-file", path), ERR_CONFIG);
	OK(strstr(why, "bad.yml:2") != NULL);
	etcd_options_free(&o);
	write_file("unknown.yml", "nmae: x\n", path);
	EQ_INT(READ(NULL, "--config-file", path), ERR_CONFIG);
	OK(strstr(why, "nmae") != NULL);
	etcd_options_free(&o);
}

TEST(urls_are_taken_or_refused_with_a_reason)
{
	struct etcd_urls u;
	struct etcd_cluster c;

	EQ_INT(etcd_urls_parse("f", "http://a.b:1,http://[::1]:65535", &u, why), ERR_OK);
	EQ_INT(u.n, 2);
	EQ_STR(u.v[1].host, "::1");
	EQ_INT(u.v[1].port, 65535);
	for (const char *const *bad = (const char *const[]){"https://a:1", "unix://x", "http://a", "http://a:0", "a:1",
		"http://:1", "http://a:65536", "http://a:1/x", "http://a/b:1", NULL}; *bad != NULL; bad++)
		EQ_INT(etcd_urls_parse("f", *bad, &u, why), ERR_CONFIG);
	EQ_INT(etcd_cluster_parse("f", "b=http://x:1,a=http://y:2,b=http://z:3", &c, why), ERR_OK);
	EQ_INT(c.n, 2);
	EQ_STR(c.v[0].name, "a");
	EQ_INT(c.v[1].urls.n, 2);
	EQ_INT(etcd_cluster_parse("f", "http://x:1", &c, why), ERR_CONFIG);
}

TEST(every_node_makes_the_same_keys_whatever_the_order)
{
	struct etcd_cluster c, d;
	uint8_t s[KEY_LEN], t[KEY_LEN], k[KEY_LEN], l[KEY_LEN];
	uint64_t id;

	EQ_INT(etcd_cluster_parse("f", "a=http://x:1,b=http://y:2", &c, why), ERR_OK);
	EQ_INT(etcd_cluster_parse("f", "b=http://y:2,a=http://x:1", &d, why), ERR_OK);
	etcd_keys_secret("token", s);
	etcd_keys_secret("token2", t);
	id = etcd_keys_cluster_id(s, &c);
	OK(id == etcd_keys_cluster_id(s, &d));
	OK(id != etcd_keys_cluster_id(t, &c));
	OK(id < UINT64_C(1) << 53);
	OK(etcd_keys_node_id(s, id, "a") != etcd_keys_node_id(s, id, "b"));
	etcd_keys_node(s, "a", k);
	etcd_keys_node(s, "b", l);
	OK(!key_equal(k, l));
	etcd_keys_node(t, "a", l);
	OK(!key_equal(k, l));
	/* Part of the format: a node of another version must come to the same. */
	key_to_hex(k, why);
	EQ_STR(why, "cafd79833a77ac62a59eb20947411ac731c0ec7cf6cb70c4d39ead4d5db0d77c");
}

/* What was written down at the first start is found at the next, whatever words are in it. */
TEST(names_and_tokens_may_be_words_of_the_file_that_keeps_them)
{
	static const char *const odd[][2] = {{"token", "t"}, {"a", "my-initial-cluster"}, {"cluster_id", "name"}};
	struct etcd_log quiet = {.out = stderr, .level = LOG_ERROR};
	char name[64], token[64], dir[4096];

	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		for (int start = 0; start < 2; start++) {
			struct etcd_node n;

			(void)snprintf(name, sizeof name, "--name=%s", odd[i][0]);
			(void)snprintf(token, sizeof token, "--initial-cluster-token=%s", odd[i][1]);
			(void)snprintf(dir, sizeof dir, "--data-dir=%s/odd%zu", tap_dir(), i);
			EQ_INT(READ(NULL, name, token, dir), ERR_OK);
			EQ_INT(etcd_node_open(&n, &o, &quiet, why), ERR_OK);
			EQ_STR(why, "");
			etcd_node_close(&n);
			etcd_options_free(&o);
		}
}

/* A resolver that knows the other member, and that no longer once it has been asked. */
static unsigned looked_up;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found);

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
	if (strcmp(host, "once.test") == 0)
		return looked_up++ == 0 ? __real_getaddrinfo("127.0.0.9", port, hints, found) : EAI_NONAME;
	return strcmp(host, "never.test") == 0 ? EAI_AGAIN : __real_getaddrinfo(host, port, hints, found);
}

TEST(a_member_whose_name_is_gone_is_where_it_was)
{
	struct etcd_log quiet = {.out = stderr, .level = LOG_ERROR};
	struct etcd_node n;
	char dir[4096];

	(void)snprintf(dir, sizeof dir, "--data-dir=%s/gone", tap_dir());
	for (int start = 0; start < 3; start++) {
		EQ_INT(READ(NULL, "--name=a", "--initial-cluster=a=http://localhost:2380,b=http://once.test:2390", dir), ERR_OK);
		EQ_INT(etcd_node_open(&n, &o, &quiet, why), ERR_OK);
		EQ_STR(n.peer_addr[1], "127.0.0.9:2390");
		etcd_node_close(&n);
		etcd_options_free(&o);
	}
	EQ_INT(looked_up, 3);
	/* Where it never was nobody knows: the first start waits. */
	(void)snprintf(dir, sizeof dir, "--data-dir=%s/never", tap_dir());
	EQ_INT(READ(NULL, "--name=a", "--initial-cluster=a=http://localhost:2380,b=http://never.test:2390", dir), ERR_OK);
	EQ_INT(etcd_node_open(&n, &o, &quiet, why), ERR_NOT_FOUND);
	etcd_node_close(&n);
	etcd_options_free(&o);
}

TEST(a_value_of_two_lines_is_refused)
{
	char env[] = "ETCD_INITIAL_CLUSTER_TOKEN=a\ncluster_id 5";

	EQ_INT(READ(env, "--name=x"), ERR_CONFIG);
	OK(strstr(why, "initial-cluster-token") != NULL);
	etcd_options_free(&o);
}

static void log_text(bool json, char *to, size_t size, const char *line)
{
	FILE *f = fmemopen(to, size, "w");
	struct etcd_log l = {.out = f, .json = json, .level = LOG_INFO};

	CHECK(f != NULL);
	etcd_log_daemon(&l, "raftd", bytes_str(line));
	(void)fclose(f);
}

TEST(a_daemons_line_becomes_one_of_etcds)
{
	char text[1024];

	log_text(true, text, sizeof text, "2026-01-31T12:34:56.789Z warn raftd[12] it \"said\" x\\y=1\t");
	EQ_STR(text, "{\"level\":\"warn\",\"ts\":\"2026-01-31T12:34:56.789Z\",\"caller\":\"raftd\","
	       "\"msg\":\"it \\\"said\\\" x\\\\y=1\\u0009\"}\n");
	log_text(false, text, sizeof text, "2026-01-31T12:34:56.789Z error raftd[12] words");
	EQ_STR(text, "2026-01-31T12:34:56.789Z\tERROR\traftd\twords\n");
	memset(text, 0, sizeof text);
	log_text(true, text, sizeof text, "2026-01-31T12:34:56.789Z debug raftd[12] words");
	EQ_STR(text, "");
	log_text(true, text, sizeof text, "==12==ERROR: AddressSanitizer");
	OK(strstr(text, "\"msg\":\"==12==ERROR: AddressSanitizer\"}") != NULL);
}

TESTS = {
	T(flags_win_over_the_environment_and_both_over_defaults),
	T(what_is_no_flag_of_etcds_is_refused_with_its_words),
	T(a_setting_without_a_meaning_is_one_line),
	T(what_would_be_unsafe_to_ignore_is_refused),
	T(peer_tls_gives_way_to_a_cluster_secret),
	T(a_configuration_file_is_all_that_counts),
	T(urls_are_taken_or_refused_with_a_reason),
	T(every_node_makes_the_same_keys_whatever_the_order),
	T(names_and_tokens_may_be_words_of_the_file_that_keeps_them),
	T(a_member_whose_name_is_gone_is_where_it_was),
	T(a_value_of_two_lines_is_refused),
	T(a_daemons_line_becomes_one_of_etcds),
};
TAP_MAIN
