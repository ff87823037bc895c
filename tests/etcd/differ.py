#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ours against Debian's etcd: random sequences of requests to both, every answer compared.

    QUORATE_BUILD=build/release tests/etcd/differ.py [--seed N] [--count N | --seconds S] [--keep-going]
                                                     [--theirs] [--replay FILE]

--theirs compares etcd with etcd (a check of the comparison). A difference is played again, cut down to what is
needed for it, and printed; --replay plays a printed sequence, or several.
"""
import argparse
import sys
import time

from known import known
from pair import Difference, Run, Side
from sequence import Generator, Now, Of
from server import Etcd, Peer, Quorate, need_etcd

SHRINK_S = 20


class Bench:
    """Two servers, ready to be compared. `fault` is for b's answers."""

    def __init__(self, ours, fault=None):
        need_etcd()
        self.servers = []
        self.fault, self.known = fault, known if ours else None
        self.met, self.sequences, self.asked = {}, 0, 0
        self.unconfirmed = []            # (seed, difference) of those that did not come again
        self.ended = 0                   # sequences at which etcd itself ended
        self.ours = ours
        self.start()

    def start(self):
        try:
            self.servers.append(Etcd())
            self.servers.append(Quorate() if self.ours else Etcd())
            self.sides = [Side(Peer(name, s.endpoint)) for name, s in zip(("etcd", "ours"), self.servers)]
        except BaseException:
            self.close("failed")
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(kind)

    def close(self, kind=None):
        for side in getattr(self, "sides", []):
            side.peer.close()
        for server in self.servers:
            if isinstance(server, Quorate):
                server.close(kind)
            else:
                server.close()
        self.servers = []

    def etcd_ended(self):
        """Debian's 3.4.23 does, at a few valid requests. That is no difference of ours: both begin anew."""
        if not any(isinstance(s, Etcd) and s.process.poll() is not None for s in self.servers):
            return False
        self.ended += 1
        self.close()
        self.start()
        return True

    def play(self, steps):
        """The run of one sequence, and the difference or None."""
        run = Run(*self.sides, self.known, self.fault)
        try:
            run.play(steps)
            return run, None
        except Difference as d:
            return run, d
        finally:
            self.asked += run.asked
            for name, n in run.met.items():
                self.met[name] = self.met.get(name, 0) + n

    def find(self, seed, steps):
        """None, or the sequence cut down and its difference. One that does not come again is only noted."""
        self.sequences += 1
        first = self.play(steps)[1]
        if first is None or self.etcd_ended():
            return None
        if self.play(steps)[1] is None:
            self.unconfirmed.append((seed, first))
            return None
        return self.shrink(steps)

    def tell_unconfirmed(self):
        for seed, d in self.unconfirmed:
            a, b = d.a, d.b
            if isinstance(a, list) and isinstance(b, list):      # of many events those that differ
                same = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                a, b = [f"{same} equal", *a[same:]], [f"{same} equal", *b[same:]]
            print(f"# did not come again: seed {seed}, step {d.number}: {d.what[:200]}\n"
                  f"#   etcd {str(a)[:400]}\n#   ours {str(b)[:400]}")

    def shrink(self, steps):
        """Without what is not needed, as long as the same kind of answer differs: steps, then fields, then steps."""
        self.end, d = time.monotonic() + SHRINK_S, self.play(steps)[1]
        best = (steps[:d.number + 1], d) if d is not None else (steps, None)
        for cut in (self.drop_steps, self.drop_fields, self.drop_steps):
            best = cut(*best)
        return best

    def still(self, steps, old):
        """The difference if these steps make the same kind of it, while there is time."""
        d = self.play(steps)[1] if steps and time.monotonic() < self.end else None
        return d if d is not None and (old is None or d.what.split()[0] == old.what.split()[0]) else None

    def drop_steps(self, steps, found):
        size = max(1, len(steps) // 2)
        while size > 0:
            at = 0
            while at < len(steps):
                d = self.still(steps[:at] + steps[at + size:], found)
                if d is None:
                    at += size
                else:
                    steps, found = steps[:at] + steps[at + size:], d
            size //= 2
        return steps, found

    def drop_fields(self, steps, found):
        for at in range(len(steps)):
            for key in list(steps[at][-1]):
                if key in ("ID", "lease"):           # without one the server makes one by chance
                    continue
                step = (*steps[at][:-1], {k: v for k, v in steps[at][-1].items() if k != key})
                d = self.still(steps[:at] + [step] + steps[at + 1:], found)
                if d is not None:
                    steps, found = steps[:at] + [step] + steps[at + 1:], d
        return steps, found


def service(step):
    """KV, Lease, Watch, Lock or Election."""
    named = {"keepalive": "Lease", "short_lease": "Lease", "watch": "Watch", "observe": "Election"}
    return named.get(step[0]) or step[1].split(".")[0]


def show(seed, steps, d, out=sys.stdout):
    print(f"# seed {seed}: difference at step {d.number}: {d.what}\n#   etcd {d.a}\n#   ours {d.b}", file=out)
    print("[" + "".join(f"\n    {s!r}," for s in steps) + "\n]", file=out, flush=True)


def read(path):
    """The sequences that show() printed, by python's own reader of literals plus Now and Of."""
    with open(path, encoding="utf-8") as f:
        text = "".join(line for line in f if not line.startswith("#"))
    return eval("[" + text.replace("]\n[", "],\n[") + "]", {"__builtins__": {}, "Now": Now, "Of": Of})


def main():
    p = argparse.ArgumentParser(description="Compares a node of ours with Debian's etcd.")
    p.add_argument("--seed", type=int, default=1, help="the first sequence")
    p.add_argument("--count", type=int, default=1000, help="how many")
    p.add_argument("--seconds", type=float, help="as many as there is time for")
    p.add_argument("--keep-going", action="store_true", help="behind a difference too")
    p.add_argument("--theirs", action="store_true", help="etcd on both sides")
    p.add_argument("--without", metavar="LIST", default="", help="services that are left out: Lock,Election")
    p.add_argument("--replay", metavar="FILE", help="printed sequences instead of made ones")
    o = p.parse_args()
    bad, end = 0, time.monotonic() + o.seconds if o.seconds else None
    replay = read(o.replay) if o.replay else None
    with Bench(ours=not o.theirs) as bench:
        seeds = range(len(replay)) if replay else range(o.seed, o.seed + (o.count if end is None else 1 << 40))
        for seed in seeds:
            if end is not None and time.monotonic() > end:
                break
            steps = replay[seed] if replay else Generator(seed).sequence()
            found = bench.find(seed, [s for s in steps if service(s) not in o.without.split(",")])
            if found is not None:
                bad += 1
                show(seed, *found)
                if not o.keep_going:
                    break
        print(f"{bench.sequences} sequences from seed {o.seed}, {bench.asked} requests, {bad} differ; "
              f"etcd ended {bench.ended} times")
        bench.tell_unconfirmed()
        for name, n in sorted(bench.met.items()):
            print(f"known difference, {n} times: {name}")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
