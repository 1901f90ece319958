#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random checkpoints and SAEs in the real format and real sizes, streamed to disk: for benchmarks
and memory tests where real weights are not at hand.

    python3 tools/make_checkpoint.py --like gemma-2-300m build/bench/gemma-2-300m
    python3 tools/make_checkpoint.py --like gemma-2-2b --layers 4 --width 16k OUT
    python3 tools/make_checkpoint.py --like gemma-2-300m --width 65k --l0 100 OUT

writes OUT/model (config.json, model.safetensors in bfloat16, tokenizer files copied from
models/tiny-gemma2, whose ids are all below the vocabulary's size) and, with --width, OUT/scope in the
Gemma Scope layout: float32 params.npz, stored, JumpReLU thresholds set so that about --l0 features
of each token are active. Weights are drawn so that activations neither vanish nor grow.

Needs numpy. Writes as fast as the disk takes it; a layer at a time is held in memory.
"""
import argparse
import json
import math
import pathlib
import shutil
import struct

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent

# layers, d_model, heads, kv heads, head_dim, d_ff, vocabulary, query_pre_attn_scalar
SHAPES = {
    "gemma-2-300m": (18, 1024, 8, 4, 128, 4096, 32768, 128),    # not published: for benchmarks
    "gemma-2-2b": (26, 2304, 8, 4, 256, 9216, 256000, 256),
    "gemma-2-9b": (42, 3584, 16, 8, 256, 14336, 256000, 256),
    "gemma-2-27b": (46, 4608, 32, 16, 128, 36864, 256000, 144),
}


def bf16(values):
    """float32 to the bits of bfloat16, to nearest even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


class Writer:
    """A safetensors file whose tensors are drawn one at a time."""

    def __init__(self, path):
        self.path, self.tensors = path, []

    def add(self, name, shape, draw):
        self.tensors.append((name, shape, draw))

    def write(self):
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for name, shape, _ in self.tensors:
            size = 2 * math.prod(shape)
            header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(self.path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _, shape, draw in self.tensors:
                rows = max(1, (1 << 24) // max(1, math.prod(shape[1:])))
                for first in range(0, shape[0], rows):
                    bf16(draw((min(rows, shape[0] - first), *shape[1:]))).tofile(file)


def make_model(folder, shape, layers, rng):
    n_layer, d, heads, kv, head_dim, ff, vocab, scalar = shape
    n_layer = layers or n_layer
    folder.mkdir(parents=True, exist_ok=True)
    config = dict(architectures=["Gemma2ForCausalLM"], model_type="gemma2", num_hidden_layers=n_layer,
                  hidden_size=d, num_attention_heads=heads, num_key_value_heads=kv, head_dim=head_dim,
                  intermediate_size=ff, vocab_size=vocab, query_pre_attn_scalar=scalar,
                  attn_logit_softcapping=50.0, final_logit_softcapping=30.0, sliding_window=4096,
                  rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=8192,
                  hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
                  bos_token_id=2, eos_token_id=1, pad_token_id=0, torch_dtype="bfloat16")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        source = ROOT / "models" / "tiny-gemma2" / name
        if source.exists():
            shutil.copy(source, folder / name)

    def matrix(fan_in):
        return lambda shape: rng.standard_normal(shape, dtype=np.float32) / math.sqrt(fan_in)

    def norm(mean):
        return lambda shape: mean + 0.1 * rng.standard_normal(shape, dtype=np.float32)

    writer = Writer(folder / "model.safetensors")
    writer.add("model.embed_tokens.weight", (vocab, d), matrix(d))
    for layer in range(n_layer):
        p = f"model.layers.{layer}."
        writer.add(p + "input_layernorm.weight", (d,), norm(0))
        writer.add(p + "self_attn.q_proj.weight", (heads * head_dim, d), matrix(d))
        writer.add(p + "self_attn.k_proj.weight", (kv * head_dim, d), matrix(d))
        writer.add(p + "self_attn.v_proj.weight", (kv * head_dim, d), matrix(d))
        writer.add(p + "self_attn.o_proj.weight", (d, heads * head_dim), matrix(heads * head_dim))
        # Gemma's post norms set what a block adds: keep the stream from growing by more than itself
        writer.add(p + "post_attention_layernorm.weight", (d,), norm(-0.7))
        writer.add(p + "pre_feedforward_layernorm.weight", (d,), norm(0))
        writer.add(p + "mlp.gate_proj.weight", (ff, d), matrix(d))
        writer.add(p + "mlp.up_proj.weight", (ff, d), matrix(d))
        writer.add(p + "mlp.down_proj.weight", (d, ff), matrix(ff))
        writer.add(p + "post_feedforward_layernorm.weight", (d,), norm(-0.7))
    writer.add("model.norm.weight", (d,), norm(0))
    writer.write()
    return n_layer, d


def make_saes(folder, n_layer, d, width, l0, rng):
    """Encoder rows of length 1 against a stream of length s: pre-activations are about N(0, (s/sqrt(d))^2),
    so a threshold at a normal quantile lets l0 of width through."""
    name, n = width, {"16k": 1 << 14, "32k": 1 << 15, "65k": 1 << 16, "131k": 1 << 17}.get(width) or int(width)
    quantile = normal_quantile(1 - l0 / n)
    for layer in range(n_layer):
        path = folder / f"layer_{layer}" / f"width_{name}" / f"average_l0_{round(l0)}"
        path.mkdir(parents=True, exist_ok=True)
        W_dec = rng.standard_normal((n, d), dtype=np.float32)
        W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
        per_component = math.sqrt(1 + 0.18 * (layer + 1))     # of a stream that starts at 1
        np.savez(path / "params.npz", W_enc=np.ascontiguousarray(W_dec.T), W_dec=W_dec,
                 b_enc=np.zeros(n, np.float32), b_dec=np.zeros(d, np.float32),
                 threshold=np.full(n, quantile * per_component, np.float32))


def normal_quantile(p):
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * math.erfc(-middle / math.sqrt(2)) < p else (low, middle)
    return low


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", required=True, choices=list(SHAPES))
    parser.add_argument("--layers", type=int, help="fewer layers than the real model")
    parser.add_argument("--width", help="SAEs of this width for every layer: 16k, 65k, ... or a number")
    parser.add_argument("--l0", type=float, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    shape = SHAPES[arguments.like]
    n_layer, d = make_model(arguments.folder / "model", shape, arguments.layers, rng)
    if arguments.width:
        make_saes(arguments.folder / "scope", n_layer, d, arguments.width, arguments.l0, rng)
    print(arguments.folder)


if __name__ == "__main__":
    main()
