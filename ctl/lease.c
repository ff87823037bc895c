/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease grant, revoke, timetolive, list, keep-alive: ids in hexadecimal, as etcdctl has them. How
 * the answers look is in print_lease.c.
 */
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/print_lease.h"

struct lease_options {
	bool keys, once;
};

static const struct flag lease_flags[] = {
	FLAG(struct lease_options, BOOL, keys, "keys", 0, NULL, "", "timetolive: print the attached keys too"),
	FLAG(struct lease_options, BOOL, once, "once", 0, NULL, "", "keep-alive: once, and not for ever"),
	FLAG_END
};

enum { LEASE_AGAIN_MS = 100 };

static int lease_id(struct ctl *ctl, const char *text, int64_t *id)
{
	if (number_parse(text, 16, id) != ERR_OK)
		return ctl_bad_args(ctl, &ctl_lease, "bad lease ID arg (%s), expecting ID in Hex", text);
	return CTL_OK;
}

static int lease_grant_run(struct ctl *ctl, const struct lease_options *o, int argc, char **argv)
{
	struct lease_grant grant = {0};
	struct lease_grant_result result;
	struct arena arena;
	struct client_request r = {.method = "lease_grant", .params = &grant, .arena = &arena, .result = &result};
	int code;

	(void)o;
	if (argc != 1)
		return ctl_bad_args(ctl, &ctl_lease, "lease grant command needs TTL argument");
	if (number_parse(argv[0], 10, &grant.ttl) != ERR_OK)
		return ctl_bad_args(ctl, &ctl_lease, "bad TTL (%s)", argv[0]);
	arena_init(&arena, MIB);
	code = ctl_call(ctl, &r);
	if (code == CTL_OK)
		print_lease_grant(ctl, &result);
	arena_free(&arena);
	return code;
}

static int lease_revoke_run(struct ctl *ctl, const struct lease_options *o, int argc, char **argv)
{
	struct lease_revoke revoke;
	struct lease_revoke_result result;
	struct arena arena;
	struct client_request r = {.method = "lease_revoke", .params = &revoke, .arena = &arena, .result = &result};
	int code;

	(void)o;
	if (argc != 1)
		return ctl_bad_args(ctl, &ctl_lease, "lease revoke command needs 1 argument");
	code = lease_id(ctl, argv[0], &revoke.id);
	if (code != CTL_OK)
		return code;
	arena_init(&arena, MIB);
	code = ctl_call(ctl, &r);
	if (code == CTL_OK)
		print_lease_revoke(ctl, revoke.id, &result);
	arena_free(&arena);
	return code;
}

/* Keys come page by page; the last key of one is where the next begins. */
static int lease_ttl_run(struct ctl *ctl, const struct lease_options *o, int argc, char **argv)
{
	struct native_time_to_live ask = {.keys = o->keys};
	struct native_time_to_live_result result = {.more = false};
	struct arena arenas[2];
	size_t n = 0;
	int code;

	if (argc != 1)
		return ctl_bad_args(ctl, &ctl_lease, "lease timetolive command needs lease ID as argument");
	code = lease_id(ctl, argv[0], &ask.id);
	arena_init(&arenas[0], LIMIT_CLIENT_RESPONSE_BYTES);
	arena_init(&arenas[1], LIMIT_CLIENT_RESPONSE_BYTES);
	for (size_t page = 0; code == CTL_OK; page++) {
		struct client_request r = {.method = "lease_time_to_live", .params = &ask,
					   .arena = &arenas[page % 2], .result = &result};

		arena_reset(r.arena);
		code = ctl_call(ctl, &r);
		if (code != CTL_OK)
			break;
		if (page == 0)
			print_lease_ttl_begin(ctl, &result, o->keys);
		for (size_t i = 0; i < result.keys.n; i++)
			print_lease_ttl_key(ctl, result.keys.v[i].key, n++ == 0);
		if (!result.more || result.keys.n == 0)
			break;
		ask.after = result.keys.v[result.keys.n - 1].key;
	}
	if (code == CTL_OK)
		print_lease_ttl_end(ctl, &result, o->keys);
	arena_free(&arenas[0]);
	arena_free(&arenas[1]);
	return code;
}

/* How many there are stands before them, so all are held: 8 bytes each, a million at most. */
static int lease_list_run(struct ctl *ctl, const struct lease_options *o, int argc, char **argv)
{
	struct native_lease_list ask = {0};
	struct native_lease_list_result result = {.more = true};
	struct arena arena;
	struct buf ids = {0};
	int code = CTL_OK;

	(void)o;
	(void)argv;
	if (argc != 0)
		return ctl_bad_args(ctl, &ctl_lease, "lease list command takes no argument");
	arena_init(&arena, LIMIT_CLIENT_RESPONSE_BYTES);
	while (code == CTL_OK && result.more) {
		struct client_request r = {.method = "lease_list", .params = &ask, .arena = &arena,
					   .result = &result};

		arena_reset(&arena);
		code = ctl_call(ctl, &r);
		for (size_t i = 0; code == CTL_OK && i < result.leases.n; i++)
			buf_u64(&ids, (uint64_t)result.leases.v[i].id);
		if (code != CTL_OK || result.leases.n == 0)
			break;
		ask.after = result.leases.v[result.leases.n - 1].id;
	}
	if (code == CTL_OK && ids.err != ERR_OK)
		code = ctl_fail(ctl, CTL_ERROR, "%s", err_text(ids.err));
	if (code == CTL_OK)
		print_lease_list(ctl, result.header, buf_bytes(&ids));
	arena_free(&arena);
	buf_free(&ids);
	return code;
}

/* ---- keep-alive ---- */

static int keep_alive_once(struct ctl *ctl, const struct native_lease *lease, struct native_keepalive_result *result,
			   struct arena *arena, struct client_error *e)
{
	struct client_request r = {.method = "lease_keepalive", .params = lease, .arena = arena, .result = result};
	int code = CTL_OK;
	struct client *c = ctl_client(ctl, &code);

	*e = (struct client_error){.code = ERR_OK};
	if (c == NULL)
		return code;
	arena_reset(arena);
	(void)client_call(c, &r, ctl_deadline(ctl), e);
	return CTL_OK;
}

static int keep_alive_expired(struct ctl *ctl, const struct lease_options *o, int64_t id)
{
	if (o->once)
		return ctl_fail(ctl, CTL_ERROR, "%s", err_text(ERR_LEASE_NOT_FOUND));
	if (ctl->format == CTL_SIMPLE)
		fprintf(ctl->out, "lease %016" PRIx64 " expired or revoked.\n", (uint64_t)id);
	return CTL_OK;
}

/*
 * For ever, at a third of the TTL, as long as there is a lease: a cluster that does not answer for
 * a while is asked again until it says that the lease has gone.
 */
static int keep_alive_loop(struct ctl *ctl, const struct lease_options *o, const struct native_lease *lease,
			   struct arena *arena)
{
	for (;;) {
		struct native_keepalive_result result = {.ttl = 0};
		struct client_error e;
		int64_t wait_ms = LEASE_AGAIN_MS;
		int code = keep_alive_once(ctl, lease, &result, arena, &e);

		if (code != CTL_OK)
			return code;
		if (e.code != ERR_OK && (o->once || e.again == ERR_AGAIN_NO))
			return ctl_fail_client(ctl, &e);
		if (e.code == ERR_OK) {
			if (result.ttl <= 0)
				return keep_alive_expired(ctl, o, lease->id);
			print_lease_keepalive(ctl, &result);
			if (fflush(ctl->out) != 0)
				return CTL_IO;
			wait_ms = result.ttl < 86400 ? result.ttl * 1000 / 3 : 86400 * 1000 / 3;
		}
		if (o->once)
			return CTL_OK;
		(void)poll(NULL, 0, (int)wait_ms);
	}
}

static int lease_keep_alive_run(struct ctl *ctl, const struct lease_options *o, int argc, char **argv)
{
	struct native_lease lease;
	struct arena arena;
	int code;

	if (argc != 1)
		return ctl_bad_args(ctl, &ctl_lease, "lease keep-alive command needs lease ID as argument");
	code = lease_id(ctl, argv[0], &lease.id);
	if (code != CTL_OK)
		return code;
	arena_init(&arena, MIB);
	code = keep_alive_loop(ctl, o, &lease, &arena);
	arena_free(&arena);
	return code;
}

/* ---- which of them ---- */

static const struct lease_verb {
	const char *name;
	int (*run)(struct ctl *ctl, const struct lease_options *o, int argc, char **argv);
} lease_verbs[] = {
	{"grant", lease_grant_run},
	{"revoke", lease_revoke_run},
	{"timetolive", lease_ttl_run},
	{"list", lease_list_run},
	{"keep-alive", lease_keep_alive_run},
};

static int lease_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	if (ctl->format == CTL_TABLE)
		return ctl_fail(ctl, CTL_BAD_FEATURE, "table not supported as output format");
	for (size_t i = 0; argc > 0 && i < sizeof lease_verbs / sizeof lease_verbs[0]; i++)
		if (strcmp(argv[0], lease_verbs[i].name) == 0)
			return lease_verbs[i].run(ctl, options, argc - 1, argv + 1);
	return ctl_bad_args(ctl, &ctl_lease, "lease needs one of grant, revoke, timetolive, list, keep-alive");
}

const struct ctl_command ctl_lease = {
	.name = "lease", .args = "grant TTL | revoke ID | timetolive ID | list | keep-alive ID",
	.summary = "Leases: clocks that delete the keys attached to them when they run out",
	.more = "TTL is in seconds, ID hexadecimal. `put --lease ID` attaches a key. keep-alive goes on until the\n"
		"lease has gone.\n",
	.flags = lease_flags, .options_size = sizeof(struct lease_options), .run = lease_run};
