/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/input.h"

#include <errno.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"

enum { INPUT_CHUNK = 256 * 1024 };

void input_open(struct input *in, int fd, size_t max)
{
	*in = (struct input){.fd = fd};
	buf_init(&in->buf, max + INPUT_CHUNK);
}

void input_free(struct input *in)
{
	buf_free(&in->buf);
}

struct bytes input_have(const struct input *in)
{
	return bytes_of(in->buf.len > in->pos ? in->buf.data + in->pos : NULL,
			in->buf.len - in->pos);
}

void input_take(struct input *in, size_t n)
{
	CHECK(n <= in->buf.len - in->pos);
	in->pos += n;
	in->taken += n;
	if (in->pos == in->buf.len) {
		in->buf.len = 0;
		in->pos = 0;
	}
}

int input_fill(struct input *in)
{
	void *to;
	ssize_t n;

	if (in->eof)
		return ERR_OK;
	buf_consume(&in->buf, in->pos);
	in->pos = 0;
	to = buf_reserve(&in->buf, INPUT_CHUNK);
	if (to == NULL)
		return in->buf.err;
	do
		n = read(in->fd, to, INPUT_CHUNK);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return ERR_IO;
	in->eof = n == 0;
	in->buf.len += (size_t)n;
	return ERR_OK;
}

int input_line(struct input *in, struct bytes *line)
{
	struct bytes have = input_have(in);
	const uint8_t *end = have.len > 0 ? memchr(have.data, '\n', have.len) : NULL;

	if (end == NULL && !in->eof)
		return ERR_TRUNCATED;
	if (end == NULL && have.len == 0)
		return ERR_NOT_FOUND;
	*line = bytes_of(have.data, end != NULL ? (size_t)(end - have.data) : have.len);
	/* The bytes stay where they are until the next fill. */
	in->pos += line->len + (end != NULL);
	in->taken += line->len + (end != NULL);
	return ERR_OK;
}

int input_read_line(struct input *in, struct bytes *line)
{
	int rc;

	while ((rc = input_line(in, line)) == ERR_TRUNCATED) {
		rc = input_fill(in);
		if (rc != ERR_OK)
			break;
	}
	return rc;
}

int input_read_all(struct input *in, struct bytes *all)
{
	int rc = ERR_OK;

	while (rc == ERR_OK && !in->eof)
		rc = input_fill(in);
	*all = input_have(in);
	return rc;
}
