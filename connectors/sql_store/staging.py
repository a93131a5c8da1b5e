"""A batch in the columns of the temporary table `batch`, and the verdicts on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc

from syncer.model.importing import importing
from syncer.model.protocols import NUMBERED_VERDICTS
from syncer.model.types import Entity, Identity, PersonKey, Target, Verdict

#: The form of a person's number in the store.
CIO_ID = "^[1-9][0-9]{0,17}$"

#: Where Arrow's text of a time has a space.
_BEFORE_THE_HOUR = (10, 11)


def staged(target: Target, batch: pa.RecordBatch | pa.Table, identity: Identity) -> pa.Table:
    """The rows of a batch under the SQL's names of their columns.

    Shapes:
        batch: as for `ProfileStore.apply`.
        returns: seq, action, the key's columns, attributes, cleared and, where the batch has it, person; for people
            also `id`, `email`, `phone`, `anonymous`, `previous` and, as 0 or 1, `clears_id` and so on, where the batch
            has them; so for devices `platform`, `last_used` and `clears_last_used`. For events the person's column in
            place of the key's, where the target has people, `anonymous` where it has visitors; `event_id`, `name`,
            `occurred_at`, and nothing that is cleared.
    """
    columns = {name: batch[name] for name in ("seq", "action")} | _key(target, batch)
    if target.entity.traits.has_other_identifiers:
        columns |= _own_columns(batch, [name for name in identity.names if name != target.person_key])
        columns |= {name: batch[name] for name in ("anonymous", "previous") if name in batch.schema.names}
    elif target.entity.traits.names_device:
        columns |= _own_columns(batch, ["platform", "last_used"])
    if "email" in columns and identity is not Identity.ID:
        columns["email"] = pc.utf8_lower(columns["email"])
    if "previous" in columns:
        columns["previous"] = pc.utf8_lower(columns["previous"])
    if target.merged_key is PersonKey.EMAIL and identity is not Identity.ID:
        columns["key"] = pc.utf8_lower(columns["key"])
    if "person" in batch.schema.names:
        columns["person"] = batch["person"]
    data = ("attributes",) if "event_id" in columns else ("attributes", "cleared")
    return pa.table(columns | {name: batch[name] for name in data})


def staged_keys(target: Target, keys: pa.Table, identity: Identity) -> pa.Table:
    """The keys of entities alone, in the same columns."""
    rows = len(keys)
    columns = {name: keys[name] for name in keys.column_names} | {
        "seq": pa.array(range(rows), pa.int64()),
        "action": pa.repeat("put", rows),
        "attributes": pa.repeat("{}", rows),
        "cleared": pa.repeat("[]", rows),
    }
    return staged(target, pa.table(columns), identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came of a batch."""

    #: Every verdict but `accepted`, with its reason, by `seq`.
    exceptions: Mapping[int, tuple[Verdict, str | None]]
    #: The person of each row that went to one: seq, person.
    people: pa.Table | None = None

    def verdicts(self, seqs: pa.Array) -> pa.Table:
        """NUMBERED_VERDICTS of a batch with these *seqs*."""
        taken = seqs.filter(pc.invert(pc.is_in(seqs, pa.array(list(self.exceptions), pa.int64()))))
        people = pa.nulls(len(taken), pa.int64())
        if self.people is not None:
            people = self.people["person"].combine_chunks().take(pc.index_in(taken, self.people["seq"]))
        accepted = [taken, pa.repeat(str(Verdict.ACCEPTED), len(taken)), pa.nulls(len(taken), pa.string()), people]
        others = [{"seq": s, "verdict": verdict, "reason": why} for s, (verdict, why) in self.exceptions.items()]
        return pa.concat_tables(
            [
                pa.table(accepted, schema=NUMBERED_VERDICTS),
                pa.Table.from_pylist(others, schema=NUMBERED_VERDICTS),
            ]
        )


def is_numbered(rows: pa.Table) -> bool:
    """Whether the person of every row is known by number."""
    return "person" in rows.column_names and len(rows) > 0 and not rows["person"].null_count


def pairs(ones: pa.ChunkedArray, others: pa.ChunkedArray) -> str:
    """A JSON array of arrays: each of *ones*, and what stands beside it."""
    return json.dumps([*zip(ones.to_pylist(), others.to_pylist(), strict=True)], ensure_ascii=False)


def listed(numbers: pa.ChunkedArray) -> str:
    """Numbers as a text with commas between them."""
    texts = pa.ListArray.from_arrays([0, len(numbers)], numbers.combine_chunks().cast(pa.string()))
    return str(pc.binary_join(texts, ",")[0].as_py())


def _key(target: Target, batch: pa.RecordBatch | pa.Table) -> dict[str, pa.Array]:
    match target.entity:
        case Entity.PERSON:
            return _person(target, batch["k1"])
        case Entity.OBJECT:
            return {"object_id": batch["k1"]}
        case Entity.RELATIONSHIP:
            return _person(target, batch["k1"]) | {"object_id": batch["k2"]}
        case Entity.DEVICE:
            return _person(target, batch["k1"]) | {"token": batch["k2"]}
        case Entity.EVENT:
            return _who(target, batch) | _event(batch)
        case Entity.COLLECTION:
            return {"key": batch["k1"] if len(target.key_columns) == 1 else _joined_key(target, batch)}
        case Entity.MERGE:
            return _person(target, batch["k1"]) | _merged(target, batch["k2"])
        case _:
            assert_never(target.entity)


def _event(batch: pa.RecordBatch | pa.Table) -> dict[str, pa.Array]:
    """The columns of an event beside its person and its data; of keys alone there are none."""
    if "event_id" not in batch.schema.names:
        return {}
    time = pc.binary_replace_slice(batch["happened"].cast(pa.timestamp("us")).cast(pa.string()), *_BEFORE_THE_HOUR, "T")
    return {
        "event_id": batch["event_id"],
        "name": batch["name"],
        "occurred_at": pc.binary_join_element_wise(time, "+00:00", ""),
    }


def _who(target: Target, batch: pa.RecordBatch | pa.Table) -> dict[str, pa.Array]:
    """The columns of the person who did it, and of the visitor."""
    person = {} if target.person_key is None else _person(target, batch["who"])
    return person | ({"anonymous": batch["anonymous"]} if target.names_visitors else {})


def _person(target: Target, key: pa.Array) -> dict[str, pa.Array]:
    if target.person_key is not PersonKey.CIO_ID:
        return {str(target.person_key): key}
    return {"cio_id": _number(key)}


def _number(key: pa.Array) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(key, CIO_ID), key, None).cast(pa.int64())


def _merged(target: Target, key: pa.Array) -> dict[str, pa.Array]:
    if target.merged_key is PersonKey.CIO_ID:
        return {"person": _number(key)}
    return {"key": key}


def _joined_key(target: Target, batch: pa.RecordBatch | pa.Table) -> pa.Array:
    with importing:
        import duckdb

    names = [f"k{i}" for i in range(1, len(target.key_columns) + 1)]
    with duckdb.connect() as connection:
        keys = connection.from_arrow(pa.table({name: batch[name] for name in names}))
        return keys.project(f"CAST(json_array({', '.join(names)}) AS VARCHAR)").to_arrow_table().column(0)


def _own_columns(batch: pa.RecordBatch | pa.Table, others: list[str]) -> dict[str, pa.Array]:
    """What rows say for columns of the store's own, and which of these they unset."""
    given = {name: batch[name] for name in others if name in batch.schema.names}
    clears = {f"clears_{name}": pc.match_substring(batch["cleared"], f'"{name}"') for name in others}
    return given | {name: named.cast(pa.int8()) for name, named in clears.items() if pc.any(named).as_py()}
