/* SPDX-License-Identifier: Apache-2.0 */
#include "client/endpoints.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define ENDPOINT_PORT "2379"
#define ENDPOINT_HTTP "http://"
#define ENDPOINT_HTTPS "https://"

uint64_t client_random(uint64_t *state, uint64_t n)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;   /* splitmix64: any state will do */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return n == 0 ? 0 : (z ^ z >> 31) % n;
}

struct endpoint_parts {
	char host[256];
	char port[16];
};

static int endpoint_copy(char *to, size_t cap, const char *from, size_t len)
{
	if (len == 0 || len >= cap)
		return ERR_BAD_ARGUMENT;
	memcpy(to, from, len);
	to[len] = 0;
	return ERR_OK;
}

static bool endpoint_port_good(const char *port)
{
	size_t len = strlen(port);
	unsigned long n;

	if (len == 0 || len > 5 || strspn(port, "0123456789") != len)
		return false;
	n = strtoul(port, NULL, 10);
	return n >= 1 && n <= 65535;
}

/* HOST, HOST:PORT, [V6], [V6]:PORT */
static int endpoint_split(const char *text, struct endpoint_parts *p)
{
	const char *host = text, *end, *port = NULL;

	if (*text == '[') {
		host = text + 1;
		end = strchr(host, ']');
		if (end == NULL || (end[1] != 0 && end[1] != ':'))
			return ERR_BAD_ARGUMENT;
		port = end[1] == ':' ? end + 2 : NULL;
	} else {
		end = strchr(text, ':');
		port = end != NULL ? end + 1 : NULL;
		if (end == NULL)
			end = text + strlen(text);
	}
	if (port == NULL)
		port = ENDPOINT_PORT;
	if (!endpoint_port_good(port))
		return ERR_BAD_ARGUMENT;
	if (endpoint_copy(p->port, sizeof p->port, port, strlen(port)) != ERR_OK)
		return ERR_BAD_ARGUMENT;
	return endpoint_copy(p->host, sizeof p->host, host, (size_t)(end - host));
}

static void endpoint_text(char to[CLIENT_ENDPOINT_TEXT], const struct endpoint_parts *p)
{
	bool v6 = strchr(p->host, ':') != NULL;

	(void)snprintf(to, CLIENT_ENDPOINT_TEXT, v6 ? "[%s]:%s" : "%s:%s", p->host, p->port);
}

/* Each once: of two that are the same only one would rest when they fail. A resolver says some twice. */
static void endpoint_append(struct client_endpoints *e, const struct endpoint_parts *p,
			    const struct sockaddr *addr, socklen_t addr_len)
{
	struct client_endpoint *to;

	if (e->n == LIMIT_CLIENT_ENDPOINTS || addr_len > sizeof to->addr)
		return;
	to = &e->v[e->n];
	*to = (struct client_endpoint){.addr_len = addr_len};
	if (addr_len > 0)
		memcpy(&to->addr, addr, addr_len);
	endpoint_text(to->text, p);
	for (size_t i = 0; i < e->n; i++)
		if (client_endpoint_same(&e->v[i], to))
			return;
	e->n++;
}

static int endpoint_resolve(struct client_endpoints *e, const struct endpoint_parts *p,
			    enum client_lookup how, char *why, size_t why_len)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(p->host, p->port, &hints, &list);

	if (rc == EAI_NONAME && how != CLIENT_NO_LOOKUP) {
		hints.ai_flags = AI_NUMERICSERV;
		rc = getaddrinfo(p->host, p->port, &hints, &list);
	}
	if (rc != 0) {
		(void)snprintf(why, why_len, "endpoint %s:%s: %s", p->host, p->port,
			       gai_strerror(rc));
		if (how == CLIENT_LOOKUP)
			return ERR_BAD_ARGUMENT;
		endpoint_append(e, p, NULL, 0);
		return ERR_OK;
	}
	for (struct addrinfo *a = list; a != NULL; a = a->ai_next)
		endpoint_append(e, p, a->ai_addr, a->ai_addrlen);
	freeaddrinfo(list);
	return ERR_OK;
}

/* Without what may stand around HOST:PORT; the end is cut in place. */
static char *endpoint_bare(char *text)
{
	size_t len;

	text += strspn(text, " \t\n");
	if (strncmp(text, ENDPOINT_HTTP, strlen(ENDPOINT_HTTP)) == 0)
		text += strlen(ENDPOINT_HTTP);
	len = strlen(text);
	while (len > 0 && strchr(" \t\n/", text[len - 1]) != NULL)
		text[--len] = 0;
	return text;
}

static int endpoint_add(struct client_endpoints *e, char *text, enum client_lookup how, char *why,
			size_t why_len)
{
	struct endpoint_parts p;

	text += strspn(text, " \t\n");
	if (strncmp(text, ENDPOINT_HTTPS, strlen(ENDPOINT_HTTPS)) == 0) {
		(void)snprintf(why, why_len, "endpoint %s: TLS is not supported yet", text);
		return ERR_BAD_ARGUMENT;
	}
	text = endpoint_bare(text);
	if (endpoint_split(text, &p) != ERR_OK) {
		(void)snprintf(why, why_len, "bad endpoint \"%s\": want HOST:PORT", text);
		return ERR_BAD_ARGUMENT;
	}
	return endpoint_resolve(e, &p, how, why, why_len);
}

int client_endpoints_parse(struct client_endpoints *e, const char *list, enum client_lookup how,
			   uint64_t seed, char *why, size_t why_len)
{
	char copy[4096], *rest = copy, *text;
	int rc = ERR_OK;

	*e = (struct client_endpoints){.random = seed};
	(void)snprintf(why, why_len, "no endpoint is given");
	if (strlen(list) >= sizeof copy) {
		(void)snprintf(why, why_len, "the list of endpoints is too long");
		return ERR_BAD_ARGUMENT;
	}
	memcpy(copy, list, strlen(list) + 1);
	/* One name that cannot be found must not stop the rest from being used. */
	while ((text = strsep(&rest, ",")) != NULL)
		if (endpoint_add(e, text, how, why, why_len) != ERR_OK)
			rc = ERR_BAD_ARGUMENT;
	if (how != CLIENT_LOOKUP && rc != ERR_OK)
		return rc;
	return e->n > 0 ? ERR_OK : ERR_BAD_ARGUMENT;
}

bool client_endpoint_named(const struct client_endpoint *e, const char *given)
{
	struct endpoint_parts p;
	char text[CLIENT_ENDPOINT_TEXT], copy[2 * CLIENT_ENDPOINT_TEXT];

	if (endpoint_copy(copy, sizeof copy, given, strlen(given)) != ERR_OK ||
	    endpoint_split(endpoint_bare(copy), &p) != ERR_OK)
		return false;
	endpoint_text(text, &p);
	return strcmp(text, e->text) == 0;
}

bool client_endpoint_same(const struct client_endpoint *a, const struct client_endpoint *b)
{
	return strcmp(a->text, b->text) == 0 && a->addr_len == b->addr_len &&
	       memcmp(&a->addr, &b->addr, a->addr_len) == 0;
}

struct client_endpoint *client_endpoints_next(struct client_endpoints *e, mono_t now,
					      mono_t *wait_until)
{
	mono_t first = MONO_NEVER;

	for (size_t i = 0; i < e->n; i++) {
		struct client_endpoint *p = &e->v[(e->next + i) % e->n];

		if (p->addr_len == 0)
			continue;
		if (!mono_before(now, p->not_before))
			return p;
		first = mono_min(first, p->not_before);
	}
	*wait_until = first;
	return NULL;
}

void client_endpoints_failed(struct client_endpoints *e, struct client_endpoint *which, mono_t now)
{
	uint64_t ms = CLIENT_BACKOFF_MIN_MS;

	for (unsigned i = 0; i < which->failures && ms < CLIENT_BACKOFF_MAX_MS; i++)
		ms *= 2;
	if (ms > CLIENT_BACKOFF_MAX_MS)
		ms = CLIENT_BACKOFF_MAX_MS;
	which->failures++;
	which->not_before = mono_add_ms(now, (int64_t)(ms / 2 + client_random(&e->random,
		ms / 2 + 1)));
	e->next = (size_t)(which - e->v + 1) % e->n;
}

void client_endpoints_good(struct client_endpoints *e, struct client_endpoint *which)
{
	which->failures = 0;
	which->not_before = (mono_t){0};
	e->next = (size_t)(which - e->v);
}
