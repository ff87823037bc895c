/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a request whatever the store holds. Pure. gatewayd asks before it proposes;
 * apply asks again, since what it is handed was written by another process, maybe another version.
 */
#ifndef QUORATE_KV_CHECK_H
#define QUORATE_KV_CHECK_H

#include <stdbool.h>

#include "proto/kv.h"

int kv_check_range(const struct kv_range *r);     /* ERR_KEY_EMPTY, ERR_SORT_OPTION */
int kv_check_put(const struct kv_put *p);         /* ERR_KEY_EMPTY, ERR_VALUE_PROVIDED, ERR_LEASE_PROVIDED */
int kv_check_delete(const struct kv_delete *d);   /* ERR_KEY_EMPTY */

/*
 * ERR_TXN_TOO_DEEP; ERR_TOO_MANY_OPS (compares, or operations of one branch; a nested transaction
 * has what its parents' longest lists leave of LIMIT_TXN_OPS); ERR_KEY_NOT_FOUND (an operation
 * without a part, as etcd says it); ERR_BAD_ARGUMENT (more than one part, unknown compare);
 * ERR_DUPLICATE_KEY (a key put twice, or put and deleted, on one way through the transaction);
 * and what the checks above say of its parts.
 */
int kv_check_txn(const struct kv_txn *txn);

int kv_check_grant(const struct lease_grant *g);  /* ERR_LEASE_TTL */

/* How many parts a gateway's command has. */
int kv_command_parts(const struct command *c);
/* The parts of a command that are there. ERR_BAD_ARGUMENT: more than one; an open session: none. */
int kv_check_command(const struct command *c);

/* No put and no delete in any branch, nested ones included. */
bool kv_txn_reads_only(const struct kv_txn *txn);
/* Every range of it is serializable (etcd: so is one without ranges). */
bool kv_txn_serializable(const struct kv_txn *txn);

#endif
