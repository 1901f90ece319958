# SPDX-License-Identifier: MIT
"""The figures of the report, as SVG text to put into the page.

One palette throughout: a method keeps its colour, and in line plots its marker as well. The
colours are Okabe and Ito's, told apart with every common kind of colour blindness. Sizes are
those on the page: an inch is 96 CSS pixels. Needs matplotlib 3.6 (Debian 12).
"""
import io
import re
import warnings

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .data import METHODS, SCOPES, interval, number_label, resampled_ratio, with_column
from .page import percent

INK, SOFT, GRID = "#1b1f24", "#57606a", "#d8dee4"
COLOURS = {"none": "#333333", "ablate_direction": "#E69F00", "add_direction": "#8A5A00",
           "cossim_ap": "#0072B2", "ap": "#D55E00", "cossim": "#009E73", "actdiff": "#CC79A7",
           "random": "#8c8c8c"}
MARKERS = {"cossim_ap": "o", "ap": "s", "cossim": "^", "actdiff": "D", "random": "X"}
OTHER = "#56B4E9"  # a method that this version does not know

# Dark to light, without viridis' last yellow, which vanishes on white.
LAYERS = LinearSegmentedColormap.from_list("layers", ["#35063e", "#3b518b", "#21908c", "#5dc963",
                                                      "#d9c400"])

STYLE = {
    "svg.fonttype": "none",        # text stays text: it can be searched and read aloud
    "svg.hashsalt": "saengine",    # the same file gives the same page
    "font.family": "DejaVu Sans", "font.size": 9.5,
    "axes.labelsize": 9.5, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.edgecolor": SOFT, "axes.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.linewidth": 0.8, "axes.unicode_minus": True,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "xtick.color": SOFT, "ytick.color": SOFT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "grid.color": GRID, "grid.linewidth": 0.7, "legend.frameon": False, "legend.fontsize": 9,
    "text.color": INK, "figure.dpi": 96,
}

# What readers' machines have, all narrower than the font the layout is made with.
FONTS = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"

_n_figures = 0


def styled(draw):
    """`draw` returns a Figure and its description; the function made of it returns SVG text."""
    def run(*args, **keywords):
        return drawn(draw, args, keywords)
    return run


def drawn(draw, args, keywords):
    """Every figure passes here; it is a function of its arguments."""
    with rc_context(STYLE):
        return to_svg(*draw(*args, **keywords))


def to_svg(figure, description):
    """The figure as an <svg> element: no prolog, metadata, or names that clash between figures."""
    global _n_figures
    _n_figures += 1
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The layout font need not have every character; the reader's fonts draw the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None,
                                                       "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(?<=\bid=")|(?<=href="#)|(?<=url\(#)', f"f{_n_figures}-", text)
    text = re.sub(r"(font: [^;\"]*?px) [^;\"]+", r"\1 " + FONTS, text)
    width, height = (x * 96 for x in figure.get_size_inches())
    text = re.sub(r'(<svg [^>]*?)height="[^"]*"', rf'\1height="{height:.0f}"', text, 1)
    text = re.sub(r'(<svg [^>]*?)width="[^"]*"', rf'\1width="{width:.0f}"', text, 1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{description}" '
                        f'style="--least:{0.75 * width:.0f}px" ', 1)


def new_figure(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def method_name(method):
    return METHODS.get(method) or plain(method)


def colour_of(condition):
    return COLOURS.get(condition.method or condition.name, OTHER)


def plain(label, most=22):
    """The file's text as a label: short, printable, and with nothing that matplotlib would take
    for mathematics."""
    label = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in label)
    if len(label) > most:
        label = label[:most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return label.replace("$", r"\$")


def refusal_axis(axes):
    axes.set_ylim(0, 1.03)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(axis="y")


def layer_axis(axes, n_layers):
    axes.set_xlabel("layer")
    axes.set_xlim(-0.5, n_layers - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=12))


# ---- direction -----------------------------------------------------------------------------

def by_layer(axes, values, direction):
    """A line per position, the chosen one in front and, if it has company, named."""
    chosen_position, chosen_layer = direction.chosen
    layers = np.arange(values.shape[1])
    for p in range(values.shape[0]):
        if p != chosen_position:
            axes.plot(layers, values[p], color="#9fb6c7", linewidth=1, marker=".", markersize=4,
                      label="other positions" if p == (chosen_position == 0) else None)
    axes.plot(layers, values[chosen_position], color=COLOURS["cossim_ap"], linewidth=1.8,
              marker="o", markersize=4,
              label=f"position {number_label(direction.positions[chosen_position])}")
    axes.plot(chosen_layer, values[direction.chosen], linestyle="none", marker="o", markersize=11,
              markerfacecolor="none", markeredgecolor=COLOURS["ap"], markeredgewidth=2,
              label=f"chosen: layer {chosen_layer}")
    layer_axis(axes, values.shape[1])
    axes.grid(axis="y")


@styled
def direction_norm(direction):
    figure, axes = new_figure(5, 3)
    by_layer(axes, direction.norms(), direction)
    axes.set_title("Length of v by layer")
    axes.set_ylabel("|v|")
    axes.set_ylim(0, None)
    axes.legend()
    return figure, "length of the direction by layer"


@styled
def direction_cosine(direction):
    figure, axes = new_figure(5, 3)
    by_layer(axes, direction.cosines(), direction)
    axes.set_title("Cosine with the chosen v")
    axes.set_ylabel("cosine")
    axes.axhline(0, color=SOFT, linewidth=0.8)
    return figure, "cosine of each layer's direction with the chosen one"


SELECTION = {
    "ablated": ("v ablated, harmful prompts", "log-odds of refusing", None),
    "added": ("v added, harmless prompts", "log-odds of refusing", 0),
    "kl": ("v ablated, harmless prompts", "KL (nat)", 0.1),
}


@styled
def selection_score(direction, name):
    title, unit, limit = SELECTION[name]
    figure, axes = new_figure(3.6, 2.9)
    values = direction.scores[name]
    n_layers = values.shape[1]
    by_layer(axes, values, direction)
    axes.set_title(title)
    axes.set_ylabel(unit)
    # The rule of host: never in the last fifth (5 layer >= 4 n_layers).
    excluded = -(-4 * n_layers // 5)
    axes.axvspan(excluded - 0.5, n_layers - 0.5, color=GRID, alpha=0.5, linewidth=0,
                 label="not eligible")
    if limit is not None:
        axes.axhline(limit, color=COLOURS["ap"], linewidth=1.1, linestyle=(0, (4, 3)),
                     label="limit")
    if name == "kl":
        # Exact below the limit, where the choice is made; compressed above, where it is lost.
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(0, max(0.2, np.nanmax(values) * 1.2))
        ticks = [0, 0.02, 0.04, 0.06, 0.08, 0.1, 1, 10]
        axes.set_yticks([t for t in ticks if t <= axes.get_ylim()[1]])
        axes.set_yticklabels([number_label(t) for t in axes.get_yticks()])
    return figure, f"{title}: {unit} by layer"


@styled
def selection_legend(direction):
    """One legend for the three panels, which are too small for their own."""
    figure = Figure(figsize=(9, 0.35))
    axes = figure.add_axes([0, 0, 1, 1])
    by_layer(axes, direction.norms(), direction)
    axes.axvspan(0, 1, color=GRID, alpha=0.5, linewidth=0, label="not eligible: last fifth")
    axes.axhline(0, color=COLOURS["ap"], linewidth=1.1, linestyle=(0, (4, 3)), label="limit")
    handles, labels = axes.get_legend_handles_labels()
    axes.remove()
    figure.legend(handles, labels, loc="center left", ncol=len(labels))
    return figure, "legend"


# ---- candidates and positions --------------------------------------------------------------

MANY_POINTS = 4000  # beyond, the points become a picture: that many SVG elements stall browsers


@styled
def candidates_scatter(candidates, chosen, n_layers):
    figure, axes = new_figure(7.6, 4.6)
    many = len(candidates.layer) > MANY_POINTS
    norm = Normalize(0, max(n_layers - 1, 1))
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.scatter(candidates.cosine, candidates.effect, c=LAYERS(norm(candidates.layer)), s=26,
                 linewidths=0, alpha=0.85, rasterized=many, zorder=2)
    star = np.array([pair in chosen for pair in candidates.pairs()], bool)
    if star.any():
        axes.scatter(candidates.cosine[star], candidates.effect[star], s=70, facecolors="none",
                     edgecolors=INK, linewidths=1.3, rasterized=many, zorder=3,
                     label=f"F*: the {star.sum()} chosen")
        axes.legend(loc="upper left")
    axes.set_xlabel("cosine of the decoder row with the direction")
    axes.set_ylabel("mean indirect effect (logit)")
    axes.grid()
    bar = figure.colorbar(ScalarMappable(norm, LAYERS), ax=axes, label="layer", aspect=30,
                          pad=0.02)
    bar.locator = MaxNLocator(integer=True, min_n_ticks=1, nbins=10)
    bar.update_ticks()
    bar.outline.set_visible(False)
    return figure, "mean indirect effect of each candidate against its cosine"


@styled
def effect_positions(positions):
    figure, axes = new_figure(max(5, 1.6 + 0.95 * len(positions.labels)), 3.4)
    x = np.arange(len(positions.labels))
    mean = positions.per_token.mean(axis=0)
    low, high = interval(resampled_ratio(positions.per_token))
    axes.bar(x, mean, width=0.66, color=COLOURS["cossim_ap"])
    axes.errorbar(x, mean, yerr=[mean - low, high - mean], fmt="none", ecolor=INK, elinewidth=1.1,
                  capsize=2.5)
    for i in x:
        axes.annotate(percent(positions.share[i]), (i, max(high[i], mean[i])),
                      xytext=(0, 3), textcoords="offset points", ha="center", va="bottom",
                      fontsize=9, color=SOFT)
    last = len(x) - 1
    names = [plain(label) for label in positions.labels]
    # Special tokens are long words: they break where they may, or take every other line.
    names = [name.replace("_of_", "_of_\n").replace("header_", "header_\n") for name in names]
    names[last] += "\n(last token)" if last > 0 else ""
    axes.set_xticks(x)
    axes.set_xticklabels(names, fontsize=8.5)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("mean |IE| of a feature\nat a token (logit)")
    axes.margins(y=0.12)
    axes.grid(axis="y")
    return figure, "mean absolute indirect effect by place in the prompt"


# ---- refusal, or a judge's verdict, under conditions ----------------------------------------

# Columns of 0 and 1 over replies, and what their mean is called.
MEASURES = {"refusal": "refusal", "jailbreak": "jailbreak score"}


def share_interval(scores, measure):
    low, high = interval(resampled_ratio(scores.columns[measure]))
    return scores.mean(measure), low, high


def conditions_of(scores, kind, measure, scope=""):
    return [s for s in with_column(scores, measure).values()
            if s.condition.kind == kind and s.condition.scope == scope and len(s.prompts)]


def reference_lines(axes, scores, measure):
    """The conditions without features across the panel; their values in the legend."""
    styles = {"none": (0, (1, 1.5)), "ablate_direction": (0, (5, 2)),
              "add_direction": (0, (5, 2, 1, 2))}
    for s in conditions_of(scores, "reference", measure):
        axes.axhline(s.mean(measure), color=colour_of(s.condition), linewidth=1.6,
                     linestyle=styles[s.condition.name], zorder=1, clip_on=False,
                     label=f"{s.condition.label}: {s.mean(measure):.2f}")


MOST_BARS = 30      # of a panel; more values than that are read better as lines
MOST_NUMBERED = 14  # bars with their value written above


def share_panels(scores, kind="scale", measure="refusal"):
    """One figure per scope: (scope, svg)."""
    panels = []
    # One decision for both panels, so that they look alike.
    most = max(len(conditions_of(scores, kind, measure, scope)) for scope in SCOPES)
    bars = kind == "scale" and most <= MOST_BARS
    for scope in SCOPES:
        clamps = conditions_of(scores, kind, measure, scope)
        if clamps:
            draw = share_bars if bars else share_lines
            panels.append((scope, draw(scores, clamps, scope, most, measure)))
    return panels


SCOPE_TITLES = {"global": "Global sets: the same features for every prompt",
                "local": "Local sets: each prompt's own features"}


@styled
def share_bars(scores, clamps, scope, most, measure):
    methods = list(dict.fromkeys(s.condition.method for s in clamps))
    values = sorted({s.condition.value for s in clamps}, key=abs)
    first = conditions_of(scores, "reference", measure)
    n_bars = len(clamps) + len(first)
    numbered = most <= MOST_NUMBERED
    bar = 0.42 if numbered else 0.27
    figure, axes = new_figure(max(4.6, 1.2 + bar * (n_bars + 1.2 * len(values))), 3.4)

    x, ticks, names, seen = 0.0, [], [], set()
    groups = [first] + [[s for s in clamps if s.condition.value == v] for v in values]
    for group in [g for g in groups if g]:
        start = x
        for s in group:
            mean, low, high = share_interval(s, measure)
            c = s.condition
            label = method_name(c.method) or c.label
            axes.bar(x, mean, width=0.86, color=colour_of(c),
                     label=None if label in seen else label)
            seen.add(label)
            if c.name == "none":  # a dark bar: the line needs an edge to be seen
                axes.plot([x, x], [low, high], color="white", linewidth=3, solid_capstyle="butt")
            axes.plot([x, x], [low, high], color=INK, linewidth=1.2, solid_capstyle="butt")
            if numbered:
                axes.annotate(f"{mean:.2f}", (x, max(mean, high)), xytext=(0, 2.5),
                              textcoords="offset points", ha="center", va="bottom", fontsize=8,
                              color=SOFT)
            x += 1
        ticks.append((start + x - 1) / 2)
        names.append("no clamp" if group is first else
                     "features " + group[0].condition.operation)
        x += 0.9
    refusal_axis(axes)
    axes.set_ylim(0, 1.12 if numbered else 1.03)
    axes.set_ylabel(f"{MEASURES[measure]} (share of replies)")
    axes.set_xlim(-0.8, x - 1.1)
    axes.set_xticks(ticks)
    axes.set_xticklabels(names)
    axes.tick_params(axis="x", length=0)
    axes.set_title(SCOPE_TITLES[scope], pad=26)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.995), ncol=len(methods) + len(first),
                columnspacing=1.2, handlelength=1.1, handletextpad=0.5, borderaxespad=0.2)
    return figure, f"{MEASURES[measure]} by method and factor, {scope} sets"


@styled
def share_lines(scores, clamps, scope, _, measure):
    figure, axes = new_figure(7.6, 3.9)
    methods = list(dict.fromkeys(s.condition.method for s in clamps))
    values = sorted({s.condition.value for s in clamps})
    gap = min(np.diff(values), default=1)
    reference_lines(axes, scores, measure)
    for i, method in enumerate(methods):
        own = sorted((s for s in clamps if s.condition.method == method),
                     key=lambda s: s.condition.value)
        # Side by side, so that no method hides another's interval.
        x = [s.condition.value + 0.06 * gap * (i - (len(methods) - 1) / 2) for s in own]
        mean, low, high = np.array([share_interval(s, measure) for s in own]).T
        axes.errorbar(x, mean, yerr=[mean - low, high - mean], color=COLOURS.get(method, OTHER),
                      marker=MARKERS.get(method, "v"), markersize=6, linewidth=1.6, elinewidth=1.1,
                      capsize=2, label=method_name(method), zorder=3, clip_on=False)
    refusal_axis(axes)
    axes.set_ylabel(f"{MEASURES[measure]} (share of replies)")
    kind = clamps[0].condition.kind
    axes.set_xlabel("factor c of the clamp f \N{RIGHTWARDS ARROW} c f" if kind == "scale" else
                    "value v of the clamp f \N{RIGHTWARDS ARROW} v")
    if len(values) <= 12:
        axes.set_xticks(values)
        axes.set_xticklabels([number_label(v) for v in values])
    axes.margins(x=0.06)
    axes.set_title(SCOPE_TITLES[scope] if kind == "scale" else "", pad=8)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0)
    return figure, f"{MEASURES[measure]} by method and value, {scope} sets"
