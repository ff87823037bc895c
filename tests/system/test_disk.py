#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that fail, write short, are slow or hang: the daemon concerned ends, nothing acknowledged is lost."""
import errno
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import faults
from faults import HANGS_MS, LOG, SEED, SPARE, STATE, STORE
from harness import ROUNDS, scaled, tap, until

MEANT = rb"fatal: .*(of the log failed|cannot (commit|open|sync|mark|begin|make)|(the disk|failed or) is full|the log is damaged)"


class Loaded(faults.Loaded):
    def __init__(self, **kw):
        super().__init__(meant=MEANT, **kw)


def node_of(c, role):
    leader = c.wait_leader()
    return leader if role == "leader" else (leader + 1) % c.n


def ends_once(c, load, node, daemon, words, **fault):
    """One call fails; the daemon must not try again but end, and be as good as new after."""
    others = [i for i in range(c.n) if i != node]
    pid, since = c.pid_of(node, daemon), len(c.daemon_log(node, daemon))
    kind = fault.pop("kind")
    print(f"# {kind} {fault} on node {node}")
    getattr(c, kind)(node=node, times=1, nth=random.Random(SEED).randrange(1, 20), **fault)
    until(lambda: c.pid(node, daemon) != pid, f"{daemon} has ended")
    c.mend()
    c.says(node, daemon, words, since)
    load.progress(others)
    c.reborn(node, daemon, pid)
    load.progress()


def a_failed_write_or_sync_of_the_log_ends_raftd_at_once_and_costs_nothing():
    faults = ({"kind": "fail", "op": "sync", "error": errno.EIO}, {"kind": "fail", "op": "write", "error": errno.EIO},
              {"kind": "fail", "op": "write", "error": errno.ENOSPC}, {"kind": "short"})
    with Loaded() as (c, load):
        for _ in range(ROUNDS):
            for number, fault in enumerate(faults):
                for role in ("leader", "follower")[:scaled(2, 1 + number % 2)]:
                    ends_once(c, load, node_of(c, role), "raftd", "of the log failed", what=LOG, **fault)


def a_failed_write_of_the_store_ends_stored_and_costs_nothing():
    with Loaded() as (c, load):
        for fault in ({"kind": "fail", "op": "write", "error": errno.EIO}, {"kind": "short"},
                      {"kind": "fail", "op": "write", "error": errno.ENOSPC}):
            ends_once(c, load, node_of(c, "leader"), "stored", "fatal:", what=STORE, **fault)


def a_disk_that_stays_broken_keeps_one_node_away_and_no_other():
    with Loaded() as (c, load):
        node = node_of(c, "leader")
        others = [i for i in range(3) if i != node]
        for what in (LOG, "raft*", STATE, STORE):
            for op in ("sync", "write"):
                c.fail(op, node, what)
        c.says(node, "raftd", "fatal: .*of the log failed")
        c.kill(node, "stored")
        load.progress(others)
        c.says(node, "raftd", "fatal: cannot (open the log|make)")
        load.progress(others)
        c.mend()
        load.progress()


def no_room_for_the_next_segment_is_an_alarm_and_stops_nothing():
    with Loaded(each=1, conf=("segment_mb = 2",)) as (c, load):
        node = node_of(c, "leader")
        c.fail("write", node, SPARE, errno.ENOSPC)
        with c.rpc(node) as r:
            def alarm():
                load.clients.put(r, b"/fill", 100000)
                return "no next log segment could be made" in c.daemon_log(node, "raftd")
            until(alarm, "the alarm")
        pid = c.pid_of(node, "raftd")
        load.progress()
        assert c.pid(node, "raftd") == pid, "it did not wait until the segment was full"
        c.mend()
        c.says(node, "raftd", "the next log segment could be made after all")


def a_slow_disk_slows_its_own_clients_only():
    with Loaded() as (c, load):
        for role, ms in (("follower", 500), ("leader", 50), ("leader", 400)):
            node = node_of(c, role)
            others = [i for i in range(3) if i != node]
            term = c.admin_json(node, "raftd", "status")["term"]
            c.slow(node, LOG, ms)
            load.progress([node], 4)                     # slower, but served
            before, own = [load.clients.done(i * load.each) for i in others], load.clients.done(node * load.each)
            load.progress(others)
            after = [load.clients.done(i * load.each) - n for i, n in zip(others, before)]
            print(f"# {ms} ms at the {role}: its client did {load.clients.done(node * load.each) - own}, others {after}")
            if ms < 300 or role == "follower":
                assert c.admin_json(node, "raftd", "status")["term"] == term, "a slow disk has cost an election"
            c.mend()
            load.progress()


def a_leader_whose_disk_hangs_hands_over_and_the_others_go_on():
    with Loaded() as (c, load):
        for _ in range(scaled(2, 1) * ROUNDS):
            node = node_of(c, "leader")
            others = [i for i in range(3) if i != node]
            pid, since = c.pid_of(node, "raftd"), len(c.daemon_log(node, "raftd"))
            c.slow(node, LOG, HANGS_MS)
            until(lambda: c.leader() not in (None, node), "another leads")
            c.says(node, "raftd", "its disk is stalled", since)
            load.progress(others, scaled(300, 30))
            c.mend()
            load.progress()
            assert c.pid(node, "raftd") == pid, "it has died of it"


def a_follower_whose_disk_hangs_costs_no_election():
    with Loaded() as (c, load):
        leader = c.wait_leader()
        node, term = (leader + 1) % 3, c.admin_json(leader, "raftd", "status")["term"]
        c.slow(node, LOG, HANGS_MS)
        end = time.monotonic() + 3                       # ten election timeouts
        load.progress([i for i in range(3) if i != node], scaled(200, 30))
        until(lambda: time.monotonic() > end, "time passes")
        c.mend()
        c.mend()                                         # a file system may give these the number that the first rules had
        load.progress()
        assert c.admin_json(leader, "raftd", "status")["term"] == term, "an election"


if __name__ == "__main__":
    tap([a_failed_write_or_sync_of_the_log_ends_raftd_at_once_and_costs_nothing,
         a_failed_write_of_the_store_ends_stored_and_costs_nothing,
         a_disk_that_stays_broken_keeps_one_node_away_and_no_other,
         no_room_for_the_next_segment_is_an_alarm_and_stops_nothing, a_slow_disk_slows_its_own_clients_only,
         a_leader_whose_disk_hangs_hands_over_and_the_others_go_on, a_follower_whose_disk_hangs_costs_no_election])
