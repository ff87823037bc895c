#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots of real nodes: logs are cut behind them, and who is too far behind comes back by one, whoever is killed."""
import glob
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import history
from harness import QUORATE, Cluster, scaled, tap, until
from rpc import H_REVISION, S_APPLIED, S_APPLY_HASH, Pipeline, Request
from watcher import Watcher

SEED = int(os.environ.get("QUORATE_SEED", random.SystemRandom().randrange(1 << 32)))
MIB = 1 << 20
LOG_MB = 4                     # the smallest; segments of 2 MiB
VALUE = b"v" * 100_000
KEYS = 40                      # 4 MB of values in the store


class Small(Cluster):
    """A cluster whose logs are cut early, and whose snapshots travel slowly if the test wants to interfere."""

    def __init__(self, rate_mb=64, **kw):
        super().__init__(**kw)
        self.rate_mb = rate_mb
        WRITTEN.clear()

    def __enter__(self):
        subprocess.run([QUORATE, "init", "--dir", self.data(), "--nodes", str(self.n), "--base-port", str(self.base)],
                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, check=True)
        for i in range(self.n):
            with open(os.path.join(self.node_dir(i), "quorate.conf"), "a", encoding="ascii") as f:
                f.write(f"segment_mb = 2\nsnapshot_log_mb = {LOG_MB}\nsnapshot_rate_mb = {self.rate_mb}\n")
        return super().__enter__()

    def raftd(self, i):
        """raftd's status, or {} while it is not there."""
        return self.ask(i, "raftd")

    def stored(self, i):
        return self.ask(i, "stored")

    def ask(self, i, daemon):
        try:
            return self.admin_json(i, daemon, "status")
        except (OSError, ValueError):
            return {}


def serial():
    n = 0
    while True:
        n += 1
        yield n


NUMBERS = serial()
WRITTEN = []                   # (key, value) of the cluster under test


class Known:
    """Clients, and what was written besides: found in the history by its unique values."""

    def __init__(self, clients):
        self.clients = clients

    def ops(self):
        return self.clients.ops() + [history.Op("put", b"besides", writes=[pair]) for pair in WRITTEN]


def write(c, megabytes, through):
    """So much goes through the log, over and over the same keys; {key: value} as it is then."""
    data, requests = {}, []
    for _ in range(megabytes * MIB // len(VALUE)):
        n = next(NUMBERS)
        key, value = b"/snap/%02d" % (n % KEYS), b"%08d" % n + VALUE
        data[key] = value
        WRITTEN.append((key, value))
        requests.append(Request("put", [key, value]))
    line = Pipeline(c.port(through), requests, window=16)
    line.start()
    line.finish()
    return data


def everything(c, i):
    with c.rpc(i) as r:
        return r.get(b"/snap/", b"/snap0")


def equal_everywhere(c):
    """All nodes have applied the same, and hold the same."""
    def equal():
        states = [c.status(i) for i in range(c.n)]
        return None not in states and len({s[S_APPLIED] for s in states}) == 1 and states
    states = until(equal, "all nodes have applied the same index")
    assert len({s[S_APPLY_HASH] for s in states}) == 1
    hashes = set()
    for i in range(c.n):
        with c.rpc(i) as r:
            hashes.add(r.call("hash", states[0][0][H_REVISION])[1])
    assert len(hashes) == 1, "the nodes' data differ"


def disk(directory):
    """Bytes on disk of a directory's files; some may go meanwhile."""
    total = 0
    for path in glob.glob(os.path.join(directory, "*")):
        try:
            total += os.stat(path).st_blocks * 512 if os.path.isfile(path) else 0
        except FileNotFoundError:
            pass
    return total


def log_lines(c, i, daemon, what):
    with open(os.path.join(c.node_dir(i), "log", f"{daemon}.log"), encoding="utf-8", errors="replace") as f:
        return [line for line in f if what in line]


def cut_behind(c, behind, data):
    """Writes until no other node's log reaches back to where that one, which is stopped, has got."""
    last = c.at_last + 200         # what waits in the sockets' buffers reaches it too: 8 MB at most, and 64 messages
    others = [i for i in range(c.n) if i != behind]
    while not all(c.raftd(i).get("log", {}).get("first", 0) > last for i in others):
        data.update(write(c, LOG_MB, others[0]))
        until(lambda: all(c.raftd(i).get("snapshot", {}).get("asked") == 0 for i in others), "no snapshot is awaited")
    return data


def leave_behind(c, node):
    """That node's raftd is stopped, and the logs of the others are cut behind it."""
    data = write(c, 5, 0)
    equal_everywhere(c)
    c.at_last = c.raftd(node)["log"]["last"]
    pid = c.kill(node, "raftd", signal.SIGSTOP)
    return pid, cut_behind(c, node, data)


def cut_behind_leases(c, behind):
    """The others' logs no longer hold what was written last."""
    c.at_last = max(c.raftd(i)["log"]["last"] for i in range(c.n) if i != behind)
    return cut_behind(c, behind, {})


def caught_up(c, data):
    for i in range(c.n):
        until(lambda i=i: c.answers(i) and everything(c, i) == data, f"node {i} has everything")
    equal_everywhere(c)


def the_log_is_cut_under_load_and_stays_small():
    with Small() as c:
        data, most = {}, 0
        for _ in range(scaled(8, 4)):
            data.update(write(c, 5, 0))
            most = max(most, *(disk(os.path.join(c.node_dir(i), "data", "raft")) for i in range(3)))
        print(f"# at most {most / MIB:.1f} MiB of log")
        until(lambda: all(c.raftd(i)["log"]["first"] > 1 for i in range(3)), "every node's log was cut")
        # the threshold, the tail, what a copy takes, the segments that are begun and prepared
        until(lambda: all(disk(os.path.join(c.node_dir(i), "data", "raft")) <= 4 * LOG_MB * MIB for i in range(3)),
              "the logs are small again")
        for i in range(3):
            assert len(glob.glob(os.path.join(c.node_dir(i), "data", "snap", "*"))) <= 2, "old snapshots go"
        caught_up(c, data)
        c.kill_all()                                     # and what is left is enough to begin with
        c.start()
        caught_up(c, data)


def a_follower_that_was_away_too_long_comes_back_by_a_snapshot():
    with Small() as c:
        node = (c.wait_leader() + 1) % 3
        with c.rpc((node + 1) % 3) as r:
            for lease in (1, 2, 3):
                r.call("lease_grant", lease, 3600)
        until(lambda: c.admin_json(node, "leased", "status")["leases"] == 3, "leased there knows the leases")
        pid, data = leave_behind(c, node)
        with c.rpc((node + 1) % 3, timeout_s=60) as r:
            r.call("lease_revoke", 1)                    # it has gone when the node comes back,
            for lease in (4, 5):                         # and these are in no entry that it gets
                r.call("lease_grant", lease, 3600)
        data.update(cut_behind_leases(c, node))
        os.kill(pid, signal.SIGCONT)
        caught_up(c, data)
        assert c.stored(node)["snapshot"]["installed"] == 1
        until(lambda: c.admin_json(node, "leased", "status")["leases"] == 4, "leased has been told of the other store")
        with c.rpc(node, timeout_s=60) as r:
            assert [x[0] for x in r.call("lease_list")[2]] == [2, 3, 4, 5]
            assert [r.call("lease_keepalive", lease)[2] for lease in (1, 2, 5)] == [0, 3600, 3600]
        assert len(glob.glob(os.path.join(c.node_dir(node), "data", "snap", "incoming-*"))) == 0
        data.update(write(c, 1, node))
        caught_up(c, data)


def a_watch_goes_on_through_a_snapshot():
    with Small() as c:
        node = (c.wait_leader() + 1) % 3
        with Watcher(c.port(node)) as w:
            watch, _ = w.watch(b"/snap/", b"/snap0")
            pid, data = leave_behind(c, node)
            os.kill(pid, signal.SIGCONT)
            caught_up(c, data)
            assert c.stored(node)["snapshot"]["installed"] == 1
            write(c, 1, node)
            w.wait(lambda: len(w.events[watch]) >= len(WRITTEN), "all events")
            revisions = [e[0] for e in w.events[watch]]
            assert revisions == sorted(set(revisions)) and not w.canceled
            assert sorted((e[2], e[3]) for e in w.events[watch]) == sorted(WRITTEN)


def a_node_without_its_store_takes_its_snapshot_or_anothers():
    with Small() as c:
        data = {}
        while not all(c.raftd(i)["log"]["first"] > 1 for i in range(3)):
            data.update(write(c, LOG_MB, 0))
        equal_everywhere(c)
        assert c.stop() == 0
        shutil.rmtree(os.path.join(c.node_dir(1), "data", "store"))
        shutil.rmtree(os.path.join(c.node_dir(2), "data", "store"))
        shutil.rmtree(os.path.join(c.node_dir(2), "data", "snap"))
        c.start()
        caught_up(c, data)
        assert log_lines(c, 1, "stored", "store made from a snapshot")
        assert c.stored(2)["snapshot"]["installed"] == 1
        until(lambda: log_lines(c, 2, "raftd", "ends before the log begins"), "raftd says what is missing")


def a_transfer_survives_the_death_of_each_daemon():
    print(f"# QUORATE_SEED={SEED}")
    with Small(rate_mb=4) as c:
        node = (c.wait_leader() + 1) % 3
        pid, data = leave_behind(c, node)
        with history.Clients([c.port(i) for i in range(3) if i != node], random.Random(SEED), 2,
                             pause_s=scaled(0.002, 0.02)) as clients:
            os.kill(pid, signal.SIGCONT)
            for who, daemon in (("receiver", "stored"), ("sender", "stored"), ("receiver", "raftd"), ("sender", "raftd")):
                until(lambda: c.raftd(node).get("snapshot", {}).get("receiving", {}).get("have", 0) > 0
                      or c.stored(node).get("snapshot", {}).get("installed"), "a snapshot comes in")
                on = node if who == "receiver" else c.wait_leader()
                print(f"# kill -9 {daemon} of the {who}, node {on}: {c.raftd(node).get('snapshot')}")
                c.reborn(on, daemon, c.kill(on, daemon))
            until(lambda: c.answers(node), "the node is back")
        history.verify(c, Known(clients), samples=6)
        caught_up(c, data)
        assert log_lines(c, node, "stored", "store is now a snapshot")


def the_leader_may_die_in_the_middle_of_a_transfer():
    with Small(rate_mb=12) as c:
        node = (c.wait_leader() + 1) % 3
        pid, data = leave_behind(c, node)
        os.kill(pid, signal.SIGCONT)
        until(lambda: c.raftd(node).get("snapshot", {}).get("receiving", {}).get("have", 0) > 0, "a snapshot comes in")
        c.kill_node(c.wait_leader())
        caught_up(c, data)
        assert log_lines(c, node, "stored", "store is now a snapshot")


def flip(path):
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))


def a_snapshot_that_is_bad_at_the_sender_gives_way_to_a_newer_one():
    with Small() as c:
        node = (c.wait_leader() + 1) % 3
        pid, data = leave_behind(c, node)
        for i in range(3):
            for path in glob.glob(os.path.join(c.node_dir(i), "data", "snap", "*.snap")):
                flip(path)
        os.kill(pid, signal.SIGCONT)
        until(lambda: log_lines(c, node, "raftd", "that came in cannot be used"), "the receiver finds it bad")
        data.update(write(c, 1, c.wait_leader()))        # not enough for a snapshot by itself
        caught_up(c, data)
        assert log_lines(c, node, "stored", "store is now a snapshot")


def after_a_crash_of_the_system_the_store_begins_from_a_good_snapshot():
    with tempfile.NamedTemporaryFile("w", prefix="quorate-boot-") as boot:
        def reboot():
            boot.seek(0)
            boot.truncate()
            boot.write(f"{uuid.uuid4()}\n")
            boot.flush()

        reboot()
        with Small(env={"QUORATE_BOOT_ID_FILE": boot.name}) as c:
            data = {}
            while not all(c.raftd(i)["log"]["first"] > 1 for i in range(3)):
                data.update(write(c, LOG_MB, 0))
            equal_everywhere(c)
            c.kill_all()
            reboot()
            for i in range(3):                           # unsynced pages are lost in any pattern
                with open(glob.glob(os.path.join(c.node_dir(i), "data", "store", "gen-*", "data.mdb"))[0], "r+b") as f:
                    f.seek(4096 * 2)
                    f.write(os.urandom(4096 * 20))
            damaged = glob.glob(os.path.join(c.node_dir(2), "data", "snap", "*.snap"))
            for path in damaged:
                flip(path)
            c.start()
            caught_up(c, data)
            for i in (0, 1):
                assert log_lines(c, i, "stored", "store made from a snapshot")
            said = log_lines(c, 2, "stored", "damaged and not used")
            assert said and all(any(p in line for line in said) for p in damaged), said


if __name__ == "__main__":
    tap([the_log_is_cut_under_load_and_stays_small, a_follower_that_was_away_too_long_comes_back_by_a_snapshot,
         a_watch_goes_on_through_a_snapshot,
         a_node_without_its_store_takes_its_snapshot_or_anothers, a_transfer_survives_the_death_of_each_daemon,
         the_leader_may_die_in_the_middle_of_a_transfer,
         a_snapshot_that_is_bad_at_the_sender_gives_way_to_a_newer_one,
         after_a_crash_of_the_system_the_store_begins_from_a_good_snapshot])
