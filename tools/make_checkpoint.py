#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random checkpoints and SAEs in the real formats and real sizes, streamed to disk: for benchmarks
and memory tests where real weights are not at hand.

    python3 tools/make_checkpoint.py --like gemma-2-300m build/bench/gemma-2-300m
    python3 tools/make_checkpoint.py --like gemma-2-2b --width 16k build/bench/gemma-2-2b-16k
    python3 tools/make_checkpoint.py --like llama-3.1-8b --layers 4 --width 8x OUT
    python3 tools/make_checkpoint.py --list

writes OUT/model as the published folder is: config.json, generation_config.json, bfloat16 weights
in one model.safetensors or, beyond 5 GB, in shards with their index. With --width it writes
OUT/scope, an SAE for every layer: Gemma Scope for Gemma 2 (float32 params.npz, stored), Gemma Scope 2
for Gemma 3, Llama Scope for Llama 3 (bfloat16; widths 8x, 32x). Other families have no published SAEs
of resid_post with a layout of their own.

The tokenizer is a small trained one (models/tiny-gemma2, models/tiny-llama) with the special tokens
of the family, its ids all below the vocabulary's size; --tokenizer takes a real folder's instead.
Weights are drawn so that activations neither vanish nor grow, thresholds so that about --l0 features
of each token are active.

Needs numpy. Some 16 million values are held in memory at a time, and one layer's SAE.
"""
import argparse
import json
import math
import pathlib
import shutil
import struct

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARD_BYTES = 5 * 10 ** 9       # as transformers cuts them
CHUNK = 1 << 24                 # values drawn at a time
WIDTHS = {"16k": 1 << 14, "32k": 1 << 15, "65k": 1 << 16, "131k": 1 << 17, "262k": 1 << 18, "1m": 1 << 20}
BLOCK_VARIANCE = 0.18           # what a block adds to a stream that starts at 1 (Gemma) or 0 (others)

# family, layers, d_model, heads, kv heads, head_dim, d_ff, vocabulary, and what else config.json has
SHAPES = {
    "gemma-2-300m": ("gemma2", 18, 1024, 8, 4, 128, 4096, 32768, dict(query_pre_attn_scalar=128)),  # not published
    "gemma-2-2b": ("gemma2", 26, 2304, 8, 4, 256, 9216, 256000, dict(query_pre_attn_scalar=256)),
    "gemma-2-9b": ("gemma2", 42, 3584, 16, 8, 256, 14336, 256000, dict(query_pre_attn_scalar=256)),
    "gemma-2-27b": ("gemma2", 46, 4608, 32, 16, 128, 36864, 256000, dict(query_pre_attn_scalar=144)),
    "gemma-3-1b": ("gemma3_text", 26, 1152, 4, 1, 256, 6912, 262144, dict(sliding_window=512)),
    "gemma-3-4b": ("gemma3", 34, 2560, 8, 4, 256, 10240, 262208, dict(
        sliding_window=1024, rope_scaling=dict(factor=8.0, rope_type="linear"))),
    "llama-2-13b": ("llama2", 40, 5120, 40, 40, 128, 13824, 32000, {}),
    "llama-3.1-8b": ("llama3", 32, 4096, 32, 8, 128, 14336, 128256, dict(rope_factor=8.0, tied=False)),
    "llama-3.2-1b": ("llama3", 16, 2048, 32, 8, 64, 8192, 128256, dict(rope_factor=32.0, tied=True)),
    "mistral-7b": ("mistral", 32, 4096, 32, 8, 128, 14336, 32000, {}),
    "qwen2.5-0.5b": ("qwen2", 24, 896, 14, 2, 64, 4864, 151936, dict(tied=True)),
    "qwen2.5-7b": ("qwen2", 28, 3584, 28, 4, 128, 18944, 152064, dict(tied=False)),
    "qwen3-0.6b": ("qwen3", 28, 1024, 16, 8, 128, 3072, 151936, dict(tied=True)),
    "qwen3-8b": ("qwen3", 36, 4096, 32, 8, 128, 12288, 151936, dict(tied=False)),
}

# The small tokenizer a family borrows, and the names that its special tokens have there.
TOKENIZERS = {
    "gemma2": ("tiny-gemma2", {}), "gemma3": ("tiny-gemma2", {}), "gemma3_text": ("tiny-gemma2", {}),
    "llama2": ("tiny-gemma2", {"<bos>": "<s>", "<eos>": "</s>"}),
    "mistral": ("tiny-gemma2", {"<bos>": "<s>", "<eos>": "</s>"}),
    "llama3": ("tiny-llama", {}),
    "qwen2": ("tiny-llama", {"<|begin_of_text|>": "<|endoftext|>", "<|start_header_id|>": "<|im_start|>",
                             "<|end_header_id|>": "<tool_call>", "<|eot_id|>": "<|im_end|>"}),
}
TOKENIZERS["qwen3"] = TOKENIZERS["qwen2"]


class Model:
    """One row of SHAPES, with fewer layers on request."""

    def __init__(self, name, layers):
        (self.family, self.n_layer, self.d, self.heads, self.kv, self.head_dim, self.ff, self.vocab,
         self.more) = SHAPES[name]
        self.n_layer = layers or self.n_layer
        self.gemma = self.family.startswith("gemma")
        self.tied = self.gemma or self.more.get("tied", False)
        self.prefix = "language_model.model." if self.family == "gemma3" else "model."


# ---- config.json --------------------------------------------------------------------------------


def common_config(m):
    return dict(num_hidden_layers=m.n_layer, hidden_size=m.d, num_attention_heads=m.heads,
                num_key_value_heads=m.kv, head_dim=m.head_dim, intermediate_size=m.ff, vocab_size=m.vocab,
                torch_dtype="bfloat16", use_cache=True)


def gemma2_config(m):
    return dict(common_config(m), architectures=["Gemma2ForCausalLM"], model_type="gemma2",
                query_pre_attn_scalar=m.more["query_pre_attn_scalar"], attn_logit_softcapping=50.0,
                final_logit_softcapping=30.0, sliding_window=4096, rms_norm_eps=1e-6, rope_theta=10000.0,
                max_position_embeddings=8192, hidden_act="gelu_pytorch_tanh",
                hidden_activation="gelu_pytorch_tanh", attention_bias=False, bos_token_id=2,
                eos_token_id=[1, 107], pad_token_id=0)


def gemma3_text_config(m):
    return dict(common_config(m), architectures=["Gemma3ForCausalLM"], model_type="gemma3_text",
                query_pre_attn_scalar=256, attn_logit_softcapping=None, final_logit_softcapping=None,
                sliding_window=m.more["sliding_window"], sliding_window_pattern=6, rms_norm_eps=1e-6,
                rope_theta=1000000, rope_local_base_freq=10000, rope_scaling=None,
                max_position_embeddings=32768, hidden_activation="gelu_pytorch_tanh", attention_bias=False,
                bos_token_id=2, eos_token_id=[1, 106], pad_token_id=0)


def gemma3_config(m):
    """The multimodal export: the language model's config inside, most of it left to the defaults."""
    text = dict(hidden_size=m.d, intermediate_size=m.ff, model_type="gemma3_text",
                num_hidden_layers=m.n_layer, rope_scaling=m.more["rope_scaling"],
                sliding_window=m.more["sliding_window"])
    vision = dict(hidden_size=1152, image_size=896, intermediate_size=4304, model_type="siglip_vision_model",
                  num_attention_heads=16, num_hidden_layers=27, patch_size=14, vision_use_head=False)
    return dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", boi_token_index=255999,
                eoi_token_index=256000, eos_token_id=[1, 106], image_token_index=262144, initializer_range=0.02,
                mm_tokens_per_image=256, text_config=text, torch_dtype="bfloat16", vision_config=vision)


def llama2_config(m):
    config = dict(common_config(m), architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu",
                  rms_norm_eps=1e-5, rope_scaling=None, max_position_embeddings=4096, attention_bias=False,
                  tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    del config["head_dim"]      # these configs are older than the key
    return config


def llama3_config(m):
    scaling = dict(factor=m.more["rope_factor"], high_freq_factor=4.0, low_freq_factor=1.0,
                   original_max_position_embeddings=8192, rope_type="llama3")
    return dict(common_config(m), architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu",
                rms_norm_eps=1e-5, rope_theta=500000.0, rope_scaling=scaling, max_position_embeddings=131072,
                attention_bias=False, mlp_bias=False, tie_word_embeddings=m.tied, bos_token_id=128000,
                eos_token_id=[128001, 128008, 128009])


def mistral_config(m):
    config = dict(common_config(m), architectures=["MistralForCausalLM"], model_type="mistral", hidden_act="silu",
                  rms_norm_eps=1e-5, rope_theta=10000.0, sliding_window=4096, max_position_embeddings=32768,
                  tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)
    del config["head_dim"]
    return config


def qwen2_config(m):
    config = dict(common_config(m), architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu",
                  rms_norm_eps=1e-6, rope_theta=1000000.0, sliding_window=131072, use_sliding_window=False,
                  max_window_layers=m.n_layer, max_position_embeddings=32768, tie_word_embeddings=m.tied,
                  bos_token_id=151643, eos_token_id=151645)
    del config["head_dim"]
    return config


def qwen3_config(m):
    return dict(common_config(m), architectures=["Qwen3ForCausalLM"], model_type="qwen3", hidden_act="silu",
                rms_norm_eps=1e-6, rope_theta=1000000, rope_scaling=None, sliding_window=None,
                use_sliding_window=False, max_window_layers=m.n_layer, max_position_embeddings=40960,
                attention_bias=False, tie_word_embeddings=m.tied, bos_token_id=151643, eos_token_id=151645)


CONFIGS = dict(gemma2=gemma2_config, gemma3_text=gemma3_text_config, gemma3=gemma3_config, llama2=llama2_config,
               llama3=llama3_config, mistral=mistral_config, qwen2=qwen2_config, qwen3=qwen3_config)


# ---- weights ------------------------------------------------------------------------------------


def bf16(values):
    """float32 to the bits of bfloat16, to nearest even."""
    bits = values.view(np.uint32)
    bits += 0x7FFF + (bits >> 16 & 1)
    return (bits >> 16).astype(np.uint16)


class Writer:
    """A safetensors file whose tensors are drawn a part at a time."""

    BYTES = {"BF16": 2, "F32": 4}

    def __init__(self, path, dtype="BF16"):
        self.path, self.dtype, self.tensors = path, dtype, []

    def add(self, name, shape, draw):
        self.tensors.append((name, shape, draw))

    def bytes(self):
        return sum(self.size(shape) for _, shape, _ in self.tensors)

    def size(self, shape):
        return self.BYTES[self.dtype] * math.prod(shape)

    def write(self):
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        self.tensors.sort()
        for name, shape, _ in self.tensors:
            end = offset + self.size(shape)
            header[name] = {"dtype": self.dtype, "shape": list(shape), "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(self.path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _, shape, draw in self.tensors:
                rows = max(1, CHUNK // max(1, math.prod(shape[1:])))
                for first in range(0, shape[0], rows):
                    part = draw((min(rows, shape[0] - first), *shape[1:]))
                    (bf16(part) if self.dtype == "BF16" else part).tofile(file)


def normals(rng, mean, deviation):
    def draw(shape):
        values = rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(deviation)
        values += np.float32(mean)
        return values
    return draw


def layer_tensors(m, layer, rng):
    """(name, shape, draw) of a block, in the order of the published files."""
    d, q, kv = m.d, m.heads * m.head_dim, m.kv * m.head_dim
    post_norms = m.gemma
    # Gemma multiplies by 1 + w. Its post norms set what a block adds: 0.3 of the stream's start, twice.
    one, post = (0, math.sqrt(BLOCK_VARIANCE / 2) - 1) if m.gemma else (1, None)
    # The others' MLP: the mean square of silu(a) b is 0.36 for normal a and b.
    out = math.sqrt(BLOCK_VARIANCE / 0.36)

    def matrix(rows, cols, gain=1.0):
        return (rows, cols), normals(rng, 0, gain / math.sqrt(cols))

    def norm(n, mean):
        return (n,), normals(rng, mean, 0.1)

    named = [("input_layernorm.weight", *norm(d, one)),
             ("self_attn.q_proj.weight", *matrix(q, d)), ("self_attn.k_proj.weight", *matrix(kv, d)),
             ("self_attn.v_proj.weight", *matrix(kv, d)), ("self_attn.o_proj.weight", *matrix(d, q))]
    if m.family == "qwen2":
        named += [(f"self_attn.{name}_proj.bias", *norm(n, 0)) for name, n in (("q", q), ("k", kv), ("v", kv))]
    if m.family in ("qwen3", "gemma3", "gemma3_text"):
        named += [(f"self_attn.{name}_norm.weight", *norm(m.head_dim, one)) for name in "qk"]
    named += [("mlp.gate_proj.weight", *matrix(m.ff, d)), ("mlp.up_proj.weight", *matrix(m.ff, d)),
              ("mlp.down_proj.weight", *matrix(d, m.ff, 1.0 if m.gemma else out)),
              ("post_attention_layernorm.weight", *norm(d, post if post_norms else one))]
    if post_norms:
        named += [("pre_feedforward_layernorm.weight", *norm(d, one)),
                  ("post_feedforward_layernorm.weight", *norm(d, post))]
    return [(f"{m.prefix}layers.{layer}.{name}", shape, draw) for name, shape, draw in named]


def vision_tensors(rng):
    """Some of what a multimodal export holds beside its language model: to be left alone."""
    return [("multi_modal_projector.mm_input_projection_weight", (1152, 2560), normals(rng, 0, 0.03)),
            ("multi_modal_projector.mm_soft_emb_norm.weight", (1152,), normals(rng, 0, 0.1)),
            ("vision_tower.vision_model.embeddings.patch_embedding.weight", (1152, 3, 14, 14), normals(rng, 0, 0.03)),
            ("vision_tower.vision_model.post_layernorm.weight", (1152,), normals(rng, 1, 0.1))]


def all_tensors(m, rng):
    yield m.prefix + "embed_tokens.weight", (m.vocab, m.d), normals(rng, 0, 1 / math.sqrt(m.d))
    for layer in range(m.n_layer):
        yield from layer_tensors(m, layer, rng)
    yield m.prefix + "norm.weight", (m.d,), normals(rng, 0 if m.gemma else 1, 0.1)
    if not m.tied:
        yield "lm_head.weight", (m.vocab, m.d), normals(rng, 0, 1 / math.sqrt(m.d))
    if m.family == "gemma3":
        yield from vision_tensors(rng)


def write_weights(folder, m, rng):
    shards = [Writer(None)]
    for tensor in all_tensors(m, rng):
        if shards[-1].tensors and shards[-1].bytes() + shards[-1].size(tensor[1]) > SHARD_BYTES:
            shards.append(Writer(None))
        shards[-1].add(*tensor)
    weight_map = {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else "model.safetensors"
        shard.path = folder / name
        shard.write()
        weight_map.update({tensor: name for tensor, _, _ in shard.tensors})
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(s.bytes() for s in shards)}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def copy_tokenizer(folder, m, source):
    names = {}
    if source is None:
        small, names = TOKENIZERS[m.family]
        source = ROOT / "models" / small
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "generation_config.json"):
        if not (source / name).exists():
            continue
        if not names or name == "tokenizer.model":
            shutil.copy(source / name, folder / name)
            continue
        text = (source / name).read_text()
        for small, real in names.items():
            text = text.replace(f'"{small}"', f'"{real}"')
        (folder / name).write_text(text)
    if m.family in ("qwen2", "qwen3") and names:    # no BOS is put in front
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["post_processor"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
                                       "use_regex": False}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=2, ensure_ascii=False) + "\n")


def make_model(folder, m, tokenizer, rng):
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("model*.safetensors*"):
        stale.unlink()
    (folder / "config.json").write_text(json.dumps(CONFIGS[m.family](m), indent=2, sort_keys=True) + "\n")
    copy_tokenizer(folder, m, tokenizer)
    write_weights(folder, m, rng)


# ---- SAEs ---------------------------------------------------------------------------------------


def normal_quantile(p):
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * math.erfc(-middle / math.sqrt(2)) < p else (low, middle)
    return low


def unit_rows(rng, n, d):
    rows = rng.standard_normal((n, d), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def stream_rms(m, layer):
    """Root mean square of resid_post, as layer_tensors makes it."""
    return math.sqrt((1 if m.gemma else 1 / m.d) + BLOCK_VARIANCE * (layer + 1))


def make_gemma_scope(folder, m, layer, width, n, l0, threshold, rng):
    path = folder / f"layer_{layer}" / f"width_{width}" / f"average_l0_{round(l0)}"
    path.mkdir(parents=True, exist_ok=True)
    W_dec = unit_rows(rng, n, m.d)
    np.savez(path / "params.npz", W_enc=np.ascontiguousarray(W_dec.T), W_dec=W_dec,
             b_enc=np.zeros(n, np.float32), b_dec=np.zeros(m.d, np.float32),
             threshold=np.full(n, threshold, np.float32))


def make_gemma_scope_2(folder, m, layer, width, n, l0, threshold, rng):
    path = folder / f"layer_{layer}_width_{width}_l0_medium"
    path.mkdir(parents=True, exist_ok=True)
    W_dec = unit_rows(rng, n, m.d)
    writer = Writer(path / "params.safetensors", "F32")
    for name, values in (("w_enc", np.ascontiguousarray(W_dec.T)), ("w_dec", W_dec), ("b_enc", np.zeros(n, np.float32)),
                         ("b_dec", np.zeros(m.d, np.float32)), ("threshold", np.full(n, threshold, np.float32))):
        writer.add(name, values.shape, whole(values))
    writer.write()
    (path / "config.json").write_text(json.dumps(dict(
        architecture="jump_relu", width=n, l0=l0, hf_hook_point_in=f"model.layers.{layer}.output",
        hf_hook_point_out=f"model.layers.{layer}.output", affine_connection=False, type="sae"), indent=2) + "\n")


def make_llama_scope(folder, m, layer, width, n, l0, threshold, rng):
    """Of activations scaled to norm sqrt(d); the threshold in raw units, with decoder columns of length 1."""
    path = folder / f"Llama3_1-8B-Base-L{layer}R-{width}"
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    average = stream_rms(m, layer) * math.sqrt(m.d)
    rows = unit_rows(rng, n, m.d)
    writer = Writer(path / "checkpoints" / "final.safetensors")
    for name, values in (("encoder.weight", rows), ("decoder.weight", np.ascontiguousarray(rows.T)),
                         ("encoder.bias", np.zeros(n, np.float32)), ("decoder.bias", np.zeros(m.d, np.float32))):
        writer.add(name, values.shape, whole(values))
    writer.write()
    (path / "hyperparams.json").write_text(json.dumps(dict(
        hook_point_in=f"blocks.{layer}.hook_resid_post", hook_point_out=f"blocks.{layer}.hook_resid_post",
        d_model=m.d, d_sae=n, expansion_factor=n // m.d, act_fn="jumprelu", jump_relu_threshold=threshold,
        norm_activation="dataset-wise", dataset_average_activation_norm={"in": average, "out": average},
        sparsity_include_decoder_norm=True, use_decoder_bias=True, apply_decoder_bias_to_pre_encoder=False,
        top_k=50, dtype="torch.bfloat16"), indent=2) + "\n")


def whole(values):
    """A draw that deals out the rows of an array in turn."""
    at = [0]

    def draw(shape):
        at[0] += shape[0]
        return values[at[0] - shape[0]:at[0]].copy()
    return draw


SAES = dict(gemma2=make_gemma_scope, gemma3=make_gemma_scope_2, gemma3_text=make_gemma_scope_2, llama3=make_llama_scope)


def make_saes(folder, m, width, l0, rng):
    """Encoder rows of length 1 against a stream of root mean square s: pre-activations are about N(0, s^2), so a
    threshold at a normal quantile lets l0 of the width through."""
    n = WIDTHS.get(width) or (int(width[:-1]) * m.d if width.endswith("x") else int(width))
    for layer in range(m.n_layer):
        SAES[m.family](folder, m, layer, width, n, l0, normal_quantile(1 - l0 / n) * stream_rms(m, layer), rng)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", choices=list(SHAPES))
    parser.add_argument("--list", action="store_true", help="the models there are, and their sizes")
    parser.add_argument("--layers", type=int, help="fewer layers than the real model")
    parser.add_argument("--width", help="SAEs of this width for every layer: 16k, 65k, 8x, ... or a number")
    parser.add_argument("--l0", type=float, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer", type=pathlib.Path, help="folder of a real tokenizer for this model")
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    if arguments.list:
        for name in SHAPES:
            sizes = [math.prod(shape) for _, shape, _ in all_tensors(Model(name, None), rng)]
            print(f"{name:14} {sum(sizes) * 1e-9:6.2f} G parameters {2 * sum(sizes) * 1e-9:6.1f} GB")
        return
    if not arguments.like or not arguments.folder:
        parser.error("expected --like NAME and a folder, or --list")
    m = Model(arguments.like, arguments.layers)
    if arguments.width and m.family not in SAES:
        parser.error(f"--width: expected a model with published SAEs of its own layout, found {arguments.like}")
    make_model(arguments.folder / "model", m, arguments.tokenizer, rng)
    if arguments.width:
        make_saes(arguments.folder / "scope", m, arguments.width, arguments.l0, rng)
    print(arguments.folder)


if __name__ == "__main__":
    main()
