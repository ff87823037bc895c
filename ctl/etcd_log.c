/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/etcd_log.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "ctl/show.h"

enum { ETCD_LOG_LINE = 32768, ETCD_STAMP = 40 };

static const char *const level_upper[] = {"ERROR", "WARN", "INFO", "DEBUG"};

/* A JSON string; what is not UTF-8's business (control characters) is escaped, the rest is left as it is. */
static void json_text(struct buf *b, struct bytes text)
{
	buf_u8(b, '"');
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			buf_printf(b, "\\u%04x", c);
		else
			buf_u8(b, c);
	}
	buf_u8(b, '"');
}

static void stamp_now(char to[ETCD_STAMP])
{
	struct timespec now;
	struct tm tm;
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	n = strftime(to, ETCD_STAMP, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(to + n, ETCD_STAMP - n, ".%03ldZ", now.tv_nsec / 1000000);
}

static void line_begin(const struct etcd_log *l, struct buf *b, enum log_level level, const char *stamp,
		       const char *caller, struct bytes msg)
{
	if (!l->json) {
		buf_printf(b, "%s\t%s\t%s\t", stamp, level_upper[level], caller);
		buf_add_bytes(b, msg);
		return;
	}
	buf_printf(b, "{\"level\":\"%s\",\"ts\":\"%s\",\"caller\":\"%s\",\"msg\":", log_level_name(level), stamp, caller);
	json_text(b, msg);
}

static void line_end(const struct etcd_log *l, struct buf *b)
{
	buf_str(b, l->json ? "}\n" : "\n");
	if (b->err == ERR_OK)
		show_text(l->out, buf_bytes(b));
	buf_free(b);
}

void etcd_log(const struct etcd_log *l, enum log_level level, const char *msg, ...)
{
	const char *name, *value;
	char stamp[ETCD_STAMP];
	bool first = true;
	struct buf b;
	va_list ap;

	if (level > l->level)
		return;
	buf_init(&b, ETCD_LOG_LINE);
	stamp_now(stamp);
	line_begin(l, &b, level, stamp, "quorate-etcd", bytes_str(msg));
	va_start(ap, msg);
	while ((name = va_arg(ap, const char *)) != NULL) {
		value = va_arg(ap, const char *);
		buf_str(&b, l->json ? "," : first ? "\t{" : ", ");
		json_text(&b, bytes_str(name));
		buf_str(&b, l->json ? ":" : ": ");
		json_text(&b, bytes_str(value));
		first = false;
	}
	va_end(ap);
	if (!l->json && !first)
		buf_u8(&b, '}');
	line_end(l, &b);
}

/* The next word of a line. */
static struct bytes word_next(struct bytes *line)
{
	const uint8_t *blank = line->len > 0 ? memchr(line->data, ' ', line->len) : NULL;
	struct bytes word = {line->data, blank != NULL ? (size_t)(blank - line->data) : line->len};
	size_t n = word.len + (blank != NULL);

	*line = bytes_of(line->data + n, line->len - n);
	return word;
}

void etcd_log_daemon(const struct etcd_log *l, const char *daemon, struct bytes line)
{
	struct bytes rest = line, stamp = word_next(&rest), word = word_next(&rest);
	char level_name[8], stamp_text[ETCD_STAMP];
	enum log_level level = LOG_WARN;
	struct buf b;

	(void)snprintf(level_name, sizeof level_name, "%.*s", word.len < 7 ? (int)word.len : 7, (const char *)word.data);
	if (stamp.len > 20 && stamp.len < ETCD_STAMP && stamp.data[stamp.len - 1] == 'Z' &&
	    log_level_parse(level_name, &level) == ERR_OK) {
		(void)snprintf(stamp_text, sizeof stamp_text, "%.*s", (int)stamp.len, (const char *)stamp.data);
		(void)word_next(&rest);               /* raftd[1234]; the caller says it */
	} else {                                      /* not in the form of base/log.h: all of it is the message */
		stamp_now(stamp_text);
		rest = line;
	}
	if (level > l->level)
		return;
	buf_init(&b, ETCD_LOG_LINE);
	line_begin(l, &b, level, stamp_text, daemon, rest);
	line_end(l, &b);
}
