#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The admin sockets: every command of every daemon, as text and as JSON, by hand, by socat, by `quorate admin`."""
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import DAEMONS, LINKS, QUORATE, Cluster, Skip, connect_unix, scaled, tap, until
from rpc import Pipeline, Request

BOUND_S = scaled(1.0, 10.0)
BUILT_IN = {"help", "status", "metrics", "loglevel", "trace"}


def commands(c, daemon):
    """Names of a daemon's commands, from its own help."""
    found = [usage.split()[0] for usage in c.admin_json(0, daemon, "help")]
    assert BUILT_IN <= set(found), found
    return found


def timed(f, *args):
    began = time.monotonic()
    out = f(*args)
    return out, time.monotonic() - began


def every_command_answers_in_text_and_json():
    with Cluster() as c:
        for i in range(3):
            for daemon in DAEMONS:
                for name in commands(c, daemon):
                    text = c.admin(i, daemon, name)
                    assert text.endswith("\n\n") or text == "\n", (daemon, name, text)     # an empty list
                    assert "\n\n" not in text[:-2], f"{daemon} {name}: an empty line in the middle of the answer"
                    answer = c.admin(i, daemon, "json " + name)
                    assert answer.endswith("\n\n") and answer.count("\n") == 2, (daemon, name, answer)
                    assert isinstance(json.loads(answer), dict), answer


def status_says_the_same_in_text_and_json():
    with Cluster() as c:
        until(c.links_up, "all links")
        for daemon in DAEMONS:
            lines = c.admin(1, daemon, "status").strip().split("\n")
            flat = dict(line.split(": ", 1) for line in lines if ": " in line)
            tree = c.admin_json(1, daemon, "status")
            assert flat["daemon"] == tree["daemon"] and tree["daemon"].startswith(daemon), (flat, tree)
            assert int(flat["pid"]) == tree["pid"] == c.pid(1, daemon)
            assert tree["links_up"] == LINKS[daemon] and tree["uptime_ms"] >= 0
            for name, value in tree.items():
                assert isinstance(value, dict) or name in flat, name


def metrics_are_prometheus_text():
    line = re.compile(r"^(# (HELP|TYPE) \w+ .+|[a-z_][a-z0-9_]*(\{[^}]*\})? -?[0-9.e+]+)$")
    with Cluster(1) as c:
        for daemon in DAEMONS:
            text = c.admin(0, daemon, "metrics").rstrip("\n").split("\n")
            assert len(text) > 10
            for row in text:
                assert line.match(row), f"{daemon}: {row!r}"
            assert c.admin_json(0, daemon, "metrics")["text"].split("\n")[0] == text[0]


def log_level_and_trace_are_switched_while_running():
    with Cluster(1) as c:
        for daemon in DAEMONS:
            assert c.admin_json(0, daemon, "loglevel debug") == {"log_level": "debug"}
            assert c.admin_json(0, daemon, "loglevel") == {"log_level": "debug"}
            assert "error" in c.admin_json(0, daemon, "loglevel loud")
            assert c.admin_json(0, daemon, "loglevel info") == {"log_level": "info"}
            assert c.admin_json(0, daemon, "trace on") == {"trace": True}
            with c.rpc(0) as r:
                r.put(b"/traced", daemon.encode())
            assert c.admin_json(0, daemon, "trace off") == {"trace": False}


def nonsense_is_refused_in_words():
    with Cluster(1) as c:
        for daemon in DAEMONS:
            for nonsense in ("frobnicate", "status" * 10, "\x01\x02", "json", "json frobnicate", "help me", "x" * 1000):
                answer = c.admin(0, daemon, nonsense)
                assert answer.endswith("\n"), (daemon, nonsense, answer)
            assert "error" in c.admin_json(0, daemon, "frobnicate")
            assert c.admin(0, daemon, "frobnicate").startswith("error: ")


def several_commands_on_one_connection_are_answered_in_order():
    with Cluster(1) as c:
        with connect_unix(c.admin_path(0, "raftd")) as s:
            s.sendall(b"json loglevel\njson trace\r\njson loglevel\n")
            s.shutdown(1)
            data = b""
            while more := s.recv(65536):
                data += more
        assert [json.loads(a) for a in data.decode().strip().split("\n\n")] == \
            [{"log_level": "info"}, {"trace": False}, {"log_level": "info"}], data


def socat_and_the_command_work_too():
    if shutil.which("socat") is None:
        raise Skip("no socat")
    with Cluster(1) as c:
        for daemon in DAEMONS:
            for word in ("status", "json status"):
                by_socat = subprocess.run(["socat", "-t10", "-", f"UNIX-CONNECT:{c.admin_path(0, daemon)}"],
                                          input=word + "\n", stdout=subprocess.PIPE, timeout=60, text=True,
                                          check=True).stdout
                assert "pid" in by_socat and str(c.pid(0, daemon)) in by_socat, by_socat
            for args in (["status"], ["json", "status"], ["loglevel", "info"]):
                done = subprocess.run([QUORATE, "admin", "--dir", c.run_dir(0), daemon, *args], timeout=60, text=True,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      check=False)
                assert done.returncode == 0 and done.stdout.strip(), done
                if args[0] == "json":
                    assert json.loads(done.stdout)["pid"] == c.pid(0, daemon)
            done = subprocess.run([QUORATE, "admin", "--dir", c.run_dir(0), daemon, "frobnicate"], timeout=60,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            assert done.returncode != 0, "an error of the daemon is an exit code"
        gone = subprocess.run([QUORATE, "admin", "--dir", c.run_dir(0), "gatewayd.9", "status"], timeout=60, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        assert gone.returncode != 0 and gone.stderr, gone


def answers_come_in_time_under_load():
    with Cluster() as c:
        line = Pipeline(c.port(0), [Request("put", [b"/load/%d" % (i % 5000), b"x" * 200])
                                    for i in range(scaled(300000, 30000))], 512, patience_s=120)
        line.start()
        until(lambda: line.answered > 500, "the load is on")
        slowest = (0, "")
        for _ in range(3):
            for i in range(3):
                for daemon in DAEMONS:
                    for name in ("status", "json status", "metrics", "help"):
                        _, took = timed(c.admin, i, daemon, name)
                        slowest = max(slowest, (took, f"{name} of {daemon}, node {i}"))
        under_load = line.answered < len(line.requests)
        line.abandon()
        print(f"# slowest: {slowest[1]}, {slowest[0] * 1000:.0f} ms; under load to the end: {under_load}")
        assert slowest[0] < BOUND_S, slowest


def leadership_is_handed_over_on_request():
    with Cluster() as c:
        leader = c.wait_leader()
        target = (leader + 1) % 3
        ids = {i: c.member_id(i) for i in range(3)}
        answer = c.admin_json(leader, "raftd", f"transfer {ids[target]}")
        assert answer == {"transfer": "begun"}, answer
        until(lambda: c.leader() == target, "the target leads")
        assert "error" in c.admin_json(leader, "raftd", f"transfer {ids[leader]}"), "a follower cannot hand over"
        assert "error" in c.admin_json(target, "raftd", "transfer elsewhere")


if __name__ == "__main__":
    tap([every_command_answers_in_text_and_json, status_says_the_same_in_text_and_json, metrics_are_prometheus_text,
         log_level_and_trace_are_switched_while_running, nonsense_is_refused_in_words,
         several_commands_on_one_connection_are_answered_in_order, socat_and_the_command_work_too,
         answers_come_in_time_under_load, leadership_is_handed_over_on_request])
