/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/link_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "tests/lib/tap.h"

#define MSG_T pair_note
MSG_DEFINE(PAIR_NOTE_FIELDS)
#undef MSG_T

static const struct msg_row pair_rows[] = {PAIR_LINK(MSG_LINK_ROW)};
const struct msg_link pair_link = {"pair", pair_rows, 1};

static void pair_hello(void *arg, struct link_hello *out)
{
	struct link_pair_end *e = arg;

	*out = e->hello;
}

static int pair_send(struct link *l, uint64_t number, size_t size)
{
	struct pair_note n = {.number = number};
	uint8_t *body = calloc(size ? size : 1, 1);
	int err;

	OK(body != NULL);
	for (size_t i = 0; i < size; i += 97)
		body[i] = (uint8_t)(number + i);
	n.body = bytes_of(body, size);
	err = link_send(l, MSG_NO_pair_note, &pair_note_desc, &n);
	free(body);
	return err;
}

static int pair_up(void *arg, struct link *l, const struct link_hello *peer)
{
	struct link_pair_end *e = arg;

	if (e->refuse > 0) {
		e->refuse--;
		return ERR_NOT_FOUND;
	}
	e->ups++;
	e->got = 0;
	e->peer = *peer;
	e->link = l;
	link_set_arg(l, e);
	return ERR_OK;
}

static int pair_msg(void *arg, struct link *l, const struct msg_in *in)
{
	struct link_pair_end *e = arg;
	const struct pair_note *n = in->msg;

	if (n->number != e->got || link_get_arg(l) != e)
		e->disorder = true;
	for (size_t i = 0; i < n->body.len; i += 97)
		if (n->body.data[i] != (uint8_t)(n->number + i))
			e->disorder = true;
	e->got++;
	if (e->drop_at != 0 && e->got == e->drop_at) {
		e->drop_at = 0;
		link_drop(l, "dropped by the test");
	}
	return e->fail_at != 0 && e->got == e->fail_at ? ERR_MALFORMED : ERR_OK;
}

static void pair_down(void *arg, struct link *l, const char *reason)
{
	struct link_pair_end *e = arg;

	e->downs++;
	e->sent_when_down = pair_send(l, 0, 0);
	if (l == e->link)
		e->link = NULL;
	(void)snprintf(e->reason, sizeof e->reason, "%s", reason);
}

static void pair_drained(void *arg, struct link *l)
{
	struct link_pair_end *e = arg;

	(void)l;
	e->drains++;
}

static const struct link_ops pair_ops = {pair_hello, pair_up, pair_msg, pair_down, pair_drained};

static struct link_setup pair_setup(struct link_pair *p, enum daemon_kind peer, struct link_pair_end *e)
{
	return (struct link_setup){
		.loop = p->loop,
		.path = p->path,
		.messages = &pair_link,
		.peer = peer,
		.ops = &pair_ops,
		.arg = e,
		.max_links = 2,
	};
}

void link_pair_init(struct link_pair *p, const struct link_times *times)
{
	memset(p, 0, sizeof *p);
	(void)snprintf(p->path, sizeof p->path, "%s/pair.sock", tap_dir());
	p->loop = loop_new();
	p->server.hello = (struct link_hello){1, DAEMON_RAFTD, 0x1234, 0};
	p->client.hello = (struct link_hello){1, DAEMON_GATEWAYD, 0x5678, 0};
	p->server_setup = pair_setup(p, DAEMON_GATEWAYD, &p->server);
	p->client_setup = pair_setup(p, DAEMON_RAFTD, &p->client);
	if (times != NULL) {
		p->server_setup.times = *times;
		p->client_setup.times = *times;
	}
}

void link_pair_serve(struct link_pair *p)
{
	EQ_INT(link_server_open(&p->server_setup, &p->s), ERR_OK);
}

void link_pair_dial(struct link_pair *p)
{
	EQ_INT(link_dialer_open(&p->client_setup, &p->d), ERR_OK);
}

void link_pair_open(struct link_pair *p, const struct link_times *times)
{
	link_pair_init(p, times);
	link_pair_serve(p);
	link_pair_dial(p);
}

void link_pair_open_two(struct link_pair *p, const struct link_times *times)
{
	link_pair_init(p, times);
	p->server_loop = loop_new();
	p->server_setup.loop = p->server_loop;
	link_pair_serve(p);
	link_pair_dial(p);
}

void link_pair_turn(struct link_pair *p)
{
	if (p->server_loop != NULL)
		loop_turn(p->server_loop, 1);
	loop_turn(p->loop, p->server_loop != NULL ? 1 : 5);
}

void link_pair_up(struct link_pair *p)
{
	UNTIL(p, p->server.link != NULL && p->client.link != NULL);
}

void link_pair_close(struct link_pair *p)
{
	if (p->hooked)
		loop_hook_del(p->loop, &p->hook);
	link_dialer_close(&p->d);
	link_server_close(&p->s);
	loop_free(p->loop);
	loop_free(p->server_loop);
}

int link_pair_send(struct link_pair_end *e, uint64_t number, size_t size)
{
	OK(e->link != NULL);
	return pair_send(e->link, number, size);
}

static void pair_in_hook(void *arg)
{
	struct link_pair *p = arg;

	if (p->to_send == 0)
		return;
	EQ_INT(link_pair_send(&p->client, p->server.got, 10), ERR_OK);
	p->to_send = 0;
}

void link_pair_send_in_hook(struct link_pair *p, unsigned n)
{
	if (!p->hooked)
		loop_hook_add(p->loop, &p->hook, pair_in_hook, p);
	p->hooked = true;
	for (unsigned i = 1; i <= n; i++) {
		p->to_send = 1;
		loop_again(p->loop);
		UNTIL(p, p->server.got == i);
	}
}
