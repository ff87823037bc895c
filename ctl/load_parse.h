/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The formats of `quorate load`.
 *
 *   tsv     KEY TAB VALUE newline; a tab, newline or backslash inside is written as a C escape
 *           (\t \n \\ \xHH \OOO ...); empty lines are skipped; a last line needs no newline
 *   json    {"key":"BASE64","value":"BASE64"} newline; value may be left out, nothing may be added
 *   length  LENGTH:KEY LENGTH:VALUE without anything between: 3:abc5:hello; lengths are decimal; a
 *           newline may follow each pair
 */
#ifndef QUORATE_CTL_LOAD_PARSE_H
#define QUORATE_CTL_LOAD_PARSE_H

#include <stdbool.h>

#include "base/buf.h"

enum load_format { LOAD_TSV, LOAD_JSON, LOAD_LENGTH };

/* ERR_OK or ERR_BAD_ARGUMENT. */
int load_format_parse(const char *name, enum load_format *format);

/*
 * The first pair of `have`, into key and value, and the bytes it takes. ERR_OK; ERR_TRUNCATED:
 * more must be read; ERR_NOT_FOUND: the end; ERR_MALFORMED or ERR_LIMIT with *why.
 */
int load_parse(enum load_format format, struct bytes have, bool eof, struct buf *key,
	       struct buf *value,
	       size_t *used, const char **why);

#endif
