# SPDX-License-Identifier: Apache-2.0
"""What the tests of real daemons share: a TAP runner, a native-protocol client, a cluster.

Nothing of the host is needed but free ports on loopback. Everything a test starts is a child of
it (or of a supervisor that dies with it) and lives in a directory of its own that is removed.
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import msgpack

BUILD = os.environ.get("QUORATE_BUILD", os.path.join(os.getcwd()))
QUORATE = os.path.join(BUILD, "ctl", "quorate")
DAEMONS = ("raftd", "stored", "gatewayd")
SANITIZED = os.environ.get("QUORATE_SANITIZED", "") == "yes"
PATIENCE_S = 120 if SANITIZED else 60     # for conditions that must come true; never slept through


class Skip(Exception):
    pass


def tap(cases):
    """Runs the functions in order, prints TAP, exits."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    cases = [c for c in cases if only in c.__name__]
    print(f"1..{len(cases)}", flush=True)
    bad = 0
    for number, case in enumerate(cases, 1):
        began = time.monotonic()
        try:
            case()
            verdict = "ok"
            note = ""
        except Skip as why:
            verdict, note = "ok", f" # SKIP {why}"
        except BaseException:                      # a KeyboardInterrupt must clean up and report too
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            verdict, note, bad = "not ok", "", bad + 1
        print(f"{verdict} {number} - {case.__name__}{note}", flush=True)
        print(f"# {time.monotonic() - began:.1f} s", flush=True)
    sys.exit(bad != 0)


def until(condition, what, patience_s=None):
    """Waits until condition() is true; returns what it returned."""
    end = time.monotonic() + (patience_s or PATIENCE_S)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience_s or PATIENCE_S} s: {what}")
        time.sleep(0.02)


def free_base_port(count):
    """A base port whose `count` successors are free, below the range the kernel hands out."""
    for _ in range(200):
        base = random.randrange(10000, 32000 - count)
        held = []
        try:
            for port in range(base, base + count):
                s = socket.socket()
                held.append(s)
                s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()
    raise AssertionError("no free ports")


class RpcError(Exception):
    def __init__(self, code, text, again):
        super().__init__(f"{code} {text}")
        self.code, self.text, self.again = code, text, again


class Rpc:
    """A native-protocol client written from docs/native-protocol.md, not from our C code."""

    def __init__(self, port, host="127.0.0.1", timeout_s=None):
        self.sock = socket.create_connection((host, port), timeout=timeout_s or 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unpacker = msgpack.Unpacker(raw=True, max_buffer_size=1 << 31)
        self.next_id = 0

    def send(self, method, params):
        self.next_id = (self.next_id + 1) & 0xffffffff
        self.sock.sendall(msgpack.packb([0, self.next_id, method, params], use_bin_type=True))
        return self.next_id

    def receive(self):
        while True:
            for message in self.unpacker:
                return message
            data = self.sock.recv(1 << 18)
            if not data:
                raise ConnectionError("closed by the server")
            self.unpacker.feed(data)

    def call(self, method, *params):
        wanted = self.send(method, list(params))
        kind, got, error, result = self.receive()
        assert kind == 1 and got == wanted, (kind, got, wanted)
        if error is not None:
            raise RpcError(error[0], error[1].decode(), error[2])
        return result

    # [header, ...]: header is [cluster, member, revision, term]
    def put(self, key, value, *more):
        return self.call("put", key, value, *more)

    def get(self, key, **kw):
        """{key: value} of one key or a range."""
        return {k: v for k, _, _, _, v, _ in self.range(key, **kw)[3]}

    def range(self, key, end=b"", limit=0, revision=0, serializable=False):
        return self.call("range", key, end, limit, revision, 0, 0, serializable)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def prefix_end(prefix):
    p = bytearray(prefix)
    while p:
        if p[-1] < 0xff:
            p[-1] += 1
            return bytes(p)
        p.pop()
    return b"\0"


class Cluster:
    """`quorate up` with N nodes: it restarts what dies, as an operator's supervisor would."""

    def __init__(self, nodes=3, extra=()):
        self.n = nodes
        self.dir = tempfile.mkdtemp(prefix="quorate-system-")
        self.base = free_base_port(10 * nodes)
        self.extra = list(extra)
        self.up = None
        self.log = open(os.path.join(self.dir, "up.log"), "ab")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind is not None:
            self.show_logs()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def show_logs(self):
        for folder, _, names in os.walk(self.dir):
            for name in sorted(names):
                if name.endswith(".log"):
                    path = os.path.join(folder, name)
                    with open(path, "rb") as f:
                        lines = f.read()[-3000:].decode("utf-8", "replace").splitlines()[-25:]
                    print(f"# ---- {os.path.relpath(path, self.dir)}")
                    for line in lines:
                        print(f"# {line}")

    def data(self):
        return os.path.join(self.dir, "data")

    def start(self):
        self.up = subprocess.Popen(
            [QUORATE, "up", "--nodes", str(self.n), "--dir", self.data(), "--base-port", str(self.base)] + self.extra,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        self.wait_ready()

    def stop(self, sig=signal.SIGINT):
        """Ctrl-C, as a user would; returns the exit code."""
        if self.up is None:
            return None
        if self.up.poll() is None:
            self.up.send_signal(sig)
        try:
            code = self.up.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.up.kill()
            self.up.wait()
            code = "did not stop"
        self.up = None
        return code

    def kill_all(self):
        """The whole cluster at once, the supervisor first so that it restarts nothing."""
        pids = [p for p in (self.pid(i, d) for i in range(self.n) for d in DAEMONS) if p]
        self.up.kill()
        self.up.wait()
        self.up = None
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), "the killed are gone")

    def port(self, i):
        return self.base + 10 * i

    def peer_port(self, i):
        return self.base + 10 * i + 1

    def endpoints(self, *which):
        return ",".join(f"127.0.0.1:{self.port(i)}" for i in (which or range(self.n)))

    def run_dir(self, i):
        return os.path.join(self.data(), f"node{i}", "run")

    def pid(self, i, daemon):
        try:
            with open(os.path.join(self.run_dir(i), f"{daemon}.lock"), encoding="ascii") as f:
                pid = int(f.read().strip() or 0)
        except (OSError, ValueError):
            return 0
        return pid if pid and os.path.exists(f"/proc/{pid}") else 0

    def kill(self, i, daemon, sig=signal.SIGKILL):
        """Kills a daemon; returns the id it had."""
        pid = until(lambda: self.pid(i, daemon), f"{daemon} of node {i} runs")
        os.kill(pid, sig)
        return pid

    def reborn(self, i, daemon, old):
        return until(lambda: self.pid(i, daemon) not in (0, old), f"{daemon} of node {i} is back")

    def rpc(self, i, **kw):
        return Rpc(self.port(i), **kw)

    def status(self, i):
        """The node's status as a list of fields (docs/native-protocol.md), or None."""
        try:
            with self.rpc(i, timeout_s=5) as r:
                return r.call("status")
        except (OSError, RpcError, ConnectionError):
            return None

    def leader(self):
        """Index of the node that leads, if all reachable nodes agree; else None."""
        ids = {}
        for i in range(self.n):
            s = self.status(i)
            if s is None:
                continue
            ids[s[0][1]] = i
            if s[3] == b"leader":
                lead = s
        try:
            return ids[lead[0][1]]
        except (UnboundLocalError, KeyError):
            return None

    def wait_ready(self):
        def ready():
            if self.up is not None and self.up.poll() is not None:
                raise AssertionError(f"quorate up ended with {self.up.returncode}")
            for i in range(self.n):
                try:
                    with self.rpc(i, timeout_s=5) as r:
                        r.range(b"\0")
                except (OSError, RpcError, ConnectionError):
                    return False
            return self.leader() is not None
        until(ready, "every node answers a linearizable read")

    def ctl(self, *args, nodes=(), stdin=None, check=True, binary=False):
        """Runs `quorate`; returns the finished process."""
        done = subprocess.run([QUORATE, "--endpoints", self.endpoints(*nodes), *args], input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=4 * PATIENCE_S,
                              text=not binary, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"quorate {' '.join(map(str, args))}: {done.returncode}\n{done.stderr}")
        return done

    def admin(self, i, daemon, command):
        """One command on an admin socket, by hand: a line out, lines back until an empty one."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(30)
            s.connect(os.path.join(self.run_dir(i), f"{daemon}.admin"))
            s.sendall(command.encode() + b"\n")
            data = b""
            while not data.endswith(b"\n\n") and data != b"\n":
                more = s.recv(65536)
                if not more:
                    break
                data += more
            return data.decode()

    def admin_json(self, i, daemon, command):
        return json.loads(self.admin(i, daemon, "json " + command))
