/* SPDX-License-Identifier: Apache-2.0 */
/* Where JSON's names are not those of our structs: etcd's, which its clients send and look for. */
#include <string.h>

#include "gatewayd/http/pbjson.h"
#include "proto/etcd.h"

struct pbjson_other_name {
	const struct pb_desc *desc;
	uint32_t number;
	const char *name;
};

static const struct pbjson_other_name pbjson_other_names[] = {
	{&etcd_txn_pb, 1, "compare"}, {&etcd_compare_pb, 1, "result"},
	{&etcd_op_pb, 1, "request_range"}, {&etcd_op_pb, 2, "request_put"},
	{&etcd_op_pb, 3, "request_delete_range"}, {&etcd_op_pb, 4, "request_txn"},
	{&kv_op_result_pb, 1, "response_range"}, {&kv_op_result_pb, 2, "response_put"},
	{&kv_op_result_pb, 3, "response_delete_range"}, {&kv_op_result_pb, 4, "response_txn"},
	{&etcd_range_chunk_pb, 1, "range_response"},
	{&lease_grant_pb, 1, "TTL"}, {&lease_grant_pb, 2, "ID"},
	{&lease_grant_result_pb, 2, "ID"}, {&lease_grant_result_pb, 3, "TTL"},
	{&lease_revoke_pb, 1, "ID"}, {&native_lease_pb, 1, "ID"},
	{&native_keepalive_result_pb, 2, "ID"}, {&native_keepalive_result_pb, 3, "TTL"},
	{&native_time_to_live_pb, 1, "ID"},
	{&native_time_to_live_result_pb, 2, "ID"}, {&native_time_to_live_result_pb, 3, "TTL"},
	{&native_time_to_live_result_pb, 4, "grantedTTL"},
	{&etcd_watch_request_pb, 1, "create_request"}, {&etcd_watch_request_pb, 2, "cancel_request"},
	{&etcd_watch_request_pb, 3, "progress_request"},
	{&etcd_member_pb, 1, "ID"}, {&etcd_member_pb, 3, "peerURLs"}, {&etcd_member_pb, 4, "clientURLs"},
	{&etcd_member_pb, 5, "isLearner"},
	{&etcd_alarm_pb, 2, "memberID"}, {&etcd_alarm_member_pb, 1, "memberID"},
	{&etcd_status_result_pb, 3, "dbSize"}, {&etcd_status_result_pb, 5, "raftIndex"},
	{&etcd_status_result_pb, 6, "raftTerm"}, {&etcd_status_result_pb, 7, "raftAppliedIndex"},
	{&etcd_status_result_pb, 9, "dbSizeInUse"}, {&etcd_status_result_pb, 10, "isLearner"},
	{&etcd_status_result_pb, 11, "storageVersion"}, {&etcd_status_result_pb, 12, "dbSizeQuota"},
	{&etcd_status_result_pb, 13, "downgradeInfo"}, {&etcd_auth_status_pb, 3, "authRevision"},
	{&native_move_leader_pb, 1, "targetID"},
};

const char *pbjson_name(const struct pb_desc *d, const struct pb_field *f)
{
	for (size_t i = 0; i < sizeof pbjson_other_names / sizeof pbjson_other_names[0]; i++)
		if (pbjson_other_names[i].desc == d && pbjson_other_names[i].number == f->number)
			return pbjson_other_names[i].name;
	return f->name;
}

enum { PBJSON_ENUM_VALUES = 6 };

struct pbjson_enum {
	const struct pb_desc *desc;
	uint32_t number;
	const char *names[PBJSON_ENUM_VALUES];   /* by value */
};

static const struct pbjson_enum pbjson_enums[] = {
	{&kv_range_pb, 5, {"NONE", "ASCEND", "DESCEND"}},
	{&kv_range_pb, 6, {"KEY", "VERSION", "CREATE", "MOD", "VALUE"}},
	{&etcd_compare_pb, 1, {"EQUAL", "GREATER", "LESS", "NOT_EQUAL"}},
	{&etcd_compare_pb, 2, {"VERSION", "CREATE", "MOD", "VALUE", "LEASE"}},
	{&etcd_event_pb, 1, {"PUT", "DELETE"}},
	{&etcd_watch_create_pb, 5, {"NOPUT", "NODELETE"}},
	{&etcd_alarm_pb, 1, {"GET", "ACTIVATE", "DEACTIVATE"}},
	{&etcd_alarm_pb, 3, {"NONE", "NOSPACE", "CORRUPT"}},
	{&etcd_alarm_member_pb, 2, {"NONE", "NOSPACE", "CORRUPT"}},
};

static const struct pbjson_enum *pbjson_enum_of(const struct pb_desc *d, const struct pb_field *f)
{
	for (size_t i = 0; i < sizeof pbjson_enums / sizeof pbjson_enums[0]; i++)
		if (pbjson_enums[i].desc == d && pbjson_enums[i].number == f->number)
			return &pbjson_enums[i];
	return NULL;
}

int pbjson_enum_value(const struct pb_desc *d, const struct pb_field *f, struct bytes name)
{
	const struct pbjson_enum *e = pbjson_enum_of(d, f);

	for (int i = 0; e != NULL && i < PBJSON_ENUM_VALUES && e->names[i] != NULL; i++)
		if (bytes_eq(bytes_str(e->names[i]), name))
			return i;
	return -1;
}

const char *pbjson_enum_name(const struct pb_desc *d, const struct pb_field *f, uint64_t value)
{
	const struct pbjson_enum *e = pbjson_enum_of(d, f);

	return e != NULL && value < PBJSON_ENUM_VALUES ? e->names[value] : NULL;
}
