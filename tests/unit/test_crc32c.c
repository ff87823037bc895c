/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include <string.h>

#include "tests/lib/tap.h"

/* RFC 3720, appendix B.4. */
TEST(the_published_vectors_hold)
{
	uint8_t v[32];

	memset(v, 0, sizeof v);
	EQ_INT(crc32c(0, v, sizeof v), 0x8a9136aa);
	memset(v, 0xff, sizeof v);
	EQ_INT(crc32c(0, v, sizeof v), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		v[i] = i;
	EQ_INT(crc32c(0, v, sizeof v), 0x46dd794e);
	for (uint8_t i = 0; i < 32; i++)
		v[i] = (uint8_t)(31 - i);
	EQ_INT(crc32c(0, v, sizeof v), 0x113fdb5c);
	EQ_INT(crc32c(0, "123456789", 9), 0xe3069283);
	EQ_INT(crc32c(0, "", 0), 0);
}

TEST(hardware_and_table_agree_at_every_length_and_offset_and_chain)
{
	uint8_t v[300];
	uint64_t seed = 5;

	for (size_t i = 0; i < sizeof v; i++)
		v[i] = (uint8_t)tap_rand(&seed);
	for (size_t at = 0; at < 9; at++) {
		for (size_t n = 0; n < sizeof v - at; n++) {
			uint32_t whole = crc32c(0, v + at, n);

			EQ_INT(whole, crc32c_table(0, v + at, n));
			EQ_INT(crc32c(crc32c(0, v + at, n / 3), v + at + n / 3, n - n / 3), whole);
		}
	}
}

/* Around the lengths at which more of it goes side by side. */
TEST(they_agree_at_great_lengths)
{
	static uint8_t v[20000];
	uint64_t seed = 7;

	for (size_t i = 0; i < sizeof v; i++)
		v[i] = (uint8_t)tap_rand(&seed);
	for (size_t n = 700; n < sizeof v; n += n < 900 || (n > 3000 && n < 3200) ? 1 : 97) {
		size_t at = tap_rand(&seed) % (sizeof v - n);
		uint32_t before = (uint32_t)tap_rand(&seed);

		EQ_INT(crc32c(before, v + at, n), crc32c_table(before, v + at, n));
	}
}

TEST(every_single_bit_counts)
{
	static uint8_t v[4000];
	uint32_t whole = crc32c(0, v, sizeof v);

	for (size_t bit = 0; bit < 8 * sizeof v; bit++) {
		v[bit / 8] ^= (uint8_t)(1u << bit % 8);
		OK(crc32c(0, v, sizeof v) != whole);
		v[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

TESTS = {
	T(the_published_vectors_hold),
	T(hardware_and_table_agree_at_every_length_and_offset_and_chain),
	T(they_agree_at_great_lengths),
	T(every_single_bit_counts),
};
TAP_MAIN
