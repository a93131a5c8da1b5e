"""All rows of a comparison as people approve them, and whether a later comparison still finds the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from syncer.model.importing import importing
from syncer.model.json_text import differing
from syncer.model.runs import Moved
from syncer.snapshot import devices, visitors
from syncer.snapshot.columns import ColumnMap, shown_row
from syncer.snapshot.diff import Difference
from syncer.snapshot.event_rows import shown_staged
from syncer.snapshot.ledger import Workspace
from syncer.snapshot.session import Session

#: Rows that are named where a comparison does not find the same; and of which differing columns are looked for.
NAMED_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a later comparison finds of approved rows."""

    #: Only the approved rows are in it.
    difference: Difference
    #: Rows that differ now and were not approved.
    others: int
    #: The approved rows that are not found as they were, at most NAMED_ROWS, and how many there are.
    moved: tuple[Moved, ...]
    moved_rows: int
    #: Columns that have another value in every approved row that the result still has.
    columns: tuple[str, ...]


def rows_sql(work: Workspace) -> str:
    """SQL for all rows that a run would send or forget: change, k…, person, key, before, after (JSON objects), and
    of events `who` and `anonymous`, of people who may move `previous`.

    Shapes:
        change: one of Changes; `before` and `after` are NULL where there is no such row.
    """
    session, layout, k = work.session, work.layout, work.session.k
    before, after = _before(layout), shown_staged(layout)
    of_event = session.target.event is not None
    staged, own = ("who, anonymous, ", ", s.who, s.anonymous") if of_event else ("", "")
    if layout.schema.previous is not None:
        staged, own = "previous, ", ", s.previous"
    return (
        f"SELECT d.change, {session.keys_of('d')}, d.person, {session.key_text_of('d')} AS key, o.before, s.after{own} "
        f"FROM (SELECT change, {k}, person, row_id FROM changes "
        f"UNION ALL SELECT 'resent', {k}, NULL, row_id FROM resent) d "
        f"LEFT JOIN (SELECT {staged}rowid AS row_id, {after} AS after FROM staged) s ON s.row_id = d.row_id "
        f"LEFT JOIN (SELECT {k}, {before} AS before FROM snapshot) o ON {session.same_keys('d', 'o')}"
    )


def keep(difference: Difference, path: Path) -> None:
    """Write the rows of `rows_sql` to a new Parquet file."""
    with importing:
        import pyarrow.parquet as pq

    reader = difference.work.session.connection.sql(rows_sql(difference.work)).to_arrow_reader(100_000)
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)


def select(difference: Difference, approved: Path) -> Selection:
    """Compare with the rows that `keep` wrote, and drop all others from what is to be sent."""
    with importing:
        import pyarrow.parquet as pq

    work, session = difference.work, difference.work.session
    with pq.ParquetFile(approved) as file:
        session.connection.register("approved_rows", pa.Table.from_batches(file.iter_batches(), file.schema_arrow))
        session.execute("CREATE OR REPLACE TEMP TABLE approved AS SELECT * FROM approved_rows")
        session.connection.unregister("approved_rows")
    same = (
        f"{session.same_keys('p', 'n')} AND (p.change = 'removed') = (n.change = 'removed') "
        "AND p.person IS NOT DISTINCT FROM n.person"
    )
    session.execute(f"CREATE OR REPLACE TEMP TABLE found AS {rows_sql(work)}")
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE moved AS SELECT {session.keys_of('p')}, p.key, p.change, p.before, p.after, "
        f"n.change AS new_change, n.before AS new_before, n.after AS new_after FROM approved p "
        f"LEFT JOIN found n ON {same} WHERE n.change IS DISTINCT FROM p.change "
        "OR n.before IS DISTINCT FROM p.before OR n.after IS DISTINCT FROM p.after"
    )
    moved, rows = _moved(work)
    others = session.count(f"SELECT count(*) FROM found n WHERE NOT EXISTS (SELECT 1 FROM approved p WHERE {same})")
    return Selection(
        difference=_restricted(session, difference),
        others=others,
        moved=tuple(moved),
        moved_rows=rows,
        columns=_restless_columns(session) if rows else (),
    )


def _before(layout: ColumnMap) -> str:
    return shown_row([c for c in layout.compared if c.was is not None], "acknowledged")


def _moved(work: Workspace) -> tuple[list[Moved], int]:
    """The rows of `moved`, at most NAMED_ROWS, with why each moved on, and how many there are."""
    session, layout = work.session, work.layout
    rows = session.count("SELECT count(*) FROM moved")
    if not rows:
        return [], 0

    def among(table: str) -> str:
        return f"EXISTS (SELECT 1 FROM {table} t WHERE {session.same_keys('m', 't')})"

    # Of a row that is no change any more, the snapshot tells what it has now; the rest is the warehouse's answer.
    acknowledged = f"(SELECT any_value({_before(layout)}) FROM snapshot t WHERE {session.same_keys('m', 't')})"
    is_answered = f"{among('staged')} OR {among('quarantined')}"
    why = (
        "CASE WHEN m.new_change IS NOT NULL AND (m.new_before IS DISTINCT FROM m.before "
        "OR m.new_after IS NOT DISTINCT FROM m.after) THEN 'snapshot' "
        "WHEN m.new_change IS NOT NULL THEN 'warehouse' "
        f"WHEN {acknowledged} IS DISTINCT FROM m.before THEN 'snapshot' "
        f"WHEN m.change = 'resent' AND NOT ({among('gone')} OR {among('quarantined')}) THEN 'snapshot' "
        f"WHEN m.change = 'removed' AND m.before IS NULL AND NOT ({is_answered}) THEN 'snapshot' "
        "ELSE 'warehouse' END"
    )
    found = session.rows(f"SELECT m.key, {why} FROM moved m ORDER BY {session.keys_of('m')} LIMIT {NAMED_ROWS}")
    return [Moved(key, reason) for key, reason in found], rows


def _restless_columns(session: Session) -> tuple[str, ...]:
    """The columns that differ in every approved row that the result still has."""
    is_still_there = "SELECT 1 FROM approved p JOIN found n ON {} WHERE p.after = n.after AND n.change <> 'removed'"
    if session.any(is_still_there.format(session.same_keys("p", "n"))):
        return ()
    pairs = session.rows(
        "SELECT after, new_after FROM moved WHERE after IS NOT NULL AND new_after IS NOT NULL "
        f"AND before IS NOT DISTINCT FROM new_before LIMIT {NAMED_ROWS}"
    )
    names = [{name for name, old, new in differing(old_row, new_row) if old != new} for old_row, new_row in pairs]
    return tuple(sorted(set.intersection(*names))) if names else ()


def _restricted(session: Session, difference: Difference) -> Difference:
    """Keep the approved rows alone in `changes` and `resent`; nothing else that the comparison found is written."""
    for table, change in (("changes", "changes.change"), ("resent", "'resent'")):
        person = " AND p.person IS NOT DISTINCT FROM changes.person" if table == "changes" else ""
        session.execute(
            f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM approved p WHERE p.change = {change} "
            f"AND {session.same_keys('p', table)}{person})"
        )
    session.execute("DELETE FROM restated")
    session.execute("DROP TABLE IF EXISTS temp.departed")
    counts = dict(session.rows("SELECT change, count(*) FROM changes GROUP BY change"))
    added, changed = counts.get("added", 0), counts.get("changed", 0)
    left_out = difference.added - added + difference.changed - changed
    return replace(
        difference,
        added=added,
        changed=changed,
        removed=counts.get("removed", 0),
        unchanged=difference.unchanged + left_out,
        sent_again=session.count("SELECT count(*) FROM resent"),
        unaddressed=0,
        moved=devices.moved_rows(session) if session.target.entity.traits.names_device else 0,
        intent=replace(difference.intent, only_some=True),
    )


def puts(difference: Difference) -> pa.Table:
    """The rows that a run would put: k… and `key`, as people see it; of events also `who` and `anonymous`.

    Of people who claim visitors, also `anonymous`; of those who may move also `previous`.
    """
    session = difference.work.session
    keys = f"SELECT {session.k} FROM changes WHERE change <> 'removed' UNION ALL SELECT {session.k} FROM resent"
    if session.target.event is not None:
        who = f"SELECT {session.k}, who, anonymous FROM staged"
        keys = f"SELECT {session.k}, who, anonymous FROM ({keys}) JOIN ({who}) USING ({session.k})"
    layout = difference.work.layout
    own = [f"{visitors.COLUMN} AS anonymous"] if any(column.is_visitor for column in layout.fed) else []
    own += [] if layout.schema.previous is None else ["previous"]
    if own:
        keys = f"SELECT * FROM ({keys}) JOIN (SELECT {session.k}, {', '.join(own)} FROM staged) USING ({session.k})"
    query = f"SELECT *, {session.key_text} AS key FROM ({keys}) ORDER BY {session.k}"
    return session.connection.sql(query).to_arrow_table()


def quarantined(difference: Difference) -> list[tuple[str, str]]:
    """Keys and reasons of rows that no store would see, at most NAMED_ROWS; the key is empty where there is none."""
    session = difference.work.session
    return session.rows(
        f"SELECT CASE WHEN {session.lacks_key('quarantined')} THEN '' ELSE {session.key_text} END, reason "
        f"FROM quarantined ORDER BY {session.k} LIMIT {NAMED_ROWS}"
    )


def found(difference: Difference, text: str, limit: int | None) -> list[tuple[str, str, str | None, str | None]]:
    """The rows whose key or values contain *text*, whatever its case, as `Difference.sample` has them.

    *limit*: how many of each kind of change; None for all.
    """
    session = difference.work.session
    rows = (
        f"SELECT * FROM ({rows_sql(difference.work)}) WHERE concat_ws(' ', key, before, after) ILIKE $text ESCAPE '!'"
    )
    if limit is not None:
        rows += f" QUALIFY row_number() OVER (PARTITION BY change ORDER BY {session.k}) <= {limit}"
    pattern = re.sub("([!%_])", r"!\1", text)
    query = f"SELECT change, key, before, after FROM ({rows}) ORDER BY change, {session.k}"
    return session.rows(query, {"text": f"%{pattern}%"})


def export(difference: Difference, path: Path) -> None:
    """Write all rows to a file: change, key, before, after; as CSV with a heading, or a JSON object a line.

    Raises:
        OSError: it cannot be written.
    """
    work, connection = difference.work, difference.work.session.connection
    every = f"SELECT change, key, before, after FROM ({rows_sql(work)}) ORDER BY change, {work.session.k}"
    if path.suffix == ".csv":
        from pyarrow import csv

        reader = connection.sql(every).to_arrow_reader(100_000)
        with csv.CSVWriter(path, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
        return
    lines = (
        """SELECT '{"change": ' || to_json(change) || ', "key": ' || to_json(key) || ', "before": ' """
        f"""|| coalesce(before, 'null') || ', "after": ' || coalesce(after, 'null') || '}}' AS line FROM ({every})"""
    )
    with path.open("w", encoding="utf-8") as file:
        for batch in connection.sql(lines).to_arrow_reader(100_000):
            file.writelines(f"{line}\n" for line in batch["line"].to_pylist())
