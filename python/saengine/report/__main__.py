# SPDX-License-Identifier: MIT
"""One HTML page from one result file.

    python3 -m saengine.report results/tiny_gemma2_ap.h5 [--scores JUDGE.h5] [-o OUT.html]

Writes OUT (default: the result file's name with .html), one page that needs nothing else, and
prints its path. JUDGE.h5 is what the judge experiment wrote about the result file; alone, it gives
a page of its own. Sections follow the groups of the file (results/README.md); what a run did not do
is not in its page. The same file gives the same page, byte for byte. Needs Python 3.9, h5py,
numpy, matplotlib; on Debian 12: apt-get install python3-h5py python3-numpy python3-matplotlib.

Exit status: 0 done, 1 a Python package is missing, 2 usage, 3 the result file, 5 the output.
Tests: tests/test_report.py.
"""
import argparse
import contextlib
import os
import sys

try:
    from .data import BadFile, Result
    from .sections import report
except ImportError as e:
    if (e.name or "").startswith("saengine"):
        raise
    sys.exit(f"saengine.report: {e}; it needs h5py, numpy and matplotlib "
             "(apt-get install python3-h5py python3-numpy python3-matplotlib)")


def main():
    parser = argparse.ArgumentParser(prog="python3 -m saengine.report",
                                     description="One HTML page from one result file.")
    parser.add_argument("result", help="a result file of the engine (HDF5)")
    parser.add_argument("--scores", metavar="JUDGE.h5",
                        help="the judge experiment's file about the result file")
    parser.add_argument("-o", "--output", metavar="OUT.html",
                        help="default: the result file's name with .html")
    arguments = parser.parse_args()
    out = arguments.output or os.path.splitext(arguments.result)[0] + ".html"
    try:
        with contextlib.ExitStack() as stack:
            result = stack.enter_context(Result(arguments.result))
            judge = stack.enter_context(Result(arguments.scores)) if arguments.scores else None
            text = report(result, judge)
    except BadFile as e:
        print(f"saengine.report: {' '.join(str(e).split())}", file=sys.stderr)
        return 3
    try:
        with open(out, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as e:
        print(f"saengine.report: {out}: {e.strerror}", file=sys.stderr)
        return 5
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
