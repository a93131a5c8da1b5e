"""The ledger in a file of the state folder: one DuckDB database a sync, locked by one process at a time.

Beside the tables of every ledger it has `meta` (name, value): format, target, store, claims, what runs left behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import duckdb
import pyarrow as pa

from syncer.model.errors import SnapshotError
from syncer.model.protocols import WHEREABOUTS, NumbersPeople
from syncer.model.types import OVERTAKEN, FindingKind, Identity, Removed, ValueForm
from syncer.snapshot import file, identifiers, journal
from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.incoming import staged_rows_sql
from syncer.snapshot.ledger import Asked, Intent, Journal, Known, Writer, WriterState
from syncer.snapshot.result_stream import ResultStream
from syncer.snapshot.session import Remembering, Session, close, retried, signature_of
from syncer.snapshot.tables import ELSEWHERE, FORMATS, MANY_ROWS, fit_blocks, make_tables

if TYPE_CHECKING:
    from syncer.snapshot.rivals import Rivals
    from syncer.snapshot.warehouse_rows import WarehouseRows


class FileLedger(Remembering):
    """One sync's file, open and locked; see `Ledger`."""

    _journal: ClassVar[Journal] = journal
    warehouse_rows: WarehouseRows | None = None

    def __init__(self, session: Session, path: Path) -> None:
        super().__init__(session)
        self.notes: list[str] = []
        self.store_findings: dict[FindingKind, str] = {}
        self.rivals: Rivals | None = None
        self._path = path
        self._newest_claim, self._is_outdated = "", False
        self._with_intent: dict[str, str] = {}

    @property
    def former(self) -> list[Path]:
        return [self._path.with_name(name) for name in json.loads(self._memory()["former"] or "[]")]

    def remember_former(self, files: Sequence[Path]) -> None:
        with self._transaction():
            self._remember(former=json.dumps([path.name for path in files]))

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """See `Ledger`; a damaged file is moved aside."""
        try:
            yield
        except duckdb.Error as exc:
            close(self.session.connection)
            raise file.failed(self._path, self.session.sync, exc) from None

    def make_ready(self, store_id: str, address: str) -> bool:
        """Make a new file's tables, or settle what the last run left; False for another target's or store's file.

        Raises:
            SnapshotError: a newer Syncer wrote it; nothing is changed.
        """
        # A file of before addresses were kept is taken for one of this address.
        own = {"target": signature_of(self.session.target), "store_id": store_id, "address": address}
        self._bring_up_to_date(**own)
        memory = self._memory()
        if any(memory[name] not in ("", value) for name, value in own.items()):
            return False
        if memory["address"] != address:
            with self._transaction():
                self._remember(address=address)
        self.settle_what_died()
        return True

    def settle_what_died(self) -> None:
        """Settle what the last run left."""
        if self.session.has_table("outbox"):
            with self._transaction() as session:
                self._settle_fence()
                journal.settle(session, None, at=datetime.now(UTC))
            self.notes.append("the last run of this sync did not end; what it had no answer for is sent again")

    def make_ready_as_it_is(self) -> None:
        """The same as `make_ready`, whatever the file was made for."""
        self._bring_up_to_date()
        self.settle_what_died()

    def _bring_up_to_date(self, **of_new_file: str) -> None:
        session, found = self.session, self._format(self.session)
        if found > FORMATS.newest and found != ELSEWHERE:
            reset = f"start from scratch with `syncer reset {session.sync}`"
            raise FORMATS.newer(found, what=f"the snapshot of `{session.sync}`", error=SnapshotError, otherwise=reset)
        if found < FORMATS.newest:

            def create(session: Session) -> None:
                make_tables(session)
                former = [p.name for p in sorted(self._path.parent.glob(f"{self._path.name}.former-*[0-9]"))]
                self._remember(**of_new_file, former=json.dumps(former))

            FORMATS.bring_up_to_date(
                self._transaction,
                read=self._format,
                create=create,
                record=lambda session, number: self._remember(format=str(number)),
            )

    def open(self, claim: str, *, log_id: str, is_current: bool = False) -> int:
        session, memory = self.session, self._memory()
        # A run that died between its two writes has sent nothing: the claim before its own is the newest then.
        known = (memory["claimed_by"], memory["claimed_after"]) if memory["log_id"] in ("", log_id) else ("",)
        self._is_outdated = claim not in known and (not is_current or claim.endswith(OVERTAKEN))
        self._newest_claim = claim
        if self._is_outdated:
            with self._transaction():
                self._put_in_doubt("TRUE")
            if session.any("SELECT 1 FROM in_doubt"):
                why = "rows were sent from another machine, or before this file was restored"
                self.notes.append(f"the snapshot is out of date: {why}; every row is sent again")
            elif not self.notes:
                self.notes.append("there is no snapshot here of what was sent before: every row is sent")
        return int(memory["removals_seen"] or 0) if memory["log_id"] == log_id else 0

    def doubt(self, removed: Removed, *, log_id: str, also: Mapping[str, str]) -> None:
        session, former = self.session, self._memory()["log_id"]
        is_new_log, may_lack_some = former not in ("", log_id), removed.is_incomplete
        rows = f"SELECT {session.k} FROM snapshot UNION ALL SELECT {session.k} FROM in_doubt"
        if is_concerned := bool(removed.sets) and session.any(rows):
            from syncer.snapshot.announced import find_removed
            from syncer.snapshot.touched import doubt_moved, doubt_unset, find_deleted

            may_lack_some |= find_removed(session, removed.sets, rows, also=also) is None
        lost_track = may_lack_some and not is_new_log and session.any("SELECT 1 FROM snapshot")
        with self._transaction():
            if is_concerned and session.any("SELECT 1 FROM removed"):
                find_deleted(session, "removed")
                doubt_unset(session, "removed")
                self._put_in_doubt(session.touched("removed"))
                doubt_moved(session, "removed")
            if is_new_log or may_lack_some:
                self._put_in_doubt("TRUE")
                self._remember(last_sync_time="0")
            if is_new_log:
                self._remember(claimed_by="", claimed_after="", fence="", fence_before="", former_log=former)
            self._remember(log_id=log_id, removals_seen=str(removed.newest))
        if is_concerned:
            session.execute("DROP TABLE temp.removed")
        if is_new_log:
            self.notes.append("the run log is a new one: every row is sent again")
        elif lost_track:
            self.notes.append("removals by other syncs were forgotten, or their files lost: every row is sent again")

    def follow_people(self, store: NumbersPeople) -> None:
        session, seen = self.session, self._memory()["moves_seen"]
        moves = store.moves_since(int(seen or 0))
        if seen and moves.newest < int(seen):
            with self._transaction():
                self._put_in_doubt("TRUE")
                self._forget_people()
            seen = ""
        unnumbered = "SELECT DISTINCT k1, NULL::BIGINT AS person FROM snapshot WHERE person IS NULL"
        found = None if seen else store.whereabouts(session.target, session.connection.sql(unnumbered).to_arrow_table())
        session.connection.register("moved", moves.identifiers)
        session.connection.register("found", found if found is not None else WHEREABOUTS.empty_table())
        try:
            with self._transaction():
                if found is not None:
                    session.execute("UPDATE snapshot SET person = f.named FROM found f WHERE f.k1 = snapshot.k1")
                elif moves.is_incomplete:
                    self._put_in_doubt("TRUE")
                    self.notes.append(
                        "what became of identifiers since the last run is not known: every row is sent again"
                    )
                elif moves.identifiers.num_rows:
                    from syncer.snapshot.touched import doubt_moved

                    self._put_in_doubt(session.touched("moved"))
                    doubt_moved(session, "moved")
                self._remember(moves_seen=str(moves.newest))
        finally:
            session.connection.unregister("moved")
            session.connection.unregister("found")

    def follow_identity(self, identity: Identity) -> None:
        known = identifiers.read(self._memory()[identifiers.META])
        if known == identity.names or not self.session.target.entity.traits.has_other_identifiers:
            return
        with self._transaction():
            if which := identifiers.with_one_of(self.session, {*identity.names} - {*known}):
                self._put_in_doubt(which)
                self._remember(last_sync_time="0")
                self.notes.append("the store knows people by more than before: rows with such an identifier go again")
            self._remember(**{identifiers.META: json.dumps(identity.names)})

    def _forget_people(self) -> None:
        """Forget who got which row: after a restore, the store may have given the number to somebody else."""
        self.session.execute("UPDATE snapshot SET person = NULL")
        self.session.execute("DELETE FROM left_behind")
        self._remember(moves_seen="")

    def compare_fences(self, fences: Mapping[str, str], *, log_id: str) -> str:
        memory, own = self._memory(), fences.get(log_id, "")
        former, mine = memory["former_log"], (memory["fence"], memory["fence_before"])
        others = {ledger: run for ledger, run in fences.items() if ledger not in (log_id, former)}
        seen = json.loads(memory["other_ledgers"] or "{}")
        newer = [ledger for ledger, run in others.items() if seen.get(ledger) != run]
        # A snapshot that never sent anything takes the store as it is; a newer claim tells of the run already.
        is_restored = mine[0] != "" and own not in mine and not self._is_outdated
        is_new_folder = mine[0] != "" and any(ledger not in seen for ledger in newer)
        if is_restored:
            self.store_findings[FindingKind.RESTORED] = ""
            self.notes.append("the store is not as it was left, such as after a restore: every row is sent again")
        elif mine[0] and newer:
            self.store_findings[FindingKind.SHARED] = f"{newer[0]} {others[newer[0]]}"
            self.notes.append(
                f"another state folder feeds this store too: run {others[newer[0]]} of this sync is not in the run log "
                f"{log_id}, but in {newer[0]}; stop one of the two"
            )
        if is_restored or is_new_folder:
            self._is_outdated = True
            with self._transaction():
                self._put_in_doubt("TRUE")
                if is_restored:
                    self._forget_people()
        self._with_intent |= {"fence": own, "fence_before": own, "other_ledgers": json.dumps(others)}
        return former if former in fences else ""

    def follow_writers(
        self, writers: Mapping[str, Writer], state_of: Callable[[str], WriterState], *, form: ValueForm
    ) -> None:
        known = json.loads(self._memory()["overwritten_by"] or "{}")
        if not (writers or known):
            return
        from syncer.snapshot import overwritten

        dealt, notes = overwritten.find(self.session, self._path.parent, writers, known, state_of, form)
        if dealt != known:
            same = self.session.same_keys("o", "s")
            with self._transaction():
                self._put_in_doubt(f"EXISTS (SELECT 1 FROM overwritten o WHERE {same})")
                self._remember(overwritten_by=json.dumps(dealt))
        self.notes += notes

    def follow_sources(
        self, rivals: Mapping[str, Mapping[str, str]], followers: Mapping[str, Mapping[str, bool]], *, store_id: str
    ) -> None:
        memory = self._memory()
        if not (rivals or followers or memory["followers"] or self.session.has_table("held")):
            return
        from syncer.snapshot import held_back

        folder, seen = self._path.parent, memory["rivals"]
        self.rivals = held_back.Rivals(session=self.session, folder=folder, store_id=store_id, claims=rivals, seen=seen)
        held_back.find(self.rivals)
        with self._transaction():
            self._remember(followers=held_back.doubt(self.rivals, followers, before=memory["followers"]))

    def known(self) -> Known:
        k, memory = self.session.k, self._memory()
        unknown = f"SELECT 1 FROM in_doubt ANTI JOIN kept USING ({k}) ANTI JOIN snapshot USING ({k})"
        needs_all = self._is_outdated or self.session.any(unknown)
        return Known(
            last_sync_time=0 if needs_all else int(memory["last_sync_time"] or 0),
            has_quarantined=self.session.any(f"SELECT 1 FROM rejections ANTI JOIN kept USING ({k})"),
            settled_definition=memory["settled_definition"],
            settled_query=memory["settled_query"],
            column_case=memory["column_case"],
            whole_result_at=int(memory["whole_result_at"] or 0),
            newest_claim=self._newest_claim,
            is_outdated=self._is_outdated,
        )

    def differing(self, incoming: ResultStream, layout: ColumnMap, *, every_row: bool) -> int:
        session, k = self.session, self.session.k
        session.execute("DROP TABLE IF EXISTS staged")
        acknowledged = unmatched = session.count("SELECT count(*) FROM snapshot")
        columns, is_whole = len(layout.columns), session.target.collection is not None
        make_room = file.room_for(session.connection, self._path, columns=columns, rows=acknowledged, is_whole=is_whole)
        incoming.read(session, staged_rows_sql(session, layout, every_row=every_row), make_room)
        source = "snapshot" if every_row else "(FROM snapshot LIMIT 0)"
        if not every_row and (unmatched := session.count("SELECT count(row_id) FROM staged")):
            which = "FROM staged WHERE row_id IS NOT NULL"
            session.execute(f"CREATE OR REPLACE TEMP TABLE unmatched AS SELECT row_id {which}; DELETE {which}")
            source = "snapshot h JOIN unmatched u ON h.rowid = u.row_id"
        none = " LIMIT 0" if layout.schema.definition.incremental else ""
        gone = f"SELECT {k} FROM {source} ANTI JOIN staged USING ({k}){none}"
        session.execute(f"CREATE OR REPLACE TEMP TABLE gone AS {gone}")
        return acknowledged - unmatched

    @retried
    def intend(self, layout: ColumnMap, intent: Intent, known: Known) -> int:
        if self.session.any(f"FROM (SELECT 1 FROM staged OFFSET {MANY_ROWS})"):
            fit_blocks(self.session, self._path.resolve())
        with self._transaction():
            values = {**self._with_intent}
            if self.rivals is not None:
                from syncer.snapshot import held_back

                held_back.keep(self.rivals, layout)
                values["rivals"] = self.rivals.marks
            rows = self._journal.write_intent(self.session, layout, intent)
            if intent.claimed_by:
                values |= {"claimed_by": intent.claimed_by, "claimed_after": known.newest_claim}
                if rows:
                    # Until a verdict is here, the store may have either run's fence.
                    values |= {"fence": intent.claimed_by, "fence_before": values.get("fence", self._memory()["fence"])}
            self._remember(**values)
            return rows

    @retried
    def acknowledge(self, layout: ColumnMap, verdicts: pa.Table) -> None:
        with self._transaction():
            self._journal.write_verdicts(self.session, layout, verdicts)

    def settle(
        self, layout: ColumnMap, intent: Intent, *, started_at: datetime, asked: Asked, ended_well: bool
    ) -> None:
        schema, values = layout.schema, asked.memory if ended_well and not intent.only_some else {}
        of_result = {"settled_definition": schema.definition.hash, "column_case": schema.column_case} if values else {}
        self._settle(layout, intent, values | of_result, at=started_at)
        if not intent.is_empty:
            self.session.execute("CHECKPOINT")

    @retried
    def _settle(self, layout: ColumnMap, intent: Intent, values: dict[str, str], *, at: datetime) -> None:
        with self._transaction():
            if not intent.is_empty:
                self._settle_fence()
                journal.settle(self.session, intent, at=at)
            self._remember(**values)

    def _settle_fence(self) -> None:
        """Once the store has taken a row, it has the run's fence and no earlier one, nor none."""
        # What it rejects it may have left out before it began to write.
        if self.session.any("SELECT 1 FROM verdicts WHERE verdict <> 'rejected'"):
            self._remember(fence_before=self._memory()["fence"])

    def _put_in_doubt(self, which: str) -> None:
        """See `touched.doubt`; part of the caller's transaction."""
        from syncer.snapshot import touched

        touched.doubt(self.session, which)
