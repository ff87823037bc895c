# SPDX-License-Identifier: Apache-2.0
"""etcd's v3 API for tests: messages made by hand from their published field numbers, carried by grpcio.

A message is a dict; what it leaves out is its default, and so is what is not in a decoded one:
    etcd = Etcd("127.0.0.1:2379")
    etcd.call("KV/Put", "PutRequest", "PutResponse", key=b"a", value=b"b")
"""
import grpc

HEADER = ("header", "ResponseHeader")
# message -> {number: (name, type)}; * in front of the type: repeated
MESSAGES = {
    "Empty": {},
    "ResponseHeader": {1: ("cluster_id", "uint"), 2: ("member_id", "uint"), 3: ("revision", "int"), 4: ("raft_term", "uint")},
    "KeyValue": {1: ("key", "bytes"), 2: ("create_revision", "int"), 3: ("mod_revision", "int"), 4: ("version", "int"),
                 5: ("value", "bytes"), 6: ("lease", "int")},
    "Event": {1: ("type", "int"), 2: ("kv", "KeyValue"), 3: ("prev_kv", "KeyValue")},
    "RangeRequest": {1: ("key", "bytes"), 2: ("range_end", "bytes"), 3: ("limit", "int"), 4: ("revision", "int"),
                     5: ("sort_order", "int"), 6: ("sort_target", "int"), 7: ("serializable", "bool"),
                     8: ("keys_only", "bool"), 9: ("count_only", "bool"), 10: ("min_mod_revision", "int"),
                     11: ("max_mod_revision", "int"), 12: ("min_create_revision", "int"),
                     13: ("max_create_revision", "int")},
    "RangeResponse": {1: HEADER, 2: ("kvs", "*KeyValue"), 3: ("more", "bool"), 4: ("count", "int")},
    "RangeStreamResponse": {1: ("range", "RangeResponse")},
    "PutRequest": {1: ("key", "bytes"), 2: ("value", "bytes"), 3: ("lease", "int"), 4: ("prev_kv", "bool"),
                   5: ("ignore_value", "bool"), 6: ("ignore_lease", "bool")},
    "PutResponse": {1: HEADER, 2: ("prev_kv", "KeyValue")},
    "DeleteRangeRequest": {1: ("key", "bytes"), 2: ("range_end", "bytes"), 3: ("prev_kv", "bool")},
    "DeleteRangeResponse": {1: HEADER, 2: ("deleted", "int"), 3: ("prev_kvs", "*KeyValue")},
    "RequestOp": {1: ("range", "RangeRequest"), 2: ("put", "PutRequest"), 3: ("delete", "DeleteRangeRequest"),
                  4: ("txn", "TxnRequest")},
    "ResponseOp": {1: ("range", "RangeResponse"), 2: ("put", "PutResponse"), 3: ("delete", "DeleteRangeResponse"),
                   4: ("txn", "TxnResponse")},
    "Compare": {1: ("result", "int"), 2: ("target", "int"), 3: ("key", "bytes"), 4: ("version", "int"),
                5: ("create_revision", "int"), 6: ("mod_revision", "int"), 7: ("value", "bytes"), 8: ("lease", "int"),
                64: ("range_end", "bytes")},
    "TxnRequest": {1: ("compare", "*Compare"), 2: ("success", "*RequestOp"), 3: ("failure", "*RequestOp")},
    "TxnResponse": {1: HEADER, 2: ("succeeded", "bool"), 3: ("responses", "*ResponseOp")},
    "CompactionRequest": {1: ("revision", "int"), 2: ("physical", "bool")},
    "HeaderResponse": {1: HEADER},
    "WatchRequest": {1: ("create", "WatchCreate"), 2: ("cancel", "WatchCancel"), 3: ("progress", "Empty")},
    "WatchCreate": {1: ("key", "bytes"), 2: ("range_end", "bytes"), 3: ("start_revision", "int"),
                    4: ("progress_notify", "bool"), 5: ("filters", "*int"), 6: ("prev_kv", "bool"),
                    7: ("watch_id", "int"), 8: ("fragment", "bool")},
    "WatchCancel": {1: ("watch_id", "int")},
    "WatchResponse": {1: HEADER, 2: ("watch_id", "int"), 3: ("created", "bool"), 4: ("canceled", "bool"),
                      5: ("compact_revision", "int"), 6: ("cancel_reason", "str"), 7: ("fragment", "bool"),
                      11: ("events", "*Event")},
    "LeaseGrantRequest": {1: ("TTL", "int"), 2: ("ID", "int")},
    "LeaseGrantResponse": {1: HEADER, 2: ("ID", "int"), 3: ("TTL", "int")},
    "LeaseRequest": {1: ("ID", "int"), 2: ("keys", "bool")},
    "LeaseKeepAliveResponse": {1: HEADER, 2: ("ID", "int"), 3: ("TTL", "int")},
    "LeaseTimeToLiveResponse": {1: HEADER, 2: ("ID", "int"), 3: ("TTL", "int"), 4: ("grantedTTL", "int"),
                                5: ("keys", "*bytes")},
    "LeaseStatus": {1: ("ID", "int")},
    "LeaseLeasesResponse": {1: HEADER, 2: ("leases", "*LeaseStatus")},
    "Member": {1: ("ID", "uint"), 2: ("name", "str"), 3: ("peerURLs", "*str"), 4: ("clientURLs", "*str"),
               5: ("isLearner", "bool")},
    "MemberListRequest": {1: ("linearizable", "bool")},
    "MemberListResponse": {1: HEADER, 2: ("members", "*Member")},
    "AlarmRequest": {1: ("action", "int"), 2: ("memberID", "uint"), 3: ("alarm", "int")},
    "StatusResponse": {1: HEADER, 2: ("version", "str"), 3: ("dbSize", "int"), 4: ("leader", "uint"),
                       5: ("raftIndex", "uint"), 6: ("raftTerm", "uint"), 7: ("raftAppliedIndex", "uint"),
                       8: ("errors", "*str"), 9: ("dbSizeInUse", "int"), 10: ("isLearner", "bool"),
                       11: ("storageVersion", "str"), 12: ("dbSizeQuota", "int"), 13: ("downgradeInfo", "Empty")},
    "HashKVRequest": {1: ("revision", "int")},
    "HashKVResponse": {1: HEADER, 2: ("hash", "uint"), 3: ("compact_revision", "int"), 4: ("hash_revision", "int")},
    "HealthRequest": {1: ("service", "str")},
    "HealthResponse": {1: ("status", "int")},
    "HealthEntry": {1: ("key", "str"), 2: ("value", "HealthResponse")},
    "HealthListResponse": {1: ("statuses", "*HealthEntry")},
    "AuthStatusResponse": {1: HEADER, 2: ("enabled", "bool"), 3: ("authRevision", "uint")},
    "LockRequest": {1: ("name", "bytes"), 2: ("lease", "int")},
    "LockResponse": {1: HEADER, 2: ("key", "bytes")},
    "UnlockRequest": {1: ("key", "bytes")},
    "LeaderKey": {1: ("name", "bytes"), 2: ("key", "bytes"), 3: ("rev", "int"), 4: ("lease", "int")},
    "CampaignRequest": {1: ("name", "bytes"), 2: ("lease", "int"), 3: ("value", "bytes")},
    "CampaignResponse": {1: HEADER, 2: ("leader", "LeaderKey")},
    "LeaderRequest": {1: ("name", "bytes")},
    "LeaderResponse": {1: HEADER, 2: ("kv", "KeyValue")},
    "ProclaimRequest": {1: ("leader", "LeaderKey"), 2: ("value", "bytes")},
    "ResignRequest": {1: ("leader", "LeaderKey")},
}


def varint(n):
    n &= 2**64 - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def encode_one(number, kind, value):
    if kind in ("int", "uint", "bool"):
        return varint(number << 3) + varint(int(value))
    if kind == "bytes":
        return field(number, value)
    if kind == "str":
        return field(number, value.encode())
    return field(number, encode(kind, value))


def encode(message, values):
    out = b""
    numbers = {name: (number, kind) for number, (name, kind) in MESSAGES[message].items()}
    for name, value in values.items():
        number, kind = numbers[name]
        if kind[0] == "*":
            out += b"".join(encode_one(number, kind[1:], v) for v in value)
        else:
            out += encode_one(number, kind, value)
    return out


def take_varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 0x7f) << shift
        if byte < 0x80:
            return n, at
        shift += 7


def decode_one(kind, value):
    if kind == "int":
        return value - 2**64 if value >= 2**63 else value
    if kind == "bool":
        return bool(value)
    if kind == "str":
        return value.decode()
    return value if kind in ("uint", "bytes") else decode(kind, value)


def decode(message, data):
    out, at = {}, 0
    for name, kind in MESSAGES[message].values():
        out[name] = [] if kind[0] == "*" else {"int": 0, "uint": 0, "bool": False, "bytes": b"", "str": ""}.get(kind)
    while at < len(data):
        tag, at = take_varint(data, at)
        assert tag & 7 in (0, 2), f"{message}: wire type {tag & 7}"
        value, at = take_varint(data, at)
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        name, kind = MESSAGES[message][tag >> 3]
        if kind[0] == "*":
            out[name].append(decode_one(kind[1:], value))
        else:
            out[name] = decode_one(kind, value)
    assert at == len(data), f"{message}: {at} of {len(data)} bytes"
    return out


class Etcd:
    """One channel: one connection."""
    def __init__(self, target, timeout_s=60, **options):
        self.timeout_s = timeout_s
        self.channel = grpc.insecure_channel(target, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1),
            *((k.replace("__", "."), v) for k, v in options.items())])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    @staticmethod
    def path(rpc):
        return "/" + (rpc if "." in rpc else "etcdserverpb." + rpc)

    def future(self, rpc, request, response, metadata=None, timeout_s=None, **values):
        call = self.channel.unary_unary(self.path(rpc), lambda m: m, lambda data: decode(response, data))
        return call.future(encode(request, values), timeout=timeout_s or self.timeout_s, metadata=metadata)

    def call(self, *args, **kw):
        return self.future(*args, **kw).result()

    def raw(self, rpc, data, response="Empty"):
        """The request is these bytes."""
        return self.channel.unary_unary(self.path(rpc), lambda m: m, lambda d: decode(response, d))(
            data, timeout=self.timeout_s)

    def stream(self, rpc, request, response, requests, metadata=None, timeout_s=None):
        """requests: an iterator of dicts. An iterator of responses, which can be cancelled."""
        call = self.channel.stream_stream(self.path(rpc), lambda m: m, lambda data: decode(response, data))
        return call((encode(request, r) for r in requests), timeout=timeout_s, metadata=metadata)

    def put(self, key, value=b"", **kw):
        return self.call("KV/Put", "PutRequest", "PutResponse", key=key, value=value, **kw)

    def range(self, key, range_end=b"", **kw):
        return self.call("KV/Range", "RangeRequest", "RangeResponse", key=key, range_end=range_end, **kw)

    def delete(self, key, range_end=b"", **kw):
        return self.call("KV/DeleteRange", "DeleteRangeRequest", "DeleteRangeResponse", key=key, range_end=range_end, **kw)

    def txn(self, compare=(), success=(), failure=()):
        return self.call("KV/Txn", "TxnRequest", "TxnResponse", compare=compare, success=success, failure=failure)

    def grant(self, ttl, lease=0):
        return self.call("Lease/LeaseGrant", "LeaseGrantRequest", "LeaseGrantResponse", TTL=ttl, ID=lease)

    def refused(self, *args, **kw):
        """(code, text) of a call that must fail."""
        try:
            got = self.call(*args, **kw)
        except grpc.RpcError as e:
            return e.code().name, e.details()
        raise AssertionError(f"{args} {kw}: answered with {got}")
