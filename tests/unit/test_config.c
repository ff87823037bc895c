/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/config.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/lib/tap.h"

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_B "10112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff"
#define KEY_D "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
#define KEY_C "20112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define MEMBER_A "member = 1 a 10.0.0.1:2380 a.example:2379 " KEY_A "\n"
#define MEMBER_B "member=2\tb [::1]:2380   10.0.0.2:2379\t" KEY_B "\n"
#define GOOD "cluster_id = 77\nnode_id = 1\n" MEMBER_A MEMBER_B

static int parse(const char *text, struct config *c, struct config_error *e)
{
	return config_parse(bytes_str(text), "f", 0, NULL, c, e);
}

static void expect_error(const char *text, const char *want)
{
	struct config_error e;
	struct config c;

	EQ_INT(parse(text, &c, &e), ERR_CONFIG);
	EQ_STR(e.text, want);
}

static void expect_error_after_good(const char *text, const char *want)
{
	char all[4096];

	(void)snprintf(all, sizeof all, "%s%s\n", GOOD, text);
	expect_error(all, want);
}

TEST(a_short_file_gets_the_defaults)
{
	struct config_error e;
	struct config c;

	EQ_INT(parse("# comment\n\n  # another\r\n" GOOD "   data_dir   =  /x y/z  \r\nlog_dir =\n", &c, &e), ERR_OK);
	EQ_INT(c.cluster_id, 77);
	EQ_INT(c.heartbeat_ms, 50);
	EQ_STR(c.data_dir, "/x y/z");
	EQ_STR(c.run_dir, "/run/quorate");
	EQ_STR(c.log_dir, "");
	EQ_INT(c.n_members, 2);
	EQ_STR(config_self(&c)->name, "a");
	EQ_STR(config_member_by_id(&c, 2)->peer_addr, "[::1]:2380");
	EQ_INT(config_member_by_id(&c, 2)->key[0], 0x10);
	EQ_INT(config_member_by_id(&c, 2)->key[15], 0xff);
	OK(config_member_by_id(&c, 3) == NULL);
	config_free(&c);
}

TEST(flags_win_over_the_file)
{
	char *flags[] = {(char[]){"--gateways"}, (char[]){"4"}, (char[]){"--data_dir=/a=b"}, (char[]){"--user="}};
	struct config_error e;
	struct config c;

	EQ_INT(config_parse(bytes_str(GOOD "gateways = 2\nuser = q\n"), "f", 4, flags, &c, &e), ERR_OK);
	EQ_INT(c.gateways, 4);
	EQ_STR(c.data_dir, "/a=b");
	EQ_STR(c.user, "");
	config_free(&c);
}

static void expect_flag_error(const char *one, const char *two, const char *want)
{
	char *flags[] = {strdup(one), two ? strdup(two) : NULL};
	struct config_error e;
	struct config c;

	EQ_INT(config_parse(bytes_str(GOOD), "f", two ? 2 : 1, flags, &c, &e), ERR_CONFIG);
	EQ_STR(e.text, want);
	free(flags[0]);
	free(flags[1]);
}

TEST(bad_flags_are_named)
{
	bool takes_next;

	expect_flag_error("--gateways", NULL, "--gateways: no value");
	expect_flag_error("--gateways", "x", "flag: gateways: not a number: x");
	expect_flag_error("--gatewayss=1", NULL, "unknown flag: --gatewayss=1");
	expect_flag_error("gateways=1", NULL, "unknown flag: gateways=1");
	expect_flag_error("--member=1", NULL, "unknown flag: --member=1");
	expect_flag_error("--gateways=1", "--gateways=2", "flag: gateways: given twice");
	expect_flag_error("--user=a\nb", NULL, "flag: user: control characters, blanks around it, or a "
			  "comment, which must stand on a line of its own");
	OK(config_is_flag("--user", &takes_next) && takes_next);
	OK(config_is_flag("--user=x", &takes_next) && !takes_next);
	OK(!config_is_flag("--use", &takes_next) && !config_is_flag("-c", &takes_next));
}

TEST(errors_name_the_line)
{
	expect_error("nonsense\n", "f:1: not of the form key = value");
	expect_error("\n\nfoo = 1\n", "f:3: unknown key: foo");
	expect_error("= 1\n", "f:1: unknown key: ");
	expect_error("cluster_id = 1\ncluster_id = 1\n", "f:2: cluster_id: given twice");
	expect_error("cluster_id = -1\n", "f:1: cluster_id: not a number: -1");
	expect_error("cluster_id = 1 # one\n", "f:1: cluster_id: not a number: 1 # one");
	expect_error("cluster_id =\n", "f:1: cluster_id: not a number: ");
	expect_error("cluster_id = 0x\n", "f:1: cluster_id: not a number: 0x");
	expect_error("cluster_id = 18446744073709551616\n", "f:1: cluster_id: not a number: 18446744073709551616");
	expect_error("gateways = 0\n", "f:1: gateways: 0 is not within 1 to 16");
	expect_error("gateways = 17", "f:1: gateways: 17 is not within 1 to 16");
	expect_error("data_dir = /x # here\n", "f:1: data_dir: control characters, blanks around it, or a "
		     "comment, which must stand on a line of its own");
	expect_error("member = 1 a\n", "f:1: member: ID NAME PEER_ADDRESS CLIENT_ADDRESS PUBLIC_KEY_HEX, not 2 words");
}

TEST(hostile_bytes_are_errors)
{
	struct config_error e;
	struct config c;
	char *big = malloc(LIMIT_CONFIG_LINE_BYTES + 2);

	EQ_INT(config_parse(bytes_of("a\0b = 1\n", 8), "f", 0, NULL, &c, &e), ERR_CONFIG);
	EQ_STR(e.text, "f:1: NUL byte");
	OK(big != NULL);
	memset(big, 'x', LIMIT_CONFIG_LINE_BYTES + 1);
	EQ_INT(config_parse(bytes_of(big, LIMIT_CONFIG_LINE_BYTES + 1), "f", 0, NULL, &c, &e), ERR_CONFIG);
	EQ_STR(e.text, "f:1: line too long");
	free(big);
	EQ_INT(config_parse(bytes_of(NULL, 0), "f", 0, NULL, &c, &e), ERR_CONFIG);
	EQ_STR(e.text, "f: cluster_id is missing");
}

TEST(members_are_checked)
{
	expect_error_after_good("member = 0 c 10.0.0.3:1 c:1 " KEY_A, "f:5: member: not an id from 1 on: 0");
	expect_error_after_good("member = 3 c/c 10.0.0.3:1 c:1 " KEY_A,
				"f:5: member: a name has 1 to 63 letters, digits, dots, dashes: c/c");
	expect_error_after_good("member = 3 c host:1 c:1 " KEY_A,
				"f:5: member: not a numeric ADDRESS:PORT to dial: host:1");
	expect_error_after_good("member = 3 c 0.0.0.0:1 c:1 " KEY_A,
				"f:5: member: not a numeric ADDRESS:PORT to dial: 0.0.0.0:1");
	expect_error_after_good("member = 3 c 10.0.0.3:0 c:1 " KEY_A,
				"f:5: member: not a numeric ADDRESS:PORT to dial: 10.0.0.3:0");
	expect_error_after_good("member = 3 c 10.0.0.3:1 c:0 " KEY_A, "f:5: member: not a HOST:PORT, or - if it is not known: c:0");
	expect_error_after_good("member = 3 c 10.0.0.3:1 c:1 00",
				"f:5: member: a public key has 64 hex digits, not all zero: 00");
	expect_error_after_good("member = 1 c 10.0.0.3:1 c:1 " KEY_A, "f: two members have the id 1");
	expect_error_after_good("member = 3 b 10.0.0.3:1 c:1 " KEY_C, "f: two members have the name b");
	expect_error_after_good("member = 3 c 10.0.0.1:2380 c:1 " KEY_A, "f: two members have the peer address 10.0.0.1:2380");
	expect_error_after_good("member = 3 c 10.0.0.3:1 a.example:2379 " KEY_A,
				"f: two members have the client address a.example:2379");
	expect_error_after_good("member = 3 c 10.0.0.3:1 c:1 " KEY_A, "f: members a and c have the same public key");
	expect_error("cluster_id = 1\nnode_id = 9\n" MEMBER_A, "f: node_id 9 is none of the 1 members");
	expect_error("cluster_id = 1\nnode_id = 9\n", "f: node_id 9 is none of the 0 members");
}

TEST(more_members_than_voters_are_refused)
{
	struct config_error e;
	struct config c;
	struct buf b;

	buf_init(&b, 0);
	buf_str(&b, "cluster_id = 1\nnode_id = 1\n");
	for (unsigned i = 1; i <= LIMIT_NODES + 1; i++)
		buf_printf(&b, "member = %u n%u 10.0.0.%u:1 c:%u %064x\n", i, i, i, i, i);
	EQ_INT(config_parse(buf_bytes(&b), "f", 0, NULL, &c, &e), ERR_CONFIG);
	EQ_STR(e.text, "f:12: member: more than 9");
	buf_free(&b);
}

TEST(settings_that_do_not_fit_together_are_refused)
{
	expect_error_after_good("election_min_ms = 300", "f: election_min_ms must be below election_max_ms");
	expect_error_after_good("heartbeat_ms = 51", "f: heartbeat_ms must be at most a third of election_min_ms");
	expect_error_after_good("request_timeout_ms = 200", "f: request_timeout_ms must not be below election_max_ms");
	expect_error_after_good("log_level = loud", "f: log_level: error, warn, info or debug, not loud");
	expect_error_after_good("peer_listen = here:1", "f: peer_listen: not a numeric ADDRESS:PORT or [v6]:PORT: here:1");
	expect_error_after_good("client_listen = 127.0.0.1:2380", "f: peer_listen and client_listen are the same");
	expect_error_after_good("run_dir =", "f: data_dir and run_dir must not be empty");
	expect_error_after_good("run_dir = /a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r",
				"f: run_dir: longer than 82 bytes, the paths of sockets would not fit");
}

static void expect_same(const struct config *a, const struct config *b)
{
#define SAME_U64(key) EQ_INT(a->key, b->key);
#define SAME_STR(key) EQ_STR(a->key, b->key);
#define SAME(kind, key, def, min, max, help) SAME_##kind(key)
	CONFIG_LIST(SAME)
	EQ_INT(a->n_members, b->n_members);
	for (size_t i = 0; i < a->n_members; i++) {
		EQ_INT(a->members[i].id, b->members[i].id);
		EQ_STR(a->members[i].name, b->members[i].name);
		EQ_STR(a->members[i].peer_addr, b->members[i].peer_addr);
		EQ_STR(a->members[i].client_addr, b->members[i].client_addr);
		EQ_MEM(a->members[i].key, b->members[i].key, 32);
	}
}

TEST(what_is_written_is_read_back)
{
	static const char *const texts[] = {
		GOOD,
		GOOD "cache_mb = 7\nlog_dir = /disk two/log#1\nuser = quorate\nelection_max_ms=999\n",
		"cluster_id = 0xffffffffffffffff\nnode_id = 2\n" MEMBER_B,
		/* client addresses that are not known: two of them are not the same */
		GOOD "member = 3 c 10.0.0.3:1 - " KEY_C "\nmember = 4 d 10.0.0.4:1 - " KEY_D "\n",
	};
	struct config_error e;
	struct config c, again;
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		buf_init(&b, 0);
		EQ_INT(parse(texts[i], &c, &e), ERR_OK);
		config_write(&b, &c);
		EQ_INT(b.err, ERR_OK);
		EQ_INT(config_parse(buf_bytes(&b), "f", 0, NULL, &again, &e), ERR_OK);
		expect_same(&c, &again);
		buf_u8(&b, 0);
		OK(strstr((char *)b.data, "\n#heartbeat_ms = 50\n") != NULL);
		config_free(&c);
		config_free(&again);
		buf_free(&b);
	}
}

TEST(a_file_is_read_from_disk_or_its_absence_told)
{
	struct config_error e;
	struct config c;
	char path[200], want[300];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/quorate.conf", tap_dir());
	EQ_INT(config_read(path, 0, NULL, &c, &e), ERR_CONFIG);
	(void)snprintf(want, sizeof want, "%s: No such file or directory", path);
	EQ_STR(e.text, want);
	f = fopen(path, "w");
	OK(f != NULL && fputs(GOOD, f) > 0 && fclose(f) == 0);
	EQ_INT(config_read(path, 0, NULL, &c, &e), ERR_OK);
	config_free(&c);
	f = fopen(path, "a");
	for (unsigned i = 0; f != NULL && i < LIMIT_CONFIG_BYTES; i += 10)
		OK(fputs("# 3456789\n", f) > 0);
	OK(f != NULL && fputs("# 3456789\n", f) > 0 && fclose(f) == 0);
	EQ_INT(config_read(path, 0, NULL, &c, &e), ERR_CONFIG);
	EQ_INT(config_read(tap_dir(), 0, NULL, &c, &e), ERR_CONFIG);
}

TEST(addresses_are_numeric)
{
	static const char *const bad[] = {"", ":", "1.2.3.4", "1.2.3.4:", ":80", "1.2.3.4:65536", "1.2.3.4:080",
		"1.2.3.4:+8", "1.2.3.4:8 ", "1.2.3:80", "localhost:80", "::1:80", "[::1]", "[::1:80", "[]:80",
		"[1.2.3.4]:80", "[::1]x:80", "1.2.3.4:123456",
		"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]:80"};
	struct sockaddr_storage ss;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	unsigned len;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		EQ_INT(config_address(bad[i], &ss, &len), ERR_CONFIG);
	EQ_INT(config_address("127.0.0.1:2380", &ss, &len), ERR_OK);
	memcpy(&in, &ss, sizeof in);
	EQ_INT(len, sizeof in);
	EQ_INT(ntohs(in.sin_port), 2380);
	EQ_INT(ntohl(in.sin_addr.s_addr), INADDR_LOOPBACK);
	EQ_INT(config_address("[fe80::1]:0", &ss, &len), ERR_OK);
	memcpy(&in6, &ss, sizeof in6);
	EQ_INT(len, sizeof in6);
	EQ_INT(in6.sin6_addr.s6_addr[0], 0xfe);
}

TEST(a_path_is_joined)
{
	char *p = config_path("/run/q", "a.sock");

	EQ_STR(p, "/run/q/a.sock");
	free(p);
}

TESTS = {
	T(a_short_file_gets_the_defaults),
	T(flags_win_over_the_file),
	T(bad_flags_are_named),
	T(errors_name_the_line),
	T(hostile_bytes_are_errors),
	T(members_are_checked),
	T(more_members_than_voters_are_refused),
	T(settings_that_do_not_fit_together_are_refused),
	T(what_is_written_is_read_back),
	T(a_file_is_read_from_disk_or_its_absence_told),
	T(addresses_are_numeric),
	T(a_path_is_joined),
};
TAP_MAIN
