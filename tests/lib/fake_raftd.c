/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fake_raftd.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

struct fake_entry {
	uint64_t term;
	uint8_t kind;
	uint8_t *data;
	size_t len;
};

struct wal {
	struct fake_entry *v;       /* v[i] is entry base + i + 1 */
	size_t n, cap;
	uint64_t base, first;       /* entries below first are cut, and still in v */
	uint64_t synced;
};

struct fake_world fake;
static struct daemon fake_daemon;
static struct config fake_config;
static struct wal fake_wal;
static struct buf journal, told;

void fake_say(const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	if (fake.quiet)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	buf_str(&journal, line);
	buf_u8(&journal, '\n');
}

const char *fake_journal(void)
{
	buf_clear(&told);
	buf_add_bytes(&told, buf_bytes(&journal));
	buf_u8(&told, 0);
	buf_clear(&journal);
	return (const char *)told.data;
}

void fake_open(void)
{
	static const size_t plenty = LIMIT_WAL_ENTRY_BYTES;
	static char nowhere[] = "/nowhere";

	log_set_level(LOG_ERROR);
	fake = (struct fake_world){.room = plenty};
	fake_config.node_id = 1;
	fake_config.run_dir = nowhere;
	fake_daemon = (struct daemon){.loop = loop_new(), .config = &fake_config,
				      .incarnation = 111};
	fake_wal = (struct wal){.first = 1};
	buf_clear(&journal);
	fake.n = mem_alloc(sizeof *fake.n);
	fake.n->d = &fake_daemon;
	fake.n->wal = &fake_wal;
	fake_daemon.state = fake.n;
	raftd_counters_init(&fake.n->counters);
}

static void fake_forget(struct wal *w, size_t keep)
{
	while (w->n > keep)
		mem_free(w->v[--w->n].data);
}

void fake_close(void)
{
	fake_forget(&fake_wal, 0);
	mem_free(fake_wal.v);
	loop_timer_clear(fake_daemon.loop, &fake.n->tick);
	wal_list_free(&fake.n->list);
	wal_list_free(&fake.n->feed.list);
	mem_free(fake.n->fx.v);
	mem_free(fake.n);
	loop_free(fake_daemon.loop);
	buf_free(&journal);
	buf_free(&told);
}

static void fake_add(struct wal *w, uint64_t term, uint8_t kind, struct bytes payload)
{
	if (w->n == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 64;
		w->v = mem_grow(w->v, w->cap, sizeof *w->v);
	}
	w->v[w->n++] = (struct fake_entry){term, kind, mem_dup(payload.data, payload.len),
					   payload.len};
}

void fake_have(uint64_t term, uint8_t kind, size_t bytes)
{
	static const uint8_t zeros[2 * MIB];

	CHECK(bytes <= sizeof zeros);
	fake_add(&fake_wal, term, kind, bytes_of(zeros, bytes));
}

bool fake_sync(struct wal_durable *done)
{
	fake.room = LIMIT_WAL_ENTRY_BYTES;
	if (fake.mark.seq == fake_wal.synced)
		return false;
	fake_wal.synced = fake.mark.seq;
	*done = fake.mark;
	return true;
}

/* ---- wal.h */

static int fake_use(size_t bytes)
{
	if (bytes > fake.room)
		return ERR_FULL;
	fake.room -= bytes;
	return ERR_OK;
}

int wal_append_hard_state(struct wal *w, struct wal_hard_state hard)
{
	(void)w;
	fake_say("hard term=%" PRIu64 " vote=%" PRIu64, hard.term, hard.vote);
	return fake_use(48);
}

int wal_append_entry(struct wal *w, uint64_t index, uint64_t term, uint8_t kind,
		     struct bytes payload)
{
	CHECK(index == w->base + w->n + 1);
	fake_say("entry %" PRIu64 " term=%" PRIu64 " kind=%d %.*s", index, term, kind,
		 (int)(payload.len < 16 ? payload.len : 16),
		 payload.data ? (const char *)payload.data : "");
	fake_add(w, term, kind, payload);
	return fake_use(payload.len + 40);
}

int wal_append_truncate(struct wal *w, uint64_t from)
{
	CHECK(from >= 1);
	fake_say("truncate %" PRIu64, from);
	fake_forget(w, from - 1 - w->base);
	return fake_use(32);
}

int wal_append_reset(struct wal *w, uint64_t index, uint64_t term)
{
	fake_say("reset %" PRIu64 " term=%" PRIu64, index, term);
	fake_forget(w, 0);
	w->base = index;
	w->first = index + 1;
	return fake_use(32);
}

uint64_t wal_first_index(const struct wal *w)
{
	return w->first;
}

void wal_cut(struct wal *w, uint64_t before_index)
{
	CHECK(before_index <= w->base + w->n + 1);
	fake_say("cut %" PRIu64, before_index);
	if (before_index > w->first)
		w->first = before_index;
}

/* As if each entry had a mebibyte. */
uint64_t wal_bytes_from(const struct wal *w, uint64_t index)
{
	uint64_t last = w->base + w->n;

	return index > last ? 0 : (last + 1 - (index < w->first ? w->first : index)) * MIB;
}

uint64_t wal_index_behind(const struct wal *w, uint64_t bytes)
{
	uint64_t last = w->base + w->n, n = bytes / MIB;

	return last + 1 < w->first + n ? w->first : last + 1 - n;
}

size_t wal_room(struct wal *w)
{
	(void)w;
	return fake.room;
}

void wal_mark(struct wal *w, uint64_t seq)
{
	fake.mark = (struct wal_durable){seq, w->base + w->n, w->n ? w->v[w->n - 1].term : 0};
	fake_say("mark %" PRIu64, seq);
}

void wal_kick(struct wal *w)
{
	(void)w;
}

int wal_read(struct wal *w, uint64_t first, uint64_t last, size_t max_bytes, size_t max_entries,
	     struct wal_list *out)
{
	size_t bytes = 0;

	CHECK(first >= w->first);
	out->n = 0;
	if (fake.read_max > 0 && max_entries > fake.read_max)
		max_entries = fake.read_max;
	for (uint64_t i = first; i <= last && i <= w->base + w->n && out->n < max_entries; i++) {
		const struct fake_entry *e = &w->v[i - w->base - 1];

		if (out->n > 0 && bytes + e->len > max_bytes)
			break;
		bytes += e->len;
		if (out->n == out->cap) {
			out->cap = out->cap ? 2 * out->cap : 64;
			out->entries = mem_grow(out->entries, out->cap, sizeof *out->entries);
		}
		out->entries[out->n++] = (struct wal_entry){i, e->term, e->kind,
							    bytes_of(e->data, e->len)};
	}
	return ERR_OK;
}

void wal_list_free(struct wal_list *list)
{
	mem_free(list->entries);
	*list = (struct wal_list){0};
}

uint64_t wal_last_index(const struct wal *w)
{
	return w->base + w->n;
}

const char *wal_why(const struct wal *w)
{
	(void)w;
	return "";
}

void wal_status(struct wal *w, struct wal_status *st)
{
	*st = (struct wal_status){.first_index = w->first, .last_index = w->base + w->n, .bytes = 4096};
}

void fake_say_message(const char *to, uint64_t id, const struct msg_desc *d, const void *msg)
{
	struct buf text;

	if (fake.quiet)
		return;
	buf_init(&text, 0);
	msg_print(&text, d, msg);
	if (id != 0)
		fake_say("%s %" PRIu64 ": %.*s", to, id, (int)text.len, (const char *)text.data);
	else
		fake_say("%s: %.*s", to, (int)text.len, (const char *)text.data);
	buf_free(&text);
}

/* ---- link.h, daemon.h */

int link_send(struct link *l, uint32_t number, const struct msg_desc *d, const void *msg)
{
	(void)number;
	if (l->answer == ERR_OK && !l->down)
		fake_say_message(l->name, 0, d, msg);
	return l->down ? ERR_CLOSED : l->answer;
}

void link_flush(struct link *l)
{
	fake_say("%s written", l->name);
}

void link_drop(struct link *l, const char *reason)
{
	fake_say("%s dropped: %s", l->name, reason);
	l->down = true;
}

bool link_is_up(const struct link *l)
{
	return !l->down;
}

const struct link_hello *link_peer(const struct link *l)
{
	return &l->hello;
}

int link_server_open(const struct link_setup *s, struct link_server **out)
{
	*out = NULL;
	fake.server_ops = s->ops;
	return ERR_OK;
}

int link_dialer_open(const struct link_setup *s, struct link_dialer **out)
{
	*out = NULL;
	fake.dialer_ops = s->ops;
	return ERR_OK;
}

char *daemon_socket(const struct daemon *d, enum daemon_kind listener, enum daemon_kind dialer)
{
	(void)d;
	(void)listener;
	(void)dialer;
	return mem_strdup("/nowhere");
}
