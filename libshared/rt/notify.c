/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

void notify_fd(int fd)
{
	if (fd < 0)
		return;
	if (write(fd, "\n", 1) != 1)
		log_warn("cannot tell that we are ready fd=%d error=%s", fd, strerror(errno));
	(void)close(fd);
}

int notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len;
	int fd, err = ERR_OK;

	if (path == NULL || path[0] == 0)
		return ERR_OK;
	if ((path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof un.sun_path)
		return ERR_IO;
	memcpy(un.sun_path, path, strlen(path));
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		un.sun_path[0] = 0;   /* an abstract name */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_IO;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un, len) < 0) {
		log_warn("cannot notify the service manager error=%s", strerror(errno));
		err = ERR_IO;
	}
	(void)close(fd);
	return err;
}
