/* SPDX-License-Identifier: Apache-2.0 */
#include "client/scan.h"

#include "base/err.h"
#include "proto/wire.h"

void client_scan_start(struct client_scan *s, uint64_t values)
{
	*s = (struct client_scan){.pos = 0, .todo = values};
}

/* One head and what it promises. Sums cannot wrap: a count or length is below 2^33, max far too. */
static int scan_head(struct client_scan *s, struct bytes in, size_t max)
{
	struct cur c = cur_of(bytes_of(in.data + s->pos, in.len - s->pos));
	const uint8_t *start = c.pos;
	struct wire_head h = wire_head(&c);
	uint64_t pos = s->pos;

	if (c.err != ERR_OK)
		return c.err;
	pos += (uint64_t)(c.pos - start);
	s->todo--;
	if (h.kind == WIRE_STR || h.kind == WIRE_BIN || h.kind == WIRE_EXT)
		pos += h.n;
	else if (h.kind == WIRE_ARRAY)
		s->todo += h.n;
	else if (h.kind == WIRE_MAP)
		s->todo += 2 * h.n;
	/* Each value to come takes a byte at least. */
	if (pos + s->todo > max)
		return ERR_LIMIT;
	s->pos = (size_t)pos;
	return ERR_OK;
}

int client_scan_on(struct client_scan *s, struct bytes in, size_t max, size_t *len)
{
	while (s->todo > 0) {
		int rc;

		if (s->pos >= in.len)
			return ERR_TRUNCATED;
		rc = scan_head(s, in, max);
		if (rc != ERR_OK)
			return rc;
	}
	if (s->pos > in.len)
		return ERR_TRUNCATED;
	*len = s->pos;
	return ERR_OK;
}
