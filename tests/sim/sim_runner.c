/* SPDX-License-Identifier: Apache-2.0 */
/* Many seeds on many cores: a process each, which takes every jobs-th seed and tells by a pipe. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/sim/sim.h"

enum { RUNNER_JOBS = 64, RUNNER_SHRINK_TRIES = 200 };

struct report {                      /* of one seed; smaller than a pipe's atomic write */
	uint64_t seed, events, acked, reads;
	bool failed;
	char what[SIM_WORDS];
};

struct totals {
	uint64_t done, failed, events, acked, reads;
	uint64_t first_seed;
	char first_what[SIM_WORDS];
};

static void work(const struct sim_campaign *c, uint32_t job, int out)
{
	for (uint64_t i = job; i < c->seeds; i += c->jobs) {
		struct sim_options o = c->base;
		struct report rep = {.seed = c->first + i};
		struct sim_result r;

		o.seed = rep.seed;
		sim_run(&o, &r);
		rep.failed = r.failed;
		rep.events = r.events;
		rep.acked = r.acked;
		rep.reads = r.reads;
		memcpy(rep.what, r.what, sizeof rep.what);
		if (write(out, &rep, sizeof rep) != (ssize_t)sizeof rep)
			_exit(1);
		if (r.failed && c->stop_at_first)
			break;
	}
	_exit(0);
}

static void keep_seed(const struct sim_campaign *c, const struct sim_options *o, const char *what)
{
	FILE *f = c->keep_in ? fopen(c->keep_in, "a") : NULL;
	char words[1024];

	if (f == NULL)
		return;
	sim_command(o, words, sizeof words);
	fprintf(f, "%s   # %s\n", words, what);
	(void)fclose(f);
}

static void on_report(const struct sim_campaign *c, struct totals *t, const struct report *r)
{
	struct sim_options o = c->base;
	char words[1024];

	t->done++;
	t->events += r->events;
	t->acked += r->acked;
	t->reads += r->reads;
	if (!r->failed)
		return;
	o.seed = r->seed;
	if (t->failed++ == 0 || r->seed < t->first_seed) {
		t->first_seed = r->seed;
		memcpy(t->first_what, r->what, sizeof t->first_what);
	}
	sim_command(&o, words, sizeof words);
	if (t->failed <= 20)
		printf("# FAILED seed %llu: %s\n#   replay: %s\n", (unsigned long long)r->seed, r->what, words);
	keep_seed(c, &o, r->what);
}

static void progress(const struct sim_campaign *c, const struct totals *t, time_t began)
{
	if (!c->quiet && isatty(2))
		fprintf(stderr, "\r%llu of %llu seeds, %llu failed, %lld s ", (unsigned long long)t->done,
			(unsigned long long)c->seeds, (unsigned long long)t->failed,
			(long long)(time(NULL) - began));
}

/* Reads reports until all workers have closed their ends, or the first failure if that is enough. */
static void collect(const struct sim_campaign *c, struct pollfd *fds, struct totals *t, time_t began)
{
	uint32_t open = c->jobs;

	while (open > 0 && !(c->stop_at_first && t->failed > 0)) {
		if (poll(fds, c->jobs, 1000) < 0 && errno != EINTR)
			return;
		for (uint32_t i = 0; i < c->jobs; i++) {
			struct report r;

			if (fds[i].fd < 0 || fds[i].revents == 0)
				continue;
			if (read(fds[i].fd, &r, sizeof r) == (ssize_t)sizeof r) {
				on_report(c, t, &r);
				continue;
			}
			(void)close(fds[i].fd);
			fds[i].fd = -1;
			open--;
		}
		progress(c, t, began);
	}
}

static void shrink_first(const struct sim_campaign *c, const struct totals *t)
{
	struct sim_options o = c->base, small;
	char words[1024];

	o.seed = t->first_seed;
	sim_shrink(&o, t->first_what, RUNNER_SHRINK_TRIES, &small);
	sim_command(&small, words, sizeof words);
	printf("# smallest found: %s\n", words);
	keep_seed(c, &small, "shrunk");
}

int sim_campaign_run(const struct sim_campaign *c)
{
	struct pollfd fds[RUNNER_JOBS];
	pid_t pids[RUNNER_JOBS];
	struct totals t = {0};
	time_t began = time(NULL);
	bool lost = false;

	CHECK(c->jobs >= 1 && c->jobs <= RUNNER_JOBS);
	(void)fflush(stdout);
	for (uint32_t i = 0; i < c->jobs; i++) {
		int ends[2];

		CHECK(pipe(ends) == 0);
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i] == 0) {
			(void)close(ends[0]);
			work(c, i, ends[1]);
		}
		(void)close(ends[1]);
		fds[i] = (struct pollfd){.fd = ends[0], .events = POLLIN};
	}
	collect(c, fds, &t, began);
	for (uint32_t i = 0; i < c->jobs; i++) {
		int status;

		if (fds[i].fd >= 0)
			(void)close(fds[i].fd);
		lost |= waitpid(pids[i], &status, 0) == pids[i] && WIFSIGNALED(status) &&
			!(c->stop_at_first && t.failed > 0);
	}
	if (!c->quiet && isatty(2))
		fprintf(stderr, "\n");
	printf("# %llu seeds, %llu failed, %llu events, %llu writes acknowledged, %llu reads, %lld s\n",
	       (unsigned long long)t.done, (unsigned long long)t.failed, (unsigned long long)t.events,
	       (unsigned long long)t.acked, (unsigned long long)t.reads, (long long)(time(NULL) - began));
	if (lost)
		printf("# a worker was killed by a signal\n");
	if (t.failed > 0 && c->shrink)
		shrink_first(c, &t);
	return t.failed > 0 || lost;
}
