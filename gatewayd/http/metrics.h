/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics: Prometheus' text. etcd's names where what they mean is the same here, so that dashboards
 * and alerts go on working; this gatewayd's own counters behind them, as its admin socket says them.
 */
#ifndef QUORATE_HTTP_METRICS_H
#define QUORATE_HTTP_METRICS_H

#include "base/buf.h"

struct gateway;
struct native_status_result;

void http_metrics(struct gateway *g, const struct native_status_result *status, struct buf *out);

#endif
