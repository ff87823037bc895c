/* SPDX-License-Identifier: Apache-2.0 */
/* A node's keys, ids and configuration, from what etcd's flags said. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "ctl/ctl.h"
#include "ctl/etcd_node.h"

enum { RETENTION_HOURS_MAX = 87600 };      /* as history_s */

/* ---- keys: every node makes the same ones */

static const uint8_t no_key[KEY_LEN];

void etcd_keys_secret(const char *token, uint8_t secret[KEY_LEN])
{
	key_derive(no_key, "quorate-etcd: secret of a cluster token", bytes_str(token), secret);
}

void etcd_keys_node(const uint8_t secret[KEY_LEN], const char *name, uint8_t key[KEY_LEN])
{
	key_derive(secret, "quorate-etcd: key of a node", bytes_str(name), key);
}

/* 53 bits, and not 0: JSON readers that know only doubles take it whole. */
static uint64_t keys_id(const uint8_t key[KEY_LEN])
{
	return (get_u64(key) >> 11) | 1;
}

uint64_t etcd_keys_cluster_id(const uint8_t secret[KEY_LEN], const struct etcd_cluster *c)
{
	uint8_t id[KEY_LEN];
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < c->n; i++)
		for (size_t k = 0; k < c->v[i].urls.n; k++)
			buf_printf(&text, "%s=%s:%u\n", c->v[i].name, c->v[i].urls.v[k].host, c->v[i].urls.v[k].port);
	key_derive(secret, "quorate-etcd: id of a cluster", buf_bytes(&text), id);
	buf_free(&text);
	return keys_id(id);
}

uint64_t etcd_keys_node_id(const uint8_t secret[KEY_LEN], uint64_t cluster_id, const char *name)
{
	uint8_t id[KEY_LEN];
	struct buf text;

	buf_init(&text, 0);
	buf_printf(&text, "%" PRIu64 " %s", cluster_id, name);
	key_derive(secret, "quorate-etcd: id of a node", buf_bytes(&text), id);
	buf_free(&text);
	return keys_id(id);
}

/* ---- the configuration */

static int config_bad(struct etcd_node *n, const char *flag, const char *what, const char *value)
{
	(void)snprintf(n->why, ETCD_WHY, "--%s: %s: %.200s", flag, what, value);
	return ERR_CONFIG;
}

static const char *config_level(const struct etcd_options *o)
{
	if (strcmp(o->debug, "true") == 0)
		return "debug";
	for (const char *const *l = (const char *const[]){"dpanic", "panic", "fatal", NULL}; *l != NULL; l++)
		if (strcmp(o->log_level, *l) == 0)
			return "error";
	return o->log_level;
}

/* Given by etcd's flags, or else our own, shorter ones. etcd's timeouts are drawn from T to 2 T. */
static int config_times(struct etcd_node *n, struct buf *out)
{
	const struct etcd_options *o = n->o;
	int64_t election = 1000, heartbeat = 100, progress;

	if (o->watch_progress[0] != 0) {
		if (duration_parse(o->watch_progress, &progress) != ERR_OK || progress < 100)
			return config_bad(n, "watch-progress-notify-interval", "not a time from 100ms on",
					  o->watch_progress);
		buf_printf(out, "watch_progress_ms = %" PRId64 "\n", progress);
	}
	if (o->heartbeat_interval[0] == 0 && o->election_timeout[0] == 0)
		return ERR_OK;
	if (o->heartbeat_interval[0] != 0 &&
	    (number_parse(o->heartbeat_interval, 10, &heartbeat) != ERR_OK || heartbeat < 5 || heartbeat > 10000))
		return config_bad(n, "heartbeat-interval", "not 5 to 10000 milliseconds", o->heartbeat_interval);
	if (o->election_timeout[0] != 0 &&
	    (number_parse(o->election_timeout, 10, &election) != ERR_OK || election < 20 || election > 50000))
		return config_bad(n, "election-timeout", "not 20 to 50000 milliseconds", o->election_timeout);
	if (election < 5 * heartbeat)
		return config_bad(n, "election-timeout", "not five times the heartbeat interval", o->election_timeout);
	buf_printf(out, "heartbeat_ms = %" PRId64 "\nelection_min_ms = %" PRId64 "\nelection_max_ms = %" PRId64 "\n",
		   heartbeat, election, 2 * election < 60000 ? 2 * election - 1 : 60000);
	if (2 * election > (int64_t)LIMIT_REQUEST_TIMEOUT_MS)
		buf_printf(out, "request_timeout_ms = %" PRId64 "\n", 5000 + 2 * election);
	return ERR_OK;
}

/* By time a bare number is hours. Compacted is in smaller steps than etcd's, and never more than was said. */
static int config_retention(struct etcd_node *n, struct buf *out)
{
	const char *mode = n->o->compaction_mode, *given = n->o->compaction_retention[0] != 0 ? n->o->compaction_retention : "0";
	bool by_revision = strcmp(mode, "revision") == 0;
	int64_t keep;

	if (!by_revision && strcmp(mode, "periodic") != 0)
		return config_bad(n, "auto-compaction-mode", "neither periodic nor revision", mode);
	if (number_parse(given, 10, &keep) == ERR_OK) {
		if (keep < 0 || (!by_revision && keep > RETENTION_HOURS_MAX))
			return config_bad(n, "auto-compaction-retention", "out of range", given);
		buf_printf(out, "%s = %" PRId64 "\n", by_revision ? "history_revisions" : "history_s",
			   by_revision ? keep : keep * 3600);
		return ERR_OK;
	}
	if (by_revision || duration_parse(given, &keep) != ERR_OK || keep < 0 || keep / 3600000 > RETENTION_HOURS_MAX)
		return config_bad(n, "auto-compaction-retention", by_revision ? "not a number of revisions" :
				  "neither hours nor a time like 90m", given);
	buf_printf(out, "history_s = %" PRId64 "\n", (keep + 999) / 1000);
	return ERR_OK;
}

static void config_members(struct etcd_node *n, struct buf *out)
{
	for (size_t i = 0; i < n->cluster.n; i++) {
		const char *name = n->cluster.v[i].name;
		uint8_t key[KEY_LEN], public_key[KEY_LEN];
		char hex[KEY_HEX_LEN + 1];

		etcd_keys_node(n->secret, name, key);
		key_public(key, public_key);
		key_wipe(key);
		key_to_hex(public_key, hex);
		buf_printf(out, "member = %" PRIu64 " %s %s %s %s\n",
			   etcd_keys_node_id(n->secret, n->cluster_id, name), name, n->peer_addr[i],
			   n->client_addr[i], hex);
	}
}

static int config_settings(struct etcd_node *n, struct buf *out)
{
	const struct etcd_options *o = n->o;
	int rc;

	buf_printf(out, "cluster_id = %" PRIu64 "\nnode_id = %" PRIu64 "\n", n->cluster_id,
		   etcd_keys_node_id(n->secret, n->cluster_id, n->name));
	buf_printf(out, "data_dir = %s\nrun_dir = %s\n", n->dir, n->run_dir);
	if (o->wal_dir[0] != 0)
		buf_printf(out, "log_dir = %s\n", o->wal_dir);
	buf_printf(out, "client_listen = %s\npeer_listen = %s\ngateways = %zu\nlog_level = %s\n", n->listen_addr[0],
		   n->peer_listen, n->listen.n, config_level(o));
	rc = config_times(n, out);
	if (rc == ERR_OK)
		rc = config_retention(n, out);
	config_members(n, out);
	return rc;
}

int etcd_config_make(struct etcd_node *n)
{
	struct config_error e;
	struct buf text;
	int rc;

	buf_init(&text, LIMIT_CONFIG_BYTES);
	rc = config_settings(n, &text);
	if (rc == ERR_OK && text.err != ERR_OK) {
		(void)snprintf(n->why, ETCD_WHY, "the configuration: %s", err_text(text.err));
		rc = text.err;
	} else if (rc == ERR_OK) {
		rc = config_parse(buf_bytes(&text), "etcd's flags, as a configuration", 0, NULL, &n->config, &e);
		if (rc != ERR_OK) {
			memset(&n->config, 0, sizeof n->config);
			(void)snprintf(n->why, ETCD_WHY, "%s", e.text);
		}
	}
	buf_free(&text);
	return rc;
}
