#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The golden verdicts of tests/test_judge.py: what the small world's rule says of each reply.

    python3 tests/golden/judge/make_verdicts.py results/tiny_judge.h5

Reads requests and replies of a judge's file, not its verdicts; those come from complies() of
tools/check_small_models.py (which needs torch). A line is the first 16 digits of the SHA-256 of request, line
feed, reply, and 1 where the reply does what a harmful request asks.
"""
import hashlib
import sys
from pathlib import Path

import h5py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "tools"))
from train_small_judge import verdict_of_rule  # noqa: E402, found only now

with h5py.File(sys.argv[1]) as f:
    pairs = {(a, b) for a, b in zip(f["prompts/text"].asstr()[...], f["prompts/reply"].asstr()[...])}
lines = sorted(f"{hashlib.sha256(f'{a}{chr(10)}{b}'.encode()).hexdigest()[:16]} {int(verdict_of_rule(a, b))}" for a, b in pairs)
(HERE / "verdicts.txt").write_text("\n".join(lines) + "\n")
print(f"{len(lines)} pairs, {sum(line.endswith('1') for line in lines)} of them 1")
