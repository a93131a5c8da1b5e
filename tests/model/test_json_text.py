"""JSON that is read and written whatever is in it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.model.json_text import json_text, json_value

ATOMS = st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(value=VALUES, depth=st.sampled_from([0, 1_500]))
def test_what_is_written_is_read_again(value: Any, depth: int) -> None:
    text = "[" * depth + json_text(value) + "]" * depth

    assert json_text(json_value(text)) == text


@pytest.mark.parametrize("indent", [None, 2])
@given(value=st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_it_is_written_as_python_does(value: Any, indent: int | None) -> None:
    assert json_text(value, indent) == json.dumps(value, ensure_ascii=False, indent=indent)


def test_every_digit_is_read() -> None:
    digits = "7" * 5_000

    assert json_text(json_value(f'{{"long": {digits}, "exact": 0.10}}')) == f'{{"long": {digits}, "exact": 0.10}}'
    assert json_value("0.1") == Decimal("0.1")


@pytest.mark.parametrize("text", ["", "{", "[1,]", "x", "[" * 3_000, "[" * 3_000 + "]" * 3_001, '{"a":' * 3_000])
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json_value(text)
