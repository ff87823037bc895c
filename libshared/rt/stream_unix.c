/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rt/stream.h without nng: plain Unix sockets, polled by the loop itself: no thread and no wake-up is between a write at one
 * end and the callback at the other but the loop's own.
 */
#include "rt/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/stream_in.h"

enum { STREAM_KEEP_BYTES = 1024 * 1024, STREAM_ACCEPT_RETRY_MS = 100 };
enum { STREAM_BACKLOG = 128 };

struct stream {
	struct loop *loop;
	struct loop_io io;
	int fd;
	const struct stream_ops *ops;
	void *arg;
	bool in_callback, paused, gone, tell;
	bool hung;                  /* the peer is done, and what it has sent is not all read */

	struct loop_task resume_task, tell_task, gone_task;
	const char *reason;         /* of gone_task */
	struct stream_in in;
	struct buf out;             /* gathers; before out_at it is written */
	size_t out_at;
};

struct stream_listener {
	struct loop *loop;
	struct loop_io io;
	struct loop_timer retry;
	void (*accepted)(void *arg, struct stream *s);
	void *arg;
	char *path;
};

struct stream_dialer {
	struct loop *loop;
	struct loop_task task;
	void (*dialled)(void *arg, struct stream *s, const char *reason);
	void *arg;
	bool busy;
	char *path;
};

/* ---- reading */

static bool stream_reads(const struct stream *s)
{
	return s->ops != NULL && !s->paused && !s->gone && !stream_in_full(&s->in);
}

static void stream_events(struct stream *s)
{
	uint32_t in = stream_reads(s) ? EPOLLIN : 0;
	uint32_t out = !s->gone && s->out.len > s->out_at ? EPOLLOUT : 0;

	if (s->io.fd >= 0)
		loop_io_set(s->loop, &s->io, in | out);
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

static void stream_read(struct stream *s)
{
	ssize_t n;

	if (!stream_reads(s))
		return;
	stream_in_room(&s->in);
	n = recv(s->fd, s->in.data + s->in.len, s->in.cap - s->in.len, 0);
	if (n > 0) {
		s->in.len += (size_t)n;
		stream_show(s);
	} else if (n == 0 || errno == ECONNRESET) {
		stream_gone(s, "closed by the peer");
	} else if (errno != EAGAIN && errno != EINTR) {
		stream_gone(s, strerror(errno));
	}
}

static void stream_on_resume(void *arg)
{
	struct stream *s = arg;

	s->paused = false;
	stream_show(s);
	while (s->hung && stream_reads(s))
		stream_read(s);
	stream_events(s);
}

void stream_pause(struct stream *s)
{
	s->paused = true;
	loop_task_cancel(s->loop, &s->resume_task);
	stream_events(s);
}

/* Nothing is read before what is unread has been shown. */
void stream_resume(struct stream *s)
{
	loop_post(s->loop, &s->resume_task);
}

/* ---- writing */

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

static void stream_on_gone(void *arg)
{
	struct stream *s = arg;

	stream_gone(s, s->reason);
	stream_events(s);
}

static void stream_write(struct stream *s)
{
	while (s->out.len > s->out_at) {
		ssize_t n = send(s->fd, s->out.data + s->out_at, s->out.len - s->out_at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			s->reason = errno == EPIPE || errno == ECONNRESET ? "closed by the peer" : strerror(errno);
			loop_post(s->loop, &s->gone_task);
		}
		if (n < 0)
			return;
		s->out_at += (size_t)n;
	}
	buf_clear(&s->out);
	buf_shrink(&s->out, STREAM_KEEP_BYTES);
	s->out_at = 0;
}

void stream_flush(struct stream *s)
{
	if (s->out.len == 0 || s->gone || (s->io.events & EPOLLOUT))
		return;
	stream_write(s);
	if (s->tell && s->out.len == 0)
		loop_post(s->loop, &s->tell_task);
	stream_events(s);
}

size_t stream_queued(struct stream *s)
{
	return s->out.len - s->out_at;
}

void stream_tell(struct stream *s)
{
	s->tell = true;
	if (s->out.len == 0)
		loop_post(s->loop, &s->tell_task);
}

struct buf *stream_out(struct stream *s)
{
	/* What is written makes room now and then. */
	if (s->out_at > STREAM_KEEP_BYTES && s->out_at > s->out.len / 2) {
		memmove(s->out.data, s->out.data + s->out_at, s->out.len - s->out_at);
		s->out.len -= s->out_at;
		s->out_at = 0;
	}
	return &s->out;
}

void stream_limit_out(struct stream *s, size_t max_out)
{
	s->out.max = 2 * max_out + STREAM_KEEP_BYTES;
}

/* ---- the whole */

static void stream_on_io(void *arg, uint32_t events)
{
	struct stream *s = arg;

	if (events & EPOLLOUT) {
		stream_write(s);
		stream_say_sent(s);
	}
	/* A hang-up is told until the end of what is unread, which may have to wait for its reader. */
	s->hung = s->hung || ((events & (EPOLLHUP | EPOLLERR)) != 0 && !stream_reads(s));
	stream_read(s);
	if (s->gone || s->hung)
		loop_io_del(s->loop, &s->io);
	stream_events(s);
}

/* The directory is 0700; this is the second lock on the door. Zero is root. */
static bool stream_trusts(int fd, const char *path)
{
	struct ucred c;
	socklen_t len = sizeof c;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) != 0)
		return false;
	if (c.uid == 0 || c.uid == geteuid())
		return true;
	log_warn("connection refused: the peer runs as another user path=%s uid=%llu", path,
		 (unsigned long long)c.uid);
	return false;
}

static struct stream *stream_take(struct loop *loop, int fd, const char *path)
{
	struct stream *s;

	if (!stream_trusts(fd, path)) {
		(void)close(fd);
		return NULL;
	}
	s = mem_alloc(sizeof *s);
	s->loop = loop;
	s->fd = fd;
	loop_task_init(&s->tell_task, stream_say_sent, s);
	loop_task_init(&s->resume_task, stream_on_resume, s);
	loop_task_init(&s->gone_task, stream_on_gone, s);
	loop_io_add(loop, &s->io, fd, 0, stream_on_io, s);
	return s;
}

void stream_start(struct stream *s, const struct stream_ops *ops, void *arg, size_t max_in)
{
	CHECK(s->ops == NULL && max_in > 0);
	s->ops = ops;
	s->arg = arg;
	s->in.max = max_in;
	stream_events(s);
}

void stream_close(struct stream **sp)
{
	struct stream *s = *sp;

	if (s == NULL)
		return;
	CHECK(!s->in_callback);
	*sp = NULL;
	loop_io_del(s->loop, &s->io);
	(void)close(s->fd);
	loop_task_cancel(s->loop, &s->tell_task);
	loop_task_cancel(s->loop, &s->resume_task);
	loop_task_cancel(s->loop, &s->gone_task);
	buf_free(&s->out);
	mem_free(s->in.data);
	mem_free(s);
}

static bool stream_address(const char *path, struct sockaddr_un *un)
{
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (path[0] == 0 || strlen(path) >= sizeof un->sun_path) {
		log_error("socket path is empty or too long: choose a shorter run_dir path=%s", path);
		return false;
	}
	memcpy(un->sun_path, path, strlen(path) + 1);
	return true;
}

/* ---- listening */

static void stream_accept(void *arg, uint32_t events)
{
	struct stream_listener *l = arg;
	struct stream *s;
	int fd = accept4(l->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	if (fd < 0) {
		log_error("accept failed, trying again path=%s error=%s", l->path, strerror(errno));
		loop_io_set(l->loop, &l->io, 0);
		loop_timer_set(l->loop, &l->retry, mono_add_ms(loop_now(l->loop), STREAM_ACCEPT_RETRY_MS));
		return;
	}
	s = stream_take(l->loop, fd, l->path);
	if (s != NULL)
		l->accepted(l->arg, s);
}

static void stream_retry(void *arg)
{
	struct stream_listener *l = arg;

	loop_io_set(l->loop, &l->io, EPOLLIN);
}

/* A dead one's file refuses connections. Who cannot ask does not take it away. */
static bool stream_alive(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool alive = fd < 0 || connect(fd, (const struct sockaddr *)un, sizeof *un) == 0 || errno != ECONNREFUSED;

	if (fd >= 0)
		(void)close(fd);
	return alive;
}

int stream_listen(struct loop *loop, const char *path, void (*accepted)(void *arg, struct stream *s),
		  void *arg, struct stream_listener **out)
{
	struct stream_listener *l;
	struct sockaddr_un un;
	int fd, rc;

	if (!stream_address(path, &un))
		return ERR_CONFIG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	rc = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)&un, sizeof un);
	if (fd >= 0 && rc != 0 && errno == EADDRINUSE && !stream_alive(&un)) {
		(void)unlink(path);
		rc = bind(fd, (const struct sockaddr *)&un, sizeof un);
	}
	if (rc != 0 || chmod(path, S_IRUSR | S_IWUSR) != 0 || listen(fd, STREAM_BACKLOG) != 0) {
		int err = errno;

		log_error("cannot listen path=%s error=%s", path, strerror(err));
		if (fd >= 0)
			(void)close(fd);
		return err == EADDRINUSE ? ERR_EXISTS : ERR_IO;
	}
	l = mem_alloc(sizeof *l);
	l->loop = loop;
	l->accepted = accepted;
	l->arg = arg;
	l->path = mem_strdup(path);
	loop_timer_init(&l->retry, stream_retry, l);
	loop_io_add(loop, &l->io, fd, EPOLLIN, stream_accept, l);
	*out = l;
	return ERR_OK;
}

void stream_listener_close(struct stream_listener **lp)
{
	struct stream_listener *l = *lp;
	int fd;

	if (l == NULL)
		return;
	*lp = NULL;
	fd = l->io.fd;
	loop_io_del(l->loop, &l->io);
	(void)close(fd);
	(void)unlink(l->path);
	loop_timer_clear(l->loop, &l->retry);
	mem_free(l->path);
	mem_free(l);
}

/* ---- dialling */

static void stream_on_dial(void *arg)
{
	struct stream_dialer *d = arg;
	struct stream *s = NULL;
	struct sockaddr_un un;
	int fd, err;

	d->busy = false;
	CHECK(stream_address(d->path, &un));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&un, sizeof un) != 0) {
		err = errno;
		if (fd >= 0)
			(void)close(fd);
		d->dialled(d->arg, NULL, strerror(err));
		return;
	}
	s = stream_take(d->loop, fd, d->path);
	d->dialled(d->arg, s, s ? NULL : "the listener runs as another user");
}

int stream_dialer_open(struct loop *loop, const char *path,
		       void (*dialled)(void *arg, struct stream *s, const char *reason), void *arg,
		       struct stream_dialer **out)
{
	struct stream_dialer *d;
	struct sockaddr_un un;

	if (!stream_address(path, &un))
		return ERR_CONFIG;
	d = mem_alloc(sizeof *d);
	d->loop = loop;
	d->dialled = dialled;
	d->arg = arg;
	d->path = mem_strdup(path);
	loop_task_init(&d->task, stream_on_dial, d);
	*out = d;
	return ERR_OK;
}

void stream_dial(struct stream_dialer *d)
{
	CHECK(!d->busy);
	d->busy = true;
	loop_post(d->loop, &d->task);
}

void stream_dialer_close(struct stream_dialer **dp)
{
	struct stream_dialer *d = *dp;

	if (d == NULL)
		return;
	*dp = NULL;
	loop_task_cancel(d->loop, &d->task);
	mem_free(d->path);
	mem_free(d);
}
