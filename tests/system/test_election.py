#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Elections: one leader, who hands over, is observed, and changes nothing once it leads no more."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import Cluster, Ports, tap, until
from recipes import BAD_ARGUMENT, LOST, NOT_FOUND, TIMEOUT, Forgetful, Player, example, in_line, keys

shared = early = None
MS = 60000
CALL_S = 10                                              # of a call that is not told how long it may take


def the_cluster_starts():
    """There is a candidate before it, where nobody listens yet."""
    global shared, early
    shared, early = Cluster(), Early()
    shared.__enter__()


def the_cluster_stops():
    early.__exit__()
    shared.__exit__(None)


class Early:
    def __init__(self):
        self.ports, self.begun, self.proxy = Ports(1), time.monotonic(), None
        self.leader = example("leader", "/early", "z", endpoints=f"127.0.0.1:{self.ports.base}")

    def __exit__(self, *_):
        self.leader.__exit__()
        if self.proxy:
            self.proxy.__exit__()
        self.ports.close()


def player():
    return Player(shared.endpoints())


def an_election_has_one_leader_and_is_observed():
    c = shared
    with player() as a, player() as b, player() as o:
        o.call("observe", "/el")
        assert o.fails("leader", "/el")[0] == NOT_FOUND
        assert o.says("observed", 0, MS) == "nobody"
        a.call("session", 60), b.call("session", 2)
        a.call("election", 0, "/el"), b.call("election", 0, "/el")
        first = a.call("campaign", 0, MS, "a1")
        assert o.says("observed", 0, MS) == "leader a1" and o.says("leader", "/el") == "leader a1"
        b.send("campaign", 0, MS, "b1")
        in_line(c, b"/el/", 2)
        a.call("proclaim", 0, "a2")
        assert o.says("observed", 0, MS) == "leader a2"
        a.call("resign", 0)
        assert b.ok() > first
        assert o.says("observed", 0, MS) == "leader b1"
        assert a.fails("proclaim", 0, "a3")[0] == BAD_ARGUMENT
        a.send("campaign", 0, MS, "a4")
        in_line(c, b"/el/", 2)
        assert o.fails("observed", 0, 0)[0] == TIMEOUT, "a candidate is no leader"
        b.kill()
        a.ok()
        assert o.says("observed", 0, MS) == "leader a4"
        with c.rpc(0) as r:
            r.call("delete", keys(c, b"/el/")[0][0])
        assert a.fails("proclaim", 0, "a5")[0] == LOST
        assert o.says("observed", 0, MS) == "nobody"


def a_leader_hands_over_and_one_that_was_stopped_changes_nothing():
    c = shared
    leaders = {name: example("leader", "/lead", name, endpoints=c.endpoints()) for name in ("x", "y")}
    try:
        work = lambda: (c.ctl("get", "/lead.work", "--print-value-only").stdout, c.ctl("get", "/lead/", "--prefix").stdout)
        holder = lambda: c.ctl("get", "/lead/", "--prefix", "--sort-by", "CREATE", "--order", "ASCEND", "--limit",
                               "1").stdout.split("\n")
        until(lambda: len(keys(c, b"/lead/")) == 2, "both are there")
        first = holder()[1]
        second = "y" if first == "x" else "x"
        assert leaders[first].line().startswith("leading ")
        leaders[first].strike(signal.SIGSTOP)
        assert leaders[second].line().startswith("leading ")
        leaders[first].strike(signal.SIGCONT)
        assert leaders[first].line().startswith("lost "), "and it stands for election again"
        key = holder()[0]
        until(lambda: work()[0].strip() == key, "the new leader works")
        until(lambda: len(keys(c, b"/lead/")) == 2, "both are there again")
        code = leaders[second].end()
        assert code == 0, (code, leaders[second].errors)
        assert leaders[second].line().startswith("resigning ")
        assert leaders[first].line().startswith("leading ")
    finally:
        for child in leaders.values():
            child.__exit__()


def who_stands_before_there_is_a_cluster_waits_for_it():
    """For longer than one call takes: most of that time the other cases have taken."""
    child = early.leader
    until(lambda: child.p.poll() is not None or time.monotonic() > early.begun + CALL_S + 1, "its time has come")
    assert child.p.poll() is None, child.errors
    early.proxy = Forgetful(shared.port(0), {}, 0, at=early.ports.base)
    assert child.line().startswith("leading ")
    assert child.end() == 0
    with example("leader", "/early", "z", endpoints="127.0.0.1:1") as hopeless:
        until(lambda: len(os.listdir(f"/proc/{hopeless.p.pid}/task")) == 3, "it runs: one thread waits for the signal")
        assert hopeless.end() == 0, "it can be stopped while it waits"


if __name__ == "__main__":
    tap([an_election_has_one_leader_and_is_observed,
         a_leader_hands_over_and_one_that_was_stopped_changes_nothing,
         who_stands_before_there_is_a_cluster_waits_for_it],
        always=(the_cluster_starts, the_cluster_stops))
