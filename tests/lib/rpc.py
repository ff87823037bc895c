# SPDX-License-Identifier: Apache-2.0
"""A native-protocol client written from docs/native-protocol.md, not from our C code.

Rpc       one connection, one request at a time, or send() and receive() by hand
Pipeline  a thread that keeps many requests in flight, connects again and repeats what is unanswered
Steady    a thread that puts every few milliseconds and notes how long each took
"""
import collections
import select
import socket
import threading
import time

import msgpack

# numbers of libshared/base/err.h that tests name
KEY_EMPTY, TOO_MANY_OPS, DUPLICATE_KEY, REQUEST_TOO_LARGE, COMPACTED, FUTURE_REV = 1, 5, 6, 8, 9, 10
RESULT_LOST, MALFORMED, UNKNOWN_METHOD = 37, 60, 64
AGAIN_NO, AGAIN_SAFE, AGAIN_UNSURE = 0, 1, 2
# places in a status result
(S_HEADER, S_NAME, S_VERSION, S_ROLE, S_LEADER, S_COMMIT, S_APPLIED, S_LAST, S_COMPACTED, S_STORE_BYTES, S_USED_BYTES,
 S_LOG_BYTES, S_KEYS, S_APPLY_HASH, S_DAEMONS) = range(15)
# places in a header and in a pair
H_CLUSTER, H_MEMBER, H_REVISION, H_TERM = range(4)
P_KEY, P_CREATE, P_MOD, P_VERSION, P_VALUE, P_LEASE = range(6)
# of a compare
VERSION, CREATE, MOD, VALUE = range(4)
EQUAL, GREATER, LESS, NOT_EQUAL = range(4)


class RpcError(Exception):
    def __init__(self, code, text, again):
        super().__init__(f"{code} {text}")
        self.code, self.text, self.again = code, text, again


def pack(number, method, params):
    return msgpack.packb([0, number, method, params], use_bin_type=True)


def compare(key, target, op, what):
    number, value = (0, what) if target == VALUE else (what, b"")
    return [key, b"", target, op, number, value]


def op_range(key, end=b""):
    return [[key, end, 0, 0, 0, 0, False, False, False, 0, 0, 0, 0], None, None, None]


def op_put(key, value):
    return [None, [key, value, 0, False, False, False], None, None]


def op_delete(key, end=b""):
    return [None, None, [key, end, False], None]


def prefix_end(prefix):
    """The range end that makes [prefix, end) all keys with this prefix."""
    p = bytearray(prefix)
    while p:
        if p[-1] < 0xff:
            p[-1] += 1
            return bytes(p)
        p.pop()
    return b"\0"


class Rpc:
    def __init__(self, port, host="127.0.0.1", timeout_s=30):
        self.sock = socket.create_connection((host, port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unpacker = msgpack.Unpacker(raw=True, max_buffer_size=1 << 31)
        self.next_id = 0

    def send(self, method, params):
        self.next_id = (self.next_id + 1) & 0xffffffff
        self.sock.sendall(pack(self.next_id, method, params))
        return self.next_id

    def receive(self):
        while True:
            for message in self.unpacker:
                return message
            data = self.sock.recv(1 << 18)
            if not data:
                raise ConnectionError("closed by the server")
            self.unpacker.feed(data)

    def call(self, method, *params):
        wanted = self.send(method, list(params))
        kind, got, error, result = self.receive()
        assert kind == 1 and got == wanted, (kind, got, wanted)
        if error is not None:
            raise RpcError(error[0], error[1].decode(), error[2])
        return result

    def put(self, key, value, *more):
        """The revision of the write."""
        return self.call("put", key, value, *more)[0][H_REVISION]

    def delete(self, key, end=b""):
        """(revision, number of deleted keys)"""
        header, deleted, _ = self.call("delete", key, end, False)
        return header[H_REVISION], deleted

    def txn(self, compares, success, failure=()):
        """(revision, succeeded, responses)"""
        header, succeeded, responses = self.call("txn", compares, success, list(failure))
        return header[H_REVISION], succeeded, responses

    def range(self, key, end=b"", limit=0, revision=0, serializable=False, keys_only=False, count_only=False,
              sort=(0, 0), bounds=(0, 0, 0, 0)):
        """[header, count, more, pairs]"""
        return self.call("range", key, end, limit, revision, sort[0], sort[1], serializable, keys_only, count_only,
                         *bounds)

    def get(self, key, end=b"", **kw):
        """{key: value} of one key or a range."""
        return {p[P_KEY]: p[P_VALUE] for p in self.range(key, end, **kw)[3]}

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def rpc_patient(port, patience_s, timeout_s=30):
    """A connection, however long the daemon takes to be there again."""
    end = time.monotonic() + patience_s
    while True:
        try:
            return Rpc(port, timeout_s=timeout_s)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


class Request:
    """One request of a Pipeline and what became of it."""
    __slots__ = ("method", "params", "sends", "unsure", "result", "lost", "done")

    def __init__(self, method, params):
        self.method, self.params = method, params
        self.sends = 0        # how often it was sent
        self.unsure = 0       # how many of those may have taken effect without an answer
        self.result = None
        self.lost = False     # it did take effect, but its result was no longer kept
        self.done = False


class Pipeline(threading.Thread):
    """Sends all requests to one port, many in flight, until each is answered.

    A request without an answer when the connection breaks is sent again: that is this client's choice, and
    `unsure` says that it may have taken effect twice. The first `allowed` requests may be sent; release() raises
    that. at(n, f) runs f in this thread as soon as n requests are answered, so with others surely in flight.
    """

    def __init__(self, port, requests, window=256, allowed=None, patience_s=60):
        super().__init__(daemon=True)
        self.port, self.window, self.patience_s = port, window, patience_s
        self.requests = requests
        self.allowed = len(requests) if allowed is None else allowed
        self.answered = 0
        self.connects = 0
        self.failure = None
        self.abandoned = False
        self.hooks = {}
        self.todo = collections.deque(range(len(requests)))
        self.flight = {}
        self.number = 0
        self.rpc = None
        self.out = b""

    def at(self, answered, hook):
        self.hooks[answered] = hook

    def release(self, allowed):
        self.allowed = min(allowed, len(self.requests))

    def run(self):
        try:
            while self.answered < len(self.requests) and not self.abandoned:
                try:
                    self.turn()
                except OSError:
                    self.broken()
        except BaseException as e:              # told to whoever joins
            self.failure = e
        finally:
            if self.rpc is not None:
                self.rpc.close()

    def abandon(self):
        """Enough: the rest is not sent."""
        self.abandoned = True
        self.join(60)
        if self.failure is not None:
            raise self.failure

    def finish(self, patience_s=None):
        self.join(patience_s or 4 * self.patience_s)
        if self.failure is not None:
            raise self.failure
        assert not self.is_alive(), f"{self.answered} of {len(self.requests)} answered"

    def broken(self):
        """The connection is gone: whatever was sent and not answered may have happened."""
        self.rpc.close()
        self.rpc, self.out = None, b""
        for index in self.flight.values():
            self.requests[index].unsure += 1
        self.todo.extendleft(sorted(self.flight.values(), reverse=True))
        self.flight.clear()

    def fill(self):
        parts = [self.out]
        while self.todo and self.todo[0] < self.allowed and len(self.flight) < self.window:
            index = self.todo.popleft()
            request = self.requests[index]
            self.number = (self.number + 1) & 0xffffffff
            request.sends += 1
            self.flight[self.number] = index
            parts.append(pack(self.number, request.method, request.params))
        self.out = b"".join(parts)

    def turn(self):
        if self.rpc is None:
            self.rpc = rpc_patient(self.port, self.patience_s)
            self.rpc.sock.setblocking(False)
            self.connects += 1
        self.fill()
        if not self.flight:
            time.sleep(0.001)
            return
        readable, writable, _ = select.select([self.rpc.sock], [self.rpc.sock] if self.out else [], [], self.patience_s)
        assert readable or writable, f"no answer for {self.patience_s} s to {len(self.flight)} requests"
        if writable:
            self.out = self.out[self.rpc.sock.send(self.out):]
        if readable:
            data = self.rpc.sock.recv(1 << 18)
            if not data:
                raise ConnectionError("closed by the server")
            self.rpc.unpacker.feed(data)
            for message in self.rpc.unpacker:
                self.answer(*message)

    def answer(self, kind, number, error, result):
        assert kind == 1 and number in self.flight, (kind, number)
        index = self.flight.pop(number)
        request = self.requests[index]
        if error is not None and error[0] != RESULT_LOST:
            if error[2] == AGAIN_NO:
                raise RpcError(error[0], error[1].decode(), error[2])
            request.unsure += error[2] == AGAIN_UNSURE
            self.todo.appendleft(index)
            return
        request.result, request.lost, request.done = result, error is not None, True
        self.answered += 1
        hook = self.hooks.pop(self.answered, None)
        if hook is not None:
            hook()


class Steady(threading.Thread):
    """A client that must not be disturbed: puts one key after the other on one connection."""

    def __init__(self, port, pause_s=0.005, prefix=b"/steady/"):
        super().__init__(daemon=True)
        self.port, self.pause_s, self.prefix = port, pause_s, prefix
        self.took_s = []
        self.failure = None
        self.stopping = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping.set()
        self.join(60)
        if kind is None and self.failure is not None:
            raise AssertionError(f"the steady client was disturbed: {self.failure!r}")

    def run(self):
        try:
            with Rpc(self.port) as r:
                while not self.stopping.wait(self.pause_s):
                    began = time.monotonic()
                    r.put(self.prefix + b"%d" % (len(self.took_s) % 1000), b"x" * 64)
                    self.took_s.append(time.monotonic() - began)
        except Exception as e:
            self.failure = e

    def mark(self):
        return len(self.took_s)

    def percentile(self, p, since=0):
        took = sorted(self.took_s[since:])
        assert took, "the steady client did nothing"
        return took[min(len(took) - 1, int(len(took) * p / 100))]
