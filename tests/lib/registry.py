# SPDX-License-Identifier: Apache-2.0
"""The machine's own package registry as data: real keys, real values, multi-line ones and all."""
import re

STATUS = "/var/lib/dpkg/status"


def stanzas(data):
    return [s for s in re.split(rb"\n(?:[ \t]*\n)+", data.strip(b"\n")) if s]


def fields(stanza):
    """[(name, value)]: a value is everything behind the colon and its blank, byte for byte, further lines included."""
    out = []
    for line in stanza.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            name, value = out[-1]
            out[-1] = (name, value + b"\n" + line)
        else:
            name, value = line.split(b":", 1)
            out.append((name, value[1:] if value.startswith(b" ") else value))
    return out


def unfields(pairs):
    return b"\n".join(name + b":" + (b" " if value and not value.startswith(b"\n") else b"") + value
                      for name, value in pairs)


def read(path=STATUS):
    """{/dpkg/<package>/<field>: value}; a package that is there for two architectures is <package>:<architecture>."""
    with open(path, "rb") as f:
        parsed = [fields(s) for s in stanzas(f.read())]
    seen = {}
    for pairs in parsed:
        name = dict(pairs)[b"Package"]
        seen[name] = seen.get(name, 0) + 1
    out = {}
    for pairs in parsed:
        package = dict(pairs)
        name = package[b"Package"]
        if seen[name] > 1:
            name += b":" + package[b"Architecture"]
        for field, value in pairs:
            key = b"/dpkg/" + name + b"/" + field
            assert key not in out, key
            out[key] = value
    return out
