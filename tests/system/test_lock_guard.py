#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The guard of `quorate lock`: its program is over before another has the lock, whoever is killed or stopped alone."""
import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, QUORATE, Cluster, alive, die_with_parent, processes_of, tap, until
from recipes import command, in_line, keys

OK, ERROR = 0, 1
node = Cluster(1)

# A shell and its child, which only SIGKILL ends; they say who they are.
STUBBORN = "trap '' TERM HUP INT; (exec sleep 600) >/dev/null & echo $! $$; while :; do wait; done"


def the_node_starts():
    node.__enter__()


def the_node_stops():
    node.__exit__(None)


def lock(*words, **kw):
    return command("lock", *words, endpoints=node.endpoints(), **kw)


def stat(pid):
    """State, parent, process group and so on; [] if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return []


def children(pid):
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and stat(p)[1:2] == [str(pid)]]


def guard_of(p):
    return until(lambda: children(p.p.pid), "there is a guard")[0]


@contextlib.contextmanager
def stubborn(*words, **kw):
    """STUBBORN under a lock: (quorate lock, the two that run under it, its guard)."""
    with lock(*words, "sh", "-c", STUBBORN, **kw) as p:
        child, shell = (int(word) for word in p.line().split())
        try:
            yield p, (child, shell), int(stat(shell)[1])
        finally:
            if alive(shell) or alive(child):
                os.killpg(shell, signal.SIGKILL)


@contextlib.contextmanager
def the_next(name, pids):
    """Waits for the lock, and looks at its first moment whether one of them still runs."""
    look = f'for p in {" ".join(str(p) for p in pids)}; do sed "s/.*) //; s/ .*//" /proc/$p/stat 2>/dev/null; done; echo over'
    with lock(name, "sh", "-c", look) as p:
        in_line(node, name.encode() + b"/", 2)
        yield p


def finds_nobody(p):
    line = p.line()
    while line != "over":
        assert line in ("Z", "X"), f"it still runs when the next one has the lock: {line!r}"
        line = p.line()
    assert p.wait() == OK, p.errors


def who_is_killed_alone_takes_its_program_along():
    with stubborn("killed", "--ttl", "2") as (p, pids, guard):
        with the_next("killed", pids) as other:
            p.kill()
            until(lambda: not any(alive(pid) for pid in (*pids, guard)), "all of them have ended")
            assert len(keys(node, b"killed/")) > 0, "long before the lock is free"
            finds_nobody(other)


def so_does_a_whole_process_group_and_one_that_waits():
    with stubborn("group", "--ttl", "2", group=True) as (p, pids, guard):
        with lock("group", "--ttl", "2", "true", group=True) as waits:
            in_line(node, b"group/", 2)
            second = guard_of(waits)
            os.killpg(waits.p.pid, signal.SIGKILL)
            until(lambda: not alive(second), "no guard is left of who waited")
        os.killpg(p.p.pid, signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in (*pids, guard)), "all of them have ended")


def who_is_killed_at_the_start_leaves_nobody_either():
    """As soon as there is a guard, a key, a program."""
    with tempfile.TemporaryDirectory() as mark:
        begun = (lambda p: children(p.p.pid), lambda p: keys(node, b"start/"), lambda p: children(guard_of(p)))
        for turn in range(4 * len(begun)):
            with lock("start", "--ttl", "1", "sh", "-c", "sleep 600; : $0", mark) as p:
                until(lambda p=p, turn=turn: begun[turn % len(begun)](p), "it has begun")
                p.kill()
            until(lambda: not processes_of(mark), "nobody is left")
            until(lambda: keys(node, b"start/") == [], "the lease has ended")


def who_is_stopped_alone_loses_its_program_in_time():
    with stubborn("stopped", "--ttl", "2") as (p, pids, _):
        with the_next("stopped", pids) as other:
            p.strike(signal.SIGSTOP)
            finds_nobody(other)
        p.strike(signal.SIGCONT)
        assert p.wait() == ERROR and "lock" in p.errors[-1], p.errors


def who_is_stopped_for_a_short_time_goes_on():
    with lock("short", "--ttl", "60", "sh", "-c", "echo begun; read x; echo $x; exit 7") as p:
        assert p.line() == "begun"
        p.strike(signal.SIGSTOP)
        p.p.stdin.write("still here\n")
        p.p.stdin.flush()
        assert p.line() == "still here"
        p.strike(signal.SIGCONT)
        assert p.wait() == 7, p.errors


def without_its_guard_the_program_is_told_and_ended():
    script = "trap 'echo told; exit 0' TERM; echo begun $$; while :; do sleep 0.02; done"
    with lock("bare", "--error-code", "9", "sh", "-c", script) as p:
        shell = int(p.line().split()[1])
        os.kill(guard_of(p), signal.SIGKILL)
        assert p.line() == "told"
        assert p.wait() == 9 and "guard" in p.errors[-1], p.errors
        assert not alive(shell) and keys(node, b"bare/") == []
    with stubborn("bare", "--ttl", "2") as (p, pids, guard):
        with the_next("bare", pids) as other:
            os.kill(guard, signal.SIGKILL)
            assert p.wait() == ERROR and "guard" in p.errors[-1], p.errors
            finds_nobody(other)


def only_sigkill_ends_the_guard_and_it_does_not_stay_stopped():
    with lock("firm", "sh", "-c", "echo begun; read x; exit 3") as p:
        assert p.line() == "begun"
        guard = guard_of(p)
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGSTOP):
            os.kill(guard, sig)
        until(lambda: stat(guard)[0] == "S", "it goes on, and waits")
        p.p.stdin.write("end\n")
        p.p.stdin.flush()
        assert p.wait() == 3, p.errors


def who_kills_by_name_does_not_mean_the_guard():
    with lock("name", "sh", "-c", 'echo "$0,$1."; read x', "one word", "") as p:
        assert p.line() == "one word,."
        guard = guard_of(p)
        assert open(f"/proc/{guard}/comm", "rb").read() == b"lock-guard\n"
        assert open(f"/proc/{guard}/cmdline", "rb").read().rstrip(b"\0") == b"lock-guard"
        p.p.stdin.close()
        p.wait()


def it_leaves_nobody_behind_and_what_the_program_leaves_lives_on():
    with lock("left", "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!; read x; exit 5") as p:
        child, guard = int(p.line()), guard_of(p)
        try:
            p.p.stdin.close()
            assert p.wait() == 5, p.errors
            assert stat(guard) == [] and alive(child)
        finally:
            os.kill(child, signal.SIGKILL)
    with lock("left", "--no-kill", "sh", "-c", "echo $$; exec sleep 600 >/dev/null 2>&1") as p:
        program, guard = int(p.line()), guard_of(p)
        try:
            p.kill()
            until(lambda: not alive(guard), "the guard has gone")
            assert alive(program), "--no-kill"
        finally:
            os.kill(program, signal.SIGKILL)


def it_knows_its_program_s_end_where_such_news_are_ignored():
    """Who starts us may ignore SIGCHLD: then no exit code would come."""
    done = subprocess.run([sys.executable, "-c", "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
                           "os.execv(sys.argv[1], sys.argv[1:])", QUORATE, "lock", "ignored", "sh", "-c", "exit 7"],
                          stdin=subprocess.DEVNULL, timeout=PATIENCE_S, check=False, preexec_fn=die_with_parent,
                          env={**os.environ, "QUORATE_ENDPOINTS": node.endpoints()})
    assert done.returncode == 7, done


def a_shell_has_its_terminal_back():
    """`quorate lock` in the foreground of an interactive shell is killed, while its program has the terminal."""
    master, slave = pty.openpty()

    def child():
        die_with_parent()
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
        os.write(master, QUORATE.encode() + b" lock --ttl 60 back sh -c 'echo be''gun $$ end; exec cat'\n")
        wait_for(b"begun ")
        program = int(wait_for(b" end"))
        os.kill(int(stat(stat(program)[1])[1]), signal.SIGKILL)
        wait_for(b"Killed")
        wait_for(b"ready> ")
        until(lambda: not alive(program), "the program has ended: it could still read")
        os.write(master, b"echo al''ive\n")
        wait_for(b"alive")
        os.write(master, b"exit\n")
        p.wait(PATIENCE_S)
    finally:
        p.kill()
        p.wait()
        os.close(master)


if __name__ == "__main__":
    tap([who_is_killed_alone_takes_its_program_along, so_does_a_whole_process_group_and_one_that_waits,
         who_is_killed_at_the_start_leaves_nobody_either,
         who_is_stopped_alone_loses_its_program_in_time, who_is_stopped_for_a_short_time_goes_on,
         without_its_guard_the_program_is_told_and_ended, only_sigkill_ends_the_guard_and_it_does_not_stay_stopped,
         who_kills_by_name_does_not_mean_the_guard, it_leaves_nobody_behind_and_what_the_program_leaves_lives_on,
         it_knows_its_program_s_end_where_such_news_are_ignored, a_shell_has_its_terminal_back],
        always=(the_node_starts, the_node_stops))
