"""A profile store in an SQL database: what SQLite and PostgreSQL share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, assert_never

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sql_store import contents, entities, events, identifiers, merges, people
from connectors.sql_store.dialect import UnfitRowsError
from connectors.sql_store.moves import MovingPeople
from connectors.sql_store.options import SQLStoreOptions
from connectors.sql_store.people import NAMED
from connectors.sql_store.probing import ProbedStore
from connectors.sql_store.staging import Answers, is_numbered, listed, staged, staged_keys
from connectors.sql_store.suppressions import ListStore
from connectors.sql_store.upgrades import WITH_DEVICES, WITH_FENCES, WITH_PHONES
from connectors.sql_store.visitors import VisitorTables
from connectors.support.connection import ConnectionName
from syncer.model.importing import importing
from syncer.model.protocols import IDENTIFIERS, NUMBERED_VERDICTS, WHEREABOUTS
from syncer.model.types import Action, Entity, Identity, PersonKey, Target, ValueForm, Verdict

#: The hint for an error that needs no other step.
SENT_AGAIN = "The next run sends again what the store did not answer for."

#: What `would_refuse` returns.
_REFUSED = pa.schema([("row", pa.int64()), ("reason", pa.string())])

_LEDGERS = "SELECT DISTINCT ledger FROM sync_fences WHERE run_id <> ''"

#: The columns of `identifiers.MOVED_ON`.
_NOW = ("seq", *WHEREABOUTS.names[2:])


class SQLStore(events.EventTables, VisitorTables, ProbedStore, ListStore, MovingPeople):
    """A profile store over one connection. A transaction of a writer keeps other writers waiting."""

    batch_rows: int
    collection_bytes = 10_000_000
    value_form = ValueForm.EXACT
    gives_texts = False

    def __init__(
        self, name: str, url: str, *, identity: Identity, options: SQLStoreOptions | None = None, **_of_others: object
    ) -> None:
        """Connect to the store; nothing is written: the first batch makes a store that does not exist, or upgrades it.

        Raises:
            SettingsError: the URL cannot be used.
            StoreError: the store cannot be opened, or has another identity.
        """
        self._fence, self._held = {}, {}
        self._keep_unclaimed_for((options or SQLStoreOptions()).keep_anonymous)
        super().__init__(ConnectionName("store", name), url, identity)

    def check(self, target: Target, *, create: bool = True) -> None:
        """See `ProfileStore.check`."""
        people.check(self._named.name, target, identity=self.identity)
        if self.is_new:
            self._try_to_make()

    def apply(self, target: Target, batch: pa.RecordBatch, *, create: bool) -> pa.Table:
        """See `ProfileStore.apply`."""
        rows = staged(target, batch, self.identity)
        try:
            answers = self._take(target, rows, create=create)
        except UnfitRowsError:
            unfit = self._unfit(target, rows, create=create)
            fit = rows.filter(pc.invert(pc.is_in(rows["seq"], pa.array(list(unfit), pa.int64()))))
            answers = self._take(target, fit, create=create) if len(fit) else Answers(exceptions={})
            answers = replace(answers, exceptions={**answers.exceptions, **unfit})
        return answers.verdicts(batch["seq"])

    def flush(self) -> pa.Table:
        """See `ProfileStore.flush`; every batch is answered at once."""
        return NUMBERED_VERDICTS.empty_table()

    def identifiers(self, target: Target, keys: pa.Table) -> pa.Table:
        """See `ProfileStore.identifiers`."""
        found, is_nobody = [IDENTIFIERS.empty_table()], self.is_new or not self._may_know(target)
        for first in range(0, 0 if is_nobody else len(keys), self.batch_rows):
            with self._transaction(commit=False):
                columns = self._names(target, keys[first : first + self.batch_rows])
            for name, values in columns.items():
                of_kind = pa.array(values).drop_null().cast(pa.string())
                kind = str(target.object_type) if name == "object_id" else name
                same = [pa.repeat(text, len(of_kind)) for text in (str(target.entity), kind)]
                found.append(pa.table([*same, of_kind], schema=IDENTIFIERS))
        return pa.concat_tables(found)

    def _names(self, target: Target, keys: pa.Table) -> dict[str, list[Any]]:
        """The identifiers of people, or those of objects, in columns; within a transaction."""
        names = self._identifiers
        if target.entity.traits.names_person and is_numbered(keys):
            query = f"SELECT {people.listed('p', names)}, person_id AS cio_id FROM people AS p "
            query += f"WHERE {self.dialect.numbered}"
            return self._columns(query, (*names, PersonKey.CIO_ID), numbers=listed(keys["person"]))
        self._stage_keys(staged_keys(target, keys, self.identity))
        query = identifiers.query(target, keys.column_names, names)
        if target.entity.traits.names_person:
            return self._columns(query, (*names, PersonKey.CIO_ID))
        return self._columns(query, ["object_id"], object_type=str(target.object_type))

    def whereabouts(self, target: Target, rows: pa.Table) -> pa.Table:
        """See `NumbersPeople.whereabouts`."""
        found, person = [WHEREABOUTS.empty_table()], replace(target, entity=Entity.PERSON)
        if self.is_new or not self._may_know(target):
            return pa.table({"k1": rows["k1"], "person": rows["person"]} | _nowhere(len(rows)), schema=WHEREABOUTS)
        query = identifiers.MOVED_ON.format(named=NAMED[target.person], key=target.person)
        for first in range(0, len(rows), self.batch_rows):
            part = rows[first : first + self.batch_rows].select(["k1", "person"])
            keys = staged_keys(person, part, self.identity)
            with self._transaction(commit=False):
                self._stage_keys(keys)
                columns = self._columns(query, _NOW)
            usual = [part["person"], True, keys[str(target.person)]]
            place = pc.index_in(keys["seq"], pa.array(columns["seq"], pa.int64()))
            for field, same in zip(list(WHEREABOUTS)[2:], usual, strict=True):
                values = [bool(v) for v in columns["is_there"]] if field.name == "is_there" else columns[field.name]
                other = pa.array(values, field.type).take(place.combine_chunks())
                part = part.append_column(field, pc.if_else(pc.is_valid(place), other, same))
            found.append(part.cast(WHEREABOUTS))
        return pa.concat_tables(found)

    def would_refuse(self, target: Target, keys: pa.Table, *, create: bool) -> pa.Table:
        """See `ForecastsRefusals`."""
        may_adopt = target.entity is Entity.PERSON and len(self.identity.unique) > 1
        query = identifiers.refused_query(target, create=create)
        if may_adopt and target.person_key is not PersonKey.CIO_ID:
            query = ""
        is_nobody = self.is_new or not self._may_know(target)
        if is_nobody and query:
            reason = identifiers.refused_by_nothing(target, create=create)
            rows = pa.array(range(len(keys)), pa.int64())
            if target.event and target.names_visitors:
                rows = rows.filter(pc.is_null(keys["anonymous"]))
            return pa.table([rows, pa.repeat(reason, len(rows))], schema=_REFUSED)
        found, values = [_REFUSED.empty_table()], {"object_type": str(target.object_type)}
        for first in range(0, 0 if is_nobody or target.action else len(keys), self.batch_rows):
            rows = staged_keys(target, keys[first : first + self.batch_rows], self.identity)
            with self._transaction(commit=False):
                refused = {seq: reason for seq, (_, reason) in self._suppressed(rows).items()}
                if "previous" in rows.column_names:
                    # Who is to move is there, by another name.
                    rows = rows.filter(pc.is_null(rows["previous"])).drop_columns("previous")
                if not may_adopt:
                    refused = self._would_be_taken(target, rows) | refused
                if query:
                    self._stage_keys(rows)
                    columns = self._columns(query, ("seq", "reason"), **(values if target.object_type else {}))
                    refused = dict(zip(columns["seq"], columns["reason"], strict=True)) | refused
            places = pa.array([first + seq for seq in refused], pa.int64())
            found.append(pa.table([places, list(refused.values())], schema=_REFUSED))
        return pa.concat_tables(found)

    def show(self, entity: Entity, kind: str, value: str) -> dict[str, Any] | None:
        """See `ProfileStore.show`."""
        if self.is_new:
            return None
        match entity:
            case Entity.PERSON:
                key = PersonKey(kind)
                if key is PersonKey.EMAIL and self.identity is not Identity.ID:
                    value = pc.utf8_lower(value).as_py()
                if key is PersonKey.PHONE and PersonKey.PHONE not in self._identifiers:
                    return None
                moment, format_, names = self.dialect.moment, self._format, self._identifiers
                return contents.person(self._fetch, key, value, moment=moment, format_=format_, names=names)
            case Entity.OBJECT:
                return contents.one_object(self._fetch, kind, value, names=self._identifiers)
            case Entity.COLLECTION:
                return contents.collection(self._fetch, kind, value)
            case Entity.RELATIONSHIP | Entity.DEVICE | Entity.MERGE | Entity.EVENT:
                raise ValueError(f"`show` gives a {entity} with its person")
            case _:
                assert_never(entity)

    def people_with(self, text: str, limit: int) -> list[dict[str, Any]]:
        """See `SearchesPeople.people_with`."""
        if self.is_new:
            return []
        return contents.people_with(self._fetch, self.dialect.each_attribute, text, limit, names=self._identifiers)

    def why_no_duplicates(self, names: Sequence[str]) -> list[str]:
        """See `FindsDuplicates.why_no_duplicates`."""
        from connectors.sql_store import duplicates

        if self.is_new:
            return ["the store does not exist yet"]
        unique, known = self.identity.unique, self._identifiers
        return list(duplicates.why_none(self._fetch, self.dialect.each_attribute, unique, known, names))

    @property
    def _identifiers(self) -> tuple[PersonKey, ...]:
        """What people are known by, as far as the tables have it before they are upgraded."""
        return tuple(k for k in self.identity.names if k is not PersonKey.PHONE or self._format >= WITH_PHONES)

    def _may_know(self, target: Target) -> bool:
        """Whether the tables have what *target* knows people by."""
        return {target.person_key, target.merged_key} <= {None, PersonKey.CIO_ID, *self._identifiers}

    def can_list(self, target: Target) -> bool:
        """See `ReadsBack.can_list`."""
        return True

    def contained(self, target: Target, keys: pa.Table | None) -> Iterator[pa.Table]:
        """See `ReadsBack.contained`."""
        with importing:
            from connectors.sql_store import reading

        lacks_devices = target.entity.traits.names_device and self._format < WITH_DEVICES
        if self.is_new or lacks_devices or not self._may_know(target):
            return
        if keys is None:
            with self._reading():
                yield from reading.listed(self._fetch_within, self.dialect, target, self._identifiers)
            return

        def found(wanted: pa.Table) -> pa.Table:
            with self._transaction(commit=False):
                self._stage_keys(staged_keys(target, wanted, self.identity))
                return reading.sought(self._fetch, self.dialect, target, self._identifiers)

        yield from reading.in_pages(found, keys)

    def ledgers(self) -> frozenset[str]:
        """See `ReadsBack.ledgers`."""
        found = [] if self._format < WITH_FENCES else self._fetch(_LEDGERS)
        return frozenset(ledger for (ledger,) in found)

    def _fetch_within(self, sql: str, **values: str | int) -> list[tuple[Any, ...]]:
        """As `_fetch`, in a transaction that goes on if this fails."""
        return self._fetch(sql, **values)

    def _take(self, target: Target, rows: pa.Table, *, create: bool) -> Answers:
        """Apply *rows* in one transaction; the first ones make the store, or upgrade it."""
        self._bring_up_to_date()
        with self._transaction():
            self._keep_fence()
            if refused := self._suppressed(rows):
                rows = rows.filter(pc.invert(pc.is_in(rows["seq"], pa.array(list(refused), pa.int64()))))
            answers = self._apply(target, rows, create=create) if len(rows) else Answers(exceptions={})
            return replace(answers, exceptions={**answers.exceptions, **refused}) if refused else answers

    def _apply(self, target: Target, rows: pa.Table, *, create: bool) -> Answers:
        """Write rows, with what they claim, and whom they move; within a transaction."""
        claims = "anonymous" in rows.column_names and not target.entity.traits.happens
        write = partial(self._write_claims if claims else self._write, target, create=create)
        return self._write_moves(target.person, rows, write) if "previous" in rows.column_names else write(rows)

    def _write(self, target: Target, rows: pa.Table, *, create: bool) -> Answers:
        if target.action is not None and not target.entity.traits.names_pair:
            return self._apply_list(target.person, target.action, rows)
        run, columns = (self._execute, self.dialect), rows.column_names
        if target.entity is Entity.PERSON and pc.all(pc.equal(rows["action"], str(Action.DELETE))).as_py():
            self._delete_people(target.person, rows)
            return Answers(exceptions={})
        self._stage(rows)
        match target.entity:
            case Entity.PERSON:
                people.apply(*run, target.person, self.identity, columns, create=create)
            case Entity.OBJECT:
                entities.apply_objects(*run, str(target.object_type), create=create)
            case Entity.RELATIONSHIP:
                entities.apply_relationships(*run, target.person, str(target.object_type), columns, create=create)
            case Entity.DEVICE:
                entities.apply_devices(*run, target.person, columns, create=create)
            case Entity.COLLECTION:
                entities.apply_collection(*run, str(target.collection))
            case Entity.MERGE:
                merges.apply(*run, target.person, target.merged, self.identity)
            case Entity.EVENT:
                self._apply_events(target, len(rows), create=create)
            case _:
                assert_never(target.entity)
        exceptions = self._fetch("SELECT seq, verdict, reason FROM batch WHERE verdict IS NOT NULL")
        return Answers(
            exceptions={seq: (Verdict(verdict), reason) for seq, verdict, reason in exceptions},
            people=self._numbers(people.numbers_query(target.person)) if target.key_may_move else None,
        )

    def _numbers(self, query: str) -> pa.Table:
        """The two columns of *query* as seq and person."""
        columns = self._columns(query, ("seq", "person"))
        return pa.table({name: pa.array(values, pa.int64()) for name, values in columns.items()})

    def _unfit(self, target: Target, rows: pa.Table, *, create: bool) -> dict[int, tuple[Verdict, str | None]]:
        """Find, by halves, the rows that the database cannot store; stores nothing."""
        try:
            with self._transaction(commit=False):
                self._apply(target, rows, create=create)
        except UnfitRowsError as exc:
            if len(rows) == 1:
                return {rows["seq"][0].as_py(): (Verdict.REJECTED, exc.condition)}
            half = len(rows) // 2
            return self._unfit(target, rows[:half], create=create) | self._unfit(target, rows[half:], create=create)
        return {}


def _nowhere(rows: int) -> dict[str, pa.Array]:
    """What WHEREABOUTS says of so many rows where there is nobody."""
    nothing = {name: pa.nulls(rows, WHEREABOUTS.field(name).type) for name in ("named", "known_as")}
    return nothing | {"is_there": pa.repeat(pa.scalar(False), rows)}
