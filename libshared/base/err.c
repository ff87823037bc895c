/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stddef.h>

#include "base/check.h"

static const struct err_row {
	int code;
	enum err_grpc grpc;
	enum err_again again;
	const char *name;
	const char *text;
} err_rows[] = {
#define E(name, code, grpc, again, text) {(code), GRPC_##grpc, ERR_AGAIN_##again, #name, text},
	ERR_LIST(E)
#undef E
};

static const struct err_row err_unknown = {-1, GRPC_UNKNOWN, ERR_AGAIN_UNSURE, "UNKNOWN",
					   "unknown error"};

static const struct err_row *err_find(int err)
{
	for (size_t i = 0; i < ARRAY_LEN(err_rows); i++)
		if (err_rows[i].code == err)
			return &err_rows[i];
	return &err_unknown;
}

const char *err_text(int err)
{
	return err_find(err)->text;
}

const char *err_name(int err)
{
	return err_find(err)->name;
}

enum err_again err_again(int err)
{
	return err_find(err)->again;
}

enum err_grpc err_grpc(int err)
{
	return err_find(err)->grpc;
}
