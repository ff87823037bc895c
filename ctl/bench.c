/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ctl/bench_run.h"
#include "ctl/commands.h"

struct bench_options {
	int64_t clients, inflight, total, duration_ms, key_size, val_size, keyspace, reads, limit;
	const char *consistency, *prefix;
	bool no_fill;
};

static const struct flag bench_flags[] = {
	FLAG(struct bench_options, I64, clients, "clients", 0, "1", "N", "connections"),
	FLAG(struct bench_options, I64, inflight, "inflight", 0, "1", "N",
	     "requests in flight on each connection"),
	FLAG(struct bench_options, I64, total, "total", 0, "0", "N",
	     "this many requests, instead of a time"),
	FLAG(struct bench_options, DURATION, duration_ms, "duration", 0, "0", "TIME",
	     "how long (default 10s; 3s for each part of the default run)"),
	FLAG(struct bench_options, I64, key_size, "key-size", 0, "16", "BYTES", "length of keys"),
	FLAG(struct bench_options, I64, val_size, "val-size", 0, "128", "BYTES",
	     "length of values"),
	FLAG(struct bench_options, I64, keyspace, "keyspace", 0, "10000", "N", "different keys"),
	FLAG(struct bench_options, I64, reads, "reads", 0, "90", "PERCENT",
	     "share of gets of mixed"),
	FLAG(struct bench_options, I64, limit, "limit", 0, "100", "N", "pairs of each range"),
	FLAG(struct bench_options, STR, consistency, "consistency", 0, "l", "l|s",
	     "of reads: Linearizable(l) or Serializable(s)"),
	FLAG(struct bench_options, STR, prefix, "prefix", 0, "bench/", "TEXT",
	     "what all keys begin with"),
	FLAG(struct bench_options, BOOL, no_fill, "no-fill", 0, NULL, "",
	     "do not put all keys before reading"),
	FLAG_END
};

enum { BENCH_DEFAULT_MS = 10000, BENCH_PART_MS = 3000, BENCH_WINDOW = 256 };

static const char *const bench_names[] = {"put", "get", "range", "mixed"};

static double bench_ms(const struct bench_result *r, unsigned per_mille)
{
	return (double)histogram_at(&r->latency_ns, per_mille) / 1e6;
}

static double bench_rate(const struct bench_result *r)
{
	return r->seconds > 0 ? (double)r->done / r->seconds : 0;
}

static void bench_json(struct ctl *ctl, const char *name, const struct bench_load *l,
		       const struct bench_result *r)
{
	fprintf(ctl->out, "{\"bench\":\"%s\",\"clients\":%u,\"inflight\":%u,\"requests\":%" PRIu64
		",\"errors\":%" PRIu64 ",\"seconds\":%.3f,\"per_second\":%.1f", name, l->clients,
		l->inflight,
		r->done, r->errors, r->seconds, bench_rate(r));
	fprintf(ctl->out, ",\"latency_ms\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f"
		",\"p99.9\":%.3f,\"max\":%.3f}}",
		bench_ms(r, 500), bench_ms(r, 900), bench_ms(r, 990), bench_ms(r, 999),
		bench_ms(r, 1000));
}

static void bench_print(struct ctl *ctl, const char *name, const struct bench_load *l,
			const struct bench_result *r)
{
	if (ctl->format == CTL_JSON) {
		bench_json(ctl, name, l, r);
		fputc('\n', ctl->out);
		return;
	}
	fprintf(ctl->out, "%s: %u connection%s, %u in flight on each\n", name, l->clients,
		l->clients == 1 ? "" : "s",
		l->inflight);
	fprintf(ctl->out, "  %.0f per second (%" PRIu64 " in %.2f s, %" PRIu64 " failed)\n",
		bench_rate(r), r->done,
		r->seconds, r->errors);
	fprintf(ctl->out, "  latency p50 %.3f ms, p90 %.3f ms, p99 %.3f ms, p99.9 %.3f ms, max "
			  "%.3f ms\n",
		bench_ms(r, 500), bench_ms(r, 900), bench_ms(r, 990), bench_ms(r, 999),
		bench_ms(r, 1000));
}

static int bench_errors(struct ctl *ctl, const struct bench_result *r)
{
	if (r->errors == 0)
		return CTL_OK;
	return ctl_fail(ctl, CTL_ERROR, "%" PRIu64 " requests failed, the first with: %s",
			r->errors, r->first_error);
}

/* All keys, once. */
static int bench_fill(struct ctl *ctl, const struct bench_keys *keys)
{
	struct bench_load fill = {.op = BENCH_PUT, .clients = 1, .inflight = BENCH_WINDOW,
				  .total = keys->keyspace, .in_order = true};
	struct bench_result *r = calloc(1, sizeof *r);
	int code = r == NULL ? CTL_ERROR : bench_run(ctl, keys, &fill, 1, r);

	if (code == CTL_OK)
		code = bench_errors(ctl, r);
	free(r);
	return code;
}

static int bench_one(struct ctl *ctl, const struct bench_options *o, const struct bench_keys *keys,
		     enum bench_op op)
{
	struct bench_load l = {.op = op, .clients = (uint32_t)o->clients,
			       .inflight = (uint32_t)o->inflight,
			       .total = (uint64_t)o->total, .duration_ms = o->duration_ms,
			       .serializable = o->consistency[0] == 's',
			       .read_percent = (unsigned)o->reads,
			       .range_limit = o->limit};
	struct bench_result *r = calloc(1, sizeof *r);
	int code = r == NULL ? ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY)) : CTL_OK;

	if (l.total == 0 && l.duration_ms == 0)
		l.duration_ms = BENCH_DEFAULT_MS;
	if (code == CTL_OK && op != BENCH_PUT && !o->no_fill)
		code = bench_fill(ctl, keys);
	if (code == CTL_OK)
		code = bench_run(ctl, keys, &l, 1, r);
	if (code == CTL_OK) {
		bench_print(ctl, bench_names[op], &l, r);
		code = bench_errors(ctl, r);
	}
	free(r);
	return code;
}

/* The default run: three kinds of requests, each alone and beside a window of puts. */
struct bench_row {
	const char *name;
	struct bench_load load, busy_load;
	struct bench_result alone, busy;
};

static int bench_row_run(struct ctl *ctl, const struct bench_keys *keys, struct bench_row *row)
{
	struct bench_load loads[2] = {row->load, {.op = BENCH_PUT, .clients = 1,
						  .inflight = BENCH_WINDOW}};
	struct bench_result *both = calloc(2, sizeof *both);
	int code = both == NULL ? ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY)) :
				  bench_run(ctl, keys, &row->load, 1, &row->alone);

	if (code == CTL_OK && row->load.op == BENCH_PUT) {
		loads[0].inflight = BENCH_WINDOW;
		code = bench_run(ctl, keys, loads, 1, both);
	} else if (code == CTL_OK) {
		code = bench_run(ctl, keys, loads, 2, both);
	}
	if (code == CTL_OK) {
		row->busy = both[0];
		row->busy_load = loads[0];
		code = bench_errors(ctl, row->alone.errors > 0 ? &row->alone : &row->busy);
	}
	free(both);
	return code;
}

static void bench_table(struct ctl *ctl, const struct bench_row *rows, size_t n)
{
	FILE *out = ctl->out;

	fprintf(out, "what the cluster did per second, alone and with %d puts in flight\n\n",
		BENCH_WINDOW);
	fprintf(out, "%-20s %10s %9s %9s   %10s %9s %9s\n", "", "alone", "p50", "p99", "with puts",
		"p50", "p99");
	for (size_t i = 0; i < n; i++) {
		const struct bench_row *r = &rows[i];

		fprintf(out, "%-20s %10.0f %6.2f ms %6.2f ms   %10.0f %6.2f ms %6.2f ms\n", r->name,
			bench_rate(&r->alone), bench_ms(&r->alone, 500), bench_ms(&r->alone, 990),
			bench_rate(&r->busy), bench_ms(&r->busy, 500), bench_ms(&r->busy, 990));
	}
}

static void bench_table_json(struct ctl *ctl, const struct bench_row *rows, size_t n)
{
	fputc('[', ctl->out);
	for (size_t i = 0; i < n; i++) {
		fprintf(ctl->out, "%s{\"name\":\"%s\",\"alone\":", i ? "," : "", rows[i].name);
		bench_json(ctl, bench_names[rows[i].load.op], &rows[i].load, &rows[i].alone);
		fputs(",\"with_puts\":", ctl->out);
		bench_json(ctl, bench_names[rows[i].load.op], &rows[i].busy_load, &rows[i].busy);
		fputc('}', ctl->out);
	}
	fputs("]\n", ctl->out);
}

static int bench_all(struct ctl *ctl, const struct bench_options *o, const struct bench_keys *keys)
{
	static const struct { const char *name; enum bench_op op; bool serializable; } kinds[] = {
		{"put", BENCH_PUT, false}, {"get, linearizable", BENCH_GET, false},
		{"get, serializable", BENCH_GET, true}};
	struct bench_row *rows = calloc(ARRAY_LEN(kinds), sizeof *rows);
	int code;

	if (rows == NULL)
		return ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_NO_MEMORY));
	code = bench_fill(ctl, keys);
	for (size_t i = 0; code == CTL_OK && i < ARRAY_LEN(kinds); i++) {
		rows[i].name = kinds[i].name;
		rows[i].load = (struct bench_load){
			.op = kinds[i].op, .clients = 1, .inflight = 1,
			.serializable = kinds[i].serializable,
			.duration_ms = o->duration_ms > 0 ? o->duration_ms : BENCH_PART_MS};
		code = bench_row_run(ctl, keys, &rows[i]);
	}
	if (code == CTL_OK && ctl->format == CTL_JSON)
		bench_table_json(ctl, rows, ARRAY_LEN(kinds));
	else if (code == CTL_OK)
		bench_table(ctl, rows, ARRAY_LEN(kinds));
	free(rows);
	return code;
}

static int bench_check(struct ctl *ctl, const struct bench_options *o)
{
	size_t digits = 1;

	for (int64_t n = o->keyspace - 1; n >= 10; n /= 10)
		digits++;
	if (o->clients < 1 || o->clients > LIMIT_BENCH_CONNECTIONS)
		return ctl_bad_args(ctl, &ctl_bench, "--clients is between 1 and %u",
				    LIMIT_BENCH_CONNECTIONS);
	if (o->inflight < 1 || o->inflight > LIMIT_CLIENT_INFLIGHT)
		return ctl_bad_args(ctl, &ctl_bench, "--inflight is between 1 and %u",
				    LIMIT_CLIENT_INFLIGHT);
	if (o->keyspace < 1 || o->total < 0 || o->limit < 0 || o->reads < 0 || o->reads > 100)
		return ctl_bad_args(ctl, &ctl_bench, "a number is out of its range");
	if (o->key_size < (int64_t)(strlen(o->prefix) + digits) || o->key_size > 65536)
		return ctl_bad_args(ctl, &ctl_bench,
				    "--key-size has no room for the prefix and the number");
	if (o->val_size < 0 || o->val_size > (int64_t)LIMIT_REQUEST_BYTES - 131072)
		return ctl_bad_args(ctl, &ctl_bench, "--val-size is too large");
	if (strcmp(o->consistency, "l") != 0 && strcmp(o->consistency, "s") != 0)
		return ctl_fail(ctl, CTL_BAD_FEATURE, "unknown consistency flag \"%s\"",
				o->consistency);
	return CTL_OK;
}

static int bench_command(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct bench_options *o = options;
	struct bench_keys keys = {o->prefix, (uint32_t)o->key_size, (uint32_t)o->val_size,
				  (uint64_t)o->keyspace};
	int code = bench_check(ctl, o);

	if (code != CTL_OK)
		return code;
	if (argc == 0)
		return bench_all(ctl, o, &keys);
	for (size_t i = 0; argc == 1 && i < ARRAY_LEN(bench_names); i++)
		if (strcmp(argv[0], bench_names[i]) == 0)
			return bench_one(ctl, o, &keys, (enum bench_op)i);
	return ctl_bad_args(ctl, &ctl_bench, "bench knows put, get, range and mixed");
}

const struct ctl_command ctl_bench = {
	.name = "bench", .args = "[put|get|range|mixed]",
	.summary = "Measures what the cluster does per second",
	.more = "Without a word: puts and both kinds of gets, one at a time, and the same while "
		"256\n"
		"puts are in flight. The keys stay in the store; `quorate del --prefix bench/` "
		"removes\n"
		"them.\n",
	.flags = bench_flags, .options_size = sizeof(struct bench_options), .run = bench_command};
