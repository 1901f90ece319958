# SPDX-License-Identifier: MIT
"""Reading a result file for the report: checked access, conditions, intervals.

Whatever a run did not write is None or an empty list here, so that the report leaves its section
out; whatever is there but not as results/README.md says raises BadFile with dataset, expected and
found. Needs h5py 3.7 and numpy 1.24 (Debian 12).
"""
import contextlib
import functools
import os
import re
from dataclasses import dataclass, field

import h5py
import numpy as np

TITLE = "saengine results"
SCHEMA_VERSION = 1

RESAMPLES = 2000
SEED = 0


class BadFile(Exception):
    """The file cannot be read, or is not what the schema says."""


class Result:
    """A result file, read only. Use as a context manager."""

    def __init__(self, path):
        self.path = path
        if not os.path.isfile(path):
            raise BadFile(f"{path}: no such file")
        try:
            self.file = h5py.File(path, "r")
        except OSError as e:
            # h5py puts everything it knows on one line; its first clause is the one that helps.
            raise BadFile(f"{path}: expected an HDF5 file that can be read: "
                          f"{str(e).splitlines()[0]}") from e
        try:
            with self._reading("/"):  # fails on what a killed run left behind
                len(self.file)
            title = self.attribute("/", "title", "")
            version = self.attribute("/", "schema_version", 0)
        except BadFile:
            self.file.close()
            raise
        if title != TITLE or version != SCHEMA_VERSION:
            self.file.close()
            raise BadFile(f'{path}: expected a file titled "{TITLE}" of schema version '
                          f"{SCHEMA_VERSION}, found title {str(title)[:60]!r}, version {version}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def _fault(self, path, expected, found):
        return BadFile(f"{self.path}: {path}: expected {expected}, found {found}")

    @contextlib.contextmanager
    def _reading(self, path):
        """What HDF5 or h5py raise on damaged bytes, which is many things, becomes BadFile."""
        try:
            yield
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError) as e:
            reason = str(e).splitlines() or [type(e).__name__]
            raise BadFile(f"{self.path}: {path}: cannot be read: {reason[0]}") from e

    def dataset(self, path, n_dims):
        """The dataset itself, not yet read; None when it is not in the file."""
        with self._reading(path):
            d = self.file.get(path)
        if d is None:
            return None
        if not isinstance(d, h5py.Dataset):
            raise self._fault(path, "a dataset", "a group")
        if d.ndim != n_dims:
            raise self._fault(path, f"{n_dims} dimensions", d.ndim)
        return d

    def _column(self, path, n_dims, length):
        d = self.dataset(path, n_dims)
        if d is not None and length is not None and len(d) != length:
            raise self._fault(path, f"{length} rows", len(d))
        return d

    def numbers(self, path, n_dims=1, length=None):
        """A numeric dataset as an array of its own type. `length`: rows it must have."""
        d = self._column(path, n_dims, length)
        if d is None:
            return None
        with self._reading(path):
            if d.dtype.kind in "iuf":
                return d[...]
        raise self._fault(path, "numbers", d.dtype)

    def rows(self, dataset, first, end):
        """Some rows of a dataset that is too large to read whole."""
        with self._reading(dataset.name):
            return dataset[first:end]

    def texts(self, path, length=None):
        """A text dataset as a list. Bytes that are no UTF-8 become U+FFFD."""
        d = self._column(path, 1, length)
        if d is None:
            return None
        with self._reading(path):
            if h5py.check_string_dtype(d.dtype) is not None:
                return list(d.asstr(errors="replace")[...])
        raise self._fault(path, "texts", d.dtype)

    def attribute(self, path, name, default):
        """An attribute of the type of `default`, which stands in when it is not there."""
        with self._reading(f"{path}@{name}"):
            group = self.file.get(path)
            if group is None or name not in group.attrs:
                return default
            value = group.attrs[name]
        if isinstance(default, int):
            if not isinstance(value, (int, np.integer)):
                raise self._fault(f"{path}@{name}", "an integer", value)
            return int(value)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def names(self, path):
        """Names of the groups in a group; [] when it is not there."""
        with self._reading(path):
            group = self.file.get(path)
            if not isinstance(group, h5py.Group):
                return []
            return [name for name in group if isinstance(group.get(name), h5py.Group)]


# ---- conditions ----------------------------------------------------------------------------

METHODS = {"cossim_ap": "CosSim+AP", "ap": "AP", "cossim": "CosSim", "actdiff": "ActDiff",
           "random": "Random"}
SCOPES = ("global", "local")
# The conditions that clamp no features: the parts of their label, and, in a sentence, what the
# replies are "with".
REFERENCES = {"none": (("Unedited", ""), "no edit"),
              "ablate_direction": (("Direction ablated", "(AS)"), "the direction ablated"),
              "add_direction": (("Direction added", ""), "the direction added")}
_CLAMP = re.compile(r"(?P<method>\w+)_(?P<scope>global|local)_(?P<op>x|to)(?P<value>[-+.\w]+)")


def number_label(value):
    """A number as text, with a true minus sign."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Condition:
    """What was done to the model: host/measure/conditions.c spells the names."""
    name: str
    kind: str          # "reference" (one of REFERENCES), "scale", "set", "other"
    method: str = ""
    scope: str = ""
    value: float = 0.0

    @staticmethod
    def of(name):
        if name in REFERENCES:
            return Condition(name, "reference")
        m = _CLAMP.fullmatch(name)
        try:
            return Condition(name, "scale" if m["op"] == "x" else "set", m["method"], m["scope"],
                             float(m["value"]))
        except (TypeError, ValueError):  # no match, or no number
            return Condition(name, "other")

    @property
    def order(self):
        methods = list(METHODS)
        return ((*REFERENCES, "scale", "set", "other").index(
                    self.name if self.kind == "reference" else self.kind),
                methods.index(self.method) if self.method in methods else len(methods),
                self.method, self.scope, abs(self.value), self.value, self.name)

    @property
    def operation(self):
        sign = "\N{MULTIPLICATION SIGN} " if self.kind == "scale" else "set to "
        return sign + number_label(self.value)

    @property
    def parts(self):
        """What it is called, and for a clamp, how it was done."""
        if self.kind == "reference":
            return REFERENCES[self.name][0]
        if self.kind == "other":
            return self.name, ""
        return METHODS.get(self.method, self.method), f"{self.scope}, {self.operation}"

    @property
    def label(self):
        name, how = self.parts
        return name + ("" if not how else f" {how}" if self.kind == "reference" else f", {how}")


@dataclass
class Scores:
    """The columns of one condition; a column that was not measured is None."""
    condition: Condition
    prompts: np.ndarray                  # ids
    columns: dict = field(default_factory=dict)

    def mean(self, name):
        column = self.columns.get(name)
        return float("nan") if column is None or len(column) == 0 else float(np.mean(column))


COLUMNS = ("refusal", "p_refusal", "kl", "nll", "n_tokens", "jailbreak", "p_yes")
# Where replies are told apart by rules; the third, refusal, is a column already.
CLASSES = ("partial", "compliance")


def read_scores(result, experiment):
    """The conditions of /scores/EXPERIMENT by name, in the order of the report."""
    found = []
    for name in result.names(f"/scores/{experiment}"):
        group = f"/scores/{experiment}/{name}"
        prompts = result.numbers(f"{group}/prompt")
        if prompts is None:
            continue
        scores = Scores(Condition.of(name), prompts)
        for column in COLUMNS:
            values = result.numbers(f"{group}/{column}", length=len(prompts))
            if values is not None:
                scores.columns[column] = values.astype(float)
        classes = result.texts(f"{group}/class", len(prompts))
        for column in CLASSES if classes is not None else ():
            scores.columns[column] = np.array([c == column for c in classes], float)
        found.append(scores)
    found.sort(key=lambda s: s.condition.order)
    return {s.condition.name: s for s in found}


@dataclass
class Verdicts:
    """What a judge says of the replies: {experiment: conditions as read_scores gives them}."""
    judge: str
    scores: dict


def _agree(result, judge):
    """Whether the judge's requests are the prompts of the result file."""
    texts, asked = result.texts("/prompts/text") or [], judge.texts("/prompts/text") or []
    source = judge.numbers("/prompts/source", length=len(asked))
    return source is not None and all(0 <= i < len(texts) and texts[i] == text
                                      for i, text in zip(source.tolist(), asked))


def read_verdicts(result, judge=None):
    """Of the judge's file, or of the result file if it is one; None when there are none."""
    file = judge or result
    scores = {}
    for experiment in file.names("/scores"):
        own = {name: s for name, s in with_column(read_scores(file, experiment),
                                                  "jailbreak").items() if len(s.prompts)}
        if own:
            scores[experiment] = own
    if judge and not scores:
        raise BadFile(f"{judge.path}: expected the verdicts of a judge, found none")
    if judge and not _agree(result, judge):
        raise BadFile(f"{judge.path}: expected verdicts on the prompts of {result.path}, found "
                      "others")
    if not scores:
        return None
    roles, files = (file.texts(f"/provenance/{name}") or [] for name in ("role", "file"))
    folders = [os.path.dirname(path) for role, path in zip(roles, files) if role == "model"]
    return Verdicts(folders[0] if folders else file.path, scores)


def with_column(scores, column):
    return {name: s for name, s in scores.items() if column in s.columns}


def main_factor(scores, highest=False):
    """The condition that stands for its experiment: of the paper's method (else the first other
    than random), global before local, the mildest value whose refusal is within 0.05 of the best.
    Best is lowest, or highest where refusal is induced. None when nothing was clamped."""
    clamps = [s for s in with_column(scores, "refusal").values()
              if s.condition.kind in ("scale", "set") and len(s.prompts)]
    for method in [m for m in METHODS if m != "random"] + ["random"]:
        for scope in SCOPES:
            own = [s for s in clamps
                   if (s.condition.method, s.condition.scope) == (method, scope)]
            if not own:
                continue
            sign = -1 if highest else 1
            best = min(sign * s.mean("refusal") for s in own)
            close = [s for s in own if sign * s.mean("refusal") <= best + 0.05]
            return min(close, key=lambda s: abs(s.condition.value)).condition
    return None


def main_conditions(scores, main):
    """The few that tables and examples compare: unedited, direction ablated or added, the main
    method at the main value in every scope, random features at that value."""
    chosen = []
    for s in scores.values():
        c = s.condition
        same_value = main and (c.kind, c.value) == (main.kind, main.value)
        if c.kind == "reference" or same_value and c.method in (main.method, "random"):
            chosen.append(c)
    return chosen


# ---- intervals -----------------------------------------------------------------------------

@functools.lru_cache(maxsize=4)
def _counts(n):
    """How often each of n prompts occurs in each resample. One draw per n, so all columns over
    the same prompts see the same resamples and their differences are paired."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float32)


def resampled_ratio(numerator, denominator=None):
    """sum(numerator) / sum(denominator) in every resample of the prompts; the mean without a
    denominator. Rows of `numerator` are prompts; NaN for none."""
    numerator = np.asarray(numerator, float)
    n = len(numerator)
    if n == 0:
        return np.full((RESAMPLES,) + numerator.shape[1:], np.nan)
    counts = _counts(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return counts @ numerator / (n if denominator is None
                                     else counts @ np.asarray(denominator, float))


def interval(resampled):
    """The middle 95 % of resamples: (low, high), along the first axis."""
    if np.isnan(resampled).all():
        nan = np.full(resampled.shape[1:], np.nan)
        return nan, nan
    return tuple(np.quantile(resampled, (0.025, 0.975), axis=0))


# ---- what the sections show ----------------------------------------------------------------

@dataclass
class Features:
    """A feature set, best first."""
    layer: np.ndarray
    feature: np.ndarray
    score: np.ndarray
    cosine: np.ndarray

    def __len__(self):
        return len(self.layer)

    def pairs(self):
        return list(zip(self.layer.tolist(), self.feature.tolist()))


def read_set(result, method):
    group = f"/feature_sets/{method}/global"
    layer = result.numbers(f"{group}/layer")
    if layer is None:
        return None
    columns = [result.numbers(f"{group}/{name}", length=len(layer))
               for name in ("feature", "score", "cosine")]
    if any(c is None for c in columns):
        return None
    return Features(layer, *columns)


@dataclass
class Direction:
    """v [position, layer, d_model]; the chosen (position index, layer); scores [position, layer]
    by name, empty when the layer was given."""
    v: np.ndarray
    positions: np.ndarray
    chosen: tuple
    scores: dict

    def norms(self):
        return np.linalg.norm(self.v, axis=2)

    def cosines(self):
        """With the chosen direction."""
        u = self.v[self.chosen]
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.v @ u / (self.norms() * np.linalg.norm(u))


def read_direction(result):
    v = result.numbers("/direction/v", 3)
    if v is None or v.size == 0:
        return None
    positions = result.numbers("/direction/position", length=v.shape[0])
    if positions is None:
        positions = -1 - np.arange(v.shape[0])
    position = result.attribute("/direction", "position", -1)
    layer = result.attribute("/direction", "layer", -1)
    if not (0 <= layer < v.shape[1] and position in positions):
        raise BadFile(f"{result.path}: /direction: expected a layer from 0 to {v.shape[1] - 1} and "
                      f"a position of {positions.tolist()}, found {layer} and {position}")
    scores = {name: result.numbers(f"/direction/{name}", 2, v.shape[0])
              for name in ("ablated", "added", "kl")}
    return Direction(v.astype(float), positions, (positions.tolist().index(position), layer),
                     {k: s for k, s in scores.items() if s is not None and s.shape == v.shape[:2]})


@dataclass
class Candidates:
    layer: np.ndarray
    feature: np.ndarray
    cosine: np.ndarray
    effect: np.ndarray  # mean over prompts; None without /indirect_effect/cossim_ap

    def pairs(self):
        return list(zip(self.layer.tolist(), self.feature.tolist()))


def read_candidates(result):
    layer = result.numbers("/candidates/layer")
    if layer is None or len(layer) == 0:
        return None
    feature = result.numbers("/candidates/feature", length=len(layer))
    cosine = result.numbers("/candidates/cosine", length=len(layer))
    effect = result.numbers("/indirect_effect/cossim_ap/per_prompt", 2)
    if feature is None or cosine is None:
        return None
    if effect is not None and (effect.shape[1] != len(layer) or len(effect) == 0):
        effect = None
    return Candidates(layer, feature, cosine,
                      None if effect is None else effect.mean(axis=0, dtype=float))


@dataclass
class OtherWay:
    """F* by the other way of attribution.ig_backward, beside the file's own."""
    name: str           # of the other way; the file's own is own_name
    own_name: str
    pairs: list         # (layer, feature), best first
    effect: dict        # (layer, feature) -> mean over prompts, logit
    correlation: float  # of all effects by prompt and candidate
    shared: float       # features in a prompt's own set either way, mean over prompts with effects


BACKWARD = ("path", "straight_through")


def read_other_way(result, candidates):
    """None where the run did not compare."""
    own = result.numbers("/indirect_effect/cossim_ap/per_prompt", 2)
    for name, own_name in (BACKWARD, BACKWARD[::-1]):
        group = f"/indirect_effect/cossim_ap/{name}"
        effect = result.numbers(f"{group}/per_prompt", 2)
        chosen = result.numbers(f"{group}/chosen")
        shared = result.numbers(f"{group}/shared")
        if (candidates is None or own is None or effect is None or chosen is None or shared is None
                or effect.shape != own.shape or effect.shape[1] != len(candidates.layer)
                or len(effect) == 0):
            continue
        pairs = candidates.pairs()
        if not ((chosen >= 0) & (chosen < len(pairs))).all():
            raise BadFile(f"{result.path}: {group}/chosen: expected rows of /candidates")
        moves = own.std() > 0 and effect.std() > 0
        some = (own != 0).any(axis=1) & (np.arange(len(own)) < len(shared))
        return OtherWay(name, own_name, [pairs[k] for k in chosen],
                        dict(zip(pairs, effect.mean(axis=0, dtype=float))),
                        np.corrcoef(own.ravel(), effect.ravel())[0, 1] if moves else float("nan"),
                        float(shared[some].mean()) if some.any() else 0.0)
    return None


def suffix_pieces(text):
    """A template's suffix in the pieces that its tokens have: special tokens, runs of newlines,
    what lies between. True of the templates the engine knows; others get bare positions."""
    return re.findall(r"<[^<>\s]+>|\n+|[^<>\n]+", text)


@dataclass
class Positions:
    """|IE| by place in the prompt, of the features named."""
    labels: list        # "user text", then the suffix's tokens
    per_token: np.ndarray  # [prompt, place]: mean |IE| of a feature at a token, logit
    share: np.ndarray   # [place]: of all |IE|
    n_features: int


ROWS_AT_ONCE = 4096  # of the token table: a few MB at any number of candidates


def read_positions(result, features, candidates):
    """Where in the prompt the effect of the chosen features (all candidates without a set) sits."""
    group = "/indirect_effect/cossim_ap/per_token"
    effect = result.dataset(f"{group}/effect", 2)
    if effect is None or candidates is None or effect.shape[1] != len(candidates.layer):
        return None
    prompt = result.numbers(f"{group}/token_prompt", length=len(effect))
    position = result.numbers(f"{group}/token_position", length=len(effect))
    ends = result.numbers("/prompts/token_end")
    ids = result.numbers("/prompts/token_ids")
    if any(x is None or len(x) == 0 for x in (prompt, position, ends, ids)):
        return None
    if prompt.min() < 0 or prompt.max() >= len(ends):
        raise BadFile(f"{result.path}: {group}/token_prompt: expected prompt ids below "
                      f"{len(ends)}, found {prompt.max()}")
    if np.diff(ends, prepend=0).min() < 0 or ends[-1] != len(ids):
        raise BadFile(f"{result.path}: /prompts/token_end: expected ends that ascend to "
                      f"{len(ids)}, found {ends[-1]} last")
    chosen = set(features.pairs()) if features else set()
    columns = [k for k, pair in enumerate(candidates.pairs()) if pair in chosen]
    columns = np.array(columns or range(effect.shape[1]))
    size = np.empty(len(effect))
    for first in range(0, len(effect), ROWS_AT_ONCE):
        rows = result.rows(effect, first, first + ROWS_AT_ONCE)
        size[first:first + len(rows)] = np.abs(rows[:, columns]).mean(axis=1, dtype=float)

    pieces = suffix_pieces(result.attribute("/prompts", "suffix", ""))
    n_suffix = min(len(pieces), common_suffix(ids, ends))
    n_prefix = result.attribute("/prompts", "n_prefix", 0)
    lengths = np.diff(ends, prepend=0)
    # Places: 0 the template's prefix, 1 the user's text, 2.. the suffix.
    labels = ["template prefix", "user text"] + [
        p.replace("\n", "\\n") for p in pieces[len(pieces) - n_suffix:]]
    place = np.clip(n_suffix - (lengths[prompt] - position) + 2, 1, len(labels) - 1)
    place[position < n_prefix] = 0

    prompts, row = np.unique(prompt, return_inverse=True)
    sums = np.zeros((len(prompts), len(labels)))
    tokens = np.zeros_like(sums)
    np.add.at(sums, (row, place), size)
    np.add.at(tokens, (row, place), 1)
    used = tokens.sum(axis=0) > 0
    with np.errstate(invalid="ignore"):
        per_token = np.where(tokens > 0, sums / tokens, 0)
    return Positions([x for x, u in zip(labels, used) if u], per_token[:, used],
                     sums.sum(axis=0)[used] / max(sums.sum(), 1e-300), len(columns))


def common_suffix(ids, ends):
    """How many last tokens all prompts share."""
    starts = np.concatenate([[0], ends[:-1]])
    n = 0
    while n < (ends - starts).min() and len(np.unique(ids[ends - 1 - n])) == 1:
        n += 1
    return n
