#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Watches of real daemons: whatever dies, each stream is the history, without a gap and without a repeat."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, QUORATE, Cluster, die_with_parent, scaled, tap, until
from rpc import Rpc, RpcError, op_delete, op_put, pack, prefix_end
from watcher import (BAD_ARGUMENT, COMPACTED, DELETE, PUT, TOO_MANY_WATCHES, WATCH_EXISTS, WATCH_NOT_FOUND, WATCH_RANGE,
                     Watcher)

shared = None
CONNECTIONS, EACH = 10, 100          # of the thousand watches
LIMIT_CONN_WATCHES = 10000


def the_cluster_starts():
    global shared
    shared = Cluster()
    shared.__enter__()


def the_cluster_stops():
    shared.__exit__(None)


class Writer:
    """Puts under a prefix, through one node, one after the other; notes what was acknowledged."""

    def __init__(self, port, prefix, pause_s=0.002):
        self.port, self.prefix, self.pause_s = port, prefix, pause_s
        self.written, self.failure, self.stop = [], None, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            with Rpc(self.port, timeout_s=PATIENCE_S) as r:
                while not self.stop.is_set():
                    n = len(self.written)
                    key, value = self.prefix + b"%d" % (n % 7), b"value %d" % n
                    self.written.append((r.put(key, value), PUT, key, value, None))
                    time.sleep(self.pause_s)
        except (OSError, RpcError) as e:
            self.failure = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        assert self.failure is None, self.failure

    def more(self, n):
        goal = len(self.written) + n
        until(lambda: len(self.written) >= goal or self.failure, f"{n} more writes")
        assert self.failure is None, self.failure


def a_thousand_watches_survive_the_death_of_each_daemon():
    c, prefix = shared, b"/thousand/"
    watchers = [Watcher(c.port(0)) for _ in range(CONNECTIONS)]
    try:
        begun = [[w.watch(prefix, prefix_end(prefix)) for _ in range(EACH)] for w in watchers]
        with Writer(c.port(1), prefix) as writer:
            writer.more(50)
            for daemon in ("watchd", "stored", "raftd", "watchd"):
                print(f"# kill -9 {daemon}")
                c.reborn(0, daemon, c.kill(0, daemon))
                writer.more(scaled(200, 50))
        want = writer.written
        for w, ids in zip(watchers, begun):
            w.wait(lambda: all(len(w.events[i]) >= len(want) for i, _ in ids), "all events are there")
        time.sleep(0.2)                                  # for what should not come
        for w, ids in zip(watchers, begun):
            assert w.failure is None, w.failure          # no client has reconnected
            for i, revision in ids:
                assert revision <= want[0][0]
                assert w.events[i] == want, (len(w.events[i]), len(want))
    finally:
        for w in watchers:
            w.__exit__()


def a_slow_client_delays_nobody_and_loses_nothing():
    c, key, n = shared, b"/slow", scaled(3000, 500)
    with Watcher(c.port(0)) as slow, Watcher(c.port(0)) as fast, c.rpc(1) as r:
        a, _ = slow.watch(key)
        b, _ = fast.watch(key)
        r.put(key, b"first")
        slow.wait(lambda: len(slow.events[a]) == 1, "the first event")
        slow.reading.clear()
        want = [b"first"]
        for i in range(n):
            want.append(b"%d" % i * 400)
            r.put(key, want[-1])
        fast.wait(lambda: len(fast.events[b]) == n + 1, "the fast client has all")
        blocked = c.admin_json(0, "watchd", "status")["blocked"]
        print(f"# watchers blocked: {blocked}")
        assert len(slow.events[a]) < n
        slow.reading.set()
        slow.wait(lambda: len(slow.events[a]) == n + 1, "the slow client has all")
        assert [e[3] for e in slow.events[a]] == want and [e[3] for e in fast.events[b]] == want


def history_is_replayed_and_joins_the_present():
    c, prefix = shared, b"/past/"
    with c.rpc(1) as r, Watcher(c.port(2)) as w:
        want = [(r.put(prefix + b"a", b"%d" % i), PUT, prefix + b"a", b"%d" % i, b"%d" % (i - 1) if i else None)
                for i in range(300)]
        revision, _, _ = r.txn([], [op_put(prefix + b"b", b"x"), op_delete(prefix + b"a"), op_put(prefix + b"c", b"y")])
        want += [(revision, PUT, prefix + b"b", b"x", None), (revision, DELETE, prefix + b"a", b"", b"299"),
                 (revision, PUT, prefix + b"c", b"y", None)]
        whole, _ = w.watch(prefix, prefix_end(prefix), start=1, prev_kv=True)
        half, _ = w.watch(prefix, prefix_end(prefix), start=want[150][0], prev_kv=True)
        puts, _ = w.watch(prefix, prefix_end(prefix), start=1, prev_kv=True, no_delete=True)
        deletes, _ = w.watch(prefix, prefix_end(prefix), start=1, prev_kv=True, no_put=True)
        future, _ = w.watch(prefix, prefix_end(prefix), start=revision + 2, prev_kv=True)
        for _ in range(3):
            want.append((r.put(prefix + b"d", b"z"), PUT, prefix + b"d", b"z", b"z" if want[-1][2][-1:] == b"d" else None))
        w.wait(lambda: len(w.events[whole]) == len(want) and len(w.events[future]) >= 2, "all events")
        w.wait(lambda: len(w.events[puts]) == len(want) - 1, "all puts")
        assert w.events[whole] == want
        assert w.events[half] == want[150:]
        assert w.events[deletes] == [e for e in want if e[1] == DELETE]
        assert w.events[puts] == [e for e in want if e[1] == PUT]
        assert w.events[future] == want[-2:]


def a_large_revision_comes_in_pieces_and_whole():
    c, prefix, n = shared, b"/large/", 20000
    with c.rpc(0) as r, Watcher(c.port(1)) as w:
        for i in range(0, n, 100):
            r.txn([], [op_put(prefix + b"%06d" % k, b"v") for k in range(i, i + 100)])
        watch, _ = w.watch(prefix, prefix_end(prefix), prev_kv=True)
        revision, count = r.delete(prefix, prefix_end(prefix))
        assert count == n
        w.wait(lambda: len(w.events[watch]) == n and w.places[watch] == (revision + 1, 0), "the whole revision")
        assert w.pieces > 0
        assert w.events[watch] == [(revision, DELETE, prefix + b"%06d" % k, b"", b"v") for k in range(n)]


def compaction_ends_nobody_who_is_up_to_date():
    c, key = shared, b"/compacted"
    with c.rpc(0) as r, Watcher(c.port(0)) as w:
        watch, _ = w.watch(key)
        quiet, _ = w.watch(b"/quiet")
        for i in range(scaled(200, 50)):
            revision = r.put(key, b"%d" % i)
            r.call("compact", revision, False)
        r.put(b"/quiet", b"1")
        w.wait(lambda: len(w.events[watch]) == scaled(200, 50) and len(w.events[quiet]) == 1, "all events")
        assert not w.canceled, w.canceled
        late, _ = w.watch(key, start=2)
        w.wait(lambda: late in w.canceled, "the one that starts before it is ended")
        code, compacted = w.canceled[late]
        assert code == COMPACTED and compacted == revision, (w.canceled, revision)
        again, _ = w.watch(key, start=compacted)
        w.wait(lambda: len(w.events[again]) == 1, "its last event is still there")


def progress_is_told_when_asked():
    c = shared
    with c.rpc(1) as r, Watcher(c.port(0)) as w:
        a, _ = w.watch(b"/progress/a")
        b, _ = w.watch(b"/progress/b", start=1 << 40)
        revision = r.put(b"/progress/other", b"1")
        header, = w.call("watch_progress", 0)
        assert header[2] >= revision, "linearizable"
        w.wait(lambda: w.progress.get(a, 0) >= header[2], "progress")
        assert b not in w.progress


def refused(code, call, *args, **kw):
    try:
        call(*args, **kw)
    except RpcError as e:
        assert e.code == code, e
        return
    raise AssertionError(f"not refused: {args} {kw}")


def bad_input_is_refused():
    c = shared
    with Watcher(c.port(0)) as w:
        refused(WATCH_RANGE, w.watch, b"b", b"a")
        refused(WATCH_RANGE, w.watch, b"b", b"b")
        refused(COMPACTED, w.watch, b"b", start=-1)
        refused(BAD_ARGUMENT, w.watch, b"b", watch_id=-1)
        refused(BAD_ARGUMENT, w.watch, b"b", sub=1)
        refused(BAD_ARGUMENT, w.watch, b"b", start=5, sub=1 << 32)
        w.watch(b"b", watch_id=(1 << 63) - 1)
        refused(WATCH_EXISTS, w.watch, b"b", watch_id=(1 << 63) - 1)
        w.watch(b"", b"\0", start=(1 << 63) - 1)
        for method in ("watch_cancel", "watch_progress"):
            for number in (77, -77, 1 << 62):
                refused(WATCH_NOT_FOUND, w.call, method, number)
        refused(WATCH_NOT_FOUND, w.call, "watch_cancel", 0)
        w.call("watch_cancel", (1 << 63) - 1)
    for params in ([{}], ["k", "e", "x"], [b"k", b"", 1 << 64], [b"k"] * 20, [[]], [None, None, None, 5]):
        for method in ("watch", "watch_cancel", "watch_progress"):
            try:
                with c.rpc(0, timeout_s=20) as r:
                    r.call(method, *params)
            except (RpcError, ConnectionError, ValueError, OverflowError):
                pass
    assert c.answers(0)


def one_connection_may_have_so_many_watches():
    c, more = shared, 2000
    with c.rpc(0, timeout_s=PATIENCE_S) as r:
        good = bad = 0
        for first in range(0, LIMIT_CONN_WATCHES + more, 1000):
            r.sock.sendall(b"".join(pack(i, "watch", [b"/many", b"", 1 << 40]) for i in range(first, first + 1000)))
            for _ in range(1000):
                _, _, error, _ = r.receive()
                good += error is None
                bad += error is not None and error[0] == TOO_MANY_WATCHES
        assert (good, bad) == (LIMIT_CONN_WATCHES, more), (good, bad)
        with Watcher(c.port(0)) as other:
            watch, _ = other.watch(b"/many")
            with c.rpc(1) as writer:
                writer.put(b"/many", b"1")
            other.wait(lambda: other.events[watch], "another client's event")
    until(lambda: c.admin_json(0, "watchd", "status")["watchers"] < LIMIT_CONN_WATCHES, "the watches are gone")


# ---- the command ----

class Command:
    def __init__(self, *args, endpoints, stdin=None):
        self.p = subprocess.Popen([QUORATE, "watch", "--endpoints", endpoints, *args], stdin=stdin or subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        self.lines, self.errors = [], []
        self.threads = [threading.Thread(target=self.read, args=a, daemon=True)
                        for a in ((self.p.stdout, self.lines), (self.p.stderr, self.errors))]
        for t in self.threads:
            t.start()

    @staticmethod
    def read(pipe, into):
        for line in pipe:
            into.append(line.decode().rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGTERM)
        self.p.wait(PATIENCE_S)
        for t in self.threads:
            t.join()

    def wait(self, n):
        until(lambda: len(self.lines) >= n, f"{n} lines of output; there are {self.lines[-5:]} {self.errors}")


def watching(c, node, n):
    """That node's watchd has this many more watchers than before."""
    before = c.admin_json(node, "watchd", "status")["watchers"]
    return lambda: until(lambda: c.admin_json(node, "watchd", "status")["watchers"] >= before + n, "it watches")


def the_command_prints_as_etcdctl_does():
    c = shared
    began = watching(c, 0, 3)
    with Command("--prefix", "/svc/", "--prev-kv", endpoints=c.endpoints(0)) as simple, \
            Command("--prefix", "/svc/", "-w", "json", endpoints=c.endpoints(0)) as as_json, \
            Command("/svc/a", "-w", "fields", endpoints=c.endpoints(0)) as fields:
        began()
        c.ctl("put", "/svc/a", "1")
        c.ctl("put", "/svc/a", "2")
        c.ctl("del", "/svc/a")
        simple.wait(13)
        assert simple.lines == ["PUT", "/svc/a", "1", "PUT", "/svc/a", "1", "/svc/a", "2",
                                "DELETE", "/svc/a", "2", "/svc/a", ""], simple.lines
        as_json.wait(3)
        events = [json.loads(line) for line in as_json.lines]
        assert [e["Events"][0].get("type", 0) for e in events] == [0, 0, 1]
        assert events[0]["Header"]["revision"] >= events[0]["Events"][0]["kv"]["mod_revision"]
        fields.wait(3)
        assert '"Type" : PUT' in fields.lines and '"Key" : "/svc/a"' in fields.lines


def the_command_goes_on_at_another_node():
    c, n = shared, 0
    began = watching(c, 0, 1)
    with Command("--prefix", "/move/", endpoints=c.endpoints(0, 1, 2)) as cmd:
        until(lambda: sum(c.admin_json(i, "watchd", "status")["watchers"] for i in range(3)) > 0, "it watches")
        with Writer(c.port(2), b"/move/") as writer:
            writer.more(100)
            for node in (0, 1, 0):
                c.reborn(node, "gatewayd", c.kill(node, "gatewayd"))
                writer.more(100)
        n = len(writer.written)
        cmd.wait(3 * n)
        time.sleep(0.2)
        assert cmd.lines[2::3] == [e[3].decode() for e in writer.written]
        assert len(cmd.lines) == 3 * n
        assert any("trying again" in line for line in cmd.errors), cmd.errors
    del began


def the_command_runs_a_program_for_each_event():
    c = shared
    began = watching(c, 0, 1)
    with Command("/run", "--", "sh", "-c", 'echo "$QUORATE_WATCH_REVISION $QUORATE_WATCH_EVENT_TYPE '
                 '$QUORATE_WATCH_KEY $QUORATE_WATCH_VALUE"', endpoints=c.endpoints(0)) as cmd:
        began()
        with c.rpc(0) as r:
            first, (second, _) = r.put(b"/run", b"a b\0c"), r.delete(b"/run")
        cmd.wait(8)
        assert cmd.lines == ["PUT", "/run", "a b\0c", f'{first} PUT "/run" "a b\\x00c"',
                             "DELETE", "/run", "", f'{second} DELETE "/run" ""'], cmd.lines


def the_command_takes_watches_from_its_input():
    c = shared
    began = watching(c, 0, 2)
    with Command("-i", endpoints=c.endpoints(0), stdin=subprocess.PIPE) as cmd:
        cmd.p.stdin.write(b"watch --prefix /in/a\nwatch '/in b'\nwatch\nprogress\n")
        cmd.p.stdin.flush()
        began()
        c.ctl("put", "/in/a/x", "1")
        c.ctl("put", "/in b", "2")
        until(lambda: "2" in cmd.lines, "both events")
        assert [x for x in cmd.lines if not x.startswith("progress notify")] == ["PUT", "/in/a/x", "1", "PUT", "/in b", "2"]
        cmd.p.stdin.close()
        c.ctl("put", "/in b", "3")
        until(lambda: "3" in cmd.lines, "it goes on at the end of its input")


def the_command_says_why_it_ends():
    c = shared
    with c.rpc(0) as r:
        r.call("compact", r.put(b"/x", b"1"), False)
    done = subprocess.run([QUORATE, "watch", "/x", "--rev", "1", "--endpoints", c.endpoints(0)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1 and "required revision has been compacted" in done.stderr, done
    done = subprocess.run([QUORATE, "watch", "b", "a", "--endpoints", c.endpoints(0)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1 and "watcher range is empty" in done.stderr, done


if __name__ == "__main__":
    tap([a_thousand_watches_survive_the_death_of_each_daemon, a_slow_client_delays_nobody_and_loses_nothing,
         history_is_replayed_and_joins_the_present, a_large_revision_comes_in_pieces_and_whole,
         progress_is_told_when_asked, bad_input_is_refused, one_connection_may_have_so_many_watches,
         the_command_prints_as_etcdctl_does, the_command_goes_on_at_another_node,
         the_command_runs_a_program_for_each_event, the_command_takes_watches_from_its_input,
         the_command_says_why_it_ends, compaction_ends_nobody_who_is_up_to_date],
        always=(the_cluster_starts, the_cluster_stops))
