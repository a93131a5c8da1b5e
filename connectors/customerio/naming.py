"""How items name people, as SQL for JSON."""

from __future__ import annotations

from syncer.model.types import PersonKey


def text(value: str) -> str:
    """SQL for a text as JSON."""
    return f"CAST(to_json({value}) AS VARCHAR)"


def named(key: PersonKey | None, value: str) -> str:
    """SQL for the object that names a person by an identifier."""
    return f"'{{\"{key}\":' || {text(value)} || '}}'"
