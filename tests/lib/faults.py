# SPDX-License-Identifier: Apache-2.0
"""Clusters whose disks and clocks a test can break while they run (tests/lib/preload_*.c)."""
import errno
import mmap
import os
import random
import re
import struct
import subprocess

import history
import hostile
from harness import BUILD, QUORATE, Cluster, scaled, until

SEED = int(os.environ.get("QUORATE_SEED", random.SystemRandom().randrange(1 << 32)))
HOUR_MS = 3600 * 1000
HANGS_MS = 24 * HOUR_MS
LOG, SPARE, STORE, STATE = "raft/*.seg", "raft/*.tmp", "store/*.mdb", "store/STATE*"


def preloads(*names):
    return " ".join(os.path.join(BUILD, "tests", "lib", f"preload_{name}.so") for name in names)


class FaultyCluster(Cluster):
    """Its daemons see the disk and the wall clock that the test wants them to see."""

    def __init__(self, nodes=3, conf=(), **kw):
        super().__init__(nodes, **kw)
        self.conf = conf
        self.rules_path = os.path.join(self.dir, "disk.rules")
        self.clock_dir = os.path.join(self.dir, "clocks")
        os.mkdir(self.clock_dir)
        self.clocks = []
        for i in range(nodes):
            with open(os.path.join(self.clock_dir, f"node{i}"), "w+b") as f:
                f.truncate(4096)
                self.clocks.append(mmap.mmap(f.fileno(), 4096))
        self.rules = []
        self.write_rules()
        self.env.update(QUORATE_FAULT_DISK=self.rules_path, QUORATE_FAULT_CLOCK=self.clock_dir,
                        LD_PRELOAD=preloads("disk", "clock"))

    def __enter__(self):
        self.prepare()
        return super().__enter__()

    def __exit__(self, *why):
        self.mend()
        try:
            super().__exit__(*why)
        finally:
            for clock in self.clocks:
                clock.close()

    def prepare(self):
        """The configuration, with lines of the test's own."""
        subprocess.run([QUORATE, "init", "--dir", self.data(), "--nodes", str(self.n), "--base-port", str(self.base)],
                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, check=True)
        for i in range(self.n):
            path = os.path.join(self.node_dir(i), "quorate.conf")
            with open(path, encoding="ascii") as f:
                text = f.read()
            for line in self.conf:
                key = line.split()[0]
                text = re.sub(rf"^#? ?{key} = .*\n", "", text, flags=re.M) + line + "\n"
            with open(path, "w", encoding="ascii") as f:
                f.write(text)

    # disks

    def write_rules(self):
        """Replaced whole: a daemon sees the old rules or the new ones."""
        with open(self.rules_path + ".new", "w", encoding="ascii") as f:
            f.writelines(rule + "\n" for rule in self.rules)
        os.rename(self.rules_path + ".new", self.rules_path)

    def rule(self, op, node, what, how, nth=1, times=0):
        self.rules.append(f"{op} */node{node}/data/{what} {nth} {times} {how}")
        self.write_rules()

    def fail(self, op, node, what, error=errno.EIO, **kw):
        """op: sync or write; what: one of LOG, SPARE, STORE, STATE."""
        self.rule(op, node, what, f"fail {error}", **kw)

    def short(self, node, what, **kw):
        self.rule("write", node, what, "short 0", **kw)

    def slow(self, node, what, ms, op="sync"):
        self.rule(op, node, what, f"slow {ms}")

    def mend(self):
        self.rules = []
        self.write_rules()

    # clocks

    def clock(self, node, wrong_by_ms):
        self.clocks[node][:8] = struct.pack("q", wrong_by_ms)

    # what daemons say

    def daemon_log(self, i, daemon):
        try:
            with open(os.path.join(self.node_dir(i), "log", f"{daemon}.log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def says(self, i, daemon, words, since=0):
        """Waits for a line; returns it."""
        def line():
            found = [x for x in self.daemon_log(i, daemon)[since:].splitlines() if re.search(words, x)]
            return found[-1] if found else None
        said = until(line, f"{daemon} of node {i} says {words!r}")
        print(f"# {said}")
        return said


class WiredCluster(FaultyCluster):
    """Its nodes reach each other through proxies: the smaller id dials, so there is one a pair."""

    def prepare(self):
        super().prepare()
        self.wires = {}
        for dialler in range(self.n):
            path = os.path.join(self.node_dir(dialler), "quorate.conf")
            with open(path, encoding="ascii") as f:
                text = f.read()
            for to in range(dialler + 1, self.n):
                wire = self.wires[dialler, to] = hostile.Proxy(self.peer_port(to))
                text, n = re.subn(rf"^(member = {to + 1} \S+) \S+", rf"\1 127.0.0.1:{wire.port}", text, flags=re.M)
                assert n == 1
            with open(path, "w", encoding="ascii") as f:
                f.write(text)

    def __exit__(self, *why):
        self.heal()
        try:
            super().__exit__(*why)
        finally:
            for wire in self.wires.values():
                wire.close()

    def cut(self, node, incoming=True, outgoing=True):
        """A black hole around a node, or half of one: nothing is closed, nothing arrives."""
        for (dialler, to), wire in self.wires.items():
            if node in (dialler, to):
                # upwards is from the dialler to the one who listens
                up, down = (outgoing, incoming) if node == dialler else (incoming, outgoing)
                wire.mangle = lambda data, is_up, at, up=up, down=down: b"" if (up if is_up else down) else data

    def garble(self, rng, every):
        """One in so many chunks has a bit changed."""
        def flip(data, is_up, at):
            if rng.randrange(every):
                return data
            i = rng.randrange(len(data))
            return data[:i] + bytes([data[i] ^ 1 << rng.randrange(8)]) + data[i + 1:]
        for wire in self.wires.values():
            wire.mangle = flip

    def heal(self):
        for wire in self.wires.values():
            wire.mangle = None


class Loaded:
    """A cluster, recorded clients at each node, and the check of what they saw."""

    def __init__(self, meant=None, each=2, cluster=None, **kw):
        self.cluster, self.each = cluster or FaultyCluster(**kw), each
        self.cluster.expected = meant

    def __enter__(self):
        print(f"# QUORATE_SEED={SEED}")
        c = self.cluster.__enter__()
        self.clients = history.Clients([c.port(i) for i in range(c.n)], random.Random(SEED), self.each,
                                       pause_s=scaled(0.001, 0.005))
        self.clients.__enter__()
        self.progress()
        return c, self

    def __exit__(self, kind, *more):
        self.cluster.mend()
        try:
            if kind is None:
                self.progress()
                until(lambda: sum(c.finished for c in self.clients.all) > 250, "a history worth a check")
            self.clients.__exit__(kind, *more)
            if kind is None:
                history.verify(self.cluster, self.clients)
        except BaseException as e:
            self.cluster.__exit__(type(e), e, None)
            raise
        self.cluster.__exit__(kind, *more)

    def progress(self, nodes=None, more=scaled(40, 8)):
        """The clients of these nodes get answers again."""
        which = [i for i in range(len(self.clients.all)) if nodes is None or i // self.each in nodes]
        goal = [(i, self.clients.done(i) + more) for i in which]
        until(lambda: all(self.clients.done(i) >= n for i, n in goal), f"clients {which} get answers")
