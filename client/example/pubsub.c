/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish and subscribe, with nothing lost and nothing done twice.
 *
 *	pubsub publish news/ < lines                  each line becomes a message
 *	pubsub subscribe news/ positions/me           prints messages, until it is stopped or killed
 *	pubsub count news/ positions/counter total    adds them up in the cluster, each exactly once
 *
 * Killed before it acknowledges, `subscribe` prints one again; `count` has sum and position in one txn.
 */
#include <err.h>
#include <quorate.h>
#include <stdio.h>
#include <stdlib.h>

/* COMPACTED is one of the errors: history that was missed is never passed over in silence. */
static void check(int rc, const struct quorate_error *e, const char *what)
{
	if (rc != QUORATE_OK)
		errx(1, "%s: %s", what, e->text);
}

static int publish(struct quorate *q, const char *topic)
{
	struct quorate_error e;
	char line[4096];

	while (fgets(line, sizeof line, stdin) != NULL) {
		line[strcspn(line, "\n")] = 0;         /* any key that begins with the topic does */
		check(quorate_put(q, topic, line, &e), &e, "publish");
	}
	quorate_close(q);
	return 0;
}

static struct quorate_subscriber *open_at(struct quorate *q, const char *topic, const char *position)
{
	struct quorate_subscriber_options o = QUORATE_SUBSCRIBER_OPTIONS_INIT;
	struct quorate_subscriber *s;
	struct quorate_error e;

	o.prefix = quorate_str(topic);
	o.position = quorate_str(position);
	o.flags = QUORATE_NO_DELETE;
	check(quorate_subscriber_open(q, &o, 0, &s, &e), &e, "subscribe");
	fprintf(stderr, "subscribed\n");
	return s;
}

static void print(struct quorate_subscriber *s, const struct quorate_message *m)
{
	const struct quorate_bytes *v = &m->event->kv.value;
	struct quorate_error e;

	printf("%lld %.*s\n", (long long)m->revision, (int)v->size, (const char *)v->data);
	fflush(stdout);
	check(quorate_subscriber_ack(s, m, 0, &e), &e, "acknowledge");
}

static long long as_number(struct quorate_bytes v)
{
	char text[32];

	snprintf(text, sizeof text, "%.*s", (int)v.size, (const char *)v.data);
	return strtoll(text, NULL, 10);
}

/* total += n, together with the position, if nobody else has changed either. */
static void add(struct quorate *q, struct quorate_subscriber *s, const struct quorate_message *m, const char *total)
{
	struct quorate_compare compares[2];
	struct quorate_op then[2], op;
	struct quorate_txn txn = {compares, 2, then, 2, NULL, 0};
	struct quorate_result *r;
	struct quorate_error e;
	char sum[32];
	int64_t seen = 0;
	long long n = as_number(m->event->kv.value);

	check(quorate_get(q, total, &r, &e), &e, "read");
	if (r->n_kvs > 0) {
		seen = r->kvs[0].mod_revision;
		n += as_number(r->kvs[0].value);
	}
	quorate_result_free(r);
	snprintf(sum, sizeof sum, "%lld", n);
	compares[0] = quorate_if(quorate_str(total), QUORATE_TARGET_MOD, QUORATE_EQUAL, seen);
	quorate_subscriber_ack_op(s, m, &compares[1], &then[1]);
	then[0] = quorate_op_put(quorate_str(total), quorate_str(sum), 0);
	op = quorate_op_txn(&txn);
	/* Should its outcome be unknown, the position knows: end, and begin there again. */
	check(quorate_call(q, &op, 0, &r, &e), &e, "add");
	if (!r->succeeded)
		errx(1, "somebody else counts too");
	quorate_result_free(r);
}

int main(int argc, char **argv)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_subscriber *s;
	struct quorate_message m;
	struct quorate_error e;
	struct quorate *q;

	if (argc < 3 || argc > 5 || strcmp(argv[1], argc == 3 ? "publish" : argc == 4 ? "subscribe" : "count") != 0)
		errx(100, "usage: pubsub publish TOPIC | subscribe TOPIC POSITION | count TOPIC POSITION TOTAL");
	o.endpoints = getenv("QUORATE_ENDPOINTS");
	check(quorate_open(&o, &q, &e), &e, "open");
	if (argc == 3)
		return publish(q, argv[2]);
	for (s = open_at(q, argv[2], argv[3]);;) {
		check(quorate_subscriber_next(s, QUORATE_FOREVER, &m, &e), &e, "next");
		if (argc == 4)
			print(s, &m);
		else
			add(q, s, &m, argv[4]);
	}
}
