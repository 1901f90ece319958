#!/usr/bin/env python3
"""Golden files of the SAE formats: small random SAEs written by the publishers' own code where it
exists, and what that code encodes and decodes with them, in float64 on the stored weights.

  tests/golden/saes/NAME/   for every format and variant three SAEs (layers 0 to 2), d_model 24
    ...                     the files as published
    expected.safetensors    x [12, 24]; feature.L [12, d_sae] and decoded.L [12, 24] of each layer
  tests/golden/models/sae_*/  models as in make_models.py whose SAEs are top-k, gated or of normed
                              input: features, effects and clamped logits by the literal hook.
                              ig_steps [1] i32: N of the effects

Sources: sae-lens (SAELens) and eai-sparsify for their formats; Gemma Scope, Gemma Scope 2 and the
authors' fold of Llama Scope and lm_saes by their published definition; the two folds of SAELens for Llama
Scope by its loader's steps.

Run: python3 tests/golden/make_saes.py   (needs torch, transformers, sae-lens, eai-sparsify)
"""
import json
import math
import os
import pathlib
import shutil

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # decode without a GPU

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sae_lens import SAE
from sae_lens.registry import get_sae_class, get_sae_training_class
from sparsify import SparseCoder, SparseCoderConfig

import make_models as mm

HERE = pathlib.Path(__file__).parent / "saes"
D, N_ROWS, N_LAYERS = 24, 12, 3
F64 = torch.float64


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def random_tensors(d, d_sae, scale=1.0):
    W_dec = torch.nn.functional.normalize(torch.randn(d_sae, d), dim=1)
    W_dec *= 0.5 + torch.rand(d_sae, 1)
    return {"W_dec": W_dec, "W_enc": W_dec.T + 0.3 * torch.randn(d, d_sae) / d ** 0.5,
            "b_enc": 0.2 * scale * torch.randn(d_sae), "b_dec": 0.2 * scale * torch.randn(d)}


# ---- SAELens ---------------------------------------------------------------------------------

def saelens(architecture, d, d_sae, layer, scale=1.0, **cfg):
    """A random SAE of SAELens, float32."""
    sae_class, cfg_class = get_sae_class(architecture)
    sae = sae_class(cfg_class(d_in=d, d_sae=d_sae, dtype="float32", device="cpu", **cfg))
    sae.cfg.metadata.hook_name = f"blocks.{layer}.hook_resid_post"
    t = random_tensors(d, d_sae, scale)
    if architecture == "gated":
        del t["b_enc"]
        t |= {"b_gate": 0.2 * scale * torch.randn(d_sae), "b_mag": 0.3 * scale * torch.randn(d_sae),
              "r_mag": 0.4 * torch.randn(d_sae)}
    if architecture == "jumprelu":
        t["threshold"] = scale * (0.2 + 0.6 * torch.rand(d_sae))
    sae.load_state_dict(t)
    return sae


class Published:
    """An SAE of SAELens in float64. Its norm of the last encoded rows, which SAELens deletes with
    the first decoding, is kept, so that the hook can decode twice."""

    def __init__(self, sae):
        self.sae = sae.to(dtype=F64)
        for p in self.sae.parameters():
            p.requires_grad_(False)
        self.kept = {}

    def encode(self, x):
        f = self.sae.encode(x)
        self.kept = {k: getattr(self.sae, k) for k in ("x_norm_coeff", "ln_mu", "ln_std")
                     if hasattr(self.sae, k)}
        return f

    def decode(self, f):
        for k, v in self.kept.items():
            setattr(self.sae, k, v)
        return self.sae.decode(f)


def is_clear(sae, x):
    """Whether float32 selects the same features with room to spare."""
    wide = Published(sae).encode(x.double())
    for noise in range(4):
        near = sae.encode(x.double() * (1 + 2e-5 * torch.randn_like(x.double())))
        if not torch.equal(near != 0, wide != 0):
            return False
    return True


def until_clear(make, x):
    while True:
        sae = make()
        if is_clear(sae, x):
            return sae.to(dtype=torch.float32)


def to_old_config(folder, k, layer):
    """cfg.json as SAELens wrote it before version 6."""
    cfg = json.loads((folder / "cfg.json").read_text())
    old = {"d_in": cfg["d_in"], "d_sae": cfg["d_sae"], "dtype": "torch.float32", "device": "cpu",
           "model_name": "x", "hook_point_layer": layer + 1, "normalize_activations": False,
           "hook_point" if layer == 0 else "hook_name": f"blocks.{layer + 1}.hook_resid_pre"}
    if k:
        old |= {"architecture": "standard", "activation_fn_str": "topk",
                "activation_fn_kwargs": {"k": k}}
    (folder / "cfg.json").write_text(json.dumps(old))


def write_saelens(name, specs, x, nested=False, old=False):
    out = {"x": x}
    fresh(HERE / name)
    for layer, (architecture, d_sae, cfg) in enumerate(specs):
        sae = until_clear(lambda: saelens(architecture, D, d_sae, layer, **cfg), x)
        folder = HERE / name / (f"a_{2 - layer}/b" if nested else f"any-{'xyz'[layer]}")
        sae.save_model(folder)
        if old:
            to_old_config(folder, cfg.get("k"), layer)
        wide = Published(SAE.load_from_disk(folder) if not old else sae)
        f = wide.encode(x.double())
        out |= {f"feature.{layer}": f.float(), f"decoded.{layer}": wide.decode(f).float()}
    save_file({k: v.contiguous().clone() for k, v in out.items()}, HERE / name / "expected.safetensors")


def write_training_checkpoint(name, x):
    """BatchTopK as it lies there while it is trained: one threshold, decoder rows of any length."""
    out = {"x": x}
    fresh(HERE / name)
    for layer in range(N_LAYERS):
        cls, cfg_cls = get_sae_training_class("batchtopk")
        while True:
            sae = cls(cfg_cls(d_in=D, d_sae=40, k=6, rescale_acts_by_decoder_norm=True,
                              dtype="float32", device="cpu"))
            sae.cfg.metadata.hook_name = f"blocks.{layer}.hook_resid_post"
            state = random_tensors(D, 40)
            sae.load_state_dict(state | {"topk_threshold": torch.tensor(0.7 + 0.1 * layer)}, strict=False)
            sae.topk_threshold = torch.tensor(0.7 + 0.1 * layer, dtype=F64)
            folder = HERE / name / f"layer_{layer}"
            sae.save_model(folder)
            sae.save_inference_model(folder / "inference")
            saved = SAE.load_from_disk(folder / "inference")
            shutil.rmtree(folder / "inference")
            if is_clear(saved, x):
                break
        # what it computes on the stored weights, free of the rounding of the folded ones
        t = {k: v.double() for k, v in load_file(folder / "sae_weights.safetensors").items()}
        norm = t["W_dec"].norm(dim=1)
        pre = ((x.double() - t["b_dec"]) @ t["W_enc"] + t["b_enc"]) * norm
        f = pre * (pre > t["topk_threshold"])
        assert (saved.to(dtype=F64).encode(x.double()) - f).abs().max() < 1e-5
        out |= {f"feature.{layer}": f.float(),
                f"decoded.{layer}": (f / norm @ t["W_dec"] + t["b_dec"]).float()}
    save_file({k: v.contiguous().clone() for k, v in out.items()}, HERE / name / "expected.safetensors")


# ---- sparsify --------------------------------------------------------------------------------

def write_sparsify(name, activation, k, x):
    out = {"x": x}
    fresh(HERE / name)
    for layer in range(N_LAYERS):
        t = random_tensors(D, 48)
        coder = SparseCoder(D, SparseCoderConfig(activation=activation, k=k, num_latents=48))
        coder.load_state_dict({"encoder.weight": t["W_enc"].T, "encoder.bias": t["b_enc"],
                               "W_dec": t["W_dec"], "b_dec": t["b_dec"]})
        coder.save_to_disk(HERE / name / f"layers.{layer}")
        coder = coder.double()
        values, ids, _ = coder.encode(x.double())
        f = torch.zeros(N_ROWS, 48, dtype=F64).scatter(1, ids, values)
        out |= {f"feature.{layer}": f.float().detach(),
                f"decoded.{layer}": coder.decode(values, ids).float().detach()}
    save_file({k: v.contiguous().clone() for k, v in out.items()}, HERE / name / "expected.safetensors")


# ---- Gemma Scope, Gemma Scope 2, Llama Scope --------------------------------------------------

def jumprelu(t, x):
    pre = x.double() @ t["W_enc"].double() + t["b_enc"].double()
    f = pre * (pre > t["threshold"].double())
    assert (pre - t["threshold"].double()).abs().min() > 1e-4
    return f, f @ t["W_dec"].double() + t["b_dec"].double()


def scope_tensors(x):
    while True:
        t = random_tensors(D, 40) | {"threshold": 0.2 + 0.6 * torch.rand(40)}
        pre = x.double() @ t["W_enc"].double() + t["b_enc"].double()
        if (pre - t["threshold"]).abs().min() > 2e-4:
            return t


def write_gemma_scope(name, x):
    """Two SAEs of each layer; average_l0_112 is the one nearest to 100."""
    out = {"x": x}
    fresh(HERE / name)
    for layer in range(N_LAYERS):
        for n in (112, 60):
            t = scope_tensors(x)
            path = HERE / name / f"layer_{layer}" / "width_40" / f"average_l0_{n}"
            path.mkdir(parents=True)
            (np.savez if layer else np.savez_compressed)(
                path / "params.npz", **{k: v.numpy() for k, v in t.items()})
            f, y = jumprelu(t, x)
            out |= {f"feature_{n}.{layer}": f.float(), f"decoded_{n}.{layer}": y.float()}
        out |= {f"feature.{layer}": out[f"feature_112.{layer}"],
                f"decoded.{layer}": out[f"decoded_112.{layer}"]}
    save_file({k: v.contiguous().clone() for k, v in out.items()}, HERE / name / "expected.safetensors")


def write_gemma_scope_2(name, x):
    """Layer 1 has none; of small (10) and medium (60) the latter is nearer to 100."""
    out = {"x": x}
    fresh(HERE / name)
    for layer in (0, 2):
        for size, l0 in (("small", 10), ("medium", 60)):
            t = scope_tensors(x)
            path = HERE / name / f"layer_{layer}_width_40_l0_{size}"
            path.mkdir()
            low = {"W_enc": "w_enc", "W_dec": "w_dec"} if layer == 0 else {}
            save_file({low.get(k, k): v.contiguous() for k, v in t.items()},
                      path / "params.safetensors")
            (path / "config.json").write_text(json.dumps({
                "architecture": "jump_relu", "width": 40, "l0": l0, "model_name": "x",
                "hf_hook_point_in": f"model.layers.{layer}.output"}))
            f, y = jumprelu(t, x)
        out |= {f"feature.{layer}": f.float(), f"decoded.{layer}": y.float()}
    save_file({k: v.contiguous().clone() for k, v in out.items()}, HERE / name / "expected.safetensors")


def llama_scope_fold(stored, fold, norm_in, norm_out, threshold):
    t = {"W_enc": stored["encoder.weight"].double().T, "b_enc": stored["encoder.bias"].double(),
         "W_dec": stored["decoder.weight"].double().T, "b_dec": stored["decoder.bias"].double()}
    s_in, s_out = math.sqrt(D) / norm_in, math.sqrt(D) / norm_out
    if fold == "authors":
        t["W_dec"] = t["W_dec"] * s_in / s_out
        t["b_enc"], t["b_dec"] = t["b_enc"] / s_in, t["b_dec"] / s_out
        n = t["W_dec"].norm(dim=1)
        t["W_dec"], t["W_enc"], t["b_enc"] = t["W_dec"] / n[:, None], t["W_enc"] * n, t["b_enc"] * n
    else:  # fold_activation_norm_scaling_factor of SAELens
        t["W_enc"], t["W_dec"], t["b_dec"] = t["W_enc"] * s_in, t["W_dec"] / s_in, t["b_dec"] / s_in
        threshold = threshold * s_in if fold == "saelens6" else threshold
    return t | {"threshold": torch.full((t["W_dec"].shape[0],), threshold, dtype=F64)}


def write_llama_scope(name, x):
    out = {"x": x}
    fresh(HERE / name)
    for layer in range(N_LAYERS):
        norm_in, norm_out, threshold = 3.5 + layer, 4.25 + layer, 0.4
        while True:
            t = random_tensors(D, 40)
            stored = {"encoder.weight": t["W_enc"].T, "encoder.bias": t["b_enc"],
                      "decoder.weight": t["W_dec"].T, "decoder.bias": t["b_dec"]}
            stored = {k: v.to(torch.bfloat16).contiguous() for k, v in stored.items()}
            try:
                for fold in ("authors", "saelens5", "saelens6"):
                    f, y = jumprelu(llama_scope_fold(stored, fold, norm_in, norm_out, threshold), x)
                    out |= {f"feature_{fold}.{layer}": f.float(), f"decoded_{fold}.{layer}": y.float()}
                break
            except AssertionError:
                continue
        out |= {f"feature.{layer}": out[f"feature_authors.{layer}"],
                f"decoded.{layer}": out[f"decoded_authors.{layer}"]}
        path = HERE / name / f"Random-L{layer}R-1x"
        (path / "checkpoints").mkdir(parents=True)
        save_file(stored, path / "checkpoints" / "final.safetensors")
        (path / "hyperparams.json").write_text(json.dumps({
            "hook_point_in": f"blocks.{layer}.hook_resid_post", "d_model": D, "d_sae": 40,
            "act_fn": "jumprelu", "jump_relu_threshold": threshold,
            "norm_activation": "dataset-wise", "top_k": 7, "sparsity_include_decoder_norm": True,
            "dataset_average_activation_norm": {"in": norm_in, "out": norm_out}}))
    save_file({k: v.contiguous().clone() for k, v in out.items()}, HERE / name / "expected.safetensors")


def write_lm_saes(name):
    """As lm_saes' forward has it (norm_activation dataset-wise), with numpy, nothing folded; features
    in units of x with decoder rows of length 1, where thresholds are of f |W_dec|, else of x alone.
    Layer 1: thresholds of f; layer 2: b_dec is subtracted."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal((N_ROWS, D)).astype(np.float32) * 3
    out = {"x": x}
    fresh(HERE / name)
    for layer in range(N_LAYERS):
        hook, include, subtract = f"blocks.{layer}.hook_resid_post", layer != 1, layer == 2
        norm = 14.5 + 2 * layer
        while True:
            W_dec = rng.standard_normal((D, 40))
            W_dec *= (0.5 + rng.random(40)) / np.linalg.norm(W_dec, axis=0)
            stored = {"encoder.weight": W_dec.T + 0.05 * rng.standard_normal((40, D)),
                      "encoder.bias": 0.2 * rng.standard_normal(40), "decoder.weight": W_dec,
                      "decoder.bias": 0.2 * rng.standard_normal(D),
                      "log_jumprelu_threshold": np.log(0.2 + 0.6 * rng.random(40)),
                      f"dataset_average_activation_norm.{hook}": np.array(norm)}
            stored = {k: torch.tensor(v, dtype=torch.float32).contiguous() for k, v in stored.items()}
            w = {k: v.double().numpy() for k, v in stored.items()}
            s = math.sqrt(D) / norm
            scaled = x.astype(np.float64) * s - (w["decoder.bias"] if subtract else 0)
            h = scaled @ w["encoder.weight"].T + w["encoder.bias"]
            lengths = np.linalg.norm(w["decoder.weight"], axis=0) if include else np.ones(40)
            score, threshold = h * lengths, np.exp(w["log_jumprelu_threshold"])
            if np.abs(score - threshold).min() > 2e-4:
                break
        f = np.where(score > threshold, h, 0)
        y = (f @ w["decoder.weight"].T + w["decoder.bias"]) / s
        out |= {f"feature.{layer}": f * lengths / s, f"decoded.{layer}": y}
        path = HERE / name / f"L{layer}R"
        path.mkdir()
        save_file(stored, path / "sae_weights.safetensors")
        (path / "config.json").write_text(json.dumps({
            "sae_type": "sae", "hook_point_in": hook, "hook_point_out": hook, "d_model": D,
            "expansion_factor": 40 / D, "act_fn": "jumprelu", "norm_activation": "dataset-wise",
            "sparsity_include_decoder_norm": include, "use_decoder_bias": True, "top_k": 50,
            "apply_decoder_bias_to_pre_encoder": subtract, "use_glu_encoder": False}))
    save_file({k: torch.tensor(v, dtype=torch.float32).contiguous() for k, v in out.items()},
              HERE / name / "expected.safetensors")


# ---- models with such SAEs --------------------------------------------------------------------

MODELS = {
    "sae_topk": (4, [("topk", dict(k=5)), ("topk", dict(k=3, rescale_acts_by_decoder_norm=True))]),
    "sae_gated": (4, [("gated", {}), ("standard", dict(apply_b_dec_to_input=False))]),
    "sae_sphere": (1, [("jumprelu", dict(normalize_activations="constant_norm_rescale")),
                       ("topk", dict(k=4, normalize_activations="constant_norm_rescale"))]),
    "sae_standardized": (1, [("jumprelu", dict(normalize_activations="layer_norm")),
                             ("gated", dict(normalize_activations="layer_norm"))]),
}


def make_model(name, steps, kinds):
    torch.manual_seed(sum(map(ord, name)))
    folder = fresh(mm.HERE / name)
    spec = mm.MODELS["llama_d"]
    mm.IG_STEPS = steps
    config = mm.AutoConfig.for_model(**spec.config)
    config._attn_implementation = "eager"
    model = mm.AutoModelForCausalLM.from_config(config).double().eval()
    mm.randomise(model, spec.dtype)
    mm.write_checkpoint(folder, spec, model)
    tokens = [torch.randint(0, spec.config["vocab_size"], (n,)) for n in mm.LENGTHS]
    pair = torch.tensor([1, 0])
    resid = [mm.run_prompt(model, ids, pair)[0] for ids in tokens]
    saes = []
    for layer, (architecture, cfg) in enumerate(kinds):
        x = torch.cat([r[layer] for r in resid])
        normed = "normalize_activations" in cfg
        scale = 1.0 if normed else float(x.norm(dim=1).mean()) / D ** 0.5
        sae = until_clear(lambda: saelens(architecture, D, mm.D_SAE, layer, scale, **cfg), x)
        sae.save_model(folder / "saes" / f"layer {layer}")
        saes.append(Published(sae))
    v = torch.randn(len(kinds), D).double()
    u = torch.nn.functional.normalize(v[1], dim=0)
    out = {"tokens": torch.cat(tokens).int(), "lengths": torch.tensor(mm.LENGTHS).int(),
           "pair": torch.stack([pair] * len(tokens)).int(), "direction": v.float(),
           "ig_steps": torch.tensor([steps]).int()}
    for layer, sae in enumerate(saes):
        out[f"feature.{layer}"] = sae.encode(torch.cat([r[layer] for r in resid])).float()
    for endpoint in ("ablated", "released"):
        effects, targets = zip(*(mm.indirect_effects(model, saes, u, ids, endpoint)
                                 for ids in tokens))
        for layer in range(len(saes)):
            out[f"effect_{endpoint}.{layer}"] = torch.cat([e[layer] for e in effects]).float()
        out["target"] = torch.tensor(targets).int()
    for mode in ("scale", "set"):
        out[f"clamped_{mode}"] = torch.stack(
            [mm.clamped_logits(model, saes, ids, mode) for ids in tokens]).float()
    save_file({k: v.contiguous().clone() for k, v in out.items()}, folder / "expected.safetensors")
    print(f"{name}: {[float((out[f'feature.{l}'] != 0).float().sum(1).mean()) for l in range(2)]} "
          "features per token")


def main():
    torch.manual_seed(1)
    x = 1.5 * torch.randn(N_ROWS, D) + 0.5
    sphere = dict(normalize_activations="constant_norm_rescale")
    standard = dict(normalize_activations="layer_norm")
    plain = dict(apply_b_dec_to_input=False)
    write_saelens("saelens_standard", [("standard", 40, {}), ("standard", 40, plain),
                                       ("standard", 40, dict(normalize_activations=
                                                             "expected_average_only_in"))], x)
    write_saelens("saelens_gated", [("gated", 40, {}), ("gated", 40, plain), ("gated", 40, {})], x,
                  nested=True)
    write_saelens("saelens_topk", [("topk", 40, dict(k=6)), ("topk", 40, dict(k=39)),
                                   ("topk", 40, dict(k=4, rescale_acts_by_decoder_norm=True))], x)
    write_saelens("saelens_jumprelu", [("jumprelu", 40, plain), ("jumprelu", 40, {}),
                                       ("jumprelu", 40, plain)], x)
    write_saelens("saelens_sphere", [("jumprelu", 40, sphere), ("gated", 40, sphere),
                                     ("topk", 40, sphere | dict(k=5))], x)
    write_saelens("saelens_standardized", [("jumprelu", 40, standard), ("gated", 40, standard),
                                           ("topk", 40, standard | dict(k=5))], x)
    write_saelens("saelens_before_6", [("topk", 40, dict(k=6)), ("standard", 40, {}),
                                       ("standard", 40, {})], x, old=True)
    write_training_checkpoint("saelens_batchtopk", x)
    write_sparsify("sparsify_topk", "topk", 7, x)
    write_sparsify("sparsify_groupmax", "groupmax", 6, x)
    write_gemma_scope("gemma_scope", x)
    write_gemma_scope_2("gemma_scope_2", x)
    write_llama_scope("llama_scope", x)
    write_lm_saes("lm_saes")
    for name, (steps, kinds) in MODELS.items():
        make_model(name, steps, kinds)


if __name__ == "__main__":
    main()
