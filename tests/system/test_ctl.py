#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The `quorate` command against real daemons: words, flags, formats, exit codes, standard input."""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, QUORATE, Cluster, Ports, tap, until

OK, ERROR, BAD_CONNECTION, INVALID_INPUT, BAD_FEATURE, BAD_ARGS = 0, 1, 2, 3, 4, 128
node = Cluster(1)                        # one for all cases, which keep to keys of their own


def run(*args, stdin=None, env=None, endpoints=None):
    """(exit code, standard output, standard error), as bytes."""
    where = [] if endpoints == "" else ["--endpoints", endpoints or node.endpoints()]
    done = subprocess.run([QUORATE, *args[:1], *where, *args[1:]], input=b"" if stdin is None else stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=2 * PATIENCE_S, check=False,
                          env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr


def out(*args, code=OK, **kw):
    got, text, err = run(*args, **kw)
    assert got == code, f"quorate {' '.join(map(repr, args))}: {got}, not {code}: {text!r} {err!r}"
    assert code != OK or not err, err
    assert code == OK or err.startswith(b"Error: "), err
    return text if code == OK else err


def put_and_get_say_what_etcdctl_says():
    assert out("put", "a/1", "one") == b"OK\n"
    assert out("put", "a/2", "") == b"OK\n"
    assert out("get", "a/1") == b"a/1\none\n"
    assert out("get", "a/2") == b"a/2\n\n"
    assert out("get", "a/none") == b""
    assert out("put", "a/1", "uno", "--prev-kv") == b"OK\na/1\none\n"
    assert out("put", "a/1", "--ignore-value", "--prev-kv") == b"OK\na/1\nuno\n"
    assert out("get", "a/1", "--print-value-only") == b"uno\n"
    assert out("get", "--print-value-only", "a/1") == b"uno\n", "flags may stand before words"
    assert out("put", "a/dash", "--", "-5") == b"OK\n" and out("get", "a/dash") == b"a/dash\n-5\n"
    assert out("put", "a/new", "--ignore-value", code=ERROR) == b"Error: key not found\n"
    assert out("put", "", "x", code=ERROR) == b"Error: key is not provided\n"
    out("put", code=BAD_ARGS)
    out("put", "a", "b", "c", code=BAD_ARGS)
    out("get", code=BAD_ARGS)


def values_come_from_standard_input_byte_for_byte():
    everything = bytes(range(256)) * 500
    assert out("put", "b/binary", stdin=everything) == b"OK\n"
    assert out("get", "b/binary", "--print-value-only") == everything + b"\n"
    assert out("put", "b/line", stdin=b"line\n") == b"OK\n"
    assert out("get", "b/line", "--print-value-only") == b"line\n\n"
    assert out("get", "b/line", "--hex") == b"\\x62\\x2f\\x6c\\x69\\x6e\\x65\n\\x6c\\x69\\x6e\\x65\\x0a\n"
    out("put", "b/nothing", code=BAD_ARGS, stdin=b"")
    assert b"too large" in out("put", "b/huge", code=ERROR, stdin=bytes(1600000))
    assert out("get", "b/huge") == b""


def ranges_are_limited_sorted_filtered_and_counted():
    for i, value in enumerate(b"cadb"):
        out("put", f"c/{i}", bytes([value]).decode())
    out("put", "c/0", "e")
    keys = b"c/0\ne\nc/1\na\nc/2\nd\nc/3\nb\n"
    assert out("get", "c/", "--prefix") == keys
    assert out("get", "c/", "c0") == keys
    assert out("get", "c/1", "c/3") == b"c/1\na\nc/2\nd\n"
    assert out("get", "c/2", "--from-key", "--limit", "2") == b"c/2\nd\nc/3\nb\n"
    assert out("get", "c/", "--prefix", "--limit=1") == b"c/0\ne\n"
    assert out("get", "c/", "--prefix", "--keys-only") == b"c/0\n\nc/1\n\nc/2\n\nc/3\n\n"
    values = lambda *more: out("get", "c/", "--prefix", "--print-value-only", *more).replace(b"\n", b"")
    assert values("--sort-by", "VALUE", "--order", "ASCEND") == b"abde"
    assert values("--sort-by=value", "--order=descend") == b"edba"
    assert values("--order=DESCEND") == b"bdae"
    assert values("--sort-by=CREATE", "--order=DESCEND") == b"bdae"
    assert values("--sort-by=MODIFY", "--order=ASCEND") == b"adbe"
    assert values("--sort-by=VERSION", "--order=DESCEND")[:1] == b"e"
    revisions = [p["mod_revision"] for p in json.loads(out("get", "c/", "--prefix", "-w", "json"))["kvs"]]
    assert values("--min-mod-rev", str(revisions[0])) == b"e"
    assert values("--max-mod-rev", str(revisions[2])) == b"ad"
    assert values("--max-create-rev", str(revisions[2])) == b"ead"
    assert values("--rev", str(revisions[0] - 1)) == b"cadb", "the past"
    assert values("--consistency", "s") == b"eadb"
    assert b'"Count" : 4\n' in out("get", "c/", "--prefix", "--count-only", "-w", "fields")
    assert json.loads(out("get", "c/", "--prefix", "--count-only", "-w", "json"))["count"] == 4
    for bad in (["--sort-by", "COLOUR"], ["--order", "UP"], ["--consistency", "x"], ["-w", "xml"], ["-w", "table"]):
        out("get", "c/", *bad, code=BAD_FEATURE)
    for bad in (["--prefix", "--from-key"], ["c0", "--prefix"], ["--count-only"]):
        out("get", "c/", *bad, code=BAD_ARGS)
    for bad in (["--frobnicate"], ["--limit", "many"]):
        out("get", "c/", *bad, code=ERROR)
    assert b"future revision" in out("get", "c/", "--rev", "99999999", code=ERROR)


def del_counts_and_shows_what_it_deleted():
    for i in range(5):
        out("put", f"d/{i}", f"v{i}")
    assert out("del", "d/none") == b"0\n"
    assert out("del", "d/0") == b"1\n"
    assert out("del", "d/1", "--prev-kv") == b"1\nd/1\nv1\n"
    assert out("del", "d/2", "d/4", "--prev-kv") == b"2\nd/2\nv2\nd/3\nv3\n"
    assert out("del", "d/", "--prefix") == b"1\n"
    assert out("get", "d/", "--prefix") == b""
    out("put", "zz/1", "last")
    assert out("del", "zz/", "--from-key") == b"1\n"
    out("del", code=BAD_ARGS)


TXN = b"""value("e/x") = "1"
ver("e/x") < "9"

put e/x "two words"
get e/x
del e/gone

put e/x 'failed'

"""


def txn_is_read_from_standard_input():
    out("put", "e/x", "1")
    out("put", "e/gone", "?")
    assert out("txn", stdin=TXN) == b"SUCCESS\n\nOK\n\ne/x\ntwo words\n\n1\n"
    assert out("txn", stdin=TXN) == b"FAILURE\n\nOK\n"
    assert out("get", "e/x", "--print-value-only") == b"failed\n"
    answer = json.loads(out("txn", "-w", "json", stdin=b'create("e/new") = "0"\n\nput e/new "\\x01\\xff"\n\n\n'))
    assert answer["succeeded"] and answer["responses"][0]["Response"]["response_put"], answer
    kv = json.loads(out("get", "e/new", "-w", "json"))["kvs"][0]
    assert base64.b64decode(kv["value"]) == b"\1\xff" and kv["create_revision"] == answer["header"]["revision"]
    assert out("txn", stdin=b'mod("e/new") > "0"\n\nget e/new --print-value-only\n\n\n').startswith(b"SUCCESS")
    for bad in (b"nonsense\n\n\n\n", b'value("e/x") ~ "1"\n\n\n\n', b"\nfrobnicate e/x\n\n\n", b"\nput e/x 1\n",
                b'colour("e/x") = "1"\n\n\n\n', b'mod("e/x") = "one"\n\n\n\n'):
        out("txn", code=INVALID_INPUT, stdin=bad)
    many = b"\n" + b"".join(b"put e/%d x\n" % i for i in range(129)) + b"\n\n"
    assert b"too many operations" in out("txn", code=INVALID_INPUT, stdin=many)
    twice = b"\nput e/twice 1\nput e/twice 2\n\n\n"
    assert out("txn", code=ERROR, stdin=twice) == b"Error: duplicate key given in txn request\n"
    assert out("get", "e/twice") == b""
    assert b"compares:" in out("txn", "-i", stdin=b"\n\n\n")


def compaction_gives_up_the_past():
    for i in range(3):
        out("put", "f", str(i))
    revision = json.loads(out("get", "f", "-w", "json"))["kvs"][0]["mod_revision"]
    assert out("get", "f", "--rev", str(revision - 1)) == b"f\n1\n"
    assert out("compaction", str(revision)) == b"compacted revision %d\n" % revision
    assert b"compacted" in out("get", "f", "--rev", str(revision - 1), code=ERROR)
    assert out("get", "f", "--rev", str(revision)) == b"f\n2\n"
    assert b"compacted" in out("compaction", str(revision), code=ERROR)
    assert b"future" in out("compaction", str(revision + 1000), code=ERROR)
    out("put", "f", "3")
    assert out("compaction", "--physical", str(revision + 1)).startswith(b"compacted revision")
    assert b"bad revision" in out("compaction", "first", code=ERROR)
    out("compaction", code=BAD_ARGS)


def json_has_every_number():
    out("put", "g/k", "v")
    answer = json.loads(out("get", "g/k", "-w", "json"))
    assert set(answer["header"]) == {"cluster_id", "member_id", "revision", "raft_term"}
    assert answer["count"] == 1 and "more" not in answer
    kv = answer["kvs"][0]
    assert base64.b64decode(kv["key"]) == b"g/k" and base64.b64decode(kv["value"]) == b"v" and kv["version"] == 1
    assert json.loads(out("put", "g/k", "w", "--prev-kv", "-w", "json"))["prev_kv"] == kv
    assert json.loads(out("del", "g/k", "-w", "json"))["deleted"] == 1
    fields = out("put", "g/k", "v", "-w", "fields")
    assert b'"Revision" : ' in fields and b'"ClusterID" : ' in fields


def the_environment_stands_for_flags():
    env = {"QUORATE_ENDPOINTS": node.endpoints(), "QUORATE_WRITE_OUT": "json"}
    assert json.loads(out("put", "h", "v", endpoints="", env=env))["header"]["revision"] > 0
    assert out("get", "h", "-w", "simple", endpoints="", env=env) == b"h\nv\n", "flags win"
    out("get", "h", endpoints="", env={"QUORATE_COMMAND_TIMEOUT": "soon"}, code=BAD_ARGS)


def a_dead_endpoint_is_passed_over():
    ports = Ports(1)
    dead = f"127.0.0.1:{ports.base}"
    assert out("put", "i", "v", endpoints=f"{dead},{node.endpoints()}") == b"OK\n"
    assert out("get", "i", endpoints=f"http://{dead},http://{node.endpoints()}") == b"i\nv\n"
    assert b"cannot reach" in out("get", "i", "--dial-timeout", "300ms", endpoints=dead, code=BAD_CONNECTION)
    ports.close()
    out("get", "i", endpoints="not an address", code=BAD_ARGS)


def who_asks_for_help_gets_it():
    for words in (["help"], ["--help"], ["get", "--help"], ["help", "txn"], ["-h"]):
        text = out(*words, endpoints="")
        assert b"Usage:" in text and len(text) > 300, words
    listed = [line.split()[0].decode() for line in out("help", endpoints="").split(b"Commands:\n")[1].split(b"\n\n")[0]
              .split(b"\n")]
    assert {"get", "put", "del", "txn", "load", "bench", "init", "up", "status", "admin"} <= set(listed)
    for command in listed:
        assert b"Usage: quorate " in out("help", command, endpoints="")
    code, text, err = run("frobnicate", endpoints="")
    assert code == ERROR and b"frobnicate" in err and not text
    assert out("version", endpoints="").startswith(b"quorate version: ")
    assert b"server version: " in out("version", "--server")


def output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([QUORATE, "put", "j", "v", "--endpoints", node.endpoints()], stdout=full,
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 6 and b"written" in done.stderr, done


def loaded(text, *flags, code=OK):
    return out("load", "-q", *flags, stdin=text, code=code)


def load_takes_its_formats():
    hard = b"tab\there, newline\nand \\ and \xff\x00"
    escaped = b"tab\\there, newline\\nand \\\\ and \\xff\\x00"
    assert b"loaded 2 keys" in loaded(b"k/1\tplain\nk/2\t" + escaped + b"\n")
    assert out("get", "k/2", "--print-value-only") == hard + b"\n"
    b64 = lambda b: base64.b64encode(b).decode()
    lines = "".join(json.dumps({"key": b64(b"k/%d" % i), "value": b64(hard * i)}) + "\n" for i in range(3, 6))
    assert b"loaded 3 keys" in loaded(lines.encode(), "--format", "json")
    assert out("get", "k/5", "--print-value-only") == hard * 5 + b"\n"
    assert b"loaded 2 keys" in loaded(b"3:k/6%d:%s3:k/70:" % (len(hard), hard), "--format=length")
    assert out("get", "k/6", "--print-value-only") == hard + b"\n"
    assert json.loads(loaded(b"k/1\tagain\n", "-w", "json"))["count"] == 1
    assert b"loaded 0 keys" in loaded(b"")
    for flags, bad in (([], b"no tab\n"), (["--format=json"], b"{\n"), (["--format=length"], b"9:short"),
                       ([], b"k/8\tgood\nbad\n")):
        assert b"pair " in loaded(bad, *flags, code=INVALID_INPUT)
    loaded(b"", "--format=xml", code=BAD_FEATURE)
    loaded(b"", "/no/such/file", code=INVALID_INPUT)


def a_key_that_comes_twice_has_its_last_value():
    text = b"".join(b"l/%d\tvalue %d\n" % (i % 7, i) for i in range(2000))
    assert b"loaded 2000 keys" in loaded(text, "--inflight", "512")
    got = out("get", "l/", "--prefix", "--print-value-only").split(b"\n")[:-1]
    assert got == [b"value %d" % max(i for i in range(2000) if i % 7 == k) for k in range(7)], got


def what_get_writes_as_json_load_puts_back():
    """docs/operations.md, "Backup"."""
    values = [b"plain", b"", bytes(range(256)), b"line\nline"]
    for i, value in enumerate(values):
        out("load", "-q", "--format=length", stdin=b"3:m/%d%d:%s" % (i, len(value), value))
    everything = json.loads(out("get", "--prefix", "m/", "-w", "json", "--command-timeout", "10m"))
    backup = "".join(json.dumps({"key": p["key"], "value": p.get("value", "")}) + "\n" for p in everything["kvs"])
    out("del", "--prefix", "m/")
    assert b"loaded 4 keys" in loaded(backup.encode(), "--format", "json")
    again = json.loads(out("get", "--prefix", "m/", "-w", "json"))
    assert [(p["key"], p.get("value", "")) for p in again["kvs"]] == \
        [(p["key"], p.get("value", "")) for p in everything["kvs"]] and len(again["kvs"]) == len(values)


def bench_prints_figures():
    text = out("bench", "--duration", "1s").decode()
    print("".join(f"# {line}\n" for line in text.splitlines()), end="")
    assert any(c.isdigit() for c in text) and "p99" in text, text


def status_members_and_hash_show_the_node():
    text = out("status").decode()
    assert "leader" in text and "raftd" in text and "gatewayd" in text, text
    tree = json.loads(out("status", "-w", "json"))
    assert len(tree["nodes"]) == 1 and tree["nodes"][0]["role"] == "leader" and tree["diverged"] is False
    assert {d["name"].split(".")[0]: d["state"] for d in tree["nodes"][0]["daemons"]} == \
        {"raftd": "up", "stored": "up", "leased": "up", "watchd": "up", "gatewayd": "up"}
    assert node.endpoints() in out("members").decode()
    assert out("member", "list") == out("members")
    assert len(json.loads(out("members", "-w", "json"))["members"]) == 1
    assert out("hash").strip()
    assert b"+-" in out("members", "-w", "table")


def a_daemon_that_is_down_is_shown_as_down():
    with Cluster() as c:
        stored = c.pid_of(1, "stored")
        os.kill(stored, 19)                              # SIGSTOP: `up` does not notice, gatewayd must
        try:
            until(lambda: "DOWN" in c.ctl("status", nodes=[0]).stdout, "status shows stored as down")
        finally:
            os.kill(stored, 18)
        until(lambda: "DOWN" not in c.ctl("status", nodes=[0]).stdout, "status shows everything up")


def init_makes_nodes_and_never_overwrites():
    folder = tempfile.mkdtemp(prefix="quorate-ctl-")
    try:
        target = os.path.join(folder, "made", "on", "the way")
        words = ["init", "--dir", target, "--nodes", "3", "--hosts", "10.0.0.1,10.0.0.2,fd00::3", "--name", "a,b,c",
                 "--base-port", "4000"]
        out(*words, endpoints="")
        files = {os.path.relpath(os.path.join(where, name), target): os.stat(os.path.join(where, name)).st_mode & 0o777
                 for where, _, names in os.walk(target) for name in names}
        assert set(files) == {f"node{i}/{f}" for i in range(3) for f in ("quorate.conf", "node.key", "cluster.secret")}
        assert all(mode == 0o600 for name, mode in files.items() if not name.endswith(".conf")), files
        texts = [open(os.path.join(target, f"node{i}", "quorate.conf"), encoding="ascii").read() for i in range(3)]
        members = [[line for line in t.splitlines() if line.startswith("member = ")] for t in texts]
        assert members[0] == members[1] == members[2] and len(set(members[0])) == 3
        assert members[0][2].startswith("member = 3 c [fd00::3]:4001 [fd00::3]:4000 "), members
        before = {name: open(os.path.join(target, name), "rb").read() for name in files}
        assert b"there already" in out(*words, code=ERROR, endpoints="")
        assert b"there already" in out("init", "--dir", target, code=ERROR, endpoints="")
        assert before == {name: open(os.path.join(target, name), "rb").read() for name in files}

        key = os.path.join(folder, "new.key")
        public = out("init", "--key", key, endpoints="").strip()
        assert len(public) == 64 and os.stat(key).st_mode & 0o777 == 0o600
        secret = open(key, "rb").read()
        out("init", "--key", key, code=ERROR, endpoints="")
        assert open(key, "rb").read() == secret and len(secret) == 65
        for bad in (["--nodes", "0"], ["--nodes", "10"], ["--hosts", "localhost"], ["--nodes", "2", "--name", "a,a"],
                    ["--base-port", "65535"], ["word"]):
            out("init", "--dir", os.path.join(folder, "bad"), *bad, code=BAD_ARGS, endpoints="")
        out("init", code=BAD_ARGS, endpoints="")
        assert not os.path.exists(os.path.join(folder, "bad"))
    finally:
        shutil.rmtree(folder)


def the_node_starts():
    node.__enter__()


def the_node_ends_cleanly():
    node.__exit__(None)


if __name__ == "__main__":
    tap([put_and_get_say_what_etcdctl_says, values_come_from_standard_input_byte_for_byte,
         ranges_are_limited_sorted_filtered_and_counted, del_counts_and_shows_what_it_deleted,
         txn_is_read_from_standard_input, compaction_gives_up_the_past, json_has_every_number,
         the_environment_stands_for_flags, a_dead_endpoint_is_passed_over, who_asks_for_help_gets_it,
         output_that_cannot_be_written_is_an_error, load_takes_its_formats, a_key_that_comes_twice_has_its_last_value,
         what_get_writes_as_json_load_puts_back, bench_prints_figures, status_members_and_hash_show_the_node,
         a_daemon_that_is_down_is_shown_as_down,
         init_makes_nodes_and_never_overwrites], always=[the_node_starts, the_node_ends_cleanly])
