#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`quorate lock` and `quorate elect`: words, output, exit codes, and what becomes of the program under a lock."""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, QUORATE, Cluster, Skip, alive, die_with_parent, tap, until
from recipes import Child, command, in_line, keys

OK, ERROR, BAD_CONNECTION, BAD_FEATURE, INTERRUPTED, BAD_ARGS = 0, 1, 2, 4, 5, 128
node = Cluster(1)


def the_node_starts():
    node.__enter__()


def the_node_stops():
    node.__exit__(None)


def run(*words, endpoints=None, **kw):
    return subprocess.run([QUORATE, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=2 * PATIENCE_S, check=False,
                          env={**os.environ, "QUORATE_ENDPOINTS": endpoints or node.endpoints()}, **kw)


def lock(*words):
    return command("lock", *words, endpoints=node.endpoints())


def lease_of(name):
    return in_line(node, name, 1)[0][2]


def revoke(lease):
    with node.rpc(0) as r:
        r.call("lease_revoke", lease)


def two_locks_take_turns():
    """In two terminals; the second time the first one is killed."""
    with lock("turns") as first:
        key = first.line()
        assert re.fullmatch(r"turns/[0-9a-f]+", key) and first.line() == "", key
        assert key.encode() == in_line(node, b"turns/", 1)[0][0]
        with lock("turns", "--ttl", "2") as second:
            in_line(node, b"turns/", 2)
            second.silent(0.2)
            assert first.end(signal.SIGINT) == OK
            assert second.line().startswith("turns/") and second.line() == ""
            with lock("turns") as third:
                in_line(node, b"turns/", 2)
                third.silent(0.2)
                second.kill()
                assert third.line().startswith("turns/")
                assert third.end() == OK
    assert keys(node, b"turns/") == []
    with node.rpc(0) as r:
        until(lambda: r.call("lease_list")[2] == [], "the leases are given back")


def what_is_printed_is_what_get_prints():
    with lock("printed", "-w", "json") as p:
        said = json.loads(p.line())
        assert said["count"] == 1 and said["kvs"][0]["lease"] == lease_of(b"printed/"), said
        assert p.end() == OK
    with lock("printed", "-w", "fields") as p:
        assert p.line().startswith('"ClusterID" : ')
        assert p.end() == OK


def a_program_runs_under_it_and_its_exit_code_is_ours():
    done = run("lock", "prog", "sh", "-c", 'echo "$QUORATE_LOCK_KEY $QUORATE_LOCK_REV $QUORATE_LOCK_LEASE $1"; exit 7',
               "sh", "--ttl")
    key, rev, lease, word = done.stdout.split()
    assert done.returncode == 7 and key == f"prog/{lease}" and int(rev) > 0 and word == "--ttl", done
    assert keys(node, b"prog/") == []
    again = run("lock", "--ttl=5", "prog", "--", "sh", "-c", "echo $QUORATE_LOCK_REV")
    assert again.returncode == 0 and int(again.stdout) > int(rev), again
    assert run("lock", "prog", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    done = run("lock", "prog", "/no/such/program")
    assert done.returncode == 127 and "cannot run /no/such/program: No such file" in done.stderr, done
    assert run("lock", "prog", "/etc/passwd").returncode == 126
    assert keys(node, b"prog/") == []


def it_holds_as_long_as_the_program_runs():
    with lock("long", "sh", "-c", "echo begun; read x; echo $x") as p:
        assert p.line() == "begun"
        assert run("lock", "--try", "long", "true").returncode == ERROR
        done = run("lock", "--try", "--error-code", "75", "long", "true")
        assert done.returncode == 75 and "somebody else holds it" in done.stderr, done
        done = run("lock", "--wait", "100ms", "--error-code", "76", "long", "echo", "ran")
        assert done.returncode == 76 and done.stdout == "", done
        assert len(keys(node, b"long/")) == 1
        p.p.stdin.write("over\n")
        p.p.stdin.flush()
        assert p.line() == "over" and p.wait() == 0
    assert run("lock", "--try", "long", "true").returncode == 0


def signals_reach_the_program():
    script = "trap 'echo term; exit 3' TERM; trap 'echo hup' HUP; echo begun; while :; do sleep 0.05; done"
    with lock("signals", "sh", "-c", script) as p:
        assert p.line() == "begun"
        p.strike(signal.SIGHUP)
        assert p.line() == "hup"
        assert p.end(signal.SIGTERM) == 3
        assert p.line() == "term"
    assert keys(node, b"signals/") == []
    with lock("signals", "--ttl", "60") as holder:
        holder.line()
        with lock("signals", "echo", "ran") as waiter:
            in_line(node, b"signals/", 2)
            assert waiter.end(signal.SIGINT) == INTERRUPTED
            assert waiter.line() is None
        assert len(keys(node, b"signals/")) == 1, "who is interrupted leaves the line"
        assert holder.end() == OK


def who_loses_the_lock_is_told():
    with lock("lost") as p:
        p.line()
        node.ctl("del", "--prefix", "lost/")
        assert p.wait() == ERROR and "the lock is lost" in p.errors[0], p.errors
    with lock("lost", "--error-code", "9") as p:
        p.line()
        revoke(lease_of(b"lost/"))
        assert p.wait() == 9, p.errors


def its_program_is_ended_and_what_that_started():
    """A shell that ends at once, whose child does not care; the child is killed when the time is over."""
    script = "trap '' TERM; (trap '' TERM; echo $$; exec sleep 600) & echo $!; wait"
    with lock("end", "--ttl", "4", "sh", "-c", script) as p:
        pids = sorted({int(p.line()), int(p.line())})
        revoke(lease_of(b"end/"))
        assert p.wait() == ERROR and "the lock is lost" in p.errors[-1], p.errors
        until(lambda: not any(alive(pid) for pid in pids), "all of them have been ended")
    with lock("end", "--signal", "USR1", "--no-kill", "--error-code", "8", "sh", "-c",
              "trap 'echo told' USR1; echo begun; read x; echo $x") as p:
        assert p.line() == "begun"
        revoke(lease_of(b"end/"))
        p.p.stdin.write("on\n")
        assert p.line() == "told"
        p.p.stdin.flush()
        p.line()
        assert p.wait() == 8, p.errors


def without_the_cluster_its_program_ends_before_another_can_have_the_lock():
    with Cluster(1) as c:
        with command("lock", "alone", "--ttl", "4", "sh", "-c", "trap 'echo term; exit' TERM; echo begun; while :; do sleep 0.02; done",
                     endpoints=c.endpoints()) as p:
            assert p.line() == "begun"
            pid = c.kill(0, "gatewayd", signal.SIGSTOP)
            stopped = time.monotonic()
            assert p.line() == "term"
            told = time.monotonic() - stopped
            print(f"# told {told:.2f} s after the cluster fell silent, TTL 4")
            assert p.wait() == ERROR and "lock" in p.errors[-1], p.errors
            os.kill(pid, signal.SIGCONT)
            assert told < 4, "the lease has not ended yet"


def who_was_stopped_for_too_long_does_not_go_on():
    """The whole of `quorate lock` stands still, so nobody ends its program in time; when it goes on it does."""
    with lock("stopped", "--ttl", "1", "sh", "-c", "echo $$; exec sleep 600") as p:
        pid = int(p.line())
        p.strike(signal.SIGSTOP)
        with lock("stopped", "true") as other:
            assert other.wait() == 0
        p.strike(signal.SIGCONT)
        assert p.wait() == ERROR
        until(lambda: not alive(pid), "the program has ended")


def a_terminal_is_the_program_s():
    """Ctrl-C goes to the program, Ctrl-Z stops both, and the shell sees what it would see without us."""
    master, slave = pty.openpty()

    def child():
        die_with_parent()
        import fcntl, termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    script = "trap 'echo int; exit 4' INT; echo begun; while :; do sleep 0.02; done"
    p = subprocess.Popen([QUORATE, "lock", "tty", "sh", "-c", script], stdin=slave, stdout=slave, stderr=slave,
                         start_new_session=True, preexec_fn=child,
                         env={**os.environ, "QUORATE_ENDPOINTS": node.endpoints()})
    os.close(slave)
    said = b""
    try:
        while b"begun" not in said:
            said += os.read(master, 1000)
        os.write(master, b"\x03")
        assert p.wait(PATIENCE_S) == 4
        said += os.read(master, 1000)
        assert said.count(b"int\r\n") == 1, said
    finally:
        p.kill()
        os.close(master)


def job_control_works_through_it():
    """An interactive shell: Ctrl-Z gives the prompt back, `fg` goes on."""
    master, slave = pty.openpty()

    def child():
        die_with_parent()
        import fcntl, termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    p = subprocess.Popen(["bash", "--norc", "--noprofile", "-i"], stdin=slave, stdout=slave, stderr=slave,
                         start_new_session=True, preexec_fn=child,
                         env={**os.environ, "QUORATE_ENDPOINTS": node.endpoints(), "PS1": "ready> ", "TERM": "dumb"})
    os.close(slave)
    said = b""

    def wait_for(what):
        nonlocal said
        while what not in said:
            said += os.read(master, 1000)
        said = said[said.index(what) + len(what):]
    try:
        wait_for(b"ready> ")
        os.write(master, QUORATE.encode() + b" lock --ttl 60 jobs sh -c 'echo be''gun; read x; echo got $x'\n")
        wait_for(b"begun")
        os.write(master, b"\x1a")
        wait_for(b"Stopped")
        wait_for(b"ready> ")
        os.write(master, b"fg\n")
        wait_for(b"read x; echo got $x'")
        os.write(master, b"word\n")
        wait_for(b"got word")
        os.write(master, b"exit\n")
        p.wait(PATIENCE_S)
    finally:
        p.kill()
        p.wait()
        os.close(master)


def what_stood_still_with_it_for_too_long_does_not_move_again():
    """Ctrl-Z stops both, somebody else gets the lock, and `fg` finds that it is too late."""
    master, slave = pty.openpty()

    def child():
        die_with_parent()
        import fcntl, termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    p = subprocess.Popen(["bash", "--norc", "--noprofile", "-i"], stdin=slave, stdout=slave, stderr=slave,
                         start_new_session=True, preexec_fn=child,
                         env={**os.environ, "QUORATE_ENDPOINTS": node.endpoints(), "PS1": "ready> ", "TERM": "dumb"})
    os.close(slave)
    said = b""

    def wait_for(what):
        nonlocal said
        while what not in said:
            said += os.read(master, 1000)
        before, said = said[:said.index(what)], said[said.index(what) + len(what):]
        return before
    try:
        wait_for(b"ready> ")
        script = "trap 'echo mo''ved' CONT; trap 'echo mo''ved' TERM; echo be''gun; while :; do read -t 0.01 x; done"
        os.write(master, QUORATE.encode() + b" lock --ttl 1 still bash -c \"" + script.encode() + b"\"\n")
        wait_for(b"begun")
        os.write(master, b"\x1a")
        wait_for(b"Stopped")
        wait_for(b"ready> ")
        with lock("still", "true") as other:
            assert other.wait() == 0
        os.write(master, b"fg; echo co''de $?\n")
        before = wait_for(b"code 1")
        assert b"moved" not in before and b"lock" in before, before
        os.write(master, b"exit\n")
        p.wait(PATIENCE_S)
    finally:
        p.kill()
        p.wait()
        os.close(master)


def an_election_is_taken_part_in_and_listened_to():
    with command("elect", "-l", "el", endpoints=node.endpoints()) as listener, \
            command("elect", "el", "alpha", endpoints=node.endpoints()) as alpha:
        key = alpha.line()
        assert re.fullmatch(r"el/[0-9a-f]+", key) and alpha.line() == "alpha"
        assert (listener.line(), listener.line()) == (key, "alpha")
        with command("elect", "--ttl", "2", "el", "beta", endpoints=node.endpoints()) as beta:
            in_line(node, b"el/", 2)
            beta.silent(0.1)
            assert alpha.end() == OK                     # resigns
            other = beta.line()
            assert beta.line() == "beta" and (listener.line(), listener.line()) == (other, "beta")
            node.ctl("put", "--ignore-lease", other, "gamma")
            assert (listener.line(), listener.line()) == (other, "gamma"), "as after a proclaim"
            with command("elect", "el", "delta", endpoints=node.endpoints()) as delta:
                in_line(node, b"el/", 2)
                beta.kill()
                assert delta.line().startswith("el/") and delta.line() == "delta"
                assert listener.line() and listener.line() == "delta"
                node.ctl("del", "--prefix", "el/")
                assert delta.wait() == ERROR and "leadership is lost" in delta.errors[0], delta.errors
        assert listener.end() == OK


def etcdctl_shares_locks_and_elections():
    """Debian's etcdctl as it is: in one line with ours, in the order of arrival."""
    if shutil.which("etcdctl") is None:
        raise Skip("no etcdctl: install etcd-client")

    def etcdctl(*words):
        return Child(["etcdctl", "--endpoints", node.endpoints(), *words], node.endpoints())

    with lock("both") as ours:
        assert ours.line() and ours.line() == ""
        with etcdctl("lock", "both") as theirs:
            in_line(node, b"both/", 2)
            theirs.silent(0.2)
            assert ours.end() == OK
            assert theirs.line().startswith("both/") and theirs.line() == ""
            with lock("both") as again:
                in_line(node, b"both/", 2)
                again.silent(0.2)
                theirs.strike(signal.SIGINT)
                assert again.line().startswith("both/")
                assert again.end() == OK and theirs.wait() == OK
    with etcdctl("elect", "-l", "el2") as hears, command("elect", "-l", "el2", endpoints=node.endpoints()) as listens, \
            command("elect", "el2", "ours", endpoints=node.endpoints()) as ours:
        heard = [ours.line(), ours.line()]
        assert heard[1] == "ours" and [hears.line(), hears.line()] == heard == [listens.line(), listens.line()]
        with etcdctl("elect", "el2", "theirs") as theirs:
            in_line(node, b"el2/", 2)
            assert ours.end() == OK
            heard = [theirs.line(), theirs.line()]
            assert heard[1] == "theirs" and [hears.line(), hears.line()] == heard == [listens.line(), listens.line()]


def bad_words_are_refused():
    for words in (["lock"], ["lock", ""], ["lock", "--ttl", "0", "x"], ["lock", "--signal", "WINCH", "x"],
                  ["lock", "--error-code", "256", "x"], ["elect"], ["elect", "x"], ["elect", "-l", "x", "y"],
                  ["elect", "x", "y", "z"], ["elect", "--ttl", "0", "x", "y"]):
        done = run(*words)
        assert done.returncode == BAD_ARGS and "Usage: quorate " in done.stderr, (words, done)
    assert run("lock", "-w", "table", "x", "true").returncode == BAD_FEATURE
    assert run("lock", "--frobnicate", "x").returncode == ERROR
    done = run("lock", "--command-timeout", "300ms", "x", "true", endpoints="127.0.0.1:1")
    assert done.returncode == BAD_CONNECTION and "cannot reach" in done.stderr, done


if __name__ == "__main__":
    tap([two_locks_take_turns, what_is_printed_is_what_get_prints, a_program_runs_under_it_and_its_exit_code_is_ours,
         it_holds_as_long_as_the_program_runs, signals_reach_the_program, who_loses_the_lock_is_told,
         its_program_is_ended_and_what_that_started,
         without_the_cluster_its_program_ends_before_another_can_have_the_lock,
         who_was_stopped_for_too_long_does_not_go_on, a_terminal_is_the_program_s, job_control_works_through_it,
         what_stood_still_with_it_for_too_long_does_not_move_again,
         an_election_is_taken_part_in_and_listened_to, etcdctl_shares_locks_and_elections, bad_words_are_refused],
        always=(the_node_starts, the_node_stops))
