/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/show.h"

#include <poll.h>

enum { SHOW_AT_ONCE = 4096 };          /* a pipe that can be written to takes a page */

void show_text(FILE *out, struct bytes text)
{
	struct pollfd p = {.fd = fileno(out), .events = POLLOUT};

	while (text.len > 0) {
		size_t n = text.len < SHOW_AT_ONCE ? text.len : SHOW_AT_ONCE;

		if (p.fd >= 0 && (poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0))
			return;
		if (fwrite(text.data, 1, n, out) != n || fflush(out) != 0)
			return;
		text = bytes_of(text.data + n, text.len - n);
	}
}
