#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Misuse of HTTP/2 on the client port: the connection that does it ends, in bounded memory, and nobody else notices."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import hostile
from h2raw import (CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, H2, HEADERS,
                   INITIAL_WINDOW_SIZE, MAX_FRAME, PING, PREFACE, PRIORITY, REFUSED_STREAM, RST_STREAM, SETTINGS,
                   WINDOW_UPDATE, block, frame, message, settings)
from harness import memory_kib, scaled, tap, until
from undisturbed import Undisturbed

SEED = int(os.environ.get("QUORATE_SEED", random.SystemRandom().randrange(1 << 32)))
RANGE, PUT, WATCH = b"/etcdserverpb.KV/Range", b"/etcdserverpb.KV/Put", b"/etcdserverpb.Watch/Watch"
GET_A, PUT_A = b"\x0a\x01a", b"\x0a\x01a\x12\x01b"
STREAMS = 1024                           # LIMIT_H2_STREAMS


shared = Undisturbed()                   # one for all: nobody may notice any of it


def the_cluster_starts():
    shared.__enter__()


def nobody_has_noticed():
    """The steady client's waits, gatewayd's memory, and that nobody has died."""
    shared.__exit__(None, None, None)


def ended(kind, flags, stream, _, which=None):
    return kind == HEADERS and flags & END_STREAM and (which is None or stream == which)


def works():
    """A new connection is served."""
    with H2(shared.cluster.port(0)) as h:
        h.request(1, PUT, PUT_A)
        assert h.until(ended), "a put is answered"


def bytes_may_come_one_by_one():
    with H2(shared.cluster.port(0), b"") as h:
        for byte in PREFACE + settings() + frame(HEADERS, END_HEADERS, 1, block(PUT)) + frame(
                DATA, END_STREAM, 1, message(PUT_A)):
            h.send(bytes([byte]))
        assert h.until(ended)
        for split in range(1, 8):            # a message in pieces
            data = message(GET_A)
            h.send(frame(HEADERS, END_HEADERS, 1 + 2 * split, block(RANGE)) +
                   frame(DATA, 0, 1 + 2 * split, data[:split]) +
                   frame(DATA, END_STREAM, 1 + 2 * split, data[split:]))
            assert h.until(ended)


def what_is_no_http2_is_closed():
    dice = random.Random(SEED)
    print(f"# QUORATE_SEED={SEED}")
    port = shared.cluster.port(0)
    for i in range(scaled(200, 60)):
        data = PREFACE + (settings() if i % 2 else b"") + dice.randbytes(dice.randrange(1, 3000))
        if i % 3 == 0:
            data = PREFACE + settings() + b"".join(
                frame(dice.randrange(12), dice.randrange(256), dice.randrange(8), dice.randbytes(dice.randrange(60)))
                for _ in range(20))
        assert hostile.say(port, data) is not None, f"never closed: {data!r}"
    assert hostile.say(port, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + settings()) is not None
    works()


def rapid_resets_end_the_connection():
    """CVE-2023-44487: requests that are cancelled as soon as they are made."""
    with H2(shared.cluster.port(0)) as h:
        stream, alive = 1, True
        while alive and stream < 200000:
            data = b""
            for _ in range(100):
                data += frame(HEADERS, END_HEADERS, stream, block(RANGE)) + frame(
                    DATA, END_STREAM, stream, message(GET_A)) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
                stream += 2
            alive = h.send(data)
        h.goodbye()                          # the kernel may have taken all of them before gatewayd had a look
        print(f"# closed after at most {stream // 2} requests")
    until(lambda: shared.cluster.admin_json(0, "gatewayd", "status")["reads"] == 0, "no read is left")
    works()


def header_blocks_without_end_end_the_connection():
    """CVE-2024-28182: CONTINUATION frames for ever."""
    with H2(shared.cluster.port(0)) as h:
        h.send(frame(HEADERS, 0, 1, block(RANGE)))
        sent, alive = 0, True
        while alive and sent < 20000:
            alive = h.send(frame(CONTINUATION, 0, 1, b"\0\x01x\x01y" * 100))
            sent += 1
        h.goodbye()
    works()


def headers_that_are_too_large_are_refused():
    with H2(shared.cluster.port(0)) as h:
        h.request(1, PUT, PUT_A, more=[(b"x-much", b"y" * 12000), (b"x-more", b"y" * 3000)])
        assert h.until(lambda *f: ended(*f, which=1)), "answered"
        many = block(PUT, *((b"x-%d" % i, b"y") for i in range(400)))
        h.send(frame(HEADERS, 0, 3, many[:MAX_FRAME]) + frame(CONTINUATION, END_HEADERS, 3, many[MAX_FRAME:]) +
               frame(DATA, END_STREAM, 3, message(PUT_A)))
        assert h.until(lambda *f: ended(*f, which=3)), "too many fields: answered"
        h.request(5, PUT, PUT_A)
        assert h.until(lambda *f: ended(*f, which=5)), "the connection goes on"


def ping_floods_end_the_connection():
    with H2(shared.cluster.port(0)) as h:
        h.send(frame(PING, 0, 0, b"12345678"))
        assert h.until(lambda kind, flags, _, p: kind == PING and flags == 1 and p == b"12345678"), "answered"
        for _ in range(50):
            h.send(frame(PING, 0, 0, b"abcdefgh"))
        assert h.goodbye() == (ENHANCE_YOUR_CALM, b"too_many_pings")
    with H2(shared.cluster.port(0)) as h:
        for i in range(30):                  # pings that go with traffic are no flood
            h.request(1 + 2 * i, PUT, PUT_A)
            assert h.until(ended)
            h.send(frame(PING, 0, 0, b"12345678"))
        h.request(99, PUT, PUT_A)
        assert h.until(lambda *f: ended(*f, which=99))


def floods_of_small_frames_disturb_nobody():
    for what, one in (("settings", settings()), ("priorities", frame(PRIORITY, 0, 1, b"\0\0\0\0\1")),
                      ("windows", frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")), ("unknown frames", frame(0xbe, 0, 0, b"x"))):
        with H2(shared.cluster.port(0)) as h:
            h.sock.settimeout(3)
            try:
                for _ in range(100):
                    if not h.send(one * 500):
                        break
            except TimeoutError:
                pass                         # it is not read while its answers are not
            print(f"# {what}")
    works()


def too_many_streams_are_refused_and_idle_ones_cost_little():
    before = memory_kib(shared.pids["gatewayd"])
    with H2(shared.cluster.port(0)) as h:
        h.send(b"".join(frame(HEADERS, END_HEADERS, 1 + 2 * i, block(WATCH)) for i in range(STREAMS + 100)))
        refused = 0
        while refused < 100:
            kind, _, stream, payload = h.until(lambda kind, *_: kind in (RST_STREAM, GOAWAY))
            assert kind == RST_STREAM and int.from_bytes(payload, "big") == REFUSED_STREAM and stream > 2 * STREAMS
            refused += 1
        h.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
        h.request(2 * STREAMS + 1001, PUT, PUT_A)
        assert h.until(lambda *f: ended(*f, which=2 * STREAMS + 1001)), "there is room for another one"
        print(f"# {STREAMS} idle streams: {memory_kib(shared.pids['gatewayd']) - before} KiB")
    until(lambda: shared.cluster.admin_json(0, "gatewayd", "status")["session_bytes"] == 0, "it costs nothing any more")


def requests_without_end_are_bounded():
    """Hundreds of puts that send and send and never come to their end."""
    with H2(shared.cluster.port(0)) as h:
        part = frame(DATA, 0, 0, b"x" * MAX_FRAME)
        head = b"\0" + (1 << 20).to_bytes(4, "big")
        streams = range(1, 201, 2)
        for s in streams:
            h.send(frame(HEADERS, END_HEADERS, s, block(PUT)) + frame(DATA, 0, s, head))
        for _ in range(20):                  # 32 MiB in all, of which a connection may hold 16
            for s in streams:
                h.send(part[:5] + s.to_bytes(4, "big") + part[9:])
        refused = h.until(ended)
        assert refused, "who sends more than a connection may hold is told so"
    until(lambda: shared.cluster.admin_json(0, "gatewayd", "status")["client_in_bytes"] == 0, "it is all given back")
    works()


def closed_windows_hold_little():
    """Large answers are asked for, and never taken: what waits for them is bounded."""
    with H2(shared.cluster.port(0)) as h:
        value = b"v" * 200000
        body = b"\x0a\x03big" + b"\x12" + bytes([200000 & 127 | 128, 200000 >> 7 & 127 | 128, 200000 >> 14]) + value
        data = message(body)
        h.send(frame(HEADERS, END_HEADERS, 1, block(PUT)))
        for at in range(0, len(data), MAX_FRAME):
            h.send(frame(DATA, END_STREAM if at + MAX_FRAME >= len(data) else 0, 1, data[at:at + MAX_FRAME]))
        assert h.until(ended)
    with H2(shared.cluster.port(0), PREFACE + settings((INITIAL_WINDOW_SIZE, 0))) as h:
        for i in range(1000):
            h.request(1 + 2 * i, RANGE, b"\x0a\x03big")
        status = until(lambda: (lambda s: s if s["client_out_bytes"] > 1 << 20 else None)(
            shared.cluster.admin_json(0, "gatewayd", "status")), "answers wait")
        works()
        status = shared.cluster.admin_json(0, "gatewayd", "status")
        print(f"# {status['client_out_bytes'] >> 10} KiB of answers wait, {status['reads']} reads")
        assert status["client_out_bytes"] < 32 << 20, status
    until(lambda: shared.cluster.admin_json(0, "gatewayd", "status")["client_out_bytes"] < 1 << 20, "given back")


def thousands_of_http2_connections_cost_little():
    count = scaled(1000, 200)
    crowd = [H2(shared.cluster.port(0)) for _ in range(count)]
    for h in crowd:
        assert h.until(lambda kind, *_: kind == SETTINGS)
    status = shared.cluster.admin_json(0, "gatewayd", "status")
    print(f"# {status['session_bytes'] // count} bytes a session")
    assert status["session_bytes"] < count * 64 * 1024
    works()
    for h in crowd:
        h.sock.close()
    until(lambda: shared.cluster.admin_json(0, "gatewayd", "status")["session_bytes"] == 0, "they are gone")


if __name__ == "__main__":
    tap([bytes_may_come_one_by_one, what_is_no_http2_is_closed, rapid_resets_end_the_connection,
         header_blocks_without_end_end_the_connection, headers_that_are_too_large_are_refused,
         ping_floods_end_the_connection, floods_of_small_frames_disturb_nobody,
         too_many_streams_are_refused_and_idle_ones_cost_little, requests_without_end_are_bounded,
         closed_windows_hold_little, thousands_of_http2_connections_cost_little],
        always=(the_cluster_starts, nobody_has_noticed))
