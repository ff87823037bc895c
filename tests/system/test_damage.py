#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Damage on disk: found, named, never served; what can be built again is built again."""
import glob
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import PATIENCE_S, QUORATE, Cluster, scaled, tap, until
from rpc import H_REVISION, S_APPLIED, S_APPLY_HASH, Pipeline, Request, RpcError

CORRUPT, CHECKSUM = 36, 68
N = scaled(2000, 500)


def fill(c, through=0, prefix=b"/damage/"):
    """{key: value}; every value is found in a file by its own bytes."""
    data = {prefix + b"%06d" % i: b"value %d %s" % (i, os.urandom(40).hex().encode()) for i in range(N)}
    line = Pipeline(c.port(through), [Request("put", [k, v]) for k, v in data.items()])
    line.start()
    line.finish()
    return data


def everything(c, i, prefix=b"/damage/", **kw):
    with c.rpc(i) as r:
        return r.get(prefix, prefix[:-1] + b"0", **kw)


def equal_everywhere(c):
    def equal():
        states = [c.status(i) for i in range(c.n)]
        return None not in states and len({s[S_APPLIED] for s in states}) == 1 and states
    states = until(equal, "all nodes have applied the same index")
    assert len({s[S_APPLY_HASH] for s in states}) == 1
    hashes = set()
    for i in range(c.n):
        with c.rpc(i) as r:
            hashes.add(r.call("hash", states[0][0][H_REVISION])[1])
    assert len(hashes) == 1, "the nodes' data differ"


def flip(pattern, needle):
    """Flips one bit in the middle of the needle, in every place of the files where it is; their names."""
    found = []
    for path in glob.glob(pattern):
        with open(path, "r+b") as f:
            data, at = f.read(), -1
            while (at := data.find(needle, at + 1)) >= 0:
                f.seek(at + len(needle) // 2)
                f.write(bytes([needle[len(needle) // 2] ^ 4]))
                found.append(path)
    return found


def hash_says(c):
    done = subprocess.run([QUORATE, "hash", "--endpoints", c.endpoints()], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, text=True, check=False)
    print("".join(f"# {line}\n" for line in done.stdout.splitlines()), end="")
    return done.returncode


def a_flipped_bit_in_the_store_is_never_served():
    with Cluster() as c:
        data = fill(c)
        equal_everywhere(c)
        key = b"/damage/%06d" % (N // 2)
        assert flip(os.path.join(c.node_dir(2), "data", "store", "gen-*", "data.mdb"), data[key]), "no such value"
        for kw in ({}, {"serializable": True}):
            with c.rpc(2) as r:
                try:
                    served = r.get(key, **kw)
                    raise AssertionError(f"it was served: {served}")
                except RpcError as e:
                    assert e.code in (CORRUPT, CHECKSUM), e
        for i in (0, 1):
            assert everything(c, i) == data
        log = os.path.join(c.node_dir(2), "log", "gatewayd.log")

        def said():                                      # `up` copies what daemons say: it may be a moment behind
            with open(log, encoding="utf-8") as f:
                return " error " in f.read()
        until(said, "the log says so")
        assert hash_says(c) != 0, "`quorate hash` finds nothing wrong"

        assert c.stop() == 0                             # as docs/operations.md says: it is a view
        shutil.move(os.path.join(c.node_dir(2), "data", "store"), os.path.join(c.dir, "damaged-store"))
        c.start()
        until(lambda: everything(c, 2) == data, "the store was built again from the log")
        equal_everywhere(c)


def a_flipped_bit_in_the_log_stops_that_node_and_names_the_place():
    with Cluster() as c:
        data = fill(c)
        node = (c.wait_leader() + 1) % 3
        key = b"/damage/%06d" % (N // 2)
        places = flip(os.path.join(c.node_dir(node), "data", "raft", "*.seg"), data[key])
        assert len(places) == 1, places
        c.expected = rb"fatal: cannot open the log"
        c.kill(node, "raftd")
        log = os.path.join(c.node_dir(node), "log", "raftd.log")

        def said():
            with open(log, encoding="utf-8") as f:
                return [line for line in f if "fatal: cannot open the log" in line]
        line = until(said, "raftd says what is wrong")[0]
        print(f"# {line.strip()}")
        assert os.path.basename(places[0]) in line and "offset" in line, line
        others = [i for i in range(3) if i != node]
        with c.rpc(others[0]) as r:
            assert r.put(b"/goes", b"on") > 0
        for i in others:
            assert everything(c, i) == data
        assert everything(c, node, serializable=True) == data, "what its store has is still right"


def tail_of(path):
    """Where the zeros begin that were prepared behind the last record."""
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def newest_segment(c, i):
    found = [p for p in glob.glob(os.path.join(c.node_dir(i), "data", "raft", "*.seg")) if os.path.getsize(p) > 1 << 20
             and tail_of(p) > 100]
    return max(found, key=os.path.getmtime)


def a_torn_tail_is_cut_and_nothing_acknowledged_is_lost():
    with Cluster() as c:
        data = fill(c)
        c.kill_all()
        for i in range(3):                               # docs/log-format.md, "Torn or corrupt"
            path = newest_segment(c, i)
            at = (tail_of(path) + 4095) // 4096 * 4096
            with open(path, "r+b") as f:
                f.seek(at + 512)                         # of a batch in flight the first sector did not make it
                f.write(os.urandom(1024 * (i + 1)))
        c.start()
        for i in range(3):
            assert everything(c, i) == data
        more = fill(c, 1, b"/later/")
        assert everything(c, 2, b"/later/") == more
        equal_everywhere(c)


def the_store_is_built_again_after_a_crash_of_the_system():
    with tempfile.NamedTemporaryFile("w", prefix="quorate-boot-") as boot:
        def reboot():
            boot.seek(0)
            boot.truncate()
            boot.write(f"{uuid.uuid4()}\n")
            boot.flush()

        reboot()
        with Cluster(env={"QUORATE_BOOT_ID_FILE": boot.name}) as c:
            data = fill(c)
            c.kill_all()
            c.start()                                    # only the processes died: the file goes on
            assert everything(c, 2) == data
            generations = [glob.glob(os.path.join(c.node_dir(i), "data", "store", "gen-*")) for i in range(3)]
            c.kill_all()
            reboot()
            for i in range(3):                           # unsynced pages are lost in any pattern
                with open(glob.glob(os.path.join(c.node_dir(i), "data", "store", "gen-*", "data.mdb"))[0], "r+b") as f:
                    f.seek(4096 * (2 + i))
                    f.write(os.urandom(4096 * 20))
            c.start()
            for i in range(3):
                assert everything(c, i) == data
                assert glob.glob(os.path.join(c.node_dir(i), "data", "store", "gen-*")) != generations[i]
            equal_everywhere(c)


def store_file(c, i):
    return glob.glob(os.path.join(c.node_dir(i), "data", "store", "gen-*", "data.mdb"))[0]


def a_damaged_state_file_means_a_new_store_and_no_loss():
    def flipped(text):
        at = len(text) // 2
        return text[:at] + bytes([text[at] ^ 1]) + text[at + 1:]

    with Cluster() as c:
        data = fill(c)
        for damage in (flipped, lambda text: text[:-1], lambda text: b"", lambda text: bytes(len(text)),
                       lambda text: os.urandom(300), None):
            assert c.stop() == 0
            path = os.path.join(c.node_dir(1), "data", "store", "STATE")
            if damage is None:
                os.unlink(path)
            else:
                with open(path, "r+b") as f:
                    text = damage(f.read())
                    f.seek(0)
                    f.truncate()
                    f.write(text)
            before = store_file(c, 1)
            c.start()
            assert store_file(c, 1) != before, "the file of unknown origin was gone on with"
            assert everything(c, 1) == data
            equal_everywhere(c)


def rubbish_in_lock_files_is_overwritten():
    with Cluster() as c:
        data = fill(c)
        assert c.stop() == 0
        for i in range(3):
            locks = [*glob.glob(os.path.join(c.node_dir(i), "run", "*.lock")), os.path.join(c.node_dir(i), "data/raft/lock"),
                     *glob.glob(os.path.join(c.node_dir(i), "data", "store", "gen-*", "lock.mdb"))]
            assert len(locks) >= 4, locks
            for path in locks:
                with open(path, "r+b") as f:
                    f.write(os.urandom(max(64, os.path.getsize(path))))
        c.start()
        for i in range(3):
            assert everything(c, i) == data
        more = fill(c, 1, b"/later/")
        assert everything(c, 0, b"/later/") == more


def a_half_zeroed_page_gives_no_wrong_value_and_the_hash_tells():
    """Half of some pages of the store is zeros, in a file that is gone on with. LMDB's pages have no checksums, only
    our rows have: rows can be hidden by that (docs/failure-modes.md), but none is served that was not written."""
    with Cluster() as c:
        c.expected = rb"node2 |raftd|stored"             # of the damaged node anything but an answer
        data = fill(c)
        equal_everywhere(c)
        assert c.stop() == 0
        path, keys = store_file(c, 2), sorted(data)
        with open(path, "r+b") as f:
            whole = f.read()
            for number, key in enumerate(keys[N // 8::N // 4]):
                at = -1
                while (at := whole.find(data[key], at + 1)) >= 0:
                    f.seek(at // 4096 * 4096 + number % 2 * 2048)
                    f.write(bytes(2048))
        c.start(wait=False)
        until(lambda: c.answers(0) and c.answers(1) or c.up.poll() is not None, "the others serve")
        right = refused = hidden = 0
        for key in keys[::max(1, N // 200)]:
            try:
                with c.rpc(2, timeout_s=5) as r:
                    got = r.get(key, serializable=True)
                assert got in ({key: data[key]}, {}), f"it was served: {got}"
                right, hidden = right + (got != {}), hidden + (got == {})
            except (RpcError, OSError):
                refused += 1
        print(f"# {right} keys served, {refused} refused, {hidden} hidden")
        assert refused + hidden, "nothing was damaged"
        assert hash_says(c) != 0, "`quorate hash` finds nothing wrong"
        try:
            assert all(everything(c, i) == data for i in (0, 1))
        except (RpcError, OSError):                      # a stored that ends at every start ends `quorate up`
            until(lambda: c.up.poll() is not None, "the cluster was given up")
            assert "node2 stored cannot run" in c.up_log()
        c.stop()
        for daemon in ("stored", "gatewayd"):            # whoever fell over it says so in our words, not in LMDB's
            with open(os.path.join(c.node_dir(2), "log", f"{daemon}.log"), encoding="utf-8") as f:
                assert not [line for line in f if line.startswith("mdb.c")], f"{daemon} was ended by LMDB"
        shutil.rmtree(os.path.dirname(os.path.dirname(path)))
        c.start()
        assert everything(c, 2) == data, "the store was built again from the log"
        equal_everywhere(c)


def hide_rows(path, needles):
    """Takes the last row off the list of each page on which one of the needles is: LMDB no longer sees it. The page's
    other rows, and all checksums, are as they were. How many pages."""
    pages = set()
    with open(path, "r+b") as f:
        whole = f.read()
        for needle in needles:
            at = -1
            while (at := whole.find(needle, at + 1)) >= 0:
                page = at // 4096 * 4096
                number, flags, lower = struct.unpack_from("=Q2xHH", whole, page)
                if number * 4096 != page or flags & ~0x10 != 0x02 or page in pages:   # a leaf, and in use
                    continue
                pages.add(page)
                f.seek(page + 12)
                f.write(struct.pack("=H", lower - 2))
    return len(pages)


def hidden_of(c, i, data):
    with c.rpc(i) as r:
        return [k for k, v in data.items() if r.get(k, serializable=True) != {k: v}]


def rows_that_a_page_hides_are_found_and_the_store_is_built_again():
    """The page is valid and its rows have their checksums, and yet one is missing: a read sees nothing. Who looks at
    the whole store does. `quorate admin stored check` looks now; the configuration says how often it is done else."""
    with Cluster() as c:
        c.expected = rb"node2 .*(damaged|stored)|stored.*(damage|ended)"
        data = fill(c)
        equal_everywhere(c)
        before = c.pid(2, "stored")
        assert "begun" in c.admin(2, "stored", "check")
        until(lambda: c.admin_json(2, "stored", "status")["snapshot"]["store_checks"] == 1, "a good store is whole")
        assert c.pid(2, "stored") == before
        assert c.stop() == 0
        keys = sorted(data)
        assert hide_rows(store_file(c, 2), [data[k] for k in keys[N // 8::N // 4]]) > 0
        c.start()
        hidden = hidden_of(c, 2, data)
        print(f"# {len(hidden)} keys hidden")
        assert hidden, "no row is missing: nothing was damaged"
        assert "begun" in c.admin(2, "stored", "check")

        def whole():                                     # no answer while stored is away is an answer too
            try:
                return not hidden_of(c, 2, data)
            except (RpcError, OSError):
                return False
        until(whole, "the store is built again, by itself")
        said = c.admin_json(2, "stored", "status")["file"]["begun_anew"]
        assert said == "it was found to be damaged", said
        equal_everywhere(c)
        assert hash_says(c) == 0


def the_whole_store_is_looked_at_from_time_to_time():
    c = Cluster()
    subprocess.run([QUORATE, "init", "--dir", c.data(), "--nodes", str(c.n), "--base-port", str(c.base)],
                   stdin=subprocess.DEVNULL, stdout=c.log, stderr=c.log, check=True)
    for i in range(c.n):
        with open(os.path.join(c.node_dir(i), "quorate.conf"), "a", encoding="ascii") as f:
            f.write("store_check_s = 1\n")
    with c:
        data = fill(c)
        for i in range(3):
            until(lambda i=i: c.admin_json(i, "stored", "status")["snapshot"]["store_checks"] >= 2, "it is looked at again")
        assert all(everything(c, i) == data for i in range(3))


def swapped(c, name, a=0, b=1):
    """Swaps a file or directory of two nodes."""
    one, two = (os.path.join(c.node_dir(i), "data", name) for i in (a, b))
    aside = os.path.join(c.dir, "aside")
    os.rename(one, aside)
    os.rename(two, one)
    os.rename(aside, two)


def files_of_another_node_are_refused_by_name():
    with Cluster() as c:
        c.expected = rb"belongs to node|of another store"
        data = fill(c)
        segment = os.path.relpath(newest_segment(c, 0), os.path.join(c.node_dir(0), "data"))
        for name, daemon in (("raft", "raftd"), ("store", "stored"), (segment, "raftd")):
            assert c.stop() == 0
            swapped(c, name)
            c.start(wait=False)
            for i in (0, 1):
                log = os.path.join(c.node_dir(i), "log", f"{daemon}.log")

                def said(path=log):
                    with open(path, encoding="utf-8") as f:
                        return [line for line in f if "fatal:" in line and "belongs to node" in line]
                print(f"# {until(said, f'{daemon} of node {i} refuses {name}')[-1].strip()}")
                os.unlink(log)
            c.stop()
            swapped(c, name)
            c.start()
            for i in range(3):
                assert everything(c, i) == data
        assert c.stop() == 0
        swapped(c, os.path.relpath(store_file(c, 0), os.path.join(c.node_dir(0), "data")))
        c.start()                                        # the view of another node: built anew
        for i in range(3):
            assert everything(c, i) == data
        equal_everywhere(c)


if __name__ == "__main__":
    tap([a_flipped_bit_in_the_store_is_never_served, a_flipped_bit_in_the_log_stops_that_node_and_names_the_place,
         a_torn_tail_is_cut_and_nothing_acknowledged_is_lost, the_store_is_built_again_after_a_crash_of_the_system,
         a_damaged_state_file_means_a_new_store_and_no_loss, rubbish_in_lock_files_is_overwritten,
         a_half_zeroed_page_gives_no_wrong_value_and_the_hash_tells, files_of_another_node_are_refused_by_name,
         rows_that_a_page_hides_are_found_and_the_store_is_built_again, the_whole_store_is_looked_at_from_time_to_time])
