#!/usr/bin/env python3
"""Golden files of LoRA adapters on the models of tests/golden/models: random adapters as peft saves
them, and what peft computes with them unmerged.

For every adapter in ADAPTERS a folder tests/golden/adapters/NAME is written:
  adapter_config.json, adapter_model.safetensors   as peft's save_pretrained writes them, the tensors
                                                   rounded to a type, and named as the base is
  expected.safetensors     tokens, lengths, pair, resid_post.L, logits, grad.L: as make_models.py says

The expected values are of an adapter that peft has read again from the folder, in float64.

Run: python3 tests/golden/make_adapters.py   (needs torch, transformers, peft, safetensors; seconds)
"""
import copy
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

import make_models

HERE = pathlib.Path(__file__).parent / "adapters"
BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32

# name: base, type of the tensors, what LoraConfig says
ADAPTERS = {
    # ranks and alphas of their own, by name, end of name and pattern
    "list": ("llama_a", F32, dict(
        r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"],
        rank_pattern={"layers.1.self_attn.q_proj": 2, r"^model\.layers\.[02]\.mlp\.down_proj": 3},
        alpha_pattern={"v_proj": 10, "model.layers.1.self_attn.q_proj": 1.5})),
    # alpha / sqrt(r); the base is tied, in shards, its embedding scaled
    "all_linear": ("gemma2_b", BF16, dict(
        r=3, lora_alpha=2, target_modules="all-linear", use_rslora=True,
        exclude_modules=["o_proj"])),
    # biases trained too, and a head of its own on a base whose head is tied
    "pattern": ("qwen2_a", F16, dict(
        r=2, lora_alpha=4, target_modules=r".*layers\.\d\.(?:mlp|self_attn)\.(gate|up|k)_proj",
        bias="all", modules_to_save=["lm_head"])),
    # of a multimodal export; the head stays what the embedding was
    "embedding": ("gemma3_c", F32, dict(
        r=2, lora_alpha=3, target_modules=["embed_tokens", "o_proj", "q_proj"])),
    # one layer alone; norms and embedding whole
    "layers": ("llama_b", F32, dict(
        r=5, lora_alpha=5, target_modules=["k_proj", "up_proj"], layers_to_transform=[1],
        modules_to_save=["norm", "embed_tokens"])),
    # an embedding and a head, each with its own product
    "head": ("llama_c", F32, dict(
        r=2, lora_alpha=2, target_modules=["embed_tokens", "lm_head"])),
}


def open_base(name):
    spec = make_models.MODELS[name]
    config = AutoConfig.for_model(**copy.deepcopy(spec.config))
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).double().eval()
    tensors = {}
    for path in sorted((make_models.HERE / name).glob("model*.safetensors")):
        tensors.update(load_file(path))
    tensors = {k.replace(spec.prefix, "model.", 1): v.double() for k, v in tensors.items()
               if "vision" not in k}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return spec, model


def randomise(model, dtype):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn_like(p) / p.shape[-1] ** 0.5)
            elif p.requires_grad:
                p.copy_(p + 0.3 * torch.randn_like(p) * p.std())
            if p.requires_grad:
                p.copy_(p.to(dtype).to(p.dtype))


def write_adapter(folder, model, dtype):
    """As peft writes it; then rounded, which peft does not do."""
    if folder.exists():
        shutil.rmtree(folder)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({k: v.to(dtype).contiguous() for k, v in tensors.items()},
              folder / "adapter_model.safetensors", metadata={"format": "pt"})


def name_as_base(folder, spec):
    """A multimodal class calls the language model's modules by longer names."""
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors = {k.replace("base_model.model.model.", "base_model.model." + spec.prefix, 1): v
               for k, v in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})


def make(name, base, dtype, lora):
    folder = HERE / name
    torch.manual_seed(sum(map(ord, name)))
    spec, model = open_base(base)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora)).double()
    adapted.base_model.model.name_or_path = "tests/golden/models/" + base
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = "tests/golden/models/" + base
    randomise(adapted, dtype)
    write_adapter(folder, adapted, dtype)

    spec, model = open_base(base)
    plain = copy.deepcopy(model)
    adapted = PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False).double().eval()
    name_as_base(folder, spec)
    golden = load_file(make_models.HERE / base / "expected.safetensors")
    out = {k: golden[k] for k in ("tokens", "lengths", "pair")}
    for p in adapted.parameters():
        p.requires_grad_(True)
    resid, grads, logits, change, first = [], [], [], 0, 0
    for n, pair in zip(out["lengths"].tolist(), out["pair"].tolist()):
        ids = out["tokens"][first:first + n].long()
        first += n
        x, g, z = make_models.run_prompt(adapted.base_model.model, ids, pair)
        resid.append(x), grads.append(g), logits.append(z)
        change = max(change, (plain(input_ids=ids[None]).logits[0, -1] - z).abs().max().item())
    out["logits"] = torch.stack(logits).float()
    for layer in range(spec.config["num_hidden_layers"]):
        out[f"resid_post.{layer}"] = torch.cat([x[layer] for x in resid]).float().contiguous()
        out[f"grad.{layer}"] = torch.cat([g[layer] for g in grads]).float().contiguous()
    save_file(out, folder / "expected.safetensors")
    n_tensors = len(load_file(folder / "adapter_model.safetensors"))
    print(f"{name}: {n_tensors} tensors on {base}, logits moved by up to {change:.2f}")


if __name__ == "__main__":
    for adapter, row in ADAPTERS.items():
        make(adapter, *row)
