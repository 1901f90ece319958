# SPDX-License-Identifier: MIT
"""Sections of the report for the paper's further experiments: sweep_kstar, categories, conditional,
suffix, jailbreaks, probe. Axes and grouping are those of the paper's figures and tables. A section
is empty when the file has not all that it shows. Needs matplotlib 3.6 and numpy (Debian 12).
"""
import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from .data import SEED, interval, number_label, read_scores, resampled_ratio
from .figures import COLOURS, OTHER, SOFT, new_figure, plain, refusal_axis, styled
from .page import details, digits_for, escape, figure, number, percent, span, table, words

KINDS = {"common": (COLOURS["cossim_ap"], "o", "common"), "specific": (COLOURS["ap"], "s", "specific"),
         "other": (COLOURS["cossim"], "^", "specific of other categories"),
         "random": (COLOURS["random"], "X", "random")}
MOST_SUFFIXES = 12


def read(result, group, *names):
    """{name: array} of a group's datasets; None unless all are there and none is empty. A name is
    "path:dims"; texts have no number of dimensions."""
    found = {}
    for item in names:
        name, _, dims = item.partition(":")
        path = f"{group}/{name}"
        value = result.numbers(path, int(dims)) if dims else result.texts(path)
        if value is None or np.size(value) == 0:
            return None
        found[name] = value
    return found


def bars_of(resampled, value):
    """(value, distance down, distance up) for error bars."""
    low, high = interval(resampled)
    return value, np.maximum(value - low, 0), np.maximum(high - value, 0)


def cell(value, resampled, digits=2):
    low, high = interval(resampled)
    return number(float(value), digits) + span(float(low), float(high), digits)


# ---- sweep_kstar ---------------------------------------------------------------------------

def knee(x, y):
    """Index of the point farthest below the line between the ends, both axes scaled to 1."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    u, v = (x - x.min()) / np.ptp(x), (y - y.min()) / np.ptp(y)
    below = (v[0] + (v[-1] - v[0]) * (u - u[0]) / (u[-1] - u[0])) - v if u[-1] != u[0] else u * 0
    return int(below.argmax()) if below.max() > 0 else None


@styled
def sweep_figure(curves, unedited):
    fig, axes = new_figure(7.4, 4)
    colours = [COLOURS[m] for m in ("cossim_ap", "ap", "cossim", "actdiff")] + [OTHER, COLOURS["random"]]
    for i, ((k0, scale), c) in enumerate(curves.items()):
        colour = colours[i % len(colours)]
        axes.plot(c["ce"], c["refusal"], color=colour, marker="os^DXv"[i % 6], markersize=5, linewidth=1.3,
                  label=f"c = {number_label(scale)}, K0 = {k0}")
        for x, y, k in zip(c["ce"], c["refusal"], c["k"]):
            axes.annotate(str(k), (x, y), xytext=(4, 3), textcoords="offset points", fontsize=8, color=SOFT)
        if c["knee"] is not None:
            axes.plot(c["ce"][c["knee"]], c["refusal"][c["knee"]], linestyle="none", marker="o", markersize=13,
                      markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.6)
    axes.plot(*unedited, linestyle="none", marker="*", markersize=10, color=COLOURS["none"], label="unedited")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("CE of harmless answers (nat per token)")
    axes.set_ylabel("refusal score")
    refusal_axis(axes)
    axes.legend()
    return fig, "refusal score against cross-entropy, a curve over K* for each factor"


def sweep_section(f):
    g = read(f.result, "/sweep_kstar", "point", "k0:1", "k_star:1", "scale:1")
    refusal, answers = read_scores(f.result, "sweep_kstar"), read_scores(f.result, "sweep_kstar_answers")
    if g is None:
        return ""
    need = ["none", *g["point"]]
    if not all(n in refusal and n in answers and len(refusal[n].prompts) and len(answers[n].prompts)
               and "refusal" in refusal[n].columns and {"nll", "n_tokens"} <= answers[n].columns.keys()
               for n in need):
        return ""
    ce = {n: answers[n].columns["nll"].sum() / answers[n].columns["n_tokens"].sum() for n in need}
    curves, rows = {}, []
    for k0, scale in sorted(set(zip(g["k0"].tolist(), g["scale"].tolist())), key=lambda p: (p[0], -p[1])):
        own = [i for i in range(len(need) - 1) if (g["k0"][i], g["scale"][i]) == (k0, scale)]
        own.sort(key=lambda i: g["k_star"][i])
        names = [g["point"][i] for i in own]
        c = curves[k0, scale] = {"k": g["k_star"][own].tolist(), "ce": np.array([ce[n] for n in names]),
                                 "refusal": np.array([refusal[n].mean("refusal") for n in names])}
        c["knee"] = knee(c["ce"], c["refusal"])
        for j, n in enumerate(names):
            s, a = refusal[n].columns["refusal"], answers[n].columns
            rows.append([str(k0), number_label(scale), str(c["k"][j]) + (" (knee)" if j == c["knee"] else ""),
                         cell(s.mean(), resampled_ratio(s)),
                         cell(ce[n], resampled_ratio(a["nll"], a["n_tokens"]), digits_for([ce["none"]]))])
    svg = sweep_figure(curves, (ce["none"], refusal["none"].mean("refusal")))
    return (figure([svg], "Refusal of harmful prompts against what the same clamp costs on harmless answers; numbers are K*, "
                          "rings the knee of each curve: the point farthest from the line between its ends, both axes "
                          "scaled to 1. Down and left is better. The paper draws the jailbreak score, which needs a judge.")
            + details("all points, with 95 % bootstrap intervals over prompts",
                      table(["K0", "c", "K*", "refusal score", "CE (nat per token)"], rows)))


# ---- categories ----------------------------------------------------------------------------

def relative(values, none, everything):
    """(mean of values - none) / (mean of everything - none): the value and its resamples."""
    top, bottom = values - none, everything - none
    with np.errstate(invalid="ignore", divide="ignore"):
        return top.mean() / bottom.mean(), resampled_ratio(top) / resampled_ratio(bottom)


@styled
def categories_figure(names, scores, label):
    fig, axes = new_figure(9.2, 3.4)
    kinds = [k for k in KINDS if any(k in s for s in scores)]
    for i, kind in enumerate(kinds):
        colour, _, text = KINDS[kind]
        at, heights, down, up = [], [], [], []
        for x, s in enumerate(scores):
            if kind in s:
                value, low, high = bars_of(s[kind][1], s[kind][0])
                at.append(x + (i - (len(kinds) - 1) / 2) * 0.8 / len(kinds))
                heights.append(value), down.append(low), up.append(high)
        axes.bar(at, heights, 0.8 / len(kinds) * 0.92, color=colour, label=text,
                 yerr=[down, up], error_kw={"elinewidth": 0.9, "ecolor": COLOURS["none"]})
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.axhline(1, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xticks(range(len(names)), [plain(n, 14) for n in names])
    axes.set_ylabel(label)
    axes.grid(axis="y")
    axes.legend(ncols=len(kinds), loc="upper center", bbox_to_anchor=(0.5, 1.16))
    return fig, f"{label} by harm category and kind of features"


def category_scores(g, transfer, random, k, measure):
    """{kind: (relative score, resamples)} on the prompts of category k. measure(table) gives
    [rows, prompts], NaN where a row was not run."""
    own = g["category_of"] == k
    edits = measure(g)[:, own]
    none, everything = edits[0], edits[1]
    found = {}
    for kind, row in (("common", 2), ("specific", 3)):
        if not np.isnan(edits[row]).any():
            found[kind] = relative(edits[row], none, everything)
    for kind, rows in (("other", transfer), ("random", random)):
        values = measure(rows)[:, own] if rows else np.zeros((0, own.sum()))
        values = values[~np.isnan(values).any(1)]
        if len(values):
            found[kind] = relative(values.mean(0), none, everything)
    return {kind: s for kind, s in found.items() if np.isfinite(s[0])}


def reply_scores(scores, k, n):
    """category_scores of the replies' refusal, from conditions called K_EDIT_xC."""
    def accepted(edit):
        return [1 - s.columns["refusal"] for name, s in scores.items()
                if (name.startswith(f"{k}_{edit}_x") or name == f"{k}_{edit}") and "refusal" in s.columns]

    none, everything = accepted("none"), accepted("all")
    found = {}
    if none and everything and len(none[0]) == len(everything[0]) > 0:
        for kind in ("common", "specific"):
            found |= {kind: relative(v, none[0], everything[0]) for v in accepted(kind)[:1]}
        foreign = [v for other in range(n) for v in accepted(f"from_{other}")]
        if foreign:
            found["other"] = relative(np.mean(foreign, 0), none[0], everything[0])
    return {kind: s for kind, s in found.items() if np.isfinite(s[0])}


def harm_categories_section(f):
    columns = ("first_token:2", "metric:2")
    g = read(f.result, "/categories", "category", "category_of:1", "n_clamped:1", "common:1", "rank:2", "layer:1",
             "feature:1", *columns)
    if g is None or len(g["first_token"]) < 4:
        return ""
    transfer = read(f.result, "/categories/transfer", *columns)
    random = read(f.result, "/categories/random", *columns)
    token = f.result.attribute("/prompts", "refusal_token", -1)
    replies = read_scores(f.result, "categories")
    if token < 0:
        return ""

    def complies(t):
        return np.where(t["first_token"] < 0, np.nan, t["first_token"] != token)

    def effect(t):
        return t["metric"]

    out, names = [], g["category"]
    present = [k for k in range(len(names)) if (g["category_of"] == k).any()]
    for measure, label in ((complies, "prompts that comply, relative to all of F*"),
                           (effect, "change of m, relative to all of F*")):
        scores = [category_scores(g, transfer, random, k, measure) for k in present]
        out.append(categories_figure([names[k] for k in present], scores, label))
    scores = [reply_scores(replies, k, len(names)) for k in present]
    if any(scores):
        out.insert(0, categories_figure([names[k] for k in present], scores,
                                        "replies that do not refuse, relative to all of F*"))
    rows = []
    for k in present:
        own = g["category_of"] == k
        c, best = complies(g)[:, own], g["rank"][k] >= 0
        rows.append([escape(names[k]), str(own.sum()), str(best.sum()), str((best & (g["common"] == 1)).sum()),
                     str(g["n_clamped"][k])] + [cell(row.mean(), resampled_ratio(row)) for row in c])
    common = [f"{l}/{i}" for l, i, c in zip(g["layer"], g["feature"], g["common"]) if c]
    return (f"<p>{len(common)} of the best features are common to all {len(names)} categories and stand for refusal (F_R): "
            f"{escape(', '.join(common[:30]))} (layer/feature). n common and n specific features are clamped in turn, the "
            "rest of F* held at every token of the prompt at its unedited values.</p>"
            + figure(out, "As the paper's figure 3: what each kind of features does, divided by what clamping all of the "
                          "category's F* does, with 95 % bootstrap intervals over prompts. A reply refuses when it has one of "
                          "the refusal phrases, or by rules (the paper asks a judge whether it is harmful); a prompt complies when the "
                          "first token of its reply is not the refusal token; m = logit[j] \N{MINUS SIGN} logit[refusal].", "scroll")
            + table(["category", "prompts", "F*", "common", "n", "comply, unedited", "all of F*", "n common", "n specific"], rows))


# ---- conditional ---------------------------------------------------------------------------

WATCH = ("activation:3", "p_refusal:2")


def read_watched(f, group):
    g = read(f.result, group, "layer:1", "feature:1", *WATCH)
    if g is None or len(g["activation"]) < 2:
        return None, None
    return g, read(f.result, f"{group}/random", *WATCH)


def suppression_of(edited, unedited):
    """1 - sum of A' / sum of A over prompts [n] and its resamples."""
    return 1 - edited.sum() / unedited.sum(), 1 - resampled_ratio(edited, unedited)


@styled
def conditional_figure(names, harm, random):
    fig, axes = new_figure(8.2, 3)
    for i, (kind, values) in enumerate((("common", harm), ("random", random))):
        value, down, up = zip(*(bars_of(r, v) for v, r in values)) if values else ((), (), ())
        axes.bar(np.arange(len(value)) + (i - 0.5) * 0.4, value, 0.37, color=KINDS[kind][0], yerr=[down, up],
                 label=("features of harm clamped", "random features clamped")[i],
                 error_kw={"elinewidth": 0.9, "ecolor": COLOURS["none"]})
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.set_xticks(range(len(names)), [plain(n, 14) for n in names])
    axes.set_ylabel("suppression of F_R")
    axes.grid(axis="y")
    axes.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    return fig, "suppression of the features of refusal by category"


def conditional_section(f):
    g, random = read_watched(f, "/conditional")
    prompts = f.result.numbers("/conditional/prompt")
    if g is None or prompts is None or len(prompts) != g["activation"].shape[1]:
        return ""
    total = g["activation"].sum(2, dtype=float)
    controls = random["activation"].sum(2, dtype=float).mean(0) if random else None
    labels = [f.label_of(int(p), f.categories) or f.label_of(int(p), f.names) for p in prompts]
    groups = [("all", np.ones(len(labels), bool))]
    if len(set(labels)) > 1:
        groups += [(name, np.array([x == name for x in labels])) for name in dict.fromkeys(labels)]
    rows, harm, chance = [], [], []
    for name, own in groups:
        harm.append(suppression_of(total[1][own], total[0][own]))
        p = g["p_refusal"][:, own]
        row = [escape(name), str(own.sum()), cell(*harm[-1])]
        if random:
            chance.append(suppression_of(controls[own], total[0][own]))
            row += [cell(*chance[-1])]
        rows.append(row + [cell(p[0].mean(), resampled_ratio(p[0])), cell(p[1].mean(), resampled_ratio(p[1]))]
                    + ([number(float(random["p_refusal"][:, own].mean()), 2)] if random else []))
    spread = ""
    if random:
        each = 1 - random["activation"].sum((1, 2), dtype=float) / total[0].sum()
        spread = (f" The {len(each)} random sets range from {number(float(each.min()), 3)} to "
                  f"{number(float(each.max()), 3)} over all prompts.")
    a = g["activation"].mean(1, dtype=float)
    features = [[str(l), str(i), number(a[0][k], 2), number(a[1][k], 2),
                 number(1 - a[1][k] / a[0][k], 2) if a[0][k] > 0 else number(None)]
                for k, (l, i) in enumerate(zip(g["layer"], g["feature"]))]
    heads = ["prompts of", "prompts", "suppression by F_H"] + (["by random features"] if random else []) \
        + ["P(refusal token), unedited", "F_H clamped"] + (["random features clamped"] if random else [])
    return ("<p>With the features of harm (F_H) clamped, how much of the activation of the features of refusal (F_R) at the "
            "last tokens is gone? Each feature of F_R is read before the clamps of its own layer, so only layers behind a "
            f"clamped one can change.{spread}</p>"
            + figure([conditional_figure([n for n, _ in groups], harm, chance)],
                     "As the paper's table 1: share of the activation of F_R that the clamp takes away, with 95 % bootstrap "
                     "intervals over prompts.")
            + table(heads, rows)
            + details("feature by feature", table(["layer", "feature", "mean activation", "F_H clamped", "suppression"],
                                                  features, ())))


# ---- suffix --------------------------------------------------------------------------------

BINS = np.linspace(0, 1, 6)


def by_share(values, share, suffix, chosen):
    """Means over suffixes of a value per prompt, in bins of the share of the suffix that is there:
    [bins], and resamples over suffixes [resamples, bins]."""
    ids = np.flatnonzero(chosen)
    rows = np.full((len(ids), len(BINS)), np.nan)
    for r, i in enumerate(ids):
        own = np.flatnonzero(suffix == i)
        rows[r] = np.interp(BINS, share[own], values[own])
    return rows.mean(0), resampled_ratio(rows)


@styled
def suffix_figure(lines, label):
    fig, axes = new_figure(4.8, 3.2)
    for name, colour, style, (mean, resampled) in lines:
        low, high = interval(resampled)
        axes.plot(BINS, mean, color=colour, linestyle=style, marker="o", markersize=4, linewidth=1.5, label=name)
        axes.fill_between(BINS, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.set_xlabel("share of the suffix's words")
    axes.set_ylabel(label)
    axes.grid(axis="y")
    axes.legend()
    return fig, f"{label} as the suffix grows"


def suffix_words(text, largest):
    """A suffix with the word of the largest step marked."""
    parts = text.split()
    return " ".join(f"<b>{escape(w)}</b>" if k + 1 == largest else escape(w) for k, w in enumerate(parts))


def suffix_table(g, share, chosen, f, prompts):
    """A seeded draw of successful suffixes."""
    ids = np.flatnonzero(chosen)
    if not len(ids):
        return ""
    drawn = sorted(np.random.default_rng(SEED).choice(ids, min(MOST_SUFFIXES, len(ids)), replace=False).tolist())
    rows = []
    for i in drawn:
        own = np.flatnonzero(g["suffix_of"] == i)
        largest = int(g["largest_step"][i])
        rows.append([words(f.label_of(int(prompts[own[0]]), f.texts)), suffix_words(g["text"][i], largest),
                     number(float(g["step"][own[largest]]), 2), number(float(g["suppression"][own[-1]]), 2)])
    return table(["prompt", "suffix, the word with the largest step in bold", "its step", "whole suffix"], rows, (0, 1))


def suffix_section(f):
    g, random = read_watched(f, "/suffix")
    more = read(f.result, "/suffix", "suffix_of:1", "word:1", "suppression:1", "step:1", "text", "n_words:1",
                "largest_step:1", "refused_bare:1", "success:1", "prompt:1")
    if g is None or more is None:
        return ""
    g |= more
    of, won = g["suffix_of"], g["success"] == 1
    lost = (g["refused_bare"] == 1) & ~won
    share = g["word"] / np.maximum(g["n_words"][of], 1)
    total = g["activation"].sum(2, dtype=float)
    bare = np.zeros(len(won))
    bare[of[g["word"] == 0]] = total[0][g["word"] == 0]
    if not (bare > 0).all():
        return ""
    extra = (total[0] - total[1]) / bare[of]
    kinds = [(n, c, m) for n, c, m in (("successful", COLOURS["ap"], won), ("failed", COLOURS["cossim_ap"], lost)) if m.any()]
    if not kinds:
        return ""
    first = [(f"{n} ({m.sum()})", c, "-", by_share(g["suppression"], share, of, m)) for n, c, m in kinds]
    second = [(f"{n}, F_H clamped", c, "-", by_share(extra, share, of, m)) for n, c, m in kinds]
    if random:
        by_chance = (total[0] - random["activation"].sum(2, dtype=float).mean(0)) / bare[of]
        second += [(f"{n}, random clamped", c, ":", by_share(by_chance, share, of, m)) for n, c, m in kinds]
    return (f"<p>{won.sum()} of {len(won)} suffixes are successful: the bare prompt is refused, the prompt with the suffix is "
            f"not, judged by the first token. {lost.sum()} failed; on {len(won) - won.sum() - lost.sum()} the bare prompt was "
            "not refused either, and they are left out.</p>"
            + figure([suffix_figure(first, "suppression of F_R"), suffix_figure(second, "extra suppression by clamping")],
                     "As the paper's figure 4, word by word: left, how much of the activation of F_R the words so far have "
                     "taken away; right, how much more goes when features upstream are clamped as well. Bands are 95 % "
                     "bootstrap intervals over suffixes.", "panels")
            + suffix_table(g, share, won, f, g["prompt"])
            + '<p class="note">As the paper\'s table 3; suffixes drawn at random with a fixed seed.</p>')


# ---- jailbreaks ----------------------------------------------------------------------------

@styled
def jailbreaks_figure(scores):
    fig, axes = new_figure(5.2, 3)
    for i, (name, colour) in enumerate((("successful", COLOURS["ap"]), ("failed", COLOURS["cossim_ap"]))):
        if name in scores:
            value, down, up = zip(*(bars_of(r, v) for v, r in scores[name]))
            axes.bar(np.arange(2) + (i - 0.5) * 0.4, value, 0.37, color=colour, label=name, yerr=[down, up],
                     error_kw={"elinewidth": 0.9, "ecolor": COLOURS["none"]})
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.set_xticks(range(2), ["F_R, refusal", "F_H, harm"])
    axes.set_ylabel("relative change")
    axes.grid(axis="y")
    axes.legend()
    return fig, "relative change of the features of refusal and of harm"


def jailbreaks_section(f):
    g = read(f.result, "/jailbreaks", "change_refusal:1", "change_harm:1", "refused_plain:1", "success:1")
    if g is None:
        return ""
    won = g["success"] == 1
    scores, rows = {}, []
    for name, own in (("successful", won), ("failed", (g["refused_plain"] == 1) & ~won)):
        row, pairs = [name, str(own.sum())], []
        for role in ("refusal", "harm"):
            values = g[f"change_{role}"][own]
            values = values[~np.isnan(values)]
            pairs.append((values.mean() if len(values) else np.nan, resampled_ratio(values)))
            row.append(cell(*pairs[-1]))
        rows.append(row)
        if all(np.isfinite(v) for v, _ in pairs):
            scores[name] = pairs
    if not scores:
        return ""
    return ("<p>Adversarial prompts beside plain ones that ask for the same and are refused: how do the activations at the "
            "last tokens change? A jailbreak is successful when the first token of its reply is not the refusal token.</p>"
            + figure([jailbreaks_figure(scores)], "Change of the summed activation of F_R and F_H, relative to the plain "
                                                  "prompt, mean over pairs, with 95 % bootstrap intervals.")
            + table(["jailbreaks", "pairs", "change of F_R", "change of F_H"], rows))


# ---- probe ---------------------------------------------------------------------------------

def auroc(score, label):
    """Share of pairs in which the harmful prompt has the higher score; ties count half."""
    order = np.argsort(score, kind="stable")
    ranks = np.empty(len(score))
    ranks[order] = np.arange(1, len(score) + 1)
    for value in np.unique(score):
        same = score == value
        ranks[same] = ranks[same].mean()
    n = label.sum()
    return (ranks[label].sum() - n * (n + 1) / 2) / (n * (len(label) - n)) if 0 < n < len(label) else float("nan")


@styled
def probe_figure(title, layers, refusal, random):
    fig, axes = new_figure(4.6, 3)
    axes.plot(range(len(layers)), layers, color=COLOURS["none"], marker="o", markersize=4, label="dense, by layer")
    axes.axhline(refusal, color=COLOURS["cossim_ap"], linewidth=1.6, label="features of refusal")
    if len(random):
        axes.axhline(random.mean(), color=COLOURS["random"], linewidth=1.3, linestyle=(0, (4, 3)), label="random features")
        axes.axhspan(random.min(), random.max(), color=COLOURS["random"], alpha=0.18, linewidth=0)
    axes.set_title(plain(title, 40))
    axes.set_xlabel("layer")
    axes.set_ylabel("accuracy")
    axes.set_ylim(min(0.4, *layers, refusal), 1.02)
    axes.grid(axis="y")
    return fig, f"accuracy of probes on {title}"


def probe_sentence(name, right, refusal, best, layer):
    """How the features do beside the dense layer that validation would choose."""
    difference = right[refusal] - right[best]
    low, high = interval(resampled_ratio(difference))
    value = float(difference.mean())
    verdict = "as well as" if low <= 0 <= high else "better than" if value > 0 else "worse than"
    return (f"On {escape(name)}, features of refusal do <b>{verdict}</b> dense activations of layer {layer}: "
            f"{percent(float(right[refusal].mean()))} against {percent(float(right[best].mean()))}, a difference of "
            f"{number(value, 3)}{span(float(low), float(high), 3)}.")


def probe_section(f):
    g = read(f.result, "/probe", "probe", "part", "label:1", "part_of:1", "score:2", "accuracy:2", "validation_loss:1")
    if g is None or "refusal" not in g["probe"]:
        return ""
    names = g["probe"]
    refusal = names.index("refusal")
    random = np.array([n.startswith("random_") for n in names])
    dense = np.flatnonzero([n.startswith("layer_") for n in names])
    if not len(dense):
        return ""
    best = dense[g["validation_loss"][dense].argmin()]
    label, right = g["label"] == 1, (g["score"] > 0) == (g["label"] == 1)
    tests = [k for k in range(2, len(g["part"])) if (g["part_of"] == k).any()]
    svgs, sentences, rows = [], [], []
    for k in tests:
        own = g["part_of"] == k
        svgs.append(probe_figure(g["part"][k], g["accuracy"][dense, k], g["accuracy"][refusal, k], g["accuracy"][random, k]))
        sentences.append(probe_sentence(g["part"][k], right[:, own].astype(float), refusal, best, names[best][6:]))
    for i in [refusal, *np.flatnonzero(random), *dense]:
        row = [escape(names[i].replace("_", " ")) + (" (lowest validation loss of the layers)" if i == best else ""),
               number(float(g["validation_loss"][i]), 3)]
        for k in tests:
            own = g["part_of"] == k
            values = right[i][own].astype(float)
            row.append(cell(values.mean(), resampled_ratio(values)) + f" / {number(auroc(g['score'][i][own], label[own]), 2)}")
        rows.append(row)
    return ("<p>" + " ".join(sentences) + " The layer is the one with the lowest cross-entropy on plain validation prompts.</p>"
            + figure(svgs, "As the paper's table 4: accuracy on prompts unlike those the probes were trained on. The grey band "
                           "spans the random sets; black: dense activations of each layer.", "panels")
            + details("all probes: accuracy with 95 % bootstrap intervals / area under the ROC curve",
                      table(["probe", "validation CE (nat)"] + [escape(g["part"][k]) for k in tests], rows)))


SECTIONS = [("sweep_kstar", "How many features, times what", sweep_section),
            ("harm_categories", "Features of harm categories", harm_categories_section),
            ("conditional", "Refusal features depend on harm features", conditional_section),
            ("suffix", "Adversarial suffixes, word by word", suffix_section),
            ("jailbreaks", "Jailbreaks against refused paraphrases", jailbreaks_section),
            ("probe", "Probes on features of refusal", probe_section)]
