#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Barriers, queues of work and the examples of transactions, against real clusters."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import BUILD, PATIENCE_S, Cluster, tap

CLUSTER = None


def the_cluster_starts():
    global CLUSTER
    CLUSTER = Cluster(3)
    CLUSTER.__enter__()


def the_cluster_stops():
    CLUSTER.__exit__(None, None, None)


def run(*path_and_args):
    *path, args = path_and_args
    return subprocess.run([os.path.join(BUILD, *path), *args], text=True, timeout=2 * PATIENCE_S,
                          env={**os.environ, "QUORATE_ENDPOINTS": CLUSTER.endpoints()},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def barriers_and_queues_of_work():
    p = run("tests", "client", "work_cases", [])
    print("\n".join("# " + line for line in p.stdout.splitlines()))
    assert p.returncode == 0 and re.search(r"^ok 11 ", p.stdout, re.M), "a case failed"


def transfers(name):
    def transfer(*args):
        p = run("client", "example", name, args)
        return p.returncode, p.stdout
    CLUSTER.ctl("put", "bank/alice", "100")
    CLUSTER.ctl("del", "bank/bob")
    assert transfer("alice", "bob", "30") == (0, "alice 70, bob 30\n")
    assert transfer("bob", "alice", "5") == (0, "bob 25, alice 75\n")
    assert transfer("alice", "bob", "76") == (1, "alice has only 75\n")
    assert CLUSTER.ctl("get", "--prefix", "--print-value-only", "bank/").stdout.split() == ["75", "25"]
    assert transfer("alice", "bob")[0] == 100


def money_is_moved_by_a_function():
    transfers("transfer_stm")


def money_is_moved_by_a_plain_transaction():
    transfers("transfer_txn")


tap([barriers_and_queues_of_work, money_is_moved_by_a_function, money_is_moved_by_a_plain_transaction],
    always=(the_cluster_starts, the_cluster_stops))
