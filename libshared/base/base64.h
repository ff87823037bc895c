/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text of 64 letters (RFC 4648, section 4), padded. */
#ifndef QUORATE_BASE64_H
#define QUORATE_BASE64_H

#include "base/buf.h"

void base64_encode(struct buf *out, struct bytes v);
/* Strict: padded, and no bits behind the end. ERR_OK, ERR_MALFORMED or buf's. */
int base64_decode(struct bytes text, struct buf *out);
/* Also the letters for URLs (section 5), without padding, with line ends, with bits behind the end: as Go reads it. */
int base64_decode_any(struct bytes text, struct buf *out);

#endif
