#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ours beside Debian's etcd: both up on the same disk, loaded in turns by bench_etcd, and the ratios.

    QUORATE_BUILD=build/release bench/bench_etcd.py [--nodes 1,3] [--only put,memory] [--seconds 3] [--turns 3]
                                                    [--puts 500000]

Both clusters stay up for all of a run, and each measurement follows the other's within seconds: on a machine that
others use too, only the ratios mean anything. Of the turns the median ratio counts. README.md has the targets.
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tests", "lib"), os.path.join(HERE, "..", "tests", "etcd")]

from harness import BUILD, DAEMONS, Cluster, Ports, Skip, die_with_parent, memory_kib, until
from server import Peer, need_etcd

BENCH = os.path.join(BUILD, "bench", "bench_etcd")
LINE = re.compile(r"(\d+)/s, p50 ([\d.]+) p99 ([\d.]+) max")
GAP_S, BEFORE_KILL_S = 8, 2

# name, words for bench_etcd, nodes, what counts, target: {nodes: least (or most, if below 1) ratio ours / theirs}
RATES = [
    ("put, 256 B, 8 x 32", ["put"], "rate", {1: 2.5, 3: 3.0}),
    ("put, 256 B, 8 x 32", ["put"], "p99", {1: 1 / 3, 3: 1 / 3}),
    ("get, linearizable", ["get"], "rate", {1: 8.0, 3: 8.0}),
    ("get, serializable", ["get-serializable"], "rate", {1: 10.0, 3: 10.0}),
    ("range of 1,000", ["range", "-c", "4", "-s", "4"], "rate", {1: 5.0, 3: 5.0}),
    ("compare and swap", ["cas"], "rate", {1: 2.5, 3: 2.5}),
    ("watch, 1,000 on 10 streams", ["watch", "-c", "10", "-v", "64"], "rate", {1: 3.0, 3: 3.0}),
    ("keepalive, 8 x 32", ["keepalive"], "rate", {1: 5.0, 3: 5.0}),
    ("a lone put", ["put", "-c", "1", "-s", "1"], "p50", {1: 1.0, 3: 1.0}),
]


class Theirs:
    """Debian's etcd, started again at once when it is killed, as `quorate up` does with ours."""
    name = "etcd"

    def __init__(self, nodes):
        self.n = nodes
        self.dir = tempfile.mkdtemp(prefix="quorate-bench-etcd-")
        self.ports = Ports(2 * nodes)
        self.log = open(os.path.join(self.dir, "log"), "ab")
        self.processes = [self.start(i) for i in range(nodes)]
        until(self.ready, "etcd is ready")

    def url(self, i, peer):
        return f"http://127.0.0.1:{self.ports.base + 2 * i + peer}"

    def start(self, i):
        client, peer = self.url(i, 0), self.url(i, 1)
        cluster = ",".join(f"n{k}={self.url(k, 1)}" for k in range(self.n))
        return subprocess.Popen(
            ["etcd", "--name", f"n{i}", "--data-dir", os.path.join(self.dir, f"n{i}"), "--listen-client-urls", client,
             "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", cluster, "--logger", "zap", "--log-level", "error", "--quota-backend-bytes",
             str(8 << 30)], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=die_with_parent)

    def address(self, i):
        return f"127.0.0.1:{self.ports.base + 2 * i}"

    def ready(self):
        done = subprocess.run([BENCH, self.address(0), "put", "-n", "1", "-c", "1", "-s", "1"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def leader(self):
        for i in range(self.n):
            peer = Peer("etcd", self.address(i))
            _, status = peer.call("Maintenance.Status", {})
            peer.close()
            if status["leader"] == status["header"]["member_id"]:
                return i
        raise AssertionError("nobody leads")

    def kill(self, i):
        self.processes[i].kill()
        self.processes[i].wait()
        self.processes[i] = self.start(i)

    def memory_kib(self):
        return sum(memory_kib(p.pid, "RssAnon") for p in self.processes)

    def close(self):
        for p in self.processes:
            p.terminate()
        for p in self.processes:
            p.wait()
        self.log.close()
        self.ports.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Ours:
    name = "ours"

    def __init__(self, nodes):
        self.n = nodes
        self.cluster = Cluster(nodes=nodes)
        self.cluster.__enter__()
        peer = Peer("ours", self.address(0))
        if peer.call("Maintenance.Status", {})[0] != "ok":
            self.cluster.__exit__(Skip)
            raise SystemExit("this gatewayd does not speak gRPC")
        peer.close()

    def address(self, i):
        return f"127.0.0.1:{self.cluster.port(i)}"

    def leader(self):
        return self.cluster.wait_leader()

    def kill(self, i):
        self.cluster.kill_node(i)

    def memory_kib(self):
        return sum(memory_kib(self.cluster.pid_of(i, d), "RssAnon") for i in range(self.n) for d in DAEMONS)

    def close(self):
        self.cluster.__exit__(None)


def bench(cluster, *words):
    addresses = ",".join(cluster.address(i) for i in range(cluster.n))
    done = subprocess.run([BENCH, addresses, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        raise SystemExit(f"{cluster.name}: bench_etcd {' '.join(words)}: {done.stdout}")
    return done.stdout


def figures(text):
    rate, p50, p99 = LINE.search(text).groups()
    return {"rate": float(rate), "p50": float(p50), "p99": float(p99)}


def row(nodes, name, what, theirs, ours, target):
    """One line; theirs and ours are lists, measured in turns."""
    ratios = sorted(b / a for a, b in zip(theirs, ours))
    ratio = statistics.median(ratios)
    met = ratio <= target if target <= 1 else ratio >= target
    wish = f"<= {target:.2f}" if target <= 1 else f">= {target:g}"
    print(f"| {nodes} | {name}, {what} | {statistics.median(theirs):,.6g} | {statistics.median(ours):,.6g} "
          f"| {ratio:.3g} ({ratios[0]:.3g} to {ratios[-1]:.3g}) | {wish} | {'yes' if met else '**no**'} |", flush=True)


def rates(o, nodes, pair):
    taken = {}
    for name, words, what, targets in RATES:
        if o.only and not any(part in words[0] or part in name for part in o.only):
            continue
        key = tuple(words)
        if key not in taken:
            taken[key] = [[figures(bench(c, *words, "-d", f"{o.seconds}s")) for c in pair] for _ in range(o.turns)]
        row(nodes, name, {"rate": "per second"}.get(what, f"{what}, ms"), [t[0][what] for t in taken[key]],
            [t[1][what] for t in taken[key]], targets[nodes])


def gap(cluster, i):
    """The longest time without an answer when node i is killed, in seconds."""
    addresses = ",".join(cluster.address(k) for k in range(cluster.n))
    probe = subprocess.Popen([BENCH, addresses, "gap", "-d", f"{GAP_S}s"], stdout=subprocess.PIPE, text=True)
    time.sleep(BEFORE_KILL_S)
    cluster.kill(i)
    return float(re.search(r"gap: ([\d.]+) s", probe.communicate()[0]).group(1))


def wanted(o, name):
    return not o.only or any(part in name for part in o.only)


def kills(o, nodes, pair):
    name = "restart" if nodes == 1 else "leader"
    if not wanted(o, name):
        return
    seen = [[gap(c, c.leader() if nodes > 1 else 0) for c in pair] for _ in range(o.turns)]
    row(nodes, "no answer after kill -9 of the node" if nodes == 1 else "no put after kill -9 of the leader's node",
        "s", [s[0] for s in seen], [s[1] for s in seen], 1 / 10 if nodes == 1 else 1 / 3)


def memory(o, nodes, pair):
    """A million keys at most; the puts go to new keys."""
    if nodes != 1 or not wanted(o, "memory"):
        return
    seen = []
    for c in pair:
        bench(c, "fill", "-k", str(o.puts))
        seen.append(c.memory_kib() / 1024)
    row(nodes, f"anonymous memory after {o.puts:,} puts", "MiB", seen[:1], seen[1:], 1 / 5)


def load_average():
    with open("/proc/loadavg", encoding="ascii") as f:
        return f.read().split()[0]


def main():
    p = argparse.ArgumentParser(description="Compares ours with Debian's etcd.")
    p.add_argument("--nodes", default="1,3")
    p.add_argument("--only", default="", help="parts of names: put,get,range,cas,watch,keepalive,restart,leader,memory")
    p.add_argument("--seconds", type=float, default=3, help="of each measurement")
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--puts", type=int, default=500000, help="for the memory")
    o = p.parse_args()
    o.only = [part for part in o.only.split(",") if part]
    try:
        need_etcd()
    except Skip as why:
        raise SystemExit(str(why)) from None
    print(f"load average {load_average()}, {os.cpu_count()} cores, {o.turns} turns of {o.seconds:g} s")
    print("\n| nodes | | etcd | ours | ratio | target | met |\n|---|---|---|---|---|---|---|", flush=True)
    for nodes in (int(n) for n in o.nodes.split(",")):
        pair = []
        try:
            for kind in (Theirs, Ours):
                pair.append(kind(nodes))
                bench(pair[-1], "fill")
            rates(o, nodes, pair)
            kills(o, nodes, pair)
            memory(o, nodes, pair)
        finally:
            for c in pair:
                c.close()
    print(f"\nload average {load_average()}")


if __name__ == "__main__":
    main()
