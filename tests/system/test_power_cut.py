#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A crash of the operating system: every file operation of a real node is recorded, then the power is cut at
hundreds of moments of it, and the real recovery code opens what each cut may have left (tests/lib/power_cut.c)."""
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from faults import SEED, FaultyCluster, preloads
from harness import BUILD, PATIENCE_S, ROUNDS, scaled, tap
from rpc import H_CLUSTER, S_HEADER, RpcError

POWER_ACK, POWER_ROOT = 10, 11
IMAGES = scaled(1000, 200) * ROUNDS
PUTS = scaled(90, 45)
SEGMENT_MB = 2


class Recorded(FaultyCluster):
    """One node whose file operations are written down, and what its clients were told among them."""

    def __init__(self):
        super().__init__(1, conf=(f"segment_mb = {SEGMENT_MB}",))
        self.trace_path = os.path.join(self.dir, "trace")
        self.trace = open(self.trace_path, "ab", buffering=0)
        self.env.update(LD_PRELOAD=preloads("record"), QUORATE_RECORD=self.trace_path, QUORATE_RECORD_DIR=self.root())

    def root(self):
        return os.path.join(self.node_dir(0), "data")

    def prepare(self):
        super().prepare()
        self.record(POWER_ROOT, os.stat(self.root()).st_ino, 0)

    def __exit__(self, *why):
        self.trace.close()
        super().__exit__(*why)

    def record(self, kind, ino, offset, data=b""):
        self.trace.write(struct.pack("=IIQQ", kind, len(data), ino, offset) + data)

    def put_some(self, name, rng):
        """Puts by several clients at a time; an answer is recorded when it is here."""
        failed = []

        def client(number, seed):
            dice = random.Random(seed)
            try:
                with self.rpc(0, timeout_s=PATIENCE_S) as r:
                    for i in range(PUTS // 3):
                        key = b"/power/%s/%d/%d" % (name, number, i)
                        value = b"v" * dice.choice((0, 10, 100, 1000, 3000, 9000)) + b"%d" % dice.randrange(1 << 60)
                        revision = r.put(key, value)
                        self.record(POWER_ACK, 0, revision, key + b"\0" + value + b"\0")
                        r.put(b"/hot", value[:100])      # what is superseded moves to another table
            except (OSError, RpcError) as e:
                failed.append(e)
        threads = [threading.Thread(target=client, args=(i, rng.random())) for i in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if failed:
            raise failed[0]


def a_power_cut_at_any_moment_loses_nothing_acknowledged():
    print(f"# QUORATE_SEED={SEED}")
    rng = random.Random(SEED)
    work = tempfile.mkdtemp(prefix="quorate-power-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        with Recorded() as c:
            cluster, node = c.status(0)[S_HEADER][H_CLUSTER], c.member_id(0)
            c.put_some(b"first", rng)
            for daemon in ("raftd", "stored"):
                c.reborn(0, daemon, c.kill(0, daemon))
                c.put_some(daemon.encode(), rng)
            assert c.stop() == 0                         # orderly: its store is synced and marked
            c.start()
            c.put_some(b"again", rng)
            assert c.stop() == 0
            done = subprocess.run([os.path.join(BUILD, "tests", "lib", "power_cut"), c.trace_path, str(cluster), str(node),
                                   str(SEGMENT_MB), str(SEED), str(IMAGES), work], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            print("".join(f"# {line}\n" for line in done.stdout.splitlines()), end="")
            if done.returncode != 0 and os.environ.get("QUORATE_KEEP"):
                shutil.copytree(work, os.path.join(c.dir, "power"))
            if os.path.exists(os.path.join(work, "output")):
                with open(os.path.join(work, "output"), encoding="utf-8", errors="replace") as f:
                    print("".join(f"# {line}" for line in f), end="")
            assert done.returncode == 0, "an image was not recovered"
            counts = [int(w) for w in done.stdout.split("torn log")[1].replace(",", " ").split() if w.isdigit()]
            assert len(counts) == 3 and all(counts), f"a kind of image never came: {counts}"
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    tap([a_power_cut_at_any_moment_loses_nothing_acknowledged])
