#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""quorate-etcd, started as etcd is: its flags make a cluster, its signals and its log are etcd's."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import BUILD, PATIENCE_S, QUORATE, TROUBLE, Ports, Skip, die_with_parent, processes_of, tap, until

PROGRAM = os.path.join(BUILD, "ctl", "quorate-etcd")
MEMBERS = ("infra1", "infra2", "infra3")


class Members:
    """Members with the flags of etcd's clustering guide, on one machine."""

    def __init__(self, names=MEMBERS, extra=(), env=None):
        self.names, self.extra, self.env = names, list(extra), {**os.environ, **(env or {})}
        self.dir = tempfile.mkdtemp(prefix="quorate-etcd-")
        self.ports = Ports(2 * len(names))
        self.processes = {}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for name in list(self.processes):
            self.stop(name, signal.SIGTERM if kind is None else signal.SIGKILL)
        try:
            left = until(lambda: not processes_of(self.dir), "the daemons have ended") if kind is None else True
            assert left
            for name in self.names:
                trouble = [line for line in self.log(name).encode().splitlines() if TROUBLE.search(line)]
                assert not trouble or kind is not None, trouble
        finally:
            if kind not in (None, Skip):
                for name in self.names:
                    print("\n".join(f"# {name} {line}" for line in self.log(name).splitlines()[-20:]))
            self.ports.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def client(self, name):
        return f"127.0.0.1:{self.ports.base + 2 * self.names.index(name)}"

    def peer(self, name):
        return f"http://127.0.0.1:{self.ports.base + 2 * self.names.index(name) + 1}"

    def log_path(self, name):
        return os.path.join(self.dir, name + ".log")

    def log(self, name):
        try:
            with open(self.log_path(name), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def command(self, name, *more):
        client, peer = f"http://{self.client(name)}", self.peer(name)
        cluster = ",".join(f"{n}={self.peer(n)}" for n in self.names)
        return [PROGRAM, "--name", name, "--data-dir", os.path.join(self.dir, name), "--initial-advertise-peer-urls",
                peer, "--listen-peer-urls", peer, "--listen-client-urls", client, "--advertise-client-urls", client,
                "--initial-cluster-token", "etcd-cluster-1", "--initial-cluster", cluster, "--initial-cluster-state",
                "new", "--enable-pprof", "--logger=zap", "--log-outputs=stderr", *self.extra, *more]

    def start(self, name, *more):
        with open(self.log_path(name), "ab") as out:
            self.processes[name] = subprocess.Popen(self.command(name, *more), stdin=subprocess.DEVNULL, stdout=out,
                                                    stderr=out, preexec_fn=die_with_parent, env=self.env)

    def start_all(self):
        for name in self.names:
            self.start(name)
        for name in self.names:
            self.wait_ready(name)

    def wait_ready(self, name, times=1):
        def ready():
            assert self.processes[name].poll() is None, f"{name} ended with {self.processes[name].returncode}"
            return self.log(name).count('"msg":"ready to serve client requests"') >= times
        until(ready, f"{name} is ready")

    def stop(self, name, sig=signal.SIGTERM):
        p = self.processes.pop(name)
        if p.poll() is None:
            p.send_signal(sig)
        return p.wait(PATIENCE_S)

    def ctl(self, name, *args):
        done = subprocess.run([QUORATE, *args, "--endpoints", self.client(name)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def etcdctl(self, name, *args):
        if shutil.which("etcdctl") is None:
            raise Skip("no etcdctl: install etcd-client")
        return subprocess.run(["etcdctl", "--endpoints", self.client(name), *args], stdout=subprocess.PIPE, text=True,
                              timeout=PATIENCE_S, check=True, env={**os.environ, "ETCDCTL_API": "3"}).stdout


def the_flags_of_etcds_guide_make_a_cluster_of_three():
    with Members() as m:
        m.start_all()
        m.ctl("infra1", "put", "greeting", "hello")
        assert m.ctl("infra3", "get", "greeting") == "greeting\nhello\n"
        rows = [json.loads(line) for line in m.log("infra1").splitlines()]        # each line is JSON
        assert all({"level", "ts", "caller", "msg"} <= set(row) for row in rows)
        assert any(row["level"] == "warn" and "cluster token" in row["msg"] for row in rows)
        served = [row for row in rows if row["msg"].startswith("serving client traffic insecurely")]
        assert [row["address"] for row in served] == [m.client("infra1")]
        assert any(row.get("name") == "enable-pprof" for row in rows)
        assert m.stop("infra2") == -signal.SIGTERM                                # as etcd: ended by the signal
        m.ctl("infra1", "put", "greeting", "again")
        m.start("infra2")
        m.wait_ready("infra2", 2)
        assert m.ctl("infra2", "get", "greeting") == "greeting\nagain\n"


def etcdctl_works_with_it():
    with Members() as m:
        m.start_all()
        assert m.etcdctl("infra1", "put", "k", "v") == "OK\n"
        assert m.etcdctl("infra2", "get", "k") == "k\nv\n"
        rows = [line.split(", ") for line in m.etcdctl("infra1", "member", "list").splitlines()]
        assert sorted(row[2] for row in rows) == list(MEMBERS), rows
        assert {row[3] for row in rows} == {m.peer(n) for n in MEMBERS}, rows
        # of the others on the same machine nobody has said where their clients go
        assert {row[4] for row in rows} == {f"http://{m.client('infra1')}", ""}, rows


def a_killed_launcher_takes_its_daemons_along_and_goes_on_later():
    with Members(names=("only",)) as m:
        m.start_all()
        m.ctl("only", "put", "k", "v")
        m.stop("only", signal.SIGKILL)
        until(lambda: not processes_of(m.dir), "the daemons have died too")
        m.start("only", "--initial-cluster-token", "another")                     # counts only at the first start
        m.wait_ready("only", 2)
        assert m.ctl("only", "get", "k") == "k\nv\n"
        assert "already initialized" in m.log("only")


def a_daemon_that_dies_is_started_again():
    with Members(names=("only",)) as m:
        m.start_all()
        with open(os.path.join(m.dir, "only", "run", "stored.lock"), encoding="ascii") as f:
            pid = int(f.read())
        group = {os.getpgid(p) for p in processes_of(os.path.join(m.dir, "only"))} - {os.getpgid(m.processes["only"].pid)}
        assert len(group) == 1, group                                             # the daemons share one
        os.kill(pid, signal.SIGKILL)
        until(lambda: "stored died: signal 9" in m.log("only"), "its death is said")
        m.ctl("only", "put", "k", "v")


def nodes_with_different_secrets_do_not_meet():
    with Members() as m:
        for name, secret in zip(MEMBERS, ("1" * 64, "1" * 64, "2" * 64)):
            path = os.path.join(m.dir, name + ".secret")
            with open(path, "w", encoding="ascii") as f:
                f.write(secret + "\n")
            os.chmod(path, 0o600)
            m.start(name, "--quorate-secret-file", path)
        m.wait_ready("infra1")
        m.wait_ready("infra2")
        m.ctl("infra1", "put", "k", "v")
        assert "cluster token" not in m.log("infra1")
        assert '"ready to serve client requests"' not in m.log("infra3")
        # with another secret than it was made with a node does not start again
        m.stop("infra2")
        m.start("infra2", "--quorate-secret-file", os.path.join(m.dir, "infra3.secret"))
        until(lambda: m.processes["infra2"].poll() is not None, "infra2 gives up")
        assert m.processes["infra2"].returncode == 1
        assert "another cluster secret" in m.log("infra2")


def it_listens_on_each_client_url():
    with Members(names=("only",)) as m:
        ports = Ports(1)
        try:
            m.start("only", "--listen-client-urls", f"http://{m.client('only')},http://localhost:{ports.base}")
            m.wait_ready("only")
            m.ctl("only", "put", "k", "v")
            done = subprocess.run([QUORATE, "get", "k", "--endpoints", f"127.0.0.1:{ports.base}"], text=True,
                                  stdout=subprocess.PIPE, check=True)
            assert done.stdout == "k\nv\n"
            m.stop("only")
        finally:
            ports.close()


def compacted(m, revision):
    done = subprocess.run([QUORATE, "get", "k", "--rev", str(revision), "--endpoints", m.client("only")], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0 or "compacted" in done.stderr, done.stderr
    return done.returncode != 0


def history_is_compacted_as_its_flags_say():
    with Members(names=("only",), extra=["--auto-compaction-mode", "revision", "--auto-compaction-retention", "10"]) as m:
        m.start_all()
        for i in range(30):
            m.ctl("only", "put", "k", str(i))                                     # revisions 2 to 31
        until(lambda: compacted(m, 20), "what is more than ten revisions back is gone")
        assert not compacted(m, 21)                                               # and not more than that
        m.stop("only")
        m.extra = ["--auto-compaction-retention", "1s"]                           # by time, as without a mode
        m.start("only")
        m.wait_ready("only", 2)
        m.ctl("only", "put", "k", "last")
        until(lambda: compacted(m, 31), "what is older than a second is gone")
        assert not compacted(m, 32)


def refused(*args, code=1, env=None, cwd=None):
    done = subprocess.run([PROGRAM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
                          timeout=PATIENCE_S, env={**os.environ, **(env or {})}, check=False)
    assert done.returncode == code, (done.returncode, done.stderr)
    return done.stdout + done.stderr


def what_it_cannot_do_it_refuses():
    folder = tempfile.mkdtemp(prefix="quorate-etcd-")
    try:
        assert "flag provided but not defined" in refused("--bogus", code=2)
        assert "is refused" in refused("--data-dir", folder, env={"ETCD_CERT_FILE": "/x"})
        assert "couldn't find local name" in refused("--data-dir", folder, "--initial-cluster", "x=http://localhost:1")
        assert "TLS" in refused("--data-dir", folder, "--listen-client-urls", "https://localhost:1")
        assert "change of membership" in refused("--data-dir", folder, "--initial-cluster-state", "existing")
        for setting in (["revision", "1h"], ["periodic", "x"], ["periodic", "99999999"], ["weekly", "1"], ["revision", "-1"]):
            assert "auto-compaction-" in refused("--data-dir", folder, "--auto-compaction-mode", setting[0],
                                                 "--auto-compaction-retention", setting[1])
        os.mkdir(os.path.join(folder, "member"))
        assert "etcd's own data" in refused("--data-dir", folder)
    finally:
        shutil.rmtree(folder)


def the_version_is_told_in_etcds_four_lines():
    assert re.fullmatch(r"etcd Version: \d+\.\d+\.\d+\nGit SHA: .+\nGo Version: .+\nGo OS/Arch: linux/\w+\n",
                        refused("--version", code=0))


tap([the_flags_of_etcds_guide_make_a_cluster_of_three, etcdctl_works_with_it,
     a_killed_launcher_takes_its_daemons_along_and_goes_on_later, a_daemon_that_dies_is_started_again,
     nodes_with_different_secrets_do_not_meet, it_listens_on_each_client_url,
     history_is_compacted_as_its_flags_say, what_it_cannot_do_it_refuses,
     the_version_is_told_in_etcds_four_lines])
