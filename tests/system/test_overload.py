#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""More work than the stores can do: whoever asks is held up or refused, nothing grows, and it ends by itself."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import Cluster, scaled, tap
from rpc import AGAIN_NO, GREATER, VERSION, op_put

KEYS, COMPARES, CLIENTS = 700, 128, 3
EACH = scaled(500, 80)                   # transactions of a client, all asked at once
PATIENCE_S = 120


class Asker(threading.Thread):
    """Asks for all of them at once, and again for what was not done, until all are."""

    def __init__(self, cluster, number):
        super().__init__(daemon=True)
        self.cluster, self.number, self.refused, self.done, self.why = cluster, number, 0, 0, None

    def run(self):
        try:
            with self.cluster.rpc(self.number % 3) as r:
                self.ask(r)
        except Exception as e:                # noqa: told by whoever waits
            self.why = repr(e)

    def ask(self, r):
        heavy = [[b"\0", b"\0", VERSION, GREATER, 0, b""]] * COMPARES
        put = [op_put(b"done/%d" % self.number, b"")]
        waiting = {r.send("txn", [heavy, put, []]) for _ in range(EACH)}
        while waiting:
            _, got, error, result = r.receive()
            waiting.remove(got)
            if error is None:
                assert result[1], "all compares hold"
                self.done += 1
            else:
                assert error[2] != AGAIN_NO, error
                self.refused += 1
                waiting.add(r.send("txn", [heavy, put, []]))


def what_is_too_much_is_refused_until_it_is_not():
    with Cluster(3) as c:
        leader = c.wait_leader()
        with c.rpc(0) as r:
            for i in range(KEYS):
                r.put(b"key/%d" % i, b"")
        askers = [Asker(c, i) for i in range(CLIENTS)]
        for a in askers:
            a.start()
        end, most = time.monotonic() + PATIENCE_S, 0
        while any(a.is_alive() for a in askers):
            assert time.monotonic() < end, [(a.done, a.refused) for a in askers]
            raft = c.admin_json(leader, "raftd", "status")
            most = max(most, raft["commit"] - raft["applied"])
            askers[0].join(0.2)
        assert [a.why for a in askers] == [None] * CLIENTS
        print(f"# {sum(a.done for a in askers)} done, {sum(a.refused for a in askers)} times refused, "
              f"at most {most} waited for the leader's store")
        with c.rpc(0) as r:
            assert r.get(b"done/", b"done0").keys() == {b"done/%d" % i for i in range(CLIENTS)}


tap([what_is_too_much_is_refused_until_it_is_not])
