/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration file: no crash, and what is accepted is read back as written. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "rt/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_same(const struct config *a, const struct config *b)
{
#define SAME_U64(key) CHECK(a->key == b->key);
#define SAME_STR(key) CHECK(strcmp(a->key, b->key) == 0);
#define SAME(kind, key, def, min, max, help) SAME_##kind(key)
	CONFIG_LIST(SAME)
	CHECK(a->n_members == b->n_members);
	for (size_t i = 0; i < a->n_members; i++) {
		CHECK(a->members[i].id == b->members[i].id);
		CHECK(strcmp(a->members[i].peer_addr, b->members[i].peer_addr) == 0);
		CHECK(memcmp(a->members[i].key, b->members[i].key, 32) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_error e;
	struct config c, again;
	struct buf text;

	if (config_parse(bytes_of(data, size), "fuzz", 0, NULL, &c, &e) != ERR_OK) {
		CHECK(memchr(e.text, 0, sizeof e.text) != NULL);
		return 0;
	}
	(void)config_self(&c);
	buf_init(&text, 0);
	config_write(&text, &c);
	CHECK(config_parse(buf_bytes(&text), "written", 0, NULL, &again, &e) == ERR_OK);
	fuzz_same(&c, &again);
	buf_free(&text);
	config_free(&c);
	config_free(&again);
	return 0;
}
