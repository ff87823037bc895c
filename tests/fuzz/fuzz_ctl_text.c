/* SPDX-License-Identifier: Apache-2.0 */
/* What the command reads: the formats of load, the lines of txn, quoted words. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "ctl/codec.h"
#include "ctl/load_parse.h"
#include "ctl/txn_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_load(enum load_format f, struct bytes text)
{
	struct buf key, value;
	const char *why;
	size_t used;

	buf_init(&key, 4096);
	buf_init(&value, 4096);
	while (load_parse(f, text, true, &key, &value, &used, &why) == ERR_OK) {
		CHECK(used > 0 && used <= text.len && key.len > 0);
		text = bytes_of(text.data + used, text.len - used);
	}
	buf_free(&key);
	buf_free(&value);
}

static void fuzz_lines(const char *line)
{
	struct kv_compare c;
	struct arena arena;
	struct buf out;
	char why[256];
	size_t n;

	arena_init(&arena, MIB);
	buf_init(&out, MIB);
	(void)txn_parse_compare(line, &arena, &c, why);
	(void)codec_words(line, &out, 64, &n);
	arena_free(&arena);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line;

	if (size == 0)
		return 0;
	if (data[0] % 4 < 3) {
		fuzz_load((enum load_format)(data[0] % 4), bytes_of(data + 1, size - 1));
		return 0;
	}
	line = calloc(1, size);
	if (line == NULL)
		return 0;
	memcpy(line, data + 1, size - 1);
	fuzz_lines(line);
	free(line);
	return 0;
}
