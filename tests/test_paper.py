#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The paper's experiments against a literal implementation in float64.

    python3 tests/test_paper.py results/golden_paper.h5

The result file is that of tests/golden/paper/paper.cfg; tests/golden/make_paper.py computed
golden.npz. Feature sets must be the same, probabilities, activations and scores equal to 1e-4 of
the largest one. Exit status: 0 passed, 1 failed, 2 usage, 77 skipped.
"""
import os
import sys

try:
    import h5py  # noqa: F401, so that its absence shows here
    import numpy as np
except ImportError as e:
    print(f"skipped: {e}; reading result files needs h5py and numpy")
    sys.exit(77)

from golden_tests import run_golden

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "paper", "golden.npz")
TOLERANCE = 1e-4


def same_numbers(found, expected, what):
    assert found.shape == expected.shape, f"{what}: {found.shape}, expected {expected.shape}"
    there = ~np.isnan(expected)
    assert (there == ~np.isnan(found)).all(), f"{what}: NaN elsewhere"
    worst = np.abs(found - expected)[there].max() / np.abs(expected[there]).max()
    print(f"     {what}: {worst:.1e}")
    assert worst < TOLERANCE, f"{what}: largest difference {worst:.2g} of the largest value"


def feature_sets_are_the_same(f, g):
    assert (f["categories/rank"][...] == g["categories/rank"]).all()
    assert (f["categories/common"][...] == g["categories/common"]).all()
    for role in ("refusal", "harm"):
        s = f[f"feature_sets/{role}/global"]
        assert list(zip(s["layer"][...], s["feature"][...])) == [tuple(x) for x in g[f"roles/{role}"]], role


def the_direction_is_the_same(f, g):
    at = f["direction"].attrs
    same_numbers(f["direction/v"][-1 - at["position"], at["layer"]].astype(float), g["direction"], "v")


def first_tokens_are_the_same(f, g):
    for path in g.files:
        if path.endswith("first_token"):
            assert (f[path][...] == g[path]).all(), path


def scores_are_equal_to_1e_4(f, g):
    for path in g.files:
        if path.rsplit("/", 1)[-1] in ("p_refusal", "metric", "activation", "score"):
            same_numbers(f[path][...].astype(float), g[path], path)


def replies_refuse_the_same_and_cost_the_same(f, g):
    for path in g.files:
        if path.startswith("scores/"):
            assert (f[path][...] == g[path]).all(), path
        if path.startswith("sweep_kstar/") and path.endswith("/refusal"):
            assert (f[f"scores/{path}"][...] == g[path]).all(), path
        if path.startswith("sweep_kstar/") and path.endswith("/ce"):
            s = f[f"scores/sweep_kstar_answers/{path.split('/')[1]}"]
            ce = s["nll"][...].sum() / s["n_tokens"][...].sum()
            # Log-probabilities near 0 have float32's absolute error, not its relative one.
            print(f"     {path}: {abs(ce - g[path]):.1e} nat of {g[path]:.4f}")
            assert abs(ce - g[path]) < 1e-5, f"{path}: {ce}, expected {g[path]}"


TESTS = (feature_sets_are_the_same, the_direction_is_the_same, first_tokens_are_the_same, scores_are_equal_to_1e_4,
         replies_refuse_the_same_and_cost_the_same)


if __name__ == "__main__":
    sys.exit(run_golden(__doc__, TESTS, GOLDEN))
