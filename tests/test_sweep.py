#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""saengine.sweep joins points that were made alike, and no others.

Exit status: 0 passed, 1 failed, 77 skipped (without h5py).
"""
import pathlib
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as e:
    print(f"skipped: {e}; joining points needs h5py and numpy")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG = """output = "{output}";
from_k_star = {k};
seed = {seed};
clamp = {{
\tscale = [{c}];
}};
direction = {{
\tlayer = {layer};
}};
prompts = {{
\tharmful = {{ file = "a.json"; limit = 3; }};
}};
"""


def write(path, k, c, seed=42, layer=3, arithmetic="cpu:x86-64-v3", digest="ab", refusal=(1, 0)):
    with h5py.File(path, "w") as f:
        f.attrs.update(finished="now", engine_version="1", git_commit="c", arithmetic=arithmetic,
                       config=CONFIG.format(output=path, k=k, c=c, seed=seed, layer=layer))
        f["provenance/file"], f["provenance/sha256"] = [["shared.h5"], [digest]]
        f["scores/jailbreak/none/refusal"] = np.array([1, 1])
        f[f"scores/jailbreak/cossim_ap_global_x{c:g}/refusal"] = np.array(refusal)
        for condition in ("none", f"cossim_ap_global_x{c:g}"):
            f[f"scores/coherence/{condition}/nll"] = np.array([2.0])
            f[f"scores/coherence/{condition}/n_tokens"] = np.array([4])


def join(folder, *names):
    return subprocess.run([sys.executable, "-m", "saengine.sweep", "--csv", folder / "sweep.csv",
                           *(folder / n for n in names)], cwd=ROOT / "python", check=False,
                          capture_output=True, text=True)


def points_made_alike_are_joined(folder):
    write(folder / "a.h5", 5, -1.0)
    write(folder / "b.h5", 10, -2.0, refusal=(0, 0))
    done = join(folder, "a.h5", "b.h5")
    assert done.returncode == 0, done.stderr
    assert (folder / "sweep.csv").read_text().splitlines()[1:] == \
        ["5,-1.0,0.5,1.0,0.5,0.5", "10,-2.0,0.0,1.0,0.5,0.5"], (folder / "sweep.csv").read_text()


def points_made_otherwise_are_named(folder):
    for change, message in (({"seed": 43}, "seed: 43, in the first point 42"),
                            ({"layer": 2}, "direction.layer: 2, in the first point 3"),
                            ({"arithmetic": "cpu:x86-64-v4"},
                             "arithmetic: cpu:x86-64-v4, in the first point cpu:x86-64-v3"),
                            ({"digest": "cd"},
                             "SHA-256 of shared.h5: cd, in the first point ab")):
        write(folder / "a.h5", 5, -1.0)
        write(folder / "odd.h5", 10, -2.0, **change)
        done = join(folder, "a.h5", "odd.h5")
        assert done.returncode == 1 and f"odd.h5: {message}\n" in done.stderr, done.stderr


for test in (points_made_alike_are_joined, points_made_otherwise_are_named):
    with tempfile.TemporaryDirectory() as name:
        test(pathlib.Path(name))
    print(f"ok   {test.__name__}")
