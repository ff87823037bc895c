/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a node: one file of `key = value` lines for all its daemons, `#` comments,
 * then command-line flags of the same names (--key value or --key=value), which win. Unknown or
 * repeated keys, bad values and inconsistent settings are errors that name the file and line.
 *
 * A row: C(kind, key, default, minimum, maximum, "help"). `quorate init` writes the commented
 * file, and the man page quorate.conf(5) lists the same rows.
 */
#ifndef QUORATE_CONFIG_H
#define QUORATE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"

#define CONFIG_LIST(C) \
	C(U64, cluster_id, "", 1, UINT64_MAX, "the cluster's id, the same on all nodes; made by `quorate init`") \
	C(U64, node_id, "", 1, UINT64_MAX, "this node's id; one of the member lines") \
	C(STR, data_dir, "/var/lib/quorate", 0, 0, "where raft/, store/ and snap/ live") \
	C(STR, run_dir, "/run/quorate", 0, 0, "sockets and locks; mode 0700") \
	C(STR, log_dir, "", 0, 0, "directory of the raft log if not DATA_DIR/raft (a disk of its own)") \
	C(STR, key_file, "", 0, 0, "this node's secret key; default DATA_DIR/node.key") \
	C(STR, secret_file, "", 0, 0, "the cluster's shared secret; default DATA_DIR/cluster.secret") \
	C(STR, user, "", 0, 0, "user to become when started as root; empty: stay") \
	C(STR, peer_listen, "127.0.0.1:2380", 0, 0, "address:port for the other nodes; [v6]:port too") \
	C(STR, client_listen, "127.0.0.1:2379", 0, 0, "address:port for client programs") \
	C(U64, gateways, "1", 1, 16, "gatewayd processes that share the client port") \
	C(U64, election_min_ms, "150", 20, 50000, "shortest election timeout") \
	C(U64, election_max_ms, "300", 30, 60000, "longest election timeout") \
	C(U64, heartbeat_ms, "50", 5, 10000, "heartbeat interval of a leader") \
	C(U64, segment_mb, "64", 2, 1024, "size of a raft log segment, MiB") \
	C(U64, cache_mb, "32", 1, 65536, "newest raft log entries kept in memory, MiB") \
	C(U64, store_map_gb, "256", 1, 65536, "address space reserved for the store, GiB; no disk is used ahead") \
	C(U64, snapshot_log_mb, "256", 4, 1048576, "size of the raft log at which it is cut behind a snapshot, MiB") \
	C(U64, snapshot_rate_mb, "64", 1, 65536, "most MiB a second that a snapshot is copied or sent with") \
	C(U64, store_check_s, "3600", 0, 31536000, "seconds from one look at the whole store for damage to the next; 0: never") \
	C(U64, history_s, "0", 0, 315360000, "seconds for which history is kept at least; older is compacted; 0: not by time") \
	C(U64, history_revisions, "0", 0, INT64_MAX, "revisions of history kept at least; older is compacted; 0: not by number") \
	C(U64, request_timeout_ms, "7000", 100, 600000, "longest wait of a client's request for the cluster") \
	C(U64, watch_progress_ms, "600000", 100, 86400000, "between progress notifications of a quiet watch that asked for them") \
	C(STR, log_level, "info", 0, 0, "error, warn, info or debug")

enum config_kind { CONFIG_U64, CONFIG_STR };

/*
 * One voter: `member = ID NAME PEER_ADDRESS CLIENT_ADDRESS PUBLIC_KEY_HEX`, a line for each node
 * of the cluster, this one included.
 */
struct config_member {
	uint64_t id;
	char *name;
	char *peer_addr;
	char *client_addr;      /* empty: not known, `-` in the file */
	uint8_t key[32];
};

struct config {
	struct {
#define CONFIG_MEMBER_U64(key) uint64_t key;
#define CONFIG_MEMBER_STR(key) char *key;
#define CONFIG_MEMBER_(kind, key, def, min, max, help) CONFIG_MEMBER_##kind(key)
		CONFIG_LIST(CONFIG_MEMBER_)
#undef CONFIG_MEMBER_
	};
	struct config_member members[LIMIT_NODES];
	size_t n_members;
};

struct config_error {
	char text[512];
};

/*
 * Defaults, then the file, then the flags; then checks. argv holds argc flags and their values and
 * nothing else (no program name); it may hold none. ERR_OK, or ERR_CONFIG with the reason in *e and
 * nothing to free in *c.
 */
int config_read(const char *path, int argc, char *const *argv, struct config *c, struct config_error *e);
/* The same for a file that is in memory; `name` stands for it in errors. */
int config_parse(struct bytes text, const char *name, int argc, char *const *argv, struct config *c,
		 struct config_error *e);
/* True for "--KEY" and "--KEY=VALUE" of a key above; *takes_next says the value is a word of its own. */
bool config_is_flag(const char *word, bool *takes_next);
void config_free(struct config *c);
const struct config_member *config_self(const struct config *c);          /* never NULL after config_read */
const struct config_member *config_member_by_id(const struct config *c, uint64_t id);   /* or NULL */

/* The commented file for this configuration. */
void config_write(struct buf *out, const struct config *c);

/*
 * "1.2.3.4:port" or "[v6]:port" -> sockaddr; numeric addresses only (no name lookup in a loop).
 * ERR_OK or ERR_CONFIG.
 */
struct sockaddr_storage;
int config_address(const char *text, struct sockaddr_storage *ss, unsigned *len);

/* DIR/NAME; mem_alloc'ed. */
char *config_path(const char *dir, const char *name);

#endif
