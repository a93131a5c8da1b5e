"""What each DuckDB type becomes on its way to Arrow."""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.support.results import ColumnReading
from syncer.model.protocols import JSON, NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckDBReading(ColumnReading):
    """How a column of one DuckDB type is selected; DuckDB itself tells what that is in Arrow."""

    #: What is selected for the column `{}`.
    expression: str = "{}"


_AS_IT_IS = DuckDBReading()
_AS_TEXT = DuckDBReading(expression="{}::VARCHAR")
_AS_NUMBER = DuckDBReading(expression="{}::VARCHAR", metadata=NUMBER)
_AS_JSON = DuckDBReading(expression="to_json({})::VARCHAR", metadata=JSON)
_AS_TIMESTAMP = DuckDBReading(expression="{}::TIMESTAMP")

#: The start of a type as DESCRIBE writes it; the first that fits counts, and the rest is text.
_READINGS = {
    r".*\]$|(STRUCT|MAP|UNION)\(|VARIANT$": _AS_JSON,
    r"JSON$": DuckDBReading(expression="{}::VARCHAR", metadata=JSON),
    r"(HUGEINT|UHUGEINT|BIGNUM)$": _AS_NUMBER,
    r"TIMESTAMP_(S|MS|NS)$": _AS_TIMESTAMP,
    r"(BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|DOUBLE|VARCHAR|BLOB|DATE|TIMESTAMP( WITH TIME ZONE)?)$": _AS_IT_IS,
    r"DECIMAL\(": _AS_IT_IS,
    # The shortest digits that mean this number, as in PostgreSQL: 0.1, not 0.10000000149.
    r"FLOAT$": DuckDBReading(expression="{}::VARCHAR::DOUBLE"),
}


def reading(kind: str) -> DuckDBReading:
    """How to select a column of the type *kind*, as DESCRIBE writes it."""
    return next((reading for pattern, reading in _READINGS.items() if re.match(pattern, kind, re.DOTALL)), _AS_TEXT)
