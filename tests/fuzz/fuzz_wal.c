/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the recovery of the raft log (raftd/wal_scan.h, raftd/wal_recover.c) over the image of a
 * segment, and the summary of one (raftd/wal_sum.h). The first byte says what is made of the rest:
 *   0  modulo 3: the bytes as they are, behind a good header
 *   1  chunks of the bytes become batches with good checksums, so that their records are believed
 *   2  an honest log, of which the bytes then damage the last batch or what is before it
 *   0xf0 and above: a summary, if odd with a good checksum
 * Whatever it is: the log opens or is refused; what opens can be read, appended to, opened again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/log.h"
#include "raftd/wal.h"
#include "raftd/wal_scan.h"
#include "raftd/wal_sum.h"
#include "tests/lib/wal_disk.h"
#include "tests/lib/wal_image.h"

#define IMAGE 32768u
#define FILE_NAME "0000000000000001.seg"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct image {
	uint8_t bytes[IMAGE];
	struct wal_header header;
	uint32_t end;          /* of its batches */
	uint32_t last;         /* where the last batch begins */
	uint32_t chain;
	uint64_t number;
};

static void image_init(struct image *im)
{
	memset(im, 0, sizeof *im);
	im->header = (struct wal_header){.segment = 1, .cluster_id = 1, .node_id = 2, .salt = 3,
					 .segment_bytes = IMAGE,
					 .batch_bytes = IMAGE - 2 * WAL_PAGE};
	wal_header_encode(im->bytes, &im->header);
	im->end = WAL_PAGE;
	im->chain = im->header.seed;
	im->number = 1;
}

/* Seals what stands at im->end: `bytes` with the room for its head. */
static void image_seal(struct image *im, uint32_t bytes, uint32_t records)
{
	struct wal_batch b = {.number = im->number++, .durable = im->end, .offset = im->end,
			      .bytes = bytes,
			      .records = records, .before = im->chain};

	im->last = im->end;
	im->chain = wal_batch_seal(im->bytes + im->end, &b, im->header.seed);
	im->end += wal_padded(bytes);
}

static void image_head(struct image *im)
{
	struct wal_segment_head head = {.prev_index = 0};

	wal_segment_head_put(im->bytes + im->end + WAL_BATCH_HEAD, &head);
	image_seal(im, WAL_BATCH_HEAD + (uint32_t)wal_record_bytes(WAL_SEGMENT_HEAD_PAYLOAD), 1);
}

static void make_raw(struct image *im, struct bytes in)
{
	if (in.len > IMAGE - WAL_PAGE)
		in.len = IMAGE - WAL_PAGE;
	if (in.len > 0)
		memcpy(im->bytes + WAL_PAGE, in.data, in.len);
}

/* One record of a few input bytes: types, numbers near each other, a short payload. */
static struct wal_record record_of(struct cur *c)
{
	static const uint8_t payload[300] = {7};
	struct wal_record r = {.type = (enum wal_type)(cur_u8(c) % 8)};

	r.kind = r.type == WAL_ENTRY ? cur_u8(c) : 0;
	r.index = cur_u8(c);
	r.term = cur_u8(c);
	r.payload = bytes_of(payload, cur_u8(c));
	if (r.type == WAL_HARD_STATE || r.index == 255)
		r.payload.len = 8;
	return r;
}

static void make_sealed(struct image *im, struct bytes in)
{
	struct cur c = cur_of(in);

	if (in.len % 2)
		image_head(im);
	while (cur_left(&c) > 0 && im->end + WAL_PAGE <= IMAGE) {
		uint32_t at = WAL_BATCH_HEAD, records = 0;

		for (unsigned n = 1 + cur_u8(&c) % 8; n > 0 && cur_left(&c) > 0; n--) {
			struct wal_record r = record_of(&c), got;

			wal_record_put(im->bytes + im->end + at, &r);
			if (wal_record_get(im->bytes + im->end + at, WAL_PAGE - at, &got) != ERR_OK)
				continue;
			at += (uint32_t)got.bytes;
			records++;
		}
		memset(im->bytes + im->end + at, 0, WAL_PAGE - at);
		if (records > 0)
			image_seal(im, at, records);
	}
}

static uint64_t make_honest(struct image *im, struct bytes in)
{
	uint64_t last = 0;

	image_head(im);
	while (last < 1u + in.len % 5) {
		struct wal_record r = {.type = WAL_ENTRY, .kind = 2, .index = ++last, .term = 1,
				       .payload = bytes_of(im->header.segment ? in.data : NULL,
							   in.len % 700)};

		if (in.len == 0)
			r.payload = bytes_of(NULL, 0);
		wal_record_put(im->bytes + im->end + WAL_BATCH_HEAD, &r);
		image_seal(im, WAL_BATCH_HEAD + (uint32_t)wal_record_bytes(r.payload.len), 1);
	}
	return last;
}

/* The same to the same place, whatever is read at once. */
static void check_pieces(struct image *im, const struct wal_scan *whole, enum wal_found found)
{
	struct wal_scan s;
	enum wal_found got;

	wal_image_scan(&s, im->bytes, &im->header, 0);
	s.chunk = WAL_PAGE;
	while ((got = wal_scan_next(&s)) == WAL_FOUND_BATCH)
		;
	CHECK(got == found && s.at.offset == whole->at.offset && s.at.chain == whole->at.chain);
	CHECK(got != WAL_FOUND_TORN || s.torn_end == whole->torn_end);
	CHECK(got != WAL_FOUND_CORRUPT || (s.bad == whole->bad && strcmp(s.why, whole->why) == 0));
	wal_scan_close(&s);
}

/* Only scans: a torn end, once zeroed, is a clean one at the same place. */
static void check_scan(struct image *im)
{
	struct wal_scan s;
	enum wal_found found;
	uint32_t batches = 0;

	wal_image_scan(&s, im->bytes, &im->header, 0);
	while ((found = wal_scan_next(&s)) == WAL_FOUND_BATCH) {
		struct wal_walk walk = wal_walk_of(s.data, &s.batch);
		struct wal_record r;
		uint32_t at, before, n = 0;

		while (wal_walk_next(&walk, &r, &at, &before))
			n++;
		CHECK(n == s.batch.records && ++batches < IMAGE / WAL_PAGE);
	}
	CHECK(found != WAL_FOUND_CORRUPT || s.why[0] != 0);
	check_pieces(im, &s, found);
	if (found == WAL_FOUND_TORN) {
		uint32_t end = s.at.offset;
		uint8_t saved[IMAGE];

		CHECK(s.torn_end > end && s.torn_end <= IMAGE);
		memcpy(saved, im->bytes, IMAGE);
		memset(im->bytes + end, 0, s.torn_end - end);
		wal_scan_again(&s, s.at);
		CHECK(wal_scan_next(&s) == WAL_FOUND_END && s.at.offset == end);
		memcpy(im->bytes, saved, IMAGE);
	}
	wal_scan_close(&s);
}

static struct wal_options options_of(struct wal_disk *d)
{
	return (struct wal_options){.cluster_id = 1, .node_id = 2, .create = true,
				    .synchronous = true,
				    .segment_bytes = IMAGE, .cache_bytes = 1, .salt = 3,
				    .io = wal_disk_io(d)};
}

static struct wal_disk *disk_of(const struct image *im)
{
	struct wal_disk *d = wal_disk_new(1);
	const struct wal_io *io = wal_disk_io(d);
	int fd = io->open(io->ctx, "/log/" FILE_NAME, true);

	CHECK(fd >= 0 && io->pwrite(io->ctx, fd, im->bytes, IMAGE, 0) == IMAGE);
	CHECK(io->fsync(io->ctx, fd) == 0 && io->close(io->ctx, fd) == 0);
	CHECK(io->sync_dir(io->ctx, "/log") == 0);
	return d;
}

static void read_all(struct wal *w, const struct wal_recovered *rec)
{
	struct wal_list list = {0};

	for (uint64_t i = rec->first_index; i <= rec->last_index;) {
		CHECK(wal_read(w, i, rec->last_index, 1000, 10, &list) == ERR_OK && list.n > 0);
		for (size_t k = 0; k < list.n; k++)
			CHECK(list.entries[k].index == i++);
	}
	wal_list_free(&list);
}

/* Opens, reads, appends, opens again. Returns the first open's result. */
static int check_open(const struct image *im, struct wal_recovered *rec)
{
	struct wal_disk *d = disk_of(im);
	struct wal_options o = options_of(d);
	struct wal_recovered again;
	struct wal *w = NULL;
	int rc = wal_open("/log", &o, &w, rec);

	CHECK(rc == ERR_OK || rc == ERR_CORRUPT);
	CHECK((rc == ERR_OK) == (w != NULL) && (rc == ERR_OK) == (rec->why[0] == 0));
	if (rc == ERR_OK && rec->last_index < UINT64_MAX - 1) {
		read_all(w, rec);
		CHECK(wal_append_entry(w, rec->last_index + 1, rec->last_term, 2,
				       bytes_str("more")) == ERR_OK);
		CHECK(wal_sync_now(w) == ERR_OK);
		wal_abandon(&w);
		CHECK(wal_open("/log", &o, &w, &again) == ERR_OK);
		CHECK(again.last_index == rec->last_index + 1 &&
		      again.first_index == rec->first_index);
		CHECK(again.cut_bytes == 0);
		read_all(w, &again);
	}
	wal_abandon(&w);
	wal_disk_free(d);
	return rc;
}

/*
 * Three bytes a damage: where, and which bit or that a sector goes. Damage before the last batch
 * is refused while that one's first sector is whole; a sector lost in the last one is cut; a
 * flipped bit in it is refused unless another sector is lost.
 */
static void damage_honest(struct image *im, uint64_t last, struct bytes in)
{
	struct cur c = cur_of(in);
	bool before = false, lost = false, head = false;
	struct image old = *im;
	struct wal_recovered rec;
	int rc;

	for (unsigned n = 0; n < 4 && cur_left(&c) >= 3; n++) {
		uint32_t at =
			(cur_u8(&c) | (uint32_t)cur_u8(&c) << 8) % (im->end - WAL_PAGE) + WAL_PAGE;
		uint8_t how = cur_u8(&c);

		if (how & 8)
			memset(im->bytes + at / WAL_SECTOR * WAL_SECTOR, 0, WAL_SECTOR);
		else
			im->bytes[at] ^= (uint8_t)(1u << (how & 7));
	}
	before = memcmp(old.bytes, im->bytes, im->last) != 0;
	head = memcmp(old.bytes + im->last, im->bytes + im->last, WAL_SECTOR) != 0;
	lost = wal_live_sectors(im->bytes + im->last, im->end - im->last) <
	       wal_live_sectors(old.bytes + im->last, im->end - im->last);
	rc = check_open(im, &rec);
	if (memcmp(old.bytes, im->bytes, IMAGE) == 0)
		CHECK(rc == ERR_OK && rec.last_index == last);
	else if (before)
		/* both first sectors lost: nothing is left to tell */
		CHECK(rc == ERR_CORRUPT || head);
	else if (!lost)
		CHECK(rc == ERR_CORRUPT);
	else if (!head)
		CHECK(rc == ERR_OK && rec.last_index == last - 1 && rec.cut_bytes > 0);
	else
		CHECK(rc == ERR_CORRUPT || rec.last_index == last - 1);
}

/* The bytes of a summary, as they are or with a good checksum: what is read is written alike. */
static void check_summary(struct bytes in, bool seal)
{
	struct wal_sum s;
	struct buf bytes, again;

	buf_init(&bytes, 0);
	buf_init(&again, 0);
	buf_add_bytes(&bytes, in);
	if (seal && in.len >= 16)
		put_u32(bytes.data + 12, crc32c(crc32c(0, bytes.data, 12), bytes.data + 16, in.len - 16));
	if (wal_sum_decode(buf_bytes(&bytes), &s) == ERR_OK) {
		wal_sum_encode(&s, &again);
		CHECK(again.len == bytes.len && s.n <= s.cap);
	}
	wal_sum_free(&s);
	buf_free(&bytes);
	buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image im;
	struct wal_recovered rec;
	struct bytes in;

	if (size < 1)
		return 0;
	log_set_level(LOG_ERROR);
	in = bytes_of(data + 1, size - 1);
	if (data[0] >= 0xf0) {
		check_summary(in, data[0] % 2);
		return 0;
	}
	image_init(&im);
	if (data[0] % 3 == 2) {
		damage_honest(&im, make_honest(&im, in), in);
		return 0;
	}
	if (data[0] % 3 == 1)
		make_sealed(&im, in);
	else
		make_raw(&im, in);
	check_scan(&im);
	(void)check_open(&im, &rec);
	return 0;
}
