# SPDX-License-Identifier: MIT
"""Sections of the report for the questions that the paper leaves open: exact_patching, low_cosine,
interactions, prune, feature_graph, sae_compare (its appendix A.9). A section is empty when the file
has not all that it shows. Needs matplotlib 3.6 and numpy (Debian 12).
"""
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .data import Condition, interval, number_label, read_scores, resampled_ratio
from .figures import COLOURS, OTHER, SOFT, layer_axis, new_figure, plain, refusal_axis, styled
from .page import details, escape, figure, number, span, table
from .paper import bars_of, cell, read

MOST_POINTS = 400  # of a scatter: those of the largest effect
LINES = {"joint_left": (COLOURS["cossim_ap"], "o"), "joint_midpoint": (COLOURS["ap"], "s"),
         "single_left": (COLOURS["cossim"], "^"), "single_midpoint": (COLOURS["actdiff"], "D")}
TRUTHS = {"alone": "patched alone", "in_path": "patched along the path"}


def panels(width, height, columns):
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, np.atleast_1d(fig.subplots(1, columns))


def mean_cell(values, digits=2):
    return cell(np.mean(values), resampled_ratio(values), digits)


def error_bars(axes, x, values, **keywords):
    """A bar per row of values [n, prompts]: mean and interval."""
    value, down, up = zip(*(bars_of(resampled_ratio(v), np.mean(v)) for v in values))
    axes.bar(x, value, yerr=[down, up], error_kw={"elinewidth": 0.9, "ecolor": COLOURS["none"]}, **keywords)


# ---- exact_patching ------------------------------------------------------------------------

def resampled_pearson(x, y):
    """The correlation of x and y [prompt, candidate] in every resample of the prompts."""
    n, k = x.shape
    sums = np.stack([s.sum(1) for s in (x, y, x * x, y * y, x * y)], 1)
    mean = resampled_ratio(sums) * n / (n * k)
    mx, my, xx, yy, xy = mean.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return (xy - mx * my) / np.sqrt((xx - mx * mx) * (yy - my * my))


def curves_of(g):
    """{path and rule: rows of the estimates, fewest steps first}"""
    found = {}
    for i in sorted(range(len(g["estimate"])), key=lambda i: g["steps"][i]):
        found.setdefault(g["estimate"][i].rsplit("_", 1)[0], []).append(i)
    return found


@styled
def exact_figure(g, score, label):
    fig, axes = panels(8.6, 3.2, len(g["truth"]))
    for t, a in enumerate(axes):
        for name, rows in curves_of(g).items():
            colour, marker = LINES.get(name, (OTHER, "v"))
            a.plot(g["steps"][rows], g[score][t, rows], color=colour, marker=marker, markersize=4.5, linewidth=1.3,
                   label=plain(name.replace("_", ", ")))
        a.set_xscale("log")
        ticks = sorted(set(g["steps"].tolist()))
        a.set_xticks(ticks, [str(s) for s in ticks])
        a.minorticks_off()
        a.set_xlabel("N, steps of the path")
        a.set_title(TRUTHS.get(g["truth"][t], plain(g["truth"][t])))
        a.grid(axis="y")
    axes[0].set_ylabel(label)
    axes[-1].legend(fontsize=8)
    return fig, f"{label} by number of steps"


@styled
def exact_scatter(x, y, name, truth):
    fig, axes = new_figure(3.6, 3.2)
    keep = np.argsort(-np.abs(y), axis=None)[:5 * MOST_POINTS]
    both = np.concatenate([x.ravel()[keep], y.ravel()[keep]])
    axes.plot([both.min(), both.max()], [both.min(), both.max()], color=SOFT, linewidth=0.8)
    axes.plot(x.ravel()[keep], y.ravel()[keep], linestyle="none", marker="o", markersize=2.5, alpha=0.5,
              color=COLOURS["cossim_ap"])
    axes.set_xlabel(f"approximation, {plain(name)} (logit)")
    axes.set_ylabel("true effect (logit)")
    axes.set_title(TRUTHS.get(truth, plain(truth)))
    return fig, f"true effect against its approximation by {plain(name)}"


def exact_section(f):
    g = read(f.result, "/exact_patching", "truth", "estimate", "steps:1", "effect:3", "approximation:3", "pearson:2",
             "spearman:2", "relative_error:2", "slope:2", "overlap:2")
    if g is None:
        return ""
    rows, scatters = [], []
    for t, truth in enumerate(g["truth"]):
        for e, name in enumerate(g["estimate"]):
            r = resampled_pearson(g["approximation"][e], g["effect"][t])
            rows.append([escape(TRUTHS.get(truth, truth)), escape(name.replace("_", ", ")), cell(g["pearson"][t, e], r, 3)]
                        + [number(float(g[s][t, e]), 3) for s in ("spearman", "relative_error", "slope", "overlap")])
            if name in ("joint_left_1", "joint_left_10"):
                scatters.append(exact_scatter(g["approximation"][e], g["effect"][t], name.replace("_", ", "), truth))
    return (figure([exact_figure(g, "pearson", "correlation with the true effect"),
                    exact_figure(g, "relative_error", "relative error (L2)")],
                   "The effect of giving one candidate its values of the ablated run, measured, against attribution's estimate "
                   "of it with N steps (N = 1, left: plain attribution patching). Left panels: the candidate is changed in the "
                   "unedited run, alone. Right: at points of the published path, where everything else is under way too; that "
                   "is what integrated gradients estimate. Joint: all layers move along the path, as published; single: the "
                   "candidate's layer.")
            + (figure(scatters, "Each point is a candidate on a prompt; the line is where they would agree.", "panels")
               if scatters else "")
            + details("all estimates, with 95 % bootstrap intervals over prompts for the correlation",
                      table(["true effect", "estimate", "Pearson", "Spearman", "relative error", "slope",
                             "overlap of the best K*"], rows, (0, 1))))


# ---- low_cosine ----------------------------------------------------------------------------

SETS = {"inside": ("near the direction (F*)", COLOURS["cossim_ap"], "o"),
        "outside": ("all others", COLOURS["ap"], "s"), "low": ("small cosine", COLOURS["cossim"], "^"),
        "both": ("near and others", COLOURS["actdiff"], "D")}


def set_of(name):
    """("inside", c) of "inside_global_x-1"; the draws of random sets are one."""
    c = Condition.of(name)
    if c.kind != "scale":
        return None
    return ("random" if c.method.startswith("random") else c.method), c.value


@styled
def low_scatter(g, chosen):
    fig, axes = new_figure(7.4, 3.8)
    effect, cosine = g["effect"].ravel(), g["cosine"].ravel()
    keep = np.argsort(-np.abs(effect))[:MOST_POINTS]
    axes.plot(cosine[keep], effect[keep], linestyle="none", marker=".", markersize=4, color=COLOURS["random"],
              label=f"the {len(keep)} features of the largest effect")
    for name, own in chosen.items():
        label, colour, marker = SETS[name]
        axes.plot(own["cosine"], own["score"], linestyle="none", marker=marker, markersize=5.5, color=colour,
                  markerfacecolor="none" if name == "low" else colour, label=f"best: {label}")
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.set_xlabel("cosine of decoder row and direction")
    axes.set_ylabel("mean indirect effect (logit)")
    axes.legend(fontsize=8)
    return fig, "indirect effect against cosine"


@styled
def low_bars(scores, none, scales):
    fig, axes = new_figure(7.4, 3.3)
    kinds = [k for k in (*SETS, "random") if any((k, c) in scores for c in scales)]
    for i, kind in enumerate(kinds):
        label, colour = SETS[kind][:2] if kind in SETS else ("random (all draws)", COLOURS["random"])
        there = [(x, scores[kind, c]) for x, c in enumerate(scales) if (kind, c) in scores]
        error_bars(axes, [x + (i - (len(kinds) - 1) / 2) * 0.8 / len(kinds) for x, _ in there],
                   [v[0].mean(0) for _, v in there], width=0.8 / len(kinds) * 0.92, color=colour, label=label)
    axes.axhline(none, color=COLOURS["none"], linewidth=1.2, linestyle=(0, (1, 1.5)), label="unedited")
    axes.set_xticks(range(len(scales)), [f"c = {number_label(c)}" for c in scales])
    axes.set_ylabel("refusal score")
    refusal_axis(axes)
    axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.25))
    return fig, "refusal by set of features and factor"


def low_section(f):
    g = read(f.result, "/low_cosine", "effect:2", "cosine:2")
    refusal, answers = read_scores(f.result, "low_cosine"), read_scores(f.result, "low_cosine_ce")
    if g is None or "none" not in refusal or "none" not in answers:
        return ""
    chosen = {n: c for n in ("inside", "outside", "low")
              if (c := read(f.result, f"/low_cosine/{n}", "cosine:1", "score:1")) is not None}
    scores = {}
    for name, s in refusal.items():
        key = set_of(name)
        if key and name in answers and "refusal" in s.columns and {"nll", "n_tokens"} <= answers[name].columns.keys():
            value = scores.setdefault(key, ([], [], []))
            value[0].append(s.columns["refusal"])
            value[1].append(answers[name].columns["nll"])
            value[2].append(answers[name].columns["n_tokens"])
    scores = {k: tuple(np.array(c) for c in v) for k, v in scores.items()}
    if not scores or not chosen:
        return ""
    scales = sorted({c for _, c in scores}, key=abs)
    none = refusal["none"].columns["refusal"]
    rows = [["unedited", "", mean_cell(none), cell_ratio(answers["none"].columns)]]
    for (kind, c), (r, nll, n) in sorted(scores.items(), key=lambda i: (abs(i[0][1]), i[0][0])):
        rows.append([SETS[kind][0] if kind in SETS else f"random, {len(r)} draws (from {number(r.mean(1).min(), 2)} to "
                     f"{number(r.mean(1).max(), 2)})", number_label(c), mean_cell(r.mean(0)),
                     cell(nll.sum() / n.sum(), resampled_ratio(nll.sum(0), n.sum(0)), 3)])
    return (figure([low_scatter(g, chosen)],
                   "Every feature has an indirect effect; candidates are only those nearest to the direction. What the others "
                   "have, and which of them are best.")
            + figure([low_bars(scores, none.mean(), scales)],
                     "The best of each kind clamped, f \N{RIGHTWARDS ARROW} c f, as in the paper's figure 2: does what lies "
                     "away from the direction make the model comply?")
            + details("all sets, with what they cost on harmless answers",
                      table(["set", "c", "refusal score", "CE (nat per token)"], rows)))


def cell_ratio(columns):
    return cell(columns["nll"].sum() / columns["n_tokens"].sum(),
                resampled_ratio(columns["nll"], columns["n_tokens"]), 3)


# ---- interactions --------------------------------------------------------------------------

@styled
def sums_figure(parts):
    fig, axes = new_figure(4.6, 3.2)
    names = list(parts)
    for i, (label, colour) in enumerate((("sum of its features", COLOURS["ap"]), ("together", COLOURS["cossim_ap"]))):
        error_bars(axes, np.arange(len(names)) + (i - 0.5) * 0.4,
                   [p["single"].sum(0) if i == 0 else p["all"] for p in parts.values()], width=0.37, color=colour, label=label)
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.set_xticks(range(len(names)), ["F*" if n == "best" else plain(n) for n in names])
    axes.set_ylabel("change of the metric (logit)")
    axes.grid(axis="y")
    axes.legend(fontsize=8)
    return fig, "effects one by one, summed, and together"


@styled
def pairs_figure(p):
    fig, axes = new_figure(4.4, 3.6)
    k = len(p["single"])
    single, pair = p["single"].mean(1), p["pair"].mean(1)
    matrix = np.full((k, k), np.nan)
    matrix[p["pair_first"], p["pair_second"]] = pair - single[p["pair_first"]] - single[p["pair_second"]]
    matrix[p["pair_second"], p["pair_first"]] = matrix[p["pair_first"], p["pair_second"]]
    most = np.nanmax(np.abs(matrix)) if k > 1 else 1
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-most or -1, vmax=most or 1)
    labels = [f"{layer}:{feature}" for layer, feature in zip(p["layer"], p["feature"])]
    axes.set_xticks(range(k), labels, rotation=90, fontsize=6)
    axes.set_yticks(range(k), labels, fontsize=6)
    fig.colorbar(image, label="interaction (logit)", shrink=0.85)
    return fig, "interaction of every pair of features"


@styled
def tokens_figure(groups, tokens):
    fig, axes = new_figure(4.6, 3.2)
    error_bars(axes, range(len(groups)), [*tokens[:-1], tokens[-1]],
               color=[COLOURS["cossim_ap"]] * (len(groups) - 1) + [COLOURS["none"]])
    axes.plot(len(groups) - 1, tokens[:-1].sum(0).mean(), marker="D", color=COLOURS["ap"], linestyle="none",
              label="sum of the others")
    axes.set_xticks(range(len(groups)), [plain(t) for t in groups])
    axes.set_xlabel("tokens, from the end of the prompt")
    axes.set_ylabel("change of the metric (logit)")
    axes.grid(axis="y")
    axes.legend(fontsize=8)
    return fig, "effect of F* at single tokens and at all"


@styled
def layers_figure(vector, features, everything):
    fig, axes = new_figure(4.6, 3.2)
    n = len(vector)
    for i, (values, label, colour) in enumerate(((vector, "the whole residual stream", COLOURS["ablate_direction"]),
                                                 (features, "its F0 alone", COLOURS["cossim_ap"]))):
        error_bars(axes, np.arange(n + 1) + (i - 0.5) * 0.4, [*values, everything[i]], width=0.37, color=colour, label=label)
    axes.axhline(0, color=SOFT, linewidth=0.8)
    step = max(1, n // 8)
    axes.set_xticks([*range(0, n, step), n], [*map(str, range(0, n, step)), "all"])
    axes.set_xlabel("layer out of which the direction is taken")
    axes.set_ylabel("change of the metric (logit)")
    axes.grid(axis="y")
    axes.legend(fontsize=8)
    return fig, "steering whole residual streams against features"


def interactions_section(f):
    g = read(f.result, "/interactions", "token_group", "tokens:2", "vector:2", "features:2", "vector_all:1",
             "features_all:1", "metric_clean:1")
    names = ["best"] + sorted(n for n in f.result.names("/interactions") if n.startswith("random"))
    parts = {n: p for n in names if (p := read(f.result, f"/interactions/{n}", "single:2", "pair:2", "pair_first:1",
                                               "pair_second:1", "all:1", "layer:1", "feature:1")) is not None}
    if g is None or "best" not in parts:
        return ""
    rows = []
    for name, p in parts.items():
        pairs = p["pair"] - p["single"][p["pair_first"]] - p["single"][p["pair_second"]]
        rows.append(["F*" if name == "best" else escape(name), mean_cell(p["single"].sum(0)), mean_cell(p["all"]),
                     mean_cell(p["pair"].mean(0), 3), mean_cell(np.abs(pairs).mean(0), 3)])
    return (figure([sums_figure(parts), pairs_figure(parts["best"]), tokens_figure(g["token_group"], g["tokens"]),
                    layers_figure(g["vector"], g["features"], (g["vector_all"], g["features_all"]))],
                   "Is the effect of F* the sum of its parts? By features (the clamp follows what a feature is at that moment, "
                   "so a feature that an earlier one has already weakened is moved less), by pairs (0: the two act by "
                   "themselves), by tokens (held at fixed values), and by layers, the direction against the features near it.",
                   "panels")
            + details("sums and pairs, with 95 % bootstrap intervals over prompts",
                      table(["set", "sum of single effects (logit)", "effect together", "mean effect of a pair",
                             "mean |interaction| of a pair"], rows)))


# ---- prune ---------------------------------------------------------------------------------

@styled
def prune_figure(g, replies):
    fig, axes = new_figure(7.4, 3.8)
    share = g["complies"].mean(2)
    k = share.shape[1] - 1
    left = k - np.arange(k + 1)
    random = [i for i, n in enumerate(g["order"]) if n.startswith("random")]
    if random:
        axes.fill_between(left, share[random].min(0), share[random].max(0), color=COLOURS["random"], alpha=0.25,
                          label=f"random orders ({len(random)})")
    for i, name in enumerate(g["order"]):
        if i in random:
            continue
        colour = COLOURS["cossim_ap"] if name == "greedy" else COLOURS["ap"]
        low, high = interval(resampled_ratio(g["complies"][i].T.astype(float)))
        axes.fill_between(left, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(left, share[i], color=colour, marker="o" if name == "greedy" else "s", markersize=4,
                  label={"greedy": "greedy", "effect": "smallest effect first"}.get(name, plain(name)))
    if replies:
        x, y = zip(*sorted(replies.items()))
        axes.plot(x, 1 - np.array(y), color=COLOURS["none"], linestyle=(0, (1, 1.5)),
                  label="greedy, replies without a refusal substring")
    axes.set_xlim(k + 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("features still clamped")
    axes.set_ylabel("share of prompts that comply")
    refusal_axis(axes)
    axes.legend(fontsize=8)
    return fig, "compliance as features are released"


def prune_section(f):
    g = read(f.result, "/prune", "order", "complies:3", "released:2", "smallest:1", "layer:1", "feature:1")
    if g is None:
        return ""
    replies = {}
    for name, s in read_scores(f.result, "prune").items():
        c = Condition.of(name)
        if c.kind == "scale" and c.method.startswith("greedy") and c.method[6:].isdigit() and "refusal" in s.columns:
            replies[int(c.method[6:])] = s.mean("refusal")
    smallest = dict(zip(g["order"], g["smallest"].tolist()))
    random = [n for name, n in smallest.items() if name.startswith("random")]
    text = (f"<p>Of {g['complies'].shape[1] - 1} features, <b>{smallest.get('greedy', 0)}</b> chosen greedily do as well as all; "
            f"by effect it takes {smallest.get('effect', 0)}"
            + (f", in a random order {number(float(np.mean(random)), 1)} on average" if random else "") + ".</p>")
    order = g["order"].index("greedy") if "greedy" in g["order"] else 0
    rows = [[str(step + 1), f"{g['layer'][i]}:{g['feature'][i]}", mean_cell(g["complies"][order, step + 1].astype(float))]
            for step, i in enumerate(g["released"][order])]
    return (text + figure([prune_figure(g, replies)],
                          "Features of F* let go one after the other, until nothing is clamped. A prompt complies when its "
                          "most probable first token is not the refusal token; bands: 95 % bootstrap intervals over prompts, "
                          "grey the range of random orders.")
            + details("the greedy order", table(["released", "feature (layer:id)", "share that complies after it"], rows)))


# ---- feature_graph -------------------------------------------------------------------------

@styled
def graph_figure(g):
    fig, axes = new_figure(5.6, 4.6)
    order = np.lexsort((g["feature"], g["layer"]))
    before = g["unedited"].sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        change = g["activation"].sum(1) / before - 1
    change[:, before <= 0] = np.nan
    change[g["layer"][:, None] >= g["layer"][None, :]] = np.nan
    image = axes.imshow(change[order][:, order], cmap="RdBu", vmin=-1, vmax=1)
    labels = [f"{g['layer'][i]}:{g['feature'][i]}" for i in order]
    axes.set_xticks(range(len(order)), labels, rotation=90, fontsize=6)
    axes.set_yticks(range(len(order)), labels, fontsize=6)
    axes.set_xlabel("what becomes of the activation of")
    axes.set_ylabel("clamped")
    fig.colorbar(image, label="relative change", shrink=0.85)
    return fig, "effects between features of different layers"


@styled
def mediation_figure(names, change, random):
    fig, axes = new_figure(6.4, 3.4)
    rows = list(zip(names, change)) + ([("early, random retained", random.mean(0))] if len(random) else [])
    y = np.arange(len(rows))[::-1]
    value, down, up = zip(*(bars_of(resampled_ratio(v), v.mean()) for _, v in rows))
    axes.barh(y, value, xerr=[down, up], error_kw={"elinewidth": 0.9, "ecolor": COLOURS["none"]},
              color=[COLOURS["random"] if "random" in n else COLOURS["cossim_ap"] if "retained" in n else COLOURS["none"]
                     for n, _ in rows])
    if len(random):
        means = random.mean(1)
        axes.plot([means.min(), means.max()], [y[-1]] * 2, color=COLOURS["ap"], linewidth=3)
    axes.set_yticks(y, [plain(n, 40) for n, _ in rows])
    axes.set_xlabel("change of the metric (logit)")
    axes.grid(axis="x")
    return fig, "what clamping a group does while another is retained"


def graph_section(f):
    g = read(f.result, "/feature_graph", "layer:1", "feature:1", "group:1", "unedited:2", "activation:3", "metric_clean:1")
    m = read(f.result, "/feature_graph/mediation", "edit", "metric:2", "late_activation:2")
    if g is None or m is None:
        return ""
    random = f.result.numbers("/feature_graph/mediation/random_metric", 2)
    random = np.zeros((0, len(g["metric_clean"]))) if random is None else random - g["metric_clean"]
    change = m["metric"] - g["metric_clean"]
    by_name = dict(zip(m["edit"], change))
    text = ""
    if "early" in by_name and "early, middle retained" in by_name:
        total, direct = by_name["early"], by_name["early, middle retained"]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = 1 - direct.mean() / total.mean()
            resampled = 1 - resampled_ratio(direct) / resampled_ratio(total)
        text = (f"<p>Clamping the {np.sum(g['group'] == 0)} early features moves the metric by {number(float(total.mean()), 2)} "
                f"logit; with the {np.sum(g['group'] == 1)} middle ones retained, by {number(float(direct.mean()), 2)}: they "
                f"mediate <b>{number(float(share), 2)}</b>{span(*map(float, interval(resampled)), 2)} of it"
                + (f"; random features retained in their place mediate "
                   f"{number(float(1 - random.mean() / total.mean()), 2)} ({len(random)} draws)" if len(random) else "")
                + ".</p>")
    rows = [[escape(n), mean_cell(v), mean_cell(a, 3)] for n, v, a in zip(m["edit"], change, m["late_activation"])]
    return (text + figure([graph_figure(g), mediation_figure(m["edit"], change, random)],
                          "Left: each feature clamped (row), relative change of the mean activation of those of later layers "
                          "(layer:id). Right: groups by layer, one clamped while others are held at their unedited values; "
                          "the orange line spans the random draws.", "panels")
            + details("all groups, with 95 % bootstrap intervals over prompts",
                      table(["clamped, retained", "change of the metric (logit)", "mean activation of late features"], rows)))


# ---- sae_compare ---------------------------------------------------------------------------

SIDES = {"a": (COLOURS["cossim_ap"], "o"), "b": (COLOURS["ap"], "s")}


def measures(g, s):
    """{title: (values by layer, resamples)}; layers without an SAE are NaN."""
    n, tokens = g["n_scored"].astype(float), g["n_tokens"].astype(float)
    gone = s["variance"] <= 0
    with np.errstate(invalid="ignore", divide="ignore"):
        top, bottom = g["nll_zero"] - s["nll"], g["nll_zero"] - g["nll_clean"]
        found = {"CE recovered": (top.sum(1) / bottom.sum(1), resampled_ratio(top.T) / resampled_ratio(bottom.T)),
                 "fraction of variance unexplained": (
                     s["squared_error"].sum(1) / tokens.sum() / s["variance"],
                     resampled_ratio(s["squared_error"].T, tokens[:, None]) / s["variance"]),
                 "L0 (active features per token)": (s["n_active"].sum(1) / tokens.sum(),
                                                    resampled_ratio(s["n_active"].T, tokens[:, None])),
                 "cosine of the reconstructed direction": (s["v_cosine"], None)}
    assert len(n) == len(tokens)
    for value, _ in found.values():
        value[gone] = np.nan
    return found


@styled
def compare_figure(title, sides):
    fig, axes = new_figure(4.2, 3)
    for name, found in sides.items():
        colour, marker = SIDES[name]
        value, resampled = found[title]
        x = np.arange(len(value))
        axes.plot(x, value, color=colour, marker=marker, markersize=4.5, linewidth=1.3, label=f"SAEs {name}")
        if resampled is not None:
            axes.fill_between(x, *interval(resampled), color=colour, alpha=0.15, linewidth=0)
    axes.set_title(title)
    layer_axis(axes, len(x))
    axes.grid(axis="y")
    axes.legend(fontsize=8)
    return fig, f"{title} by layer"


@styled
def match_figure(g, sides):
    fig, axes = new_figure(4.2, 3)
    rows = [(f"{n}: in the other F*", s["match_in_set"], SIDES[n][0]) for n, s in sides.items()]
    rows += [(f"{n}: in the other SAE", s["match_in_sae"], SIDES[n][0]) for n, s in sides.items()]
    rows.append(("random of a: in F* of b", g["random_match"][~np.isnan(g["random_match"])], COLOURS["random"]))
    for y, (_, values, colour) in enumerate(reversed(rows)):
        axes.plot(values, np.full(len(values), y), linestyle="none", marker="|", markersize=9, color=colour, alpha=0.7)
        if len(values):
            axes.plot(np.median(values), y, marker="D", markersize=5, color=COLOURS["none"])
    axes.set_yticks(range(len(rows)), [r[0] for r in reversed(rows)])
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("largest cosine of decoder rows")
    axes.set_title("Are the features of F* the same?")
    return fig, "largest cosine of each feature of F* with the other's"


def compare_section(f):
    g = read(f.result, "/sae_compare", "n_tokens:1", "n_scored:1", "nll_clean:1", "nll_zero:2")
    sides = {n: s for n in SIDES if (s := read(f.result, f"/sae_compare/{n}", "nll:2", "squared_error:2", "n_active:2",
                                               "variance:1", "v_cosine:1", "match_in_set:1", "match_in_sae:1")) is not None}
    if g is None or len(sides) < 2:
        return ""
    random = f.result.numbers("/sae_compare/random_match", 2)
    g["random_match"] = np.zeros((0, 0)) if random is None else random
    found = {n: measures(g, s) for n, s in sides.items()}
    rows = [[f"{n}: {escape(f.result.attribute(f'/sae_compare/{n}', 'path', ''))}",
             str(f.result.attribute(f"/sae_compare/{n}", "d_sae", 0))]
            + [number(float(np.nanmean(v)), 3) for v, _ in found[n].values()] for n in sides]
    scores = read_scores(f.result, "sae_compare")
    refusals = []
    for name, s in scores.items():
        if "refusal" in s.columns:
            c = Condition.of(name)
            label = "unedited" if c.name == "none" else f"F* of {escape(c.method)} clamped, c = {number_label(c.value)}"
            refusals.append([label, mean_cell(s.columns["refusal"])])
    return (figure([compare_figure(t, found) for t in found["a"]] + [match_figure(g, sides)],
                   "As the paper's appendix A.9, layer by layer, on harmless prompts and the model's own answers; bands: 95 % "
                   "bootstrap intervals over prompts. Last panel: each mark a feature of F*, diamonds the median.", "panels")
            + table(["SAEs", "width", "CE recovered", "FVU", "L0", "cosine of v"], rows)
            + (table(["harmful prompts", "refusal score"], refusals) if refusals else ""))


# ---- questions of coherence ----------------------------------------------------------------

def questions_section(f):
    found = []
    for name in f.result.names("/scores/questions"):
        g = read(f.result, f"/scores/questions/{name}", "prompt:1", "right:1")
        if g is not None and len(g["prompt"]) == len(g["right"]):
            found.append((Condition.of(name), g["prompt"], g["right"].astype(float)))
    if not found:
        return ""
    found.sort(key=lambda c: c[0].order)
    sets = list(dict.fromkeys(f.label_of(p, f.names) for _, prompts, _ in found for p in prompts.tolist()))
    rows = []
    for condition, prompts, right in found:
        of = [f.label_of(p, f.names) for p in prompts.tolist()]
        row = [escape(condition.label)]
        for name in sets:
            own = right[[o == name for o in of]]
            row.append(mean_cell(own) if len(own) else "")
        rows.append(row)
    return ("<p>As the paper's tables 5 to 7: what the same edits cost on questions whose right answers are known. Share of "
            "right replies, with 95 % bootstrap intervals over questions.</p>"
            + table(["edit"] + [escape(n) for n in sets], rows))


SECTIONS = [("questions", "Questions with right answers", questions_section),
            ("exact_patching", "Attribution against the true effect", exact_section),
            ("low_cosine", "Features away from the direction", low_section),
            ("interactions", "Do the parts add up?", interactions_section),
            ("prune", "How few features are enough", prune_section),
            ("feature_graph", "From feature to feature", graph_section),
            ("sae_compare", "Another set of SAEs", compare_section)]
