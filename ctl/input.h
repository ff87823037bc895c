/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from a descriptor, read ahead into a bounded buffer and taken off piece by piece. */
#ifndef QUORATE_CTL_INPUT_H
#define QUORATE_CTL_INPUT_H

#include <stdbool.h>

#include "base/buf.h"

struct input {
	int fd;
	struct buf buf;
	size_t pos;           /* of buf: taken */
	bool eof;
	uint64_t taken;       /* bytes in all */
};

void input_open(struct input *in, int fd, size_t max);
void input_free(struct input *in);                 /* the descriptor stays open */
struct bytes input_have(const struct input *in);   /* what has been read and not taken */
void input_take(struct input *in, size_t n);
/* One read(2). ERR_OK, also at the end (eof is set); ERR_LIMIT: the buffer is full; ERR_IO. */
int input_fill(struct input *in);

/*
 * The next line without its newline (a last line needs none), valid until the next fill.
 * ERR_OK; ERR_TRUNCATED: more must be read; ERR_NOT_FOUND: the end.
 */
int input_line(struct input *in, struct bytes *line);
/* The same, reading as needed: also ERR_LIMIT, ERR_IO. */
int input_read_line(struct input *in, struct bytes *line);
/* Everything up to the end, at most the buffer's limit. */
int input_read_all(struct input *in, struct bytes *all);

#endif
