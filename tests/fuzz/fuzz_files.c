/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small files, or ends of files, that decide whether a node may start: the store's STATE, the
 * files of keys, a snapshot's trailer. The first byte: 0 a STATE as it is, 1 a STATE whose checksum
 * is made right, 2 a key's digits, 3 a key file, 254 a trailer as it is, 255 one whose checksum is
 * made right. What is accepted is written again as it was.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "rt/keyfile.h"
#include "stored/generation.h"
#include "stored/snap_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 007 and 7 are the same number, so it is the second writing that must be like the first. */
static void state(struct bytes in, bool seal)
{
	struct generation_state s, again;
	struct buf text, written;

	buf_init(&text, 0);
	buf_init(&written, 0);
	buf_add_bytes(&text, in);
	if (seal)
		buf_printf(&text, "crc32c %08x\n", crc32c(0, in.data, in.len));
	if (generation_decode(buf_bytes(&text), &s) == ERR_OK) {
		CHECK(s.generation != 0);
		generation_encode(&written, &s);
		CHECK(generation_decode(buf_bytes(&written), &again) == ERR_OK);
		CHECK(again.generation == s.generation && again.node_id == s.node_id &&
		      again.cluster_id == s.cluster_id && again.clean == s.clean);
	}
	buf_free(&text);
	buf_free(&written);
}

static void digits(struct bytes in)
{
	uint8_t key[KEY_LEN] = {1}, again[KEY_LEN];
	char hex[KEY_HEX_LEN + 1];

	if (key_from_hex(in, key) != ERR_OK) {
		CHECK(key[0] == 1);        /* left as it was */
		return;
	}
	CHECK(in.len == KEY_HEX_LEN);
	key_to_hex(key, hex);
	CHECK(key_from_hex(bytes_str(hex), again) == ERR_OK && key_equal(key, again));
}

static void key_file(struct bytes in)
{
	char path[] = "/tmp/quorate-fuzz-XXXXXX";
	int fd = mkstemp(path), rc;
	uint8_t key[KEY_LEN];
	const char *why = NULL;

	CHECK(fd >= 0 && write(fd, in.data, in.len) == (ssize_t)in.len && close(fd) == 0);
	rc = keyfile_load(path, key, &why);
	CHECK(unlink(path) == 0);
	CHECK(rc == ERR_OK || (rc == ERR_MALFORMED && why != NULL));
	if (rc == ERR_OK)
		CHECK(in.len == KEY_HEX_LEN + 1 && in.data[KEY_HEX_LEN] == '\n');
}

static void trailer(struct bytes in, bool seal)
{
	uint8_t copy[SNAP_TRAILER_BYTES] = {0}, again[SNAP_TRAILER_BYTES];
	struct snap_info info;

	if (!seal && in.len != sizeof copy) {
		CHECK(snap_trailer_decode(in, &info) == ERR_CORRUPT);
		return;
	}
	memcpy(copy, in.data, in.len < sizeof copy ? in.len : sizeof copy);
	if (seal)
		put_u32(copy + sizeof copy - 4, crc32c(0, copy, sizeof copy - 4));
	if (snap_trailer_decode(bytes_of(copy, sizeof copy), &info) != ERR_OK)
		return;
	snap_trailer_encode(again, &info);
	CHECK(memcmp(copy, again, sizeof copy) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in;

	if (size == 0)
		return 0;
	in = bytes_of(data + 1, size - 1);
	if (data[0] >= 254)
		trailer(in, data[0] == 255);
	else if (data[0] % 4 < 2)
		state(in, data[0] % 4 == 1);
	else if (data[0] % 4 == 2)
		digits(in);
	else
		key_file(in);
	return 0;
}
