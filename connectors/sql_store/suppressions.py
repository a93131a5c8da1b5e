"""Lists of people, and the identifiers by which nobody may be known: what a store deletes, and whom it refuses.

An identifier is suppressed by itself: a person's `id`, `email` and `phone` are three rows of `suppressions`, which do
not say that they were one person's.
"""

from __future__ import annotations

import json
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sql_store import people
from connectors.sql_store.database import StoreDatabase
from connectors.sql_store.people import NAMED
from connectors.sql_store.staging import Answers, is_numbered, listed
from connectors.sql_store.upgrades import WITH_MERGES, WITH_MOVES, WITH_SUPPRESSIONS
from syncer.model.types import Action, Identity, ListAction, PersonKey, Verdict

#: The identifiers that can be suppressed, by which columns of a batch may have them.
KINDS = Identity.ID_EMAIL_OR_PHONE.names

#: Why a row is rejected, by the kind of identifier.
_REASON = (
    "the person's {} is suppressed in this store: leave them out of the query, or take it off with a list that has "
    "`action: unsuppress`"
)

_NONE = "SELECT 1 FROM suppressions LIMIT 1"
_SUPPRESSED = "SELECT s.value FROM {} JOIN suppressions AS s ON s.kind = :kind AND s.value = e.value"
_SUPPRESS = "INSERT INTO suppressions (kind, value, since) SELECT DISTINCT '{kind}', {value}, {now} FROM {rows} "
_SUPPRESS += "WHERE {value} IS NOT NULL ON CONFLICT (kind, value) DO NOTHING"


class ListStore(StoreDatabase):
    """A store that takes lists of people, and refuses whom it is to refuse."""

    def count_people(self) -> int:
        """See `CountsPeople.count_people`."""
        return 0 if self.is_new else int(self._fetch("SELECT count(*) FROM people")[0][0])

    def erase_traces(self, names: pa.Table) -> None:
        """See `ErasesTraces.erase_traces`; a database server keeps deleted rows until it cleans up."""
        if self.is_new or self._format < WITH_MOVES:
            return
        moved = f"value IN (SELECT e.value FROM {self.dialect.each_text})"
        with self._transaction():
            for kind in KINDS:
                values = json.dumps([n["value"] for n in names.to_pylist() if n["kind"] == kind], ensure_ascii=False)
                # The newest move keeps its number, for the next ones to follow.
                blank = f"UPDATE identifier_moves SET value = '' WHERE kind = :kind AND {moved}"
                self._execute(blank, kind=kind, values=values)
                if self._format >= WITH_MERGES:
                    self._execute(f"DELETE FROM merged_people WHERE kind = :kind AND {moved}", kind=kind, values=values)

    def _apply_list(self, key: PersonKey, action: ListAction, rows: pa.Table) -> Answers:
        """Do what a list says to each of its people; within a transaction."""
        match action:
            case ListAction.DELETE:
                self._delete_people(key, rows)
            case ListAction.SUPPRESS:
                place = rows.column_names.index("action")
                self._stage_keys(rows.set_column(place, "action", pa.repeat(str(Action.DELETE), len(rows))))
                self._suppress(key)
                people.delete(self._execute, key, rows.column_names)
            case ListAction.UNSUPPRESS:
                self._stage_keys(rows)
                self._execute(f"DELETE FROM suppressions WHERE kind = '{key}' AND value IN (SELECT {key} FROM batch)")
            case ListAction.MERGE:
                raise ValueError("pairs of people are no list of people")
            case _:
                assert_never(action)
        return Answers(exceptions={})

    def _delete_people(self, key: PersonKey, rows: pa.Table) -> None:
        if is_numbered(rows):
            self._execute(f"DELETE FROM people WHERE {self.dialect.numbered}", numbers=listed(rows["person"]))
        else:
            self._stage_keys(rows)
            people.delete(self._execute, key, rows.column_names)

    def _suppress(self, key: PersonKey) -> None:
        """Suppress the identifiers in `batch`, and the others by which the store knows the same people."""
        now, found = self.dialect.now, f"batch AS b JOIN people AS p ON {NAMED[key]}"
        self._execute(_SUPPRESS.format(kind=key, value=f"b.{key}", now=now, rows="batch AS b"))
        for kind in self.identity.unique:
            if kind != key:
                self._execute(_SUPPRESS.format(kind=kind, value=f"p.{kind}", now=now, rows=found))

    def _suppressed(self, rows: pa.Table) -> dict[int, tuple[Verdict, str | None]]:
        """The rows that put somebody who is suppressed, by `seq`; within a transaction."""
        if self._format < WITH_SUPPRESSIONS or not self._fetch(_NONE):
            return {}
        puts, found = rows.filter(pc.equal(rows["action"], str(Action.PUT))), dict[int, tuple[Verdict, str | None]]()
        for kind in KINDS:
            if kind in puts.column_names:
                given = json.dumps(puts[kind].drop_null().to_pylist(), ensure_ascii=False)
                query = _SUPPRESSED.format(self.dialect.each_text)
                values = [value for (value,) in self._fetch(query, kind=kind, values=given)]
                refused = puts["seq"].filter(pc.is_in(puts[kind], pa.array(values, pa.string())))
                found |= dict.fromkeys(refused.to_pylist(), (Verdict.REJECTED, _REASON.format(kind)))
        return found
