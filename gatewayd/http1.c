/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/http1.h"

#include <string.h>

#include "gatewayd/conn_own.h"

static const char http1_words[] =
	"HTTP/1.1 501 Not Implemented\r\n"
	"Content-Type: text/plain\r\n"
	"Content-Length: 70\r\n"
	"Connection: close\r\n"
	"\r\n"
	"this port speaks gRPC over HTTP/2 and MessagePack-RPC, not HTTP/1 yet\n";

static bool http1_open(struct conn *c)
{
	(void)c;
	return true;
}

static size_t http1_take(struct conn *c, struct bytes in)
{
	conn_end(c);
	return in.len;
}

static bool http1_wants_input(const struct conn *c)
{
	return c->state == CONN_OPEN && !c->eof;
}

static void http1_fill(struct conn *c)
{
	if (c->session == NULL && c->state == CONN_ENDING) {
		c->session = c;               /* it has been said */
		buf_str(&c->out, http1_words);
	}
}

static void http1_nothing(struct conn *c)
{
	(void)c;
}

static bool http1_quiet(const struct conn *c)
{
	return c->session != NULL;
}

const struct conn_proto http1_proto = {
	.name = "http1",
	.open = http1_open,
	.take = http1_take,
	.wants_input = http1_wants_input,
	.fill = http1_fill,
	.end = http1_nothing,
	.quiet = http1_quiet,
	.gone = http1_nothing,
	.free = http1_nothing,
};
