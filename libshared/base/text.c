/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <string.h>

static bool text_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

char *text_trim(char *s)
{
	size_t len;

	while (text_is_blank(*s))
		s++;
	for (len = strlen(s); len > 0 && text_is_blank(s[len - 1]); len--)
		s[len - 1] = 0;
	return s;
}

bool text_is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}
