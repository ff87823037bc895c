#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What leases cost: keepalives beside puts, and very many leases that run out at once.

    QUORATE_BUILD=build/release bench/bench_lease.py [NODES [LEASES [SECONDS]]]

A cluster of NODES (1) under `quorate up` on this machine; the load comes from other processes of it.
"""
import multiprocessing
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "lib"))

import msgpack
from harness import Cluster, until
from rpc import pack

NODES = int(sys.argv[1]) if len(sys.argv) > 1 else 1
LEASES = int(sys.argv[2]) if len(sys.argv) > 2 else 100000
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 5
BATCH = 500                # requests in flight on a connection
CONNECTIONS = 4
RATE = 50000               # keepalives per second beside puts


def connect(port):
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s, msgpack.Unpacker(raw=True)


def answers(sock, unpacker, n):
    """Reads n answers; none may be an error."""
    while n > 0:
        unpacker.feed(sock.recv(1 << 18))
        for m in unpacker:
            assert m[2] is None, m
            n -= 1


def keep_alive(port, leases, rate, seconds, out):
    batches = []
    for i in range(0, len(leases), BATCH):
        some = leases[i:i + BATCH]
        batches.append((len(some), b"".join(pack(k, "lease_keepalive", [x]) for k, x in enumerate(some))))
    sock, unpacker = connect(port)
    done, i, began = 0, 0, time.monotonic()
    while time.monotonic() - began < seconds:
        if rate:
            time.sleep(max(0.0, began + done / rate - time.monotonic()))
        n, data = batches[i % len(batches)]
        sock.sendall(data)
        answers(sock, unpacker, n)
        done, i = done + n, i + 1
    out.put(done / (time.monotonic() - began))


def put(port, inflight, seconds, out):
    """(rate, p50, p99): a put follows whenever one is answered."""
    sock, unpacker = connect(port)
    sent, took, began, number = {}, [], time.monotonic(), 0

    def send(n):
        nonlocal number
        now, data = time.monotonic(), b""
        for _ in range(n):
            number += 1
            sent[number] = now
            data += pack(number, "put", [b"bench%d" % (number % 10000), b"x" * 100])
        sock.sendall(data)
    send(inflight)
    while time.monotonic() - began < seconds:
        unpacker.feed(sock.recv(1 << 18))
        now, n = time.monotonic(), 0
        for m in unpacker:
            assert m[2] is None, m
            took.append(now - sent.pop(m[1]))
            n += 1
        if n:
            send(n)
    took.sort()
    out.put((len(took) / (time.monotonic() - began), took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000))


def run(jobs):
    """Each (function, arguments) in a process of its own; their results in order."""
    queues = [multiprocessing.Queue() for _ in jobs]
    ps = [multiprocessing.Process(target=f, args=(*args, q)) for (f, args), q in zip(jobs, queues)]
    for p in ps:
        p.start()
    got = [q.get() for q in queues]
    for p in ps:
        p.join()
    return got


def grant(c, first, n, ttl):
    sock, unpacker = connect(c.port(0))
    for i in range(first, first + n, BATCH):
        many = min(BATCH, first + n - i)
        sock.sendall(b"".join(pack(k, "lease_grant", [i + k, ttl]) for k in range(many)))
        answers(sock, unpacker, many)


def keepalives(c):
    port, ids = c.port(0), list(range(1, LEASES + 1))
    grant(c, 1, LEASES, 3600)
    share = [ids[k::CONNECTIONS] for k in range(CONNECTIONS)]
    keep = [(keep_alive, (port, s, 0, SECONDS)) for s in share]
    paced = [(keep_alive, (port, s, RATE / CONNECTIONS, SECONDS)) for s in share]
    rate, p50, p99 = run([(put, (port, 64, SECONDS))])[0]
    print(f"puts alone:            {rate:8.0f}/s  p50 {p50:.2f} ms  p99 {p99:.2f} ms")
    print(f"keepalives alone:      {sum(run(keep)):8.0f}/s  over {LEASES} leases")
    got = run(paced + [(put, (port, 64, SECONDS))])
    rate, p50, p99 = got[-1]
    print(f"together: keepalives   {sum(got[:-1]):8.0f}/s  puts {rate:.0f}/s  p50 {p50:.2f} ms  p99 {p99:.2f} ms")
    print("of leased: " + "  ".join(line for line in c.admin(c.wait_leader(), "leased", "metrics").split("\n")
                                     if line.startswith(("quorate_leased_rounds", "quorate_leased_checkpoints",
                                                         "quorate_leased_marks"))))


def expiry(c):
    first, ttl = 10000001, 30
    began = time.monotonic()
    grant(c, first, LEASES, ttl)
    print(f"granted in             {time.monotonic() - began:8.1f} s")
    status = lambda: c.admin_json(c.wait_leader(), "leased", "status")
    rate, p50, p99 = run([(put, (c.port(0), 64, 3))])[0]
    print(f"puts before:           {rate:8.0f}/s  p50 {p50:.2f} ms  p99 {p99:.2f} ms")
    # All at once: the clocks of those that nobody has kept alive yet begin anew, together, with the lessor.
    node = c.wait_leader()
    c.reborn(node, "leased", c.kill(node, "leased"))
    until(lambda: status()["state"] == "LEADING", "a lessor")
    until(lambda: status()["over"] + status()["ending"] > 0, "the first runs out")
    began, q = time.monotonic(), multiprocessing.Queue()
    p = multiprocessing.Process(target=put, args=(c.port(0), 64, 3, q))
    p.start()
    until(lambda: status()["leases"] <= (LEASES if c.kept else 0), "all are gone")
    print(f"{LEASES} gone in         {time.monotonic() - began:8.1f} s")
    rate, p50, p99 = q.get()
    p.join()
    print(f"puts meanwhile:        {rate:8.0f}/s  p50 {p50:.2f} ms  p99 {p99:.2f} ms")


def main():
    with Cluster(nodes=NODES) as c:
        c.kept = True
        keepalives(c)
    with Cluster(nodes=NODES) as c:
        c.kept = False
        expiry(c)


if __name__ == "__main__":
    main()
