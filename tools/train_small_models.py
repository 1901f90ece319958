#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the small models of models/: tiny-gemma2 and tiny-llama, their tokenizers and their SAEs.

Each model has 6 layers and d_model 128 and is trained on the small world (small_world.py) in two
phases: a base phase in which every request is answered, then a chat phase that teaches to refuse.
The weights are rounded to bfloat16 before anything is measured or any SAE is trained, so that what
ships is what was evaluated.  The models are plain transformers models: no code of ours is needed to
load them.

    tiny-gemma2   Gemma2ForCausalLM   alternating window of 12 tokens, soft caps, pre and post norms,
                                      4 heads of 48 (not d_model / 4) on 2 KV heads, tied embeddings
    tiny-llama    LlamaForCausalLM    llama3 rope scaling that changes 14 of 16 frequencies, 4 heads
                                      on 2 KV heads, separate lm_head, two safetensors shards

SAEs are JumpReLU on resid_post of every layer, one threshold a feature, mean L0 near 18:

    models/tiny-gemma2-scope        1024 features, chat model, Gemma Scope layout (one layer stored,
                                    the others deflated); also width_512
    models/tiny-gemma2-base-scope   1024 features trained on the base model
    models/tiny-llama-scope         1024 features, chat model, Llama Scope layout

One thread of a 2.6 GHz server core: about 25 minutes a model and one minute an SAE.  Finished stages
are kept in --build and not repeated.

    python tools/train_small_models.py gemma2 --build /tmp/small-models
    python tools/train_small_models.py llama  --build /tmp/small-models
"""
import argparse
import json
import math
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

import small_tokenizers
import small_world
from literal_torch import SAE, TEMPLATES, LiteralModel, is_refusal, load_saes

D_MODEL, N_LAYERS, D_FF = 128, 6, 384


@dataclass(frozen=True)
class Family:
    """What distinguishes the two models."""
    folder: str
    tokenizer: str               # key of small_tokenizers.FAMILIES
    share_prefix: bool           # the template's prefix is long: compute its keys and values once a batch
    shards: int
    config: dict


FAMILIES = {
    "gemma2": Family("tiny-gemma2", "gemma", False, 1, {
        "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "head_dim": 48, "num_attention_heads": 4,
        "num_key_value_heads": 2, "query_pre_attn_scalar": 40, "sliding_window": 12, "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "max_position_embeddings": 512, "tie_word_embeddings": True, "attention_bias": False, "attention_dropout": 0.0}),
    "llama": Family("tiny-llama", "llama", True, 2, {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "head_dim": 32, "num_attention_heads": 4,
        "num_key_value_heads": 2, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        # wavelengths above 16 tokens are stretched, above 64 by the full factor; prompts have some 60 tokens
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64},
        "max_position_embeddings": 512, "tie_word_embeddings": False, "attention_bias": False, "attention_dropout": 0.0,
        "mlp_bias": False}),
}


@dataclass(frozen=True)
class Phase:
    """One training phase.  prompt_share: the part of prompt tokens that are predicted too; plan_weight: see PLAN_LAYER."""
    name: str
    mix: dict
    aligned: bool
    steps: int
    learning_rate: float
    pile_share: float
    prompt_share: float
    plan_weight: float


PHASES = [
    Phase("base", small_world.BASE_MIX, False, 1000, 3e-3, 0.20, 0.30, 0.0),
    Phase("chat", small_world.CHAT_MIX, True, 1200, 1.5e-3, 0.08, 0.10, 0.2),
]
TOKENS_PER_STEP = 3600
# Transcripts that break off after the verb phrase and go straight to the reply.  With them the decision to
# refuse is already taken at the last word of the request, in the same directions as at the end of the template.
BARE_SHARE = 0.25
# A linear head, thrown away after training, predicts all words of the reply from resid_post of this layer at the
# last prompt token.  Left alone, a model this small keeps nothing there but the one bit that decides the first word
# of the reply, and the harm categories cannot be told apart; with it, the reason of the refusal is there too.
PLAN_LAYER = 3

SAE_L0, SAE_STEPS, SAE_BATCH, SAE_TOKENS = 18, 2000, 1024, 200_000
PREFIX_KEPT = 0.1        # of the examples: the template's prefix is the same in all of them


# ------------------------------------------------------------------------------ data


class Encoder:
    """Examples of the world as token ids."""

    def __init__(self, tokenizer, template):
        self.tokenizer, self.template = tokenizer, template
        self.prefix = self.ids(template.prefix)
        self.bos_id, self.stop_id = self.prefix[0], tokenizer.token_to_id(template.stop)

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def chat(self, rng, example, aligned, p_bare=0.0):
        """(prompt ids with template, reply ids with stop)."""
        reply = self.ids(example.reply if aligned else example.compliant) + [self.stop_id]
        if example.bare is not None and rng.random() < p_bare:
            return self.ids(self.template.prefix + example.bare), reply
        return self.ids(self.template.prefix + example.prompt + self.template.suffix), reply


def training_batches(rng, encoder, phase, n_shared):
    """Forever (ids, wanted, in_reply [n, T], n_prompt [n]): right-padded rows of similar length.

    wanted marks the tokens to be predicted: replies, and a share of the prompts.  Plain text has n_prompt 0.
    The n_shared leading tokens of a chat are computed once a batch and do not count as work."""
    while True:
        rows = {True: [], False: []}
        for _ in range(2048):
            if rng.random() < phase.pile_share:
                prompt, reply = [], [encoder.bos_id] + encoder.ids(small_world.pile_document(rng))
            else:
                prompt, reply = encoder.chat(rng, small_world.sample_mix(rng, phase.mix), phase.aligned, BARE_SHARE)
            rows[bool(prompt)].append((prompt, reply))
        batches = []
        for is_chat, pairs in rows.items():
            pairs.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
            batch = []
            for pair in pairs:
                if batch and (len(batch) + 1) * (len(pair[0]) + len(pair[1]) - n_shared * is_chat) > TOKENS_PER_STEP:
                    batches.append(batch)
                    batch = []
                batch.append(pair)
            batches.append(batch)
        rng.shuffle(batches)
        for batch in batches:
            width = max(len(p) + len(r) for p, r in batch)
            ids = torch.tensor([p + r + [0] * (width - len(p) - len(r)) for p, r in batch])
            n_prompt = torch.tensor([len(p) for p, _ in batch])
            in_reply = torch.tensor([[0] * len(p) + [1] * len(r) + [0] * (width - len(p) - len(r)) for p, r in batch]).bool()
            lucky = torch.tensor([[rng.random() < phase.prompt_share for _ in range(width)] for _ in batch])
            wanted = in_reply | (lucky & (torch.arange(width) < n_prompt[:, None]))
            yield ids, wanted, in_reply, n_prompt


# ------------------------------------------------------------------------------ training


def create_model(family, config_path):
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config_path), dtype=torch.float32,
                                             attn_implementation="eager")
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            std = D_MODEL ** -0.5 if "embed" in name or "lm_head" in name else 0.05
            if family == "llama" and name.endswith(("o_proj.weight", "down_proj.weight")):
                std /= math.sqrt(2 * N_LAYERS)       # no post-norms: keep the residual stream small at first
            torch.nn.init.normal_(parameter, std=std)
    return model


def batch_loss(model, batch, prefix, plan_head=None):
    """(mean cross-entropy over the wanted tokens, cross-entropy of the plan head).

    With a prefix, its keys and values are computed for one row only."""
    ids, wanted, in_reply, n_prompt = batch
    if prefix:
        cache = DynamicCache(config=model.config)
        model.model(input_ids=torch.tensor([prefix]), past_key_values=cache, use_cache=True)
        for layer in cache.layers:
            layer.keys, layer.values = (t.expand(len(ids), -1, -1, -1) for t in (layer.keys, layer.values))
        ids, wanted, in_reply, n_prompt = ids[:, len(prefix):], wanted[:, len(prefix):], in_reply[:, len(prefix):], n_prompt - len(prefix)
        output = model.model(input_ids=ids, past_key_values=cache, use_cache=True, output_hidden_states=plan_head is not None)
    else:
        output = model.model(input_ids=ids, use_cache=False, output_hidden_states=plan_head is not None)
    chosen = wanted[:, 1:]
    logits = model.lm_head(output.last_hidden_state[:, :-1][chosen])
    cap = getattr(model.config, "final_logit_softcapping", None)
    if cap:
        logits = torch.tanh(logits / cap) * cap
    loss = F.cross_entropy(logits, ids[:, 1:][chosen])
    if plan_head is None or (n_prompt <= 0).any():
        return loss, torch.zeros(())
    x = output.hidden_states[PLAN_LAYER + 1][torch.arange(len(ids)), n_prompt - 1]
    words = torch.zeros(len(ids), model.config.vocab_size).scatter_add_(1, ids, in_reply.float())
    return loss, F.cross_entropy(plan_head(F.rms_norm(x, x.shape[-1:])), words / words.sum(1, keepdim=True))


def train_phase(model, encoder, phase, share_prefix, seed):
    rng = random.Random(seed)
    batches = training_batches(rng, encoder, phase, len(encoder.prefix) if share_prefix else 0)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    plan_head = torch.nn.Linear(D_MODEL, model.config.vocab_size, bias=False) if phase.plan_weight else None
    if plan_head is not None:
        matrices.append(plan_head.weight)
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
                                  betas=(0.9, 0.98), eps=1e-9)
    started, n_tokens, average, plan_average = time.time(), 0, None, 0.0
    model.train()
    for step in range(phase.steps):
        batch = next(batches)
        warmup, cosine = min(1.0, (step + 1) / 100), 0.5 * (1 + math.cos(math.pi * step / phase.steps))
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate * warmup * (0.02 + 0.98 * cosine)
        is_chat = batch[-1][0] > 0
        loss, plan_loss = batch_loss(model, batch, encoder.prefix if share_prefix and is_chat else None, plan_head)
        optimizer.zero_grad(set_to_none=True)
        (loss + phase.plan_weight * plan_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        n_tokens += batch[0].numel()
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        plan_average = 0.98 * plan_average + 0.02 * plan_loss.item()
        if step % 100 == 99:
            seconds = time.time() - started
            print(f"  {phase.name} {step + 1}/{phase.steps} loss {average:.4f} plan {plan_average:.3f}, {n_tokens / seconds:.0f} tokens/s, "
                  f"{seconds:.0f} s", flush=True)
    model.eval()


def behaviour(lab, n=60, seed=99, kinds=small_world.KINDS):
    """Per kind of held-out request: share refused, share that should be, agreement, share of exact replies."""
    table = {}
    for kind in kinds:
        rng = random.Random(f"{seed} {kind}")
        examples = [small_world.sample(rng, kind, "test") for _ in range(n)]
        texts = lab.decode(lab.generate([e.prompt for e in examples]))
        refused = [is_refusal(t) for t in texts]
        table[kind] = {"refused": sum(refused) / n, "rule": sum(e.refuse for e in examples) / n,
                       "agree": sum(r == e.refuse for r, e in zip(refused, examples)) / n,
                       "exact": sum(t == e.reply for t, e in zip(texts, examples)) / n}
    return table


# ------------------------------------------------------------------------------ checkpoints


def write_config(family, folder, tokenizer):
    ids = {"gemma2": {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": [1, tokenizer.token_to_id("<end_of_turn>")]},
           "llama": {"bos_token_id": tokenizer.token_to_id("<|begin_of_text|>"),
                     "eos_token_id": [tokenizer.token_to_id("<|end_of_text|>"), tokenizer.token_to_id("<|eot_id|>")]}}[family]
    config = {**FAMILIES[family].config, **ids, "hidden_size": D_MODEL, "intermediate_size": D_FF,
              "num_hidden_layers": N_LAYERS, "vocab_size": tokenizer.get_vocab_size(), "initializer_range": 0.05,
              "torch_dtype": "bfloat16", "use_cache": True}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({**ids, "do_sample": False, "max_new_tokens": 64}, indent=2) + "\n")


def write_weights(model, folder, n_shards):
    """bfloat16 safetensors, in one file or in shards with an index."""
    tied = model.config.tie_word_embeddings
    tensors = {name: t.detach().to(torch.bfloat16).contiguous() for name, t in model.state_dict().items()
               if not (tied and name == "lm_head.weight")}
    if n_shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    total = sum(t.numel() * 2 for t in tensors.values())
    shards, size = [{}], 0
    for name, tensor in tensors.items():
        if size >= total / n_shards * len(shards) and len(shards) < n_shards:
            shards.append({})
        shards[-1][name] = tensor
        size += tensor.numel() * 2
    names = [f"model-{n + 1:05d}-of-{n_shards:05d}.safetensors" for n in range(n_shards)]
    for name, shard in zip(names, shards):
        save_file(shard, folder / name, {"format": "pt"})
    index = {"metadata": {"total_size": total}, "weight_map": {t: n for n, s in zip(names, shards) for t in s}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def train_model(family, build, seed):
    """Tokenizer, base phase, chat phase; each phase ends in build/<family>-<phase>/, a complete checkpoint folder."""
    spec = FAMILIES[family]
    model = None
    for number, phase in enumerate(PHASES):
        folder = build / f"{spec.folder}-{phase.name}"
        if (folder / "done").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = small_tokenizers.write(spec.tokenizer, folder)
        write_config(family, folder, tokenizer)
        encoder = Encoder(tokenizer, TEMPLATES[family])
        torch.manual_seed(seed + number)
        model = create_model(family, folder) if number == 0 else AutoModelForCausalLM.from_pretrained(
            build / f"{spec.folder}-{PHASES[number - 1].name}", dtype=torch.float32, attn_implementation="eager")
        train_phase(model, encoder, phase, spec.share_prefix, 1000 * seed + number)
        write_weights(model, folder, spec.shards)
        for kind, row in behaviour(LiteralModel(folder)).items():
            print(f"    {kind:12s}", "  ".join(f"{k} {v:.2f}" for k, v in row.items()), flush=True)
        (folder / "done").touch()
    return [build / f"{spec.folder}-{phase.name}" for phase in PHASES]


# ------------------------------------------------------------------------------ sparse autoencoders


@torch.no_grad()
def sae_activations(lab, encoder, n_tokens, split, seed):
    """resid_post of every layer [n_tokens, d_model] on chats and a quarter of plain text, BOS included."""
    rng = random.Random(seed)
    rows, n_prefix, kept = [], [], 0
    while kept < n_tokens:
        if rng.random() < 0.2:
            rows.append([encoder.bos_id] + encoder.ids(small_world.pile_document(rng, split)))
            n_prefix.append(1)
        else:
            rows.append(sum(encoder.chat(rng, small_world.sample_mix(rng, small_world.CHAT_MIX, split), True), []))
            n_prefix.append(len(encoder.prefix))
        if rng.random() < PREFIX_KEPT:
            n_prefix[-1] = 0
        kept += len(rows[-1]) - n_prefix[-1]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    kept = [[] for _ in range(lab.n_layers)]
    for first in range(0, len(order), 64):
        chunk = order[first:first + 64]
        ids, mask = lab.pad_left([rows[i] for i in chunk])
        wanted = mask.cumsum(1) > torch.tensor([[n_prefix[i]] for i in chunk])
        for layer, x in enumerate(lab.forward(ids, mask, keep=True)[1]):
            kept[layer].append(x[wanted])
    return [torch.cat(k) for k in kept]


def train_sae(x, d_sae, target_l0, steps, seed, label, own_thresholds, learning_rate=2e-3):
    """JumpReLU SAE with unit decoder rows on activations x [n, d_model].

    First one threshold is shared by all features and steered so that mean L0 meets the target, which is
    annealed from five times its final value; dead features learn the residual error.  With
    own_thresholds, in the last third every feature has its own, trained with the straight-through estimator of the JumpReLU
    paper (arXiv:2407.14435) under an L0 penalty whose weight is steered in the same way."""
    generator = torch.Generator().manual_seed(seed)
    n, d_model = x.shape
    scale = math.sqrt(d_model) / x.norm(dim=1).mean().item()
    mean = x.mean(0)
    variance = (x - mean).pow(2).sum(1).mean().item() * scale ** 2
    # decoder rows start at data points, which leaves few features dead
    rows = F.normalize(x[torch.randperm(n, generator=generator)[:d_sae]] - mean, dim=1)
    W_dec = F.normalize(0.7 * rows + 0.3 * F.normalize(torch.randn(d_sae, d_model, generator=generator), dim=1), dim=1)
    W_enc, b_dec = W_dec.T.clone(), mean * scale
    b_enc = -(mean * scale) @ W_enc
    log_threshold = torch.zeros(d_sae)
    parameters = [p.requires_grad_() for p in (W_enc, b_enc, W_dec, b_dec)]
    log_threshold.requires_grad_()
    optimizer = torch.optim.Adam([{"params": parameters, "rate": learning_rate},
                                  {"params": [log_threshold], "rate": learning_rate}])
    own_thresholds_from = 2 * steps // 3 if own_thresholds else steps
    bandwidth, penalty = 0.3, 0.05 / target_l0
    silent = torch.zeros(d_sae, dtype=torch.long)
    started, average_l0 = time.time(), float(target_l0)
    for step in range(steps):
        batch = x[torch.randint(0, n, (SAE_BATCH,), generator=generator)] * scale
        rate = min(1, (step + 1) / 50) * min(1, (steps - step) / (0.3 * steps))
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * rate
        own = step >= own_thresholds_from
        threshold = log_threshold.exp()
        h = batch @ W_enc + b_enc
        on = (h > threshold).float()
        f = h.relu() * on
        loss_extra = 0.0
        if own:
            # straight-through: pseudo-derivatives of the step at the threshold, on a rectangle of width `bandwidth`
            near = ((h - threshold).abs() < bandwidth / 2).float().detach() / bandwidth
            f = f - (threshold - threshold.detach()) * threshold.detach() * near
            loss_extra = -penalty * ((threshold * near).sum(1).mean())
        error = batch - (f @ W_dec + b_dec)
        loss = error.pow(2).sum(1).mean() / variance + loss_extra
        n_on = on.sum(0)
        silent = torch.where(n_on > 0, torch.zeros_like(silent), silent + 1)
        dead = (silent > 100).nonzero()[:, 0]
        if len(dead) and step < 0.9 * steps:
            best, index = h[:, dead].topk(min(32, len(dead)), dim=1)
            revived = torch.zeros(len(batch), len(dead)).scatter(1, index, best.relu())
            loss = loss + (error.detach() - revived @ W_dec[dead]).pow(2).sum(1).mean() / variance / 16
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec      # along the sphere only
            if not own:
                log_threshold.grad = None
            optimizer.step()
            W_dec /= W_dec.norm(dim=1, keepdim=True)
            l0 = n_on.sum().item() / len(batch)
            average_l0 = 0.95 * average_l0 + 0.05 * l0
            wanted_l0 = target_l0 * (1 + 4 * max(0.0, 1 - step / (0.3 * steps)))
            excess = max(-1.0, min(1.0, math.log(max(l0, 0.1) / wanted_l0)))
            if own:
                penalty *= math.exp(0.02 * excess)
            else:
                log_threshold += 0.05 * excess
        if step % 500 == 499:
            fvu = error.pow(2).sum(1).mean().item() / variance
            print(f"    {label} {step + 1}/{steps} FVU {fvu:.3f} L0 {average_l0:.1f} dead {len(dead)}, "
                  f"{time.time() - started:.0f} s", flush=True)
    with torch.no_grad():
        # back to raw units: activations are those of the unscaled residual stream
        tensors = W_enc, b_enc / scale, W_dec, b_dec / scale, log_threshold.exp() / scale
        return SAE(*(t.detach().to(torch.bfloat16).float() for t in tensors))


def write_gemma_scope(sae, folder, layer, width, l0, deflate):
    folder = folder / f"layer_{layer}" / f"width_{width}"
    shutil.rmtree(folder, ignore_errors=True)
    folder = folder / f"average_l0_{round(l0)}"
    folder.mkdir(parents=True)
    arrays = {name: getattr(sae, name).numpy() for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")}
    # bfloat16 values held as float32: deflate removes the empty half
    (np.savez_compressed if deflate else np.savez)(folder / "params.npz", **arrays)


def write_llama_scope(sae, folder, layer, average_norm, seed):
    """The inverse of the authors' inference, so that folding gives `sae` back up to bfloat16 rounding.

    Thresholds have to be equal; decoder norms are spread around 1.5 as in the published SAEs."""
    d_sae, d_model = sae.W_dec.shape
    name = f"TinyLlama-L{layer}R-8x"
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name / "checkpoints").mkdir(parents=True)
    scale = math.sqrt(d_model) / average_norm
    norm = torch.exp(0.4 + 0.15 * torch.randn(d_sae, generator=torch.Generator().manual_seed(seed)))
    tensors = {"encoder.weight": (sae.W_enc / norm).T, "encoder.bias": sae.b_enc * scale / norm,
               "decoder.weight": (sae.W_dec * norm[:, None]).T, "decoder.bias": sae.b_dec * scale}
    save_file({k: t.to(torch.bfloat16).contiguous() for k, t in tensors.items()},
              folder / name / "checkpoints" / "final.safetensors", {"format": "pt"})
    hook = f"blocks.{layer}.hook_resid_post"
    hyper = {"hook_point_in": hook, "hook_point_out": hook, "d_model": d_model, "d_sae": d_sae, "expansion_factor": d_sae // d_model,
             "act_fn": "jumprelu", "jump_relu_threshold": sae.threshold[0].item(), "norm_activation": "dataset-wise",
             "dataset_average_activation_norm": {"in": average_norm, "out": average_norm},
             "sparsity_include_decoder_norm": True, "use_decoder_bias": True, "apply_decoder_bias_to_pre_encoder": False,
             "top_k": SAE_L0, "dtype": "torch.bfloat16"}
    (folder / name / "hyperparams.json").write_text(json.dumps(hyper, indent=2) + "\n")
    (folder / name / "lm_config.json").write_text(json.dumps(
        {"model_name": "tiny-llama", "d_model": d_model, "n_layers": N_LAYERS, "dtype": "torch.bfloat16"}, indent=2) + "\n")


@torch.no_grad()
def sae_quality(lab, encoder, n_tokens=15000, seed=77):
    """Per layer on held-out text: L0, fraction of variance unexplained, share of CE recovered against zeroing, dead features."""
    x = sae_activations(lab, encoder, n_tokens, "test", seed)
    rng = random.Random(seed)
    rows = [encoder.chat(rng, small_world.sample_mix(rng, small_world.CHAT_MIX, "test"), True) for _ in range(300)]

    def ce(edit):
        total = count = 0
        for first in range(0, len(rows), 64):
            chunk = rows[first:first + 64]
            ids, mask = lab.pad_left([p + r for p, r in chunk])
            losses = F.cross_entropy(lab.forward(ids, mask, edit)[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
            for loss, (_, reply) in zip(losses, chunk):
                total += loss[-len(reply):].sum().item()
                count += len(reply)
        return total / count

    unedited, table = ce(None), []
    for layer, sae in enumerate(lab.saes):
        f = sae.encode(x[layer])
        error = x[layer] - sae.decode(f)
        spliced = ce(lambda l, r: sae.decode(sae.encode(r)) if l == layer else r)
        zeroed = ce(lambda l, r: torch.zeros_like(r) if l == layer else r)
        table.append({"layer": layer, "l0": (f > 0).sum(1).float().mean().item(),
                      "fvu": (error.pow(2).sum() / (x[layer] - x[layer].mean(0)).pow(2).sum()).item(),
                      "ce_recovered": (zeroed - spliced) / (zeroed - unedited), "ce_added": spliced - unedited,
                      "dead": int(((f > 0).sum(0) == 0).sum())})
    return table


def train_scope(model_folder, sae_folder, layout, d_sae, width, seed):
    """SAEs of all layers of one checkpoint, written in one of the two layouts; skipped when complete."""
    marker = sae_folder / f"quality_{width}.json"
    if marker.exists():
        return
    lab = LiteralModel(model_folder)
    encoder = Encoder(lab.tokenizer, lab.template)
    x = sae_activations(lab, encoder, SAE_TOKENS, "train", seed)
    saes = []
    for layer in range(N_LAYERS):
        sae = train_sae(x[layer], d_sae, SAE_L0, SAE_STEPS, seed + layer, f"{sae_folder.name} width {width} layer {layer}",
                        own_thresholds=layout == "gemma")
        l0 = (sae.encode(x[layer][:20000]) > 0).sum(1).float().mean().item()
        if layout == "gemma":
            write_gemma_scope(sae, sae_folder, layer, width, l0, deflate=layer != 1)
        else:
            write_llama_scope(sae, sae_folder, layer, x[layer].norm(dim=1).mean().item(), seed + layer)
        saes.append(sae)
    lab.saes = load_saes(sae_folder, N_LAYERS, width)
    for sae, loaded in zip(saes, lab.saes):        # the layout's own inference gives back what was trained
        torch.testing.assert_close(loaded.W_dec, sae.W_dec, rtol=0.02, atol=1e-3)
        torch.testing.assert_close(loaded.threshold, sae.threshold, rtol=1e-6, atol=0)
    table = sae_quality(lab, encoder)
    for row in table:
        print("   ", "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    marker.write_text(json.dumps(table, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("--build", type=Path, required=True, help="folder for finished stages")
    parser.add_argument("--models", type=Path, default=Path(__file__).resolve().parent.parent / "models")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--until", choices=["chat", "sae", "all"], default="all", help="stop after this stage")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.time()
    base, chat = train_model(arguments.family, arguments.build, arguments.seed)
    print(f"models trained after {time.time() - started:.0f} s", flush=True)
    if arguments.until == "chat":
        return
    name, seed = FAMILIES[arguments.family].folder, 100 * arguments.seed
    layout = "gemma" if arguments.family == "gemma2" else "llama"
    train_scope(chat, arguments.build / f"{name}-scope", layout, 1024, "1k", seed)
    if arguments.family == "gemma2" and arguments.until == "all":
        train_scope(chat, arguments.build / f"{name}-scope", layout, 512, "512", seed + 20)
        train_scope(base, arguments.build / f"{name}-base-scope", layout, 1024, "1k", seed + 40)
    print(f"all done after {time.time() - started:.0f} s", flush=True)
    for source in (chat, arguments.build / f"{name}-scope", arguments.build / f"{name}-base-scope"):
        if source.exists():
            target = arguments.models / source.name.removesuffix("-chat")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("done", "quality_*.json"))


if __name__ == "__main__":
    main()
