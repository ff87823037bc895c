/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/etcd_flags.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

enum fate { USED, IGNORED, WARNED, REFUSED, PEER_TLS };

struct etcd_flag {
	const char *name;
	enum fate fate;
	size_t offset;          /* of USED */
	const char *def;        /* of USED; of the others a value that changes nothing, besides "" and false */
	const char *why;
	bool is_bool;
};

#define U(name, member, def) {name, USED, offsetof(struct etcd_options, member), def, NULL, false}
#define UB(name, member) {name, USED, offsetof(struct etcd_options, member), "false", NULL, true}
#define I(name, why) {name, IGNORED, 0, NULL, why, false}
#define IB(name, why) {name, IGNORED, 0, NULL, why, true}
#define W(name, def, why) {name, WARNED, 0, def, why, false}
#define R(name, def, why) {name, REFUSED, 0, def, why, false}
#define RB(name, why) {name, REFUSED, 0, NULL, why, true}
#define P(name) {name, PEER_TLS, 0, NULL, tls_peer, false}
#define PB(name) {name, PEER_TLS, 0, NULL, tls_peer, true}

static const char tls_client[] = "clients cannot speak TLS with this version, and must not be served without it instead";
static const char tls_peer[] = "nodes prove themselves to each other by keys made of the cluster secret instead";
static const char size_log[] = "the log is cut behind a snapshot by its size, see quorate.conf(5)";
static const char backend[] = "the store is another one";
static const char held[] = "this holds anyway";
static const char discovery[] = "the members are those of --initial-cluster; there is no discovery";
static const char own[] = "limits and times of this kind are fixed here";
static const char watched[] = "a check of etcd's own workings";
static const char turned[] = "the log goes to standard error; whoever runs this turns it over";
static const char traced[] = "there is no tracing, profiling or other form of metrics";
static const char quota[] = "there is no quota: the store grows until its disk is nearly full, and then there is an alarm";

static const struct etcd_flag etcd_flags[] = {
	U("name", name, "default"), U("data-dir", data_dir, ""), U("wal-dir", wal_dir, ""),
	U("listen-peer-urls", listen_peer_urls, "http://localhost:2380"),
	U("listen-client-urls", listen_client_urls, "http://localhost:2379"),
	U("listen-client-http-urls", listen_client_http_urls, ""),
	U("initial-advertise-peer-urls", initial_advertise_peer_urls, "http://localhost:2380"),
	U("advertise-client-urls", advertise_client_urls, ""),
	U("initial-cluster", initial_cluster, ""), U("initial-cluster-state", initial_cluster_state, "new"),
	U("initial-cluster-token", initial_cluster_token, "etcd-cluster"),
	U("heartbeat-interval", heartbeat_interval, ""), U("election-timeout", election_timeout, ""),
	U("watch-progress-notify-interval", watch_progress, ""),
	U("experimental-watch-progress-notify-interval", watch_progress, ""),
	U("auto-compaction-mode", compaction_mode, "periodic"), U("auto-compaction-retention", compaction_retention, "0"),
	U("log-level", log_level, "info"), U("log-format", log_format, "json"), U("logger", logger, "zap"),
	UB("debug", debug), U("config-file", config_file, ""), UB("version", version), UB("help", help),
	U("quorate-secret-file", secret_file, ""), U("quorate-client-urls", client_urls, ""),
	U("quorate-bin-dir", bin_dir, ""),

	I("snapshot-count", size_log), I("snapshot-catchup-entries", size_log),
	I("experimental-snapshot-catchup-entries", size_log), I("max-snapshots", size_log), I("max-wals", size_log),
	IB("memory-mlock", backend), IB("experimental-memory-mlock", backend), I("backend-bbolt-freelist-type", backend),
	I("backend-batch-interval", backend), I("backend-batch-limit", backend), IB("unsafe-no-fsync", "every write is synced"),
	I("bootstrap-defrag-threshold-megabytes", backend), I("max-txn-ops", own), I("max-request-bytes", own),
	I("max-concurrent-streams", own), I("grpc-keepalive-min-time", own), I("grpc-keepalive-interval", own),
	I("grpc-keepalive-timeout", own), IB("socket-reuse-port", own), IB("socket-reuse-address", own),
	I("raft-read-timeout", own), I("raft-write-timeout", own), I("max-learners", own), I("downgrade-check-time", own),
	IB("enable-grpc-gateway", "the HTTP interfaces are what this version has"),
	IB("initial-election-tick-advance", held), IB("strict-reconfig-check", held), IB("pre-vote", held),
	I("feature-gates", watched), I("corrupt-check-time", watched), I("compact-hash-check-time", watched),
	I("compaction-batch-limit", watched), I("compaction-sleep-interval", watched),
	I("warning-unary-request-duration", watched), I("warning-apply-duration", watched),
	I("v2-deprecation", "there is no v2"), IB("enable-v2", "there is no v2"),
	I("cors", "no other origin is let in"), I("cipher-suites", "there is no TLS"), I("tls-min-version", "there is no TLS"),
	I("tls-max-version", "there is no TLS"), I("self-signed-cert-validity", "there is no TLS"),
	I("bcrypt-cost", "there are no users"), I("auth-token-ttl", "there are no users"),
	I("metrics", traced), I("listen-metrics-urls", traced), IB("enable-pprof", traced),
	IB("enable-distributed-tracing", traced), I("distributed-tracing-address", traced),
	I("distributed-tracing-service-name", traced), I("distributed-tracing-instance-id", traced),
	I("distributed-tracing-sampling-rate", traced), I("log-outputs", turned), I("log-package-levels", turned),
	I("log-output", turned), IB("enable-log-rotation", turned), I("log-rotation-config-json", turned),

	W("quota-backend-bytes", "0", quota),

	R("cert-file", NULL, tls_client), R("key-file", NULL, tls_client), RB("client-cert-auth", tls_client),
	R("trusted-ca-file", NULL, tls_client), R("ca-file", NULL, tls_client), R("client-crl-file", NULL, tls_client),
	R("client-cert-allowed-hostname", NULL, tls_client), R("client-cert-file", NULL, tls_client),
	R("client-key-file", NULL, tls_client), RB("auto-tls", tls_client),
	R("host-whitelist", "*", "whom a Host header may name is not looked at"),
	R("auth-token", "simple", "there are no users yet"),
	RB("force-new-cluster", "a lost quorum is not mended like this, see docs/operations.md"),
	R("discovery", NULL, discovery), R("discovery-srv", NULL, discovery), R("discovery-srv-name", NULL, discovery),
	R("discovery-token", NULL, discovery), R("discovery-endpoints", NULL, discovery),
	R("discovery-proxy", NULL, discovery), I("discovery-fallback", discovery),
	R("proxy", "off", "there is no proxy"),

	P("peer-cert-file"), P("peer-key-file"), PB("peer-client-cert-auth"), P("peer-trusted-ca-file"), P("peer-ca-file"),
	P("peer-client-cert-file"), P("peer-client-key-file"), PB("peer-auto-tls"), P("peer-cert-allowed-cn"),
	P("peer-cert-allowed-hostname"), P("peer-crl-file"), PB("peer-skip-client-san-verification")};

enum source { SOURCE_NONE, SOURCE_FILE, SOURCE_ENV, SOURCE_ARGV };

struct etcd_flags {
	struct etcd_options *o;
	char *values[ARRAY_LEN(etcd_flags)];   /* as given, or NULL */
	char *why;
};

static char **etcd_member(struct etcd_options *o, const struct etcd_flag *f)
{
	return (char **)(void *)((char *)o + f->offset);
}

static const struct etcd_flag *etcd_flag_find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(etcd_flags); i++)
		if (strlen(etcd_flags[i].name) == len && memcmp(etcd_flags[i].name, name, len) == 0)
			return &etcd_flags[i];
	return NULL;
}

static void etcd_note(struct etcd_options *o, const char *name, const char *why, bool warn)
{
	if (o->n_notes < ETCD_NOTES)
		o->notes[o->n_notes++] = (struct etcd_note){mem_strdup(name), why, warn};
}

/* Flags that were experimental in one version and are none in another: never more than tuning. */
static bool etcd_experimental(const char *name, size_t len)
{
	return len > 13 && memcmp(name, "experimental-", 13) == 0;
}

static void etcd_set(struct etcd_flags *f, const struct etcd_flag *flag, const char *value)
{
	size_t i = (size_t)(flag - etcd_flags);

	mem_free(f->values[i]);
	f->values[i] = mem_strdup(value);
}

static int etcd_argv_one(struct etcd_flags *f, int argc, char **argv, int *at)
{
	const char *word = argv[*at], *equals = strchr(word, '='), *value;
	const struct etcd_flag *flag;
	size_t len;

	if (word[0] != '-' || word[1] == 0) {
		(void)snprintf(f->why, ETCD_WHY, "'%.100s' is not a valid flag", word);
		return ERR_BAD_ARGUMENT;
	}
	word += word[1] == '-' ? 2 : 1;
	len = equals != NULL ? (size_t)(equals - word) : strlen(word);
	flag = len == 1 && *word == 'h' ? etcd_flag_find("help", 4) : etcd_flag_find(word, len);
	if (flag == NULL && !etcd_experimental(word, len)) {
		(void)snprintf(f->why, ETCD_WHY, "flag provided but not defined: -%.*s", len < 100 ? (int)len : 100, word);
		return ERR_BAD_ARGUMENT;
	}
	value = equals != NULL ? equals + 1 : flag != NULL && flag->is_bool ? "true" : NULL;
	/* an experimental flag's kind is not known: a word that is no flag behind it is its value */
	if (value == NULL && flag == NULL && (*at + 1 >= argc || argv[*at + 1][0] == '-'))
		value = "true";
	if (value == NULL && *at + 1 >= argc) {
		(void)snprintf(f->why, ETCD_WHY, "flag needs an argument: -%s", flag->name);
		return ERR_BAD_ARGUMENT;
	}
	if (value == NULL)
		value = argv[++*at];
	if (flag != NULL)
		etcd_set(f, flag, value);
	else
		etcd_note(f->o, word, watched, false);
	return ERR_OK;
}

/* ETCD_DATA_DIR=x -> data-dir */
static void etcd_env_one(struct etcd_flags *f, const char *entry)
{
	char name[64];
	const char *equals = strchr(entry, '=');
	size_t len = equals != NULL ? (size_t)(equals - entry) : 0;
	const struct etcd_flag *flag;

	if (len <= 5 || len >= sizeof name || memcmp(entry, "ETCD_", 5) != 0)
		return;
	len -= 5;
	for (size_t i = 0; i < len; i++) {
		char c = entry[5 + i];

		name[i] = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	name[len] = 0;
	flag = etcd_flag_find(name, len);
	if (flag == NULL)
		etcd_note(f->o, name, "an unknown variable of the environment", true);
	else if (f->values[flag - etcd_flags] == NULL)
		etcd_set(f, flag, equals + 1);
}

int etcd_flags_file(struct etcd_flags *f, const char *name, const char *value)
{
	const struct etcd_flag *flag = etcd_flag_find(name, strlen(name));

	if (flag != NULL) {
		etcd_set(f, flag, value);
	} else if (etcd_experimental(name, strlen(name))) {
		etcd_note(f->o, name, watched, false);
	} else {
		(void)snprintf(f->why, ETCD_WHY, "the configuration file has a key that etcd has not: %.100s", name);
		return ERR_CONFIG;
	}
	return ERR_OK;
}

static void etcd_forget(struct etcd_flags *f)
{
	for (size_t i = 0; i < ARRAY_LEN(etcd_flags); i++) {
		mem_free(f->values[i]);
		f->values[i] = NULL;
	}
	for (size_t i = 0; i < f->o->n_notes; i++)
		mem_free(f->o->notes[i].name);
	f->o->n_notes = 0;
}

/* Whether the value asks for anything. */
static bool etcd_asks(const struct etcd_flag *flag, const char *value)
{
	return value != NULL && value[0] != 0 && strcmp(value, "false") != 0 &&
	       (flag->def == NULL || strcmp(value, flag->def) != 0);
}

static const char *etcd_given(const struct etcd_flags *f, const char *name)
{
	const struct etcd_flag *flag = etcd_flag_find(name, strlen(name));

	CHECK(flag != NULL);
	return f->values[flag - etcd_flags];
}

/* Values into the options; the fates of the others. */
static int etcd_settle(struct etcd_flags *f)
{
	const char *secret = etcd_given(f, "quorate-secret-file");
	bool have_secret = secret != NULL && secret[0] != 0;

	for (size_t i = 0; i < ARRAY_LEN(etcd_flags); i++) {
		const struct etcd_flag *flag = &etcd_flags[i];
		const char *value = f->values[i];
		bool asks = etcd_asks(flag, value);

		if (flag->fate == USED) {
			char **to = etcd_member(f->o, flag);

			if (value == NULL && *to != NULL)   /* the other name of one that was given */
				continue;
			/* What is kept of it is kept in lines. */
			if (value != NULL && strchr(value, '\n') != NULL) {
				(void)snprintf(f->why, ETCD_WHY, "--%s: a value of several lines", flag->name);
				return ERR_CONFIG;
			}
			mem_free(*to);
			*to = mem_strdup(value != NULL ? value : flag->def);
		} else if (asks && (flag->fate == REFUSED || (flag->fate == PEER_TLS && !have_secret))) {
			(void)snprintf(f->why, ETCD_WHY, "--%s=%.100s is refused: %s%s", flag->name, value, flag->why,
				       flag->fate == PEER_TLS ? "; give --quorate-secret-file" : "");
			return ERR_CONFIG;
		} else if (asks) {
			etcd_note(f->o, flag->name, flag->why, flag->fate == WARNED);
		}
	}
	return ERR_OK;
}

int etcd_options_read(int argc, char **argv, char **envp, struct etcd_options *o, char why[ETCD_WHY])
{
	struct etcd_flags f = {.o = o, .why = why};
	const char *path;
	char *copy;
	int rc = ERR_OK;

	memset(o, 0, sizeof *o);
	why[0] = 0;
	for (int i = 1; i < argc && rc == ERR_OK; i++)
		rc = etcd_argv_one(&f, argc, argv, &i);
	for (char **e = envp; *e != NULL && rc == ERR_OK; e++)
		etcd_env_one(&f, *e);
	path = etcd_given(&f, "config-file");
	if (rc == ERR_OK && path != NULL && path[0] != 0) {
		copy = mem_strdup(path);
		etcd_forget(&f);
		rc = etcd_yaml_read(copy, &f, why);
		mem_free(copy);
	}
	if (rc == ERR_OK)
		rc = etcd_settle(&f);
	for (size_t i = 0; i < ARRAY_LEN(etcd_flags); i++)
		mem_free(f.values[i]);
	return rc;
}

void etcd_options_free(struct etcd_options *o)
{
	for (size_t i = 0; i < ARRAY_LEN(etcd_flags); i++)
		if (etcd_flags[i].fate == USED) {
			mem_free(*etcd_member(o, &etcd_flags[i]));
			*etcd_member(o, &etcd_flags[i]) = NULL;
		}
	for (size_t i = 0; i < o->n_notes; i++)
		mem_free(o->notes[i].name);
	o->n_notes = 0;
}
