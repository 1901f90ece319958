# SPDX-License-Identifier: MIT
"""Joins the points of a sweep over K* and c: one table, and the trade-off curve.

    python3 -m saengine.sweep --csv sweep.csv --plot sweep.png results/sweep_gemma_ap/k*_c*.h5

Each file is a run of jailbreak and coherence from one attribution (slurm/sweep_kstar.sh). The table
has a line per point: k_star, c, refusal (share of replies that are refusals), refusal_unedited, ce
(cross-entropy of the unedited answers under the clamp, nats per token), ce_unedited. The plot has
CE against refusal, a line per K*; the knee, the point nearest to no refusal at no cost, with both
axes scaled to the range of the sweep, is marked.

Exit status 1 when a file is missing or incomplete, or when points were not made alike: by another
engine, another arithmetic (kind of processor), from other files, or with other settings than the
point's own. All of them are named.
Needs h5py, numpy; matplotlib for --plot.
"""
import argparse
import csv
import re
import sys

import h5py
import numpy as np


def text_of(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def setting(config, key):
    """A number of the resolved config's text, at its top level or in its group."""
    group, _, name = key.rpartition(".")
    if group:
        config = re.search(rf"^{group} = \{{\n(.*?)^\}};", config, re.M | re.S)[1]
    return re.search(rf"^\s*{name} = \[?([-+.0-9e]+)", config, re.M)[1]


def mean(f, path):
    return float(np.mean(f[path][...]))


def cross_entropy(f, condition):
    g = f[f"scores/coherence/{condition}"]
    return float(g["nll"][...].sum() / g["n_tokens"][...].sum())


# Settings in which points differ, or that bear on no result.
OWN = {"output", "from_k_star", "clamp.scale", "device", "threads", "profile", "memory_gb",
       "sae.budget_gb"}


def settings(config):
    """{key: value} of the resolved config's text."""
    group, found = "", {}
    for line in config.splitlines():
        opened = re.fullmatch(r"(\w+(?:\.\w+)*) = \{", line)
        if opened:
            group = opened[1] + "."
        elif line == "};":
            group = ""
        elif " = " in line:
            key, value = line.strip().split(" = ", 1)
            found[group + key] = value.rstrip(";")
    return {k: v for k, v in found.items() if k not in OWN and not k.startswith(("store.", "ranks."))}


def made_with(f):
    """What all points of a sweep must have alike."""
    attributes = {a: text_of(f.attrs.get(a, "unknown")) for a in ("engine_version", "git_commit", "arithmetic")}
    files = {f"SHA-256 of {text_of(path)}": text_of(digest) for path, digest in
             zip(f["provenance/file"][...], f["provenance/sha256"][...])}
    return attributes | settings(text_of(f.attrs["config"])) | files


def point(path, method):
    with h5py.File(path) as f:
        if "finished" not in f.attrs:
            raise OSError("its run did not end")
        config = text_of(f.attrs["config"])
        k_star, c = int(setting(config, "from_k_star")), float(setting(config, "clamp.scale"))
        clamp = f"{method}_global_x{c:g}"
        return made_with(f), {
            "k_star": k_star, "c": c, "refusal": mean(f, f"scores/jailbreak/{clamp}/refusal"),
            "refusal_unedited": mean(f, "scores/jailbreak/none/refusal"),
            "ce": cross_entropy(f, clamp), "ce_unedited": cross_entropy(f, "none")}


def read_points(paths, method):
    points, faults, others, first = [], [], [], None
    for path in paths:
        try:
            made, values = point(path, method)
        except (OSError, KeyError, TypeError) as e:
            faults.append(f"{path}: {e}")
            continue
        first = first or made
        points.append(values)
        others += [f"{path}: {k}: {made.get(k)}, in the first point {first.get(k)}"
                   for k in first | made if made.get(k) != first.get(k)]
    if faults:
        sys.exit("\n".join(faults + [f"{len(faults)} of {len(paths)} points are missing"]))
    if others:
        sys.exit("\n".join(others + ["these points were not made alike: remove the odd ones and run "
                                     "the sweep again"]))
    return sorted(points, key=lambda p: (p["k_star"], -p["c"]))


def knee(points):
    """The point nearest to the corner of least refusal and least cost."""
    axes = []
    for name in ("refusal", "ce"):
        v = np.array([p[name] for p in points])
        axes.append((v - v.min()) / (v.max() - v.min() or 1))
    return points[int(np.argmin(np.hypot(*axes)))]


def plot(points, best, path):
    try:
        import matplotlib
    except ImportError:
        sys.exit(f"{path} was not drawn: that needs matplotlib (Debian: python3-matplotlib)")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for k_star in sorted({p["k_star"] for p in points}):
        line = [p for p in points if p["k_star"] == k_star]
        ax.plot([p["refusal"] for p in line], [p["ce"] for p in line], "o-", label=f"K* = {k_star}")
        for p in line:
            ax.annotate(f"{p['c']:g}", (p["refusal"], p["ce"]), textcoords="offset points",
                        xytext=(4, 4), fontsize=7)
    ax.plot(points[0]["refusal_unedited"], points[0]["ce_unedited"], "k*", markersize=10,
            label="unedited")
    ax.plot(best["refusal"], best["ce"], "o", markersize=14, markerfacecolor="none",
            markeredgecolor="k", label=f"knee: K* = {best['k_star']}, c = {best['c']:g}")
    ax.set_xlabel("refusal (share of replies, harmful prompts)")
    ax.set_ylabel("cross-entropy (nats per token, harmless prompts)")
    ax.legend(fontsize=8)
    fig.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(prog="python3 -m saengine.sweep",
                                     description="Joins the points of a sweep over K* and c.")
    parser.add_argument("files", nargs="+", help="result files, one a point")
    parser.add_argument("--method", default="cossim_ap")
    parser.add_argument("--csv", help="table to write")
    parser.add_argument("--plot", help="figure to write")
    arguments = parser.parse_args()
    points = read_points(arguments.files, arguments.method)
    best = knee(points)
    if arguments.csv:
        with open(arguments.csv, "w", newline="", encoding="utf-8") as f:
            table = csv.DictWriter(f, points[0])
            table.writeheader()
            table.writerows(points)
    if arguments.plot:
        plot(points, best, arguments.plot)
    for p in points:
        print(f"K* {p['k_star']:4d}  c {p['c']:6g}  refusal {p['refusal']:.3f}  CE {p['ce']:.4f}"
              + ("  <- knee" if p is best else ""))


if __name__ == "__main__":
    main()
