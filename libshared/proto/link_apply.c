/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/link_apply.h"

#define MSG_T log_entry
MSG_DEFINE(LOG_ENTRY_FIELDS)
#undef MSG_T
#define MSG_T apply_batch
MSG_DEFINE(APPLY_BATCH_FIELDS)
#undef MSG_T
#define MSG_T apply_done
MSG_DEFINE(APPLY_DONE_FIELDS)
#undef MSG_T
#define MSG_T snapshot_id
MSG_DEFINE(SNAPSHOT_ID_FIELDS)
#undef MSG_T
#define MSG_T apply_state
MSG_DEFINE(APPLY_STATE_FIELDS)
#undef MSG_T
#define MSG_T apply_snapshot
MSG_DEFINE(APPLY_SNAPSHOT_FIELDS)
#undef MSG_T
#define MSG_T apply_install
MSG_DEFINE(APPLY_INSTALL_FIELDS)
#undef MSG_T
#define MSG_T apply_installed
MSG_DEFINE(APPLY_INSTALLED_FIELDS)
#undef MSG_T

static const struct msg_row link_apply_rows[] = {LINK_APPLY(MSG_LINK_ROW)};
const struct msg_link link_apply = {"raftd-stored", link_apply_rows,
	sizeof link_apply_rows / sizeof link_apply_rows[0]};
