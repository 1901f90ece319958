#!/usr/bin/env python3
"""Golden file of rotary frequencies: what transformers' rotary embeddings hold, bit for bit.

tests/golden/rope.txt, a line for each shape: type (0 default, 1 linear, 2 llama3), head_dim, theta,
factor, low_freq_factor, high_freq_factor, original_max_position_embeddings, and the head_dim / 2
frequencies as the hexadecimal bits of float32.

Only shapes whose plain theta^(-2i/head_dim) PyTorch rounds correctly: its power is off by a bit or two
for some (two of the 64 of theta 150000, head_dim 128), in a way that depends on the processor.

Run: python3 tests/golden/make_rope.py   (needs torch, transformers, numpy)
"""
import pathlib

import numpy as np
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

TYPES = ["default", "linear", "llama3"]
SHAPES = [("default", d, t, 1.0, 1.0, 4.0, 8192)
          for d, t in ((64, 1e4), (80, 1e4), (128, 1e4), (128, 5e5), (64, 1e6), (256, 8e6), (6, 500.0))]
SHAPES += [("linear", 128, 1e4, 8.0, 1.0, 4.0, 8192), ("linear", 80, 1e6, 3.3, 1.0, 4.0, 8192)]
SHAPES += [("llama3", 128, 5e5, 8.0, 1.0, 4.0, 8192),    # Llama 3.1
           ("llama3", 64, 5e5, 32.0, 1.0, 4.0, 8192),    # Llama 3.2 1B
           ("llama3", 128, 5e5, 32.0, 1.0, 4.0, 8192),   # 3B
           ("llama3", 80, 1e4, 8.0, 1.0, 4.0, 64), ("llama3", 80, 5e5, 8.0, 1.0, 4.0, 64),
           ("llama3", 12, 1e4, 4.0, 1.0, 4.0, 32), ("llama3", 80, 1e6, 3.3, 0.7, 3.1, 1000),
           ("llama3", 128, 1e4, 16.0, 2.0, 8.0, 100), ("llama3", 64, 1e4, 2.0, 0.3, 1.7, 2048)]


def correctly_rounded(head_dim, theta, frequencies):
    exponent = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    power = (np.float64(theta) ** exponent.astype(np.float64)).astype(np.float32)
    return np.array_equal(np.float32(1) / power, frequencies)


def main():
    lines = []
    for kind, head_dim, theta, factor, low, high, context in SHAPES:
        def frequencies(kind):
            rope = {"rope_type": kind, "rope_theta": theta, "factor": factor}
            if kind == "llama3":
                rope |= {"low_freq_factor": low, "high_freq_factor": high,
                         "original_max_position_embeddings": context}
            config = LlamaConfig(hidden_size=2 * head_dim, num_attention_heads=2, head_dim=head_dim,
                                 max_position_embeddings=8 * context, rope_parameters=rope)
            return LlamaRotaryEmbedding(config).inv_freq.numpy()

        assert correctly_rounded(head_dim, theta, frequencies("default")), (head_dim, theta)
        bits = " ".join(f"{b:08x}" for b in frequencies(kind).view(np.uint32))
        lines.append(f"{TYPES.index(kind)} {head_dim} {theta!r} {factor!r} {low!r} {high!r} "
                     f"{context} {bits}\n")
    (pathlib.Path(__file__).parent / "rope.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
