/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/peers.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

static const struct peers_name {
	enum daemon_kind kind;
	const char *name;
} peers_names[] = {
#define PEERS_NAME(name, number, text, help) {DAEMON_##name, text},
	DAEMON_LIST(PEERS_NAME)
#undef PEERS_NAME
};

static const struct peers_pair {
	enum daemon_kind listener, dialer;
	const char *socket;
} peers_pairs[] = {
#define PEERS_PAIR(listener, dialer, socket) {DAEMON_##listener, DAEMON_##dialer, socket},
	PEER_LIST(PEERS_PAIR)
#undef PEERS_PAIR
};

const char *daemon_name(enum daemon_kind kind)
{
	for (size_t i = 0; i < ARRAY_LEN(peers_names); i++)
		if (peers_names[i].kind == kind)
			return peers_names[i].name;
	return "?";
}

int daemon_by_name(const char *name, enum daemon_kind *kind)
{
	for (size_t i = 0; i < ARRAY_LEN(peers_names); i++) {
		if (strcmp(peers_names[i].name, name) == 0) {
			*kind = peers_names[i].kind;
			return ERR_OK;
		}
	}
	return ERR_NOT_FOUND;
}

const char *peer_socket(enum daemon_kind listener, enum daemon_kind dialer)
{
	for (size_t i = 0; i < ARRAY_LEN(peers_pairs); i++)
		if (peers_pairs[i].listener == listener && peers_pairs[i].dialer == dialer)
			return peers_pairs[i].socket;
	return NULL;
}
