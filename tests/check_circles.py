#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_circles.py - whether files use each other in a circle: by what the linker sees, the names
that an object file defines and those it needs. Tests: test_check_circles.py.

    check_circles.py NM OBJECT...

A source that is compiled several times, once per instruction set, is one file. Prints every circle
with a name of each step, and exits with 1 where there are any.
"""

import subprocess
import sys

from check_floors import circles


def source_of(path):
    """The source of CMakeFiles/TARGET.dir/SOURCE.o, in which __ is the folder above."""
    return path.split(".dir/")[-1].replace("__/", "").removesuffix(".o")


def symbols(nm, objects):
    """(file, name, whether it is defined there) of each name that goes from file to file."""
    printed = subprocess.run([nm, "-g", "-P", "-A", *objects], check=True, capture_output=True, text=True)
    for line in printed.stdout.splitlines():
        path, name, kind = line.rsplit(":", 1)[0], *line.rsplit(":", 1)[1].split()[:2]
        yield source_of(path), name, kind not in "Uvw"


def main():
    nm, *objects = sys.argv[1:]
    found = list(symbols(nm, objects))
    home = {name: path for path, name, defined in found if defined}
    knows, tie = {}, {}
    for path, name, defined in found:
        other = home.get(name, path)
        if not defined and other != path:
            knows.setdefault(path, set()).add(other)
            tie.setdefault((path, other), name)
    if not knows:
        sys.exit(f"check_circles: expected objects that use each other, found none in {len(objects)}")
    offences = list(circles(knows))
    for offence in offences:
        way = offence.removeprefix("circle: ").split(" -> ")
        print(offence, "by", ", ".join(tie[step] for step in zip(way, way[1:])))
    sys.exit(1 if offences else 0)


if __name__ == "__main__":
    main()
