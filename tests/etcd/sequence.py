# SPDX-License-Identifier: Apache-2.0
"""Random sequences of requests: few keys, few leases, so that they meet; valid ones and others.

A step is a tuple:
    ("call", method, request)               answered at once
    ("wait", method, request)               Lock and Campaign: may be answered only after a later step
    ("watch", stream, request)              a message on one of the watch streams
    ("keepalive", request)
    ("short_lease", request)                a lease that is granted and at once revoked
    ("observe", request)
Numbers that depend on what came before are left open, so that a sequence can be cut and played again:
    Now(-2)             two revisions before the newest one
    Of("mod", b"a", 0)  what key a has there now: mod, create or version; 0 without such a key
"""
import random

KEYS = [b"a", b"b", b"a\0", b"ab", b"b/1", b"b/2", b"c", b"e/1"]
ODD_KEYS = [b"\0", b"\xff", b"\xff\xff", b"l/1", b"e/2", b"b/-5", b"k" * 600]
ENDS = [b"\0", b"b", b"c", b"b0", b"a", b"ab", b"zz", b"\xff", b"\0\0", b"a\0", b"b/2\0", b"k" * 600]
VALUES = [b"", b"1", b"2", b"\0\xff", b"v" * 300, b"x" * 5000]
LEASES = [1, 2, 3, 0x7fffffffffffffff, -5]
LEAST, LARGE = -(1 << 63), 1 << 62
STREAMS = 2
DEPTH = 3                # of nested transactions
TTL = 3000               # nothing expires in a run


class Now(int):
    def __repr__(self):
        return f"Now({int(self)})"

    def at(self, world):
        return world.revision + self


class Of(int):
    """Of(what, key, n): an int for the shape only."""

    def __new__(cls, what, key, plus=0):
        self = super().__new__(cls, plus)
        self.what, self.key = what, key
        return self

    def __repr__(self):
        return f"Of({self.what!r}, {self.key!r}, {int(self)})"

    def at(self, world):
        pair = world.live.get(self.key, {})
        name = {"mod": "mod_revision", "create": "create_revision", "version": "version"}[self.what]
        return pair.get(name, 0) + int(self)


def resolved(value, world):
    """The request with its open numbers filled in."""
    if isinstance(value, dict):
        return {k: resolved(v, world) for k, v in value.items()}
    if isinstance(value, list):
        return [resolved(v, world) for v in value]
    return value.at(world) if isinstance(value, (Now, Of)) else value


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def chance(self, p):
        return self.r.random() < p

    def key(self):
        if self.chance(0.02):
            return b""
        return self.r.choice(ODD_KEYS if self.chance(0.1) else KEYS)

    def end(self):
        return self.r.choice(ENDS)

    def revision(self):
        if self.chance(0.1):
            return self.r.choice([-1, 1, Now(1), Now(5), LARGE])
        return Now(-self.r.randrange(8))

    def lease(self):
        return self.r.choice([*LEASES, *LEASES, 99, 0])

    def maybe(self, request, p, field, make):
        if self.chance(p):
            request[field] = make()

    def put(self):
        q = {"key": self.key(), "value": self.r.choice(VALUES)}
        self.maybe(q, 0.25, "lease", self.lease)
        self.maybe(q, 0.3, "prev_kv", lambda: True)
        self.maybe(q, 0.1, "ignore_value", lambda: True)
        self.maybe(q, 0.1, "ignore_lease", lambda: True)
        if "ignore_value" in q and self.chance(0.7):
            del q["value"]
        return q

    def range(self):
        q = {"key": self.key()}
        self.maybe(q, 0.7, "range_end", self.end)
        if "range_end" in q and self.chance(0.3):
            q["key"] = b"\0"
        self.maybe(q, 0.3, "limit", lambda: self.r.choice([0, 1, 2, 3, -1, LARGE, LEAST]))
        self.maybe(q, 0.25, "revision", self.revision)
        self.maybe(q, 0.2, "sort_order", lambda: self.r.randrange(3))
        self.maybe(q, 0.2, "sort_target", lambda: self.r.randrange(5))
        for flag, p in (("serializable", 0.2), ("keys_only", 0.15), ("count_only", 0.1)):
            self.maybe(q, p, flag, lambda: True)
        for bound in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            self.maybe(q, 0.07, bound, self.revision)
        return q

    def delete(self):
        q = {"key": self.key()}
        self.maybe(q, 0.3, "range_end", self.end)
        self.maybe(q, 0.3, "prev_kv", lambda: True)
        return q

    def number(self, what, key):
        if self.chance(0.6):
            return Of(what, key, self.r.choice([0, 0, 0, 1, -1]))
        return self.r.choice([0, 1, -1, Now(-1)])

    def compare(self):
        key = self.key()
        q = {"key": key, "result": self.r.randrange(4), "target": self.r.randrange(5)}
        union = q["target"] if self.chance(0.93) else self.r.randrange(6)
        if union < 5:
            name = ("version", "create_revision", "mod_revision", "value", "lease")[union]
            q[name] = (self.number("version", key), self.number("create", key), self.number("mod", key),
                       self.r.choice(VALUES), self.lease())[union]
        self.maybe(q, 0.15, "range_end", self.end)
        return q

    def op(self, depth):
        kind = self.r.random()
        if kind < 0.02:
            return {}
        if kind < 0.35:
            return {"request_range": self.range()}
        if kind < 0.7:
            return {"request_put": self.put()}
        if kind < 0.88 or depth >= DEPTH:
            return {"request_delete_range": self.delete()}
        return {"request_txn": self.txn(depth + 1)}

    def ops(self, depth):
        return [self.op(depth) for _ in range(self.r.choice([0, 1, 1, 2, 3, 5]))]

    def txn(self, depth=1):
        q = {"compare": [self.compare() for _ in range(self.r.choice([0, 0, 1, 1, 2]))],
             "success": self.ops(depth), "failure": self.ops(depth)}
        if self.chance(0.004):
            q["success"] = [{"request_range": {"key": b"a"}}] * self.r.choice([128, 129])
        if self.chance(0.01):
            q["compare"] *= 65
        return q

    def compact(self):
        q = {"revision": Now(-self.r.choice([0, 1, 2, 4, 6])) if self.chance(0.85) else self.revision()}
        self.maybe(q, 0.3, "physical", lambda: True)
        return q

    def grant(self):
        return {"TTL": TTL if self.chance(0.9) else self.r.choice([9_000_000_000, 9_000_000_001, LARGE]), "ID": self.r.choice(LEASES)}

    def short_lease(self):
        """A TTL below the least one."""
        lease = self.r.choice(LEASES)
        return ("short_lease", {"TTL": self.r.choice([-1, 0, 1]), "ID": lease})

    def watch_create(self):
        q = {"key": self.key()}
        self.maybe(q, 0.6, "range_end", self.end)
        if self.chance(0.2):
            q["start_revision"] = self.r.choice([-1, Now(1), Now(2), Now(4), Now(0), Now(-1), Now(-3), Now(-6)])
        self.maybe(q, 0.3, "filters", lambda: self.r.choice([[0], [1], [0, 1]]))
        self.maybe(q, 0.3, "prev_kv", lambda: True)
        self.maybe(q, 0.2, "watch_id", lambda: self.r.choice([1, 1, 2, 3, 7, -1, -2, LARGE, LEAST]))
        for flag in ("fragment", "progress_notify"):
            self.maybe(q, 0.2, flag, lambda: True)
        return {"create_request": q}

    def watch(self):
        kind = self.r.random()
        if kind < 0.7:
            q = self.watch_create()
        elif kind < 0.88:
            q = {"cancel_request": {"watch_id": self.r.choice([0, 0, 1, 1, 2, 3, 7, -1, -2, LARGE])}}
        else:
            q = {"progress_request": {}} if kind < 0.98 else {}
        return ("watch", self.r.randrange(STREAMS), q)

    def name(self, usual):
        return usual if self.chance(0.9) else self.r.choice([b"", b"b"])

    def leader_key(self):
        name, lease = self.name(b"e"), self.r.choice(LEASES[:3])
        key = b"%s/%x" % (name, lease)
        return {"name": name, "key": key, "rev": Of("create", key, 0 if self.chance(0.8) else 1), "lease": lease}

    def election(self):
        kind = self.r.random()
        if kind < 0.4:
            return ("wait", "Election.Campaign", {"name": self.name(b"e"), "lease": self.r.choice([*LEASES, 99]),
                                                  "value": self.r.choice(VALUES)})
        if kind < 0.55:
            return ("observe", {"name": self.name(b"e")})
        if kind < 0.7:
            return ("call", "Election.Leader", {"name": self.name(b"e")})
        q = {"leader": self.leader_key()} if self.chance(0.95) else {}
        if kind < 0.85:
            return ("call", "Election.Proclaim", {**q, "value": self.r.choice(VALUES)})
        return ("call", "Election.Resign", q)

    def lock(self):
        if self.chance(0.6):
            return ("wait", "Lock.Lock", {"name": self.name(b"l"), "lease": self.r.choice([*LEASES, 99])})
        return ("call", "Lock.Unlock", {"key": b"%s/%x" % (self.name(b"l"), self.r.choice(LEASES))})

    def lease_question(self):
        kind = self.r.random()
        if kind < 0.5:
            q = {"ID": self.lease()}
            self.maybe(q, 0.7, "keys", lambda: True)
            return ("call", "Lease.LeaseTimeToLive", q)
        if kind < 0.7:
            return ("call", "Lease.LeaseLeases", {})
        return ("keepalive", {"ID": self.lease()})

    def step(self):
        rows = [(22, lambda: ("call", "KV.Put", self.put())), (17, lambda: ("call", "KV.Range", self.range())),
                (8, lambda: ("call", "KV.DeleteRange", self.delete())), (18, lambda: ("call", "KV.Txn", self.txn())),
                (2, lambda: ("call", "KV.Compact", self.compact())),
                (6, lambda: ("call", "Lease.LeaseGrant", self.grant())),
                (3, lambda: ("call", "Lease.LeaseRevoke", {"ID": self.lease()})), (1, self.short_lease),
                (4, self.lease_question), (8, self.watch), (4, self.lock), (5, self.election)]
        return self.r.choices([row[1] for row in rows], [row[0] for row in rows])[0]()

    def sequence(self):
        length, out = self.r.randrange(30, 61), []
        while len(out) < length:
            out.append(self.step())
        return out
