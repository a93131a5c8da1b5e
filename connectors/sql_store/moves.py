"""People who are known by another email than before: they get it in place of the other, and keep all that is theirs."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sql_store.staging import Answers, pairs
from connectors.sql_store.traces import Traces
from syncer.model.types import PersonKey

#: The former and the new identifier of people, of those in `pairs`: somebody has the one, and nobody the other.
_FREE = (
    "SELECT c.one, c.other FROM {pairs} JOIN people AS p ON p.{key} = c.one "
    "WHERE NOT EXISTS (SELECT 1 FROM people AS o WHERE o.{key} = c.other)"
)
_RECORD = (
    "INSERT INTO identifier_moves (seq, kind, value, moved_at) SELECT (SELECT coalesce(max(seq), 0) FROM "
    "identifier_moves) + row_number() OVER (ORDER BY c.one), '{key}', c.one, {now} FROM {pairs}"
)
_RENAME = "UPDATE people AS p SET {key} = c.other, updated_at = {now} FROM {pairs} WHERE p.{key} = c.one"


class MovingPeople(Traces):
    """See `StoreConnector.moves_people`."""

    def _write_moves(self, key: PersonKey, rows: pa.Table, write: Callable[[pa.Table], Answers]) -> Answers:
        """Write people once those have moved whom the rows name by `previous`; within a transaction.

        Who is rejected then is known as before.
        """
        plain = rows.drop_columns("previous")
        named = rows.filter(pc.is_valid(rows["previous"]))
        query = _FREE.format(pairs=self.dialect.each_pair, key=key)
        free = self._columns(query, ("one", "other"), values=pairs(named["previous"], named[str(key)]))
        moved = pa.table({name: pa.array(values, pa.string()) for name, values in free.items()})
        if not len(moved):
            return write(plain)
        self._run(_RENAME, key, moved["one"], moved["other"])
        answers = write(plain)
        refused = rows.filter(pc.is_in(rows["seq"], pa.array([*answers.exceptions], pa.int64())))[str(key)]
        is_back = pc.is_in(moved["other"], refused.combine_chunks())
        back, gone = moved.filter(is_back), moved.filter(pc.invert(is_back))
        self._run(_RENAME, key, back["other"], back["one"])
        self._run(_RECORD, key, gone["one"], gone["other"])
        return answers

    def _run(self, statement: str, key: PersonKey, ones: pa.ChunkedArray, others: pa.ChunkedArray) -> None:
        sql = statement.format(key=key, now=self.dialect.now, pairs=self.dialect.each_pair)
        if len(ones):
            self._execute(sql, values=pairs(ones, others))
