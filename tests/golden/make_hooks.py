#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Indirect effects under the hooks of the code released with arXiv:2505.23556, forward and backward,
registered in its order on real modules (tools/literal_torch.py, released_hooks).

  tests/golden/models/*/hooks.safetensors   effect_{ablated,released}.L [n_token, d_sae] of some of the
      models of make_models.py, PyTorch in float64, one prompt at a time; without the backward hook
      the same code must give the effects that lie beside it in expected.safetensors, of which
      direction and target are copies
  tests/golden/released/golden.npz          the released attribution of a few prompts of the small world
      on tiny-gemma2, in float64: what a paper_compatible run is held to (tests/test_released.py)

Run: python3 tests/golden/make_hooks.py     (needs what tools/requirements.txt names; a minute)
"""
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from literal_torch import (LiteralModel, ablation, load_gemma_scope, load_llama_scope, read_prompts,  # noqa: E402
                           released_hooks, top_global)

HERE = Path(__file__).parent
MODELS = ["gemma2_a", "gemma2_b", "llama_a", "llama_c"]
IG_STEPS, D_SAE = 4, 24
LAYER, K0, K_STAR, N_TRAIN, N_TEST = 3, 10, 20, 16, 10


# ---- the random models ------------------------------------------------------------------------

def run(model, ids, points):
    """Logits at the last position, resid_post of every layer passing through a module."""
    def through(layer):
        def replace(_module, _inputs, output):
            if isinstance(output, tuple):
                return (points[layer](output[0]), *output[1:])
            return points[layer](output)
        return replace

    handles = [block.register_forward_hook(through(l)) for l, block in enumerate(model.model.layers)]
    logits = model(input_ids=ids[None]).logits[0, -1]
    for handle in handles:
        handle.remove()
    return logits


def edited(edit, n_layers):
    """Points with a forward hook alone."""
    points = [torch.nn.Identity() for _ in range(n_layers)]
    for layer, point in enumerate(points):
        point.register_forward_hook(lambda _module, _inputs, x, layer=layer: edit(layer, x))
    return points


def effects(model, saes, u, ids, endpoint, hooks):
    """IE per layer [n_token, d_sae]; `hooks` puts an edit on the points of resid_post."""
    n, before, clean = len(saes), {}, {}

    def ablate(layer, x):
        before[layer] = x
        return x - (x @ u)[..., None] * u

    def keep(layer, x):
        clean[layer] = x
        return x

    with torch.no_grad():
        j = int(run(model, ids, edited(ablate, n)).argmax())
        run(model, ids, edited(keep, n))
    f_clean = [sae.encode(clean[l]) for l, sae in enumerate(saes)]
    ablated = [before[l] - (before[l] @ u)[..., None] * u for l in range(n)]
    f_patch = [sae.encode(x) for sae, x in zip(saes, ablated)]
    ends = ablated if endpoint == "ablated" else [before[l] for l in range(n)]
    eps_patch = [x - sae.decode(f) for sae, x, f in zip(saes, ends, f_patch)]
    gradient = [torch.zeros_like(f) for f in f_clean]
    for k in range(IG_STEPS):
        a, mixed = k / IG_STEPS, {}

        def mix(layer, x):
            sae = saes[layer]
            f = sae.encode(x)
            eps = x - sae.decode(f)
            f = (1 - a) * f + a * f_patch[layer]
            f.retain_grad()
            mixed[layer] = f
            return sae.decode(f) + (1 - a) * eps + a * eps_patch[layer]

        logits = run(model, ids, hooks(mix, n))
        (logits[j] - logits[0]).backward()
        for layer in range(n):
            gradient[layer] += mixed[layer].grad / IG_STEPS
    return [((p - c) * g)[0].detach() for p, c, g in zip(f_patch, f_clean, gradient)]


def of_all_prompts(model, saes, u, tokens, endpoint, hooks):
    each = [effects(model, saes, u, ids, endpoint, hooks) for ids in tokens]
    return [torch.cat([e[layer] for e in each]) for layer in range(len(saes))]


def make_model(name):
    folder = HERE / "models" / name
    expected = load_file(folder / "expected.safetensors")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model = model.double().eval()
    n_layers = model.config.num_hidden_layers
    load = (lambda l: load_gemma_scope(folder / "saes", l, D_SAE)) if name.startswith("gemma") else \
        (lambda l: load_llama_scope(folder / "saes", l))
    saes = [load(l).to(torch.float64) for l in range(n_layers)]
    u = torch.nn.functional.normalize(expected["direction"][1].double(), dim=0)
    tokens = expected["tokens"].long().split(expected["lengths"].tolist())
    out = {name: expected[name] for name in ("direction", "target")}
    for endpoint in ("ablated", "released"):
        without = of_all_prompts(model, saes, u, tokens, endpoint, edited)
        for layer, e in enumerate(without):
            want = expected[f"effect_{endpoint}.{layer}"].double()
            off = ((e - want).norm() / want.norm()).item()
            assert off < 3e-6, f"{name}: without the backward hook layer {layer} is off by {off:.1e}"
        with_it = of_all_prompts(model, saes, u, tokens, endpoint, released_hooks)
        for layer, e in enumerate(with_it):
            out[f"effect_{endpoint}.{layer}"] = e.float().contiguous()
        ratio = [(a.norm() / b.norm()).item() for a, b in zip(with_it, without)]
        print(f"{name}, {endpoint}: effects by those of the path, layer by layer:", *(f"{r:.2f}" for r in ratio))
    save_file(out, folder / "hooks.safetensors")


# ---- tiny-gemma2 --------------------------------------------------------------------------------

def make_released():
    """The settings that paper_compatible changes, one by one: positions from BOS on, the released end of the path
    and backward hook, SAEs rounded to bfloat16 with their thresholds."""
    world = ROOT / "models" / "small-world"
    lab = LiteralModel(ROOT / "models" / "tiny-gemma2", ROOT / "models" / "tiny-gemma2-scope", torch.float64, l0=18)
    lab.saes = [sae.to(torch.bfloat16).to(torch.float64) for sae in lab.saes]
    v = lab.direction(read_prompts(world / "harmful_train.json", N_TRAIN),
                      read_prompts(world / "harmless_train.json", N_TRAIN))[LAYER]
    prompts = read_prompts(world / "harmful_test.json", N_TEST)
    candidates = lab.candidates(v, K0)
    layers, features = torch.tensor(candidates).T
    out = {"layer": layers.numpy(), "feature": features.numpy()}
    for backward in ("straight_through", "path"):
        mean = lab.mean_effect(prompts, v, endpoint="released", skip="system", backward=backward)
        out[f"{backward}/per_prompt"] = mean[:, layers, features].numpy()
        out[f"{backward}/global"] = np.array(top_global(mean.mean(0), K_STAR, candidates))
    shared = len(set(map(tuple, out["path/global"])) & set(map(tuple, out["straight_through/global"])))
    together = np.corrcoef(out["path/per_prompt"].ravel(), out["straight_through/per_prompt"].ravel())[0, 1]
    print(f"tiny-gemma2: F* of the two ways share {shared} of {K_STAR}, effects correlate by {together:.3f}")
    (HERE / "released").mkdir(exist_ok=True)
    np.savez_compressed(HERE / "released" / "golden.npz", **out)


if __name__ == "__main__":
    for model_name in MODELS:
        make_model(model_name)
    make_released()
