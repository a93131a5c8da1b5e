"""What a run asks a warehouse that keeps the rows of its snapshot."""

from __future__ import annotations

import re

import pyarrow as pa

from syncer.definitions.columns import attribute_columns, match_column
from syncer.model.errors import DefinitionError
from syncer.model.kept_rows import Question
from syncer.model.protocols import ProfileStore, Warehouse
from syncer.model.select_statement import one_select
from syncer.model.types import PersonKey, SyncDefinition
from syncer.snapshot.incoming import RULES
from syncer.snapshot.warehouse_rows import WarehouseRows


def answered(
    rows: WarehouseRows, warehouse: Warehouse, definition: SyncDefinition, sql: str, store: ProfileStore
) -> pa.RecordBatchReader | None:
    """What differs of a query's result; None where the query lacks a column, as its own answer shows best.

    Shapes:
        returns: as `WarehouseRows.query`.
    Raises:
        WarehouseError: as `Warehouse.query`, and of the keeper.
    """
    question = _question(warehouse, definition, sql, store, rows.tables.dialect)
    if question is None:
        return None
    rules = repr((RULES, definition.hash, store.value_form, store.identity.names))
    return rows.query(warehouse, question, rules=rules, timeout=definition.timeout)


def _question(
    warehouse: Warehouse, definition: SyncDefinition, sql: str, store: ProfileStore, dialect: str
) -> Question | None:
    columns, target = warehouse.columns(sql), definition.target
    names = [column.name for column in columns]
    keys = [match_column(key, names) or key for key in target.key_columns]
    try:
        attributes = attribute_columns(definition, names)
    except DefinitionError:
        return None
    if not {*keys} <= {*names}:
        return None
    others = {*store.identity.unique} - {target.person_key} if target.entity.traits.has_other_identifiers else set()
    return Question(
        sql=_without_end(sql, dialect),
        columns=columns,
        keys=[names.index(key) for key in keys],
        folded=frozenset(place for place, kind in enumerate(target.keys_of_people) if kind is PersonKey.EMAIL),
        unique=[names.index(match_column(column, names) or column) for a, column in attributes.items() if a in others],
        is_whole=not definition.incremental,
    )


def _without_end(sql: str, dialect: str) -> str:
    """A query without what ends it, so that it fits into brackets."""
    text = re.sub(r"[\s;]+\Z", "", sql.removeprefix("\ufeff"))
    # It may end before a comment; to parse it costs a tenth of a second.
    return one_select(text, dialect).text if ";" in text else text
