/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts the power of a recorded node at many moments, and lets the real recovery code of raftd and
 * stored open what is left. In each image must be found:
 *
 * - a log that opens, and is a beginning of the one that was written, with every entry that any
 *   client was told of
 * - a store that, having got the log's entries, holds every acknowledged value, and the same rolling
 *   hash as the first run did at that index; one that was gone on with, not built anew, is compared
 *   row by row with one that was
 *
 * Usage: power_cut TRACE CLUSTER NODE SEGMENT_MB SEED COUNT DIR
 * Prints what was seen; exit 0 if every image was good. A bad one stays in DIR, with its seed.
 */
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "mvcc/view.h"
#include "raftd/wal.h"
#include "stored/core/hash.h"
#include "stored/store.h"
#include "tests/lib/power_disk.h"
#include "tests/lib/tap.h"

enum { INDEXES = 1 << 20, ACKS = 1 << 20, STATES = 64, TORN = 1, REBUILT = 2, WENT_ON = 4, GOOD = 64 };

struct ack {
	int64_t revision;
	const char *key, *value;
};

struct cut {
	uint64_t cluster, node, seed;
	size_t segment_bytes;
	char image[512], other[512], boot[512], output[512];
	struct ack *acks;
	size_t n_acks;
	uint8_t (*hashes)[16];           /* of the first run, by index */
	uint64_t last;                   /* index of the first run's last entry */
	size_t replaced[STATES], n_replaced;   /* records of a new STATE */
	size_t torn, rebuilt, went_on;
};

static void __attribute__((noreturn, format(printf, 1, 2))) bad(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	_exit(1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void fresh_dir(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	CHECK(mkdir(path, 0700) == 0);
}

/* As raftd's raftd_open_log() does. */
static struct wal *open_log(const struct cut *c, struct wal_recovered *rec)
{
	char dir[600], mark[600];
	struct stat st;
	struct wal_options o = {.cluster_id = c->cluster, .node_id = c->node, .synchronous = true,
				.segment_bytes = c->segment_bytes};
	struct wal *w;
	int rc;

	(void)snprintf(dir, sizeof dir, "%s/raft", c->image);
	(void)snprintf(mark, sizeof mark, "%s/raft.made", c->image);
	o.create = stat(mark, &st) != 0;
	(void)mkdir(dir, 0700);
	rc = wal_open(dir, &o, &w, rec);
	if (rc != ERR_OK)
		bad("the log does not open: %s: %s", err_text(rc), rec->why);
	if (rec->first_index != 1)
		bad("the log begins at %" PRIu64, rec->first_index);
	return w;
}

static void open_store(const struct cut *c, const char *dir, struct store *s)
{
	struct store_setup setup = {.data_dir = dir, .boot_id_file = c->boot, .cluster_id = c->cluster,
				    .node_id = c->node, .map_bytes = 1u << 28};

	store_open(s, &setup);
}

/* All of the log into the store; hashes of each index are kept, or compared. */
static void feed(struct cut *c, struct store *s, struct wal *w, bool keep)
{
	struct wal_list list = {0};
	struct apply_result result;
	uint64_t last = wal_last_index(w);

	if (s->committed.applied > last)
		bad("the store has applied %" PRIu64 ", the log ends at %" PRIu64, s->committed.applied, last);
	while (apply_state(s->apply)->applied < last) {
		int rc = wal_read(w, apply_state(s->apply)->applied + 1, last, 1u << 20, 1000, &list);

		if (rc != ERR_OK)
			bad("the log cannot be read: %s", wal_why(w));
		for (size_t i = 0; i < list.n; i++) {
			const struct wal_entry *e = &list.entries[i];
			struct log_entry entry = {e->index, e->term,
				e->kind == WAL_NOOP ? LOG_ENTRY_NOOP : LOG_ENTRY_COMMAND, e->data};

			store_apply(s, &entry, &result);
			if (keep)
				memcpy(c->hashes[e->index], apply_state(s->apply)->apply_hash, 16);
		}
	}
	if (s->open)
		store_commit(s);
	wal_list_free(&list);
	if (last > c->last && !keep)
		bad("the log ends at %" PRIu64 ", but %" PRIu64 " were ever written", last, c->last);
	if (last > 0 && memcmp(c->hashes[last], s->committed.apply_hash, 16) != 0)
		bad("the state at index %" PRIu64 " is another one than it was", last);
}

static void check_acks(const struct cut *c, struct store *s)
{
	struct kv_pair pair;
	struct mvcc_view *v;

	if (mvcc_view_begin(s->env, &v) != ERR_OK)
		bad("the store cannot be read");
	for (size_t i = 0; i < c->n_acks; i++) {
		const struct ack *a = &c->acks[i];
		int rc = a->revision > s->committed.revision ? ERR_FUTURE_REV
							      : mvcc_get(v, bytes_str(a->key), a->revision, &pair);

		if (rc != ERR_OK || !bytes_eq(pair.value, bytes_str(a->value)))
			bad("lost: %s, acknowledged at revision %" PRId64 ": %s", a->key, a->revision, err_text(rc));
	}
	mvcc_view_end(&v);
}

static void hash_of(struct store *s, uint8_t hash[DIGEST_BYTES])
{
	struct store_hash h;
	struct mvcc_view *v;
	int rc;

	if (mvcc_view_begin(s->env, &v) != ERR_OK || store_hash_begin(&h, v, 0) != ERR_OK)
		bad("the store cannot be read");
	while ((rc = store_hash_step(&h, v, 1000)) == ERR_LIMIT)
		;
	if (rc != ERR_OK)
		bad("the store is damaged and was taken for good: %s", err_text(rc));
	memcpy(hash, h.hash, DIGEST_BYTES);
	mvcc_view_end(&v);
}

/* In a child: whatever recovery does ends there, in an exit code. */
static int look(struct cut *c)
{
	struct wal_recovered rec;
	struct store s, other;
	struct wal *w = open_log(c, &rec);
	uint8_t a[DIGEST_BYTES], b[DIGEST_BYTES];
	int seen = rec.cut_bytes > 0 ? TORN : 0;

	open_store(c, c->image, &s);
	seen |= s.begun != NULL ? REBUILT : WENT_ON;
	feed(c, &s, w, false);
	check_acks(c, &s);
	if (s.begun == NULL) {
		fresh_dir(c->other);
		open_store(c, c->other, &other);
		feed(c, &other, w, false);
		hash_of(&s, a);
		hash_of(&other, b);
		if (memcmp(a, b, sizeof a) != 0)
			bad("the store that was gone on with differs from one built anew");
	}
	wal_abandon(&w);
	return GOOD | seen;
}

static void boot(const struct cut *c, uint64_t number)
{
	FILE *f = fopen(c->boot, "w");

	CHECK(f != NULL && fprintf(f, "boot-%" PRIu64 "\n", number) > 0 && fclose(f) == 0);
}

static bool cut_here(struct cut *c, const struct power_disk *d, uint64_t *random, size_t record)
{
	int status;
	pid_t pid;

	fresh_dir(c->image);
	power_disk_image(d, random, true, c->image);
	boot(c, record + 1);
	pid = fork();
	if (pid == 0) {
		CHECK(freopen(c->output, "w", stderr) != NULL);
		_exit(look(c));
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status) || (WEXITSTATUS(status) & GOOD) == 0) {
		printf("BAD: cut at record %zu with %zu acknowledgements, seed %" PRIu64 ", status %#x: see %s and %s\n",
		       record, c->n_acks, c->seed, (unsigned)status, c->image, c->output);
		return false;
	}
	c->torn += (WEXITSTATUS(status) & TORN) != 0;
	c->rebuilt += (WEXITSTATUS(status) & REBUILT) != 0;
	c->went_on += (WEXITSTATUS(status) & WENT_ON) != 0;
	return true;
}

static void hear(struct cut *c, const struct power_record *r, const uint8_t *data)
{
	const char *key = (const char *)data;

	if (r->type != POWER_ACK)
		return;
	CHECK(c->n_acks < ACKS);
	c->acks[c->n_acks++] = (struct ack){(int64_t)r->offset, key, key + strlen(key) + 1};
}

/* The first run, to its end and with nothing lost: what every image is compared with. */
static void reference(struct cut *c, const char *trace)
{
	struct power_disk *d = power_disk_read(trace);
	const struct power_record *r;
	uint64_t random = 1;
	struct wal_recovered rec;
	const uint8_t *data;
	struct store s;
	struct wal *w;

	for (size_t record = 1; (r = power_disk_step(d, &data)) != NULL; record++)
		if (r->type == POWER_RENAME && strstr((const char *)data, "STATE") != NULL && c->n_replaced < STATES)
			c->replaced[c->n_replaced++] = record;
	fresh_dir(c->image);
	power_disk_image(d, &random, false, c->image);
	boot(c, 0);
	w = open_log(c, &rec);
	c->last = rec.last_index;
	CHECK(c->last < INDEXES);
	fresh_dir(c->other);
	open_store(c, c->other, &s);
	feed(c, &s, w, true);
	wal_abandon(&w);
	store_close(&s);
	power_disk_free(d);
}

static int by_size(const void *a, const void *b)
{
	const size_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Anywhere; but every tenth one near a replaced STATE, since these stretches are short and matter. */
static size_t moment(const struct cut *c, uint64_t *random, size_t records)
{
	size_t at = 1 + (size_t)(tap_rand(random) % (records - 1));

	if (tap_rand(random) % 10 == 0)
		at = c->replaced[tap_rand(random) % c->n_replaced] + (size_t)(tap_rand(random) % 30);
	return at < records ? at : records - 1;
}

static bool cut_all(struct cut *c, const char *trace, size_t count)
{
	struct power_disk *d = power_disk_read(trace);
	size_t *at = mem_array(count, sizeof *at), next = 0, record = 0;
	uint64_t random = c->seed;
	const struct power_record *r;
	const uint8_t *data;
	bool good = true;

	for (size_t i = 0; i < count; i++)
		at[i] = moment(c, &random, power_disk_records(d));
	qsort(at, count, sizeof *at, by_size);
	while (good && (r = power_disk_step(d, &data)) != NULL) {
		hear(c, r, data);
		for (record++; good && next < count && at[next] == record; next++)
			good = cut_here(c, d, &random, record);
	}
	printf("%zu images of %zu records and %zu acknowledgements: torn log %zu, store built anew %zu, gone on with %zu\n",
	       next, power_disk_records(d), c->n_acks, c->torn, c->rebuilt, c->went_on);
	free(at);
	power_disk_free(d);
	return good;
}

static uint64_t number(const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 10);

	CHECK(*s != 0 && *end == 0);
	return n;
}

int main(int argc, char **argv)
{
	struct cut c = {.cluster = 0};
	bool good;

	if (argc != 8) {
		fprintf(stderr, "usage: power_cut TRACE CLUSTER NODE SEGMENT_MB SEED COUNT DIR\n");
		return 100;
	}
	c.cluster = number(argv[2]);
	c.node = number(argv[3]);
	c.segment_bytes = number(argv[4]) << 20;
	c.seed = number(argv[5]);
	(void)snprintf(c.image, sizeof c.image, "%s/image", argv[7]);
	(void)snprintf(c.other, sizeof c.other, "%s/other", argv[7]);
	(void)snprintf(c.boot, sizeof c.boot, "%s/boot", argv[7]);
	(void)snprintf(c.output, sizeof c.output, "%s/output", argv[7]);
	log_set_level(LOG_ERROR);
	c.acks = mem_array(ACKS, sizeof *c.acks);
	c.hashes = mem_array(INDEXES, sizeof *c.hashes);
	reference(&c, argv[1]);
	good = cut_all(&c, argv[1], number(argv[6]));
	free(c.acks);
	free(c.hashes);
	return good ? 0 : 1;
}
