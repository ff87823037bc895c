#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Init scripts and systemd units, made from their templates for paths of the test's own."""
import getpass
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import (BUILD, DAEMONS, QUORATE, SANITIZED, SOURCE, Skip, Ports, alive, check_logs, processes_of,
                     program, show_logs, tap, until)
from rpc import Rpc, RpcError

RUNNING, NOT_RUNNING = 0, 3               # LSB's answers to `status`; 1 is "dead, and a pid file is there"


def start_stop_daemon():
    found = shutil.which("start-stop-daemon", path="/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
    if found is None:
        raise Skip("no start-stop-daemon")
    return found


class Machine:
    """A root file system in a directory, with one node's configuration and its three init scripts."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="quorate-init-")
        self.ports = Ports(2)
        self.port = self.ports.base
        self.sbin, self.etc = self.path("sbin"), self.path("etc")
        self.var, self.run = self.path("var"), self.path("run")
        for folder in (self.sbin, self.path("etc/quorate"), self.path("etc/default"), self.run, self.path("var/lib")):
            os.makedirs(folder, exist_ok=True)
        for daemon in DAEMONS:
            os.symlink(program(daemon), os.path.join(self.sbin, daemon))

    def path(self, name):
        return os.path.join(self.dir, name)

    def __enter__(self):
        self.configure()
        self.scripts = {d: self.render("quorate.init.in", f"{d}.init", DAEMON=d) for d in DAEMONS}
        with open(self.path("etc/default/quorate"), "w", encoding="ascii") as f:
            f.write(f"RUN_USER={getpass.getuser()}\n")
        return self

    def __exit__(self, kind, *_):
        left = processes_of(self.dir)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        try:
            if kind is None:
                assert not left, f"left running: {left}"
                check_logs(self.dir)
        except AssertionError:
            kind = AssertionError
            raise
        finally:
            if kind not in (None, Skip):
                show_logs(self.dir)
            self.ports.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def configure(self):
        """As docs/operations.md says, with other paths."""
        new = self.path("new")
        subprocess.run([QUORATE, "init", "--dir", new, "--base-port", str(self.port)], check=True, timeout=60,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        lib = self.path("var/lib/quorate")
        os.makedirs(lib, mode=0o700)
        subprocess.run(["sed", "-i", "-e", f"s|^data_dir = .*|data_dir = {lib}|",
                        "-e", f"s|^run_dir = .*|run_dir = {self.run}/quorate|",
                        "-e", "/^key_file = /d", "-e", "/^secret_file = /d", f"{new}/node0/quorate.conf"], check=True)
        shutil.copy(f"{new}/node0/quorate.conf", self.path("etc/quorate"))
        for key in ("node.key", "cluster.secret"):
            shutil.copy2(f"{new}/node0/{key}", lib)

    def render(self, template, name, **more):
        with open(os.path.join(SOURCE, "etc", template), encoding="utf-8") as f:
            text = f.read()
        for word, value in {"sbindir": self.sbin, "sysconfdir": self.etc, "localstatedir": self.var,
                            "runstatedir": self.run, **more}.items():
            text = text.replace(f"@{word}@", value)
        assert not re.search(r"@\w+@(?!\.service)", text), f"{template} has a word that nobody replaces"
        if os.geteuid() != 0:                            # raftd and gatewayd hide their /proc/PID/exe from all but root
            text = text.replace('--exec "$BINARY" --', '--name "$NAME" --startas "$BINARY" --')
            text = text.replace('--exec "$BINARY"', '--name "$NAME"')
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755 if name.endswith(".init") else 0o644)
        return path

    def init(self, daemon, action, want=0):
        done = subprocess.run(["/bin/sh", self.scripts[daemon], action], stdin=subprocess.DEVNULL, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        wanted = want if isinstance(want, tuple) else (want,)
        assert done.returncode in wanted, f"{daemon} {action}: {done.returncode}, not {want}: {done.stdout}"
        return done.stdout

    def pid(self, daemon):
        with open(os.path.join(self.run, f"quorate-{daemon}.0.pid"), encoding="ascii") as f:
            return int(f.read())

    def log(self, daemon):
        with open(os.path.join(self.var, "log", "quorate", f"{daemon}.0.log"), encoding="utf-8") as f:
            return f.read()

    def serves(self):
        try:
            with Rpc(self.port, timeout_s=10) as r:
                r.put(b"/served", b"yes")
                return r.get(b"/served") == {b"/served": b"yes"}
        except (OSError, RpcError):
            return False


def in_every_order_they_start_and_stop():
    start_stop_daemon()
    with Machine() as m:
        orders = list(itertools.permutations(DAEMONS))
        for up, down in zip(orders if not SANITIZED else orders[::2], orders[1:] + orders[:1]):
            print(f"# up {' '.join(up)}, down {' '.join(down)}")
            for daemon in up:
                assert daemon in m.init(daemon, "start")
                m.init(daemon, "status", RUNNING)
            until(m.serves, f"a node started in the order {up} serves")
            for n, daemon in enumerate(down):
                m.init(daemon, "stop")
                m.init(daemon, "status", NOT_RUNNING)
                for other in down[n + 1:]:
                    m.init(other, "status", RUNNING)
            assert not processes_of(m.dir), "stop left something behind"


def who_waits_says_for_whom():
    start_stop_daemon()
    with Machine() as m:
        for daemon, others in (("gatewayd", ("raftd", "stored", "leased")), ("raftd", ("stored",)),
                               ("leased", ("raftd", "stored"))):
            m.init(daemon, "start")
            for other in others:
                until(lambda o=other: re.search(rf"waiting for.*{o}", m.log(daemon)),
                      f"{daemon} says that it waits for {other}")
            m.init(daemon, "stop")


def start_and_stop_may_be_repeated():
    start_stop_daemon()
    with Machine() as m:
        for daemon in DAEMONS:
            m.init(daemon, "stop")
            m.init(daemon, "start")
            pid = m.pid(daemon)
            m.init(daemon, "start")
            assert m.pid(daemon) == pid and alive(pid), "the second start started something"
        until(m.serves, "it serves")
        for daemon in DAEMONS:
            m.init(daemon, "stop")
            m.init(daemon, "stop")


def restart_makes_a_new_process_and_loses_nothing():
    start_stop_daemon()
    with Machine() as m:
        for daemon in DAEMONS:
            m.init(daemon, "try-restart")
            m.init(daemon, "status", NOT_RUNNING)
            m.init(daemon, "start")
        until(m.serves, "it serves")
        for daemon in DAEMONS:
            for action in ("restart", "try-restart", "force-reload"):
                old = m.pid(daemon)
                m.init(daemon, action)
                assert m.pid(daemon) != old and not alive(old) and alive(m.pid(daemon)), (daemon, action)
        until(m.serves, "it serves again")
        with Rpc(m.port) as r:
            assert r.get(b"/served") == {b"/served": b"yes"}
        for daemon in DAEMONS:
            m.init(daemon, "stop")


def an_upgrade_replaces_what_runs():
    start_stop_daemon()
    with Machine() as m:
        old_binary, new_binary = (os.path.join(m.sbin, name) for name in ("raftd", "raftd.new"))
        os.remove(old_binary)
        shutil.copy(program("raftd"), old_binary)
        m.init("raftd", "start")
        old = m.pid("raftd")
        shutil.copy(program("raftd"), new_binary)        # as a package manager does it
        os.rename(new_binary, old_binary)
        m.init("raftd", "status", RUNNING)
        m.init("raftd", "start")
        assert m.pid("raftd") == old and alive(old)
        m.init("raftd", "restart")
        assert m.pid("raftd") != old and not alive(old) and alive(m.pid("raftd"))
        m.init("raftd", "stop")


def reload_reads_the_log_level_again():
    start_stop_daemon()
    with Machine() as m:
        m.init("raftd", "start")
        with open(m.path("etc/quorate/quorate.conf"), "a", encoding="ascii") as f:
            f.write("log_level = debug\n")
        m.init("raftd", "reload")
        until(lambda: "level=debug" in m.log("raftd"), "raftd says that it has read the level")
        m.init("raftd", "stop")


def the_killed_are_known_to_be_dead_and_start_again():
    start_stop_daemon()
    with Machine() as m:
        m.init("stored", "start")
        old = m.pid("stored")
        os.kill(old, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{old}"), "it is dead, and init has noticed")
        m.init("stored", "status", 1)
        m.init("stored", "start")
        m.init("stored", "status", RUNNING)
        m.init("stored", "stop")


def two_gateways_share_the_port():
    start_stop_daemon()
    with Machine() as m:
        with open(m.path("etc/quorate/quorate.conf"), "a", encoding="ascii") as f:
            f.write("gateways = 2\n")
        for daemon in DAEMONS:
            m.init(daemon, "start")
        pids = [int(open(os.path.join(m.run, f"quorate-gatewayd.{i}.pid"), encoding="ascii").read()) for i in (0, 1)]
        assert len(set(pids)) == 2 and all(map(alive, pids))
        until(m.serves, "it serves")
        for pid in pids:                                 # either serves alone
            os.kill(pid, signal.SIGKILL)
            until(lambda p=pid: not os.path.exists(f"/proc/{p}"), "it is dead, and init has noticed")
            until(m.serves, "the other one serves")
            m.init("gatewayd", "status", 1)
            m.init("gatewayd", "start")
            m.init("gatewayd", "status", RUNNING)
        for daemon in DAEMONS:
            m.init(daemon, "stop")


def a_gateway_that_is_configured_no_more_is_stopped_too():
    start_stop_daemon()
    with Machine() as m:
        conf = m.path("etc/quorate/quorate.conf")
        shutil.copy(conf, conf + ".one")
        with open(conf, "a", encoding="ascii") as f:
            f.write("gateways = 3\n")
        m.init("gatewayd", "start")
        pids = [int(open(os.path.join(m.run, f"quorate-gatewayd.{i}.pid"), encoding="ascii").read()) for i in range(3)]
        os.rename(conf + ".one", conf)
        m.init("gatewayd", "restart")
        assert not any(map(alive, pids)), "a gateway of the former configuration runs on"
        assert len(processes_of(m.dir)) == 1, processes_of(m.dir)
        m.init("gatewayd", "stop")


def who_has_a_pid_of_old_is_left_alone():
    start_stop_daemon()
    with Machine() as m:
        with subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL) as other:
            with open(os.path.join(m.run, "quorate-raftd.0.pid"), "w", encoding="ascii") as f:
                f.write(f"{other.pid}\n")
            try:
                m.init("raftd", "status", 1)
                m.init("raftd", "reload", (0, 1))
                m.init("raftd", "stop")
                m.init("raftd", "start")
                m.init("raftd", "status", RUNNING)
                assert m.pid("raftd") != other.pid and other.poll() is None
                m.init("raftd", "stop")
                assert other.poll() is None
            finally:
                other.kill()


def what_is_missing_is_said():
    start_stop_daemon()
    with Machine() as m:
        m.init("raftd", "frobnicate", 2)
        with open(m.path("etc/default/quorate"), "a", encoding="ascii") as f:
            f.write("ENABLED=no\n")
        assert "not enabled" in m.init("raftd", "start")
        os.remove(m.path("etc/quorate/quorate.conf"))
        assert "quorate.conf" in m.init("raftd", "start", 6)
        os.remove(os.path.join(m.sbin, "raftd"))
        m.init("raftd", "start", 5)


def the_built_scripts_and_units_are_the_templates():
    for daemon in DAEMONS:
        unit = f"quorate-{daemon}@.service" if daemon == "gatewayd" else f"quorate-{daemon}.service"
        for name in (f"quorate-{daemon}.init", unit):
            with open(os.path.join(BUILD, "etc", name), encoding="utf-8") as f:
                text = f.read()
            assert not re.search(r"@\w+@(?!\.service)", text) and daemon in text, name
            assert name.endswith(".service") or text.startswith("#!/bin/sh\n"), name


def systemd_takes_the_units():
    if shutil.which("systemd-analyze") is None:
        raise Skip("no systemd-analyze")
    with Machine() as m:
        os.makedirs(m.path("units"))
        for daemon in DAEMONS:
            gateway = daemon == "gatewayd"
            m.render("quorate.service.in", f"units/quorate-{daemon}{'@' if gateway else ''}.service", DAEMON=daemon,
                     INSTANCE=" -i %i" if gateway else "", FAMILIES="AF_UNIX" if daemon in ("stored", "leased", "watchd") else
                     "AF_UNIX AF_INET AF_INET6")
        shutil.copy(os.path.join(SOURCE, "etc", "quorate.target"), m.path("units"))
        units = ["quorate-raftd.service", "quorate-stored.service", "quorate-leased.service",
                 "quorate-watchd.service",
                 "quorate-gatewayd@0.service", "quorate.target"]
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *(m.path(f"units/{u}") for u in units)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120, check=False)
        ours = [line for line in done.stdout.splitlines() if "quorate" in line]
        assert not ours, "\n".join(ours)
        if done.returncode != 0 and not done.stdout.strip():
            raise Skip("systemd-analyze verify does not work here")


if __name__ == "__main__":
    tap([in_every_order_they_start_and_stop, who_waits_says_for_whom, start_and_stop_may_be_repeated,
         restart_makes_a_new_process_and_loses_nothing, an_upgrade_replaces_what_runs, reload_reads_the_log_level_again,
         the_killed_are_known_to_be_dead_and_start_again, two_gateways_share_the_port,
         a_gateway_that_is_configured_no_more_is_stopped_too, who_has_a_pid_of_old_is_left_alone, what_is_missing_is_said,
         the_built_scripts_and_units_are_the_templates, systemd_takes_the_units])
