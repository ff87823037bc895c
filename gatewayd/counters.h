/* SPDX-License-Identifier: Apache-2.0 */
/* gatewayd's counters and gauges: `metrics` on its admin socket. */
#ifndef QUORATE_GATEWAYD_COUNTERS_H
#define QUORATE_GATEWAYD_COUNTERS_H

#include "base/counter.h"

#define GATEWAYD_COUNTERS(C) \
	C(GAUGE,   clients, "connections of client programs") \
	C(COUNTER, clients_accepted_total, "connections accepted") \
	C(COUNTER, clients_refused_total, "connections closed at once: too many") \
	C(COUNTER, clients_malformed_total, "connections closed for bytes that are no request") \
	C(COUNTER, clients_stalled_total, "connections closed for not taking their answers") \
	C(COUNTER, accept_pauses_total, "times accepting paused for want of descriptors or memory") \
	C(COUNTER, client_bytes_in_total, "bytes received from clients") \
	C(COUNTER, client_bytes_out_total, "bytes sent to clients") \
	C(GAUGE,   client_buffer_bytes, "memory of the buffers of all connections") \
	C(COUNTER, requests_total, "requests read") \
	C(COUNTER, http1_clients_total, "of the connections, those that speak HTTP/1.1") \
	C(COUNTER, http2_clients_total, "of the connections, those that speak HTTP/2") \
	C(COUNTER, streams_total, "HTTP/2 streams opened") \
	C(COUNTER, streams_refused_total, "of them, refused") \
	C(COUNTER, sessions_retired_total, "idle HTTP/2 connections closed for others' memory") \
	C(GAUGE,   session_bytes, "memory that HTTP/2's sessions hold of their own") \
	C(COUNTER, errors_total, "requests answered with an error") \
	C(COUNTER, timeouts_total, "requests given up at their deadline") \
	C(GAUGE,   requests_in_flight, "requests not yet answered") \
	C(COUNTER, results_dropped_total, "results of writes thrown away: the client does not read") \
	C(GAUGE,   proposals, "commands waiting for their result") \
	C(GAUGE,   proposal_bytes, "and their bytes") \
	C(COUNTER, proposals_resent_total, "commands proposed again") \
	C(COUNTER, proposals_refused_total, "refusals by raftd") \
	C(COUNTER, sessions_total, "sessions opened in the store") \
	C(COUNTER, read_rounds_total, "read-index rounds asked") \
	C(COUNTER, reads_total, "ranges and reading transactions begun") \
	C(GAUGE,   reads_waiting, "of them waiting for an index or for the store") \
	C(GAUGE,   reads_running, "of them being read and written") \
	C(COUNTER, read_rows_total, "rows looked at") \
	C(COUNTER, read_streams_total, "ranges too large for one step") \
	C(COUNTER, read_compacted_total, "streamed ranges cut off by a compaction") \
	C(GAUGE,   work_bytes, "memory held by reads under way") \
	C(GAUGE,   raftd_up, "1: the link to raftd is up") \
	C(GAUGE,   stored_up, "1: the link to stored is up") \
	C(GAUGE,   leased_up, "1: the link to leased is up") \
	C(COUNTER, keepalives_total, "keepalives of leases") \
	C(GAUGE,   lease_asks, "keepalives and questions that leased has not answered") \
	C(GAUGE,   watchd_up, "1: the link to watchd is up") \
	C(COUNTER, link_losses_total, "times a link to another daemon was lost") \
	C(GAUGE,   watches, "watches of all clients") \
	C(COUNTER, watches_registered_total, "watches told to watchd, again after each new link") \
	C(COUNTER, watch_events_total, "events sent, counted once per watch") \
	C(COUNTER, watch_notifications_total, "notifications of watches") \
	C(COUNTER, compactions_total, "compactions by itself, of history_s and history_revisions") \
	C(GAUGE,   store_generation, "of the mapped store; 0: none is mapped")

COUNTER_SET(gatewayd_counters, GATEWAYD_COUNTERS);

#endif
