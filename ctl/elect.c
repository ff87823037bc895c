/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>

#include "ctl/commands.h"
#include "ctl/hold.h"
#include "ctl/print.h"

enum { ELECT_PAUSE_MS = 500 };

struct elect_options {
	int64_t ttl;
	bool listen;
};

static const struct flag elect_flags[] = {
	FLAG(struct elect_options, BOOL, listen, "listen", 'l', NULL, "",
	     "do not take part: print who leads, and each change"),
	FLAG(struct elect_options, I64, ttl, "ttl", 0, "60", "SECONDS",
	     "another leads so long after the leader has gone silent"),
	FLAG_END
};

struct elect_run {
	struct hold hold;
	struct quorate_election *election;
	struct quorate_observer *observer;
	struct quorate_bytes value;
	const struct quorate_kv *leader;
};

static int elect_campaign(void *arg, struct quorate_error *e)
{
	struct elect_run *r = arg;

	return quorate_election_campaign(r->election, r->value, QUORATE_FOREVER, e);
}

/* That it cannot be watched just now does not mean that it is lost: its session tells too. */
static int elect_lost(void *arg, struct quorate_error *e)
{
	struct elect_run *r = arg;
	int rc = quorate_election_lost(r->election, QUORATE_FOREVER, e);

	while (rc != QUORATE_OK && rc != QUORATE_ERR_CANCELED && quorate_election_token(r->election) != 0) {
		(void)poll(NULL, 0, ELECT_PAUSE_MS);
		rc = quorate_election_lost(r->election, QUORATE_FOREVER, e);
	}
	return rc;
}

static int elect_next(void *arg, struct quorate_error *e)
{
	struct elect_run *r = arg;

	return quorate_observer_next(r->observer, QUORATE_FOREVER, &r->leader, e);
}

/* Runs it until it has ended or a signal asks us to end. *signalled: that came first. */
static int elect_wait(struct elect_run *r, int (*run)(void *, struct quorate_error *), struct quorate_error *e,
		      bool *signalled, int *rc)
{
	struct hold_task task = {.run = run, .arg = r};
	struct hold_news news = {false, 0};
	int code = hold_task_start(&r->hold, &task);

	if (code != CTL_OK)
		return code;
	while (!news.done && !hold_is_end(news.sig))
		news = hold_wait(&r->hold, &task, -1);
	*rc = hold_task_end(&r->hold, &task, !news.done);
	*e = task.e;
	*signalled = !news.done;
	return CTL_OK;
}

static int elect_lead(struct elect_run *r, const char *name)
{
	struct quorate_error e;
	bool signalled = false;
	int code, rc;

	if (quorate_election_open(r->hold.view, r->hold.session, quorate_str(name), &r->election, &e) != QUORATE_OK)
		return hold_fail(&r->hold, &e);
	code = elect_wait(r, elect_campaign, &e, &signalled, &rc);
	if (code == CTL_OK && rc != QUORATE_OK)
		code = hold_fail(&r->hold, &e);
	if (code == CTL_OK)
		code = hold_print_key(&r->hold, quorate_election_key(r->election), 0);
	if (code == CTL_OK && !signalled)
		code = elect_wait(r, elect_lost, &e, &signalled, &rc);
	if (code == CTL_OK && !signalled)
		return ctl_fail(r->hold.ctl, CTL_ERROR, "the leadership is lost: %s", e.text);
	if (quorate_election_token(r->election) != 0 &&
	    quorate_election_resign(r->election, 0, &e) != QUORATE_OK && code == CTL_OK)
		code = hold_fail(&r->hold, &e);
	return code;
}

static int elect_print(struct elect_run *r)
{
	struct quorate_header header = {.revision = 0};

	if (r->leader == NULL)
		return CTL_OK;                /* as etcdctl: silence until there is another one */
	header.revision = r->leader->mod_revision;
	return hold_print(&r->hold, &header, r->leader);
}

static int elect_listen(struct elect_run *r, const char *name)
{
	struct quorate_error e;
	bool signalled = false;
	int code = CTL_OK, rc;

	if (quorate_observer_open(r->hold.view, quorate_str(name), &r->observer, &e) != QUORATE_OK)
		return hold_fail(&r->hold, &e);
	while (code == CTL_OK && !signalled) {
		code = elect_wait(r, elect_next, &e, &signalled, &rc);
		if (code != CTL_OK || signalled)
			break;
		code = rc == QUORATE_OK ? elect_print(r) : hold_fail(&r->hold, &e);
	}
	return code;
}

static int elect_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct elect_options *o = options;
	struct elect_run r = {.value = quorate_str(argc > 1 ? argv[1] : NULL)};
	int code = CTL_OK;

	if (argc < 1 || argc > 2 || argv[0][0] == 0)
		return ctl_bad_args(ctl, &ctl_elect,
				    "elect takes one election name argument and an optional proposal argument");
	if (argc == 1 && !o->listen)
		return ctl_bad_args(ctl, &ctl_elect, "no proposal argument but -l not set");
	if (argc == 2 && o->listen)
		return ctl_bad_args(ctl, &ctl_elect, "proposal given but -l is set");
	if (o->ttl < 1)
		return ctl_bad_args(ctl, &ctl_elect, "--ttl is a number of seconds from 1 on");
	if (print_of(ctl, &code) == NULL)
		return code;
	code = hold_open(&r.hold, ctl, o->listen ? 0 : o->ttl);
	if (code != CTL_OK)
		return code;
	code = o->listen ? elect_listen(&r, argv[0]) : elect_lead(&r, argv[0]);
	quorate_election_close(r.election);
	quorate_observer_close(r.observer);
	hold_close(&r.hold);
	return code;
}

const struct ctl_command ctl_elect = {
	.name = "elect", .args = "NAME [PROPOSAL]",
	.summary = "Takes part in a leader election, or observes one",
	.more = "With PROPOSAL it waits to be the leader, prints the key and the proposal, and leads until it is\n"
		"stopped; then it resigns. With -l it prints the leader's key and proposal, and each change.\n",
	.flags = elect_flags, .options_size = sizeof(struct elect_options), .run = elect_run};
