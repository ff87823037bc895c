#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Between the nodes: altered, repeated, lost and replayed bytes, partitions. History stays linearizable."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import faults
import history
import hostile
from harness import ROUNDS, scaled, tap, until

SEED = int(os.environ.get("QUORATE_SEED", random.SystemRandom().randrange(1 << 32)))


class Wired(faults.WiredCluster):
    """Three nodes that reach each other through proxies; what they do to the bytes is up to the case."""

    def mangle(self, how):
        for wire in self.wires.values():
            wire.mangle = how

    def connections(self):
        return sum(w.connections for w in self.wires.values())


def seeded():
    print(f"# QUORATE_SEED={SEED}")
    return random.Random(SEED)


def clients_of(c, rng):
    return history.Clients([c.port(i) for i in range(3)], rng, pause_s=scaled(0.001, 0.005))


def under(mangle, times):
    """Mangles one chunk on some link, under load; its connection must end and come again; and so on."""
    rng = seeded()
    with Wired() as c:
        with clients_of(c, rng) as clients:
            until(lambda: all(clients.done(i) > 50 for i in range(3)), "a load")
            for _ in range(times * ROUNDS):
                before = c.connections()
                first = threading.Lock()                 # of the wires' threads one gets it, for good

                def once(data, up, at, first=first):
                    if len(data) < 24 or rng.random() < 0.8 or not first.acquire(blocking=False):
                        return data
                    return mangle(rng, data)

                c.mangle(once)
                until(lambda: c.connections() > before, "a connection was given up and made again")
                c.mangle(None)
                goal = [clients.done(i) + 20 for i in range(3)]
                until(lambda: all(clients.done(i) > goal[i] for i in range(3)), "all go on")
            until(c.links_up, "all links are up")
        history.verify(c, clients)


def flip(rng, data):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]


def an_altered_byte_ends_the_connection_and_nothing_else():
    under(flip, scaled(10, 4))


def repeated_bytes_end_the_connection_and_nothing_else():
    under(lambda rng, data: data + data, scaled(5, 2))


def lost_bytes_end_the_connection_and_nothing_else():
    under(lambda rng, data: data[rng.randrange(1, len(data)):], scaled(5, 2))


def a_recorded_connection_replayed_convinces_nobody():
    with Wired() as c:
        until(c.links_up, "all links are up")
        before = c.connections()
        wire = c.wires[0, 2]
        until(lambda: len(wire.first_words[-1]) > 200, "a handshake and some frames behind it have been recorded")
        recorded = wire.first_words[-1]
        assert recorded.startswith(b"QUORPEER")
        for words in (recorded, recorded + recorded, recorded[:36], recorded[:100]):
            answer = hostile.say(c.peer_port(2), words, half_close=False)
            assert answer is not None, "a replayed connection is kept open"
            assert len(answer) < 400, f"it was told {len(answer)} bytes"
        assert c.connections() == before and c.links_up(), "a replay has disturbed a link"


def others_bytes_are_no_handshake():
    """What one node says to another, said to a third."""
    with Wired() as c:
        until(c.links_up, "all links are up")
        wire = c.wires[0, 1]
        until(lambda: len(wire.first_words[-1]) > 200, "a handshake and some frames behind it have been recorded")
        words = wire.first_words[-1]
        assert hostile.say(c.peer_port(2), words, half_close=False) == b"", "meant for another node, and answered"
        assert c.links_up()


def a_leader_cut_off_serves_nothing_stale():
    rng = seeded()
    with Wired() as c:
        with clients_of(c, rng) as clients:
            until(lambda: all(clients.done(i) > 50 for i in range(3)), "a load")
            for _ in range(scaled(3, 2) * ROUNDS):
                leader = c.wait_leader()
                c.cut(leader)
                others = [i for i in range(3) if i != leader]
                goal = {i: clients.done(i) + 100 for i in others}
                until(lambda: all(clients.done(i) > goal[i] for i in others), "the majority goes on")
                c.mangle(None)
                goal = {i: clients.done(i) + 20 for i in range(3)}
                until(lambda: all(clients.done(i) > goal[i] for i in range(3)), "after healing all go on")
        history.verify(c, clients)


def a_follower_cut_off_comes_back_without_disturbing_the_leader():
    rng = seeded()
    with Wired() as c:
        with clients_of(c, rng) as clients:
            leader = c.wait_leader()
            term = c.admin_json(leader, "raftd", "status")["term"]
            c.cut((leader + 1) % 3)
            goal = clients.done(leader) + 200
            end = time.monotonic() + 3                   # it had time for ten elections
            until(lambda: clients.done(leader) > goal and time.monotonic() > end, "the others go on")
            c.mangle(None)
            until(c.links_up, "all links are up")
            assert c.admin_json(leader, "raftd", "status")["term"] == term and c.leader() == leader, "a new election"
        history.verify(c, clients)


if __name__ == "__main__":
    tap([an_altered_byte_ends_the_connection_and_nothing_else, repeated_bytes_end_the_connection_and_nothing_else,
         lost_bytes_end_the_connection_and_nothing_else, a_recorded_connection_replayed_convinces_nobody,
         others_bytes_are_no_handshake, a_leader_cut_off_serves_nothing_stale,
         a_follower_cut_off_comes_back_without_disturbing_the_leader])
