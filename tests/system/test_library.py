#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""libquorate as it is installed: what it shows, and a program written from its header alone, built outside the
source tree with pkg-config, on a cluster whose daemons die."""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from harness import BUILD, Cluster, Skip, tap, until

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PREFIX = "/usr"


class Shared:
    place = cluster = None


def makefile(name):
    with open(os.path.join(BUILD, "Makefile"), encoding="utf-8") as f:
        return re.search(rf"^{name} = (.*)$", f.read(), flags=re.M).group(1)


def run(*command, env=None, cwd=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          env={**os.environ, **(env or {})}, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
    return done.stdout


def root(*parts):
    return os.path.join(Shared.place, "root", *parts)


def pkg_config(*what):
    env = {"PKG_CONFIG_LIBDIR": root("usr/lib/pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": root()}
    return shlex.split(run("pkg-config", *what, "quorate", env=env))


def build(source, program, *more):
    """As the library was built: a sanitizer wants all of a program."""
    flags = [f for f in shlex.split(makefile("QR_CFLAGS")) if f.startswith(("-fsanitize", "-fno-sanitize"))]
    flags += ["--coverage"] if "--coverage" in makefile("QR_CFLAGS") else []
    run(*shlex.split(makefile("CC")), "-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-pedantic", "-Werror",
        *flags, *pkg_config("--cflags"), source, "-o", program, *more, cwd=Shared.place)
    return os.path.join(Shared.place, program)


def it_is_installed():
    Shared.place = tempfile.mkdtemp(prefix="quorate-library-")
    quiet = {"MAKEFLAGS": "", "MAKELEVEL": "", "MFLAGS": ""}
    run("make", "-s", "-C", BUILD, "install", f"DESTDIR={root()}", f"prefix={PREFIX}", env=quiet)
    shutil.copy(os.path.join(TOP, "tests/system/outside.c"), Shared.place)
    Shared.cluster = Cluster(3)
    Shared.cluster.__enter__()


def it_shows_what_the_header_declares_and_nothing_else():
    with open(root("usr/include/quorate.h"), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    text = re.sub(r"static inline .*?\n}\n", "", text, flags=re.S)
    declared = set(re.findall(r"\b(quorate_\w+)\(", text)) - {"quorate_bytes"}
    shown = run("nm", "-D", "--defined-only", root("usr/lib/libquorate.so.0"))
    symbols = {line.split()[-1] for line in shown.splitlines()}
    symbols = {s for s in symbols if not s.startswith(("__asan", "__odr_asan", "__tsan", "__ubsan", "__sanitizer"))}
    assert symbols == {f"{d}@@QUORATE_1" for d in declared} | {"QUORATE_1"}, symbols ^ declared
    hidden = run("nm", "-g", "--defined-only", root("usr/lib/libquorate.a"))
    names = set(re.findall(r" [TDBRVW] (\w+)$", hidden, flags=re.M))
    assert {n for n in names if not n.startswith("__")} == declared, names ^ declared
    assert "SONAME" in run("objdump", "-p", root("usr/lib/libquorate.so")), "libquorate.so is the library"


def the_header_is_c99_and_cxx():
    program = os.path.join(Shared.place, "empty.c")
    with open(program, "w", encoding="ascii") as f:
        f.write("#include <quorate.h>\nint main(void) { return quorate_version() == 0; }\n")
    build("empty.c", "empty", *pkg_config("--libs"))
    if not shutil.which("clang"):
        raise Skip("no clang, which can C++ without its library")
    run("clang", "-x", "c++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *pkg_config("--cflags"),
        program)


def a_program_written_from_the_header_works():
    program = build("outside.c", "outside", *pkg_config("--libs"))
    env = {"LD_LIBRARY_PATH": root("usr/lib")}
    assert run(program, Shared.cluster.endpoints(), env=env).endswith("done\n")


def it_works_with_the_static_library_while_daemons_die():
    program = build("outside.c", "static", root("usr/lib/libquorate.a"), "-lpthread")
    assert "libquorate" not in run("ldd", program)
    cluster = Shared.cluster
    p = subprocess.Popen([program, cluster.endpoints(), "attacked"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    first = p.stdout.readline()
    if first == "attack\n":
        for i, daemon in [(0, "gatewayd"), (1, "gatewayd"), (2, "watchd"), (0, "watchd"), (1, "raftd"), (2, "gatewayd")]:
            old = cluster.pid_of(i, daemon)
            cluster.kill(i, daemon)
            cluster.reborn(i, daemon, old)
    out, _ = p.communicate(timeout=120)
    assert p.returncode == 0 and first == "attack\n" and out.endswith("done\n"), first + out
    print(f"# {out.splitlines()[0]}")


def it_is_gone_again():
    try:
        if Shared.cluster:
            Shared.cluster.__exit__(None)
    finally:
        shutil.rmtree(Shared.place)


tap([it_shows_what_the_header_declares_and_nothing_else, the_header_is_c99_and_cxx,
     a_program_written_from_the_header_works, it_works_with_the_static_library_while_daemons_die],
    always=(it_is_installed, it_is_gone_again))
