#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lock and Election of etcd's gRPC API, by messages made by hand over grpcio."""
import os
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
NO_LEASE = "etcdserver: requested lease not found"


def the_node_starts():
    node.__enter__()


def the_node_stops():
    node.__exit__(None, None, None)


def etcd():
    return Etcd(f"127.0.0.1:{node.port(0)}")


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
        assert e.refused(*lock, name=b"k", lease=third) == ("UNKNOWN", NO_LEASE)       # as in etcd


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
                             value=b"new") == ("UNKNOWN", NO_LEASE)
            assert e.range(name + b"/1", serializable=True)["count"] == 0


def watches():
    return node.admin_json(0, "gatewayd", "status")["watches"]


def of_two_keys_that_come_at_once_an_observer_follows_the_first():
    with etcd() as e:
        for i in range(10):
            until(lambda: watches() == 0, "the last observer has gone")
            seen = e.stream("v3electionpb.Election/Observe", "LeaderRequest", "LeaderResponse",
                            iter([{"name": b"two/%d" % i}]), timeout_s=PATIENCE_S)
            until(lambda: watches() == 1, "nobody leads, so it watches")
            e.txn(success=[{"put": {"key": b"two/%d/b" % i, "value": b"1"}}, {"put": {"key": b"two/%d/a" % i, "value": b"2"}}])
            e.put(b"two/%d/a" % i, b"3")
            e.put(b"two/%d/b" % i, b"4")
            assert [next(seen)["kv"]["value"] for _ in range(2)] == [b"1", b"4"]
            seen.cancel()


if __name__ == "__main__":
    tap([locks_are_had_one_after_the_other,
         elections_have_one_leader_who_is_observed,
         who_campaigns_in_vain_has_resigned_when_that_is_told,
         of_two_keys_that_come_at_once_an_observer_follows_the_first],
        always=(the_node_starts, the_node_stops))
