/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/etcd_urls.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static int urls_bad(char why[ETCD_WHY], const char *flag, const char *what, const char *text)
{
	(void)snprintf(why, ETCD_WHY, "--%s: %s: %.200s", flag, what, text);
	return ERR_CONFIG;
}

static bool url_port(const char *text, unsigned *port)
{
	size_t n = strlen(text);

	if (n == 0 || n > 5 || strspn(text, "0123456789") != n)
		return false;
	*port = (unsigned)strtoul(text, NULL, 10);
	return *port > 0 && *port <= 65535;
}

static int url_parse(const char *flag, const char *text, struct etcd_url *u, char why[ETCD_WHY])
{
	const char *at = text + 7, *colon, *end;
	size_t n;

	if (strncmp(text, "https://", 8) == 0)
		return urls_bad(why, flag, "TLS is not there yet, and without it would be unsafe", text);
	if (strncmp(text, "http://", 7) != 0)
		return urls_bad(why, flag, "not http://HOST:PORT", text);
	colon = strrchr(at, ':');
	if (colon == NULL || !url_port(colon + 1, &u->port))
		return urls_bad(why, flag, "a URL needs a port, and nothing behind it", text);
	end = colon;
	if (*at == '[' && colon > at && colon[-1] == ']') {
		at++;
		end--;
	}
	n = end > at ? (size_t)(end - at) : 0;
	if (n == 0 || n >= sizeof u->host || memchr(at, '/', n) != NULL)
		return urls_bad(why, flag, "not http://HOST:PORT", text);
	memcpy(u->host, at, n);
	u->host[n] = 0;
	return ERR_OK;
}

/* The next part up to a comma; false at the end. */
static bool urls_next(const char **rest, char *to, size_t size)
{
	size_t n;

	while (**rest == ',' || **rest == ' ')
		(*rest)++;
	n = strcspn(*rest, ",");
	if (n == 0)
		return false;
	(void)snprintf(to, size, "%.*s", (int)n, *rest);
	*rest += n;
	for (n = strlen(to); n > 0 && to[n - 1] == ' '; n--)
		to[n - 1] = 0;
	return true;
}

int etcd_urls_parse(const char *flag, const char *text, struct etcd_urls *out, char why[ETCD_WHY])
{
	char one[ETCD_HOST + 32];
	int rc = ERR_OK;

	out->n = 0;
	while (rc == ERR_OK && urls_next(&text, one, sizeof one)) {
		if (out->n == ETCD_URLS)
			return urls_bad(why, flag, "more URLs than there may be", one);
		rc = url_parse(flag, one, &out->v[out->n++], why);
	}
	return rc;
}

static int cluster_by_name(const void *a, const void *b)
{
	const struct etcd_peer *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int cluster_add(const char *flag, const char *text, struct etcd_cluster *c, char why[ETCD_WHY])
{
	const char *equals = strchr(text, '=');
	size_t n = equals != NULL ? (size_t)(equals - text) : 0, i;

	if (n == 0 || n >= ETCD_NAME)
		return urls_bad(why, flag, "not NAME=URL", text);
	for (i = 0; i < c->n && (strlen(c->v[i].name) != n || memcmp(c->v[i].name, text, n) != 0); i++)
		;
	if (i == LIMIT_NODES)
		return urls_bad(why, flag, "more members than there may be", text);
	if (i == c->n) {
		memcpy(c->v[i].name, text, n);
		c->n++;
	}
	if (c->v[i].urls.n == ETCD_URLS)
		return urls_bad(why, flag, "more URLs than there may be", text);
	return url_parse(flag, equals + 1, &c->v[i].urls.v[c->v[i].urls.n++], why);
}

int etcd_cluster_parse(const char *flag, const char *text, struct etcd_cluster *out, char why[ETCD_WHY])
{
	char one[ETCD_NAME + ETCD_HOST + 32];
	int rc = ERR_OK;

	memset(out, 0, sizeof *out);
	while (rc == ERR_OK && urls_next(&text, one, sizeof one))
		rc = cluster_add(flag, one, out, why);
	qsort(out->v, out->n, sizeof out->v[0], cluster_by_name);
	return rc;
}

const struct etcd_peer *etcd_cluster_find(const struct etcd_cluster *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->v[i].name, name) == 0)
			return &c->v[i];
	return NULL;
}

int etcd_url_resolve(const struct etcd_url *u, char to[ETCD_ADDRESS])
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char host[INET6_ADDRSTRLEN];
	int rc;

	if (strcmp(u->host, "localhost") == 0) {      /* both families have it; all nodes must mean the same */
		(void)snprintf(to, ETCD_ADDRESS, "127.0.0.1:%u", u->port);
		return ERR_OK;
	}
	if (getaddrinfo(u->host, NULL, &hints, &found) != 0)
		return ERR_NOT_FOUND;
	rc = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST);
	if (rc == 0)
		(void)snprintf(to, ETCD_ADDRESS, found->ai_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, u->port);
	freeaddrinfo(found);
	return rc == 0 ? ERR_OK : ERR_NOT_FOUND;
}

void etcd_url_text(const struct etcd_url *u, char *to, size_t size)
{
	(void)snprintf(to, size, strchr(u->host, ':') != NULL ? "[%s]:%u" : "%s:%u", u->host, u->port);
}
