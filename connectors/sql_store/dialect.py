"""How the SQL of the two databases differs, and how a store runs a statement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from syncer.model.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLDialect:
    """SQL that each database spells in its own way."""

    #: SQLAlchemy's URL of the dialect and driver.
    engine: str
    #: A statement after which this transaction alone creates or upgrades the tables.
    lock: str
    #: A query for the product and its version.
    version: str
    #: The present moment, as `updated_at` keeps it.
    now: str
    #: The attributes of the stored row `t` after the batch's row `b`: without what `b` clears, with what it sets.
    merged: str
    #: The moment so many seconds before it, `{}`, likewise.
    ago: str
    #: An object without attributes.
    nothing: str
    #: The time in a column `{}` as the text that a batch has of it.
    moment: str
    #: The attributes of the row `t` without a `phone`.
    without_phone: str
    #: No attributes, as the column `cleared` of a batch has them.
    nothing_cleared: str
    #: The aggregate that makes a JSON array of a column.
    as_array: str
    #: A query that has a row if the store exists.
    find_workspace: str
    #: A query for one JSON array of arrays, for the *columns* of the query *rows*, which are texts.
    as_json: str
    #: A table of the attributes of the person `p`: `key`, `value`.
    each_attribute: str
    #: A table `e` of the texts in the JSON array `:values`, in the column `value`.
    each_text: str
    #: A table `c` of the JSON arrays of two in the JSON array `:values`: `one`, `other`, as texts.
    each_pair: str
    #: Whether a person is one of `:numbers`, which are a text with commas between them.
    numbered: str
    #: A statement after which this transaction finds people one after the other, and not by a join that would read
    #: their index from its start for each batch; empty if none is needed.
    by_index: str = ""


#: Runs one statement, in which `:name` stands for a value, in the batch's transaction; returns the count of its rows.
Execute = Callable[..., int]


class UnfitRowsError(StoreError):
    """Some row of a batch holds a value that the database cannot store; nothing of the batch was stored."""

    def __init__(self, message: str, *, condition: str) -> None:
        super().__init__(message)
        self.condition = condition
