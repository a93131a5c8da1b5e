"""A JSON file of people by id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from syncer.model.protocols import IDENTIFIERS, VERDICTS
from syncer.model.types import Entity, Identity, Target, ValueForm

from . import AcmeOptions


class AcmeStore:
    """The file that the URL names."""

    store_id = "acme"
    batch_rows = 100
    collection_bytes = 1_000_000
    value_form = ValueForm.EXACT

    def __init__(
        self, name: str, url: str, *, identity: Identity, options: AcmeOptions, **_of_other_stores: object
    ) -> None:
        self.identity = identity
        self._path = Path(url.removeprefix("acme:///"))
        assert options.password.get_secret_value() == "open sesame"

    def check(self, target: Target, *, create: bool = True) -> None:
        """As in ProfileStore."""

    def identifiers(self, target: Target, keys: pa.Table) -> pa.Table:
        """As in ProfileStore."""
        return IDENTIFIERS.empty_table()

    def apply(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
        """As in ProfileStore."""
        people = self._people()
        for row in batch.to_pylist():
            people.setdefault(row["k1"], {}).update(json.loads(row["attributes"]))
        self._path.write_text(json.dumps(people))
        seqs = batch["seq"].to_pylist()
        return pa.table([seqs, ["accepted"] * len(seqs), [None] * len(seqs)], schema=VERDICTS)

    def flush(self) -> pa.Table:
        """As in ProfileStore."""
        return VERDICTS.empty_table()

    def show(self, entity: Entity, kind: str, value: str) -> dict[str, Any] | None:
        """As in ProfileStore."""
        return self._people().get(value)

    def close(self) -> None:
        """As in ProfileStore."""

    def _people(self) -> dict[str, dict[str, Any]]:
        people: dict[str, dict[str, Any]] = json.loads(self._path.read_text()) if self._path.exists() else {}
        return people
