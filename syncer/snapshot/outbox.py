"""The outbox: every change is durably in doubt before it is sent, and acknowledged only by its verdict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import pyarrow as pa

from syncer.model.memory import PROCESS
from syncer.model.protocols import KEPT, MOVED, UNSET
from syncer.model.types import Action, Entity, Target, Verdict
from syncer.snapshot import handover
from syncer.snapshot.batch_pipeline import BatchPipeline
from syncer.snapshot.batches import batch_queries, row_bytes, sending, whole_collection_queries
from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.identifiers import key_of
from syncer.snapshot.ledger import Asked, Intent, Workspace, kept_elsewhere
from syncer.snapshot.session import with_more_memory
from syncer.snapshot.values import literal

#: So many batches of wide rows are made by one query, in half the time; while a store takes them, the next ones are.
_BATCHES_A_QUERY = 4
#: Of narrow rows, which take no less time so, only so many: all of them are in memory, and the next ones too.
_ROWS_A_QUERY = 25_000
#: Of so many keys at once the store gives the other names.
_ASKED_ROWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Batches of which the store answers every row before the next part may go."""

    #: As `ProfileStore.apply` takes them; made ahead.
    batches: Iterator[pa.RecordBatch]
    #: The rows come again in a later part, so that their verdicts do not count.
    is_preparation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What of an outbox concerns other syncs: what it deletes, and what else of theirs it takes away."""

    #: The attributes that others write too.
    unset: Collection[str]
    #: Whether the store numbers people: then it tells itself of identifiers that move.
    is_numbered: bool
    #: Gives the names of a target's entities by their keys, as `ProfileStore.identifiers`; None where there are no
    #: others.
    identifiers: Callable[[Target, pa.Table], pa.Table] | None
    #: To the kinds of some objects and relationships, by which other kinds they are known too.
    also: Mapping[str, str]
    #: The attributes of which other syncs' values count more, and whether one of those ran meanwhile.
    outranked: Collection[str] = ()
    is_overtaken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """Some rows of an outbox that concern other syncs: whom they name, as what, and whether by all their names."""

    entity: str
    target: Target
    #: SQL for what names a row's entity.
    kind: str
    value: str
    #: SQL for the rows: seq, k… of the target, person.
    query: str
    asks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """Everything that a run is about to send, if anything in the tables `outbox` and `verdicts`; to be closed."""

    #: Rows to send.
    rows: int
    #: Those of them that were rejected before.
    tried_before: int
    _work: Workspace = field(repr=False)
    _intent: Intent = field(repr=False)
    _pipeline: BatchPipeline = field(repr=False)

    @property
    def claims_of_rivals(self) -> dict[str, str]:
        """The syncs whose values of an attribute count more, each to its newest claim when the run looked."""
        rivals = self._work.ledger.rivals
        return rivals.newest_claims if rivals else {}

    def takes_anything(self, taken: Taken) -> bool:
        """Whether it takes anything from other syncs."""
        queries = [share.query for share in self._shares(taken)]
        return any(self._work.session.any(query) for query in queries + self._moves(taken))

    def write_taken(self, taken: Taken, path: Path, key: str) -> int:
        """Write the file of a RemovedSet, whose hashes have *key*, of what it takes; returns how many names it has."""
        from syncer.snapshot.announced import Announcement

        session, announcement = self._work.session, Announcement(self._work.session, key, taken.also)
        for share in self._shares(taken):
            named = f"{literal(share.entity)} AS entity, {share.kind} AS kind, {share.value} AS value"
            announcement.add(f"SELECT {named} FROM ({share.query})")
            for first in range(0, self.rows if share.asks and taken.identifiers else 0, _ASKED_ROWS):
                which = f"WHERE seq > {first} AND seq <= {first + _ASKED_ROWS}"
                keys = session.connection.sql(f"SELECT * EXCLUDE seq FROM ({share.query}) {which}").to_arrow_table()
                if len(keys) and taken.identifiers:
                    announcement.add_table(taken.identifiers(share.target, keys), share.entity)
        for query in self._moves(taken):
            announcement.add(query)
        return announcement.write(path)

    def _shares(self, taken: Taken) -> list[_Share]:
        """What is taken from others, one for each sort of entity (see IDENTIFIERS)."""
        session, layout, target = self._work.session, self._work.layout, self._work.session.target
        found = "SELECT seq, {k}, person FROM outbox WHERE action = '{action}'".format
        if target.merged_key is not None:
            sides = ((KEPT, target.person, "k1"), (str(Entity.PERSON), target.merged_key, "k2 AS k1"))
            return [
                _Share(
                    entity=entity,
                    target=Target(entity=Entity.PERSON, person_key=key, key_columns=("k1",)),
                    kind=literal(key),
                    value="k1",
                    query=found(k=side, action=Action.PUT),
                    asks=True,
                )
                for entity, key, side in sides
            ]
        _, kind, value = session.entity
        share = partial(_Share, target=target, kind=kind, value=value)
        deletion = Action.PUT if target.action and target.action.deletes else Action.DELETE
        shares = [share(entity=str(target.entity), query=found(k=session.k, action=deletion), asks=True)]
        columns = [c for c in layout.compared if c.name in taken.unset]
        unset = [c for c in columns if c.fed is None or not layout.schema.keeps_nulls]
        shared = sending(layout)
        beside = shared.beside("o") if shared else ""
        cleared = [(c, f"({c.staged()} IS NULL)") for c in unset]
        tests = [shared.if_unset(text, c, "o.doubted") if shared else text for c, text in cleared]
        if columns:
            query = found(k=session.k, action=Action.CLEAR)
            if shared:
                is_one = " OR ".join(f"{shared.unless_held('TRUE', c)}" for c in columns)
                query = f"SELECT seq, {session.keys_of('o')}, person FROM outbox o{beside} "
                query += f"WHERE action = '{Action.CLEAR}' AND ({is_one})"
            if tests:
                query += (
                    f" UNION ALL SELECT seq, {session.keys_of('o')}, NULL FROM outbox o JOIN staged s "
                    f"ON s.rowid = o.row_id{beside} WHERE NOT restores AND ({' OR '.join(tests)})"
                )
            shares.append(share(entity=UNSET[target.entity], query=query, asks=taken.is_numbered))
        overtaken = self._overtaken(taken) if taken.outranked else []
        return shares + [share(entity=UNSET[target.entity], query=one, asks=taken.is_numbered) for one in overtaken]

    def _overtaken(self, taken: Taken) -> list[str]:
        """SQL for the rows that may have written over what counts more."""
        from syncer.snapshot import held_back

        session, layout = self._work.session, self._work.layout
        kinds = (True, False) if taken.is_overtaken else (True,)
        found = [held_back.overtaken(session, layout, taken.outranked, in_doubt=kind) for kind in kinds]
        return [query for query in found if query]

    def _moves(self, taken: Taken) -> list[str]:
        """SQL for the identifiers beside the key that rows take from people or move: IDENTIFIERS.

        As far as they are known; a store that numbers people knows better.
        """
        session, layout = self._work.session, self._work.layout
        if taken.is_numbered:
            return []
        moves = []
        for column in (c for c in layout.fed if c.fed in layout.schema.unique):
            old, new = (key_of(column.name, column.type, f"{side}.{column.physical}") for side in ("b", "s"))
            moves.append(
                f"SELECT DISTINCT '{MOVED}' AS entity, '{column.name}' AS kind, value FROM "
                f"(SELECT unnest([{old}, {new}]) AS value FROM outbox o JOIN snapshot b ON "
                f"{session.same_keys('o', 'b')} LEFT JOIN staged s ON s.rowid = o.row_id "
                f"WHERE o.action <> '{Action.DELETE}' AND {old} <> '' AND {new} IS DISTINCT FROM {old}) "
                "WHERE value <> ''"
            )
        return moves

    def parts(self, rows: int, *, whole: bool = False) -> list[Part]:
        """All that is to be sent, in batches of at most so many *rows* and some MB, removals first.

        *whole*: all rows of a collection at once. A device that moves is removed before it is sent for somebody else.
        """
        session, layout, batches = self._work.session, self._work.layout, self._pipeline.batches
        if not self.rows:
            return []
        if whole:
            return [Part(batches=self._pipeline.whole(whole_collection_queries(session, layout)))]
        rows = min(rows, max(1, PROCESS.batch // row_bytes(session, layout)))
        last = self.rows - session.count("SELECT count(*) FROM waiting")
        bounds = [(0, last), (last, self.rows)] if last < self.rows else [(0, last)]
        if session.target.entity.traits.names_device:
            removals = session.count(f"SELECT count(*) FROM outbox WHERE action <> '{Action.PUT}'")
            bounds = [(first, end) for first, end in ((0, removals), (removals, last)) if first < end]
        made = max(rows, min(rows * _BATCHES_A_QUERY, _ROWS_A_QUERY))
        parts = [Part(batches=batches(batch_queries(session, layout, *bound, rows=made), rows)) for bound in bounds]
        if last < self.rows and (releases := handover.release_queries(session, layout, rows=made)):
            parts.insert(0, Part(batches=batches(releases, rows), is_preparation=True))
        return parts

    def record(self, verdicts: pa.Table) -> None:
        """Make a batch's verdicts durable, and what was accepted the snapshot, while the next batch is on its way.

        Batches that are answered in quick succession are recorded together; until then their rows are in doubt.

        Raises:
            duckdb.Error: a batch before could not be recorded; its rows are in doubt.
        """
        self._pipeline.record(verdicts)

    def verdicts(self) -> dict[tuple[str, Verdict], int]:
        """How many rows have which verdict so far, by why they are sent (one of Changes)."""
        if not self.rows:
            return {}
        self._pipeline.finish()
        # DuckDB keeps a count of distinct values in memory, and writes the rows of DISTINCT to files.
        query = (
            "SELECT change, verdict, count(*) FROM outbox "
            "JOIN (SELECT DISTINCT seq, verdict FROM verdicts) USING (seq) GROUP BY ALL"
        )
        return {(change, Verdict(verdict)): count for change, verdict, count in self._work.session.rows(query)}

    def settle(self, *, started_at: datetime, asked: Asked, ended_well: bool) -> None:
        """Make the snapshot what the store has acknowledged, in one transaction.

        *started_at*: of the run. *asked*: what it asked the warehouse for. *ended_well*: every row had an answer.
        """
        if self.rows:
            self._pipeline.finish()
        self._work.ledger.settle(
            self._work.layout, self._intent, started_at=started_at, asked=asked, ended_well=ended_well
        )
        if (sharing := self._work.sharing) is not None:
            rows = self._work.session.count(f"SELECT count(*) FROM {_acknowledged(self._work)}")
            sharing.settled(rows=rows + kept_elsewhere(self._work.ledger), is_changed=not self._intent.is_empty)

    def close(self) -> None:
        """Let what runs beside the caller's thread come to its end; calling it twice is fine."""
        self._pipeline.close()


def open_outbox(work: Workspace, intent: Intent) -> Outbox:
    """Write down, in one transaction, everything that is about to be sent (see Difference)."""
    rows = work.ledger.intend(work.layout, intent, work.known)
    if rows and work.sharing is not None:
        work.sharing.intended()
    connection, layout = work.session.connection, work.layout.reshaped()
    # While a run sends, only the pipeline's thread uses the connection.
    pipeline = BatchPipeline(
        work.session.sync,
        make=lambda query: with_more_memory(
            connection, lambda: connection.sql(query).to_arrow_table().combine_chunks().to_batches()[0]
        ),
        record=lambda verdicts: _record(work, layout, verdicts),
    )
    session = work.session
    tried = session.count(f"SELECT count(*) FROM outbox SEMI JOIN rejections USING ({session.k})") if rows else 0
    return Outbox(rows=rows, tried_before=tried, _work=replace(work, layout=layout), _intent=intent, _pipeline=pipeline)


def _record(work: Workspace, layout: ColumnMap, verdicts: pa.Table) -> None:
    work.ledger.acknowledge(layout, verdicts)
    if work.sharing is not None:
        work.sharing.recorded()


def _acknowledged(work: Workspace) -> str:
    return "sent_events" if work.session.target.event is not None else "snapshot"
