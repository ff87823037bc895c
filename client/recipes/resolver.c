/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of a service: a thread reads them, watches them from there on, and reads them anew
 * when the history has been compacted under it. Others take copies of the list.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "client/recipes/gate.h"
#include "client/recipes/naming.h"
#include "client/recipes/recipe.h"

enum { RESOLVER_PAUSE_MS = 200 };

struct service_entry {
	char *key, *address, *metadata;
	size_t key_size;
	int64_t create_revision, mod_revision, lease;
};

struct service_list {
	struct service_entry *v;       /* in the order of keys */
	size_t n, cap;
	int64_t revision;
};

struct quorate_resolver {
	struct quorate *q;             /* of the thread: cancelled by the close */
	char *prefix_text;
	struct quorate_bytes prefix;
	pthread_t thread;
	int fd;
	struct gate gate;              /* only its lock and condition are used; under them: */
	struct service_list list;
	bool news, closing;            /* news: that nobody has taken */
	bool partial;                  /* between two halves of a revision */
};

static void entry_free(struct service_entry *en)
{
	free(en->key);
	free(en->address);
	free(en->metadata);
}

static void list_free(struct service_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		entry_free(&l->v[i]);
	free(l->v);
	*l = (struct service_list){NULL, 0, 0, 0};
}

static char *entry_text(struct bytes v)
{
	return recipe_join(quorate_bytes(v.data, v.len), quorate_str(NULL), quorate_str(NULL));
}

/* A value that is none of ours is somebody's own words: the address is what the key says. */
static bool entry_make(struct service_entry *en, const struct quorate_kv *kv, size_t prefix)
{
	struct bytes key = bytes_of(kv->key.data, kv->key.size), value = bytes_of(kv->value.data, kv->value.size);
	struct buf address, metadata;

	*en = (struct service_entry){.key_size = key.len, .create_revision = kv->create_revision,
				     .mod_revision = kv->mod_revision, .lease = kv->lease};
	buf_init(&address, 0);
	buf_init(&metadata, 0);
	if (naming_read(value, &address, &metadata) != ERR_OK && address.err != ERR_NO_MEMORY) {
		buf_clear(&address);
		buf_clear(&metadata);
		buf_add_bytes(&address, bytes_of(key.data + prefix, key.len - prefix));
		buf_add_bytes(&metadata, value);
	}
	en->key = entry_text(key);
	if (address.err == ERR_OK && metadata.err == ERR_OK) {
		en->address = entry_text(buf_bytes(&address));
		en->metadata = entry_text(buf_bytes(&metadata));
	}
	buf_free(&address);
	buf_free(&metadata);
	if (en->key != NULL && en->address != NULL && en->metadata != NULL)
		return true;
	entry_free(en);
	return false;
}

/* Where the key is, or would be. */
static size_t list_find(const struct service_list *l, struct quorate_bytes key, bool *there)
{
	size_t low = 0, high = l->n;

	*there = false;
	while (low < high && !*there) {
		size_t mid = low + (high - low) / 2;
		int cmp = bytes_cmp(bytes_of(l->v[mid].key, l->v[mid].key_size), bytes_of(key.data, key.size));

		if (cmp < 0)
			low = mid + 1;
		else
			high = mid;
		if (cmp == 0) {
			*there = true;
			low = mid;
		}
	}
	return low;
}

static bool list_room(struct service_list *l)
{
	size_t cap = l->cap > 0 ? l->cap * 2 : 16;
	struct service_entry *v;

	if (l->n < l->cap)
		return true;
	v = reallocarray(l->v, cap, sizeof *v);
	if (v == NULL)
		return false;
	l->v = v;
	l->cap = cap;
	return true;
}

static bool list_put(struct service_list *l, const struct quorate_kv *kv, size_t prefix)
{
	struct service_entry en;
	bool there;
	size_t at = list_find(l, kv->key, &there);

	if (!list_room(l) || !entry_make(&en, kv, prefix))
		return false;
	if (there) {
		entry_free(&l->v[at]);
	} else {
		memmove(l->v + at + 1, l->v + at, (l->n - at) * sizeof *l->v);
		l->n++;
	}
	l->v[at] = en;
	return true;
}

static void list_delete(struct service_list *l, struct quorate_bytes key)
{
	bool there;
	size_t at = list_find(l, key, &there);

	if (!there)
		return;
	entry_free(&l->v[at]);
	memmove(l->v + at, l->v + at + 1, (l->n - at - 1) * sizeof *l->v);
	l->n--;
}

static bool list_same(const struct service_list *a, const struct service_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->v[i].mod_revision != b->v[i].mod_revision || a->v[i].key_size != b->v[i].key_size ||
		    memcmp(a->v[i].key, b->v[i].key, a->v[i].key_size) != 0)
			return false;
	return true;
}

/* ---- the thread ---- */

/* With the lock held. */
static void resolver_news(struct quorate_resolver *rs)
{
	const uint64_t one = 1;

	if (!rs->news)
		(void)!write(rs->fd, &one, sizeof one);
	rs->news = true;
	(void)pthread_cond_broadcast(&rs->gate.cond);
}

struct resolver_reading {
	struct service_list list;
	struct quorate_bytes prefix;
};

/* A server may say anything. */
static bool resolver_is_ours(struct quorate_bytes prefix, const struct quorate_kv *kv)
{
	return kv->key.size >= prefix.size && memcmp(kv->key.data, prefix.data, prefix.size) == 0;
}

enum { RESOLVER_NO_MEMORY = -1, RESOLVER_FOREIGN = -2 };

static int resolver_each(void *arg, const struct quorate_kv *kv)
{
	struct resolver_reading *reading = arg;

	if (!resolver_is_ours(reading->prefix, kv))
		return RESOLVER_FOREIGN;
	return list_put(&reading->list, kv, reading->prefix.size) ? 0 : RESOLVER_NO_MEMORY;
}

static int resolver_read(struct quorate_resolver *rs, struct quorate *q, int64_t timeout_ms,
			 struct quorate_error *e)
{
	struct resolver_reading reading = {.prefix = rs->prefix};
	struct quorate_op op = quorate_op_get(rs->prefix);
	struct quorate_result *r;
	int rc;

	op.flags = QUORATE_PREFIX;
	rc = quorate_each(q, &op, timeout_ms, resolver_each, &reading, &r, e);
	if (rc == RESOLVER_NO_MEMORY)
		rc = recipe_no_memory(e);
	else if (rc == RESOLVER_FOREIGN)
		rc = recipe_fail(e, QUORATE_ERR_MALFORMED, QUORATE_AGAIN_NO, "a key that was not asked for");
	if (rc == QUORATE_OK) {
		reading.list.revision = r->header.revision;
		(void)pthread_mutex_lock(&rs->gate.lock);
		if (rs->list.revision == 0 || !list_same(&rs->list, &reading.list))
			resolver_news(rs);
		list_free(&rs->list);
		rs->list = reading.list;
		rs->partial = false;
		(void)pthread_mutex_unlock(&rs->gate.lock);
	} else {
		list_free(&reading.list);
	}
	quorate_result_free(rc == QUORATE_OK ? r : NULL);
	return rc;
}

/* False: the list must be read anew. */
static bool resolver_take(struct quorate_resolver *rs, const struct quorate_news *news)
{
	bool good = news->kind != QUORATE_COMPACTED && news->kind != QUORATE_ENDED;

	(void)pthread_mutex_lock(&rs->gate.lock);
	for (size_t i = 0; i < news->n_events && good; i++) {
		if (news->events[i].type == QUORATE_EVENT_PUT)
			good = resolver_is_ours(rs->prefix, &news->events[i].kv) &&
			       list_put(&rs->list, &news->events[i].kv, rs->prefix.size);
		else
			list_delete(&rs->list, news->events[i].kv.key);
	}
	rs->partial = good && news->kind == QUORATE_EVENTS ? news->partial : rs->partial;
	if (good && news->kind == QUORATE_EVENTS && !news->partial) {
		rs->list.revision = news->revision;
		resolver_news(rs);
	}
	(void)pthread_mutex_unlock(&rs->gate.lock);
	return good;
}

static void resolver_follow(struct quorate_resolver *rs)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;
	struct quorate_watch *w;
	struct quorate_news *news;
	bool good = true;

	o.key = rs->prefix;
	o.flags = QUORATE_PREFIX;
	o.start_revision = rs->list.revision + 1;      /* written by this thread only */
	if (quorate_watch_open(rs->q, &o, &w, NULL) != QUORATE_OK)
		return;
	while (good && quorate_watch_next(w, QUORATE_FOREVER, &news, NULL) == QUORATE_OK) {
		good = resolver_take(rs, news);
		quorate_news_free(news);
	}
	quorate_watch_close(w);
}

static bool resolver_pause(struct quorate_resolver *rs)
{
	mono_t until = mono_add_ms(mono_now(), RESOLVER_PAUSE_MS);
	bool closing;

	(void)pthread_mutex_lock(&rs->gate.lock);
	while (!rs->closing && gate_wait(&rs->gate, until))
		;
	closing = rs->closing;
	(void)pthread_mutex_unlock(&rs->gate.lock);
	return !closing;
}

static void *resolver_run(void *arg)
{
	struct quorate_resolver *rs = arg;

	do {
		resolver_follow(rs);
		/* Should this fail, the watch begins where the old list ends, and says more. */
		(void)resolver_read(rs, rs->q, 0, NULL);
	} while (resolver_pause(rs));
	return NULL;
}

/* ---- from outside ---- */

static void resolver_free(struct quorate_resolver *rs)
{
	/* In a child this would wait for threads that are not there. */
	if (rs->q == NULL || !recipe_forked(rs->q))
		gate_free(&rs->gate);
	quorate_close(rs->q);
	list_free(&rs->list);
	if (rs->fd >= 0)
		(void)close(rs->fd);
	free(rs->prefix_text);
	free(rs);
}

int quorate_resolver_open(struct quorate *q, struct quorate_bytes service, int64_t timeout_ms,
			  struct quorate_resolver **rsp, struct quorate_error *e)
{
	struct quorate_resolver *rs = calloc(1, sizeof *rs);
	int rc;

	*rsp = NULL;
	if (rs == NULL)
		return recipe_no_memory(e);
	gate_init(&rs->gate);
	rs->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rs->prefix_text = recipe_join(service, quorate_str("/"), quorate_str(NULL));
	rs->prefix = quorate_bytes(rs->prefix_text, service.size + 1);
	rc = rs->prefix_text == NULL ? recipe_no_memory(e) : quorate_namespace(q, quorate_str(NULL), &rs->q, e);
	if (rc == QUORATE_OK)
		rc = resolver_read(rs, q, timeout_ms, e);
	if (rc == QUORATE_OK && (rs->fd < 0 || gate_thread(&rs->thread, resolver_run, rs) != 0))
		rc = recipe_fail(e, QUORATE_ERR_IO, QUORATE_AGAIN_SAFE, "no thread or no descriptor");
	if (rc == QUORATE_OK)
		*rsp = rs;
	else
		resolver_free(rs);
	return rc;
}

/* In one piece: the struct, the entries, their texts. With the lock held. */
static struct quorate_addresses *resolver_copy(const struct service_list *l)
{
	size_t texts = 0;
	struct quorate_addresses *to;
	struct quorate_address *v;
	char *at;

	for (size_t i = 0; i < l->n; i++)
		texts += strlen(l->v[i].address) + strlen(l->v[i].metadata) + 2;
	to = malloc(sizeof *to + l->n * sizeof *v + texts);
	if (to == NULL)
		return NULL;
	v = (struct quorate_address *)(to + 1);
	at = (char *)(v + l->n);
	*to = (struct quorate_addresses){.revision = l->revision, .v = v, .n = l->n};
	for (size_t i = 0; i < l->n; i++) {
		const struct service_entry *en = &l->v[i];
		size_t a = strlen(en->address) + 1, m = strlen(en->metadata) + 1;

		v[i] = (struct quorate_address){memcpy(at, en->address, a), memcpy(at + a, en->metadata, m),
						en->create_revision, en->mod_revision, en->lease};
		at += a + m;
	}
	return to;
}

int quorate_resolver_next(struct quorate_resolver *rs, int64_t timeout_ms, struct quorate_addresses **list,
			  struct quorate_error *e)
{
	mono_t deadline = recipe_wait_deadline(timeout_ms);
	uint64_t taken;
	int rc = recipe_ours(rs->q, e);

	*list = NULL;
	if (rc != QUORATE_OK)
		return rc;
	(void)pthread_mutex_lock(&rs->gate.lock);
	while ((!rs->news || rs->partial) && !recipe_over(deadline))
		(void)gate_wait(&rs->gate, deadline);
	if (!rs->news || rs->partial)
		rc = recipe_fail(e, QUORATE_ERR_TIMEOUT, QUORATE_AGAIN_SAFE, "the list is as it was");
	else if ((*list = resolver_copy(&rs->list)) == NULL)
		rc = recipe_no_memory(e);
	if (rc == QUORATE_OK) {
		rs->news = false;
		(void)!read(rs->fd, &taken, sizeof taken);
	}
	(void)pthread_mutex_unlock(&rs->gate.lock);
	return rc == QUORATE_OK ? recipe_ok(e) : rc;
}

int quorate_resolver_fd(const struct quorate_resolver *rs)
{
	return rs->fd;
}

void quorate_resolver_close(struct quorate_resolver *rs)
{
	if (rs == NULL)
		return;
	if (!recipe_forked(rs->q)) {
		(void)pthread_mutex_lock(&rs->gate.lock);
		rs->closing = true;
		(void)pthread_cond_broadcast(&rs->gate.cond);
		(void)pthread_mutex_unlock(&rs->gate.lock);
		quorate_cancel_all(rs->q);
		(void)pthread_join(rs->thread, NULL);
	}
	resolver_free(rs);
}

void quorate_addresses_free(struct quorate_addresses *list)
{
	free(list);
}
