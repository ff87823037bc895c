/* SPDX-License-Identifier: Apache-2.0 */
/* What a compare of a transaction says of one key: the same in stored's apply and in gatewayd. */
#ifndef QUORATE_MVCC_COMPARE_H
#define QUORATE_MVCC_COMPARE_H

#include <stdbool.h>

#include "proto/kv.h"

/* The compare has passed kv_check_txn (mvcc/kv_check.h). */
bool mvcc_compare_pair(const struct kv_compare *c, const struct kv_pair *p);
/* A key that is not there has no value to compare with, and is 0 in all else. */
bool mvcc_compare_missing(const struct kv_compare *c);

#endif
