#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prompts that the model answers with the refusal token under the ablated direction as well: their
metric compares a token with itself, so that no feature has an effect and none is their own. What
follows from that, on tiny-gemma2.

    python3 tests/test_empty_sets.py ENGINE FOLDER-FOR-RESULTS

Exit status: 0 passed, 1 failed, 2 usage, 77 skipped.
"""
import json
import pathlib
import subprocess
import sys

try:
    import h5py
except ImportError as e:
    print(f"skipped: {e}; reading result files needs h5py")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[1]
if len(sys.argv) != 3:
    print(__doc__.split("\n\n")[1].strip(), file=sys.stderr)
    sys.exit(2)
ENGINE, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
N = 12
SMALL = ["prompts.harmful_train.limit=16", "prompts.harmless_train.limit=16", f"prompts.harmful_test.limit={N}",
         "prompts.harmless_test.limit=8", "generate.max_new_tokens=12", "clamp.scale=[-1.0]",
         'attribution.methods=["cossim_ap", "ap", "random"]']


def run(name, *settings, experiments=("direction", "attribution", "jailbreak")):
    path = FOLDER / f"empty_{name}.h5"
    settings = (*SMALL, f"experiment={json.dumps(experiments)}", *settings, f"output={path}")
    done = subprocess.run([ENGINE, "configs/tiny_gemma2_ap.cfg", "--fresh", *(x for s in settings for x in ("--set", s))],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name}: exit status {done.returncode}: {done.stderr}"
    return h5py.File(path), done.stderr


def own_sets(f, method="cossim_ap"):
    """{prompt: [(layer, feature), ...]}"""
    g = f[f"feature_sets/{method}/local"]
    return {int(p): [(int(a), int(b)) for a, b in zip(layer, feature) if a >= 0]
            for p, layer, feature in zip(g["prompt"][...], g["layer"][...], g["feature"][...])}


def replies(f, condition):
    g = f[f"generations/jailbreak/{condition}"]
    return dict(zip(g["prompt"][...].tolist(), g["text"].asstr()[...].tolist()))


def without_metric(f):
    g = f["indirect_effect/cossim_ap"]
    return set(g["prompt"][...][g["target"][...] == f["prompts"].attrs["refusal_token"]].tolist())


def such_prompts_have_no_features_and_reply_as_unedited(none, warned):
    empty = without_metric(none)
    assert 0 < len(empty) < N, f"{len(empty)} of {N} prompts: the models have changed, take others"
    assert f"{len(empty)} of {N} prompts begin with the refusal token" in warned, warned
    for method in ("cossim_ap", "ap"):
        assert {p for p, s in own_sets(none, method).items() if not s} == empty, method
        unedited, clamped = replies(none, "none"), replies(none, f"{method}_local_x-1")
        assert all(unedited[p] == clamped[p] for p in empty), method
        assert any(unedited[p] != clamped[p] for p in set(unedited) - empty), f"{method}: the clamp does nothing"


def they_can_have_the_global_ones(none):
    f, warned = run("global", "attribution.empty_local=global")
    empty, best = without_metric(none), f["feature_sets/cossim_ap/global"]
    assert "their own features are the global ones" in warned, warned
    own = own_sets(f)
    best = list(zip(best["layer"][...].tolist(), best["feature"][...].tolist()))
    assert all(own[p] == best for p in empty)
    assert {p: s for p, s in own.items() if p not in empty} == \
        {p: s for p, s in own_sets(none).items() if p not in empty}
    local, shared = replies(f, "cossim_ap_local_x-1"), replies(f, "cossim_ap_global_x-1")
    assert all(local[p] == shared[p] for p in empty)


def an_empty_set_of_an_earlier_file_is_one(none):
    f, _ = run("from", f"from={none.filename}", experiments=("jailbreak",))
    assert replies(f, "cossim_ap_local_x-1") == replies(none, "cossim_ap_local_x-1")


def batches_do_not_change_the_sets(none):
    f, _ = run("batches", "batch.tokens=40", experiments=("direction", "attribution"))
    for method in ("cossim_ap", "ap"):
        assert own_sets(f, method) == own_sets(none, method), method


def a_run_of_such_prompts_alone_has_empty_sets(none):
    texts, ids = none["prompts/text"].asstr()[...], sorted(without_metric(none))
    file = FOLDER / "empty_prompts.json"
    file.write_text(json.dumps([{"instruction": texts[p]} for p in ids]))
    f, _ = run("alone", f"prompts.harmful_test.file={file}", "generate.max_new_tokens=8", "paper_compatible=true",
               experiments=("direction", "attribution", "jailbreak", "induce", "coherence"))
    assert f["indirect_effect/cossim_ap"].attrs["without_metric"] == len(ids)
    assert not any(own_sets(f).values()) and len(f["feature_sets/cossim_ap/global/layer"]) == 0
    assert replies(f, "cossim_ap_global_x-1") == replies(f, "none")


def main():
    none, warned = run("none")
    failed = 0
    for test, arguments in ((such_prompts_have_no_features_and_reply_as_unedited, (none, warned)),
                            (they_can_have_the_global_ones, (none,)), (an_empty_set_of_an_earlier_file_is_one, (none,)),
                            (batches_do_not_change_the_sets, (none,)),
                            (a_run_of_such_prompts_alone_has_empty_sets, (none,))):
        try:
            test(*arguments)
            print(f"ok   {test.__name__}")
        except AssertionError as e:
            failed += 1
            print(f"FAIL {test.__name__}: {e}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
