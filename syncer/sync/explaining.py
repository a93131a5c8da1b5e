"""What each sync had to do with one entity, computed from snapshots, the run log and the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syncer.definitions.columns import VISITOR
from syncer.model.errors import RunInProgressError, SelectionError, SnapshotError
from syncer.model.json_text import json_value
from syncer.model.spelling import did_you_mean, quoted
from syncer.model.temporary_folders import temporary_folder
from syncer.model.types import OnNull, OnRemoved, PersonKey, SyncDefinition, Target, Verdict
from syncer.shared.snapshots import SharedSnapshots
from syncer.snapshot.rows import KnownRow, KnownRows, SentRun, reading_snapshots
from syncer.sync import kept_rows
from syncer.sync.explanation import MOST_ROWS, AttributeState, Explained, Explanation, LastSent, RejectedSince
from syncer.sync.lookup import Lookup, Sought, Stored


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
    with reading_snapshots(form=stored.facts.form, most=MOST_ROWS) as reader, temporary_folder() as folder:
        for name, path in sorted(files.items()):
            one = _OneSync(stored=stored, name=name, definition=definitions.get(name))
            try:
                found = reader.find(path, stored.sought.places) if path.is_file() else None
                if found is not None and found.is_elsewhere:
                    copy = kept_rows.whole_copy(lookup.settings, path, name, folder)
                    found = reader.find(copy, stored.sought.places)
            except RunInProgressError:
                rows += [*one.rejected(is_busy=True)] or [Explanation(sync=name, key="", busy=True)]
                continue
            except SnapshotError:
                unread.append(name)
                continue
            explained = [*one.rows(found, is_asked=sync is not None)]
            rows += explained
            cut += [name] if found and found.is_cut else []
            # Whether it sent events of a person is not known: a snapshot has their ids alone.
            others += name in definitions and not explained and not definitions[name].target.entity.traits.happens
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
    shared = SharedSnapshots(settings=lookup.settings, database=lookup.run_log.database, now=lambda: datetime.now(UTC))
    shared.follow(feeding)
    left = {path.stem: path for path in folder.glob("*.duckdb") if path.stem not in lookup.definitions}
    return left | {name: folder / f"{name}.duckdb" for name in feeding}


def _no_such_sync(lookup: Lookup, sought: Sought, sync: str, feeding: Sequence[str]) -> SelectionError:
    if sync in lookup.definitions:
        return SelectionError(f"{quoted(sync)} does not write such entities of the store {quoted(sought.store)}")
    return SelectionError(f"no sync is called {quoted(sync)}", hint=did_you_mean(sync, feeding))


#: Of an event that a snapshot knows, and the store does not.
_GONE = (
    "the store has it no more: its person was deleted, or nobody claimed its visitor in time; or it is past, as "
    "`start` says"
)


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
            rows = [self._event(row) if found.target.event else self._row(row, found.target) for row in found.rows]
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
        is_there = True if (row.accepted is not None or row.refused or row.absent) and not row.in_doubt else None
        since = row.first if is_there else None
        if row.left is not None and not (is_there or row.in_doubt):
            is_there, since = False, row.left.by
        is_whole = self.definition is not None and not self.definition.incremental
        found = Explanation(
            sync=self.name,
            key=row.text,
            in_result=is_there if is_whole else None,
            since_run=since.run_id if since and is_whole else None,
            last_sent=self._last_sent(row),
            in_doubt=row.in_doubt,
            attributes=[*self._attributes(row, target)],
            done=target.action.done if target.action else "",
        )
        if row.refused is not None:
            found = replace(found, rejected=RejectedSince(reason=row.refused.reason, since=row.refused.since))
        return found

    def _event(self, row: KnownRow) -> Explanation:
        """What a snapshot knows of an event, whose values it does not have, and what the store has."""
        found, content = Explanation(sync=self.name, key=row.text), self.stored.content
        if row.refused is not None:
            refused = row.refused
            rejected = RejectedSince(reason=refused.reason, since=refused.since)
            return replace(found, last_sent=_refusal(refused.reason, refused.at), rejected=rejected)
        if not row.is_over:
            return found
        reason = _GONE if content is None and self.stored.fault is None else None
        sent = LastSent(values=None, at=None, run_id=None, verdict=Verdict.ACCEPTED, reason=reason)
        return replace(found, last_sent=sent, attributes=[*_of_event(content or {})])

    def _last_sent(self, row: KnownRow) -> LastSent | None:
        accepted = row.left.accepted if row.accepted is None and row.left else row.accepted
        values = None if row.kept is None else _values(row.kept)
        if row.accepted is None and row.refused is not None:
            return _refusal(row.refused.reason, row.refused.at, values)
        if accepted is not None:
            return _sent(Verdict.ACCEPTED, row.last, _values(accepted))
        if row.absent is not None:
            return _sent(Verdict.ABSENT, row.absent, values)
        return _sent(None, None, values) if row.in_doubt else None

    def _attributes(self, row: KnownRow, target: Target) -> Iterator[AttributeState]:
        accepted = row.accepted
        if accepted is None and row.left is not None and self._keeps_left:
            accepted = row.left.accepted
        if accepted is None:
            return
        has = self._contained(row, target)
        keeps_nulls = self.definition is not None and self.definition.on_null is OnNull.KEEP
        for name, text in accepted.items():
            sent = None if text is None else json_value(text)
            stands: bool | None = None
            if name == VISITOR:
                yield from self._claim(sent)
                continue
            if has is not None and not (sent is None and keeps_nulls):
                stands = _is_same(sent, has.get(name), texts=self.stored.facts.gives_texts)
            rule = self.definition.rules.get(name) if self.definition and name in row.held else None
            yield AttributeState(
                attribute=name,
                sent=sent,
                stored=(has or {}).get(name),
                stands=stands,
                held_back_for=rule.before(self.name) if rule else (),
            )

    def _claim(self, visitor: str | None) -> Iterator[AttributeState]:
        """The visitor whom a row claims, if it does, as an attribute."""
        if visitor is not None:
            known = (self.stored.content or {}).get("anonymous_ids", ())
            stands = None if self.stored.fault else visitor in known
            yield AttributeState(attribute=VISITOR, sent=visitor, stored=visitor if stands else None, stands=stands)

    @property
    def _keeps_left(self) -> bool:
        """Whether the store keeps what left the result."""
        return self.definition is not None and self.definition.on_removed is OnRemoved.KEEP

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
        own = target.entity.traits.columns_in([*PersonKey])
        return {**(content.get("attributes") or {}), **{name: content[name] for name in own if name in content}}


def _of_event(content: Mapping[str, Any]) -> Iterator[AttributeState]:
    """Who did it and when, and its data, which is as it was sent for ever."""
    said = {name: content.get(name) for name in ("event_id", "occurred_at")}
    person = {PersonKey.ID: "id", PersonKey.EMAIL: "email", PersonKey.CIO_ID: "person_id"}
    said |= {f"person.{kind}": content.get(name) for kind, name in person.items()}
    said |= {VISITOR: content.get("anonymous_id"), **content.get("data", {})}
    for name, value in said.items():
        if value is not None and content:
            yield AttributeState(attribute=name, sent=value, stored=value, stands=True)


def _sent(verdict: Verdict | None, run: SentRun | None, values: Mapping[str, Any] | None) -> LastSent:
    at, run_id = (run.began_at, run.run_id) if run else (None, None)
    return LastSent(values=values, at=at, run_id=run_id, verdict=verdict, reason=None)


def _refusal(reason: str, at: datetime, values: Mapping[str, Any] | None = None) -> LastSent:
    return LastSent(values=values, at=at, run_id=None, verdict=Verdict.REJECTED, reason=reason)


def _values(texts: Mapping[str, str | None]) -> dict[str, Any]:
    return {name: None if text is None else json_value(text) for name, text in texts.items()}


def _related(
    content: Mapping[str, Any], sought: Sought, target: Target, key: Sequence[str]
) -> Mapping[str, Any] | None:
    """The attributes of a relationship, as the store shows it with its person or its object; None if not known.

    Those of a device, as the store shows it with its person.
    """
    if target.entity.traits.names_device:
        devices = [one for one in content.get("devices", ()) if one["token"] == key[1]]
        own = target.entity.traits.own_columns
        return {**devices[0]["attributes"], **{name: devices[0][name] for name in own}} if devices else {}
    if "relationships" in content:
        is_meant = replace(sought, kind=str(target.object_type), value=key[1]).is_related
        found = [one for one in content["relationships"] if is_meant(one)]
        is_whole = True
    else:
        name = "person_id" if target.person is PersonKey.CIO_ID else target.person
        people = content.get("people", [])
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
