#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares two result files of one config, run on different devices.

    python3 tests/compare_results.py CPU.h5 GPU.h5            float32 products on both
    python3 tests/compare_results.py CPU.h5 GPU.h5 --rounded  the second rounds products to bfloat16
    python3 tests/compare_results.py A.h5 B.h5 --same         every bit, /provenance apart

Rounding of any kind turns near-ties over: features of almost equal effect change places, a reply
may part at a token where two were equally likely. So what is compared is what the method says:
the directions, metrics and effects by size; the chosen features by overlap; refusal by rate. Effects
are compared for prompts whose patched run ends in another token than the refusal: for the others
the metric is zero by definition. Prints a table; exits with 1 when a line is outside its limit.
"""
import argparse
import sys

import h5py
import numpy as np

# What is measured, and the most (or, for shares, the least) that is allowed: exact, rounded
LIMITS = {
    "direction: worst 1 - cosine": (1e-6, 2e-4),
    "metric: worst difference, of the largest": (1e-4, 2e-2),
    "effects per prompt: worst correlation": (0.999, 0.99),
    "global features: least overlap": (0.9, 0.75),
    "refusal rates: worst difference": (0.05, 0.15),
    "P(refusal): worst difference of means": (0.001, 0.02),
    "unedited replies: share of equal ones": (0.95, 0.6),
    "saved resid_post: worst 1 - cosine": (1e-6, 2e-4),
    "saved gradients: worst 1 - cosine of a layer": (1e-5, 1e-3),
}
AT_LEAST = ("effects per prompt: worst correlation", "global features: least overlap",
            "unedited replies: share of equal ones")


def cosines(a, b):
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def members(group):
    return set(zip(group["layer"][:].tolist(), group["feature"][:].tolist()))


def replies(group):
    ends = group["token_end"][:]
    return np.split(group["token_ids"][:], ends[:-1])


def compare_effects(a, b, out):
    a, b = a["indirect_effect/cossim_ap"], b["indirect_effect/cossim_ap"]
    metric_a, metric_b = a["metric_patched"][:], b["metric_patched"][:]
    same = (a["target"][:] == b["target"][:]) & (metric_a != 0)
    if not same.any():
        return
    out["metric: worst difference, of the largest"] = \
        np.abs(metric_a - metric_b)[same].max() / np.abs(metric_a).max()
    effect_a, effect_b = a["per_prompt"][:][same], b["per_prompt"][:][same]
    big = np.abs(effect_a).max(1) > 1e-4
    if big.any():
        out["effects per prompt: worst correlation"] = cosines(effect_a[big], effect_b[big]).min()


def compare_saved(a, b, out):
    """Gradients layer by layer: those of tokens that hardly matter are rounding alone."""
    for group, name, whole in (("activations", "saved resid_post: worst 1 - cosine", False),
                               ("gradients", "saved gradients: worst 1 - cosine of a layer", True)):
        if group in a:
            pairs = [(a[group][layer][:], b[group][layer][:]) for layer in a[group] if "blocks" in layer]
            pairs = [(x.reshape(1, -1), y.reshape(1, -1)) if whole else (x, y) for x, y in pairs]
            out[name] = max(1 - cosines(x, y).min() for x, y in pairs)


def compare(a, b):
    out = {"direction: worst 1 - cosine": 1 - cosines(a["direction/v"][:], b["direction/v"][:]).min()}
    if "indirect_effect/cossim_ap" in a:
        compare_effects(a, b, out)
    compare_saved(a, b, out)
    overlaps = []
    for method in a.get("feature_sets", {}):
        if "global" in a["feature_sets"][method] and method != "random":
            ours, theirs = (members(f["feature_sets"][method]["global"]) for f in (a, b))
            overlaps.append(len(ours & theirs) / len(ours))
    if overlaps:
        out["global features: least overlap"] = min(overlaps)
    rates, chances = [0.0], [0.0]
    for experiment in a.get("scores", {}):
        for condition in a["scores"][experiment]:
            if "_local" in condition:
                continue  # ranked by effects that are zero where ablation changes nothing
            ours, theirs = a["scores"][experiment][condition], b["scores"][experiment][condition]
            if "refusal" in ours:
                rates.append(abs(ours["refusal"][:].mean() - theirs["refusal"][:].mean()))
            if "p_refusal" in ours:
                chances.append(abs(ours["p_refusal"][:].mean() - theirs["p_refusal"][:].mean()))
    out["refusal rates: worst difference"] = max(rates)
    out["P(refusal): worst difference of means"] = max(chances)
    equal = []
    for experiment in a.get("generations", {}):
        if "none" in a["generations"][experiment]:
            pairs = zip(*(replies(f["generations"][experiment]["none"]) for f in (a, b)))
            equal += [np.array_equal(x, y) for x, y in pairs]
    if equal:
        out["unedited replies: share of equal ones"] = np.mean(equal)
    return out


def differences(a, b):
    names = [set(), set()]
    for file, found in zip((a, b), names):
        file.visititems(lambda name, item: found.add(name) if isinstance(item, h5py.Dataset) else None)
    for name in sorted(n for n in names[0] | names[1] if not n.startswith("provenance/")):
        if name not in names[0] or name not in names[1]:
            yield f"{name} is in one file only"
            continue
        ours, theirs = a[name][()], b[name][()]
        bits = [np.asarray(x).tolist() if np.asarray(x).dtype == object else np.asarray(x).tobytes()
                for x in (ours, theirs)]
        if np.shape(ours) != np.shape(theirs) or bits[0] != bits[1]:
            yield f"{name} differs"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--rounded", action="store_true")
    parser.add_argument("--same", action="store_true")
    arguments = parser.parse_args()
    if arguments.same:
        with h5py.File(arguments.a) as a, h5py.File(arguments.b) as b:
            found = list(differences(a, b))
        print("\n".join(found) or "  every dataset is the same, bit for bit")
        sys.exit(len(found) > 0)
    with h5py.File(arguments.a) as a, h5py.File(arguments.b) as b:
        found = compare(a, b)
    bad = 0
    for name, value in found.items():
        limit = LIMITS[name][arguments.rounded]
        fits = value >= limit if name in AT_LEAST else value <= limit
        bad += not fits
        print(f"  {name:58s} {value:10.3g}   {'at least' if name in AT_LEAST else 'at most '} {limit:g}"
              f"{'' if fits else '   OUTSIDE'}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
