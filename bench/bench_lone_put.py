#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One put at a time by etcd's gRPC, to several servers in short turns: what to compare etcd by.

    bench/bench_lone_put.py [--seconds S] [--turns N] etcd=127.0.0.1:2379 quorate=127.0.0.1:2380 ...

The servers are started by whoever asks; of a cluster, name the leader's endpoint. The client is a few
lines of HTTP/2, the same for all, so its own time (some 50 us) is in every figure alike.
"""
import argparse
import socket
import struct
import time

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
VALUE = bytes(100)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def word(text):
    return bytes([len(text)]) + text


class Client:
    """A connection that knows one call. HPACK: literals that are not indexed, so nothing is remembered."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = (b"\x83\x86\x04" + word(b"/etcdserverpb.KV/Put") + b"\x01" + word(address.encode()) +
                     b"\x0f\x10" + word(b"application/grpc") + b"\x00" + word(b"te") + word(b"trailers"))
        self.stream, self.buf = -1, b""
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) +
                          frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 65536)))

    def next_frame(self):
        while len(self.buf) < 9 or len(self.buf) < 9 + int.from_bytes(self.buf[:3], "big"):
            more = self.sock.recv(1 << 16)
            if not more:
                raise SystemExit("the server has closed the connection")
            self.buf += more
        end = 9 + int.from_bytes(self.buf[:3], "big")
        head, payload, self.buf = self.buf[:9], self.buf[9:end], self.buf[end:]
        return head[3], head[4], int.from_bytes(head[5:9], "big"), payload

    def put(self, key, value):
        message = b"\x0a" + word(key) + b"\x12" + word(value)
        self.stream += 2
        self.sock.sendall(frame(HEADERS, END_HEADERS, self.stream, self.head) +
                          frame(DATA, END_STREAM, self.stream, b"\0" + struct.pack(">I", len(message)) + message))
        answered = False
        while True:
            kind, flags, stream, payload = self.next_frame()
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.sock.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind == GOAWAY or (kind == RST and stream == self.stream):
                raise SystemExit("the server has refused")
            elif stream == self.stream:
                answered |= kind == DATA
                if flags & END_STREAM and kind in (DATA, HEADERS):
                    break
        if not answered:                # an error comes as trailers alone
            raise SystemExit("a put has failed")


def at(times, share):
    return times[int((len(times) - 1) * share)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("servers", nargs="+", metavar="NAME=HOST:PORT")
    p.add_argument("--seconds", type=float, default=0.5, help="of each turn")
    p.add_argument("--turns", type=int, default=10, help="of each server")
    o = p.parse_args()
    clients = {name: Client(address) for name, address in (s.split("=", 1) for s in o.servers)}
    times, p50, n = {name: [] for name in clients}, {name: [] for name in clients}, 0
    for turn in range(o.turns + 1):
        for name, c in clients.items():
            seen, end = [], time.monotonic() + o.seconds
            while (begin := time.monotonic()) < end:
                c.put(b"bench/%010d" % (n % 10000), VALUE)
                seen.append((time.monotonic() - begin) * 1e3)
                n += 1
            if turn > 0:                # the first warms up
                times[name] += seen
                p50[name].append(at(sorted(seen), 0.5))
    for name in clients:
        all_of, turns = sorted(times[name]), sorted(p50[name])
        print(f"{name:12} {len(all_of):7} puts  p50 {at(all_of, 0.5):.3f}  p99 {at(all_of, 0.99):.3f} ms; "
              f"p50 of the turns: least {turns[0]:.3f} median {at(turns, 0.5):.3f} most {turns[-1]:.3f}")


if __name__ == "__main__":
    main()
