#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The judge of histories is judged: it passes what is right and notices each kind of wrong."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import history
from harness import tap
from history import OK, UNKNOWN, Op


def op(kind, began, ended, revision, outcome=OK, succeeded=None, pairs=None, **kw):
    o = Op(kind, b"t", **kw)
    o.began, o.ended, o.revision, o.outcome, o.succeeded, o.pairs = began, ended, revision, outcome, succeeded, pairs
    return o


def put(began, ended, revision, key, value, outcome=OK):
    return op("put", began, ended, revision, outcome, writes=[(key, value)])


def cas(began, ended, revision, mod, value, succeeded=True, pairs=None):
    return op("txn", began, ended, revision, succeeded=succeeded, pairs=pairs, writes=[(b"/c/0", value)],
              compares=[(b"/c/0", mod)], key=b"/c/0")


def get(began, ended, revision, key, *pairs):
    return op("get", began, ended, revision, key=key, pairs=[[*p, 0] for p in pairs])


def pair(key, create, mod, version, value):
    return key, create, mod, version, value


def sound():
    """Revisions 2 to 7; 5 belongs to a write whose answer never came."""
    return [put(0, 1, 2, b"/h/0", b"a"),
            put(2, 3, 3, b"/h/0", b"b"),
            get(4, 5, 3, b"/h/0", pair(b"/h/0", 2, 3, 2, b"b")),
            cas(4, 6, 4, 0, b"1 x"),
            put(5, 6, 0, b"/h/1", b"lost answer", UNKNOWN),
            put(5, 6, 0, b"/h/2", b"never happened", UNKNOWN),
            cas(7, 8, 6, 4, b"2 y"),
            cas(9, 10, 6, 4, b"2 z", False, [[b"/c/0", 4, 6, 2, b"2 y", 0]]),
            op("txn", 9, 10, 7, succeeded=True, writes=[(b"/d/t", b"note")], deletes=[b"/h/0"]),
            get(11, 12, 7, b"/h/0")]


def at_5(revision):
    return {5: {b"/h/1": b"lost answer"}}.get(revision, {})


def judge(ops, last=7, then=at_5):
    return history.check(ops, 2, last, then)


def noticed(ops, word, **kw):
    try:
        judge(ops, **kw)
    except AssertionError as why:
        assert word in str(why), f"noticed, but as: {why}"
        return
    raise AssertionError("not noticed")


def changed(index, **values):
    ops = sound()
    for name, value in values.items():
        setattr(ops[index], name, value)
    return ops


def a_sound_history_passes():
    assert judge(sound()).at(b"/h/1", 7) == (b"lost answer", 5, 5, 1)


def a_stale_read_is_noticed():
    noticed(changed(2, revision=2, pairs=[[b"/h/0", 2, 2, 1, b"a", 0]]), "known before")


def a_read_of_what_never_was_is_noticed():
    noticed(changed(2, pairs=[[b"/h/0", 2, 3, 2, b"c", 0]]), "replay says")
    noticed(changed(2, pairs=[[b"/h/0", 2, 3, 1, b"b", 0]]), "replay says")
    noticed(changed(9, pairs=[[b"/h/0", 2, 3, 2, b"b", 0]]), "replay says")


def a_lost_write_is_noticed():
    noticed(sound(), "acknowledged and is not there", last=6)


def a_write_that_nobody_made_is_noticed():
    noticed(sound(), "nobody wrote", last=8)
    noticed(sound(), "not one of the unknown", then=lambda r: {b"/h/9": b"?"})


def a_second_effect_is_noticed():
    both = {5: {b"/h/1": b"lost answer"}, 8: {b"/h/1": b"lost answer"}}
    noticed(sound(), "twice", last=8, then=lambda r: both.get(r, {}))


def half_a_transaction_is_noticed():
    ops = changed(4, writes=[(b"/h/1", b"lost answer"), (b"/h/3", b"lost answer")])
    noticed(ops, "a part of")


def two_writes_at_one_revision_are_noticed():
    noticed(changed(1, revision=2), "one revision")


def writes_out_of_order_are_noticed():
    ops = sound()
    ops[0].revision, ops[1].revision = 3, 2
    ops[2].pairs = [[b"/h/0", 2, 3, 2, b"a", 0]]
    noticed(ops, "known before")


def a_compare_that_lied_is_noticed():
    noticed(changed(6, compares=[(b"/c/0", 3)]), "replay says False")
    noticed(changed(7, compares=[(b"/c/0", 6)]), "replay says True")


def a_count_that_jumps_is_noticed():
    noticed(changed(6, writes=[(b"/c/0", b"3 y")]), "went")


if __name__ == "__main__":
    tap([a_sound_history_passes, a_stale_read_is_noticed, a_read_of_what_never_was_is_noticed, a_lost_write_is_noticed,
         a_write_that_nobody_made_is_noticed, a_second_effect_is_noticed, half_a_transaction_is_noticed,
         two_writes_at_one_revision_are_noticed, writes_out_of_order_are_noticed, a_compare_that_lied_is_noticed,
         a_count_that_jumps_is_noticed])
