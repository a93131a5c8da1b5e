"""What an SQL store of people by id is to hold, in plain Python: one row and one pair after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from syncer.model.types import Entity, ListAction, Target

Pair = tuple[str, str]
#: Verdict and reason.
Answer = tuple[str, str | None]

ACCEPTED: Answer = ("accepted", None)
ABSENT: Answer = ("absent", None)
NOBODY: Answer = ("rejected", "the person does not exist yet")
NOTHING: Answer = ("rejected", "the object does not exist yet")
NOBODY_KEPT: Answer = ("rejected", "the person to keep does not exist")
NOBODY_MERGED: Answer = ("rejected", "the person to merge does not exist")
ELSEWHERE: Answer = ("rejected", "the person to merge has been merged into somebody else")
RING: Answer = ("rejected", "these merges go round in a ring: nobody would be kept")
SUPPRESSED: Answer = (
    "rejected",
    "the person's id is suppressed in this store: leave them out of the query, or take it off with a list that has "
    "`action: unsuppress`",
)


@dataclass
class Contents:
    """Of a whole store; everybody by id."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)
    #: By person and object.
    relationships: dict[Pair, dict[str, Any]] = field(default_factory=dict)
    #: By token: whose it is, and its attributes.
    devices: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    #: By what makes it one event for ever: whose it is.
    events: dict[str, str] = field(default_factory=dict)
    suppressed: set[str] = field(default_factory=set)
    #: Whom merged people became part of, by the ids that they had.
    merged: dict[str, str] = field(default_factory=dict)


@dataclass
class ShadowStore(Contents):
    """Takes the batches that the store took."""

    #: The ids of people, by the numbers that the store gave them.
    numbers: dict[int, str] = field(default_factory=dict)

    def take(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> list[Answer]:
        """Take a batch as the store is to; returns the answer to each row."""
        rows = batch.to_pylist()
        if target.merged_key is not None:
            return self.take_pairs([(row["k1"], row["k2"]) for row in rows])
        if target.action is not None:
            return [self._do(target.action, row["k1"]) for row in rows]
        answers = {row["seq"]: self._take(target, row, create) for row in sorted(rows, key=_removals_first)}
        return [answers[row["seq"]] for row in rows]

    def _take(self, target: Target, row: dict[str, Any], create: bool) -> Answer:
        who = self._whom(target, row)
        if target.person_key is not None and row["action"] == "put" and who in self.suppressed:
            return SUPPRESSED
        match target.entity:
            case Entity.PERSON:
                return self._person(who, row, create)
            case Entity.OBJECT:
                self.objects.add(row["k1"])
                return ACCEPTED
            case Entity.RELATIONSHIP:
                return self._relationship((who, row["k2"]), row, create)
            case Entity.DEVICE:
                return self._device(who, row, create)
            case Entity.EVENT:
                return self._event(who, row, create)
        raise AssertionError(target)

    def _whom(self, target: Target, row: dict[str, Any]) -> str:
        """Whom a row is about: a removal may know them by number."""
        if target.entity is Entity.EVENT:
            return str(row["who"])
        number = row.get("person")
        return row["k1"] if number is None else self.numbers.get(number, "")

    def _person(self, who: str, row: dict[str, Any], create: bool) -> Answer:
        if row["action"] == "delete":
            self._delete(who)
            return ACCEPTED
        if who not in self.people and row["action"] == "put":
            if not create:
                return ABSENT
            self.people[who] = {}
        if who in self.people:
            _set(self.people[who], row)
        return ACCEPTED

    def _relationship(self, key: Pair, row: dict[str, Any], create: bool) -> Answer:
        if row["action"] == "delete":
            self.relationships.pop(key, None)
            return ACCEPTED
        if key[0] not in self.people:
            return NOBODY if create else ABSENT
        if key[1] not in self.objects:
            return NOTHING if create else ABSENT
        _set(self.relationships.setdefault(key, {}), row)
        return ACCEPTED

    def _device(self, who: str, row: dict[str, Any], create: bool) -> Answer:
        token, (owner, held) = row["k2"], self.devices.get(row["k2"], ("", {}))
        if row["action"] == "delete":
            if token in self.devices and owner == who:
                del self.devices[token]
            return ACCEPTED
        if who not in self.people:
            if not create:
                return ABSENT
            self.people[who] = {}
        kept = dict(held) if owner == who else {}
        _set(kept, row)
        self.devices[token] = who, kept
        return ACCEPTED

    def _event(self, who: str, row: dict[str, Any], create: bool) -> Answer:
        if who not in self.people:
            if not create:
                return NOBODY
            self.people[who] = {}
        self.events.setdefault(row["k1"], who)
        return ACCEPTED

    def _do(self, action: ListAction, who: str) -> Answer:
        if action.deletes:
            self._delete(who)
        if action is ListAction.SUPPRESS:
            self.suppressed.add(who)
        if action is ListAction.UNSUPPRESS:
            self.suppressed.discard(who)
        return ACCEPTED

    def _delete(self, who: str) -> None:
        self.people.pop(who, None)
        self.relationships = {key: held for key, held in self.relationships.items() if key[0] != who}
        self.devices = {token: held for token, held in self.devices.items() if held[0] != who}
        self.events = {key: owner for key, owner in self.events.items() if owner != who}
        self.merged = {gone: kept for gone, kept in self.merged.items() if kept != who}

    # --- merges -----------------------------------------------------------------------------------------

    def take_pairs(self, pairs: Sequence[Pair]) -> list[Answer]:
        """In the order of the pairs, but that whoever is to go gets first what is to become part of them."""
        answers: dict[int, Answer] = {}
        while left := self._waiting(pairs, answers):
            ready = [place for place, (_, goes) in left.items() if goes not in {keep for keep, _ in left.values()}]
            if not ready:
                answers |= {place: RING for place in left if _goes_round(left, place)}
                continue
            # As far as it can be, pairs of one person are in their order too.
            in_order = [place for place in ready if not _comes_later(left, place)]
            place = (in_order or ready)[0]
            self._unite(*left[place])
            answers[place] = ACCEPTED
        return [answers[place] for place in range(len(pairs))]

    def _waiting(self, pairs: Sequence[Pair], answers: dict[int, Answer]) -> dict[int, Pair]:
        """The pairs that are left, by their places, as the people who they are by now; answers the others."""
        left = {}
        for place, (named, goes) in enumerate(pairs):
            if place in answers:
                continue
            keep = named if named in self.people else self.merged.get(named)
            became = goes if goes in self.people else self.merged.get(goes)
            if keep is not None and keep == became:
                answers[place] = ACCEPTED
            elif keep is None:
                answers[place] = NOBODY_KEPT
            elif goes not in self.people:
                answers[place] = NOBODY_MERGED if became is None else ELSEWHERE
            else:
                left[place] = keep, goes
        return left

    def _unite(self, keep: str, goes: str) -> None:
        self.people[keep] = self.people.pop(goes) | self.people[keep]
        for (who, thing), held in list(self.relationships.items()):
            if who == goes:
                self.relationships.setdefault((keep, thing), held)
                del self.relationships[who, thing]
        self.devices = {t: (keep if who == goes else who, held) for t, (who, held) in self.devices.items()}
        self.events = {key: keep if who == goes else who for key, who in self.events.items()}
        self.merged = {gone: keep if kept == goes else kept for gone, kept in self.merged.items()} | {goes: keep}


def _comes_later(pairs: dict[int, Pair], place: int) -> bool:
    """Whether an earlier pair keeps the same person, or the same one goes in it."""
    keep, goes = pairs[place]
    return any(kept == keep or gone == goes for other, (kept, gone) in pairs.items() if other < place)


def _goes_round(pairs: dict[int, Pair], place: int) -> bool:
    """Whether whom a pair keeps is to become part of who goes."""
    keep, goes = pairs[place]
    reached, found = {goes}, {goes}
    while found:
        found = {gone for kept, gone in pairs.values() if kept in found} - reached
        reached |= found
    return keep in reached


def _removals_first(row: dict[str, Any]) -> bool:
    return bool(row["action"] == "put")


def _set(held: dict[str, Any], row: dict[str, Any]) -> None:
    held |= json.loads(row["attributes"])
    for name in json.loads(row["cleared"]):
        held.pop(name, None)
