#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Too many clients, clients that drip and clients that never read, descriptors that run out: others go on,
what they see is linearizable, and when the crowd has gone everything is as before."""
import os
import random
import resource
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import hostile
from faults import SEED, Loaded
from harness import DAEMONS, Skip, scaled, tap, until
from rpc import Rpc, pack

MANY = scaled(10000, 2000)
OWN_FILES = 300                   # of this test, besides the crowd


def files_allowed(pid, soft):
    """Sets how many descriptors a running process may have; returns how it was."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, before[1]))
    return before


def files_used(pid):
    return max(int(n) for n in os.listdir(f"/proc/{pid}/fd")) + 1


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", "rb") as f:
        fields = f.read().rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12])


class Crowd:
    """Connections that are closed at the end."""

    def __init__(self):
        self.held = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.held:
            s.close()

    def add(self, port, first=b""):
        s = hostile.tcp(port)
        self.held.append(s)
        if first:
            s.sendall(first)
        return s


class Drip(threading.Thread):
    """Clients that send their requests a few bytes at a time, for as long as it takes."""

    def __init__(self, port, n):
        super().__init__(daemon=True)
        self.request = pack(7, "put", [b"/drip", b"x" * 100000])
        self.socks = [hostile.tcp(port) for _ in range(n)]
        self.over, self.sent = threading.Event(), 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)
        for s in self.socks:
            s.close()

    def run(self):
        while not self.over.wait(0.1):
            for s in self.socks:
                try:
                    s.sendall(self.request[self.sent:self.sent + 3])
                except OSError:
                    pass                                 # closed for being so slow: the server's right
            self.sent += 3


def ten_thousand_connections_cost_the_others_nothing_but_time():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < 2000:
        raise Skip(f"only {most} descriptors are allowed here")
    n = MANY if most == resource.RLIM_INFINITY else min(MANY, most - OWN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n + OWN_FILES, most))
    with Loaded(each=1) as (c, load), Crowd() as crowd:
        gateway, port = c.pid_of(0, "gatewayd"), c.port(0)
        half = pack(7, "put", [b"/crowd", b"x" * 300])[:-1]
        for i in range(n):
            crowd.add(port, half if i % 3 == 0 else b"")
        until(lambda: c.admin_json(0, "gatewayd", "status")["clients"] >= n, "all are taken in")
        print(f"# {n} connections at one gatewayd")
        load.progress()
        with Rpc(port) as r:
            load.clients.put(r, b"/late")
        assert c.pid(0, "gatewayd") == gateway, "gatewayd died of the crowd"


def clients_that_drip_and_clients_that_never_read_slow_nobody():
    with Loaded(each=1) as (c, load):
        port = c.port(0)
        with c.rpc(0) as r:
            load.clients.put(r, b"/large", 1 << 20)
        with Drip(port, 50) as drip, Crowd() as deaf:
            ask = pack(7, "range", [b"/large"]) * 200
            for _ in range(20):
                deaf.add(port, ask)                      # 200 MiB each, and takes nothing of it
            load.progress(more=scaled(300, 30))
            until(lambda: drip.sent > 60, "the drippers drip")
            load.progress()
        load.progress()


def a_gatewayd_without_descriptors_refuses_newcomers_and_serves_who_is_there():
    with Loaded(each=1) as (c, load):
        pid, port = c.pid_of(0, "gatewayd"), c.port(0)
        before = files_allowed(pid, files_used(pid) + 20)
        with Crowd() as crowd:
            refused = 0
            for _ in range(200):
                try:
                    with Rpc(port, timeout_s=0.2) as r:  # taken in, it is answered
                        r.call("status")
                        crowd.add(port)
                except OSError:
                    refused += 1
                if refused >= 3:
                    break
            assert refused >= 3, "descriptors never ran out"
            ticks = cpu_ticks(pid)
            load.progress()                              # who was there before
            print(f"# {len(crowd.held)} taken in; then {refused} refused; {cpu_ticks(pid) - ticks} ticks of processor time")
        files_allowed(pid, before[0])
        until(lambda: c.answers(0), "newcomers are served again")
        assert c.pid(0, "gatewayd") == pid


def daemons_without_descriptors_get_their_links_back_when_there_are_some():
    """A peer, a local daemon and a command want in, and nothing can be accepted."""
    rng = random.Random(SEED)
    with Loaded(each=1) as (c, load):
        for daemon in ("raftd", "stored"):
            node = rng.randrange(3)
            pid = c.pid_of(node, daemon)
            before = files_allowed(pid, files_used(pid))
            for other in DAEMONS:
                if other != daemon:
                    c.kill(node, other)
            c.kill((node + 1) % 3, "raftd")
            others = [i for i in range(3) if i != node]
            load.progress(others)
            ticks = cpu_ticks(pid)
            load.progress(others)
            print(f"# {daemon} of node {node} without descriptors: {cpu_ticks(pid) - ticks} ticks of processor time")
            files_allowed(pid, before[0])
            until(c.links_up, "all links are up")
            load.progress()
            assert c.pid(node, daemon) == pid, f"{daemon} died for want of descriptors"


if __name__ == "__main__":
    tap([ten_thousand_connections_cost_the_others_nothing_but_time,
         clients_that_drip_and_clients_that_never_read_slow_nobody,
         a_gatewayd_without_descriptors_refuses_newcomers_and_serves_who_is_there,
         daemons_without_descriptors_get_their_links_back_when_there_are_some])
