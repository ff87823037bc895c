/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the server as the structs of quorate.h, without the prefix of a namespace. */
#ifndef QUORATE_LIB_RESULT_H
#define QUORATE_LIB_RESULT_H

#include "client/lib/pool.h"
#include "proto/native.h"

/* A result in the making: `r` is handed out in the end, and the pool is what it is freed by. */
struct result_box {
	struct pool pool;
	struct quorate_result r;
	struct bytes prefix;           /* of the namespace; borrowed */
	struct quorate_kv *kvs;        /* of a streamed range: n_kvs of kvs_room */
	size_t kvs_room;
};

/* `more`: bytes that it will need, about. NULL: out of memory. */
struct result_box *result_make(enum quorate_kind kind, struct bytes prefix, size_t more, size_t max);
void result_drop(struct result_box *b);

/* All of these: ERR_OK, ERR_NO_MEMORY, ERR_RESPONSE_TOO_LARGE, ERR_MALFORMED. */
int result_fill(struct result_box *b, const void *from);     /* the method's result; a range's head */
int result_add_pair(struct result_box *b, const struct kv_pair *pair);
int result_pair(struct pool *p, struct bytes prefix, const struct kv_pair *from, struct quorate_kv *to);
void result_header(const struct kv_header *from, struct quorate_header *to);

#endif
