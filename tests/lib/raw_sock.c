/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/raw_sock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/tap.h"

static int raw_socket(const char *path, struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	OK(fd >= 0);
	OK(strlen(path) < sizeof un->sun_path);
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(un->sun_path, path, strlen(path) + 1);
	return fd;
}

int raw_connect(const char *path)
{
	struct sockaddr_un un;
	int fd = raw_socket(path, &un);

	if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	close(fd);
	return -1;
}

int raw_listen(const char *path)
{
	struct sockaddr_un un;
	int fd = raw_socket(path, &un);

	EQ_INT(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	EQ_INT(listen(fd, 16), 0);
	return fd;
}

void raw_send(int fd, const void *data, size_t len)
{
	EQ_INT(send(fd, data, len, MSG_NOSIGNAL), len);
}

bool raw_read(int fd, struct buf *b)
{
	ssize_t n;

	for (;;) {
		void *to = buf_reserve(b, 65536);

		OK(to != NULL);
		n = recv(fd, to, 65536, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		b->len += (size_t)n;
	}
}

bool raw_closed(int fd)
{
	struct buf b;
	bool open;

	buf_init(&b, 0);
	open = raw_read(fd, &b);
	buf_free(&b);
	return !open;
}
