#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The report on a result file and on copies with parts taken away, emptied or made hostile.

    python3 tests/test_report.py results/tiny_gemma2_ap.h5

What must hold: every file of the schema, whatever groups it has, gives a page with exit status 0;
the page loads nothing from elsewhere and shows prompts as text, never as markup; the same file
gives the same page; what is no result file gives one line and exit status 3.
Exit status: 0 passed, 1 failed, 2 usage, 77 skipped.
"""
import concurrent.futures
import contextlib
import html.parser
import io
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

try:
    import h5py
    import matplotlib  # noqa: F401
    import numpy as np
except ImportError as e:
    print(f"skipped: {e}; the report needs h5py, numpy and matplotlib")
    sys.exit(77)

PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python")
sys.path.insert(0, PACKAGE)
from saengine.report import __main__ as report, figures  # noqa: E402, found only now
HOSTILE = '<script>alert("x")</script><img src="http://example.org/x" onerror=alert(1)>&amp;\x01'
SHOWN = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&lt;img src=&quot;http"
VOID = {"meta", "br", "img", "link", "hr", "input"}


def start(*arguments):
    """The report as a user starts it. Warnings would be noise on every run, so they fail."""
    return subprocess.run([sys.executable, "-W", "error", "-m", "saengine.report", *arguments],
                          env={**os.environ, "PYTHONPATH": PACKAGE}, capture_output=True, text=True,
                          check=False)


def run(*arguments):
    """The same without starting Python and matplotlib again, which takes longer than the page."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), \
            warnings.catch_warnings():
        warnings.simplefilter("error")
        sys.argv = ["saengine.report", *arguments]
        try:
            code = report.main()
        except SystemExit as e:
            code = e.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def remembered(drawn):
    """Figures of the same data drawn once: nine tenths of a page's time, and most copies change
    nothing of most figures."""
    known = {}

    def recall(draw, args, keywords):
        key = pickle.dumps((draw.__module__, draw.__qualname__, args, keywords))
        if key not in known:
            known[key] = drawn(draw, args, keywords)
        return known[key]
    return recall


class Page(html.parser.HTMLParser):
    """What a page would load, where it links, and whether its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.open, self.faults, self.sections = [], [], [], [], []
        self.feed(text)
        self.faults += [f"never closed: {tag}" for tag in self.open]
        self.loads += re.findall(r"(?:@import|url\()\s*['\"]?([^'\")\s]*)", text)

    def handle_starttag(self, tag, attrs):
        self.see(tag, dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.see(tag, dict(attrs))

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.faults.append(f"</{tag}> inside {self.open[-1:]}")

    def see(self, tag, attributes):
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form"):
            self.faults.append(f"<{tag}>")
        self.faults += [f"{tag} {name}" for name in attributes if name.startswith("on")]
        if tag == "section":
            self.sections.append(attributes.get("id"))
        for name in ("src", "href", "xlink:href", "data", "srcset", "poster", "action"):
            if attributes.get(name):
                (self.links if tag == "a" else self.loads).append(attributes[name])


def check_page(text):
    page = Page(text)
    assert not page.faults, page.faults[:5]
    outside = [x for x in page.loads if not x.startswith(("#", "data:"))]
    assert not outside, f"loads {outside[:5]}"
    for link in page.links:
        assert re.match(r"#[\w-]+$|https://www\.neuronpedia\.org/[\w./~%-]+$", link), link
    return page


# ---- copies --------------------------------------------------------------------------------

def removals(path):
    """Every group of the first two levels, and of the third those that others are compared with."""
    found = []
    with h5py.File(path, "r") as f:
        f.visititems(lambda name, o: found.append(name) if isinstance(o, h5py.Group) else None)
    return [g for g in found if g.count("/") < 2
            or g.count("/") == 2 and g.split("/")[-1] in ("none", "ablate_direction", "per_token")]


def remove(group):
    def change(f):
        del f[group]
    return change


def remove_all_datasets(f):
    """Groups stay, empty: the most a reader could be disappointed by."""
    names = []
    f.visititems(lambda name, o: names.append(name) if isinstance(o, h5py.Dataset) else None)
    for name in names:
        del f[name]


def add_empty_conditions(f):
    """A condition without prompts, and one without datasets."""
    for experiment in ("jailbreak", "induce", "coherence"):
        group = f.require_group(f"/scores/{experiment}/cossim_ap_global_x-9")
        group["prompt"] = np.zeros(0, np.int32)
        for name in ("refusal", "p_refusal", "kl", "nll", "n_tokens"):
            group[name] = np.zeros(0)
        replies = f.require_group(f"/generations/{experiment}/cossim_ap_global_x-9")
        replies["prompt"] = np.zeros(0, np.int32)
        replies.create_dataset("text", (0,), h5py.string_dtype())
        f.require_group(f"/scores/{experiment}/ap_global_x-9")
        f.require_group(f"/generations/{experiment}/ap_global_x-9")


def empty_every_condition(f):
    for experiment in f.get("scores", {}):
        for condition in f["scores"][experiment].values():
            for name in list(condition):
                kind = h5py.check_string_dtype(condition[name].dtype)
                del condition[name]
                condition.create_dataset(name, (0,), kind and h5py.string_dtype())


def unknown_condition(f):
    for experiment in f.get("scores", {}):
        first = next(iter(f["scores"][experiment]))
        f.copy(f"/scores/{experiment}/{first}", f"/scores/{experiment}/something_new")


def hostile_texts(f):
    def spoil(name, o):
        if isinstance(o, h5py.Dataset) and h5py.check_string_dtype(o.dtype) and o.ndim == 1:
            o[...] = [HOSTILE] * len(o)
    f.visititems(spoil)
    for where in (f, f["prompts"] if "prompts" in f else f):
        for name, value in where.attrs.items():
            if isinstance(value, str) and name not in ("title", "Conventions"):
                where.attrs[name] = HOSTILE
    f.attrs["neuronpedia"] = 'a b/{layer}"><script>'


def replies_that_are_no_text(f):
    for condition in f.get("generations/jailbreak", {}).values():
        condition["text"][...] = [b"\xff\xfe broken \xf0"] * len(condition["text"])


def one_prompt(f):
    """Intervals, positions and tables of a single prompt."""
    for experiment in f.get("scores", {}):
        for condition in f["scores"][experiment].values():
            for name in list(condition):
                first = condition[name][:1]
                del condition[name]
                condition[name] = first


def not_a_number(f):
    for name in ("candidates/cosine", "indirect_effect/cossim_ap/per_prompt",
                 "feature_sets/cossim_ap/global/score", "direction/v"):
        if name in f:
            f[name][...] = np.nan


def unfinished(f):
    del f.attrs["finished"]


GOOD = [("datasets removed", remove_all_datasets), ("empty conditions added", add_empty_conditions),
        ("every condition empty", empty_every_condition), ("unknown condition", unknown_condition),
        ("hostile texts", hostile_texts), ("broken replies", replies_that_are_no_text),
        ("one prompt", one_prompt), ("not a number", not_a_number), ("unfinished", unfinished)]


def wrong_rank(f):
    shape = f["direction/v"].shape
    del f["direction/v"]
    f["direction/v"] = np.zeros(shape[1:])


def wrong_length(f):
    del f["candidates/feature"]
    f["candidates/feature"] = np.zeros(1, np.int32)


def wrong_type(f):
    del f["scores/jailbreak/none/refusal"]
    f["scores/jailbreak/none/refusal"] = [b"yes"] * len(f["scores/jailbreak/none/prompt"])


def layer_outside(f):
    f["direction"].attrs["layer"] = 1000


def token_ends_outside(f):
    if "indirect_effect/cossim_ap/per_token" not in f:
        raise KeyError("nothing that the report would look up by token")
    f["prompts/token_end"][...] = 2**30


def other_schema(f):
    f.attrs["schema_version"] = 99


def other_title(f):
    f.attrs["title"] = "something else"


BAD = [wrong_rank, wrong_length, wrong_type, layer_outside, token_ends_outside, other_schema,
       other_title]


def changed(path, folder, name, change):
    """A copy of the file with a change made, or None where it does not apply to this file."""
    copy = os.path.join(folder, re.sub(r"\W+", "_", name) + ".h5")
    shutil.copyfile(path, copy)
    try:
        with h5py.File(copy, "r+") as f:
            change(f)
    except KeyError:
        return None
    return copy


# ---- tests ---------------------------------------------------------------------------------

def expect_page(path, out=None):
    result = run(path, *(["-o", out] if out else []))
    assert result.returncode == 0, f"exit status {result.returncode}: {result.stderr[-400:]}"
    assert not result.stderr, result.stderr[-400:]
    out = out or os.path.splitext(path)[0] + ".html"
    assert result.stdout == out + "\n", result.stdout
    with open(out, encoding="utf-8") as f:
        return f.read()


def expect_refusal(path, status=3, *arguments):
    result = run(path, *arguments)
    assert result.returncode == status, f"exit status {result.returncode}, expected {status}"
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("saengine.report: "), \
        result.stderr[-400:]
    assert not result.stdout, result.stdout


def named_conditions(f, experiment):
    """The conditions without features that a file has scores of, as the report names them."""
    names = {"none": "Unedited", "ablate_direction": "Direction ablated",
             "add_direction": "Direction added"}
    return [names[n] for n in f.get(f"scores/{experiment}", {}) if n in names]


def whole_file(path, folder):
    out = os.path.join(folder, "whole.html")
    text = expect_page(path, out)
    page = check_page(text)
    with h5py.File(path, "r") as f:
        present = {"direction": "direction/v" in f, "features": "candidates" in f,
                   "refusal": "scores/jailbreak" in f, "induce": "scores/induce" in f,
                   "provenance": True}
        shown = {"refusal": named_conditions(f, "jailbreak"),
                 "induce": named_conditions(f, "induce")}
        told_apart = "scores/jailbreak/none/class" in f
        token = f["prompts"].attrs["refusal_token"]
        likely = f["refusal_check/probability"][0]
    for section, expected in present.items():
        assert (section in page.sections) == expected, f"section {section}: {page.sections}"
    for section, names in shown.items():
        for name in names:
            assert name in text.split(f'<section id="{section}"')[1].split("</section>")[0], \
                f"section {section}: {name} is not there"
    assert ("Replies are told apart by rules" in text) == told_apart
    assert (">partial</th>" in text and ">compliance</th>" in text) == told_apart
    assert re.search(fr"<dt>refusal token</dt><dd>{token} I \(begins a reply with probability: {token} I: "
                     fr"{likely:.3f}", text), "the refusal token is not there"


def summary(path, folder):
    """The small file beside it gives the same sections, but for those of what it leaves out."""
    small = os.path.splitext(path)[0] + ".summary.h5"
    with h5py.File(small, "r") as f:
        left_out = f["left_out/dataset"].asstr()[...].tolist()
    text = expect_page(small, os.path.join(folder, "summary.html"))
    assert f"{os.path.basename(path)}, which has {len(left_out)} more datasets" in text
    whole = check_page(expect_page(path, os.path.join(folder, "of.html"))).sections
    gone = {"positions"} if any(name.endswith("/per_token/effect") for name in left_out) else set()
    assert [s for s in whole if s not in gone] == check_page(text).sections, whole


def group_removed(path, folder, group):
    copy = changed(path, folder, "without " + group, remove(group))
    page = check_page(expect_page(copy))
    gone = {"direction": "direction", "candidates": None, "scores/jailbreak": "refusal",
            "scores/induce": "induce", "generations": "examples"}.get(group)
    assert gone not in page.sections or gone is None, f"section {gone} without {group}"
    os.remove(copy)


def variant(path, folder, name, change):
    copy = changed(path, folder, name, change)
    if copy is None:
        return
    text = expect_page(copy)
    check_page(text)
    if change is hostile_texts:
        assert SHOWN in text, "prompts are not shown as text"
        assert "<script" not in text and "\x01" not in text
    if change is unfinished:
        assert "did not finish" in text


def refused(path, folder, change):
    copy = changed(path, folder, change.__name__, change)
    if copy is not None:
        expect_refusal(copy)


def no_result_file(path, folder):
    text = os.path.join(folder, "text.h5")
    with open(text, "w", encoding="utf-8") as f:
        f.write("not HDF5\n" * 100)
    expect_refusal(text)
    expect_refusal(os.path.join(folder, "missing.h5"))
    expect_refusal(folder)
    cut = os.path.join(folder, "cut.h5")
    with open(path, "rb") as whole, open(cut, "wb") as f:
        f.write(whole.read(os.path.getsize(path) // 2))
    expect_refusal(cut)


def output_that_cannot_be_written(path, folder):
    expect_refusal(path, 5, "-o", os.path.join(folder, "no", "such", "folder.html"))


def usage(path, folder):
    out = os.path.join(folder, "started.html")
    pages = []
    for _ in range(2):
        result = start(path, "-o", out)
        assert result.returncode == 0, f"exit status {result.returncode}: {result.stderr[-400:]}"
        with open(out, encoding="utf-8") as f:
            pages.append(f.read())
    assert pages[0] == pages[1], "the same file gave another page"
    assert run().returncode == 2
    assert run("a", "b").returncode == 2


def main():
    if len(sys.argv) != 2:
        print(__doc__.split("\n\n")[1].strip(), file=sys.stderr)
        return 2
    path = sys.argv[1]
    failed = 0
    figures.drawn = remembered(figures.drawn)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [("whole file", whole_file, ()), ("no result file", no_result_file, ()),
                ("output that cannot be written", output_that_cannot_be_written, ()),
                ("usage", usage, ()), ("summary", summary, ())]
        jobs += [("without " + g, group_removed, (g,)) for g in removals(path)]
        jobs += [(name, variant, (name, change)) for name, change in GOOD]
        jobs += [("refuses " + change.__name__, refused, (change,)) for change in BAD]
        run(path, "-o", os.path.join(folder, "first.html"))  # its figures are known to all forks
        with concurrent.futures.ProcessPoolExecutor(
                os.cpu_count(), multiprocessing.get_context("fork")) as pool:
            started = [(name, pool.submit(test, path, folder, *extra))
                       for name, test, extra in jobs]
            for name, job in started:
                try:
                    job.result()
                except AssertionError as e:
                    failed += 1
                    print(f"FAILED {name}: {e}")
    print(f"{len(jobs) - failed} of {len(jobs)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
