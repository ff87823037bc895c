/* SPDX-License-Identifier: Apache-2.0 */
#include "gatewayd/http/parse.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/limits.h"

enum { HTTP_BAD = 400, HTTP_HEAD_TOO_LARGE = 431, HTTP_NO_CODING = 501, HTTP_NO_VERSION = 505 };
enum { HTTP_SIZE_DIGITS = 8, HTTP_CHUNK_LINE = 256 };

static bool http_is(struct bytes a, const char *b)
{
	return a.len == strlen(b) && strncasecmp((const char *)a.data, b, a.len) == 0;
}

/* RFC 9110, 5.6.2. */
static bool http_is_token(struct bytes v)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < v.len; i++) {
		uint8_t c = v.data[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c != '\0' && strchr(others, c) != NULL)))
			return false;
	}
	return v.len > 0;
}

/* No control characters; in a target no blanks either. */
static bool http_is_text(struct bytes v, uint8_t from)
{
	for (size_t i = 0; i < v.len; i++)
		if ((v.data[i] < from && v.data[i] != '\t') || v.data[i] == 0x7f)
			return false;
	return true;
}

static struct bytes http_trim(struct bytes v)
{
	while (v.len > 0 && (v.data[0] == ' ' || v.data[0] == '\t'))
		v = bytes_of(v.data + 1, v.len - 1);
	while (v.len > 0 && (v.data[v.len - 1] == ' ' || v.data[v.len - 1] == '\t'))
		v.len--;
	return v;
}

/* What stands before `end`, which goes with it. False: there is none. */
static bool http_cut(struct bytes *v, uint8_t end, struct bytes *before)
{
	const uint8_t *at = v->len > 0 ? memchr(v->data, end, v->len) : NULL;

	if (at == NULL)
		return false;
	*before = bytes_of(v->data, (size_t)(at - v->data));
	*v = bytes_of(at + 1, v->len - before->len - 1);
	return true;
}

/* ---- the head ---- */

static int http_request_line(struct bytes line, struct http_request *r)
{
	struct bytes target;

	if (!http_cut(&line, ' ', &r->method) || !http_cut(&line, ' ', &target) || !http_is_token(r->method) ||
	    target.len == 0 || !http_is_text(target, ' ' + 1))
		return HTTP_BAD;
	if (line.len != 8 || memcmp(line.data, "HTTP/1.", 7) != 0)
		return HTTP_NO_VERSION;
	if (line.data[7] != '0' && line.data[7] != '1')
		return HTTP_NO_VERSION;
	r->minor = line.data[7] - (unsigned)'0';
	r->keep_alive = r->minor == 1;
	r->head = bytes_eq(r->method, bytes_str("HEAD"));
	r->query = bytes_of(NULL, 0);
	if (http_cut(&target, '?', &r->path))
		r->query = target;
	else
		r->path = target;
	return 0;
}

static bool http_length(struct bytes v, uint64_t *n)
{
	*n = 0;
	for (size_t i = 0; i < v.len; i++) {
		if (v.data[i] < '0' || v.data[i] > '9' || *n > UINT32_MAX)
			return false;
		*n = *n * 10 + v.data[i] - (unsigned)'0';
	}
	return v.len > 0;
}

/* Whether a list of words, as Connection's, has this one. */
static bool http_has_word(struct bytes v, const char *word)
{
	struct bytes one;

	while (http_cut(&v, ',', &one))
		if (http_is(http_trim(one), word))
			return true;
	return http_is(http_trim(v), word);
}

struct http_seen {
	bool length, coding, host;
};

static int http_framing(struct bytes name, struct bytes value, struct http_request *r, struct http_seen *seen)
{
	if (http_is(name, "content-length")) {
		if (seen->length || !http_length(value, &r->length))
			return HTTP_BAD;
		seen->length = true;
	} else if (http_is(name, "transfer-encoding")) {
		if (seen->coding || r->minor == 0)
			return HTTP_BAD;
		if (!http_is(value, "chunked"))
			return HTTP_NO_CODING;
		seen->coding = r->chunked = true;
	} else if (http_is(name, "host")) {
		if (seen->host)
			return HTTP_BAD;
		seen->host = true;
	}
	return 0;
}

static int http_field(struct bytes line, struct http_request *r, struct http_seen *seen)
{
	struct bytes name;

	/* A name ends at its colon, with no blank between; a line that begins with one is folding. */
	if (!http_cut(&line, ':', &name) || !http_is_token(name) || !http_is_text(line, ' '))
		return HTTP_BAD;
	line = http_trim(line);
	if (http_is(name, "connection")) {
		r->closes |= http_has_word(line, "close");
		r->keep_alive = !r->closes && (r->keep_alive || http_has_word(line, "keep-alive"));
	} else if (http_is(name, "expect")) {
		r->expects_continue = r->minor == 1 && http_is(line, "100-continue");
	} else if (http_is(name, "grpc-timeout")) {
		r->timeout = line;
	} else if (http_is(name, "grpc-metadata-hasleader")) {
		r->has_leader = http_is(line, "true");
	}
	return http_framing(name, line, r, seen);
}

/* A line up to CRLF. */
static bool http_line(struct bytes *in, struct bytes *line)
{
	if (!http_cut(in, '\n', line) || line->len == 0 || line->data[line->len - 1] != '\r')
		return false;
	line->len--;
	return true;
}

int http_parse(struct bytes in, struct http_request *r, size_t *used)
{
	const uint8_t *end = in.len < 4 ? NULL : memmem(in.data, in.len, "\r\n\r\n", 4);
	struct http_seen seen = {false, false, false};
	struct bytes head, line = {NULL, 0};
	int status;

	if (end == NULL)
		return in.len > LIMIT_HTTP_HEAD_BYTES ? HTTP_HEAD_TOO_LARGE : HTTP_MORE;
	*used = (size_t)(end - in.data) + 4;
	if (*used > LIMIT_HTTP_HEAD_BYTES)
		return HTTP_HEAD_TOO_LARGE;
	*r = (struct http_request){.minor = 0};
	head = bytes_of(in.data, *used - 2);
	if (!http_line(&head, &line))
		return HTTP_BAD;
	status = http_request_line(line, r);
	while (status == 0 && head.len > 0)
		status = http_line(&head, &line) ? http_field(line, r, &seen) : HTTP_BAD;
	if (status == 0 && ((seen.length && seen.coding) || (r->minor == 1 && !seen.host)))
		status = HTTP_BAD;
	return status;
}

bool http_query_next(struct bytes query, size_t *at, struct bytes *name, struct bytes *value)
{
	struct bytes rest, one;

	if (*at >= query.len)
		return false;
	rest = bytes_of(query.data + *at, query.len - *at);
	if (!http_cut(&rest, '&', &one))
		one = rest;
	*at += one.len + 1;
	*value = bytes_of(NULL, 0);
	if (http_cut(&one, '=', name))
		*value = one;
	else
		*name = one;
	return true;
}

/* ---- the body ---- */

void http_body_begin(struct http_body *b, const struct http_request *r)
{
	*b = (struct http_body){.chunked = r->chunked, .left = r->length};
	if (r->chunked)
		b->state = HTTP_BODY_SIZE;
	else
		b->state = r->length > 0 ? HTTP_BODY_DATA : HTTP_BODY_DONE;
}

static int http_hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of what stands around the data of chunks. */
static bool http_body_byte(struct http_body *b, uint8_t c)
{
	int digit;

	/* LF ends a line, and CR stands only before it: two readers must see the same lines. */
	if ((c == '\n') != (b->before == '\r'))
		return false;
	b->before = c;
	b->line++;
	switch (b->state) {
	case HTTP_BODY_SIZE:
		digit = http_hex(c);
		if (digit >= 0 && b->line <= HTTP_SIZE_DIGITS) {
			b->left = b->left << 4 | (unsigned)digit;
			return true;
		}
		b->state = HTTP_BODY_SIZE_END;       /* extensions are passed over */
		return b->line > 1 && digit < 0 && (c == '\r' || c == ';' || c == ' ' || c == '\t');
	case HTTP_BODY_SIZE_END:
		if (c == '\n') {
			b->state = b->left > 0 ? HTTP_BODY_DATA : HTTP_BODY_TRAILER;
			b->line = 0;
		}
		return b->line <= HTTP_CHUNK_LINE;
	case HTTP_BODY_DATA_END:
		if (b->line == 2) {
			b->state = HTTP_BODY_SIZE;
			b->line = 0;
			return c == '\n';
		}
		return c == '\r';
	default:                                     /* a trailer: its lines end with an empty one */
		if (c == '\n') {
			b->state = b->line <= 2 ? HTTP_BODY_DONE : HTTP_BODY_TRAILER;
			b->line = 0;
			b->left++;
		}
		return b->line <= HTTP_CHUNK_LINE && b->left <= HTTP_CHUNK_LINE;
	}
}

bool http_body_take(struct http_body *b, struct bytes in, size_t *used, struct bytes *data)
{
	size_t n;

	*used = 0;
	*data = bytes_of(NULL, 0);
	while (*used < in.len && b->state != HTTP_BODY_DONE) {
		if (b->state != HTTP_BODY_DATA) {
			if (!http_body_byte(b, in.data[(*used)++]))
				return false;
			continue;
		}
		n = in.len - *used < b->left ? in.len - *used : (size_t)b->left;
		*data = bytes_of(in.data + *used, n);
		*used += n;
		b->left -= n;
		if (b->left == 0) {
			b->state = b->chunked ? HTTP_BODY_DATA_END : HTTP_BODY_DONE;
			b->line = 0;
		}
		break;
	}
	return true;
}
