/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that runs beside us as a job of its own, as a shell would run it: in its own process
 * group, so that all of it can be ended, and with the terminal if it is ours. When the terminal
 * stops it, we stop too; when we go on, it does, unless its owner ends it first. A guard (guard.h)
 * is its parent, and ends it if we cannot.
 */
#ifndef QUORATE_CTL_JOB_H
#define QUORATE_CTL_JOB_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/mono.h"

struct job {
	pid_t pid;        /* also its process group */
	int self;         /* a pidfd of it, which means it and nobody later */
	int tty;          /* a descriptor of our terminal; -1: none */
	bool waits;       /* it was stopped with us, or we have been continued: job_continue() is due */
	bool late;        /* its guard has killed it, since job_kill_at() was not called in time */
	bool unguarded;   /* somebody has killed its guard: it is to be ended now, and its exit code will not be known */
	pid_t guard;
	int link;         /* to the guard; -1: none */
};

/*
 * To be called while there is one thread. With `may_kill` argv's program, once started, does not
 * outlive us. 0, or an error number.
 */
int job_open(struct job *j, char **argv, bool may_kill);
/* When it has ended, or was not started. */
void job_close(struct job *j);

/* 0, or the error number that says why it cannot be run. `env`: strings NAME=VALUE, each with its NUL; at least one. */
int job_start(struct job *j, const struct buf *env, mono_t kill_at);

/* Its guard kills it then (by guard_now()) if it is not told a later time before. */
void job_kill_at(struct job *j, mono_t when);

void job_signal(const struct job *j, int sig);

/* Readable when there is something for job_ended(). */
int job_descriptor(const struct job *j);

/*
 * To be called then, and when SIGCHLD has come; may stop this process for as long as the job is
 * stopped. True: it has ended, and *code is what a shell would say. With `whole` what is left of its
 * process group is killed.
 */
bool job_ended(struct job *j, bool whole, int *code);

/* To be called when it waits, as soon as it may go on. */
void job_continue(struct job *j);

/* What a shell would say of a program that cannot be run for this reason. */
int job_start_code(int why);

#endif
