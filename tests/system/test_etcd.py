#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""etcd's v3 gRPC API: by messages made by hand over grpcio, and by Debian's etcdctl as it is."""
import os
import queue
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, Cluster, tap, until

try:
    import grpc
    from etcd import Etcd
except ImportError:
    print("1..0 # SKIP no python3-grpcio")
    sys.exit(0)

node = Cluster(1)                        # one for all cases, which keep to keys of their own
ZERO = b"\0"
EMPTY_KEY = ("INVALID_ARGUMENT", "etcdserver: key is not provided")
COMPACTED = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
FUTURE = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")
NO_LEASE = ("NOT_FOUND", "etcdserver: requested lease not found")


def etcd(**options):
    return Etcd(f"127.0.0.1:{node.port(0)}", **options)


class Watch:
    """A watch stream."""
    def __init__(self, e, **kw):
        self.requests = queue.Queue()
        self.answers = e.stream("Watch/Watch", "WatchRequest", "WatchResponse", iter(self.requests.get, None),
                                timeout_s=PATIENCE_S, **kw)

    def say(self, **request):
        self.requests.put(request)

    def create(self, **create):
        self.say(create=create)
        return next(self.answers)

    def events(self):
        got = next(self.answers)
        assert got["events"], got
        return [(e["type"], e["kv"]["key"], e["kv"]["value"]) for e in got["events"]]

    def end(self):
        self.requests.put(None)
        self.answers.cancel()


def op(kind, **fields):
    return {kind: fields}


def keys(got):
    return [kv["key"] for kv in got["kvs"]]


# ---- KV ----

def puts_ranges_and_deletes():
    with etcd() as e:
        first = e.put(b"a/1", b"one")
        revision = first["header"]["revision"]
        assert first["prev_kv"] is None and first["header"]["member_id"] == 1
        assert first["header"]["cluster_id"] and first["header"]["raft_term"]
        got = e.put(b"a/1", b"uno", prev_kv=True)
        assert got["header"]["revision"] == revision + 1 and got["prev_kv"]["value"] == b"one"
        for i in (3, 2):
            e.put(f"a/{i}".encode(), b"")
        kv = e.range(b"a/1")["kvs"][0]
        assert (kv["create_revision"], kv["mod_revision"], kv["version"], kv["lease"]) == (revision, revision + 1, 2, 0)
        assert keys(e.range(b"a/", b"a0")) == [b"a/1", b"a/2", b"a/3"]
        got = e.range(b"a/", b"a0", limit=2)
        assert keys(got) == [b"a/1", b"a/2"] and got["more"] and got["count"] == 3
        assert keys(e.range(b"a/", b"a0", sort_order=2, sort_target=3)) == [b"a/2", b"a/3", b"a/1"]
        got = e.range(b"a/", b"a0", max_mod_revision=revision + 1)
        assert keys(got) == [b"a/1"] and got["count"] == 3 and not got["more"], "count is without filters"
        assert e.range(b"a/", b"a0", count_only=True) == {**e.range(b"a/", b"a0", count_only=True), "kvs": [], "count": 3}
        assert e.range(b"a/1", keys_only=True)["kvs"][0]["value"] == b""
        assert e.range(b"a/1", revision=revision)["kvs"][0]["value"] == b"one"
        assert e.range(b"a/1", serializable=True)["kvs"][0]["value"] == b"uno"
        assert keys(e.range(b"a/2", ZERO))[:2] == [b"a/2", b"a/3"]
        got = e.delete(b"a/", b"a0", prev_kv=True)
        assert got["deleted"] == 3 and keys({"kvs": got["prev_kvs"]}) == [b"a/1", b"a/2", b"a/3"]
        assert e.delete(b"a/", b"a0")["deleted"] == 0


def requests_that_make_no_sense_are_told_so_in_etcd_s_words():
    kv = ("KV/Range", "RangeRequest", "RangeResponse")
    put = ("KV/Put", "PutRequest", "PutResponse")
    with etcd() as e:
        assert e.refused(*kv) == EMPTY_KEY
        assert e.refused(*kv, key=b"a", sort_order=7) == ("INVALID_ARGUMENT", "etcdserver: invalid sort option")
        assert e.refused(*kv, key=b"a", revision=10**9) == FUTURE
        assert e.refused(*put) == EMPTY_KEY
        assert e.refused(*put, key=b"n", ignore_value=True, value=b"x") == ("INVALID_ARGUMENT", "etcdserver: value is provided")
        assert e.refused(*put, key=b"n", ignore_lease=True, lease=1) == ("INVALID_ARGUMENT", "etcdserver: lease is provided")
        assert e.refused(*put, key=b"n", ignore_value=True) == ("INVALID_ARGUMENT", "etcdserver: key not found")
        assert e.refused(*put, key=b"n", lease=77) == NO_LEASE
        assert e.refused(*put, key=b"n", value=bytes(1600000)) == ("INVALID_ARGUMENT", "etcdserver: request is too large")
        code, text = e.refused(*put, key=b"n", value=bytes(3000000))
        assert code == "RESOURCE_EXHAUSTED" and text.startswith("grpc: received message larger than max ("), text
        e.put(b"n", bytes(1500000))
        assert len(e.range(b"n")["kvs"][0]["value"]) == 1500000
        e.delete(b"n")


def transactions():
    with etcd() as e:
        e.put(b"t/a", b"1")
        e.put(b"t/b", b"2")
        revision = e.range(b"t/a")["header"]["revision"]
        got = e.txn([{"target": 3, "key": b"t/a", "value": b"1"}, {"target": 0, "key": b"t/none", "version": 0}],
                    [op("put", key=b"t/c", value=b"3", prev_kv=True), op("range", key=b"t/", range_end=b"t0"),
                     op("delete", key=b"t/b", prev_kv=True)], [op("range", key=b"t/a")])
        assert got["succeeded"] and got["header"]["revision"] == revision + 1
        put, ranged, deleted = (r for r in got["responses"])
        assert put["put"]["header"]["revision"] == revision + 1 and put["put"]["header"]["cluster_id"] == 0
        assert keys(ranged["range"]) == [b"t/a", b"t/b", b"t/c"], "reads see earlier writes"
        assert deleted["delete"]["deleted"] == 1 and deleted["delete"]["prev_kvs"][0]["value"] == b"2"
        inner = {"compare": [{"target": 1, "result": 1, "key": b"t/a", "create_revision": 0}],
                 "success": [op("range", key=b"t/a"), op("range", key=b"t/c")]}
        got = e.txn([{"target": 2, "result": 2, "key": b"t/a", "mod_revision": 1}], [],
                    [op("range", key=b"t/a"), {"txn": inner}, op("range", key=b"t/", range_end=b"t0", limit=1)])
        assert not got["succeeded"] and got["header"]["revision"] == revision + 1
        assert got["responses"][0]["range"]["kvs"][0]["value"] == b"1"
        nested = got["responses"][1]["txn"]
        assert nested["succeeded"] and nested["header"]["revision"] == 0, "as etcd: there, and empty"
        assert [keys(r["range"]) for r in nested["responses"]] == [[b"t/a"], [b"t/c"]]
        assert got["responses"][2]["range"]["more"] and got["responses"][2]["range"]["count"] == 2
        txn = ("KV/Txn", "TxnRequest", "TxnResponse")
        many = ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request")
        assert e.refused(*txn, success=[op("range", key=b"t/a")] * 129) == many
        assert e.refused(*txn, compare=[{"key": b"t/a"}] * 1000) == many
        assert e.refused(*txn, success=[op("put", key=b"t/a")] * 2) == (
            "INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request")
        assert e.refused(*txn, compare=[{}]) == EMPTY_KEY
        assert e.refused(*txn, success=[{}]) == ("INVALID_ARGUMENT", "etcdserver: key not found")
        assert e.refused(*txn, success=[op("range", key=b"t/a", revision=10**9), op("put", key=b"t/a")]) == FUTURE
        assert e.txn()["succeeded"], "an empty transaction holds"


def answers_larger_than_a_step_come_whole():
    """Written in pieces whose sum is said before the first: plain, sorted, filtered, in a transaction."""
    with etcd() as e:
        value = os.urandom(900)
        for start in range(0, 1200, 100):
            e.txn(success=[op("put", key=f"l/{i:05}".encode(), value=value) for i in range(start, start + 100)])
        want = [f"l/{i:05}".encode() for i in range(1200)]
        got = e.range(b"l/", b"l0")
        assert keys(got) == want and got["count"] == 1200 and all(kv["value"] == value for kv in got["kvs"])
        got = e.range(b"l/", b"l0", limit=1100)
        assert keys(got) == want[:1100] and got["more"] and got["count"] == 1200
        assert keys(e.range(b"l/", b"l0", sort_order=2)) == want[::-1]
        low = got["kvs"][100]["mod_revision"]
        assert keys(e.range(b"l/", b"l0", min_mod_revision=low)) == want[100:]
        assert keys(e.range(b"l/", b"l0", keys_only=True)) == want
        got = e.txn(success=[op("range", key=b"l/", range_end=b"l0"), op("range", key=b"l/00001")])
        assert keys(got["responses"][0]["range"]) == want and keys(got["responses"][1]["range"]) == [b"l/00001"]
        pieces = [p["range"] for p in e.stream("KV/RangeStream", "RangeRequest", "RangeStreamResponse", iter(
            [{"key": b"l/", "range_end": b"l0", "limit": 1150}]), timeout_s=PATIENCE_S)]
        assert sum((keys(p) for p in pieces), []) == want[:1150] and len(pieces) > 3
        assert [p["header"] is not None and p["more"] and p["count"] == 1200 for p in pieces] == (
            [False] * (len(pieces) - 1) + [True]), "header, more and count are in the last one"
        small = [p["range"] for p in e.stream("KV/RangeStream", "RangeRequest", "RangeStreamResponse",
                                              iter([{"key": b"l/00007"}]), timeout_s=PATIENCE_S)]
        assert len(small) == 1 and keys(small[0]) == [b"l/00007"] and small[0]["header"]["revision"]
        calls = [e.future("KV/Range", "RangeRequest", "RangeResponse", key=b"l/", range_end=b"l0") for _ in range(10)]
        assert all(keys(c.result()) == want for c in calls), "many at once"
        assert e.delete(b"l/", b"l0")["deleted"] == 1200


def compaction():
    with etcd() as e:
        compact = ("KV/Compact", "CompactionRequest", "HeaderResponse")
        first = e.put(b"c", b"1")["header"]["revision"]
        e.put(b"c", b"2")
        e.put(b"c", b"3")
        assert e.refused(*compact, revision=10**9) == FUTURE
        e.call(*compact, revision=first + 1, physical=True)
        assert e.refused("KV/Range", "RangeRequest", "RangeResponse", key=b"c", revision=first) == COMPACTED
        assert e.range(b"c", revision=first + 1)["kvs"][0]["value"] == b"2", "the compacted revision is readable"
        assert e.refused(*compact, revision=first + 1) == COMPACTED
        w = Watch(e)
        got = w.create(key=b"c", start_revision=first)
        assert got["created"] and got["watch_id"] == 0 and not got["canceled"]
        got = next(w.answers)
        assert got["canceled"] and got["compact_revision"] == first + 1 and got["watch_id"] == 0
        assert got["header"]["revision"] == 0 and got["cancel_reason"] == ""
        w.end()


# ---- Watch ----

def watches_see_what_happens_to_their_keys():
    with etcd() as e:
        w = Watch(e)
        start = e.put(b"w/old", b"x")["header"]["revision"]
        got = w.create(key=b"w/", range_end=b"w0", prev_kv=True)
        assert got["created"] and got["watch_id"] == 0 and got["header"]["revision"] == start
        got = w.create(key=b"w/b", watch_id=7, filters=[0])
        assert got["created"] and got["watch_id"] == 7
        got = w.create(key=b"w/b", watch_id=7)
        assert got["created"] and got["canceled"] and got["watch_id"] == -1
        assert got["cancel_reason"] == "mvcc: duplicate watch ID provided on the WatchStream"
        got = w.create(key=b"w/b", range_end=b"w/a")
        assert got["canceled"] and got["watch_id"] == -1 and got["cancel_reason"] == "mvcc: watcher range is empty"
        got = w.create(key=b"w/future", start_revision=start + 1000000)
        assert got["created"] and got["watch_id"] == 1
        got = w.create(key=b"w/b", start_revision=-1)
        assert got["canceled"] and got["cancel_reason"] == COMPACTED[1]
        e.put(b"w/a", b"1")
        e.txn(success=[op("put", key=b"w/a", value=b"2"), op("put", key=b"w/b", value=b"3")])
        got = next(w.answers)
        assert got["watch_id"] == 0 and got["events"][0]["prev_kv"] is None and got["header"]["revision"] > start
        if len(got["events"]) == 1:
            got = {"events": got["events"] + next(w.answers)["events"]}
        assert [(ev["type"], ev["kv"]["key"], ev["kv"]["value"]) for ev in got["events"]] == [
            (0, b"w/a", b"1"), (0, b"w/a", b"2"), (0, b"w/b", b"3")]
        assert got["events"][1]["prev_kv"]["value"] == b"1"
        deleted = e.delete(b"w/b")["header"]["revision"]
        both = [next(w.answers), next(w.answers)]
        assert sorted(a["watch_id"] for a in both) == [0, 7]
        for a in both:
            assert a["events"][0]["type"] == 1 and a["events"][0]["kv"]["mod_revision"] == deleted
            assert a["events"][0]["kv"]["value"] == b"" and a["events"][0]["kv"]["create_revision"] == 0
            assert (a["events"][0]["prev_kv"] is not None) == (a["watch_id"] == 0)
        w.say(cancel={"watch_id": 99})       # unknown: passed over
        w.say(cancel={"watch_id": 7})
        got = next(w.answers)
        assert got["canceled"] and got["watch_id"] == 7
        got = w.create(key=b"w/a", start_revision=start + 1)
        assert got["created"] and got["watch_id"] == 2
        got = next(w.answers)
        assert [ev["kv"]["value"] for ev in got["events"]] == [b"1", b"2"] and got["watch_id"] == 2
        w.say(progress={})
        got = next(w.answers)
        assert got["watch_id"] == -1 and not got["events"] and got["header"]["revision"] >= deleted
        w.end()


def the_id_of_a_watch_that_compaction_ended_is_free_when_it_is_cancelled():
    with etcd() as e:
        w = Watch(e)
        now = e.put(b"w/id", b"x")["header"]["revision"]
        e.call("KV/Compact", "CompactionRequest", "HeaderResponse", revision=now)
        until(lambda: node.admin_json(0, "watchd", "status")["compact_revision"] == now, "watchd knows it")
        assert w.create(key=b"w/id", watch_id=1, start_revision=1)["created"] and next(w.answers)["compact_revision"] == now
        assert w.create(key=b"w/id", watch_id=1)["cancel_reason"].endswith("duplicate watch ID provided on the WatchStream")
        assert [w.create(key=b"w/id")["watch_id"] for _ in range(2)] == [0, 2], "the server passes it over too"
        w.say(cancel={"watch_id": 1})
        assert next(w.answers)["canceled"]
        assert w.create(key=b"w/id", watch_id=1)["watch_id"] == 1
        for i in range(100, 201):                # many: the last ones are kept
            assert w.create(key=b"w/id", watch_id=i, start_revision=1)["watch_id"] == i and next(w.answers)["canceled"]
        assert [w.create(key=b"w/id", watch_id=i)["watch_id"] for i in (100, 200)] == [100, -1]
        w.end()


def a_watch_with_much_to_tell_keeps_revisions_whole():
    with etcd() as e:
        for start in range(0, 9000, 125):
            e.txn(success=[op("put", key=f"m/{i:05}".encode()) for i in range(start, start + 125)])
        whole, parts = Watch(e), Watch(e)
        whole.create(key=b"m/", range_end=b"m0")
        parts.create(key=b"m/", range_end=b"m0", fragment=True)
        revision = e.delete(b"m/", b"m0")["header"]["revision"]
        got = next(whole.answers)
        assert len(got["events"]) == 9000 and not got["fragment"]
        assert {ev["kv"]["mod_revision"] for ev in got["events"]} == {revision}
        seen, more = [], True
        while more:
            got = next(parts.answers)
            seen += [ev["kv"]["key"] for ev in got["events"]]
            more = got["fragment"]
        assert seen == [f"m/{i:05}".encode() for i in range(9000)]
        whole.end()
        parts.end()


# ---- Lease ----

def leases():
    with etcd() as e:
        got = e.grant(60)
        lease = got["ID"]
        assert lease > 0 and got["TTL"] == 60
        assert e.grant(1, 1234)["TTL"] >= 1, "raised to the least there is"
        assert e.refused("Lease/LeaseGrant", "LeaseGrantRequest", "LeaseGrantResponse", TTL=60, ID=1234) == (
            "FAILED_PRECONDITION", "etcdserver: lease already exists")
        assert e.refused("Lease/LeaseGrant", "LeaseGrantRequest", "LeaseGrantResponse", TTL=9000000001) == (
            "OUT_OF_RANGE", "etcdserver: too large lease TTL")
        e.put(b"e/1", b"x", lease=lease)
        e.put(b"e/2", b"x", lease=lease)
        ttl = ("Lease/LeaseTimeToLive", "LeaseRequest", "LeaseTimeToLiveResponse")
        got = e.call(*ttl, ID=lease, keys=True)
        assert got["grantedTTL"] == 60 and 0 < got["TTL"] <= 60 and got["keys"] == [b"e/1", b"e/2"]
        got = e.call(*ttl, ID=4711)
        assert got["TTL"] == -1 and got["grantedTTL"] == 0 and got["ID"] == 4711
        alive = list(e.stream("Lease/LeaseKeepAlive", "LeaseRequest", "LeaseKeepAliveResponse",
                              iter([{"ID": lease}, {"ID": 4711}, {"ID": lease}]), timeout_s=PATIENCE_S))
        assert [(a["ID"], a["TTL"]) for a in alive] == [(lease, 60), (4711, 0), (lease, 60)]
        got = e.call("Lease/LeaseLeases", "Empty", "LeaseLeasesResponse")
        assert lease in [s["ID"] for s in got["leases"]]
        revision = e.call("Lease/LeaseRevoke", "LeaseRequest", "HeaderResponse", ID=lease)["header"]["revision"]
        assert e.range(b"e/", b"e0")["count"] == 0 and e.range(b"e/")["header"]["revision"] == revision
        assert e.refused("Lease/LeaseRevoke", "LeaseRequest", "HeaderResponse", ID=lease) == NO_LEASE


def many_keepalives_on_a_stream_are_answered_in_order():
    with etcd() as e:
        ids = [e.grant(60)["ID"] for _ in range(5)]
        asked = [{"ID": ids[i % 5]} for i in range(4000)]
        got = e.stream("Lease/LeaseKeepAlive", "LeaseRequest", "LeaseKeepAliveResponse", iter(asked),
                       timeout_s=PATIENCE_S)
        assert [a["ID"] for a in got] == [a["ID"] for a in asked]


# ---- Lock, Election ----

def locks_are_had_one_after_the_other():
    lock = ("v3lockpb.Lock/Lock", "LockRequest", "LockResponse")
    unlock = ("v3lockpb.Lock/Unlock", "UnlockRequest", "HeaderResponse")
    with etcd() as e:
        first, second, third = (e.grant(60)["ID"] for _ in range(3))
        got = e.call(*lock, name=b"k", lease=first)
        assert got["key"] == f"k/{first:x}".encode()
        assert e.call(*lock, name=b"k", lease=first) == got, "whose it is may ask again"
        waits = e.future(*lock, name=b"k", lease=second)
        until(lambda: e.range(b"k/", b"k0")["count"] == 2, "the second one waits")
        gives_up = e.future(*lock, name=b"k", lease=third)
        until(lambda: e.range(b"k/", b"k0")["count"] == 3, "the third one waits")
        gives_up.cancel()
        until(lambda: e.range(b"k/", b"k0")["count"] == 2, "who goes leaves the queue")
        assert not waits.done()
        e.call(*unlock, key=got["key"])
        assert waits.result()["key"] == f"k/{second:x}".encode()
        e.call("Lease/LeaseRevoke", "LeaseRequest", "HeaderResponse", ID=second)
        assert e.call(*lock, name=b"k")["key"].startswith(b"k/"), "with a lease of its own"
        lost = e.future(*lock, name=b"k", lease=third)
        until(lambda: e.range(b"k/", b"k0")["count"] == 2, "it waits")
        e.call("Lease/LeaseRevoke", "LeaseRequest", "HeaderResponse", ID=third)
        e.delete(e.range(b"k/", b"k0")["kvs"][0]["key"])
        try:
            raise AssertionError(lost.result())
        except grpc.RpcError as error:
            assert (error.code().name, error.details()) == ("UNKNOWN", "mutex: session is expired"), error
        assert e.refused(*lock, name=b"k", lease=third) == ("UNKNOWN", NO_LEASE[1])       # as in etcd


def elections_have_one_leader_who_is_observed():
    service = "v3electionpb.Election/"
    leader = (service + "Leader", "LeaderRequest", "LeaderResponse")
    campaign = (service + "Campaign", "CampaignRequest", "CampaignResponse")
    proclaim = (service + "Proclaim", "ProclaimRequest", "HeaderResponse")
    resign = (service + "Resign", "ResignRequest", "HeaderResponse")
    with etcd() as e:
        one, two = (e.grant(60)["ID"] for _ in range(2))
        assert e.refused(*leader, name=b"v") == ("UNKNOWN", "election: no leader")
        seen = e.stream(service + "Observe", "LeaderRequest", "LeaderResponse", iter([{"name": b"v"}]),
                        timeout_s=PATIENCE_S)
        won = e.call(*campaign, name=b"v", lease=one, value=b"1")["leader"]
        assert won == {"name": b"v", "key": f"v/{one:x}".encode(), "rev": won["rev"], "lease": one}
        waits = e.future(*campaign, name=b"v", lease=two, value=b"2")
        assert next(seen)["kv"]["value"] == b"1"
        again = e.call(*campaign, name=b"v", lease=one, value=b"one")["leader"]
        assert again == won and next(seen)["kv"]["value"] == b"one", "another value is proclaimed"
        e.call(*proclaim, leader=won, value=b"uno")
        assert next(seen)["kv"]["value"] == b"uno" and e.call(*leader, name=b"v")["kv"]["value"] == b"uno"
        assert not waits.done()
        e.call(*resign, leader=won)
        assert waits.result()["leader"]["lease"] == two and next(seen)["kv"]["value"] == b"2"
        assert e.refused(*proclaim, leader=won, value=b"x") == ("UNKNOWN", "election: not leader")
        e.call(*resign, leader=won)          # of somebody who leads no more: nothing
        assert e.call(*leader, name=b"v")["kv"]["value"] == b"2"
        assert e.refused(*resign) == ("UNKNOWN", '"leader" field must be provided')
        seen.cancel()


def who_campaigns_in_vain_has_resigned_when_that_is_told():
    with etcd() as e:
        for i in range(20):
            name = b"vain/%d" % i
            e.put(name + b"/1", b"old")
            assert e.refused("v3electionpb.Election/Campaign", "CampaignRequest", "CampaignResponse", name=name, lease=1,
                             value=b"new") == ("UNKNOWN", NO_LEASE[1])
            assert e.range(name + b"/1", serializable=True)["count"] == 0


def of_two_keys_that_come_at_once_an_observer_follows_the_first():
    with etcd() as e:
        for i in range(10):
            until(lambda: node.admin_json(0, "gatewayd", "status")["watches"] == 0, "the last observer has gone")
            seen = e.stream("v3electionpb.Election/Observe", "LeaderRequest", "LeaderResponse",
                            iter([{"name": b"two/%d" % i}]), timeout_s=PATIENCE_S)
            until(lambda: node.admin_json(0, "gatewayd", "status")["watches"] == 1, "nobody leads, so it watches")
            e.txn(success=[op("put", key=b"two/%d/b" % i, value=b"1"), op("put", key=b"two/%d/a" % i, value=b"2")])
            e.put(b"two/%d/b" % i, b"4")
            assert [next(seen)["kv"]["value"] for _ in range(2)] == [b"1", b"4"]
            seen.cancel()



# ---- the rest ----

def status_members_hash_alarms_and_health():
    with etcd() as e:
        got = e.call("Maintenance/Status", "Empty", "StatusResponse")
        assert got["dbSize"] > 0 and got["leader"] == 1 and got["version"].count(".") == 2 and got["errors"] == []
        assert got["raftAppliedIndex"] and got["raftTerm"] and got["header"]["revision"]
        assert got["downgradeInfo"] is not None, "as etcd from 3.6 on: there, and empty"
        for linearizable in (False, True):
            got = e.call("Cluster/MemberList", "MemberListRequest", "MemberListResponse", linearizable=linearizable)
            assert [m["ID"] for m in got["members"]] == [1] and got["header"]["revision"] == 0
            assert got["members"][0]["clientURLs"] == [f"http://127.0.0.1:{node.port(0)}"]
        got = e.call("Maintenance/HashKV", "HashKVRequest", "HashKVResponse")
        assert got["hash"] and got["hash_revision"] == got["header"]["revision"]
        assert e.call("Maintenance/HashKV", "HashKVRequest", "HashKVResponse") == got
        assert e.call("Maintenance/Alarm", "AlarmRequest", "HeaderResponse")["header"]["member_id"] == 1
        assert e.call("grpc.health.v1.Health/Check", "HealthRequest", "HealthResponse")["status"] == 1
        assert e.refused("grpc.health.v1.Health/Check", "HealthRequest", "HealthResponse", service="x") == (
            "NOT_FOUND", "unknown service")
        assert e.call("grpc.health.v1.Health/List", "Empty", "HealthListResponse")["statuses"] == [
            {"key": "", "value": {"status": 1}}]
        watching = e.stream("grpc.health.v1.Health/Watch", "HealthRequest", "HealthResponse", iter([{}]))
        assert next(watching)["status"] == 1
        watching.cancel()


def what_is_missing_says_so():
    with etcd() as e:
        for rpc, words in (("Cluster/MemberAdd", "membership changes are"), ("Maintenance/Defragment", "defragmentation is"),
                           ("Maintenance/Snapshot", "snapshots for clients are"), ("Auth/AuthEnable", "authentication is"),
                           ("Auth/UserAdd", "authentication is")):
            assert e.refused(rpc, "Empty", "Empty") == ("UNIMPLEMENTED", f"etcdserver: {words} not implemented yet")
        assert e.refused("Maintenance/Alarm", "AlarmRequest", "Empty", action=1, alarm=1) == (
            "UNIMPLEMENTED", "etcdserver: alarms are not implemented yet")
        assert e.refused("KV/Frobnicate", "Empty", "Empty") == ("UNIMPLEMENTED", "unknown method /etcdserverpb.KV/Frobnicate")
        assert e.refused("KV/RangeStream", "RangeRequest", "Empty", key=b"a", sort_order=2) == (
            "UNIMPLEMENTED", "RangeStream does not support custom sort orders")
        assert e.refused("a.B/C", "Empty", "Empty") == ("UNIMPLEMENTED", "unknown service /a.B/C")
        try:
            e.raw("KV/Put", b"\x0a\xff")
            raise AssertionError("taken")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INTERNAL, error


def authentication_is_off_and_says_so():
    """A client that has a password asks for a token first, and goes on without one when it is told this."""
    with etcd() as e:
        got = e.call("Auth/AuthStatus", "Empty", "AuthStatusResponse")
        assert not got["enabled"] and got["authRevision"] == 1 and got["header"]["revision"]
        assert e.refused("Auth/Authenticate", "LockRequest", "Empty", name=b"root") == (
            "FAILED_PRECONDITION", "etcdserver: authentication is not enabled")
        for rpc in ("Auth/UserList", "Auth/RoleList"):
            assert e.call(rpc, "Empty", "HeaderResponse")["header"]["member_id"] == 1


def callers_metadata_counts():
    with etcd() as e:
        assert e.range(b"h", metadata=(("hasleader", "true"), ("client-api-version", "3.5.0")))["count"] == 0
        node.kill(0, "raftd", sig=19)        # STOP: no read index, no log
        pid = node.pid(0, "raftd")
        try:
            refused = e.refused("KV/Range", "RangeRequest", "RangeResponse", key=b"h", timeout_s=0.5)
            assert refused[0] == "DEADLINE_EXCEEDED", refused
            e.range(b"h", serializable=True)
            w = Watch(e)
            assert w.create(key=b"h")["created"], "a watch begins without a quorum, as etcd's"
            w.end()
            until(lambda: node.admin_json(0, "gatewayd", "status")["requests_in_flight"] == 0,
                  "what nobody waits for any more is dropped")
        finally:
            os.kill(pid, 18)
        until(lambda: e.put(b"h", b"1"), "it goes on")


def an_authority_may_be_a_whole_url():
    with etcd(grpc__default_authority=f"http://127.0.0.1:{node.port(0)}") as e:
        assert e.put(b"authority")["header"]["revision"]


def streams_that_want_a_leader_end_without_one():
    """Of three nodes two die; the third has no leader then."""
    with Cluster(3) as c:
        leader = c.wait_leader()
        with Etcd(f"127.0.0.1:{c.port(leader)}") as e:
            e.put(b"a")
            plain, wanting = Watch(e), Watch(e, metadata=(("hasleader", "true"),))
            assert plain.create(key=b"a")["created"] and wanting.create(key=b"a")["created"]
            for i in range(3):
                if i != leader:
                    os.kill(c.pid(i, "raftd"), 19)
            try:
                got = next(wanting.answers)
                raise AssertionError(got)
            except grpc.RpcError as error:
                assert (error.code().name, error.details()) == ("UNAVAILABLE", "etcdserver: no leader"), error
            got = e.refused("KV/Range", "RangeRequest", "RangeResponse", key=b"a", metadata=(("hasleader", "true"),))
            assert got == ("UNAVAILABLE", "etcdserver: no leader"), got
            assert e.range(b"a", serializable=True)["count"] == 1
            for i in range(3):
                if i != leader:
                    os.kill(c.pid(i, "raftd"), 18)
            until(lambda: c.admin_json(leader, "gatewayd", "status")["leader"] != 0, "a leader is there again")
            e.put(b"a", b"1")
            assert plain.events() == [(0, b"a", b"1")]
            plain.end()


def connections_end_with_grace_when_gatewayd_stops():
    with Cluster(1) as c, Etcd(f"127.0.0.1:{c.port(0)}") as e:
        e.put(b"a")
        w = Watch(e)
        assert w.create(key=b"a")["created"]
        os.kill(c.pid(0, "gatewayd"), 15)
        try:
            got = next(w.answers)
            raise AssertionError(got)
        except grpc.RpcError as error:
            assert (error.code().name, error.details()) == ("UNAVAILABLE", "etcdserver: server stopped"), error


# ---- etcdctl ----

def ctl(*args, stdin="", code=0):
    done = subprocess.run(["etcdctl", "--endpoints", f"127.0.0.1:{node.port(0)}", *args], input=stdin.encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=2 * PATIENCE_S, check=False,
                          env={**os.environ, "ETCDCTL_API": "3"})
    assert done.returncode == code, f"etcdctl {args}: {done.returncode} {done.stdout} {done.stderr}"
    return done.stdout.decode() if code == 0 else done.stderr.decode()


def etcdctl_works_as_it_is():
    if not shutil.which("etcdctl"):
        print("# no etcdctl")
        return
    assert ctl("put", "z/1", "one") == "OK\n"
    assert ctl("get", "z/1") == "z/1\none\n"
    assert ctl("put", "z/1", "uno", "--prev-kv") == "OK\nz/1\none\n"
    assert ctl("txn", stdin='value("z/1") = "uno"\n\nput z/2 two\nget z/1\n\nget z/none\n\n') == (
        "SUCCESS\n\nOK\n\nz/1\nuno\n")
    assert ctl("get", "--prefix", "z/", "--keys-only", "--order", "DESCEND", "--sort-by", "KEY") == "z/2\n\nz/1\n\n"
    assert "etcdserver: key is not provided" in ctl("put", "", "x", code=1)
    lease = ctl("lease", "grant", "60").split()[1]
    assert ctl("put", "z/3", "three", f"--lease={lease}") == "OK\n"
    assert "attached keys([z/3])" in ctl("lease", "timetolive", lease, "--keys")
    assert lease in ctl("lease", "list")
    assert ctl("lease", "keep-alive", "--once", lease) == f"lease {lease} keepalived with TTL(60)\n"
    assert ctl("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert ctl("get", "z/3") == ""
    watcher = subprocess.Popen(["etcdctl", "--endpoints", f"127.0.0.1:{node.port(0)}", "watch", "z/w"],
                               stdout=subprocess.PIPE, env={**os.environ, "ETCDCTL_API": "3"})
    try:
        until(lambda: node.admin_json(0, "gatewayd", "status")["watches"] > 0, "etcdctl watches")
        ctl("put", "z/w", "seen")
        assert [watcher.stdout.readline() for _ in range(3)] == [b"PUT\n", b"z/w\n", b"seen\n"]
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()
    assert ctl("del", "z/", "--prefix") == "3\n"
    revision = int(ctl("get", "z/", "-w", "fields").split('"Revision" : ')[1].split()[0])
    assert ctl("compaction", str(revision)) == f"compacted revision {revision}\n"
    assert "node0" in ctl("member", "list") and "true" in ctl("endpoint", "status")
    ctl("endpoint", "health")
    ctl("endpoint", "hashkv")
    assert "http://127.0.0.1" in ctl("endpoint", "hashkv", "--cluster"), "which says so as its :authority"
    assert ctl("alarm", "list") == ""
    assert ctl("lock", "z/lock", "echo", "had it") == "had it\n"


def the_node_starts():
    node.__enter__()


def the_node_stops():
    node.__exit__(None, None, None)


if __name__ == "__main__":
    tap([puts_ranges_and_deletes, requests_that_make_no_sense_are_told_so_in_etcd_s_words, transactions,
         answers_larger_than_a_step_come_whole, compaction, watches_see_what_happens_to_their_keys,
         the_id_of_a_watch_that_compaction_ended_is_free_when_it_is_cancelled,
         a_watch_with_much_to_tell_keeps_revisions_whole, leases, many_keepalives_on_a_stream_are_answered_in_order,
         locks_are_had_one_after_the_other, elections_have_one_leader_who_is_observed,
         who_campaigns_in_vain_has_resigned_when_that_is_told, of_two_keys_that_come_at_once_an_observer_follows_the_first,
         status_members_hash_alarms_and_health, what_is_missing_says_so, authentication_is_off_and_says_so,
         callers_metadata_counts, an_authority_may_be_a_whole_url, etcdctl_works_as_it_is,
         streams_that_want_a_leader_end_without_one,
         connections_end_with_grace_when_gatewayd_stops], always=(the_node_starts, the_node_stops))
