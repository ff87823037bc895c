/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the cluster may be reached: a list of addresses, which of them to try next, and for how
 * long one that failed is left alone (doubling, with jitter, so that a thousand clients do not
 * come back in step).
 */
#ifndef QUORATE_CLIENT_ENDPOINTS_H
#define QUORATE_CLIENT_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "base/mono.h"

enum { CLIENT_ENDPOINT_TEXT = 272, CLIENT_BACKOFF_MIN_MS = 20, CLIENT_BACKOFF_MAX_MS = 2000 };

struct client_endpoint {
	char text[CLIENT_ENDPOINT_TEXT];     /* host:port as given */
	struct sockaddr_storage addr;
	socklen_t addr_len;                  /* 0: the name has not been found */
	unsigned failures;                   /* in a row */
	mono_t not_before;
	uint64_t member_id;                  /* whose node it is; 0: not known */
};

struct client_endpoints {
	struct client_endpoint v[LIMIT_CLIENT_ENDPOINTS];
	size_t n;
	size_t next;                         /* where the search for the next one begins */
	uint64_t random;
};

enum client_lookup {
	CLIENT_LOOKUP,        /* names are looked up, which may wait for the resolver; others are left out */
	CLIENT_LOOKUP_KEEP,   /* the same, but names that are not found stay, without an address */
	CLIENT_NO_LOOKUP      /* names stay without an address, nothing is waited for */
};

/*
 * "HOST[:PORT],..." with a name, an IPv4 or a [v6] address each; "http://" before it is taken too,
 * as etcd's users write it. ERR_OK if there is an endpoint at all, and without CLIENT_LOOKUP only if each is
 * well-formed; else ERR_BAD_ARGUMENT. `why` becomes a sentence about the last one that was left out.
 */
int client_endpoints_parse(struct client_endpoints *e, const char *list, enum client_lookup how,
			   uint64_t seed, char *why, size_t why_len);

/* The next to try, or NULL: all are to be left alone until *wait_until. */
struct client_endpoint *client_endpoints_next(struct client_endpoints *e, mono_t now,
					      mono_t *wait_until);
/* It did not work (or it did): the next search begins behind it (or at it). */
void client_endpoints_failed(struct client_endpoints *e, struct client_endpoint *which, mono_t now);
void client_endpoints_good(struct client_endpoints *e, struct client_endpoint *which);

/* Is it the one that a user calls `given`, with or without the port? */
bool client_endpoint_named(const struct client_endpoint *e, const char *given);
bool client_endpoint_same(const struct client_endpoint *a, const struct client_endpoint *b);

/* A number below n. */
uint64_t client_random(uint64_t *state, uint64_t n);

#endif
