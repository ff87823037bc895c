# SPDX-License-Identifier: Apache-2.0
"""Faults for the test of the comparison: each turns a right answer into one that a wrong server would give.

A fault is a function (method, request, outcome) -> outcome; it changes only what it is about.
"""


def changed(message, **fields):
    return ("ok", {**message, **fields})


def count_heeds_the_limit(method, request, outcome):
    m = outcome[1]
    if method == "KV.Range" and outcome[0] == "ok" and m.get("more"):
        return changed(m, count=len(m.get("kvs", [])))
    return outcome


def more_is_forgotten(method, request, outcome):
    if method == "KV.Range" and outcome[0] == "ok" and outcome[1].get("more"):
        return ("ok", {k: v for k, v in outcome[1].items() if k != "more"})
    return outcome


def header_has_the_revision_asked_for(method, request, outcome):
    if method == "KV.Range" and outcome[0] == "ok" and request.get("revision", 0) > 0:
        return changed(outcome[1], header={**outcome[1]["header"], "revision": request["revision"]})
    return outcome


def version_lives_on(method, request, outcome):
    """A key that was deleted and made again is not at version 1."""
    kv = outcome[1].get("prev_kv") if outcome[0] == "ok" else None
    if method == "KV.Put" and kv and kv["version"] == 1:
        return changed(outcome[1], prev_kv={**kv, "version": 2})
    return outcome


def lease_is_forgotten(method, request, outcome):
    kvs = outcome[1].get("kvs", []) if outcome[0] == "ok" else []
    if method == "KV.Range" and any("lease" in kv for kv in kvs):
        return changed(outcome[1], kvs=[{k: v for k, v in kv.items() if k != "lease"} for kv in kvs])
    return outcome


def nested_header_is_absent(method, request, outcome):
    if method == "KV.Txn" and outcome[0] == "ok":
        rows = [{kind: {k: v for k, v in answer.items() if k != "header"} for kind, answer in row.items()}
                for row in outcome[1].get("responses", [])]
        return changed(outcome[1], responses=rows) if rows else outcome
    return outcome


def nested_branch_is_the_other(method, request, outcome):
    for i, row in enumerate(outcome[1].get("responses", []) if outcome[0] == "ok" else []):
        nested = row.get("response_txn")
        if nested and nested.get("succeeded"):
            rows = list(outcome[1]["responses"])
            rows[i] = {"response_txn": {k: v for k, v in nested.items() if k != "succeeded"}}
            return changed(outcome[1], responses=rows)
    return outcome


def error_has_another_code(method, request, outcome):
    return ("error", "INVALID_ARGUMENT", outcome[2]) if outcome[0] == "error" and outcome[1] == "NOT_FOUND" else outcome


def error_has_another_text(method, request, outcome):
    if outcome[0] == "error" and "compacted" in outcome[2]:
        return ("error", outcome[1], outcome[2].replace("required ", ""))
    return outcome


def descending_is_ascending(method, request, outcome):
    kvs = outcome[1].get("kvs", []) if outcome[0] == "ok" else []
    if method == "KV.Range" and request.get("sort_order") == 2 and len(kvs) > 1:
        return changed(outcome[1], kvs=kvs[::-1])
    return outcome


def deleted_pairs_come_backwards(method, request, outcome):
    kvs = outcome[1].get("prev_kvs", []) if outcome[0] == "ok" else []
    return changed(outcome[1], prev_kvs=kvs[::-1]) if len(kvs) > 1 else outcome


def least_ttl_is_not_kept(method, request, outcome):
    if method == "Lease.LeaseGrant" and outcome[0] == "ok" and request.get("TTL", 0) < 2:
        return changed(outcome[1], TTL=1)
    return outcome


def lost_lease_is_an_error(method, request, outcome):
    if method == "Lease.LeaseTimeToLive" and outcome[0] == "ok" and outcome[1].get("TTL") == -1:
        return ("error", "NOT_FOUND", "etcdserver: requested lease not found")
    return outcome


def lock_key_is_decimal(method, request, outcome):
    if method == "Lock.Lock" and outcome[0] == "ok" and request.get("lease", 0) > 9:
        return changed(outcome[1], key=b"%s/%d" % (request.get("name", b""), request["lease"]))
    return outcome


def cancel_gives_a_revision(method, request, outcome):
    m = outcome[1]
    if method == "Watch.Watch" and outcome[0] == "ok" and m.get("compact_revision"):
        return changed(m, header={**m["header"], "revision": m["compact_revision"]})
    return outcome


FAULTS = [count_heeds_the_limit, more_is_forgotten, header_has_the_revision_asked_for, version_lives_on,
          lease_is_forgotten, nested_header_is_absent, nested_branch_is_the_other, error_has_another_code,
          error_has_another_text, descending_is_ascending, deleted_pairs_come_backwards, least_ttl_is_not_kept,
          lost_lease_is_an_error, lock_key_is_decimal, cancel_gives_a_revision]
