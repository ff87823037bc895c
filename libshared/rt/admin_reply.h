/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to one admin command, written as text or as JSON while it is being given.
 * Private to the admin socket and its tests.
 */
#ifndef QUORATE_ADMIN_REPLY_H
#define QUORATE_ADMIN_REPLY_H

#include "rt/admin.h"

enum { ADMIN_DEPTH = 4 };

struct admin_reply {
	struct buf values;           /* "name: value" lines, or the inside of a JSON object */
	struct buf raw;
	bool json, failed;
	unsigned depth;
	const char *groups[ADMIN_DEPTH];
	char error[512];
};

void admin_reply_init(struct admin_reply *r, bool json);
void admin_reply_free(struct admin_reply *r);
/* Appends the whole answer with its empty line. Over LIMIT_ADMIN_REPLY_BYTES it is an error instead. */
void admin_reply_finish(struct admin_reply *r, struct buf *out);

/* As a JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
void admin_json_string(struct buf *out, struct bytes v);

#endif
