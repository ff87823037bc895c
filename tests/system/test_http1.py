#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on the client port: etcd's JSON gateway and what probes ask, by plain sockets."""
import base64
import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, Cluster, scaled, tap, until

LATE_S = 20                  # less than the 30 s after which a client that takes nothing is dropped

node = Cluster(1)


def b64(data):
    return base64.b64encode(data).decode()


class Http:
    """One connection."""
    def __init__(self, port=None):
        self.s = socket.create_connection(("127.0.0.1", port or node.port(0)), PATIENCE_S)
        self.f = self.s.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.f.close()
        self.s.close()

    def send(self, method, path, body=None, head=b""):
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        length = b"Content-Length: %d\r\n" % len(data) if body is not None else b""
        self.s.sendall(b"%s %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n" % (method.encode(), path.encode(), length, head) + data)

    def head(self):
        status = int(self.f.readline().split()[1])
        fields = {}
        while line := self.f.readline().strip():
            name, value = line.split(b":", 1)
            fields[name.lower().decode()] = value.strip().decode()
        return status, fields

    def chunks(self):
        while n := int(self.f.readline(), 16):
            yield self.f.read(n)
            assert self.f.readline() == b"\r\n"
        assert self.f.readline() == b"\r\n"

    def answer(self):
        status, fields = self.head()
        if fields.get("transfer-encoding") == "chunked":
            return status, fields, b"".join(self.chunks())
        return status, fields, self.f.read(int(fields["content-length"]))

    def ask(self, method, path, body=None, head=b""):
        self.send(method, path, body, head)
        return self.answer()

    def call(self, path, body, status=200):
        got, fields, text = self.ask("POST", path, body)
        assert got == status and fields["content-type"] == "application/json", (got, fields, text)
        return json.loads(text)


def the_node_starts():
    node.__enter__()


def the_node_stops():
    node.__exit__(None, None, None)


def keys_and_values_are_base64_and_numbers_are_strings():
    with Http() as h:
        put = h.call("/v3/kv/put", {"key": b64(b"foo"), "value": b64(b"bar\xff")})
        revision = put["header"]["revision"]
        assert isinstance(revision, str) and set(put) == {"header"}
        got = h.call("/v3/kv/range", {"key": b64(b"foo")})
        assert got["kvs"] == [{"key": b64(b"foo"), "value": b64(b"bar\xff"), "create_revision": revision,
                               "mod_revision": revision, "version": "1"}], got
        assert got["count"] == "1" and "more" not in got
        # the prefix of etcd 3.3, and names in camel case
        assert h.call("/v3beta/kv/range", {"key": b64(b"f"), "rangeEnd": b64(b"g"), "countOnly": True})["count"] == "1"


def transactions_leases_and_locks_are_those_of_grpc():
    with Http() as h:
        lease = h.call("/v3/lease/grant", {"TTL": "60", "ID": "77"})
        assert (lease["ID"], lease["TTL"]) == ("77", "60")
        txn = h.call("/v3/kv/txn", {
            "compare": [{"key": b64(b"t"), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}],
            "success": [{"request_put": {"key": b64(b"t"), "value": b64(b"1"), "lease": 77}},
                        {"request_range": {"key": b64(b"t")}}]})
        assert txn["succeeded"] and txn["responses"][1]["response_range"]["kvs"][0]["lease"] == "77", txn
        left = h.call("/v3/kv/lease/timetolive", {"ID": 77, "keys": True})
        assert left["grantedTTL"] == "60" and left["keys"] == [b64(b"t")], left
        lock = h.call("/v3/lock/lock", {"name": b64(b"l"), "lease": "77"})
        assert base64.b64decode(lock["key"]) == b"l/4d", lock
        h.call("/v3/lock/unlock", {"key": lock["key"]})
        assert h.call("/v3/lease/leases", {})["leases"] == [{"ID": "77"}]
        h.call("/v3/lease/revoke", {"ID": "77"})
        assert "kvs" not in h.call("/v3/kv/range", {"key": b64(b"t")})


def errors_have_a_status_a_code_and_etcds_words():
    with Http() as h:
        for path, body, status, code, text in (
                ("kv/put", {}, 400, 3, "etcdserver: key is not provided"),
                ("kv/put", b"{", 400, 3, "invalid JSON: "),
                ("kv/put", {"key": "*"}, 400, 3, "key: illegal base64 data"),
                ("kv/range", {"key": "YQ==", "revision": 1 << 40}, 400, 11, "etcdserver: mvcc: required revision is a future"),
                ("lease/revoke", {"ID": "12345"}, 404, 5, "etcdserver: requested lease not found"),
                ("auth/enable", {}, 501, 12, "etcdserver: authentication is not implemented yet"),
                ("kv/put", {"key": "YQ==", "value": b64(b"x" * (1600 << 10))}, 400, 3, "etcdserver: request is too large")):
            got = h.call(f"/v3/{path}", body, status)
            assert got["code"] == code and got["message"].startswith(text) and got["error"] == got["message"], got
        assert h.ask("GET", "/v3/kv/put")[0] == 405
        assert h.ask("POST", "/v3/kv/nothing", {})[0] == 404


def a_connection_serves_many_requests_one_behind_the_other():
    n = scaled(300, 50)
    with Http() as h:
        for i in range(n):
            h.send("POST", "/v3/kv/put", {"key": b64(b"p%d" % i), "value": b64(b"v")})
        revisions = [json.loads(h.answer()[2])["header"]["revision"] for _ in range(n)]
        assert revisions == sorted(revisions, key=int) and len(set(revisions)) == n
        h.send("GET", "/health", head=b"Connection: close\r\n")
        assert h.answer()[0] == 200 and h.f.read() == b""


def requests_may_come_in_chunks_and_byte_by_byte():
    body = json.dumps({"key": b64(b"chunks")}).encode()
    with Http() as h:
        h.call("/v3/kv/put", {"key": b64(b"chunks"), "value": b64(b"v")})
        chunks = b"".join(b"%x\r\n%c\r\n" % (1, c) for c in body) + b"0\r\n\r\n"
        h.s.sendall(b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert json.loads(h.answer()[2])["count"] == "1"
        for c in b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body:
            h.s.sendall(bytes([c]))
        assert json.loads(h.answer()[2])["count"] == "1"
        h.send("POST", "/v3/kv/range", None, b"Content-Length: %d\r\nExpect: 100-continue\r\n" % len(body))
        assert h.f.readline().startswith(b"HTTP/1.1 100") and h.f.readline() == b"\r\n"
        h.s.sendall(body)
        assert json.loads(h.answer()[2])["count"] == "1"


def a_large_range_comes_in_pieces():
    n = 1000                     # more than what is kept and sent with its length
    with Http() as h:
        for i in range(n):
            h.send("POST", "/v3/kv/put", {"key": b64(b"big/%05d" % i), "value": b64(bytes(1000))})
            if i >= 100:
                assert h.answer()[0] == 200
        for _ in range(100):
            assert h.answer()[0] == 200
        status, fields, text = h.ask("POST", "/v3/kv/range", {"key": b64(b"big/"), "range_end": b64(b"big0")})
        got = json.loads(text)
        assert status == 200 and fields["transfer-encoding"] == "chunked" and got["count"] == str(n)
        assert [kv["key"] for kv in got["kvs"]] == [b64(b"big/%05d" % i) for i in range(n)]
        h.call("/v3/kv/deleterange", {"key": b64(b"big/"), "range_end": b64(b"big0")})


def a_large_transaction_comes_in_pieces():
    n = 700
    with Http() as h:
        for i in range(n):
            assert h.ask("POST", "/v3/kv/put", {"key": b64(b"txn/%05d" % i), "value": b64(bytes(1000))})[0] == 200
        got = h.call("/v3/kv/txn", {"success": [
            {"request_range": {"key": b64(b"txn/"), "range_end": b64(b"txn0")}},
            {"request_range": {"key": b64(b"txn/"), "range_end": b64(b"txn0"), "count_only": True}}]})
        ranges = [r["response_range"] for r in got["responses"]]
        assert [len(ranges[0]["kvs"]), ranges[0]["count"], ranges[1]["count"]] == [n, str(n), str(n)]
        h.call("/v3/kv/deleterange", {"key": b64(b"txn/"), "range_end": b64(b"txn0")})


def who_reads_late_gets_the_rest():
    with Http() as h, Http() as late:
        for i in range(16):
            h.call("/v3/kv/put", {"key": b64(b"late/%02d" % i), "value": b64(bytes(1 << 20))})
        late.send("POST", "/v3/kv/range", {"key": b64(b"late/"), "range_end": b64(b"late0")})
        sent = -1.0
        while sent != (sent := metric(h, "quorate_gatewayd_client_buffer_bytes")) or sent < 1 << 18:
            pass                                # until the socket takes no more
        late.s.settimeout(LATE_S)
        status, _, text = late.answer()
        assert status == 200 and len(json.loads(text)["kvs"]) == 16
        h.call("/v3/kv/deleterange", {"key": b64(b"late/"), "range_end": b64(b"late0")})


def who_waits_for_a_lock_and_goes_leaves_the_queue():
    with Http() as h:
        h.call("/v3/lease/grant", {"TTL": "3600", "ID": "88"})
        lock = h.call("/v3/lock/lock", {"name": b64(b"q"), "lease": "88"})
        under = {"key": b64(b"q/"), "range_end": b64(b"q0"), "count_only": True}
        with Http() as waits:
            waits.send("POST", "/v3/lock/lock", {"name": b64(b"q")})
            until(lambda: h.call("/v3/kv/range", under)["count"] == "2", "it waits")
        until(lambda: h.call("/v3/kv/range", under)["count"] == "1", "it has left")
        h.call("/v3/lock/unlock", {"key": lock["key"]})
        h.call("/v3/lease/revoke", {"ID": "88"})


def streams_are_lines():
    with Http() as watch, Http() as h:
        watch.send("POST", "/v3/watch", {"create_request": {"key": b64(b"w"), "prev_kv": True}})
        assert watch.head()[0] == 200
        lines = watch.chunks()
        assert json.loads(next(lines))["result"]["created"]
        for value in (b"1", b"2"):
            h.call("/v3/kv/put", {"key": b64(b"w"), "value": b64(value)})
        events = []
        while len(events) < 2:
            for line in next(lines).splitlines():
                events += json.loads(line)["result"]["events"]
        assert events[1]["kv"]["value"] == b64(b"2") and events[1]["prev_kv"]["value"] == b64(b"1"), events
        h.call("/v3/kv/deleterange", {"key": b64(b"w")})
        assert json.loads(next(lines))["result"]["events"][0]["type"] == "DELETE"
        h.call("/v3/lease/grant", {"TTL": "60", "ID": "5"})
        _, _, text = h.ask("POST", "/v3/lease/keepalive", b'{"ID":"5"} {"ID":"6"}\n')
        results = [json.loads(line)["result"] for line in text.splitlines()]
        assert [(r["ID"], r.get("TTL")) for r in results] == [("5", "60"), ("6", None)], results


def a_watch_ends_with_its_client():
    with Http() as h:
        assert h.ask("POST", "/v3/watch", b"")[::2] == (200, b"")      # or with a request that asks for nothing
        before = metric(h, "quorate_gatewayd_watches")
        for _ in range(3):
            with Http() as watch:
                watch.send("POST", "/v3/watch", {"create_request": {"key": b64(b"w")}})
                assert watch.head()[0] == 200
                next(watch.chunks())
        until(lambda: metric(h, "quorate_gatewayd_watches") == before, "the watches are gone")


def metric(h, name):
    status, _, text = h.ask("GET", "/metrics")
    assert status == 200
    for line in text.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no {name}")


def probes_and_scrapers_are_answered():
    with Http() as h:
        assert h.ask("GET", "/health")[::2] == (200, b'{"health":"true","reason":""}')
        assert h.ask("POST", "/health", b"")[0] == 405
        for path, status in (("/health", 405), ("/nothing", 404)):     # no body, though its length is told
            h.send("HEAD", path)
            assert h.head()[0] == status
        assert h.ask("GET", "/livez")[::2] == (200, b"ok\n")
        assert h.ask("GET", "/readyz?verbose")[2] == (b"[+]serializable_read ok\n[+]linearizable_read ok\n"
                                                      b"[+]data_corruption ok\n[+]non_learner ok\nok\n")
        assert h.ask("GET", "/readyz?verbose&exclude=linearizable_read&exclude=data_corruption&exclude=x")[2] == (
            b"[+]serializable_read ok\n[+]non_learner ok\nok\n")
        assert h.ask("GET", "/livez/serializable_read?verbose")[::2] == (200, b"[+]serializable_read ok\nok\n")
        for check in ("serializable_read", "linearizable_read", "data_corruption", "non_learner"):
            assert h.ask("GET", f"/readyz/{check}")[::2] == (200, b"ok\n")
        assert h.ask("GET", "/livez/non_learner")[0] == 404
        assert set(json.loads(h.ask("GET", "/version")[2])) == {"etcdserver", "etcdcluster", "storage"}
        assert metric(h, "etcd_server_has_leader") == 1 and metric(h, "process_resident_memory_bytes") > 0
        h.call("/v3/kv/put", {"key": b64(b"one"), "value": b64(b"v")})
        assert metric(h, "etcd_debugging_mvcc_keys_total") >= 1


def rubbish_is_refused_and_closed():
    for text, status in ((b"GET / HTTP/3.0\r\n\r\n", 505), (b"A" * 20000, 431), (b"GET / HTTP/1.1\r\n\r\n", 400),
                         (b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400)):
        with Http() as h:
            h.s.sendall(text)
            assert h.answer()[0] == status and h.f.read() == b"", text
    with Http() as h:                           # a body without end is not kept
        h.s.sendall(b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(8 << 10):
                h.s.sendall(b'"' + b"x" * (1 << 12))
        except OSError:
            pass
        assert h.head()[0] == 400
    with Http() as h:
        assert h.ask("GET", "/health")[0] == 200


tap([keys_and_values_are_base64_and_numbers_are_strings, transactions_leases_and_locks_are_those_of_grpc,
     errors_have_a_status_a_code_and_etcds_words, a_connection_serves_many_requests_one_behind_the_other,
     requests_may_come_in_chunks_and_byte_by_byte, a_large_range_comes_in_pieces,
     a_large_transaction_comes_in_pieces, who_reads_late_gets_the_rest,
     who_waits_for_a_lock_and_goes_leaves_the_queue, streams_are_lines, a_watch_ends_with_its_client,
     probes_and_scrapers_are_answered, rubbish_is_refused_and_closed],
    always=(the_node_starts, the_node_stops))
