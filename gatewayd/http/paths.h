/* SPDX-License-Identifier: Apache-2.0 */
/* The paths of etcd's JSON gateway, and the RPC behind each. */
#ifndef QUORATE_HTTP_PATHS_H
#define QUORATE_HTTP_PATHS_H

#include <stdbool.h>

#include "base/buf.h"
#include "proto/pb.h"

struct http_path {
	const char *path;                     /* behind "/v3/" */
	const char *rpc;
	const struct pb_desc *result;         /* of one message of the answer; NULL: it answers only errors */
	bool streams;                         /* more than one */
	bool endless;                         /* until the client goes, though its request has ended */
};

/* "/v3/..." or "/v3beta/..."; NULL: none of them. */
const struct http_path *http_path_find(struct bytes path);

#endif
