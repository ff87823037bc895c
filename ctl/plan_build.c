/* SPDX-License-Identifier: Apache-2.0 */
/* Making what a plan says. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/plan.h"

static int build_trouble(struct ctl *ctl, const char *path)
{
	return ctl_fail(ctl, CTL_IO, "%s: %s", path, strerror(errno));
}

/* An IPv6 address is put in brackets. */
static void build_address(struct buf *out, const struct plan_node *node, unsigned port)
{
	bool v6 = strchr(node->host, ':') != NULL;

	buf_printf(out, "%s%s%s:%u", v6 ? "[" : "", node->host, v6 ? "]" : "", port);
}

/* The settings of a node in short; config_write() makes the commented file of them. */
static void build_settings(struct buf *out, const struct plan *p, size_t i)
{
	const struct plan_node *self = &p->nodes[i];
	char hex[KEY_HEX_LEN + 1];

	buf_printf(out, "cluster_id = %" PRIu64 "\nnode_id = %u\n", p->cluster_id, (unsigned)i + 1);
	buf_printf(out, "data_dir = %s/node%u/data\nrun_dir = %s/node%u/run\n", p->dir, (unsigned)i,
		   p->dir,
		   (unsigned)i);
	buf_printf(out, "key_file = %s/node%u/node.key\nsecret_file = %s/node%u/cluster.secret\n",
		   p->dir,
		   (unsigned)i, p->dir, (unsigned)i);
	buf_str(out, "client_listen = ");
	build_address(out, self, self->client_port);
	buf_str(out, "\npeer_listen = ");
	build_address(out, self, self->peer_port);
	buf_u8(out, '\n');
	for (size_t k = 0; k < p->n; k++) {
		const struct plan_node *node = &p->nodes[k];

		key_to_hex(node->public_key, hex);
		buf_printf(out, "member = %u %s ", (unsigned)k + 1, node->name);
		build_address(out, node, node->peer_port);
		buf_u8(out, ' ');
		build_address(out, node, node->client_port);
		buf_printf(out, " %s\n", hex);
	}
}

static int build_write(struct ctl *ctl, const char *path, struct bytes text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return build_trouble(ctl, path);
	if (write(fd, text.data, text.len) != (ssize_t)text.len || fsync(fd) != 0) {
		(void)close(fd);
		return build_trouble(ctl, path);
	}
	return close(fd) == 0 ? CTL_OK : build_trouble(ctl, path);
}

static int build_config(struct ctl *ctl, const struct plan *p, size_t i, const char *node_dir)
{
	char path[PLAN_PATH + 64];
	struct config config;
	struct config_error e;
	struct buf text;
	int code;

	buf_init(&text, MIB);
	build_settings(&text, p, i);
	if (text.err != ERR_OK || config_parse(buf_bytes(&text), "settings", 0, NULL, &config,
					       &e) != ERR_OK) {
		code = ctl_fail(ctl, CTL_ERROR, "%s",
				text.err != ERR_OK ? err_text(text.err) : e.text);
		buf_free(&text);
		return code;
	}
	buf_clear(&text);
	config_write(&text, &config);
	config_free(&config);
	(void)snprintf(path, sizeof path, "%s/quorate.conf", node_dir);
	code = build_write(ctl, path, buf_bytes(&text));
	buf_free(&text);
	return code;
}

static int build_key(struct ctl *ctl, const char *node_dir, const char *name,
		     const uint8_t key[KEY_LEN])
{
	char path[PLAN_PATH + 64];
	const char *why;

	(void)snprintf(path, sizeof path, "%s/%s", node_dir, name);
	if (keyfile_save(path, key, KEYFILE_NEW, &why) != ERR_OK)
		return ctl_fail(ctl, CTL_IO, "%s: %s", path, why);
	return CTL_OK;
}

static int build_node(struct ctl *ctl, const struct plan *p, size_t i, const char *tmp)
{
	static const char *const subdirs[] = {"", "/data", "/run", "/log"};
	char dir[PLAN_PATH + 32], path[PLAN_PATH + 48];
	int code = CTL_OK;

	(void)snprintf(dir, sizeof dir, "%s/node%u", tmp, (unsigned)i);
	for (size_t k = 0; k < sizeof subdirs / sizeof subdirs[0]; k++) {
		(void)snprintf(path, sizeof path, "%s%s", dir, subdirs[k]);
		if (mkdir(path, 0700) != 0)
			return build_trouble(ctl, path);
	}
	code = build_key(ctl, dir, "node.key", p->nodes[i].key);
	if (code == CTL_OK)
		code = build_key(ctl, dir, "cluster.secret", p->secret);
	return code == CTL_OK ? build_config(ctl, p, i, dir) : code;
}

/* mkdir -p, for what is not there. */
static int build_parents(struct ctl *ctl, char *dir)
{
	for (char *slash = strchr(dir + 1, '/'); ; slash = strchr(slash + 1, '/')) {
		int bad;

		if (slash != NULL)
			*slash = 0;
		bad = mkdir(dir, slash != NULL ? 0755 : 0700) != 0 && errno != EEXIST;
		if (bad)
			return build_trouble(ctl, dir);
		if (slash == NULL)
			return CTL_OK;
		*slash = '/';
	}
}

/* Undoes what was made before something failed; best effort. */
static void build_remove(const char *tmp, size_t n)
{
	static const char *const names[] = {"data", "run", "log", "node.key", "cluster.secret",
					    "quorate.conf", ""};
	char path[PLAN_PATH + 96];

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
			(void)snprintf(path, sizeof path, "%s/node%u/%s", tmp, (unsigned)i,
				       names[k]);
			(void)remove(path);
		}
	(void)rmdir(tmp);
}

static int build_publish(struct ctl *ctl, const struct plan *p, const char *tmp)
{
	char from[PLAN_PATH + 32], to[PLAN_PATH + 32];
	int dir;

	for (size_t i = p->n; i-- > 0;) {
		(void)snprintf(from, sizeof from, "%s/node%u", tmp, (unsigned)i);
		(void)snprintf(to, sizeof to, "%s/node%u", p->dir, (unsigned)i);
		if (rename(from, to) != 0)
			return build_trouble(ctl, to);
	}
	(void)rmdir(tmp);
	dir = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) != 0) {
		if (dir >= 0)
			(void)close(dir);
		return build_trouble(ctl, p->dir);
	}
	(void)close(dir);
	return CTL_OK;
}

static void build_keys(struct plan *p)
{
	uint8_t id[KEY_LEN];

	key_generate(p->secret);
	for (size_t i = 0; i < p->n; i++) {
		key_generate(p->nodes[i].key);
		key_public(p->nodes[i].key, p->nodes[i].public_key);
	}
	key_generate(id);   /* 53 bits: JSON readers that know only doubles take it whole */
	p->cluster_id = (get_u64(id) >> 11) | 1;
}

static int build_refuse(struct ctl *ctl, const struct plan *p)
{
	char path[PLAN_PATH + 32];
	struct stat st;

	for (size_t i = 0; i < LIMIT_NODES; i++) {
		(void)snprintf(path, sizeof path, "%s/node%u", p->dir, (unsigned)i);
		if (lstat(path, &st) == 0)
			return ctl_fail(ctl, CTL_ERROR, "%s is there already; nothing was changed",
					path);
	}
	return CTL_OK;
}

/* In a directory that nobody else makes a cluster in. */
static int build_alone(struct ctl *ctl, struct plan *p)
{
	char tmp[PLAN_PATH + 16];
	int code = build_refuse(ctl, p);

	if (code != CTL_OK)
		return code;
	(void)snprintf(tmp, sizeof tmp, "%s/.new-XXXXXX", p->dir);
	if (mkdtemp(tmp) == NULL)
		return build_trouble(ctl, tmp);
	build_keys(p);
	for (size_t i = 0; code == CTL_OK && i < p->n; i++)
		code = build_node(ctl, p, i, tmp);
	if (code == CTL_OK)
		code = build_publish(ctl, p, tmp);
	if (code != CTL_OK)
		build_remove(tmp, p->n);
	return code;
}

/* Where a file system knows no locks there is none, as for all who make one at a time. */
int plan_build(struct ctl *ctl, struct plan *p)
{
	int code = build_parents(ctl, p->dir), dir;

	if (code != CTL_OK)
		return code;
	dir = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return build_trouble(ctl, p->dir);
	(void)flock(dir, LOCK_EX);
	code = build_alone(ctl, p);
	(void)close(dir);
	return code;
}
