"""What pydantic finds wrong with a value that somebody gave, in the words of Syncer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WORDS = {
    "missing": "is missing",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "byte_size": "should be a size, such as `512MB` or `2GB`",
    "byte_size_unit": "should be a size, such as `512MB` or `2GB`",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "model_attributes_type": "should be an object",
}


def in_words(detail: Mapping[str, Any]) -> str:
    """The end of a sentence that begins with the name of the value, from one item of `ValidationError.errors()`."""
    kind = detail["type"]
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "too_short":
        return f"should have at least {detail['ctx']['min_length']} characters"
    return _WORDS.get(kind) or re.sub(r"^[A-Z]\w* should ", "should ", detail["msg"])
