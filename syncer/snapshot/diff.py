"""The comparison of a staged result with what the store has acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa

from syncer.model.types import Changes
from syncer.snapshot import devices, remembered
from syncer.snapshot.columns import ColumnMap, StoredColumn, listed, shown_row
from syncer.snapshot.event_rows import shown_staged
from syncer.snapshot.ledger import Intent, Workspace, kept_elsewhere
from syncer.snapshot.outbox import Outbox, open_outbox
from syncer.snapshot.session import Session

#: Tables of rows that a run may have to do with though its result is as it was.
_OPEN = ("quarantined", "in_doubt", "kept", "rejections", "left_behind", "absent_rows", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs, in rows; the rows themselves are in the temporary tables `changes`, `resent` and `restated`.

    Shapes:
        changes: k…, change (`added`, `changed` or `removed`), row_id (of `staged`; NULL for what was removed), person
            (to whom a removal goes; NULL where the key says it), first_run (as in the snapshot; NULL where it has no
            such row). A key may have a removal from a person and a change.
        resent: k…, row_id, restores; rows that differ in nothing that is known, and are sent all the same; `restores`
            as in the outbox.
        restated: k…, fingerprint; rows whose values are equal, in another spelling.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    #: Rows that are sent though nothing differs: in doubt, remembered from earlier results, or by `full` or `only`.
    sent_again: int
    #: Rows that the store may hold of this sync: acknowledged or in doubt. What limits are shares of.
    known: int
    #: Of the removed rows, those of which the result has the key: their identifier names somebody else now.
    left: int
    #: Rows that left the result after their identifier moved: nobody knows who got them, and nothing is removed.
    unaddressed: int
    #: Of the removed rows, devices that the result has for somebody else.
    moved: int
    intent: Intent = field(repr=False, compare=False)
    work: Workspace = field(repr=False, compare=False)

    @property
    def planned(self) -> Changes:
        """The rows that the outbox will have."""
        removed = self.removed if self.work.layout.schema.sends_removals else 0
        return Changes(added=self.added, changed=self.changed, removed=removed, resent=self.sent_again)

    @property
    def made_anew(self) -> int:
        """People whom other syncs have deleted, and whom this run makes again."""
        session = self.work.session
        if not (self.sent_again or self.changed) or not session.has_table("deleted_elsewhere"):
            return 0
        sent = f"SELECT {session.k} FROM resent UNION ALL SELECT {session.k} FROM changes WHERE change = 'changed'"
        return session.count(f"SELECT count(*) FROM deleted_elsewhere SEMI JOIN ({sent}) USING ({session.k})")

    def changed_attributes(self) -> dict[str, int]:
        """In how many changed rows each attribute differs, most first; attributes that differ nowhere are left out."""
        compared = self.work.layout.compared
        kept = " AND s{i} IS NOT NULL" if self.work.layout.schema.keeps_nulls else ""
        counts = self._changed_rows(compared, "s{i} IS DISTINCT FROM o{i}" + kept)
        found = {c.name: n for c, n in zip(compared, counts, strict=True) if n}
        if self.changed:
            found |= {c.name: self.changed for c in self.work.layout.reshaping}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def cleared_attributes(self) -> dict[str, tuple[int, int]]:
        """Attributes that become NULL: in how many rows, and how many rows of the snapshot have a value."""
        layout = self.work.layout
        columns = [c for c in layout.compared if not (c.was is None or c.is_visitor or c in layout.reshaping)]
        columns = self._with_null(columns) if self.changed else []
        counts = self._changed_rows(columns, "s{i} IS NULL AND o{i} IS NOT NULL")
        found = {c: n for c, n in zip(columns, counts, strict=True) if n}
        if not found:
            return {}
        (valued,) = self.work.session.rows(f"SELECT {', '.join(f'count({c.physical})' for c in found)} FROM snapshot")
        rows = self.work.ledger.warehouse_rows
        elsewhere = [rows.values(c.physical) if rows else 0 for c in found]
        return {c.name: (n, here + more) for (c, n), here, more in zip(found.items(), valued, elsewhere, strict=True)}

    def _with_null(self, columns: Sequence[StoredColumn]) -> list[StoredColumn]:
        """Those of the columns that are NULL in a staged row."""
        if not columns:
            return []
        nulls = ", ".join(f"bool_or({c.staged()} IS NULL)" for c in columns)
        (found,) = self.work.session.rows(f"SELECT {nulls} FROM staged")
        return [column for column, is_null in zip(columns, found, strict=True) if is_null]

    def _changed_rows(self, columns: Sequence[StoredColumn], which: str) -> tuple[int, ...]:
        """For each column, in how many changed rows the SQL *which* is true of the staged s{i} and the old o{i}."""
        session, k = self.work.session, self.work.session.k
        if not columns or not self.changed:
            return (0,) * len(columns)
        sums = (f"count(*) FILTER ({which.format(i=i)})" for i in range(len(columns)))
        (row,) = session.rows(
            f"SELECT {', '.join(sums)} FROM (SELECT {k} FROM changes WHERE change = 'changed') d "
            f"JOIN (SELECT {k}, {listed(columns, 'staged', 's')} FROM staged) s USING ({k}) "
            f"JOIN (SELECT {k}, {listed(columns, 'acknowledged', 'o')} FROM snapshot) o USING ({k})"
        )
        return row

    def sample(self, rows: int) -> list[tuple[str, str, str | None, str | None]]:
        """At most *rows* changes of each sort: change, key, JSON object before and after (None: no such row)."""
        session, layout, k = self.work.session, self.work.layout, self.work.session.k
        before, after = shown_row([c for c in layout.compared if c.was], "acknowledged"), shown_staged(layout)
        return session.rows(
            f"SELECT change, {session.key_text_of('d')}, o.values, s.values FROM "
            f"(SELECT * FROM changes QUALIFY row_number() OVER (PARTITION BY change ORDER BY {k}) <= {rows}) d "
            f"LEFT JOIN (SELECT {k}, {after} AS values FROM staged SEMI JOIN changes USING ({k})) s "
            f"ON {session.same_keys('d', 's')} AND d.change <> 'removed' "
            f"LEFT JOIN (SELECT {k}, {before} AS values FROM snapshot SEMI JOIN changes USING ({k})) o "
            f"ON {session.same_keys('d', 'o')} ORDER BY change, {session.keys_of('d')}"
        )

    @property
    def newest_claim(self) -> str:
        """The newest claim of the sync when the ledger was opened; empty where there is none."""
        return self.work.known.newest_claim

    def open_outbox(
        self, *, claimed_by: str = "", started_at: datetime | None = None, forget_before: datetime | None = None
    ) -> Outbox:
        """Put durably in doubt everything about to be sent; nothing was sent before. To be closed by the caller.

        *claimed_by*: the run that is about to claim the sync for this snapshot, and that began at *started_at*.
        *forget_before*: until when what left the result is remembered.
        """
        run = replace(self.intent, claimed_by=claimed_by, started_at=started_at, forget_before=forget_before)
        return open_outbox(self.work, run)


def compare(
    work: Workspace,
    *,
    same: int,
    is_whole: bool,
    full: bool,
    only: tuple[str, ...] | None,
    whereabouts: Callable[[pa.Table], pa.Table] | None = None,
) -> Difference:
    """Compare the rows in `staged`; *whereabouts* as `NumbersPeople` has it, for the target.

    A row in quarantine is not a removed row. *full* sends every row, *only* looks at one key. *same* rows were not
    staged, since nothing of them changed. Where the result is not whole, remembered rows are sent with it: those in
    doubt, absent or rejected. Where the ledger is outdated, what is gone from the result may be somebody else's by now,
    and is left to the next run; not so the rows of a collection, which come from one sync.
    """
    session, layout, outdated = work.session, work.layout, work.known.is_outdated
    schema, incremental = layout.schema, layout.schema.definition.incremental
    intent = Intent(only_some=only is not None, is_partial=not is_whole, claimed_by="")
    if only is None and layout.is_unchanged and not session.any_of("staged", "gone", *_OPEN):
        return _no_difference(work, intent, same)
    if not is_whole:
        remembered.stage(session, layout)
    if work.ledger.rivals is not None:
        from syncer.snapshot import held_back

        held_back.compare(work.ledger.rivals, layout, whereabouts)
    _find_changes(session, layout)
    if not layout.reshaping and (schema.keeps_nulls or any(c.type.has_spellings for c in layout.compared)):
        _drop_equal_rows(session, layout)
    _find_restated(session, keeps_nulls=schema.keeps_nulls)
    not_returned = 0
    if not is_whole:
        not_returned = session.count("SELECT count(*) FROM staged WHERE nulled IS NULL")
        session.execute("DELETE FROM changes USING staged s WHERE changes.row_id = s.rowid AND s.nulled IS NULL")
    left, unaddressed = 0, 0
    _find_moves(session, layout, whereabouts)
    if incremental or (outdated and schema.definition.target.entity.traits.merges):
        session.execute("DELETE FROM changes WHERE change = 'removed'")
        if incremental and session.target.entity.traits.names_device:
            devices.find_moved(session)
    else:
        _find_removals_in_doubt(session, layout)
        if only is None and schema.sends_removals and schema.definition.target.key_may_move:
            left, unaddressed = _address_removals(session, whereabouts)
    if only is not None:
        session.execute(f"DELETE FROM changes WHERE NOT ({session.is_key(only)})")
    _find_resent(session, layout, full=full, only=only)
    counts = dict(session.rows("SELECT change, count(*) FROM changes GROUP BY change"))
    staged, resent, snapshot, doubt = session.rows(
        "SELECT (SELECT count(*) FROM staged), (SELECT count(*) FROM resent), (SELECT count(*) FROM snapshot), "
        f"(SELECT count(*) FROM in_doubt ANTI JOIN snapshot USING ({session.k}))"
    )[0]
    added, changed = counts.get("added", 0), counts.get("changed", 0)
    is_empty = not counts and not resent and layout.is_unchanged and not session.any_of("restated", *_OPEN)
    return Difference(
        added=added,
        changed=changed,
        removed=counts.get("removed", 0),
        unchanged=same + staged - not_returned - added - changed,
        sent_again=resent,
        known=snapshot + doubt + kept_elsewhere(work.ledger),
        left=left,
        unaddressed=unaddressed,
        moved=devices.moved_rows(session) if session.target.entity.traits.names_device else 0,
        intent=replace(intent, is_empty=is_empty),
        work=work,
    )


def _no_difference(work: Workspace, intent: Intent, same: int) -> Difference:
    """The same as comparing where every row of the result is as it was acknowledged, and none is left over."""
    session = work.session
    for table, columns in (
        ("changes", "NULL AS change, NULL::BIGINT AS row_id, NULL::BIGINT AS person, NULL::UINTEGER AS first_run"),
        ("resent", "NULL::BIGINT AS row_id, FALSE AS restores"),
        ("restated", "fingerprint"),
    ):
        session.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {session.k}, {columns} FROM staged LIMIT 0")
    return Difference(
        added=0,
        changed=0,
        removed=0,
        unchanged=same,
        sent_again=0,
        known=session.count("SELECT count(*) FROM snapshot") + kept_elsewhere(work.ledger),
        left=0,
        unaddressed=0,
        moved=0,
        intent=replace(intent, is_empty=True),
        work=work,
    )


def _row_hash(values: Sequence[str]) -> str:
    return f"hash({', '.join(values)})" if values else "hash(1)"


def _find_changes(session: Session, layout: ColumnMap) -> None:
    """Fill `changes`, and `differing` with the rows whose values, columns or fingerprints differ.

    `alike` there: what differs has a kind whose equal values may have several texts.
    """
    k, compared = session.k, layout.compared
    if not session.any("SELECT 1 FROM snapshot"):
        compared = ()
    parts = [[c for c in compared if not c.type.has_spellings], [c for c in compared if c.type.has_spellings]]
    new = [_row_hash([c.staged() for c in part]) for part in parts]
    old = [_row_hash([c.acknowledged() for c in part]) for part in parts]
    if layout.reshaping:
        old[0] = f"~({old[0]})"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE differing AS SELECT {session.keys_of('s')}, s.row_id, s.fingerprint, "
        "CASE WHEN o.k1 IS NULL THEN 'added' WHEN s.h <> o.h OR s.spelled <> o.spelled THEN 'changed' END AS change, "
        "s.h = o.h AS alike, o.first_run "
        f"FROM (SELECT {k}, rowid AS row_id, fingerprint, {new[0]} AS h, {new[1]} AS spelled FROM staged) s "
        f"LEFT JOIN (SELECT {k}, fingerprint, first_run, {old[0]} AS h, {old[1]} AS spelled FROM snapshot) o "
        f"ON {session.same_keys('s', 'o')} WHERE s.h IS DISTINCT FROM o.h OR s.spelled <> o.spelled "
        "OR s.fingerprint IS DISTINCT FROM o.fingerprint"
    )
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE changes AS SELECT {k}, change, row_id, NULL::BIGINT AS person, first_run "
        f"FROM differing WHERE change IS NOT NULL UNION ALL SELECT {k}, 'removed', NULL, NULL, NULL FROM gone"
    )


def _find_restated(session: Session, *, keeps_nulls: bool) -> None:
    # Where NULL keeps a value, the row lacks a part of what the snapshot has, and so would its fingerprint.
    which = "change IS NULL" if keeps_nulls else "change IS DISTINCT FROM 'added'"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE restated AS SELECT {session.k}, fingerprint FROM differing "
        f"ANTI JOIN changes USING ({session.k}) WHERE fingerprint IS NOT NULL AND {which}"
    )
    session.execute("DROP TABLE differing")


def _drop_equal_rows(session: Session, layout: ColumnMap) -> None:
    """See `equal_rows.drop`, if there may be any."""
    keeps_nulls = layout.schema.keeps_nulls
    near = f"SELECT {session.k} FROM differing WHERE change = 'changed'" + ("" if keeps_nulls else " AND alike")
    if session.any(near):
        from syncer.snapshot import equal_rows

        equal_rows.drop(session, layout, near)


def _find_moves(session: Session, layout: ColumnMap, whereabouts: Callable[[pa.Table], pa.Table] | None) -> None:
    """See `moves.find`, if the result says by which email people were known before."""
    if layout.schema.previous is not None:
        from syncer.snapshot import moves

        moves.find(session, layout, whereabouts)


def _find_removals_in_doubt(session: Session, layout: ColumnMap) -> None:
    """Find the removals: rows gone from the result, also such that only may have arrived; not rows in quarantine."""
    k = session.k
    same = session.same_keys("changes", "a")
    session.execute(f"DELETE FROM changes USING quarantined a WHERE change = 'removed' AND {same}")
    # A row that was never acknowledged, but may have arrived, and is gone from the result.
    session.execute(
        f"INSERT INTO changes SELECT {k}, 'removed', NULL, NULL, NULL FROM in_doubt ANTI JOIN snapshot USING ({k}) "
        f"ANTI JOIN staged USING ({k}) ANTI JOIN quarantined USING ({k})"
    )
    if layout.schema.previous is not None:
        from syncer.snapshot import moves

        moves.spare(session)


def _address_removals(session: Session, whereabouts: Callable[[pa.Table], pa.Table] | None) -> tuple[int, int]:
    """See `departures.address_removals`, if there may be anything to it."""
    session.execute("DROP TABLE IF EXISTS temp.departed")
    sources = ("changes WHERE change = 'removed'", "in_doubt", "left_behind")
    if not any(session.any(f"SELECT 1 FROM {source}") for source in sources):
        return 0, 0
    from syncer.snapshot import departures

    return departures.address_removals(session, whereabouts)


def _find_resent(session: Session, layout: ColumnMap, *, full: bool, only: tuple[str, ...] | None) -> None:
    k, wanted, restores = session.k, "", "FALSE"
    if not (full or only is not None):
        parts = [f"SELECT {k} FROM in_doubt"]
        if session.any("SELECT 1 FROM in_doubt WHERE unset"):
            restores = f"EXISTS (SELECT 1 FROM in_doubt d WHERE d.unset AND {session.same_keys('staged', 'd')})"
        if layout.schema.definition.incremental:
            parts.append(f"SELECT {k} FROM staged WHERE nulled IS NULL")
        if session.any("SELECT 1 FROM unknown"):
            parts.append(unknown := _unset_unknown(session, layout))
            restores += f" AND NOT EXISTS (SELECT 1 FROM ({unknown}) u WHERE {session.same_keys('staged', 'u')})"
        wanted = f" SEMI JOIN ({' UNION ALL '.join(parts)}) USING ({k})"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE resent AS SELECT {k}, staged.rowid AS row_id, {restores} AS restores "
        f"FROM staged{wanted} ANTI JOIN (SELECT {k} FROM changes WHERE change <> 'removed') USING ({k})"
    )
    if only is not None:
        session.execute(f"DELETE FROM resent WHERE NOT ({session.is_key(only)})")


def _unset_unknown(session: Session, layout: ColumnMap) -> str:
    """SQL for the keys (k…) of rows that unset what the store may have of an attribute; a value is a change anyway."""
    unset = [c for c in layout.compared if c.fed is None or not layout.schema.keeps_nulls]
    names = ", ".join(f"CASE WHEN {c.staged()} IS NULL THEN '{c.physical}' END" for c in unset)
    return f"SELECT {session.k} FROM staged JOIN unknown USING ({session.k}) WHERE list_has_any(attributes, [{names}])"
