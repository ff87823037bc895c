# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 by hand, for clients that do what no library does."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4
REFUSED_STREAM, ENHANCE_YOUR_CALM = 7, 11
INITIAL_WINDOW_SIZE, MAX_FRAME = 4, 16384


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in pairs))


def number(n, bits, first):
    """HPACK, section 5.1."""
    most = (1 << bits) - 1
    if n < most:
        return bytes([first | n])
    out, n = bytearray([first | most]), n - most
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def literal(name, value):
    return b"\0" + number(len(name), 7, 0) + name + number(len(value), 7, 0) + value


def block(path, *more):
    """A gRPC request's header block."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
              (b"te", b"trailers"), (b"content-type", b"application/grpc"), *more]
    return b"".join(literal(k, v) for k, v in fields)


def message(body):
    return b"\0" + struct.pack(">I", len(body)) + body


class H2:
    def __init__(self, port, first=PREFACE + settings(), timeout_s=30):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        self.send(first)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        """False: the server has closed."""
        try:
            self.sock.sendall(data)
            return True
        except (ConnectionError, BrokenPipeError):
            return False

    def request(self, stream, path, body=None, end=True, more=()):
        out = frame(HEADERS, END_HEADERS, stream, block(path, *more))
        if body is not None:
            out += frame(DATA, END_STREAM if end else 0, stream, message(body))
        return self.send(out)

    def next(self):
        """(kind, flags, stream, payload), or None at the end of the connection."""
        while len(self.got) < 9 or len(self.got) < 9 + int.from_bytes(self.got[:3], "big"):
            try:
                more = self.sock.recv(65536)
            except ConnectionError:
                return None
            if not more:
                return None
            self.got += more
        n = int.from_bytes(self.got[:3], "big")
        out = self.got[3], self.got[4], int.from_bytes(self.got[5:9], "big") & 0x7fffffff, self.got[9:9 + n]
        self.got = self.got[9 + n:]
        return out

    def until(self, wanted):
        """The first frame for which wanted(kind, flags, stream, payload) holds, or None."""
        while True:
            f = self.next()
            if f is None or wanted(*f):
                return f

    def goodbye(self):
        """(error code, words) of the GOAWAY before the end; None if it ended without."""
        last = None
        while True:
            f = self.next()
            if f is None:
                return last
            if f[0] == GOAWAY:
                last = int.from_bytes(f[3][4:8], "big"), f[3][8:]
