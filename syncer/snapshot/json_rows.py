"""Rows as JSON objects, in SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence

from syncer.model.types import ValueForm
from syncer.snapshot.columns import Layout, StoredColumn
from syncer.snapshot.values import as_json, literal


def json_name(name: str) -> str:
    """SQL for a JSON member's name and colon."""
    return literal(json.dumps(name, ensure_ascii=False) + ":")


def json_object(members: Sequence[str]) -> str:
    """SQL for a JSON object of *members*, each the SQL of a name and a value; a NULL one is left out."""
    return f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'" if members else "'{}'"


def json_array(items: Sequence[str]) -> str:
    """SQL for a JSON array of *items*, each the SQL of a JSON text; a NULL one is left out."""
    return f"'[' || concat_ws(',', {', '.join(items)}) || ']'" if items else "'[]'"


def whole_row(layout: Layout, form: ValueForm, side: str = "staged") -> str:
    """SQL for all of a row's columns as a JSON object, NULL ones as null; *side* as the methods of StoredColumn."""
    values = [(c.name, c.sent(f"({getattr(c, side)()})", form)) for c in layout.fed]
    return json_object([f"{json_name(name)} || coalesce({value}, 'null')" for name, value in values])


def shown_row(columns: Sequence[StoredColumn], side: str) -> str:
    """The same as people see it, of any columns."""
    values = [(c.name, as_json(c.type, f"({getattr(c, side)()})")) for c in columns]
    return json_object([f"{json_name(name)} || coalesce({value}, 'null')" for name, value in values])
