/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_leases.h"

#define MSG_T store_lease
MSG_DEFINE(STORE_LEASE_FIELDS)
#undef MSG_T
#define MSG_T store_leases
MSG_DEFINE(STORE_LEASES_FIELDS)
#undef MSG_T
#define MSG_T store_leases_wait
MSG_DEFINE(STORE_LEASES_WAIT_FIELDS)
#undef MSG_T

static const struct msg_row link_leases_rows[] = {LINK_LEASES(MSG_LINK_ROW)};
const struct msg_link link_leases = {"leased-stored", link_leases_rows, sizeof link_leases_rows / sizeof link_leases_rows[0]};
