/* SPDX-License-Identifier: Apache-2.0 */
/* quorate-etcd: a node that takes etcd's flags. */
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl/etcd_main.h"

int main(int argc, char **argv)
{
	int signo, code;

	log_open("quorate-etcd");
	code = etcd_main(argc, argv, environ, stdout, stderr, &signo);
	if (signo != 0)      /* as etcd does: whoever waits for us sees what ended us */
		(void)raise(signo);
	return code;
}
