#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Locks: one holder at a time, in order of arrival; what is lost is told, and harms nobody else."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import Cluster, scaled, tap, until
from recipes import BAD_ARGUMENT, FOREVER, HELD, LOST, MUTEX, READ, TIMEOUT, WRITE, Player, in_line, keys

shared = None
MS = 60000


def the_cluster_starts():
    global shared
    shared = Cluster()
    shared.__enter__()


def the_cluster_stops():
    shared.__exit__(None)


def player():
    return Player(shared.endpoints())


def a_mutex_is_held_by_one_and_handed_on():
    with player() as a, player() as b:
        a.locker("/m/one"), b.locker("/m/one")
        first = a.call("acquire", 0, MS)
        assert a.call("token", 0) == first
        assert b.fails("try", 0, MS)[0] == HELD
        assert keys(shared, b"/m/one/")[0][1] == first and len(keys(shared, b"/m/one/")) == 1
        b.send("acquire", 0, MS)
        assert len(in_line(shared, b"/m/one/", 2)) == 2
        a.call("release", 0, MS)
        second = b.ok()
        assert second > first
        assert a.call("guarded", 0, "/m/g", "a") == 0 and b.call("guarded", 0, "/m/g", "b") == 1
        b.call("release", 0, MS)
        assert a.call("try", 0, MS) > second
        a.call("close", 0)
        assert keys(shared, b"/m/one/") == []


def who_gives_up_leaves_the_line():
    with player() as a, player() as b, player() as c:
        for p in (a, b, c):
            p.locker("/m/give-up")
        a.call("acquire", 0, MS)
        assert b.fails("acquire", 0, 50) == (TIMEOUT, 1)
        assert len(keys(shared, b"/m/give-up/")) == 1
        b.send("acquire", 0, 1000)
        in_line(shared, b"/m/give-up/", 2)
        c.send("acquire", 0, MS)
        in_line(shared, b"/m/give-up/", 3)
        assert b.error()[0] == TIMEOUT                   # c stood behind it, and must look again
        c.silent(0.1)
        a.call("release", 0, MS)
        c.ok()


def misuse_is_refused():
    with player() as a:
        a.locker("/m/misuse")
        assert a.fails("release", 0, MS)[0] == BAD_ARGUMENT
        assert a.fails("lost", 0, MS)[0] == BAD_ARGUMENT
        assert a.fails("lock", 0, 9, "/m/x")[0] == BAD_ARGUMENT
        assert a.call("guarded", 0, "/m/never", "x") == 0
        a.call("acquire", 0, MS)
        assert a.fails("acquire", 0, MS)[0] == BAD_ARGUMENT
        assert a.fails("lost", 0, 0)[0] == TIMEOUT
        # two handles of one session exclude each other
        assert a.call("lock", 0, MUTEX, "/m/misuse") == 1
        assert a.fails("try", 1, MS)[0] == HELD
        assert a.fails("acquire", 1, 100)[0] == TIMEOUT
        a.send("& acquire", 1, MS)
        a.silent(0.1)
        a.send("release", 0, MS)
        assert sorted([a.line().split()[0], a.line().split()[0]]) == ["ok", "ok"]
        assert a.call("token", 1) > 0 and a.call("token", 0) == 0


def a_lost_lock_is_told_at_once():
    c = shared
    with player() as a, player() as b, c.rpc(0, timeout_s=60) as r:
        a.locker("/m/lost"), b.locker("/m/lost", ttl=3)
        a.call("acquire", 0, MS)
        b.send("acquire", 0, MS)
        (key, _, lease), (waiting, _, waiter) = in_line(c, b"/m/lost/", 2)
        assert key == b"/m/lost/%x" % lease and waiting == b"/m/lost/%x" % waiter
        a.send("& lost", 0, FOREVER)
        r.call("delete", key)
        assert a.line().startswith(f"lost {LOST} "), "its key was deleted"
        assert a.call("token", 0) == 0 and a.call("guarded", 0, "/m/g", "x") == 0
        assert a.fails("release", 0, MS)[0] == LOST
        token = b.ok()
        b.send("& lost", 0, FOREVER)
        r.call("lease_revoke", waiter)
        assert b.line().startswith(f"lost {LOST} "), "its lease was revoked"
        assert token and b.fails("release", 0, MS)[0] == LOST
        # and while it waits
        a.call("acquire", 0, MS)
        with player() as d:
            d.locker("/m/lost", ttl=3)
            d.send("acquire", 0, FOREVER)
            r.call("lease_revoke", in_line(c, b"/m/lost/", 2)[1][2])
            assert d.error()[0] == LOST


def who_has_lost_a_lock_may_ask_for_it_again():
    c = shared
    with player() as a, c.rpc(0, timeout_s=60) as r:
        a.locker("/m/again", ttl=3)
        first = a.call("acquire", 0, MS)
        key, _, lease = in_line(c, b"/m/again/", 1)[0]
        a.send("& lost", 0, FOREVER)
        r.call("delete", key)
        assert a.line().startswith(f"lost {LOST} ")
        assert a.call("acquire", 0, MS) > first          # the session is as good as ever
        a.send("& lost", 0, FOREVER)
        r.call("lease_revoke", lease)
        assert a.line().startswith(f"lost {LOST} ")
        assert a.fails("acquire", 0, MS)[0] == LOST


def what_is_lost_harms_nobody_else():
    c = shared
    with player() as a, player() as b, c.rpc(0, timeout_s=60) as r:
        a.locker("/m/harm"), b.locker("/m/harm")
        a.call("acquire", 0, MS)
        # the key is deleted, and another handle of the same session puts it again
        r.call("delete", keys(c, b"/m/harm/")[0][0])
        assert a.call("lock", 0, MUTEX, "/m/harm") == 1
        token = a.call("acquire", 1, MS)
        assert a.fails("release", 0, MS)[0] == LOST
        assert keys(c, b"/m/harm/")[0][1] == token and a.call("guarded", 1, "/m/g", "x") == 1
        # a place in the line that is gone is no place
        b.send("acquire", 0, MS)
        r.call("delete", in_line(c, b"/m/harm/", 2)[1][0])
        a.call("release", 1, MS)
        assert b.error()[0] == LOST


def readers_share_and_writers_do_not():
    with player() as a, player() as b, player() as w, player() as late:
        a.locker("/rw", READ), b.locker("/rw", READ), w.locker("/rw", WRITE), late.locker("/rw", READ)
        a.call("acquire", 0, MS), b.call("acquire", 0, MS)
        assert w.fails("try", 0, MS)[0] == HELD
        w.send("acquire", 0, MS)
        in_line(shared, b"/rw/", 3)
        assert late.fails("try", 0, MS)[0] == HELD       # a writer waits: it is not passed
        late.send("acquire", 0, MS)
        in_line(shared, b"/rw/", 4)
        a.call("release", 0, MS)
        w.silent(0.05)
        b.call("release", 0, MS)
        writer = w.ok()
        late.silent(0.05)
        w.call("release", 0, MS)
        assert late.ok() > writer
        late.call("release", 0, MS)
        # two locks of one session exclude each other too
        assert a.call("lock", 0, WRITE, "/rw") == 1
        a.call("acquire", 0, MS)
        assert a.fails("try", 1, MS)[0] == HELD


def who_is_killed_is_followed_by_the_next_in_line():
    with player() as a, player() as b, player() as c:
        a.locker("/m/kill", ttl=2), b.locker("/m/kill", ttl=2), c.locker("/m/kill")
        a.call("acquire", 0, MS)
        b.send("acquire", 0, MS)
        in_line(shared, b"/m/kill/", 2)
        c.send("acquire", 0, MS)
        in_line(shared, b"/m/kill/", 3)
        b.kill()                                         # a waiter: c goes on waiting, for a
        until(lambda: len(keys(shared, b"/m/kill/")) == 2, "the waiter's place goes")
        c.silent(0.05)
        a.kill()
        c.ok()


def a_release_wakes_one_of_a_thousand():
    c, many = shared, scaled(1000, 100)
    sent = lambda: sum(g["deliveries"] for i in range(c.n) for g in c.admin_json(i, "watchd", "gateways").values())
    with player() as holder, player() as crowd:
        holder.locker("/m/crowd")
        holder.call("acquire", 0, MS)
        crowd.call("crowd", many, "/m/crowd")
        line = in_line(c, b"/m/crowd/", many + 1)
        watching = lambda: sum(c.admin_json(i, "watchd", "status")["watchers"] for i in range(c.n))
        until(lambda: watching() >= many, "all watch")
        before = sent()
        holder.call("release", 0, MS)
        got = [crowd.line()]
        until(lambda: sent() > before, "the event is counted")
        assert sent() == before + 1, f"{sent() - before} events for one release"
        crowd.send("next", many)
        while len(got) < many:
            said = crowd.line()
            assert not said.startswith("error"), said
            if said.startswith("got"):
                got.append(said)
        tokens = [int(said.split()[1]) for said in got]
        assert tokens == [created for _, created, _ in line[1:]], "in the order in which they came"
        until(lambda: sent() == before + many, "one event for each release")


if __name__ == "__main__":
    tap([a_mutex_is_held_by_one_and_handed_on, who_gives_up_leaves_the_line, misuse_is_refused,
         a_lost_lock_is_told_at_once, who_has_lost_a_lock_may_ask_for_it_again, what_is_lost_harms_nobody_else, readers_share_and_writers_do_not, who_is_killed_is_followed_by_the_next_in_line,
         a_release_wakes_one_of_a_thousand], always=(the_cluster_starts, the_cluster_stops))
