#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Copies of a recipe's write that are applied late: a gatewayd was stopped with the request in it, the library made it
again elsewhere, and then it goes on. Nothing may change by that, whatever the recipe has done in between.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, Cluster, tap
from recipes import HELD, LOST, Forgetful, Player
from rpc import P_KEY, prefix_end

shared = None
MS = 60000
WRITES = {b"put", b"delete", b"txn"}


def the_cluster_starts():
    global shared
    shared = Cluster(1)
    shared.__enter__()


def the_cluster_stops():
    shared.__exit__(None)


def content(prefix):
    """All pairs, with their revisions."""
    with shared.rpc(0) as r:
        return r.range(prefix, prefix_end(prefix))[3]


def late(scenario):
    """Each write of the scenario in turn is late: it arrives when the scenario is over.

    NAME/hold of a barrier may come back: it is an intention of nobody, and the next release takes it away.
    """
    nth, struck = 1, True
    while struck:
        name = f"/late/{scenario.__name__}/{nth}"
        with Forgetful(shared.port(0), WRITES, nth, late=True) as proxy, Player(proxy.endpoint()) as p, \
                Player(shared.endpoints()) as other:
            scenario(name, p, other)
            struck = proxy.struck
            if struck:
                before = content(name.encode())
                answer = proxy.arrive()
                after = content(name.encode())
                after = [kv for kv in after if kv[P_KEY] != name.encode() + b"/hold"]
                assert before == after, (scenario.__name__, nth, answer, before, after)
        nth += 1
    assert nth > 2, "nothing was struck"
    print(f"# {scenario.__name__}: {nth - 2} writes")


def lost(scenario):
    """Each write of the scenario in turn is done, and its answer is lost: no call of it says anything else for that."""
    nth, struck = 1, True
    while struck:
        name = f"/lost/{scenario.__name__}/{nth}"
        with Forgetful(shared.port(0), WRITES, nth, done=True) as proxy, Player(proxy.endpoint()) as p, \
                Player(shared.endpoints()) as other:
            scenario(name, p, other)
            struck = proxy.struck
        nth += 1
    assert nth > 2, "nothing was struck"


def lock_handed_on(name, p, other):
    p.locker(name)
    p.call("acquire", 0, MS)
    p.call("release", 0, MS)
    p.call("acquire", 0, MS)
    p.call("release", 0, MS)
    other.locker(name)
    other.call("acquire", 0, MS)


def lock_tried(name, p, other):
    other.locker(name)
    other.call("acquire", 0, MS)
    p.locker(name)
    p.fails("try", 0, MS)
    other.call("release", 0, MS)
    p.call("try", 0, MS)
    p.call("close", 0)


def lock_given_up(name, p, other):
    """No answer in time, and the place is given up: it stays given up."""
    other.locker(name)
    other.call("acquire", 0, MS)
    p.locker(name)
    p.fails("acquire", 0, 300)
    other.call("release", 0, MS)


def lock_lost(name, p, _):
    """Somebody deletes the key under its holder."""
    p.locker(name)
    p.call("acquire", 0, MS)
    with shared.rpc(0) as r:
        r.delete(name.encode() + b"/", name.encode() + b"0")
    said = p.says("release", 0, MS)
    assert said == "ok 0" or said.startswith(f"error {LOST} "), said   # it cannot know, if that answer was lost


def write_lock(name, p, _):
    p.locker(name, mode=3)
    p.call("acquire", 0, MS)
    p.call("release", 0, MS)


def election_proclaimed(name, p, _):
    p.call("session", 60)
    p.call("election", 0, name)
    p.call("campaign", 0, MS, "a")
    p.call("proclaim", 0, "b")
    p.call("proclaim", 0, "c")


def election_resigned(name, p, _):
    election_proclaimed(name, p, None)
    p.call("resign", 0)
    p.call("campaign", 0, MS, "d")
    p.call("resign", 0)


def work_given_back(name, p, other):
    other.call("bring", name, "v")
    p.call("session", 60)
    p.call("take", 0, name)
    p.call("give", 0)


def work_done(name, p, other):
    other.call("bring", name, "v")
    other.call("bring", name, "w")
    p.call("session", 60)
    p.call("take", 0, name)
    p.call("done", 0)
    p.call("give", 0)
    p.call("take", 0, name)


def barrier_released(name, p, _):
    p.call("hold", name, -1)
    p.call("unhold", name)


def barrier_held_again(name, p, other):
    p.call("hold", name, -1)
    p.call("unhold", name)
    other.call("hold", name, -1)


def barrier_intended_late(name, p, other):
    """What a late intention leaves behind is in nobody's way."""
    with shared.rpc(0) as r:
        r.put(name.encode() + b"/hold", b"of somebody")
    p.call("hold", name, -1)
    p.call("unhold", name)
    assert content(name.encode()) == []
    p.call("hold", name, -1)
    with shared.rpc(0) as r:
        r.put(name.encode() + b"/hold", b"of somebody")
    assert other.fails("hold", name, -1)[0] == HELD
    other.call("unhold", name)
    assert content(name.encode()) == []


def barrier_with_a_lease(name, p, other):
    p.call("session", 60)
    p.call("hold", name, 0)
    other.call("unhold", name)


def double_barrier_left(name, p, other):
    p.call("session", 60)
    p.call("enter", 0, name, 1)
    p.call("out", 0)
    p.call("enter", 0, name, 1)
    p.call("out", 1)


def double_barrier_of_others(name, p, other):
    p.call("session", 60)
    p.call("enter", 0, name, 1)
    p.call("out", 0)
    other.call("session", 60)
    other.call("enter", 0, name, 1)


def subscriber(name, p, _):
    p.call("subscribe", name + "/e/", name + "/at")
    with shared.rpc(0) as r:
        for i in range(3):
            r.put(name.encode() + b"/e/", b"%d" % i)
    for i in range(3):
        assert p.says("read", 0, PATIENCE_S * 1000).endswith(f" {i}")
        p.call("ack", 0)
    p.call("seek", 0, 1)
    assert p.says("read", 0, PATIENCE_S * 1000).endswith(" 0")
    p.call("ack", 0)


def subscriber_followed(name, p, other):
    """Another one takes the position: the first does not get it back."""
    subscriber(name, p, other)
    other.call("subscribe", name + "/e/", name + "/at")
    assert other.says("read", 0, PATIENCE_S * 1000).endswith(" 1")
    other.call("ack", 0)


def service_registered(name, p, _):
    p.call("session", 60)
    p.call("register", 0, name, "h:1", "a")
    p.call("update", 0, "b")
    p.call("update", 0, "c")


def service_over_an_old_one(name, p, _):
    with shared.rpc(0) as r:
        r.put(name.encode() + b"/h:1", b"somebody")
    service_registered(name, p, None)


def service_unregistered(name, p, _):
    service_registered(name, p, None)
    p.call("unregister", 0)


def service_registered_again(name, p, _):
    service_registered(name, p, None)
    p.call("unregister", 0)
    p.call("register", 0, name, "h:1", "d")


def service_with_its_own_lease(name, p, _):
    p.call("register", 10, name, "h:1", "a")
    p.call("update", 0, "b")


def a_late_place_in_a_line_blocks_nobody():
    for scenario in (lock_handed_on, lock_tried, lock_given_up, lock_lost, write_lock):
        late(scenario)


def a_late_proclamation_is_not_heard():
    for scenario in (election_proclaimed, election_resigned):
        late(scenario)


def a_late_claim_takes_no_work():
    for scenario in (work_given_back, work_done):
        late(scenario)


def a_late_hold_or_release_moves_no_barrier():
    for scenario in (barrier_released, barrier_held_again, barrier_intended_late, barrier_with_a_lease):
        late(scenario)


def a_hold_whose_answer_is_lost_is_not_made_again_once_it_was_released():
    name = "/late/released"
    with Player(shared.endpoints()) as other, \
            Forgetful(shared.port(0), WRITES, 2, done=True, meanwhile=lambda: other.call("unhold", name)) as proxy, \
            Player(proxy.endpoint()) as p:
        said = p.fails("hold", name, -1)
        assert proxy.struck and said[0] == LOST, said
        assert content(name.encode()) == []


def a_late_member_counts_in_no_group():
    for scenario in (double_barrier_left, double_barrier_of_others):
        late(scenario)


def a_late_position_is_not_taken_back():
    for scenario in (subscriber, subscriber_followed):
        late(scenario)


def a_late_registration_lists_nobody():
    for scenario in (service_over_an_old_one, service_unregistered, service_registered_again,
                     service_with_its_own_lease):
        late(scenario)


def what_was_done_is_not_said_to_be_lost():
    for scenario in (work_done, barrier_released, double_barrier_left, election_resigned):
        lost(scenario)


if __name__ == "__main__":
    tap([a_late_place_in_a_line_blocks_nobody, a_late_proclamation_is_not_heard, a_late_claim_takes_no_work,
         a_late_hold_or_release_moves_no_barrier,
         a_hold_whose_answer_is_lost_is_not_made_again_once_it_was_released, a_late_member_counts_in_no_group,
         a_late_position_is_not_taken_back, a_late_registration_lists_nobody, what_was_done_is_not_said_to_be_lost],
        always=(the_cluster_starts, the_cluster_stops))
