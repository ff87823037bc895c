# SPDX-License-Identifier: Apache-2.0
"""Where ours is meant to answer otherwise than Debian's etcd 3.4.23, each with its reason."""

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
TOO_MANY = ("error", "INVALID_ARGUMENT", "etcdserver: too many operations in txn request")
DUPLICATE = ("error", "INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request")


def branches(txn):
    """Every list of operations in a transaction, nested ones too."""
    for side in ("success", "failure"):
        ops = txn.get(side, [])
        yield ops
        for op in ops:
            if "request_txn" in op:
                yield from branches(op["request_txn"])


def lists(txn):
    """And every list of compares."""
    yield txn.get("compare", [])
    for ops in branches(txn):
        yield ops
        for op in ops:
            yield op.get("request_txn", {}).get("compare", [])


def deletes_from_key(request):
    return any(op.get("request_delete_range", {}).get("range_end") == b"\0" for ops in branches(request) for op in ops)


def least_ttl(method, request, theirs, ours):
    return method == "Lease.LeaseGrant" and theirs[0] == ours[0] == "ok" and \
        theirs[1] == {**ours[1], "TTL": 2} and ours[1].get("TTL") == 1 and request.get("TTL", 0) < 2


def put_in_an_open_delete(method, request, theirs, ours):
    return method == "KV.Txn" and ours == DUPLICATE and theirs != ours and deletes_from_key(request)


def has(txn, kind):
    return any(kind in op for ops in branches(txn) for op in ops)


def put_before_a_siblings_delete(method, request, theirs, ours):
    """A nested transaction puts and a later one of the same list deletes; all lists are looked at."""
    if method != "KV.Txn" or ours != DUPLICATE or theirs == ours:
        return False
    for ops in branches(request):
        nested = [op["request_txn"] for op in ops if "request_txn" in op]
        for i, txn in enumerate(nested):
            if has(txn, "request_put") and any(has(later, "request_delete_range") for later in nested[i + 1:]):
                return True
    return False


def negative_start(method, request, theirs, ours):
    create = request.get("create_request", {}) if method == "Watch.Watch" else {}
    return create.get("start_revision", 0) < 0 and theirs[0] == ours[0] == "ok" and ours[1].get("created") and \
        ours[1].get("canceled") and ours[1].get("cancel_reason") == COMPACTED


def lock_lost_while_waiting(method, request, theirs, ours):
    return method == "Lock.Lock" and theirs[0] == "ok" and ours == ("error", "UNKNOWN", "mutex: session is expired")


def too_many_of_several_errors(method, request, theirs, ours):
    """Both refuse it; a list that is too long is seen while the message is read, before anything else."""
    return method == "KV.Txn" and ours == TOO_MANY and theirs[:2] == ("error", "INVALID_ARGUMENT") and \
        any(len(v) > 128 for v in lists(request))


def by_key(events):
    return sorted(events, key=lambda e: (e["kv"]["mod_revision"], e["kv"].get("key", b"")))


def long_keys_of_an_ended_lease(method, request, theirs, ours):
    if method not in ("observer", "events") or not all(isinstance(e, dict) for e in [*theirs, *ours]):
        return False
    return by_key(theirs) == by_key(ours) and any(len(e["kv"].get("key", b"")) > 511 for e in theirs)


# (name, reason, test(method, request, theirs, ours)): the answers are those of pair.py
DIFFERENCES = [
    ("the least TTL", "1.5 election timeouts, here as there, and ours are shorter: 1 s instead of 2", least_ttl),
    ("a put within a deleted range that ends in \\0", "3.4.23 takes the \\0 for a key and so overlooks the overlap",
     put_in_an_open_delete),
    ("a put in one nested transaction and a delete of its key in a later one beside it", "refused here as everywhere "
     "else in a transaction; etcd looks only for the opposite order", put_before_a_siblings_delete),
    ("which of several errors is told, if a nested transaction is too long too", "a list of more than 128 operations is "
     "not even read; etcd counts them after it has looked at the rest", too_many_of_several_errors),
    ("the order in which a lease's end deletes keys longer than 511 bytes", "they go in the order of their rows (docs/store-format.md); "
     "they have one revision", long_keys_of_an_ended_lease),
    ("a watch from a negative revision", "refused when it is made, as etcd does from 3.5 on", negative_start),
    ("a lock whose key was deleted while it waited", "3.4.23 says that it is held; etcd from 3.5 on, and ours, that it is "
     "lost", lock_lost_while_waiting),
]


def known(method, request, theirs, ours):
    """The name of the difference, or None."""
    for name, _, test in DIFFERENCES:
        if test(method, request, theirs, ours):
            return name
    return None
