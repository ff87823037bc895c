#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`quorate up`: what it prints works, ^C ends it cleanly, it restarts what dies, one at a time per directory."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import DAEMONS, PATIENCE_S, QUORATE, Cluster, Skip, alive, processes_of, tap, until
from rpc import S_ROLE


def printed_commands(cluster):
    """The lines that `up` shows to be copied."""
    until(lambda: "^C stops it" in cluster.up_log(), "up says what to try")
    return [line.strip() for line in cluster.up_log().splitlines() if line.startswith("  ")]


def shell(commands):
    env = {**os.environ, "PATH": os.path.dirname(QUORATE) + ":" + os.environ["PATH"]}
    return subprocess.run(["/bin/sh", "-e", "-c", "\n".join(commands)], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=4 * PATIENCE_S, text=True,
                          check=False)


def the_printed_commands_work_when_copied():
    with Cluster() as c:
        lines = printed_commands(c)
        export, tries = lines[0], lines[1:]
        assert export.startswith("export QUORATE_ENDPOINTS=") and len(tries) == 5, lines
        for i in range(3):
            assert str(c.port(i)) in export
        for line in tries:
            done = shell([export, line])
            print(f"# $ {line}\n" + "".join(f"#   {text}\n" for text in done.stdout.splitlines()[:6]), end="")
            assert done.returncode == 0 and done.stdout.strip(), (line, done)
        assert shell([export, "quorate get greeting"]).stdout == "greeting\nhello\n"


def what_is_put_through_one_node_is_read_from_another():
    with Cluster() as c:
        c.ctl("put", "/config/colour", "blue", nodes=[0])
        assert c.ctl("get", "/config/colour", nodes=[2]).stdout == "/config/colour\nblue\n"
        assert sorted(c.status(i)[S_ROLE] for i in range(3)) == [b"follower", b"follower", b"leader"]


def it_stops_cleanly_and_goes_on_where_it_was():
    with Cluster() as c:
        for n, sig in enumerate((signal.SIGINT, signal.SIGTERM)):
            c.ctl("put", f"/kept/{n}", f"value {n}")
            pids = [c.pid_of(i, d) for i in range(3) for d in DAEMONS]
            code = c.stop(sig)
            assert code == 0, f"up ended with {code}"
            assert not any(map(alive, pids)) and not processes_of(c.dir), "somebody is left"
            for i in range(3):                           # locks are free: somebody else can take them
                for d in DAEMONS:
                    path = os.path.join(c.run_dir(i), f"{d}.lock")
                    taken = subprocess.run(["flock", "-n", path, "true"], check=False)
                    assert taken.returncode == 0, f"{path} is still locked"
            c.start()
            for k in range(n + 1):
                assert c.ctl("get", f"/kept/{k}", nodes=[2]).stdout == f"/kept/{k}\nvalue {k}\n"
        assert "died" not in c.up_log(), "somebody died on the way"


def asked_before_it_is_up_it_stops_too():
    c = Cluster()
    try:
        up = subprocess.Popen(c.up_command(), stdin=subprocess.DEVNULL, stdout=c.log, stderr=c.log)
        until(lambda: c.pid(0, "raftd"), "the first daemon runs")
        up.send_signal(signal.SIGINT)
        assert up.wait(PATIENCE_S) == 0
        assert not processes_of(c.dir)
    finally:
        c.__exit__(None)


def who_reads_nothing_of_it_holds_nobody_up():
    c = Cluster()
    ends = os.pipe()
    try:
        os.set_blocking(ends[1], False)
        try:
            while True:
                os.write(ends[1], bytes(4096))           # no room is left for a word
        except BlockingIOError:
            os.set_blocking(ends[1], True)
        up = subprocess.Popen(c.up_command(), stdin=subprocess.DEVNULL, stdout=ends[1], stderr=ends[1])
        until(lambda: c.pid(0, "raftd") and subprocess.run(
            [QUORATE, "put", "a", "b", "--endpoints", c.endpoints(0)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0, "the cluster serves")
        old = c.pid(0, "watchd")
        os.kill(old, signal.SIGKILL)
        until(lambda: c.pid(0, "watchd") not in (None, old), "watchd is started again")
        up.send_signal(signal.SIGTERM)
        assert up.wait(PATIENCE_S) == 0
        assert not processes_of(c.dir)
    finally:
        for end in ends:
            os.close(end)
        c.__exit__(None)


def who_dies_is_started_again_and_the_log_says_so():
    with Cluster() as c:
        for node, daemon in ((0, "gatewayd"), (1, "stored"), (2, "raftd")):
            old = c.kill(node, daemon)
            new = c.reborn(node, daemon, old)
            assert new != old
            until(lambda n=node, d=daemon: f"node{n} {d} died: signal 9" in c.up_log(), "up's log says who died")
            until(lambda n=node: c.answers(n), "the node serves again")


def when_the_supervisor_is_killed_its_daemons_go_too():
    with Cluster() as c:
        c.ctl("put", "/survives", "yes")
        c.up.kill()
        c.up.wait()
        until(lambda: not processes_of(c.dir), "no daemon is left")
        c.start()
        assert c.ctl("get", "/survives").stdout == "/survives\nyes\n"


def a_second_up_on_one_directory_is_refused():
    with Cluster() as c:
        second = subprocess.run(c.up_command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=PATIENCE_S, text=True, check=False)
        assert second.returncode not in (0, None) and str(c.up.pid) in second.stderr, second
        assert all(c.answers(i) for i in range(3)), "the first one is unharmed"


def a_wish_that_does_not_fit_the_directory_is_refused():
    with Cluster(1) as c:
        assert c.stop() == 0
        for wrong in (["--nodes", "3"], ["--base-port", str(c.base + 1)]):
            done = subprocess.run([QUORATE, "up", "--dir", c.data(), *wrong], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S, text=True,
                                  check=False)
            assert done.returncode == 128 and done.stderr.startswith("Error: "), done


def a_port_that_is_taken_is_said_and_ends_it():
    with Cluster(1) as taken:
        c = Cluster(1)
        c.base = taken.base
        try:
            done = subprocess.run(c.up_command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=PATIENCE_S, text=True, check=False)
            assert done.returncode == 1 and str(c.base) in done.stderr, done
            assert "cannot run" in done.stderr, done.stderr
        finally:
            c.__exit__(Skip)                             # its log rightly tells of a fatal error


if __name__ == "__main__":
    tap([the_printed_commands_work_when_copied, what_is_put_through_one_node_is_read_from_another,
         it_stops_cleanly_and_goes_on_where_it_was, asked_before_it_is_up_it_stops_too,
         who_reads_nothing_of_it_holds_nobody_up, who_dies_is_started_again_and_the_log_says_so, when_the_supervisor_is_killed_its_daemons_go_too,
         a_second_up_on_one_directory_is_refused, a_wish_that_does_not_fit_the_directory_is_refused,
         a_port_that_is_taken_is_said_and_ends_it])
