/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), as in RFC 3720: hardware where the processor has it, else a table. */
#ifndef QUORATE_CRC32C_H
#define QUORATE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Chain: crc32c(crc32c(0, a), b) is the checksum of a followed by b. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The table variant, for the test that compares both. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t len);

#endif
