/* SPDX-License-Identifier: Apache-2.0 */
/* Raw non-blocking unix sockets, for tests that play strangers. Descriptors are the caller's. */
#ifndef QUORATE_RAW_SOCK_H
#define QUORATE_RAW_SOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

int raw_connect(const char *path);                    /* or -1 */
int raw_listen(const char *path);
void raw_send(int fd, const void *data, size_t len);  /* all of it, or the case fails */
bool raw_read(int fd, struct buf *b);                 /* appends what is there; false when closed */
bool raw_closed(int fd);                              /* reads and forgets what is there */

#endif
