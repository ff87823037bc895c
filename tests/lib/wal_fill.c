/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/wal_fill.h"

#include "base/err.h"
#include "tests/lib/tap.h"

struct wal_options wal_fill_options(const struct wal_io *io)
{
	return (struct wal_options){.cluster_id = 1, .node_id = 2, .create = true,
				    .synchronous = io != NULL,
				    .segment_bytes = WAL_FILL_SEGMENT, .cache_bytes = 1, .salt = 99,
				    .io = io};
}

struct wal *wal_fill_open(const char *dir, struct wal_options o, struct wal_recovered *rec)
{
	struct wal *w = NULL;
	int rc = wal_open(dir, &o, &w, rec);

	EQ_STR(rec->why, "");
	EQ_INT(rc, ERR_OK);
	return w;
}

struct bytes wal_fill_payload(uint64_t index, uint64_t term, size_t len)
{
	static uint8_t data[LIMIT_WAL_ENTRY_BYTES];
	uint64_t z = index * 1000003 + term;

	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			(void)tap_rand(&z);
		data[i] = (uint8_t)(z >> (i % 8 * 8));
	}
	return bytes_of(data, len);
}

size_t wal_fill_len(uint64_t index)
{
	return (size_t)(index * 37 % 900);
}

void wal_fill(struct wal *w, uint64_t from, uint64_t to, uint64_t term)
{
	for (uint64_t i = from; i <= to; i++) {
		EQ_INT(wal_append_entry(w, i, term, WAL_COMMAND, wal_fill_payload(i, term,
			wal_fill_len(i))), ERR_OK);
		if (i % 7 == 0 || i == to)
			EQ_INT(wal_sync_now(w), ERR_OK);
	}
}

void wal_fill_expect(struct wal *w, uint64_t from, uint64_t to, uint64_t term, size_t max_bytes)
{
	struct wal_list list = {0};

	while (from <= to) {
		int rc = wal_read(w, from, to, max_bytes, 100, &list);

		EQ_STR(wal_why(w), "");
		EQ_INT(rc, ERR_OK);
		OK(list.n > 0 && list.n <= 100);
		for (size_t i = 0; i < list.n; i++, from++) {
			struct bytes want = wal_fill_payload(from, term, wal_fill_len(from));

			EQ_INT(list.entries[i].index, from);
			EQ_INT(list.entries[i].term, term);
			EQ_INT(list.entries[i].kind, WAL_COMMAND);
			EQ_INT(list.entries[i].data.len, want.len);
			EQ_MEM(list.entries[i].data.data, want.data, want.len);
		}
	}
	wal_list_free(&list);
}
