/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be done, as the bytes of a request: checks, prefixes of namespaces, encoding. */
#ifndef QUORATE_LIB_REQUEST_H
#define QUORATE_LIB_REQUEST_H

#include "base/arena.h"
#include "base/buf.h"
#include "client/quorate.h"
#include "proto/native.h"

struct request {
	const struct native_method *method;
	struct buf params;             /* encoded */
	struct buf shape;              /* of a transaction: which parts its result must have */
	bool read;                     /* it changes nothing, or twice is as good as once */
};

/* ERR_OK, or why not; *why may become a sentence about it. `prefix`: of the namespace. */
int request_encode(const struct quorate_op *op, struct bytes prefix, struct request *r,
		   const char **why);
/* The same question of a lease, for its keys behind this one. ERR_OK, ERR_NO_MEMORY. */
int request_lease_on(struct request *r, int64_t lease, struct bytes after);
/* Has the result all the parts that the request asked for, and no others? Whoever asked relies on that. */
bool request_is_answered(const struct request *r, const struct quorate_result *result);
void request_free(struct request *r);

/* First key and range end in a namespace, as the protocol has them. */
struct request_range {
	struct bytes key, range_end;
};
int request_range(struct quorate_bytes key, struct quorate_bytes range_end, unsigned flags,
		  struct bytes prefix, struct arena *a, struct request_range *out);

#endif
