#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares our transformer with Hugging Face transformers, live, on random models.

Of every family the three shapes or more of tests/golden/make_models.py, each in --rounds variants:
sizes, windows, weights and prompts drawn anew. Every variant is written as a checkpoint, with the
weights in its type (float32, bfloat16 or float16), and read by ours and by transformers.

  float32   ours against transformers in float32 on the same (rounded) weights, eager attention:
            logits at the last positions and resid_post of every layer to 1e-5, gradients of
            logit[j] - logit[r] with respect to resid_post to 1e-4; max |difference| / max |value|
  bfloat16  ours on bfloat16 weights against transformers in float32 on the same weights must be
            no farther off than transformers' own run in bfloat16 is

Run: tests/parity_models.py [--rounds N] [--seed N] [NAME...]
(needs torch, transformers and safetensors; build/cpu/parity_model)
Exit status 1 when anything differs.
"""
import argparse
import copy
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/golden"))

import make_models  # noqa: E402

FORWARD, BACKWARD = 1e-5, 1e-4


def varied(config, draw):
    """Other sizes, as awkward as the ones there."""
    config = copy.deepcopy(config)
    if "head_dim" in config:
        config["hidden_size"] += config["num_attention_heads"] * draw.randrange(0, 5)
        config["head_dim"] += 2 * draw.randrange(0, 4)
    config["intermediate_size"] += draw.randrange(0, 20)
    config["vocab_size"] += draw.randrange(0, 50)
    if config.get("sliding_window"):
        config["sliding_window"] = draw.randrange(2, 20)
    if "layer_types" not in config:
        config["num_hidden_layers"] += draw.randrange(0, 3)
    return config


def transformers_model(config, dtype, state):
    hf_config = AutoConfig.for_model(**copy.deepcopy(config))
    hf_config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(hf_config)
    if state is not None:
        model.load_state_dict(state)
    model.tie_weights()
    return model.to(dtype).eval()


def transformers_run(model, prompts, pairs):
    """resid_post and gradients [layer, token, d], logits [prompt, vocabulary]."""
    resid, grads, logits = [], [], []
    for ids, pair in zip(prompts, pairs):
        x, g, z = make_models.run_prompt(model, ids, pair)
        resid.append(torch.stack(x)), grads.append(torch.stack(g)), logits.append(z)
    return [t.float().numpy() for t in (torch.cat(resid, 1), torch.cat(grads, 1), torch.stack(logits))]


def our_run(folder, config, prompts, pairs, program):
    request = [np.int32(len(prompts)).tobytes()]
    for ids, pair in zip(prompts, pairs):
        request += [np.int32(len(ids)).tobytes(), ids.numpy().astype(np.int32).tobytes(),
                    pair.numpy().astype(np.int32).tobytes()]
    done = subprocess.run([program, folder], input=b"".join(request), capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{folder}: {done.stderr.decode()}")
    values = np.frombuffer(done.stdout, np.float32)
    shape = config["num_hidden_layers"], sum(map(len, prompts)), config["hidden_size"]
    n = np.prod(shape)
    return values[:n].reshape(shape), values[n:2 * n].reshape(shape), values[2 * n:].reshape(len(prompts), -1)


def distance(a, b):
    """The worst over layers of max |a - b| / max |b|."""
    a, b = (x if x.ndim == 3 else x[None] for x in (a, b))
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(a, b))


def compare(name, spec, seed, program):
    draw = random.Random(f"{name} {seed}")
    torch.manual_seed(draw.randrange(1 << 30))
    config = varied(spec.config, draw)
    spec = make_models.dataclasses.replace(spec, config=config)
    model = transformers_model(config, torch.float32, None)
    make_models.randomise(model, spec.dtype)
    model.tie_weights()
    prompts = [torch.randint(0, config["vocab_size"], (draw.randrange(1, 60),)) for _ in range(6)]
    pairs = [torch.randperm(config["vocab_size"])[:2] for _ in prompts]
    with tempfile.TemporaryDirectory() as folder:
        make_models.write_checkpoint(pathlib.Path(folder), spec, model)
        ours = our_run(folder, config, prompts, pairs, program)
    theirs = transformers_run(model, prompts, pairs)
    off = [distance(a, b) for a, b in zip(ours, theirs)]
    spread = None
    if spec.dtype == torch.bfloat16:
        in_bf16 = transformers_model(config, torch.bfloat16, model.state_dict())
        spread = [distance(a, b) for a, b in zip(transformers_run(in_bf16, prompts, pairs), theirs)]
    return off, spread


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default=str(ROOT / "build/cpu/parity_model"))
    parser.add_argument("names", nargs="*", help="models of make_models.py; none = all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    failed = 0
    print(f"{'model':12} {'weights':8} {'resid_post':>10} {'gradient':>10} {'logits':>10}   "
          "spread of transformers' own bfloat16 run")
    for name in arguments.names or make_models.MODELS:
        spec = make_models.MODELS[name]
        runs = [compare(name, spec, arguments.seed + i, arguments.program) for i in range(arguments.rounds)]
        worst = [max(off[i] for off, _ in runs) for i in range(3)]
        bad = sum(not (off[0] <= FORWARD and off[1] <= BACKWARD and off[2] <= FORWARD) or
                  (spread is not None and not all(a <= b for a, b in zip(off, spread))) for off, spread in runs)
        least = [min(s[i] for _, s in runs) for i in range(3)] if runs[0][1] else None
        print(f"{name:12} {str(spec.dtype)[6:]:8} {worst[0]:10.1e} {worst[1]:10.1e} {worst[2]:10.1e}   "
              f"{' '.join(f'{x:.1e}' for x in least) if least else '-':24} {'DIFFERS' if bad else ''}")
        failed += bad
    print(f"{arguments.rounds * len(arguments.names or make_models.MODELS)} models, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
