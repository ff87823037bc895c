/* SPDX-License-Identifier: Apache-2.0 */
/* The admin socket's own view of itself; private to admin*.c. */
#ifndef QUORATE_ADMIN_CONN_H
#define QUORATE_ADMIN_CONN_H

#include "rt/admin.h"
#include "rt/stream.h"

struct admin_conn;

struct admin {
	struct admin_setup s;
	char *path, *daemon;
	mono_t started;
	struct stream_listener *listener;
	struct admin_conn *conns;
	size_t n_conns;
	struct loop_hook hook;
};

/* Run with the struct admin; ends with a row whose name is NULL. */
extern const struct admin_command admin_builtin[];

#endif
