/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/up_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "ctl/show.h"

int up_log_open(struct up_log *l)
{
	struct stat st;

	buf_init(&l->text, UP_LOG_LINE);
	l->fd = -1;
	if (l->path[0] == 0)
		return ERR_OK;
	l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (l->fd < 0)
		return ERR_IO;
	l->size = fstat(l->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	return ERR_OK;
}

void up_log_close(struct up_log *l)
{
	if (l->fd >= 0)
		(void)close(l->fd);
	l->fd = -1;
	buf_free(&l->text);
}

/* The old file stays, one of them. If that fails the file just grows on: better than silence. */
static void up_log_turn_over(struct up_log *l)
{
	char old[sizeof l->path + 2];
	int fd;

	(void)snprintf(old, sizeof old, "%s.1", l->path);
	if (rename(l->path, old) != 0)
		return;
	fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	(void)close(l->fd);
	l->fd = fd;
	l->size = 0;
}

static bool up_log_level(struct bytes rest, const char *level)
{
	size_t n = strlen(level);

	return rest.len > n && memcmp(rest.data, level, n) == 0 && rest.data[n] == ' ';
}

bool up_log_shows(enum up_log_show show, struct bytes line)
{
	const uint8_t *blank = line.len > 20 ? memchr(line.data, ' ',
						      32 < line.len ? 32 : line.len) : NULL;
	struct bytes rest;

	/* 2026-01-31T12:34:56.789Z info raftd[1234] ... */
	if (blank == NULL || line.data[0] < '0' || line.data[0] > '9' || blank[-1] != 'Z')
		return true;
	rest = bytes_of(blank + 1, line.len - (size_t)(blank - line.data) - 1);
	if (up_log_level(rest, "info") || up_log_level(rest, "debug"))
		return show == UP_LOG_ALL;
	return show != UP_LOG_ERRORS || !up_log_level(rest, "warn");
}

static void up_log_show_line(const struct up_log *l, struct bytes line)
{
	struct buf text;

	buf_init(&text, 0);
	buf_str(&text, l->prefix);
	for (size_t i = 0; i < line.len; i++)
		buf_u8(&text, line.data[i] >= 0x20 && line.data[i] != 0x7f ? line.data[i] : '?');
	buf_u8(&text, '\n');
	if (text.err == ERR_OK)
		show_text(l->terminal, buf_bytes(&text));
	buf_free(&text);
}

static void up_log_line(struct up_log *l, struct bytes line)
{
	struct buf *b = &l->text;   /* free for use: the line is taken */

	if (l->fd >= 0) {
		ssize_t n = write(l->fd, line.data, line.len);

		l->size += n > 0 ? (uint64_t)n : 0;
		n = write(l->fd, "\n", 1);
		l->size += n > 0 ? 1 : 0;
		if (l->size > UP_LOG_FILE_BYTES)
			up_log_turn_over(l);
	}
	if (up_log_shows(l->show, line) && l->line != NULL) {
		l->line(l->line_arg, line);
	} else if (up_log_shows(l->show, line)) {
		up_log_show_line(l, line);
	}
	buf_clear(b);
}

void up_log_add(struct up_log *l, struct bytes data)
{
	while (data.len > 0) {
		const uint8_t *end = memchr(data.data, '\n', data.len);
		size_t n = end != NULL ? (size_t)(end - data.data) : data.len;

		if (n > UP_LOG_LINE - l->text.len) {   /* too long: cut into several */
			n = UP_LOG_LINE - l->text.len;
			end = NULL;
		}
		buf_add(&l->text, data.data, n);
		if (end != NULL || l->text.len == UP_LOG_LINE)
			up_log_line(l, buf_bytes(&l->text));
		n += end != NULL;
		data = bytes_of(data.data + n, data.len - n);
	}
}

void up_log_end(struct up_log *l)
{
	if (l->text.len > 0)
		up_log_line(l, buf_bytes(&l->text));
}
