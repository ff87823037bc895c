#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""etcdctl, as it is, prints the same whether it talks to Debian's etcd or to ours, in every output format.

One list of commands is run against both, so that revisions are equal; ids, addresses, times, sizes, terms and
versions are made so. An argument runs only commands with that in their words (what they need runs anyway).
"""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import wire
from harness import BUILD, Skip, check_logs, die_with_parent, tap
from server import Etcd, need_etcd

FORMATS = ("simple", "json", "fields", "table", "protobuf")

# What differs by itself.
PLAIN = [
    (r'("raft_term":|"raftTerm":|"raftIndex":|"raftAppliedIndex":|"dbSize":|"dbSizeInUse":|"hash":|"dbSizeQuota":)\d+', r"\g<1>N"),
    (r'("RaftTerm"|"RaftIndex"|"RaftAppliedIndex"|"DBSize"|"Hash"|"DBSizeInUse") : \d+', r"\g<1> : N"),
    (r'("version":"|"Version" : "|"storageVersion":")[\d.]+"', r'\g<1>V"'), (r"took = [\d.]+\S*s", "took = T"),
    (r'"took":"[^"]*"', '"took":"T"'), (r'"Took" : "?[^"\n]*"?', '"Took" : T'), (r"remaining\(\d+s\)", "remaining(N)"),
    (r"/[0-9a-f]{15,16}\b", "/LEASE"), (r"\b[\d.]+(ms|µs|s)\b(?= *\|)", "T"), (r" +", " "), (r"-{3,}", "--"),       # columns of tables
    (r'("ttl":|"TTL" : )\d+(?=.*grant|\n"GrantedTTL)', r"\g<1>N"),
]


LINES_S = 10             # for what a command is to print or do


class Side:
    def __init__(self, server):
        self.server, self.names = server, {}
        header = json.loads(self.begin(["-w", "json", "get", "x"], "").communicate()[0])["header"]
        self.name("MEMBER", header["member_id"])
        self.name("CLUSTER", header["cluster_id"])
        self.names[server.endpoint] = "ENDPOINT"
        self.names[server.peer] = "PEER"

    def name(self, what, number):
        for form in ("%d", "%016x", "%x"):
            self.names[form % number] = what

    def begin(self, words, stdin):
        words = [w.replace("{endpoint}", self.server.endpoint) for w in words]
        for value, name in self.names.items():
            if len(value) == 16:
                words = [w.replace("{%s}" % name, value) for w in words]
        p = subprocess.Popen(["etcdctl", "--endpoints", self.server.endpoint, *words], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=die_with_parent,
                             env={**os.environ, "ETCDCTL_API": "3"})
        p.stdin.write(stdin.encode())
        p.stdin.close()
        p.stdin = None
        return p

    def end(self, p, protobuf, lines=None):
        """What it wrote; with `lines` it is one that goes on until it is interrupted, after so many."""
        early, end = b"", time.monotonic() + LINES_S
        while lines is not None and early.count(b"\n") < lines and time.monotonic() < end:
            if select.select([p.stdout], [], [], 0.1)[0]:
                more = os.read(p.stdout.fileno(), 65536)
                early += more
                if not more:
                    break
        if lines is not None:
            p.send_signal(signal.SIGINT)
        try:
            out, err = p.communicate(timeout=LINES_S)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
        out = early + out
        if lines is not None:                            # how much more had come by then is chance
            out = b"".join(out.splitlines(keepends=True)[:lines])
        if protobuf and p.returncode == 0:
            out = self.message(protobuf, out)
        text, err = out.decode("utf-8", "backslashreplace"), err.decode("utf-8", "backslashreplace")
        grant = re.match(r"lease ([0-9a-f]{16}) granted with", text)
        if grant:
            self.name("LEASE", int(grant.group(1), 16))
        # etcdctl's own log lines on standard error have times and addresses of goroutines
        err = "\n".join(line for line in err.splitlines() if line.startswith("Error") or "rpc error" not in line)
        return p.returncode, self.plain(text), self.plain(re.sub(r'^\{"level".*$', "{log line}", err, flags=re.M))

    @staticmethod
    def message(name, data):
        """protobuf's bytes as a text; what differs in a header is left out."""
        m = wire.decode(name, data)
        m["header"] = {"revision": m.get("header", {}).get("revision", 0)}
        return repr(sorted(m.items())).encode()

    def plain(self, text):
        for value, name in sorted(self.names.items(), key=lambda v: -len(v[0])):
            text = re.sub(r"(?<![0-9a-f])" + re.escape(value) + r"(?![0-9a-f])", name, text)
        for pattern, to in PLAIN:
            text = re.sub(pattern, to, text)
        return text


def reads(words, message=None):
    """A command in every format; protobuf only if the message is told."""
    return [(("-w", f, *words), "", message if f == "protobuf" else None, None)
            for f in FORMATS if f != "protobuf" or message]


def one(*words, stdin=""):
    return [((*words,), stdin, None, None)]


def until_lines(lines, *words):
    return [((*words,), "", None, lines)]


def commands():
    rows = [
        *reads(("put", "a", "1"), "PutResponse"), *reads(("put", "--prev-kv", "a", "2"), "PutResponse"),
        *one("put", "b", stdin="from stdin"), *one("put", "a/1", "x"), *one("put", "a/2", "y"), *one("put", "a/3", ""),
        *one("put", "--", "-dash", "v"), *one("put", "--ignore-value", "none"), *one("put", "--ignore-value", "a"),
        *one("put", "--lease=123", "a", "1"), *one("put"), *one("put", "ä\n", "ö\t"),
        *reads(("get", "a"), "RangeResponse"), *reads(("get", "--prefix", "a"), "RangeResponse"),
        *reads(("get", "none"), "RangeResponse"), *one("get", "--hex", "a"), *one("get", "a", "b"), *one("get", "--from-key", "a"),
        *reads(("get", "--prefix", "--keys-only", "a")), *reads(("get", "--prefix", "--count-only", "a")),
        *one("get", "--print-value-only", "a"), *one("get", "--prefix", "--limit=2", "a"), *one("get", "--rev=2", "a"),
        *one("get", "--rev=999", "a"), *one("get", "--consistency=s", "a"), *one("get", "--consistency=x", "a"),
        *[row for by in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION") for order in ("ASCEND", "DESCEND")
          for row in one("get", "--prefix", "a", "--sort-by=" + by, "--order=" + order)],
        *one("get", "--prefix", "a", "--sort-by=NONE"), *one("get", ""), *one("get", "", "--prefix"), *one("get"),
        *reads(("del", "a/3"), "DeleteRangeResponse"), *one("del", "--prev-kv", "a/2"), *one("del", "--prefix", "zz"),
        *one("txn", stdin='value("a") = "2"\n\nput c 1\nget a\n\ndel a\n\n'),
        *one("-w", "json", "txn", stdin='mod("a") > "0"\nver("c") = "1"\n\nget c\ndel b --prev-kv\n\nput c no\n\n'),
        *one("-w", "fields", "txn", stdin='create("none") = "0"\n\nput none 1\n\n\n'),
        *one("-w", "table", "txn", stdin='val("a") = "2"\n\nget a\n\n\n'), *one("txn", stdin='nonsense("a")\n\n\n\n'),
        *one("txn", stdin='val("a") < "9"\n\nput a 1\nput a 2\n\n\n'),
        *one("lease", "grant", "1000"), *one("put", "--lease={LEASE}", "leased", "v"),
        *reads(("lease", "timetolive", "{LEASE}", "--keys")), *reads(("lease", "list")),
        *reads(("lease", "keep-alive", "--once", "{LEASE}")), *reads(("get", "leased")),
        *one("lease", "revoke", "{LEASE}"), *one("lease", "revoke", "{LEASE}"), *reads(("lease", "timetolive", "{LEASE}")),
        *one("lease", "keep-alive", "--once", "{LEASE}"), *one("lease", "grant", "x"), *one("lease", "grant", "99999999999"),
        *one("lock", "l", "echo", "held"), *one("lock", "l", "false"), *one("get", "--prefix", "l/"),
        *reads(("compaction", "5"), "CompactionResponse"), *one("compaction", "5"), *one("compaction", "9999"),
        *one("compaction", "6", "--physical"), *one("get", "--rev=2", "a"), *one("watch", "--rev=1", "a"),
        *reads(("member", "list")), *reads(("endpoint", "health")), *reads(("endpoint", "status")),
        *reads(("endpoint", "hashkv")), *one("endpoint", "health", "--cluster"), *reads(("alarm", "list")),
        *until_lines(3, "watch", "--prefix", "a", "--rev=7", "--prev-kv"), *until_lines(3, "watch", "--rev=7", "b", "c"),
        *until_lines(1, "-w", "json", "watch", "--rev=7", "a/1"), *until_lines(1, "lock", "l2"), *until_lines(2, "elect", "e", "v"),
        *one("get", "--prefix", "e/"), *one("elect", "e"), *one("defrag"), *one("snapshot", "save", "/nonexistent/x"),
        *one("user", "list"), *one("role", "list"), *one("auth", "enable"), *one("check", "nonsense"),
        *one("member", "remove", "1"), *one("nonsense"), *one("move-leader", "1234"),
    ]
    return rows


# Where ours is meant to print otherwise, or cannot do it yet: words of the command, and why.
DIFFERENCES = [
    (("endpoint", "status"), "ours has a log index of its own: etcd's counts its own requests"),
    (("endpoint", "hashkv"), "ours is a hash over its own rows"),
    (("auth", "enable"), "there are no users yet"),
    (("defrag",), "there is nothing to be defragmented, and no answer that says so yet"),
    (("member", "remove"), "membership changes are not there yet"),
    (("-w", "json", "alarm"), "etcd 3.4 leaves the header out"),
    (("-w", "fields", "alarm"), "etcd 3.4 leaves the header out, and etcdctl ends without it"),
]


def known(words):
    """The row, or None."""
    text = " " + " ".join(words) + " "
    return next((row for row in DIFFERENCES if f" {' '.join(row[0])} " in text), None)


def etcdctl_prints_the_same():
    need_etcd()
    if shutil.which("etcdctl") is None:
        raise Skip("no etcdctl: install etcd-client")
    theirs, ours, done = Etcd(), None, 0
    try:
        ours = Etcd(program=os.path.join(BUILD, "ctl", "quorate-etcd"))
        sides, bad, met = [Side(theirs), Side(ours)], [], []
        for words, stdin, message, lines in commands():
            running = [side.begin(words, stdin) for side in sides]
            a, b = (side.end(p, message, lines) for side, p in zip(sides, running))
            done += 1
            if a != b and known(words):
                met.append(known(words))
            elif a != b:
                bad.append(words)
                print(f"# {words}\n#   etcd {a}\n#   ours {b}")
        print(f"# {done} commands")
        assert all(row in met for row in DIFFERENCES), [row for row in DIFFERENCES if row not in met]
        assert not bad, f"{len(bad)} commands print otherwise"
        check_logs(ours.dir)
    finally:
        theirs.close()
        if ours is not None:
            ours.close()


if __name__ == "__main__":
    tap([etcdctl_prints_the_same])
