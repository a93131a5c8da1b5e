"""Equal values of several spellings are one value, and the shortest spelling is sent."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from syncer.model.protocols import JSON, NUMBER
from syncer.model.types import Counts, Entity, OnRemoved, Target
from tests.workbench import COUPON, Workbench, table


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


def column(name: str, values: list[Any], type_: pa.DataType | None = None, metadata: Any = None) -> pa.Table:
    schema = pa.schema([pa.field("id", pa.int64()), pa.field(name, type_ or pa.string(), metadata=metadata)])
    return pa.table([list(range(len(values))), values], schema=schema)


def keyed(values: list[Any], type_: pa.DataType | None = None, metadata: Any = None) -> pa.Table:
    schema = pa.schema([pa.field("id", type_ or pa.string(), metadata=metadata), pa.field("n", pa.int64())])
    return pa.table([values, list(range(len(values)))], schema=schema)


def test_digits_are_sent_and_are_a_key_in_their_shortest_form(bench: Workbench) -> None:
    shortest = {
        ".50": "0.5",
        "-.05": "-0.05",
        "000005.50": "5.5",
        "0000000042": "42",
        "-0.00": "0",
        "100": "100",
        "1.2345678901234567e+19": "12345678901234567000",
        "1e-07": "1e-07",
        "12345678901234567890123.00": "12345678901234567890123",
    }
    result = keyed([*shortest], metadata=NUMBER).append_column(
        pa.field("x", pa.string(), metadata=NUMBER), pa.array([*shortest])
    )

    bench.run(result)

    assert bench.rejections() == {}
    sent = {key: Decimal(str(attributes["x"])) for key, attributes in bench.store.people.items()}
    assert sent == {number: Decimal(number) for number in shortest.values()}


def test_a_decimal_that_is_all_fraction_is_a_number_and_a_key(bench: Workbench) -> None:
    values = pa.array([Decimal("0.50"), Decimal("-0.05"), Decimal("0.00")], pa.decimal128(2, 2))

    bench.run(table({"id": values, "x": values}))

    assert bench.store.people == {"0.5": {"x": 0.5}, "-0.05": {"x": -0.05}, "0": {"x": 0}}


def test_a_whole_double_is_its_digits(bench: Workbench) -> None:
    values = [1.2345678901234567e19, 1e16, -1e20, 1e308]

    bench.run(table({"id": pa.array(values, pa.float64()), "x": pa.array(values, pa.float64())}))

    digits = ["12345678901234567000", "10000000000000000", "-100000000000000000000", "1e+308"]
    assert list(bench.store.people) == digits
    assert [row["x"] for row in bench.store.people.values()] == [*map(int, digits[:3]), 1e308]


def test_an_equal_number_of_another_type_is_no_change(bench: Workbench) -> None:
    values = [1.2345678901234567e19, 0.1, 1e-7, 1e20, -2.5e-9, 5.0]
    double = column("x", values, pa.float64())
    decimal = column("x", [Decimal(repr(value)) for value in values], pa.decimal128(38, 10))
    text = column("x", [repr(value) for value in values], metadata=NUMBER)
    bench.run(double)

    for result in (decimal, text, double, text, decimal):
        assert bench.run(result).counts == Counts(queried=len(values), unchanged=len(values))


@pytest.mark.parametrize(
    ("texts", "keys"),
    [
        (['"u_1"', '" u_2 "', "7", "7.50", "1e2", "true"], {"u_1", "u_2", "7", "7.5", "100", "true"}),
        ([r'"\u00fc"', '"a \\"b\\""'], {"ü", 'a "b"'}),
    ],
)
def test_a_json_value_as_a_key_is_what_it_says(bench: Workbench, texts: list[str], keys: set[str]) -> None:
    bench.run(keyed(texts, metadata=JSON))

    assert bench.rejections() == {}
    assert set(bench.store.people) == keys


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1}', "`id` is a JSON object or array, which is no key"),
        ("[1]", "`id` is a JSON object or array, which is no key"),
        ("null", "`id` is NULL"),
        ('" "', "`id` is blank"),
        ('{"a', "column `id` is not valid JSON"),
        (r'"a\u0000"', "column `id` holds a NUL character"),
    ],
)
def test_json_that_is_no_key_is_rejected(bench: Workbench, text: str, reason: str) -> None:
    bench.run(keyed([text, '"u_1"'], metadata=JSON))

    assert list(bench.rejections().values()) == [reason]
    assert set(bench.store.people) == {"u_1"}


def test_a_binary_key_is_base64(bench: Workbench) -> None:
    bench.run(keyed([b"\x00\xff"], pa.binary()))

    assert set(bench.store.people) == {"AP8="}


def test_an_object_is_no_email(bench: Workbench) -> None:
    bench.run(column("email", ['"ann@example.com"', '{"a": 1}'], metadata=JSON))

    assert bench.rejections() == {"1": "`email` is a JSON object or array"}


_STRUCT = pa.struct([("a", pa.float32()), ("b", pa.list_(pa.float32()))])


def test_a_float_inside_a_value_has_its_shortest_digits(bench: Workbench) -> None:
    values = [
        (pa.list_(pa.float32()), [0.1, None], [0.1, None]),
        (_STRUCT, {"a": 0.1, "b": [0.2]}, {"a": 0.1, "b": [0.2]}),
        (pa.map_(pa.string(), pa.float32()), [("a", 0.1)], {"a": 0.1}),
        (pa.list_(pa.float32(), 2), [0.1, 0.2], [0.1, 0.2]),
        (pa.list_(pa.list_(pa.float32())), [[0.1]], [[0.1]]),
    ]
    columns = {f"x{number}": pa.array([value], type_) for number, (type_, value, _) in enumerate(values)}

    bench.run(table({"id": [0], **columns}))

    assert list(bench.store.people["0"].values()) == [sent for *_, sent in values]


#: JSON before and after, and whether that is a change.
_JSON_CHANGES = [
    ('{"a":1,"a":2}', '{"a":2,"a":1}', True),
    ('{"a":1,"a":2}', '{"a":2}', False),
    ('{"a":{"x":1},"a":{"y":2},"b":1}', '{"b":1,"a":{"y":2}}', False),
    ('{"a":{"x":1},"a":{"y":2}}', '{"a":{"x":1,"y":2}}', True),
    ('{"a":[{"b":1,"b":2}],"c":1}', '{"c":1,"a":[{"b":2}]}', False),
    ('{"a":12345678901234567,"b":1}', '{"b":1,"a":12345678901234567}', False),
    ('{"a":12345678901234567.0,"b":1}', '{"b":1.0,"a":12345678901234567}', False),
    ('{"a":12345678901234567,"b":1}', '{"b":1,"a":12345678901234568}', True),
    ("[0.1234567890123456789, 1e2, 1.10]", "[0.12345678901234567890,100,1.1]", False),
    ("[0.1234567890123456789]", "[0.1234567890123456788]", True),
    ('{"a":"1"}', '{"a":1}', True),
    ('{"a":"#1"}', '{"a":1}', True),
    ('{"a":null}', "{}", True),
    ("[1e400, 1e-400]", "[10e399,0.1e-399]", False),
    ("[1e99999999999999999999]", "[1]", True),
]


def test_json_is_compared_by_what_it_says(bench: Workbench) -> None:
    before, after = ([change[side] for change in _JSON_CHANGES] for side in (0, 1))
    changed = {str(number) for number, (*_, is_change) in enumerate(_JSON_CHANGES) if is_change}
    bench.run(column("x", before, metadata=JSON))
    mark = len(bench.store.taken)

    assert bench.run(column("x", after, metadata=JSON)).counts.changed == len(changed)

    assert {key for _, (key,) in bench.store.taken[mark:]} == changed
    assert bench.run(column("x", after + before, metadata=JSON)).counts.changed == 0
    twice = column("x", before + after, metadata=JSON).set_column(0, "id", [[*range(len(before))] * 2])
    assert bench.run(twice).counts.rejected == 2 * len(changed)
    assert bench.rejections().keys() == changed


def test_a_part_of_a_collections_key_may_be_empty_but_not_null(bench: Workbench) -> None:
    bench.adjust(target=Target(entity=Entity.COLLECTION, collection="rates", key_columns=("day", "zone")))
    rates = table({"day": ["2024-01-01"] * 3, "zone": ["", "a", None], "rate": [1, 2, 3]})

    bench.run(rates)

    assert set(bench.store.collections) == {("rates", "2024-01-01", ""), ("rates", "2024-01-01", "a")}
    assert list(bench.rejections().values()) == ["`zone` is NULL"]
    broken = table({"day": ["2024-01-01"], "zone": [""], "rate": pa.array([b"\xff"]).view(pa.string())})
    assert bench.run(broken).counts.rejected == 1
    assert ("rates", "2024-01-01", "") in bench.store.collections


def test_the_only_part_of_a_collections_key_may_not_be_empty(bench: Workbench) -> None:
    bench.adjust(target=COUPON)

    assert bench.run(table({"code": [""]})).counts.rejected == 1


def test_digits_that_were_stored_with_an_exponent_are_not_sent_again(bench: Workbench) -> None:
    rows = column("x", ["1.2345678901234567e+19"], metadata=NUMBER)
    bench.adjust(on_removed=OnRemoved.DELETE)
    bench.run(rows)
    with bench.opened() as snapshot:
        # As the version before stored it.
        snapshot.ledger.session.execute("UPDATE snapshot SET c1 = '1.2345678901234567e+19', fingerprint = 1")

    assert bench.run(rows).counts == Counts(queried=1, unchanged=1)
