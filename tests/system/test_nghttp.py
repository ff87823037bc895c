#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that know nothing of us on the client port: nghttp, h2load and curl, with bytes of gRPC made by hand."""
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from h2raw import message
from harness import PATIENCE_S, Cluster, Skip, memory_kib, scaled, tap, until
from rpc import P_VERSION

RANGE, PUT = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put"
GET_A, PUT_A = b"\x0a\x01a", b"\x0a\x01a\x12\x01b"
FIELDS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
LOAD = scaled(10000, 1000)
CONNECTIONS, STREAMS = 10, 100
GROWS_KIB = 64 * 1024

node = Cluster(1)
work = tempfile.mkdtemp(prefix="quorate-nghttp-")


def the_node_starts():
    node.__enter__()


def the_node_stops():
    node.__exit__(None)
    shutil.rmtree(work, ignore_errors=True)


def url(path):
    return f"http://127.0.0.1:{node.port(0)}{path}"


def run(program, *args):
    """What it prints; it must end well."""
    if shutil.which(program) is None:
        raise Skip(f"no {program}")
    done = subprocess.run([program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, (args, done.returncode, done.stdout)
    return done.stdout


def body(data):
    path = os.path.join(work, "body")
    with open(path, "wb") as f:
        f.write(data)
    return path


def fields_of(output):
    """The header and trailer fields of the only stream, in the order in which nghttp saw them."""
    return re.findall(r"recv \(stream_id=\d+\) (:?[^:]+): (.*)", output.decode())


def nghttp_is_answered_with_headers_a_message_and_trailers():
    seen = run("nghttp", "-vn", "-d", body(message(PUT_A)), *FIELDS, url(PUT))
    assert fields_of(seen) == [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")], seen
    frames = re.findall(r"recv (HEADERS|DATA) frame <length=\d+, flags=0x(\d+)", seen.decode())
    assert frames == [("HEADERS", "04"), ("DATA", "00"), ("HEADERS", "05")], frames
    got = run("nghttp", "-d", body(message(GET_A)), *FIELDS, url(RANGE))
    assert got[0] == 0 and int.from_bytes(got[1:5], "big") == len(got) - 5, got
    assert b"\x0a\x01a" in got and b"\x2a\x01b" in got, got             # key = 1, value = 5


def nghttp_sees_errors_in_trailers_alone():
    for path, data, status, words in ((PUT, b"", "3", "etcdserver: key is not provided"),
                                      ("/etcdserverpb.KV/Nothing", b"", "12", None)):
        seen = run("nghttp", "-vn", "-d", body(message(data)), *FIELDS, url(path))
        fields = dict(fields_of(seen))
        assert fields[":status"] == "200" and fields["grpc-status"] == status, seen
        assert words is None or fields["grpc-message"] == words, fields
        assert b"recv DATA" not in seen, seen
    assert dict(fields_of(run("nghttp", "-vn", url("/health"))))[":status"] == "405"      # which is HTTP/1.1's


def nghttps_streams_share_a_connection():
    """Small windows, padding, a compressed header table that changes, and many requests at a time."""
    count = scaled(200, 50)
    seen = run("nghttp", "-vn", "-m", str(count), "-w", "10", "-W", "12", "-b", "64", "-c", "0", "-d",
               body(message(GET_A)), *FIELDS, url(RANGE)).decode()
    assert seen.count(") grpc-status: 0") == count and "RST_STREAM" not in seen and "recv GOAWAY" not in seen


def h2load_runs(path, data):
    """How many bytes of messages there were in the answers."""
    said = run("h2load", "-n", str(LOAD), "-c", str(CONNECTIONS), "-m", str(STREAMS), "-d", body(message(data)), *FIELDS,
               url(path)).decode()
    for line in said.splitlines():
        if re.match("finished|time for request", line):
            print(f"# {line}")
    assert f"{LOAD} done, {LOAD} succeeded, 0 failed, 0 errored, 0 timeout" in said, said
    assert f"status codes: {LOAD} 2xx" in said, said
    return int(re.search(r"\((\d+)\) data", said)[1])


def all_that_h2load_asks_is_answered_in_bounded_memory():
    gatewayd = node.pid_of(0, "gatewayd")
    before = memory_kib(gatewayd, "VmHWM")
    with node.rpc(0) as r:
        r.put(b"a", b"b")
        one = len(run("nghttp", "-d", body(message(GET_A)), *FIELDS, url(RANGE)))
        assert h2load_runs(RANGE, GET_A) == LOAD * one       # an error would be a status 200 without a message
        before_puts = r.range(b"a")[3][0][P_VERSION]
        h2load_runs(PUT, PUT_A)
        assert r.range(b"a")[3][0][P_VERSION] == before_puts + LOAD
    grew = memory_kib(gatewayd, "VmHWM") - before
    print(f"# gatewayd: {before} KiB at most before, {grew} KiB more at most meanwhile")
    assert grew < scaled(GROWS_KIB, 8 * GROWS_KIB)
    status = until(lambda: (lambda s: s if s["session_bytes"] == 0 else None)(node.admin_json(0, "gatewayd", "status")),
                   "it costs nothing any more")
    assert status["client_in_bytes"] == 0, status


def curl_speaks_grpc_over_http2():
    head = os.path.join(work, "head")
    got = run("curl", "-sS", "--http2-prior-knowledge", "-D", head, "--data-binary", "@" + body(message(GET_A)), *FIELDS,
              url(RANGE))
    assert got[0] == 0 and int.from_bytes(got[1:5], "big") == len(got) - 5, got
    with open(head, encoding="ascii") as f:
        lines = f.read().splitlines()
    assert lines[0].rstrip() == "HTTP/2 200" and "grpc-status: 0" in lines, lines


def curl_speaks_json_over_http1():
    b64 = lambda data: base64.b64encode(data).decode()
    for more in ((), ("--http2",)):                      # who offers an upgrade is answered without one
        run("curl", "-sSf", *more, "-d", json.dumps({"key": b64(b"c"), "value": b64(b"d")}), url("/v3/kv/put"))
        got = json.loads(run("curl", "-sSf", *more, "-d", json.dumps({"key": b64(b"c")}), url("/v3/kv/range")))
        assert got["kvs"][0]["value"] == b64(b"d"), got
        assert json.loads(run("curl", "-sSf", *more, url("/health")))["health"] == "true"
    answers = run("curl", "-sS", "-w", "%{num_connects}\n", "-o", "/dev/null", url("/health"), "-o", "/dev/null",
                  url("/version"))
    assert answers.split() == [b"1", b"0"], answers      # the second one goes over the same connection


if __name__ == "__main__":
    tap([nghttp_is_answered_with_headers_a_message_and_trailers, nghttp_sees_errors_in_trailers_alone,
         nghttps_streams_share_a_connection, all_that_h2load_asks_is_answered_in_bounded_memory,
         curl_speaks_grpc_over_http2, curl_speaks_json_over_http1], always=(the_node_starts, the_node_stops))
