"""Rows that another sync, which feeds the same entities no more, may have written over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb

from syncer.model.errors import RunInProgressError
from syncer.model.types import ValueForm
from syncer.snapshot import file
from syncer.snapshot.ledger import Writer, WriterState
from syncer.snapshot.session import Session, signature_of
from syncer.snapshot.values import ColumnType, as_sent


def find(
    session: Session,
    folder: Path,
    writers: Mapping[str, Writer],
    known: Mapping[str, str],
    state_of: Callable[[str], WriterState],
    form: ValueForm,
) -> tuple[dict[str, str], list[str]]:
    """Fill `overwritten` (k…) with rows that syncs may have written over which feed the same entities no more.

    Shapes:
        folder: of the snapshots.
        known: what was returned when these were looked for last: sync to what it did last, as far as that was followed.
        returns: the new *known*, and notes for the run.
    """
    session.execute(f"CREATE OR REPLACE TEMP TABLE overwritten AS SELECT {session.k} FROM snapshot LIMIT 0")
    if not session.any("SELECT 1 FROM snapshot"):
        # Whatever they wrote, this sync will have written later.
        return {sync: one.claim for sync, one in writers.items()}, []
    names = {name for (name,) in session.rows("SELECT name FROM columns")}
    is_whole = not session.target.entity.traits.merges
    claims = {sync: one.claim for sync, one in writers.items() if is_whole or names & one.attributes}
    dealt = {sync: claim for sync, claim in known.items() if claims.get(sync) == claim}
    notes: list[str] = []
    for sync in sorted(claims.keys() - dealt.keys()):
        found = state_of(sync)
        mark = claims[sync] if found is WriterState.GONE else str(found)
        if found is WriterState.FEEDS or not (mark == known.get(sync) or _add(session, folder, sync, notes, form)):
            continue
        dealt[sync] = mark
    return dealt, notes


def _add(session: Session, folder: Path, sync: str, notes: list[str], form: ValueForm) -> bool:
    """Add the rows that one sync may have changed; False if that cannot be known now.

    The sync's own snapshot knows what it wrote: where that has the same values of what both write, the row is as it
    was. Without it every row may differ.
    """
    k, path = session.k, folder / f"{sync}.duckdb"
    session.execute(f"CREATE OR REPLACE TEMP TABLE agreeing AS SELECT {k} FROM snapshot LIMIT 0")
    if path.exists():
        try:
            with file.attached(session.connection, path, sync=sync) as other:
                _find_agreeing(session, other, form)
        except RunInProgressError:
            return False
        except duckdb.Error:
            pass
    rows = session.count(f"INSERT INTO overwritten SELECT {k} FROM snapshot ANTI JOIN agreeing USING ({k})")
    if rows:
        notes.append(
            f"`{sync}` fed the same until it was removed, renamed or disabled; rows that are sent again since it may "
            f"have changed them: {rows:,}"
        )
    return True


def _find_agreeing(session: Session, other: str, form: ValueForm) -> None:
    found = session.rows(f"SELECT value FROM {other}.meta WHERE name = 'target'")
    if found != [(signature_of(session.target),)]:
        return
    mine, theirs = (_columns(session, schema, side, form) for schema, side in (("", "s"), (f"{other}.", "o")))
    names = mine.keys() & theirs.keys() if session.target.entity.traits.merges else mine.keys() | theirs.keys()
    equal = [f"{mine.get(n, 'NULL')} IS NOT DISTINCT FROM {theirs.get(n, 'NULL')}" for n in sorted(names)]
    session.execute(
        f"INSERT INTO agreeing SELECT {session.keys_of('s')} FROM snapshot s "
        f"JOIN {other}.snapshot o ON {session.same_keys('s', 'o')} "
        f"ANTI JOIN {other}.in_doubt d ON {session.same_keys('s', 'd')} WHERE {' AND '.join(equal or ['TRUE'])}"
    )


def _columns(session: Session, schema: str, side: str, form: ValueForm) -> dict[str, str]:
    """Attribute to the SQL of its value as the store is sent it."""
    rows = session.rows(f"SELECT name, physical, kind FROM {schema}columns")
    return {name: as_sent(ColumnType(kind), f"{side}.{physical}", form) for name, physical, kind in rows}
