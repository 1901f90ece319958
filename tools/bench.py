#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Benchmark of the engine against the literal PyTorch implementation, interleaved in one run.

    make bench                                  all loads, three rounds
    python3 tools/bench.py --loads tiny --rounds 5

Loads: tiny (models/tiny-gemma2 and its SAEs), 16k and 65k (a random Gemma-2 shape of 317 million
parameters with SAEs of that width for every layer, made in build/bench by make_checkpoint.py:
3 and 10 GB of disk, 16 GB of memory for PyTorch's side of 65k).

Every round runs the engine, then PyTorch, each as a process of its own with the same prompts,
lengths and threads; times are taken inside, loading apart. Printed are medians, their ratio, the
engine's share of time in matrix products, and peak memory of both processes. With --record the
figures go to results/bench/ as JSON with date, machine, versions, commit and command.

Needs h5py, numpy, torch, transformers, tokenizers, safetensors.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile

import h5py

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORLD = ROOT / "models" / "small-world"
BENCH = ROOT / "build" / "bench"

# n: prompts of the forward pass and of generation; n_attr, batch: attributed, at a time in PyTorch
LOADS = {
    "tiny": dict(model=ROOT / "models/tiny-gemma2", sae=ROOT / "models/tiny-gemma2-scope", width="1k", layer=3,
                 n=100, n_attr=100, batch=25, max_new=32, n_single=8, tokens=2048),
    "16k": dict(make="16k", width="16k", layer=9, n=32, n_attr=8, batch=4, max_new=16, n_single=2, tokens=512),
    "65k": dict(make="65k", width="65k", layer=9, n=32, n_attr=4, batch=2, max_new=8, n_single=1, tokens=512),
}

CONFIG = """
experiment = ["direction", "attribution", "jailbreak"];
output = "{output}";
threads = {threads};
device = "{device}";
profile = {profile};
model = {{ path = "{model}"; template = "gemma2"; }};
sae = {{ path = "{sae}"; width = "{width}"; }};
prompts = {{
	harmful = {{ file = "{world}/harmful_test.json"; limit = {n}; }};
	harmless = {{ file = "{world}/harmless_test.json"; limit = {n}; }};
	attributed = {{ file = "{world}/harmful_test.json"; limit = {n_attr}; }};
	continued = {{ file = "{world}/harmful_test.json"; limit = {n_gen}; }};
}};
direction = {{ harmful = "harmful"; harmless = "harmless"; layer = {layer}; filter = false; }};
attribution = {{ prompts = ["attributed"]; methods = ["cossim_ap"]; }};
jailbreak = {{ scopes = ["global"]; }};
clamp = {{ prompts = ["continued"]; scale = [-1.0]; }};
generate = {{ max_new_tokens = {max_new}; prompts = {side_by_side}; stop = "none"; }};
batch = {{ tokens = {tokens}; }};
"""


def prepare(load):
    if "make" not in load:
        return load["model"], load["sae"]
    folder = BENCH / f"gemma-2-300m-{load['make']}"
    if not (folder / "done").exists():
        subprocess.run([sys.executable, ROOT / "tools/make_checkpoint.py", "--like", "gemma-2-300m", "--width",
                        load["make"], folder], check=True)
        (folder / "done").touch()
    return folder / "model", folder / "scope"


def run_engine(load, model, sae, arguments, side_by_side, scratch):
    """(seconds by stage, peak MiB, share of matrix products) of one engine process."""
    output = scratch / "out.h5"
    config = scratch / "bench.cfg"
    n_gen = load["n_single"] if side_by_side == 1 else 32
    config.write_text(CONFIG.format(output=output, threads=arguments.threads, device=arguments.device,
                                    # Times of single ops make a GPU wait after each.
                                    profile="true" if arguments.device == "cpu" else "false", model=model, sae=sae, world=WORLD, n_gen=n_gen,
                                    side_by_side=side_by_side, **{k: load[k] for k in
                                    ("width", "n", "n_attr", "layer", "max_new", "tokens")}))
    run = subprocess.run([arguments.engine, config], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"engine: {run.stderr}")
    with h5py.File(output) as file:
        stages = file["/provenance/stages"]
        seconds = {s.decode(): float(t) for s, t in zip(stages["stage"][:], stages["seconds"][:])}
    found = [re.search(pattern, run.stdout) for pattern in
             (r"peak memory of the process: ([\d.]+) MiB", r"(\d+) % in matrix products")]
    peak, gemm = (float(m[1]) if m else 0.0 for m in found)
    return seconds, peak, gemm / 100


def run_torch(load, model, sae, arguments):
    command = [sys.executable, ROOT / "tools/bench_torch.py", "--model", model, "--sae", sae, "--width", load["width"],
               "--harmful", WORLD / "harmful_test.json", "--harmless", WORLD / "harmless_test.json",
               "--n", load["n"], "--n-attribution", load["n_attr"], "--batch-attribution", load["batch"],
               "--layer", load["layer"], "--max-new", load["max_new"], "--n-single", load["n_single"],
               "--threads", arguments.threads, "--device", arguments.device.removesuffix(":f32")]
    run = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"bench_torch: {run.stderr[-2000:]}")
    result = json.loads(run.stdout.splitlines()[-1])
    return result["seconds"], result["peak_mib"]


def bench(name, arguments):
    load = LOADS[name]
    model, sae = prepare(load)
    ours, theirs, peaks, gemm = {}, {}, {"engine": [], "torch": []}, []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for round_ in range(arguments.rounds):
            print(f"{name}: round {round_ + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
            together, peak, share = run_engine(load, model, sae, arguments, 32, scratch)
            alone, _, _ = run_engine(load, model, sae, arguments, 1, scratch)
            clamp = "jailbreak: cossim_ap_global_x-1"
            for key, value in (("forward", together["direction: harmful"]),
                               ("attribution", together["attribution: integrated gradients"]),
                               ("generate_1", alone["jailbreak: none"]), ("clamped_1", alone[clamp]),
                               ("generate_n", together["jailbreak: none"]), ("clamped_n", together[clamp])):
                ours.setdefault(key, []).append(value)
            peaks["engine"].append(peak)
            gemm.append(share)
            seconds, peak = run_torch(load, model, sae, arguments)
            for key, value in seconds.items():
                theirs.setdefault(key, []).append(value)
            peaks["torch"].append(peak)
    median = lambda values: statistics.median(values)
    rows = {key: dict(engine_s=median(ours[key]), torch_s=median(theirs[key]),
                      ratio=median(theirs[key]) / median(ours[key])) for key in ours}
    return dict(rows=rows, engine_peak_mib=max(peaks["engine"]), torch_peak_mib=max(peaks["torch"]),
                gemm_share=median(gemm),
                clamped_over_unclamped=median(ours["generate_n"]) / median(ours["clamped_n"]))


TITLES = {"forward": "plain forward", "attribution": "IG-10, CosSim+AP", "generate_1": "generation, batch 1",
          "clamped_1": "clamped generation, batch 1", "generate_n": "generation, batch 32",
          "clamped_n": "clamped generation, batch 32"}


def report(name, result):
    print(f"\n{name}\n  {'':30s} {'engine, s':>10s} {'PyTorch, s':>10s} {'ratio':>8s}")
    for key, row in result["rows"].items():
        print(f"  {TITLES[key]:30s} {row['engine_s']:10.3f} {row['torch_s']:10.3f} {row['ratio']:7.1f}x")
    if not result["engine_peak_mib"]:
        return  # a GPU: neither memory nor single ops are measured
    print(f"  peak memory: engine {result['engine_peak_mib']:.0f} MiB, PyTorch {result['torch_peak_mib']:.0f} MiB, "
          f"ratio 1/{result['torch_peak_mib'] / result['engine_peak_mib']:.1f}")
    print(f"  clamped decoding runs at {result['clamped_over_unclamped']:.2f} of unclamped; "
          f"{100 * result['gemm_share']:.0f} % of kernel time in matrix products", flush=True)


def record(results, arguments):
    import torch
    import transformers
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    folder = ROOT / "results" / "bench"
    folder.mkdir(exist_ok=True)
    date = datetime.date.today().isoformat()
    path = folder / f"cpu-{date}.json"
    path.write_text(json.dumps(dict(
        date=date, cpu=cpu, cores=os.cpu_count(), threads=arguments.threads, kernel=platform.release(),
        torch=torch.__version__, transformers=transformers.__version__, commit=commit.stdout.strip(),
        command=" ".join(["python3", "tools/bench.py"] + sys.argv[1:]), rounds=arguments.rounds, loads=results),
        indent=1) + "\n")
    print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", nargs="*", default=list(LOADS), choices=list(LOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:N for both sides")
    parser.add_argument("--engine", default=ROOT / "engine", help="the program to run")
    parser.add_argument("--json", help="a file for the figures alone")
    parser.add_argument("--record", action="store_true", help="CPU figures, to results/bench")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.loads:
        results[name] = bench(name, arguments)
        report(name, results[name])
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")
    if arguments.record:
        record(results, arguments)


if __name__ == "__main__":
    main()
