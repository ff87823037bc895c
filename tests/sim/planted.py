#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Planted bugs: the simulator must find each of them. Prints TAP.

planted/NAME.bug says which lines of which files are replaced by what. The files are patched in a
copy, compiled with the build's own flags, and linked in the place of the good ones; the tree stays
as it is. Then the simulator runs seeds until one fails, within a budget.

A .bug file: the claim in its first line, then `seeds: N`, `options: ...` (of quorate-sim) and
`finds: PATTERN` (optional, what the failure must say), then pieces of `file: PATH`, `--- old`,
lines, `+++ new`, lines.

Usage: planted.py [PART_OF_A_NAME]     QUORATE_BUILD is the build folder (default: .), QUORATE_JOBS how many
                                       seeds run at a time (default: as many as there are cores)
"""
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(os.environ.get("QUORATE_BUILD", "."))
JOBS = os.environ.get("QUORATE_JOBS", "")
TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
MAKE_VARIABLES = {
    "compile": "$(CC) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) $(CPPFLAGS) $(AM_CFLAGS) $(CFLAGS)",
    "objects": "$(tests_sim_quorate_sim_OBJECTS)",
    "link": "$(AM_LDFLAGS) $(LDFLAGS)",
    "libs": "$(tests_sim_quorate_sim_LDADD) $(LIBS)",
}


def build_words():
    """What the build folder's makefile says, so that both are compiled alike."""
    rule = "; ".join(f"echo '{name}={text}'" for name, text in MAKE_VARIABLES.items())
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    text = subprocess.run(["make", "-s", "--no-print-directory", "--eval", f"quorate-words: ; @{rule}",
                           "quorate-words"], cwd=BUILD, env=env, check=True, capture_output=True,
                          text=True).stdout
    words = dict(line.split("=", 1) for line in text.splitlines())
    return {name: [w for w in shlex.split(words[name]) if w != "-Werror"] for name in MAKE_VARIABLES}


class Bug:
    def __init__(self, path):
        self.name = os.path.basename(path)[:-len(".bug")]
        self.settings, self.pieces = {"seeds": "300", "options": "", "finds": ""}, []
        lines = open(path, encoding="utf-8").read().split("\n")
        self.claim, where = lines[0].lstrip("# "), None
        for line in lines[1:]:
            m = re.match(r"(seeds|options|finds|file): (.*)$", line) if where in (None, "new") else None
            if m and m.group(1) == "file":
                self.pieces.append({"file": m.group(2), "old": [], "new": []})
                where = None
            elif m:
                self.settings[m.group(1)] = m.group(2)
            elif line in ("--- old", "+++ new"):
                where = line.split()[1]
            elif where:
                self.pieces[-1][where].append(line)

    def patched(self):
        """{path: text}; a piece whose old lines are not there exactly once is an error."""
        files = {}
        for p in self.pieces:
            text = files.get(p["file"]) or open(os.path.join(TOP, p["file"]), encoding="utf-8").read()
            old, new = ("\n".join(p[k]).rstrip("\n") for k in ("old", "new"))
            if text.count(old) != 1:
                raise LookupError(f"{p['file']} has its old lines {text.count(old)} times")
            files[p["file"]] = text.replace(old, new)
        return files


def build(bug, words, folder):
    objects, extra = list(words["objects"]), []
    for path, text in bug.patched().items():
        source = os.path.join(folder, os.path.basename(path))
        made = source[:-2] + ".o"
        with open(source, "w", encoding="utf-8") as out:
            out.write(text)
        subprocess.run(words["compile"] + ["-w", "-c", "-o", made, source], cwd=BUILD, check=True)
        good = path[:-2] + ".o"
        if good in objects:
            objects[objects.index(good)] = made
        else:
            extra.append(made)       # before the libraries: their copy is not taken then
    program = os.path.join(folder, "quorate-sim-planted")
    subprocess.run(words["compile"] + words["link"] + ["-o", program] + objects + extra + words["libs"],
                   cwd=BUILD, check=True)
    return program


def hunt(bug, program, folder):
    """None if it was found as it should be, else what is wrong."""
    args = [program, "--seeds", bug.settings["seeds"], "--stop-at-first", "--no-shrink"]
    if JOBS:
        args += ["--jobs", JOBS]
    run = subprocess.run(args + shlex.split(bug.settings["options"]), capture_output=True, text=True,
                         env={**os.environ, "TMPDIR": folder})
    found = re.findall(r"FAILED (.*)", run.stdout)
    for line in found[:1] or run.stdout.splitlines()[-1:]:
        print("#", line)
    if run.returncode == 0 or not found:
        return f"not found within {bug.settings['seeds']} seeds"
    if not re.search(bug.settings["finds"], found[0]):
        return f"something else was found, not {bug.settings['finds']}"
    return None


def main():
    bugs = [Bug(p) for p in sorted(glob.glob(os.path.join(os.path.dirname(__file__), "planted", "*.bug")))]
    bugs = [b for b in bugs if len(sys.argv) < 2 or sys.argv[1] in b.name]
    if os.environ.get("QUORATE_SANITIZED"):
        print("1..0 # SKIP the release build plants them")
        return 0
    words, bad = build_words(), 0
    print(f"1..{len(bugs)}", flush=True)
    for i, bug in enumerate(bugs, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                wrong = hunt(bug, build(bug, words, folder), folder)
            except (LookupError, subprocess.CalledProcessError) as e:
                wrong = str(e)
        if wrong:
            print("#", wrong)
        bad += wrong is not None
        print(f"{'not ok' if wrong else 'ok'} {i} - {bug.name}: {bug.claim}", flush=True)
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
