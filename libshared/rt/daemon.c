/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/daemon_options.h"
#include "rt/lockfile.h"
#include "rt/notify.h"
#include "rt/rights.h"

enum { DAEMON_STOP_MS = 5000 };

/* The skeleton's own part of a daemon. */
struct daemon_run {
	struct daemon d;
	const struct daemon_setup *setup;
	struct daemon_options options;
	struct config config;
	struct admin *admin;
	struct loop_timer stop_timer;
	bool stopping;
	char name[32];                /* "gatewayd.1" */
	int lock_fd;
};

static char *daemon_file(const struct daemon_run *r, const char *suffix)
{
	char name[64];

	(void)snprintf(name, sizeof name, "%s%s", r->name, suffix);
	return config_path(r->config.run_dir, name);
}

/* ---- before the loop */

static void daemon_set_level(const struct daemon_run *r, bool debug)
{
	enum log_level level;

	CHECK(log_level_parse(r->config.log_level, &level) == ERR_OK);
	log_set_level(debug ? LOG_DEBUG : level);
}

static void daemon_read_config(struct daemon_run *r)
{
	struct config_error e;

	if (config_read(r->options.config, r->options.n_flags, r->options.flags, &r->config, &e) != ERR_OK)
		fatal("correct the configuration, see quorate.conf(5)", "%s", e.text);
	if (r->d.instance >= r->config.gateways)
		fatal("raise gateways in the configuration or start fewer", "instance %u of %" PRIu64 " gateways",
		      r->d.instance, r->config.gateways);
	daemon_set_level(r, r->options.debug);
}

static void daemon_become_user(struct daemon_run *r)
{
	struct rights_user user;
	char why[256];

	if (rights_find_user(r->config.user, &user) != ERR_OK)
		fatal("make the user, or set user in the configuration", "no such user: %s", r->config.user);
	if (lockfile_dir(r->config.run_dir, user.uid, user.gid, why, sizeof why) != ERR_OK)
		fatal("see that run_dir is a directory of mode 0700 of that user", "run_dir %s: %s",
		      r->config.run_dir, why);
	rights_become(&user);
}

static void daemon_lock(struct daemon_run *r)
{
	char *path = daemon_file(r, ".lock");
	pid_t holder = 0;
	int err = lockfile_take(path, &r->lock_fd, &holder);

	if (err == ERR_EXISTS)
		fatal("stop it first", "another %s is running pid=%ld lock=%s", r->name, (long)holder, path);
	if (err)
		fatal("see that run_dir can be written to", "%s: %s", path, strerror(errno));
	mem_free(path);
}

static void daemon_new_incarnation(struct daemon *d)
{
	while (d->incarnation == 0)
		CHECK(getrandom(&d->incarnation, sizeof d->incarnation, 0) == sizeof d->incarnation);
}

/* ---- stopping and signals */

void daemon_stopped(struct daemon *d)
{
	loop_stop(d->loop);
}

static void daemon_stop_late(void *arg)
{
	struct daemon_run *r = arg;

	log_warn("not stopped in time, exiting anyway");
	daemon_stopped(&r->d);
}

static void daemon_on_stop(void *arg, int signo)
{
	struct daemon_run *r = arg;
	unsigned ms = r->setup->stop_timeout_ms ? r->setup->stop_timeout_ms : DAEMON_STOP_MS;

	if (r->stopping)
		return;
	r->stopping = true;
	log_info("stopping signal=%s", signo == SIGINT ? "INT" : "TERM");
	(void)notify_manager("STOPPING=1");
	loop_timer_set(r->d.loop, &r->stop_timer, mono_add_ms(loop_now(r->d.loop), ms));
	if (r->setup->stop != NULL)
		r->setup->stop(&r->d);
	else
		daemon_stopped(&r->d);
}

/* Only the log level may change while we run; the rest of a changed file waits for a restart. */
static void daemon_on_hup(void *arg, int signo)
{
	struct daemon_run *r = arg;
	struct config_error e;
	struct config c;

	(void)signo;
	if (config_read(r->options.config, r->options.n_flags, r->options.flags, &c, &e) != ERR_OK) {
		log_error("configuration not read again error=%s", e.text);
		return;
	}
	mem_free(r->config.log_level);
	r->config.log_level = mem_strdup(c.log_level);
	config_free(&c);
	daemon_set_level(r, false);
	log_info("log level read again level=%s", r->config.log_level);
}

static void daemon_open_loop(struct daemon_run *r)
{
	r->d.loop = loop_new();
	r->d.started = loop_now(r->d.loop);
	loop_timer_init(&r->stop_timer, daemon_stop_late, r);
	loop_on_signal(r->d.loop, SIGTERM, daemon_on_stop, r);
	loop_on_signal(r->d.loop, SIGINT, daemon_on_stop, r);
	loop_on_signal(r->d.loop, SIGHUP, daemon_on_hup, r);
}

/* ---- admin */

static void daemon_status(void *arg, struct admin_reply *reply)
{
	struct daemon *d = arg;
	const struct daemon_run *r = container_of(d, struct daemon_run, d);
	char incarnation[24];

	(void)snprintf(incarnation, sizeof incarnation, "%016" PRIx64, d->incarnation);
	admin_u64(reply, "cluster_id", d->config->cluster_id);
	admin_u64(reply, "node_id", d->config->node_id);
	admin_u64(reply, "instance", d->instance);
	admin_str(reply, "incarnation", incarnation);
	admin_bool(reply, "stopping", r->stopping);
	if (r->setup->status != NULL)
		r->setup->status(d, reply);
}

static void daemon_open_admin(struct daemon_run *r)
{
	char *path = daemon_file(r, ".admin");
	struct admin_setup s = {
		.loop = r->d.loop,
		.path = path,
		.daemon = daemon_name(r->d.kind),
		.commands = r->setup->commands,
		.status = daemon_status,
		.refresh = r->setup->refresh,
		.arg = &r->d,
	};

	if (r->setup->counters != NULL)
		s.counters = r->setup->counters(&r->d, &s.n_counters);
	if (admin_open(&s, &r->admin) != ERR_OK)
		fatal("see that run_dir can be written to", "cannot open the admin socket %s", path);
	mem_free(path);
}

/* ---- the life of a daemon */

static void daemon_step(struct daemon_run *r, int (*step)(struct daemon *d), const char *what)
{
	int err = step != NULL ? step(&r->d) : ERR_OK;

	if (err)
		fatal("see the lines above", "cannot %s: %s", what, err_text(err));
}

static _Noreturn void daemon_live(struct daemon_run *r)
{
	daemon_read_config(r);
	daemon_become_user(r);
	daemon_lock(r);
	daemon_new_incarnation(&r->d);
	daemon_open_loop(r);
	log_info("starting version=%s node=%" PRIu64 " incarnation=%016" PRIx64, QUORATE_VERSION,
		 r->config.node_id, r->d.incarnation);
	daemon_step(r, r->setup->open, "open");
	rights_drop(r->d.kind);
	daemon_step(r, r->setup->start, "start");
	daemon_open_admin(r);
	log_info("ready");
	notify_fd(r->options.ready_fd);
	(void)notify_manager("READY=1");
	loop_run(r->d.loop);
	log_info("stopped");
	/* nng cannot be trusted to close cleanly, and nothing is left to be closed. */
	_exit(0);
}

static void daemon_say(const struct daemon_run *r)
{
	if (r->options.what == DAEMON_WHAT_HELP)
		daemon_options_help(daemon_name(r->d.kind), r->setup->summary);
	else
		printf("%s %s\n", daemon_name(r->d.kind), QUORATE_VERSION);
}

int daemon_main(int argc, char **argv, const struct daemon_setup *setup)
{
	struct daemon_run r = {.setup = setup, .lock_fd = -1};
	char why[256];

	r.d.kind = setup->kind;
	r.d.config = &r.config;
	(void)snprintf(r.name, sizeof r.name, "%s", daemon_name(setup->kind));
	log_open(r.name);
	rights_begin();
	if (daemon_options_read(argc, argv, &r.options, why, sizeof why) != ERR_OK) {
		log_error("%s", why);
		return EXIT_USAGE;
	}
	if (r.options.what != DAEMON_WHAT_RUN) {
		daemon_say(&r);
		mem_free(r.options.flags);
		return 0;
	}
	if (setup->kind != DAEMON_GATEWAYD && r.options.instance != 0) {
		log_error("only gatewayd has instances: -i %u", r.options.instance);
		mem_free(r.options.flags);
		return EXIT_USAGE;
	}
	r.d.instance = r.options.instance;
	if (r.d.instance > 0)
		(void)snprintf(r.name, sizeof r.name, "%s.%u", daemon_name(setup->kind), r.d.instance);
	daemon_live(&r);
}

char *daemon_socket(const struct daemon *d, enum daemon_kind listener, enum daemon_kind dialer)
{
	const char *name = peer_socket(listener, dialer);

	CHECK(name != NULL);
	return config_path(d->config->run_dir, name);
}
