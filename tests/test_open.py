#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The experiments on open questions against a literal implementation in float64.

    python3 tests/test_open.py results/golden_open.h5

The result file is that of tests/golden/open/open.cfg; tests/golden/make_open.py computed golden.npz.
Feature sets must be the same, effects, activations and scores equal to 1e-4 of the largest one.
Exit status: 0 passed, 1 failed, 2 usage, 77 skipped.
"""
import os
import sys

try:
    import h5py  # noqa: F401, so that its absence shows here
    import numpy as np
except ImportError as e:
    print(f"skipped: {e}; reading result files needs h5py and numpy")
    sys.exit(77)

from test_paper import same_numbers

from golden_tests import run_golden

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "open", "golden.npz")
IDS = ("released", "group")
NLL = ("nll", "nll_clean", "nll_zero")


def feature_sets_are_the_same(f, g):
    for path in g.files:
        if path.startswith("sets/"):
            s = f[path[len("sets/"):]]
            assert list(zip(s["layer"][...], s["feature"][...])) == [tuple(x) for x in g[path]], path


def orders_and_groups_are_the_same(f, g):
    for path in g.files:
        if path.rsplit("/", 1)[-1] in IDS:
            assert (f[path][...] == g[path]).all(), f"{path}: {f[path][...]}, expected {g[path]}"


def scores_are_equal_to_1e_4(f, g):
    for path in g.files:
        if not path.startswith(("sets/", "ce/")) and path.rsplit("/", 1)[-1] not in IDS + NLL:
            same_numbers(f[path][...].astype(float), g[path].astype(float), path)


def cross_entropies_are_the_same(f, g):
    for path in g.files:
        if path.startswith("ce/"):
            s = f["scores/" + path[len("ce/"):]]
            ce = s["nll"][...].sum() / s["n_tokens"][...].sum()
            # Log-probabilities near 0 have float32's absolute error, not its relative one.
            print(f"     {path}: {abs(ce - g[path]):.1e} nat of {g[path]:.4f}")
            assert abs(ce - g[path]) < 1e-5, f"{path}: {ce}, expected {g[path]}"


def likelihoods_of_replies_are_the_same(f, g):
    n = f["sae_compare/n_scored"][...]
    for path in g.files:
        if path.rsplit("/", 1)[-1] in NLL:
            off = np.abs(f[path][...] - g[path])
            print(f"     {path}: {(off / n).max():.1e} nat per token")
            assert (off <= 1e-5 * n + 1e-4 * g[path]).all(), path  # absolute: as above


TESTS = (feature_sets_are_the_same, orders_and_groups_are_the_same, scores_are_equal_to_1e_4,
         cross_entropies_are_the_same, likelihoods_of_replies_are_the_same)


if __name__ == "__main__":
    sys.exit(run_golden(__doc__, TESTS, GOLDEN))
