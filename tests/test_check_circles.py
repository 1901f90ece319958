#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_circles.py on small programs: a circle planted in one must be named, one without must pass.

    test_check_circles.py CC NM

Exit status: 0 passed, 1 failed.
"""
import pathlib
import subprocess
import sys
import tempfile

CHECK = pathlib.Path(__file__).parent / "check_circles.py"
CC, NM = sys.argv[1:]

# Sources, and all that must be printed.
PROGRAMS = [
    ({"a.c": "void b(void); void a(void) { b(); }", "b.c": "void b(void) {}"}, ""),
    # A table of functions is a tie too; what is static is not.
    ({"a.c": "extern void (*const t[])(void); static void b(void) {} void a(void) { t[0](); b(); }",
      "b.c": "void c(void); void b(void) { c(); }",
      "c.c": "void a(void); void (*const t[])(void) = {a}; void c(void) {}"},
     "circle: a.c -> c.c -> a.c by t, a\n"),
    ({"a.c": "void b(void); void a(void) { b(); }", "b.c": "void c(void); void b(void) { c(); }",
      "c.c": "void a(void); void c(void) { a(); }"},
     "circle: a.c -> b.c -> c.c -> a.c by b, c, a\n"),
]


def run(sources):
    with tempfile.TemporaryDirectory() as root:
        objects = []
        for name, text in sources.items():
            path = pathlib.Path(root, "t.dir", name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            objects.append(f"{path}.o")
            subprocess.run([CC, "-c", path, "-o", objects[-1]], check=True)
        return subprocess.run([sys.executable, CHECK, NM, *objects], capture_output=True, text=True)


failures = 0
for sources, expected in PROGRAMS:
    done = run(sources)
    if done.stdout != expected or done.returncode != (1 if expected else 0):
        print(f"FAIL expected {expected!r}, found {done.stdout!r}, status {done.returncode}", done.stderr)
        failures += 1
done = run({"a.c": "void a(void) {}"})
if done.returncode != 1 or "expected objects" not in done.stderr:
    print(f"FAIL objects that do not use each other: {done}")
    failures += 1
print(f"{len(PROGRAMS) + 1 - failures} passed, {failures} failed")
sys.exit(failures > 0)
