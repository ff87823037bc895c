/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/watch_program.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/codec.h"

/* As Go's %q, which etcdctl's users know: keys and values may hold any byte, environments may not. */
static int program_quoted(const char *name, struct bytes v)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int rc;

	if (f == NULL)
		return -1;
	codec_quote(f, v);
	if (fclose(f) != 0) {
		free(text);
		return -1;
	}
	rc = setenv(name, text, 1);
	free(text);
	return rc;
}

/* In the child: never returns. */
static void program_exec(char **argv, const struct watch_event *e)
{
	char revision[24];

	(void)snprintf(revision, sizeof revision, "%" PRId64, e->kv->mod_revision);
	if (setenv("QUORATE_WATCH_REVISION", revision, 1) != 0 ||
	    setenv("QUORATE_WATCH_EVENT_TYPE", e->type == WATCH_EVENT_PUT ? "PUT" : "DELETE", 1) != 0 ||
	    program_quoted("QUORATE_WATCH_KEY", e->kv->key) != 0 ||
	    program_quoted("QUORATE_WATCH_VALUE", e->kv->value) != 0)
		_exit(126);
	(void)execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

int watch_program_run(struct ctl *ctl, char **argv, const struct watch_event *e)
{
	int status = 0;
	pid_t pid;

	(void)fflush(ctl->out);
	pid = fork();
	if (pid < 0)
		return ctl_fail(ctl, CTL_ERROR, "cannot run %s: %s", argv[0], strerror(errno));
	if (pid == 0)
		program_exec(argv, e);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return ctl_fail(ctl, CTL_ERROR, "cannot wait for %s: %s", argv[0], strerror(errno));
	if (WIFSIGNALED(status))
		return ctl_fail(ctl, CTL_ERROR, "%s was ended by signal %d", argv[0], WTERMSIG(status));
	if (WEXITSTATUS(status) == 127)
		return ctl_fail(ctl, CTL_ERROR, "%s cannot be run", argv[0]);
	if (WEXITSTATUS(status) != 0)
		return ctl_fail(ctl, CTL_ERROR, "%s ended with exit code %d", argv[0], WEXITSTATUS(status));
	return CTL_OK;
}
