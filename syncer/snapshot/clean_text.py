"""Text that can be sent: UTF-8 without NUL."""

from __future__ import annotations

import pyarrow as pa


def is_text(type_: pa.DataType) -> bool:
    """Whether a type is one of text."""
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def is_clean(array: pa.Array) -> bool:
    """Whether all text of *array* is UTF-8 without NUL."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    if not is_text(array.type):
        return True
    _, offsets, text = array.buffers()
    if text is None or not len(array):
        return True
    places = memoryview(offsets).cast("q" if pa.types.is_large_string(array.type) else "i")
    return b"\0" not in memoryview(text)[places[array.offset] : places[array.offset + len(array)]].tobytes()


def fault_of(text: bytes) -> str:
    """What is wrong with a text, empty if nothing is."""
    try:
        text.decode()
    except UnicodeDecodeError as exc:
        return f"is not valid UTF-8 at byte {exc.start}"
    return "holds a NUL character" if b"\0" in text else ""
