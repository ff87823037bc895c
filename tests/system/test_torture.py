#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/torture, for a moment: it runs, prints its verdict and leaves nothing behind."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import SOURCE, WATCHDOG_S, scaled, tap


def a_moment_of_torture_is_survived():
    with tempfile.TemporaryDirectory(prefix="quorate-torture-") as room:
        done = subprocess.run([sys.executable, os.path.join(SOURCE, "tests", "torture"), "-t", str(scaled(8, 12))],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=WATCHDOG_S, check=False, env={**os.environ, "TMPDIR": room})
        print("".join(f"# {line}\n" for line in done.stdout.splitlines()), end="")
        assert done.returncode == 0 and "torture: CLEAN seed=" in done.stdout
        assert not os.listdir(room), os.listdir(room)


if __name__ == "__main__":
    tap([a_moment_of_torture_is_survived])
