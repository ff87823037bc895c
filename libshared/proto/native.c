/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/native.h"

#define MSG_T native_empty
MSG_DEFINE(NATIVE_EMPTY_FIELDS)
#undef MSG_T
#define MSG_T native_version_result
MSG_DEFINE(NATIVE_VERSION_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_daemon
MSG_DEFINE(NATIVE_DAEMON_FIELDS)
#undef MSG_T
#define MSG_T native_status_result
MSG_DEFINE(NATIVE_STATUS_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_member
MSG_DEFINE(NATIVE_MEMBER_FIELDS)
#undef MSG_T
#define MSG_T native_members_result
MSG_DEFINE(NATIVE_MEMBERS_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_hash
MSG_DEFINE(NATIVE_HASH_FIELDS)
#undef MSG_T
#define MSG_T native_hash_result
MSG_DEFINE(NATIVE_HASH_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_move_leader
MSG_DEFINE(NATIVE_MOVE_LEADER_FIELDS)
#undef MSG_T
#define MSG_T native_move_leader_result
MSG_DEFINE(NATIVE_MOVE_LEADER_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_lease
MSG_DEFINE(NATIVE_LEASE_FIELDS)
#undef MSG_T
#define MSG_T native_keepalive_result
MSG_DEFINE(NATIVE_KEEPALIVE_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_time_to_live
MSG_DEFINE(NATIVE_TIME_TO_LIVE_FIELDS)
#undef MSG_T
#define MSG_T native_lease_key
MSG_DEFINE(NATIVE_LEASE_KEY_FIELDS)
#undef MSG_T
#define MSG_T native_time_to_live_result
MSG_DEFINE(NATIVE_TIME_TO_LIVE_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_lease_list
MSG_DEFINE(NATIVE_LEASE_LIST_FIELDS)
#undef MSG_T
#define MSG_T native_lease_list_result
MSG_DEFINE(NATIVE_LEASE_LIST_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_watch
MSG_DEFINE(NATIVE_WATCH_FIELDS)
#undef MSG_T
#define MSG_T native_watch_result
MSG_DEFINE(NATIVE_WATCH_RESULT_FIELDS)
#undef MSG_T
#define MSG_T native_watch_ref
MSG_DEFINE(NATIVE_WATCH_REF_FIELDS)
#undef MSG_T
#define MSG_T native_watch_header
MSG_DEFINE(NATIVE_WATCH_HEADER_FIELDS)
#undef MSG_T
#define MSG_T native_watch_events
MSG_DEFINE(NATIVE_WATCH_EVENTS_FIELDS)
#undef MSG_T
#define MSG_T native_watch_progress
MSG_DEFINE(NATIVE_WATCH_PROGRESS_FIELDS)
#undef MSG_T
#define MSG_T native_watch_canceled
MSG_DEFINE(NATIVE_WATCH_CANCELED_FIELDS)
#undef MSG_T

const struct native_notification native_notifications[] = {
#define NATIVE_ROW(name, params, help) {name, &params##_desc, help},
	NATIVE_NOTIFICATIONS(NATIVE_ROW)
#undef NATIVE_ROW
};
const size_t native_notification_count = sizeof native_notifications / sizeof native_notifications[0];

const struct native_notification *native_notification_find(struct bytes name)
{
	for (size_t i = 0; i < native_notification_count; i++)
		if (bytes_eq(name, bytes_str(native_notifications[i].name)))
			return &native_notifications[i];
	return NULL;
}

const struct native_method native_methods[] = {
#define NATIVE_ROW(name, params, result, help) {name, &params##_desc, &result##_desc, help},
	NATIVE_METHODS(NATIVE_ROW)
#undef NATIVE_ROW
};
const size_t native_method_count = sizeof native_methods / sizeof native_methods[0];

const struct native_method *native_method_find(struct bytes name)
{
	for (size_t i = 0; i < native_method_count; i++)
		if (bytes_eq(name, bytes_str(native_methods[i].name)))
			return &native_methods[i];
	return NULL;
}
