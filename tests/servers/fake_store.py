"""A profile store in memory that can misbehave: it answers late, loses replies, refuses rows, fails at a batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from syncer.model.errors import StoreError
from syncer.model.protocols import IDENTIFIERS, VERDICTS
from syncer.model.types import Entity, Identity, Target, ValueForm

Key = tuple[str, ...]


@dataclass
class FakeStore:
    """People by id, objects by type and id, relationships, collection rows and devices by token, as plain dicts."""

    store_id: str = "fake"
    identity: Identity = Identity.ID
    batch_rows: int = 2
    collection_bytes: int = 10_000_000
    value_form: ValueForm = ValueForm.EXACT
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    relationships: dict[Key, dict[str, Any]] = field(default_factory=dict)
    collections: dict[Key, dict[str, Any]] = field(default_factory=dict)
    #: Ids of which nobody is made.
    suppressed: set[str] = field(default_factory=set)
    #: Each with its `person` beside the attributes.
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Batches until the fault strikes, counted from 0; None for never.
    strikes_at: int | None = None
    #: `before` or `after` taking the batch, or `reply`: takes it and answers for half of it.
    fault: str = "before"
    refuses: Callable[[Key], bool] = lambda key: False
    #: Batches that are answered by later calls.
    behind: int = 0
    untold: list[pa.Table] = field(default_factory=list)
    #: Rows that were taken, in order: action and key.
    taken: list[tuple[str, Key]] = field(default_factory=list)

    def check(self, target: Target, *, create: bool = True) -> None:
        # A run begins: what the last one did not ask for is lost.
        self.untold.clear()

    def close(self) -> None: ...

    def show(self, entity: Entity, kind: str, value: str) -> dict[str, Any] | None:
        return None

    def identifiers(self, target: Target, keys: pa.Table) -> pa.Table:
        kind = str(target.person_key) if target.entity is Entity.PERSON else str(target.object_type)
        rows = [{"entity": str(target.entity), "kind": kind, "value": k} for k in keys["k1"].to_pylist()]
        return pa.Table.from_pylist(rows, schema=IDENTIFIERS)

    def apply(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
        strikes = self.strikes_at == 0
        if self.strikes_at is not None:
            self.strikes_at -= 1
        if strikes and self.fault == "before":
            raise StoreError("the store is away")
        verdicts = [self._take(target, row, create) for row in batch.to_pylist()]
        if strikes and self.fault == "after":
            raise StoreError("the connection was lost")
        if strikes:
            verdicts = verdicts[: len(verdicts) // 2]
        self.untold.append(pa.Table.from_pylist(verdicts, schema=VERDICTS))
        return self._told(len(self.untold) - self.behind)

    def flush(self) -> pa.Table:
        return self._told(len(self.untold))

    def _told(self, batches: int) -> pa.Table:
        told = [self.untold.pop(0) for _ in range(batches)]
        return pa.concat_tables([VERDICTS.empty_table(), *told])

    def _take(self, target: Target, row: dict[str, Any], create: bool) -> dict[str, Any]:
        key: Key = tuple(row[f"k{i + 1}"] for i in range(len(target.key_columns)))
        verdict, reason = "accepted", None
        if self.refuses(key):
            verdict, reason = "rejected", "refused"
        elif row["action"] == "put" and target.entity.traits.names_person and key[0] in self.suppressed:
            verdict, reason = "rejected", "suppressed"
        elif target.entity is Entity.DEVICE:
            self._take_device(key, row)
        elif row["action"] == "put":
            verdict, reason = self._put(target, key, row, create)
        else:
            self._take_away(target, key, row)
        if verdict == "accepted":
            self.taken.append((row["action"], key))
        return {"seq": row["seq"], "verdict": verdict, "reason": reason}

    def _take_device(self, key: Key, row: dict[str, Any]) -> None:
        person, token = key
        held = self.devices.get(token, {})
        if row["action"] == "delete":
            if held.get("person") == person:
                del self.devices[token]
            return
        self.people.setdefault(person, {})
        kept = held if held.get("person") == person else {}
        own: dict[str, Any] = {name: row[name] for name in ("platform", "last_used") if name in row}
        self.devices[token] = {**kept, **json.loads(row["attributes"]), **own, "person": person}
        for name in json.loads(row["cleared"]):
            if name not in own:
                self.devices[token].pop(name, None)

    def _table(self, target: Target) -> dict[Any, dict[str, Any]]:
        tables: dict[Entity, dict[Any, dict[str, Any]]] = {
            Entity.PERSON: self.people,
            Entity.OBJECT: self.objects,
            Entity.RELATIONSHIP: self.relationships,
            Entity.COLLECTION: self.collections,
        }
        return tables[target.entity]

    def _place(self, target: Target, key: Key) -> Any:
        if target.entity is Entity.PERSON:
            return key[0]
        return (target.object_type or target.collection or "", *key)

    def _put(self, target: Target, key: Key, row: dict[str, Any], create: bool) -> tuple[str, str | None]:
        table, place = self._table(target), self._place(target, key)
        if target.entity is Entity.RELATIONSHIP:
            ends = (key[0] in self.people, (target.object_type, key[1]) in self.objects)
            if not all(ends):
                return ("rejected", "an end does not exist yet") if create else ("absent", None)
        elif not create and place not in table and target.entity is not Entity.COLLECTION:
            return "absent", None
        attributes = json.loads(row["attributes"])
        if target.entity is Entity.COLLECTION:
            table[place] = attributes
        else:
            held = table.setdefault(place, {})
            held.update(attributes)
            for name in json.loads(row["cleared"]):
                held.pop(name, None)
        return "accepted", None

    def _take_away(self, target: Target, key: Key, row: dict[str, Any]) -> None:
        table, place = self._table(target), self._place(target, key)
        if row["action"] == "clear":
            for name in json.loads(row["cleared"]):
                table.get(place, {}).pop(name, None)
            return
        if row["action"] == "unsuppress":
            self.suppressed.discard(key[0])
            return
        if row["action"] == "suppress":
            self.suppressed.add(key[0])
        table.pop(place, None)
        if target.entity is Entity.PERSON:
            self.devices = {token: held for token, held in self.devices.items() if held["person"] != key[0]}
        for ends in list(self.relationships):
            _, person, thing = ends
            if target.entity is Entity.PERSON and person == key[0]:
                del self.relationships[ends]
            if target.entity is Entity.OBJECT and (ends[0], thing) == place:
                del self.relationships[ends]
