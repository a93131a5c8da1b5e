"""A column of another kind: whatever a store was sent before, it has what the query returns now."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.json_text import json_text
from syncer.model.protocols import JSON, ProfileStore
from syncer.model.types import Entity, ValueForm
from tests.servers.fake_store import FakeStore
from tests.workbench import Workbench

SECONDS = 1714521600
#: Of each kind: its type, and values of which many are spelled as one of another kind, or sent as it.
KINDS: dict[str, tuple[pa.Field, list[Any]]] = {
    "text": (pa.field("", pa.string()), ["2024-05-01", "2024-05-01T00:00:00Z", str(SECONDS), "true"]),
    "date": (pa.field("", pa.date32()), [date(2024, 5, 1)]),
    "timestamp": (
        pa.field("", pa.timestamp("us")),
        [datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, 0, 0, 0, 250_000, UTC)],
    ),
    "integer": (pa.field("", pa.int64()), [SECONDS, 2**53, 2**53 + 1]),
    "number": (pa.field("", pa.decimal128(20, 1)), [Decimal(n) for n in (SECONDS, 2**53, 2**53 + 1)]),
    "float": (pa.field("", pa.float64()), [float(SECONDS), 2.0**53, 2.0**60]),
    "boolean": (pa.field("", pa.bool_()), [True]),
    "json": (pa.field("", pa.string(), metadata=JSON), ['"2024-05-01"', str(SECONDS), str(2**53 + 1), '{"a": 1}']),
    "binary": (pa.field("", pa.binary()), [b"x"]),
}
#: Two kinds, and a value of each.
CHANGES = [
    (old, new, before, after)
    for old, (_, olds) in KINDS.items()
    for new, (_, news) in KINDS.items()
    for before in olds
    for after in news
]


#: Those that Customer.io is sent otherwise than SQL stores are.
FORMED = [change for change in CHANGES if {"date", "timestamp"} & set(change[:2]) and "binary" not in change]


def result(side: int, changes: list[Any] = CHANGES) -> pa.Table:
    """A row for each change, which has only the column of the change's kinds: of the kind before (0), or after (1)."""
    columns: dict[str, Any] = {"id": pa.array([str(i) for i in range(len(changes))])}
    fields = [pa.field("id", pa.string())]
    for pair in dict.fromkeys((old, new) for old, new, *_ in changes):
        field = KINDS[pair[side]][0].with_name("_to_".join(pair))
        values = [change[2 + side] if change[:2] == pair else None for change in changes]
        fields.append(field)
        columns[field.name] = pa.array(values, field.type)
    return pa.table(columns, schema=pa.schema(fields))


@cache
def sent(form: ValueForm, side: int, formed: bool = False) -> dict[str, Any]:
    """What a store has that had nothing before it was fed one side."""
    with TemporaryDirectory() as folder:
        bench = Workbench(Path(folder), store=FakeStore(batch_rows=10_000, value_form=form))
        bench.run(result(side, FORMED if formed else CHANGES))
        return bench.store.people


@pytest.mark.parametrize("form", list(ValueForm))
def test_what_was_sent_of_another_kind_is_sent_anew_where_the_store_is_sent_something_else(
    form: ValueForm, tmp_path: Path
) -> None:
    bench = Workbench(tmp_path, store=FakeStore(batch_rows=10_000, value_form=form))
    bench.run(result(0))

    for side in (1, 0):
        counts = bench.run(result(side)).counts

        now, before = sent(form, side), sent(form, 1 - side)
        assert [change for i, change in enumerate(CHANGES) if bench.store.people[str(i)] != now[str(i)]] == []
        differ = {str(i) for i, (old, new, was, is_now) in enumerate(CHANGES) if old == new and was != is_now}
        assert counts.changed == len({key for key in before if before[key] != now[key]} | differ)
    assert bench.run(result(0)).counts.unchanged == len(CHANGES)


def test_every_store_has_the_newest_value_of_whatever_kind(store: ProfileStore, tmp_path: Path) -> None:
    bench = Workbench(tmp_path, store=store)  # type: ignore[arg-type]

    for side in (0, 1, 0):
        bench.run(result(side, FORMED))

        expected = sent(store.value_form, side, formed=True)
        shown = {key: store.show(Entity.PERSON, "id", key) for key in expected}
        held = {key: json.loads(json_text(one["attributes"])) for key, one in shown.items() if one}
        assert {key: held[key] for key in expected if held[key] != expected[key]} == {}
