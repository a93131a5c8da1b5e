"""Warehouses that keep the acknowledged rows of a snapshot, and compare them there with a query's result.

Two logins work there. The one that reads runs the user's query, in a SELECT around it. The other, the keeper, owns one
schema, and alone writes: only statements of ours, into tables of a fixed shape.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from syncer.model.protocols import KIND
from syncer.model.types import Column

#: The newest format of the tables.
KEPT_FORMAT = 1

#: What a comparing query returns after the columns of the result, in this order, then k1, …: how many rows the result
#: has; the fingerprint of a row of the result, NULL where the line has none; that of the row that is kept, NULL where
#: it is not known; and that row's data, NULL where the line has none. A query that reads everything returns PRINT.
TOTAL, PRINT, KEPT_PRINT, DATA = "syncer_total", "syncer_print", "syncer_kept_print", "syncer_data"


#: The metadata of a result's last column that has fingerprints.
PRINTS = {KIND: b"print"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptState:
    """What the tables of one snapshot say of themselves."""

    #: Another one after each change.
    version: str
    #: By which the fingerprints were made.
    rules: str
    format: int
    #: Whether keys are in doubt there.
    has_doubts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How a result is to be compared."""

    #: One SELECT, without a semicolon at its end.
    sql: str
    #: Of its result.
    columns: Sequence[Column]
    #: The positions of the key's columns, and those of them that are spelled in lower case.
    keys: Sequence[int]
    folded: Collection[int]
    #: The positions of other identifiers, which no two rows may share.
    unique: Sequence[int]
    #: Whether the result has all rows, so that what it lacks is gone.
    is_whole: bool


class KeepsRows(Protocol):
    """The tables of one snapshot: kept (k1, …, fingerprint, data), in_doubt (k1, …) and its line in `meta`.

    Each method raises WarehouseError where the keeper is refused or not answered; then nothing has changed.
    """

    @property
    def dialect(self) -> str:
        """sqlglot's name of the warehouse's SQL."""

    @property
    def name(self) -> str:
        """Of the tables, without kept_ or in_doubt_ before it."""

    def state(self) -> KeptState | None:
        """What is there; None where nothing is."""

    def rules(self, columns: Sequence[Column]) -> str:
        """What a row's fingerprint depends on, beside its values: another text, and every one may be another."""

    def all_rows(self) -> pa.RecordBatchReader:
        """Every row that is kept: k1, …, `fingerprint` (int64, or NULL) and `data`, in any order."""

    def put_in_doubt(self, keys: pa.Table) -> None:
        """Make these the rows that a comparing query returns whatever they are: k1, …; none for no rows."""

    def knows_any(self, keys: pa.Table) -> bool:
        """Whether a row of one of these keys (k1, …) is kept."""

    def replace(
        self, known: Collection[str], state: KeptState, *, gone: pa.Table | None, rows: Iterable[pa.Table], sync: str
    ) -> None:
        """Keep other rows, in one transaction, and another version.

        Shapes:
            known: the versions that may be there; an empty text for none.
            gone: the keys (k1, …) of rows that are not kept any more; None for all.
            rows: k1, …, `fingerprint` and `data`; none of them is kept but those of *gone*.
            sync: for people who look at the tables.
        Raises:
            RunInProgressError: another version is there; nothing has changed.
        """

    def forget(self) -> None:
        """Drop the tables; what is not there is fine."""

    def comparing(self, question: Question) -> str:
        """The SELECT, for the login that reads, that returns what differs; see TOTAL.

        A line is a row of the result, the row that is kept under its key, or both. All rows of a key are returned where
        one of them has another fingerprint than the row that is kept, where the row is kept alone and the result is
        whole, where the key is in doubt, and where they share an identifier with one of these. There is always a line.
        """

    def reading(self, question: Question) -> str:
        """The SELECT, for the login that reads, that returns every row with its fingerprint."""

    def close(self) -> None:
        """Let go of every connection; calling it twice is fine."""
