#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check_floors.py - whether the house stands: no #include goes up the floors, or across one, and no
folder has a circle between its modules. Tests: test_check_floors.py.

    check_floors.py [ROOT]

A module is the sources and headers of one stem: host/work/units.c and units.h. NAME_parts.h, which
the files of a large module share, is of NAME. Prints every offence, and exits with 1 where there
are any. Which file calls which: check_circles.py.
"""

import re
import sys
from pathlib import Path

# From the ground up. Folders side by side do not know each other; what is in none of them (tests,
# tools) is above all.
FLOORS = [
    ["host/base"],
    ["kernels", "host/formats", "host/store"],
    ["host/text", "host/model"],
    ["host/method"],
    ["host/config"],
    ["host/work"],
    ["host/lab"],
    ["host/measure"],
    ["experiments"],
]
ROOMS = {room: height for height, floor in enumerate(FLOORS) for room in floor}
# In place of CUDA's own headers where kernels are compiled for the CPU.
EMULATOR = "tests/emu/"
# What is behind the ops, a table of them made from their prototypes, is a part of their module.
PARTS = {"kernels/backend": "kernels/ops"}
SOURCES = {".c", ".h", ".cu", ".cuh"}
INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')


def room_of(path):
    """The room that the file is in, and its floor."""
    for room, height in ROOMS.items():
        if path.startswith(room + "/"):
            return room, height
    return path.split("/")[0], len(FLOORS)


def module_of(path):
    module = str(Path(path).with_suffix("")).removesuffix("_parts")
    return PARTS.get(module, module)


def includes(root):
    """(file, line, included file) of each #include of a file of the repository."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in SOURCES:
                for n, line in enumerate(path.read_text().splitlines(), 1):
                    found = INCLUDE.match(line)
                    if found and (root / found[1]).is_file():
                        yield str(path.relative_to(root)), n, found[1]


def wrong_ways(found):
    for path, n, other in found:
        (room, height), (other_room, other_height) = room_of(path), room_of(other)
        if other.startswith(EMULATOR) and room == "kernels":
            continue
        if room != other_room and height <= other_height:
            where = "above" if height < other_height else "beside"
            yield f"{path}:{n}: includes {other}, which is {where} it"


def neighbours(found):
    """Of each module, those of its folder that it includes."""
    knows = {}
    for path, _, other in found:
        a, b = module_of(path), module_of(other)
        if a != b and Path(a).parent == Path(b).parent:
            knows.setdefault(a, set()).add(b)
    return knows


def circles(knows):
    """One for each that comes back to itself by those that it knows, each circle once."""
    reported = set()
    for start in sorted(knows):
        ways = [[start]]  # the shortest first
        seen = set()
        while ways:
            way = ways.pop(0)
            if start in knows.get(way[-1], ()):
                if frozenset(way) not in reported:
                    reported.add(frozenset(way))
                    yield "circle: " + " -> ".join(way + [start])
                break
            for module in sorted(knows.get(way[-1], ())):
                if module not in seen:
                    seen.add(module)
                    ways.append(way + [module])


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = list(includes(root))
    if not found:
        sys.exit(f"check_floors: expected sources in {root}, found none")
    offences = [*wrong_ways(found), *circles(neighbours(found))]
    print(*offences, sep="\n", end="\n" if offences else "")
    sys.exit(1 if offences else 0)


if __name__ == "__main__":
    main()
