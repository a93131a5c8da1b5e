"""What the warehouse has now of single rows: a sync's query, filtered by their keys. Nothing is sent or recorded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from syncer.definitions.columns import key_columns
from syncer.model.errors import QueryResultError, SyncerError
from syncer.model.importing import importing
from syncer.model.json_text import json_value
from syncer.model.types import SyncDefinition
from syncer.settings import registry
from syncer.settings.settings import Settings
from syncer.snapshot.columns import ResultSchema, result_schema
from syncer.snapshot.ledger import Known
from syncer.snapshot.opening import opened
from syncer.snapshot.values import ColumnType
from syncer.sync.explanation import Explained, Explanation, RowNow
from syncer.sync.keys import key_parts
from syncer.sync.lookup import StoreFacts
from syncer.sync.window import prepared

#: The most rows that are asked for, a query each.
_MOST = 20

#: A column of such a kind has the same text in every warehouse.
_FILTERED = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.TEXT)


def with_now(settings: Settings, explained: Explained) -> Explained:
    """The same, with what the warehouse has now of the first rows; what went wrong is in a row's `now`."""
    stored = explained.stored
    definitions = {one.name: one for one in stored.feeding}
    asked: list[Explanation] = []
    for row in explained.rows:
        definition = definitions.get(row.sync)
        key = None if definition is None else _key(definition, row, explained)
        if definition is None or key is None or len(asked) >= _MOST:
            asked.append(row)
            continue
        try:
            now = _Question(settings=settings, definition=definition, facts=stored.facts, key=key).asked(row)
        except SyncerError as exc:
            now = RowNow(error=str(exc))
        asked.append(replace(row, now=now))
    return replace(explained, rows=asked)


def _key(definition: SyncDefinition, row: Explanation, explained: Explained) -> tuple[str, ...] | None:
    """The whole key of a row; None where only a part of it is known."""
    if row.key:
        return tuple(key_parts(definition, row.key))
    names = [f"k{i}" for i in range(1, len(definition.target.key_columns) + 1)]
    places = explained.stored.sought.places(definition.target)
    return next((tuple(place[name] for name in names) for place in places if place.keys() == {*names}), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    settings: Settings
    definition: SyncDefinition
    facts: StoreFacts
    key: tuple[str, ...]

    def asked(self, row: Explanation) -> RowNow:
        """What the warehouse has of the row.

        Raises:
            SyncerError: of the warehouse or the result, or the key's column cannot be filtered.
        """
        definition, warehouses = self.definition, self.settings.warehouses
        query = prepared(self.settings, definition, Known(), None)
        address = warehouses[definition.warehouse]
        with closing(address.open(definition.warehouse, sync=definition.name)) as warehouse, query.errors_placed():
            names = [column.name for column in warehouse.columns(query.statement)]
            dialect = registry.dialect(address.url.get_secret_value())
            statement = self._filtered(query.statement, key_columns(definition, names), dialect)
            reader = warehouse.query(statement, timeout=definition.timeout)
            identity = self.settings.stores[definition.store].identity
            schema = result_schema(definition, reader.schema, identity, self.facts.form, store_id=self.facts.store_id)
            self._check(schema)
            # There is no such file: the snapshot is empty, and in memory.
            path = self.settings.snapshots_dir / f"{definition.name}.now"
            with opened(path, definition, self.facts.store_id, record=False) as snapshot:
                staged = snapshot.stage(reader, schema, every_row=True)
                if reason := staged.quarantine_reason(self.key):
                    return RowNow(in_result=True, reason=reason)
                values = staged.values(self.key)
        if values is None:
            return RowNow(in_result=False)
        found = {name: None if text is None else json_value(text) for name, text in values.items()}
        return RowNow(in_result=True, values=found, differs=_differing(row, found))

    def _check(self, schema: ResultSchema) -> None:
        for key in schema.keys:
            if key.kind not in _FILTERED:
                raise QueryResultError(
                    f"column `{key.name}` is of the kind {key.kind}, by which a query cannot be filtered",
                    hint="Cast it to text in the query.",
                )

    def _filtered(self, statement: str, columns: Sequence[str], dialect: str) -> str:
        with importing:
            from sqlglot import exp
            from sqlglot.dialects.dialect import Dialect

            known = dialect if Dialect.get(dialect) else None
        conditions: list[exp.Expression] = []
        for name, value in zip(columns, self.key, strict=True):
            # Names that a warehouse folds are in lower case here.
            column = exp.column(exp.to_identifier(name, quoted=not re.fullmatch("[a-z_][a-z0-9_]*", name)))
            text: exp.Expression = exp.Trim(this=exp.cast(column, "text"))
            if "@" in value:
                text = exp.Lower(this=text)
            condition: exp.Expression = exp.EQ(this=text, expression=exp.Literal.string(value))
            if re.fullmatch("-?[0-9]+", value):
                decimal = exp.Like(this=text.copy(), expression=exp.Literal.string(f"{value}.%"))
                condition = exp.paren(exp.or_(condition, decimal))
            conditions.append(condition)
        return f"SELECT * FROM (\n{statement}\n) AS syncer_row WHERE {exp.and_(*conditions).sql(dialect=known)}"


def _differing(row: Explanation, values: dict[str, Any]) -> list[str]:
    """The attributes of which the store accepted another value; all where it never accepted the row."""
    sent = {one.attribute: one.sent for one in row.attributes}
    return [name for name, value in values.items() if name not in sent or sent[name] != value]
