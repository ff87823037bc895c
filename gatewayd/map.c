/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mapped store. stored says which generation is the right one; another is mapped when no view
 * is open, which is always so between the steps of a turn. Without stored the map stays as it is.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "gatewayd/gateway.h"

void map_close(struct gateway *g)
{
	if (g->map.env == NULL)
		return;
	g->io.map_close(g->io.arg, &g->map.env);
	g->map.env = NULL;
}

static void map_failed(struct gateway *g, int err, mono_t now)
{
	if (err != g->map.error)
		log_warn("cannot map the store, trying again generation=%llu error=\"%s\"",
			 (unsigned long long)g->store.progress.generation, err_text(err));
	g->map.error = err;
	g->map.retry_at = mono_add_ms(now, GATEWAY_MAP_RETRY_MS);
}

void map_poll(struct gateway *g, mono_t now)
{
	struct map *m = &g->map;
	uint64_t generation = g->store.progress.generation;
	int err;

	if (!g->store.known || (m->env != NULL && m->epoch == g->store.epoch))
		return;
	if (m->env != NULL) {
		map_close(g);
		read_mapped(g);
		m->retry_at = now;
	}
	if (mono_before(now, m->retry_at))
		return;
	err = g->io.map_open(g->io.arg, generation, &m->env);
	if (err != ERR_OK) {
		m->env = NULL;
		map_failed(g, err, now);
		return;
	}
	m->epoch = g->store.epoch;
	m->generation = generation;
	m->error = ERR_OK;
	log_info("mapped the store generation=%llu", (unsigned long long)generation);
	read_mapped(g);
}

mono_t map_due(const struct gateway *g)
{
	return g->store.known && g->map.env == NULL ? g->map.retry_at : MONO_NEVER;
}
