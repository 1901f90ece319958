# SPDX-License-Identifier: MIT
"""Reading what saengine writes; results/README.md is the schema of its files.

    python3 -m saengine.report FILE.h5      one HTML page from one result file
    python3 -m saengine.sweep FILE.h5...    one table and curve from the points of a sweep
"""
