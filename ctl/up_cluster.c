/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/up_cluster.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "ctl/find_daemon.h"
#include "rt/lockfile.h"

static const struct { const char *name; enum daemon_kind kind; } up_daemons[] = {
	{"raftd", DAEMON_RAFTD}, {"stored", DAEMON_STORED}, {"leased", DAEMON_LEASED},
	{"watchd", DAEMON_WATCHD}, {"gatewayd", DAEMON_GATEWAYD}};
_Static_assert(ARRAY_LEN(up_daemons) == UP_DAEMONS, "a program for each");

/* An existing cluster is gone on with; a wish that does not fit it is an error. */
static int cluster_make(struct ctl *ctl, const struct up_wish *w, struct up_cluster *u)
{
	struct plan plan;
	int code = plan_make(ctl, w->dir, w->nodes > 0 ? w->nodes : 1,
			     w->base_port > 0 ? w->base_port : PLAN_PORT, NULL, NULL, &plan);

	if (code != CTL_OK)
		return code;
	memcpy(u->dir, plan.dir, sizeof u->dir);
	u->n = plan_count(u->dir);
	if (u->n == 0) {
		u->n = plan.n;
		code = plan_build(ctl, &plan);
	} else if (w->nodes > 0 && (size_t)w->nodes != u->n) {
		code = ctl_fail(ctl, CTL_BAD_ARGS, "%s has %u node%s, not %u", u->dir,
				(unsigned)u->n,
				u->n == 1 ? "" : "s", (unsigned)w->nodes);
	}
	plan_wipe(&plan);
	return code;
}

static int cluster_read(struct ctl *ctl, struct up_cluster *u, size_t i)
{
	struct up_node *node = &u->nodes[i];
	char path[sizeof node->config_path];
	struct config_error e;

	(void)snprintf(path, sizeof path, "%s/node%u/quorate.conf", u->dir, (unsigned)i);
	memcpy(node->config_path, path, sizeof path);
	if (config_read(node->config_path, 0, NULL, &node->config, &e) != ERR_OK) {
		memset(&node->config, 0, sizeof node->config);
		return ctl_fail(ctl, CTL_ERROR, "%s", e.text);
	}
	return CTL_OK;
}

static int cluster_check_port(struct ctl *ctl, const struct up_wish *w, const struct up_cluster *u)
{
	const char *listen = u->nodes[0].config.client_listen, *colon = strrchr(listen, ':');

	if (w->base_port == 0 || colon == NULL || strtoll(colon + 1, NULL, 10) == w->base_port)
		return CTL_OK;
	return ctl_fail(ctl, CTL_BAD_ARGS,
			"node 0 of %s listens on %s; --base-port cannot change that", u->dir,
			listen);
}

static int cluster_programs(struct ctl *ctl, const struct up_wish *w, struct up_cluster *u)
{
	for (size_t i = 0; i < ARRAY_LEN(up_daemons); i++)
		if (find_daemon(up_daemons[i].name, w->bin_dir, u->programs[i],
				sizeof u->programs[i]) != ERR_OK)
			return ctl_fail(ctl, CTL_ERROR,
					"the program %s was not found; see --bin-dir",
					up_daemons[i].name);
	return CTL_OK;
}

static int cluster_lock(struct ctl *ctl, struct up_cluster *u)
{
	char path[PLAN_PATH + 16];
	pid_t holder = 0;
	int rc;

	(void)snprintf(path, sizeof path, "%s/up.lock", u->dir);
	rc = lockfile_take(path, &u->lock_fd, &holder);
	if (rc == ERR_OK)
		return CTL_OK;
	u->lock_fd = -1;
	if (rc == ERR_EXISTS)
		return ctl_fail(ctl, CTL_ERROR, "%s is running already, process %ld", u->dir,
				(long)holder);
	return ctl_fail(ctl, CTL_IO, "%s cannot be locked", path);
}

static int cluster_child(struct ctl *ctl, const struct up_wish *w, struct up_cluster *u,
			 size_t node, size_t d,
			 unsigned instance)
{
	struct up_child *c = &u->children[u->n_children++];

	*c = (struct up_child){.node = node, .kind = up_daemons[d].kind, .instance = instance,
			       .program = u->programs[d], .config = u->nodes[node].config_path,
			       .err_fd = -1, .ready_fd = -1, .log = {.fd = -1}};
	if (instance == 0)
		(void)snprintf(c->name, sizeof c->name, "%s", up_daemons[d].name);
	else
		(void)snprintf(c->name, sizeof c->name, "%s.%u", up_daemons[d].name, instance);
	(void)snprintf(c->label, sizeof c->label, "node%u %s", (unsigned)node, c->name);
	(void)snprintf(c->prefix, sizeof c->prefix, "node%u %-8s | ", (unsigned)node, c->name);
	(void)snprintf(c->log.path, sizeof c->log.path, "%s/node%u/log/%s.log", u->dir,
		       (unsigned)node, c->name);
	c->log.prefix = c->prefix;
	c->log.terminal = ctl->err;
	c->log.show = w->verbose ? UP_LOG_ALL : UP_LOG_WARNINGS;
	if (up_log_open(&c->log) != ERR_OK)
		return ctl_fail(ctl, CTL_IO, "%s cannot be written", c->log.path);
	return CTL_OK;
}

static int cluster_children(struct ctl *ctl, const struct up_wish *w, struct up_cluster *u)
{
	int code = CTL_OK;

	u->children = calloc(UP_CHILDREN, sizeof *u->children);
	if (u->children == NULL)
		return ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	for (size_t i = 0; code == CTL_OK && i < u->n; i++)
		for (size_t d = 0; code == CTL_OK && d < ARRAY_LEN(up_daemons); d++) {
			unsigned many = up_daemons[d].kind == DAEMON_GATEWAYD ?
				(unsigned)u->nodes[i].config.gateways : 1;

			for (unsigned k = 0; code == CTL_OK && k < many && k < UP_GATEWAYS; k++)
				code = cluster_child(ctl, w, u, i, d, k);
		}
	return code;
}

int up_cluster_open(struct ctl *ctl, const struct up_wish *w, struct up_cluster *u)
{
	int code;

	memset(u, 0, sizeof *u);
	u->lock_fd = -1;
	code = cluster_programs(ctl, w, u);
	if (code == CTL_OK)
		code = cluster_make(ctl, w, u);
	if (code == CTL_OK)
		code = cluster_lock(ctl, u);
	for (size_t i = 0; code == CTL_OK && i < u->n; i++)
		code = cluster_read(ctl, u, i);
	if (code == CTL_OK)
		code = cluster_check_port(ctl, w, u);
	return code == CTL_OK ? cluster_children(ctl, w, u) : code;
}

void up_cluster_close(struct up_cluster *u)
{
	for (size_t i = 0; i < u->n_children; i++)
		up_log_close(&u->children[i].log);
	for (size_t i = 0; i < u->n; i++)
		if (u->nodes[i].config.client_listen != NULL)
			config_free(&u->nodes[i].config);
	free(u->children);
	if (u->lock_fd >= 0)
		(void)close(u->lock_fd);
}
