/* SPDX-License-Identifier: Apache-2.0 */
#ifndef QUORATE_CTL_ETCD_MAIN_H
#define QUORATE_CTL_ETCD_MAIN_H

#include <stdio.h>

/*
 * The whole of quorate-etcd, but for main(): a node made of etcd's flags, and its daemons until a signal. Returns
 * etcd's exit code: 0, 1 (the configuration, or a daemon that cannot run), 2 (a flag that is none). *signo is the
 * signal that ended it, or 0.
 */
int etcd_main(int argc, char **argv, char **envp, FILE *out, FILE *err, int *signo);

#endif
