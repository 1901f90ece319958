#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tests/golden/paper: the paper's experiments on a few prompts, computed literally in float64.

    python3 tests/golden/make_paper.py        (a minute or two; in the repository's root)

Writes small prompt files and golden.npz. Every number comes from tools/literal_torch.py: hooks,
full SAE encode and decode at every layer, autograd through the SAE, torch.optim.AdamW. Of the
engine it shares only the random numbers (splitmix64), so that random sets and the probe's split
are the same ones. Needs what tools/requirements.txt names; tests/test_paper.py needs numpy and h5py.
"""
import csv
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from literal_torch import LiteralModel, is_refusal, top_global  # noqa: E402

WORLD, OUT = ROOT / "models" / "small-world", Path(__file__).parent / "paper"
LAYER, K0, K_STAR, SEED = 3, 10, 12, 42
N_LAST = 5
SCALE, DRAWS = -2.0, 2


# ---- prompts -------------------------------------------------------------------------------

def records(name):
    return json.loads((WORLD / f"{name}.json").read_text())


def write_prompts():
    def dump(name, chosen):
        (OUT / f"{name}.json").write_text(json.dumps(chosen, indent=1) + "\n")
        return chosen

    every = records("categories")
    sets = {
        "harmful": dump("harmful", records("harmful_train")[:24]),
        "harmless": dump("harmless", records("harmless_train")[:24]),
        "categories": dump("categories", [r for name in ("fraud", "hate", "economic")
                                          for r in [r for r in every if r["category"] == name][:6]]),
        "probe_harmful": dump("probe_harmful", records("adversarial_harmful_test")[:10]),
        "probe_benign": dump("probe_benign", records("adversarial_benign_test")[:10]),
    }
    with open(WORLD / "suffixes.csv", newline="") as file:
        goals = list(csv.DictReader(file))[:3]
    suffixes = []
    with open(OUT / "suffixes.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["goal", "response"])
        for goal in goals:
            chosen = eval(goal["response"])[4:16:4]  # noqa: S307: our own file
            writer.writerow([goal["goal"], repr(chosen)])
            suffixes += [(goal["goal"], s) for s in chosen]
    return {name: [r["instruction"] for r in s] for name, s in sets.items()}, \
        [r["category"] for r in sets["categories"]], suffixes


# ---- the engine's random numbers ------------------------------------------------------------

class Random:
    """Splitmix64 (host/base/random.h)."""

    def __init__(self, seed):
        self.state = seed & (2 ** 64 - 1)

    def below(self, n):
        mask = 2 ** 64 - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        return (z ^ z >> 31) % n


def random_set(like, avoid, alive, seed):
    rng, chosen = Random(seed), []
    for layer in range(alive.shape[0]):
        pool = [i for i in np.flatnonzero(alive[layer]).tolist()
                if (layer, i) not in like and (layer, i) not in avoid]
        for _ in range(sum(l == layer for l, _ in like)):
            k = rng.below(len(pool))
            chosen.append((layer, pool[k]))
            pool[k] = pool[-1]
            pool.pop()
    return chosen


# ---- runs ------------------------------------------------------------------------------------

class Lab(LiteralModel):
    def run(self, prompts, clamped=(), scale=1.0, retained=(), recorded=None, watched=(), n_last=N_LAST, j=None):
        """One forward pass with a clamp by full encode and decode, `retained` held at `recorded`
        (a list of [n, T, d_sae]). Returns the first tokens, P(refusal), m, and the mean of the
        watched features over the last tokens, encoded before the layer is edited."""
        ids, mask = self.batch(prompts)
        seen = [None] * self.n_layers

        def edit(layer, x):
            sae = self.saes[layer]
            f = seen[layer] = sae.encode(x)
            eps, changed = x - sae.decode(f), f.clone()
            for l, i in clamped:
                if l == layer:
                    changed[..., i] = scale * f[..., i]
            for l, i in retained:
                if l == layer and (l, i) not in clamped:
                    changed[..., i] = recorded[layer][..., i]
            return sae.decode(changed) + eps

        with torch.no_grad():
            last = self.forward(ids, mask, edit)[:, -1]
        self.seen = seen
        means = [seen[l][:, -n_last:, i].mean(1) for l, i in watched]
        metric = last.gather(1, j[:, None])[:, 0] - last[:, self.refusal_id] if j is not None else None
        return {"first_token": last.argmax(-1), "p_refusal": last.softmax(-1)[:, self.refusal_id], "metric": metric,
                "activation": torch.stack(means, 1) if means else None}

    def refused(self, prompts, clamped, retained, recorded):
        """Refusals among greedy replies; what is retained is so while the prompt is read, in one piece."""
        def edit(layer, x):
            sae = self.saes[layer]
            f = sae.encode(x)
            eps, changed = x - sae.decode(f), f.clone()
            for l, i in clamped:
                if l == layer:
                    changed[..., i] = SCALE * f[..., i]
            for l, i in retained if x.shape[1] > 1 else ():
                if l == layer and (l, i) not in clamped:
                    changed[..., i] = recorded[layer][..., i]
            return sae.decode(changed) + eps

        replies = self.generate(prompts, lambda first, last: edit, 48, len(prompts))
        return np.array([is_refusal(t) for t in self.decode(replies)])

    def alive(self, prompts):
        return (self.max_activations(prompts) > 0).any(0).numpy()


def save(golden, group, runs, keys):
    for key in keys:
        golden[f"{group}/{key}"] = np.stack([r[key].numpy() for r in runs])


def categories(lab, golden, v, prompts, names):
    order = list(dict.fromkeys(names))
    effect = lab.mean_effect(prompts, v)
    candidates = lab.candidates(v, K0)
    own = {c: [i for i, n in enumerate(names) if n == c] for c in order}
    best = {c: top_global(effect[own[c]].mean(0), K_STAR, candidates) for c in order}
    overall = effect.mean(0)
    common = [f for f in top_global(overall, len(candidates), candidates) if all(f in best[c] for c in order)]
    harm = [f for f in top_global(overall, K_STAR, candidates) if f not in common]
    specific = {c: [f for f in best[c] if f not in common] for c in order}
    golden["categories/rank"] = np.array([[best[c].index(f) if f in best[c] else -1 for f in candidates] for c in order])
    golden["categories/common"] = np.array([f in common for f in candidates]).astype(np.uint8)
    golden["roles/refusal"], golden["roles/harm"] = np.array(common), np.array(harm)

    _, _, _, j = lab.attribution(prompts, v, n_steps=1)
    alive, n = lab.alive(prompts), len(prompts)
    tables = {"": 4, "/transfer": len(order), "/random": 2}
    for group, rows in tables.items():
        golden[f"categories{group}/first_token"] = np.full((rows, n), -1)
        golden[f"categories{group}/p_refusal"] = np.full((rows, n), np.nan)
        golden[f"categories{group}/metric"] = np.full((rows, n), np.nan)
    for c in order:
        at, mine, size = own[c], [prompts[i] for i in own[c]], min(len(common), len(specific[c]))
        top_common = [f for f in best[c] if f in common][:size]
        top_specific = specific[c][:size]

        def score(group, row, at=at, mine=mine, **clamp):
            r = lab.run(mine, scale=SCALE, j=j[at], **clamp)
            for key in ("first_token", "p_refusal", "metric"):
                golden[f"categories{group}/{key}"][row, at] = r[key].numpy()

        score("", 0)
        recorded = lab.seen
        score("", 1, clamped=best[c])
        score("", 2, clamped=top_common, retained=best[c], recorded=recorded)
        score("", 3, clamped=top_specific, retained=best[c], recorded=recorded)
        for name, edit, held in (("all", best[c], []), ("common", top_common, best[c]), ("specific", top_specific, best[c])):
            golden[f"scores/categories/{order.index(c)}_{name}_x-2/refusal"] = lab.refused(mine, edit, held, recorded)
        kept = [f for f in best[c] if f not in top_specific]
        for row, other in enumerate(order):
            foreign = [f for f in best[other] if f not in best[c]][:size]
            if other != c and foreign:
                score("/transfer", row, clamped=foreign, retained=kept, recorded=recorded)
        for draw in range(DRAWS):
            score("/random", draw, clamped=random_set(top_common, best[c], alive, SEED + draw), retained=kept,
                  recorded=recorded)
    return common, harm


def watch(lab, golden, group, prompts, refusal, harm):
    keys = ("activation", "p_refusal", "first_token")
    save(golden, group, [lab.run(prompts, watched=refusal), lab.run(prompts, clamped=harm, scale=SCALE, watched=refusal)], keys)
    alive = lab.alive(prompts)
    save(golden, f"{group}/random", [lab.run(prompts, clamped=random_set(harm, refusal, alive, SEED + d), scale=SCALE,
                                             watched=refusal) for d in range(DRAWS)], keys)


def probes(lab, golden, sets, refusal):
    train = sets["harmful"] + sets["harmless"]
    prompts = train + sets["probe_harmful"] + sets["probe_benign"]
    label = torch.tensor([1.0] * len(sets["harmful"]) + [0.0] * len(sets["harmless"]) + [1.0] * len(sets["probe_harmful"])
                         + [0.0] * len(sets["probe_benign"]), dtype=torch.float64)
    order, rng = list(range(len(train))), Random(SEED)
    for i in range(len(order), 1, -1):
        k = rng.below(i)
        order[i - 1], order[k] = order[k], order[i - 1]
    n_validation = int(0.2 * len(train) + 0.5)
    validation, training = sorted(order[:n_validation]), sorted(order[n_validation:])
    alive = lab.alive(train)
    drawn = [random_set(refusal, [], alive, SEED + d) for d in range(DRAWS)]
    inputs = [lab.run(prompts, watched=s)["activation"] for s in [refusal, *drawn]]
    with torch.no_grad():
        _, residuals = lab.forward(*lab.batch(prompts), keep=True)
    inputs += [x[:, -N_LAST:].mean(1) for x in residuals]
    scores = []
    for x in inputs:
        w, b = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True), \
            torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer, best, kept = torch.optim.AdamW([w, b], lr=1e-2, weight_decay=1e-2), float("inf"), None
        for _ in range(50):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(x[training] @ w + b, label[training]).backward()
            optimizer.step()
            with torch.no_grad():
                loss = F.binary_cross_entropy_with_logits(x[validation] @ w + b, label[validation]).item()
                if loss < best:
                    best, kept = loss, (x @ w + b).clone()
        scores.append(kept.numpy())
    golden["probe/score"] = np.stack(scores)
    golden["probe/label"] = label.numpy()


def sweep(lab, golden, v, prompts, harmless):
    effect = lab.mean_effect(prompts, v).mean(0)
    replies = lab.generate(harmless, max_new_tokens=48)
    for k0 in (4, 10):
        for k in (3, 8):
            chosen = top_global(effect, k, lab.candidates(v, k0))
            edit_for = lab.clamp(chosen, SCALE)
            name = f"k0_{k0}_k{k}_x-2"
            golden[f"sweep_kstar/{name}/refusal"] = np.array(
                [lab.refusal_rate([p], edit_for, 48)[0] for p in prompts])
            golden[f"sweep_kstar/{name}/ce"] = np.array(lab.answer_ce(harmless, replies, edit_for))


def main():
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    sets, names, suffixes = write_prompts()
    lab = Lab(ROOT / "models" / "tiny-gemma2", ROOT / "models" / "tiny-gemma2-scope", torch.float64)
    v = lab.direction(sets["harmful"], sets["harmless"])[LAYER]
    golden = {"direction": v.numpy()}
    refusal, harm = categories(lab, golden, v, sets["categories"], names)
    watch(lab, golden, "conditional", sets["harmful"][:6], refusal, harm)
    words = [" ".join([goal] + suffix.split()[:k]) for goal, suffix in suffixes for k in range(len(suffix.split()) + 1)]
    watch(lab, golden, "suffix", words, refusal, harm)
    save(golden, "jailbreaks", [lab.run([g for g, _ in suffixes], watched=refusal + harm),
                                lab.run([f"{g} {s}" for g, s in suffixes], watched=refusal + harm)],
         ("activation", "p_refusal", "first_token"))
    probes(lab, golden, sets, refusal)
    sweep(lab, golden, v, sets["harmful"][:6], sets["harmless"][:6])
    np.savez_compressed(OUT / "golden.npz", **golden)
    print(f"{len(refusal)} features of refusal, {len(harm)} of harm, {len(words)} prompts with words of suffixes")


if __name__ == "__main__":
    main()
