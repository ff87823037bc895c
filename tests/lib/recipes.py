# SPDX-License-Identifier: Apache-2.0
"""Programs that use the recipes of libquorate, as children: tests/lib/recipe_player, examples, `quorate lock`."""
import os
import queue
import signal
import socket
import subprocess
import threading

import msgpack

from harness import BUILD, PATIENCE_S, QUORATE, die_with_parent, until

PLAYER = os.path.join(BUILD, "tests", "lib", "recipe_player")
EXAMPLES = os.path.join(BUILD, "client", "example")
BAD_ARGUMENT, COMPACTED, TIMEOUT, NOT_FOUND, LOST, HELD = 14, 9, 32, 85, 89, 90
MUTEX, READ, WRITE = 1, 2, 3
FOREVER = -1


class Child:
    """A program whose lines of output come one by one."""

    def __init__(self, argv, endpoints, group=False):
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, "QUORATE_ENDPOINTS": endpoints}, preexec_fn=die_with_parent,
                                  start_new_session=group)
        self.lines, self.errors = queue.Queue(), []
        self.threads = [threading.Thread(target=self.read, daemon=True),
                        threading.Thread(target=self.read_errors, daemon=True)]
        for t in self.threads:
            t.start()

    def read(self):
        for line in self.p.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def read_errors(self):
        self.errors.extend(line.rstrip("\n") for line in self.p.stderr)

    def line(self, patience_s=PATIENCE_S):
        """The next line; None: there will be none."""
        try:
            return self.lines.get(timeout=patience_s)
        except queue.Empty:
            raise AssertionError(f"no line within {patience_s} s from {self.p.args}: {self.errors}") from None

    def silent(self, for_s):
        """Nothing comes. For what must not happen; how long is looked decides nothing else."""
        try:
            line = self.lines.get(timeout=for_s)
        except queue.Empty:
            return
        raise AssertionError(f"{self.p.args} says {line!r}")

    def strike(self, sig):
        self.p.send_signal(sig)

    def kill(self):
        self.p.kill()
        self.p.wait()

    def wait(self):
        code = self.p.wait(PATIENCE_S)
        for t in self.threads:
            t.join()
        return code

    def end(self, sig=signal.SIGTERM):
        self.strike(sig)
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGCONT)
            self.kill()
        for t in self.threads:
            t.join()
        for f in (self.p.stdin, self.p.stdout, self.p.stderr):
            f.close()


class Player(Child):
    def __init__(self, endpoints):
        super().__init__([PLAYER], endpoints)

    def send(self, *words):
        self.p.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.p.stdin.flush()

    def ok(self):
        """The number of an answer that must be `ok`."""
        line = self.line()
        assert line is not None and line.startswith("ok "), (line, self.errors)
        return int(line.split()[1])

    def error(self):
        """(code, again) of an answer that must be an error."""
        line = self.line()
        assert line is not None and line.startswith("error "), line
        return tuple(int(x) for x in line.split()[1:3])

    def call(self, *words):
        self.send(*words)
        return self.ok()

    def says(self, *words):
        self.send(*words)
        return self.line()

    def fails(self, *words):
        self.send(*words)
        return self.error()

    def locker(self, name, mode=MUTEX, ttl=60):
        """A session and a lock, each number 0 in a new player."""
        self.call("session", ttl)
        return self.call("lock", 0, mode, name)


def example(name, *words, endpoints):
    return Child([os.path.join(EXAMPLES, name), *[str(w) for w in words]], endpoints)


def command(*words, endpoints, group=False):
    return Child([QUORATE, *[str(w) for w in words]], endpoints, group)


def keys(c, prefix, node=0):
    """[(key, create revision, lease)] in the order of creation."""
    with c.rpc(node, timeout_s=60) as r:
        found = r.call("range", prefix, prefix[:-1] + bytes([prefix[-1] + 1]), 0, 0, 1, 2)[3]
    return [(kv[0], kv[1], kv[5] if len(kv) > 5 else 0) for kv in found]


def in_line(c, prefix, n):
    return until(lambda: len(keys(c, prefix)) == n and keys(c, prefix), f"{n} keys under {prefix}")


class Forgetful:
    """A gatewayd behind a proxy that breaks the connection at the Nth request of some methods: with `done` its
    answer is lost, else the request is. With `late` it is kept, as in a gatewayd that is stopped, until arrive().
    `meanwhile` is called before the connection breaks.
    """

    def __init__(self, port, methods, nth, done=False, late=False, at=0, meanwhile=None):
        self.port, self.methods, self.nth, self.done, self.late = port, methods, nth, done, late
        self.lock, self.count, self.struck, self.kept = threading.Lock(), 0, False, None
        self.meanwhile = meanwhile
        self.listener = socket.create_server(("127.0.0.1", at))
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def endpoint(self):
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            self.sockets += [client, server]
            doomed = set()               # ids of requests whose answer is to be lost
            threading.Thread(target=self.pump, args=(client, server, doomed, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, doomed, False), daemon=True).start()

    def strikes(self, message, doomed, upwards):
        """Is this message where the connection breaks?"""
        if not upwards:
            return message[0] == 1 and message[1] in doomed
        with self.lock:
            if message[2] not in self.methods:
                return False
            self.count += 1
            if self.count != self.nth:
                return False
            self.struck = True
        doomed.add(message[1])
        return not self.done

    def keep(self, request):
        """On a connection of its own, since that of the client is to break."""
        s = socket.create_connection(("127.0.0.1", self.port))
        self.sockets.append(s)
        self.kept = s, request

    def arrive(self):
        """The request that was kept comes to the gatewayd after all, and is answered."""
        s, request = self.kept
        s.sendall(request)
        s.settimeout(PATIENCE_S)
        unpacker = msgpack.Unpacker(raw=True)
        while data := s.recv(65536):
            unpacker.feed(data)
            for message in unpacker:
                return message
        raise AssertionError("the late request was not answered")

    def pump(self, source, to, doomed, upwards):
        unpacker, buffered, taken = msgpack.Unpacker(raw=True), b"", 0
        try:
            while data := source.recv(65536):
                buffered += data
                unpacker.feed(data)
                for message in unpacker:
                    n = unpacker.tell() - taken
                    taken += n
                    if self.strikes(message, doomed, upwards):
                        if self.late:
                            self.keep(buffered[:n])
                        if self.meanwhile:
                            self.meanwhile()
                        raise OSError
                    to.sendall(buffered[:n])
                    buffered = buffered[n:]
        except OSError:
            pass
        for s in (source, to):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()
