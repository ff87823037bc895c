# SPDX-License-Identifier: Apache-2.0
"""etcd's v3 messages as a table, and protobuf's wire format for them: all that a client needs.

A message is a dict of the fields that are set. What is in the dict is written, zeros too; when read, fields
that hold their default are left out, as proto3 does not tell them from absent ones. A field that the table
does not have is an error: every field of an answer is compared, so none may be overlooked.
"""

TABLE = """
ResponseHeader: cluster_id u64 1, member_id u64 2, revision i64 3, raft_term u64 4
KeyValue: key bytes 1, create_revision i64 2, mod_revision i64 3, version i64 4, value bytes 5, lease i64 6
Event: type enum 1, kv KeyValue 2, prev_kv KeyValue 3
RangeRequest: key bytes 1, range_end bytes 2, limit i64 3, revision i64 4, sort_order enum 5, sort_target enum 6, \
    serializable bool 7, keys_only bool 8, count_only bool 9, min_mod_revision i64 10, max_mod_revision i64 11, \
    min_create_revision i64 12, max_create_revision i64 13
RangeResponse: header ResponseHeader 1, kvs *KeyValue 2, more bool 3, count i64 4
PutRequest: key bytes 1, value bytes 2, lease i64 3, prev_kv bool 4, ignore_value bool 5, ignore_lease bool 6
PutResponse: header ResponseHeader 1, prev_kv KeyValue 2
DeleteRangeRequest: key bytes 1, range_end bytes 2, prev_kv bool 3
DeleteRangeResponse: header ResponseHeader 1, deleted i64 2, prev_kvs *KeyValue 3
RequestOp: request_range RangeRequest 1, request_put PutRequest 2, request_delete_range DeleteRangeRequest 3, \
    request_txn TxnRequest 4
ResponseOp: response_range RangeResponse 1, response_put PutResponse 2, response_delete_range DeleteRangeResponse 3, \
    response_txn TxnResponse 4
Compare: result enum 1, target enum 2, key bytes 3, version i64 4, create_revision i64 5, mod_revision i64 6, \
    value bytes 7, lease i64 8, range_end bytes 64
TxnRequest: compare *Compare 1, success *RequestOp 2, failure *RequestOp 3
TxnResponse: header ResponseHeader 1, succeeded bool 2, responses *ResponseOp 3
CompactionRequest: revision i64 1, physical bool 2
CompactionResponse: header ResponseHeader 1
WatchRequest: create_request WatchCreateRequest 1, cancel_request WatchCancelRequest 2, \
    progress_request WatchProgressRequest 3
WatchCreateRequest: key bytes 1, range_end bytes 2, start_revision i64 3, progress_notify bool 4, filters *enum 5, \
    prev_kv bool 6, watch_id i64 7, fragment bool 8
WatchCancelRequest: watch_id i64 1
WatchProgressRequest:
WatchResponse: header ResponseHeader 1, watch_id i64 2, created bool 3, canceled bool 4, compact_revision i64 5, \
    cancel_reason string 6, fragment bool 7, events *Event 11
LeaseGrantRequest: TTL i64 1, ID i64 2
LeaseGrantResponse: header ResponseHeader 1, ID i64 2, TTL i64 3, error string 4
LeaseRevokeRequest: ID i64 1
LeaseRevokeResponse: header ResponseHeader 1
LeaseKeepAliveRequest: ID i64 1
LeaseKeepAliveResponse: header ResponseHeader 1, ID i64 2, TTL i64 3
LeaseTimeToLiveRequest: ID i64 1, keys bool 2
LeaseTimeToLiveResponse: header ResponseHeader 1, ID i64 2, TTL i64 3, grantedTTL i64 4, keys *bytes 5
LeaseLeasesRequest:
LeaseStatus: ID i64 1
LeaseLeasesResponse: header ResponseHeader 1, leases *LeaseStatus 2
StatusRequest:
StatusResponse: header ResponseHeader 1, version string 2, dbSize i64 3, leader u64 4, raftIndex u64 5, raftTerm u64 6, \
    raftAppliedIndex u64 7, errors *string 8, dbSizeInUse i64 9, isLearner bool 10, storageVersion string 11, \
    dbSizeQuota i64 12, downgradeInfo DowngradeInfo 13
DowngradeInfo: enabled bool 1, targetVersion string 2
LockRequest: name bytes 1, lease i64 2
LockResponse: header ResponseHeader 1, key bytes 2
UnlockRequest: key bytes 1
UnlockResponse: header ResponseHeader 1
LeaderKey: name bytes 1, key bytes 2, rev i64 3, lease i64 4
CampaignRequest: name bytes 1, lease i64 2, value bytes 3
CampaignResponse: header ResponseHeader 1, leader LeaderKey 2
LeaderRequest: name bytes 1
LeaderResponse: header ResponseHeader 1, kv KeyValue 2
ResignRequest: leader LeaderKey 1
ResignResponse: header ResponseHeader 1
ProclaimRequest: leader LeaderKey 1, value bytes 2
ProclaimResponse: header ResponseHeader 1
"""

SERVICES = {
    "KV": "etcdserverpb.KV", "Lease": "etcdserverpb.Lease", "Watch": "etcdserverpb.Watch",
    "Maintenance": "etcdserverpb.Maintenance", "Lock": "v3lockpb.Lock", "Election": "v3electionpb.Election",
}
# method -> request, response
METHODS = {
    "KV.Range": ("RangeRequest", "RangeResponse"),
    "KV.Put": ("PutRequest", "PutResponse"),
    "KV.DeleteRange": ("DeleteRangeRequest", "DeleteRangeResponse"),
    "KV.Txn": ("TxnRequest", "TxnResponse"),
    "KV.Compact": ("CompactionRequest", "CompactionResponse"),
    "Watch.Watch": ("WatchRequest", "WatchResponse"),
    "Lease.LeaseGrant": ("LeaseGrantRequest", "LeaseGrantResponse"),
    "Lease.LeaseRevoke": ("LeaseRevokeRequest", "LeaseRevokeResponse"),
    "Lease.LeaseKeepAlive": ("LeaseKeepAliveRequest", "LeaseKeepAliveResponse"),
    "Lease.LeaseTimeToLive": ("LeaseTimeToLiveRequest", "LeaseTimeToLiveResponse"),
    "Lease.LeaseLeases": ("LeaseLeasesRequest", "LeaseLeasesResponse"),
    "Maintenance.Status": ("StatusRequest", "StatusResponse"),
    "Lock.Lock": ("LockRequest", "LockResponse"),
    "Lock.Unlock": ("UnlockRequest", "UnlockResponse"),
    "Election.Campaign": ("CampaignRequest", "CampaignResponse"),
    "Election.Proclaim": ("ProclaimRequest", "ProclaimResponse"),
    "Election.Leader": ("LeaderRequest", "LeaderResponse"),
    "Election.Observe": ("LeaderRequest", "LeaderResponse"),
    "Election.Resign": ("ResignRequest", "ResignResponse"),
}

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
NUMBERS = ("i64", "u64", "bool", "enum")


def full_name(method):
    service, _, name = method.partition(".")
    return f"/{SERVICES[service]}/{name}"


def _parse(table):
    messages = {}
    for line in table.strip().split("\n"):
        name, _, rest = line.partition(":")
        fields = []
        for item in filter(None, (i.strip() for i in rest.split(","))):
            field, kind, number = item.split()
            fields.append((field, kind.lstrip("*"), kind.startswith("*"), int(number)))
        messages[name] = fields
    return messages


MESSAGES = _parse(TABLE)
BY_NUMBER = {name: {f[3]: f for f in fields} for name, fields in MESSAGES.items()}
BY_NAME = {name: {f[0]: f for f in fields} for name, fields in MESSAGES.items()}


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _one(kind, number, value):
    if kind in NUMBERS:
        return varint(number << 3 | VARINT) + varint(int(value))
    if kind == "string":
        value = value.encode()
    elif kind != "bytes":
        value = encode(kind, value)
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def encode(name, message):
    """The bytes of a message; fields in the order of the dict, which protobuf allows."""
    out = b""
    for key, value in message.items():
        _, kind, repeated, number = BY_NAME[name][key]
        if repeated and kind in NUMBERS:                 # packed
            packed = b"".join(varint(v) for v in value)
            out += varint(number << 3 | BYTES) + varint(len(packed)) + packed if packed else b""
        elif repeated:
            out += b"".join(_one(kind, number, v) for v in value)
        else:
            out += _one(kind, number, value)
    return out


def _varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        n |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return n, at
        assert shift < 70, "a varint without an end"


def _number(kind, n):
    if kind == "i64" and n >= 1 << 63:
        return n - (1 << 64)
    if kind == "bool":
        return n != 0
    return n


def _value(kind, data):
    if kind == "bytes":
        return data
    return data.decode() if kind == "string" else decode(kind, data)


def decode(name, data):
    """The dict of a message; raises on anything that the table does not have."""
    out, at = {}, 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire, row = tag & 7, BY_NUMBER[name].get(tag >> 3)
        assert row is not None, f"{name} has no field {tag >> 3}"
        field, kind, repeated, _ = row
        if wire == VARINT:
            assert kind in NUMBERS, f"{name}.{field} is no number"
            n, at = _varint(data, at)
            values = [_number(kind, n)]
        else:
            assert wire == BYTES, f"{name}.{field} has wire type {wire}"
            n, at = _varint(data, at)
            assert at + n <= len(data), f"{name}.{field} is cut short"
            part, at = data[at:at + n], at + n
            values = []
            if kind in NUMBERS:
                assert repeated, f"{name}.{field} is packed"
                k = 0
                while k < len(part):
                    v, k = _varint(part, k)
                    values.append(_number(kind, v))
            else:
                values.append(_value(kind, part))
        if repeated:
            out.setdefault(field, []).extend(values)
        elif values[-1] not in (0, b"", ""):             # a message is kept though it may be empty
            out[field] = values[-1]
    return out
