/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be written to an admin socket. The stream below stands in the place of rt/stream.c and is
 * fed pieces of the input, whose first byte is their size. Whatever comes, each answer is lines of
 * text that end in an empty one, and is of bounded size.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/admin.h"
#include "rt/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct stream {
	const struct stream_ops *ops;
	void *arg;
	struct buf in, out;
	size_t max_in;
	bool paused, tell;
};

static void (*accept_fn)(void *arg, struct stream *s);
static void *accept_arg;
static struct stream *open_stream;   /* the one that is there; NULL: closed */

int stream_listen(struct loop *loop, const char *path, void (*accepted)(void *arg, struct stream *s),
		  void *arg, struct stream_listener **out)
{
	(void)loop;
	(void)path;
	accept_fn = accepted;
	accept_arg = arg;
	*out = NULL;
	return ERR_OK;
}

void stream_listener_close(struct stream_listener **l)
{
	*l = NULL;
}

void stream_start(struct stream *s, const struct stream_ops *ops, void *arg, size_t max_in)
{
	s->ops = ops;
	s->arg = arg;
	s->max_in = max_in;
}

void stream_close(struct stream **s)
{
	CHECK(*s == open_stream);
	buf_free(&(*s)->in);
	buf_free(&(*s)->out);
	mem_free(*s);
	*s = open_stream = NULL;
}

struct buf *stream_out(struct stream *s)
{
	return &s->out;
}

void stream_limit_out(struct stream *s, size_t max_out)
{
	s->out.max = max_out;
}

void stream_flush(struct stream *s)
{
	(void)s;
}

size_t stream_queued(struct stream *s)
{
	return s->out.len;
}

void stream_tell(struct stream *s)
{
	s->tell = true;
}

void stream_pause(struct stream *s)
{
	s->paused = true;
}

void stream_resume(struct stream *s)
{
	s->paused = false;
}

/* Links are in the same library; here nobody dials. */
int stream_dialer_open(struct loop *loop, const char *path,
		       void (*dialled)(void *arg, struct stream *s, const char *reason), void *arg,
		       struct stream_dialer **out)
{
	(void)loop;
	(void)path;
	(void)dialled;
	(void)arg;
	(void)out;
	panic("nobody dials");
}

void stream_dial(struct stream_dialer *d)
{
	(void)d;
	panic("nobody dials");
}

void stream_dialer_close(struct stream_dialer **d)
{
	*d = NULL;
}

/* The client reads all that there is. */
static void answer_check(struct stream *s)
{
	CHECK(s->out.err == ERR_OK && s->out.len <= LIMIT_ADMIN_REPLY_BYTES);
	CHECK(s->out.len >= 2 && memcmp(s->out.data + s->out.len - 2, "\n\n", 2) == 0);
	CHECK(memchr(s->out.data, 0, s->out.len) == NULL);
	buf_clear(&s->out);
	s->tell = false;
	s->ops->sent(s->arg);
}

/* Until the daemon has taken all that it will take for now. */
static void stream_turn(struct loop *loop)
{
	size_t used = 1;

	while (open_stream != NULL && (used > 0 || open_stream->out.len > 0)) {
		struct stream *s = open_stream;

		used = 0;
		if (s->out.len > 0) {
			CHECK(s->tell && s->paused);
			answer_check(s);
		} else if (!s->paused && s->in.len > 0) {
			CHECK(s->in.len <= s->max_in);
			used = s->ops->data(s->arg, buf_bytes(&s->in));
			CHECK(used <= s->in.len);
			buf_consume(&s->in, used);
		}
		loop_turn(loop, 0);
	}
}

static void run_echo(void *arg, const char *args, struct admin_reply *r)
{
	(void)arg;
	CHECK(args != NULL && strlen(args) <= LIMIT_ADMIN_LINE_BYTES);
	admin_begin(r, "group");
	admin_str(r, "args", args);
	admin_end(r);
}

static const struct admin_command commands[] = {
	{"echo", "[TEXT]", "says it again", run_echo},
	{NULL, NULL, NULL, NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct admin_setup setup = {.path = "fuzz.admin", .daemon = "fuzz", .commands = commands};
	struct cur c = cur_of(bytes_of(data, size));
	size_t piece = 1u + cur_u8(&c);
	struct admin *a;

	log_set_level(LOG_ERROR);
	setup.loop = loop_new();
	CHECK(admin_open(&setup, &a) == ERR_OK);
	open_stream = mem_alloc(sizeof *open_stream);
	buf_init(&open_stream->in, 0);
	buf_init(&open_stream->out, 0);
	accept_fn(accept_arg, open_stream);
	while (open_stream != NULL && cur_left(&c) > 0) {
		size_t room = open_stream->max_in - open_stream->in.len;
		size_t n = piece < cur_left(&c) ? piece : cur_left(&c);

		CHECK(room > 0);           /* else it would wait for ever */
		buf_add_bytes(&open_stream->in, cur_take(&c, n < room ? n : room));
		stream_turn(setup.loop);
	}
	if (open_stream != NULL)
		open_stream->ops->gone(open_stream->arg, "done");
	admin_close(&a);
	loop_free(setup.loop);
	return 0;
}
