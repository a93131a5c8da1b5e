"""What each DuckDB type becomes on its way to Arrow."""

from __future__ import annotations

import re
from dataclasses import dataclass

from syncer.model.protocols import JSON, NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a column of one DuckDB type is selected."""

    #: What is selected for the column `{}`.
    expression: str = "{}"
    metadata: dict[bytes, bytes] | None = None


_AS_IT_IS = Reading()
_AS_TEXT = Reading(expression="{}::VARCHAR")
_AS_NUMBER = Reading(expression="{}::VARCHAR", metadata=NUMBER)
_AS_JSON = Reading(expression="to_json({})::VARCHAR", metadata=JSON)
_AS_TIMESTAMP = Reading(expression="{}::TIMESTAMP")

#: The start of a type as DESCRIBE writes it; the first that fits counts, and the rest is text.
_READINGS = {
    r".*\]$|(STRUCT|MAP|UNION)\(|VARIANT$": _AS_JSON,
    r"JSON$": Reading(expression="{}::VARCHAR", metadata=JSON),
    r"(HUGEINT|UHUGEINT|BIGNUM)$": _AS_NUMBER,
    r"TIMESTAMP_(S|MS|NS)$": _AS_TIMESTAMP,
    r"(BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|DOUBLE|VARCHAR|BLOB|DATE|TIMESTAMP( WITH TIME ZONE)?)$": _AS_IT_IS,
    r"DECIMAL\(": _AS_IT_IS,
    # The shortest digits that mean this number, as in PostgreSQL: 0.1, not 0.10000000149.
    r"FLOAT$": Reading(expression="{}::VARCHAR::DOUBLE"),
}


def reading(kind: str) -> Reading:
    """How to select a column of the type *kind*, as DESCRIBE writes it."""
    return next((reading for pattern, reading in _READINGS.items() if re.match(pattern, kind, re.DOTALL)), _AS_TEXT)
