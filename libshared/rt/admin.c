/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin socket's connections: one command at a time each, the next one only after the answer
 * was handed to the kernel, so what a client may cost is one answer, whatever it sends.
 */
#include "rt/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "rt/admin_conn.h"
#include "rt/admin_reply.h"

enum { ADMIN_IDLE_MS = 60000 };

struct admin_conn {
	struct admin *admin;
	struct admin_conn *next;
	struct stream *stream;
	struct loop_timer idle;
	mono_t last;                  /* the last command */
	bool last_words, dead;
};

static void admin_conn_die(struct admin_conn *c)
{
	c->dead = true;
	loop_timer_clear(c->admin->s.loop, &c->idle);
	loop_again(c->admin->s.loop);
}

static const struct admin_command *admin_find(const struct admin_command *rows, const char *name, size_t len)
{
	for (; rows != NULL && rows->name != NULL; rows++)
		if (strlen(rows->name) == len && memcmp(rows->name, name, len) == 0)
			return rows;
	return NULL;
}

static void admin_dispatch(struct admin *a, char *line, struct admin_reply *r)
{
	size_t len = strcspn(line, " \t");
	const struct admin_command *c = admin_find(admin_builtin, line, len);
	const char *args = text_trim(line + len);

	if (c != NULL) {
		c->run(a, args, r);
		return;
	}
	c = admin_find(a->s.commands, line, len);
	if (c != NULL)
		c->run(a->s.arg, args, r);
	else
		admin_error(r, "no such command: %.*s (try help)", (int)(len < 40 ? len : 40), line);
}

static void admin_answer(struct admin_conn *c, struct admin_reply *r)
{
	admin_reply_finish(r, stream_out(c->stream));
	admin_reply_free(r);
	stream_pause(c->stream);
	stream_tell(c->stream);
	stream_flush(c->stream);
	c->last = loop_now(c->admin->s.loop);
	loop_timer_set(c->admin->s.loop, &c->idle, mono_add_ms(c->last, c->admin->s.idle_ms));
}

/* A last word: the connection ends when it is sent. */
static void admin_refuse(struct admin_conn *c, const char *what)
{
	struct admin_reply r;

	admin_reply_init(&r, false);
	admin_error(&r, "%s", what);
	admin_answer(c, &r);
	c->last_words = true;
}

/* Returns false if the line was empty: nothing to answer. */
static bool admin_line(struct admin_conn *c, struct bytes raw)
{
	char line[LIMIT_ADMIN_LINE_BYTES + 1], *command;
	struct admin_reply r;
	bool json;

	CHECK(raw.len < sizeof line);
	if (memchr(raw.data, 0, raw.len) != NULL) {
		admin_refuse(c, "this is a text protocol");
		return true;
	}
	memcpy(line, raw.data, raw.len);
	line[raw.len] = 0;
	command = text_trim(line);
	if (command[0] == 0)
		return false;
	json = strncmp(command, "json", 4) == 0 && (command[4] == ' ' || command[4] == '\t');
	admin_reply_init(&r, json);
	admin_dispatch(c->admin, json ? text_trim(command + 4) : command, &r);
	admin_answer(c, &r);
	return true;
}

static size_t admin_on_data(void *arg, struct bytes in)
{
	struct admin_conn *c = arg;
	size_t used = 0;

	if (c->dead || c->last_words)
		return in.len;
	while (used < in.len) {
		const uint8_t *line = in.data + used, *end = memchr(line, '\n', in.len - used);

		if (end == NULL)
			break;
		used += (size_t)(end - line) + 1;
		if (admin_line(c, bytes_of(line, (size_t)(end - line))))
			return used;
	}
	if (in.len - used >= LIMIT_ADMIN_LINE_BYTES)
		admin_refuse(c, "line too long");
	return used;
}

static void admin_on_sent(void *arg)
{
	struct admin_conn *c = arg;

	if (c->dead)
		return;
	if (stream_queued(c->stream) > 0)
		stream_tell(c->stream);
	else if (c->last_words)
		admin_conn_die(c);
	else
		stream_resume(c->stream);
}

static void admin_on_gone(void *arg, const char *reason)
{
	(void)reason;
	admin_conn_die(arg);
}

static void admin_on_idle(void *arg)
{
	admin_conn_die(arg);
}

static const struct stream_ops admin_stream_ops = {admin_on_data, admin_on_sent, admin_on_gone};

/* Whoever has been idle longest makes room: the operator at the door is the one who matters. */
static void admin_limit(struct admin *a)
{
	struct admin_conn *oldest = NULL;

	if (a->n_conns <= LIMIT_ADMIN_CONNECTIONS)
		return;
	for (struct admin_conn *c = a->conns; c != NULL; c = c->next)
		if (!c->dead && (oldest == NULL || !mono_before(oldest->last, c->last)))
			oldest = c;
	if (oldest != NULL)
		admin_conn_die(oldest);
}

static void admin_accepted(void *arg, struct stream *stream)
{
	struct admin *a = arg;
	struct admin_conn *c = mem_alloc(sizeof *c);

	c->admin = a;
	c->stream = stream;
	c->last = loop_now(a->s.loop);
	c->next = a->conns;
	a->conns = c;
	a->n_conns++;
	loop_timer_init(&c->idle, admin_on_idle, c);
	loop_timer_set(a->s.loop, &c->idle, mono_add_ms(c->last, a->s.idle_ms));
	stream_limit_out(stream, 2 * LIMIT_ADMIN_REPLY_BYTES);
	stream_start(stream, &admin_stream_ops, c, LIMIT_ADMIN_LINE_BYTES);
	admin_limit(a);
}

static void admin_bury(struct admin *a, bool all)
{
	struct admin_conn **at = &a->conns, *c;

	while ((c = *at) != NULL) {
		if (!c->dead && !all) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		a->n_conns--;
		loop_timer_clear(a->s.loop, &c->idle);
		stream_close(&c->stream);
		mem_free(c);
	}
}

static void admin_end_turn(void *arg)
{
	admin_bury(arg, false);
}

static void admin_check_commands(const struct admin_command *rows)
{
	for (; rows != NULL && rows->name != NULL; rows++) {
		CHECK(rows->usage != NULL && rows->help != NULL && rows->run != NULL);
		CHECK(admin_find(admin_builtin, rows->name, strlen(rows->name)) == NULL);
	}
}

int admin_open(const struct admin_setup *s, struct admin **out)
{
	struct admin *a = mem_alloc(sizeof *a);
	int err;

	admin_check_commands(s->commands);
	a->s = *s;
	a->s.path = a->path = mem_strdup(s->path);
	a->s.daemon = a->daemon = mem_strdup(s->daemon);
	a->s.idle_ms = s->idle_ms ? s->idle_ms : ADMIN_IDLE_MS;
	a->started = loop_now(s->loop);
	loop_hook_add(s->loop, &a->hook, admin_end_turn, a);
	err = stream_listen(s->loop, s->path, admin_accepted, a, &a->listener);
	if (err) {
		admin_close(&a);
		return err;
	}
	*out = a;
	return ERR_OK;
}

void admin_close(struct admin **ap)
{
	struct admin *a = *ap;

	if (a == NULL)
		return;
	*ap = NULL;
	stream_listener_close(&a->listener);
	admin_bury(a, true);
	loop_hook_del(a->s.loop, &a->hook);
	mem_free(a->path);
	mem_free(a->daemon);
	mem_free(a);
}
