/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/check.h"
#include "client/recipes/stm_int.h"

static bool same(struct quorate_bytes a, struct quorate_bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

struct stm_read *stm_read_find(struct quorate_stm *t, struct quorate_bytes key)
{
	for (unsigned i = 0; i < t->n_reads; i++)
		if (same(t->reads[i].key, key))
			return &t->reads[i];
	return NULL;
}

static struct stm_write **write_slot(struct quorate_stm *t, struct quorate_bytes key)
{
	for (unsigned i = 0; i < t->n_writes; i++)
		if (same(t->writes[i]->kv.key, key))
			return &t->writes[i];
	return NULL;
}

struct stm_write *stm_write_find(struct quorate_stm *t, struct quorate_bytes key)
{
	struct stm_write **slot = write_slot(t, key);

	return slot == NULL ? NULL : *slot;
}

static int stm_too_many(struct quorate_stm *t)
{
	return recipe_fail(&t->error, QUORATE_ERR_TOO_MANY_OPS, QUORATE_AGAIN_NO, "%s",
			   quorate_error_text(QUORATE_ERR_TOO_MANY_OPS));
}

struct stm_read *stm_read_add(struct quorate_stm *t, struct quorate_bytes key)
{
	struct stm_read *r = &t->reads[t->n_reads];
	void *copy;

	if (t->n_reads == STM_KEYS) {
		stm_too_many(t);
		return NULL;
	}
	copy = malloc(key.size + 1);   /* an empty key is not NULL either */
	if (copy == NULL) {
		recipe_no_memory(&t->error);
		return NULL;
	}
	if (key.size > 0)
		memcpy(copy, key.data, key.size);
	*r = (struct stm_read){.key = quorate_bytes(copy, key.size)};
	t->n_reads++;
	return r;
}

static void read_free(struct stm_read *r)
{
	free((void *)(uintptr_t)r->key.data);
	quorate_result_free(r->own);
}

void stm_read_ahead(struct quorate_stm *t, struct quorate_result **r)
{
	CHECK((*r)->n_results == t->n_reads);
	quorate_result_free(t->ahead);
	t->ahead = *r;
	*r = NULL;
	for (unsigned i = 0; i < t->n_reads; i++) {
		const struct quorate_result *got = t->ahead->results[i];
		struct stm_read *read = &t->reads[i];

		quorate_result_free(read->own);
		read->own = NULL;
		read->kv = got->n_kvs > 0 ? &got->kvs[0] : NULL;
		read->seen = false;
	}
}

void stm_drop_unseen(struct quorate_stm *t)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < t->n_reads; i++)
		if (t->reads[i].seen)
			t->reads[kept++] = t->reads[i];
		else
			read_free(&t->reads[i]);
	t->n_reads = kept;
}

static struct stm_write *write_make(bool put, struct quorate_bytes key, struct quorate_bytes value,
				    int64_t lease)
{
	struct stm_write *w;
	uint8_t *p;

	if (value.size > SIZE_MAX - sizeof *w - key.size)
		return NULL;
	w = malloc(sizeof *w + key.size + value.size);
	if (w == NULL)
		return NULL;
	p = (uint8_t *)(w + 1);
	if (key.size > 0)
		memcpy(p, key.data, key.size);
	if (value.size > 0)
		memcpy(p + key.size, value.data, value.size);
	*w = (struct stm_write){.put = put, .kv = {.key = quorate_bytes(p, key.size),
		.value = quorate_bytes(p + key.size, value.size), .lease = lease}};
	return w;
}

int stm_write_set(struct quorate_stm *t, bool put, struct quorate_bytes key, struct quorate_bytes value,
		  int64_t lease)
{
	struct stm_write **slot = write_slot(t, key), *w;

	if (slot == NULL && t->n_writes == STM_KEYS)
		return stm_too_many(t);
	w = write_make(put, key, value, lease);
	if (w == NULL)
		return recipe_no_memory(&t->error);
	if (slot == NULL) {
		t->writes[t->n_writes++] = w;
		return QUORATE_OK;
	}
	free(*slot);
	*slot = w;
	return QUORATE_OK;
}

void stm_forget_writes(struct quorate_stm *t)
{
	for (unsigned i = 0; i < t->n_writes; i++)
		free(t->writes[i]);
	t->n_writes = 0;
}

void stm_forget_reads(struct quorate_stm *t)
{
	for (unsigned i = 0; i < t->n_reads; i++)
		read_free(&t->reads[i]);
	t->n_reads = 0;
	quorate_result_free(t->ahead);
	t->ahead = NULL;
}
