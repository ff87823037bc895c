/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/hold.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctl/print.h"

enum { HOLD_END_MS = 2000 };           /* to give the lease back at the end */

int hold_fail(struct hold *h, const struct quorate_error *e)
{
	if (e->code == QUORATE_ERR_CLOSED && e->again == QUORATE_AGAIN_SAFE)
		return ctl_fail(h->ctl, CTL_BAD_CONNECTION, "cannot reach %s: %s",
				e->endpoint[0] ? e->endpoint : h->ctl->globals.endpoints, e->text);
	return ctl_fail(h->ctl, e->code == QUORATE_ERR_CANCELED ? CTL_INTERRUPTED : CTL_ERROR, "%s", e->text);
}

/* Blocked before there is another thread, so that none of them takes one. */
static int hold_signals(struct hold *h)
{
	static const int which[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGCONT};
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof which / sizeof which[0]; i++)
		(void)sigaddset(&set, which[i]);
	(void)pthread_sigmask(SIG_BLOCK, &set, &h->old);
	h->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return h->signals < 0 ? ctl_fail(h->ctl, CTL_ERROR, "no descriptor for signals") : CTL_OK;
}

static int hold_connect(struct hold *h, int64_t ttl)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_session_options so = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_error e;
	int rc;

	o.endpoints = h->ctl->globals.endpoints;
	o.timeout_ms = h->ctl->globals.command_timeout_ms;
	rc = quorate_open(&o, &h->q, &e);
	if (rc != QUORATE_OK)
		return ctl_fail(h->ctl, CTL_BAD_ARGS, "%s", e.text);
	rc = quorate_namespace(h->q, quorate_str(NULL), &h->view, &e);
	so.ttl = ttl;
	if (rc == QUORATE_OK && ttl > 0)
		rc = quorate_session_open(h->q, &so, 0, &h->session, &e);
	return rc == QUORATE_OK ? CTL_OK : hold_fail(h, &e);
}

int hold_open(struct hold *h, struct ctl *ctl, int64_t ttl)
{
	int code;

	*h = (struct hold){.ctl = ctl, .signals = -1, .also = -1};
	code = hold_signals(h);
	if (code == CTL_OK)
		code = hold_connect(h, ttl);
	if (code != CTL_OK)
		hold_close(h);
	return code;
}

void hold_close(struct hold *h)
{
	if (h->session != NULL && quorate_session_left_ms(h->session) > 0)
		(void)quorate_session_close(h->session, HOLD_END_MS, NULL);
	else if (h->session != NULL)
		quorate_session_leave(h->session);
	quorate_close(h->view);
	quorate_close(h->q);
	if (h->signals >= 0)
		(void)close(h->signals);
	(void)pthread_sigmask(SIG_SETMASK, &h->old, NULL);
}

/* ---- waits in a thread ---- */

static void *hold_task_run(void *arg)
{
	struct hold_task *t = arg;
	const uint64_t one = 1;

	t->rc = t->run(t->arg, &t->e);
	(void)!write(t->done, &one, sizeof one);
	return NULL;
}

int hold_task_start(struct hold *h, struct hold_task *t)
{
	t->done = eventfd(0, EFD_CLOEXEC);
	if (t->done >= 0 && pthread_create(&t->thread, NULL, hold_task_run, t) == 0)
		return CTL_OK;
	if (t->done >= 0)
		(void)close(t->done);
	return ctl_fail(h->ctl, CTL_ERROR, "no thread or no descriptor");
}

int hold_task_end(struct hold *h, struct hold_task *t, bool cancel)
{
	if (cancel)
		quorate_cancel_all(h->view);
	(void)pthread_join(t->thread, NULL);
	(void)close(t->done);
	return t->rc;
}

bool hold_is_end(int sig)
{
	return sig == SIGINT || sig == SIGTERM || sig == SIGHUP || sig == SIGQUIT;
}

struct hold_news hold_wait(const struct hold *h, const struct hold_task *t, int timeout_ms)
{
	struct pollfd p[] = {{.fd = h->signals, .events = POLLIN}, {.fd = t != NULL ? t->done : -1, .events = POLLIN},
			     {.fd = h->also, .events = POLLIN}};
	struct signalfd_siginfo info;
	struct hold_news news = {false, 0};

	(void)poll(p, 3, timeout_ms);
	news.done = (p[1].revents & POLLIN) != 0;
	if (read(h->signals, &info, sizeof info) == (ssize_t)sizeof info)
		news.sig = (int)info.ssi_signo;
	return news;
}

/* ---- what is printed ---- */

static struct bytes hold_bytes(struct quorate_bytes v)
{
	return bytes_of(v.data, v.size);
}

int hold_print(struct hold *h, const struct quorate_header *header, const struct quorate_kv *kv)
{
	struct kv_header head = {.cluster_id = header->cluster_id, .member_id = header->member_id,
				 .revision = header->revision, .raft_term = header->raft_term};
	struct kv_range_result range = {.header = &head, .count = 1};
	struct kv_pair pair = {.key = hold_bytes(kv->key), .value = hold_bytes(kv->value),
			       .create_revision = kv->create_revision, .mod_revision = kv->mod_revision,
			       .version = kv->version, .lease = kv->lease};
	int code = CTL_OK;
	const struct printer *p = print_of(h->ctl, &code);

	if (p == NULL)
		return code;
	p->range_begin(h->ctl, &range);
	p->range_pair(h->ctl, &pair, true);
	p->range_end(h->ctl, &range, true);
	return fflush(h->ctl->out) != 0 || ferror(h->ctl->out) ? CTL_IO : CTL_OK;
}

int hold_print_key(struct hold *h, struct quorate_bytes key, unsigned flags)
{
	struct quorate_op op = quorate_op_get(key);
	struct quorate_result *r;
	struct quorate_error e;
	int code;

	op.flags = flags;
	if (quorate_call(h->q, &op, 0, &r, &e) != QUORATE_OK)
		return hold_fail(h, &e);
	if (r->n_kvs == 0)
		code = ctl_fail(h->ctl, CTL_ERROR, "the key is gone already");
	else
		code = hold_print(h, &r->header, &r->kvs[0]);
	quorate_result_free(r);
	return code;
}
