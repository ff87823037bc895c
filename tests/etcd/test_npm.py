#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""npm's etcd3, as it is: every part of it says the same as beside Debian's etcd, and nothing is lost when nodes die.

The package is installed by `npm ci` into the build directory, at the versions and hashes of npm/package-lock.json. Skipped
without node and npm, or if npm's registry does not answer. --theirs does the second part to a cluster of Debian's etcd.
"""
import functools
import hashlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import etcd
from harness import BUILD, PATIENCE_S, SOURCE, Cluster, Ports, Skip, check_logs, die_with_parent, tap, until
from server import Etcd, grpc, need_etcd

FROM = os.path.join(SOURCE, "tests", "etcd", "npm")
INTO = os.path.join(BUILD, "tests", "etcd", "node")
INSTALL_S = 90               # for npm; longer, and it counts as not to be had
NODE_VERSION = 14
KILLS = 2
MEANT = {                    # what differs by intent: theirs -> ours
    "users GRPCFailedPreconditionError: 9 FAILED_PRECONDITION: etcdserver: root user does not exist":
    "users GRPCNotImplementedError: 12 UNIMPLEMENTED: etcdserver: authentication is not implemented yet"}


def text(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return None


def installed():
    """The directory with etcd3 and our programs. Damaged packages are a failure, a missing registry is not."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Skip("no node, or no npm")
    version = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    if int(version[1:].split(".")[0]) < NODE_VERSION:
        raise Skip(f"node {version} is too old")
    os.makedirs(INTO, exist_ok=True)
    mark = hashlib.sha256(text(os.path.join(FROM, "package-lock.json")).encode()).hexdigest()
    if text(os.path.join(INTO, "installed")) != mark:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(FROM, name), INTO)
        try:
            done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline",
                                   "--fetch-retries=1", "--loglevel=error"], cwd=INTO, text=True, timeout=INSTALL_S,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        except subprocess.TimeoutExpired:
            raise Skip(f"npm has not installed etcd3 within {INSTALL_S} s") from None
        if done.returncode != 0:
            assert not re.search(r"\b(EINTEGRITY|EUSAGE|EJSONPARSE)\b", done.stdout), done.stdout
            raise Skip("npm cannot install etcd3: " + " ".join(done.stdout.split())[:200])
        with open(os.path.join(INTO, "installed"), "w", encoding="utf-8") as f:
            f.write(mark)
    for name in ("features.js", "faults.js"):
        shutil.copy(os.path.join(FROM, name), INTO)
    return INTO


def features(endpoints):
    """What features.js prints, and its exit code at the end."""
    done = subprocess.run(["node", "features.js", endpoints], cwd=installed(), text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2 * PATIENCE_S, check=False)
    return done.stdout.splitlines() + [f"exit {done.returncode}"]


@functools.lru_cache
def theirs():
    """What a node of Debian's etcd answers; and where ours is meant to differ, ours."""
    need_etcd()
    server = Etcd()
    try:
        lines = features(server.endpoint)
    finally:
        server.close()
    assert lines[-1] == "exit 0" and len(lines) > 60, lines
    return [MEANT.get(line, line) for line in lines]


def compare(ours):
    for line, want in zip(ours, theirs()):
        assert line == want, f"ours: {line}\ntheirs: {want}\nall of it: {ours}"
    assert len(ours) == len(theirs())


def one_node_says_what_etcd_says():
    theirs()
    server = Etcd(program=os.path.join(BUILD, "ctl", "quorate-etcd"))
    try:
        compare(features(server.endpoint))
        check_logs(server.dir)
    finally:
        server.close()


class Theirs:
    """Three nodes of Debian's etcd, for --theirs: what is said of Quorate's under these faults is said of etcd's as well."""

    def __init__(self):
        need_etcd()
        self.n, self.processes = 3, {}
        self.dir = tempfile.mkdtemp(prefix="quorate-etcd-")
        self.ports = Ports(6)

    def __enter__(self):
        for i in range(3):
            self.begin(i)
        until(self.leader, "a leader")
        return self

    def __exit__(self, *_):
        for p in self.processes.values():
            p.kill()
            p.wait()
        self.ports.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def url(self, i, kind):
        return f"http://127.0.0.1:{self.ports.base + 2 * i + kind}"

    def begin(self, i):
        with open(os.path.join(self.dir, f"{i}.log"), "ab") as log:
            self.processes[i] = subprocess.Popen(
                ["etcd", "--name", f"n{i}", "--data-dir", os.path.join(self.dir, f"{i}.etcd"), "--logger", "zap",
                 "--listen-client-urls", self.url(i, 0), "--advertise-client-urls", self.url(i, 0),
                 "--listen-peer-urls", self.url(i, 1), "--initial-advertise-peer-urls", self.url(i, 1),
                 "--initial-cluster", ",".join(f"n{j}={self.url(j, 1)}" for j in range(3))],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def endpoints(self):
        return ",".join(self.url(i, 0).removeprefix("http://") for i in range(3))

    def leader(self):
        """(its number,), or None."""
        for i in range(3):
            with etcd.Etcd(self.url(i, 0).removeprefix("http://"), timeout_s=5) as e:
                try:
                    status = e.call("Maintenance/Status", "Empty", "StatusResponse")
                except grpc.RpcError:
                    continue
            if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                return (i,)
        return None

    def wait_leader(self):
        return until(self.leader, "a leader")[0]

    def kill_node(self, i):
        self.processes[i].kill()
        self.processes[i].wait()
        self.begin(i)


class Program:
    """faults.js: a line out, a line back."""

    def __init__(self, endpoints):
        self.p = subprocess.Popen(["node", "faults.js", endpoints], cwd=installed(), text=True, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.p.stdout:
            self.lines.put(line)
        self.lines.put("")

    def ask(self, word):
        self.p.stdin.write(word + "\n")
        self.p.stdin.flush()
        try:
            line = self.lines.get(timeout=2 * PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"the program says nothing to {word!r}") from None
        assert line, "the program has ended"
        return json.loads(line)

    def close(self):
        self.p.kill()
        self.p.wait()


def works(program, more=3):
    """Every part of the program gets on, at each node."""
    parts = [f"writes at {i}" for i in range(3)] + ["locks", "keepalives", "elections", "transfers", "swaps", "changes observed"]
    before = program.ask("counts")
    goal = {p: before.get(p, 0) + more for p in parts}

    def there():
        now = program.ask("counts")
        return all(now.get(p, 0) >= n for p, n in goal.items()) or time.sleep(0.1)
    try:
        until(there, f"each part gets {more} further")
    except AssertionError:
        print(f"# before: {before}\n# now: {program.ask('counts')}")
        raise


def survives(cluster):
    program = Program(cluster.endpoints())
    try:
        until(lambda: program.ask("counts")["stage"] == "working" or time.sleep(0.1), "the program has begun", 2 * PATIENCE_S)
        works(program)
        for _ in range(KILLS):
            leader = cluster.wait_leader()
            cluster.kill_node(leader)
            print(f"# node {leader} was killed")
            works(program)
        result = program.ask("end")
        print("# " + ", ".join(f"{name}: {n}" for name, n in sorted(result["counts"].items())))
        assert result["wrong"] == [], "\n".join(result["wrong"])
    finally:
        program.close()


def three_nodes_say_the_same_and_lose_nothing_when_the_leaders_node_dies():
    theirs()
    with Cluster(3) as cluster:
        compare(features(cluster.endpoints()))
        survives(cluster)


def theirs_lose_nothing_either():
    installed()
    with Theirs() as cluster:
        survives(cluster)


if __name__ == "__main__":
    if sys.argv[1:] == ["--theirs"]:
        sys.argv[1:] = []
        tap([theirs_lose_nothing_either])
    tap([one_node_says_what_etcd_says, three_nodes_say_the_same_and_lose_nothing_when_the_leaders_node_dies])
