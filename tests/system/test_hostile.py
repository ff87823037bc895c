#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rubbish, floods and slow neighbours on every port and socket: a clear error or a close, and nobody else notices."""
import collections
import os
import random
import resource
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import msgpack

import hostile
import rpc
from harness import DAEMONS, Cluster, program, scaled, tap, until
from rpc import Rpc, RpcError, Steady, pack
from undisturbed import Undisturbed

SEED = int(os.environ.get("QUORATE_SEED", random.SystemRandom().randrange(1 << 32)))
LIMIT_REQUEST = 1536 * 1024


def dice():
    print(f"# QUORATE_SEED={SEED}")
    return random.Random(SEED)


def words(data):
    """What a server said on a connection, as messages; the rest must not be half a message."""
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(data)
    out = list(unpacker)
    assert unpacker.tell() == len(data), f"a broken answer: {data[:200]!r}"
    return out


def errors(data):
    """Codes of what went wrong: in responses, and in the notification that is about no request."""
    return {m[2][0] for m in words(data) if (m[0] == 1 and m[2] is not None) or m[:2] == [2, b"error"]}


def rubbish_gets_an_error_or_a_close():
    rng = dice()
    with Undisturbed() as u:
        port = u.cluster.port(0)
        for data in hostile.rubbish(rng, scaled(300, 100)):
            answer = hostile.say(port, data)
            assert answer is not None, f"never closed: {data[:64]!r}, {len(data)} bytes"
            if data[:1].isupper():        # it looks like HTTP
                assert not answer or data.startswith(b"PRI ") or answer.startswith(b"HTTP/1.1 501 "), answer
                continue
            for message in words(answer):
                assert message[0] in (1, 2), message


def bad_requests_are_told_what_is_wrong():
    with Undisturbed() as u:
        port = u.cluster.port(0)
        good = pack(7, "put", [b"/a", b"b"])
        for what, data, codes in (
                ("unknown type", msgpack.packb([3, 7, "put", [b"/a", b"b"]]), {rpc.MALFORMED}),
                ("a response", msgpack.packb([1, 7, None, []]), {rpc.MALFORMED}),
                ("no array", msgpack.packb({"a": 1}), {rpc.MALFORMED}),
                ("params no array", msgpack.packb([0, 7, "put", {"key": b"/a"}]), {rpc.MALFORMED}),
                ("key no bytes", pack(7, "put", [1, b"b"]), {rpc.MALFORMED, 14}),
                ("too many params", pack(7, "put", [b"/a"] + [None] * 50), {rpc.MALFORMED, 14}),
                ("deep nesting", pack(7, "put", [b"/a"])[:-3] + b"\x91" * 200 + b"\xc0", {rpc.MALFORMED, 14, 63}),
                ("no such method", pack(7, "frobnicate", []), {rpc.UNKNOWN_METHOD}),
                ("empty key", pack(7, "put", [b"", b"b"]), {rpc.KEY_EMPTY}),
                ("129 operations", pack(7, "txn", [[], [rpc.op_put(b"/%d" % i, b"") for i in range(129)], []]),
                 {rpc.TOO_MANY_OPS}),
                ("one key twice", pack(7, "txn", [[], [rpc.op_put(b"/a", b"1"), rpc.op_put(b"/a", b"2")], []]),
                 {rpc.DUPLICATE_KEY}),
                ("huge array", b"\x94\x00\x07\xa3put\xdd\xff\xff\xff\xff", {rpc.REQUEST_TOO_LARGE}),
                ("huge map", b"\x94\x00\x07\xa3put\x91\xdf\xff\xff\xff\xff", {rpc.REQUEST_TOO_LARGE}),
                ("huge value", b"\x94\x00\x07\xa3put\x92\xa2/a\xc6\xff\xff\xff\xff", {rpc.REQUEST_TOO_LARGE}),
                ("huge key", b"\x94\x00\x07\xa3put\x92\xdb\x7f\xff\xff\xff", {rpc.REQUEST_TOO_LARGE})):
            answer = hostile.say(port, good + data)
            assert answer is not None, f"{what}: never closed"
            assert any(m[:3] == [1, 7, None] for m in words(answer)), f"{what} cost a good request: {words(answer)}"
            assert len(errors(answer)) == 1 and errors(answer) <= codes, f"{what}: {words(answer)}"
        with Rpc(port) as r:                            # what is well-formed but wrong does not end the connection
            for method, params in (("put", [b"", b""]), ("frobnicate", []), ("range", [b"/a", b"", 0, 1 << 40])):
                try:
                    r.call(method, *params)
                    raise AssertionError(f"{method} {params} was taken")
                except RpcError:
                    pass
            assert r.get(b"/a") == {b"/a": b"b"}


def a_truncated_request_is_closed_and_not_carried_out():
    with Undisturbed() as u:
        port = u.cluster.port(0)
        whole = pack(7, "put", [b"/truncated", b"x" * 300])
        for n in [*range(1, 24), 100, len(whole) - 1]:
            assert hostile.say(port, whole[:n]) is not None, f"{n} bytes: never closed"
        with Rpc(port) as r:
            assert r.get(b"/truncated") == {}


def half_closed_clients_get_their_answers():
    with Undisturbed() as u:
        many = b"".join(pack(i, "put", [b"/half/%d" % i, b"v" * 100]) for i in range(1, 501))
        answers = words(hostile.say(u.cluster.port(0), many))
        assert sorted(a[1] for a in answers) == list(range(1, 501)), len(answers)
        assert all(a[0] == 1 and a[2] is None for a in answers)


def one_byte_at_a_time_is_served():
    with Undisturbed() as u:
        with hostile.tcp(u.cluster.port(0)) as s:
            for byte in pack(7, "put", [b"/slow", b"dripping"]):
                s.sendall(bytes([byte]))
                time.sleep(0.1)
            s.shutdown(1)
            assert words(hostile.drain(s))[0][:3] == [1, 7, None]


def more_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 65536
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def thousands_of_connections_disturb_nobody():
    n = min(more_files() - 200, scaled(4000, 1000))
    with Undisturbed() as u:
        port, held = u.cluster.port(0), []
        half = pack(7, "put", [b"/many", b"x" * 2000])[:-1]
        try:
            for i in range(n):
                s = hostile.tcp(port)
                held.append(s)
                if i % 2:
                    s.sendall(half)
            with Rpc(port) as r:
                assert r.put(b"/new", b"client") > 0
            until(lambda: u.cluster.admin_json(0, "gatewayd", "status") and True, "the admin socket answers")
        finally:
            for s in held:
                s.close()
        print(f"# {n} connections")


def who_does_not_read_is_dropped_and_costs_little():
    with Undisturbed() as u:
        port = u.cluster.port(0)
        with Rpc(port) as r:
            r.put(b"/large", b"x" * (1 << 20))
        with hostile.tcp(port) as s:
            s.setblocking(False)
            asked, want = 0, pack(7, "range", [b"/large"])
            end = time.monotonic() + scaled(3, 6)
            while time.monotonic() < end:                # asks for gigabytes and takes none
                try:
                    asked += s.send(want * 100) // len(want)
                except (BlockingIOError, ConnectionError):
                    time.sleep(0.05)
            print(f"# asked {asked} times for 1 MiB")
            assert asked > 100


def the_peer_port_tells_strangers_nothing():
    rng = dice()
    with Cluster() as c:
        preamble = b"QUORPEER" + (1).to_bytes(4, "big") + b"".join(
            n.to_bytes(8, "big") for n in (c.status(0)[0][0], c.member_id(0), c.member_id(2)))
        pids = [c.pid_of(2, d) for d in DAEMONS]
        with Steady(c.port(1)) as steady:
            port = c.peer_port(2)
            for data in [*hostile.rubbish(rng, scaled(60, 20)), preamble, preamble[:-1] + b"\xff",
                         preamble + b"\0\0\0\x30" + rng.randbytes(48), preamble + b"\xff\xff\xff\xff" + b"x" * 100000,
                         preamble + b"\0\0\0\0"]:
                answer = hostile.say(port, data, patience_s=30)
                assert answer is not None, f"never closed: {data[:64]!r}"
                assert answer == b"", f"{data[:64]!r} was answered: {answer[:64]!r}"
            hostile.slam(port, 300)
            until(lambda: steady.mark() > 100 or steady.failure, "puts go on")
        assert pids == [c.pid(2, d) for d in DAEMONS], "somebody died"
        until(c.links_up, "all links are up")


class Crowd(threading.Thread):
    """Keeps many connections to a port that say nothing, and makes new ones all the time."""

    def __init__(self, port, most=200):
        super().__init__(daemon=True)
        self.port, self.most, self.made = port, most, 0
        self.over = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)

    def run(self):
        held = collections.deque()
        while not self.over.wait(0.001):
            try:
                held.append(hostile.tcp(self.port))
                self.made += 1
            except OSError:
                pass
            if len(held) > self.most:
                held.popleft().close()
        for s in held:
            s.close()


def strangers_that_crowd_the_peer_port_keep_no_member_out():
    with Cluster() as c:
        follower = max(i for i in range(3) if i != c.wait_leader())
        peers = [i for i in range(follower)]             # the smaller id dials
        with Crowd(c.peer_port(follower)) as crowd:
            for dialler in peers * 2:
                until(lambda n=crowd.made: crowd.made > n + 100, "a crowd")
                began = time.monotonic()
                c.reborn(dialler, "raftd", c.kill(dialler, "raftd"))
                until(lambda: all(p["connected"] for p in c.admin_json(follower, "raftd", "peers").values()),
                      "members connect while strangers crowd the port", 20)
                print(f"# node {dialler} connected again after {time.monotonic() - began:.1f} s")
        print(f"# {crowd.made} strangers")
        until(c.links_up, "all links are up")


def sockets_of(cluster, i):
    folder = cluster.run_dir(i)
    names = [n for n in os.listdir(folder) if n.endswith((".sock", ".admin"))]
    assert len(names) >= 6, names
    return [os.path.join(folder, n) for n in sorted(names)]


def local_sockets_survive_what_anybody_may_send():
    rng = dice()
    with Undisturbed() as u:
        for path in sockets_of(u.cluster, 0):
            name = os.path.basename(path)
            hostile.slam(path, 300)
            for data in hostile.rubbish(rng, scaled(40, 15)):
                assert hostile.say(path, data) is not None, f"{name}: never closed after {data[:64]!r}"
            for data in (b"\0\0\0\x64half", b"\xff\xff\xff\xff", b"\0\0\0\0", b"status", b"x" * 100000):
                assert hostile.say(path, data) is not None, f"{name}: never closed after {data[:64]!r}"
            held = [hostile.opener(path)() for _ in range(40)]
            for s in held:
                try:
                    s.sendall(b"\0\0\0")
                except OSError:
                    pass
            for s in held:
                s.close()
        assert u.cluster.admin_json(0, "raftd", "status")["daemon"] == "raftd"
        u.cluster.reborn(0, "stored", u.cluster.kill(0, "stored"))      # its links can still be made again
        u.pids["stored"] = u.cluster.pid_of(0, "stored")


def a_second_instance_is_refused():
    with Undisturbed() as u:
        for daemon, pid in u.pids.items():
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = [os.fsdecode(w) for w in f.read().split(b"\0")[:-1]]
            done = subprocess.run([program(daemon), *without_readiness(line[1:])], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, text=True, check=False)
            assert done.returncode == 111, f"{daemon}: {done.returncode} {done.stderr}"
            assert str(pid) in done.stderr, f"{daemon} does not say who holds the lock: {done.stderr}"


def without_readiness(words_of_line):
    out, skip = [], False
    for word in words_of_line:
        if skip:
            skip = False
        elif word == "-r":
            skip = True
        else:
            out.append(word)
    return out


if __name__ == "__main__":
    tap([rubbish_gets_an_error_or_a_close, bad_requests_are_told_what_is_wrong,
         a_truncated_request_is_closed_and_not_carried_out, half_closed_clients_get_their_answers,
         one_byte_at_a_time_is_served, thousands_of_connections_disturb_nobody,
         who_does_not_read_is_dropped_and_costs_little, the_peer_port_tells_strangers_nothing,
         strangers_that_crowd_the_peer_port_keep_no_member_out, local_sockets_survive_what_anybody_may_send,
         a_second_instance_is_refused])
