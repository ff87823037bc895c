/* SPDX-License-Identifier: Apache-2.0 */
/* One command to the admin socket of a daemon on this machine, and its answer as it comes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/commands.h"

struct admin_options {
	const char *dir;
	const char *node;
};

enum { ADMIN_READ_BYTES = 16384 };

#define ADMIN_RUN_DIR QUORATE_RUNSTATEDIR "/quorate"
#define ADMIN_UP_DIR "quorate.data"

static const struct flag admin_flags[] = {
	FLAG(struct admin_options, STR, dir, "dir", 0, NULL, "DIR",
	     "the node's run directory (default " ADMIN_RUN_DIR ")"),
	FLAG(struct admin_options, STR, node, "node", 0, NULL, "N",
	     "node N of DIR as `quorate up` and `init` make it (default " ADMIN_UP_DIR ")"),
	FLAG_END
};

/*
 * A socket's path may be longer than an address holds, so it is named through its directory, which
 * is opened.
 */
static int admin_connect(const char *dir, const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1, n, saved;

	if (at < 0)
		return -1;
	n = snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/%s", at, name);
	errno = ENAMETOOLONG;
	if (n > 0 && (size_t)n < sizeof a.sun_path)
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) != 0) {
		saved = errno;
		(void)close(fd);
		errno = saved;
		fd = -1;
	}
	saved = errno;
	(void)close(at);
	errno = saved;
	return fd;
}

/* The words as one line, with "json" before them if -w json asks for it. */
static int admin_line(struct ctl *ctl, int argc, char **argv, struct buf *line)
{
	buf_init(line, LIMIT_ADMIN_LINE_BYTES);
	if (ctl->format == CTL_JSON && strcmp(argv[0], "json") != 0)
		buf_str(line, "json ");
	for (int i = 0; i < argc; i++) {
		if (strchr(argv[i], '\n') != NULL)
			line->err = ERR_MALFORMED;
		buf_str(line, argv[i]);
		buf_u8(line, i + 1 < argc ? ' ' : '\n');
	}
	return line->err;
}

/* The answer ends in an empty line, which may be all of it: its length without that, or -1. */
static ssize_t admin_end(struct bytes a)
{
	const uint8_t *end = a.len > 0 ? memmem(a.data, a.len, "\n\n", 2) : NULL;

	if (a.len > 0 && a.data[0] == '\n')
		return 0;
	return end != NULL ? end - a.data + 1 : -1;
}

/* Reads the answer and cuts it there; 0, or an error number. */
static int admin_read(struct ctl *ctl, int fd, struct buf *answer)
{
	mono_t deadline = ctl_deadline(ctl);
	ssize_t end;

	while ((end = admin_end(buf_bytes(answer))) < 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = mono_sub_ms(deadline, mono_now());
		void *to = buf_reserve(answer, ADMIN_READ_BYTES);
		ssize_t n;

		if (left <= 0 || to == NULL)
			return left <= 0 ? ETIMEDOUT : EFBIG;
		if (poll(&p, 1, left > 60000 ? 60000 : (int)left) <= 0)
			continue;
		n = recv(fd, to, ADMIN_READ_BYTES, 0);
		if (n < 0 && errno != EINTR)
			return errno;
		if (n == 0)
			return EPIPE;
		answer->len += n > 0 ? (size_t)n : 0;
	}
	answer->len = (size_t)end;
	return 0;
}

static bool admin_begins(const struct buf *answer, const char *text)
{
	size_t n = strlen(text);

	return answer->len >= n && memcmp(answer->data, text, n) == 0;
}

/* What the daemon calls an error is one, also as JSON. */
static int admin_print(struct ctl *ctl, const struct buf *answer)
{
	if (admin_begins(answer, "error: "))
		return ctl_fail(ctl, CTL_ERROR, "%.*s", (int)(answer->len - strlen("error: ") - 1),
				(const char *)answer->data + strlen("error: "));
	(void)fwrite(answer->data, 1, answer->len, ctl->out);
	return admin_begins(answer, "{\"error\"") ? CTL_ERROR : CTL_OK;
}

static int admin_ask(struct ctl *ctl, int fd, struct bytes line, const char *name)
{
	struct buf answer;
	int err, code;

	buf_init(&answer, LIMIT_ADMIN_REPLY_BYTES + 2 * ADMIN_READ_BYTES);
	err = send(fd, line.data, line.len, MSG_NOSIGNAL) == (ssize_t)line.len ?
		      admin_read(ctl, fd, &answer) : errno;
	if (err == EPIPE)
		code = ctl_fail(ctl, CTL_ERROR, "%s: closed in the middle of the answer", name);
	else if (err != 0)
		code = ctl_fail(ctl, CTL_ERROR, "%s: %s", name, strerror(err));
	else
		code = admin_print(ctl, &answer);
	buf_free(&answer);
	return code;
}

static int admin_run(struct ctl *ctl, const void *options, int argc, char **argv)
{
	const struct admin_options *o = options;
	char dir[4096], name[128];
	int64_t node;
	struct buf line;
	int fd, code;

	if (argc < 2)
		return ctl_bad_args(ctl, &ctl_admin,
				    "admin needs a daemon and a command, such as `raftd status`");
	if (strchr(argv[0], '/') != NULL || strlen(argv[0]) > 64)
		return ctl_bad_args(ctl, &ctl_admin, "bad daemon \"%s\"", argv[0]);
	if (o->node != NULL && (number_parse(o->node, 10, &node) != ERR_OK || node < 0))
		return ctl_bad_args(ctl, &ctl_admin, "bad node \"%s\"", o->node);
	if (o->node != NULL)
		(void)snprintf(dir, sizeof dir, "%s/node%s/run", o->dir ? o->dir : ADMIN_UP_DIR,
			       o->node);
	else
		(void)snprintf(dir, sizeof dir, "%s", o->dir ? o->dir : ADMIN_RUN_DIR);
	(void)snprintf(name, sizeof name, "%s.admin", argv[0]);
	if (admin_line(ctl, argc - 1, argv + 1, &line) != ERR_OK) {
		buf_free(&line);
		return ctl_bad_args(ctl, &ctl_admin, "the command is too long or has a line break");
	}
	fd = admin_connect(dir, name);
	if (fd < 0) {
		code = ctl_fail(ctl, CTL_BAD_CONNECTION, "cannot connect to %s/%s: %s", dir, name,
				strerror(errno));
	} else {
		code = admin_ask(ctl, fd, buf_bytes(&line), argv[0]);
		(void)close(fd);
	}
	buf_free(&line);
	return code;
}

const struct ctl_command ctl_admin = {
	.name = "admin", .args = "DAEMON COMMAND...",
	.summary = "Sends a command to a daemon's admin socket",
	.more = "DAEMON is raftd, stored, leased, watchd, gatewayd, or gatewayd.1 and so on. `help` lists what it "
		"knows;\n"
		"all know status, metrics, loglevel and trace. With -w json the answer is one "
		"line of\n"
		"JSON.\n",
	.flags = admin_flags, .options_size = sizeof(struct admin_options), .run = admin_run};
