/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon may do, given up in steps. The kernel keeps most of it per thread: a thread that
 * starts before rights_drop keeps the right to low ports, and no other.
 */
#ifndef QUORATE_RIGHTS_H
#define QUORATE_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "rt/peers.h"

/*
 * First thing in main: umask 077, descriptors 0 to 2 open, inherited ones closed on exec, the
 * limit of open files raised as far as it goes, all signals blocked, SIGPIPE ignored.
 */
void rights_begin(void);

/* Who to become: set only if we are root and a user is named. */
struct rights_user {
	bool change;
	uid_t uid;
	gid_t gid;
	char name[64];
};

/* ERR_OK, or ERR_NOT_FOUND: no such user. "" or not root: stay. */
int rights_find_user(const char *name, struct rights_user *u);

/*
 * No new privileges by exec from here on. Becomes that user with its groups, if it is to change;
 * of root's rights only low ports are kept, for rights_drop.
 */
void rights_become(const struct rights_user *u);

/*
 * The rest: no capability (unless the operator chose to stay root), and for daemons that hold keys
 * no core dump and no debugger.
 */
void rights_drop(enum daemon_kind kind);

#endif
