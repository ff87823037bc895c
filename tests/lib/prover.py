# SPDX-License-Identifier: Apache-2.0
"""Lets attackers take turns for as long as it is given, and says how it went. The table is attackers.py.

Each turn is a process of its own with a fresh seed and a directory of its own. Turns go to whoever has had the
least time for its weight, so any duration long enough touches everybody. A failed turn leaves its output, its
directory and the command that does it again; the others go on. Nothing outlives the end, however it comes.
"""
import argparse
import dataclasses
import fnmatch
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing

from harness import alive, die_with_parent

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SLICE_S = (1, 30)                 # how long a turn should last, at least and at most
TURNS_EACH = 4                    # that many turns for everybody, if the slice allows it
LIMIT_S = 1800                    # a turn that takes longer hangs
GRACE_S = 60                      # for a turn that is told to end
LINGER_S = 5                      # for what a turn has started and what is ending by itself, as libFuzzer's symbolizer
ROOMS = 20                        # directories of failed turns that are kept; their outputs all are
ROUNDS_MOST = 100000
SAYS = re.compile(r"^not ok|FAILED|^# .*(?:not so:|: got |Error: )|replay: |smallest found: |^BAD |"
                  r"(?:Address|Leak|Thread)Sanitizer:|runtime error:|panic at|^Bail out|^prove: ", re.M)


@dataclasses.dataclass
class Attacker:
    """`command` gets the turn and returns (environment, words): what is shown is what is run, from the top."""
    name: str
    command: typing.Callable
    variants: tuple = ("release",)        # of the build; one after the other
    weight: float = 1.0
    cores: int = 1
    good: str = r"^(ok \d+|1\.\.0 # SKIP)"  # must be in the output; exit code 0 alone is not enough
    # what is counted: numbers that a pattern finds, or its finds; without a pattern, rounds
    figures: tuple = (("cases", r"^ok \d+(?!.*# SKIP)"), ("skipped", r"^ok \d+.*# SKIP"))
    rounds: bool = False                  # its length is a number, and not seconds
    alone: bool = False                   # never two turns of it at a time
    most: int = 1 << 30                   # more turns than that would be the same again
    again: typing.Callable = None         # (turn, output, kept directory): better reproducers than the command


@dataclasses.dataclass
class Turn:
    attacker: Attacker
    number: int
    seed: int
    variant: str
    seconds: float
    rounds: int = 1
    room: str = ""
    log: str = ""
    shown: str = ""
    process: typing.Any = None
    began: float = 0.0
    told: float = 0.0                     # when it was told to end
    ended: float = 0.0

    def build(self, path=""):
        return os.path.join("build", self.variant, path)

    def choice(self, things):
        return random.Random(self.seed).choice(things)


@dataclasses.dataclass
class Account:
    turns: int = 0
    running: int = 0
    failed: int = 0
    cut: int = 0                          # turns that were ended with the whole
    spent: float = 0.0                    # core-seconds
    longest: float = 0.0
    round_s: dict = dataclasses.field(default_factory=dict)      # what a round takes, by variant
    figures: dict = dataclasses.field(default_factory=dict)


def seconds_of(text):
    m = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not m:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: 90s, 20m, 1h")
    return float(m[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[m[2]]


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def of_room(room):
    """Processes that were started with this directory as their own, whoever their parent is now."""
    mark, found = b"\0TMPDIR=" + os.fsencode(room) + b"\0", []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as f:
                if name.isdigit() and mark in b"\0" + f.read() + b"\0" and alive(int(name)):
                    found.append(int(name))
        except OSError:
            pass
    return found


def kill_all(room):
    """SIGKILL until none is left: one may have been forking."""
    end = time.monotonic() + GRACE_S
    while (left := of_room(room)) and time.monotonic() < end:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


class Prover:
    def __init__(self, attackers, options):
        self.o, self.attackers = options, attackers
        self.accounts = {a.name: Account() for a in attackers}
        self.running, self.failures, self.stop = [], [], 0
        self.passed = 0
        self.slice = min(SLICE_S[1], max(SLICE_S[0], options.duration * options.cores / TURNS_EACH / len(attackers)))
        self.told = 0.0

    # turns

    def due(self):
        """Who is next, or None. Its cores may not be free yet: it is waited for, else it would never come."""
        left = self.o.duration - (time.monotonic() - self.began)
        can = []
        for order, a in enumerate(self.attackers):
            n = self.accounts[a.name]
            if n.turns + n.running >= a.most or (a.alone and n.running) or (n.turns and n.longest > left):
                continue
            can.append(((n.turns + n.running > 0, n.running > 0, (n.spent + n.running * self.slice) / a.weight,
                         order), a))
        return min(can, key=lambda c: c[0])[1] if can and left > 0 else None

    def start(self, a):
        n = self.accounts[a.name]
        number = n.turns + n.running + 1
        rng = random.Random(f"{self.o.seed}/{a.name}/{number}")
        t = Turn(a, number, rng.randrange(1, 1 << 31), a.variants[(number - 1) % len(a.variants)], max(1, int(self.slice)))
        if a.rounds and t.variant in n.round_s:
            t.rounds = min(ROUNDS_MOST, max(1, int(self.slice / n.round_s[t.variant])))
        t.room = tempfile.mkdtemp(prefix="prove-")
        env, words = a.command(t)
        env = {k: str(v) for k, v in env.items()}
        t.shown = shlex.join([*(f"{k}={v}" for k, v in env.items()), *words])
        t.log = os.path.join(self.o.keep, f"{self.o.seed}-{a.name.replace('/', '-')}-{number}.log")
        whole = {k: v for k, v in os.environ.items() if k not in ("srcdir", "MAKEFLAGS", "MAKELEVEL")}
        whole.update(env, TMPDIR=t.room, QUORATE_KEEP="yes", PYTHONDONTWRITEBYTECODE="1")
        with open(t.log, "wb") as out:
            t.process = subprocess.Popen(words, cwd=TOP, env=whole, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                         start_new_session=True, preexec_fn=die_with_parent)
        t.began = time.monotonic()
        n.running += 1
        self.running.append(t)

    def tell(self, t, number):
        t.told = t.told or time.monotonic()
        try:
            os.killpg(t.process.pid, number)
        except ProcessLookupError:
            pass

    def look(self, t):
        """True if it has ended."""
        now = time.monotonic()
        if t.process.poll() is not None:
            t.ended = t.ended or now
            return now - t.ended > LINGER_S or not of_room(t.room)
        if not t.told and now - t.began > self.o.limit:
            self.tell(t, signal.SIGTERM)
        elif t.told and now - t.told > GRACE_S or self.stop > 1:
            self.tell(t, signal.SIGKILL)
        return False

    def reap(self, t):
        """Books a turn that has ended: why it failed, or None."""
        took, left = t.ended - t.began, of_room(t.room)
        commands = [self.command_of(pid) for pid in left]
        kill_all(t.room)
        with open(t.log, encoding="utf-8", errors="replace") as f:
            output = f.read()
        n, why = self.accounts[t.attacker.name], None
        n.running -= 1
        n.turns += 1
        n.spent += took * t.attacker.cores
        n.longest = max(n.longest, took)
        n.round_s[t.variant] = took / t.rounds
        if self.stop and t.told:
            n.cut += 1
        elif t.told:
            why = f"hung: not ended after {self.o.limit:g} s"
        elif t.process.returncode != 0:
            why = f"exit code {t.process.returncode}"
        elif not re.search(t.attacker.good, output, re.M) or re.search(r"^not ok", output, re.M):
            why = "it did not say that all was good"
        elif left:
            why = "left running: " + "; ".join(commands)
        for name, pattern in t.attacker.figures:
            found = re.findall(pattern, output, re.M) if pattern else [str(t.rounds)]
            n.figures[name] = n.figures.get(name, 0) + sum(int(x) if x.isdigit() else 1 for x in found)
        self.note(t, took, why)
        if why:
            n.failed += 1
            self.failed(t, took, why, output)
            return
        self.passed += not (self.stop and t.told)
        os.unlink(t.log)
        shutil.rmtree(t.room, ignore_errors=True)

    @staticmethod
    def command_of(pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return f.read().replace(b"\0", b" ").decode("utf-8", "replace")[:200]
        except OSError:
            return str(pid)

    def failed(self, t, took, why, output):
        kept = t.log[:-len(".log")]
        if len(self.failures) >= ROOMS or not os.listdir(t.room):
            shutil.rmtree(t.room, ignore_errors=True)
        try:
            if os.path.isdir(t.room):
                os.rename(t.room, kept)
        except OSError:
            kept = t.room                                # another file system: it stays where it is
        again = t.attacker.again(t, output, kept) if t.attacker.again else []
        says = [line.strip()[:200] for line in output.splitlines() if SAYS.search(line)][:4]
        text = [f"FAILED {t.attacker.name}, turn {t.number}, after {took:.1f} s: {why}"]
        text += [f"    again: {c}" for c in again or [t.shown]] + [f"    says:  {line}" for line in says]
        text += [f"    kept:  {t.log}" + (f", {kept}" if os.path.isdir(kept) else "")]
        self.failures.append("\n".join(text))
        self.say(self.failures[-1])

    def note(self, t, took, why):
        with open(os.path.join(self.o.keep, "turns"), "a", encoding="utf-8") as f:
            f.write(f"{time.strftime('%F %T')} {took:7.1f} s {'FAILED' if why else 'good'} {t.attacker.name} {t.number}: "
                    f"{t.shown}\n")

    # the whole

    def say(self, text):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        print(text, flush=True)

    def progress(self):
        now = time.monotonic()
        every = 1 if sys.stderr.isatty() else 60
        if now < self.told + every:
            return
        self.told = now
        names = ", ".join(sorted(t.attacker.name for t in self.running))
        line = f"{clock(now - self.began)} of {clock(self.o.duration)}: {self.passed} passed, {len(self.failures)} failed; " \
               f"now {names}"
        if sys.stderr.isatty():
            print(f"\r\033[K{line[:150]}", end="", file=sys.stderr, flush=True)
        else:
            self.say(line)

    def on_signal(self, *_):
        self.stop += 1

    def run(self):
        os.makedirs(self.o.keep, exist_ok=True)
        old = {s: signal.signal(s, self.on_signal) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        self.began = self.told = time.monotonic()
        try:
            while self.turn():
                time.sleep(0.02)
        finally:
            for t in self.running:                       # only if something here has gone wrong
                kill_all(t.room)
            for number, handler in old.items():
                signal.signal(number, handler)
        return self.verdict()

    def turn(self):
        """One look at everything; False when it is over."""
        for t in [t for t in self.running if self.look(t)]:
            self.running.remove(t)
            self.reap(t)
        if self.stop:
            for t in self.running:
                if not t.told:
                    self.tell(t, signal.SIGTERM)
            return bool(self.running)
        while (a := self.due()) is not None:
            free = self.o.cores - sum(t.attacker.cores for t in self.running)
            if min(a.cores, self.o.cores) > free:
                break
            self.start(a)
        self.progress()
        return bool(self.running) or self.due() is not None

    def verdict(self):
        took = time.monotonic() - self.began
        self.say(f"\n{'attacker':<22}{'turns':>6}{'failed':>7}{'seconds':>9}  what")
        for a in self.attackers:
            n = self.accounts[a.name]
            what = ", ".join(f"{v} {k}" for k, v in n.figures.items() if v)
            if n.turns == 0:
                what = "not reached"
            elif n.cut:
                what += f" ({n.cut} cut short)"
            self.say(f"{a.name:<22}{n.turns:>6}{n.failed:>7}{n.spent:>9.0f}  {what}")
        for text in self.failures:
            self.say(text)
        missed = sum(n.turns == 0 for n in self.accounts.values())
        self.say(f"prove: seed={self.o.seed} cores={self.o.cores} seconds={took:.0f} attackers={len(self.attackers)} "
                 f"not_reached={missed}" + (" stopped" if self.stop else ""))
        self.say(f"{self.passed} passed, {len(self.failures)} failed")
        return 0 if self.passed and not self.failures else 1


def chosen(attackers, only):
    """Those named, or in a group that is named: `fuzz` is `fuzz/wal` and the others."""
    if only is None:
        return attackers
    words = [w for w in only.split(",") if w]
    for w in words:
        if not any(matches(a.name, w) for a in attackers):
            sys.exit(f"prove: no attacker is called {w}: see --list")
    return [a for a in attackers if any(matches(a.name, w) for w in words)]


def matches(name, word):
    return fnmatch.fnmatchcase(name, word) or name.startswith(word + "/")


def main(attackers, words=None):
    """`attackers` is a function of the options that returns the table."""
    cores = len(os.sched_getaffinity(0))
    p = argparse.ArgumentParser(prog="prove", description="Every attack on Quorate, in turns, for as long as it is given.")
    p.add_argument("duration", nargs="?", type=seconds_of, default=600, metavar="DURATION", help="90s, 20m, 1h (10m)")
    p.add_argument("--only", metavar="NAME,...", help="attackers or groups of them, or patterns")
    p.add_argument("--list", action="store_true", help="the attackers, and nothing else")
    p.add_argument("--bench", action="store_true", help="benches too")
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31), metavar="N",
                   help="the seeds of all turns follow from it")
    p.add_argument("--cores", type=int, default=cores, metavar="N", help=f"turns at a time ({cores})")
    p.add_argument("--keep", default=os.path.join("build", "prove"), metavar="DIR", help="for what failed (build/prove)")
    p.add_argument("--limit", type=float, default=LIMIT_S, metavar="S", help=f"a turn that takes longer hangs ({LIMIT_S})")
    p.add_argument("--variants", action="store_true", help=argparse.SUPPRESS)      # for bootstrap: what is to be built
    o = p.parse_args(words)
    table = chosen(attackers(o), o.only)
    if o.list:
        for a in table:
            print(f"{a.name:<22} weight {a.weight:<4} {', '.join(dict.fromkeys(a.variants))}")
        return 0
    if o.variants:
        print(" ".join(sorted({v for a in table for v in a.variants})))
        return 0
    o.keep = os.path.abspath(o.keep)
    print(f"prove: {len(table)} attackers for {clock(o.duration)} on {o.cores} cores, --seed {o.seed}; every turn: "
          f"{os.path.join(o.keep, 'turns')}", flush=True)
    return Prover(table, o).run()
