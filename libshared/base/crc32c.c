/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

static uint32_t crc32c_rows[256];
static pthread_once_t crc32c_once = PTHREAD_ONCE_INIT;

static void crc32c_fill(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t r = i;

		for (int bit = 0; bit < 8; bit++)
			r = r >> 1 ^ ((r & 1) ? 0x82f63b78u : 0);
		crc32c_rows[i] = r;
	}
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	pthread_once(&crc32c_once, crc32c_fill);
	crc = ~crc;
	for (size_t i = 0; i < len; i++)
		crc = crc >> 8 ^ crc32c_rows[(crc ^ p[i]) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)
static uint64_t crc32c_word(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p,
							       size_t len)
{
	uint64_t c = ~crc;

	for (; len >= 8; len -= 8, p += 8)
		c = _mm_crc32_u64(c, crc32c_word(p));
	for (; len > 0; len--)
		c = _mm_crc32_u8((uint32_t)c, *p++);
	return ~(uint32_t)c;
}

/*
 * The instruction takes three cycles and can be begun in each, so three neighbouring lanes are summed up side by side.
 * A lane's sum then moves on over the bytes behind it: times x^(8n - 33), reduced with the eight bytes behind the
 * last lane. far and near are x^(8n - 33) mod P of n = 2 bytes + 8 and n = bytes + 8, bits reflected.
 */
static const struct crc32c_lane {
	size_t bytes;
	uint32_t far, near;
} crc32c_lanes[] = {{1024, 0xf7506984, 0xfe314258}, {256, 0xbd6f81f8, 0xdcb17aa4}, {96, 0xa87ab8a8, 0xc49f4f67},
		    {32, 0x740eef02, 0x3da6d0cb}};

__attribute__((target("sse4.2,pclmul"))) static uint64_t crc32c_times(uint64_t c, uint32_t by)
{
	return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)c), _mm_cvtsi64_si128(by), 0));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc32c_in_lanes(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t c = ~crc;

	for (size_t i = 0; i < sizeof crc32c_lanes / sizeof *crc32c_lanes; i++) {
		const struct crc32c_lane *l = &crc32c_lanes[i];
		const size_t bytes = l->bytes;

		for (; len >= 3 * bytes + 8; len -= 3 * bytes + 8, p += 2 * bytes + 8) {
			uint64_t second = 0, third = 0;

			for (const uint8_t *end = p + bytes; p < end; p += 8) {
				c = _mm_crc32_u64(c, crc32c_word(p));
				second = _mm_crc32_u64(second, crc32c_word(p + bytes));
				third = _mm_crc32_u64(third, crc32c_word(p + 2 * bytes));
			}
			c = _mm_crc32_u64(third, crc32c_word(p + 2 * bytes) ^ crc32c_times(c, l->far) ^
				crc32c_times(second, l->near));
		}
	}
	return crc32c_sse42(~(uint32_t)c, p, len);
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	if (len >= 3 * 32 + 8 && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.2"))
		return crc32c_in_lanes(crc, data, len);
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, data, len);
	return crc32c_table(crc, data, len);
}
#else
uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	return crc32c_table(crc, data, len);
}
#endif
