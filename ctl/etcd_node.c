/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/etcd_node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "rt/lockfile.h"

enum { ETCD_RUN_MAX = 80, ETCD_STATE_BYTES = 16384 };

static int node_bad(struct etcd_node *n, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int node_bad(struct etcd_node *n, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(n->why, ETCD_WHY, fmt, ap);
	va_end(ap);
	return rc;
}

static void node_path(const struct etcd_node *n, const char *name, char to[ETCD_PATH])
{
	(void)snprintf(to, ETCD_PATH, "%s/%s", n->dir, name);
}

/* ---- the directory */

static int node_dir(struct etcd_node *n)
{
	char here[ETCD_DIR / 2] = "", given[ETCD_DIR / 2], path[ETCD_PATH];
	struct stat st;
	int len;

	len = n->o->data_dir[0] != 0 ? snprintf(given, sizeof given, "%s", n->o->data_dir) :
				       snprintf(given, sizeof given, "%s.etcd", n->o->name);
	if (len < 0 || (size_t)len >= sizeof given)
		return node_bad(n, ERR_CONFIG, "--data-dir: the path is too long");
	if (given[0] != '/' && getcwd(here, sizeof here) == NULL)
		return node_bad(n, ERR_IO, "the working directory: %s", strerror(errno));
	(void)snprintf(n->dir, sizeof n->dir, "%s%s%s", here, given[0] != '/' ? "/" : "", given);
	while ((len = (int)strlen(n->dir)) > 1 && n->dir[len - 1] == '/')
		n->dir[len - 1] = 0;
	if (mkdir(n->dir, 0700) != 0 && errno != EEXIST)
		return node_bad(n, ERR_IO, "%.300s: %s", n->dir, strerror(errno));
	node_path(n, "member", path);
	if (stat(path, &st) == 0)
		return node_bad(n, ERR_CONFIG, "%.300s holds etcd's own data, which is not read: give another "
				"--data-dir, and bring the keys over through both servers", n->dir);
	return ERR_OK;
}

static int node_lock(struct etcd_node *n)
{
	char path[ETCD_PATH];
	pid_t holder = 0;
	int rc;

	node_path(n, "quorate-etcd.lock", path);
	rc = lockfile_take(path, &n->lock_fd, &holder);
	if (rc == ERR_OK)
		return ERR_OK;
	n->lock_fd = -1;
	if (rc == ERR_EXISTS)
		return node_bad(n, ERR_CONFIG, "%.300s is in use by process %ld", n->dir, (long)holder);
	return node_bad(n, ERR_IO, "%.300s cannot be locked", path);
}

/* Sockets have short paths; a data directory with a long one gets a place for them in /tmp, by its inode. */
static int node_run_dir(struct etcd_node *n)
{
	struct stat st;
	char why[256];

	node_path(n, "run", n->run_dir);
	if (strlen(n->run_dir) > ETCD_RUN_MAX) {
		if (stat(n->dir, &st) != 0)
			return node_bad(n, ERR_IO, "%.300s: %s", n->dir, strerror(errno));
		(void)snprintf(n->run_dir, sizeof n->run_dir, "/tmp/quorate-etcd-%u-%" PRIx64 "-%" PRIx64,
			       (unsigned)geteuid(), (uint64_t)st.st_dev, (uint64_t)st.st_ino);
	}
	if (lockfile_dir(n->run_dir, geteuid(), getegid(), why, sizeof why) != ERR_OK)
		return node_bad(n, ERR_CONFIG, "%s", why);
	return ERR_OK;
}

/* Whole or not at all, and synced. */
static int node_write(struct etcd_node *n, const char *name, struct bytes text)
{
	char path[ETCD_PATH], tmp[ETCD_PATH + 8];
	int fd, dir, bad;

	node_path(n, name, path);
	(void)snprintf(tmp, sizeof tmp, "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return node_bad(n, ERR_IO, "%.300s: %s", tmp, strerror(errno));
	bad = write(fd, text.data, text.len) != (ssize_t)text.len || fsync(fd) != 0;
	bad = close(fd) != 0 || bad;
	bad = bad || rename(tmp, path) != 0;
	dir = bad ? -1 : open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bad = bad || dir < 0 || fsync(dir) != 0;
	if (dir >= 0)
		(void)close(dir);
	return bad ? node_bad(n, ERR_IO, "%.300s: %s", path, strerror(errno)) : ERR_OK;
}

/* ---- what was decided at the first start */

static int state_write(struct etcd_node *n)
{
	const struct etcd_options *o = n->o;
	struct buf text;
	int rc;

	buf_init(&text, ETCD_STATE_BYTES - 1);
	buf_printf(&text, "name %s\ntoken %s\ncluster_id %" PRIu64 "\ninitial-cluster ", n->name,
		   o->initial_cluster_token, n->cluster_id);
	if (o->initial_cluster[0] != 0)
		buf_printf(&text, "%s\n", o->initial_cluster);
	else
		buf_printf(&text, "%s=%s\n", n->name, o->initial_advertise_peer_urls);
	rc = text.err != ERR_OK ? node_bad(n, ERR_CONFIG, "--initial-cluster is too long") :
				  node_write(n, "initial-cluster", buf_bytes(&text));
	buf_free(&text);
	return rc;
}

/* The value of a whole line "word value" of the text. NULL: there is none. */
static char *state_value(char *text, const char *word)
{
	size_t n = strlen(word);

	for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
		if (strncmp(line, word, n) == 0 && line[n] == ' ')
			return line + n + 1;
	return NULL;
}

static void state_cut(char *value)
{
	if (value != NULL)
		value[strcspn(value, "\n")] = 0;
}

/* ERR_NOT_FOUND: this is the first start. */
static int state_read(struct etcd_node *n, char text[ETCD_STATE_BYTES])
{
	char path[ETCD_PATH];
	ssize_t len;
	int fd;

	node_path(n, "initial-cluster", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return ERR_NOT_FOUND;
	len = fd >= 0 ? read(fd, text, ETCD_STATE_BYTES - 1) : -1;
	if (fd >= 0)
		(void)close(fd);
	if (len < 0)
		return node_bad(n, ERR_IO, "%.300s: %s", path, strerror(errno));
	text[len] = 0;
	return ERR_OK;
}

static int node_secret(struct etcd_node *n, const char *token)
{
	const char *file = n->o->secret_file, *why;

	n->secret_is_token = file[0] == 0;
	if (n->secret_is_token)
		etcd_keys_secret(token, n->secret);
	else if (keyfile_load(file, n->secret, &why) != ERR_OK)
		return node_bad(n, ERR_CONFIG, "--quorate-secret-file %.200s: %s; 64 hexadecimal digits and a newline, "
				"mode 0600: `quorate init --key FILE` makes one", file, why);
	return ERR_OK;
}

static int node_first_start(struct etcd_node *n)
{
	const struct etcd_options *o = n->o;
	const struct etcd_peer *self;
	struct etcd_urls advertised;
	char cluster[ETCD_HOST + ETCD_NAME];
	int rc;

	(void)snprintf(n->name, sizeof n->name, "%.63s", o->name);
	if (strcmp(o->initial_cluster_state, "new") != 0)
		return node_bad(n, ERR_CONFIG, "--initial-cluster-state=%.50s: a new member of a cluster that exists needs a "
				"change of membership, which this version has not", o->initial_cluster_state);
	rc = etcd_urls_parse("initial-advertise-peer-urls", o->initial_advertise_peer_urls, &advertised, n->why);
	if (rc == ERR_OK && o->initial_cluster[0] == 0)      /* as etcd: this node alone */
		(void)snprintf(cluster, sizeof cluster, "%s=%.250s", n->name, o->initial_advertise_peer_urls);
	if (rc == ERR_OK)
		rc = etcd_cluster_parse("initial-cluster", o->initial_cluster[0] != 0 ? o->initial_cluster : cluster,
					&n->cluster, n->why);
	if (rc != ERR_OK)
		return rc;
	self = etcd_cluster_find(&n->cluster, n->name);
	if (self == NULL)
		return node_bad(n, ERR_CONFIG, "couldn't find local name \"%s\" in the initial cluster configuration", n->name);
	if (advertised.n == 0 || strcmp(self->urls.v[0].host, advertised.v[0].host) != 0 ||
	    self->urls.v[0].port != advertised.v[0].port)
		return node_bad(n, ERR_CONFIG, "--initial-cluster has %s=http://%s:%u but missing from "
				"--initial-advertise-peer-urls=%.150s", n->name, self->urls.v[0].host, self->urls.v[0].port,
				o->initial_advertise_peer_urls);
	rc = node_secret(n, o->initial_cluster_token);
	if (rc != ERR_OK)
		return rc;
	n->cluster_id = etcd_keys_cluster_id(n->secret, &n->cluster);
	n->first = true;
	return ERR_OK;
}

/* As with etcd, what is said about the cluster counts only once. */
static int node_later_start(struct etcd_node *n, char *text)
{
	char *name = state_value(text, "name"), *token = state_value(text, "token"),
	     *id = state_value(text, "cluster_id"), *cluster = state_value(text, "initial-cluster");
	int rc;

	if (name == NULL || token == NULL || id == NULL || cluster == NULL)
		return node_bad(n, ERR_CONFIG, "%.300s/initial-cluster is damaged", n->dir);
	state_cut(name);
	state_cut(token);
	state_cut(id);
	state_cut(cluster);
	(void)snprintf(n->name, sizeof n->name, "%.63s", name);
	if (strcmp(name, n->o->name) != 0 || strcmp(token, n->o->initial_cluster_token) != 0 ||
	    (n->o->initial_cluster[0] != 0 && strcmp(cluster, n->o->initial_cluster) != 0))
		etcd_log(n->log, LOG_WARN, "this member is already initialized: its name, token and cluster stay",
			 "name", name, "initial-cluster-token", token, "initial-cluster", cluster, NULL);
	rc = etcd_cluster_parse("initial-cluster", cluster, &n->cluster, n->why);
	if (rc == ERR_OK)
		rc = node_secret(n, token);
	if (rc != ERR_OK)
		return rc;
	n->cluster_id = etcd_keys_cluster_id(n->secret, &n->cluster);
	if (n->cluster_id != strtoull(id, NULL, 10))
		return node_bad(n, ERR_CONFIG, "%.300s was made with another cluster secret", n->dir);
	return ERR_OK;
}

/* ---- addresses */

static int node_resolve(struct etcd_node *n, const char *flag, const struct etcd_url *u, char to[ETCD_ADDRESS])
{
	if (etcd_url_resolve(u, to) == ERR_OK)
		return ERR_OK;
	return node_bad(n, ERR_NOT_FOUND, "--%s: the name %.100s cannot be looked up", flag, u->host);
}

static int node_listen(struct etcd_node *n)
{
	const struct etcd_options *o = n->o;
	struct etcd_urls peers, http;
	int rc = etcd_urls_parse("listen-client-urls", o->listen_client_urls, &n->listen, n->why);

	if (rc == ERR_OK)
		rc = etcd_urls_parse("listen-client-http-urls", o->listen_client_http_urls, &http, n->why);
	if (rc == ERR_OK)
		rc = etcd_urls_parse("listen-peer-urls", o->listen_peer_urls, &peers, n->why);
	if (rc != ERR_OK)
		return rc;
	if (peers.n != 1)
		return node_bad(n, ERR_CONFIG, "--listen-peer-urls: nodes listen on one address for each other; "
				"0.0.0.0 is all of them");
	for (size_t i = 0; i < http.n && n->listen.n < ETCD_URLS; i++)
		n->listen.v[n->listen.n++] = http.v[i];
	if (n->listen.n == 0)
		return node_bad(n, ERR_CONFIG, "--listen-client-urls is empty");
	rc = node_resolve(n, "listen-peer-urls", &peers.v[0], n->peer_listen);
	for (size_t i = 0; i < n->listen.n && rc == ERR_OK; i++)
		rc = node_resolve(n, "listen-client-urls", &n->listen.v[i], n->listen_addr[i]);
	return rc;
}

/* Whether no two members are on one machine, as far as their URLs tell. */
static bool node_apart(const struct etcd_cluster *c)
{
	for (size_t i = 0; i < c->n; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(c->v[i].urls.v[0].host, c->v[k].urls.v[0].host) == 0)
				return false;
	return true;
}

/* What clients are told of member i: what was said, or the peer's host with our own port, or nothing. */
static void node_client_addr(struct etcd_node *n, size_t i)
{
	const struct etcd_peer *p = &n->cluster.v[i], *said = etcd_cluster_find(&n->clients, p->name);
	struct etcd_url guess = p->urls.v[0];

	(void)snprintf(n->client_addr[i], sizeof n->client_addr[i], "-");
	if (strcmp(p->name, n->name) == 0) {
		etcd_url_text(&n->advertise.v[0], n->client_addr[i], sizeof n->client_addr[i]);
	} else if (said != NULL) {
		etcd_url_text(&said->urls.v[0], n->client_addr[i], sizeof n->client_addr[i]);
	} else if (node_apart(&n->cluster)) {
		guess.port = n->advertise.v[0].port;
		etcd_url_text(&guess, n->client_addr[i], sizeof n->client_addr[i]);
	}
}

/* Where the last start found member i: a name that is gone must not keep the others down. ERR_NOT_FOUND: nowhere. */
static int node_peer_before(struct etcd_node *n, size_t i)
{
	uint64_t id = etcd_keys_node_id(n->secret, n->cluster_id, n->cluster.v[i].name);
	const struct config_member *m;
	struct config_error e;
	struct config before;
	char path[ETCD_PATH];

	node_path(n, "quorate.conf", path);
	if (config_read(path, 0, NULL, &before, &e) != ERR_OK)
		return ERR_NOT_FOUND;
	m = config_member_by_id(&before, id);
	if (m != NULL) {
		(void)snprintf(n->peer_addr[i], sizeof n->peer_addr[i], "%s", m->peer_addr);
		etcd_log(n->log, LOG_WARN, n->why, "used-instead", n->peer_addr[i], NULL);
		n->why[0] = 0;
	}
	config_free(&before);
	return m != NULL ? ERR_OK : ERR_NOT_FOUND;
}

static int node_addresses(struct etcd_node *n)
{
	const char *said = n->o->advertise_client_urls;
	int rc = node_listen(n);

	if (rc == ERR_OK)
		rc = etcd_urls_parse("advertise-client-urls", said[0] != 0 ? said : n->o->listen_client_urls,
				     &n->advertise, n->why);
	if (rc == ERR_OK)
		rc = etcd_cluster_parse("quorate-client-urls", n->o->client_urls, &n->clients, n->why);
	if (rc == ERR_OK && n->advertise.n == 0)
		rc = node_bad(n, ERR_CONFIG, "--advertise-client-urls is empty");
	for (size_t i = 0; i < n->cluster.n && rc == ERR_OK; i++) {
		node_client_addr(n, i);
		rc = node_resolve(n, "initial-cluster", &n->cluster.v[i].urls.v[0], n->peer_addr[i]);
		if (rc == ERR_NOT_FOUND && !n->first)
			rc = node_peer_before(n, i);
	}
	return rc;
}

/* ---- all of it */

static int node_key(struct etcd_node *n, const char *name, const uint8_t key[KEY_LEN])
{
	char path[ETCD_PATH];
	const char *why;

	node_path(n, name, path);
	if (keyfile_save(path, key, KEYFILE_REPLACE, &why) != ERR_OK)
		return node_bad(n, ERR_IO, "%.300s: %s", path, why);
	return ERR_OK;
}

static int node_files(struct etcd_node *n)
{
	uint8_t key[KEY_LEN];
	struct buf text;
	int rc;

	etcd_keys_node(n->secret, n->name, key);
	rc = node_key(n, "node.key", key);
	key_wipe(key);
	if (rc == ERR_OK) {
		key_derive(n->secret, "quorate-etcd: what nodes share", (struct bytes){0}, key);
		rc = node_key(n, "cluster.secret", key);
		key_wipe(key);
	}
	if (rc != ERR_OK)
		return rc;
	buf_init(&text, LIMIT_CONFIG_BYTES);
	config_write(&text, &n->config);
	node_path(n, "quorate.conf", n->config_path);
	rc = node_write(n, "quorate.conf", buf_bytes(&text));
	buf_free(&text);
	return rc == ERR_OK && n->first ? state_write(n) : rc;   /* last: from now on it stands */
}

int etcd_node_open(struct etcd_node *n, const struct etcd_options *o, const struct etcd_log *log, char why[ETCD_WHY])
{
	char text[ETCD_STATE_BYTES];
	int rc;

	memset(n, 0, sizeof *n);
	n->o = o;
	n->log = log;
	n->why = why;
	n->lock_fd = -1;
	rc = node_dir(n);
	if (rc == ERR_OK)
		rc = node_lock(n);
	if (rc == ERR_OK)
		rc = node_run_dir(n);
	if (rc != ERR_OK)
		return rc;
	rc = state_read(n, text);
	if (rc == ERR_NOT_FOUND)
		rc = node_first_start(n);
	else if (rc == ERR_OK)
		rc = node_later_start(n, text);
	if (rc == ERR_OK)
		rc = node_addresses(n);
	if (rc == ERR_OK)
		rc = etcd_config_make(n);
	return rc == ERR_OK ? node_files(n) : rc;
}

void etcd_node_close(struct etcd_node *n)
{
	key_wipe(n->secret);
	if (n->config.client_listen != NULL)
		config_free(&n->config);
	if (n->lock_fd >= 0)
		(void)close(n->lock_fd);
	n->lock_fd = -1;
}
