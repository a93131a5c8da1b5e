"""What the SQL of the two databases differs in, and how a statement is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """SQL that each database spells in its own way."""

    #: The present moment, as `updated_at` keeps it.
    now: str
    #: The attributes of the stored row `t` after the batch's row `b`: without what `b` clears, with what it sets.
    merged: str
    #: A query that has a row where the store has been made.
    find_workspace: str


class Execute(Protocol):
    """Runs one statement within the batch's transaction and returns how many rows it touched."""

    def __call__(self, sql: str, **values: str | int) -> int:
        """Run *sql*, in which `:name` stands for a value."""
