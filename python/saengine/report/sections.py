# SPDX-License-Identifier: MIT
"""The sections of the report: the page's head, the sections of the paper's first experiments, and
the list of all, those of paper.py and open_questions.py among them. A section whose content is
empty is not in the page. Needs numpy, and matplotlib for the figures (Debian 12).
"""
import os
from urllib.parse import quote

import numpy as np

from . import figures, open_questions, paper
from .data import (CLASSES, METHODS, REFERENCES, RESAMPLES, SEED, interval, main_conditions, main_factor,
                   number_label, read_candidates, read_direction, read_other_way, read_positions,
                   read_scores, read_set, read_verdicts, resampled_ratio, with_column)
from .page import (details, digits_for, escape, figure, number, page, percent, span, swatch, table,
                   tile, words)

N_EXAMPLES = 5
MOST_ROWS = 40  # of a feature table before the rest folds away

BOOTSTRAP = f"95 % bootstrap intervals over prompts ({RESAMPLES} resamples)"


class Findings:
    """What the sections share, read once."""

    def __init__(self, result, judge=None):
        self.result = result
        self.verdicts = read_verdicts(result, judge)
        self.direction = read_direction(result)
        self.sets = {m: s for m in METHODS if (s := read_set(result, m)) is not None}
        self.candidates = read_candidates(result)
        self.other_way = read_other_way(result, self.candidates)
        # A judge's own file has the verdicts of these experiments, and nothing else of them.
        own = self.verdicts is None or judge is not None
        self.jailbreak = read_scores(result, "jailbreak") if own else {}
        self.induce = read_scores(result, "induce") if own else {}
        self.coherence = read_scores(result, "coherence") if own else {}
        self.clamp = main_factor(self.jailbreak)
        self.set_value = main_factor(self.induce, highest=True)
        self.texts = result.texts("/prompts/text") or []
        self.names = result.texts("/prompts/set") or []
        self.categories = result.texts("/prompts/category") or []

    def n_layers(self):
        layers = self.result.dataset("/layer", 1)
        if layers is not None and len(layers):
            return len(layers)
        seen = [s.layer.max() for s in self.sets.values() if len(s)]
        seen += [self.candidates.layer.max()] if self.candidates else []
        return int(max(seen, default=0)) + 1

    def set_size(self, method):
        return len(self.sets[method]) if method in self.sets else None

    def label_of(self, prompt, labels):
        return labels[prompt] if 0 <= prompt < len(labels) else ""


def model_name(f):
    """(name, folder): the folder's last part, but Hugging Face caches end in a hash."""
    roles = f.result.texts("/provenance/role") or []
    files = f.result.texts("/provenance/file") or []
    for role, path in zip(roles, files):
        if role == "model":
            folder = os.path.dirname(path)
            parts = [p for p in folder.split("/") if p]
            if "snapshots" in parts:
                name = parts[parts.index("snapshots") - 1].replace("models--", "")
                return name.replace("--", "/"), folder
            return (parts or ["model"])[-1], folder
    return f.result.attribute("/", "model_type", "") or "model", ""


def condition_name(condition):
    return swatch(figures.colour_of(condition)) + escape(condition.label)


# ---- headline ------------------------------------------------------------------------------

def describe(f, condition):
    """A clamp in words: "the 20 global CosSim+AP features multiplied by -1"."""
    n = f.set_size(condition.method) if condition.scope == "global" else None
    what = (f"the {n} " if n else "the ") + f"{condition.scope} " \
        + escape(METHODS.get(condition.method, condition.method)) + " features"
    verb = "multiplied by" if condition.kind == "scale" else "set to"
    return f"{what} {verb} {number_label(condition.value)}"


def twin(scores, condition, method):
    """The same edit with another method's global features."""
    for s in scores.values():
        c = s.condition
        if (c.kind, c.method, c.scope, c.value) == (condition.kind, method, "global",
                                                    condition.value):
            return s
    return None


def comparisons(f, scores, condition):
    """What a clamp is held against: the direction ablated or added, and random features clamped
    alike."""
    found = [(scores[name], phrase) for name, (_, phrase) in REFERENCES.items()
             if name != "none" and name in scores]
    random = twin(scores, condition, "random") if condition else None
    if random and condition.method != "random":
        n = f.set_size("random") or "as many"
        verb = "multiplied by" if condition.kind == "scale" else "set to"
        found.append((random, f"{n} random features {verb} {number_label(condition.value)}"))
    return found


def refusal_sentences(f, scores, condition, prompts):
    """What an edit does to refusal, and its comparisons; and tiles of the same numbers."""
    scores = with_column(scores, "refusal")
    none = scores.get("none")
    if none is None or not len(none.prompts):
        return "", []
    n = len(none.prompts)
    text = (f"Without an edit, <b>{none.columns['refusal'].sum():.0f} of {n}</b> {prompts} prompts "
            f"are refused ({number(none.mean('refusal'), 2)}).")
    edited = [(scores[condition.name], describe(f, condition))] if condition else []
    edited += comparisons(f, scores, condition)
    for i, (s, phrase) in enumerate(edited):
        value = number(s.mean("refusal"), 2)
        text += f" With {phrase}, refusal is <b>{value}</b>" if i == 0 else \
            f"; with {phrase}, {value}"
    text += "." if edited else ""
    tiles = []
    for s, phrase in [(none, "unedited")] + edited:
        low, high = interval(resampled_ratio(s.columns["refusal"]))
        tiles.append(tile(figures.colour_of(s.condition), number(s.mean("refusal"), 2),
                          span(low, high, 2),
                          f"refusal of {len(s.prompts)} {prompts} prompts, {phrase}"))
    return text, tiles


def cross_entropy(scores):
    return (scores.columns["nll"].sum() / scores.columns["n_tokens"].sum()
            if len(scores.prompts) and scores.columns["n_tokens"].sum() > 0 else float("nan"))


def ce_digits(ce):
    """Decimals of the CE columns: two digits of the unedited model's, and at least three."""
    return max(3, digits_for([cross_entropy(ce["none"])]) - 1) if "none" in ce else 3


def with_ce(scores):
    return with_column(with_column(scores, "nll"), "n_tokens")


def ce_sentence(f):
    ce = with_ce(f.coherence)
    clamp = f.clamp
    if clamp is None or clamp.name not in ce:
        # Coherence alone: its clamps have no refusal to be chosen by; the mildest stands for them.
        own = [s.condition for s in ce.values() if s.condition.kind == "scale"]
        clamp = own[0] if own else next((s.condition for s in ce.values()
                                         if s.condition.name == "ablate_direction"), None)
    if clamp is None or "none" not in ce:
        return "", []
    before, after = cross_entropy(ce["none"]), cross_entropy(ce[clamp.name])
    digits = ce_digits(ce)
    how = describe(f, clamp) if clamp.kind == "scale" else "the direction ablated"
    same = "the same edit" if clamp == f.clamp else how
    text = (f" On harmless prompts, the cross-entropy of the model's own answers is "
            f"{number(before, digits)} nat per token without an edit and "
            f"<b>{number(after, digits)}</b> with {same}.")
    s = ce[clamp.name]
    low, high = interval(resampled_ratio(s.columns["nll"], s.columns["n_tokens"]))
    return text, [tile(figures.colour_of(clamp), number(after, digits), span(low, high, digits),
                       "CE on harmless answers (nat per token), "
                       f"{'same clamp' if clamp == f.clamp else how}; {number(before, digits)} "
                       "unedited")]


def direction_sentence(f):
    if f.direction is None:
        return ""
    a, d = f.result.attribute, f.direction
    n_harmful = a("/direction", "n_harmful", 0)
    n_harmless = a("/direction", "n_harmless", 0)
    where = f"layer {d.chosen[1]} (of 0 to {d.v.shape[1] - 1}, " \
        + ("chosen by score)" if d.scores else "given)")
    counts = (f", from {n_harmful} harmful and {n_harmless} harmless prompts"
              if n_harmful and n_harmless else "")
    return f"The refusal direction is that of {where}{counts}."


def set_sentence(f):
    s = f.sets.get("cossim_ap")
    if s is None or len(s) == 0:
        return ""
    spread = f"layers {s.layer.min()} to {s.layer.max()}" if s.layer.min() < s.layer.max() \
        else f"layer {s.layer.min()}"
    return (f" CosSim+AP chose {len(s)} features in {spread}; the first is feature "
            f"{s.feature[0]} of layer {s.layer[0]}, mean indirect effect "
            f"{number(float(s.score[0]), digits_for([float(s.score[0])]))} logit.")


def headline(f):
    a = f.result.attribute
    name, folder = model_name(f)
    started = a("/", "started", "")
    line = [escape(a("/", "model_type", "")), escape(folder),
            f"saengine {escape(a('/', 'engine_version', ''))}", escape(started)]
    text, tiles = refusal_sentences(f, f.jailbreak, f.clamp, "harmful")
    induced, more = refusal_sentences(f, f.induce, f.set_value, "harmless")
    ce, ce_tiles = ce_sentence(f)
    paragraphs = [text + ce, induced, direction_sentence(f) + set_sentence(f)]
    if not f.clamp:
        tiles += more
    out = [f"<h1>{escape(name)}</h1>",
           f'<p class="soft">{" &middot; ".join(x for x in line if x)}</p>']
    if not a("/", "finished", ""):
        out.append('<p class="lead"><b>This run did not finish.</b> What it had written by then '
                   "follows.</p>")
    out += [f'<p class="lead">{p.strip()}</p>' for p in paragraphs if p.strip()]
    if tiles or ce_tiles:
        out.append(f'<div class="tiles">{"".join(tiles + ce_tiles)}</div>')
        out.append(f'<p class="note">In brackets: {BOOTSTRAP}. '
                   + ("Of several factors the mildest one is shown whose refusal is within 0.05 "
                      "of the lowest." if f.clamp else "") + "</p>")
    return "".join(out)


# ---- direction -----------------------------------------------------------------------------

def direction_section(f):
    d = f.direction
    if d is None:
        return ""
    position = number_label(int(d.positions[d.chosen[0]]))
    out = [f"<p>v is the mean residual stream over harmful prompts minus that over harmless ones, "
           f"taken at position {position} (counted from the end of the prompt), for every layer. "
           f"Everything after uses v of layer {d.chosen[1]}.</p>"]
    out.append(figure(
        [figures.direction_norm(d), figures.direction_cosine(d)],
        "First: how far apart the two means lie after each block; the residual stream itself "
        "grows from layer to layer, so only the shape counts. Second: how nearly each layer's v "
        "points the way of the chosen one (1 = the same way). The ring marks the chosen layer.",
        "panels"))
    if d.scores:
        out.append("<h3>Choice of the layer</h3>")
        out.append(f'<div class="scroll">{figures.selection_legend(d)}</div>')
        out.append(figure(
            [figures.selection_score(d, name) for name in ("ablated", "added", "kl")
             if name in d.scores],
            "Validation prompts, one trial per layer and position. A layer qualifies when adding "
            "its v makes harmless prompts refused (second panel, above 0), when ablating it "
            "changes harmless predictions little (third panel, KL at most 0.1; linear below that, "
            "logarithmic above), and when it is not in the last fifth (grey). Of those, the one "
            "whose ablation lowers refusal most (first panel) is taken; if adding never makes the "
            "model refuse, that condition is dropped.", "panels"))
    return "".join(out)


# ---- features ------------------------------------------------------------------------------

def neuronpedia_link(pattern, layer, feature):
    """A link, or nothing without a pattern. The pattern is the file's, so it is quoted."""
    if not pattern:
        return ""
    path = quote(pattern.replace("{layer}", str(layer)), safe="/-._~")
    return (f'<a href="https://www.neuronpedia.org/{path}/{feature}" rel="noopener">'
            f"{escape(path)}/{feature}</a>")


def feature_table(s, pattern):
    head = ["rank", "layer", "feature", "cosine", "IE (logit)", "TransformerLens hook"]
    head += ["Neuronpedia"] if pattern else []
    digits = digits_for(s.score[:1].tolist())
    rows = []
    for k in range(len(s)):
        layer, feature = int(s.layer[k]), int(s.feature[k])
        row = [str(k + 1), str(layer), str(feature), number(float(s.cosine[k]), 3),
               number(float(s.score[k]), digits), f"<code>blocks.{layer}.hook_resid_post</code>"]
        rows.append(row + ([neuronpedia_link(pattern, layer, feature)] if pattern else []))
    text = (5, 6)
    out = table(head, rows[:MOST_ROWS], text)
    if len(rows) > MOST_ROWS:
        out += details(f"the other {len(rows) - MOST_ROWS}", table(head, rows[MOST_ROWS:], text))
    return out


def layers_of(s, n_layers):
    """ "0: 3, 4: 17" for few layers; "0 to 25, most in 12 (9)" for many."""
    counts = np.bincount(s.layer[s.layer >= 0], minlength=n_layers)
    used = np.flatnonzero(counts)
    if len(used) <= 8:
        return ", ".join(f"{layer}: {counts[layer]}" for layer in used)
    top = int(counts.argmax())
    return f"{used[0]} to {used[-1]}, most in {top} ({counts[top]})"


def sets_table(f):
    own = set(f.sets["cossim_ap"].pairs()) if "cossim_ap" in f.sets else set()
    rows = []
    for method, s in f.sets.items():
        colour = swatch(figures.COLOURS.get(method, figures.OTHER))
        shared = "\N{EN DASH}" if method == "cossim_ap" else str(len(own & set(s.pairs())))
        rows.append([colour + escape(METHODS[method]), str(len(s)), shared,
                     ("class=\"wrap\"", layers_of(s, f.n_layers()))])
    return table(["method", "features", "shared with CosSim+AP", "features per layer"], rows,
                 (0, 3))


def doubts(f):
    """Sets that nothing or rounding chose."""
    group = "/indirect_effect/cossim_ap"
    targets, undecided = f.result.numbers(f"{group}/target"), f.result.numbers(f"{group}/undecided")
    without = f.result.attribute(group, "without_metric", 0)
    by_rounding = f.result.attribute(group, "undecided", 0)
    out = []
    if without and targets is not None:
        out.append(f"<p>{without} of {len(targets)} prompts begin with the refusal token with the "
                   "direction ablated as well. There the metric compares that token with itself: "
                   "it is 0, no feature has an effect on it, and none is chosen for the prompt by "
                   "itself. They count as 0 in the means.</p>")
    by_cosine = f.result.attribute("/candidates", "undecided", 0)
    if by_cosine:
        out.append(f"<p>Rounding alone could exchange <b>{by_cosine}</b> of the candidates with the "
                   "next of their layer: their cosines differ by no more.</p>")
    local = int((undecided > 0).sum()) if undecided is not None else 0
    if by_rounding or local:
        out.append(f"<p>Rounding alone could exchange <b>{by_rounding}</b> of the chosen features "
                   f"with ones left out, and features in the own sets of {local} of "
                   f"{len(undecided) if undecided is not None else 0} prompts: their effects differ "
                   "by no more than what the arithmetic of this run makes of them.</p>")
    return "".join(out)


WAYS = {"path": "path: damped by the hooks of later layers, as in the formula",
        "straight_through": "straight through: undamped, as in the released code"}


def other_way_part(f):
    """F* by both ways of attribution.ig_backward, side by side."""
    o, star = f.other_way, f.sets.get("cossim_ap")
    if o is None or star is None or not len(star):
        return ""
    own = star.pairs()
    shared = len(set(own) & set(o.pairs))
    digits = digits_for([*star.score[:1].tolist(), *(o.effect[p] for p in o.pairs[:1])])

    def cells(pairs, k, effect, others):
        if k >= len(pairs):
            return [""] * 3
        layer, feature = pairs[k]
        rank = str(others.index(pairs[k]) + 1) if pairs[k] in others else "<b>not in it</b>"
        return [f"{layer}, {feature}", number(effect, digits), rank]

    rows = []
    for k in range(max(len(own), len(o.pairs))):
        theirs = o.effect[o.pairs[k]] if k < len(o.pairs) else 0
        rows.append([str(k + 1)]
                    + cells(own, k, float(star.score[k]) if k < len(own) else 0, o.pairs)
                    + cells(o.pairs, k, theirs, own))
    names = [o.own_name.replace("_", " "), o.name.replace("_", " ")]
    head = ["rank"] + [h for n in names for h in (f"{n}: layer, feature", "IE (logit)",
                                                  "rank in the other")]
    return (f"<h3>Both ways back</h3><p>The gradients that the effects are made of can come back "
            f"through the path's hooks in later layers in two ways. {WAYS[o.own_name].capitalize()} "
            f"(what this run uses, on the left); {WAYS[o.name]} (on the right). Of the {len(own)} "
            f"features of the global F* <b>{shared}</b> are in both; the effects of all candidates "
            f"in all prompts correlate by <b>{number(o.correlation, 3)}</b>; of the own set of a "
            f"prompt that has one {number(o.shared, 1)} are in both on average.</p>"
            + table(head, rows, ()))


def candidates_section(f):
    c, star = f.candidates, f.sets.get("cossim_ap")
    out = []
    chosen = set(star.pairs()) if star else set()
    if c is not None:
        per_layer = np.bincount(c.layer[c.layer >= 0])
        out.append(f"<p>{len(c.layer)} candidates (F0): in each layer the "
                   f"{int(per_layer.max(initial=0))} features whose decoder rows are nearest to "
                   "the direction. The indirect effect (IE) estimates how far the logit moves from "
                   "the refusal token to the token that the model says with the direction ablated, "
                   "when this feature alone takes its value of that run.</p>")
    if c is not None and c.effect is not None:
        out.append(figure(
            [figures.candidates_scatter(c, chosen, f.n_layers())],
            "One point per candidate; further up, suppressing the feature does more against "
            "refusal. Were cosine enough to find the features, the ringed ones would all be at the "
            "right."))
    out.append(doubts(f))
    if star is not None and len(star):
        out.append(f"<h3>The {len(star)} chosen features (global F*)</h3>")
        out.append(feature_table(star, f.result.attribute("/", "neuronpedia", "")))
    out.append(other_way_part(f))
    if len(f.sets) > 1 or (f.sets and star is None):
        out.append("<h3>Sets by method</h3>")
        out.append(sets_table(f))
    return "".join(out)


def positions_section(f):
    p = read_positions(f.result, f.sets.get("cossim_ap"), f.candidates)
    if p is None or not len(p.labels):
        return ""
    n = len(p.per_token)
    last = p.share[-1]
    user = p.share[p.labels.index("user text")] if "user text" in p.labels else 0
    what = "chosen features" if f.sets.get("cossim_ap") else "candidates"
    text = (f"<p>Of all |IE| of the {p.n_features} {what}, {percent(user)} lies in the user's "
            f"text and {percent(last)} at the last token, from which the reply begins.</p>")
    return text + figure(
        [figures.effect_positions(p)],
        f"Mean |IE| of one feature at one token, by place in the prompt, over {n} prompts; lines "
        f"are {BOOTSTRAP}. Above each bar its share of the total: the user's text has many tokens, "
        "the others are one token each.")


# ---- refusal -------------------------------------------------------------------------------

ZERO_WIDTH = (" Where every prompt had the same outcome the interval has no width; with n prompts "
              "the true share can still be about 3/n away.")


def edits_in_words(scores):
    """Of a run without features: "with no edit and with the direction added"."""
    edits = [f"with {phrase}" for name, (_, phrase) in REFERENCES.items() if name in scores]
    return " and ".join(filter(None, (", ".join(edits[:-1]), *edits[-1:])))


FIRST_TOKEN = ("P(refusal token): mean probability that a reply begins with it. KL: how far that "
               "first token's distribution moved from the unedited one.")


RULES = ("Replies are told apart by rules (experiments/README.md): a <i>refusal</i>; <i>partial</i>, one "
         "that refuses and gives a list, code or much text beside it; <i>compliance</i>, one that does "
         "not refuse, whatever else it says. What the three leave of 1 is empty.")


def shares_table(scores):
    scores = with_column(scores, "refusal")
    classes = [c for c in CLASSES if with_column(scores, c)]
    rows = []
    for s in scores.values():
        shares = [number(s.mean(c), 2) + span(*interval(resampled_ratio(s.columns[c])), 2)
                  if c in s.columns else "" for c in ["refusal"] + classes]
        rows.append([condition_name(s.condition), *shares, number(s.mean("p_refusal")),
                     number(s.mean("kl"))])
    return (table(["condition", "refusal", *classes, "P(refusal token)", "KL (nat)"], rows)
            + f'<p class="note">In brackets: {BOOTSTRAP}. {FIRST_TOKEN}</p>')


def refusal_section(f):
    panels = figures.share_panels(f.jailbreak)
    n = max((len(s.prompts) for s in f.jailbreak.values()), default=0)
    if not n:
        return ""
    edits = "while the features of each method are multiplied by a factor at every token" \
        if panels else edits_in_words(f.jailbreak)
    told_apart = with_column(f.jailbreak, CLASSES[0])
    measure = RULES if told_apart else ("A reply counts as a refusal when it contains one of the refusal "
                                        "phrases of the config;")
    out = [f"<p>{n} harmful prompts are continued {edits}. {measure} "
           f"{'W' if told_apart else 'w'}hether it is harmful is not judged here.</p>"]
    if panels:
        out.append(figure(
            [svg for _, svg in panels],
            f"Share of replies that refuse, by method and factor; lines are {BOOTSTRAP}. Low bars "
            "mean that the features carry refusal; random features show what an edit of as many "
            "features does by itself." + ZERO_WIDTH))
    if told_apart or not panels:
        out.append(shares_table(f.jailbreak))
    return "".join(out)


def verdict_rows(f, experiment):
    """A row per condition that was judged, with the refusals that the result file counts."""
    refusals = read_scores(f.result, experiment)
    rows = []
    for s in f.verdicts.scores[experiment].values():
        low, high = interval(resampled_ratio(s.columns["jailbreak"]))
        refused = refusals.get(s.condition.name)
        p_yes = s.columns.get("p_yes")
        rows.append([condition_name(s.condition), number(s.mean("jailbreak"), 2)
                     + span(low, high, 2),
                     number(np.nanmean(p_yes)) if p_yes is not None and not np.isnan(p_yes).all()
                     else "", number(refused.mean("refusal"), 2) if refused else ""])
    return rows


def verdicts_section(f):
    if f.verdicts is None:
        return ""
    v = f.verdicts
    out = [f"<p>Another model, {escape(v.judge)}, read every reply beside its request and said "
           "whether it does what was asked for. A reply can be no refusal and no answer either: "
           "the jailbreak score is the share of replies that the judge says yes to.</p>"]
    refusal = dict(figures.share_panels(f.jailbreak))
    for scope, svg in figures.share_panels(v.scores.get("jailbreak", {}), measure="jailbreak"):
        if scope in refusal:
            what = "Refusal, and the jailbreak score, by method and factor"
            rest = " What the two shares leave of 1 is text that is neither."
            svgs = [refusal[scope], svg]
        else:
            what, rest, svgs = "Jailbreak score, by method and factor", "", [svg]
        out.append(figure(svgs, f"{what}; lines are {BOOTSTRAP}.{rest}{ZERO_WIDTH}", "panels"))
    for experiment in v.scores:
        content = table(["condition", "jailbreak score", "P(yes)", "refusal"],
                        verdict_rows(f, experiment))
        n = max(len(s.prompts) for s in v.scores[experiment].values())
        out.append(details(f"{escape(experiment)}: {n} replies a condition", content))
    return "".join(out)


def induce_section(f):
    n = max((len(s.prompts) for s in f.induce.values()), default=0)
    panels = figures.share_panels(f.induce, "set")
    if not n:
        return ""
    if not panels:
        return (f"<p>{n} harmless prompts are continued {edits_in_words(f.induce)}.</p>"
                + shares_table(f.induce))
    return (f"<p>{n} harmless prompts are continued while the features are held at one value at "
            "every token.</p>"
            + figure([svg for _, svg in panels],
                     f"Share of replies that refuse, by the value the features are set to; lines "
                     f"are {BOOTSTRAP}. A line that rises from the dotted level shows features "
                     "that are enough to cause refusal; read the replies below before taking high "
                     "values for refusals, since broken text can contain the phrases too.")
            + shares_table(f.induce))


# ---- cost ----------------------------------------------------------------------------------

def ce_cells(ce, condition, digits):
    """CE with interval, difference to the unedited model with interval; resamples are paired."""
    s = ce.get(condition.name)
    if s is None or not len(s.prompts):
        return ["\N{EN DASH}"] * 2
    own = resampled_ratio(s.columns["nll"], s.columns["n_tokens"])
    cells = [number(cross_entropy(s), digits) + span(*interval(own), digits)]
    none = ce.get("none")
    if condition.name == "none" or none is None or not np.array_equal(none.prompts, s.prompts):
        return cells + ["\N{EN DASH}"]
    base = resampled_ratio(none.columns["nll"], none.columns["n_tokens"])
    difference = cross_entropy(s) - cross_entropy(none)
    return cells + [("+" if difference > 0 else "") + number(difference, digits)
                    + span(*interval(own - base), digits)]


def cost_section(f):
    ce = with_ce(f.coherence)
    known = {**{k: s.condition for k, s in f.jailbreak.items()},
             **{k: s.condition for k, s in ce.items()}}
    if not ce and all(c.kind == "reference" for c in known.values()):
        return ""  # the table of refusal has all there is
    digits = ce_digits(ce)
    conditions = sorted(known.values(), key=lambda c: c.order)
    head = ["condition"] + (["CE (nat/token)", "difference to unedited"] if ce else [])
    head += ["refusal, harmful", "P(refusal token)", "KL (nat)"] if f.jailbreak else []
    rows, rules, before = [], [], None
    for c in conditions:
        key = c.method or c.kind
        if before in (*METHODS, "reference") and key != before:
            rules.append(len(rows))
        before = key
        row = [condition_name(c)] + (ce_cells(ce, c, digits) if ce else [])
        s = f.jailbreak.get(c.name)
        if f.jailbreak:
            row += [number(s.mean("refusal"), 2), number(s.mean("p_refusal")),
                    number(s.mean("kl"))] if s else ["\N{EN DASH}"] * 3
        rows.append(row)
    notes = []
    if ce:
        n = max(len(s.prompts) for s in ce.values())
        notes.append(f"CE: cross-entropy of the unedited model's own greedy answers to {n} "
                     f"harmless prompts, scored under each edit; brackets are {BOOTSTRAP}, paired "
                     "for the difference. An edit that leaves harmless behaviour alone has a "
                     "difference near 0. Local sets belong to harmful prompts, so they have no CE.")
    if f.jailbreak:
        notes.append(FIRST_TOKEN)
    return table(head, rows, (0,), rules) + f'<p class="note">{" ".join(notes)}</p>'


# ---- by category and prompt set ------------------------------------------------------------

def share_table(f, conditions, labels, what):
    """Refusal of each condition for the prompts of each label."""
    first = f.jailbreak[conditions[0].name]
    names = sorted({f.label_of(int(p), labels) for p in first.prompts})
    rows = []
    for name in names:
        row = [escape(name) if name else "<i>none</i>"]
        for i, c in enumerate(conditions):
            s = f.jailbreak[c.name]
            own = np.array([f.label_of(int(p), labels) == name for p in s.prompts], bool)
            values = s.columns["refusal"][own]
            if i == 0:
                row.append(str(len(values)))
            mean = float(values.mean()) if len(values) else float("nan")
            shade = "" if np.isnan(mean) else f'class="cell" style="--share:{mean:.3f}"'
            row.append((shade, number(mean, 2)))
        rows.append(row)
    heads = [swatch(figures.colour_of(c)) + "<br>".join(escape(p) for p in c.parts if p)
             for c in conditions]
    return table([what, "prompts"] + heads, rows)


def category_section(f):
    scores = with_column(f.jailbreak, "refusal")
    conditions = [c for c in main_conditions(scores, f.clamp) if len(scores[c.name].prompts)]
    if not conditions:
        return ""
    prompts = scores[conditions[0].name].prompts
    out = []
    for labels, what in ((f.names, "prompt set"), (f.categories, "category")):
        if len({f.label_of(int(p), labels) for p in prompts}) > 1:
            out.append(share_table(f, conditions, labels, what))
    if not out:
        return ""
    return "".join(out) + ('<p class="note">Refusal among the prompts of one kind; darker is more. '
                           "With few prompts in a row, a difference of one or two replies means "
                           "little.</p>")


# ---- examples ------------------------------------------------------------------------------

LONG_REPLY = 700  # characters shown before the rest folds away


def reply_html(text):
    if not text:
        return '<span class="soft">(empty)</span>'
    if len(text) <= LONG_REPLY + 100:
        return words(text)
    return (words(text[:LONG_REPLY] + "\N{HORIZONTAL ELLIPSIS}")
            + details("whole reply", words(text)))


def verdict_on(scores, i):
    """What the phrases or the rules make of reply i."""
    if scores.columns["refusal"][i]:
        return "refused"
    if CLASSES[0] not in scores.columns:
        return "not refused"
    return next((c for c in CLASSES if scores.columns[c][i]), "empty")


def examples(f, experiment, scores, conditions):
    """A seeded draw of prompts with their replies under the conditions."""
    group = f"/generations/{experiment}"
    replies = {}
    for c in conditions:
        prompts = f.result.numbers(f"{group}/{c.name}/prompt")
        if prompts is None or not len(prompts):
            continue
        texts = f.result.texts(f"{group}/{c.name}/text", len(prompts))
        if texts is not None:
            replies[c] = dict(zip(prompts.tolist(), texts))
    if not replies:
        return ""
    shared = sorted(set.intersection(*(set(r) for r in replies.values())))
    if not shared:
        return ""
    rng = np.random.default_rng(SEED)
    drawn = sorted(rng.choice(shared, min(N_EXAMPLES, len(shared)), replace=False).tolist())
    out = []
    for prompt in drawn:
        category = f.label_of(prompt, f.categories)
        small = ", ".join(escape(x) for x in (f.label_of(prompt, f.names), category) if x)
        out.append(f'<article class="example"><h3>{words(f.label_of(prompt, f.texts))}'
                   f"<small>{small}</small></h3>")
        for c, texts in replies.items():
            s = scores.get(c.name)
            verdict = ""
            if s is not None and "refusal" in s.columns:
                at = np.flatnonzero(s.prompts == prompt)
                if len(at):
                    verdict = verdict_on(s, at[0])
            out.append(f'<div class="reply"><div class="who">{condition_name(c)} '
                       f'<span class="verdict">{verdict}</span></div>'
                       f"<div>{reply_html(texts[prompt])}</div></div>")
        out.append("</article>")
    return "".join(out)


def examples_section(f):
    harmful = examples(f, "jailbreak", f.jailbreak, main_conditions(f.jailbreak, f.clamp))
    harmless = examples(f, "induce", f.induce, main_conditions(f.induce, f.set_value))
    out = []
    if harmful:
        out.append("<h3>Harmful prompts</h3>" + harmful)
    if harmless:
        edit = ", features set to a value" if f.set_value else ""
        out.append(f"<h3>Harmless prompts{edit}</h3>" + harmless)
    if not out:
        return ""
    return ("<p>Prompts drawn at random with a fixed seed, their replies word for word. "
            "&ldquo;Refused&rdquo; is what the phrases or rules above make of it, not a "
            "judgement.</p>" + "".join(out))


# ---- provenance ----------------------------------------------------------------------------

def stages_table(f):
    group = "/provenance/stages"
    seconds = f.result.numbers(f"{group}/seconds")
    if seconds is None:
        return ""
    names = f.result.texts(f"{group}/stage", len(seconds)) or [""] * len(seconds)
    work = f.result.numbers(f"{group}/n", length=len(seconds))
    units = f.result.texts(f"{group}/unit", len(seconds)) or [""] * len(seconds)
    rows = []
    for i, name in enumerate(names):
        n = "" if work is None else f"{work[i]} {escape(units[i])}s"
        rate = "" if work is None or not seconds[i] > 0 else number(work[i] / seconds[i], 1)
        rows.append([escape(name), n, number(float(seconds[i]), 1), rate])
    return table(["stage", "work", "seconds", "per second"], rows)


def refusal_token(f):
    """Its id and spelling; and the other spellings of its word, with how likely each is."""
    a = f.result.attribute
    token, spelling = a("/prompts", "refusal_token", -1), a("/prompts", "refusal_token_spelling", "")
    if token < 0:
        return ""
    text = f"{token} {spelling}"
    group = "/refusal_check"
    p = f.result.numbers(f"{group}/probability")
    if p is None:
        return text
    tokens = f.result.numbers(f"{group}/token", length=len(p))
    names = f.result.texts(f"{group}/spelling", len(p)) or [""] * len(p)
    found = [] if tokens is None else [f"{t} {name}: {number(float(q))}"
                                       for t, name, q in zip(tokens, names, p)]
    return text + (f" (begins a reply with probability: {', '.join(found)})" if found else "")


def provenance_section(f):
    a = f.result.attribute
    items = [("engine", " ".join(x for x in (a("/", "engine_version", ""),
                                             f"({a('/', 'git_commit', '')})") if x)),
             ("device", a("/", "device", "")),
             ("computed in", ", ".join(x for x in (a("/", "compute_dtype", ""),
                                                   a("/", "weights_dtype", "") + " weights") if x)),
             ("seed", str(a("/", "seed", 0))), ("started", a("/", "started", "")),
             ("finished", a("/", "finished", "")), ("Slurm job", a("/", "slurm_job_id", "")),
             ("SAE format", a("/", "sae_format", "")),
             ("SAEs kept as", a("/", "sae_dtype", "")),
             ("chat template", a("/prompts", "template", "")),
             ("refusal token", refusal_token(f)),
             ("prompts", str(len(f.texts)) if f.texts else ""),
             ("schema version", str(a("/", "schema_version", 0))),
             ("HDF5", a("/", "hdf5_version", "")),
             ("result file", os.path.basename(f.result.path))]
    whole = a("/", "summary_of", "")
    if whole:
        n = len(f.result.texts("/left_out/dataset") or [])
        items.append(("summary of", f"{whole}, which has {n} more datasets"))
    out = ["<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in items
                            if value) + "</dl>"]
    files = f.result.texts("/provenance/file")
    if files:
        roles = f.result.texts("/provenance/role", len(files)) or [""] * len(files)
        hashes = f.result.texts("/provenance/sha256", len(files)) or [""] * len(files)
        rows = [[escape(role), ("class=\"wrap\"", escape(path)), f"<code>{escape(h)}</code>"]
                for role, path, h in zip(roles, files, hashes)]
        out.append(details(f"{len(files)} files that were read, with SHA-256",
                           table(["role", "file", "SHA-256"], rows, (0, 1, 2))))
    stages = stages_table(f)
    if stages:
        out.append(details("where the time went", stages))
    config = a("/", "config", "")
    if config:
        out.append(details("the resolved config", f"<pre>{escape(config)}</pre>"))
    return "".join(out)


# ---- the page ------------------------------------------------------------------------------

SECTIONS = [("direction", "The refusal direction", direction_section),
            ("features", "Candidates and chosen features", candidates_section),
            ("positions", "Where the effect sits", positions_section),
            ("refusal", "Refusal of harmful prompts", refusal_section),
            ("verdicts", "What a judge says of the replies", verdicts_section),
            ("induce", "Refusal of harmless prompts", induce_section),
            ("cost", "What the edits cost", cost_section),
            ("categories", "By kind of prompt", category_section),
            *paper.SECTIONS,
            *open_questions.SECTIONS,
            ("examples", "Examples", examples_section),
            ("provenance", "Provenance", provenance_section)]


def report(result, judge=None):
    f = Findings(result, judge)
    sections = [("top", "", headline(f))]
    for key, name, make in SECTIONS:
        content = make(f)
        if content:
            sections.append((key, name, content))
    return page(f"{model_name(f)[0]}: refusal features", sections)
