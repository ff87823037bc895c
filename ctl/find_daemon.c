/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/find_daemon.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

static bool find_try(char *path, size_t size, int n)
{
	struct stat st;

	if (n < 0 || (size_t)n >= size || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	return access(path, X_OK) == 0;
}

/* The directory of this very program. */
static int find_self(char *dir, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", dir, size - 1);
	char *slash;

	if (n <= 0)
		return ERR_NOT_FOUND;
	dir[n] = 0;
	slash = strrchr(dir, '/');
	if (slash == NULL)
		return ERR_NOT_FOUND;
	*slash = 0;
	return ERR_OK;
}

int find_daemon(const char *name, const char *bin_dir, char *path, size_t size)
{
	char self[2048];

	bool found;

	if (bin_dir != NULL) {
		found = find_try(path, size, snprintf(path, size, "%s/%s", bin_dir, name));
		return found ? ERR_OK : ERR_NOT_FOUND;
	}
	if (find_self(self, sizeof self) != ERR_OK)
		self[0] = 0;
	found = find_try(path, size, snprintf(path, size, "%s/../%s/%s", self, name, name)) ||
		find_try(path, size, snprintf(path, size, "%s/../sbin/%s", self, name)) ||
		find_try(path, size, snprintf(path, size, QUORATE_SBINDIR "/%s", name));
	return found ? ERR_OK : ERR_NOT_FOUND;
}
