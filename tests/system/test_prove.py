#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tests/prove with attackers made up for it: what fails is told and can be done again, and nothing outlives it."""
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

import attackers
import prover
from harness import WATCHDOG_S, alive, tap, until
from prover import Attacker


def shell(text):
    return lambda t: ({"QUORATE_SEED": t.seed}, ["/bin/sh", "-c", text])


MADE_UP = {
    "good": Attacker("good", shell("echo ok 1 - fine; echo ok 2 - left out '# SKIP'"), most=3),
    "odd": Attacker("odd", shell("echo '# seed' $QUORATE_SEED; [ $((QUORATE_SEED % 2)) = 0 ] && echo ok 1 - even"), most=8),
    "silent": Attacker("silent", shell("true"), most=1),
    "contrite": Attacker("contrite", shell("echo ok 1; echo not ok 2 - lost a write"), most=1),
    "litter": Attacker("litter", shell("setsid sleep 1000 >/dev/null 2>&1 & echo ok 1"), most=1),
    "lingers": Attacker("lingers", shell("setsid sleep 1 >/dev/null 2>&1 & echo ok 1"), most=1),
    "keeps": Attacker("keeps", shell("echo found >$TMPDIR/evidence; echo ok 1; exit 3"), most=1),
    # a daemon of its own session, and one that will not be told
    "slow": Attacker("slow", shell("setsid sleep 1000 & sleep 1000; echo ok 1")),
    "deaf": Attacker("deaf", shell("trap '' TERM; while :; do sleep 1; done")),
    "wide": Attacker("wide", shell("echo ok 1; sleep 0.1"), cores=2, most=2),
}


class Room:
    """A place to keep things in, and the command with these made-up attackers."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="quorate-prove-")
        return self

    def __exit__(self, *_):
        prover.kill_all(self.dir)
        subprocess.run(["rm", "-rf", self.dir], check=True)

    def command(self, names, *words):
        return [sys.executable, os.path.abspath(__file__), "made-up", ",".join(names), "--keep",
                os.path.join(self.dir, "kept"), *words]

    def run(self, names, *words):
        done = subprocess.run(self.command(names, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=WATCHDOG_S, check=False,
                              env={**os.environ, "TMPDIR": self.dir})
        print("".join(f"# {line}\n" for line in done.stdout.splitlines()), end="")
        return done.returncode, done.stdout

    def left(self):
        """Files and directories of turns, and processes of theirs."""
        rooms = [n for n in os.listdir(self.dir) if n.startswith("prove-")]
        return rooms, [p for p in os.listdir("/proc") if p.isdigit() and alive(int(p)) and self.mine(p)]

    def mine(self, pid):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                return b"TMPDIR=" + os.fsencode(self.dir) in f.read()
        except OSError:
            return False


def all_good_is_a_pass():
    with Room() as room:
        code, said = room.run(["good", "wide"], "60s", "--cores", "2")
        assert code == 0 and said.endswith("\n5 passed, 0 failed\n")
        assert re.search(r"^good +3 +0 +\d+ +3 cases, 3 skipped$", said, re.M)
        assert room.left() == ([], [])
        with open(os.path.join(room.dir, "kept", "turns"), encoding="utf-8") as f:
            assert len(f.readlines()) == 5


def a_failure_is_told_with_what_does_it_again():
    with Room() as room:
        code, said = room.run(["odd", "good"], "60s", "--seed", "7")
        assert code == 1
        wrong = sorted(set(re.findall(r"^    again: (.*)$", said, re.M)))
        assert 0 < len(wrong) < 8, "some of eight seeds are odd, and some are not"
        assert said.endswith(f"\n{11 - len(wrong)} passed, {len(wrong)} failed\n")
        for command in wrong:
            done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
            assert done.returncode == 1 and b"# seed" in done.stdout, command
        once_more = re.findall(r"^    again: (.*)$", room.run(["odd", "good"], "60s", "--seed", "7")[1], re.M)
        assert sorted(set(once_more)) == wrong, "the same seed has the same turns"


def exit_code_0_alone_is_not_enough():
    with Room() as room:
        code, said = room.run(["silent", "contrite"], "60s")
        assert code == 1 and said.endswith("\n0 passed, 2 failed\n")
        assert "says:  not ok 2 - lost a write" in said


def a_process_that_is_left_behind_is_a_failure_and_is_ended():
    with Room() as room:
        code, said = room.run(["litter"], "60s")
        assert code == 1 and "left running: sleep 1000" in said
        assert room.left()[1] == []


def a_process_that_is_just_ending_is_waited_for():
    with Room() as room:
        code, said = room.run(["lingers"], "60s")
        assert code == 0 and said.endswith("\n1 passed, 0 failed\n")


def what_failed_is_kept():
    with Room() as room:
        code, said = room.run(["keeps"], "60s")
        log, kept = re.search(r"kept:  (\S+), (\S+)", said).groups()
        assert code == 1 and os.path.exists(log)
        with open(os.path.join(kept, "evidence"), encoding="ascii") as f:
            assert f.read() == "found\n"


def who_is_not_reached_is_not_passed():
    with Room() as room:
        code, said = room.run(["slow", "good"], "0.3s", "--cores", "1", "--limit", "1")
        assert code == 1 and "not_reached=1" in said and re.search(r"^good +0 .*not reached$", said, re.M), said
        assert "hung: not ended after 1 s" in said


def ctrl_c_gives_the_verdict_so_far_and_leaves_nothing():
    for names, signals in ((["good", "slow"], 1), (["deaf"], 2)):
        with Room() as room:
            p = subprocess.Popen(room.command(names, "60s", "--cores", "2"), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": room.dir})
            until(lambda: room.left()[0] and len(room.left()[1]) >= 2, "a turn is under way")
            if "good" in names:
                kept = os.path.join(room.dir, "kept", "turns")
                until(lambda: os.path.exists(kept) and len(open(kept, encoding="utf-8").readlines()) == 3, "three are over")
            for _ in range(signals):
                p.send_signal(signal.SIGINT)
                time.sleep(0.2)                          # two at once would be one
            said = p.communicate(timeout=WATCHDOG_S)[0]
            print("".join(f"# {line}\n" for line in said.splitlines()), end="")
            assert "stopped" in said and "cut short" in said
            assert said.endswith(f"{3 if 'good' in names else 0} passed, 0 failed\n")
            assert p.returncode == (0 if "good" in names else 1)
            assert room.left() == ([], [])


def each_attacker_of_the_real_table_is_there():
    """Programs are built elsewhere; their sources and scripts must exist, and names be unique."""
    class Options:
        cores, bench = 2, True
    table = attackers.attackers(Options)
    assert len({a.name for a in table}) == len(table) > 40
    with Room() as room:
        for a in table:
            t = prover.Turn(a, 1, 1, a.variants[0], 1.0, room=room.dir)
            _, words = a.command(t)
            program = next(w for w in words if "/" in w)
            source = os.path.join(prover.TOP, re.sub(r"^build/\w+/", "", program))
            assert os.path.exists(source) or os.path.exists(source.replace("quorate-sim", "quorate_sim") + ".c"), program
            assert re.search(a.good, "ok 1 -\n# 1 seeds, 0 failed\ngood x\ntorture: CLEAN", re.M), a.name


if __name__ == "__main__":
    if sys.argv[1:2] == ["made-up"]:
        sys.exit(prover.main(lambda _: [MADE_UP[n] for n in sys.argv[2].split(",")], sys.argv[3:]))
    tap([all_good_is_a_pass, a_failure_is_told_with_what_does_it_again, exit_code_0_alone_is_not_enough,
         a_process_that_is_left_behind_is_a_failure_and_is_ended, a_process_that_is_just_ending_is_waited_for,
         what_failed_is_kept, who_is_not_reached_is_not_passed,
         ctrl_c_gives_the_verdict_so_far_and_leaves_nothing, each_attacker_of_the_real_table_is_there])
