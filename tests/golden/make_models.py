#!/usr/bin/env python3
"""Golden files of the transformer, the SAEs and the method: random models of awkward shapes with
random SAEs, and what Hugging Face transformers and a literal implementation of the published hook
compute with them.

For every model in MODELS a folder tests/golden/models/NAME is written:
  config.json, model.safetensors (or shards with an index)   what the engine reads
  expected.safetensors                                        what it must compute
    tokens   [n_token]  i32   all prompts end to end          lengths [n_prompt] i32
    resid_post.L [n_token, d_model]  output of block L, before the final norm
    logits   [n_prompt, n_vocab]     at each prompt's last position
    pair     [n_prompt, 2] i32       tokens (j, r) of the metric m = logit[j] - logit[r]
    grad.L   [n_token, d_model]      dm/d(resid_post.L), summed over prompts' own metrics
  saes/                              an SAE per layer: Gemma Scope layout for the Gemma models,
                                     Llama Scope layout for the others
    direction [n_layer, d_model]     v of each layer; layer 1's is ablated below
    feature.L [n_token, d_sae]       features of the clean run
    target   [n_prompt] i32          argmax of each prompt's ablated run
    effect_{ablated,released}.L [n_token, d_sae]   indirect effects by integrated gradients, N = 4,
                                     the SAE encoded and decoded inside the autograd loop as the
                                     published code does; r = token 0
    clamped_{scale,set} [n_prompt, n_vocab]   logits with features 1, 5, 9 of every layer times -2,
                                     or set to 3, by full encode and decode, error term kept

transformers runs in float64 with eager attention (its Gemma norms and rotary tables stay
float32 inside), one prompt at a time, without padding.

Run: python3 tests/golden/make_models.py [NAME...]   (needs torch, transformers, safetensors; seconds)
"""
import copy
import dataclasses
import json
import math
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoConfig

HERE = pathlib.Path(__file__).parent / "models"
LENGTHS = [1, 2, 7, 19, 33]
D_SAE, IG_STEPS, CLAMPED = 24, 4, [1, 5, 9]

LLAMA3_ROPE = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 32}

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32


@dataclasses.dataclass
class Spec:
    config: dict          # what config.json holds
    dtype: torch.dtype    # of the stored weights
    shards: int = 1
    prefix: str = "model."    # of tensor names; multimodal exports put more there
    multimodal: bool = False  # config.json and weights hold a vision tower as well


MODELS = {
    # head_dim is not d/H; the window is shorter than the prompts; scale is not head_dim
    "gemma2_a": Spec(dict(model_type="gemma2", hidden_size=40, num_hidden_layers=3,
                      num_attention_heads=4, num_key_value_heads=2, head_dim=12,
                      intermediate_size=72, vocab_size=97, sliding_window=5,
                      query_pre_attn_scalar=20, attn_logit_softcapping=5.0,
                      final_logit_softcapping=3.0), F32),
    # one kv head, odd sizes, bfloat16, two shards
    "gemma2_b": Spec(dict(model_type="gemma2", hidden_size=39, num_hidden_layers=4,
                      num_attention_heads=3, num_key_value_heads=1, head_dim=16,
                      intermediate_size=51, vocab_size=131, sliding_window=3,
                      query_pre_attn_scalar=16), BF16, 2),
    # no softcaps
    "gemma2_c": Spec(dict(model_type="gemma2", hidden_size=48, num_hidden_layers=2,
                      num_attention_heads=6, num_key_value_heads=3, head_dim=10,
                      intermediate_size=64, vocab_size=64, sliding_window=16,
                      query_pre_attn_scalar=8, attn_logit_softcapping=None,
                      final_logit_softcapping=None), BF16),
    # llama3 rope scaling whose three regimes all occur
    "llama_a": Spec(dict(model_type="llama", hidden_size=48, num_hidden_layers=3,
                     num_attention_heads=4, num_key_value_heads=2, intermediate_size=80,
                     vocab_size=101, rms_norm_eps=1e-5, rope_theta=10000.0,
                     rope_scaling=LLAMA3_ROPE, max_position_embeddings=128,
                     tie_word_embeddings=False), F32, 2),
    # head_dim is not d/H, one kv head, tied
    "llama_b": Spec(dict(model_type="llama", hidden_size=36, num_hidden_layers=2,
                     num_attention_heads=3, num_key_value_heads=1, head_dim=20,
                     intermediate_size=50, vocab_size=77, rms_norm_eps=1e-6,
                     rope_theta=500.0, max_position_embeddings=128,
                     tie_word_embeddings=True), BF16),
    # as many kv heads as heads, float16
    "llama_c": Spec(dict(model_type="llama", hidden_size=32, num_hidden_layers=4,
                     num_attention_heads=2, num_key_value_heads=2, intermediate_size=40,
                     vocab_size=50, rms_norm_eps=1e-5, rope_theta=10000.0,
                     max_position_embeddings=64, tie_word_embeddings=False), F16),
    # q, k, v and o with biases
    "llama_d": Spec(dict(model_type="llama", hidden_size=24, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, intermediate_size=36,
                         vocab_size=41, rms_norm_eps=1e-5, rope_theta=10000.0,
                         attention_bias=True, max_position_embeddings=64,
                         tie_word_embeddings=False), F32),
    # the older form of config.json; the third layer sees everything, by other angles
    "gemma3_a": Spec(dict(model_type="gemma3_text", hidden_size=32, num_hidden_layers=4,
                          num_attention_heads=4, num_key_value_heads=2, head_dim=12,
                          intermediate_size=48, vocab_size=61, sliding_window=5,
                          sliding_window_pattern=3, query_pre_attn_scalar=20,
                          rope_theta=1e6, rope_local_base_freq=10000.0,
                          rope_scaling={"rope_type": "linear", "factor": 8.0},
                          max_position_embeddings=128), F32),
    # the language model of a multimodal export, one kv head, six layers by the usual pattern
    "gemma3_b": Spec(dict(model_type="gemma3_text", hidden_size=27, num_hidden_layers=6,
                          num_attention_heads=3, num_key_value_heads=1, head_dim=16,
                          intermediate_size=35, vocab_size=53, sliding_window=3,
                          query_pre_attn_scalar=16, max_position_embeddings=128), BF16, 2,
                     "language_model.model.", True),
    # the newer form of config.json
    "gemma3_c": Spec(dict(model_type="gemma3_text", hidden_size=24, num_hidden_layers=3,
                          num_attention_heads=2, num_key_value_heads=2, head_dim=10,
                          intermediate_size=32, vocab_size=47, sliding_window=4,
                          layer_types=["full_attention", "sliding_attention", "full_attention"],
                          rope_parameters={
                              "full_attention": {"rope_type": "linear", "factor": 2.0,
                                                 "rope_theta": 50000.0},
                              "sliding_attention": {"rope_type": "default",
                                                    "rope_theta": 100.0}},
                          query_pre_attn_scalar=10, max_position_embeddings=128), BF16, 1,
                     "model.language_model.", True),
    # windows in every layer, shorter than the prompts
    "mistral_a": Spec(dict(model_type="mistral", hidden_size=32, num_hidden_layers=3,
                           num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
                           vocab_size=59, rms_norm_eps=1e-5, rope_theta=10000.0,
                           sliding_window=6, max_position_embeddings=128), BF16),
    # no window; head_dim is not d/H
    "mistral_b": Spec(dict(model_type="mistral", hidden_size=30, num_hidden_layers=2,
                           num_attention_heads=3, num_key_value_heads=1, head_dim=14,
                           intermediate_size=40, vocab_size=43, rms_norm_eps=1e-5,
                           rope_theta=1e6, sliding_window=None,
                           max_position_embeddings=128), F32, 2),
    "mistral_c": Spec(dict(model_type="mistral", hidden_size=24, num_hidden_layers=2,
                           num_attention_heads=6, num_key_value_heads=3, intermediate_size=32,
                           vocab_size=37, rms_norm_eps=1e-6, sliding_window=16,
                           rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
                           max_position_embeddings=128), F16),
    # biases of q, k and v; the window is there but not in use
    "qwen2_a": Spec(dict(model_type="qwen2", hidden_size=32, num_hidden_layers=3,
                         num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
                         vocab_size=59, rms_norm_eps=1e-6, rope_theta=1e6, sliding_window=4,
                         use_sliding_window=False, max_window_layers=1,
                         max_position_embeddings=128, tie_word_embeddings=True), BF16),
    # the upper layers with windows
    "qwen2_b": Spec(dict(model_type="qwen2", hidden_size=30, num_hidden_layers=4,
                         num_attention_heads=3, num_key_value_heads=1, intermediate_size=44,
                         vocab_size=51, rms_norm_eps=1e-5, rope_theta=10000.0, sliding_window=5,
                         use_sliding_window=True, max_window_layers=2,
                         max_position_embeddings=128, tie_word_embeddings=False), F32, 3),
    "qwen2_c": Spec(dict(model_type="qwen2", hidden_size=28, num_hidden_layers=2,
                         num_attention_heads=7, num_key_value_heads=7, intermediate_size=36,
                         vocab_size=49, rms_norm_eps=1e-6,
                         rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
                         max_position_embeddings=128, tie_word_embeddings=False), F16),
    # q and k of each head normalised; head_dim is not d/H
    "qwen3_a": Spec(dict(model_type="qwen3", hidden_size=32, num_hidden_layers=3,
                         num_attention_heads=4, num_key_value_heads=2, head_dim=12,
                         intermediate_size=48, vocab_size=59, rms_norm_eps=1e-6,
                         rope_theta=1e6, max_position_embeddings=128,
                         tie_word_embeddings=True), BF16),
    "qwen3_b": Spec(dict(model_type="qwen3", hidden_size=30, num_hidden_layers=4,
                         num_attention_heads=3, num_key_value_heads=1, head_dim=16,
                         intermediate_size=44, vocab_size=51, rms_norm_eps=1e-6,
                         rope_theta=10000.0, max_position_embeddings=128, attention_bias=True,
                         tie_word_embeddings=False), F32, 2),
    "qwen3_c": Spec(dict(model_type="qwen3", hidden_size=28, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=2, head_dim=20,
                         intermediate_size=36, vocab_size=49, rms_norm_eps=1e-6,
                         rope_theta=1e6, use_sliding_window=True, sliding_window=7,
                         max_window_layers=1, max_position_embeddings=128,
                         tie_word_embeddings=False), F16),
}


def randomise(model, dtype):
    """Weights large enough that attention is not uniform; exactly representable in dtype."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_(0.3 * torch.randn_like(p) + (0 if "gemma" in name else 0.5))
            else:
                p.copy_(torch.randn_like(p) * (1.0 if "embed" in name else 2.0 / p.shape[1] ** 0.5))
            p.copy_(p.to(dtype).to(p.dtype))


def write_checkpoint(folder, spec, model):
    config = spec.config
    tensors = {k: v.to(spec.dtype).contiguous() for k, v in model.state_dict().items()}
    if config.get("tie_word_embeddings", config["model_type"].startswith("gemma")):
        tensors.pop("lm_head.weight", None)
    tensors = {k.replace("model.", spec.prefix, 1): v for k, v in tensors.items()}
    if spec.multimodal:
        config = {"model_type": "gemma3", "vision_config": {"hidden_size": 4}, "text_config": config}
        tensors["vision_tower.embeddings.weight"] = torch.zeros(2, 4)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if spec.shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for i in range(spec.shards):
        part = names[i::spec.shards]
        file = f"model-{i + 1:05d}-of-{spec.shards:05d}.safetensors"
        save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    index = {"metadata": {}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def run_prompt(model, ids, pair):
    """resid_post and gradient per layer, logits at the last position."""
    kept = []

    def hook(_module, _inputs, output):
        x = output[0] if isinstance(output, tuple) else output
        x.retain_grad()
        kept.append(x)

    handles = [layer.register_forward_hook(hook) for layer in model.model.layers]
    logits = model(input_ids=ids[None]).logits[0, -1]
    (logits[pair[0]] - logits[pair[1]]).backward()
    for h in handles:
        h.remove()
    return [x[0].detach() for x in kept], [x.grad[0] for x in kept], logits.detach()


class Sae:
    """f = pre if pre > threshold else 0, pre = x W_enc + b_enc;  x_hat = f W_dec + b_dec."""

    def __init__(self, d_model, scale):
        self.W_dec = torch.nn.functional.normalize(torch.randn(D_SAE, d_model), dim=1)
        self.W_enc = self.W_dec.T + 0.2 * torch.randn(d_model, D_SAE) / d_model ** 0.5
        self.b_enc, self.b_dec = 0.1 * scale * torch.randn(D_SAE), 0.1 * scale * torch.randn(d_model)
        self.threshold = scale * (0.3 + 0.4 * torch.rand(D_SAE))

    def double(self):
        for k in vars(self):
            setattr(self, k, getattr(self, k).double())
        return self

    def encode(self, x):
        pre = x @ self.W_enc + self.b_enc
        return pre * (pre > self.threshold)

    def decode(self, f):
        return f @ self.W_dec + self.b_dec


def write_gemma_scope(folder, layer, sae):
    path = folder / "saes" / f"layer_{layer}" / "width_24" / "average_l0_7"
    path.mkdir(parents=True, exist_ok=True)
    save = np.savez if layer % 2 else np.savez_compressed
    save(path / "params.npz", **{k: v.numpy() for k, v in vars(sae).items()})


def write_llama_scope(folder, layer, sae, d_model):
    """As published: of activations scaled to norm sqrt(d), decoder columns of any length, bf16.
    Returns the SAE that the authors' inference makes of what was written."""
    path = folder / "saes" / f"Random-L{layer}R-1x"
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    norm_in, norm_out, threshold = 3.5 + layer, 4.25 + layer, float(sae.threshold.mean())
    s_in, s_out = math.sqrt(d_model) / norm_in, math.sqrt(d_model) / norm_out
    length = 0.5 + torch.rand(D_SAE)
    stored = {"encoder.weight": (sae.W_enc / length).T, "encoder.bias": sae.b_enc / length * s_in,
              "decoder.weight": (sae.W_dec * length[:, None]).T * s_out / s_in,
              "decoder.bias": sae.b_dec * s_out}
    stored = {k: v.to(torch.bfloat16).contiguous() for k, v in stored.items()}
    save_file(stored, path / "checkpoints" / "final.safetensors")
    (path / "hyperparams.json").write_text(json.dumps({
        "hook_point_in": f"blocks.{layer}.hook_resid_post", "d_model": d_model, "d_sae": D_SAE,
        "act_fn": "jumprelu", "jump_relu_threshold": threshold, "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": norm_in, "out": norm_out},
        "sparsity_include_decoder_norm": True, "top_k": 7}, indent=1) + "\n")
    stored = {k: v.double() for k, v in stored.items()}
    sae.W_dec = stored["decoder.weight"].T * s_in / s_out
    n = sae.W_dec.norm(dim=1)
    sae.W_dec = sae.W_dec / n[:, None]
    sae.W_enc = stored["encoder.weight"].T * n
    sae.b_enc, sae.b_dec = stored["encoder.bias"] / s_in * n, stored["decoder.bias"] / s_out
    sae.threshold = torch.full((D_SAE,), threshold, dtype=torch.float64)
    return sae


def run_edited(model, ids, edit):
    """Logits at the last position with edit(layer, x) replacing every block's output."""
    def hook(layer):
        def replace(_module, _inputs, output):
            x = output[0] if isinstance(output, tuple) else output
            x = edit(layer, x)
            return (x, *output[1:]) if isinstance(output, tuple) else x
        return replace

    handles = [block.register_forward_hook(hook(l)) for l, block in enumerate(model.model.layers)]
    logits = model(input_ids=ids[None]).logits[0, -1]
    for h in handles:
        h.remove()
    return logits


def indirect_effects(model, saes, u, ids, endpoint):
    """The published forward hook, literally; its backward hook is left to make_hooks.py.
    Returns IE per layer [n_token, d_sae] and the target j."""
    before, after, clean = {}, {}, {}

    def ablate(layer, x):
        before[layer] = x
        after[layer] = x - (x @ u)[..., None] * u
        return after[layer]

    def keep(layer, x):
        clean[layer] = x
        return x

    with torch.no_grad():
        j = int(run_edited(model, ids, ablate).argmax())
        run_edited(model, ids, keep)
    f_clean = [sae.encode(clean[l]) for l, sae in enumerate(saes)]
    f_patch = [sae.encode(after[l]) for l, sae in enumerate(saes)]
    ends = after if endpoint == "ablated" else before
    eps_patch = [ends[l] - sae.decode(f) for (l, sae), f in zip(enumerate(saes), f_patch)]
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

        logits = run_edited(model, ids, mix)
        (logits[j] - logits[0]).backward()
        for layer in range(len(saes)):
            gradient[layer] += mixed[layer].grad / IG_STEPS
    return [((p - c) * g)[0].detach() for p, c, g in zip(f_patch, f_clean, gradient)], j


def clamped_logits(model, saes, ids, mode):
    def clamp(layer, x):
        sae = saes[layer]
        f = sae.encode(x)
        eps = x - sae.decode(f)
        f = f.clone()
        f[..., CLAMPED] = -2 * f[..., CLAMPED] if mode == "scale" else 3.0
        return sae.decode(f) + eps

    with torch.no_grad():
        return run_edited(model, ids, clamp)


def method(folder, config, model, tokens, resid):
    """SAEs on disk and everything computed with them."""
    d, n_layer = config["hidden_size"], config["num_hidden_layers"]
    saes = []
    for layer in range(n_layer):
        x = torch.cat([r[layer] for r in resid])
        while True:
            sae = Sae(d, float(x.norm(dim=1).mean()) / d ** 0.5)
            if config["model_type"].startswith("gemma"):
                write_gemma_scope(folder, layer, sae)
                sae = sae.double()
            else:
                sae = write_llama_scope(folder, layer, sae, d)
            pre = x @ sae.W_enc + sae.b_enc
            # float32 must not fall on the other side of a threshold
            if (pre - sae.threshold).abs().min() > 2e-5 * pre.abs().max():
                break
        saes.append(sae)
    v = torch.randn(n_layer, d).double()
    u = torch.nn.functional.normalize(v[1], dim=0)
    out = {"direction": v.float()}
    for layer, sae in enumerate(saes):
        x = torch.cat([r[layer] for r in resid])
        out[f"feature.{layer}"] = sae.encode(x).float()
    for endpoint in ("ablated", "released"):
        effects, targets = zip(*(indirect_effects(model, saes, u, ids, endpoint) for ids in tokens))
        for layer in range(n_layer):
            out[f"effect_{endpoint}.{layer}"] = torch.cat([e[layer] for e in effects]).float()
        out["target"] = torch.tensor(targets).int()
    for mode in ("scale", "set"):
        out[f"clamped_{mode}"] = torch.stack([clamped_logits(model, saes, ids, mode) for ids in tokens]).float()
    return out


def make(name, spec):
    config = spec.config
    folder = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(sum(map(ord, name)))
    hf_config = AutoConfig.for_model(**copy.deepcopy(config))
    hf_config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(hf_config).double().eval()
    randomise(model, spec.dtype)
    model.tie_weights()
    write_checkpoint(folder, spec, model)

    resid, grads, logits, tokens, pairs = [], [], [], [], []
    for n in LENGTHS:
        ids = torch.randint(0, config["vocab_size"], (n,))
        pair = torch.randperm(config["vocab_size"])[:2]
        x, g, z = run_prompt(model, ids, pair)
        resid.append(x), grads.append(g), logits.append(z), tokens.append(ids), pairs.append(pair)
    out = {"tokens": torch.cat(tokens).int(), "lengths": torch.tensor(LENGTHS).int(),
           "pair": torch.stack(pairs).int(), "logits": torch.stack(logits).float()}
    for layer in range(config["num_hidden_layers"]):
        out[f"resid_post.{layer}"] = torch.cat([x[layer] for x in resid]).float().contiguous()
        out[f"grad.{layer}"] = torch.cat([g[layer] for g in grads]).float().contiguous()
    out.update(method(folder, config, model, tokens, resid))
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "expected.safetensors")
    spread = torch.stack(logits).std().item()
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, "
          f"logits spread {spread:.2f}, |resid| {out['resid_post.0'].abs().max():.1f}")


if __name__ == "__main__":
    for name, spec in MODELS.items():
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            make(name, spec)
