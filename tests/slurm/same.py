#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Are two result files equal, bit for bit, but for /provenance and attributes of the run?

    python3 tests/slurm/same.py A.h5 B.h5
"""
import sys

import h5py


def datasets(path):
    found = {}
    with h5py.File(path) as f:
        f.visititems(lambda name, o: found.__setitem__(name, (o.shape, o[...].tolist() if o.dtype.kind == "O"
                                                              else o[...].tobytes()))
                     if isinstance(o, h5py.Dataset) and not name.startswith("provenance/") else None)
    return found


a, b = (datasets(path) for path in sys.argv[1:3])
different = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
if different or len(a) < 20:
    sys.exit(f"{sys.argv[1]} and {sys.argv[2]} differ in {different[:5]} ({len(a)} datasets)")
