/* SPDX-License-Identifier: Apache-2.0 */
/* quorate: the command. What it can do is the table in commands.c. */
#include <unistd.h>

#include "base/log.h"
#include "ctl/ctl.h"

int main(int argc, char **argv)
{
	struct ctl ctl = {.program = argv[0], .in_fd = STDIN_FILENO, .out = stdout, .err = stderr};

	log_open("quorate");
	return ctl_main(&ctl, argc, argv);
}
