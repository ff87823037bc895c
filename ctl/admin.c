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

#define ADMIN_RUN_DIR QUORATE_RUNSTATEDIR "/quorate"
#define ADMIN_UP_DIR "quorate.data"

static const struct flag admin_flags[] = {
	FLAG(struct admin_options, STR, dir, "dir", 0, NULL, "DIR",
	     "the node's run directory (default " ADMIN_RUN_DIR ")"),
	FLAG(struct admin_options, STR, node, "node", 0, NULL, "N",
	     "node N of DIR as `quorate up` and `init` make it (default " ADMIN_UP_DIR ")"),
	FLAG_END
};

/* An answer being copied: its first bytes tell an error, its last ones the end. */
struct admin_answer {
	size_t bytes;
	char head[8];
	size_t n_head;
	char last[2];
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

/* True at the end of the answer, an empty line. */
static bool admin_take(struct ctl *ctl, struct admin_answer *a, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool empty = data[i] == '\n' && (a->bytes == 0 || a->last[1] == '\n');

		if (a->n_head < sizeof a->head)
			a->head[a->n_head++] = data[i];
		a->last[0] = a->last[1];
		a->last[1] = data[i];
		a->bytes++;
		if (empty)
			return true;
		fputc(data[i], ctl->out);
	}
	return false;
}

/* Reads up to the empty line; 0, or an error number. */
static int admin_read(struct ctl *ctl, int fd, struct admin_answer *a)
{
	mono_t deadline = ctl_deadline(ctl);
	char data[16384];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = mono_sub_ms(deadline, mono_now());
		ssize_t n;

		if (left <= 0 || a->bytes > LIMIT_ADMIN_REPLY_BYTES + 4 * KIB)
			return left <= 0 ? ETIMEDOUT : EFBIG;
		if (poll(&p, 1, left > 60000 ? 60000 : (int)left) <= 0)
			continue;
		n = read(fd, data, sizeof data);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? EPIPE : errno;
		if (admin_take(ctl, a, data, (size_t)n))
			return 0;
	}
}

static int admin_ask(struct ctl *ctl, int fd, struct bytes line, const char *name)
{
	struct admin_answer a = {0};
	int err;

	if (send(fd, line.data, line.len, MSG_NOSIGNAL) != (ssize_t)line.len)
		return ctl_fail(ctl, CTL_ERROR, "%s: %s", name, strerror(errno));
	err = admin_read(ctl, fd, &a);
	if (err == EPIPE)
		return ctl_fail(ctl, CTL_ERROR, "%s: closed in the middle of the answer", name);
	if (err != 0)
		return ctl_fail(ctl, CTL_ERROR, "%s: %s", name, strerror(err));
	if ((a.n_head >= 6 && memcmp(a.head, "error:", 6) == 0) ||
	    (a.n_head >= 8 && memcmp(a.head, "{\"error\"", 8) == 0))
		return CTL_ERROR;
	return CTL_OK;
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
	.more = "DAEMON is raftd, stored, gatewayd, or gatewayd.1 and so on. `help` lists what it "
		"knows;\n"
		"all know status, metrics, loglevel and trace. With -w json the answer is one "
		"line of\n"
		"JSON.\n",
	.flags = admin_flags, .options_size = sizeof(struct admin_options), .run = admin_run};
