/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of nng 1.5.2 is relied upon, and what is worked around:
 * - No aio has a timeout: nng measures them with the wall clock. Our timers are the loop's.
 * - An aio submitted on a closed stream of ours may never complete, so none is; stream_close
 *   stops both aios, which waits only for callbacks that do no more than post a task.
 * - An accepted descriptor is polled for hang-ups from the first moment and would keep nng's
 *   poller busy after one, until its first read: so reading starts at once.
 * - Sends complete partially, accepts fail for want of descriptors: both are tried again here.
 */
#include "rt/stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/transport/ipc/ipc.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/stream_in.h"

enum { STREAM_KEEP_BYTES = 1024 * 1024, STREAM_ACCEPT_RETRY_MS = 100 };

struct stream {
	struct loop *loop;
	nng_stream *nng;
	const struct stream_ops *ops;
	void *arg;
	bool in_callback, reading, writing, paused, gone, tell;

	nng_aio *read_aio;
	struct loop_task read_task, resume_task, again_task;
	struct stream_in in;

	nng_aio *write_aio, *now_aio;
	struct loop_task write_task, tell_task;
	struct buf out;             /* gathers */
	struct buf flight;          /* being written, from flight_off */
	size_t flight_off;
};

struct stream_listener {
	struct loop *loop;
	nng_stream_listener *nng;
	nng_aio *aio;
	struct loop_task task;
	struct loop_timer retry;
	void (*accepted)(void *arg, struct stream *s);
	void *arg;
	bool busy;
	char *path;
};

struct stream_dialer {
	struct loop *loop;
	nng_stream_dialer *nng;
	nng_aio *aio;
	struct loop_task task;
	void (*dialled)(void *arg, struct stream *s, const char *reason);
	void *arg;
	bool busy;
	char *path;
};

static void stream_nng(int rv)
{
	if (rv != 0)
		fatal("give the machine more memory, or the user more threads", "nng: %s", nng_strerror(rv));
}

/* ---- reading */

/* nng's thread */
static void stream_read_done(void *arg)
{
	struct stream *s = arg;

	loop_post(s->loop, &s->read_task);
}

static void stream_read(void *arg)
{
	struct stream *s = arg;
	nng_iov iov;

	if (s->reading || s->paused || s->gone || stream_in_full(&s->in))
		return;
	stream_in_room(&s->in);
	iov = (nng_iov){s->in.data + s->in.len, s->in.cap - s->in.len};
	stream_nng(nng_aio_set_iov(s->read_aio, 1, &iov));
	s->reading = true;
	nng_stream_recv(s->nng, s->read_aio);
}

static void stream_show(struct stream *s)
{
	if (s->in.len == 0 || s->paused)
		return;
	s->in_callback = true;
	stream_in_show(&s->in, s->ops, s->arg);
	s->in_callback = false;
}

static void stream_gone(struct stream *s, const char *reason)
{
	if (s->gone)
		return;
	s->gone = true;
	s->in_callback = true;
	s->ops->gone(s->arg, reason);
	s->in_callback = false;
}

static const char *stream_reason(int rv)
{
	return rv == NNG_ECONNSHUT || rv == NNG_ECLOSED || rv == NNG_ECONNRESET ? "closed by the peer"
										: nng_strerror(rv);
}

static void stream_on_read(void *arg)
{
	struct stream *s = arg;
	int rv = nng_aio_result(s->read_aio);

	CHECK(s->reading);
	s->reading = false;
	if (rv != 0) {
		stream_gone(s, stream_reason(rv));
		return;
	}
	s->in.len += nng_aio_count(s->read_aio);
	CHECK(s->in.len <= s->in.cap);
	stream_show(s);
	/* Two system calls and nng's locks: not before what we have just read is answered. */
	loop_defer(s->loop, &s->again_task);
}

static void stream_on_resume(void *arg)
{
	struct stream *s = arg;

	if (!s->reading)
		stream_show(s);
	stream_read(s);
}

void stream_pause(struct stream *s)
{
	s->paused = true;
}

void stream_resume(struct stream *s)
{
	s->paused = false;
	loop_post(s->loop, &s->resume_task);
}

/* ---- writing */

/* nng's thread */
static void stream_write_done(void *arg)
{
	struct stream *s = arg;

	loop_post(s->loop, &s->write_task);
}

static void stream_send(struct stream *s, nng_aio *aio)
{
	nng_iov iov = {s->flight.data + s->flight_off, s->flight.len - s->flight_off};

	stream_nng(nng_aio_set_iov(aio, 1, &iov));
	nng_stream_send(s->nng, aio);
}

static void stream_submit(struct stream *s)
{
	s->writing = true;
	stream_send(s, s->write_aio);
}

/*
 * Most writes fit into the socket's buffer, and an aio without a callback is then done in this
 * thread; with one, a thread of nng is woken to say so, on each hop of each request. The rest is
 * taken back and left, as errors are, to the other aio. True if nothing is left.
 */
static bool stream_write_now(struct stream *s)
{
	stream_send(s, s->now_aio);
	nng_aio_cancel(s->now_aio);
	nng_aio_wait(s->now_aio);
	if (nng_aio_result(s->now_aio) == 0)
		s->flight_off += nng_aio_count(s->now_aio);
	CHECK(s->flight_off <= s->flight.len);
	return s->flight_off == s->flight.len;
}

static void stream_landed(struct stream *s)
{
	buf_clear(&s->flight);
	buf_shrink(&s->flight, STREAM_KEEP_BYTES);
	s->flight_off = 0;
}

void stream_flush(struct stream *s)
{
	struct buf swap;

	if (s->out.len == 0 || s->gone || s->writing)
		return;
	swap = s->flight;
	s->flight = s->out;
	s->out = swap;
	s->out.max = s->flight.max;
	if (!stream_write_now(s)) {
		stream_submit(s);
		return;
	}
	stream_landed(s);
	if (s->tell)
		loop_post(s->loop, &s->tell_task);
}

static void stream_say_sent(void *arg)
{
	struct stream *s = arg;

	if (!s->tell)
		return;
	s->tell = false;
	s->in_callback = true;
	if (s->ops->sent != NULL)
		s->ops->sent(s->arg);
	s->in_callback = false;
}

static void stream_on_write(void *arg)
{
	struct stream *s = arg;
	int rv = nng_aio_result(s->write_aio);

	s->writing = false;
	if (rv != 0) {
		stream_gone(s, stream_reason(rv));
		return;
	}
	s->flight_off += nng_aio_count(s->write_aio);
	CHECK(s->flight_off <= s->flight.len);
	if (s->flight_off < s->flight.len) {
		stream_submit(s);
	} else {
		stream_landed(s);
		stream_flush(s);
	}
	stream_say_sent(s);
}

size_t stream_queued(struct stream *s)
{
	return s->out.len + (s->flight.len - s->flight_off);
}

void stream_tell(struct stream *s)
{
	s->tell = true;
	if (!s->writing && s->out.len == 0)
		loop_post(s->loop, &s->tell_task);
}

struct buf *stream_out(struct stream *s)
{
	return &s->out;
}

void stream_limit_out(struct stream *s, size_t max_out)
{
	s->out.max = max_out;
}

/* ---- the whole */

static struct stream *stream_new(struct loop *loop, nng_stream *nng)
{
	struct stream *s = mem_alloc(sizeof *s);

	s->loop = loop;
	s->nng = nng;
	loop_task_init(&s->read_task, stream_on_read, s);
	loop_task_init(&s->write_task, stream_on_write, s);
	loop_task_init(&s->tell_task, stream_say_sent, s);
	loop_task_init(&s->resume_task, stream_on_resume, s);
	loop_task_init(&s->again_task, stream_read, s);
	stream_nng(nng_aio_alloc(&s->read_aio, stream_read_done, s));
	stream_nng(nng_aio_alloc(&s->write_aio, stream_write_done, s));
	stream_nng(nng_aio_alloc(&s->now_aio, NULL, NULL));
	return s;
}

void stream_start(struct stream *s, const struct stream_ops *ops, void *arg, size_t max_in)
{
	CHECK(s->ops == NULL && max_in > 0);
	s->ops = ops;
	s->arg = arg;
	s->in.max = max_in;
	stream_read(s);
}

void stream_close(struct stream **sp)
{
	struct stream *s = *sp;

	if (s == NULL)
		return;
	CHECK(!s->in_callback);
	*sp = NULL;
	nng_stream_close(s->nng);
	nng_aio_stop(s->read_aio);
	nng_aio_stop(s->write_aio);
	loop_task_cancel(s->loop, &s->read_task);
	loop_task_cancel(s->loop, &s->write_task);
	loop_task_cancel(s->loop, &s->tell_task);
	loop_task_cancel(s->loop, &s->resume_task);
	loop_task_cancel(s->loop, &s->again_task);
	nng_aio_free(s->read_aio);
	nng_aio_free(s->write_aio);
	nng_aio_free(s->now_aio);
	nng_stream_free(s->nng);
	buf_free(&s->out);
	buf_free(&s->flight);
	mem_free(s->in.data);
	mem_free(s);
}

/* The directory is 0700; this is the second lock on the door. Zero is root. */
static bool stream_trusts(nng_stream *nng, const char *path)
{
	uint64_t uid = 0;

	if (nng_stream_get_uint64(nng, NNG_OPT_IPC_PEER_UID, &uid) != 0)
		return false;         /* gone before we could ask */
	if (uid == 0 || uid == geteuid())
		return true;
	log_warn("connection refused: the peer runs as another user path=%s uid=%llu", path,
		 (unsigned long long)uid);
	return false;
}

static struct stream *stream_take(struct loop *loop, nng_stream *nng, const char *path)
{
	if (stream_trusts(nng, path))
		return stream_new(loop, nng);
	nng_stream_close(nng);
	nng_stream_free(nng);
	return NULL;
}

static bool stream_url(const char *path, char *url, size_t cap)
{
	struct sockaddr_un un;

	if (path[0] == 0 || strlen(path) >= sizeof un.sun_path || strlen(path) + 7 > cap) {
		log_error("socket path is empty or too long: choose a shorter run_dir path=%s", path);
		return false;
	}
	memcpy(url, "ipc://", 6);
	memcpy(url + 6, path, strlen(path) + 1);
	return true;
}

/* ---- listening */

/* nng's thread */
static void stream_accept_done(void *arg)
{
	struct stream_listener *l = arg;

	loop_post(l->loop, &l->task);
}

static void stream_accept(void *arg)
{
	struct stream_listener *l = arg;

	l->busy = true;
	nng_stream_listener_accept(l->nng, l->aio);
}

static void stream_on_accept(void *arg)
{
	struct stream_listener *l = arg;
	struct stream *s = NULL;
	int rv = nng_aio_result(l->aio);

	l->busy = false;
	if (rv != 0) {
		log_error("accept failed, trying again path=%s error=%s", l->path, nng_strerror(rv));
		loop_timer_set(l->loop, &l->retry,
			       mono_add_ms(loop_now(l->loop), STREAM_ACCEPT_RETRY_MS));
		return;
	}
	s = stream_take(l->loop, nng_aio_get_output(l->aio, 0), l->path);
	if (s != NULL)
		l->accepted(l->arg, s);
	stream_accept(l);
}

int stream_listen(struct loop *loop, const char *path, void (*accepted)(void *arg, struct stream *s),
		  void *arg, struct stream_listener **out)
{
	struct stream_listener *l;
	char url[128];
	int rv;

	if (!stream_url(path, url, sizeof url))
		return ERR_CONFIG;
	l = mem_alloc(sizeof *l);
	l->loop = loop;
	l->accepted = accepted;
	l->arg = arg;
	l->path = mem_strdup(path);
	loop_task_init(&l->task, stream_on_accept, l);
	loop_timer_init(&l->retry, stream_accept, l);
	stream_nng(nng_aio_alloc(&l->aio, stream_accept_done, l));
	stream_nng(nng_stream_listener_alloc(&l->nng, url));
	stream_nng(nng_stream_listener_set_int(l->nng, NNG_OPT_IPC_PERMISSIONS, S_IRUSR | S_IWUSR));
	rv = nng_stream_listener_listen(l->nng);
	if (rv != 0) {
		log_error("cannot listen path=%s error=%s", path, nng_strerror(rv));
		stream_listener_close(&l);
		return rv == NNG_EADDRINUSE ? ERR_EXISTS : ERR_IO;
	}
	stream_accept(l);
	*out = l;
	return ERR_OK;
}

/* A connection that came in while we were closing has no owner but us. */
static void stream_drop_output(nng_aio *aio)
{
	nng_stream *nng = nng_aio_result(aio) == 0 ? nng_aio_get_output(aio, 0) : NULL;

	if (nng == NULL)
		return;
	nng_stream_close(nng);
	nng_stream_free(nng);
}

void stream_listener_close(struct stream_listener **lp)
{
	struct stream_listener *l = *lp;

	if (l == NULL)
		return;
	*lp = NULL;
	nng_stream_listener_close(l->nng);
	nng_aio_stop(l->aio);
	if (l->busy)
		stream_drop_output(l->aio);
	loop_task_cancel(l->loop, &l->task);
	loop_timer_clear(l->loop, &l->retry);
	nng_aio_free(l->aio);
	nng_stream_listener_free(l->nng);
	mem_free(l->path);
	mem_free(l);
}

/* ---- dialling */

/* nng's thread */
static void stream_dial_done(void *arg)
{
	struct stream_dialer *d = arg;

	loop_post(d->loop, &d->task);
}

static void stream_on_dial(void *arg)
{
	struct stream_dialer *d = arg;
	struct stream *s = NULL;
	int rv = nng_aio_result(d->aio);

	d->busy = false;
	if (rv != 0) {
		d->dialled(d->arg, NULL, nng_strerror(rv));
		return;
	}
	s = stream_take(d->loop, nng_aio_get_output(d->aio, 0), d->path);
	d->dialled(d->arg, s, s ? NULL : "the listener runs as another user");
}

int stream_dialer_open(struct loop *loop, const char *path,
		       void (*dialled)(void *arg, struct stream *s, const char *reason), void *arg,
		       struct stream_dialer **out)
{
	struct stream_dialer *d;
	char url[128];

	if (!stream_url(path, url, sizeof url))
		return ERR_CONFIG;
	d = mem_alloc(sizeof *d);
	d->loop = loop;
	d->dialled = dialled;
	d->arg = arg;
	d->path = mem_strdup(path);
	loop_task_init(&d->task, stream_on_dial, d);
	stream_nng(nng_aio_alloc(&d->aio, stream_dial_done, d));
	stream_nng(nng_stream_dialer_alloc(&d->nng, url));
	*out = d;
	return ERR_OK;
}

void stream_dial(struct stream_dialer *d)
{
	CHECK(!d->busy);
	d->busy = true;
	nng_stream_dialer_dial(d->nng, d->aio);
}

void stream_dialer_close(struct stream_dialer **dp)
{
	struct stream_dialer *d = *dp;

	if (d == NULL)
		return;
	*dp = NULL;
	nng_stream_dialer_close(d->nng);
	nng_aio_stop(d->aio);
	if (d->busy)
		stream_drop_output(d->aio);
	loop_task_cancel(d->loop, &d->task);
	nng_aio_free(d->aio);
	nng_stream_dialer_free(d->nng);
	mem_free(d->path);
	mem_free(d);
}
