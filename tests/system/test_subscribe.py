#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Services and subscribers: what is listed is there, and no event is lost or repeated, whoever dies."""
import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import DAEMONS, PATIENCE_S, Cluster, scaled, tap, until
from recipes import (BAD_ARGUMENT, COMPACTED, LOST, TIMEOUT, Forgetful, Player, example, in_line, keys)
from rpc import Rpc, RpcError, op_delete, op_put

shared = None


def the_cluster_starts():
    global shared
    shared = Cluster()
    shared.__enter__()


def the_cluster_stops():
    shared.__exit__(None)


def player():
    return Player(shared.endpoints())


class Publisher:
    """Puts 0, 1, 2 ... under a prefix, each surely once: who is unsure looks whether it is there."""

    def __init__(self, prefix):
        self.prefix, self.n, self.stop, self.failure = prefix, 0, threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        node = 1
        while not self.stop.is_set():
            try:
                with shared.rpc(node, timeout_s=5) as r:
                    while not self.stop.is_set():
                        there = r.call("range", self.prefix + b"n")[3]
                        if not there or int(there[0][4]) < self.n:
                            r.put(self.prefix + b"n", b"%d" % self.n)
                        self.n += 1
                        time.sleep(0.002)
            except (OSError, RpcError, ConnectionError):
                node = (node + 1) % shared.n
                time.sleep(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def more(self, n):
        goal = self.n + n
        until(lambda: self.n >= goal, f"{n} more are published")


def numbers(child, goal):
    """Values until one is `goal`: (last revision, [values])."""
    found, revision = [], 0
    while not found or found[-1] < goal:
        line = child.line()
        assert line is not None, child.errors
        revision, value = (int(x) for x in line.split())
        found.append(value)
    return revision, found


def nothing_is_lost_or_repeated_whoever_is_killed():
    """Daemons and a whole node; the subscriber is a program that prints what it gets."""
    c, prefix = shared, b"/kills/"
    with example("pubsub", "subscribe", prefix.decode(), "/positions/kills", endpoints=c.endpoints()) as s:
        until(lambda: "subscribed" in s.errors, "it has subscribed")
        with Publisher(prefix) as p:
            p.more(20)
            for node, daemon in ((0, "gatewayd"), (0, "watchd"), (0, "stored"), (0, "raftd"), (2, "gatewayd")):
                c.reborn(node, daemon, c.kill(node, daemon))
                p.more(20)
            leader = c.wait_leader()
            for daemon, pid in zip(DAEMONS, c.kill_node(leader)):
                c.reborn(leader, daemon, pid)
            p.more(20)
        _, got = numbers(s, p.n - 1)
        assert got == list(range(p.n)), "each once, in order"
        s.kill()


def a_subscriber_that_is_stopped_goes_on_where_it_was():
    c, prefix = shared, b"/stops/"
    got, goal = [], scaled(300, 100)
    with Publisher(prefix) as p:
        with example("pubsub", "subscribe", prefix.decode(), "/positions/stops", endpoints=c.endpoints()) as s:
            until(lambda: "subscribed" in s.errors, "it has subscribed")
            _, some = numbers(s, p.n + 20)
            first = some[0]
            got += some
            s.kill()                                     # what it printed last it may not have acknowledged
            while (line := s.line()) is not None:
                got.append(int(line.split()[1]))
        while len(got) < goal:
            p.more(10)
            with example("pubsub", "subscribe", prefix.decode(), "/positions/stops", endpoints=c.endpoints()) as s:
                _, some = numbers(s, p.n)
                s.kill()
                while (line := s.line()) is not None:
                    some.append(int(line.split()[1]))
                assert some[0] in (got[-1], got[-1] + 1), "only what was not acknowledged comes again"
                got += some[some[0] == got[-1]:]
    assert got == list(range(first, first + len(got)))


def who_acknowledges_in_the_transaction_does_each_once():
    """A sum in the cluster, while the one that adds is killed again and again."""
    c, prefix, n = shared, b"/sum/", scaled(400, 100)
    with player() as a:
        a.call("subscribe", "/sum/", "/positions/sum")   # so that it begins here
    with c.rpc(0, timeout_s=60) as r:
        for i in range(1, n + 1):
            r.put(prefix + b"%d" % (i % 3), b"%d" % i)
        total = lambda: int((r.call("range", b"/total")[3] or [[0, 0, 0, 0, b"0"]])[0][4])
        kills, seen = 0, -1
        while total() < n * (n + 1) // 2:
            with example("pubsub", "count", "/sum/", "/positions/sum", "/total", endpoints=c.endpoints()) as s:
                until(lambda: total() > max(seen, 0) or total() == n * (n + 1) // 2, "it adds")
                s.kill()
            kills, seen = kills + 1, total()
        assert total() == n * (n + 1) // 2
        print(f"# {kills} kills")


def compaction_is_told_never_silent():
    c = shared
    with player() as a, player() as b, c.rpc(0, timeout_s=60) as r:
        a.call("subscribe", "/comp/", "/positions/comp")
        r.put(b"/comp/a", b"1")
        a.says("read", 0, PATIENCE_S * 1000)
        a.call("ack", 0)
        a.kill()
        lost = r.put(b"/comp/a", b"2")
        r.put(b"/comp/a", b"3")
        last = r.put(b"/other", b"x")
        r.call("compact", last)
        b.call("subscribe", "/comp/", "/positions/comp")
        assert b.fails("read", 0, PATIENCE_S * 1000)[0] == COMPACTED
        assert b.fails("read", 0, 0)[0] == COMPACTED, "until it is answered"
        first = b.call("compacted", 0)
        assert lost < first <= last
        b.call("seek", 0, first)
        after = r.put(b"/comp/a", b"4")
        assert b.says("read", 0, PATIENCE_S * 1000) == f"event 1 {after} 1 /comp/a 4"
        # everything was acknowledged, so nothing is lost when the rest is compacted
        b.call("ack", 0)
        r.call("compact", after)
        b.call("unsubscribe", 0)
        b.call("subscribe", "/comp/", "/positions/comp")
        assert b.fails("read", 1, 100)[0] == TIMEOUT
        b.call("seek", 1, 0)
        assert b.fails("read", 1, 0)[0] == TIMEOUT


def lost_answers_neither_lose_nor_repeat():
    """Each transaction of a subscriber in turn: its answer is lost, or it is."""
    c = shared
    for done in (True, False):
        nth, struck = 1, True
        while struck:
            prefix, position = f"/lose/{done}/{nth}/", f"/positions/lose/{done}/{nth}"
            with Forgetful(c.port(0), {b"txn"}, nth, done) as proxy, c.rpc(1, timeout_s=60) as r:
                with Player(proxy.endpoint()) as p:
                    p.call("subscribe", prefix, position)
                    for i in range(3):
                        r.put(prefix.encode(), b"%d" % i)
                    for i in range(2):
                        assert p.says("read", 0, PATIENCE_S * 1000).endswith(f" {prefix} {i}")
                        p.call("ack", 0)
                with Player(c.endpoints()) as p:
                    p.call("subscribe", prefix, position)
                    assert p.says("read", 0, PATIENCE_S * 1000).endswith(f" {prefix} 2")
                struck = proxy.struck
            nth += 1
        assert nth > 4, "every transaction was struck"


def a_position_may_lie_inside_a_revision():
    c = shared
    with player() as a, c.rpc(0, timeout_s=60) as r:
        a.call("subscribe", "/txn/", "/positions/txn")
        revision, _, _ = r.txn([], [op_put(b"/txn/%d" % i, b"v") for i in range(5)])
        later, _, _ = r.txn([], [op_delete(b"/txn/", b"/txn0"), op_put(b"/other", b"v")])
        for i in range(3):
            assert a.says("read", 0, PATIENCE_S * 1000) == f"event 1 {revision} {i + 1} /txn/{i} v"
        a.call("ack", 0)
        assert r.call("range", b"/positions/txn")[3][0][4] == b"%d 3" % revision
        assert a.says("read", 0, 1000).startswith(f"event 1 {revision} 4 ")
        with player() as b:
            b.call("subscribe", "/txn/", "/positions/txn")
            got = [b.says("read", 0, PATIENCE_S * 1000) for _ in range(7)]
            assert got == [f"event 1 {revision} {i + 1} /txn/{i} v" for i in (3, 4)] + \
                [f"event 2 {later} {i + 1} /txn/{i} " for i in range(5)], got
            assert a.fails("ack", 0)[0] == LOST, "another one has it"
            b.call("ack", 0)
            assert int(r.call("range", b"/positions/txn")[3][0][4].split()[0]) > later
            assert r.call("range", b"/positions/txn")[3][0][4].endswith(b" 0")
        assert a.fails("subscribe", "/positions/", "/positions/x")[0] == BAD_ARGUMENT
        r.put(b"/positions/bad", b"12 x")
        assert a.fails("subscribe", "/txn/", "/positions/bad")[0] == BAD_ARGUMENT


def listed(child):
    line = child.line()
    assert line is not None, child.errors
    return line


def a_service_is_listed_while_it_lives():
    c = shared
    with example("service", "find", "web", endpoints=c.endpoints()) as finder:
        assert listed(finder) == "0:"
        with example("service", "register", "web", "10.0.0.1:80", 'zone "a"', endpoints=c.endpoints()) as one, \
                example("service", "register", "web", "10.0.0.2:80", "zone b", endpoints=c.endpoints()) as two:
            assert one.line() == "registered" and two.line() == "registered"
            both = '2: 10.0.0.1:80 (zone "a") 10.0.0.2:80 (zone b)'
            until(lambda: listed(finder) == both, "both are listed")
            assert two.end() == 0
            assert listed(finder) == '1: 10.0.0.1:80 (zone "a")'
            one.kill()
            assert listed(finder) == "0:"
        assert finder.end() == 0


def values_are_those_of_etcd_s_naming():
    c = shared
    with player() as a, c.rpc(0, timeout_s=60) as r:
        a.call("resolve", "naming")
        assert a.says("list", 0, 0) == "list"
        assert a.fails("list", 0, 0)[0] == TIMEOUT
        a.call("register", 5, "naming", "10.0.0.1:80", "m")
        value = r.call("range", b"naming/10.0.0.1:80")[3][0][4]
        assert value == b'{"Op":0,"Addr":"10.0.0.1:80","Metadata":"m"}', value
        assert a.says("list", 0, PATIENCE_S * 1000) == "list 10.0.0.1:80=m"
        a.call("update", 0, "n")
        assert a.says("list", 0, PATIENCE_S * 1000) == "list 10.0.0.1:80=n"
        r.put(b"naming/x", b' {"Addr" : "h\\u00e9:1", "Op":0,"Metadata":{"zone":["a",1]}} ')
        assert a.says("list", 0, PATIENCE_S * 1000) == 'list 10.0.0.1:80=n hé:1={"zone":["a",1]}'
        r.put(b"naming/y:1", b"plain")
        assert a.says("list", 0, PATIENCE_S * 1000).endswith(" y:1=plain"), "not ours, and listed all the same"
        r.call("compact", r.delete(b"naming/", b"naming0")[0])
        until(lambda: a.call("renewals", 0) == 1, "somebody deletes it, it registers again")
        until(lambda: a.says("list", 0, PATIENCE_S * 1000) == "list 10.0.0.1:80=n", "only it is left")
        a.call("unregister", 0)
        assert a.says("list", 0, PATIENCE_S * 1000) == "list"


def who_loses_its_lease_registers_again():
    c = shared
    with player() as a, c.rpc(0, timeout_s=60) as r:
        a.call("session", 60)
        a.call("register", 2, "again", "h:1", "m")
        a.call("register", 0, "again", "h:2", "m")       # under a session of its own user
        lease = {k: x for k, _, x in keys(c, b"again/")}
        r.call("lease_revoke", lease[b"again/h:1"])
        r.call("lease_revoke", lease[b"again/h:2"])
        until(lambda: a.call("renewals", 0) == 1, "registered again")
        assert [k for k, _, _ in keys(c, b"again/")] == [b"again/h:1"] and a.call("renewals", 1) == 0
        assert keys(c, b"again/")[0][2] != lease[b"again/h:1"]
        a.call("unregister", 0)
        assert keys(c, b"again/") == []


if __name__ == "__main__":
    tap([nothing_is_lost_or_repeated_whoever_is_killed, a_subscriber_that_is_stopped_goes_on_where_it_was,
         who_acknowledges_in_the_transaction_does_each_once, compaction_is_told_never_silent,
         lost_answers_neither_lose_nor_repeat, a_position_may_lie_inside_a_revision, a_service_is_listed_while_it_lives, values_are_those_of_etcd_s_naming,
         who_loses_its_lease_registers_again], always=(the_cluster_starts, the_cluster_stops))
