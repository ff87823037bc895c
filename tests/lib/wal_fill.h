/* SPDX-License-Identifier: Apache-2.0 */
/* Logs of entries whose bytes follow from their index and term, for tests of the raft log. */
#ifndef QUORATE_WAL_FILL_H
#define QUORATE_WAL_FILL_H

#include "raftd/wal.h"
#include "raftd/wal_io.h"

#define WAL_FILL_SEGMENT 65536u

/* Small segments and next to no cache; with `io` without threads, else on real files with them. */
struct wal_options wal_fill_options(const struct wal_io *io);
/* must succeed */
struct wal *wal_fill_open(const char *dir, struct wal_options o, struct wal_recovered *rec);

/* The payload of entry (index, term), at another length if one wishes; static storage. */
size_t wal_fill_len(uint64_t index);
struct bytes wal_fill_payload(uint64_t index, uint64_t term, size_t len);

/* Appends entries [from, to], in batches of seven. Without threads. */
void wal_fill(struct wal *w, uint64_t from, uint64_t to, uint64_t term);
/* Reads all of [from, to] and checks every byte. */
void wal_fill_expect(struct wal *w, uint64_t from, uint64_t to, uint64_t term, size_t max_bytes);

#endif
