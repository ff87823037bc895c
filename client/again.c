/* SPDX-License-Identifier: Apache-2.0 */
#include "client/again.h"

#include <string.h>

#include "base/check.h"
#include "proto/kv.h"

static bool txn_is_read(const struct kv_txn *t)
{
	for (size_t i = 0; i < t->success.n; i++)
		if (t->success.v[i].range == NULL)
			return false;
	for (size_t i = 0; i < t->failure.n; i++)
		if (t->failure.v[i].range == NULL)
			return false;
	return true;
}

bool client_is_read(const char *method, const void *params)
{
	static const char *const reads[] = {"version", "range", "status", "members", "hash",
					    "lease_time_to_live", "lease_list",
					    "lease_keepalive" /* twice is as good as once */};

	for (size_t i = 0; i < ARRAY_LEN(reads); i++)
		if (strcmp(method, reads[i]) == 0)
			return true;
	return strcmp(method, "txn") == 0 && txn_is_read(params);
}

bool client_may_repeat(int code, enum err_again again, bool read)
{
	if (code == ERR_NO_SPACE)
		return false;
	return again == ERR_AGAIN_SAFE || (read && again == ERR_AGAIN_UNSURE);
}

bool client_other_node(int code)
{
	return code == ERR_NO_LEADER || code == ERR_STORE_DOWN || code == ERR_STOPPED ||
	       code == ERR_NOT_LEADER || code == ERR_TOO_MANY_REQUESTS;
}
