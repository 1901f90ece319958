#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What bench_loads says on the shape "tiny": every case is there once a round, every line is JSON, and
every figure of it is positive; SAEs fire as they should; a server answers line by line.

    python3 tests/test_loads.py PROGRAM DEVICE LOADS ROUNDS      exit status 1 with what is wrong
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

PROGRAM, DEVICE, LOADS, ROUNDS = sys.argv[1:4] + [int(sys.argv[4])]
COMMAND = [PROGRAM, "--shape", "tiny", "--device", DEVICE, "--loads", LOADS]


def check(truth, text):
    if not truth:
        sys.exit(f"test_loads: {text}")


def check_figures(line):
    for key, value in line.items():
        if key in ("round", "ms_per_step"):  # differences of times may be anything
            continue
        check(isinstance(value, str) or value > 0, f"expected positive figures, found {key} in {line}")
    check(line["side"] == "engine" and line["shape"] == "tiny" and line["load"] in LOADS, f"found {line}")
    if line["load"] == "e":
        check(abs(line["ratio"] * line["seconds_without"] / line["seconds"] - 1) < 1e-6, f"found {line}")
    if "l0" in line:
        check(30 < line["l0"] < 300, f"expected an L0 near 100, found {line}")
    check("failed" not in line and "not_run" not in line, f"expected figures, found {line}")


def batch():
    """The cases in the order of their lines."""
    with tempfile.TemporaryDirectory() as folder:
        file, room = pathlib.Path(folder, "lines"), pathlib.Path(folder, "room")
        room.mkdir()
        subprocess.run(COMMAND + ["--rounds", str(ROUNDS), "--json", file], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, TMPDIR=str(room)))
        check(not list(room.iterdir()), f"expected no file to be left, found {list(room.iterdir())}")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        check_figures(line)
    cases = [line["case"] for line in lines]
    check(cases == [c for c in dict.fromkeys(cases) for _ in range(ROUNDS)], f"expected {ROUNDS} rounds, found {cases}")
    return list(dict.fromkeys(cases))


def serve(cases):
    asked = [cases[0], cases[-1], cases[-1], "nonsense", "close", cases[0]]
    done = subprocess.run(COMMAND + ["--serve"], input="".join(f"{c}\n" for c in asked), check=True, text=True,
                          capture_output=True)
    ready, *answers = [json.loads(line) for line in done.stdout.splitlines()]
    check([c["case"] for c in ready["cases"]] == cases, f"expected {cases}, found {ready}")
    check(len(answers) == len(asked), f"expected an answer to each of {asked}, found {answers}")
    for question, line in zip(asked, answers):
        if question == "nonsense":
            check("failed" in line, f"expected a refusal, found {line}")
        elif question == "close":
            check(line == {"closed": True}, f"found {line}")
        else:
            check(line["case"] == question, f"expected {question}, found {line}")
            check_figures(line)


def refusals():
    for extra, text in ((["--loads", "f"], "--loads"), (["--shape", "huge"], "--shape"),
                        (["--rounds", "0"], "--rounds"), (["--rounds"], "--rounds")):
        done = subprocess.run(COMMAND + extra, text=True, capture_output=True)
        check(done.returncode == 2 and text in done.stderr, f"{extra}: expected status 2, found {done}")


found = batch()
check({c[0] for c in found} == set(LOADS), f"expected cases of {LOADS}, found {found}")
serve(found)
refusals()
