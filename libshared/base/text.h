/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of text that people write: configuration, admin commands. */
#ifndef QUORATE_TEXT_H
#define QUORATE_TEXT_H

#include <stdbool.h>

/* Cuts blanks and a carriage return off both ends, in place. */
char *text_trim(char *s);

/* No control characters. */
bool text_is_plain(const char *s);

#endif
