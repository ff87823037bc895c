/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getaddrinfo() may wait for as long as the resolver likes and cannot be interrupted. So a thread
 * does it that nobody waits for: whoever is last, it or its client, frees what they share.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/lib/io.h"

struct names {
	pthread_mutex_t lock;
	bool done, abandoned;
	int wake_fd;
	char *list;
	struct client_endpoints found;
	char why[512];
};

static void names_free(struct names *n)
{
	(void)pthread_mutex_destroy(&n->lock);
	free(n->list);
	free(n);
}

static void *names_run(void *arg)
{
	struct names *n = arg;
	uint64_t one = 1;
	bool last;

	(void)client_endpoints_parse(&n->found, n->list, CLIENT_LOOKUP_KEEP, 0, n->why, sizeof n->why);
	(void)pthread_mutex_lock(&n->lock);
	n->done = true;
	last = n->abandoned;
	if (!last)   /* under the lock: the descriptor is still its client's */
		(void)!write(n->wake_fd, &one, sizeof one);
	(void)pthread_mutex_unlock(&n->lock);
	if (last)
		names_free(n);
	return NULL;
}

static int names_start(struct names *n)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, names_run, n);   /* signals are blocked, as in its maker */
	(void)pthread_attr_destroy(&attr);
	return rc;
}

struct names *names_begin(const char *list, int wake_fd)
{
	struct names *n = calloc(1, sizeof *n);

	if (n == NULL)
		return NULL;
	(void)pthread_mutex_init(&n->lock, NULL);
	n->wake_fd = wake_fd;
	n->list = strdup(list);
	if (n->list != NULL && names_start(n) == 0)
		return n;
	names_free(n);
	return NULL;
}

bool names_done(struct names **np, struct client_endpoints *out, char *why, size_t len)
{
	struct names *n = *np;
	bool done;

	(void)pthread_mutex_lock(&n->lock);
	done = n->done;
	(void)pthread_mutex_unlock(&n->lock);
	if (!done)
		return false;
	*out = n->found;
	(void)snprintf(why, len, "%s", n->why);
	*np = NULL;
	names_free(n);
	return true;
}

void names_abandon(struct names **np)
{
	struct names *n = *np;
	bool last;

	*np = NULL;
	if (n == NULL)
		return;
	(void)pthread_mutex_lock(&n->lock);
	n->abandoned = true;
	last = n->done;
	(void)pthread_mutex_unlock(&n->lock);
	if (last)
		names_free(n);
}
