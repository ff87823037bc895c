/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of libquorate: servers that do what a script says with their first requests, and
 * then answer like a store that has one key; and clients of them.
 */
#ifndef QUORATE_LIB_WORLD_H
#define QUORATE_LIB_WORLD_H

#include <pthread.h>

#include "client/quorate.h"
#include "tests/lib/fake_server.h"

enum act { ACT_OK, ACT_ERROR, ACT_CLOSE, ACT_SILENT, ACT_GARBAGE, ACT_HALF, ACT_FOREIGN, ACT_BIG };

/* What a server does with its Nth request; the last one goes on for ever. */
struct play {
	enum act acts[8];
	size_t n;                      /* 0: one */
	int code;                      /* of ACT_ERROR */
	unsigned again;
	int64_t revision;              /* of headers, and of the one pair "key" = "value" */
	uint64_t by_lot;               /* not 0: a seed, and acts are drawn instead */
	bool calm;                     /* nothing but OK from now on; under the lock */
	uint64_t member_id;            /* 0: 2, who leads */
	int64_t ttl, kept_ttl;         /* of leases it grants; of those it keeps alive */
	bool dead_pings;               /* "version" is answered once per connection, then never more */
	struct fake_server *server;
	pthread_mutex_t lock;
	char method[32];               /* of the last request */
	char key[64], end[64], value[64];   /* of its put, range or delete, as text */
	unsigned hellos;
};

void play_start(struct play *p);
void play_stop(struct play *p);
void play_calm(struct play *p);
const char *play_endpoint(const struct play *p);
/* The last request, copied under the lock. */
void play_last(struct play *p, struct play *copy);

struct quorate *world_open(const char *a, const char *b, const struct quorate_options *o);
/* A get of "key": its code; *revision is the header's. */
int world_get(struct quorate *q, int64_t timeout_ms, int64_t *revision, struct quorate_error *e);
int world_put(struct quorate *q, int64_t timeout_ms, unsigned flags, struct quorate_error *e);

/* Waits (10 s at most) until `condition` holds. */
#define WORLD_UNTIL(condition) \
	do { \
		for (int world_i = 0; !(condition) && world_i < 10000; world_i++) \
			world_sleep(1); \
		OK(condition); \
	} while (0)
void world_sleep(int ms);

#endif
