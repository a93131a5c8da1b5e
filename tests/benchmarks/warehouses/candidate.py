"""What a warehouse tells the benchmark of itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

#: Rows that a driver is asked for at once, where it takes such a number.
CHUNK_ROWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One warehouse that runs here."""

    #: Gives, for as long as it is entered, the URL of a warehouse with a table `people` of so many rows, ten columns.
    #: Skips as a test does where it cannot run.
    serve: Callable[[int], AbstractContextManager[str]]
    #: Reads at the URL what the query returns with the driver alone, in the driver's own way for large results, and
    #: throws everything away.
    bare: Callable[[str, str], None]
    #: What `bare` is, for people.
    against: str
    #: What opens it, as `module:name`.
    opened_by: str = "syncer.settings.registry:open_warehouse"
