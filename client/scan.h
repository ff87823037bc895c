/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the end of one MessagePack value whose bytes are still arriving. It goes on where it
 * stopped, so a value that comes in many pieces costs no more than one that comes whole. It
 * needs no stack: it counts the values still to come.
 */
#ifndef QUORATE_CLIENT_SCAN_H
#define QUORATE_CLIENT_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct client_scan {
	size_t pos;       /* end of what is understood so far; may lie ahead of what has arrived */
	uint64_t todo;    /* values still to come */
};

void client_scan_start(struct client_scan *s, uint64_t values);

/*
 * `in` begins where the value begins and holds more than at the call before. ERR_OK and the
 * length; ERR_TRUNCATED: more must come; ERR_LIMIT: it is longer than max; ERR_MALFORMED.
 */
int client_scan_on(struct client_scan *s, struct bytes in, size_t max, size_t *len);

#endif
