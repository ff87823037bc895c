/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd's flags, environment and configuration file, as quorate-etcd takes them: one table says of each what
 * becomes of it. Flags win over the environment; with a file neither counts, as with etcd.
 *
 *   USED        a member of struct etcd_options
 *   IGNORED     has no meaning here: one line in the log says why
 *   REFUSED     would be unsafe to ignore: an error, unless it is empty or says what holds anyway
 *   PEER_TLS    refused without a cluster secret, else ignored: nodes speak Noise with each other
 */
#ifndef QUORATE_CTL_ETCD_FLAGS_H
#define QUORATE_CTL_ETCD_FLAGS_H

#include <stdbool.h>
#include <stddef.h>

enum { ETCD_WHY = 512, ETCD_NOTES = 64 };

/* Texts as given, or the default; never NULL. They live until etcd_options_free(). */
struct etcd_options {
	char *name, *data_dir, *wal_dir;
	char *listen_peer_urls, *listen_client_urls, *listen_client_http_urls;
	char *initial_advertise_peer_urls, *advertise_client_urls;
	char *initial_cluster, *initial_cluster_state, *initial_cluster_token;
	char *heartbeat_interval, *election_timeout, *watch_progress;
	char *compaction_mode, *compaction_retention;
	char *log_level, *log_format, *logger, *debug;
	char *config_file, *version, *help;
	/* ours */
	char *secret_file, *client_urls, *bin_dir;

	/* What the log is to say about flags that were given: static reasons, names as given. */
	struct etcd_note {
		char *name;
		const char *why;
		bool warn;
	} notes[ETCD_NOTES];
	size_t n_notes;
};

/*
 * argv[1..], envp (NAME=VALUE strings, ended by NULL) and the file that they name. ERR_OK, or ERR_BAD_ARGUMENT
 * (a flag that is none, or has no value) or ERR_CONFIG (refused) with a sentence. To be freed in any case.
 */
int etcd_options_read(int argc, char **argv, char **envp, struct etcd_options *o, char why[ETCD_WHY]);
void etcd_options_free(struct etcd_options *o);

/* One setting from a configuration file's text; used by etcd_yaml.c. */
struct etcd_flags;
int etcd_flags_file(struct etcd_flags *f, const char *name, const char *value);
/* The file's text: names and values to etcd_flags_file(). */
int etcd_yaml_read(const char *path, struct etcd_flags *f, char why[ETCD_WHY]);

#endif
