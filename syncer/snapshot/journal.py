"""What a run writes to a ledger's tables, in a transaction: its intent, the verdicts, the settled snapshot."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pyarrow as pa

from syncer.model.types import Action, OnRemoved
from syncer.snapshot import devices, handover, refusals
from syncer.snapshot.columns import ColumnMap, StoredColumn, in_file
from syncer.snapshot.ledger import Intent
from syncer.snapshot.session import Session


def write_intent(session: Session, layout: ColumnMap, intent: Intent) -> int:
    """Put everything about to be sent into `outbox`, in the shape of this run; returns how many rows it has."""
    if session.any("SELECT 1 FROM left_rows"):
        from syncer.snapshot import history

        history.forget(session, before=intent.forget_before)
    if intent.is_empty:
        return 0
    schema, number = layout.schema, session.count("SELECT coalesce(max(number), 0) + 1 FROM sent_runs")
    if schema.definition.incremental and not (intent.is_partial or intent.only_some):
        _forget_what_left(session)
    departed = not schema.sends_removals and _forget_departed(session, layout, number, intent.started_at)
    if session.has_table("departed"):
        from syncer.snapshot import departures

        departures.forget(session)
    reshape(session, layout)
    session.execute(
        f"UPDATE snapshot SET fingerprint = r.fingerprint FROM restated r WHERE {session.same_keys('snapshot', 'r')}"
    )
    rows = _fill_outbox(session, layout, number)
    if rows or departed:
        at = intent.started_at and intent.started_at.astimezone(UTC).replace(tzinfo=None)
        session.execute("INSERT INTO sent_runs VALUES (?, ?, ?)", [number, intent.claimed_by, at])
    if layout.reshaping and not intent.is_partial:
        # A row that the store does not take now stays there with the columns that it had.
        k = session.k
        session.execute(f"INSERT INTO in_doubt ({k}) SELECT {k} FROM snapshot ANTI JOIN in_doubt USING ({k})")
    if not intent.only_some:
        _forget_kept(session, incremental=schema.definition.incremental)
    if schema.definition.incremental:
        if session.target.entity.traits.names_device:
            devices.forget_moved(session)
        _keep_values(session, layout)
    return rows


def reshape(session: Session, layout: ColumnMap) -> None:
    """Give the file's tables the columns and types of this run."""
    dropped = [c for c in layout.columns if c.fed is None]
    forgotten = [c for c in dropped if c in layout.reshaping or _is_forgotten(session, c)]
    for table in ("snapshot", "kept"):
        for c in layout.columns:
            change = ""
            if c in forgotten:
                change = f"DROP COLUMN {c.physical}"
            elif c.was is None:
                change = f"ADD COLUMN {c.physical} {c.type.storage}"
            elif c.was is not c.type:
                change = f"ALTER {c.physical} TYPE {c.type.storage} USING {c.acknowledged()}"
            if change:
                session.execute(f"ALTER TABLE {table} {change}")
    session.execute("DELETE FROM columns")
    kept = [c for c in layout.columns if c not in forgotten]
    columns = [[c.name for c in kept], [c.physical for c in kept], [c.type.value for c in kept]]
    session.execute("INSERT INTO columns SELECT unnest($1), unnest($2), unnest($3)", columns)


def _is_forgotten(session: Session, column: StoredColumn) -> bool:
    """Whether no row has a value of a column that left the query, so that none can be unset."""
    query = (
        f"SELECT (SELECT count({column.physical}) FROM snapshot) + (SELECT count(*) FROM in_doubt) + "
        f"(SELECT count(*) FROM unknown WHERE list_contains(attributes, '{column.physical}'))"
    )
    return session.count(query) == 0


def _fill_outbox(session: Session, layout: ColumnMap, number: int) -> int:
    """Write down every row that run *number* is about to send, removals first; values stay in `staged`, by `row_id`."""
    schema, k = layout.schema, session.k
    keys = ", ".join(f"{key} VARCHAR" for key in session.keys)
    session.execute(
        f"CREATE TABLE outbox (seq BIGINT, action VARCHAR, {keys}, row_id BIGINT, known BOOLEAN, person BIGINT, "
        "doubted BOOLEAN, restores BOOLEAN, change VARCHAR, first_run UINTEGER); "
        "CREATE TABLE verdicts (seq BIGINT, verdict VARCHAR, reason VARCHAR)"
    )
    rows = 0
    if schema.sends_removals:
        deletes = schema.definition.on_removed is OnRemoved.DELETE or not session.target.entity.traits.merges
        action = Action.DELETE if deletes else Action.CLEAR
        # A store finds them one after the other.
        rows = session.count(
            f"INSERT INTO outbox SELECT row_number() OVER (ORDER BY person), '{action}', {k}, NULL, TRUE, person, "
            "FALSE, FALSE, change, NULL FROM changes WHERE change = 'removed'"
        )
    parts = [""]
    if not schema.unique:
        session.execute("CREATE OR REPLACE TEMP TABLE waiting (row_id BIGINT, gives VARCHAR)")
    else:
        handover.find_waiting(session, layout)
        # Those that wait come last.
        parts = [f" {join} JOIN waiting USING (row_id)" for join in ("ANTI", "SEMI")]
    doubted = f"EXISTS (SELECT 1 FROM in_doubt d WHERE {session.same_keys('o', 'd')})"
    # Most runs begin without doubt.
    is_doubted = doubted if session.any("SELECT 1 FROM in_doubt") else "FALSE"
    sources = [
        f"SELECT {k}, row_id, change <> 'added' AS known, FALSE AS restores, change, "
        f"CASE WHEN change = 'added' THEN {number} ELSE first_run END AS run FROM changes WHERE change <> 'removed'"
    ]
    if session.any("SELECT 1 FROM resent"):
        sources.append(
            f"SELECT {session.keys_of('r')}, row_id, TRUE AS known, restores, 'resent' AS change, "
            f"CASE WHEN b.k1 IS NULL THEN {number} ELSE b.first_run END AS run "
            f"FROM resent r LEFT JOIN snapshot b ON {session.same_keys('r', 'b')}"
        )
    # A first load is in the order in which it was staged; in that order a batch is in one place there.
    order = "ORDER BY row_id" if session.any("SELECT 1 FROM snapshot") else ""
    for part, source in itertools.product(parts, sources):
        rows += session.count(
            f"INSERT INTO outbox SELECT {rows} + row_number() OVER ({order}), '{Action.PUT}', {k}, row_id, known, "
            f"NULL, {is_doubted}, restores, change, run FROM ({source}) o{part}"
        )
    if session.any("SELECT 1 FROM in_doubt WHERE unset"):
        # Without an answer, more is in doubt of what is sent with its NULLs.
        session.execute(
            "UPDATE in_doubt SET unset = NULL FROM outbox o "
            f"WHERE in_doubt.unset AND NOT o.restores AND {session.same_keys('in_doubt', 'o')}"
        )
    if not schema.definition.incremental:
        # Where the store rejects them, only this makes the next run send them again.
        session.execute(f"INSERT INTO in_doubt ({k}) SELECT {k} FROM resent ANTI JOIN in_doubt USING ({k})")
    return rows


def _forget_kept(session: Session, *, incremental: bool) -> None:
    """Drop the values that are no longer the newest: the result has the key, or is complete."""
    k = session.k
    returned = f"(SELECT {k} FROM staged UNION ALL SELECT {k} FROM quarantined)"
    which = f" USING {returned} s WHERE {session.same_keys('kept', 's')}" if incremental else ""
    session.execute(f"DELETE FROM kept{which}")


def _keep_values(session: Session, layout: ColumnMap) -> None:
    """Keep the values that an incremental query will not return again."""
    session.execute(f"DELETE FROM kept USING outbox o WHERE {session.same_keys('kept', 'o')}")
    columns = session.k + "".join(f", {c.physical}" for c in layout.fed)
    # Of who is to move the query is asked again, as no table keeps from where.
    which = "" if layout.schema.previous is None else " WHERE previous IS NULL"
    session.execute(
        f"INSERT INTO kept ({columns}) SELECT {columns} FROM staged "
        f"SEMI JOIN (SELECT row_id FROM outbox) o ON staged.rowid = o.row_id{which}"
    )


def _forget_departed(session: Session, layout: ColumnMap, number: int, at: datetime | None) -> bool:
    """Drop rows that left the result where that means nothing to the store; returns whether there were any."""
    departed = f"(SELECT {session.k} FROM changes WHERE change = 'removed')"
    if not session.any(f"SELECT 1 FROM {departed}"):
        return False
    from syncer.snapshot import history

    history.remember_left(session, layout, departed, number=number, at=at)
    for table in ("snapshot", "in_doubt"):
        same = session.same_keys(table, "d")
        session.execute(f"DELETE FROM {table} USING changes d WHERE d.change = 'removed' AND {same}")
    return True


def _forget_what_left(session: Session) -> None:
    """Drop what is in doubt, or to be sent again, and left an incremental query's whole result: its value is old."""
    k, lacks = session.k, "NOT EXISTS (SELECT 1 FROM returned r WHERE {})"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE returned AS SELECT {k} FROM staged UNION ALL SELECT {k} FROM quarantined"
    )
    doubted = f"EXISTS (SELECT 1 FROM in_doubt d WHERE {session.same_keys('snapshot', 'd')})"
    session.execute(f"DELETE FROM snapshot WHERE {doubted} AND {lacks.format(session.same_keys('snapshot', 'r'))}")
    for table in ("in_doubt", "kept"):
        session.execute(f"DELETE FROM {table} WHERE {lacks.format(session.same_keys(table, 'r'))}")


def write_verdicts(session: Session, layout: ColumnMap, verdicts: pa.Table) -> None:
    """Add to `verdicts`, and make the snapshot what was accepted."""
    session.connection.register("answers", verdicts)
    session.execute("CREATE OR REPLACE TEMP TABLE answered AS SELECT seq, verdict, reason, person FROM answers")
    session.connection.unregister("answers")
    session.execute("INSERT INTO verdicts SELECT seq, verdict, reason FROM answered")
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE acknowledged AS "
        f"SELECT {session.keys_of('o')}, o.action, o.row_id, o.known, o.doubted, o.person AS reached, o.first_run, "
        "a.verdict, a.person FROM outbox o JOIN answered a USING (seq) WHERE a.verdict IN ('accepted', 'absent')"
    )
    _take_over(session, layout)


def _take_over(session: Session, layout: ColumnMap) -> None:
    """Give the snapshot the values of the rows in `acknowledged`."""
    is_doubted = session.any("SELECT 1 FROM acknowledged WHERE doubted")
    is_known = session.any("SELECT 1 FROM acknowledged WHERE known")
    values = _new_values(session, layout, is_doubted=is_doubted)
    source = "acknowledged o JOIN staged s ON s.rowid = o.row_id"
    reads_old = any("b." in value for value in values.values())
    if reads_old:
        source += f" LEFT JOIN snapshot b ON {session.same_keys('o', 'b')}"
    listed = ", ".join([session.keys_of("o"), *(f"{value} AS {name}" for name, value in values.items())])
    accepted = f"SELECT {listed} FROM {source} WHERE o.action = 'put' AND o.verdict = 'accepted'"
    if reads_old:
        # The acknowledged values are read before their rows are deleted.
        session.execute(f"CREATE OR REPLACE TEMP TABLE accepted AS {accepted}")
        accepted = "SELECT * FROM accepted"
    if is_known:
        _remember_people(session, layout)
        if session.any(f"SELECT 1 FROM acknowledged WHERE action <> '{Action.PUT}'"):
            from syncer.snapshot import history

            history.remember_removed(session, layout)
        same = session.same_keys("snapshot", "t") + " AND coalesce(t.reached = snapshot.person, TRUE)"
        session.execute(f"DELETE FROM snapshot USING acknowledged t WHERE t.known AND {same}")
    session.execute(f"INSERT INTO snapshot ({', '.join([*session.keys, *values])}) {accepted}")
    if layout.schema.previous is not None:
        from syncer.snapshot import moves

        moves.forget_former(session, layout)
    if is_doubted or session.any("SELECT 1 FROM unknown"):
        _remember_unknown(session, layout)


def _remember_people(session: Session, layout: ColumnMap) -> None:
    """Keep in `left_behind` whom rows in `acknowledged` went to before; drop those whom a removal has reached."""
    if not (layout.schema.definition.target.key_may_move and layout.schema.sends_removals):
        return
    session.execute(
        f"INSERT INTO left_behind SELECT {session.keys_of('s')}, s.person "
        f"FROM acknowledged o JOIN snapshot s ON {session.same_keys('o', 's')} "
        "WHERE o.action = 'put' AND (o.verdict = 'absent' OR s.person <> o.person) AND s.person IS NOT NULL"
    )
    same = session.same_keys("left_behind", "o")
    session.execute(f"DELETE FROM left_behind USING acknowledged o WHERE o.reached = left_behind.person AND {same}")


def _remember_unknown(session: Session, layout: ColumnMap) -> None:
    """Keep in `unknown` which attributes the rows in `acknowledged` did not send though they were in doubt."""
    unsent = [f"'{c.physical}'" for c in in_file(session, layout.carried)]
    if layout.schema.keeps_nulls:
        unsent += [f"CASE WHEN s.{c.physical} IS NULL THEN '{c.physical}' END" for c in layout.fed]
    if unsent:
        session.execute(
            f"CREATE OR REPLACE TEMP TABLE unsent AS SELECT *, "
            f"CASE WHEN doubted THEN attributes ELSE list_intersect(attributes, before) END AS remaining "
            f"FROM (SELECT {session.keys_of('o')}, o.doubted, "
            f"list_filter([{', '.join(unsent)}], lambda name: name IS NOT NULL) AS attributes "
            "FROM acknowledged o JOIN staged s ON s.rowid = o.row_id "
            "WHERE o.action = 'put' AND o.verdict = 'accepted') "
            f"LEFT JOIN (SELECT {session.k}, attributes AS before FROM unknown) USING ({session.k})"
        )
    session.execute(f"DELETE FROM unknown USING acknowledged o WHERE {session.same_keys('unknown', 'o')}")
    if unsent:
        session.execute(f"INSERT INTO unknown SELECT {session.k}, remaining FROM unsent WHERE len(remaining) > 0")


def _new_values(session: Session, layout: ColumnMap, *, is_doubted: bool) -> dict[str, str]:
    """The snapshot's columns, beside the key, to the SQL of their values; s. is staged, b. is what was before.

    *is_doubted*: whether rows were in doubt; what such a row did not send is NULL, as nobody knows it.
    """
    runs = {"person": "o.person", "first_run": "o.first_run"}
    runs["last_run"] = str(session.count("SELECT max(number) FROM sent_runs"))
    fed = [c.physical for c in layout.fed]
    certain = " AND NOT o.doubted" if is_doubted else ""
    values = {"fingerprint": "s.fingerprint"} | runs | {name: f"s.{name}" for name in fed}
    if layout.schema.keeps_nulls:
        kept = " OR ".join(f"(s.{name} IS NULL AND b.{name} IS NOT NULL)" for name in fed) or "FALSE"
        values = {"fingerprint": f"CASE WHEN ({kept}){certain} THEN NULL ELSE s.fingerprint END"} | runs
        values |= {name: f"CASE WHEN s.{name} IS NULL{certain} THEN b.{name} ELSE s.{name} END" for name in fed}
    carried = [c.physical for c in in_file(session, layout.carried)]
    return values | {name: f"CASE WHEN TRUE{certain} THEN b.{name} END" for name in carried}


def settle(session: Session, intent: Intent | None, *, at: datetime) -> None:
    """Drop the outbox: what has no answer stays in doubt, what was rejected stays visible.

    *intent*: of the run that ends; None for one that died, of whose result nothing is left. A run that looked at every
    row ends older rejections, except of rows in doubt; where its result is partial, only those of the keys that it has.
    """
    k = session.k
    # Of a first load's million rows none was in doubt or rejected before: then the accepted ones matter to no table.
    left = "SELECT (SELECT count(*) FROM in_doubt) + (SELECT count(*) FROM kept) + (SELECT count(*) FROM rejections)"
    which = "" if session.count(left) else "WHERE verdict IS NULL OR verdict = 'rejected'"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE answered AS SELECT {k}, verdict, reason "
        f"FROM outbox LEFT JOIN verdicts USING (seq) {which}"
    )
    if session.any("SELECT 1 FROM outbox WHERE person IS NOT NULL"):
        from syncer.snapshot import departures

        departures.leave_to_rows(session)
    # A rejection leaves open whether an earlier send of the same row arrived.
    refusals.delete_answered(session, "in_doubt", "a.verdict IN ('accepted', 'absent')")
    # An incremental query does not return again who is absent, and may exist at the next run.
    refusals.delete_answered(session, "kept", "a.verdict = 'accepted'")
    session.execute(
        f"INSERT INTO in_doubt ({k}) SELECT {k} FROM (SELECT {k} FROM answered WHERE verdict IS NULL) "
        f"ANTI JOIN in_doubt USING ({k})"
    )
    looked_at_all = intent is not None and not intent.only_some
    if session.any("(SELECT 1 FROM absent_rows) UNION ALL (SELECT 1 FROM verdicts WHERE verdict = 'absent')"):
        from syncer.snapshot import history

        history.remember_absent(session, is_whole=looked_at_all and intent is not None and not intent.is_partial)
    refusals.settle(session, intent, at=at)
    if session.any("SELECT 1 FROM unknown"):
        session.execute(
            f"DELETE FROM unknown WHERE NOT EXISTS (SELECT 1 FROM snapshot s WHERE {session.same_keys('unknown', 's')})"
        )
    session.execute("DROP TABLE outbox; DROP TABLE verdicts; DROP TABLE answered")
