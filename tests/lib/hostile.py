# SPDX-License-Identifier: Apache-2.0
"""What ill-behaved neighbours do: sockets that send rubbish, and a TCP proxy that alters what it carries."""
import os
import select
import socket
import struct
import threading
import time

from harness import connect_unix


def tcp(port, timeout_s=30):
    s = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def opener(where):
    """A function that connects: to a TCP port or to a socket file."""
    return (lambda: tcp(where)) if isinstance(where, int) else (lambda: connect_unix(where))


def drain(s, patience_s=30):
    """Everything until the other side closes; None instead of bytes if it never does."""
    data, end = b"", time.monotonic() + patience_s
    try:
        while True:
            s.settimeout(max(0.01, end - time.monotonic()))
            more = s.recv(1 << 16)
            if not more:
                return data
            data += more
    except ConnectionError:
        return data
    except TimeoutError:
        return None


def say(where, data, half_close=True, patience_s=30):
    """Connects, sends, half-closes; what came back until it was closed, or None."""
    with opener(where)() as s:
        try:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass                                   # it closed before it had heard all
        return drain(s, patience_s)


def slam(where, times):
    """Connects and closes at once, every second time with a reset."""
    for i in range(times):
        try:
            s = opener(where)()
        except OSError:
            continue                               # refused: its right
        if i % 2:
            try:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
        s.close()


def rubbish(rng, n=60):
    """Byte strings that begin in every way."""
    for i in range(n):
        yield bytes([rng.randrange(256)]) + rng.randbytes(rng.choice((0, 1, 3, 7, 60, 1000, 70000)))
        if i % 4 == 0:
            yield rng.choice((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                              b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n\r\n", b"\0" * 4096,
                              b"\xff" * 4096, b"QUORPEER"))


class Proxy(threading.Thread):
    """Carries TCP to a port and does to it what `mangle` says.

    mangle(chunk, towards_server, sent_so_far) -> the bytes to pass on instead. It runs in the proxy's thread.
    """

    def __init__(self, target, mangle=None):
        super().__init__(daemon=True)
        self.target, self.mangle = target, mangle
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []                            # [client side, server side, [bytes up, bytes down]]
        self.connections = 0
        self.first_words = []                      # what each connection's client has sent, up to 4 KiB
        self.wake_read, self.wake_write = os.pipe()
        self.over, self.failure = False, None
        self.start()

    def close(self):
        self.over = True
        os.write(self.wake_write, b"x")
        self.join(30)
        for pair in self.pairs:
            self.drop(pair)
        self.listener.close()
        os.close(self.wake_read)
        os.close(self.wake_write)
        if self.failure is not None:
            raise self.failure

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def drop(self, pair):
        pair[0].close()
        pair[1].close()

    def run(self):
        try:
            while not self.over:
                self.turn()
        except Exception as e:                     # told to whoever closes it
            self.failure = e

    def turn(self):
        socks = {pair[side]: (pair, side) for pair in self.pairs for side in (0, 1)}
        ready, _, _ = select.select([self.listener, self.wake_read, *socks], [], [])
        for s in ready:
            if s is self.listener:
                self.accept()
            elif s in socks:
                pair, side = socks[s]
                if pair in self.pairs and not self.carry(pair, side):
                    self.pairs.remove(pair)
                    self.drop(pair)

    def accept(self):
        client, _ = self.listener.accept()
        try:
            server = tcp(self.target)
        except OSError:
            client.close()
            return
        self.connections += 1
        self.first_words.append(b"")
        self.pairs.append([client, server, [0, 0], len(self.first_words) - 1])

    def carry(self, pair, side):
        try:
            data = pair[side].recv(1 << 16)
            if not data:
                return False
            if side == 0 and len(self.first_words[pair[3]]) < 4096:
                self.first_words[pair[3]] += data
            mangled = self.mangle(data, side == 0, pair[2][side]) if self.mangle else data
            pair[2][side] += len(data)
            pair[1 - side].sendall(mangled)
        except OSError:
            return False
        return True
