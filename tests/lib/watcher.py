# SPDX-License-Identifier: Apache-2.0
"""A client with watches, written from docs/native-protocol.md: a thread reads one connection and files what comes."""
import socket
import threading

from rpc import P_KEY, P_MOD, P_VALUE, Rpc, RpcError

PUT, DELETE = 1, 2
# errors that tests of watches name
COMPACTED, BAD_ARGUMENT, WATCH_RANGE, WATCH_EXISTS, WATCH_NOT_FOUND, TOO_MANY_WATCHES = 9, 14, 24, 25, 26, 27


class Watcher:
    """events[watch_id] is a list of (revision, type, key, value, previous value or None)."""

    def __init__(self, port, timeout_s=60):
        self.rpc = Rpc(port, timeout_s=timeout_s)
        self.lock = threading.Condition()
        self.events, self.progress, self.canceled, self.places = {}, {}, {}, {}
        self.answers, self.pieces, self.failure = {}, 0, None
        self.reading = threading.Event()
        self.reading.set()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reading.set()
        try:
            self.rpc.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join()
        self.rpc.sock.close()

    def run(self):
        try:
            while True:
                self.reading.wait()
                message = self.rpc.receive()
                with self.lock:
                    self.file(message)
                    self.lock.notify_all()
        except (OSError, ConnectionError) as e:
            with self.lock:
                self.failure = e
                self.lock.notify_all()

    def file(self, message):
        if message[0] == 1:
            self.answers[message[1]] = message[2:]
            return
        _, name, params = message
        if name == b"watch_events":
            watches, events, _, next_revision, next_sub = params
            filed = [(e[1][P_MOD], e[0], e[1][P_KEY], e[1][P_VALUE], e[2][P_VALUE] if e[2] else None) for e in events]
            self.pieces += next_sub != 0
            for (watch,) in watches:
                self.events.setdefault(watch, []).extend(filed)
                self.places[watch] = (next_revision, next_sub)
        elif name == b"watch_progress":
            for (watch,) in params[0]:
                self.progress[watch] = params[1]
        elif name == b"watch_canceled":
            self.canceled[params[0]] = (params[1], params[3])
        else:
            self.failure = AssertionError(f"unknown notification {name}")

    def call(self, method, *params):
        wanted = self.rpc.send(method, list(params))
        with self.lock:
            assert self.lock.wait_for(lambda: wanted in self.answers or self.failure, 60), "no answer"
            if wanted not in self.answers:
                raise self.failure
            error, result = self.answers.pop(wanted)
        if error is not None:
            raise RpcError(error[0], error[1].decode(), error[2])
        return result

    def watch(self, key, end=b"", start=0, prev_kv=False, no_put=False, no_delete=False, notify=False, watch_id=0, sub=0):
        """(watch id, revision of the store)"""
        header, number = self.call("watch", key, end, start, prev_kv, no_put, no_delete, notify, watch_id, sub)
        with self.lock:
            self.events.setdefault(number, [])
        return number, header[2]

    def wait(self, condition, what, patience_s=120):
        with self.lock:
            ok = self.lock.wait_for(lambda: condition() or self.failure, patience_s)
            if not condition():
                raise AssertionError(f"{what}: {self.failure or 'not in time'}" if ok else f"not in time: {what}")
