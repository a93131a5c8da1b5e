"""The comparison of a staged result of events with what is remembered of those that were sent: the id alone.

An event is sent once. So the ledger's `snapshot` is empty, and what is new is what `sent_events` does not have. Only
its rows of about the times that came are looked at, in a join whose table in memory is that of the staged rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from syncer.model.event_stores import FIRST
from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.diff import Difference
from syncer.snapshot.event_rows import AT, COLUMNS, PRINT, moment, numbers_sql, shown_staged, starts_at_date
from syncer.snapshot.ledger import Intent, Workspace
from syncer.snapshot.session import Session

#: How far, in seconds, a time may have been corrected for an event to be known. Stores know one of any other time.
_CORRECTED = 86_400

#: Altered rows that people can see.
_SHOWN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which known events are sent all the same."""

    full: bool
    only: tuple[str, ...] | None

    @property
    def again(self) -> bool:
        return self.full or self.only is not None


def compare(
    work: Workspace, *, is_whole: bool, full: bool, only: tuple[str, ...] | None, start: datetime | None
) -> Difference:
    """Compare the rows in `staged` with what was sent before; see `diff.compare`.

    Of them stay those that are to be sent, in the order of their times.

    Shapes:
        start: from when on events count, where the ledger does not know it yet; None to send whatever is new.
        past (a table): high, low, second, print; what counts as past from now on.
        altered (a table): k…, shown (JSON); at most _SHOWN rows that changed after they were sent.
    """
    session, layout, wanted = work.session, work.layout, _Wanted(full=full, only=only)
    _stage_kept(session, layout, is_whole=is_whole)
    rows = session.count("SELECT count(*) FROM staged WHERE nulled IS NOT NULL")
    _find_known(session)
    changed, newest = session.rows("SELECT count(*) FILTER (is_altered), coalesce(max(second), 0) FROM known_events")[0]
    _show_altered(session, layout, any_altered=changed > 0)
    if not wanted.again:
        session.execute("DELETE FROM staged WHERE rowid IN (SELECT row_id FROM known_events)")
    past, forgotten, newest_past = _leave_out_past(work, start, wanted)
    _put_in_order(session)
    _find_changes(session, wanted)
    added, resent, remembered = session.rows(
        "SELECT (SELECT count(*) FROM changes), (SELECT count(*) FROM resent), "
        "(SELECT count(*) FROM staged WHERE nulled IS NULL)"
    )[0]
    altered = 0 if wanted.again else changed
    intent = Intent(
        only_some=only is not None,
        is_partial=not is_whole,
        claimed_by="",
        is_empty=not (added or resent or remembered or newest_past) and not _is_any_open(session),
        event_start=start,
        newest_known=max(newest, newest_past),
        altered=altered,
        past=past,
        forgotten=forgotten,
    )
    return Difference(
        added=added,
        changed=0,
        removed=0,
        unchanged=rows - added - altered,
        sent_again=resent,
        known=session.count("SELECT count(*) FROM sent_events"),
        left=0,
        unaddressed=0,
        moved=0,
        intent=intent,
        work=work,
    )


def _is_any_open(session: Session) -> bool:
    tables = ("quarantined", "kept", "rejections")
    return session.any(" UNION ALL ".join(f"(SELECT 1 FROM {table} LIMIT 1)" for table in tables))


def _stage_kept(session: Session, layout: ColumnMap, *, is_whole: bool) -> None:
    """Stage what was rejected before, and a query that need not be whole does not return again; `nulled` is NULL."""
    if is_whole or not session.any("SELECT 1 FROM kept"):
        return
    k, names = session.k, "".join(f", {c.physical}" for c in layout.fed)
    values = "".join(f", {c.acknowledged()}" for c in layout.fed)
    numbers = ", ".join(numbers_sql(session, layout.schema))
    session.execute(
        f"INSERT INTO staged ({k}, {', '.join(COLUMNS)}, fingerprint{names}) "
        f"SELECT {k}, who, anonymous, happened, {numbers}, fingerprint{values} FROM kept "
        f"ANTI JOIN (SELECT {k} FROM staged UNION ALL SELECT {k} FROM quarantined) USING ({k})"
    )


def _find_known(session: Session) -> None:
    """Fill `known_events` with the staged rows that were sent, or count as past: row_id, second, is_altered.

    An event whose time was corrected by more than _CORRECTED is remembered more than once.
    """
    ((first, last),) = session.rows(f"SELECT min({AT}), max({AT}) FROM staged")
    # A table that is empty is joined for nothing.
    near = "FALSE" if first is None else f"e.second BETWEEN {max(0, first - _CORRECTED)} AND {last + _CORRECTED}"
    session.execute(
        "CREATE OR REPLACE TEMP TABLE known_events AS "
        "SELECT s.row_id, max(e.second) AS second, bool_and(s.print <> e.print) AS is_altered "
        f"FROM sent_events e JOIN (SELECT rowid AS row_id, high, low, {PRINT} AS print FROM staged) s "
        f"ON e.high = s.high AND e.low = s.low WHERE {near} GROUP BY s.row_id"
    )


def _show_altered(session: Session, layout: ColumnMap, *, any_altered: bool) -> None:
    which = "rowid IN (SELECT row_id FROM known_events WHERE is_altered)" if any_altered else "FALSE"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE altered AS SELECT {session.k}, {shown_staged(layout)} AS shown FROM staged "
        f"WHERE {which} ORDER BY {session.k} LIMIT {_SHOWN}"
    )


def _leave_out_past(work: Workspace, start: datetime | None, wanted: _Wanted) -> tuple[int, int, int]:
    """Take out of `staged` what is past, or older than what is remembered.

    Returns how many rows either is, and the newest time of the first ones.
    """
    session, begun = work.session, start or work.known.event_start
    is_past, is_kept, known = "FALSE", "FALSE", "rowid IN (SELECT row_id FROM known_events)"
    if begun is not None and wanted.only is None:
        if work.known.starts_at_date or starts_at_date(work.layout):
            # Each run leaves them out: nothing of before the date is ever sent.
            is_past = f"happened < {moment(begun)}"
        elif start is not None and start > FIRST:
            # To be told from what comes later.
            is_past = is_kept = f"happened <= {moment(begun)}"
        elif wanted.full and begun > FIRST:
            is_past = f"happened <= {moment(begun)} AND {known}"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE past AS SELECT high, low, {AT} AS second, {PRINT} AS print FROM staged "
        f"WHERE {is_kept} ORDER BY happened"
    )
    past = session.count(f"DELETE FROM staged WHERE {is_past}") if is_past != "FALSE" else 0
    newest = session.count("SELECT coalesce(max(second), 0) FROM past")
    forgotten = 0
    if work.known.forgotten_before and wanted.only is None:
        # What was rejected has not been sent, however old it is.
        is_open = f"EXISTS (SELECT 1 FROM rejections r WHERE {session.same_keys('staged', 'r')})"
        old = f"{AT} < {work.known.forgotten_before} AND nulled IS NOT NULL AND NOT ({known}) AND NOT {is_open}"
        forgotten = session.count(f"DELETE FROM staged WHERE {old}")
    return past, forgotten, newest


def _put_in_order(session: Session) -> None:
    """Let `staged` be in the order of its times, in which events of one person are to arrive."""
    before = "SELECT happened, lag(happened) OVER () AS before FROM staged"
    if not session.any(f"SELECT 1 FROM ({before}) WHERE happened < before"):
        return
    session.execute(
        f"CREATE TEMP TABLE ordered AS SELECT * FROM staged ORDER BY happened, {session.k}; DROP TABLE staged; "
        "ALTER TABLE ordered RENAME TO staged"
    )
    # Rows have other places now.
    _find_known(session)


def _find_changes(session: Session, wanted: _Wanted) -> None:
    """Fill `changes`, `resent` and `restated`, as Difference has them."""
    k, which = session.k, f" AND {session.is_key(wanted.only)}" if wanted.only is not None else ""
    known = "rowid IN (SELECT row_id FROM known_events)" if wanted.again else "FALSE"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE changes AS SELECT {k}, 'added' AS change, rowid AS row_id, "
        "NULL::BIGINT AS person, NULL::UINTEGER AS first_run "
        f"FROM staged WHERE nulled IS NOT NULL AND NOT ({known}){which}"
    )
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE resent AS SELECT {k}, rowid AS row_id, FALSE AS restores "
        f"FROM staged WHERE (nulled IS NULL OR {known}){which}"
    )
    session.execute(f"CREATE OR REPLACE TEMP TABLE restated AS SELECT {k}, fingerprint FROM staged LIMIT 0")


def altered_sample(difference: Difference, rows: int) -> list[tuple[str, str, str | None, str | None]]:
    """At most *rows* events that changed after they were sent, as `Difference.sample` has changes."""
    session = difference.work.session
    found = session.rows(f"SELECT {session.key_text}, shown FROM altered ORDER BY {session.k} LIMIT {rows}")
    return [("altered", key, None, shown) for key, shown in found]
