# SPDX-License-Identifier: Apache-2.0
"""What the tests of real daemons share: a TAP runner, waiting, a cluster under `quorate up`.

Nothing of the host is needed but free ports on loopback. Everything a test starts is a child of
it (or of a supervisor that dies with it) and lives in a directory of its own that is removed.
When a cluster has been used, its logs must hold no panic and no sanitizer's report.
"""
import atexit
import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

from rpc import S_HEADER, S_ROLE, H_MEMBER, Rpc, RpcError

SOURCE = os.path.abspath(os.environ.get("srcdir", os.path.join(os.path.dirname(__file__), "..", "..")))
BUILD = os.path.abspath(os.environ.get("QUORATE_BUILD", os.path.join(SOURCE, "build", "release")))
QUORATE = os.path.join(BUILD, "ctl", "quorate")
DAEMONS = ("raftd", "stored", "leased", "watchd", "gatewayd")
LINKS = {"raftd": 3, "stored": 4, "leased": 3, "watchd": 2, "gatewayd": 4}    # of one node with one gatewayd
SANITIZED = os.environ.get("QUORATE_SANITIZED", "") == "yes"
ROUNDS = int(os.environ.get("QUORATE_ROUNDS", "1"))      # more: a longer search for rare faults
PATIENCE_S = 120 if SANITIZED else 60     # for conditions that must come true; never slept through
WATCHDOG_S = (900 if SANITIZED else 420) * ROUNDS   # for a whole test program: a hang is a failure
TROUBLE = re.compile(rb"panic at|fatal:|AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:")


class Skip(Exception):
    pass


class Hung(BaseException):
    pass


def program(name):
    return os.path.join(BUILD, name, name)


def scaled(normal, sanitized):
    """Sizes of loads: sanitizers make everything several times slower."""
    return sanitized if SANITIZED else normal


def on_signal(number, _):
    raise Hung(f"ended by {signal.Signals(number).name}")


def tap(cases, always=()):
    """Runs the functions in order, prints TAP, exits. An argument runs only cases with that in their name;
    --list prints the names.

    `always` are the first and the last case if the others share something: they run anyway.
    """
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    if only == "--list":
        print("\n".join(c.__name__ for c in cases))
        sys.exit(0)
    cases = [*always[:1], *(c for c in cases if only in c.__name__), *always[1:]]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, on_signal)
    # Who starts us in the background may ignore these, and what we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.alarm(WATCHDOG_S)
    print(f"1..{len(cases)}", flush=True)
    bad, over = 0, False
    for number, case in enumerate(cases, 1):
        began = time.monotonic()
        verdict, note = "ok", ""
        try:
            if over and case not in always:
                raise Skip("the program was asked to end")
            case()
        except Skip as why:
            note = f" # SKIP {why}"
        except BaseException as e:                 # a KeyboardInterrupt must clean up and report too
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            verdict, bad = "not ok", bad + 1
            over = not isinstance(e, Exception)
        print(f"{verdict} {number} - {case.__name__}{note}", flush=True)
        print(f"# {time.monotonic() - began:.1f} s", flush=True)
    sys.exit(bad != 0)


def until(condition, what, patience_s=None):
    """Waits until condition() is true; returns what it returned."""
    patience_s = patience_s or PATIENCE_S
    end = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(0.01)


def die_with_parent():
    """Runs in a child between fork and exec: SIGTERM when the test ends, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


class Ports:
    """`count` ports from `base` on, below the range the kernel hands out, which nobody else gets until close().

    They stay bound without listening; whoever sets SO_REUSEADDR, as daemons do, can still listen on them.
    """

    def __init__(self, count):
        for _ in range(200):
            self.base = random.randrange(10000, 32000 - count)
            self.held = []
            try:
                for port in range(self.base, self.base + count):
                    self.held.append(socket.socket())
                    self.held[-1].bind(("127.0.0.1", port))
            except OSError:
                self.close()
                continue
            for s in self.held:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return
        raise AssertionError("no free ports")

    def close(self):
        for s in self.held:
            s.close()


def alive(pid):
    """It runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def processes_of(directory):
    """Ids of our own processes whose command line names this directory of ours."""
    mark, found = os.fsencode(directory), []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                if mark in f.read() and alive(int(name)):
                    found.append(int(name))
        except OSError:
            pass
    return found


def memory_kib(pid, what="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(what + ":"):
                return int(line.split()[1])
    raise AssertionError(f"process {pid} has no {what}")


def log_files(directory):
    for folder, _, names in os.walk(directory):
        for name in sorted(names):
            if name.endswith(".log"):
                yield os.path.join(folder, name)


def show_logs(directory, lines=25):
    for path in log_files(directory):
        with open(path, "rb") as f:
            text = f.read()[-4000:].decode("utf-8", "replace").splitlines()[-lines:]
        print(f"# ---- {os.path.relpath(path, directory)}")
        for line in text:
            print(f"# {line}")


def check_logs(directory, but=None):
    """No daemon panicked, gave up or was caught by a sanitizer; `but` matches lines that are meant to be there."""
    for path in log_files(directory):
        with open(path, "rb") as f:
            for line in f:
                if TROUBLE.search(line) and not (but and re.search(but, line)):
                    raise AssertionError(f"{os.path.relpath(path, directory)}: {line.decode('utf-8', 'replace')}")


def connect_unix(path, timeout_s=30):
    """A connected Unix socket. The path may be longer than a socket address: it goes by the directory's descriptor."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        s.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    except OSError:
        s.close()
        raise
    finally:
        os.close(folder)
    s.settimeout(timeout_s)                              # not before: a full backlog is to be waited for
    return s


def admin(path, command):
    """One command on an admin socket, by hand: a line out, lines back until an empty one."""
    with connect_unix(path) as s:
        s.sendall(command.encode() + b"\n")
        data = b""
        while not data.endswith(b"\n\n") and data != b"\n":
            more = s.recv(65536)
            if not more:
                raise ConnectionError(f"closed in the middle of an answer: {data[-200:]!r}")
            data += more
        return data.decode()


class Cluster:
    """`quorate up` with N nodes: it restarts what dies, as an operator's supervisor would."""

    def __init__(self, nodes=3, extra=(), env=None):
        self.n, self.env = nodes, {**os.environ, **(env or {})}
        self.expected = None             # a pattern of log lines that are trouble, and meant to be
        self.dir = tempfile.mkdtemp(prefix="quorate-system-")
        self.ports = Ports(10 * nodes)
        self.base = self.ports.base
        self.extra = list(extra)
        self.up = None
        self.log = open(os.path.join(self.dir, "up.log"), "ab")
        self.begun = False
        atexit.register(self.unused)

    def unused(self):
        """Who only lists the cases leaves no directory behind."""
        if not self.begun:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            self.start()
        except BaseException as e:
            self.__exit__(type(e))
            raise
        return self

    def __exit__(self, kind, *_):
        code = self.stop()
        left = processes_of(self.dir)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        try:
            if kind is None:
                assert code in (0, None), f"quorate up ended with {code}"
                assert not left, f"processes left behind: {left}"
                check_logs(self.dir, self.expected)
        except AssertionError:
            kind = AssertionError
            raise
        finally:
            if kind not in (None, Skip):
                show_logs(self.dir)
            self.log.close()
            self.ports.close()
            if not os.environ.get("QUORATE_KEEP"):
                shutil.rmtree(self.dir, ignore_errors=True)

    def data(self):
        return os.path.join(self.dir, "data")

    def up_command(self):
        return [QUORATE, "up", "--nodes", str(self.n), "--dir", self.data(), "--base-port", str(self.base), *self.extra]

    def start(self, wait=True):
        self.begun = True
        self.up = subprocess.Popen(self.up_command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                   start_new_session=True, preexec_fn=die_with_parent, env=self.env)
        if wait:
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
        """The whole cluster with kill -9, the supervisor first so that it restarts nothing."""
        self.up.kill()
        self.up.wait()
        self.up = None

        dying = set()

        def gone():
            left = processes_of(self.dir)
            dying.update(left)
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            # One that is dying has no command line any more, and still holds its lock files.
            return not any(alive(pid) for pid in dying)
        until(gone, "the killed are gone")

    def port(self, i):
        return self.base + 10 * i

    def peer_port(self, i):
        return self.base + 10 * i + 1

    def endpoints(self, *which):
        return ",".join(f"127.0.0.1:{self.port(i)}" for i in (which or range(self.n)))

    def node_dir(self, i):
        return os.path.join(self.data(), f"node{i}")

    def run_dir(self, i):
        return os.path.join(self.node_dir(i), "run")

    def up_log(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def pid(self, i, daemon):
        """Process id of a daemon that runs, else 0."""
        try:
            with open(os.path.join(self.run_dir(i), f"{daemon}.lock"), encoding="ascii") as f:
                pid = int(f.read().strip() or 0)
        except (OSError, ValueError):
            return 0
        return pid if pid and alive(pid) else 0

    def pid_of(self, i, daemon):
        return until(lambda: self.pid(i, daemon), f"{daemon} of node {i} runs")

    def kill(self, i, daemon, sig=signal.SIGKILL):
        """Kills a daemon; returns the id it had."""
        pid = self.pid_of(i, daemon)
        os.kill(pid, sig)
        return pid

    def kill_node(self, i):
        """All daemons of a node at once; returns their ids."""
        pids = [self.pid_of(i, d) for d in DAEMONS]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids

    def reborn(self, i, daemon, old):
        return until(lambda: self.pid(i, daemon) not in (0, old) and self.pid(i, daemon),
                     f"{daemon} of node {i} is back")

    def rpc(self, i, **kw):
        return Rpc(self.port(i), **kw)

    def status(self, i):
        """The node's status as a list of fields (docs/native-protocol.md), or None."""
        try:
            with self.rpc(i, timeout_s=5) as r:
                return r.call("status")
        except (OSError, RpcError):
            return None

    def leader(self):
        """Index of the node that leads, if exactly one says so; else None."""
        found = [(i, s) for i, s in ((i, self.status(i)) for i in range(self.n)) if s and s[S_ROLE] == b"leader"]
        return found[0][0] if len(found) == 1 else None

    def wait_leader(self):
        """The leader's index; compared with `is not None`, since it may be 0."""
        return until(lambda: (self.leader(),) if self.leader() is not None else None, "a leader")[0] \
            if self.n > 1 else 0

    def member_id(self, i):
        return self.status(i)[S_HEADER][H_MEMBER]

    def answers(self, i):
        try:
            with self.rpc(i, timeout_s=10) as r:
                r.range(b"\0")
            return True
        except (OSError, RpcError):
            return False

    def wait_ready(self):
        def ready():
            if self.up is not None and self.up.poll() is not None:
                raise AssertionError(f"quorate up ended with {self.up.returncode}")
            return all(self.answers(i) for i in range(self.n)) and self.leader() is not None
        until(ready, "every node answers a linearizable read")

    def ctl(self, *args, nodes=(), stdin=None, check=True, binary=False):
        """Runs `quorate`; returns the finished process."""
        done = subprocess.run([QUORATE, *args, "--endpoints", self.endpoints(*nodes)], input=stdin,
                              stdin=subprocess.DEVNULL if stdin is None else None,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=4 * PATIENCE_S,
                              text=not binary, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"quorate {' '.join(map(str, args))}: {done.returncode}\n{done.stderr}")
        return done

    def admin_path(self, i, daemon):
        return os.path.join(self.run_dir(i), f"{daemon}.admin")

    def admin(self, i, daemon, command):
        return admin(self.admin_path(i, daemon), command)

    def admin_json(self, i, daemon, command):
        return json.loads(self.admin(i, daemon, "json " + command))

    def links_up(self):
        """Every daemon has its links and every raftd its peers."""
        try:
            for i in range(self.n):
                for daemon, links in LINKS.items():
                    if self.admin_json(i, daemon, "status")["links_up"] != links:
                        return False
                if not all(p["connected"] for p in self.admin_json(i, "raftd", "peers").values()):
                    return False
        except (OSError, KeyError, ValueError):
            return False
        return True
