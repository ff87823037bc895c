#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""npm's etcd3, as it is, does the same with Debian's etcd and with quorate-etcd. By hand, since it asks npm's registry:

    QUORATE_BUILD=build/release tests/etcd/npm.py

Needs node and npm; the package goes to a directory of its own that is removed. Exit 0: what was printed is equal.
"""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from harness import BUILD, Skip
from server import Etcd, need_etcd

PACKAGE = "etcd3@1.1.2"
PATIENCE_S = 120


def run(folder, program):
    server = Etcd(program=program)
    try:
        done = subprocess.run(["node", os.path.join(folder, "etcd3.js"), f"http://{server.endpoint}"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False)
        return done.returncode, done.stdout
    finally:
        server.close()


def main():
    need_etcd()
    if shutil.which("npm") is None:
        raise Skip("no npm")
    folder = tempfile.mkdtemp(prefix="quorate-npm-")
    try:
        shutil.copy(os.path.join(HERE, "npm", "etcd3.js"), folder)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", PACKAGE], cwd=folder, check=True)
        theirs, ours = run(folder, "etcd"), run(folder, os.path.join(BUILD, "ctl", "quorate-etcd"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(ours[1], end="")
    if theirs != ours:
        print(f"etcd: exit {theirs[0]}\n{theirs[1]}ours: exit {ours[0]}")
    return theirs != ours or ours[0] != 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skip as why:
        sys.exit(str(why))
