"""Rows that are not sent: repeated ones, and those in quarantine, which no store sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from syncer.snapshot import devices
from syncer.snapshot.columns import Attribute, ColumnMap
from syncer.snapshot.identifiers import key_of
from syncer.snapshot.incoming import key_sql
from syncer.snapshot.session import Session
from syncer.snapshot.spelling import is_too_deep, json_said
from syncer.snapshot.values import ColumnType, literal

#: Rows whose values are kept, so that people can see them.
_KEPT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Rows that are not sent."""

    #: Rows in `quarantined`.
    quarantined: int = 0
    #: Equal rows under one key, beyond the first of each.
    repeated: int = 0
    #: Of the rows that `staged` lacked, as they did not change: those that it has now, and repeated ones.
    no_longer_same: int = 0


def set_aside(session: Session, layout: ColumnMap, seen: Callable[[], pa.Table] | None) -> SetAside:
    """Let equal rows count once, and move those that cannot be sent from `staged` to `quarantined`.

    Shapes:
        seen: gives the keys of every row of the result, as scanned; None where no row that `staged` lacks can have the
            key of another one.
        quarantined: one line a key and reason.
        faulty: the rows themselves, as far as any are shown, with k… as in `quarantined`.
    """
    repeated, no_longer_same = _settle_repeated_keys(session, layout, seen)
    for unique in layout.schema.unique:
        _mark_shared_identifiers(session, layout, unique)
    if session.target.entity.traits.names_device:
        no_longer_same += _mark_shared_tokens(session, layout, seen)
    if layout.schema.previous is not None:
        from syncer.snapshot import moves

        moves.mark_shared(session, layout, layout.schema.previous)
    quarantined = _move_faulty_rows(session)
    return SetAside(quarantined=quarantined, repeated=repeated, no_longer_same=no_longer_same)


def _settle_repeated_keys(session: Session, layout: ColumnMap, seen: Callable[[], pa.Table] | None) -> tuple[int, int]:
    """Let equal rows count once, and mark those that differ under one key; see SetAside for what it returns."""
    k = session.k
    _find_repeated(session, seen() if seen else None, key_sql(layout.schema))
    if not session.any("SELECT 1 FROM repeated"):
        return 0, 0
    put, unseen = _complete(session, layout) if seen else (0, 0)
    _find_ambiguous(session, layout)
    session.execute(
        f"UPDATE staged SET fault = coalesce(fault, 'rows that differ share this key') FROM ambiguous a "
        f"WHERE {session.same_keys('staged', 'a')}"
    )
    among_repeated = f"FROM staged s SEMI JOIN repeated USING ({k})"
    dropped = session.count(
        f"DELETE FROM staged WHERE fault IS NULL AND rowid IN (SELECT s.rowid {among_repeated}) "
        f"AND rowid NOT IN (SELECT min(s.rowid) {among_repeated} GROUP BY {k})"
    )
    return dropped + unseen, put + unseen


def _find_repeated(session: Session, seen: pa.Table | None, key_sql: list[str]) -> None:
    """Fill `repeated` (k…, rows): the keys that the result has more than once."""
    k, usable = session.k, " AND ".join(f"{key} IS NOT NULL" for key in session.keys)
    source = "staged"
    if seen is not None:
        session.connection.register("seen", seen)
        source = (
            f"(SELECT {', '.join(f'{sql} AS {key}' for sql, key in zip(key_sql, session.keys, strict=True))} FROM seen)"
        )
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {k}, count(*) AS rows FROM {source} "
        f"WHERE {usable} GROUP BY {k} HAVING count(*) > 1"
    )
    if seen is not None:
        session.connection.unregister("seen")


def _find_ambiguous(session: Session, layout: ColumnMap) -> None:
    """Fill `ambiguous` (k…): the repeated keys whose rows are not all equal."""
    k = session.k
    differing = f"SELECT {k} FROM ({{rows}}) GROUP BY {k} HAVING count(*) > 1"
    rows = f"SELECT DISTINCT * EXCLUDE (nulled, fingerprint) FROM staged SEMI JOIN repeated USING ({k})"
    session.execute(f"CREATE OR REPLACE TEMP TABLE ambiguous AS {differing.format(rows=rows)}")
    texts = [c.physical for c in layout.fed if c.type is ColumnType.JSON]
    if not texts or not session.any("SELECT 1 FROM ambiguous"):
        return
    # One row a column, so that the look into the JSON is planned once, however many columns there are.
    spelled = ", ".join(f"{{'number': {i}, 'text': {text}}}" for i, text in enumerate(texts))
    unnested = (
        f"SELECT rowid AS row, unnest([{spelled}], recursive := true) FROM staged SEMI JOIN ambiguous USING ({k})"
    )
    readable = f"json_valid(text) AND NOT ({is_too_deep('text')})"
    valid = f"SELECT *, CASE WHEN {readable} THEN text END AS valid FROM ({unnested})"
    said = f"{{'said': {json_said('valid')}, 'invalid': CASE WHEN valid IS NULL THEN text END}}"
    rows = (
        f"SELECT DISTINCT * EXCLUDE (row, nulled, fingerprint, {', '.join(texts)}) FROM staged JOIN ("
        f"SELECT row, list({said} ORDER BY number) AS said FROM ({valid}) GROUP BY row) ON staged.rowid = row"
    )
    session.execute(f"CREATE OR REPLACE TEMP TABLE ambiguous AS {differing.format(rows=rows)}")


def _complete(session: Session, layout: ColumnMap) -> tuple[int, int]:
    """Put beside a staged row the rows of its key that `staged` lacks, which equal the snapshot's.

    Returns how many it put, and how many rows count no more though none of their key is staged.
    """
    k = session.k
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE lacking AS SELECT {k}, r.rows - coalesce(s.rows, 0) AS rows, s.rows AS staged "
        f"FROM repeated r LEFT JOIN (SELECT {k}, count(*) AS rows FROM staged GROUP BY {k}) s USING ({k}) "
        "WHERE r.rows > coalesce(s.rows, 0)"
    )
    names = "".join(f", {c.physical}" for c in layout.fed)
    values = "".join(f", {c.acknowledged()}" for c in layout.fed)
    put = session.count(
        f"INSERT INTO staged ({k}{names}, nulled) SELECT {k}{values}, 0 FROM snapshot JOIN ("
        f"SELECT {k}, unnest(range(rows)) FROM lacking WHERE staged IS NOT NULL) USING ({k})"
    )
    unseen = session.count("SELECT coalesce(sum(rows - 1), 0) FROM lacking WHERE staged IS NULL")
    return put, unseen


def _mark_shared_identifiers(session: Session, layout: ColumnMap, unique: Attribute) -> None:
    """Mark rows that would give one *unique* identifier to several people."""
    column = next(c for c in layout.fed if c.fed is unique)
    value = key_of(unique.name, column.type, column.physical)
    reason = literal(f"several rows have this `{unique.name}`")
    session.execute(
        f"UPDATE staged SET fault = {reason} WHERE fault IS NULL AND {value} IN (SELECT {value} FROM staged "
        f"WHERE {value} <> '' AND fault IS NULL GROUP BY {value} HAVING count(*) > 1)"
    )


def _mark_shared_tokens(session: Session, layout: ColumnMap, seen: Callable[[], pa.Table] | None) -> int:
    """See `devices.mark_shared`."""

    def is_returned(row: str) -> str:
        if not layout.schema.definition.incremental:
            return "TRUE"
        if seen is None:
            return "FALSE"
        keys = zip(key_sql(layout.schema), session.keys, strict=True)
        return f"EXISTS (SELECT 1 FROM seen WHERE {' AND '.join(f'{sql} = {row}.{key}' for sql, key in keys)})"

    if seen is not None:
        session.connection.register("seen", seen())
    columns = {c.physical: c.acknowledged() for c in layout.fed}
    put = devices.mark_shared(session, columns, is_returned)
    if seen is not None:
        session.connection.unregister("seen")
    return put


def _move_faulty_rows(session: Session) -> int:
    """Move rows that have a fault from `staged` to `quarantined`, one line a key and reason; returns how many rows."""
    k = session.k
    blanked = k if session.may_be_blank else ", ".join(f"nullif({key}, '') AS {key}" for key in session.keys)
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE quarantined AS SELECT {k}, min(fault) AS reason, "
        f"CAST(count(*) AS BIGINT) AS rows FROM (SELECT {blanked}, fault FROM staged WHERE fault IS NOT NULL) f "
        f"GROUP BY {k}, CASE WHEN {session.lacks_key('f')} THEN fault END"
    )
    if not session.any("SELECT 1 FROM quarantined"):
        return 0
    session.execute(
        f"INSERT INTO faulty SELECT {blanked}, * EXCLUDE ({k}) FROM staged WHERE fault IS NOT NULL "
        f"ORDER BY {k}, fault LIMIT {_KEPT}"
    )
    session.execute("DELETE FROM staged WHERE fault IS NOT NULL")
    return session.count("SELECT sum(rows) FROM quarantined")
