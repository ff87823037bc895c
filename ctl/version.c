/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "ctl/commands.h"
#include "ctl/print.h"

struct version_options {
	bool server;
};

static const struct flag version_flags[] = {
	FLAG(struct version_options, BOOL, server, "server", 0, NULL, "",
	     "ask the endpoint for its version too"),
	FLAG_END
};

static int version_ask(struct ctl *ctl, struct arena *arena, struct native_version_result *v)
{
	struct native_empty none = {0};
	struct client_request r = {.method = "version", .params = &none, .arena = arena,
				   .result = v};

	return ctl_call(ctl, &r);
}

static void version_print(struct ctl *ctl, const struct native_version_result *server)
{
	if (ctl->format == CTL_JSON) {
		fputs("{\"version\":\"" QUORATE_VERSION "\",\"protocol\":1", ctl->out);
		if (server != NULL) {
			fputc(',', ctl->out);
			print_json_str(ctl->out, "server_version", server->server);
			fprintf(ctl->out, ",\"server_protocol\":%" PRIu64, server->protocol);
		}
		fputs("}\n", ctl->out);
		return;
	}
	fputs("quorate version: " QUORATE_VERSION "\nprotocol version: 1\n", ctl->out);
	if (server != NULL)
		fprintf(ctl->out, "server version: %.*s\nserver protocol version: %" PRIu64 "\n",
			(int)server->server.len, (const char *)server->server.data,
			server->protocol);
}

static int version_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct version_options *o = options;
	struct native_version_result server;
	struct arena arena;
	int code = CTL_OK;

	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_version, "version takes no words");
	arena_init(&arena, 64 * KIB);
	if (o->server)
		code = version_ask(ctl, &arena, &server);
	if (code == CTL_OK)
		version_print(ctl, o->server ? &server : NULL);
	arena_free(&arena);
	return code;
}

const struct ctl_command ctl_version = {
	.name = "version", .args = "", .summary = "Prints the version of quorate",
	.flags = version_flags, .options_size = sizeof(struct version_options), .run = version_run};
