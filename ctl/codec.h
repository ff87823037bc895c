/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as text and back: base64 (RFC 4648, padded), the quoted words of etcdctl's txn input and
 * of its "fields" output (Go's %q), and the C escapes of `load`. Decoders are strict.
 */
#ifndef QUORATE_CTL_CODEC_H
#define QUORATE_CTL_CODEC_H

#include <stdio.h>

#include "base/buf.h"

void codec_base64(FILE *out, struct bytes v);

/* "like \"this\"\n": what is not printable is escaped, valid UTF-8 is left as it is. */
void codec_quote(FILE *out, struct bytes v);
/* The same, escaped for a JSON string, with the quotes; bytes that are not UTF-8 become U+FFFD. */
void codec_json(FILE *out, struct bytes v);
/* \x61\x62, as etcdctl --hex. */
void codec_hex(FILE *out, struct bytes v);

/*
 * Takes a quoted word off the front of *s: "..." with Go's escapes, or `...` raw. ERR_OK and the
 * rest in *s, or ERR_MALFORMED.
 */
int codec_unquote(const char **s, struct buf *out);

/*
 * The words of a line as etcdctl splits them: "..." with escapes, '...' as it is, or a run without
 * blanks. At most `max` words, each ended by a NUL, one after the other in `out`; words with a NUL
 * byte inside are refused. ERR_OK and *n, ERR_MALFORMED, ERR_LIMIT.
 */
int codec_words(const char *line, struct buf *out, size_t max, size_t *n);

/* C escapes: \\ \t \n \r \a \b \f \v \" \', \xHH with two digits, \OOO with one to three. */
void codec_escape(FILE *out, struct bytes v);
int codec_unescape(struct bytes text, struct buf *out);               /* ERR_OK or ERR_MALFORMED */

/* 1.5 KiB, 12 MiB; into `to`. */
const char *codec_size(char to[32], uint64_t bytes);
/* 4s, 3m20s, 5h12m, 2d4h; "-" for negative. */
const char *codec_age(char to[32], int64_t ms);

#endif
