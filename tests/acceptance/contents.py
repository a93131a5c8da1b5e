"""What a profile store holds, and what plain Python makes of values that psycopg read, in a form to compare."""

from __future__ import annotations

import base64
import json
import math
import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Any, LiteralString

import psycopg

Attributes = dict[str, Any]
Rows = dict[tuple[str, ...], Attributes]

_EXACT = Context(prec=1000)


def number(text: object) -> tuple[str, str]:
    """A number with all its digits, however it is written."""
    return "number", str(_EXACT.normalize(Decimal(str(text))))


def plain(value: Any) -> Any:
    """A value of psycopg's as the documented JSON, but for numbers."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case bool() | str() | None:
            return value
        case int() | float() | Decimal():
            return number(value)
        case datetime():
            utc = value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
            return utc.isoformat().removesuffix("+00:00").rstrip("0" if utc.microsecond else "") + "Z"
        case date():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case list():
            return [plain(item) for item in value]
        case dict():
            return {name: plain(item) for name, item in value.items()}
    raise AssertionError(type(value))


def read_json(text: str) -> Any:
    return json.loads(text, parse_int=number, parse_float=number)


def present(attributes: Attributes) -> Attributes:
    """The attributes that are not None."""
    return {name: value for name, value in attributes.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A whole store."""

    people: Mapping[str, Attributes]
    objects: Rows
    relationships: Rows
    collections: Rows


def held(url: str) -> Contents:
    """What the store at *url* holds."""
    fetch = _fetch_sqlite if url.startswith("sqlite:") else _fetch_postgresql
    people = fetch(url, "SELECT id, email, CAST(attributes AS text) FROM people")
    objects = fetch(url, "SELECT object_type, object_id, CAST(attributes AS text) FROM objects")
    joined = "relationships AS r JOIN people USING (person_id)"
    relationships = fetch(url, f"SELECT id, object_type, object_id, CAST(r.attributes AS text) FROM {joined}")
    collections = fetch(url, "SELECT collection, key, CAST(data AS text) FROM collection_rows")
    return Contents(
        people={id_: present({"email": email}) | read_json(text) for id_, email, text in people},
        objects={tuple(key): read_json(text) for *key, text in objects},
        relationships={tuple(key): read_json(text) for *key, text in relationships},
        collections={tuple(key): read_json(text) for *key, text in collections},
    )


def _fetch_sqlite(url: str, sql: LiteralString) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return connection.execute(sql).fetchall()


def _fetch_postgresql(url: str, sql: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()
