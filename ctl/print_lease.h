/* SPDX-License-Identifier: Apache-2.0 */
/* Answers about leases in etcdctl's words and shapes. */
#ifndef QUORATE_CTL_PRINT_LEASE_H
#define QUORATE_CTL_PRINT_LEASE_H

#include "ctl/print.h"

void print_lease_grant(struct ctl *ctl, const struct lease_grant_result *r);
void print_lease_revoke(struct ctl *ctl, int64_t id, const struct lease_revoke_result *r);
void print_lease_keepalive(struct ctl *ctl, const struct native_keepalive_result *r);
/* ids: 8 bytes each, little-endian. */
void print_lease_list(struct ctl *ctl, const struct kv_header *h, struct bytes ids);
/* The keys come in between. */
void print_lease_ttl_begin(struct ctl *ctl, const struct native_time_to_live_result *r, bool keys);
void print_lease_ttl_key(struct ctl *ctl, struct bytes key, bool first);
void print_lease_ttl_end(struct ctl *ctl, const struct native_time_to_live_result *r, bool keys);

#endif
