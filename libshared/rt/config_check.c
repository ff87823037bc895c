/* SPDX-License-Identifier: Apache-2.0 */
/* What values must be, alone and together, beyond the ranges of the table. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "rt/config_table.h"

enum {
	CONFIG_NAME_MAX = 63,
	CONFIG_SOCKET_NAME_MAX = 24,   /* the longest file name of a socket, with room to grow */
	CONFIG_RUN_DIR_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 2 - CONFIG_SOCKET_NAME_MAX
};

/* The port behind the last colon: 0 to 65535, decimal, no leading zero. -1 if it is none. */
static long config_port(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len > 5 || strspn(text, "0123456789") != len || (len > 1 && text[0] == '0'))
		return -1;
	return strtol(text, NULL, 10) <= 65535 ? strtol(text, NULL, 10) : -1;
}

int config_address(const char *text, struct sockaddr_storage *ss, unsigned *len)
{
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)ss;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t n = colon ? (size_t)(colon - text) : 0;
	long port = colon ? config_port(colon + 1) : -1;

	if (port < 0 || n == 0 || n >= sizeof host)
		return ERR_CONFIG;
	memcpy(host, text, n);
	host[n] = 0;
	memset(ss, 0, sizeof *ss);
	if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		*len = sizeof *in;
		return ERR_OK;
	}
	if (n < 3 || host[0] != '[' || host[n - 1] != ']')
		return ERR_CONFIG;
	host[n - 1] = 0;
	if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
		return ERR_CONFIG;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)port);
	*len = sizeof *in6;
	return ERR_OK;
}

/* An address that others can dial: neither "any" nor port 0. */
static bool config_dialable(const char *text)
{
	struct sockaddr_storage ss;
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&ss;
	unsigned len;

	if (config_address(text, &ss, &len) != ERR_OK)
		return false;
	if (ss.ss_family == AF_INET)
		return in->sin_port != 0 && in->sin_addr.s_addr != htonl(INADDR_ANY);
	return in6->sin6_port != 0 && !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
}

/* What clients are told; a name will do, since we do not dial it. */
static bool config_host_port(const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (n == 0 || n > 253 || config_port(colon + 1) <= 0)
		return false;
	return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_[]:") >= n;
}

static bool config_name(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= CONFIG_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == n;
}

static int config_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool config_key(const char *hex, uint8_t key[32])
{
	uint8_t any = 0;
	int high, low;

	if (strlen(hex) != 64)
		return false;
	for (size_t i = 0; i < 32; i++) {
		high = config_hex_digit(hex[2 * i]);
		low = config_hex_digit(hex[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		key[i] = (uint8_t)(high << 4 | low);
		any |= key[i];
	}
	return any != 0;
}

static bool config_id(const char *text, uint64_t *id)
{
	size_t n = strlen(text);

	if (n == 0 || n > 20 || strspn(text, "0123456789") != n)
		return false;
	*id = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t digit = (uint64_t)(text[i] - '0');

		if (*id > (UINT64_MAX - digit) / 10)
			return false;
		*id = *id * 10 + digit;
	}
	return *id != 0;
}

static int config_member_words(char **word, struct config *c, struct config_error *e)
{
	struct config_member m = {0};

	if (!config_id(word[0], &m.id))
		return config_fail(e, "member: not an id from 1 on: %s", word[0]);
	if (!config_name(word[1]))
		return config_fail(e, "member: a name has 1 to %d letters, digits, dots, dashes: %s",
				   CONFIG_NAME_MAX, word[1]);
	if (!config_dialable(word[2]))
		return config_fail(e, "member: not a numeric ADDRESS:PORT to dial: %s", word[2]);
	if (strcmp(word[3], "-") != 0 && !config_host_port(word[3]))
		return config_fail(e, "member: not a HOST:PORT, or - if it is not known: %s", word[3]);
	if (!config_key(word[4], m.key))
		return config_fail(e, "member: a public key has 64 hex digits, not all zero: %s", word[4]);
	if (c->n_members == LIMIT_NODES)
		return config_fail(e, "member: more than %u", LIMIT_NODES);
	m.name = mem_strdup(word[1]);
	m.peer_addr = mem_strdup(word[2]);
	m.client_addr = mem_strdup(strcmp(word[3], "-") == 0 ? "" : word[3]);
	c->members[c->n_members++] = m;
	return ERR_OK;
}

int config_member_parse(const char *text, struct config *c, struct config_error *e)
{
	char *copy = mem_strdup(text), *word[5], *save = NULL, *w;
	size_t n = 0;
	int err;

	for (w = strtok_r(copy, " \t", &save); w != NULL; w = strtok_r(NULL, " \t", &save)) {
		if (n < 5)
			word[n] = w;
		n++;
	}
	if (n == 5)
		err = config_member_words(word, c, e);
	else
		err = config_fail(e, "member: ID NAME PEER_ADDRESS CLIENT_ADDRESS PUBLIC_KEY_HEX, not %zu words", n);
	mem_free(copy);
	return err;
}

static int config_check_pair(const struct config_member *a, const struct config_member *b,
			     struct config_error *e)
{
	if (a->id == b->id)
		return config_fail(e, "two members have the id %" PRIu64, a->id);
	if (strcmp(a->name, b->name) == 0)
		return config_fail(e, "two members have the name %s", a->name);
	if (strcmp(a->peer_addr, b->peer_addr) == 0)
		return config_fail(e, "two members have the peer address %s", a->peer_addr);
	if (a->client_addr[0] != 0 && strcmp(a->client_addr, b->client_addr) == 0)
		return config_fail(e, "two members have the client address %s", a->client_addr);
	if (memcmp(a->key, b->key, sizeof a->key) == 0)
		return config_fail(e, "members %s and %s have the same public key", a->name, b->name);
	return ERR_OK;
}

static int config_check_members(const struct config *c, struct config_error *e)
{
	for (size_t i = 0; i < c->n_members; i++)
		for (size_t j = 0; j < i; j++)
			if (config_check_pair(&c->members[j], &c->members[i], e) != ERR_OK)
				return ERR_CONFIG;
	if (config_member_by_id(c, c->node_id) == NULL)
		return config_fail(e, "node_id %" PRIu64 " is none of the %zu members", c->node_id, c->n_members);
	return ERR_OK;
}

static int config_check_times(const struct config *c, struct config_error *e)
{
	if (c->election_min_ms >= c->election_max_ms)
		return config_fail(e, "election_min_ms must be below election_max_ms");
	if (3 * c->heartbeat_ms > c->election_min_ms)     /* two may get lost: the core asks for as much */
		return config_fail(e, "heartbeat_ms must be at most a third of election_min_ms");
	if (c->request_timeout_ms < c->election_max_ms)
		return config_fail(e, "request_timeout_ms must not be below election_max_ms");
	return ERR_OK;
}

static int config_check_listen(const char *key, const char *text, struct config_error *e)
{
	struct sockaddr_storage ss;
	unsigned len;

	if (config_address(text, &ss, &len) == ERR_OK)
		return ERR_OK;
	return config_fail(e, "%s: not a numeric ADDRESS:PORT or [v6]:PORT: %s", key, text);
}

static int config_check_places(const struct config *c, struct config_error *e)
{
	enum log_level level;

	if (c->data_dir[0] == 0 || c->run_dir[0] == 0)
		return config_fail(e, "data_dir and run_dir must not be empty");
	if (strlen(c->run_dir) > CONFIG_RUN_DIR_MAX)
		return config_fail(e, "run_dir: longer than %d bytes, the paths of sockets would not fit",
				   (int)CONFIG_RUN_DIR_MAX);
	if (log_level_parse(c->log_level, &level) != ERR_OK)
		return config_fail(e, "log_level: error, warn, info or debug, not %s", c->log_level);
	if (config_check_listen("peer_listen", c->peer_listen, e) != ERR_OK ||
	    config_check_listen("client_listen", c->client_listen, e) != ERR_OK)
		return ERR_CONFIG;
	if (strcmp(c->peer_listen, c->client_listen) == 0)
		return config_fail(e, "peer_listen and client_listen are the same");
	return ERR_OK;
}

int config_check(const struct config *c, struct config_error *e)
{
	int err;

	if (c->cluster_id == 0 || c->node_id == 0)
		return config_fail(e, "%s is missing", c->cluster_id == 0 ? "cluster_id" : "node_id");
	err = config_check_places(c, e);
	if (!err)
		err = config_check_times(c, e);
	return err ? err : config_check_members(c, e);
}
