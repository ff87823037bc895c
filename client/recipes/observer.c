/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows an election: a read says who leads, then a watch of his key says what he says and that he
 * has gone. While nobody leads all keys of the election are watched, for the first that comes.
 *
 * The read goes on while nobody waits for it: who does not want to wait finds its answer the next time.
 */
#include <stdlib.h>

#include "client/recipes/leader.h"
#include "client/recipes/recipe.h"

struct quorate_observer {
	struct quorate *q;
	struct quorate_queue *queue;   /* of the read */
	bool asked;                    /* it is under way */
	struct quorate_error said;     /* what it has ended with */
	char *before_text;
	struct quorate_bytes before;
	struct quorate_watch *watch;   /* NULL: to be read anew */
	/* What the leader's pair lives in: the answer to the read, or the news of it. */
	struct quorate_result *read;
	struct quorate_news *news;
	struct quorate_kv leader;      /* of a put by the leader: parts of both */
	bool leads;
	bool told, led;                /* what the last call has said: something, that somebody leads */
};

int quorate_observer_open(struct quorate *q, struct quorate_bytes name, struct quorate_observer **obp,
			  struct quorate_error *e)
{
	struct quorate_observer *ob = calloc(1, sizeof *ob);
	int rc;

	*obp = NULL;
	if (ob == NULL)
		return recipe_no_memory(e);
	ob->q = q;
	ob->before_text = recipe_join(name, quorate_str("/"), quorate_str(NULL));
	ob->before = quorate_bytes(ob->before_text, name.size + 1);
	rc = ob->before_text == NULL ? recipe_no_memory(e) : quorate_queue_open(q, &ob->queue, e);
	if (rc != QUORATE_OK) {
		free(ob->before_text);
		free(ob);
		return rc;
	}
	*obp = ob;
	return recipe_ok(e);
}

static void observer_forget(struct quorate_observer *ob)
{
	quorate_watch_close(ob->watch);
	ob->watch = NULL;
	quorate_result_free(ob->read);
	ob->read = NULL;
	quorate_news_free(ob->news);
	ob->news = NULL;
	ob->leads = false;
}

void quorate_observer_close(struct quorate_observer *ob)
{
	if (ob == NULL)
		return;
	quorate_queue_close(ob->queue);
	observer_forget(ob);
	free(ob->before_text);
	free(ob);
}

static int observer_watch(struct quorate_observer *ob, struct quorate_error *e)
{
	struct quorate_watch_options o = QUORATE_WATCH_OPTIONS_INIT;

	o.start_revision = ob->read->header.revision + 1;
	o.key = ob->leads ? ob->leader.key : ob->before;
	o.flags = ob->leads ? 0 : QUORATE_PREFIX;
	return quorate_watch_open(ob->q, &o, &ob->watch, e);
}

static void observer_answered(void *arg, struct quorate_result *r, const struct quorate_error *said)
{
	struct quorate_observer *ob = arg;

	ob->asked = false;
	ob->read = r;
	ob->said = *said;
}

/* For the client's usual time at least: the caller's may be over, and the next one looks for the answer. */
static int observer_ask(struct quorate_observer *ob, mono_t deadline, struct quorate_error *e)
{
	struct quorate_op op = leader_op(ob->before);
	bool longer = mono_before(recipe_deadline(ob->q, 0), deadline);
	int rc;

	observer_forget(ob);
	rc = quorate_submit(ob->q, ob->queue, &op, longer ? recipe_left_ms(deadline) : 0, observer_answered, ob,
			    NULL, e);
	ob->asked = rc == QUORATE_OK;
	return rc;
}

static int observer_read(struct quorate_observer *ob, mono_t deadline, struct quorate_error *e)
{
	int rc;

	do {                                     /* one that began earlier may end earlier, in vain */
		rc = ob->asked ? QUORATE_OK : observer_ask(ob, deadline, e);
		if (rc != QUORATE_OK)
			return rc;
		(void)quorate_dispatch(ob->queue, recipe_wait_ms(deadline), 0);
		if (ob->asked)
			return recipe_fail(e, QUORATE_ERR_TIMEOUT, QUORATE_AGAIN_SAFE, "no answer in time");
		rc = ob->said.code;
	} while ((rc == QUORATE_ERR_TIMEOUT || rc == QUORATE_ERR_CLOSED) && !recipe_over(deadline));
	if (rc != QUORATE_OK && e != NULL)
		*e = ob->said;
	if (rc != QUORATE_OK)
		return rc;
	ob->leads = ob->read->n_kvs > 0;
	if (ob->leads)
		ob->leader = ob->read->kvs[0];
	rc = observer_watch(ob, e);
	if (rc != QUORATE_OK)
		observer_forget(ob);
	return rc;
}

/* True: there is something to tell. Else, without a watch: to be read anew. Takes the news. */
static bool observer_take(struct quorate_observer *ob, struct quorate_news *news)
{
	const struct quorate_event *last = news->n_events > 0 ? &news->events[news->n_events - 1] : NULL;
	bool over = news->kind == QUORATE_COMPACTED;

	/* A leader that has gone, or a first candidate: who leads now is another question. */
	for (size_t i = 0; i < news->n_events; i++)
		over |= !ob->leads || news->events[i].type == QUORATE_EVENT_DELETE;
	if (over) {
		quorate_watch_close(ob->watch);
		ob->watch = NULL;
	}
	if (over || last == NULL) {
		quorate_news_free(news);
		return false;
	}
	ob->leader = last->kv;
	quorate_news_free(ob->news);
	ob->news = news;
	return true;
}

int quorate_observer_next(struct quorate_observer *ob, int64_t timeout_ms, const struct quorate_kv **leader,
			  struct quorate_error *e)
{
	mono_t deadline = recipe_wait_deadline(timeout_ms);
	struct quorate_news *news;
	bool told = false;
	int rc = recipe_ours(ob->q, e);

	*leader = NULL;
	while (rc == QUORATE_OK && !told) {
		if (ob->watch == NULL) {
			rc = observer_read(ob, deadline, e);
			/* Whoever came first to an election without a leader may have gone again. */
			told = rc == QUORATE_OK && (!ob->told || ob->led || ob->leads);
			continue;
		}
		rc = quorate_watch_next(ob->watch, recipe_wait_ms(deadline), &news, e);
		/* After the last news the watch says why it has ended. */
		if (rc == QUORATE_OK)
			told = observer_take(ob, news);
		else if (rc != QUORATE_ERR_TIMEOUT)
			observer_forget(ob);
	}
	if (rc == QUORATE_OK) {
		ob->told = true;
		ob->led = ob->leads;
		*leader = ob->leads ? &ob->leader : NULL;
	} else if (rc != QUORATE_ERR_TIMEOUT) {
		ob->told = false;
	}
	return rc == QUORATE_OK ? recipe_ok(e) : rc;
}
