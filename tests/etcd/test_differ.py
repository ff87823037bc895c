#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ours and Debian's etcd answer alike; and the comparison that says so has no false alarm and finds planted faults."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import planted
import wire
from differ import Bench, read, show
from harness import ROUNDS, scaled, tap
from pair import plain_outcome
from sequence import Generator
from server import need_etcd

SEED = int(os.environ.get("QUORATE_SEED", random.SystemRandom().randrange(1 << 32)))
SECONDS = float(os.environ.get("QUORATE_DIFFER_S", "0"))      # instead of the short times of make check
PLANTED_SEED = 1


def the_codec_reads_what_it_writes():
    """Against bytes worked out by hand from the encoding's description, and through both directions."""
    golden = [("PutRequest", {"key": b"k", "value": b"vv", "lease": 300, "prev_kv": True},
               b"\x0a\x01k\x12\x02vv\x18\xac\x02\x20\x01"),
              ("WatchCreateRequest", {"filters": [0, 1]}, b"\x2a\x02\x00\x01"),
              ("CompactionRequest", {"revision": -1}, b"\x08" + b"\xff" * 9 + b"\x01"),
              ("Compare", {"range_end": b"z"}, b"\x82\x04\x01z")]
    for name, message, data in golden:
        assert wire.encode(name, message) == data, (name, message, wire.encode(name, message))
        assert wire.decode(name, data) == message, wire.decode(name, data)
    for seed in range(50):
        for step in Generator(seed).sequence():
            if step[0] == "call":
                name = wire.METHODS[step[1]][0]
                data = wire.encode(name, step[2])
                again = wire.encode(name, wire.decode(name, data))
                assert wire.decode(name, again) == wire.decode(name, data)


def play(bench, seed, seconds):
    """Sequences until the time is over; fails with the first that differs, cut down."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = bench.find(seed, Generator(seed).sequence())
        if found is not None:
            show(seed, *found)
            raise AssertionError(f"seed {seed}: {found[1].what}")
        seed += 1
    print(f"# {bench.sequences} sequences, {bench.asked} requests, known differences {bench.met}, "
          f"etcd ended {bench.ended} times")
    bench.tell_unconfirmed()
    assert not bench.unconfirmed, "a race: such have been faults of ours"


def etcd_does_not_differ_from_etcd_and_planted_faults_are_found():
    with Bench(ours=False) as bench:
        play(bench, PLANTED_SEED, SECONDS / 4 or 1)
        missed, seed = list(planted.FAULTS), PLANTED_SEED
        while missed and seed < PLANTED_SEED + 300:
            run, _ = bench.play(Generator(seed).sequence())
            seed += 1
            for fault in list(missed):
                for method, request, a, b in run.transcript:
                    if plain_outcome(method, a, request) != plain_outcome(method, fault(method, request, b), request):
                        missed.remove(fault)
                        break
        assert not missed, f"not found in {seed - PLANTED_SEED} sequences: {[f.__name__ for f in missed]}"
        print(f"# all {len(planted.FAULTS)} found within {seed - PLANTED_SEED} sequences")
        a_found_fault_is_cut_down(bench)


def a_found_fault_is_cut_down(bench):
    bench.fault = planted.more_is_forgotten
    for seed in range(100, 200):
        found = bench.find(seed, Generator(seed).sequence())
        if found is not None:
            steps, difference = found
            assert len(steps) <= 5, steps
            assert steps[-1][1] == "KV.Range" and difference.a != difference.b
            return
    raise AssertionError("never found")


def ours_answers_as_etcd_does():
    need_etcd()
    print(f"# QUORATE_SEED={SEED}", flush=True)
    with Bench(ours=True) as bench:
        play(bench, SEED, (SECONDS or scaled(5, 8)) * ROUNDS)


def what_once_differed_does_not_any_more():
    need_etcd()
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "found.txt")
    with Bench(ours=True) as bench:
        for number, steps in enumerate(read(path)):
            _, d = bench.play(steps)
            if d is not None:
                show(number, steps, d)
            assert d is None, f"sequence {number} of found.txt"


tap([the_codec_reads_what_it_writes, etcd_does_not_differ_from_etcd_and_planted_faults_are_found,
     ours_answers_as_etcd_does, what_once_differed_does_not_any_more])
