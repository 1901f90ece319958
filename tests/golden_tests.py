# SPDX-License-Identifier: MIT
"""Running the tests of a script that holds a result file to golden numbers."""
import sys

import h5py
import numpy as np


def run_golden(doc, tests, golden):
    """Runs each test(result file, golden arrays) on the file that the command line names; returns
    the exit status. The usage is the second paragraph of doc."""
    if len(sys.argv) != 2:
        print(doc.split("\n\n")[1].strip(), file=sys.stderr)
        return 2
    failed = 0
    with h5py.File(sys.argv[1], "r") as f, np.load(golden) as g:
        for test in tests:
            try:
                test(f, g)
                print(f"ok   {test.__name__}")
            except (AssertionError, KeyError) as e:
                failed += 1
                print(f"FAILED {test.__name__}: {e}")
    print(f"{len(tests) - failed} of {len(tests)} passed")
    return failed > 0
