"""A collection: its changed rows where Customer.io takes them by their key, or else all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.customerio.connection import Answer, Api
from connectors.customerio.delivery import accepted, reason_in, rejected
from connectors.customerio.errors import kept_of_many
from connectors.customerio.keyed_writes import DELETE_FIELD, KeyedWrites, json_array, keyed_rows
from syncer.model.errors import StoreError
from syncer.model.protocols import VERDICTS
from syncer.model.types import Target

#: Bytes of JSON.
LARGEST_COLLECTION = 10_000_000
LONGEST_ROW = 10_000

PATH = "/v1/collections"


def deliver(api: Api, target: Target, batch: pa.RecordBatch) -> pa.Table:
    """Make *batch* the whole collection, and return the verdicts; none if an answer gives none.

    Only the changed rows travel where the workspace takes rows by their key, and they are few.

    Shapes:
        batch: as for `ProfileStore.apply` of a store that replaces collections.
    Raises:
        StoreError: the API failed; every row is in doubt.
    """
    too_long = _too_long(batch)
    refused = rejected(too_long, pa.repeat(f"the row makes more than {LONGEST_ROW:,} bytes of JSON", len(too_long)))
    rows = _rows(batch, too_long)
    size = (pc.sum(pc.binary_length(rows)).as_py() or 0) + max(len(rows) - 1, 0) + 2
    if size > LARGEST_COLLECTION:
        seqs = batch["seq"].drop_null()
        reason = f"the collection makes {size:,} bytes of JSON, over {LARGEST_COLLECTION:,}; nothing was sent"
        return rejected(seqs, pa.repeat(reason, len(seqs)))
    name = str(target.collection)
    listed = _listed(api, name)
    if listed is None:
        # After a lost answer, a second call would create a second collection.
        created = api.call("POST", PATH, content=_body(name, rows), idempotent=False)
        return _verdicts(batch, refused, rows, created)
    path = f"{PATH}/{_number(api, name, listed)}"
    writes, keyed = KeyedWrites(api, path, listed), keyed_rows(batch, target, too_long)
    if keyed is not None and not keyed.are_few:
        writes.wait_for_others(keyed)
    elif keyed is not None:
        is_sent = writes.send(keyed)
        refused = pa.concat_tables([refused, writes.refused])
        rows = _rows(batch, refused["seq"].combine_chunks())
        if is_sent and _has_rows(api, path, len(rows)):
            return _taken(batch, refused)
    key = None if keyed is None else keyed.key
    if key is not None and writes.replace(json_array(rows), key) and _has_rows(api, path, len(rows)):
        return _taken(batch, refused)
    fields: dict[str, str | None] = {"key_field": key, "delete_field": DELETE_FIELD if key else None}
    knows_keys = writes.are_offered and (key is not None or listed.get("key_field") is not None)
    return _verdicts(batch, refused, rows, _replaced(api, path, name, rows, fields if knows_keys else {}))


def _replaced(api: Api, path: str, name: str, rows: pa.Array, fields: Mapping[str, str | None]) -> Answer:
    """The answer to a replacement of all rows, with *fields* where the workspace takes them."""
    if fields:
        answer = api.call("PUT", path, content=_body(name, rows, **fields))
        if answer.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
            return answer
    return api.call("PUT", path, content=_body(name, rows))


def _body(name: str, rows: pa.Array, **members: str | None) -> bytes:
    head = json.dumps({"name": name, **members}, ensure_ascii=False)[:-1].encode()
    return head + b',"data":' + json_array(rows) + b"}"


def _verdicts(batch: pa.RecordBatch, refused: pa.Table, rows: pa.Array, answer: Answer) -> pa.Table:
    """The verdicts by the answer to all *rows*."""
    if not answer.ok:
        seqs = batch["seq"].drop_null()
        reason = kept_of_many(reason_in(answer), rows=json_array(rows).decode())
        return rejected(seqs, pa.repeat(reason, len(seqs)))
    return _taken(batch, refused) if _is_whole(answer, len(rows)) else VERDICTS.empty_table()


def _taken(batch: pa.RecordBatch, refused: pa.Table) -> pa.Table:
    seqs = batch["seq"].drop_null()
    others = pc.invert(pc.is_in(seqs, value_set=refused["seq"].combine_chunks()))
    return pa.concat_tables([accepted(seqs.filter(others)), refused])


def find(api: Api, name: str) -> int | None:
    """The number of the collection of this name; None if it does not exist.

    Raises:
        StoreError: the API failed, or gives no list.
    """
    listed = _listed(api, name)
    return None if listed is None else _number(api, name, listed)


def _listed(api: Api, name: str) -> dict[str, Any] | None:
    content = api.call("GET", PATH).json()
    listed = content.get("collections") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise StoreError(
            f"{api.label}: Customer.io gives no list of collections",
            hint="Check that the App API key may read collections, and that the plan has them.",
        )
    return next((one for one in listed if isinstance(one, dict) and one.get("name") == name), None)


def _number(api: Api, name: str, listed: Mapping[str, Any]) -> int:
    number = listed.get("id")
    if type(number) is not int:
        raise StoreError(f"{api.label}: Customer.io gives the collection `{name}` no number", hint="Run it again.")
    return number


def _too_long(batch: pa.RecordBatch) -> pa.Array:
    """The `seq` of new rows that are too long."""
    put = pc.equal(batch["action"], "put")
    too_long = pc.and_(put, pc.greater(pc.binary_length(batch["attributes"]), LONGEST_ROW))
    return batch["seq"].filter(pc.and_(too_long, pc.is_valid(batch["seq"])))


def _rows(batch: pa.RecordBatch, refused: pa.Array) -> pa.Array:
    """The JSON texts of the rows that the collection is to have; *refused* ones (`seq`) keep their old text."""
    keeps = pc.and_(pc.is_in(batch["seq"], value_set=refused), pc.is_valid(batch["seq"]))
    wanted = pc.if_else(keeps, batch["acknowledged"], batch["attributes"])
    is_there = pc.or_(pc.equal(batch["action"], "put"), keeps)
    return wanted.filter(is_there).drop_null()


def _has_rows(api: Api, path: str, rows: int) -> bool:
    """Whether the collection has so many rows; if not, it has another key, or somebody else writes to it."""
    return _is_whole(api.call("GET", path), rows)


def _is_whole(answer: Answer, rows: int) -> bool:
    content = answer.json()
    stored = content.get("collection") if isinstance(content, dict) else None
    return isinstance(stored, dict) and stored.get("rows", rows) == rows
