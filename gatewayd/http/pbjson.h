/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd's messages as JSON, the way its gateway writes them: numbers of 64 bits as strings, bytes in
 * base64, enums by name, what is zero left out; and read so too, but also with lowerCamelCase names
 * and numbers as numbers. Only the form changes: JSON becomes a message of Protocol Buffers and back,
 * by the same lists (proto/etcd.h), so that everything behind it is the gRPC service.
 */
#ifndef QUORATE_HTTP_PBJSON_H
#define QUORATE_HTTP_PBJSON_H

#include "base/buf.h"
#include "proto/pb.h"

/* ---- names (pbjson_names.c) ---- */

const char *pbjson_name(const struct pb_desc *d, const struct pb_field *f);
/* The enum's value of that name; or -1. */
int pbjson_enum_value(const struct pb_desc *d, const struct pb_field *f, struct bytes name);
/* NULL: not an enum, or a number without a name. */
const char *pbjson_enum_name(const struct pb_desc *d, const struct pb_field *f, uint64_t value);

/* ---- in (pbjson_in.c) ---- */

/*
 * Where a value ends in text that comes in pieces: not a check, only brackets and strings are looked at.
 * All zero is the beginning.
 */
struct pbjson_split {
	size_t pos;                   /* looked at */
	unsigned depth;
	bool begun, in_string, escaped;
};
/* True: text[0 .. s->pos) is one value, or something that cannot become one. */
bool pbjson_split(struct pbjson_split *s, struct bytes text);

/*
 * One JSON object to a message, appended to `out`. ERR_OK; ERR_MALFORMED or ERR_LIMIT, and `why` says
 * what is wrong with it.
 */
enum { PBJSON_WHY_BYTES = 256 };
int pbjson_in(struct bytes text, const struct pb_desc *d, struct buf *out, char why[PBJSON_WHY_BYTES]);

/* ---- out (pbjson_out.c) ---- */

/* A message that may come in pieces. */
struct pbjson_out {
	const struct pb_desc *desc;
	uint32_t list;                /* the field whose array is open, or 0 */
	bool any;
};
void pbjson_out_begin(struct pbjson_out *j, const struct pb_desc *d, struct buf *out);
/* Writes those fields that are complete. *used: of `in`. ERR_OK or ERR_MALFORMED. */
int pbjson_out_fields(struct pbjson_out *j, struct bytes in, struct buf *out, size_t *used);
void pbjson_out_end(struct pbjson_out *j, struct buf *out);
/* "like this\n", with the quotes. */
void pbjson_string(struct buf *out, struct bytes v);

#endif
