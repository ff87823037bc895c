/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at the Nth allocation of the client's thread, for every N until a whole session
 * needs no more: unlike a daemon, a library must live on. The linker sends the allocations here
 * (--wrap); the sanitizer build also sees what is lost on the way.
 */
#include <stdlib.h>

#include "client/client.h"
#include "tests/lib/fake_server.h"
#include "tests/lib/tap.h"

static _Thread_local unsigned long left;   /* 0: not armed; 1: the next one fails */
static _Thread_local bool hit;

static bool fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	hit = true;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

static bool serve(void *arg, struct fake_conn *c, const struct fake_request *r)
{
	struct kv_header h = {1, 2, 3, 4};
	struct kv_pair pairs[40];
	struct kv_put_result put = {.header = &h};
	struct kv_range_result range = {.header = &h, .count = 40, .kvs = {.v = pairs, .n = 40}};

	(void)arg;
	for (size_t i = 0; i < 40; i++)
		pairs[i] = (struct kv_pair){bytes_str("key"), 1, 2, 1, bytes_str("value"), 0};
	fake_result(c, r, r->method->result == &kv_put_result_desc ? (void *)&put : (void *)&range);
	return true;
}

static int put(struct client *c, struct client_error *e)
{
	struct kv_put p = {.key = bytes_str("a"), .value = bytes_str("b")};
	struct kv_put_result result = {0};
	struct arena arena;
	struct client_request r = {.method = "put", .params = &p, .arena = &arena,
				   .result = &result};
	int rc;

	arena_init(&arena, MIB);
	rc = client_call(c, &r, mono_add_ms(mono_now(), 10000), e);
	arena_free(&arena);
	return rc;
}

static int range(struct client *c, struct client_error *e)
{
	struct kv_range p = {.key = bytes_str("a")};
	struct kv_range_result result = {0};
	struct arena arena;
	struct client_request r = {.method = "range", .params = &p, .arena = &arena,
				   .result = &result};
	int rc;

	arena_init(&arena, MIB);
	rc = client_call(c, &r, mono_add_ms(mono_now(), 10000), e);
	OK(rc != ERR_OK || result.kvs.n == 40);
	arena_free(&arena);
	return rc;
}

/* A refusal is said in words; a success is one. */
static void said(int rc, const struct client_error *e)
{
	EQ_INT(rc, e->code);
	OK(rc == ERR_OK || e->text[0] != 0);
}

/* True while the Nth allocation was asked for. */
static bool session(const char *endpoint, unsigned long nth)
{
	struct client_options o = {.endpoints = endpoint};
	struct client_error e = {0};
	struct client *c = NULL;
	int rc;

	hit = false;
	left = nth;
	rc = client_open(&o, &c, &e);
	said(rc, &e);
	OK((rc == ERR_OK) == (c != NULL));
	if (c == NULL) {
		left = 0;
		EQ_INT(rc, ERR_NO_MEMORY);
		return hit;
	}
	said(put(c, &e), &e);
	said(range(c, &e), &e);
	left = 0;
	/* There is memory again: it works on, without being opened anew. */
	EQ_INT(put(c, &e), ERR_OK);
	EQ_INT(range(c, &e), ERR_OK);
	client_close(&c);
	return hit;
}

TEST(a_client_outlives_every_allocation_that_fails)
{
	struct fake_setup s = {.serve = serve};
	struct fake_server *f = fake_start(&s);
	unsigned long nth = 1;

	while (session(fake_endpoint(f), nth)) {
		nth++;
		OK(nth < 10000);
	}
	OK(nth > 8);                   /* else nothing was tested */
	fake_stop(&f);
}

TESTS = {
	T(a_client_outlives_every_allocation_that_fails),
};
TAP_MAIN
