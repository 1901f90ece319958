#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pickled SAEs to SAELens' format, which the engine reads (sae.format = "saelens").

    python3 tools/convert_sae.py SOURCE DESTINATION [--k K] [--layer L]

SOURCE is a file or a folder that is searched for
  ae.pt             dictionary_learning (github.com/saprmarks/dictionary_learning) with its
                    config.json beside it: AutoEncoder, GatedAutoEncoder, AutoEncoderTopK,
                    BatchTopKSAE, MatryoshkaBatchTopKSAE, JumpReluAutoEncoder
  layerN.sae.pt     Qwen-Scope; k from the name of a folder above (...-L0_50) or --k
  *-SAE-lN.pth, .pt Goodfire's SAEs of Llama 3
DESTINATION/layer_L/ gets cfg.json and sae_weights.safetensors. --layer overrides the layer that
config.json or the file name says, for a single file.

Pickles are read by torch.load(weights_only=True), which runs nothing that is in them. What a file
holds beyond what its class has is an error: nothing is dropped in silence.
Needs torch and safetensors.
"""
import argparse
import json
import pathlib
import re
import sys

import torch
from safetensors.torch import save_file


GOODFIRE = re.compile(r".*-SAE-l(\d+)\.pth?")
EXPECTED = "expected ae.pt, layerN.sae.pt or NAME-SAE-lN.pth"


class Refused(Exception):
    pass


def take(state, path, *names):
    """The first of names that state has, removed from it."""
    for name in names:
        if name in state:
            return state.pop(name)
    raise Refused(f"{path}: expected a tensor {' or '.join(names)}, found {', '.join(state) or 'none'}")


def matrices(state, path):
    """W_enc [d, n] and W_dec [n, d], stored so or as the weights of nn.Linear."""
    if "W_enc" in state:
        return take(state, path, "W_enc"), take(state, path, "W_dec")
    return take(state, path, "encoder.weight").T, take(state, path, "decoder.weight").T


def dictionary_learning(state, config, path):
    """Weights and cfg of an ae.pt. The classes: dictionary_learning/dictionary.py and trainers/."""
    trainer = config["trainer"]
    kind = trainer["dict_class"]
    W_enc, W_dec = matrices(state, path)
    out = {"W_enc": W_enc, "W_dec": W_dec}
    cfg = {"architecture": "standard", "apply_b_dec_to_input": True}
    if kind == "GatedAutoEncoder":
        cfg["architecture"] = "gated"
        out |= {"b_dec": take(state, path, "decoder_bias"), "r_mag": take(state, path, "r_mag"),
                "b_gate": take(state, path, "gate_bias"), "b_mag": take(state, path, "mag_bias")}
    elif kind == "AutoEncoder":
        out |= {"b_enc": take(state, path, "encoder.bias"), "b_dec": take(state, path, "bias")}
    elif kind == "AutoEncoderTopK":
        k = int(state.pop("k")) if "k" in state else int(trainer["k"])
        cfg |= {"architecture": "topk", "k": k}
        out |= {"b_enc": take(state, path, "encoder.bias"), "b_dec": take(state, path, "b_dec")}
        state.pop("threshold", None)  # a training statistic: encode takes the k largest
    elif kind in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder"):
        cfg["architecture"] = "jumprelu"
        threshold = take(state, path, "threshold").float()
        out |= {"b_enc": take(state, path, "encoder.bias", "b_enc"),
                "b_dec": take(state, path, "b_dec"),
                "threshold": threshold.expand(W_dec.shape[0])}
        if threshold.min() < 0:
            raise Refused(f"{path}: threshold: expected one that is not negative, found "
                          f"{threshold.min().item()} (never set in training)")
        for name in ("k", "group_sizes"):
            state.pop(name, None)
        if kind == "JumpReluAutoEncoder":
            cfg["apply_b_dec_to_input"] = False
    else:
        raise Refused(f"{path}: dict_class: expected AutoEncoder, GatedAutoEncoder, AutoEncoderTopK, "
                      f"BatchTopKSAE, MatryoshkaBatchTopKSAE or JumpReluAutoEncoder, found {kind}")
    if trainer.get("submodule_name", "resid_post").split("_layer")[0] not in ("resid_post", "resid"):
        raise Refused(f"{path}: expected an SAE of resid_post, found {trainer['submodule_name']}")
    return out, cfg, trainer["layer"]


def qwen_scope(state, path, k):
    if k is None:
        names = [m for part in path.resolve().parts if (m := re.search(r"L0_(\d+)", part))]
        if not names:
            raise Refused(f"{path}: expected a folder named ...-L0_K above it, or --k")
        k = int(names[-1][1])
    out = {"W_enc": take(state, path, "W_enc").T, "W_dec": take(state, path, "W_dec").T,
           "b_enc": take(state, path, "b_enc"), "b_dec": take(state, path, "b_dec")}
    cfg = {"architecture": "topk", "k": k, "apply_b_dec_to_input": False}
    return out, cfg, int(re.fullmatch(r"layer(\d+)\.sae\.pt", path.name)[1])


def goodfire(state, path):
    out = {"W_enc": take(state, path, "encoder_linear.weight").T,
           "W_dec": take(state, path, "decoder_linear.weight").T,
           "b_enc": take(state, path, "encoder_linear.bias"),
           "b_dec": take(state, path, "decoder_linear.bias")}
    cfg = {"architecture": "standard", "apply_b_dec_to_input": False}
    return out, cfg, int(GOODFIRE.fullmatch(path.name)[1])


def convert(path, destination, k, layer):
    state = dict(torch.load(path, map_location="cpu", weights_only=True))
    if path.name == "ae.pt":
        config = json.loads((path.parent / "config.json").read_text())
        out, cfg, found = dictionary_learning(state, config, path)
    elif GOODFIRE.fullmatch(path.name):
        out, cfg, found = goodfire(state, path)
    elif re.fullmatch(r"layer\d+\.sae\.pt", path.name):
        out, cfg, found = qwen_scope(state, path, k)
    else:
        raise Refused(f"{path}: {EXPECTED}")
    if state:
        raise Refused(f"{path}: expected nothing more, found {', '.join(state)}")
    layer = found if layer is None else layer
    d_sae, d_in = out["W_dec"].shape
    if tuple(out["W_enc"].shape) != (d_in, d_sae):
        raise Refused(f"{path}: expected W_enc of shape {(d_in, d_sae)}, found "
                      f"{tuple(out['W_enc'].shape)}")
    folder = destination / f"layer_{layer}"
    if folder.exists():
        raise Refused(f"{folder}: exists already; expected one SAE of each layer")
    folder.mkdir(parents=True)
    save_file({name: t.float().contiguous().clone() for name, t in out.items()},
              folder / "sae_weights.safetensors")
    cfg = {"d_in": d_in, "d_sae": d_sae, "dtype": "float32", "normalize_activations": "none",
           "reshape_activations": "none", **cfg,
           "metadata": {"hook_name": f"blocks.{layer}.hook_resid_post"}}
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=1) + "\n")
    print(f"{path} -> {folder}: {cfg['architecture']}, {d_sae} features of width {d_in}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("destination", type=pathlib.Path)
    parser.add_argument("--k", type=int)
    parser.add_argument("--layer", type=int)
    a = parser.parse_args()
    paths = [a.source] if a.source.is_file() else \
        sorted([*a.source.rglob("ae.pt"), *a.source.rglob("layer*.sae.pt"),
                *(p for p in a.source.rglob("*-SAE-l*.pt*") if GOODFIRE.fullmatch(p.name))])
    if not paths:
        sys.exit(f"{a.source}: {EXPECTED}, found none")
    if a.layer is not None and len(paths) > 1:
        sys.exit(f"--layer: expected one file, found {len(paths)}")
    try:
        for path in paths:
            convert(path, a.destination, a.k, a.layer)
    except Refused as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()
