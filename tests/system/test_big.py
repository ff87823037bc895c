#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Large values, large answers, many keys: limits are exact, memory is bounded, others stay fast."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import msgpack

import rpc
from harness import SANITIZED, Cluster, memory_kib, scaled, tap, until
from rpc import H_REVISION, P_KEY, P_MOD, P_VALUE, Pipeline, Request, RpcError, Steady, op_put, prefix_end

LIMIT_REQUEST = 1536 * 1024


def refused(call, *codes):
    try:
        call()
    except RpcError as e:
        assert e.code in codes, e
        return
    raise AssertionError(f"it was taken; error {codes} was expected")


def taken(call):
    try:
        call()
        return True
    except RpcError as e:
        assert e.code == rpc.REQUEST_TOO_LARGE, e
        return False


def params_of(key, size):
    """Params of a put whose encoding has just this size."""
    value = os.urandom(size - len(msgpack.packb([key, b"x" * 100000])) + 100000)
    assert len(msgpack.packb([key, value])) == size
    return value


def the_largest_request_is_taken_and_one_byte_more_refused():
    with Cluster() as c:
        with c.rpc(0) as a, c.rpc(1) as b, c.rpc(2) as z:
            key = b"/largest"
            low, high = LIMIT_REQUEST - 64, LIMIT_REQUEST + 1        # taken, refused
            value = params_of(key, low)
            a.put(key, value)
            assert b.get(key) == {key: value}, "the value has changed on its way"
            assert not taken(lambda: z.put(key, params_of(key, high)))
            while high - low > 1:
                middle = (low + high) // 2
                if taken(lambda: a.put(key, params_of(key, middle))):
                    low = middle
                else:
                    high = middle
            print(f"# the largest params of a put have {low} bytes")
            for size in range(low + 1, LIMIT_REQUEST + 2):
                assert not taken(lambda: z.put(b"/larger!", params_of(b"/larger!", size))), size
            assert b.get(b"/larger!") == {}
            ops = [op_put(b"/t/%03d" % i, b"x" * 11900) for i in range(128)]
            revision, _, _ = z.txn([], ops)
            assert [p[P_MOD] for p in a.range(b"/t/", b"/t0")[3]] == [revision] * 128
        assert a_new_client_works(c)


def a_new_client_works(c):
    return all(c.answers(i) for i in range(c.n))


class Counted:
    """Reads one streamed range answer, pair by pair, without holding it."""

    def __init__(self, sock):
        self.sock = sock
        self.unpacker = msgpack.Unpacker(self, raw=True, read_size=1 << 18, max_buffer_size=1 << 26)
        assert self.unpacker.read_array_header() == 4
        kind, self.id, error = (self.unpacker.unpack() for _ in range(3))
        assert (kind, error) == (1, None), (kind, error)
        assert self.unpacker.read_array_header() == 4
        self.header, self.count, self.more = (self.unpacker.unpack() for _ in range(3))
        self.pairs = self.unpacker.read_array_header()

    def read(self, n):
        return self.sock.recv(n)                         # what there is, for the unpacker

    def __iter__(self):
        return (self.unpacker.unpack() for _ in range(self.pairs))


def fill(port, n, size):
    line = Pipeline(port, [Request("put", [b"/big/%06d" % i, b"%06d" % i + bytes(size - 6)]) for i in range(n)], 8,
                    patience_s=120)
    line.start()
    line.finish()


class Memory(threading.Thread):
    """Watches a process's own memory: without the mapped store, which is the page cache's."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.over = pid, threading.Event()
        self.before = self.most = memory_kib(pid, "RssAnon")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(30)

    def run(self):
        while not self.over.wait(0.01):
            self.most = max(self.most, memory_kib(self.pid, "RssAnon"))


def a_large_answer_streams_in_bounded_memory():
    n, size = scaled(200, 40), 1 << 20
    with Cluster(1) as c:
        fill(c.port(0), n, size)
        with Steady(c.port(0)) as steady, Memory(c.pid_of(0, "gatewayd")) as memory, c.rpc(0) as r:
            until(lambda: steady.mark() > 20, "puts")
            mark, began, seen = steady.mark(), time.monotonic(), 0
            r.send("range", [b"/big/", prefix_end(b"/big/")])
            answer = Counted(r.sock)
            assert answer.count == answer.pairs == n
            for pair in answer:
                if seen == n // 4:
                    time.sleep(0.5)                      # a reader that dawdles
                assert pair[P_KEY] == b"/big/%06d" % seen and len(pair[P_VALUE]) == size, pair[P_KEY]
                assert pair[P_VALUE].startswith(b"%06d" % seen)
                seen += 1
            took = time.monotonic() - began
            p99, slowest = steady.percentile(99, mark), max(steady.took_s[mark:])
        print(f"# {n} MiB in {took:.1f} s; gatewayd {memory.before} -> at most {memory.most} KiB; "
              f"puts meanwhile: {steady.mark() - mark}, p99 {p99 * 1000:.1f} ms, slowest {slowest * 1000:.0f} ms")
        assert seen == n and slowest < scaled(1.0, 10.0), "puts were slow meanwhile"
        assert SANITIZED or memory.most - memory.before < 48 * 1024, "gatewayd holds the answer in memory"


def a_range_at_a_pinned_revision_is_not_moved_by_writes():
    n = scaled(100, 30)
    with Cluster(1) as c:
        fill(c.port(0), n, 1 << 19)
        with c.rpc(0) as r, c.rpc(0) as w:
            r.send("range", [b"/big/", prefix_end(b"/big/")])
            answer = Counted(r.sock)                     # has begun; the socket holds little of it
            for i in range(n):
                w.put(b"/big/%06d" % i, b"overwritten") if i % 2 else w.delete(b"/big/%06d" % i)
            for i in range(n):
                w.put(b"/big/%06d.new" % i, b"inserted")
            for seen, pair in enumerate(answer):
                assert pair[P_KEY] == b"/big/%06d" % seen and len(pair[P_VALUE]) == 1 << 19, pair[:4]
            assert seen + 1 == n
            assert w.range(b"/big/", b"/big0", count_only=True)[1] == n + n // 2


def put_many(c, n):
    requests = [Request("txn", [[], [op_put(b"/k/%06d" % i, b"value %d" % i) for i in range(at, min(n, at + 100))], []])
                for at in range(0, n, 100)]
    line = Pipeline(c.port(0), requests, 16, patience_s=120)
    line.start()
    line.finish()


def pages(r, limit, revision):
    key, more, pairs = b"/k/", True, []
    while more:
        header, count, more, page = r.range(key, b"/k0", limit=limit, revision=revision)
        revision = revision or header[H_REVISION]
        assert len(page) == (limit if more else len(page)) and count == len(page) or more, (len(page), count, more)
        pairs += page
        key = page[-1][P_KEY] + b"\0" if page else key
    return pairs


def a_hundred_thousand_keys_are_counted_limited_and_paged():
    n = scaled(100000, 20000)
    with Cluster() as c:
        began = time.monotonic()
        put_many(c, n)
        print(f"# {n} keys put in {time.monotonic() - began:.1f} s")
        with c.rpc(2) as r, c.rpc(1) as w:
            began = time.monotonic()
            header, count, more, pairs = r.range(b"/k/", b"/k0")
            print(f"# and read in {time.monotonic() - began:.1f} s")
            assert (count, more, len(pairs)) == (n, False, n)
            assert all(p[P_KEY] == b"/k/%06d" % i and p[P_VALUE] == b"value %d" % i for i, p in enumerate(pairs))
            revision = header[H_REVISION]
            assert r.range(b"/k/", b"/k0", count_only=True)[1:] == [n, False, []]
            assert r.range(b"/k/", b"/k0", limit=10)[1:3] == [n, True]
            keys = r.range(b"/k/", b"/k0", keys_only=True)[3]
            assert len(keys) == n and all(p[P_VALUE] == b"" for p in keys)
            last = r.range(b"/k/", b"/k0", limit=3, sort=(2, 0))[3]
            assert [p[P_KEY] for p in last] == [b"/k/%06d" % i for i in (n - 1, n - 2, n - 3)]

            w.delete(b"/k/", b"/k/%06d" % (n // 2))      # half of it in one revision
            w.put(b"/k/%06d" % (n - 1), b"changed")
            assert r.range(b"/k/", b"/k0", count_only=True)[1] == n - n // 2
            assert pages(r, 997, revision) == pairs, "pages of the past differ"
            now = pages(r, 10000, 0)
            assert [p[P_KEY] for p in now] == [p[P_KEY] for p in pairs[n // 2:]] and now[-1][P_VALUE] == b"changed"

            w.call("compact", header[H_REVISION] + 1, False)
            refused(lambda: r.range(b"/k/", b"/k0", limit=1, revision=revision), rpc.COMPACTED)
            refused(lambda: r.range(b"/k/", b"/k0", limit=1, revision=revision + 1000), rpc.FUTURE_REV)
            assert pages(r, 10000, 0) == now


if __name__ == "__main__":
    tap([the_largest_request_is_taken_and_one_byte_more_refused, a_large_answer_streams_in_bounded_memory,
         a_range_at_a_pinned_revision_is_not_moved_by_writes, a_hundred_thousand_keys_are_counted_limited_and_paged])
