/* SPDX-License-Identifier: Apache-2.0 */
#include "stored/snap_child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mono.h"
#include "rt/config.h"
#include "rt/rights.h"
#include "stored/generation.h"

enum { CHILD_NUMBERS = 10, CHILD_NICE = 19, CHILD_END_FD = 3, CHILD_IO_IDLE = 3 << 13 };

extern char **environ;

/* ---- the parent's half ---- */

/* The numbers in the order in which child_job takes them. */
static void child_numbers(const struct snap_job *j, const struct snapshot_id *id,
			  char text[CHILD_NUMBERS][24])
{
	const uint64_t v[CHILD_NUMBERS] = {
		(uint64_t)getpid(), j->cluster_id, j->node_id, j->generation, j->map_bytes,
		j->bytes_per_s, id ? id->index : 0, id ? id->term : 0, id ? id->bytes : 0,
		id ? id->crc : 0,
	};

	for (size_t i = 0; i < CHILD_NUMBERS; i++)
		(void)snprintf(text[i], sizeof text[i], "%" PRIu64, v[i]);
}

static int child_spawn(const char *program, char *const *argv, int end, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, standard;
	int rc;

	sigemptyset(&none);
	sigemptyset(&standard);
	sigaddset(&standard, SIGPIPE);
	CHECK(posix_spawn_file_actions_init(&files) == 0 && posix_spawnattr_init(&attr) == 0);
	CHECK(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) == 0);
	CHECK(posix_spawnattr_setsigmask(&attr, &none) == 0);
	CHECK(posix_spawnattr_setsigdefault(&attr, &standard) == 0);
	CHECK(posix_spawn_file_actions_adddup2(&files, end, CHILD_END_FD) == 0);
	rc = posix_spawn(pid, program, &files, &attr, argv, environ);
	(void)posix_spawn_file_actions_destroy(&files);
	(void)posix_spawnattr_destroy(&attr);
	errno = rc;
	return rc == 0 ? ERR_OK : ERR_IO;
}

int snap_child_begin(const char *program, enum snap_work work, const struct snap_job *j,
		     const struct snapshot_id *id, pid_t *pid, int *end)
{
	static const char *const words[] = {"", "copy", "install", "check", "clean"};
	char name[] = "stored", child[] = "--child", numbers[CHILD_NUMBERS][24];
	char *word = mem_strdup(words[work]), *dir = mem_strdup(j->data_dir);
	char *argv[5 + CHILD_NUMBERS] = {name, child, word, dir};
	int fd[2], rc;

	child_numbers(j, id, numbers);
	for (size_t i = 0; i < CHILD_NUMBERS; i++)
		argv[4 + i] = numbers[i];
	if (pipe2(fd, O_CLOEXEC) != 0) {
		mem_free(word);
		mem_free(dir);
		return ERR_IO;
	}
	rc = child_spawn(program, argv, fd[1], pid);
	(void)close(fd[1]);
	if (rc != ERR_OK)
		(void)close(fd[0]);
	*end = fd[0];
	mem_free(word);
	mem_free(dir);
	return rc;
}

bool snap_child_begun(int end, bool *begun)
{
	uint8_t byte;

	if (*begun || read(end, &byte, 1) != 1)
		return false;
	*begun = true;
	return true;
}

int snap_child_end(pid_t pid, int end, bool begun)
{
	int status = 0;

	(void)close(end);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return ERR_INTERNAL;
	if (WIFSIGNALED(status))
		return begun && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS) ? ERR_CORRUPT : ERR_CLOSED;
	return WEXITSTATUS(status) == EXIT_FATAL ? ERR_CLOSED : WEXITSTATUS(status);
}

/* ---- the child's half ---- */

static bool child_number(const char *text, uint64_t *v)
{
	char *end;

	errno = 0;
	*v = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == 0;
}

/* Out of everybody's way, and gone when the parent is. */
static bool child_settle(uint64_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || (uint64_t)getppid() != parent)
		return false;
	(void)setpriority(PRIO_PROCESS, 0, CHILD_NICE);
	(void)syscall(SYS_ioprio_set, 1, 0, CHILD_IO_IDLE);
	return true;
}

static int child_check(const struct snap_job *j)
{
	mono_t began = mono_now();
	int rc = snap_verify(j);

	if (rc == ERR_OK)
		log_info("the store is whole ms=%" PRId64, mono_sub_ms(mono_now(), began));
	return rc;
}

static int child_work(bool install, const struct snap_job *j, const struct snapshot_id *id)
{
	mono_t began = mono_now();
	struct snap_info made = {.index = 0};
	int rc = install ? snap_install(j, id) : snap_copy(j, &made);

	/* Here, since removing a large file may take a disk a while. */
	if (rc == ERR_OK && !install)
		snap_remove_others(j->data_dir, &made);
	if (rc != ERR_OK)
		log_error("%s failed error=\"%s\"", install ? "installing a snapshot" : "a snapshot", err_text(rc));
	else if (install)
		log_info("snapshot good, store made from it index=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRId64,
			 id->index, id->bytes, mono_sub_ms(mono_now(), began));
	else
		log_info("snapshot made index=%" PRIu64 " term=%" PRIu64 " revision=%" PRId64 " bytes=%" PRIu64
			 " ms=%" PRId64, made.index, made.term, made.revision,
			 made.data_bytes, mono_sub_ms(mono_now(), began));
	return rc;
}

/* Each file may have gigabytes, which a disk does not give back at once. */
static int child_clean(const struct snap_job *j, const struct snapshot_id *keep)
{
	struct snap_info newest = {.index = keep->index, .data_crc = (uint32_t)keep->crc};
	char *store = config_path(j->data_dir, "store");

	snap_remove_others(j->data_dir, keep->index != 0 ? &newest : NULL);
	generation_remove_others(store, j->generation);
	mem_free(store);
	return ERR_OK;
}

static int child_do(const char *word, const struct snap_job *j, const struct snapshot_id *id)
{
	if (strcmp(word, "check") == 0)
		return child_check(j);
	if (strcmp(word, "clean") == 0)
		return child_clean(j, id);
	return child_work(strcmp(word, "install") == 0, j, id);
}

bool snap_child_main(int argc, char **argv, int *code)
{
	uint64_t v[CHILD_NUMBERS];
	struct snap_job j;
	struct snapshot_id id;

	if (argc < 2 || strcmp(argv[1], "--child") != 0)
		return false;
	*code = ERR_BAD_ARGUMENT;
	if (argc != 4 + CHILD_NUMBERS)
		return true;
	for (int i = 0; i < CHILD_NUMBERS; i++)
		if (!child_number(argv[4 + i], &v[i]))
			return true;
	j = (struct snap_job){.data_dir = argv[3], .cluster_id = v[1], .node_id = v[2], .generation = v[3],
			      .map_bytes = v[4], .bytes_per_s = v[5], .helper = true};
	id = (struct snapshot_id){v[6], v[7], v[8], v[9]};
	log_open("stored.snapshot");
	rights_begin();
	if (child_settle(v[0]) && write(CHILD_END_FD, "", 1) == 1)
		*code = child_do(argv[2], &j, &id);
	return true;
}
