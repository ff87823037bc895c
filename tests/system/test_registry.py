#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The machine's own package registry, put while every daemon of every node dies, and read back byte for byte."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import registry
from harness import DAEMONS, QUORATE, Cluster, Skip, scaled, tap, until
from rpc import (H_REVISION, P_CREATE, P_KEY, P_MOD, P_VALUE, P_VERSION, S_APPLIED, S_APPLY_HASH, Pipeline, Request,
                 prefix_end)

PREFIX = b"/dpkg/"


def the_registry():
    if not os.path.exists(registry.STATUS):
        raise Skip(f"no {registry.STATUS}")
    data = registry.read()
    if len(data) > scaled(1 << 30, 3000):
        data = dict(list(data.items())[:3000])
    assert len(data) > 100, "this machine has hardly a package"
    return data


def everything(cluster, i, revision=0):
    """All pairs under the prefix, linearizable, by pages so that paging is in it too."""
    pairs, key = [], PREFIX
    with cluster.rpc(i) as r:
        revision = revision or r.range(b"\0")[0][H_REVISION]
        while True:
            _, _, more, page = r.range(key, prefix_end(PREFIX), limit=1000, revision=revision)
            pairs += page
            if not more:
                return pairs
            key = page[-1][P_KEY] + b"\0"


def acknowledged(request):
    return None if request.result is None else request.result[0][H_REVISION]


def check_now(pairs, requests):
    """Every acknowledged put is there, byte for byte, at its revision, and nothing else is."""
    want = {r.params[0]: r for r in requests}
    assert [p[P_KEY] for p in pairs] == sorted(want), "the keys are not the registry's"
    for p in pairs:
        r = want[p[P_KEY]]
        assert p[P_VALUE] == r.params[1], p[P_KEY]
        assert 1 <= p[P_VERSION] <= 1 + r.unsure, (p, r.sends, r.unsure)
        revision = acknowledged(r)
        # an earlier sending may have reached the log later than the one that was answered
        assert revision is None or (p[P_MOD] >= revision if r.unsure else p[P_MOD] == p[P_CREATE] == revision), (p, r)


def check_then(pairs, requests, revision):
    """As it was at a revision: what was acknowledged by then, nothing that was certainly later."""
    got = {p[P_KEY]: p for p in pairs}
    must = {r.params[0] for r in requests if not r.unsure and acknowledged(r) <= revision}
    may = {r.params[0] for r in requests if r.unsure}
    assert must <= set(got) <= must | may, (len(must), len(got), len(may))
    values = {r.params[0]: r.params[1] for r in requests}
    for key, p in got.items():
        assert p[P_VALUE] == values[key] and p[P_MOD] <= revision, p
    print(f"# at revision {revision}: {len(got)} keys, {len(may)} with a sending of unknown outcome")


def check_replicas(cluster):
    def equal():
        states = [cluster.status(i) for i in range(cluster.n)]
        if None in states or len({s[S_APPLIED] for s in states}) != 1:
            return None
        return states
    states = until(equal, "all nodes have applied the same index")
    assert len({s[S_APPLY_HASH] for s in states}) == 1, [s[S_APPLY_HASH].hex() for s in states]
    revision = min(s[0][H_REVISION] for s in states)
    hashes = []
    for i in range(cluster.n):
        with cluster.rpc(i, timeout_s=120) as r:
            hashes.append(r.call("hash", revision)[1:])
    assert hashes[0] == hashes[1] == hashes[2] and hashes[0][1] == revision and len(hashes[0][0]) == 16, hashes
    print(f"# hash {hashes[0][0].hex()} at revision {revision} on all nodes")


class Phases:
    """Releases the puts slice by slice; in each, something dies once a third of it is answered."""

    def __init__(self, cluster, requests, faults):
        self.cluster, self.faults = cluster, faults
        self.flying, self.remembered = [], []
        self.size = len(requests) // len(faults) + 1
        self.line = Pipeline(cluster.port(0), requests, allowed=0, patience_s=120)

    def run(self):
        self.line.start()
        for n, fault in enumerate(self.faults):
            began = n * self.size
            killed, victims = [], fault()
            self.line.at(began + self.size // 6, self.remember)
            self.line.at(began + self.size // 3, lambda v=victims, k=killed: k.extend(self.die(v)))
            self.line.release(began + self.size)
            goal = min(began + self.size, len(self.line.requests))
            until(lambda: self.line.answered >= goal or self.line.failure, f"progress after {victims} died", 120)
            if self.line.failure:
                raise self.line.failure
            assert len(killed) == len(victims), "nothing was killed"
            for (node, daemon), old in zip(victims, killed):
                self.cluster.reborn(node, daemon, old)
        self.line.finish()
        assert sum(n > 0 for n in self.flying) > len(self.faults) // 2, f"too few in flight: {self.flying}"

    def remember(self):
        with self.cluster.rpc(1) as r:
            self.remembered.append(r.range(b"\0")[0][H_REVISION])

    def die(self, victims):
        self.flying.append(len(self.line.flight))
        return [self.cluster.kill(node, daemon) for node, daemon in victims]


def faults_of(cluster):
    one = [lambda v=(i, d): [v] for i in range(3) for d in DAEMONS]
    return one + [lambda: [(cluster.wait_leader(), d) for d in DAEMONS]]


def what_is_acknowledged_survives_the_death_of_everything():
    requests = [Request("put", [k, v]) for k, v in the_registry().items()]
    with Cluster() as c:
        phases = Phases(c, requests, faults_of(c))
        phases.run()
        repeated = sum(r.sends > 1 for r in requests)
        print(f"# {len(requests)} puts, {repeated} sent again, {phases.line.connects} connections, "
              f"in flight at each death: {phases.flying}")
        assert phases.line.connects >= 2, "the death of gatewayd broke no connection"
        check_now(everything(c, 2), requests)
        middle = phases.remembered[len(phases.remembered) // 2]
        check_then(everything(c, 2, middle), requests, middle)
        check_replicas(c)

        whole = everything(c, 2)
        full = whole and max(p[P_MOD] for p in whole)
        changed = change(c, whole)
        assert everything(c, 2, full) == whole, "the past has changed"

        c.kill_all()
        c.start()
        check_changed(everything(c, 2), whole, changed)
        assert everything(c, 2, full) == whole, "the past has changed with the restart"
        check_then(everything(c, 2, middle), requests, middle)
        check_replicas(c)


def change(c, whole):
    """Status fields get another value, Section fields go: {key: new value or None}."""
    changed = {p[P_KEY]: p[P_VALUE] + b" (changed)" for p in whole if p[P_KEY].endswith(b"/Status")}
    changed.update({p[P_KEY]: None for p in whole if p[P_KEY].endswith(b"/Section")})
    requests = [Request("delete", [k]) if v is None else Request("put", [k, v]) for k, v in changed.items()]
    line = Pipeline(c.port(1), requests)
    line.start()
    line.finish()
    assert all(r.result[1] == 1 for r in requests if r.method == "delete"), "a delete found nothing"
    return changed


def check_changed(pairs, whole, changed):
    want = {p[P_KEY]: changed.get(p[P_KEY], p[P_VALUE]) for p in whole}
    want = {k: v for k, v in want.items() if v is not None}
    assert {p[P_KEY]: p[P_VALUE] for p in pairs} == want
    assert all(p[P_VERSION] >= 2 and p[P_MOD] > p[P_CREATE] for p in pairs if p[P_KEY] in changed)


def escaped(data):
    """As `quorate load` reads it and --acked writes it: a tab, a line break or a backslash inside is escaped."""
    return data.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\t", b"\\t")


def what_load_says_is_acknowledged_is_there():
    data = the_registry()
    lines = [escaped(k) + b"\t" + escaped(v) + b"\n" for k, v in data.items()]
    with Cluster() as c:
        acked = os.path.join(c.dir, "acked")
        load = subprocess.Popen([QUORATE, "load", "-q", "--retry", "--acked", acked, "-w", "json", "--endpoints",
                                 c.endpoints()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        faults = faults_of(c)
        size = len(lines) // len(faults) + 1
        for n, fault in enumerate(faults):
            victims = fault()
            load.stdin.write(b"".join(lines[n * size:(n + 1) * size]))
            load.stdin.flush()
            old = [c.kill(*v) for v in victims]
            for victim, pid in zip(victims, old):
                c.reborn(*victim, pid)
            goal = min((n + 1) * size, len(lines))
            until(lambda: count_lines(acked) >= goal or load.poll() is not None, f"progress after {victims} died", 120)
        said = json.loads(load.communicate(timeout=120)[0])
        assert load.returncode == 0 and said["count"] == len(data), (load.returncode, said)
        print(f"# {said}")
        with open(acked, "rb") as f:
            assert sorted(f.read().splitlines()) == sorted(escaped(k) for k in data)
        pairs = everything(c, 2)
        assert {p[P_KEY]: p[P_VALUE] for p in pairs} == data
        assert said["repeats"] >= sum(p[P_VERSION] - 1 for p in pairs), "put more often than it says"
        check_replicas(c)


def count_lines(path):
    try:
        with open(path, "rb") as f:
            return f.read().count(b"\n")
    except FileNotFoundError:
        return 0


def the_registry_is_parsed_byte_for_byte():
    the_registry()
    with open(registry.STATUS, "rb") as f:
        raw = f.read()
    again = b"\n\n".join(registry.unfields(registry.fields(s)) for s in registry.stanzas(raw))
    assert again.rstrip(b"\n") == raw.rstrip(b"\n")


if __name__ == "__main__":
    tap([the_registry_is_parsed_byte_for_byte, what_is_acknowledged_survives_the_death_of_everything,
         what_load_says_is_acknowledged_is_there])
