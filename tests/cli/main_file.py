"""Gives the main module of the server that commands are forked from a file, as that of a real command has one.

DuckDB looks for it when it is imported: without one it takes the process for an interactive one, and shows progress
bars of its own on stdout.
"""

from __future__ import annotations

import __main__

if not hasattr(__main__, "__file__"):
    __main__.__file__ = __file__
