/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The value of a service's key, as etcd's naming package writes and reads it:
 * {"Op":0,"Addr":"10.0.0.1:80","Metadata":"zone a"}
 */
#ifndef QUORATE_NAMING_H
#define QUORATE_NAMING_H

#include "base/buf.h"

/* Appends the value. ERR_OK, or ERR_BAD_ARGUMENT: not UTF-8, or with a NUL. Look at out->err too. */
int naming_write(struct buf *out, struct bytes address, struct bytes metadata);

/*
 * Appends address and metadata. Metadata that is a string as what it says, null as nothing, any other
 * as its JSON. ERR_OK; ERR_MALFORMED: no such value. Look at both buffers' err too.
 */
int naming_read(struct bytes value, struct buf *address, struct buf *metadata);

#endif
