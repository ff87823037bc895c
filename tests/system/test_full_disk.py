#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A full disk: the data of nodes on small file systems of their own, in a mount namespace of this test's own."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import faults
from harness import Skip, scaled, tap, until

INSIDE = "QUORATE_TEST_NAMESPACE"
DISK_MB = 40
MEANT = rb"fatal: .*(of the log failed|(the disk|failed or) is full|No space left|no space left|there is no next one)"


def enter_namespace():
    """Runs this program again where it may mount; as root of a user namespace, else as the real one."""
    if INSIDE in os.environ:
        return
    for options in ("-Urm", "-m"):
        if subprocess.run(["unshare", options, "mount", "-t", "tmpfs", "none", "/mnt"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.environ[INSIDE] = "yes"
            os.execvp("unshare", ["unshare", options, sys.executable, os.path.abspath(__file__), *sys.argv[1:]])


class SmallDisks(faults.FaultyCluster):
    def __init__(self, small, conf=(), **kw):
        if INSIDE not in os.environ:
            raise Skip("neither user namespaces nor root: nothing can be mounted")
        super().__init__(3, conf=("segment_mb = 2", *conf), **kw)
        self.small = small

    def prepare(self):
        super().prepare()
        for i in self.small:
            kept = os.path.join(self.dir, f"kept{i}")
            shutil.copytree(self.disk(i), kept)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "none", self.disk(i)],
                           stdin=subprocess.DEVNULL, check=True)
            shutil.copytree(kept, self.disk(i), dirs_exist_ok=True)

    def __exit__(self, *why):
        try:
            super().__exit__(*why)
        finally:
            for i in self.small:
                subprocess.run(["umount", "-l", self.disk(i)], stdin=subprocess.DEVNULL, check=False)
            if not os.environ.get("QUORATE_KEEP"):
                shutil.rmtree(self.dir, ignore_errors=True)

    def disk(self, i):
        return os.path.join(self.node_dir(i), "data")

    def room(self, i):
        st = os.statvfs(self.disk(i))
        return st.f_bavail * st.f_frsize

    def fill(self, i, leave):
        """Somebody else's file takes all but so many bytes."""
        with open(os.path.join(self.disk(i), "filler"), "wb") as f:
            os.posix_fallocate(f.fileno(), 0, max(1, self.room(i) - leave))

    def make_room(self, i):
        os.unlink(os.path.join(self.disk(i), "filler"))


class Loaded(faults.Loaded):
    def __init__(self, small):
        super().__init__(cluster=SmallDisks(small), meant=MEANT)


def write_until(c, load, condition, what, through):
    """Fills the log of all nodes, by recorded puts, until something is so."""
    with c.rpc(through) as r:
        def put():
            load.clients.put(r, b"/fill", 30000)
            return condition()
        until(put, what)


def is_down(c, i):
    """Somebody of the node has ended because there was no room, and said so."""
    text = c.daemon_log(i, "raftd") + c.daemon_log(i, "stored")
    return any("fatal:" in line and ("full" in line or "No space" in line) for line in text.splitlines())


def a_node_whose_disk_is_full_stops_with_a_message_and_comes_back_when_there_is_room():
    with Loaded((0, 1, 2)) as (c, load):
        for node in (c.wait_leader(), (c.wait_leader() + 1) % 3)[:scaled(2, 1)]:
            others = [i for i in range(3) if i != node]
            c.fill(node, 1 << 19)
            write_until(c, load, lambda n=node: is_down(c, n), "the full node ends", others[0])
            c.says(node, "raftd" if "fatal:" in c.daemon_log(node, "raftd") else "stored", "fatal:.*what to do: .*")
            load.progress(others)
            c.make_room(node)
            load.progress()


def an_alarm_comes_before_a_full_disk_stops_anything():
    with Loaded((0,)) as (c, load):
        c.fill(0, 1 << 20)
        write_until(c, load, lambda: "no next log segment could be made" in c.daemon_log(0, "raftd"), "the alarm", 1)
        assert c.admin_json(0, "raftd", "status")["log"]["spare"] == "failed", "the status does not tell"
        c.make_room(0)
        c.says(0, "raftd", "the next log segment could be made after all")
        load.progress()


def all_disks_full_at_once_stop_the_writes_and_lose_nothing():
    with Loaded((0, 1, 2)) as (c, load):
        for i in range(3):
            c.fill(i, 1 << 19)
        until(lambda: sum(is_down(c, i) for i in range(3)) >= 2, "two nodes are full")
        for i in range(3):
            c.make_room(i)
        load.progress()


def a_store_that_is_built_again_has_the_room_of_the_old_one():
    """The system crashed: the store is worth nothing, and there is no room for a second one beside it."""
    with tempfile.NamedTemporaryFile("w", prefix="quorate-boot-") as boot:
        boot.write("one\n")
        boot.flush()
        with SmallDisks((0,), ("snapshot_log_mb = 4",), env={"QUORATE_BOOT_ID_FILE": boot.name}) as c:
            c.wait_leader()
            with c.rpc(1) as r:
                for i in range(8):
                    r.put(b"key %d" % i, b"v" * 1000000)
            until(lambda: c.admin_json(0, "raftd", "status")["snapshot"]["bytes"] > 4000000, "a snapshot")
            c.fill(0, 2 << 20)
            boot.seek(0)
            boot.write("two\n")
            boot.flush()
            c.expected = MEANT
            old = c.pid(0, "stored")
            c.kill_node(0)
            c.reborn(0, "stored", old)
            until(lambda: c.answers(0), "the node answers")
            with c.rpc(0) as r:
                assert len(r.get(b"key 7")[b"key 7"]) == 1000000, "not the value that was written"
            c.says(0, "stored", "store made from a snapshot")
            assert not glob.glob(os.path.join(c.disk(0), "store", "gen-1")), "the old store is still there"


if __name__ == "__main__":
    enter_namespace()
    tap([a_node_whose_disk_is_full_stops_with_a_message_and_comes_back_when_there_is_room,
         an_alarm_comes_before_a_full_disk_stops_anything, all_disks_full_at_once_stop_the_writes_and_lose_nothing,
         a_store_that_is_built_again_has_the_room_of_the_old_one])
