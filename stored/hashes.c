/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes over the whole store, a few thousand rows at a time between everything else. */
#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "stored/stored.h"

enum { HASHES_STEP_ROWS = 1000 };

static void hash_answer(struct stored *s, struct link *l, uint64_t ctx, int rc, const struct store_hash *h)
{
	struct store_hash_result m = {.ctx = ctx, .error = (uint64_t)rc,
				      .compact_revision = s->store.committed.compact_revision};

	if (rc == ERR_OK) {
		m.hash = bytes_of(h->hash, sizeof h->hash);
		m.revision = h->revision;
		m.compact_revision = h->compact_revision;
		counter_inc(&s->counters.hashes);
	}
	/* Not taken: its asker is about to be dropped for it, and asks again. */
	(void)link_send(l, MSG_NO_store_hash_result, &store_hash_result_desc, &m);
}

static int hash_view(struct stored *s, struct mvcc_view **v)
{
	int rc = mvcc_view_begin(s->store.env, v);

	if (rc != ERR_OK)
		log_warn("no view of the own store error=%s", err_name(rc));
	return rc;
}

void hashes_ask(struct stored *s, struct link *l, const struct store_hash_ask *ask)
{
	struct hash_job *job = NULL;
	struct mvcc_view *v;
	int rc;

	for (size_t i = 0; i < LIMIT_STORE_HASHES && job == NULL; i++)
		if (s->hashes[i].link == NULL)
			job = &s->hashes[i];
	rc = job != NULL ? hash_view(s, &v) : ERR_FULL;
	if (rc == ERR_OK) {
		rc = store_hash_begin(&job->hash, v, ask->revision);
		mvcc_view_end(&v);
	}
	if (rc != ERR_OK) {
		hash_answer(s, l, ask->ctx, rc, NULL);
		return;
	}
	job->link = l;
	job->ctx = ask->ctx;
	loop_again(s->d->loop);
}

void hashes_forget(struct stored *s, const struct link *l)
{
	for (size_t i = 0; i < LIMIT_STORE_HASHES; i++)
		if (s->hashes[i].link == l)
			s->hashes[i].link = NULL;
}

static void hash_job_step(struct stored *s, struct hash_job *job)
{
	struct link *l = job->link;
	struct mvcc_view *v;
	int rc = hash_view(s, &v);

	if (rc == ERR_OK) {
		rc = store_hash_step(&job->hash, v, HASHES_STEP_ROWS);
		mvcc_view_end(&v);
	}
	if (rc == ERR_LIMIT)
		return;
	if (rc == ERR_CORRUPT)
		log_error("the store is damaged: a row does not have its checksum");
	job->link = NULL;
	hash_answer(s, l, job->ctx, rc, &job->hash);
}

bool hashes_step(struct stored *s)
{
	bool more = false;

	for (size_t i = 0; i < LIMIT_STORE_HASHES; i++) {
		struct hash_job *job = &s->hashes[(s->next_hash + i) % LIMIT_STORE_HASHES];

		if (job->link == NULL)
			continue;
		if (!more)
			hash_job_step(s, job);
		s->next_hash = more ? s->next_hash : (s->next_hash + i + 1) % LIMIT_STORE_HASHES;
		more = true;
	}
	return more;
}
