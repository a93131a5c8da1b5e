"""What one run sends: its batches worded, packed and delivered, each step while the one after it goes on."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from connectors.customerio.calls import Api
from connectors.customerio.delivery import Delivery, rejected
from connectors.customerio.items import Wording, worded
from connectors.customerio.requests import Packing
from syncer.model.errors import StoreError
from syncer.model.types import Target


class Sending:
    """The batches of one target, from the first to the last. Used by one thread."""

    def __init__(self, api: Api, path: str, target: Target, wording: Wording) -> None:
        """Nothing is sent yet."""
        self._label = api.label
        self._target = target
        self._wording = wording
        self._packing = Packing()
        self._delivery = Delivery(api, path)
        self._duckdb = duckdb.connect(config={"python_enable_replacements": False, "threads": 1})

    def add(self, batch: pa.RecordBatch) -> pa.Table:
        """Put *batch* on its way, and return the verdicts that are there by now.

        Raises:
            StoreError: the API failed; nothing is in flight any more.
        """
        try:
            items, refused = worded(self._duckdb, self._target, batch, self._wording)
        except duckdb.Error as exc:
            self._delivery.fail()
            # Its text may hold values.
            raise StoreError(f"{self._label}: a batch cannot be written as JSON: {type(exc).__name__}") from None
        self._delivery.tell(rejected(refused["seq"], refused["reason"]))
        self._delivery.send(self._packing.add(items))
        return self._delivery.answered()

    def finish(self) -> pa.Table:
        """Send what still waits, and return the verdicts that are left; after a failure those that came before it.

        Raises:
            StoreError: the API failed; nothing is in flight any more.
        """
        if not self._delivery.has_failed:
            self._delivery.send(self._packing.rest())
            self._delivery.finish()
        return self._delivery.answered()

    def close(self) -> None:
        """Let go of what is held; what is in flight comes to its end."""
        self._delivery.close()
        self._duckdb.close()
