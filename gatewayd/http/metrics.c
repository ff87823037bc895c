/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/http/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gatewayd/etcd/grpc.h"

static void metric(struct buf *out, const char *name, const char *type, const char *help, int64_t v)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRId64 "\n", name, help, name, type, name, v);
}

static void metric_labelled(struct buf *out, const char *name, const char *help, const char *label, const char *value)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s{%s=\"%s\"} 1\n", name, help, name, name, label, value);
}

static void metrics_server(struct gateway *g, const struct native_status_result *s, struct buf *out)
{
	char id[24];

	(void)snprintf(id, sizeof id, "%" PRIx64, s->header->member_id);
	metric(out, "etcd_server_has_leader", "gauge", "Whether the node asked knows a leader.", s->leader != 0);
	metric(out, "etcd_server_is_leader", "gauge", "Whether the node asked leads.",
	       s->leader != 0 && s->leader == s->header->member_id);
	metric_labelled(out, "etcd_server_id", "The node asked, in hexadecimal.", "server_id", id);
	metric_labelled(out, "etcd_server_version", "The version of etcd that is spoken.", "server_version",
			ETCD_VERSION);
	metric_labelled(out, "etcd_cluster_version", "The same of the cluster.", "cluster_version", ETCD_VERSION);
	metric_labelled(out, "quorate_version", "The version of this server.", "version", QUORATE_VERSION);
	metric(out, "etcd_server_proposals_committed_total", "gauge", "Index of the last committed entry.",
	       (int64_t)s->commit);
	metric(out, "etcd_server_proposals_applied_total", "gauge", "Index of the last applied entry.",
	       (int64_t)s->applied);
	metric(out, "etcd_server_proposals_pending", "gauge", "Commands of this gatewayd without a result.",
	       (int64_t)g->raft.n_proposals);
	metric(out, "etcd_server_quota_backend_bytes", "gauge", "How large the store may become.",
	       (int64_t)(g->config->store_map_gb << 30));
	metric(out, "quorate_raft_term", "gauge", "Term of the node asked.", (int64_t)s->header->raft_term);
	metric(out, "quorate_log_bytes", "gauge", "Size of the log's files.", (int64_t)s->log_bytes);
}

static void metrics_store(const struct native_status_result *s, struct buf *out)
{
	metric(out, "etcd_mvcc_db_total_size_in_bytes", "gauge", "Size of the store's file.",
	       (int64_t)s->store_bytes);
	metric(out, "etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", "And what of it is in use.",
	       (int64_t)s->used_bytes);
	metric(out, "etcd_debugging_mvcc_keys_total", "gauge", "Live keys.", (int64_t)s->keys);
	metric(out, "etcd_debugging_mvcc_current_revision", "gauge", "The newest revision of the node asked.",
	       s->header->revision);
	metric(out, "etcd_debugging_mvcc_compact_revision", "gauge", "The oldest that can be read; -1: all.",
	       s->compact_revision);
}

static void metrics_daemons(const struct native_status_result *s, struct buf *out)
{
	buf_str(out, "# HELP quorate_daemon_up Whether a daemon of the node asked answers.\n"
		     "# TYPE quorate_daemon_up gauge\n");
	for (size_t i = 0; i < s->daemons.n; i++) {
		const struct native_daemon *d = &s->daemons.v[i];

		buf_printf(out, "quorate_daemon_up{daemon=\"%.*s\"} %d\n", (int)d->name.len,
			   (const char *)d->name.data, d->age_ms >= 0);
	}
}

/* Of this process: what every exporter says of itself. */
static void metrics_process(struct buf *out)
{
	struct rlimit files = {0, 0};
	struct rusage used;
	long pages = 0, all = 0, open = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	DIR *d = opendir("/proc/self/fd");

	if (f != NULL) {
		if (fscanf(f, "%ld %ld", &all, &pages) != 2)
			pages = 0;
		(void)fclose(f);
	}
	if (d != NULL) {
		for (struct dirent *e; (e = readdir(d)) != NULL;)
			open += e->d_name[0] != '.';
		(void)closedir(d);
	}
	(void)getrusage(RUSAGE_SELF, &used);
	(void)getrlimit(RLIMIT_NOFILE, &files);
	metric(out, "process_resident_memory_bytes", "gauge", "Resident memory of this gatewayd.",
	       pages * sysconf(_SC_PAGESIZE));
	buf_printf(out, "# HELP process_cpu_seconds_total Time of the processor that it has used.\n"
			"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.2f\n",
		   (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			   (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	metric(out, "process_open_fds", "gauge", "Open files.", open);
	metric(out, "process_max_fds", "gauge", "And how many there may be.", (int64_t)files.rlim_cur);
}

void http_metrics(struct gateway *g, const struct native_status_result *status, struct buf *out)
{
	gateway_refresh(g);
	metrics_server(g, status, out);
	metrics_store(status, out);
	metric(out, "etcd_debugging_mvcc_watcher_total", "gauge", "Watches of this gatewayd.",
	       g->counters.watches.value);
	metric(out, "etcd_debugging_lease_renewed_total", "counter", "Keepalives that it has passed on.",
	       g->counters.keepalives_total.value);
	metric(out, "etcd_network_client_grpc_received_bytes_total", "counter", "Bytes from clients.",
	       g->counters.client_bytes_in_total.value);
	metric(out, "etcd_network_client_grpc_sent_bytes_total", "counter", "Bytes to clients.",
	       g->counters.client_bytes_out_total.value);
	metrics_daemons(status, out);
	metrics_process(out);
	counter_print(out, "gatewayd", (const struct counter *)&g->counters, COUNTER_COUNT(&g->counters));
}
