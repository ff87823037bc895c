#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a registry of services is for: who dies is gone from everybody's view within the TTL plus a second.

With the command alone: `quorate watch --prefix /svc/` runs; a keeper is killed with -9. Seconds count here, so they
are measured, on the monotonic clock, from the kill to the line of the watch:

    gone <= the lessor's start + TTL + 1 s + the longest that a put waited meanwhile

The lessor's start is the kill of the keeper, or, if another lessor took over after it, when that one led: its clocks
begin anew, in favour of leases (docs/failure-modes.md). The puts come from a canary, which needs what the delete needs:
processor, disks, and a quorum. In calm it waits some milliseconds; on a loaded machine, or without a leader, it waits as
long as the delete does.
"""
import os
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, QUORATE, Cluster, die_with_parent, scaled, tap, until

TTL_S, SHORT_TTL_S = 5, scaled(2, 4)
WITHIN_S = 1.0
SENT_S = 1.0              # a keepalive is sent at most so long before its answer is read


class Lines:
    """A `quorate` that runs on, and when each of its lines came."""

    def __init__(self, c, *words):
        self.p = subprocess.Popen([QUORATE, *words, "--endpoints", c], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True, preexec_fn=die_with_parent)
        self.lines = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.p.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.thread.join()
        self.p.stdout.close()
        self.p.wait()


class Canary:
    """Puts, one after the other, of its own key, through whoever answers: how long the longest waited."""

    def __init__(self, c):
        self.c, self.done, self.over = c, [time.monotonic()], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        n = 0
        while not self.over.is_set():
            try:
                with self.c.rpc(n % self.c.n, timeout_s=PATIENCE_S) as r:
                    while not self.over.is_set():
                        r.put(b"/canary", b"%d" % n)
                        self.done.append(time.monotonic())
                        self.over.wait(0.005)
            except OSError:
                n += 1                                   # that gateway is dead: another one
                self.over.wait(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def longest_wait(self, since):
        """Between one answer and the next; the one before `since` counts too, and so does the wait that goes on."""
        times = [*self.done, time.monotonic()]
        return max(b - a for a, b in zip(times, times[1:]) if b >= since)


def lessors(c):
    """(node, process, term) of those that lead."""
    found = set()
    for i in range(c.n):
        try:
            status = c.admin_json(i, "leased", "status")
        except (OSError, ValueError):
            continue
        if status["state"] == "LEADING":
            found.add((i, c.pid(i, "leased"), status["term"]))
    return found


def service_dies(c, name, ttl, harm):
    """The keeper of /svc/NAME dies, and whoever `harm` kills with it; when it was gone from the watch, by the rule."""
    until(lambda: len(lessors(c)) == 1, "one lessor leads")
    leader = next(iter(lessors(c)))[0]
    through = c.endpoints(leader, *(i for i in range(c.n) if i != leader))   # what dies, dies under the watch
    said = c.ctl("lease", "grant", str(ttl)).stdout
    lease = re.fullmatch(rf"lease ([0-9a-f]{{16}}) granted with TTL\({ttl}s\)\n", said)[1]
    with Lines(through, "watch", "--prefix", "/svc/") as watch, \
            Lines(through, "lease", "keep-alive", lease) as keeper, Canary(c) as canary:
        def put_is_seen():
            c.ctl("put", "--lease", lease, f"/svc/{name}", "here")           # again, until the watch has begun
            return [line for _, line in watch.lines][:3] == ["PUT", f"/svc/{name}", "here"]
        until(put_is_seen, "the watch shows the service")
        until(lambda: len(keeper.lines) >= 2, "two keepalives")
        known, killed = lessors(c), time.monotonic()
        harmed = harm(leader)
        keeper.p.kill()
        start, others = time.monotonic(), 0

        def is_gone():
            nonlocal start, others
            if (new := lessors(c) - known) and not any(line == "DELETE" for _, line in watch.lines):
                known.update(new)
                start, others = time.monotonic(), others + 1
            return [at for at, line in watch.lines if line == "DELETE"]
        gone = until(is_gone, "the watch shows that it is gone")[0]
        assert others or not harmed
        keeper.thread.join()
        waited = canary.longest_wait(killed)
        print(f"# gone {gone - killed:.2f} s after the kill, {gone - start:.2f} s after a lessor's start; TTL {ttl} s; "
              f"the longest put waited {waited:.2f} s")
        assert gone - start <= ttl + WITHIN_S + waited, "it outlived its keeper"
        assert gone - keeper.lines[-1][0] >= ttl - SENT_S, "it ended early"
        until(lambda: len(watch.lines) % 3 == 0, "the event is whole")
        events = [line for _, line in watch.lines]
        at = events.index("DELETE")
        assert at % 3 == 0 and events[at:] == ["DELETE", f"/svc/{name}", ""], events
        assert set(events[i] for i in range(0, at, 3)) == {"PUT"}, events


def nobody(_):
    return False


def a_dead_service_is_gone_within_its_ttl_plus_a_second():
    with Cluster() as c:
        service_dies(c, "calm", TTL_S, nobody)


def so_it_is_when_the_leader_s_node_dies_with_it():
    with Cluster() as c:
        def node(leader):
            c.kill_node(leader)
            return True
        service_dies(c, "leaderless", SHORT_TTL_S, node)


def so_it_is_when_watchd_and_leased_die_with_it():
    with Cluster() as c:
        def daemons(leader):
            for i in range(c.n):
                c.kill(i, "watchd")
            c.kill(leader, "leased")
            return True
        service_dies(c, "helpless", SHORT_TTL_S, daemons)


if __name__ == "__main__":
    tap([a_dead_service_is_gone_within_its_ttl_plus_a_second, so_it_is_when_the_leader_s_node_dies_with_it,
         so_it_is_when_watchd_and_leased_die_with_it])
