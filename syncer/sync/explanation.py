"""Why an entity is, or is not, as a query says: what each sync had to do with it, from its snapshot and the run log."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from syncer.model.errors import RunInProgressError, SelectionError, SnapshotError
from syncer.model.json_text import json_value
from syncer.model.spelling import did_you_mean, listed, quoted
from syncer.model.types import OnNull, PersonKey, SyncDefinition, Target, Verdict
from syncer.snapshot.rows import KnownRow, KnownRows, reading_snapshots
from syncer.sync.lookup import Lookup, Sought, Stored

#: The most rows of one sync, such as relationships of a person.
MOST_ROWS = 100

_IDENTIFIERS = ("id", "email")


class RowState(enum.StrEnum):
    """What became of one row of one sync."""

    REJECTED = "rejected"
    #: A run has the snapshot open.
    BUSY = "busy"
    IN_DOUBT = "in doubt"
    #: Not in the result.
    LEFT = "not in the result"
    UNSENT = "never sent"
    #: The store has other values by now.
    OVERWRITTEN = "overwritten"
    #: Accepted, and what the store has now is not known.
    DELIVERED = "delivered"
    STANDS = "in the store"


_WORDS: Mapping[RowState, str] = {
    RowState.REJECTED: "rejected: {reason}",
    RowState.BUSY: "a run or a plan has the snapshot open now; try again when it has ended",
    RowState.IN_DOUBT: "sent without an answer; the next run sends it again",
    RowState.LEFT: "not in the query's result",
    RowState.UNSENT: "never sent",
    RowState.OVERWRITTEN: "delivered, but the store has other values of {attributes}",
    RowState.DELIVERED: "delivered; what the store has now is not known",
    RowState.STANDS: "delivered, and the store has these values",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSent:
    """What the store answered last; where it once accepted the row, that is the last time it did."""

    #: Attribute to value, as the store takes it; None where it is not known.
    values: Mapping[str, Any] | None
    #: The start of the run; None where it is not known.
    at: datetime | None
    run_id: str | None
    #: None where no answer came.
    verdict: Verdict | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedSince:
    """That a row is rejected now."""

    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeState:
    """An attribute that the store accepted from a sync."""

    attribute: str
    sent: Any
    #: What the store has now; None where it has no value, or is not known.
    stored: Any
    #: Whether they agree; None where that is not known.
    stands: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What one sync had to do with one row; its fields are those of `explain --json`."""

    sync: str
    #: As people type it; empty where it is not known.
    key: str
    #: Whether the query's result had the row when a run looked last; None where that is not known, as of an incremental
    #: query, which does not return its whole result.
    in_result: bool | None = None
    #: The run since which that is so.
    since_run: str | None = None
    last_sent: LastSent | None = None
    rejected: RejectedSince | None = None
    #: Whether it was sent, and the store's answer is not known.
    in_doubt: bool = False
    attributes: Sequence[AttributeState] = ()
    #: What the warehouse has now, if it was asked.
    now: None = None
    #: Whether a run has the snapshot open, so that only the run log could be read.
    busy: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the sync ever had something to do with the row."""
        return bool(self.last_sent or self.rejected or self.in_doubt or self.since_run)

    @property
    def overwritten(self) -> list[str]:
        """The attributes of which the store has another value."""
        return [one.attribute for one in self.attributes if one.stands is False]

    @property
    def state(self) -> RowState:
        """What became of the row, in a word."""
        if self.rejected is not None:
            return RowState.REJECTED
        if self.busy:
            return RowState.BUSY
        if self.in_doubt:
            return RowState.IN_DOUBT
        if self.in_result is False:
            return RowState.LEFT
        if self.last_sent is None:
            return RowState.UNSENT
        if self.overwritten:
            return RowState.OVERWRITTEN
        is_seen = any(one.stands for one in self.attributes)
        return RowState.STANDS if is_seen else RowState.DELIVERED

    @property
    def is_well(self) -> bool:
        """Whether the store has what was sent, as far as that is known."""
        return self.state in (RowState.STANDS, RowState.DELIVERED)

    @property
    def summary(self) -> str:
        """The same as the end of a sentence, for people."""
        words = _WORDS[self.state]
        reason = self.rejected.reason if self.rejected else ""
        return words.format(reason=reason, attributes=listed(self.overwritten or ["-"], last="and"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What all syncs had to do with one entity."""

    stored: Stored
    #: By sync and key.
    rows: Sequence[Explanation]
    #: How many syncs write such entities and never had something to do with this one.
    others: int
    #: Syncs of which there are more than MOST_ROWS rows.
    cut: Sequence[str] = ()
    #: Syncs whose snapshot cannot be read.
    unread: Sequence[str] = ()

    @property
    def is_known(self) -> bool:
        """Whether any sync had something to do with it."""
        return any(row.is_known for row in self.rows)

    @property
    def notes(self) -> list[str]:
        """What the rows do not say, a sentence each."""
        said = [] if self.is_known else [self._unknown]
        if self.stored.fault is not None:
            said.append(f"What the store has is not known: {self.stored.fault}.")
        elif self.stored.content is None:
            said.append(f"The store {quoted(self.stored.sought.store)} has no such {self.stored.sought.entity}.")
        if self.others and self.is_known and not self.stored.sought.is_whole:
            said.append(f"Other syncs that write such entities, and never sent this one: {self.others:,}.")
        said += [f"Of {quoted(name)} only the first {MOST_ROWS} rows are shown." for name in self.cut]
        return [*said, *(f"The snapshot of {quoted(name)} cannot be read." for name in self.unread)]

    @property
    def _unknown(self) -> str:
        if any(row.busy for row in self.rows):
            return "No sync is known to have sent it, but the snapshots above are in use: ask again later."
        return "No sync knows it: none has sent it, and no row of it is rejected."


def explain(lookup: Lookup, sought: Sought, *, sync: str | None = None) -> Explained:
    """Ask the snapshots and the run log about one entity; a snapshot that a run has open is `busy`.

    *sync*: the only one to ask; it is explained also if it never had something to do with the entity.

    Raises:
        SelectionError: there is no such sync, or it writes no such entities.
        StateDatabaseError: the run log cannot be read.
    """
    stored = lookup.look(sought)
    definitions = {one.name: one for one in stored.feeding}
    files = _files(lookup, definitions)
    if sync is not None:
        if sync not in files:
            raise _no_such_sync(lookup, sought, sync, [*definitions])
        files = {sync: files[sync]}
    rows: list[Explanation] = []
    cut, unread, others = [], [], 0
    with reading_snapshots(form=stored.facts.form, most=MOST_ROWS) as reader:
        for name, path in sorted(files.items()):
            one = _OneSync(stored=stored, name=name, definition=definitions.get(name))
            try:
                found = reader.find(path, stored.sought.places) if path.is_file() else None
            except RunInProgressError:
                rows += [*one.rejected(is_busy=True)] or [Explanation(sync=name, key="", busy=True)]
                continue
            except SnapshotError:
                unread.append(name)
                continue
            explained = [*one.rows(found, is_asked=sync is not None)]
            rows += explained
            cut += [name] if found and found.is_cut else []
            others += name in definitions and not explained
    return Explained(stored=stored, rows=_with_runs(lookup, rows), others=others, cut=cut, unread=unread)


def _with_runs(lookup: Lookup, rows: Sequence[Explanation]) -> list[Explanation]:
    """The same with the ids of the runs of which only the start is known."""
    starts = {(row.sync, row.last_sent.at) for row in rows if row.last_sent and row.last_sent.at}
    known = lookup.run_log.begun_at(starts) if starts else {}
    return [
        replace(row, last_sent=replace(row.last_sent, run_id=known.get((row.sync, row.last_sent.at))))
        if row.last_sent and row.last_sent.at and not row.last_sent.run_id
        else row
        for row in rows
    ]


def _files(lookup: Lookup, feeding: Mapping[str, SyncDefinition]) -> dict[str, Path]:
    """The snapshots of syncs that feed such entities, and of those that have no definition any more."""
    folder = lookup.settings.snapshots_dir
    left = {path.stem: path for path in folder.glob("*.duckdb") if path.stem not in lookup.definitions}
    return left | {name: folder / f"{name}.duckdb" for name in feeding}


def _no_such_sync(lookup: Lookup, sought: Sought, sync: str, feeding: Sequence[str]) -> SelectionError:
    if sync in lookup.definitions:
        return SelectionError(f"{quoted(sync)} does not write such entities of the store {quoted(sought.store)}")
    return SelectionError(f"no sync is called {quoted(sync)}", hint=did_you_mean(sync, feeding))


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneSync:
    """Explains the rows of one sync."""

    stored: Stored
    name: str
    #: None where its file is gone, or cannot be used.
    definition: SyncDefinition | None

    def rejected(self, *, is_busy: bool) -> Iterator[Explanation]:
        """What the run log has of rejected rows."""
        for row in self.stored.rejected:
            if row.sync == self.name:
                yield Explanation(
                    sync=self.name,
                    key=row.key,
                    last_sent=_refusal(row.reason, row.last_seen),
                    rejected=RejectedSince(reason=row.reason, since=row.first_seen),
                    busy=is_busy,
                )

    def rows(self, found: KnownRows | None, *, is_asked: bool) -> Iterator[Explanation]:
        """What a snapshot has, or where there is none the run log; *is_asked*: also that there is nothing."""
        rows = [*self.rejected(is_busy=False)]
        is_ours = found is not None and self._is_of_this_store(found)
        if found is not None and is_ours and not self.stored.sought.is_whole:
            rows = [self._row(row, found.target) for row in found.rows]
        if is_asked and not rows:
            is_out = found is not None and is_ours and found.is_settled and self._may_say_out
            rows = [Explanation(sync=self.name, key="", in_result=False if is_out else None)]
        yield from rows

    def _is_of_this_store(self, found: KnownRows) -> bool:
        if not self.stored.facts.store_id:
            return self.definition is not None
        return found.store_id == self.stored.facts.store_id

    @property
    def _may_say_out(self) -> bool:
        """Whether a row that the snapshot does not have was not in the result."""
        return self.definition is not None and self.definition.create and not self.definition.incremental

    def _row(self, row: KnownRow, target: Target) -> Explanation:
        is_whole = self.definition is not None and not self.definition.incremental
        is_there = True if (row.accepted is not None or row.refused) and not row.in_doubt else None
        found = Explanation(
            sync=self.name,
            key=row.text,
            in_result=is_there if is_whole else None,
            last_sent=self._last_sent(row),
            in_doubt=row.in_doubt,
            attributes=[*self._attributes(row, target)],
        )
        if row.refused is not None:
            found = replace(found, rejected=RejectedSince(reason=row.refused.reason, since=row.refused.since))
        return found

    def _last_sent(self, row: KnownRow) -> LastSent | None:
        if row.accepted is not None:
            return LastSent(values=_values(row.accepted), at=None, run_id=None, verdict=Verdict.ACCEPTED, reason=None)
        values = None if row.kept is None else _values(row.kept)
        if row.refused is not None:
            return _refusal(row.refused.reason, row.refused.at, values)
        return LastSent(values=values, at=None, run_id=None, verdict=None, reason=None) if row.in_doubt else None

    def _attributes(self, row: KnownRow, target: Target) -> Iterator[AttributeState]:
        if row.accepted is None:
            return
        has = self._contained(row, target)
        keeps_nulls = self.definition is not None and self.definition.on_null is OnNull.KEEP
        for name, text in row.accepted.items():
            sent = None if text is None else json_value(text)
            stands: bool | None = None
            if has is not None and not (sent is None and keeps_nulls):
                stands = _is_same(sent, has.get(name), texts=self.stored.facts.gives_texts)
            yield AttributeState(attribute=name, sent=sent, stored=(has or {}).get(name), stands=stands)

    def _contained(self, row: KnownRow, target: Target) -> Mapping[str, Any] | None:
        """The attributes that the store has of a row; None if they are not known."""
        content, sought = self.stored.content, self.stored.sought
        if self.stored.fault is not None:
            return None
        if content is None:
            return {}
        if target.entity is not sought.entity:
            return _related(content, sought, target, row.key)
        if "rows" in content:
            rows = [one["data"] for one in content["rows"] if one["key"] in (row.key[0], row.text)]
            return rows[0] if rows else None
        return {**(content.get("attributes") or {}), **{name: content.get(name) for name in _IDENTIFIERS}}


def _refusal(reason: str, at: datetime, values: Mapping[str, Any] | None = None) -> LastSent:
    return LastSent(values=values, at=at, run_id=None, verdict=Verdict.REJECTED, reason=reason)


def _values(texts: Mapping[str, str | None]) -> dict[str, Any]:
    return {name: None if text is None else json_value(text) for name, text in texts.items()}


def _related(
    content: Mapping[str, Any], sought: Sought, target: Target, key: Sequence[str]
) -> Mapping[str, Any] | None:
    """The attributes of a relationship, as the store shows it with its person or its object; None if not known."""
    if "relationships" in content:
        is_meant = replace(sought, kind=str(target.object_type), value=key[1]).is_related
        found = [one for one in content["relationships"] if is_meant(one)]
        is_whole = True
    else:
        names = {PersonKey.ID: "id", PersonKey.EMAIL: "email", PersonKey.CIO_ID: "person_id"}
        name, people = names[target.person], content.get("people", [])
        found = [one for one in people if str(one.get(name)) == key[0]]
        is_whole = len(people) >= content.get("people_count", len(people) + 1)
    if not found:
        return {} if is_whole else None
    attributes: Mapping[str, Any] | None = found[0].get("attributes")
    return attributes


def _is_same(sent: Any, stored: Any, *, texts: bool) -> bool:
    """Whether two values of JSON are equal; *texts*: the store gives every value as text."""
    if texts and isinstance(stored, str) and not isinstance(sent, str):
        try:
            stored = json_value(stored)
        except ValueError:
            return False
    if isinstance(sent, bool) or isinstance(stored, bool):
        return sent is stored
    return bool(sent == stored)
