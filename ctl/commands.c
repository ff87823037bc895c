/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/commands.h"

const struct ctl_command *const ctl_commands[] = {
#define CTL_COMMAND_ROW_(name) &ctl_##name,
	CTL_COMMANDS(CTL_COMMAND_ROW_)
#undef CTL_COMMAND_ROW_
	NULL
};
