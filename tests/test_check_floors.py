#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_floors.py on small houses with an offence planted in each: it must be named, with its place,
and a house without one must pass.

Exit status: 0 passed, 1 failed.
"""
import pathlib
import subprocess
import sys
import tempfile

CHECK = pathlib.Path(__file__).parent / "check_floors.py"

# Nothing of this is an offence.
SOUND = {
    "host/base/err.h": "",
    "host/text/text.h": '#include "host/base/err.h"',
    "host/text/text.c": '#include "host/text/text.h"\n#include "host/text/text_parts.h"',
    "host/text/text_parts.h": '#include "host/text/text.h"',
    "host/model/model.h": '#include "host/base/err.h"',
    "kernels/cuda/gpu.cuh": '#include "tests/emu/emu.h"',
    "tests/emu/emu.h": "",
    "experiments/main.c": '#include "host/text/text.h"\n#include "version.h"\n#include <stdio.h>',
}

# What is planted, and all that must be printed.
PLANTED = [
    ({}, ""),
    ({"host/text/text.h": '#include "host/base/err.h"\n\n# include  "experiments/e.h"',
      "experiments/e.h": ""},
     "host/text/text.h:3: includes experiments/e.h, which is above it\n"),
    ({"host/model/model.h": '#include "host/text/text.h"'},
     "host/model/model.h:1: includes host/text/text.h, which is beside it\n"),
    ({"host/base/err.h": '#include "tests/emu/emu.h"'},
     "host/base/err.h:1: includes tests/emu/emu.h, which is above it\n"),
    ({"kernels/cuda/k.cu": '#include "host/model/model.h"'},
     "kernels/cuda/k.cu:1: includes host/model/model.h, which is above it\n"),
    # A circle of two through a source, and one of three through headers.
    ({"host/text/bpe.h": '#include "host/text/text.h"',
      "host/text/text.c": '#include "host/text/bpe.h"'},
     "circle: host/text/bpe -> host/text/text -> host/text/bpe\n"),
    ({"host/work/a.h": '#include "host/work/b.h"', "host/work/b.h": '#include "host/work/c.h"',
      "host/work/c.c": '#include "host/work/c.h"\n#include "host/work/a.h"', "host/work/c.h": "",
      "host/work/d.h": '#include "host/work/a.h"'},
     "circle: host/work/a -> host/work/b -> host/work/c -> host/work/a\n"),
]


def run(files):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True)


failures = 0
for planted, expected in PLANTED:
    done = run(SOUND | planted)
    if done.stdout != expected or done.returncode != (1 if expected else 0):
        print(f"FAIL expected {expected!r}, found {done.stdout!r}, status {done.returncode}", done.stderr)
        failures += 1
done = run({})
if done.returncode != 1 or "expected sources" not in done.stderr:
    print(f"FAIL a folder without a house: {done}")
    failures += 1
print(f"{len(PLANTED) + 1 - failures} passed, {failures} failed")
sys.exit(failures > 0)
