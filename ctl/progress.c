/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/progress.h"

#include <inttypes.h>
#include <unistd.h>

enum { PROGRESS_MS = 100, PROGRESS_BAR = 30 };

void progress_start(struct progress *p, FILE *out)
{
	int fd = fileno(out);

	*p = (struct progress){.out = out, .on = fd >= 0 && isatty(fd), .started = mono_now()};
	p->shown = p->started;
}

static void progress_bar(FILE *out, uint64_t part, uint64_t whole)
{
	int share = part >= whole ? 100 : (int)(100.0 * (double)part / (double)whole);

	fputc('[', out);
	for (int i = 0; i < PROGRESS_BAR; i++)
		fputc(i < share * PROGRESS_BAR / 100 ? '=' : ' ', out);
	fprintf(out, "] %3d%%  ", share);
}

void progress_show(struct progress *p, mono_t now, uint64_t count, uint64_t part, uint64_t whole)
{
	int64_t ms = mono_sub_ms(now, p->shown);

	if (!p->on || ms < PROGRESS_MS)
		return;
	fputs("\r", p->out);
	if (whole > 0)
		progress_bar(p->out, part, whole);
	fprintf(p->out, "%" PRIu64 " keys, %" PRIu64 "/s\033[K", count,
		(count - p->shown_count) * 1000 / (uint64_t)ms);
	(void)fflush(p->out);
	p->shown = now;
	p->shown_count = count;
}

void progress_end(struct progress *p)
{
	if (p->on)
		fputs("\r\033[K", p->out);
	p->on = false;
}
