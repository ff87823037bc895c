# SPDX-License-Identifier: Apache-2.0
"""Where ours is meant to answer otherwise than Debian's etcd 3.4.23, each with its reason."""

# (name, reason, test(method, request, theirs, ours)): the answers are those of pair.py
DIFFERENCES = []


def known(method, request, theirs, ours):
    """The name of the difference, or None."""
    for name, _, test in DIFFERENCES:
        if test(method, request, theirs, ours):
            return name
    return None
