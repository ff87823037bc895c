#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Locks while processes are stopped, daemons are killed and answers are lost."""
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import DAEMONS, Cluster, tap, until
from recipes import HELD, Forgetful, Player, example, in_line, keys

shared = None
MS = 60000


def the_cluster_starts():
    global shared
    shared = Cluster()
    shared.__enter__()


def the_cluster_stops():
    shared.__exit__(None)


def player():
    return Player(shared.endpoints())


def an_old_holder_is_refused_whenever_it_was_stopped():
    """Workers on one file; each in turn is stopped between having the lock and writing, for longer than its lease."""
    c = shared
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        open(path, "w", encoding="ascii").close()
        written = lambda: [int(line.split()[0]) for line in open(path, encoding="ascii")]
        workers = [example("fenced", path, "/fenced", 1000, 50, endpoints=c.endpoints()) for _ in range(2)]

        def stopped(worker):
            """Its token, if it has not written yet and now cannot; else None."""
            while not (said := worker.line()).startswith("holding"):
                pass
            worker.strike(signal.SIGSTOP)
            token = int(said.split()[1])
            if token not in written():
                return token
            worker.strike(signal.SIGCONT)
            return None
        try:
            for worker in workers:
                token = until(lambda w=worker: stopped(w), "it is stopped in time")
                until(lambda t=token: max(written(), default=0) > t, "another one has the lock, and has written")
                worker.strike(signal.SIGCONT)
                assert worker.line() == f"refused {token}"
        finally:
            for w in workers:
                w.__exit__()
        tokens = written()
        assert tokens == sorted(set(tokens)), "no token twice, none behind a higher one"
        print(f"# {len(tokens)} written")


def there_is_one_holder_whatever_is_killed():
    """Workers take turns while each daemon of a node, and then the leader's node, is killed."""
    c = shared
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        open(path, "w", encoding="ascii").close()
        written = lambda: [int(line.split()[0]) for line in open(path, encoding="ascii")]
        workers = [example("fenced", path, "/killed", 10 ** 6, 1, endpoints=c.endpoints()) for _ in range(4)]

        def more(n):
            goal = len(written()) + n
            until(lambda: len(written()) >= goal, f"{n} more turns")
            assert all(w.p.poll() is None for w in workers), [w.errors for w in workers]
        try:
            more(20)
            for node, daemon in [(0, d) for d in DAEMONS] + [(c.wait_leader(), "raftd"), (c.wait_leader(), "leased")]:
                c.reborn(node, daemon, c.kill(node, daemon))
                more(10)
            leader = c.wait_leader()
            for daemon, pid in zip(DAEMONS, c.kill_node(leader)):
                c.reborn(leader, daemon, pid)
            more(20)
        finally:
            for w in workers:
                w.__exit__()
        tokens = written()
        assert tokens == sorted(set(tokens)), "no token twice, none behind a higher one"
        said = [line for w in workers for line in iter(lambda w=w: w.line(), None)]
        refused = sum(line.startswith("refused") for line in said)
        print(f"# {len(tokens)} turns, {refused} refused")
        assert refused <= len(workers), "only who lost its session in an outage"


def lost_answers_change_nothing():
    """Each transaction of two turns of a lock in turn: its answer is lost, or it is."""
    c = shared
    for done in (True, False):
        nth = 1
        while True:
            name = f"/lose/{done}/{nth}"
            with Forgetful(c.port(0), {b"txn"}, nth, done) as proxy, Player(proxy.endpoint()) as p, player() as q:
                p.locker(name), q.locker(name)
                token = p.call("acquire", 0, MS)
                assert keys(c, name.encode() + b"/")[0][1] == token == p.call("token", 0)
                p.call("release", 0, MS)
                assert keys(c, name.encode() + b"/") == []
                q.call("acquire", 0, MS)
                assert p.fails("try", 0, MS)[0] == HELD
                p.send("acquire", 0, MS)
                in_line(c, name.encode() + b"/", 2)
                q.call("release", 0, MS)
                assert p.ok() > token
                q.send("acquire", 0, MS)
                in_line(c, name.encode() + b"/", 2)
                p.call("release", 0, MS)
                q.ok()
                if not proxy.struck:
                    break
            nth += 1
        assert nth > 5, "every transaction was struck"
        print(f"# {nth - 1} transactions")


if __name__ == "__main__":
    tap([an_old_holder_is_refused_whenever_it_was_stopped, there_is_one_holder_whatever_is_killed,
         lost_answers_change_nothing],
        always=(the_cluster_starts, the_cluster_stops))
