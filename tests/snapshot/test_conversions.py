"""Values as the rules of `attributes.yml` have them, by the SQL that reads them in a run."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from syncer.model.attribute_rules import AttributeRule, AttributeType, Normaliser
from tests.workbench import Workbench, table

REFUSED = "refused"

TYPES: list[tuple[AttributeType, Any, Any]] = [
    (AttributeType.INTEGER, "12", 12),
    (AttributeType.INTEGER, " -007 ", -7),
    (AttributeType.INTEGER, "1.0", 1),
    (AttributeType.INTEGER, 2.0, 2),
    (AttributeType.INTEGER, Decimal("3.00"), 3),
    (AttributeType.INTEGER, True, REFUSED),
    (AttributeType.INTEGER, "1.5", REFUSED),
    (AttributeType.INTEGER, 1.5, REFUSED),
    (AttributeType.INTEGER, "1e3", REFUSED),
    (AttributeType.INTEGER, "9223372036854775808", REFUSED),
    (AttributeType.INTEGER, "twelve", REFUSED),
    (AttributeType.INTEGER, " ", None),
    (AttributeType.NUMBER, "1.50", 1.5),
    (AttributeType.NUMBER, "+.5", 0.5),
    (AttributeType.NUMBER, "1e3", 1000),
    (AttributeType.NUMBER, 7, 7),
    (AttributeType.NUMBER, 0.1, 0.1),
    (AttributeType.NUMBER, "1,5", REFUSED),
    (AttributeType.NUMBER, "nan", REFUSED),
    (AttributeType.BOOLEAN, "Yes", True),
    (AttributeType.BOOLEAN, "f", False),
    (AttributeType.BOOLEAN, 1, True),
    (AttributeType.BOOLEAN, 2, REFUSED),
    (AttributeType.BOOLEAN, "maybe", REFUSED),
    (AttributeType.TEXT, 12, "12"),
    (AttributeType.TEXT, 1.5, "1.5"),
    (AttributeType.TEXT, True, "true"),
    (AttributeType.TEXT, date(2026, 1, 31), "2026-01-31"),
    (AttributeType.TEXT, " as it is ", " as it is "),
    (AttributeType.DATE, "2026-01-31", "2026-01-31"),
    (AttributeType.DATE, datetime(2026, 1, 31, 23, 59, tzinfo=UTC), "2026-01-31"),
    (AttributeType.DATE, "31.1.2026", REFUSED),
    (AttributeType.TIMESTAMP, "2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00Z"),
    (AttributeType.TIMESTAMP, 1769853600, "2026-01-31T10:00:00Z"),
    (AttributeType.TIMESTAMP, date(2026, 1, 31), "2026-01-31T00:00:00Z"),
    (AttributeType.TIMESTAMP, datetime(2026, 1, 31, 10, tzinfo=UTC), "2026-01-31T10:00:00Z"),
    (AttributeType.TIMESTAMP, "soon", REFUSED),
]
SPELLINGS = [
    (Normaliser.TRIM, " a  b\u00a0", "a  b"),
    (Normaliser.TRIM, " ", ""),
    (Normaliser.LOWER, " ÄPFEL ", "äpfel"),
    (Normaliser.TITLE, " SAN  remo", "San  Remo"),
    (Normaliser.TITLE, "jean-luc o'neil", "Jean-Luc O'neil"),
    (Normaliser.TITLE, "élan", "Élan"),
    (Normaliser.TITLE, "", ""),
    (Normaliser.E164, "+49 30 901820", "+4930901820"),
    (Normaliser.E164, "0049 (0)30/90-18.20", "+4930901820"),
    (Normaliser.E164, "+49\u201130\u2013901820", "+4930901820"),
    (Normaliser.E164, "030 901820", REFUSED),
    (Normaliser.E164, "+49 30 901820 x7", REFUSED),
    (Normaliser.E164, " ", None),
]


def sent(folder: Path, rule: AttributeRule, value: Any) -> Any:
    """What the store gets of a value, or REFUSED."""
    bench = Workbench(folder)
    bench.adjust(rules={"x": rule})
    progress = bench.run(table({"id": ["1"], "x": [value]}))
    if progress.counts.rejected:
        assert bench.store.people == {}
        return REFUSED
    return bench.store.people["1"].get("x")


@pytest.mark.parametrize(("type_", "value", "expected"), TYPES)
def test_a_value_is_read_as_its_type(tmp_path: Path, type_: AttributeType, value: Any, expected: Any) -> None:
    assert sent(tmp_path, AttributeRule(type=type_), value) == expected


@pytest.mark.parametrize(("normaliser", "value", "expected"), SPELLINGS)
def test_a_text_is_spelled_by_its_normaliser(tmp_path: Path, normaliser: Normaliser, value: str, expected: Any) -> None:
    assert sent(tmp_path, AttributeRule(normaliser=normaliser), value) == expected
