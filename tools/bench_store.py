#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What keeping results costs: four comparisons, each of two or more ways in one run, interleaved.

    make bench                                     all, with those against PyTorch (bench.py)
    python3 tools/bench_store.py capture --rounds 9

writer   units of activations through the engine's writer, and write(2) of the same bytes; both to a
         file each, flushed and renamed, in --folder and in memory (tests/bench_writer.c)
capture  attribution (IG-10, CosSim+AP) of 100 prompts of tiny-gemma2: with nothing saved; with
         effects per token; with them and resid_post of all layers, in float32 and float16
ranks    attribution, clamped generation and coherence by one process of one thread, one of two
         threads, two ranks of one thread
memory   peak memory of attribution of 100, 1,000 and 10,000 prompts, effects per token saved

Printed are medians of wall time and of CPU time (user and system, all processes): on a machine that
others use the second says more. With --record the figures go to results/bench/ with date, machine,
load, commit and command. Needs Python alone; 4 GB of disk.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORLD = ROOT / "models" / "small-world"
BENCH = ROOT / "build" / "bench"

CONFIG = """
experiment = [{experiments}];
output = "{output}";
model = {{ path = "{root}/models/tiny-gemma2"; template = "gemma2"; }};
sae = {{ path = "{root}/models/tiny-gemma2-scope"; width = "1k"; }};
prompts = {{
	harmful = {{ file = "{world}/harmful_test.json"; limit = 100; }};
	harmless = {{ file = "{world}/harmless_test.json"; limit = 100; }};
	attributed = {{ file = "{attributed}"; }};
}};
direction = {{ harmful = "harmful"; harmless = "harmless"; layer = 3; filter = false; }};
attribution = {{ prompts = ["attributed"]; methods = ["cossim_ap"]; }};
jailbreak = {{ scopes = ["global"]; }};
clamp = {{ prompts = ["harmful"]; scale = [-1.0]; }};
coherence = {{ prompts = "harmless"; methods = ["cossim_ap"]; }};
"""


def write_config(scratch, experiments, attributed=WORLD / "harmful_test.json"):
    path = scratch / "bench.cfg"
    path.write_text(CONFIG.format(experiments=", ".join(f'"{e}"' for e in experiments), root=ROOT, world=WORLD,
                                  output=scratch / "out.h5", attributed=attributed))
    return path


def run(processes, engine):
    """Runs engines side by side, each given as (arguments, environment): wall and CPU seconds of all, and the
    largest peak, MiB."""
    began = time.monotonic()
    started = [subprocess.Popen([str(engine), *map(str, arguments)], env={**os.environ, **environment},
                                stdout=subprocess.DEVNULL) for arguments, environment in processes]
    cpu, peak = 0.0, 0
    for process in started:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"engine: exit status {process.returncode}")
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
    return {"wall_s": time.monotonic() - began, "cpu_s": cpu, "peak_mib": peak / 1024}


def interleaved(ways, arguments):
    """{way: medians} of {way: processes}, round by round."""
    rounds = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, processes in ways.items():
            rounds[name].append(run(processes, arguments.engine))
    return {name: {key: statistics.median(r[key] for r in found) for key in found[0]}
            for name, found in rounds.items()}


def show(title, found, first):
    print(f"\n{title}\n  {'':34s} {'wall, s':>8s} {'ratio':>6s} {'CPU, s':>8s} {'ratio':>6s} {'MiB':>7s}")
    for name, row in found.items():
        print(f"  {name:34s} {row['wall_s']:8.2f} {row['wall_s'] / found[first]['wall_s']:6.2f} {row['cpu_s']:8.2f} "
              f"{row['cpu_s'] / found[first]['cpu_s']:6.2f} {row['peak_mib']:7.0f}", flush=True)


# ---- the four ------------------------------------------------------------------------------

def bench_writer(arguments, scratch):
    found = {}
    for name, folder in (("disk", scratch), ("memory", pathlib.Path("/dev/shm"))):
        with tempfile.TemporaryDirectory(dir=folder) as inside:
            out = subprocess.run([ROOT / "build/cpu/bench_writer", inside, "4"], capture_output=True, text=True,
                                 check=True).stdout
        found[name] = json.loads(out)
    print(f"\nwriter, GB/s\n  {'':34s} {'write(2)':>8s} {'writer':>8s} {'ratio':>6s}   {'of CPU time':>11s}")
    for name, types in found.items():
        for kind, row in types.items():
            print(f"  {name + ', ' + kind:34s} {row['gb'] / row['plain_s']:8.2f} {row['gb'] / row['writer_s']:8.2f} "
                  f"{row['plain_s'] / row['writer_s']:6.2f} {row['plain_cpu_s'] / row['writer_cpu_s']:13.2f}")
    return found


def bench_capture(arguments, scratch):
    config = write_config(scratch, ["direction", "attribution"])
    saved = {"nothing": [],
             "effects": ["attribution.save_per_token=true"],
             "effects, resid_post, float32": ["attribution.save_per_token=true", "save.resid_post=true"],
             "effects, resid_post, float16": ["attribution.save_per_token=true", "save.resid_post=true",
                                              "save.dtype=float16"]}
    ways = {name: [([config, "--set", f"threads={arguments.threads}", "--set", "attribution.save_per_token=false",
                     *(x for setting in settings for x in ("--set", setting))], {})]
            for name, settings in saved.items()}
    found = interleaved(ways, arguments)
    show("capture: attribution of 100 prompts, saving", found, "nothing")
    return found


def bench_ranks(arguments, scratch):
    config = write_config(scratch, ["direction", "attribution", "jailbreak", "coherence"])
    command = [config, "--set", "generate.prompts=10"]
    ways = {"1 process, 1 thread": [(command + ["--set", "threads=1"], {})],
            "1 process, 2 threads": [(command + ["--set", "threads=2"], {})],
            "2 ranks, 1 thread each": [(command + ["--set", "threads=1"],
                                        {"RANK": str(rank), "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "bench"})
                                       for rank in (0, 1)]}
    found = interleaved(ways, arguments)
    show("ranks", found, "1 process, 1 thread")
    return found


def bench_memory(arguments, scratch):
    texts = [p["instruction"] for p in json.loads((WORLD / "harmful_test.json").read_text())]
    ways = {}
    for n in (100, 1000, 10000):
        prompts = scratch / f"{n}.json"
        prompts.write_text(json.dumps([{"instruction": texts[i % len(texts)]} for i in range(n)]))
        folder = scratch / str(n)
        folder.mkdir()
        config = write_config(folder, ["direction", "attribution"], prompts)
        ways[f"{n} prompts"] = [([config, "--set", f"threads={arguments.threads}", "--set", "attribution.steps=1"], {})]
    found = {name: run(processes, arguments.engine) for name, processes in ways.items()}
    show("memory: attribution patching", found, "100 prompts")
    return found


BENCHES = {"writer": bench_writer, "capture": bench_capture, "ranks": bench_ranks, "memory": bench_memory}


def record(results, arguments, load):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    date = datetime.date.today().isoformat()
    path = ROOT / "results" / "bench" / f"store-{date}.json"
    path.write_text(json.dumps(dict(
        date=date, cpu=cpu, cores=os.cpu_count(), kernel=platform.release(), load_average=[load, os.getloadavg()[0]],
        commit=commit.stdout.strip(), command=" ".join(["python3", "tools/bench_store.py"] + sys.argv[1:]),
        rounds=arguments.rounds, results=results), indent=1) + "\n")
    print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; none is all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=pathlib.Path, default=BENCH, help="where files are written")
    parser.add_argument("--engine", default=ROOT / "engine", help="the program to run")
    parser.add_argument("--record", action="store_true", help="figures to results/bench")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.benches if name not in BENCHES]
    if unknown:
        parser.error(f"expected one of {', '.join(BENCHES)}, found {unknown[0]}")
    load, results = os.getloadavg()[0], {}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.benches or BENCHES:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
            results[name] = BENCHES[name](arguments, pathlib.Path(scratch))
    if arguments.record:
        record(results, arguments, load)


if __name__ == "__main__":
    main()
