"""Column names of warehouses that fold names to upper case unless the query quotes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from connectors.support.connection import ConnectionName
from syncer.model.protocols import COLUMN_CASE, DEFAULT_CASE, WRITTEN_NAMES
from syncer.model.types import Column

#: The parameter of URLs, and what it can be.
PARAMETER = "column_case"
_LOWER, _AS_IS = "lower", "as_is"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCase:
    """How one warehouse's names are read."""

    #: A name that the warehouse folded, in lower case; another one as it is.
    lowered: Callable[[str], str]
    #: COLUMN_CASE of `syncer.model.protocols`.
    asked: str

    def name(self, written: str) -> str:
        """The name of the column that the warehouse calls *written*."""
        return written if self.asked == _AS_IS else self.lowered(written)

    def column(self, written: str, type_: str) -> Column:
        """The column that the warehouse calls *written*."""
        name = self.name(written)
        return Column(name=name, type=type_, written="" if name == written else written)

    def names(self, schema: pa.Schema) -> pa.Schema:
        """*schema* with these names, and with what `syncer.model.protocols` says of its metadata."""
        written = list(schema.names)
        metadata = {COLUMN_CASE: self.asked, WRITTEN_NAMES: json.dumps(written)}
        fields = [field.with_name(self.name(name)) for field, name in zip(schema, written, strict=True)]
        return pa.schema(fields, metadata)


def column_case(named: ConnectionName, given: str, lowered: Callable[[str], str]) -> ColumnCase:
    """What a URL asks for; *given* is its parameter, or empty.

    Raises:
        SettingsError: there is no such case.
    """
    if given not in ("", _LOWER, _AS_IS):
        fault = f"URL has a `{PARAMETER}` that is neither `{_LOWER}` nor `{_AS_IS}`"
        raise named.unusable(fault, "Correct {setting}__URL.")
    return ColumnCase(lowered=lowered, asked=given or DEFAULT_CASE)
