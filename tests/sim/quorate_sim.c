/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of the simulator. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/sim/sim.h"

static const char usage_text[] =
	"usage: quorate-sim --seeds N [--from SEED] [--jobs J] [--keep FILE] [--stop-at-first] [--no-shrink]\n"
	"       quorate-sim --seed SEED [--nodes N] [--ms MS] [--lmdb | --mem] [--plot NAME]\n"
	"                   [--faults LIST | none] [--trace] [--shrink]\n"
	"       quorate-sim --show --seed SEED [...]\n"
	"  --seeds N          run N seeds, from SEED on (1), in J processes (all cores)\n"
	"  --keep FILE        failing runs are added to FILE, as command lines that replay them\n"
	"  --seed SEED        one run; prints its trace hash, the same each time\n"
	"  --plot NAME        not the plot that the seed chooses, but storm, swarm, hunt, figure8, broken_word,\n"
	"                     stray, stale or rot\n"
	"  --faults LIST      only these faults of the seed's plan, by number: 3,7,12\n"
	"  --show             print the plan instead of running it\n"
	"  --trace            what happens, on standard output\n"
	"  --shrink           if it fails, look for a smaller run that fails alike\n"
	"  --outcomes-only    do not check the drivers' rules, only what comes of breaking them\n";

enum { O_SEEDS = 256, O_FROM, O_JOBS, O_KEEP, O_STOP, O_NO_SHRINK, O_SEED, O_NODES, O_MS, O_LMDB, O_MEM,
       O_FAULTS, O_PLOT, O_TRACE, O_SHRINK, O_SHOW, O_OUTCOMES, O_HELP };

struct line {
	struct sim_campaign c;
	bool one, show, shrink;
};

static _Noreturn void usage(void)
{
	fputs(usage_text, stderr);
	exit(EXIT_USAGE);
}

static uint64_t number(const char *s)
{
	char *end;
	unsigned long long v = strtoull(s, &end, 10);

	if (*s == 0 || *end != 0)
		usage();
	return v;
}

static void faults(struct sim_options *o, char *list)
{
	o->masked = true;
	for (char *save, *w = strtok_r(list, ",", &save); w != NULL; w = strtok_r(NULL, ",", &save)) {
		uint64_t i = strcmp(w, "none") == 0 ? SIM_FAULTS_MAX : number(w);

		if (i < SIM_FAULTS_MAX)
			o->keep[i] = 1;
	}
}

static int plot(const char *name)
{
	for (int i = 0; i < SIM_PLOTS; i++)
		if (strcmp(sim_plot_name((enum sim_plot)i), name) == 0)
			return i;
	usage();
}

static void option(struct line *l, int name, char *value)
{
	struct sim_options *o = &l->c.base;

	switch (name) {
	case O_SEEDS:
		l->c.seeds = number(value);
		break;
	case O_FROM:
		l->c.first = number(value);
		break;
	case O_JOBS:
		l->c.jobs = (uint32_t)number(value);
		break;
	case O_KEEP:
		l->c.keep_in = value;
		break;
	case O_STOP:
		l->c.stop_at_first = true;
		break;
	case O_NO_SHRINK:
		l->c.shrink = false;
		break;
	case O_SEED:
		l->one = true;
		o->seed = number(value);
		break;
	case O_NODES:
		o->nodes = (uint32_t)number(value);
		break;
	case O_MS:
		o->ms = (uint32_t)number(value);
		break;
	case O_LMDB:
		o->lmdb = 1;
		break;
	case O_MEM:
		o->lmdb = 0;
		break;
	case O_FAULTS:
		faults(o, value);
		break;
	case O_PLOT:
		o->plot = plot(value);
		break;
	case O_TRACE:
		o->trace = stdout;
		break;
	case O_SHRINK:
		l->shrink = true;
		break;
	case O_SHOW:
		l->show = true;
		break;
	case O_OUTCOMES:
		o->outcomes_only = true;
		break;
	case O_HELP:
		fputs(usage_text, stdout);
		exit(0);
	default:
		usage();
	}
}

static void show(const struct sim_options *given)
{
	struct sim_fault plan[SIM_FAULTS_MAX];
	struct sim_options o = *given;
	uint32_t n = sim_plan(&o, plan);

	sim_options_fill(&o);
	printf("seed %llu: %u nodes, %u ms of faults, store in %s\n", (unsigned long long)o.seed, o.nodes, o.ms,
	       o.lmdb ? "LMDB" : "memory");
	for (uint32_t i = 0; i < n; i++)
		if (!o.masked || o.keep[i])
			printf("%4u %6u ms for %4u ms  node %llu, %llu  %s: %s, %s%s%s\n", i, plan[i].at_ms,
			       plan[i].for_ms, (unsigned long long)plan[i].a, (unsigned long long)plan[i].b,
			       sim_fault_name(plan[i].kind), sim_fault_text(plan[i].kind),
			       sim_moment_text(plan[i].moment), plan[i].other ? ": the other" : "",
			       plan[i].along ? ", along with the one before" : "");
}

static int run_one(const struct line *l)
{
	struct sim_options small;
	struct sim_result r;
	char words[1024];

	sim_run(&l->c.base, &r);
	sim_command(&l->c.base, words, sizeof words);
	printf("%s seed %llu: %u nodes, %s, %u ms, %u faults planned, %llu events, %llu entries committed, %llu writes "
	       "acknowledged, %llu reads, %llu events watched, %llu keepalives, %llu leases expired, %llu leaders, %llu snapshots, %llu ends of daemons, trace %016llx\n",
	       r.failed ? "FAILED" : "passed", (unsigned long long)l->c.base.seed, r.nodes,
	       r.lmdb ? "LMDB" : "memory", r.ms, r.faults, (unsigned long long)r.events,
	       (unsigned long long)r.commits, (unsigned long long)r.acked, (unsigned long long)r.reads, (unsigned long long)r.watched,
	       (unsigned long long)r.kept, (unsigned long long)r.expired,
	       (unsigned long long)r.elections, (unsigned long long)r.snapshots, (unsigned long long)r.crashes,
	       (unsigned long long)r.trace_hash);
	if (!r.failed)
		return 0;
	printf("%s\n%sreplay: %s\n", r.what, r.waits, words);
	if (l->shrink) {
		struct sim_options quiet = l->c.base;

		quiet.trace = NULL;
		sim_shrink(&quiet, r.what, 400, &small);
		sim_command(&small, words, sizeof words);
		printf("smallest found: %s\n", words);
	}
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seeds", 1, NULL, O_SEEDS}, {"from", 1, NULL, O_FROM}, {"jobs", 1, NULL, O_JOBS},
		{"keep", 1, NULL, O_KEEP}, {"stop-at-first", 0, NULL, O_STOP},
		{"no-shrink", 0, NULL, O_NO_SHRINK}, {"seed", 1, NULL, O_SEED}, {"nodes", 1, NULL, O_NODES},
		{"ms", 1, NULL, O_MS}, {"lmdb", 0, NULL, O_LMDB}, {"mem", 0, NULL, O_MEM},
		{"faults", 1, NULL, O_FAULTS}, {"plot", 1, NULL, O_PLOT}, {"trace", 0, NULL, O_TRACE}, {"shrink", 0, NULL, O_SHRINK},
		{"show", 0, NULL, O_SHOW}, {"outcomes-only", 0, NULL, O_OUTCOMES}, {"help", 0, NULL, O_HELP},
		{NULL, 0, NULL, 0}};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct line l = {.c = {.base.lmdb = -1, .base.plot = -1, .first = 1, .shrink = true,
			       .jobs = cores < 1 ? 1 : cores > 64 ? 64 : (uint32_t)cores}};
	int name;

	while ((name = getopt_long(argc, argv, "", options, NULL)) != -1)
		option(&l, name, optarg);
	if (optind != argc || l.one == (l.c.seeds > 0) || l.c.jobs < 1 || l.c.jobs > 64 ||
	    (l.c.base.nodes != 0 && (l.c.base.nodes < 3 || l.c.base.nodes > SIM_NODES)))
		usage();
	if (l.show)
		show(&l.c.base);
	return l.show ? 0 : l.one ? run_one(&l) : sim_campaign_run(&l.c);
}
