/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a request may be repeated, decided in one place: reads always; writes if the server said
 * so ("again" safe) or if the request surely did not reach it.
 */
#ifndef QUORATE_CLIENT_AGAIN_H
#define QUORATE_CLIENT_AGAIN_H

#include <stdbool.h>

#include "base/err.h"

/* It changes nothing, or may be done twice: a txn is a read if it consists of ranges. */
bool client_is_read(const char *method, const void *params);
/* After this error. A full disk does not become empty while somebody waits. */
bool client_may_repeat(int code, enum err_again again, bool read);
/* It was the node that could not, and says nothing about the others. */
bool client_other_node(int code);

#endif
