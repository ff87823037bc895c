# SPDX-License-Identifier: Apache-2.0
"""Who attacks Quorate in tests/prove: how each is run, and how much of the time it gets."""
import glob
import os
import re
import subprocess
import sys

from prover import TOP, Attacker

BOTH = ("release", "sanitize")
MOSTLY_RELEASE = ("release", "release", "release", "sanitize")    # real clusters under sanitizers are slow

# C programs that take a seed; by folder, with weights
SEEDED = {
    "unit": {"apply_model": 2, "wal_model": 2, "raft_cluster": 2, "lessor_sim": 1, "gateway_chaos": 1, "stored_store": 1,
             "lib_chaos": 1, "pb": 0.5, "pbjson": 0.5, "link_attack": 0.5, "okv": 0.5,
             "watch_core": 0.5, "raft_read": 0.5, "raft_transfer": 0.5},
    "proto": {"watch_link": 2, "raft_link": 1, "lease_link": 0.5, "store_link": 0.5},
}
# tests/system: those that search get more than those that look
SYSTEM_WEIGHTS = {"kill": 2, "peers": 2, "disk": 2, "snapshot": 2, "watch": 2, "lease": 2, "damage": 1.5}
NOT_HERE = ("torture", "power_cut", "prove", "checker")           # have their own row, or attack nothing


def build_env(t):
    env = {"QUORATE_BUILD": t.build().rstrip("/")}
    return {**env, "QUORATE_SANITIZED": "yes"} if t.variant == "sanitize" else env


def sim(t):
    seeds = 20 * t.rounds
    return {}, [t.build("tests/sim/quorate-sim"), "--seeds", str(seeds), "--from", str(t.seed), "--jobs", "1"]


def sim_again(t, output, _):
    found = re.findall(r"smallest found: quorate-sim (.*)", output) + re.findall(r"replay: quorate-sim (.*)", output)
    return [f"{t.build('tests/sim/quorate-sim')} {c}" for c in found[:3]]


def planted_bugs():
    return sorted(os.path.basename(p)[:-len(".bug")] for p in glob.glob(os.path.join(TOP, "tests/sim/planted/*.bug")))


def planted(t):
    bugs = planted_bugs()
    return {**build_env(t), "QUORATE_JOBS": "1"}, ["tests/sim/planted.py", bugs[(t.number - 1) % len(bugs)]]


def script(t):
    return {}, [t.build("tests/script/test_script")]


def seeded(path):
    def command(t):
        return {"QUORATE_SEED": t.seed, "QUORATE_ROUNDS": t.rounds}, [t.build(path)]
    return command


def fuzz(target):
    def command(t):
        return {}, ["tests/fuzz/run", "--built", "--jobs", "1", "--seconds", str(int(t.seconds)), "--target", target,
                    "--finds", t.room]
    return command


def fuzz_again(t, _, kept):
    target = t.attacker.name.split("/")[1]
    finds = sorted(f for f in glob.glob(os.path.join(kept, target + "-*")) if not f.endswith(".log"))
    return [f"build/fuzz/tests/fuzz/fuzz_{target} {f}" for f in finds[:3]]


def torture(t):
    seconds = max(8, int(t.seconds))
    return build_env(t), ["tests/torture", "-s", str(t.seed), "-t", str(seconds), "-n", str(t.choice((3, 3, 3, 5)))]


def system(path):
    """One case of it, drawn by the seed."""
    cases = []

    def command(t):
        if not cases:
            said = subprocess.run([sys.executable, path, "--list"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  text=True, check=False, cwd=TOP,
                                  env={**os.environ, **build_env(t), "TMPDIR": t.room})
            cases.extend([w for w in said.stdout.splitlines() if w.isidentifier()] if said.returncode == 0 else [])
        return {**build_env(t), "QUORATE_SEED": t.seed}, [path, *([t.choice(cases)] if cases else [])]
    return command


def power_cut(t):
    return {**build_env(t), "QUORATE_SEED": t.seed, "QUORATE_ROUNDS": t.rounds}, ["tests/system/test_power_cut.py"]


def bench(*words):
    return lambda t: ({}, list(words))


def attackers(options):
    table = [
        Attacker("sim", sim, BOTH, 20, rounds=True, good=r"^# \d+ seeds, 0 failed", again=sim_again, figures=(
            ("seeds", r"^# (\d+) seeds"), ("acknowledged writes", r"(\d+) writes acknowledged"),
            ("reads", r"(\d+) reads"))),
        Attacker("planted", planted, weight=4, most=len(planted_bugs()), figures=(("bugs found", r"^ok \d+"),)),
        Attacker("script", script, BOTH, weight=0.2, most=2, figures=(("scripts", r"^ok \d+"),)),
    ]
    for folder, names in SEEDED.items():
        table += [Attacker(f"seeds/{name}", seeded(f"tests/{folder}/test_{name}"), BOTH, weight, rounds=True,
                           figures=(("rounds", None), ("cases", r"^ok \d+")))
                  for name, weight in names.items()]
    targets = sorted(os.path.basename(p)[len("fuzz_"):-len(".c")] for p in glob.glob(os.path.join(TOP, "tests/fuzz/fuzz_*.c")))
    table += [Attacker(f"fuzz/{target}", fuzz(target), ("fuzz",), alone=True, good="^good ", again=fuzz_again,
                       figures=(("executions", r"^good \S+ +#(\d+)"),)) for target in targets]
    for path in sorted(glob.glob(os.path.join(TOP, "tests/system/test_*.py"))):
        name = os.path.basename(path)[len("test_"):-len(".py")]
        if name not in NOT_HERE:
            table.append(Attacker(f"system/{name}", system(os.path.relpath(path, TOP)), MOSTLY_RELEASE,
                                  SYSTEM_WEIGHTS.get(name, 1)))
    table += [
        Attacker("power-cut", power_cut, MOSTLY_RELEASE, 5, rounds=True, figures=(("images", r"(\d+) images"),)),
        Attacker("torture", torture, MOSTLY_RELEASE, 14, good=r"^torture: CLEAN", figures=(
            ("faults", r"^torture: CLEAN.* faults=(\d+)"), ("operations", r"^torture: CLEAN.* operations=(\d+)"))),
    ]
    if options.bench:
        table += [Attacker("bench/cluster", bench("bench/bench_cluster", "rates"), cores=options.cores, good="", most=1,
                           figures=()),
                  Attacker("bench/lease", bench("bench/bench_lease.py"), cores=options.cores, good="", most=1, figures=())]
    return table
