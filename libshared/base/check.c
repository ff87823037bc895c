/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

_Noreturn void panic_at(const char *file, int line, const char *what)
{
	log_error("panic at %s:%d: %s (a bug in Quorate: please report it with the core dump)", file,
		  line, what);
	abort();
}

/* _exit: atexit handlers of libraries may hang or write once the machine is at fault. */
_Noreturn void fatal(const char *hint, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	log_error("fatal: %s%s%s", text, hint ? "; what to do: " : "", hint ? hint : "");
	_exit(EXIT_FATAL);
}
