"""Rows of a collection that are saved and deleted by their key, without the other rows.

Two versions of the API are published, both read on 2026-11-30, and a workspace may have neither:

- https://docs.customer.io/integrations/api/app/tag/collections/submitCollectionWrite/: a write has rows. A row whose
  key exists replaces the old one; a row that sets the collection's `delete_field` to true deletes it.
- https://docs.customer.io/integrations/api/app/tag/collections/submitcollectionwrite/: a write has rows and a `mode`,
  such as `upsert`, `delete` or `replace`.

Both queue a write, apply the writes of a collection in their order, and save nothing of one with an invalid row.
https://docs.customer.io/integrations/api/app/tag/collections/getcollectionwrite/ tells how a write ended, for 24 hours.
Neither page says which states a write has but `failed`, nor how `delete` names its rows, nor whether a collection's
description has its `key_field`. So what is not understood is not taken for done: the whole collection is replaced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.customerio.connection import AGAIN, Api
from connectors.customerio.delivery import rejected
from connectors.customerio.errors import kept
from syncer.model.errors import StoreError
from syncer.model.protocols import VERDICTS
from syncer.model.types import Action, Target

#: Rows that a write saves at once, all or none.
ROWS_OF_A_WRITE = 500
#: Changed rows up to which they travel alone: more take longer than the whole collection in one call.
MOST_ROWS = 5_000
#: Bytes of a key.
_LONGEST_KEY = 1_024
#: The member by which a row says that it is to be deleted.
DELETE_FIELD = "syncer_deleted"

#: Seconds until a write that has not ended leaves its rows in doubt; and until the second look, a time that doubles.
LOOKING_SECONDS = 60.0
FIRST_LOOK, LONGEST_LOOK = 0.2, 3.0
#: Writes of the same rows, each without those for which the one before failed.
_MOST_TRIES = 20

_FAILED = "failed"
#: Not documented.
_TAKEN = frozenset({"applied", "complete", "completed", "done", "finished", "succeeded", "success"})
_UNDER_WAY = frozenset(
    {"accepted", "applying", "in-progress", "in_progress", "pending", "processing", "queued", "received", "running"}
)
#: What a workspace without keyed writes answers to one.
_NOT_OFFERED = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})

_ROWS = pa.schema([("seq", pa.int64()), ("text", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRows:
    """What changes in a collection, as rows that a write can have; each a JSON text with its `seq`."""

    #: The member of every row that holds its key.
    key: str
    put: pa.Table
    #: Of the key alone, with DELETE_FIELD.
    deleted: pa.Table
    #: A row that the collection has, or is to have: to write it does no harm before the others are written.
    harmless: pa.Table
    #: How many rows the collection has, with those that are deleted.
    rows: int

    @property
    def are_few(self) -> bool:
        """Whether they are to travel alone."""
        changed = len(self.put) + len(self.deleted)
        return changed <= MOST_ROWS and 2 * changed <= self.rows


def keyed_rows(batch: pa.RecordBatch, target: Target, too_long: pa.Array) -> KeyedRows | None:
    """What changes in a collection; None where its rows cannot be told apart by one member of them.

    Shapes:
        batch: as for `ProfileStore.apply` of a store that replaces collections.
        too_long: the `seq` of rows that are not to be sent.
    """
    if len(target.key_columns) != 1:
        return None
    (key,) = target.key_columns
    is_long = pc.and_(pc.is_in(batch["seq"], value_set=too_long), pc.is_valid(batch["seq"]))
    given = pa.table(batch).append_column("is_long", is_long)
    place = "/" + key.replace("~", "~0").replace("/", "~1")
    with closing(duckdb.connect(config={"python_enable_replacements": False, "threads": 1})) as connection:
        connection.register("given", given)
        connection.execute(_KEYS, {"place": place})
        if not connection.execute(_ARE_KEYS).fetchall()[0][0]:
            return None
        name = json.dumps(key, ensure_ascii=False)
        put, deleted, harmless = (
            connection.sql(query, params=parameters).to_arrow_table().cast(_ROWS)
            for query, parameters in ((_PUT, {}), (_DELETED, {"name": name}), (_HARMLESS, {}))
        )
    return KeyedRows(key=key, put=put, deleted=deleted, harmless=harmless, rows=batch.num_rows)


#: The rows with their keys as JSON: of the new text, of the old one, and of the one that the collection is to have.
_KEYS = f"""
CREATE TEMP TABLE keyed AS SELECT *, CASE WHEN action = '{Action.PUT}' AND NOT is_long THEN own ELSE old END AS key
FROM (
    SELECT *, json_extract(attributes, $place) AS own, json_extract(acknowledged, $place) AS old
    FROM given WHERE NOT (is_long AND acknowledged IS NULL)
)
"""
#: A key that is spelled anew would leave the row of the old spelling; a row that was never acknowledged has none.
_ARE_KEYS = f"""
SELECT count(DISTINCT key ->> '$') = count(*) AND coalesce(bool_and(
    coalesce(json_type(key) IN ('VARCHAR', 'BIGINT', 'UBIGINT', 'DOUBLE'), false)
    AND strlen(key ->> '$') BETWEEN 1 AND {_LONGEST_KEY}
    AND (old IS NULL OR CAST(old AS VARCHAR) = CAST(key AS VARCHAR))
    AND NOT json_exists(attributes, '/{DELETE_FIELD}')
), true) FROM keyed
"""
_PUT = f"SELECT seq, attributes AS text FROM keyed WHERE seq IS NOT NULL AND action = '{Action.PUT}' AND NOT is_long"
_DELETED = f"""
SELECT seq, '{{' || $name || ':' || CAST(old AS VARCHAR) || ',"{DELETE_FIELD}":true}}' AS text
FROM keyed WHERE seq IS NOT NULL AND action = '{Action.DELETE}'
"""
_HARMLESS = f"""
SELECT seq, CASE WHEN action = '{Action.PUT}' THEN attributes ELSE acknowledged END AS text
FROM keyed WHERE NOT is_long ORDER BY seq NULLS FIRST LIMIT 1
"""


class KeyedWrites:
    """Writes to one collection of a workspace, which may not have them."""

    def __init__(self, api: Api, path: str, listed: Mapping[str, Any]) -> None:
        """Nothing is sent yet.

        Shapes:
            path: of the collection.
            listed: what the workspace tells of it.
        """
        self._api, self._path, self._listed = api, f"{path}/writes", listed
        #: Whether the workspace seems to have such writes, and perhaps with a mode.
        self.are_offered = "key_field" in listed
        self._may_have_modes = "delete_field" not in listed
        #: The rows that are invalid (VERDICTS).
        self.refused: pa.Table = VERDICTS.empty_table()

    def send(self, rows: KeyedRows) -> bool:
        """Save and delete *rows*; False where the whole collection is to be replaced instead.

        Raises:
            StoreError: the API failed, or a write did not end in time; every row is in doubt.
        """
        if self._listed.get("key_field", rows.key) != rows.key:
            return False
        deletes = not len(rows.deleted) or self._listed.get("delete_field") == DELETE_FIELD
        # Else it shows which version it is: one whose collection has no such field would save rows that are to go.
        others = rows.put if len(rows.put) else rows.harmless
        if self._is_taken(pa.concat_tables([rows.put, rows.deleted]) if deletes else others):
            self._may_have_modes = False
            return deletes
        if not self.are_offered or not self._may_have_modes:
            return False
        return self._is_taken(rows.deleted, mode="delete") and self._is_taken(rows.put, mode="upsert")

    def wait_for_others(self, rows: KeyedRows) -> None:
        """Wait for every write that an earlier run may have queued: writes have an order, and others may have none.

        Raises:
            StoreError: as for `send`.
        """
        if self._listed.get("key_field", rows.key) != rows.key or self._is_taken(rows.harmless):
            return
        if self.are_offered and self._may_have_modes:
            self._is_taken(rows.harmless, mode="upsert")

    def replace(self, data: bytes, key: str) -> bool:
        """Replace all rows by *data*, and make *key* their key, where that is a write; False where it is not."""
        if not self.are_offered or not self._may_have_modes or self._listed.get("key_field") == key:
            return False
        return self._errors(data, mode="replace", key_field=key) == {}

    def _is_taken(self, rows: pa.Table, **members: str) -> bool:
        """Whether *rows* are saved, but for those that are invalid."""
        for first in range(0, len(rows), ROWS_OF_A_WRITE):
            part = rows.slice(first, ROWS_OF_A_WRITE)
            for _ in range(_MOST_TRIES):
                errors = self._errors(json_array(part["text"]), rows=len(part), **members)
                if errors is None:
                    return False
                if not errors:
                    break
                part = self._without(part, errors)
                if not len(part):
                    break
            else:
                return False
        return True

    def _without(self, part: pa.Table, errors: Mapping[int, str]) -> pa.Table:
        """The rows that no error is about; the others are refused."""
        places = pa.array(sorted(errors), pa.int64())
        texts = part["text"].take(places).to_pylist()
        reasons = [
            kept(f"Customer.io does not take the row: {errors[place]}", item=text)
            for place, text in zip(places.to_pylist(), texts, strict=True)
        ]
        refused = rejected(part["seq"].take(places).combine_chunks(), pa.array(reasons, pa.string()))
        # A harmless row has no `seq`.
        self.refused = pa.concat_tables([self.refused, refused.filter(pc.is_valid(refused["seq"]))])
        return part.filter(pc.invert(pc.is_in(pa.array(range(len(part)), pa.int64()), value_set=places)))

    def _errors(self, data: bytes, *, rows: int = 0, **members: str) -> dict[int, str] | None:
        """What is wrong with each row of a write, by its place: nothing where it is taken; None where it cannot be."""
        head = b"".join(b"%s:%s," % (_json(name), _json(text)) for name, text in members.items())
        answer = self._api.call("POST", self._path, content=b"{" + head + b'"data":' + data + b"}")
        self.are_offered = answer.status not in _NOT_OFFERED
        if not answer.ok:
            return None
        told = answer.json()
        if not isinstance(told, dict):
            raise StoreError(
                f"{self._api.label}: Customer.io's answer {answer.status} to rows of a collection cannot be understood",
                hint=f"Does a proxy answer in its place? {AGAIN}",
            )
        write_id = _write_id(told)
        if write_id is None:
            return None
        ended = self._ended(write_id)
        if ended.get("state") in _TAKEN:
            return {}
        return _errors_by_place(ended, rows) if ended.get("state") == _FAILED else None

    def _ended(self, write_id: str) -> Mapping[str, Any]:
        """What the look-up tells of a write once it is no more under way; nothing where that cannot be understood."""
        until, wait = time.monotonic() + LOOKING_SECONDS, FIRST_LOOK
        while True:
            answer = self._api.call("GET", f"{self._path}/{quote(write_id, safe='')}")
            told = _member(answer.json(), "write")
            # An unknown write may be known a moment later.
            if answer.status != HTTPStatus.NOT_FOUND and told.get("state") not in _UNDER_WAY:
                return told if answer.ok else {}
            if time.monotonic() + wait > until:
                raise StoreError(
                    f"{self._api.label}: {LOOKING_SECONDS:.0f} seconds after a write to a collection, Customer.io has "
                    f"not told whether it took the rows",
                    hint=AGAIN,
                )
            self._api.pause(wait)
            wait = min(2 * wait, LONGEST_LOOK)


def json_array(texts: pa.Array | pa.ChunkedArray) -> bytes:
    """The JSON array of JSON texts."""
    values = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    together = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values.cast(pa.string()))
    return b"[" + cast(bytes, pc.binary_join(together, ",")[0].as_buffer().to_pybytes()) + b"]"


def _json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def _member(content: Any, name: str) -> Mapping[str, Any]:
    found = content.get(name) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _write_id(told: dict[str, Any]) -> str | None:
    """The id in the answer to a write, wherever it is; the page shows it only in a look-up."""
    written = _member(told, "write") or told
    found = written.get("id", written.get("write_id"))
    return found if isinstance(found, str) and found else None


def _errors_by_place(ended: Mapping[str, Any], rows: int) -> dict[int, str] | None:
    """The codes of a failed write's rows, by their place; None if it is not about certain rows alone."""
    items = ended.get("items")
    if not isinstance(items, list) or not items:
        return None
    found: dict[int, str] = {}
    for item in items:
        place, code = (item.get("index"), item.get("code")) if isinstance(item, dict) else (None, None)
        if type(place) is not int or not 0 <= place < rows:
            return None
        found[place] = str(code or "no reason was given")
    return found
