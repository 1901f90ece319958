#!/usr/bin/env python3
"""Golden files of the transformer: random models of awkward shapes, and what Hugging Face
transformers computes with them.

For every model in MODELS a folder tests/golden/models/NAME is written:
  config.json, model.safetensors (or shards with an index)   what the engine reads
  expected.safetensors                                        what it must compute
    tokens   [n_token]  i32   all prompts end to end          lengths [n_prompt] i32
    resid_post.L [n_token, d_model]  output of block L, before the final norm
    logits   [n_prompt, n_vocab]     at each prompt's last position
    pair     [n_prompt, 2] i32       tokens (j, r) of the metric m = logit[j] - logit[r]
    grad.L   [n_token, d_model]      dm/d(resid_post.L), summed over prompts' own metrics

transformers runs in float64 with eager attention (its Gemma norms and rotary tables stay
float32 inside), one prompt at a time, without padding.

Run: python3 tests/golden/make_models.py      (needs torch, transformers, safetensors; seconds)
"""
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoConfig

HERE = pathlib.Path(__file__).parent / "models"
LENGTHS = [1, 2, 7, 19, 33]

LLAMA3_ROPE = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 32}

# name -> (config as a checkpoint's config.json has it, stored type, number of shards)
MODELS = {
    # head_dim is not d/H; the window is shorter than the prompts; scale is not head_dim
    "gemma2_a": (dict(model_type="gemma2", hidden_size=40, num_hidden_layers=3,
                      num_attention_heads=4, num_key_value_heads=2, head_dim=12,
                      intermediate_size=72, vocab_size=97, sliding_window=5,
                      query_pre_attn_scalar=20, attn_logit_softcapping=5.0,
                      final_logit_softcapping=3.0), torch.float32, 1),
    # one kv head, odd sizes, bfloat16, two shards
    "gemma2_b": (dict(model_type="gemma2", hidden_size=39, num_hidden_layers=4,
                      num_attention_heads=3, num_key_value_heads=1, head_dim=16,
                      intermediate_size=51, vocab_size=131, sliding_window=3,
                      query_pre_attn_scalar=16), torch.bfloat16, 2),
    # no softcaps
    "gemma2_c": (dict(model_type="gemma2", hidden_size=48, num_hidden_layers=2,
                      num_attention_heads=6, num_key_value_heads=3, head_dim=10,
                      intermediate_size=64, vocab_size=64, sliding_window=16,
                      query_pre_attn_scalar=8, attn_logit_softcapping=None,
                      final_logit_softcapping=None), torch.bfloat16, 1),
    # llama3 rope scaling whose three regimes all occur
    "llama_a": (dict(model_type="llama", hidden_size=48, num_hidden_layers=3,
                     num_attention_heads=4, num_key_value_heads=2, intermediate_size=80,
                     vocab_size=101, rms_norm_eps=1e-5, rope_theta=10000.0,
                     rope_scaling=LLAMA3_ROPE, max_position_embeddings=128,
                     tie_word_embeddings=False), torch.float32, 2),
    # head_dim is not d/H, one kv head, tied
    "llama_b": (dict(model_type="llama", hidden_size=36, num_hidden_layers=2,
                     num_attention_heads=3, num_key_value_heads=1, head_dim=20,
                     intermediate_size=50, vocab_size=77, rms_norm_eps=1e-6,
                     rope_theta=500.0, max_position_embeddings=128,
                     tie_word_embeddings=True), torch.bfloat16, 1),
    # as many kv heads as heads, float16
    "llama_c": (dict(model_type="llama", hidden_size=32, num_hidden_layers=4,
                     num_attention_heads=2, num_key_value_heads=2, intermediate_size=40,
                     vocab_size=50, rms_norm_eps=1e-5, rope_theta=10000.0,
                     max_position_embeddings=64, tie_word_embeddings=False),
                torch.float16, 1),
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


def write_checkpoint(folder, config, model, dtype, shards):
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}
    if config.get("tie_word_embeddings", config["model_type"] == "gemma2"):
        tensors.pop("lm_head.weight", None)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for i in range(shards):
        part = names[i::shards]
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
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


def make(name, config, dtype, shards):
    folder = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(sum(map(ord, name)))
    hf_config = AutoConfig.for_model(**config)
    hf_config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(hf_config).double().eval()
    randomise(model, dtype)
    model.tie_weights()
    write_checkpoint(folder, config, model, dtype, shards)

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
    save_file(out, folder / "expected.safetensors")
    spread = torch.stack(logits).std().item()
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, "
          f"logits spread {spread:.2f}, |resid| {out['resid_post.0'].abs().max():.1f}")


if __name__ == "__main__":
    for name, (config, dtype, shards) in MODELS.items():
        make(name, config, dtype, shards)
