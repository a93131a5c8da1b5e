"""What stores can tell of a run before it begins: plans ask for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import pyarrow as pa

from syncer.model.types import Target


@runtime_checkable
class ForecastingChanges(Protocol):
    """A store that knows how long changes will take."""

    def forecast(self, target: Target, *, rows: int, row_bytes: int) -> str:
        """What sending so many *rows* of *row_bytes* bytes of JSON each will take, a sentence; empty for no matter."""


@runtime_checkable
class ForecastsRefusals(Protocol):
    """A store that knows which rows it would not take, as far as their keys tell."""

    def would_refuse(self, target: Target, keys: pa.Table, *, create: bool) -> pa.Table:
        """The rows that it would not put now: `row` int64, the place among *keys* (k1, …), and `reason` string.

        Shapes:
            keys: of events also `who` and `anonymous`, of people who claim visitors also `anonymous`, of those who
                may move also `previous`.

        Raises:
            StoreError: it did not answer.
        """
