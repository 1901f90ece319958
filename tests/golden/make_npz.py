#!/usr/bin/env python3
"""Golden files of the .npz reader, written by NumPy itself: tests/golden/npz/*.npz.

stored.npz, deflated.npz   a [3, 4] float32 = 0..11, b [5] float32, half [2] float16, scalar
fortran.npz                a in Fortran order
pickled.npz                an array of Python objects, which readers must refuse
truncated.npz              deflated.npz without its last 40 bytes
damaged.npz                deflated.npz with one byte of array a changed
narrow_sae.npz             an SAE of d_model 5, for a model of another width

Run: python3 tests/golden/make_npz.py      (needs numpy)
"""
import pathlib

import numpy as np

OUT = pathlib.Path(__file__).parent / "npz"


def main():
    OUT.mkdir(exist_ok=True)
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = dict(a=a, b=np.linspace(-1, 1, 5, dtype=np.float32), half=np.array([0.5, -2], np.float16),
                  scalar=np.float64(3.25), big=np.zeros((64, 1024), np.float32))
    np.savez(OUT / "stored.npz", **{k: v for k, v in arrays.items() if k != "big"})
    np.savez_compressed(OUT / "deflated.npz", **arrays)
    np.savez(OUT / "fortran.npz", a=np.asfortranarray(a))
    np.savez(OUT / "pickled.npz", a=np.array([{"x": 1}], dtype=object))
    zeros = lambda *shape: np.zeros(shape, np.float32)
    np.savez(OUT / "narrow_sae.npz", W_enc=zeros(5, 7), W_dec=zeros(7, 5), b_enc=zeros(7), b_dec=zeros(5),
             threshold=zeros(7))
    raw = (OUT / "deflated.npz").read_bytes()
    (OUT / "truncated.npz").write_bytes(raw[:-40])
    start = raw.index(b"a.npy") + 5 + 20 + 30      # inside the deflated bytes of array a
    (OUT / "damaged.npz").write_bytes(raw[:start] + bytes([raw[start] ^ 0x55]) + raw[start + 1:])


if __name__ == "__main__":
    main()
