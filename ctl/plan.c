/* SPDX-License-Identifier: Apache-2.0 */
/* What the nodes of a new cluster are to be, before anything is made. */
#include "ctl/plan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The absolute name of a directory that need not be there yet. */
static int plan_dir(struct ctl *ctl, const char *dir, struct plan *p)
{
	char here[PLAN_PATH / 2];
	size_t len = strlen(dir);
	int n;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (len == 0)
		return ctl_fail(ctl, CTL_BAD_ARGS, "no directory is given");
	if (dir[0] != '/' && getcwd(here, sizeof here) == NULL)
		return ctl_fail(ctl, CTL_ERROR, "the working directory: %s", strerror(errno));
	n = snprintf(p->dir, sizeof p->dir, "%s%s%.*s", dir[0] == '/' ? "" : here,
		     dir[0] == '/' ? "" : "/",
		     (int)len, dir);
	if (n < 0 || (size_t)n >= sizeof p->dir - 256)
		return ctl_fail(ctl, CTL_BAD_ARGS, "%s: the path is too long", dir);
	return CTL_OK;
}

/* The i-th item of a list with commas; the list must have exactly n. */
static int plan_item(const char *list, size_t i, size_t n, char *to, size_t cap)
{
	size_t items = 1, len;

	for (const char *c = list; *c != 0; c++)
		items += *c == ',';
	if (items != n)
		return ERR_BAD_ARGUMENT;
	for (; i > 0; i--)
		list = strchr(list, ',') + 1;
	len = strcspn(list, ",");
	if (len == 0 || len >= cap)
		return ERR_BAD_ARGUMENT;
	memcpy(to, list, len);
	to[len] = 0;
	return ERR_OK;
}

static int plan_host(struct plan_node *node, const char *hosts, size_t i, size_t n)
{
	uint8_t addr[16];

	if (hosts == NULL)
		(void)snprintf(node->host, sizeof node->host, "127.0.0.1");
	else if (plan_item(hosts, i, n, node->host, sizeof node->host) != ERR_OK)
		return ERR_BAD_ARGUMENT;
	if (inet_pton(AF_INET, node->host, addr) == 1 || inet_pton(AF_INET6, node->host, addr) == 1)
		return ERR_OK;
	return ERR_BAD_ARGUMENT;
}

static int plan_name(struct plan *p, struct plan_node *node, const char *names, size_t i, size_t n)
{
	if (names == NULL)
		(void)snprintf(node->name, sizeof node->name, "node%u", (unsigned)i);
	else if (plan_item(names, i, n, node->name, sizeof node->name) != ERR_OK)
		return ERR_BAD_ARGUMENT;
	for (size_t k = 0; k < i; k++)
		if (strcmp(p->nodes[k].name, node->name) == 0)
			return ERR_BAD_ARGUMENT;
	return ERR_OK;
}

static int plan_node(struct ctl *ctl, struct plan *p, size_t i, size_t n, int64_t base_port,
		     const char *hosts,
		     const char *names)
{
	struct plan_node *node = &p->nodes[i];
	unsigned same = 0;

	if (plan_host(node, hosts, i, n) != ERR_OK)
		return ctl_fail(ctl, CTL_BAD_ARGS,
				"--hosts needs %u numeric addresses with commas between them",
				(unsigned)n);
	if (plan_name(p, node, names, i, n) != ERR_OK)
		return ctl_fail(ctl, CTL_BAD_ARGS,
				"--name needs %u different names with commas between them",
				(unsigned)n);
	for (size_t k = 0; k < i; k++)
		same += strcmp(p->nodes[k].host, node->host) == 0;
	node->client_port = (unsigned)base_port + PLAN_PORT_STEP * same;
	node->peer_port = node->client_port + 1;
	if (node->peer_port > 65535)
		return ctl_fail(ctl, CTL_BAD_ARGS, "port %u of node %u is too high",
				node->peer_port, (unsigned)i);
	return CTL_OK;
}

int plan_make(struct ctl *ctl, const char *dir, int64_t n, int64_t base_port, const char *hosts,
	      const char *names, struct plan *p)
{
	int code;

	memset(p, 0, sizeof *p);
	if (n < 1 || n > (int64_t)LIMIT_NODES)
		return ctl_fail(ctl, CTL_BAD_ARGS, "a cluster has 1 to %u nodes", LIMIT_NODES);
	if (base_port < 1 || base_port > 65534)
		return ctl_fail(ctl, CTL_BAD_ARGS, "--base-port is between 1 and 65534");
	code = plan_dir(ctl, dir, p);
	p->n = (size_t)n;
	for (size_t i = 0; code == CTL_OK && i < p->n; i++)
		code = plan_node(ctl, p, i, p->n, base_port, hosts, names);
	return code;
}

void plan_wipe(struct plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		key_wipe(p->nodes[i].key);
	key_wipe(p->secret);
}

size_t plan_count(const char *dir)
{
	char path[PLAN_PATH + 64];
	struct stat st;
	size_t n = 0;

	for (; n < LIMIT_NODES; n++) {
		(void)snprintf(path, sizeof path, "%s/node%u/quorate.conf", dir, (unsigned)n);
		if (stat(path, &st) != 0)
			break;
	}
	return n;
}
