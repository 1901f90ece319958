# SPDX-License-Identifier: MIT
"""One HTML page from one result file: python3 -m saengine.report FILE (__main__.py says how)."""
