#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the experiments on the paper's open questions, and the questions of coherence, must show on the
small model.

    python3 tests/test_open_questions.py results/tiny_exact_patching.h5

Reads whatever of exact_patching, low_cosine, interactions, prune, feature_graph, sae_compare and
coherence.questions the file has: direction and rough size of what was found, and the numbers that follow from others.
If a bound fails, the model's training or the engine is to be looked at, not the bound.
Exit status: 0 passed, 1 failed, 2 usage, 77 skipped.
"""
import json
import os
import re
import sys

try:
    import h5py
    import numpy as np
except ImportError as e:
    print(f"skipped: {e}; reading result files needs h5py and numpy")
    sys.exit(77)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
failures = 0


def demand(holds, what, *found):
    global failures
    failures += not holds
    print("ok  " if holds else "FAIL", what + ":", *(f"{x:.3f}" for x in found))


def texts(d):
    return d.asstr()[...].tolist()


def rank(x):
    """Ranks, ties sharing their mean."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count) - 1
    return (last - (count - 1) / 2)[place]


def exact_patching(f):
    g = f["exact_patching"]
    effect, estimates = g["effect"][...], g["approximation"][...]
    names, truths = texts(g["estimate"]), texts(g["truth"])
    score = {n: g[n][...] for n in ("pearson", "spearman", "relative_error", "slope")}
    for t in range(len(truths)):
        y = effect[t].ravel()
        for e, estimate in enumerate(estimates):
            x = estimate.ravel()
            assert np.allclose(score["pearson"][t, e], np.corrcoef(x, y)[0, 1], atol=1e-9)
            assert np.allclose(score["spearman"][t, e], np.corrcoef(rank(x), rank(y))[0, 1], atol=1e-9)
            assert np.allclose(score["relative_error"][t, e], np.linalg.norm(x - y) / np.linalg.norm(y))
            assert np.allclose(score["slope"][t, e], x @ y / (x @ x))

    def of(name, truth, estimate):
        return score[name][truths.index(truth), names.index(estimate)]

    plain, ten = "joint_left_1", "joint_left_10"
    demand(of("pearson", "in_path", ten) > max(0.99, of("pearson", "in_path", plain) + 0.05),
           "correlation with the effect in the path: 10 steps, above 0.99, and plain attribution patching",
           of("pearson", "in_path", ten), of("pearson", "in_path", plain))
    steps = sorted(s for n, s in zip(names, g["steps"][...]) if n.startswith("joint_left_"))
    errors = [of("relative_error", "in_path", f"joint_left_{s}") for s in steps]
    demand(all(b < a for a, b in zip(errors, errors[1:])) and errors[-1] < 0.05,
           f"error of {steps} steps, falling, the last < 0.05", *errors)
    demand(of("relative_error", "in_path", "joint_midpoint_2") < of("relative_error", "in_path", "joint_left_5"),
           "error of 2 midpoints, below that of 5 left steps", of("relative_error", "in_path", "joint_midpoint_2"),
           of("relative_error", "in_path", "joint_left_5"))
    demand(of("pearson", "alone", plain) > max(0.95, of("pearson", "alone", ten)),
           "correlation with the effect alone: plain attribution patching, above 0.95, and 10 steps",
           of("pearson", "alone", plain), of("pearson", "alone", ten))


def refusal(f, experiment, condition):
    return f[f"scores/{experiment}/{condition}/refusal"][...].mean()


def ce(f, condition):
    s = f[f"scores/low_cosine_ce/{condition}"]
    return s["nll"][...].sum() / s["n_tokens"][...].sum()


def low_cosine(f):
    g = f["low_cosine"]
    effect, cosine = g["effect"][...], g["cosine"][...]
    inside, outside, low = (set(zip(g[s]["layer"][...], g[s]["feature"][...])) for s in ("inside", "outside", "low"))
    assert not inside & outside and not inside & low
    least = min(effect[x] for x in outside)
    assert least == g["outside/score"][-1] or np.isclose(least, g["outside/score"][-1], rtol=1e-6)
    others = {tuple(x) for x in np.argwhere(effect > least * (1 + 1e-6))} - outside
    k0 = 10
    nearest = {(layer, i) for layer in range(len(cosine)) for i in np.argsort(-cosine[layer], kind="stable")[:k0]}
    assert others <= nearest, "a better feature outside F0 was left out"
    assert all(abs(cosine[x]) <= 0.1 for x in low)
    none = refusal(f, "low_cosine", "none")
    c = "x-1"
    found = {s: refusal(f, "low_cosine", f"{s}_global_{c}") for s in ("inside", "outside", "low", "both")}
    random = [refusal(f, "low_cosine", n) for n in f["scores/low_cosine"] if n.startswith("random") and n.endswith(c)]
    demand(none >= 0.95 and found["inside"] <= 0.3, "refusal unedited, >= 0.95, and with the best inside clamped, <= 0.3",
           none, found["inside"])
    demand(min(random) >= 0.9, "refusal with random features clamped, the least of all draws, >= 0.9", min(random))
    demand(found["outside"] >= found["inside"] + 0.3,
           "refusal with the best outside clamped, 0.3 above that with the best inside", found["outside"])
    demand(ce(f, f"outside_global_{c}") > ce(f, f"inside_global_{c}"),
           "CE on harmless answers: outside clamped, more than inside", ce(f, f"outside_global_{c}"),
           ce(f, f"inside_global_{c}"), ce(f, "none"))


def interactions(f):
    g = f["interactions"]
    parts = {name: g[name] for name in g if name == "best" or name.startswith("random")}
    total, singles = {}, {}
    for name, p in parts.items():
        single, pair = p["single"][...], p["pair"][...]
        first, second = p["pair_first"][...], p["pair_second"][...]
        assert len(pair) == len(single) * (len(single) - 1) // 2 and (first < second).all()
        total[name], singles[name] = p["all"][...].mean(), single.sum(0).mean()
    demand(total["best"] >= 3, "change of m by all of F*, >= 3 logit", total["best"])
    demand(singles["best"] >= 1.2 * total["best"], "sum of the single effects, a fifth above that of all together",
           singles["best"])
    demand(all(abs(total[n]) <= 0.1 * total["best"] for n in parts if n != "best"),
           "change of m by random sets, under a tenth", *(total[n] for n in parts if n != "best"))
    groups, tokens = texts(g["token_group"]), g["tokens"][...].mean(1)
    assert groups[0] == "before" and groups[-1] == "all"
    demand(abs(tokens[:-1].sum() / tokens[-1] - 1) <= 0.1, "sum of the tokens' effects, within a tenth of that of all",
           tokens[:-1].sum(), tokens[-1])
    demand(g["features_all"][...].mean() >= 0.3 * g["vector_all"][...].mean(),
           "what F0 alone does, three tenths or more of what the whole direction does", g["features_all"][...].mean(),
           g["vector_all"][...].mean())


def prune(f):
    g = f["prune"]
    orders, complies, p = texts(g["order"]), g["complies"][...], g["p_refusal"][...]
    k = complies.shape[1] - 1
    for order, released in zip(orders, g["released"][...]):
        assert sorted(released) == list(range(k)), order
    assert (complies[:, 0] == complies[0, 0]).all() and np.allclose(p[:, -1], p[0, -1], atol=1e-5)
    share = complies.mean(2)
    for order, smallest in enumerate(g["smallest"][...]):
        enough = share[order] >= share[order, 0] - g.attrs["tolerance"] - 1e-9
        assert smallest == k - (np.argmin(enough) - 1 if not enough.all() else k), orders[order]
    demand(share[0, 0] >= 0.8 and share[0, -1] <= 0.05, "complying with all of F* clamped, >= 0.8, with none, <= 0.05",
           share[0, 0], share[0, -1])
    smallest = dict(zip(orders, g["smallest"][...]))
    random = [n for name, n in smallest.items() if name.startswith("random")]
    demand(smallest["greedy"] <= k // 2, f"features of {k} that do as well, chosen greedily, half or fewer", smallest["greedy"])
    demand(smallest["greedy"] <= smallest["effect"] and smallest["greedy"] < np.mean(random),
           "by effect, no fewer; at random, more", smallest["effect"], np.mean(random))


def feature_graph(f):
    g, m = f["feature_graph"], f["feature_graph/mediation"]
    layer, clean = g["layer"][...], g["metric_clean"][...]
    # What is clamped changes nothing of its own layer and those below, read before the edits there.
    for node, activation in enumerate(g["activation"][...]):
        below = layer <= layer[node]
        assert np.allclose(activation[:, below], g["unedited"][...][:, below], atol=1e-4), f"node {node}"
    names = texts(m["edit"])
    change = dict(zip(names, (m["metric"][...] - clean).mean(1)))
    random = (m["random_metric"][...] - clean).mean(1)
    demand(change["early"] >= 0.5, "change of m by the early features, >= 0.5 logit", change["early"])
    demand(change["early, middle retained"] <= 0.6 * change["early"],
           "with the middle retained, six tenths of it or less", change["early, middle retained"])
    demand(np.abs(random / change["early"] - 1).max() <= 0.2, "with random features retained, within a fifth of it, all draws",
           random.min(), random.max())
    suppressed = dict(zip(names, m["late_activation"][...].mean(1)))
    demand(suppressed["early"] < suppressed["early, middle retained"] - 0.02,
           "activation of late features with early ones clamped, and higher with the middle retained",
           suppressed["early"], suppressed["early, middle retained"])


def sae_compare(f):
    g = f["sae_compare"]
    scored, tokens = g["n_scored"][...].sum(), g["n_tokens"][...].sum()
    clean, zero = g["nll_clean"][...].sum() / scored, g["nll_zero"][...].sum(1) / scored
    for name in "ab":
        s = g[name]
        recovered = (zero - s["nll"][...].sum(1) / scored) / (zero - clean)
        fvu = s["squared_error"][...].sum(1) / tokens / s["variance"][...]
        l0 = s["n_active"][...].sum(1) / tokens
        demand(recovered.min() >= 0.8 and recovered.max() <= 1.01, f"CE recovered by {name}, the least layer, >= 0.8",
               recovered.min())
        demand(fvu.max() <= 0.6, f"fraction of variance unexplained by {name}, the worst layer, <= 0.6", fvu.max())
        demand(8 <= l0.min() and l0.max() <= 40, f"L0 of {name}, 8 to 40", l0.min(), l0.max())
        assert (s["match_in_set"][...] <= s["match_in_sae"][...] + 1e-6).all(), name
    a, b = (g[s]["v_cosine"][...][2:].mean() for s in "ab")
    demand(a >= b + 0.1 and a >= 0.8, "cosine of the reconstructed direction, layers from 2: chat SAEs, >= 0.8, base SAEs", a, b)
    demand(refusal(f, "sae_compare", "a_global_x-1") <= 0.3 and refusal(f, "sae_compare", "b_global_x-1") >= 0.7,
           "refusal with F* clamped: of the chat SAEs, <= 0.3, of the base SAEs, >= 0.7",
           refusal(f, "sae_compare", "a_global_x-1"), refusal(f, "sae_compare", "b_global_x-1"))


def questions(f):
    """The answers of the small world are single words."""
    with open(os.path.join(ROOT, "models", "small-world", "qa_test.jsonl"), encoding="utf-8") as file:
        answer = {r["question"]: r["answer"] for r in map(json.loads, file)}
    asked = texts(f["prompts/text"])
    right = {}
    for condition, s in f["scores/questions"].items():
        replies = texts(f[f"generations/questions/{condition}/text"])
        expected = [bool(re.search(rf"\b{re.escape(answer[asked[p]])}\b", r, re.I))
                    for p, r in zip(s["prompt"][...], replies)]
        assert s["right"][...].tolist() == expected, condition
        right[condition] = np.mean(expected)
    demand(right["none"] >= 0.7, "right answers, unedited, >= 0.7", right["none"])
    demand(right["ablate_direction"] >= right["none"] - 0.1 and right["cossim_ap_global_x-1"] >= right["none"] - 0.1,
           "with the direction ablated and with F* clamped to -1, at most 0.1 fewer", right["ablate_direction"],
           right["cossim_ap_global_x-1"])
    demand(right["cossim_ap_global_x-3"] < right["cossim_ap_global_x-1"], "with F* clamped to -3, fewer than to -1",
           right["cossim_ap_global_x-3"])


EXPERIMENTS = (exact_patching, low_cosine, interactions, prune, feature_graph, sae_compare, questions)


def main():
    if len(sys.argv) != 2:
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    with h5py.File(sys.argv[1], "r") as f:
        there = [e for e in EXPERIMENTS if e.__name__ in f or f"scores/{e.__name__}" in f]
        for experiment in there:
            experiment(f)
    if not there:
        print("FAIL the file has none of", *(e.__name__ for e in EXPERIMENTS))
    return failures > 0 or not there


if __name__ == "__main__":
    sys.exit(main())
