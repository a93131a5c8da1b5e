"""BigQuery's types, as the contract suite selects them: an expression; its Arrow type, metadata and value."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from syncer.model.protocols import JSON, NUMBER

_TEXT, _UTC, _NAIVE, _DAY = pa.string(), pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()
_NOON = datetime.fromisoformat("2024-02-29 12:00:00.123456")
_LONG = "12345678901234567890123456789012345678.12345678901234567890123456789012345678"

BIGQUERY_TYPES: list[tuple[str, pa.DataType, dict[bytes, bytes] | None, Any]] = [
    (f"{expression} AS c{number}", *expected)
    for number, (expression, *expected) in enumerate(
        [
            ("TRUE", pa.bool_(), None, True),
            ("9223372036854775807", pa.int64(), None, 2**63 - 1),
            ("CAST(NULL AS INT64)", pa.int64(), None, None),
            ("0.1", pa.float64(), None, 0.1),
            ("CAST('-inf' AS FLOAT64)", pa.float64(), None, float("-inf")),
            ("1.7976931348623157e308", pa.float64(), None, 1.7976931348623157e308),
            ("NUMERIC '-1.50'", pa.decimal128(38, 9), None, Decimal("-1.500000000")),
            ("NUMERIC '0.000000001'", pa.decimal128(38, 9), None, Decimal("0.000000001")),
            (f"BIGNUMERIC '{_LONG}'", _TEXT, NUMBER, _LONG),
            ("BIGNUMERIC '0.00000000000000000001'", _TEXT, NUMBER, "0.00000000000000000001"),
            ("CAST(NULL AS BIGNUMERIC)", _TEXT, NUMBER, None),
            ("'x'", _TEXT, None, "x"),
            ("CAST(NULL AS STRING)", _TEXT, None, None),
            ("b'\\x00\\xff'", pa.binary(), None, b"\x00\xff"),
            ("DATE '2024-02-29'", _DAY, None, date(2024, 2, 29)),
            ("DATE '0001-01-01'", _DAY, None, date(1, 1, 1)),
            ("DATETIME '2024-02-29 12:00:00.123456'", _NAIVE, None, _NOON),
            ("DATETIME '9999-12-31 23:59:59.999999'", _NAIVE, None, 253402300799999999),
            ("TIMESTAMP '2024-02-29 14:00:00.123456+02'", _UTC, None, _NOON.replace(tzinfo=UTC)),
            ("TIMESTAMP '0001-01-01 00:00:00+00'", _UTC, None, datetime(1, 1, 1, tzinfo=UTC)),
            ("TIME '12:34:56.789'", _TEXT, None, "12:34:56.789"),
            ("TIME '00:00:00'", _TEXT, None, "00:00:00"),
            ("INTERVAL 14 MONTH", _TEXT, None, "1-2 0 0:0:0"),
            ("INTERVAL 90 SECOND", _TEXT, None, "0-0 0 0:1:30"),
            ("""JSON '{"b":1,"a":[2.5,12345678901234567890123]}'""", _TEXT, JSON,
             '{"b":1,"a":[2.5,12345678901234567890123]}'),
            ("ST_GEOGFROMTEXT('POINT(1 2)')", _TEXT, None, "POINT(1 2)"),
            ("RANGE<DATE> '[2024-01-01, UNBOUNDED)'", _TEXT, None, "[2024-01-01, UNBOUNDED)"),
            ("RANGE<TIMESTAMP> '[2024-01-01 00:00:00+00, 2024-02-29 12:00:00.5+00)'", _TEXT, None,
             "[2024-01-01T00:00:00Z, 2024-02-29T12:00:00.5Z)"),
            ("[1, 2]", _TEXT, JSON, "[1,2]"),
            ("CAST(NULL AS ARRAY<INT64>)", _TEXT, JSON, "[]"),
            ("STRUCT(1 AS a, 'x' AS b, CAST(NULL AS STRING) AS c)", _TEXT, JSON, '{"a":1,"b":"x","c":null}'),
            ("[STRUCT('say \"hi\"' AS a, [NUMERIC '1.50'] AS b, [BIGNUMERIC '0.00000001'] AS c)]", _TEXT, JSON,
             '[{"a":"say \\"hi\\"","b":[1.5],"c":[0.00000001]}]'),
            ("[CAST('nan' AS FLOAT64), CAST('inf' AS FLOAT64), 0.5]", _TEXT, JSON, '["NaN","Infinity",0.5]'),
            ("STRUCT(TIMESTAMP '2024-02-29 12:00:00+00' AS t, DATETIME '2024-02-29 12:00:00.5' AS d, b'x' AS b)",
             _TEXT, JSON, '{"t":"2024-02-29T12:00:00Z","d":"2024-02-29T12:00:00.5","b":"eA=="}'),
            ("""[JSON '{"a":1}']""", _TEXT, JSON, '[{"a":1}]'),
            ("[DATE '2024-02-29']", _TEXT, JSON, '["2024-02-29"]'),
            ("NULL", pa.int64(), None, None),
        ]
    )
]  # fmt: skip
