#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A result file seen from outside: is it what results/README.md says, for h5py and for xarray?

    python3 tests/test_result_file.py results/tiny_gemma2_ap.h5

Nothing here comes from the engine: names, shapes and units are checked against the schema, and
numbers that follow from others in the file (refusal from the replies, the summary from the scores,
sets from effects) are computed again. Groups that the run did not write are not asked for.
Exit status: 0 passed, 1 failed, 2 usage, 77 skipped (all, without h5py; the xarray tests, without
xarray and h5netcdf).
"""
import functools
import hashlib
import os
import re
import sys

try:
    import h5py
    import numpy as np
except ImportError as e:
    print(f"skipped: {e}; reading result files needs h5py and numpy")
    sys.exit(77)

METHODS = ("cossim_ap", "ap", "cossim", "actdiff", "random")
UNITS = ("logit", "nat", "s", "1", "")
ROOT_ATTRIBUTES = ("title", "schema_version", "engine_version", "git_commit", "config", "seed",
                   "started", "finished", "device", "compute_dtype", "weights_dtype", "model_type",
                   "hdf5_version", "slurm_job_id", "sae_format", "sae_dtype", "neuronpedia")


def text_of(value):
    return value.decode() if isinstance(value, bytes) else str(value)


@functools.cache
def objects(f):
    """All groups and datasets by path, from the one walk through the file, which opens each."""
    found = {}
    f.visititems(lambda name, o: found.__setitem__("/" + name, o))
    return found


def datasets(f):
    return {path: o for path, o in objects(f).items() if isinstance(o, h5py.Dataset)}


def is_scale(d):
    return text_of(d.attrs.get("CLASS", "")) == "DIMENSION_SCALE"


def groups_with(f, *names):
    """Groups that hold all these datasets."""
    return [o for path, o in objects(f).items()
            if isinstance(o, h5py.Group) and all(f"{path}/{n}" in objects(f) for n in names)]


def dimension_only(d):
    """What netCDF writes for the name of a dimension that is no variable."""
    return f"This is a netCDF dimension but not a netCDF variable.{len(d):10d}"


def texts(d):
    return d.asstr()[...].tolist()


# ---- what every dataset has ----------------------------------------------------------------

def every_dataset_can_be_read(f):
    for path, d in datasets(f).items():
        values = d.asstr()[...] if h5py.check_string_dtype(d.dtype) else d[...]
        assert values.shape == d.shape, path


def every_type_is_one_that_all_readers_know(f):
    """Integers, IEEE half, single and double precision, UTF-8 text; bfloat16 is none of them."""
    h = h5py.h5t
    known = (h.STD_I32LE, h.STD_I64LE, h.STD_U8LE, h.IEEE_F16LE, h.IEEE_F32LE, h.IEEE_F64LE)
    for path, d in datasets(f).items():
        string = h5py.check_string_dtype(d.dtype)
        if string is not None:
            assert string.encoding == "utf-8" and string.length is None, path
        else:
            t = d.id.get_type()
            assert any(t.equal(k) for k in known), f"{path}: {d.dtype}"


def only_gzip_and_shuffle_are_used(f):
    for path, d in datasets(f).items():
        assert d.compression in (None, "gzip"), f"{path}: {d.compression}"
        assert not d.scaleoffset and not d.fletcher32, path


def every_dataset_has_long_name_and_units(f):
    for path, d in datasets(f).items():
        assert text_of(d.attrs.get("long_name", "")), f"{path} has no long_name"
        assert "units" in d.attrs, f"{path} has no units"
        assert text_of(d.attrs["units"]) in UNITS, f"{path}: units {d.attrs['units']!r}"


def every_dimension_has_a_named_scale_of_its_length(f):
    for path, d in datasets(f).items():
        if is_scale(d):
            group, name = path.rsplit("/", 1)
            assert d.ndim == 1 and text_of(d.attrs["NAME"]) == (name if group else
                                                                dimension_only(d)), path
            continue
        for i, dimension in enumerate(d.dims):
            assert len(dimension) == 1, f"{path}: dimension {i} has {len(dimension)} scales"
            scale = dimension[0]
            assert is_scale(scale) and text_of(scale.attrs["NAME"]), f"{path}: dimension {i}"
            assert scale.shape == (d.shape[i],), f"{path}: dimension {i}: {scale.name} has " \
                f"{scale.shape}, the dataset {d.shape}"


def coordinates_mean_the_same_in_all_groups_below_them(f):
    """A tree of groups hands them down (xarray's open_datatree): a dataset of their name below would
    be refused or hidden. Those of the root are dimensions alone, and are not."""
    for path, d in datasets(f).items():
        group, name = path.rsplit("/", 1)
        while "/" in group:
            group = group.rsplit("/", 1)[0]
            above = datasets(f).get(f"{group}/{name}") if group else None
            assert above is None or not is_scale(above) or \
                (is_scale(d) and np.array_equal(above[...], d[...])), \
                f"{path} is not what {above.name} is"


def values_of_scales_do_not_repeat(f):
    for path, d in datasets(f).items():
        if is_scale(d):
            values = texts(d) if h5py.check_string_dtype(d.dtype) else d[...].tolist()
            twice = {v for v in values if values.count(v) > 1} \
                if len(set(values)) < len(values) else ()
            assert not twice, f"{path} holds {sorted(twice)[:3]} more than once"


# ---- the schema ----------------------------------------------------------------------------

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "results", "README.md")
EXPERIMENTS = ("jailbreak", "induce", "coherence", "sweep_kstar", "sweep_kstar_answers",
               "categories", "low_cosine", "low_cosine_ce", "prune", "sae_compare",
               "sae_compare_ce", "questions")
PLACEHOLDERS = {"METHOD": "(?:" + "|".join(METHODS) + ")",
                "EXPERIMENT": "(?:" + "|".join(EXPERIMENTS) + ")", "CONDITION": "[^/]+",
                "SITE": r"blocks\.[0-9]+\.hook_[a-z_]+",
                "CHOSEN": "(?:inside|outside|low)", "PARTS": "(?:best|random[0-9]+)",
                "SIDE": "[ab]", "BACKWARD": "(?:path|straight_through)"}


def schema():
    """(pattern of paths, dimensions, types, units) of every row of the README's tables. A row may
    stand in several of them."""
    rows = {}
    with open(README, encoding="utf-8") as f:
        for line in f:
            m = re.match(r"\| `(/[^`]+)` \| ([^|]+) \| ([^|]+) \|([^|]*)\|", line)
            if m:
                pattern = re.sub("|".join(PLACEHOLDERS), lambda w: PLACEHOLDERS[w.group()],
                                 re.escape(m[1]))
                row = (re.compile(pattern), m[2].strip().split(", "),
                       m[3].strip().split(" or "), m[4].strip().split(" or "))
                assert rows.setdefault(m[1], row)[1:] == row[1:], f"{m[1]} has two rows that differ"
    return list(rows.values())


def type_name(d):
    return "text" if h5py.check_string_dtype(d.dtype) else d.dtype.kind + str(8 * d.dtype.itemsize)


def every_dataset_is_as_the_readme_says(f):
    rows = schema()
    for path, d in datasets(f).items():
        found = [row for row in rows if row[0].fullmatch(path)]
        assert len(found) == 1, f"{path} is in {len(found)} rows of results/README.md"
        _, dims, types, units = found[0]
        names = [path.rsplit("/", 1)[1]] if is_scale(d) else \
            [dim[0].name.rsplit("/", 1)[1] for dim in d.dims]
        assert names == dims, f"{path}: dimensions {names}, in the README {dims}"
        assert type_name(d) in types, f"{path}: {type_name(d)}, in the README {types}"
        assert text_of(d.attrs["units"]) in units, \
            f"{path}: units {d.attrs['units']!r}, in the README {units}"


def checksum(d):
    """As results/README.md says: of the values as they are stored; of a text its bytes and a zero."""
    values = d[...]
    if h5py.check_string_dtype(d.dtype):
        return hashlib.sha256(b"".join(text + b"\0" for text in values.flat)).hexdigest()
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def every_dataset_has_the_checksum_of_its_values(f):
    for path, d in datasets(f).items():
        assert text_of(d.attrs["sha256"]) == checksum(d), path
    assert re.fullmatch("[0-9a-f]{64}", text_of(f.attrs["sha256"])), f.attrs["sha256"]


def root_attributes_are_complete(f):
    missing = [name for name in ROOT_ATTRIBUTES if name not in f.attrs]
    assert not missing, missing
    assert text_of(f.attrs["title"]) == "saengine results"
    assert f.attrs["schema_version"] == 1


# ---- ragged arrays and row tables ----------------------------------------------------------

def ends_ascend_to_the_length(f):
    """Row i of a ragged array lies between end[i - 1] (0 for the first) and end[i]."""
    pairs = [(g["token_end"], g["token_ids"]) for g in groups_with(f, "token_end", "token_ids")]
    for name in ("effect", "data"):
        pairs += [(g["end"], g[name]) for g in groups_with(f, "end", name)]
    assert pairs, "no ragged arrays"
    for end, rows in pairs:
        assert (np.diff(end[...], prepend=0) >= 0).all(), f"{end.name} descends"
        last = end[-1] if len(end) else 0
        assert last == len(rows), f"{end.name} ends at {last}, {rows.name} has {len(rows)}"


def prompts_begin_with_the_same_prefix(f):
    n = int(f["prompts"].attrs["n_prefix"])
    ids, end = f["prompts/token_ids"][...], f["prompts/token_end"][...]
    start = np.concatenate([[0], end[:-1]])
    assert (end - start > n).all(), "a prompt with nothing behind the prefix"
    for k in range(n):
        assert len(set(ids[start + k].tolist())) == 1, f"token {k}"


def prompts_have_the_hashes_stored_with_them(f):
    for text, sha256 in zip(texts(f["prompts/text"]), texts(f["prompts/sha256"])):
        assert hashlib.sha256(text.encode()).hexdigest() == sha256, text[:60]


def adversarial_prompts_are_their_base_and_what_was_put_behind_it(f):
    """A base without a suffix is a prompt that was written anew."""
    if "prompts/adversarial_suffix" not in f:
        return
    base, suffix = (texts(f[f"prompts/{name}"]) for name in ("base", "adversarial_suffix"))
    for text, b, s in zip(texts(f["prompts/text"]), base, suffix):
        assert not s or text == f"{b} {s}", text[:80]
    assert any(suffix), "no prompt has a suffix"


def prompt_ids_are_rows_of_prompts(f):
    n = len(f["prompts/text"])
    for g in groups_with(f, "prompt"):
        if g.name == "/" or g["prompt"].dtype.kind != "i":
            continue
        ids = g["prompt"][...]
        assert ((ids >= 0) & (ids < n)).all(), g.name


def token_tables_name_tokens_of_the_prompts(f):
    """Position and id of every row agree with /prompts/token_ids."""
    ids, end = f["prompts/token_ids"][...], f["prompts/token_end"][...]
    start = np.concatenate([[0], end[:-1]])
    for group, names in (("indirect_effect/cossim_ap/per_token",
                          ("token_prompt", "token_position", "token_id")),
                         ("tokens", ("prompt", "position", "id"))):
        if group in f:
            prompt, position, token = (f[group][name][...] for name in names)
            at = start[prompt] + position
            assert (at < end[prompt]).all(), f"{group}: a position behind its prompt's end"
            assert (ids[at] == token).all(), f"{group}: ids differ from /prompts/token_ids"


# ---- numbers that follow from others --------------------------------------------------------

def features_are_those_of_the_saes(f):
    width = len(f["feature"]) if "feature" in f else 0
    for g in groups_with(f, "layer", "feature"):
        if g.name == "/" or g.name == "/sae_compare/b":  # features of another SAE set
            continue
        layer, feature = g["layer"][...], g["feature"][...]
        unused = layer == -1  # padding of local sets
        assert ((feature == -1) == unused).all(), g.name
        assert ((layer >= 0) & (layer < len(f["layer"])))[~unused].all(), g.name
        assert ((feature >= 0) & (feature < width))[~unused].all(), g.name


def rows_in_order(layer, feature, score):
    """Best score first; of equal ones the lower layer, then the lower id."""
    keys = list(zip((-score).tolist(), layer.tolist(), feature.tolist()))
    return keys == sorted(keys)


def sets_are_sorted_by_score_then_layer_then_feature(f):
    for method in METHODS:
        for scope in ("global", "local"):
            g = f.get(f"feature_sets/{method}/{scope}")
            if g is None or method == "random":  # all scores 0, in the order of the draw
                continue
            columns = [np.atleast_2d(g[name][...]) for name in ("layer", "feature", "score")]
            for row, (layer, feature, score) in enumerate(zip(*columns)):
                n = int((layer >= 0).sum())
                assert (layer[n:] == -1).all() and np.isnan(score[n:]).all(), f"{g.name}[{row}]"
                assert rows_in_order(layer[:n], feature[:n], score[:n]), f"{g.name}[{row}]"
                pairs = list(zip(layer[:n].tolist(), feature[:n].tolist()))
                assert len(set(pairs)) == n, f"{g.name}[{row}]: a feature twice"


def random_sets_have_as_many_features_per_layer_and_share_none(f):
    if "feature_sets/random/global" not in f or "feature_sets/cossim_ap/global" not in f:
        return
    random, own = (f[f"feature_sets/{m}/global"] for m in ("random", "cossim_ap"))
    counts = [np.bincount(g["layer"][...], minlength=len(f["layer"])) for g in (random, own)]
    assert (counts[0] <= counts[1]).all(), counts
    shared = {*zip(random["layer"][...].tolist(), random["feature"][...].tolist())} \
        & {*zip(own["layer"][...].tolist(), own["feature"][...].tolist())}
    assert not shared, shared


def candidates_are_sorted_by_cosine_within_layers(f):
    if "candidates" not in f:
        return
    layer, feature, cosine = (f["candidates"][n][...] for n in ("layer", "feature", "cosine"))
    assert (np.diff(layer) >= 0).all()
    for k in np.unique(layer):
        own = layer == k
        assert rows_in_order(layer[own], feature[own], cosine[own]), f"layer {k}"


def effects_per_prompt_are_means_over_tokens(f):
    group = f.get("indirect_effect/cossim_ap")
    if group is None or "per_token" not in group:
        return
    t = group["per_token"]
    prompt, effect = t["token_prompt"][...], t["effect"][...].astype(float)
    for row, p in enumerate(group["prompt"][...]):
        expected = effect[prompt == p].mean(axis=0)
        found = group["per_prompt"][row]
        # float32 sums of some ten tokens
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-6), f"prompt {p}"


def effects_of_all_features_agree_with_those_of_the_candidates(f):
    """Two ways to the same mean: dense over candidates, sparse over all features."""
    if "indirect_effect/ap/mean" not in f or "indirect_effect/cossim_ap" not in f:
        return
    layer, feature = f["candidates/layer"][...], f["candidates/feature"][...]
    every = f["indirect_effect/ap/mean"][...][layer, feature]
    some = f["indirect_effect/cossim_ap/per_prompt"][...].mean(axis=0, dtype=float)
    worst = np.abs(every - some).max() / max(np.abs(some).max(), 1e-12)
    assert worst < 1e-4, f"relative difference {worst}"


def sets_are_the_best_by_mean_effect(f):
    group = f.get("feature_sets/cossim_ap/global")
    if group is None or "indirect_effect/cossim_ap" not in f:
        return
    mean = f["indirect_effect/cossim_ap/per_prompt"][...].mean(axis=0, dtype=float)
    layer, feature = f["candidates/layer"][...], f["candidates/feature"][...]
    order = np.lexsort((feature, layer, -mean.astype(np.float32)))[:len(group["layer"])]
    assert np.allclose(group["score"][...], mean[order], rtol=1e-6, atol=1e-9)
    assert (group["layer"][...] == layer[order]).all()
    assert (group["feature"][...] == feature[order]).all()
    assert np.allclose(group["cosine"][...], f["candidates/cosine"][...][order], rtol=1e-6)


def best_of(effect, layer, feature, k):
    """Rows of the k largest effects, best first, ties to the lower layer and feature; none of effect 0."""
    order = np.lexsort((feature, layer, -effect))[:k]
    return order[effect[order] != 0]


def attributed(f):
    """What own sets follow from: the group, the candidates' names, K*."""
    group, local = f.get("indirect_effect/cossim_ap"), f.get("feature_sets/cossim_ap/local")
    if group is None or local is None or 'empty_local = "none"' not in f.attrs["config"]:
        return None
    k_star = int(re.search(r"\bk_star = (\d+)", f.attrs["config"])[1])
    return group, local, f["candidates/layer"][...], f["candidates/feature"][...], k_star


def own_sets_are_the_best_of_their_prompts_and_empty_where_nothing_has_an_effect(f):
    if (found := attributed(f)) is None:
        return
    group, local, layer, feature, k_star = found
    without = 0
    for row, effect in enumerate(group["per_prompt"][...]):
        best = best_of(effect, layer, feature, k_star)
        chosen = local["layer"][row] >= 0
        assert (local["layer"][row][chosen] == layer[best]).all(), f"row {row}"
        assert (local["feature"][row][chosen] == feature[best]).all(), f"row {row}"
        assert (local["score"][row][chosen] == effect[best]).all(), f"row {row}"
        if group["target"][row] == f["prompts"].attrs["refusal_token"]:
            without += 1
            assert not chosen.any() and not effect.any(), f"row {row} has no metric"
            assert group["metric_clean"][row] == group["metric_patched"][row] == 0, f"row {row}"
    assert without == group.attrs["without_metric"], without


def what_rounding_decides_is_counted(f):
    if (found := attributed(f)) is None:
        return
    group, _, layer, feature, k_star = found

    def undecided(effect, noise):
        best = best_of(effect, layer, feature, k_star)
        out = np.setdiff1d(np.arange(len(effect)), best)
        return int((effect[best] - noise[best] <= (effect[out] + noise[out]).max(initial=-np.inf)).sum())

    per_prompt, noise = (group[n][...].astype(float) for n in ("per_prompt", "noise"))
    assert (noise >= 0).all() and (noise[per_prompt != 0] > 0).all()
    assert [undecided(*x) for x in zip(per_prompt, noise)] == group["undecided"][...].tolist()
    assert undecided(per_prompt.mean(axis=0), noise.mean(axis=0)) == group.attrs["undecided"]


def targets_lead_the_refusal_token_by_no_less_than_the_next(f):
    if (found := attributed(f)) is None:
        return
    group = found[0]
    lead, target, metric = (group[n][...] for n in ("target_lead", "target", "metric_patched"))
    if np.isinf(lead).all():  # it is given
        assert (target == target[0]).all(), target
        return
    assert (lead >= 0).all() and np.isfinite(lead).all(), lead
    other = target != f["prompts"].attrs["refusal_token"]
    assert (metric[other] >= lead[other] - 1e-3).all(), (metric - lead)[other].min()
    assert 0 <= f["candidates"].attrs["undecided"] <= len(f["candidates/layer"])


def both_ways_back_are_compared_as_they_are(f):
    if (found := attributed(f)) is None:
        return
    group, local, layer, feature, k_star = found
    names = [n for n in ("path", "straight_through") if n in group]
    assert bool(names) == ("compare_backward = true" in f.attrs["config"]), names
    for name in names:
        assert f'ig_backward = "{name}"' not in f.attrs["config"], "the same way twice"
        other = group[name]
        mean = other["per_prompt"][...].mean(axis=0, dtype=float).astype(np.float32)
        assert (other["chosen"][...] == best_of(mean, layer, feature, k_star)).all()
        for row, effect in enumerate(other["per_prompt"][...]):
            theirs = best_of(effect, layer, feature, k_star)
            own = set(zip(local["layer"][row].tolist(), local["feature"][row].tolist()))
            shared = own & set(zip(layer[theirs].tolist(), feature[theirs].tolist()))
            assert other["shared"][row] == len(shared), f"row {row}"


def refusal_substrings(config):
    """refusal.substrings of the config attribute, which is in libconfig's notation."""
    group = re.search(r"^refusal = \{(.*?)^\};", config, re.S | re.M).group(1)
    items = re.search(r"\bsubstrings = \[((?:\s*\"(?:[^\"\\]|\\.)*\"\s*,?)*)\s*\]", group,
                      re.S).group(1)
    return [re.sub(r"\\(.)", r"\1", s) for s in re.findall(r'"((?:[^"\\]|\\.)*)"', items, re.S)]


APOSTROPHES = re.compile("[\u0060\u00b4\u02bc\u2018\u2019\u2032\uff07]")


def is_refusal(text, substrings, apostrophes):
    """As host/text/refusal.c: letters of ASCII in either case, and where they are any, all
    apostrophes one."""
    if apostrophes == "any":
        text, substrings = (APOSTROPHES.sub("'", text), [APOSTROPHES.sub("'", s) for s in substrings])
    text = text.encode().lower()  # bytes.lower changes ASCII alone
    return bool(text) and any(s.encode().lower() in text for s in substrings)


def conditions(f, kind):
    """(experiment, condition, group) under /scores or /generations."""
    return [(e, c, group) for e, g in f.get(kind, {}).items() for c, group in g.items()]


def refusal_follows_from_the_replies(f):
    config = text_of(f.attrs["config"])
    substrings = refusal_substrings(config)
    assert substrings, "no refusal substrings in the config attribute"
    apostrophes, measure = (re.search(fr'\b{name} = "(\w+)";', config).group(1)
                            for name in ("apostrophes", "measure"))
    for experiment, condition, replies in conditions(f, "generations"):
        scores = f[f"scores/{experiment}/{condition}"]
        assert (scores["prompt"][...] == replies["prompt"][...]).all(), replies.name
        assert ("class" in scores) == (measure == "rules"), scores.name
        if measure == "rules":
            classes = texts(scores["class"])
            assert set(classes) <= {"refusal", "partial", "compliance", ""}, scores.name
            expected = [c == "refusal" for c in classes]
            empty = [not re.search(r"\w", t) for t in texts(replies["text"])]
            assert [c == "" for c in classes] == empty, scores.name
        else:
            expected = [is_refusal(t, substrings, apostrophes) for t in texts(replies["text"])]
        assert scores["refusal"][...].tolist() == expected, scores.name


def summary_has_the_share_of_each_class(f):
    """Of replies told apart by rules; nowhere else."""
    told_apart = {f"{e}/{c}": texts(g["class"]) for e, c, g in conditions(f, "scores")
                  if "class" in g}
    assert ("summary/partial" in f) == bool(told_apart)
    for i, name in enumerate(texts(f["summary/condition"]) if told_apart else ()):
        for column in ("refusal", "partial", "compliance"):
            own = told_apart.get(name)
            share = own.count(column) / len(own) if own else np.nan
            assert same(f[f"summary/{column}"][i], share), (name, column)


def scores_are_in_range(f):
    for _, _, g in conditions(f, "scores"):
        if "refusal" in g:
            assert set(np.unique(g["refusal"][...])) <= {0, 1}, g.name
        if "p_refusal" in g:
            assert ((g["p_refusal"][...] >= 0) & (g["p_refusal"][...] <= 1 + 1e-6)).all(), g.name
        if "kl" in g and g.name.endswith(("/none", "_none")):
            assert np.isnan(g["kl"][...]).all(), f"{g.name}: compared with itself"
        elif "kl" in g:
            assert (g["kl"][...] > -1e-6).all(), g.name
        if "nll" in g:
            assert (g["nll"][...] >= 0).all() and (g["n_tokens"][...] >= 0).all(), g.name


def what_ended_a_reply_is_a_stop_token_of_the_run_or_its_length(f):
    """And no reply holds a stop token, or is cut before the length."""
    stops = f["provenance/stop_token"][...] if "provenance/stop_token" in f else np.array([], np.int32)
    if len(stops):
        assert all(texts(f["provenance/stop_origin"])), "a stop token without an origin"
    most = int(re.search(r"max_new_tokens = (\d+);", f.attrs["config"]).group(1))
    for _, _, g in conditions(f, "generations"):
        ended, length = g["ended_by"][...], np.diff(g["token_end"][...], prepend=0)
        assert np.isin(ended, [-1, *stops]).all(), f"{g.name}: {ended}"
        assert (length[ended == -1] == most).all() and (length[ended >= 0] < most).all(), g.name
        assert not np.isin(g["token_ids"][...], stops).any(), g.name


def answers_are_scored_on_all_their_tokens(f):
    """n_tokens is the length of the unedited answer, its stop token included."""
    answers = f.get("generations/coherence/none")
    if answers is None:
        return
    expected = np.diff(answers["token_end"][...], prepend=0) + (answers["ended_by"][...] >= 0)
    for experiment, _, g in conditions(f, "scores"):
        if experiment == "coherence" and "n_tokens" in g:
            assert (g["n_tokens"][...] == expected).all(), g.name


def same(a, b):
    return np.isnan(a) and np.isnan(b) or abs(a - b) <= 1e-9 * max(1, abs(a), abs(b))


def is_judges(f):
    return "reply" in f["prompts"]


def summary_columns(f):
    return ("jailbreak", "p_yes") if is_judges(f) else ("refusal", "p_refusal", "kl", "ce")


def verdicts_are_of_the_pairs_of_their_condition(f):
    """Each set of a judge's prompts is a condition, its verdicts in the prompts' order."""
    if not is_judges(f):
        return
    sets, source = texts(f["prompts/set"]), f["prompts/source"][...]
    assert (source >= 0).all()
    assert set(sets) == {f"{e}/{c}" for e, c, _ in conditions(f, "scores")}
    for experiment, condition, g in conditions(f, "scores"):
        assert g["prompt"][...].tolist() == [i for i, s in enumerate(sets)
                                             if s == f"{experiment}/{condition}"], g.name
        yes, no = g["p_yes"][...], g["p_no"][...]
        assert np.array_equal(np.isnan(yes), np.isnan(no)), g.name
        yes, no = yes[~np.isnan(yes)], no[~np.isnan(no)]
        assert ((yes >= 0) & (no >= 0) & (yes + no <= 1 + 1e-6)).all(), g.name


def summary_follows_from_the_scores(f):
    names = texts(f["summary/condition"])
    seen = set()
    for i, name in enumerate(names):
        g = f["scores/" + name]
        for column in summary_columns(f):
            value = f["summary"][column][i]
            if column == "p_yes":
                expected = np.nanmean(g[column][...])
            elif column == "ce":
                expected = g["nll"][...].sum() / g["n_tokens"][...].sum() if "nll" in g else np.nan
            else:
                expected = g[column][...].mean() if column in g else np.nan
            # A row may leave a column out (NaN) that another row of the same condition has.
            if not np.isnan(value):
                assert same(value, expected), f"{name}: {column} {value}, computed {expected}"
                seen.add((name, column))
            elif np.isnan(expected):
                seen.add((name, column))
    for experiment, condition, _ in conditions(f, "scores"):
        for column in summary_columns(f):
            assert (f"{experiment}/{condition}", column) in seen, \
                f"summary lacks {column} of {experiment}/{condition}"


def the_chosen_direction_is_in_the_file(f):
    g = f.get("direction")
    if g is None:
        return
    layer, position = int(g.attrs["layer"]), int(g.attrs["position"])
    assert 0 <= layer < g["v"].shape[1] and position in g["position"][...], (layer, position)
    v = g["v"][g["position"][...].tolist().index(position), layer]
    assert np.isfinite(v).all() and np.linalg.norm(v) > 0


def the_chosen_layer_follows_from_the_scores(f):
    """The rule of experiments/direction/direction.c, for runs that chose by score."""
    g = f.get("direction")
    if g is None or "ablated" not in g:
        return
    ablated, added, kl = (g[n][...] for n in ("ablated", "added", "kl"))
    n_layers = ablated.shape[1]
    fit = (kl <= 0.1) & (5 * np.arange(n_layers) < 4 * n_layers)
    fit = fit & (added > 0) if (fit & (added > 0)).any() else fit
    position, layer = np.unravel_index(np.where(fit, ablated, np.inf).argmin(), fit.shape)
    assert layer == g.attrs["layer"] and g["position"][position] == g.attrs["position"], \
        (layer, position)


def hashes_are_sha256(f):
    for value in texts(f["provenance/sha256"]) + texts(f["prompts/sha256"]):
        assert re.fullmatch("[0-9a-f]{64}", value), value


# ---- xarray --------------------------------------------------------------------------------

EXPECTED_DIMS = {
    "direction": {"position", "layer", "d_model"},
    "candidates": {"candidate"},
    "indirect_effect/cossim_ap": {"prompt", "candidate"},
    "indirect_effect/cossim_ap/per_token": {"token", "candidate"},
    "indirect_effect/cossim_ap/path": {"prompt", "candidate", "rank"},
    "indirect_effect/cossim_ap/straight_through": {"prompt", "candidate", "rank"},
    "indirect_effect/ap": {"layer", "feature"},
    "indirect_effect/ap/per_prompt": {"row", "entry"},
    "summary": {"condition"},
    "prompts": {"prompt", "prompt_token"},
    "provenance": {"file"},
    "provenance/stages": {"stage"},
    "tokens": {"token"},
    "activations": {"token", "d_model"},
    "gradients": {"token", "d_model"},
    **{f"feature_sets/{m}/global": {"rank"} for m in METHODS},
    **{f"feature_sets/{m}/local": {"prompt", "rank"} for m in METHODS},
}


def xarray_opens_every_group_with_the_names_of_its_dimensions(f, xarray):
    expected = dict(EXPECTED_DIMS)
    if "provenance/stop_token" in f:  # not there where nothing ends a reply but its length
        expected["provenance"] = {"file", "stop_token"}
    expected.update({g.name[1:]: {"prompt", "reply_token"} for _, _, g in
                     conditions(f, "generations")})
    expected.update({g.name[1:]: {"prompt"} for _, _, g in conditions(f, "scores")})
    opened = 0
    for group, dims in expected.items():
        if group in f:
            with xarray.open_dataset(f.filename, engine="h5netcdf", group=group) as ds:
                assert set(ds.sizes) == dims, f"{group}: {dict(ds.sizes)}"
                for name in ds.variables:
                    assert name in f[group], f"{group}/{name}"
                    assert ds.variables[name].attrs.get("long_name"), f"{group}/{name}"
            opened += 1
    assert opened >= 3, "no groups"


def xarray_reads_what_h5py_reads(f, xarray):
    for group, name in (("direction", "v"), ("candidates", "cosine"), ("prompts", "text"),
                        ("summary", "refusal")):
        if f"{group}/{name}" in f:
            with xarray.open_dataset(f.filename, engine="h5netcdf", group=group) as ds:
                d = f[group][name]
                values = d.asstr()[...] if h5py.check_string_dtype(d.dtype) else d[...]
                if values.dtype.kind == "f":
                    assert np.array_equal(ds[name].values, values, equal_nan=True), name
                else:
                    assert (ds[name].values == values).all(), name


def xarray_opens_the_whole_tree(f, xarray):
    if not hasattr(xarray, "open_datatree"):  # coordinates_mean_the_same_... stands for it
        return
    with xarray.open_datatree(f.filename, engine="h5netcdf") as tree:
        for path, d in datasets(f).items():
            group, name = path.rsplit("/", 1)
            if not group:  # a dimension
                continue
            found = tree[group][name]
            names = [name] if is_scale(d) else [dim[0].name.rsplit("/", 1)[1] for dim in d.dims]
            assert found.shape == d.shape and list(found.dims) == names, f"{path}: {found.dims}"
        for path in ("direction/v", "candidates/layer", "summary/refusal", "prompts/token_end"):
            if path in f:
                group, name = path.rsplit("/", 1)
                values = tree[group][name].values
                assert np.array_equal(values, f[path][...], equal_nan=values.dtype.kind == "f"), path


def saes_explain_what_they_read(f):
    """The shipped SAEs belong to the shipped models: L0 near what is claimed, little left over."""
    if "sae_check" not in f:
        return
    g = f["sae_check"]
    l0, claimed, fvu = g["l0"][...], g["claimed_l0"][...], g["fvu"][...]
    n = len(f["feature"])
    has = ~np.isnan(l0)
    assert has.any() and np.array_equal(has, ~np.isnan(fvu)), "layers"
    assert ((l0[has] > 0) & (l0[has] < n)).all(), l0
    assert ((fvu[has] > 0) & (fvu[has] < 0.5)).all(), fvu
    known = has & ~np.isnan(claimed)
    assert (np.abs(np.log(l0[known] / claimed[known])) < np.log(1.5)).all(), (l0, claimed)


# ---- running -------------------------------------------------------------------------------

TESTS = [every_dataset_can_be_read, every_type_is_one_that_all_readers_know,
         only_gzip_and_shuffle_are_used, every_dataset_has_long_name_and_units,
         every_dimension_has_a_named_scale_of_its_length, values_of_scales_do_not_repeat,
         coordinates_mean_the_same_in_all_groups_below_them,
         every_dataset_is_as_the_readme_says, root_attributes_are_complete,
         every_dataset_has_the_checksum_of_its_values,
         ends_ascend_to_the_length,
         prompts_begin_with_the_same_prefix, prompts_have_the_hashes_stored_with_them,
         adversarial_prompts_are_their_base_and_what_was_put_behind_it,
         prompt_ids_are_rows_of_prompts, token_tables_name_tokens_of_the_prompts,
         features_are_those_of_the_saes,
         saes_explain_what_they_read, sets_are_sorted_by_score_then_layer_then_feature,
         random_sets_have_as_many_features_per_layer_and_share_none,
         candidates_are_sorted_by_cosine_within_layers, effects_per_prompt_are_means_over_tokens,
         effects_of_all_features_agree_with_those_of_the_candidates,
         sets_are_the_best_by_mean_effect,
         own_sets_are_the_best_of_their_prompts_and_empty_where_nothing_has_an_effect,
         what_rounding_decides_is_counted,
         targets_lead_the_refusal_token_by_no_less_than_the_next, both_ways_back_are_compared_as_they_are,
         refusal_follows_from_the_replies,
         summary_has_the_share_of_each_class, scores_are_in_range,
         what_ended_a_reply_is_a_stop_token_of_the_run_or_its_length,
         answers_are_scored_on_all_their_tokens, summary_follows_from_the_scores, verdicts_are_of_the_pairs_of_their_condition,
         the_chosen_direction_is_in_the_file, the_chosen_layer_follows_from_the_scores,
         hashes_are_sha256]
XARRAY_TESTS = [xarray_opens_every_group_with_the_names_of_its_dimensions,
                xarray_reads_what_h5py_reads, xarray_opens_the_whole_tree]


def run(test, *arguments):
    try:
        test(*arguments)
        return True
    except AssertionError as e:
        print(f"FAILED {test.__name__}: {e}")
    except Exception as e:  # pylint: disable=broad-except
        print(f"FAILED {test.__name__}: {type(e).__name__}: {e}")
    return False


def main():
    if len(sys.argv) != 2:
        print(__doc__.split("\n\n")[1].strip(), file=sys.stderr)
        return 2
    with h5py.File(sys.argv[1], "r") as f:
        passed = [run(test, f) for test in TESTS]
        missing = None
        try:
            import xarray
            import h5netcdf  # noqa: F401
            passed += [run(test, f, xarray) for test in XARRAY_TESTS]
        except ImportError as e:
            missing = e
    print(f"{sum(passed)} of {len(passed)} passed")
    if not all(passed):
        return 1
    if missing:
        print(f"skipped: {missing}; the xarray tests need xarray and h5netcdf")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
