# SPDX-License-Identifier: Apache-2.0
"""A cluster under attack, with a client that must not notice."""
from harness import DAEMONS, SANITIZED, Cluster, memory_kib, scaled, until
from rpc import Steady


class Undisturbed:
    """One-node cluster; a steady client must see neither an error nor a long wait; memory stays bounded."""

    def __init__(self, slowest_s=2.0, grows_kib=64 * 1024):
        self.slowest_s, self.grows_kib = scaled(slowest_s, 10 * slowest_s), grows_kib

    def __enter__(self):
        self.cluster = Cluster(1)
        self.cluster.__enter__()
        self.pids = {d: self.cluster.pid_of(0, d) for d in DAEMONS}
        self.steady = Steady(self.cluster.port(0))
        self.steady.start()
        until(lambda: self.steady.mark() > 50, "the steady client works")
        self.before = memory_kib(self.pids["gatewayd"])
        return self

    def __exit__(self, kind, *more):
        try:
            mark = self.steady.mark()
            if kind is None:
                until(lambda: self.steady.mark() > mark + 20 or self.steady.failure, "the steady client goes on")
            self.steady.__exit__(kind)
            if kind is None:
                self.settle()
        except BaseException as e:
            self.cluster.__exit__(type(e), *more)
            raise
        self.cluster.__exit__(kind, *more)

    def settle(self):
        pids = {d: self.cluster.pid(0, d) for d in DAEMONS}
        assert pids == self.pids, f"somebody died: {self.pids} are now {pids}"
        after, most = (memory_kib(self.pids["gatewayd"], what) for what in ("VmRSS", "VmHWM"))
        slowest = max(self.steady.took_s)
        print(f"# gatewayd {self.before} -> {after} KiB (most {most}); {len(self.steady.took_s)} puts, "
              f"p99 {self.steady.percentile(99) * 1000:.1f} ms, slowest {slowest * 1000:.0f} ms")
        assert slowest < self.slowest_s, f"a put took {slowest} s"
        if not SANITIZED:
            assert most - self.before < self.grows_kib, "gatewayd's memory grew"
        until(self.cluster.links_up, "all links are up")
