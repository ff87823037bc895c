#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of STYLE.md that a machine can check. Prints TAP.

Usage: tidy.py [TOP]   TOP defaults to the folder two above this file.
"""
import os
import re
import sys

TOP = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else
                      os.environ.get("srcdir", os.path.join(os.path.dirname(__file__), "..", "..")))
CODE = ("libshared", "raftd", "stored", "leased", "watchd", "gatewayd", "client", "ctl", "tests", "bench")
FILE_LINES, HEADER_LINES, FUNCTION_LINES = 600, 250, 70
MANUAL_HEADER, MANUAL_LINES = "client/quorate.h", 1000   # the one public header is its own manual

# library -> what its include lines look like, and who alone may include it
ONE_INCLUDER = {
    "nng": (r"<nng/", ("libshared/rt/stream_nng.c",)),
    "msgpack": (r"<msgpack", ("libshared/proto/wire.c",)),
    "jansson": (r"<jansson\.h>", ("gatewayd/http/pbjson_in.c",)),
    "nghttp2": (r"<nghttp2/", ("gatewayd/h2/", "tests/", "bench/")),
    "lmdb": (r"<lmdb\.h>", ("libshared/mvcc/okv_lmdb.c", "bench/")),
    "sodium": (r"<sodium", ("raftd/noise", "libshared/rt/keyfile.c", "libshared/mvcc/",
                            "stored/core/", "tests/")),
}
# what a pure core may include from the system
PURE = ("raftd/core/", "stored/core/", "leased/core/", "watchd/core/")
PURE_SYSTEM = {"stdbool.h", "stddef.h", "stdint.h", "string.h", "stdlib.h", "inttypes.h", "limits.h"}
PURE_BANNED = re.compile(r"\b(mono_now|time|clock_gettime|rand|random|getrandom|log_write|log_info|log_warn|log_error|log_debug|printf|open|read|write|"
                         r"pthread_\w+|malloc_usable_size)\s*\(")
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|alloca|strtok|system|popen|"
                    r"sleep|usleep|nanosleep|rand|srand|signal|setjmp|longjmp|gmtime|localtime|asctime|"
                    r"ctime|strerror_r_|tmpnam|mktemp)\s*\(")
BANNED_FREE = ("tests/",)     # the test runner jumps out of a failed case


def files(suffixes):
    for top in CODE:
        for folder, _, names in os.walk(os.path.join(TOP, top)):
            for name in sorted(names):
                if name.endswith(suffixes):
                    path = os.path.join(folder, name)
                    yield os.path.relpath(path, TOP), open(path, encoding="utf-8").read()


def code_only(text):
    """Without comments and strings, with the same line breaks."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def functions(text):
    """(name, static, first line, lines) of each function: house style puts its braces in column 0."""
    lines = code_only(text).split("\n")
    for i, line in enumerate(lines):
        if line != "{":
            continue
        head, k = "", i - 1
        while k >= 0 and lines[k] and lines[k][0] not in "}#{" and not lines[k].endswith(";"):
            head, k = lines[k] + " " + head, k - 1
        m = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)\s", "", head))
        end = i
        while end < len(lines) and lines[end] != "}":
            end += 1
        if m:
            yield m.group(1), head.lstrip().startswith("static"), i + 1, end - i + 1


def every_file_says_its_licence():
    for path, text in files((".c", ".h", ".py", ".sh", ".am")):
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.split("\n")[:3]):
            yield path


def files_are_short():
    for path, text in files((".c", ".h", ".py", ".sh")):
        n = text.count("\n")
        most = HEADER_LINES if path.endswith(".h") and not path.startswith("tests/") else FILE_LINES
        if path == MANUAL_HEADER:
            most = MANUAL_LINES
        if n > most:
            yield f"{path}: {n} lines, at most {most}"


def functions_are_short():
    for path, text in files((".c",)):
        for name, _, line, n in functions(text):
            if n > FUNCTION_LINES:
                yield f"{path}:{line}: {name} has {n} lines, at most {FUNCTION_LINES}"


VARIANT = "libshared/rt/stream_unix.c"       # of stream_nng.c: one of them is linked


def names_are_unique():
    seen = {}
    for path, text in files((".c",)):
        if path.startswith(("tests/", "bench/")) or path == VARIANT:
            continue
        for name, static, line, _ in functions(text):
            if static or name == "main":
                continue
            # two variants of one function behind #if in one file are one name
            if name in seen and seen[name] != path:
                yield f"{path}:{line}: {name} is also in {seen[name]}"
            seen[name] = path


def each_library_has_one_includer():
    for path, text in files((".c", ".h")):
        for library, (pattern, allowed) in ONE_INCLUDER.items():
            if re.search(r"#include\s+" + pattern, text) and not path.startswith(allowed):
                yield f"{path} includes {library}"


def cores_are_pure():
    for path, text in files((".c", ".h")):
        if not path.startswith(PURE):
            continue
        for name in re.findall(r"#include\s+<([^>]+)>", text):
            if name not in PURE_SYSTEM:
                yield f"{path} includes <{name}>"
        for m in PURE_BANNED.finditer(code_only(text)):
            yield f"{path} calls {m.group(1)}"
        for m in re.finditer(r"^static (?!const|inline|_)[^(\n]*(=|;)", code_only(text), flags=re.M):
            yield f"{path} has a global: {m.group(0)}"


def no_banned_calls():
    for path, text in files((".c", ".h")):
        if path.startswith(BANNED_FREE):
            continue
        for m in BANNED.finditer(code_only(text)):
            yield f"{path} calls {m.group(1)}"


def every_message_is_documented():
    for path, text in files((".h",)):
        if path.startswith("tests/"):
            continue
        for number, name, help_text in re.findall(r"\bM\((\d+), (\w+), \"([^\"]*)\"\)", text):
            if len(help_text) < 8:
                yield f"{path}: message {number} {name} has no help"


def architecture_lists_the_links():
    code = open(os.path.join(TOP, "libshared/rt/peers.h"), encoding="utf-8").read()
    text = open(os.path.join(TOP, "ARCHITECTURE.md"), encoding="utf-8").read()
    for _, _, socket in re.findall(r"P\((\w+),\s*(\w+),\s*\"([^\"]+)\"\)", code):
        if socket not in text:
            yield f"ARCHITECTURE.md does not name {socket}"


def config_keys():
    """[(key, default)] of CONFIG_LIST."""
    code = open(os.path.join(TOP, "libshared/rt/config.h"), encoding="utf-8").read()
    return re.findall(r"^\tC\(\w+, (\w+), \"([^\"]*)\"", code, flags=re.M)


def the_manual_has_every_key_of_the_configuration():
    text = open(os.path.join(TOP, "docs/quorate.conf.5"), encoding="utf-8").read()
    rows = re.findall(r"^\.It Cm (\w+) = Ar .*\n((?:(?!\.It).*\n)*)", text, flags=re.M)
    manual = {key: body for key, body in rows if key != "member"}
    for key, default in config_keys():
        if key not in manual:
            yield f"quorate.conf.5 does not say what {key} is"
        elif default and f"Default: {default}." not in manual[key]:
            yield f"quorate.conf.5 does not give {key}'s default, {default}"
    for key in manual:
        if key not in dict(config_keys()):
            yield f"quorate.conf.5 lists {key}, which is no key"


def every_program_has_a_manual():
    for program in ("raftd", "stored", "watchd", "gatewayd"):
        if not os.path.exists(os.path.join(TOP, program, program + ".8")):
            yield f"{program}/{program}.8 is missing"
    for program in ("quorate", "quorate-etcd"):
        if not os.path.exists(os.path.join(TOP, f"ctl/{program}.1")):
            yield f"ctl/{program}.1 is missing"


CHECKS = [every_file_says_its_licence, files_are_short, functions_are_short, names_are_unique,
          each_library_has_one_includer, cores_are_pure, no_banned_calls, every_message_is_documented,
          architecture_lists_the_links, the_manual_has_every_key_of_the_configuration,
          every_program_has_a_manual]


def main():
    bad = 0
    print(f"1..{len(CHECKS)}")
    for i, check in enumerate(CHECKS, 1):
        found = list(check())
        for line in found:
            print(f"# {line}")
        print(f"{'not ok' if found else 'ok'} {i} - {check.__name__}")
        bad += bool(found)
    return bad != 0


sys.exit(main())
