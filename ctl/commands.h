/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the table of commands; each is defined in the file of its name. */
#ifndef QUORATE_CTL_COMMANDS_H
#define QUORATE_CTL_COMMANDS_H

#include "ctl/ctl.h"

#define CTL_COMMANDS(C) \
	C(get) C(put) C(del) C(txn) C(compaction) C(lease) C(watch) C(lock) C(elect) \
	C(status) C(members) C(member) C(hash) C(move_leader) C(admin) \
	C(load) C(bench) \
	C(init) C(up) \
	C(version) C(help)

#define CTL_COMMAND_DECLARE_(name) extern const struct ctl_command ctl_##name;
CTL_COMMANDS(CTL_COMMAND_DECLARE_)

#endif
