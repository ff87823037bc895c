/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish and subscribe, with nothing lost and nothing done twice.
 *
 *	pubsub publish news/ < lines                  each line becomes a message
 *	pubsub subscribe news/ positions/me           prints messages, until it is stopped or killed
 *	pubsub count news/ positions/counter total    adds them up in the cluster, each exactly once
 *
 * To publish is to put; a subscriber keeps in the cluster how far it has come. `subscribe` acknowledges
 * what it has printed: killed in between, it prints that message again. `count` has no such gap: the
 * new sum and the new position are one transaction.
 */
#include <err.h>
#include <inttypes.h>
#include <quorate.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int rc, const struct quorate_error *e, const char *what)
{
	if (rc != QUORATE_OK)
		errx(rc == QUORATE_ERR_COMPACTED ? 2 : 1, "%s: %s", what, e->text);
}

static void publish(struct quorate *q, const char *topic)
{
	char line[4096], key[512];
	struct quorate_error e;

	snprintf(key, sizeof key, "%sline", topic);
	while (fgets(line, sizeof line, stdin) != NULL) {
		line[strcspn(line, "\n")] = 0;
		check(quorate_put(q, key, line, &e), &e, "publish");
	}
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

static void subscribe(struct quorate *q, const char *topic, const char *position)
{
	struct quorate_subscriber *s = open_at(q, topic, position);
	struct quorate_message m;
	struct quorate_error e;

	/* A compaction is no reason to end, but to be told: what was missed may matter. */
	for (;;) {
		check(quorate_subscriber_next(s, QUORATE_FOREVER, &m, &e), &e, "next");
		printf("%" PRId64 " %.*s\n", m.revision, (int)m.event->kv.value.size,
		       (const char *)m.event->kv.value.data);
		fflush(stdout);
		check(quorate_subscriber_ack(s, &m, 0, &e), &e, "acknowledge");
	}
}

/* total += n, together with the position, if nobody else has changed either. False: try again. */
static bool add(struct quorate *q, struct quorate_subscriber *s, const struct quorate_message *m, const char *total)
{
	struct quorate_compare compares[2];
	struct quorate_op then[2], op;
	struct quorate_txn txn = {compares, 2, then, 2, NULL, 0};
	struct quorate_result *r;
	struct quorate_error e;
	char sum[32] = "0", number[32];
	int64_t seen = 0;
	bool done;

	check(quorate_get(q, total, &r, &e), &e, "read");
	if (r->n_kvs > 0) {
		seen = r->kvs[0].mod_revision;
		snprintf(sum, sizeof sum, "%.*s", (int)r->kvs[0].value.size, (const char *)r->kvs[0].value.data);
	}
	quorate_result_free(r);
	snprintf(number, sizeof number, "%.*s", (int)m->event->kv.value.size, (const char *)m->event->kv.value.data);
	snprintf(sum, sizeof sum, "%lld", strtoll(sum, NULL, 10) + strtoll(number, NULL, 10));
	compares[0] = quorate_if(quorate_str(total), QUORATE_TARGET_MOD, QUORATE_EQUAL, seen);
	quorate_subscriber_ack_op(s, m, &compares[1], &then[1]);
	then[0] = quorate_op_put(quorate_str(total), quorate_str(sum), 0);
	op = quorate_op_txn(&txn);
	/* If its outcome is unknown only the position can tell: end, and begin there again. */
	check(quorate_call(q, &op, 0, &r, &e), &e, "add");
	done = r->succeeded;
	quorate_result_free(r);
	return done;
}

int main(int argc, char **argv)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_subscriber *s;
	struct quorate_message m;
	struct quorate_error e;
	struct quorate *q;

	o.endpoints = getenv("QUORATE_ENDPOINTS");
	check(quorate_open(&o, &q, &e), &e, "open");
	if (argc == 3 && strcmp(argv[1], "publish") == 0) {
		publish(q, argv[2]);
	} else if (argc == 4 && strcmp(argv[1], "subscribe") == 0) {
		subscribe(q, argv[2], argv[3]);
	} else if (argc == 5 && strcmp(argv[1], "count") == 0) {
		for (s = open_at(q, argv[2], argv[3]);;) {
			check(quorate_subscriber_next(s, QUORATE_FOREVER, &m, &e), &e, "next");
			if (!add(q, s, &m, argv[4]))
				errx(1, "somebody else counts too");
		}
	} else {
		errx(100, "usage: pubsub publish TOPIC | subscribe TOPIC POSITION | count TOPIC POSITION TOTAL");
	}
	quorate_close(q);
	return 0;
}
