/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that runs beside us as a job of its own, as a shell would run it: in its own process
 * group, so that all of it can be ended, and with the terminal if it is ours. When the terminal
 * stops it, we stop too; when we go on, it does, unless its owner ends it first.
 */
#ifndef QUORATE_CTL_JOB_H
#define QUORATE_CTL_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct job {
	pid_t pid;        /* also its process group */
	int tty;          /* a descriptor of our terminal; -1: none */
	bool waits;       /* it was stopped with us, or we have been continued: job_continue() is due */
};

/* 0, or the error number that says why it cannot be run. `mask`: the signals blocked in it. */
int job_start(struct job *j, char **argv, char **envp, const sigset_t *mask);

void job_signal(const struct job *j, int sig);

/*
 * To be called when SIGCHLD has come; may stop this process for as long as the job is stopped.
 * True: it has ended, and *code is what a shell would say. With `whole` what is left of its
 * process group is killed.
 */
bool job_ended(struct job *j, bool whole, int *code);

/* To be called when it waits, as soon as it may go on. */
void job_continue(struct job *j);

/* What a shell would say of a program that cannot be run for this reason. */
int job_start_code(int why);

#endif
