"""SQL over the columns k1 to kn, which hold a row's key as text."""

from __future__ import annotations


def key_text(keys: list[str]) -> str:
    """SQL for a key as people see and type it: one column's text, or a JSON array of several."""
    return keys[0] if len(keys) == 1 else f"CAST(json_array({', '.join(keys)}) AS VARCHAR)"
