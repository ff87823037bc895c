/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock that guards something outside of the cluster: here a file that workers append to.
 *
 *	fenced FILE NAME ROUNDS [PAUSE_MS]
 *
 * No lock service can keep a process from being stopped between "I have the lock" and "I write", for
 * longer than its lease. So each holder shows its fencing token, which grows from holder to
 * holder, and the file's keeper refuses a token below the highest that it has seen. What stands in
 * the file is then the work of one holder after the other, whatever is stopped whenever.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <quorate.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { TTL_S = 2 };

static void check(int rc, const struct quorate_error *e, const char *what)
{
	if (rc != QUORATE_OK)
		errx(1, "%s: %s", what, e->text);
}

/*
 * The keeper of the file, which would be a server of its own: a disk, a database. It remembers the
 * highest token in the file's last line, and is itself safe against concurrent requests.
 */
static bool keeper_append(const char *path, int64_t token, const char *text)
{
	FILE *f = fopen(path, "a+e");
	char line[256];
	int64_t highest = 0;

	if (f == NULL || flock(fileno(f), LOCK_EX) != 0)
		err(1, "%s", path);
	rewind(f);
	while (fgets(line, sizeof line, f) != NULL)
		highest = strtoll(line, NULL, 10);
	if (token >= highest)
		fprintf(f, "%" PRId64 " %s\n", token, text);
	if (fclose(f) != 0)                      /* also lets go of the flock */
		err(1, "%s", path);
	return token >= highest;
}

static struct quorate_session *new_session(struct quorate *q)
{
	struct quorate_session_options o = QUORATE_SESSION_OPTIONS_INIT;
	struct quorate_session *s;
	struct quorate_error e;

	o.ttl = TTL_S;
	check(quorate_session_open(q, &o, QUORATE_FOREVER, &s, &e), &e, "session");
	return s;
}

/* False: the lock was lost on the way, and with it the session. */
static bool work(struct quorate_lock *l, const char *path, int pause_ms)
{
	struct quorate_error e;
	char who[32];
	int64_t token;
	int rc;

	snprintf(who, sizeof who, "%d", (int)getpid());
	rc = quorate_lock_acquire(l, QUORATE_FOREVER, &e);
	if (rc == QUORATE_ERR_LOST)
		return false;
	check(rc, &e, "acquire");
	token = quorate_lock_token(l);
	if (token == 0)
		return false;                    /* lost since */
	printf("holding %" PRId64 "\n", token);
	fflush(stdout);
	poll(NULL, 0, pause_ms);                 /* anything may happen here */
	printf("%s %" PRId64 "\n", keeper_append(path, token, who) ? "wrote" : "refused", token);
	fflush(stdout);
	rc = quorate_lock_release(l, 0, &e);
	if (rc != QUORATE_ERR_LOST)
		check(rc, &e, "release");
	return rc == QUORATE_OK;
}

int main(int argc, char **argv)
{
	struct quorate_options o = QUORATE_OPTIONS_INIT;
	struct quorate_session *s;
	struct quorate_lock *l;
	struct quorate_error e;
	struct quorate *q;

	if (argc < 4)
		errx(100, "usage: fenced FILE NAME ROUNDS [PAUSE_MS]");
	o.endpoints = getenv("QUORATE_ENDPOINTS");
	check(quorate_open(&o, &q, &e), &e, "open");
	s = new_session(q);
	check(quorate_lock_open(q, s, quorate_str(argv[2]), QUORATE_MUTEX, &l, &e), &e, "lock");
	for (long i = strtol(argv[3], NULL, 10); i > 0; i--) {
		if (work(l, argv[1], argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0))
			continue;
		/* A session that is lost is lost for ever: go on with a new one. */
		quorate_lock_close(l);
		quorate_session_leave(s);
		s = new_session(q);
		check(quorate_lock_open(q, s, quorate_str(argv[2]), QUORATE_MUTEX, &l, &e), &e, "lock");
	}
	quorate_lock_close(l);
	quorate_session_close(s, 0, NULL);
	quorate_close(q);
	return 0;
}
