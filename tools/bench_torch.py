#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times the literal PyTorch implementation (literal_torch.py) on one load, for tools/bench.py.

What is timed, loading apart:
    forward       plain forward of all prompts in left-padded batches, no hooks
    attribution   IG of `steps` steps with the SAE encoded and decoded inside the loop, all layers
    generate_1    greedy generation, one prompt at a time, no hooks
    generate_n    the same, all prompts in one batch
    clamped_1, clamped_n   the same with the published hook: full encode and decode at every layer
                  that has a chosen feature
Prints one JSON object: seconds per item, tokens generated, peak memory of the process.

    python3 tools/bench_torch.py --model M --sae S --width 16k --prompts FILE --n 16 ...
"""
import argparse
import json
import resource
import time

import torch

from literal_torch import LiteralModel, read_prompts, top_global


def wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(function):
    wait()
    start = time.perf_counter()
    result = function()
    wait()
    return time.perf_counter() - start, result


def move(lab, device):
    """Everything the literal implementation holds, to a device; what it makes later follows."""
    torch.set_default_device(device)
    lab.model.to(device)
    lab.saes = [type(sae)(*(getattr(sae, name).to(device) for name in
                            ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"))) for sae in lab.saes]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sae", required=True)
    parser.add_argument("--width", required=True)
    parser.add_argument("--l0", type=float)
    parser.add_argument("--harmful", required=True)
    parser.add_argument("--harmless", required=True)
    parser.add_argument("--n", type=int, required=True, help="prompts")
    parser.add_argument("--n-attribution", type=int, required=True, help="prompts attributed")
    parser.add_argument("--batch-attribution", type=int, required=True)
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--max-new", type=int, required=True)
    parser.add_argument("--n-single", type=int, required=True, help="prompts generated one at a time")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="*", help="time only these")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lab = LiteralModel(arguments.model, arguments.sae, torch.float32, arguments.width, arguments.l0)
    if arguments.device != "cpu":
        move(lab, arguments.device)
    lab.stop_id = -1  # every reply has max_new tokens, so that the work is the same everywhere
    harmful = read_prompts(arguments.harmful, arguments.n)
    harmless = read_prompts(arguments.harmless, arguments.n)
    wanted = lambda name: not arguments.only or name in arguments.only
    seconds = {}

    @torch.no_grad()
    def forward():
        for first in range(0, len(harmful), 64):
            lab.forward(*lab.batch(harmful[first:first + 64]))

    with torch.no_grad():
        x = lab._last_residuals(harmful)[0].mean(0) - lab._last_residuals(harmless)[0].mean(0)
    v = x[arguments.layer]
    if wanted("forward"):
        forward()
        seconds["forward"] = timed(forward)[0]
    features = lab.candidates(v, 10)
    if wanted("attribution"):
        chosen = harmful[:arguments.n_attribution]
        seconds["attribution"], effects = timed(
            lambda: lab.mean_effect(chosen, v, arguments.steps, batch_size=arguments.batch_attribution))
        features = top_global(effects.mean(0), 20, features)
    edit_for = lab.clamp(features[:20], -1.0)
    for name, edit in (("generate", None), ("clamped", edit_for)):
        if wanted(name + "_1"):
            seconds[name + "_1"] = timed(
                lambda: lab.generate(harmful[:arguments.n_single], edit, arguments.max_new, batch_size=1))[0]
        if wanted(name + "_n"):
            seconds[name + "_n"] = timed(
                lambda: lab.generate(harmful[:32], edit, arguments.max_new, batch_size=32))[0]
    print(json.dumps({"seconds": seconds, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
