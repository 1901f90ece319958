#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/convert_sae.py: what SAELens' format makes of a converted file is what the class that was
pickled computes (the formulas of dictionary_learning, Goodfire and Qwen-Scope, written out here).

Exit status: 0 passed, 1 failed, 77 skipped (without torch or safetensors).
"""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    from safetensors.torch import load_file
except ImportError as e:
    print(f"skipped: {e}; converting pickles needs torch and safetensors")
    sys.exit(77)

TOOL = pathlib.Path(__file__).parent.parent / "tools" / "convert_sae.py"
D, N, K = 12, 30, 4


def keep_largest(f):
    values, ids = f.topk(K, dim=-1)
    return torch.zeros_like(f).scatter(-1, ids, values)


def saelens(folder, x):
    """f and x_hat of a folder in SAELens' format."""
    cfg = json.loads((folder / "cfg.json").read_text())
    t = load_file(folder / "sae_weights.safetensors")
    u = x - t["b_dec"] if cfg["apply_b_dec_to_input"] else x
    if cfg["architecture"] == "gated":
        f = (u @ t["W_enc"] + t["b_gate"] > 0) * (u @ (t["W_enc"] * t["r_mag"].exp()) + t["b_mag"]).relu()
    else:
        f = (u @ t["W_enc"] + t["b_enc"])
        f = {"standard": lambda f: f.relu(), "topk": lambda f: keep_largest(f).relu(),
             "jumprelu": lambda f: f * (f > t["threshold"])}[cfg["architecture"]](f)
    return f, f @ t["W_dec"] + t["b_dec"], cfg


def linear():
    return {"encoder.weight": torch.randn(N, D), "decoder.weight": torch.randn(D, N)}


def cases(x):
    """(dict_class or qwen, state, f, b_dec, decoder [n, d])"""
    s = linear() | {"encoder.bias": torch.randn(N), "bias": torch.randn(D)}
    f = ((x - s["bias"]) @ s["encoder.weight"].T + s["encoder.bias"]).relu()
    yield "AutoEncoder", s, f, s["bias"], s["decoder.weight"].T
    s = linear() | {"decoder_bias": torch.randn(D), "r_mag": torch.randn(N),
                    "gate_bias": torch.randn(N), "mag_bias": torch.randn(N)}
    e = (x - s["decoder_bias"]) @ s["encoder.weight"].T
    f = (e + s["gate_bias"] > 0) * (s["r_mag"].exp() * e + s["mag_bias"]).relu()
    yield "GatedAutoEncoder", s, f, s["decoder_bias"], s["decoder.weight"].T
    s = linear() | {"encoder.bias": torch.randn(N), "b_dec": torch.randn(D), "k": torch.tensor(K),
                    "threshold": torch.tensor(-1.0)}
    pre = ((x - s["b_dec"]) @ s["encoder.weight"].T + s["encoder.bias"]).relu()
    yield "AutoEncoderTopK", s, keep_largest(pre), s["b_dec"], s["decoder.weight"].T
    s = {k: v for k, v in s.items() if k != "k"} | {"k": torch.tensor(K), "threshold": torch.tensor(2.5)}
    yield "BatchTopKSAE", s, pre * (pre > 2.5), s["b_dec"], s["decoder.weight"].T
    s = {"W_enc": torch.randn(D, N), "W_dec": torch.randn(N, D), "b_enc": torch.randn(N),
         "b_dec": torch.randn(D), "threshold": torch.tensor(1.5)}
    pre = ((x - s["b_dec"]) @ s["W_enc"] + s["b_enc"]).relu()
    yield "MatryoshkaBatchTopKSAE", s, pre * (pre > 1.5), s["b_dec"], s["W_dec"]
    s = s | {"threshold": torch.rand(N)}
    pre = x @ s["W_enc"] + s["b_enc"]
    yield "JumpReluAutoEncoder", s, pre * (pre > s["threshold"]), s["b_dec"], s["W_dec"]
    s = {"W_enc": torch.randn(N, D), "W_dec": torch.randn(D, N), "b_enc": torch.randn(N),
         "b_dec": torch.randn(D)}
    pre = x @ s["W_enc"].T + s["b_enc"]
    g = {"encoder_linear.weight": torch.randn(N, D), "encoder_linear.bias": torch.randn(N),
         "decoder_linear.weight": torch.randn(D, N), "decoder_linear.bias": torch.randn(D)}
    yield "goodfire", g, (x @ g["encoder_linear.weight"].T + g["encoder_linear.bias"]).relu(), \
        g["decoder_linear.bias"], g["decoder_linear.weight"].T
    yield "qwen", s, keep_largest(pre).relu(), s["b_dec"], s["W_dec"].T


def run(*arguments):
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True)


def main():
    torch.manual_seed(0)
    x = torch.randn(9, D)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for kind, state, f, b_dec, W_dec in cases(x):
            source, to = scratch / f"{kind}-L0_{K}", scratch / f"{kind}-out"
            source.mkdir()
            torch.save(state, source / {"qwen": "layer3.sae.pt",
                                        "goodfire": "Llama-SAE-l3.pth"}.get(kind, "ae.pt"))
            (source / "config.json").write_text(json.dumps({"trainer": {
                "dict_class": kind, "layer": 3, "k": K, "submodule_name": "resid_post_layer_3"}}))
            done = run(source, to)
            assert done.returncode == 0, done.stderr
            got, decoded, cfg = saelens(to / "layer_3", x)
            assert torch.equal(got != 0, f != 0), kind
            assert (got - f).abs().max() < 1e-5 * f.abs().max(), kind
            assert (decoded - (f @ W_dec + b_dec)).abs().max() < 1e-5 * decoded.abs().max(), kind
            assert cfg["metadata"]["hook_name"] == "blocks.3.hook_resid_post", kind
            again = run(source, to)
            assert again.returncode == 1 and "exists already" in again.stderr, again.stderr
            print(f"ok   {kind}")
        torch.save(state | {"more": torch.zeros(1)}, source / "layer3.sae.pt")
        refused = run(source, scratch / "refused")
        assert refused.returncode == 1 and refused.stderr.strip().endswith(
            "expected nothing more, found more"), refused.stderr
    return 0


if __name__ == "__main__":
    sys.exit(main())
