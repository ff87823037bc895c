# SPDX-License-Identifier: Apache-2.0
"""Plays a sequence of requests (sequence.py) to two servers and compares all that they say.

Both stores begin a sequence empty, at the same revision, with their history compacted, so revisions are compared as
they are. What cannot be equal is made so first: ids of the cluster, terms, remaining times, the order of leases.

Each side has an observer, a watch of everything. What it reports is compared after each step, and is the model that
says what is still to be waited for: the events of the sequence's own watches, and which waiting locks must now be held.
"""
import time

import wire
from sequence import STREAMS, resolved
from server import CALL_S, Stream

NUDGE = b"\x01level"           # the key that makes revisions equal
SOFT_S = 1.0                   # for what may be waited for in vain without being a difference by itself
UNSEEN_S = 0.02                # for what a server does by itself and nobody can see: a lock's first watch...
UNSYNCED_S = 0.15              # ...and etcd's turn of watches that begin in the past


class Difference(Exception):
    """What was asked, and the two answers."""

    def __init__(self, number, what, a, b):
        super().__init__(what)
        self.number, self.what, self.a, self.b = number, what, a, b


class Apart(Exception):
    """A known difference after which the two stores are not the same any more: the sequence ends."""


class Side:
    """A server, as a run sees it."""

    def __init__(self, peer):
        self.peer = peer
        self.observer = None
        self.begin(0)

    def begin(self, revision):
        """Forgets the last run."""
        if self.observer is None or self.observer.status is not None:
            self.observer = Stream(self.peer, "Watch.Watch")
            self.observer.send({"create_request": {"key": b"\0", "range_end": b"\0", "prev_kv": True}})
            if not self.observer.wait(lambda r: r):
                raise Difference(0, "the observer's watch", "no answer", self.observer.status)
            assert self.observer.responses[0].get("created"), self.observer.responses
        self.seen = len(self.observer.responses)
        self.revision, self.events = revision, []
        self.streams = {}
        self.keepalives = None

    def stream(self, n):
        if n not in self.streams:
            self.streams[n] = Stream(self.peer, "Watch.Watch")
        return self.streams[n]

    def observe(self, revision):
        """Takes what the observer has seen, up to the revision; False if that does not come."""
        def there(responses):
            return any(e["kv"]["mod_revision"] >= revision for r in responses[self.seen:] for e in r.get("events", []))
        came = revision <= self.revision or self.observer.wait(there, CALL_S / 4)
        news = self.observer.responses[self.seen:]
        self.seen += len(news)
        for r in news:
            self.events += r.get("events", [])
        if self.events:
            self.revision = max(self.revision, self.events[-1]["kv"]["mod_revision"])
        return came

    def end(self):
        for stream in [*self.streams.values(), *([self.keepalives] if self.keepalives else [])]:
            stream.close()
        self.streams = {}


def plain_header(header):
    """Ids and terms: only that they are there."""
    return {k: v if k == "revision" else v != 0 for k, v in header.items()}


def plain(method, message, request):
    """A response without what must differ."""
    m = dict(message)
    if method == "Lease.LeaseGrant" and not request.get("ID"):
        m["ID"] = m.get("ID", 0) > 0
    if "header" in m:
        m["header"] = plain_header(m["header"])
    if method == "Lease.LeaseLeases" and "leases" in m:
        m["leases"] = sorted(row.get("ID", 0) for row in m["leases"])
    if method == "Lease.LeaseTimeToLive" and m.get("TTL", 0) > 0:
        m["TTL"] = "in time" if m["TTL"] <= m.get("grantedTTL", 0) else m["TTL"]
    if method == "Lease.LeaseTimeToLive" and "keys" in m:
        m["keys"] = sorted(m["keys"])
    return m


def plain_outcome(method, outcome, request):
    return ("ok", plain(method, outcome[1], request)) if outcome[0] == "ok" else outcome


def inside(key, low, end):
    if not end:
        return key == low
    return key >= low and (end == b"\0" or key < end)


def ends(response, watch_id):
    """It is the end of that watch. Those that are refused when they are made have -1, which is somebody's id too."""
    return response.get("canceled") and not response.get("created") and response.get("watch_id", 0) == watch_id


class Watching:
    """A watch that both sides have; what it is to get follows from what the observer saw."""

    def __init__(self, stream, request, created):
        self.stream, self.id = stream, created.get("watch_id", 0)
        self.low, self.end = request.get("key") or b"\0", request.get("range_end", b"")
        self.start = request.get("start_revision") or created["header"]["revision"] + 1
        self.drop = request.get("filters", [])
        self.first = None            # place in its stream's responses from which on it is meant: ids are used again
        self.over = False
        self.stop = None             # revision after which it was cancelled

    def wants(self, event):
        kv = event["kv"]
        return kv["mod_revision"] >= self.start and (self.stop is None or kv["mod_revision"] <= self.stop) and \
            inside(kv.get("key", b""), self.low, self.end) and event.get("type", 0) not in self.drop


class Waiting:
    """A Lock or Campaign under way: its key, and the revision it stands in the queue with."""

    def __init__(self, method, request):
        self.method, self.request, self.futures = method, request, []
        self.prefix = request.get("name", b"") + b"/"
        lease = request.get("lease", 0)
        self.key = self.prefix + (b"-%x" % -lease if lease < 0 else b"%x" % lease)
        self.rank, self.puts = None, False


class Run:
    """One sequence, played once.

    known    tells differences that are meant to be (known.py)
    fault    alters b's answers (planted.py)
    """

    def __init__(self, a, b, known=None, fault=None):
        self.a, self.b, self.sides = a, b, (a, b)
        self.known = known or (lambda *_: None)
        self.fault = fault or (lambda method, request, outcome: outcome)
        self.met = {}                # known differences by name
        self.asked = 0
        self.transcript = []         # (method, request, outcome a, outcome b) of each unary call

    # ---- equal stores to begin with

    def ask(self, side, method, request):
        outcome = side.peer.call(method, request)
        if outcome[0] != "ok":
            raise Difference(0, f"{side.peer.name}: {method} between runs", outcome, None)
        return outcome[1]

    def empty(self, side):
        self.ask(side, "KV.DeleteRange", {"key": b"\0", "range_end": b"\0"})
        for row in self.ask(side, "Lease.LeaseLeases", {}).get("leases", []):
            side.peer.call("Lease.LeaseRevoke", {"ID": row["ID"]})
        return self.ask(side, "KV.Put", {"key": NUDGE})["header"]["revision"]

    def level(self):
        at = [self.empty(side) for side in self.sides]
        for side, mine in zip(self.sides, at):
            while mine < max(at):
                mine = self.ask(side, "KV.Put", {"key": NUDGE})["header"]["revision"]
        for side in self.sides:
            self.revision = self.ask(side, "KV.DeleteRange", {"key": NUDGE})["header"]["revision"]
            side.peer.call("KV.Compact", {"revision": self.revision})
            side.observe(self.revision)
            side.begin(self.revision)
        self.base = self.compacted = self.revision
        self.live, self.watches, self.waits, self.observes = {}, [], [], []
        self.compared = 0            # events of the observers
        self.unsynced_until = 0.0
        self.ended = set()           # (stream, id) of watches that compaction has ended: not free yet

    # ---- steps

    def play(self, steps):
        """Raises Difference at the first that is not known."""
        self.level()
        try:
            for number, step in enumerate(steps):
                self.number = number
                getattr(self, "step_" + step[0])(*step[1:])
                self.settle()
            self.number = len(steps)
            self.finish()
        except Apart:
            pass
        finally:
            for wait in self.waits:
                for future in wait.futures:
                    future.cancel()
            for pair in self.observes:
                for stream in pair[1]:
                    stream.close()
            for side in self.sides:
                side.end()

    def differ(self, what, request, a, b, method=""):
        """The answers are not equal: fine if that is known, else the end of the run."""
        name = self.known(method, request, a, b)
        if name is None:
            raise Difference(self.number, f"{what} {request}", a, b)
        self.met[name] = self.met.get(name, 0) + 1
        if a[0] != b[0] or method == "Watch.Watch":
            raise Apart(name)

    def judge(self, method, request, a, b):
        self.asked += 1
        b = self.fault(method, request, b)
        self.transcript.append((method, request, a, b))
        a, b = plain_outcome(method, a, request), plain_outcome(method, b, request)
        if a != b:
            self.differ(method, request, a, b, method)
        for outcome in (a, b):
            if outcome[0] == "ok" and "header" in outcome[1]:
                self.revision = max(self.revision, outcome[1]["header"].get("revision", 0))

    def step_call(self, method, request):
        request = resolved(request, self)
        if method == "KV.Compact":
            self.rest()
        futures = [side.peer.begin(method, request) for side in self.sides]
        self.judge(method, request, *(side.peer.outcome(method, f) for side, f in zip(self.sides, futures)))
        if method == "KV.Compact" and request.get("revision", 0) <= self.revision:
            self.compacted = max(self.compacted, request.get("revision", 0))

    def step_short_lease(self, request):
        """Gone again before it could end: with nothing waited for in between."""
        self.step_call("Lease.LeaseGrant", request)
        self.step_call("Lease.LeaseRevoke", {"ID": request["ID"]})

    def rest(self):
        """Before a compaction: no watch must still begin in the past."""
        if self.waits or self.observes:
            self.unsynced_until = time.monotonic() + UNSYNCED_S
        time.sleep(max(0.0, self.unsynced_until - time.monotonic()))

    def step_keepalive(self, request):
        answers = []
        for side in self.sides:
            if side.keepalives is None:
                side.keepalives = Stream(side.peer, "Lease.LeaseKeepAlive")
            stream = side.keepalives
            n = len(stream.responses)
            stream.send(request)
            stream.wait(lambda r, n=n: len(r) > n)
            answers.append(("ok", stream.responses[n]) if len(stream.responses) > n else ("none", stream.status))
        self.judge("Lease.LeaseKeepAlive", request, *answers)

    def step_observe(self, request):
        self.observes.append((request, [Stream(side.peer, "Election.Observe", request) for side in self.sides]))
        time.sleep(UNSEEN_S)

    # ---- locks and elections

    def step_wait(self, method, request):
        wait = Waiting(method, request)
        mine = self.live.get(wait.key)
        wait.puts = method == "Election.Campaign" and mine is not None and mine.get("value", b"") != request.get("value", b"")
        older = [k for k, kv in self.live.items() if k.startswith(wait.prefix) and k != wait.key and
                 (mine is None or kv["create_revision"] < mine["create_revision"])]
        if mine is not None and older:
            return                               # nobody sees whether it has looked before the next step
        wait.futures = [side.peer.begin(method, request, 3 * CALL_S) for side in self.sides]
        self.waits.append(wait)
        if mine is not None or not older:
            wait.rank = 0                        # it is held at once, or refused
        else:
            self.wait_queued(wait)
            time.sleep(UNSEEN_S)

    def wait_queued(self, wait):
        """Until both sides have put the key, or have refused."""
        for side, future in zip(self.sides, wait.futures):
            done = []
            future.add_done_callback(lambda _, s=side, d=done: self.wake(s, d))
            side.observer.wait(lambda r, d=done, s=side: d or any("events" in x for x in r[s.seen:]), CALL_S / 4)
            side.observe(side.revision)
        self.revision = max(side.revision for side in self.sides)

    @staticmethod
    def wake(side, done):
        with side.observer.changed:
            done.append(True)
            side.observer.changed.notify_all()

    def held(self, wait):
        """Nobody stands before it (concurrency.Mutex, concurrency.Election)."""
        if wait.rank is None:
            kv = self.live.get(wait.key)
            wait.rank = kv["create_revision"] if kv else 0
        return not any(k.startswith(wait.prefix) and k != wait.key and kv["create_revision"] < wait.rank
                       for k, kv in self.live.items())

    def settle_waits(self):
        again = False
        for wait in list(self.waits):
            if self.held(wait):
                self.waits.remove(wait)
                outcomes = [side.peer.outcome(wait.method, f) for side, f in zip(self.sides, wait.futures)]
                self.judge(wait.method, wait.request, *outcomes)
                self.revision += wait.puts       # it has proclaimed the other value, or has failed to and resigned
                again = True
            elif any(f.done() for f in wait.futures):
                self.waits.remove(wait)
                self.judge(wait.method, wait.request, *(
                    side.peer.outcome(wait.method, f) if f.done() else ("waits",)
                    for side, f in zip(self.sides, wait.futures)))
        return again

    def settle_observes(self):
        for request, streams in self.observes:
            prefix = request.get("name", b"") + b"/"
            rows = [kv for k, kv in self.live.items() if k.startswith(prefix)]
            first = min((kv["create_revision"] for kv in rows), default=0)
            leaders = [kv for kv in rows if kv["create_revision"] == first]      # of whom it follows one
            for stream in streams:
                if leaders:
                    stream.wait(lambda r: r and r[-1].get("kv") in leaders, SOFT_S)

    # ---- watches

    def step_watch(self, n, request):
        request = resolved(request, self)
        create = request.get("create_request")
        start = create.get("start_revision", 0) if create is not None else 0
        if 0 < start <= self.compacted:          # at the border it depends on how far removal has come
            create["start_revision"] = start = self.compacted - 1
        if 0 < start <= self.revision:
            self.unsynced_until = time.monotonic() + UNSYNCED_S
        if create is None and "cancel_request" not in request and "progress_request" not in request:
            for side in self.sides:
                side.stream(n).send(request)
            return
        before = [len(side.stream(n).responses) for side in self.sides]
        if create is None:
            self.settle_watches()
        for side in self.sides:
            side.stream(n).send(request)
        if create is not None:
            self.watch_created(n, create, before)
        elif "cancel_request" in request:
            self.watch_canceled(n, request["cancel_request"].get("watch_id", 0), before)
        else:
            self.watch_answer(n, request, before, lambda r: r.get("watch_id") == -1)

    def watch_answer(self, n, request, before, ours):
        """The next control message on both sides, compared; `ours` tells it."""
        found = []
        for side, k in zip(self.sides, before):
            stream = side.stream(n)
            stream.wait(lambda r, k=k: any(ours(x) for x in r[k:]), CALL_S / 4)
            at = [i for i, x in enumerate(stream.responses) if i >= k and ours(x)]
            found.append((at[0], ("ok", stream.responses[at[0]])) if at else (k, ("none", stream.status)))
        self.judge("Watch.Watch", request, *(f[1] for f in found))
        return found

    def watch_created(self, n, request, before):
        (at_a, a), (at_b, b) = self.watch_answer(n, {"create_request": request}, before, lambda r: r.get("created"))
        if a[0] != "ok" or b[0] != "ok" or a[1].get("canceled"):
            return
        watch = Watching(n, request, a[1])
        watch.first = (at_a, at_b)
        start = request.get("start_revision", 0)
        if start != 0 and start < self.compacted:
            self.watch_answer(n, {"compacted": request}, watch.first, lambda r: ends(r, watch.id))
            self.ended.add((n, watch.id))
            return
        self.watches.append(watch)

    def watch_canceled(self, n, watch_id, before):
        """Only a watch that is there is answered for, and once one that compaction has ended."""
        if (n, watch_id) in self.ended:
            self.ended.remove((n, watch_id))
            self.watch_answer(n, {"cancel_request": {"watch_id": watch_id}}, before, lambda r: ends(r, watch_id))
        for watch in self.watches:
            if watch.stream == n and watch.id == watch_id and not watch.over:
                watch.over, watch.stop = True, self.revision
                self.watch_answer(n, {"cancel_request": {"watch_id": watch_id}}, watch.first,
                                  lambda r: ends(r, watch_id))

    def got(self, watch, s):
        """The events of a watch on side s, in order."""
        out = []
        for r in self.sides[s].stream(watch.stream).responses[watch.first[s]:]:
            if ends(r, watch.id):
                break
            if r.get("watch_id", 0) == watch.id:
                out += r.get("events", [])
        return out

    def settle_watches(self):
        for watch in self.watches:
            want = [e["kv"]["mod_revision"] for e in self.a.events if watch.wants(e)]
            both = []
            for s, side in enumerate(self.sides):
                stream = side.stream(watch.stream)
                stream.wait(lambda _, s=s: len(self.got(watch, s)) >= len(want), CALL_S / 4)
                both.append(self.got(watch, s))
            if both[0] != both[1]:
                self.differ("events of watch", vars(watch), both[0], both[1], "events")
            if [e["kv"]["mod_revision"] for e in both[0]] != want:
                self.differ("events of watch, as the observer saw them", vars(watch), both[0], want, "events")

    # ---- between the steps

    def settle_observers(self):
        for side in self.sides:
            side.observe(self.revision)
        for side in self.sides:                  # what one has seen the other is to see too
            side.observe(max(s.revision for s in self.sides))
            if side.observer.status is not None:
                raise Difference(self.number, f"{side.peer.name}: the observer's watch ended", side.observer.status, None)
        a, b = self.a.events[self.compared:], self.b.events[self.compared:]
        if a != b:
            self.differ("what happened", "", a, b, "observer")
        self.compared = len(self.a.events)
        for event in a:
            kv = event["kv"]
            if event.get("type", 0) == 0:
                self.live[kv.get("key", b"")] = kv
            else:
                self.live.pop(kv.get("key", b""), None)

    def settle(self):
        self.settle_observers()
        while self.settle_waits():
            self.settle_observers()
        self.settle_observes()
        self.settle_watches()

    def finish(self):
        """What waits is let go, and everything is compared once more."""
        for n in range(STREAMS):
            if n in self.a.streams or n in self.b.streams:
                self.step_watch(n, {"progress_request": {}})
        self.step_call("KV.DeleteRange", {"key": b"\0", "range_end": b"\0", "prev_kv": True})
        self.settle()
        for request, streams in self.observes:
            a, b = ([r.get("kv") for r in s.responses] for s in streams)
            if a != b:
                self.differ("Election.Observe", request, a, b, "Election.Observe")
        for wait in self.waits:
            self.differ(f"{wait.method} that should be held by now", wait.request,
                        *("done" if f.done() else "waits" for f in wait.futures))

