#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A node that has lost its log must not begin another one under its old id."""
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import harness                                                                    # noqa: E402


def a_lost_log_is_not_made_anew():
    with harness.Cluster(3) as c:
        with c.rpc(0) as r:
            r.put(b"k", b"v")
        assert c.stop() == 0
        node = os.path.join(c.data(), "node2")
        shutil.rmtree(os.path.join(node, "data", "raft"))
        done = harness.subprocess.run(
            [os.path.join(harness.BUILD, "raftd", "raftd"), "-c", os.path.join(node, "quorate.conf")],
            stdin=harness.subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.PATIENCE_S,
            check=False)
        assert done.returncode == 111, done
        assert "is gone" in done.stderr and "what to do" in done.stderr, done.stderr


harness.tap([a_lost_log_is_not_made_anew])
