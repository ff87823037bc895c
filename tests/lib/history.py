# SPDX-License-Identifier: Apache-2.0
"""Recorded histories and their check by revision.

Every answer carries a revision, a total order of all writes, so no search is needed:
  - revisions of acknowledged writes are unique; a write whose outcome is unknown took effect at most once
  - every revision is explained by exactly one write, and replaying them in order makes every compare,
    read and version come out as it was answered
  - real time: an operation's revision is above (a write) or not below (a read) every revision that was
    known to anybody before it began
Values of one history are unique, so that a write is known by what it left behind.
"""
import bisect
import threading
import time

import rpc
from rpc import H_REVISION, P_CREATE, P_KEY, P_MOD, P_VALUE, P_VERSION, Rpc, RpcError, compare, op_delete, op_put, op_range

OK, UNKNOWN = "ok", "unknown"


class Op:
    __slots__ = ("kind", "writes", "deletes", "compares", "key", "end", "began", "ended", "outcome", "revision",
                 "succeeded", "pairs", "client")

    def __init__(self, kind, client, writes=(), compares=(), key=b"", end=b"", deletes=()):
        self.kind, self.client = kind, client            # put, txn or get
        self.writes, self.compares = list(writes), list(compares)     # [(key, value)], [(key, mod revision)]
        self.deletes = list(deletes)
        self.key, self.end = key, end                    # of a get, or of the get in a txn's else branch
        self.began = self.ended = 0.0
        self.outcome, self.revision, self.succeeded, self.pairs = UNKNOWN, 0, None, None

    def __repr__(self):
        return (f"<{self.kind} by {self.client} {self.writes or self.key} if {self.compares} {self.outcome} "
                f"revision {self.revision} succeeded {self.succeeded} {self.began:.4f}..{self.ended:.4f}>")


class Client(threading.Thread):
    """One session at one node that reads, writes and counts, one operation after the other."""

    def __init__(self, name, port, rng, keys=8, pause_s=0.001):
        super().__init__(daemon=True)
        self.name_bytes, self.port, self.rng, self.pause_s = name.encode(), port, rng, pause_s
        self.keys = [b"/h/%d" % i for i in range(keys)]
        self.counters = [b"/c/%d" % i for i in range(3)]
        self.ops, self.errors, self.serial, self.finished = [], [], 0, 0
        self.stopping = threading.Event()
        self.failure = None
        self.rpc = None
        self.known = {}                                  # counter -> (value, mod revision) as last seen

    def run(self):
        try:
            while not self.stopping.wait(self.pause_s):
                self.step()
        except BaseException as e:
            self.failure = e
        if self.rpc is not None:
            self.rpc.close()

    def unique(self, text=b"v"):
        self.serial += 1
        return b"%s %s-%d" % (text, self.name_bytes, self.serial)

    def choose(self):
        dice = self.rng.random()
        if dice < 0.35:
            return Op("put", self.name_bytes, [(self.rng.choice(self.keys), self.unique())])
        if dice < 0.42:                                  # two keys or none
            value, pair = self.unique(), self.rng.sample(self.keys, 2)
            return Op("txn", self.name_bytes, [(k, value) for k in pair])
        if dice < 0.47:                                  # what goes leaves a note
            return Op("txn", self.name_bytes, [(b"/d/" + self.name_bytes, self.unique())],
                      deletes=[self.rng.choice(self.keys)])
        if dice < 0.70:
            key = self.rng.choice(self.counters)
            count, mod = self.known.get(key, (0, 0))
            return Op("txn", self.name_bytes, [(key, self.unique(b"%d" % (count + 1)))], [(key, mod)], key)
        if dice < 0.90:
            return Op("get", self.name_bytes, key=self.rng.choice(self.keys + self.counters))
        return Op("get", self.name_bytes, key=b"/h/", end=b"/h0")

    def step(self):
        op = self.choose()
        try:
            if self.rpc is None:
                self.rpc = Rpc(self.port, timeout_s=60)
        except OSError:
            time.sleep(0.01)
            return
        self.ops.append(op)
        op.began = time.monotonic()
        try:
            self.ask(op)
            op.outcome = OK
            self.finished += 1
        except RpcError as e:
            self.errors.append((op, e))
            if e.again == rpc.AGAIN_SAFE or (op.kind == "get" and not op.writes):
                self.ops.pop()                           # said to have done nothing: the check will tell
            elif e.again == rpc.AGAIN_NO and e.code != rpc.RESULT_LOST:
                raise
        except OSError as e:
            if isinstance(e, TimeoutError):
                raise
            self.errors.append((op, e))
            self.rpc.close()
            self.rpc = None
            if op.kind == "get":
                self.ops.pop()
        op.ended = time.monotonic()

    def ask(self, op):
        if op.kind == "put":
            op.revision = self.rpc.put(*op.writes[0])
        elif op.kind == "get":
            header, _, _, op.pairs = self.rpc.range(op.key, op.end)
            op.revision = header[H_REVISION]
        else:
            compares = [compare(k, rpc.MOD, rpc.EQUAL, mod) for k, mod in op.compares]
            op.revision, op.succeeded, answers = self.rpc.txn(
                compares, [op_put(k, v) for k, v in op.writes] + [op_delete(k) for k in op.deletes],
                [op_range(op.key)] if op.compares else [])
            if op.compares and op.succeeded:
                self.known[op.key] = (int(op.writes[0][1].split()[0]), op.revision)
            elif op.compares:
                op.pairs = answers[0][0][3]
                self.known[op.key] = (int(op.pairs[0][P_VALUE].split()[0]), op.pairs[0][P_MOD]) if op.pairs else (0, 0)


class Clients:
    """A session at each of the ports, several if asked; stopped and joined at the end of the block."""

    def __init__(self, ports, rng, each=1, **kw):
        self.all = [Client(f"c{i}.{j}", port, type(rng)(rng.random()), **kw)
                    for i, port in enumerate(ports) for j in range(each)]
        self.own = []

    def __enter__(self):
        for c in self.all:
            c.start()
        return self

    def __exit__(self, kind, *_):
        for c in self.all:
            c.stopping.set()
        for c in self.all:
            c.join(60)
        if kind is None:
            for c in self.all:
                if c.failure is not None:
                    raise c.failure
                assert not c.is_alive(), "a client hangs"

    def done(self, i):
        """How many operations client i has finished."""
        return self.all[i].finished

    def put(self, r, key, size=0):
        """One more put, by the caller's connection, recorded with the others."""
        self.own.append(op := Op("put", b"caller", [(key, b"caller %d " % len(self.own) + bytes(size))]))
        op.began = time.monotonic()
        op.revision = r.put(*op.writes[0])
        op.ended, op.outcome = time.monotonic(), OK

    def ops(self):
        return [op for c in self.all for op in c.ops] + self.own


def writes_at(r, revision):
    """What was written at this revision, read from the past: {key: value}."""
    pairs = r.range(b"\0", b"\0", revision=revision, bounds=(revision, revision, 0, 0), serializable=True)[3]
    return {p[P_KEY]: p[P_VALUE] for p in pairs}


class Model:
    """All states, one after the other."""

    def __init__(self):
        self.keys = {}                                   # key -> ([revision], [(value, create, version)])

    def write(self, key, value, revision):
        revisions, rows = self.keys.setdefault(key, ([], []))
        create, version = (rows[-1][1], rows[-1][2]) if rows and rows[-1][0] is not None else (revision, 0)
        revisions.append(revision)
        rows.append((value, create, version + 1))

    def delete(self, key, revision):
        revisions, rows = self.keys.setdefault(key, ([], []))
        if rows and rows[-1][0] is not None:
            revisions.append(revision)
            rows.append((None, 0, 0))

    def at(self, key, revision):
        """(value, create, mod, version) or None"""
        revisions, rows = self.keys.get(key, ([], []))
        i = bisect.bisect_right(revisions, revision) - 1
        return None if i < 0 or rows[i][0] is None else (rows[i][0], rows[i][1], revisions[i], rows[i][2])

    def pairs(self, key, end, revision):
        keys = [key] if not end else sorted(k for k in self.keys if key <= k < end)
        rows = ((k, self.at(k, revision)) for k in keys)
        return [(k, *row) for k, row in rows if row is not None]


def explain(ops, last, first, read_revision):
    """{revision: op} for first..last; unknown outcomes are found by what they left behind."""
    by_revision, unknown = {}, {}
    for op in ops:
        if not op.writes:
            continue
        if op.outcome == UNKNOWN:
            unknown[op.writes[0][1]] = op
        elif op.succeeded is not False:
            assert op.revision not in by_revision, f"two writes at one revision:\n{by_revision[op.revision]}\n{op}"
            by_revision[op.revision] = op
    for revision in range(first, last + 1):
        if revision in by_revision:
            continue
        found = read_revision(revision)
        assert found, f"nobody wrote revision {revision}"
        value = next(iter(found.values()))
        op = unknown.pop(value, None)                    # popped: a second time is a second effect
        assert op is not None, f"revision {revision} holds {found}: not one of the unknown writes, or one of them twice"
        assert found == dict(op.writes), f"revision {revision} holds {found}, a part of {op}"
        op.revision = revision
        by_revision[revision] = op
    assert not by_revision or max(by_revision) <= last, "a write was acknowledged and is not there"
    assert len(by_revision) == last - first + 1, "an acknowledged revision is older than the history"
    return by_revision


def check_states(ops, model):
    for op in ops:
        if op.compares and op.revision and op.outcome == OK:
            before = op.revision - 1 if op.succeeded else op.revision
            held = all((model.at(k, before) or (0, 0, 0, 0))[2] == mod for k, mod in op.compares)
            assert held == op.succeeded, f"compares say {op.succeeded}, replay says {held}: {op}"
        if op.pairs is not None:
            got = [(p[P_KEY], p[P_VALUE], p[P_CREATE], p[P_MOD], p[P_VERSION]) for p in op.pairs]
            assert got == model.pairs(op.key, op.end, op.revision), \
                f"{op} answered\n{got}, replay says\n{model.pairs(op.key, op.end, op.revision)}"


def check_real_time(ops):
    """Sweeps over begin and end: what has been told to anybody is a lower bound for all that begins after."""
    events = []
    for op in ops:
        events.append((op.began, 1, op))
        if op.outcome == OK:
            events.append((op.ended, 0, op))
    known, floor = 0, {}
    for _, begins, op in sorted(events, key=lambda e: e[:2]):
        if begins:
            floor[id(op)] = known
        else:
            known = max(known, op.revision)
    for op in ops:
        if op.revision:
            wrote = op.writes and op.succeeded is not False
            low = floor[id(op)] + (1 if wrote else 0)
            assert op.revision >= low, f"revision {floor[id(op)]} was known before this began: {op}"


def check(ops, first, last, read_revision):
    """Raises AssertionError if no linearizable store can have answered like this. Returns the Model."""
    by_revision = explain(ops, last, first, read_revision)
    model = Model()
    for revision in range(first, last + 1):
        for key, value in by_revision[revision].writes:
            model.write(key, value, revision)
        for key in by_revision[revision].deletes:
            model.delete(key, revision)
    # a counter's every value is one more than the one before: nothing counted twice, nothing lost
    for key, (_, rows) in model.keys.items():
        if key.startswith(b"/c/"):
            counts = [int(value.split()[0]) for value, _, _ in rows]
            assert counts == list(range(1, len(counts) + 1)), f"counter {key} went {counts}"
    check_states(ops, model)
    check_real_time(ops)
    return model


def verify(cluster, clients, samples=40):
    """Checks what the clients of a cluster have seen, then every node's present and some of its past."""
    ops = clients.ops()
    for i in range(cluster.n):                           # the last reads: everything, from every node
        op = Op("get", b"verify", key=b"/", end=b"0")
        op.began = time.monotonic()
        with cluster.rpc(i) as r:
            header, _, _, op.pairs = r.range(op.key, op.end)
        op.ended, op.outcome, op.revision = time.monotonic(), OK, header[H_REVISION]
        ops.append(op)
    last = ops[-1].revision
    with cluster.rpc(0) as r:
        model = check(ops, 2, last, lambda revision: writes_at(r, revision))
    for i in range(cluster.n):
        with cluster.rpc(i) as r:
            for revision in range(2, last + 1, max(1, last // samples)):
                got = [(p[P_KEY], p[P_VALUE], p[P_CREATE], p[P_MOD], p[P_VERSION])
                       for p in r.range(b"/", b"0", revision=revision)[3]]
                assert got == model.pairs(b"/", b"0", revision), f"node {i} has another past at revision {revision}"
    unknown = sum(op.outcome == UNKNOWN for op in ops)
    print(f"# {len(ops)} operations, {last} revisions, {unknown} unknown outcomes")
    assert len(ops) > 150, "that was hardly a load"
