#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tests/golden/open: the experiments on open questions on a few prompts, literally in float64.

    python3 tests/golden/make_open.py         (a few minutes; in the repository's root)

Uses the prompt files of tests/golden/paper and writes golden.npz. As in make_paper.py every number
comes from tools/literal_torch.py: hooks, full SAE encode and decode, autograd through the SAE; the
random sets are the engine's. tests/test_open.py compares.
"""
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from make_paper import Lab, Random, random_set, ROOT, SEED
from literal_torch import ablation, load_saes, top_global

HERE = Path(__file__).parent
LAYER, K0, K_STAR, C = 3, 4, 6, -1.0
N = 6


class World:
    """The lab, its direction, the prompts, and what the unedited and the ablated run leave."""

    def __init__(self, lab, harmful, harmless):
        self.lab, self.prompts, self.harmless = lab, harmful[:N], harmless[:N]
        self.v_all = lab.direction(harmful, harmless)
        self.v = self.v_all[LAYER]
        self.ids, self.mask = lab.batch(self.prompts)
        self.body = lab.body_mask(self.mask)
        with torch.no_grad():
            last, after = self.run(self.ablate_layers(range(lab.n_layers)))
            self.j = last.argmax(-1)
            self.m, clean = self.metric(None, keep=True)
        self.x_clean, self.x_patch = clean, after
        self.f_clean = [s.encode(x) for s, x in zip(lab.saes, clean)]
        self.f_patch = [s.encode(x) for s, x in zip(lab.saes, after)]

    def ablate_layers(self, layers):
        cut = ablation(self.v)
        return lambda layer, x: cut(layer, x) if layer in layers else x

    def run(self, edit):
        logits, residuals = self.lab.forward(self.ids, self.mask, edit, keep=True)
        return logits[:, -1], residuals

    def metric(self, edit, keep=False):
        last, residuals = self.run(edit)
        m = last.gather(1, self.j[:, None])[:, 0] - last[:, self.lab.refusal_id]
        return (m, residuals) if keep else m

    def change(self, **clamp):
        return (self.lab.run(self.prompts, j=self.j, **clamp)["metric"] - self.m).numpy()

    def body_mean(self, features, values):
        """Mean over the body's tokens of some features of per-layer [n, T, d_sae]: [n, features]."""
        weight = self.body.double() / self.body.sum(1, keepdim=True)
        return torch.stack([(values[l][..., i] * weight).sum(1) for l, i in features], 1).numpy()


# ---- exact_patching ------------------------------------------------------------------------

def on_path(w, a, layers, body_only, shift=None):
    """The published hook at point a, mixing some layers; `shift` = (layer, feature, values) is added
    to that feature behind the prefix. Returns the edit and the features it used."""
    used = [None] * w.lab.n_layers

    def mix(layer, x):
        if layer not in layers:
            return x
        sae = w.lab.saes[layer]
        f = sae.encode(x)
        eps = x - sae.decode(f)
        weight = torch.full_like(eps[..., :1], a)
        if body_only:
            weight = weight * w.body[..., None]
        f = (1 - weight) * f + weight * w.f_patch[layer]
        eps_patch = w.x_patch[layer] - sae.decode(w.f_patch[layer])
        if shift and shift[0] == layer:
            f = f.clone()
            f[..., shift[1]] += shift[2] * w.body
        if not f.requires_grad and torch.is_grad_enabled():
            f.requires_grad_()
        if torch.is_grad_enabled():
            f.retain_grad()
        used[layer] = f
        return sae.decode(f) + (1 - weight) * eps + weight * eps_patch
    return mix, used


def estimate(w, candidates, path, rule, steps):
    shift, columns = (0.5 if rule == "midpoint" else 0.0), np.zeros((N, len(candidates)))
    groups = [range(w.lab.n_layers)] if path == "joint" else [[layer] for layer in range(w.lab.n_layers)]
    for layers in groups:
        gradient = {}
        for k in range(steps):
            edit, used = on_path(w, (k + shift) / steps, layers, path == "single")
            w.metric(edit).sum().backward()
            for layer in layers:
                gradient[layer] = gradient.get(layer, 0) + used[layer].grad / steps
        for column, (layer, i) in enumerate(candidates):
            if layer in layers:
                effect = (w.f_patch[layer][..., i] - w.f_clean[layer][..., i]) * gradient[layer][..., i]
                columns[:, column] = (effect * w.body).sum(1).numpy()
    return columns


def exact_patching(w, golden, candidates):
    patched = [torch.where(w.body[..., None], p, c) for p, c in zip(w.f_patch, w.f_clean)]
    alone = np.stack([w.change(retained=[f], recorded=patched) for f in candidates], 1)
    in_path = np.zeros_like(alone)
    with torch.no_grad():
        for column, (layer, i) in enumerate(candidates):
            for a in (0.25, 0.75):
                change = w.f_patch[layer][..., i] - w.f_clean[layer][..., i]
                for sign, by in ((1, 1 - a), (-1, -a)):
                    edit, _ = on_path(w, a, range(w.lab.n_layers), False, (layer, i, by * change))
                    in_path[:, column] += sign * w.metric(edit).numpy() / 2
    golden["exact_patching/effect"] = np.stack([alone, in_path])
    golden["exact_patching/approximation"] = np.stack(
        [estimate(w, candidates, path, rule, steps) for path in ("joint", "single") for rule in ("left", "midpoint")
         for steps in (1, 3)])


# ---- low_cosine ----------------------------------------------------------------------------

def low_cosine(w, golden, candidates, effect, alive):
    cosines = w.lab.cosines(w.v)
    every = [(l, i) for l, i in np.argwhere(effect.numpy() != 0).tolist()]
    inside = top_global(effect, K_STAR, candidates)
    outside = top_global(effect, K_STAR, [f for f in every if f not in candidates])
    low = top_global(effect, K_STAR, [f for f in every if f not in candidates and abs(cosines[f]) <= 0.05])
    drawn = random_set(outside, low + inside, alive, SEED)
    golden["low_cosine/effect"], golden["low_cosine/cosine"] = effect.numpy(), cosines.numpy()
    replies = w.lab.generate(w.harmless, max_new_tokens=48)
    for name, features in (("inside", inside), ("outside", outside), ("low", low), ("both", inside + outside),
                           ("random0", drawn)):
        condition = f"{name}_global_x-1"
        golden[f"scores/low_cosine/{condition}/p_refusal"] = \
            w.lab.run(w.prompts, clamped=features, scale=C)["p_refusal"].numpy()
        golden[f"ce/low_cosine_ce/{condition}"] = np.array(w.lab.answer_ce(w.harmless, replies, w.lab.clamp(features, C)))
    for name, features in (("inside", inside), ("outside", outside), ("low", low)):
        golden[f"sets/low_cosine/{name}"] = np.array(features)


# ---- interactions --------------------------------------------------------------------------

def interactions(w, golden, candidates, best, alive):
    for name, features in (("best", best), ("random0", random_set(best, [], alive, SEED))):
        pairs = [(features[i], features[k]) for i in range(len(features)) for k in range(i + 1, len(features))]
        golden[f"interactions/{name}/single"] = np.stack([w.change(clamped=[f], scale=C) for f in features])
        golden[f"interactions/{name}/pair"] = np.stack([w.change(clamped=p, scale=C) for p in pairs])
        golden[f"interactions/{name}/all"] = w.change(clamped=features, scale=C)
    from_end = w.ids.shape[1] - 1 - torch.arange(w.ids.shape[1])
    groups = [w.body & (from_end >= 2), w.body & (from_end == 1), w.body & (from_end == 0), w.body]
    golden["interactions/tokens"] = np.stack(
        [w.change(retained=best, recorded=[torch.where(g[..., None], C * f, f) for f in w.f_clean]) for g in groups])

    def steer(layers):
        with torch.no_grad():
            m, residuals = w.metric(w.ablate_layers(layers), keep=True)
        recorded = [s.encode(x) for s, x in zip(w.lab.saes, residuals)]
        own = [f for f in candidates if f[0] in layers]
        return (m - w.m).numpy(), w.change(retained=own, recorded=recorded)

    vector, features = zip(*[steer([layer]) for layer in range(w.lab.n_layers)])
    golden["interactions/vector"], golden["interactions/features"] = np.stack(vector), np.stack(features)
    golden["interactions/vector_all"], golden["interactions/features_all"] = steer(range(w.lab.n_layers))


# ---- prune ---------------------------------------------------------------------------------

def prune(w, golden, best):
    def p_refusal(features):
        return w.lab.run(w.prompts, clamped=features, scale=C)["p_refusal"].numpy()

    def follow(order):
        return np.stack([p_refusal([f for i, f in enumerate(best) if i not in order[:k]]) for k in range(K_STAR + 1)])

    greedy = []
    for _ in range(K_STAR):
        left = [i for i in range(K_STAR) if i not in greedy]
        odds = [np.log(p := p_refusal([best[k] for k in left if k != i])) - np.log1p(-p) for i in left]
        greedy.append(left[int(np.argmin([o.mean() for o in odds]))])
    drawn, rng = list(range(K_STAR - 1, -1, -1)), Random(SEED)
    for i in range(K_STAR, 1, -1):
        k = rng.below(i)
        drawn[i - 1], drawn[k] = drawn[k], drawn[i - 1]
    orders = [greedy, list(range(K_STAR - 1, -1, -1)), drawn]
    golden["prune/released"] = np.array(orders)
    golden["prune/p_refusal"] = np.stack([follow(o) for o in orders])


# ---- feature_graph -------------------------------------------------------------------------

def feature_graph(w, golden, best, alive):
    activation, metric = [], []
    for node in best:
        metric.append(w.change(clamped=[node], scale=C) + w.m.numpy())
        activation.append(w.body_mean(best, w.lab.seen))
    golden["feature_graph/unedited"] = w.body_mean(best, w.f_clean)
    golden["feature_graph/activation"], golden["feature_graph/metric"] = np.stack(activation), np.stack(metric)
    layers = sorted({l for l, _ in best})
    sizes = {}
    for a in range(1, w.lab.n_layers):
        for b in range(a + 1, w.lab.n_layers):
            cut = [[f for f in best if lo <= f[0] < hi] for lo, hi in ((0, a), (a, b), (b, w.lab.n_layers))]
            if all(cut):
                sizes.setdefault(max(map(len, cut)), cut)
    assert len(layers) >= 3
    early, middle, late = sizes[min(sizes)]
    golden["feature_graph/group"] = np.array([0 if f in early else 1 if f in middle else 2 for f in best])
    rows, suppressed = [], []
    for clamped, retained in ((early, []), (early, middle), (early, late), (early, middle + late), (middle, []),
                              (middle, late), (late, [])):
        rows.append(w.change(clamped=clamped, scale=C, retained=retained, recorded=w.f_clean) + w.m.numpy())
        suppressed.append(w.body_mean(late, w.lab.seen).mean(1))
    golden["feature_graph/mediation/metric"], golden["feature_graph/mediation/late_activation"] = \
        np.stack(rows), np.stack(suppressed)
    drawn = random_set(middle, best, alive, SEED)
    golden["feature_graph/mediation/random_metric"] = \
        (w.change(clamped=early, scale=C, retained=drawn, recorded=w.f_clean) + w.m.numpy())[None]


# ---- sae_compare ---------------------------------------------------------------------------

@torch.no_grad()
def reconstruct(w, saes, replies):
    """Per layer and harmless prompt: nll reconstructed and zeroed, squared error, active features."""
    lab = w.lab
    rows = [lab.prompt_ids(p) + r + [lab.stop_id] for p, r in zip(w.harmless, replies)]
    ids, mask = lab.pad_left(rows)
    answers = torch.tensor([len(r) + 1 for r in replies])
    width = ids.shape[1]
    scored = torch.arange(width) >= width - answers[:, None]
    body = lab.body_mask(mask)
    body[:, -1] = False                                      # the last token predicts nothing

    def nll(edit):
        losses = F.cross_entropy(lab.forward(ids, mask, edit)[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        return (losses * scored[:, 1:]).sum(1).numpy()

    def replace(layer, make):
        return lambda l, x: torch.where(body[..., None], make(x), x) if l == layer else x

    _, residuals = lab.forward(ids, mask, keep=True)
    found = {k: [] for k in ("nll", "nll_zero", "squared_error", "n_active", "variance")}
    for layer, (sae, x) in enumerate(zip(saes, residuals)):
        f = sae.encode(x)
        found["nll"].append(nll(replace(layer, lambda x, sae=sae: sae.decode(sae.encode(x)))))
        found["nll_zero"].append(nll(replace(layer, torch.zeros_like)))
        found["squared_error"].append(((x - sae.decode(f)).pow(2).sum(-1) * body).sum(1).numpy())
        found["n_active"].append(((f != 0).sum(-1) * body).sum(1).double().numpy())
        own = x[body]
        found["variance"].append((own - own.mean(0)).pow(2).sum(-1).mean().item())
    return {k: np.array(v) for k, v in found.items()} | {"nll_clean": nll(None)}


@torch.no_grad()
def v_cosine(w, saes, harmful, harmless):
    bad, good = (w.lab._last_residuals(p)[0] for p in (harmful, harmless))
    v = bad.mean(0) - good.mean(0)
    v_hat = torch.stack([s.decode(s.encode(bad[:, l])).mean(0) - s.decode(s.encode(good[:, l])).mean(0)
                         for l, s in enumerate(saes)])
    return F.cosine_similarity(v, v_hat, dim=1).numpy()


def sae_compare(w, golden, harmful, harmless, alive):
    lab, own = w.lab, w.lab.saes
    other = [s.to(torch.float64) for s in load_saes(ROOT / "models" / "tiny-gemma2-base-scope", lab.n_layers)]
    replies = lab.generate(w.harmless, max_new_tokens=48)
    best = {}
    for name, saes in (("a", own), ("b", other)):
        lab.saes = saes
        found = reconstruct(w, saes, replies)
        for key in ("nll", "squared_error", "n_active", "variance"):
            golden[f"sae_compare/{name}/{key}"] = found[key]
        golden["sae_compare/nll_clean"], golden["sae_compare/nll_zero"] = found["nll_clean"], found["nll_zero"]
        golden[f"sae_compare/{name}/v_cosine"] = v_cosine(w, saes, harmful, harmless)
        best[name] = top_global(lab.mean_effect(w.prompts, w.v).mean(0), K_STAR, lab.candidates(w.v, K0))
        golden[f"sets/sae_compare/{name}"] = np.array(best[name])
        golden[f"scores/sae_compare/{name}_global_x-1/p_refusal"] = \
            lab.run(w.prompts, clamped=best[name], scale=C)["p_refusal"].numpy()
    lab.saes = own

    def rows(saes, features):
        return torch.stack([F.normalize(saes[l].W_dec[i], dim=0) for l, i in features])

    def match(saes, features, others, theirs):
        cosine = rows(saes, features) @ rows(others, theirs).T
        same = torch.tensor([[f[0] == g[0] for g in theirs] for f in features])
        in_set = torch.where(same, cosine, 0).amax(1).clamp(min=0).numpy()
        in_sae = np.array([(F.normalize(others[l].W_dec, dim=1) @ r).max().item()
                           for (l, _), r in zip(features, rows(saes, features))])
        return in_set, in_sae

    for name, saes, others, theirs in (("a", own, other, "b"), ("b", other, own, "a")):
        golden[f"sae_compare/{name}/match_in_set"], golden[f"sae_compare/{name}/match_in_sae"] = \
            match(saes, best[name], others, best[theirs])
    golden["sae_compare/random_match"] = match(own, random_set(best["a"], [], alive, SEED), other, best["b"])[0][None]


def main():
    torch.set_num_threads(1)
    harmful, harmless = ([r["instruction"] for r in json.loads((HERE / "paper" / f"{n}.json").read_text())]
                         for n in ("harmful", "harmless"))
    lab = Lab(ROOT / "models" / "tiny-gemma2", ROOT / "models" / "tiny-gemma2-scope", torch.float64, l0=18)
    w, golden = World(lab, harmful, harmless), {}
    candidates, alive = lab.candidates(w.v, K0), lab.alive(w.prompts)
    effect = lab.mean_effect(w.prompts, w.v).mean(0)
    best = top_global(effect, K_STAR, candidates)
    golden["sets/feature_sets/cossim_ap/global"] = np.array(best)
    for step in (lambda: exact_patching(w, golden, candidates), lambda: low_cosine(w, golden, candidates, effect, alive),
                 lambda: interactions(w, golden, candidates, best, alive), lambda: prune(w, golden, best),
                 lambda: feature_graph(w, golden, best, alive), lambda: sae_compare(w, golden, harmful, harmless, alive)):
        step()
    np.savez_compressed(HERE / "open" / "golden.npz", **{k: v.astype(np.float32) if v.dtype == np.float64 and v.size > 1000
                                                         else v for k, v in golden.items()})


if __name__ == "__main__":
    main()
