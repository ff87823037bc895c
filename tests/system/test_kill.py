#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Daemons die and stall under a load from three nodes; the recorded history must still be linearizable."""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import history
from harness import DAEMONS, ROUNDS, Cluster, scaled, tap, until

EACH = 3                  # clients at each node
EVERYBODY = range(3 * EACH)
PAUSED_S = 1.0            # longer than the longest election timeout of 0.3 s
SEED = int(os.environ.get("QUORATE_SEED", random.SystemRandom().randrange(1 << 32)))


def loaded(cluster):
    print(f"# QUORATE_SEED={SEED}")
    return history.Clients([cluster.port(i) for i in range(cluster.n)], random.Random(SEED), EACH,
                           pause_s=scaled(0.001, 0.005))


def progress(clients, which, more=scaled(60, 10)):
    """These clients get answers again."""
    goal = [(i, clients.done(i) + more) for i in which]
    until(lambda: all(clients.done(i) >= n for i, n in goal), f"clients {list(which)} get answers")


def roles(cluster):
    leader = cluster.wait_leader()
    return {"leader": leader, "follower": (leader + 1) % cluster.n}


def a_kill_of_any_daemon_leaves_a_linearizable_history():
    with Cluster() as c:
        with loaded(c) as clients:
            for daemon in DAEMONS * scaled(2, 1) * ROUNDS:
                for role in ("leader", "follower"):
                    node = roles(c)[role]
                    print(f"# kill -9 {daemon} of the {role}, node {node}")
                    c.reborn(node, daemon, c.kill(node, daemon))
                    progress(clients, EVERYBODY)
        history.verify(c, clients)


def a_pause_of_any_daemon_leaves_a_linearizable_history():
    with Cluster() as c:
        with loaded(c) as clients:
            for daemon in DAEMONS * ROUNDS:
                for role in ("leader", "follower"):
                    node = roles(c)[role]
                    others = [i for i in EVERYBODY if i // EACH != node]
                    print(f"# stop {daemon} of the {role}, node {node}, for {PAUSED_S} s")
                    pid = c.kill(node, daemon, signal.SIGSTOP)
                    try:
                        end = time.monotonic() + PAUSED_S
                        progress(clients, others)        # only its own work stops
                        time.sleep(max(0, end - time.monotonic()))
                    finally:
                        os.kill(pid, signal.SIGCONT)
                    progress(clients, EVERYBODY)
        history.verify(c, clients)


def a_pause_of_whole_nodes_leaves_a_linearizable_history():
    with Cluster() as c:
        with loaded(c) as clients:
            for roles_stopped in [("leader",), ("follower",), ("leader", "follower")] * ROUNDS:
                nodes = [roles(c)[role] for role in roles_stopped]
                print(f"# stop all of nodes {nodes} for {PAUSED_S} s")
                pids = [c.kill(i, d, signal.SIGSTOP) for i in nodes for d in DAEMONS]
                try:
                    end = time.monotonic() + PAUSED_S
                    if len(nodes) == 1:                  # else there is no quorum
                        progress(clients, [i for i in EVERYBODY if i // EACH not in nodes])
                    time.sleep(max(0, end - time.monotonic()))
                finally:
                    for pid in pids:
                        os.kill(pid, signal.SIGCONT)
                progress(clients, EVERYBODY)
        history.verify(c, clients)


def leaders_that_die_one_after_the_other_leave_a_linearizable_history():
    with Cluster() as c:
        with loaded(c) as clients:
            for _ in range(scaled(6, 3) * ROUNDS):
                leader = c.wait_leader()
                pids = c.kill_node(leader)
                for daemon, pid in zip(DAEMONS, pids):
                    c.reborn(leader, daemon, pid)
                progress(clients, EVERYBODY)
        history.verify(c, clients)


def everything_killed_at_once_leaves_a_linearizable_history():
    with Cluster() as c:
        with loaded(c) as clients:
            for _ in range(scaled(3, 2) * ROUNDS):
                progress(clients, EVERYBODY, 50)
                c.kill_all()
                c.start()
                progress(clients, EVERYBODY)
        history.verify(c, clients)


if __name__ == "__main__":
    tap([a_kill_of_any_daemon_leaves_a_linearizable_history, a_pause_of_any_daemon_leaves_a_linearizable_history,
         a_pause_of_whole_nodes_leaves_a_linearizable_history, leaders_that_die_one_after_the_other_leave_a_linearizable_history,
         everything_killed_at_once_leaves_a_linearizable_history])
