/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that show and compare nodes, against several servers, one of them gone. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <pthread.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "tests/lib/ctl_run.h"
#include "tests/lib/fake_server.h"
#include "tests/lib/tap.h"

struct node {
	uint64_t id;
	struct native_member *members;
	size_t n_members;
	struct native_status_result status;
	struct native_hash_result hash;
	unsigned future;           /* answers to hash that say: not yet */
	uint64_t moved_to;
	uint64_t *leader;          /* shared */
};

static struct ctl_result got;

static bool node_serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct node *n = arg;
	struct kv_header h = {10, n->id, 42, 7};
	struct native_members_result members = {.header = &h};
	struct native_move_leader_result moved = {.header = &h};

	members.members.v = n->members;
	members.members.n = n->n_members;
	n->status.header = &h;
	n->hash.header = &h;
	if (strcmp(r->method->name, "members") == 0) {
		fake_result(c, r, &members);
	} else if (strcmp(r->method->name, "status") == 0) {
		n->status.leader = *n->leader;
		fake_result(c, r, &n->status);
	} else if (strcmp(r->method->name, "hash") == 0 && n->future > 0) {
		n->future--;
		fake_error(c, r, ERR_FUTURE_REV, err_text(ERR_FUTURE_REV), 0);
	} else if (strcmp(r->method->name, "hash") == 0) {
		n->hash.hash_revision = ((const struct native_hash *)r->params)->revision;
		if (n->hash.hash_revision == 0)
			n->hash.hash_revision = 42;
		fake_result(c, r, &n->hash);
	} else if (strcmp(r->method->name, "move_leader") == 0 && *n->leader == n->id) {
		n->moved_to = ((const struct native_move_leader *)r->params)->target;
		*n->leader = n->moved_to != 0 ? n->moved_to : 2;
		fake_result(c, r, &moved);
	} else {
		fake_error(c, r, ERR_NOT_LEADER, err_text(ERR_NOT_LEADER), 1);
	}
	return true;
}

/* Two nodes that answer and a third that does not. */
struct trio {
	struct node nodes[2];
	struct fake_server *servers[2];
	struct native_member members[3];
	char dead[64];
	uint64_t leader;
	struct native_daemon daemons[3];
};

static void trio_start(struct trio *t)
{
	static const char *const names[] = {"alpha", "beta", "gamma"};

	memset(t, 0, sizeof *t);
	t->leader = 1;
	t->daemons[0] = (struct native_daemon){bytes_str("raftd"), bytes_str("up"), 65000};
	t->daemons[1] = (struct native_daemon){bytes_str("stored"), bytes_str("down"), -1};
	t->daemons[2] = (struct native_daemon){bytes_str("gatewayd.0"), bytes_str("up"), 5000};
	fake_dead_endpoint(t->dead, sizeof t->dead);
	for (size_t i = 0; i < 2; i++) {
		struct node *n = &t->nodes[i];
		struct fake_setup s = {.serve = node_serve, .arg = n};

		*n = (struct node){.id = i + 1, .members = t->members, .n_members = 3,
				   .leader = &t->leader};
		n->status = (struct native_status_result){
			.name = bytes_str(names[i]), .version = bytes_str("0.1.0"),
			.role = bytes_str(i == 0 ? "leader" : "follower"), .commit = 100,
			.applied = 99, .last = 101,
			.store_bytes = 1536, .log_bytes = 3 * MIB, .keys = 5,
			.apply_hash = bytes_str("0123456789abcdef")};
		n->status.daemons.v = t->daemons;
		n->status.daemons.n = 3;
		n->hash = (struct native_hash_result){.hash = bytes_str("0123456789abcdef")};
		t->servers[i] = fake_start(&s);
	}
	for (size_t i = 0; i < 3; i++)
		t->members[i] = (struct native_member){
			i + 1, bytes_str(names[i]), bytes_str("10.0.0.1:2380"),
			bytes_str(i < 2 ? fake_endpoint(t->servers[i]) : t->dead)};
}

static void trio_run(struct trio *t, const char *line)
{
	ctl_run(&got, fake_endpoint(t->servers[0]), NULL, line);
}

static void trio_stop(struct trio *t)
{
	fake_stop(&t->servers[0]);
	fake_stop(&t->servers[1]);
}

TEST(members_are_listed_in_every_format)
{
	struct trio t;
	char want[1024];

	trio_start(&t);
	trio_run(&t, "members");
	EQ_INT(got.code, 0);
	(void)snprintf(want, sizeof want, "1, started, alpha, 10.0.0.1:2380, %s, false\n",
		       fake_endpoint(t.servers[0]));
	OK(strstr(got.out, want) == got.out);
	trio_run(&t, "member list -w json --hex");
	OK(strstr(got.out, "\"members\":[{\"ID\":\"1\",\"name\":\"alpha\","
		  "\"peerURLs\":[\"10.0.0.1:2380\"]") != NULL);
	trio_run(&t, "members -w fields");
	OK(strstr(got.out, "\"Name\" : \"beta\"\n") != NULL);
	trio_run(&t, "members -w table");
	OK(strstr(got.out, "| ID | STATUS  | NAME  |") != NULL);
	OK(strstr(got.out, "|  1 | started | alpha |") != NULL);
	trio_run(&t, "member remove 1");
	EQ_INT(got.code, CTL_BAD_ARGS);
	trio_stop(&t);
}

TEST(status_shows_every_node_also_those_that_do_not_answer)
{
	struct trio t;

	trio_start(&t);
	trio_run(&t, "status --dial-timeout 200ms");
	EQ_INT(got.code, 0);
	OK(strstr(got.out, "|   leader |") != NULL || strstr(got.out, "|      leader |") != NULL);
	OK(strstr(got.out, "unreachable") != NULL);
	OK(strstr(got.out, "Connection refused") != NULL);
	OK(strstr(got.out, "raftd 1m5s, stored DOWN, gatewayd.0 5s") != NULL);
	OK(strstr(got.out, " 1.5 KiB | 3.0 MiB |") != NULL);
	trio_run(&t, "status --dial-timeout 200ms -w json");
	OK(strstr(got.out, "{\"nodes\":[{\"name\":\"alpha\",\"id\":1,") == got.out);
	OK(strstr(got.out, "\"reachable\":true,\"version\":\"0.1.0\",\"role\":\"leader\","
		  "\"cluster_id\":10,\"leader\":1,\"term\":7,\"commit\":100,\"applied\":99,"
		  "\"last\":101,\"revision\":42,\"compact_revision\":0,"
		  "\"store_bytes\":1536,\"used_bytes\":0,\"log_bytes\":3145728,\"keys\":5,"
		  "\"apply_hash\":\"30313233343536373839616263646566\",\"daemons\":["
		  "{\"name\":\"raftd\",\"state\":\"up\",\"age_ms\":65000}") != NULL);
	OK(strstr(got.out, "\"name\":\"gamma\",\"id\":3,\"endpoint\":\"127.0.0.1:") != NULL);
	OK(strstr(got.out, "\"reachable\":false,\"error\":\"Connection "
			   "refused\"}],\"diverged\":false}\n") != NULL);
	trio_run(&t, "status --dial-timeout 200ms -w fields");
	OK(strstr(got.out, "\"Role\" : \"follower\"\n\"Leader\" : 1\n") != NULL);
	trio_stop(&t);
}

TEST(status_names_nodes_that_have_diverged)
{
	struct trio t;

	trio_start(&t);
	t.nodes[1].status.apply_hash = bytes_str("0123456789abcdeX");
	trio_run(&t, "status --dial-timeout 200ms -w json");
	EQ_INT(got.code, CTL_ERROR);
	OK(strstr(got.out, "\"diverged\":true") != NULL);
	OK(strstr(got.err, "hold different data at applied index 99") != NULL);
	t.nodes[1].status.applied = 98;   /* not comparable */
	trio_run(&t, "status --dial-timeout 200ms");
	EQ_INT(got.code, 0);
	trio_stop(&t);
}

TEST(hashes_are_taken_at_one_revision_and_compared)
{
	struct trio t;

	trio_start(&t);
	for (size_t i = 0; i < 2; i++)
		t.nodes[i].n_members = 2;
	t.nodes[1].future = 2;
	trio_run(&t, "hash");
	EQ_INT(got.code, 0);
	OK(strstr(got.out, ", 30313233343536373839616263646566, 42, 0\n") != NULL);
	EQ_INT(t.nodes[1].hash.hash_revision, 42);
	EQ_INT(t.nodes[1].future, 0);
	trio_run(&t, "hash --rev 5 -w json");
	OK(strstr(got.out, "\"hash_revision\":5,\"compact_revision\":0}]\n") != NULL);
	t.nodes[1].hash.hash = bytes_str("0123456789abcdeX");
	trio_run(&t, "hash -w table");
	EQ_INT(got.code, CTL_ERROR);
	OK(strstr(got.err, "hold different data at revision 42") != NULL);
	t.nodes[1].hash.compact_revision = 3;   /* not comparable */
	trio_run(&t, "hash");
	EQ_INT(got.code, 0);
	trio_stop(&t);
}

TEST(leadership_is_moved_through_the_leader_whoever_is_asked)
{
	struct trio t;

	trio_start(&t);
	t.leader = 2;
	trio_run(&t, "move-leader alpha --dial-timeout 200ms");
	EQ_INT(got.code, 0);
	EQ_STR(got.out, "Leadership transferred from 2 to 1\n");
	EQ_INT(t.nodes[1].moved_to, 1);
	trio_run(&t, "move-leader --dial-timeout 200ms");
	EQ_STR(got.out, "Leadership transferred from 1 to 2\n");
	trio_run(&t, "move-leader 1 --dial-timeout 200ms");
	EQ_STR(got.out, "Leadership transferred from 2 to 1\n");
	trio_run(&t, "move-leader nobody --dial-timeout 200ms");
	EQ_INT(got.code, CTL_BAD_ARGS);
	t.leader = 0;
	trio_run(&t, "move-leader --dial-timeout 200ms");
	EQ_INT(got.code, CTL_ERROR);
	OK(strstr(got.err, "no leader is known") != NULL);
	trio_stop(&t);
}

TEST(the_version_is_told_without_a_server)
{
	struct trio t;

	trio_start(&t);
	ctl_run(&got, "127.0.0.1:1", NULL, "version");
	EQ_INT(got.code, 0);
	EQ_STR(got.out, "quorate version: " QUORATE_VERSION "\nprotocol version: 1\n");
	trio_run(&t, "version --server -w json");
	EQ_STR(got.out, "{\"version\":\"" QUORATE_VERSION "\",\"protocol\":1,"
	       "\"server_version\":\"fake\",\"server_protocol\":1}\n");
	trio_stop(&t);
}

/* An admin socket that answers one line with what the case wants. */
struct admin_end {
	int fd;
	const char *answer;
	char asked[256];
};

static void *admin_serve(void *arg)
{
	struct admin_end *a = arg;
	int c = accept(a->fd, NULL, NULL);
	ssize_t n = read(c, a->asked, sizeof a->asked - 1);

	a->asked[n > 0 ? n : 0] = 0;
	for (const char *p = a->answer; *p != 0; p++)   /* a byte at a time */
		if (write(c, p, 1) != 1)
			break;
	(void)close(c);
	return NULL;
}

static void admin_run(struct admin_end *a, const char *line)
{
	struct sockaddr_un s = {.sun_family = AF_UNIX};
	char full[8300], here[4096];
	pthread_t thread;

	/* far too long for a socket's address */
	OK(getcwd(here, sizeof here) != NULL);
	(void)snprintf(full, sizeof full, "%s/%0150d", tap_dir(), 0);
	(void)mkdir(full, 0700);
	(void)snprintf(full + strlen(full), 64, "/node3");
	(void)mkdir(full, 0700);
	(void)snprintf(full + strlen(full), 64, "/run");
	(void)mkdir(full, 0700);
	OK(chdir(full) == 0);
	(void)snprintf(s.sun_path, sizeof s.sun_path, "raftd.admin");
	(void)unlink(s.sun_path);
	a->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	OK(bind(a->fd, (struct sockaddr *)&s, sizeof s) == 0 && listen(a->fd, 1) == 0);
	OK(chdir(here) == 0);
	OK(pthread_create(&thread, NULL, admin_serve, a) == 0);
	full[strlen(full) - strlen("/node3/run")] = 0;
	(void)snprintf(here, sizeof here, "admin --dir %.3000s --node 3 %.500s", full, line);
	ctl_run(&got, "127.0.0.1:1", NULL, here);
	pthread_join(thread, NULL);
	(void)close(a->fd);
}

TEST(an_admin_command_is_one_line_and_its_answer_ends_in_an_empty_one)
{
	struct admin_end a = {.answer = "role: leader\nterm: 7\n\nnot for us"};

	admin_run(&a, "raftd status");
	EQ_INT(got.code, 0);
	EQ_STR(a.asked, "status\n");
	EQ_STR(got.out, "role: leader\nterm: 7\n");
	a.answer = "{\"role\":\"leader\"}\n\n";
	admin_run(&a, "raftd loglevel debug -w json");
	EQ_STR(a.asked, "json loglevel debug\n");
	EQ_STR(got.out, "{\"role\":\"leader\"}\n");
	a.answer = "\n";
	admin_run(&a, "raftd trace");
	EQ_INT(got.code, 0);
	EQ_STR(got.out, "");
}

TEST(an_admin_error_is_an_exit_code)
{
	struct admin_end a = {.answer = "error: no such command\n\n"};

	admin_run(&a, "raftd frobnicate");
	EQ_INT(got.code, CTL_ERROR);
	EQ_STR(got.out, "");
	EQ_STR(got.err, "Error: no such command\n");
	a.answer = "{\"error\": \"no\"}\n\n";
	admin_run(&a, "raftd json frobnicate");
	EQ_INT(got.code, CTL_ERROR);
	a.answer = "half an answer\n";
	admin_run(&a, "raftd status");
	EQ_INT(got.code, CTL_ERROR);
	OK(strstr(got.err, "closed in the middle") != NULL);
	ctl_run(&got, "127.0.0.1:1", NULL, "admin --dir /nowhere raftd status");
	EQ_INT(got.code, CTL_BAD_CONNECTION);
	ctl_run(&got, "127.0.0.1:1", NULL, "admin raftd");
	EQ_INT(got.code, CTL_BAD_ARGS);
	ctl_run(&got, "127.0.0.1:1", NULL, "admin ../x status");
	EQ_INT(got.code, CTL_BAD_ARGS);
}

TESTS = {
	T(members_are_listed_in_every_format),
	T(status_shows_every_node_also_those_that_do_not_answer),
	T(status_names_nodes_that_have_diverged),
	T(hashes_are_taken_at_one_revision_and_compared),
	T(leadership_is_moved_through_the_leader_whoever_is_asked),
	T(the_version_is_told_without_a_server),
	T(an_admin_command_is_one_line_and_its_answer_ends_in_an_empty_one),
	T(an_admin_error_is_an_exit_code),
};
TAP_MAIN
