#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Leases on real daemons: they end when their keeper dies, not before, and whoever else dies meanwhile."""
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import QUORATE, Cluster, scaled, tap, until
from rpc import RpcError

LEASE_NOT_FOUND, LEASE_EXISTS, LEASE_TTL, LEASE_PROVIDED, MALFORMED = 11, 12, 13, 4, 60
TTL_S = scaled(3, 6)
K_TTL, T_TTL, T_GRANTED, T_MORE, T_KEYS = 2, 2, 3, 4, 5       # places in results
G_ID, G_TTL = 1, 2
L_MORE, L_IDS = 1, 2


def error(call, *args):
    try:
        call(*args)
    except RpcError as e:
        return e.code
    return 0


def there(c, node, key):
    with c.rpc(node, timeout_s=60) as r:
        return len(r.call("range", key)[3]) == 1


def granted(c, ttl, node=0):
    """By the command, as a user would."""
    said = c.ctl("lease", "grant", str(ttl), nodes=(node,)).stdout
    m = re.fullmatch(r"lease ([0-9a-f]{16}) granted with TTL\((\d+)s\)\n", said)
    assert m, said
    return m[1]


def keeper(c, lease):
    """`quorate lease keep-alive`, and a thread that notes when it last said so."""
    p = subprocess.Popen([QUORATE, "lease", "keep-alive", lease, "--endpoints", c.endpoints()],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines = []

    def read():
        for line in p.stdout:
            lines.append((time.monotonic(), line))
    t = threading.Thread(target=read, daemon=True)
    t.start()
    p.lines = lines
    until(lambda: len(lines) >= 2, "two keepalives")
    assert lines[0][1] == f"lease {lease} keepalived with TTL({TTL_S})\n", lines
    return p


def dies_with_its_keeper(c, before, meanwhile):
    """The key outlives the TTL after the last keepalive was sent, and then goes."""
    lease = granted(c, TTL_S)
    key = b"kept-" + lease.encode()
    c.ctl("put", key.decode(), "v", "--lease", lease)
    p = keeper(c, lease)
    assert there(c, 0, key)
    seen = len(p.lines)
    before()
    until(lambda: len(p.lines) > seen + 1, "keepalives go on")
    p.kill()
    killed = time.monotonic()
    meanwhile()
    p.wait()
    answered = p.lines[-1][0]     # it was sent before, and may have been answered without being read
    asker = next(i for i in range(c.n) if c.answers(i))
    until(lambda: not there(c, asker, key), "the key goes")
    end = time.monotonic()
    print(f"# gone {end - answered:.2f} s after the last keepalive, {end - killed:.2f} s after the kill, TTL {TTL_S}")
    assert end - answered >= TTL_S - 1.0, "it ended early"     # a keepalive is sent a moment before it is answered


def nothing():
    pass


def a_lease_is_granted_used_and_revoked_by_the_command():
    with Cluster() as c:
        lease = granted(c, 60)
        assert c.ctl("put", "--lease", lease, "a", "1").stdout == "OK\n"
        assert c.ctl("put", "--lease", lease, "b", "1").stdout == "OK\n"
        for node in range(c.n):
            said = c.ctl("lease", "timetolive", lease, "--keys", nodes=(node,)).stdout
            assert re.fullmatch(rf"lease {lease} granted with TTL\(60s\), remaining\(\d+s\), attached keys\(\[a b\]\)\n",
                                said), said
            said = c.ctl("lease", "keep-alive", "--once", lease, nodes=(node,)).stdout
            assert said == f"lease {lease} keepalived with TTL(60)\n", said
        until(lambda: c.ctl("lease", "list", nodes=(1,)).stdout == f"found 1 leases\n{lease}\n", "node 1 lists it")
        assert c.ctl("put", "--ignore-lease", "b", "2").stdout == "OK\n"
        assert c.ctl("put", "a", "2").stdout == "OK\n"
        assert c.ctl("lease", "revoke", lease).stdout == f"lease {lease} revoked\n"
        assert c.ctl("get", "a").stdout == "a\n2\n" and c.ctl("get", "b").stdout == ""
        assert c.ctl("lease", "timetolive", lease).stdout == f"lease {lease} already expired\n"
        done = c.ctl("lease", "revoke", lease, check=False)
        assert done.returncode == 1 and "requested lease not found" in done.stderr, done
        done = c.ctl("lease", "keep-alive", "--once", lease, check=False)
        assert done.returncode == 1 and "requested lease not found" in done.stderr, done
        said = c.ctl("lease", "grant", "5", "--write-out", "json").stdout
        assert re.fullmatch(r'\{"cluster_id":\d+,"member_id":\d+,"revision":\d+,"raft_term":\d+,"ID":\d+,"TTL":5,'
                            r'"Error":""\}\n', said), said


def keys_go_when_their_keeper_is_killed():
    with Cluster() as c:
        dies_with_its_keeper(c, nothing, nothing)


def so_they_do_when_leased_of_the_leader_is_killed():
    with Cluster() as c:
        def kill():
            node = c.wait_leader()
            c.reborn(node, "leased", c.kill(node, "leased"))
        dies_with_its_keeper(c, kill, nothing)
        dies_with_its_keeper(c, nothing, kill)


def so_they_do_when_the_leader_s_node_is_killed():
    with Cluster() as c:
        def kill():
            c.kill_node(c.wait_leader())
        dies_with_its_keeper(c, kill, nothing)
        dies_with_its_keeper(c, nothing, kill)


def an_end_that_is_under_way_survives_the_death_of_everything():
    """Nobody keeps it alive: leased, raftd and stored of the leader's node die in turn, and it ends all the same."""
    with Cluster() as c, c.rpc(0, timeout_s=60) as r:
        lease = r.call("lease_grant", 0, TTL_S)[G_ID]
        r.call("put", b"k", b"v", lease)
        began = time.monotonic()
        for daemon in ("leased", "raftd", "stored"):
            node = c.wait_leader()
            c.reborn(node, daemon, c.kill(node, daemon))
        until(lambda: not r.call("range", b"k")[3], "the key goes")
        assert time.monotonic() - began >= TTL_S
        until(lambda: r.call("lease_time_to_live", lease)[T_TTL] == -1, "and the lease")


def what_was_revoked_while_the_leader_s_stored_was_away_is_not_kept_alive():
    """Other nodes go on, and leased of the leader's node has not heard of what they have done."""
    with Cluster() as c:
        leader = c.wait_leader()
        with c.rpc((leader + 1) % c.n, timeout_s=60) as r, c.rpc((leader + 2) % c.n, timeout_s=60) as asker:
            for lease in (7, 8, 9):
                r.call("lease_grant", lease, 60)
                assert asker.call("lease_keepalive", lease)[K_TTL] == 60
            pid = c.kill(leader, "stored", signal.SIGSTOP)
            try:
                r.call("lease_revoke", 7)
                r.call("lease_revoke", 8)
                r.call("lease_grant", 8, 30)
                for lease in (7, 8, 9):
                    asker.send("lease_keepalive", [lease])
                until(lambda: c.admin_json(leader, "leased", "status")["asks_held"] >= 3 or
                      c.admin_json(leader, "leased", "status")["state"] != "LEADING", "they are held")
            finally:
                os.kill(pid, signal.SIGCONT)
            told = dict((k[1], k[K_TTL]) for k in (asker.receive()[3] for _ in range(3)))
            assert told == {7: 0, 8: 30, 9: 60}, told


def a_leader_whose_stored_stands_still_hands_over():
    """First to one whose stored stands still too: the third one answers."""
    with Cluster() as c:
        leader = c.wait_leader()
        third = (leader + 2) % c.n
        with c.rpc(third, timeout_s=60) as r:
            r.call("lease_grant", 7, 60)
            pids = [c.kill(node, "stored", signal.SIGSTOP) for node in (leader, (leader + 1) % c.n)]
            try:
                r.call("put", b"k", b"v", 7)
                until(lambda: c.admin_json(third, "raftd", "status")["role"] == "LEADER", "the third one leads")
                assert r.call("lease_keepalive", 7)[K_TTL] == 60
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)


def thousands_of_leases_survive_kills():
    many = scaled(10000, 1000)
    with Cluster() as c, c.rpc(0, timeout_s=60) as r:
        for i in range(1, many + 1):
            r.send("lease_grant", [i, 3600])
            if i % 500 == 0:
                for _ in range(500):
                    r.receive()
        for daemon in ("leased", "raftd", "stored"):
            node = c.wait_leader()
            c.reborn(node, daemon, c.kill(node, daemon))
            for i in (1, many // 2, many):
                assert r.call("lease_keepalive", i)[K_TTL] == 3600, (daemon, i)
        for node in range(c.n):
            until(lambda n=node: c.admin_json(n, "leased", "status")["leases"] == many, f"node {node} knows all leases")
            with c.rpc(node) as q:
                found, more = [], True
                while more:
                    page = q.call("lease_list", found[-1] if found else 0)
                    found += [x[0] for x in page[L_IDS]]
                    more = page[L_MORE]
                assert found == list(range(1, many + 1))


def a_leader_that_was_stopped_ends_nothing():
    """SIGSTOP of the leader's whole node for longer than the TTL, while the lease is kept alive elsewhere."""
    with Cluster() as c:
        node = c.wait_leader()
        other = (node + 1) % c.n
        daemons = ("raftd", "stored", "leased", "gatewayd")
        with c.rpc(other, timeout_s=60) as r:
            lease = r.call("lease_grant", 0, TTL_S)[G_ID]
            r.call("put", b"k", b"v", lease)
            pids = [c.kill(node, d, signal.SIGSTOP) for d in daemons]
            try:
                end = time.monotonic() + TTL_S + 2
                while time.monotonic() < end:
                    assert r.call("lease_keepalive", lease)[K_TTL] == TTL_S
                    time.sleep(TTL_S / 10)
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            for _ in range(20):
                assert r.call("lease_keepalive", lease)[K_TTL] == TTL_S
                assert r.call("range", b"k")[3]
                time.sleep(TTL_S / 20)


def bad_input_is_told_so():
    with Cluster(nodes=1) as c, c.rpc(0) as r:
        for ttl in (0, -1, -(1 << 63), 1):
            assert r.call("lease_grant", 0, ttl)[G_TTL] == 1, ttl
        assert r.call("lease_grant", 7, 9000000000)[G_TTL] == 9000000000
        assert r.call("lease_time_to_live", 7)[T_GRANTED] == 9000000000
        assert r.call("lease_keepalive", 7)[K_TTL] == 9000000000
        assert error(r.call, "lease_grant", 8, 9000000001) == LEASE_TTL
        assert error(r.call, "lease_grant", 8, (1 << 63) - 1) == LEASE_TTL
        assert error(r.call, "lease_grant", 7, 5) == LEASE_EXISTS
        for unknown in (0, 8, -1, (1 << 63) - 1, -(1 << 63)):
            assert error(r.call, "lease_revoke", unknown) == LEASE_NOT_FOUND
            assert r.call("lease_keepalive", unknown)[K_TTL] == 0
            answer = r.call("lease_time_to_live", unknown, True)
            assert answer[T_TTL] == -1 and answer[T_GRANTED] == 0 and answer[T_KEYS] == []
            if unknown:
                assert error(r.call, "put", b"k", b"v", unknown) == LEASE_NOT_FOUND
        assert error(r.call, "put", b"k", b"v", 7, False, False, True) == LEASE_PROVIDED
        assert r.call("lease_list", 0, -5)[L_IDS] == r.call("lease_list")[L_IDS]
        assert r.call("lease_list", 0, 1)[L_MORE] and len(r.call("lease_list", 0, 1)[L_IDS]) == 1
        assert r.call("lease_time_to_live", 7, True, b"x" * 5000)[T_KEYS] == []
        for method in ("lease_grant", "lease_revoke", "lease_keepalive", "lease_time_to_live", "lease_list"):
            with c.rpc(0) as bad:
                assert error(bad.call, method, {}) == MALFORMED, method
            with c.rpc(0) as bad:
                assert error(bad.call, method, 1 << 63) == MALFORMED, method


tap([a_lease_is_granted_used_and_revoked_by_the_command, keys_go_when_their_keeper_is_killed,
     so_they_do_when_leased_of_the_leader_is_killed, so_they_do_when_the_leader_s_node_is_killed,
     an_end_that_is_under_way_survives_the_death_of_everything, thousands_of_leases_survive_kills,
     what_was_revoked_while_the_leader_s_stored_was_away_is_not_kept_alive,
     a_leader_whose_stored_stands_still_hands_over,
     a_leader_that_was_stopped_ends_nothing, bad_input_is_told_so])
