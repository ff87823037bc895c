/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a transaction as etcdctl takes it: a block of comparisons, a block of requests for
 * when all of them hold, a block for when not; an empty line ends each block.
 *
 *   mod("key1") > "0"
 *
 *   put key1 "overwrote-key1"
 *
 *   put key1 "created-key1"
 */
#ifndef QUORATE_CTL_TXN_PARSE_H
#define QUORATE_CTL_TXN_PARSE_H

#include "ctl/ctl.h"
#include "ctl/input.h"

/* One comparison: TARGET("KEY") OP "VALUE". ERR_OK, or ERR_MALFORMED and a sentence in `why`. */
int txn_parse_compare(const char *line, struct arena *arena, struct kv_compare *out, char why[256]);

/* One request line: get, put or del with words and flags. An exit code; the error is printed. */
int txn_parse_op(struct ctl *ctl, const char *line, struct arena *arena, struct kv_op *out);

/* All three blocks; `prompt` names each before it is read. An exit code; the error is printed. */
int txn_parse(struct ctl *ctl, struct input *in, bool prompt, struct arena *arena,
	      struct kv_txn *out);

#endif
