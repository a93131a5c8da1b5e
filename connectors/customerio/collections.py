"""A collection, which Customer.io takes only as a whole."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from connectors.customerio.connection import Answer, Api
from connectors.customerio.delivery import accepted, reason_in, rejected
from connectors.customerio.errors import kept_of_many
from syncer.model.errors import StoreError
from syncer.model.protocols import VERDICTS

#: Bytes of JSON.
LARGEST_COLLECTION = 10_000_000
LONGEST_ROW = 10_000

PATH = "/v1/collections"


def replace(api: Api, name: str, batch: pa.RecordBatch) -> pa.Table:
    """Make *batch* the whole collection, and return the verdicts; none if the answer gives none.

    Shapes:
        batch: as for `ProfileStore.apply` of a store that replaces collections.
    Raises:
        StoreError: the API failed; every row is in doubt.
    """
    rows, too_long = _rows(batch)
    seqs = batch["seq"].drop_null()
    rejections = rejected(too_long, pa.repeat(f"the row makes more than {LONGEST_ROW:,} bytes of JSON", len(too_long)))
    size = (pc.sum(pc.binary_length(rows)).as_py() or 0) + max(len(rows) - 1, 0) + 2
    if size > LARGEST_COLLECTION:
        reason = f"the collection makes {size:,} bytes of JSON, over {LARGEST_COLLECTION:,}; nothing was sent"
        return rejected(seqs, pa.repeat(reason, len(seqs)))
    data = _json_array(rows)
    body = b'{"name":' + json.dumps(name, ensure_ascii=False).encode() + b',"data":' + data + b"}"
    number = find(api, name)
    if number is None:
        # After a lost answer, a second call would create a second collection.
        answer = api.call("POST", PATH, content=body, idempotent=False)
    else:
        answer = api.call("PUT", f"{PATH}/{number}", content=body)
    if not answer.ok:
        return rejected(seqs, pa.repeat(kept_of_many(reason_in(answer), rows=data.decode()), len(seqs)))
    if not _is_whole(answer, len(rows)):
        return VERDICTS.empty_table()
    taken = seqs.filter(pc.invert(pc.is_in(seqs, value_set=too_long)))
    return pa.concat_tables([accepted(taken), rejections])


def find(api: Api, name: str) -> int | None:
    """The number of the collection of this name; None if it does not exist.

    Raises:
        StoreError: the API failed, or gives no list.
    """
    content = api.call("GET", PATH).json()
    listed = content.get("collections") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise StoreError(
            f"{api.label}: Customer.io gives no list of collections",
            hint="Check that the App API key may read collections, and that the plan has them.",
        )
    numbers = [one.get("id") for one in listed if isinstance(one, dict) and one.get("name") == name]
    if numbers and type(numbers[0]) is not int:
        raise StoreError(f"{api.label}: Customer.io gives the collection `{name}` no number", hint="Run it again.")
    return numbers[0] if numbers else None


def _rows(batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
    """The JSON texts of the new rows, and the `seq` of those that are too long, which keep their old text."""
    put = pc.equal(batch["action"], "put")
    too_long = pc.and_(put, pc.greater(pc.binary_length(batch["attributes"]), LONGEST_ROW))
    too_long = pc.and_(too_long, pc.is_valid(batch["seq"]))
    wanted = pc.if_else(too_long, batch["acknowledged"], batch["attributes"])
    return wanted.filter(put).drop_null(), batch["seq"].filter(too_long)


def _json_array(rows: pa.Array) -> bytes:
    together = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows.cast(pa.string()))
    joined: bytes = pc.binary_join(together, ",")[0].as_buffer().to_pybytes()
    return b"[" + joined + b"]"


def _is_whole(answer: Answer, rows: int) -> bool:
    content = answer.json()
    stored = content.get("collection") if isinstance(content, dict) else None
    return isinstance(stored, dict) and stored.get("rows", rows) == rows
