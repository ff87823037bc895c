#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The wall clock jumps by hours and years, both ways, on one node and on all: nobody notices but the logs' time stamps."""
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from faults import HOUR_MS, SEED, Loaded
from harness import DAEMONS, scaled, tap, until

JUMPS_MS = (6 * HOUR_MS, -6 * HOUR_MS, 20 * 365 * 24 * HOUR_MS, -20 * 365 * 24 * HOUR_MS, 1500, 0)


def term_of(c):
    return c.admin_json(c.wait_leader(), "raftd", "status")["term"]


def jumps_of_the_clock_cost_neither_a_link_nor_an_election():
    with Loaded() as (c, load):
        until(c.links_up, "all links are up")
        term, since = term_of(c), {(i, d): len(c.daemon_log(i, d)) for i in range(3) for d in DAEMONS}
        for wrong in JUMPS_MS:
            for nodes in ([c.wait_leader()], range(3)):
                for i in nodes:
                    c.clock(i, wrong)
                load.progress()
        for (i, d), at in since.items():
            assert not re.search(r"link down|peer lost|stopping", c.daemon_log(i, d)[at:]), f"{d} of node {i} has lost a link"
        assert term_of(c) == term, "an election"


def the_clock_that_is_shown_is_the_one_that_jumped():
    """Without this the other cases would prove nothing."""
    with Loaded() as (c, load):
        c.clock(0, 20 * 365 * 24 * HOUR_MS)
        pid = c.kill(0, "stored")
        year = time.gmtime().tm_year + 19
        c.says(0, "stored", rf"^{year}|^{year + 1}")
        c.reborn(0, "stored", pid)
        c.clock(0, 0)


def daemons_find_each_other_again_while_the_clock_jumps():
    """nng's waits are on the wall clock: at its reconnecting and accepting the jumps are aimed."""
    rng = random.Random(SEED)
    with Loaded() as (c, load):
        for _ in range(scaled(3, 1)):
            for daemon in DAEMONS:
                node = rng.randrange(3)
                pid = c.kill(node, daemon)
                for _ in range(10):                      # up and down, while it dies, starts, dials and accepts
                    c.clock(node, rng.choice(JUMPS_MS))
                    time.sleep(rng.random() * 0.05)
                c.clock(node, -6 * HOUR_MS)              # and back for good: what waits till then waits for long
                c.reborn(node, daemon, pid)
                load.progress()
                until(c.links_up, "all links are up")


if __name__ == "__main__":
    tap([jumps_of_the_clock_cost_neither_a_link_nor_an_election, the_clock_that_is_shown_is_the_one_that_jumped,
         daemons_find_each_other_again_while_the_clock_jumps])
