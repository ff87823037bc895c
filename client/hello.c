/* SPDX-License-Identifier: Apache-2.0 */
#include "client/hello.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

static void hello_done(struct client_flight *f, const struct client_reply *reply)
{
	struct client_hello *h = f->arg;
	const struct native_version_result *v = reply->result;

	h->done = true;
	h->code = reply->err;
	h->good = reply->err == ERR_OK && v->protocol >= CLIENT_PROTOCOL;
	(void)snprintf(h->text, sizeof h->text, "%.*s", (int)reply->text.len, (const char *)reply->text.data);
}

int client_hello_send(struct client_conn *c, struct client_hello *h)
{
	static const struct native_empty nothing = {0};

	*h = (struct client_hello){.flight = {.method = native_method_find(bytes_str("version")),
					      .done = hello_done, .arg = h}};
	CHECK(h->flight.method != NULL);
	return client_conn_send(c, &h->flight, &nothing);
}

bool client_hello_good(const struct client_hello *h)
{
	return h->good;
}

void client_hello_why(const struct client_conn *c, const struct client_hello *h, char *why, size_t len)
{
	struct bytes words = client_conn_words(c);
	int err = client_conn_err(c);
	const char *text = "no answer";

	if (words.len > 0) {
		(void)snprintf(why, len, "%.*s", (int)words.len, (const char *)words.data);
		return;
	}
	if (client_conn_errno(c) != 0)
		text = strerrordesc_np(client_conn_errno(c));
	else if (err == ERR_CLOSED)
		text = "the connection was closed before the server said who it is";
	else if (err != ERR_OK)
		text = "what answers there does not speak this protocol";
	else if (h->done && h->code != ERR_OK)
		text = h->text[0] != 0 ? h->text : err_text(h->code);
	else if (h->done)
		text = "the server speaks another version of the protocol";
	(void)snprintf(why, len, "%s", text != NULL ? text : "unknown error");
}
