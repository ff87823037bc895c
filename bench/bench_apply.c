/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a put costs stored, without daemons: apply over LMDB, entries and commits as raftd makes them.
 *
 *   bench_apply DIR [PUTS [PUTS_A_COMMIT [KEYS [VALUE_BYTES]]]]
 *
 * DIR must be there and empty. User and system CPU per put of each tenth of the run are printed: the
 * first ones put new keys, the last ones fill `past` and drop from `done` what is too old.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/err.h"
#include "stored/core/apply.h"

enum { BENCH_TURNS = 10, BENCH_GATEWAY = 7, BENCH_VALUE_MAX = 65536, BENCH_MAP_GIB = 16 };

static struct apply *apply;
static uint64_t seq;

static uint64_t draw(uint64_t n)
{
	static uint64_t random = 1;

	random = random * 6364136223846793005u + 1442695040888963407u;
	return (random >> 33) % n;
}

static void entry(const struct command *c)
{
	static struct buf payload;
	struct log_entry e = {.index = apply_state(apply)->applied + 1, .term = 1, .kind = LOG_ENTRY_COMMAND};
	struct apply_result r;

	if (payload.max == 0)
		buf_init(&payload, 0);
	buf_clear(&payload);
	CHECK(msg_encode(&payload, &command_desc, c) == ERR_OK);
	e.payload = buf_bytes(&payload);
	CHECK(apply_entry(apply, &e, &r) == ERR_OK && r.error == ERR_OK && !r.rejected);
}

static void put(uint64_t keys, size_t value_bytes)
{
	static uint8_t value[BENCH_VALUE_MAX];
	char key[64];
	struct kv_put p = {.value = bytes_of(value, value_bytes)};
	struct command c = {.gateway = BENCH_GATEWAY, .seq = ++seq, .put = &p};

	(void)snprintf(key, sizeof key, "bench/key/%010" PRIu64, draw(keys));
	p.key = bytes_str(key);
	for (size_t i = 0; i < 8; i++)
		value[i] = (uint8_t)draw(256);
	entry(&c);
}

static double us(const struct timeval *t)
{
	return (double)t->tv_sec * 1e6 + (double)t->tv_usec;
}

static void run(uint64_t puts, uint64_t a_commit, uint64_t keys, size_t value_bytes)
{
	struct rusage before, after;

	CHECK(getrusage(RUSAGE_SELF, &before) == 0);
	for (uint64_t n = 0; n < puts; n++) {
		if (n % a_commit == 0)
			CHECK(apply_begin(apply) == ERR_OK);
		put(keys, value_bytes);
		if ((n + 1) % a_commit == 0 || n + 1 == puts)
			CHECK(apply_commit(apply) == ERR_OK);
	}
	CHECK(getrusage(RUSAGE_SELF, &after) == 0);
	printf("%" PRIu64 " puts: user %.2f system %.2f us a put\n", puts,
	       (us(&after.ru_utime) - us(&before.ru_utime)) / (double)puts,
	       (us(&after.ru_stime) - us(&before.ru_stime)) / (double)puts);
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise)
{
	return argc > i ? strtoull(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	const struct mvcc_identity id = {STORE_FORMAT, 1, 1, 1};
	uint64_t puts = number(argc, argv, 2, 500000), a_commit = number(argc, argv, 3, 100);
	uint64_t keys = number(argc, argv, 4, 10000), value_bytes = number(argc, argv, 5, 256);
	struct okv_lmdb_setup setup = {.map_bytes = (uint64_t)BENCH_MAP_GIB << 30, .write = true};
	struct okv *db;

	if (argc < 2 || puts < BENCH_TURNS || a_commit == 0 || keys == 0 || value_bytes > BENCH_VALUE_MAX) {
		fprintf(stderr, "usage: bench_apply DIR [PUTS [PUTS_A_COMMIT [KEYS [VALUE_BYTES]]]]\n");
		return EXIT_USAGE;
	}
	setup.dir = argv[1];
	CHECK(okv_lmdb_open(&setup, &db) == ERR_OK);
	CHECK(apply_open(db, &id, &apply) == ERR_OK);
	CHECK(apply_begin(apply) == ERR_OK);
	entry(&(struct command){.gateway = BENCH_GATEWAY});
	CHECK(apply_commit(apply) == ERR_OK);
	for (int i = 0; i < BENCH_TURNS; i++)
		run(puts / BENCH_TURNS, a_commit, keys, value_bytes);
	apply_close(&apply);
	okv_close(&db);
	return 0;
}
