/* SPDX-License-Identifier: Apache-2.0 */
/* What watchd says on its admin socket. */
#include <inttypes.h>
#include <stdio.h>

#include "watchd/watchd.h"

void watchd_report(void *arg, struct admin_reply *r)
{
	struct daemon *d = arg;
	const struct watchd *w = d->state;
	struct watch_stats s;

	watch_core_stats(w->core, &s);
	admin_bool(r, "stored_up", w->stored != NULL);
	admin_bool(r, "store_mapped", w->env != NULL);
	admin_u64(r, "store_generation", w->env != NULL ? w->mapped : 0);
	admin_i64(r, "revision", s.revision);
	admin_i64(r, "head", s.head.rev);
	admin_i64(r, "compact_revision", s.compact_revision);
	admin_u64(r, "watchers", s.watches);
	admin_u64(r, "live", s.live);
	admin_u64(r, "behind", s.behind);
	admin_u64(r, "blocked", s.blocked);
	admin_u64(r, "ranges", s.spans);
	admin_u64(r, "streams", s.streams);
}

static void report_gateways(void *arg, const char *args, struct admin_reply *r)
{
	struct daemon *d = arg;
	const struct watchd *w = d->state;
	char name[40];

	(void)args;
	for (size_t i = 0; i < LIMIT_WATCH_GATEWAYS; i++) {
		const struct watchd_gateway *g = &w->gateways[i];

		if (g->link == NULL)
			continue;
		(void)snprintf(name, sizeof name, "gateway_%016" PRIx64, g->incarnation);
		admin_begin(r, name);
		admin_i64(r, "age_ms", link_age_ms(g->link));
		admin_u64(r, "queued_bytes", link_queued(g->link));
		admin_u64(r, "watchers", watch_link_watches(g->peer.link));
		admin_u64(r, "deliveries", g->peer.n_delivered);
		admin_end(r);
	}
}

const struct admin_command watchd_commands[] = {
	{"gateways", "", "linked gatewayds", report_gateways},
	{NULL, NULL, NULL, NULL},
};

void watchd_refresh(void *arg)
{
	struct daemon *d = arg;
	struct watchd *w = d->state;
	struct watchd_counters *c = &w->counters;
	struct watch_stats s;
	int64_t gateways = 0;

	watch_core_stats(w->core, &s);
	for (size_t i = 0; i < LIMIT_WATCH_GATEWAYS; i++)
		gateways += w->gateways[i].link != NULL;
	counter_set(&c->slices_total, (int64_t)w->counts.slices);
	counter_set(&c->rows_total, (int64_t)w->counts.rows);
	counter_set(&c->events_total, (int64_t)w->counts.events);
	counter_set(&c->deliveries_total, (int64_t)serve_delivered(w->serve));
	counter_set(&c->messages_total, (int64_t)serve_messages(w->serve));
	counter_set(&c->canceled_total, (int64_t)serve_canceled(w->serve));
	counter_set(&c->stored_up, w->stored != NULL);
	counter_set(&c->gateways, gateways);
	counter_set(&c->watchers, (int64_t)s.watches);
	counter_set(&c->watchers_live, (int64_t)s.live);
	counter_set(&c->watchers_behind, (int64_t)s.behind);
	counter_set(&c->watchers_blocked, (int64_t)s.blocked);
	counter_set(&c->ranges, (int64_t)s.spans);
	counter_set(&c->streams, (int64_t)s.streams);
	counter_set(&c->revision, s.revision);
	counter_set(&c->head, s.head.rev);
	counter_set(&c->compact_revision, s.compact_revision);
	counter_set(&c->store_generation, w->env != NULL ? (int64_t)w->mapped : 0);
}
