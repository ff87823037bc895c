/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/etcd_main.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/check.h"
#include "base/err.h"
#include "ctl/cluster.h"
#include "ctl/etcd_node.h"
#include "ctl/find_daemon.h"
#include "ctl/supervise.h"
#include "proto/etcd.h"
#include "rt/notify.h"

enum { ETCD_CONFIG_CODE = 1, ETCD_USAGE_CODE = 2, ETCD_ASK_MS = 250, ETCD_LOOK_UP_MS = 500, ETCD_DAEMONS = 5 };

static const struct { const char *name; enum daemon_kind kind; } etcd_daemons[ETCD_DAEMONS] = {
	{"raftd", DAEMON_RAFTD}, {"stored", DAEMON_STORED}, {"leased", DAEMON_LEASED},
	{"watchd", DAEMON_WATCHD}, {"gatewayd", DAEMON_GATEWAYD}};

struct etcd_run {
	struct etcd_options o;
	struct etcd_log log;
	struct etcd_node node;
	char why[ETCD_WHY];
	struct ctl ctl;                     /* for asking the node how it is */
	char programs[ETCD_DAEMONS][ETCD_PATH];
	struct etcd_speaker {
		const struct etcd_run *run;
		const char *name;
	} *speakers;                        /* one per child: who says a line */
	struct up_child *children;
	size_t n_children;
	pid_t group;
	FILE *out;
};

static void etcd_version(const struct etcd_run *r)
{
	struct utsname u;
	const char *machine = uname(&u) == 0 ? u.machine : "unknown";

	if (strcmp(machine, "x86_64") == 0)
		machine = "amd64";
	else if (strcmp(machine, "aarch64") == 0)
		machine = "arm64";
	fprintf(r->out, "etcd Version: %s\nGit SHA: quorate-%s\nGo Version: none, this is C\nGo OS/Arch: linux/%s\n",
		ETCD_VERSION, QUORATE_VERSION, machine);
}

static void etcd_help(const struct etcd_run *r)
{
	fprintf(r->out, "usage: quorate-etcd [etcd's flags]\n\n"
		"A node of Quorate that takes etcd's flags, ETCD_ variables and configuration file; see quorate-etcd(1).\n"
		"Its own flags:\n"
		"  --quorate-secret-file FILE        what all nodes share, 64 hex digits; `quorate init --key FILE`\n"
		"  --quorate-client-urls LIST        name=URL,...: where clients reach the other members\n"
		"  --quorate-bin-dir DIR             where the daemons are\n");
}

/* ---- the daemons */

static void etcd_daemon_line(void *arg, struct bytes line)
{
	const struct etcd_speaker *who = arg;

	etcd_log_daemon(&who->run->log, who->name, line);
}

static int etcd_child_make(struct etcd_run *r, size_t d, unsigned instance)
{
	struct etcd_speaker *who = &r->speakers[r->n_children];
	struct up_child *c = &r->children[r->n_children++];

	*c = (struct up_child){.kind = etcd_daemons[d].kind, .instance = instance, .program = r->programs[d],
			       .config = r->node.config_path, .group = &r->group, .err_fd = -1, .ready_fd = -1};
	(void)snprintf(c->name, sizeof c->name, instance == 0 ? "%s" : "%s.%u", etcd_daemons[d].name, instance);
	memcpy(c->label, c->name, sizeof c->name);
	if (instance > 0) {
		c->more[0] = "--client_listen";
		c->more[1] = r->node.listen_addr[instance];
	}
	*who = (struct etcd_speaker){r, c->name};
	c->log.show = UP_LOG_ALL;
	c->log.line = etcd_daemon_line;
	c->log.line_arg = who;
	return up_log_open(&c->log);
}

static int etcd_children(struct etcd_run *r)
{
	size_t most = ETCD_DAEMONS - 1 + ETCD_URLS;
	const char *bin = r->o.bin_dir[0] != 0 ? r->o.bin_dir : NULL;
	int rc = ERR_OK;

	r->children = calloc(most, sizeof *r->children);
	r->speakers = calloc(most, sizeof *r->speakers);
	if (r->children == NULL || r->speakers == NULL)
		return ERR_NO_MEMORY;
	for (size_t d = 0; d < ETCD_DAEMONS && rc == ERR_OK; d++) {
		size_t many = etcd_daemons[d].kind == DAEMON_GATEWAYD ? r->node.listen.n : 1;

		rc = find_daemon(etcd_daemons[d].name, bin, r->programs[d], sizeof r->programs[d]);
		if (rc != ERR_OK)
			(void)snprintf(r->why, sizeof r->why, "the program %s was not found", etcd_daemons[d].name);
		for (size_t k = 0; k < many && rc == ERR_OK; k++)
			rc = etcd_child_make(r, d, (unsigned)k);
	}
	return rc;
}

/* ---- while it runs */

static void etcd_say(void *arg, const char *text)
{
	const struct etcd_run *r = arg;

	etcd_log(&r->log, LOG_INFO, text, NULL);
}

/* An address to listen on may be "any": then it is ourselves. */
static void etcd_self(const struct etcd_run *r, char to[ETCD_ADDRESS + 16])
{
	const char *listen = r->node.listen_addr[0], *port = strrchr(listen, ':');

	if (strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0)
		(void)snprintf(to, ETCD_ADDRESS + 16, "127.0.0.1%s", port);
	else
		(void)snprintf(to, ETCD_ADDRESS + 16, "%s", listen);
}

static bool etcd_is_up(void *arg)
{
	struct etcd_run *r = arg;
	struct native_empty none = {0};
	struct native_status_result status = {0};
	struct arena arena;
	struct client_request ask = {.method = "status", .params = &none, .arena = &arena, .result = &status};
	struct client_error e;
	char self[ETCD_ADDRESS + 16];
	bool led;

	etcd_self(r, self);
	arena_init(&arena, CLUSTER_ARENA_BYTES);
	led = cluster_ask(&r->ctl, self, &ask, mono_add_ms(mono_now(), ETCD_ASK_MS), &e) == ERR_OK && status.leader != 0;
	arena_free(&arena);
	return led;
}

/* The lines that people and programs wait for. */
static void etcd_up(void *arg)
{
	const struct etcd_run *r = arg;

	etcd_log(&r->log, LOG_INFO, "ready to serve client requests", NULL);
	for (size_t i = 0; i < r->node.listen.n; i++)
		etcd_log(&r->log, LOG_INFO, "serving client traffic insecurely; this is strongly discouraged!", "traffic",
			 "grpc+http", "address", r->node.listen_addr[i], NULL);
	(void)notify_manager("READY=1");
}

static void etcd_notes(const struct etcd_run *r)
{
	char id[24], cluster[24];

	for (size_t i = 0; i < r->o.n_notes; i++)
		etcd_log(&r->log, r->o.notes[i].warn ? LOG_WARN : LOG_INFO, "a setting has no effect here", "name",
			 r->o.notes[i].name, "why", r->o.notes[i].why, NULL);
	if (r->node.secret_is_token && r->node.cluster.n > 1)
		etcd_log(&r->log, LOG_WARN, "nodes know each other by keys made of the cluster token: whoever knows the token "
			 "and reaches a peer port can join; give all nodes a --quorate-secret-file", NULL);
	(void)snprintf(id, sizeof id, "%llx", (unsigned long long)r->node.config.node_id);
	(void)snprintf(cluster, sizeof cluster, "%llx", (unsigned long long)r->node.config.cluster_id);
	etcd_log(&r->log, LOG_INFO, "starting an etcd-compatible node of Quorate", "quorate-version", QUORATE_VERSION,
		 "name", r->node.name, "data-dir", r->node.dir, "cluster-id", cluster, "local-member-id", id,
		 "listen-peer", r->node.peer_listen, NULL);
}

/* Names of nodes that start at the same time may not be known yet: tried until they are. */
static int etcd_open(struct etcd_run *r)
{
	int rc = etcd_node_open(&r->node, &r->o, &r->log, r->why);

	while (rc == ERR_NOT_FOUND) {
		etcd_log(&r->log, LOG_WARN, r->why, NULL);
		etcd_node_close(&r->node);
		(void)poll(NULL, 0, ETCD_LOOK_UP_MS);
		rc = etcd_node_open(&r->node, &r->o, &r->log, r->why);
	}
	return rc;
}

static int etcd_run(struct etcd_run *r, int *signo)
{
	struct supervisor s = {.say = etcd_say, .is_up = etcd_is_up, .up = etcd_up, .arg = r, .hangup = true};
	int code = ETCD_CONFIG_CODE, rc = etcd_open(r);

	if (rc == ERR_OK)
		rc = etcd_children(r);
	if (rc != ERR_OK) {
		etcd_log(&r->log, LOG_ERROR, r->why[0] != 0 ? r->why : err_text(rc), NULL);
	} else {
		etcd_notes(r);
		s.children = r->children;
		s.n_children = r->n_children;
		code = supervise(&s) == CTL_OK ? 0 : ETCD_CONFIG_CODE;
		*signo = s.signo;
		(void)notify_manager("STOPPING=1");
	}
	for (size_t i = 0; i < r->n_children; i++)
		up_log_close(&r->children[i].log);
	free(r->children);
	free(r->speakers);
	etcd_node_close(&r->node);
	return code;
}

/* How the log is to look, as far as the flags could be read. */
static void etcd_log_open(struct etcd_run *r, FILE *err)
{
	r->log = (struct etcd_log){.out = err, .json = true, .level = LOG_INFO};
	if (r->o.log_format != NULL)
		r->log.json = strcmp(r->o.log_format, "console") != 0 && strcmp(r->o.logger, "capnslog") != 0;
	if (r->o.log_level != NULL && log_level_parse(r->o.log_level, &r->log.level) != ERR_OK)
		r->log.level = LOG_INFO;
	if (r->o.debug != NULL && strcmp(r->o.debug, "true") == 0)
		r->log.level = LOG_DEBUG;
}

int etcd_main(int argc, char **argv, char **envp, FILE *out, FILE *err, int *signo)
{
	struct etcd_run *r = calloc(1, sizeof *r);
	int rc, code = 0;

	CHECK(r != NULL);
	*signo = 0;
	r->out = out;
	r->node.lock_fd = -1;
	r->ctl = (struct ctl){.program = argv[0], .in_fd = -1, .out = out, .err = err,
			      .globals = {.dial_timeout_ms = ETCD_ASK_MS, .command_timeout_ms = ETCD_ASK_MS}};
	rc = etcd_options_read(argc, argv, envp, &r->o, r->why);
	etcd_log_open(r, err);
	if (rc != ERR_OK) {
		if (rc == ERR_BAD_ARGUMENT)
			fprintf(err, "%s\n", r->why);
		else
			etcd_log(&r->log, LOG_ERROR, r->why, NULL);
		code = rc == ERR_BAD_ARGUMENT ? ETCD_USAGE_CODE : ETCD_CONFIG_CODE;
	} else if (strcmp(r->o.version, "true") == 0) {
		etcd_version(r);
	} else if (strcmp(r->o.help, "true") == 0) {
		etcd_help(r);
	} else {
		code = etcd_run(r, signo);
	}
	etcd_options_free(&r->o);
	free(r);
	return code;
}
