"""Values that a sync holds back: `attributes.yml` says that another one's counts more, and that has a value.

A value that is held back is compared, kept and shown like any other, but neither sent nor unset: in the snapshot it is
what the query says, whatever the store has. When nothing counts more any longer, its row is sent again.

Temporary tables of a run, beside the table `held` (k1, attributes) of the file:

    rivals   k1, other, kind, person, attributes: the people of other syncs whose values count more, by the key that
             this sync would have for them, by theirs, of a kind, and by the store's number; NULL where it is not known
    holding  k1, attributes: what is held back, of the rows that were looked at: all, or those that differ
    unset    k1, attributes: what this sync has delivered, and is NULL now. Nothing else of an attribute that several
             syncs may write is unset by a NULL: the value is another one's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from syncer.model.errors import DefinitionError
from syncer.model.types import PersonKey
from syncer.snapshot import touched
from syncer.snapshot.cells import columns_of
from syncer.snapshot.columns import ColumnMap, StoredColumn
from syncer.snapshot.identifiers import key_of
from syncer.snapshot.rivals import Rivals as Rivals
from syncer.snapshot.session import Session
from syncer.snapshot.values import literal

#: As `NumbersPeople.whereabouts`, for the target of the sync.
Whereabouts = Callable[[pa.Table], pa.Table]


def find(rivals: Rivals) -> None:
    """Fill `holding` for the rows of the snapshot, if it may be another than `held`."""
    if not rivals.is_changed:
        return
    session = rivals.session
    rivals.load()
    columns = {c.name: c for c in columns_of(session, "") if c.name in {*PersonKey}}
    texts = {name: key_of(name, c.kind, f"s.{c.physical}") for name, c in columns.items()}
    _fill(session, "snapshot s", "s.person", texts)


def doubt(rivals: Rivals, followers: Mapping[str, Mapping[str, bool]], *, before: str) -> str:
    """Put in doubt what is held back no longer, and what others wrote over before they counted less.

    After `find`, and part of the caller's transaction.

    Shapes:
        followers: as for `Ledger.follow_sources`.
        before: what this returned when it was called last; empty if it never was.
    """
    if rivals.is_changed:
        _let_go(rivals.session)
    known = json.loads(before or "{}")
    # Those that began after the rule hold back what counts less.
    wrote = {name: {sync for sync, has_written in of.items() if has_written} for name, of in followers.items()}
    _doubt_values(rivals.session, [name for name, syncs in wrote.items() if syncs - {*known.get(name, ())}])
    return json.dumps({name: sorted(syncs) for name, syncs in followers.items()}) if followers else ""


def _fill(session: Session, rows: str, person: str, texts: Mapping[str, str]) -> None:
    """Fill `holding` with those of *rows* s.

    Shapes:
        person: SQL for the number of the person whom a row reaches; NULL where it is not known.
        texts: kind of identifier to the SQL for that of a row, beside the key.
    """
    mine, ways = str(session.target.person), ["s.k1 = r.k1"]
    others = {kind for (kind,) in session.rows("SELECT DISTINCT kind FROM rivals")} - {mine}
    if others:
        ways.append(f"r.kind <> {literal(mine)} AND {person} = r.person")
        ways += [f"r.kind = {literal(kind)} AND {text} = r.other" for kind, text in texts.items() if kind in others]
    found = " UNION ALL ".join(f"SELECT s.k1, r.attributes FROM {rows} JOIN rivals r ON {way}" for way in ways)
    session.execute(f"CREATE OR REPLACE TEMP TABLE holding AS {found}")
    if session.any("SELECT 1 FROM holding GROUP BY k1 HAVING count(*) > 1"):
        together = (
            "SELECT k1, list_sort(list_distinct(flatten(list(attributes)))) AS attributes FROM holding GROUP BY k1"
        )
        session.execute(f"CREATE OR REPLACE TEMP TABLE holding AS {together}")


def _let_go(session: Session) -> None:
    """Put the rows in doubt of which a value is held back no longer; part of the caller's transaction.

    As with an attribute that another sync unset, no more is in doubt than that the store lacks it.
    """
    if not session.has_table("held"):
        return
    is_gone = "NOT list_contains(coalesce(n.attributes, []), name)"
    let_go = f"len(list_filter(h.attributes, lambda name: {is_gone})) > 0"
    touched.doubt_in_part(session, f"s.k1 IN (SELECT h.k1 FROM held h LEFT JOIN holding n USING (k1) WHERE {let_go})")


def keep(rivals: Rivals, layout: ColumnMap) -> None:
    """Let `held` have what `holding` has, and fill `unset`; part of the caller's transaction."""
    session = rivals.session
    _find_unset(session, layout)
    session.execute("CREATE TABLE IF NOT EXISTS held (k1 VARCHAR, attributes VARCHAR[])")
    if not session.has_table("holding"):
        return
    if not rivals.is_changed:
        session.execute("DELETE FROM held USING staged s WHERE held.k1 = s.k1; INSERT INTO held FROM holding")
    elif session.any("(FROM held EXCEPT FROM holding) UNION ALL (FROM holding EXCEPT FROM held)"):
        session.execute("DELETE FROM held; INSERT INTO held FROM holding")


def _doubt_values(session: Session, attributes: Sequence[str]) -> None:
    """Put the rows in doubt that have a value of one of the *attributes*; part of the caller's transaction."""
    rows = session.rows("SELECT physical FROM columns WHERE list_contains(?, name)", [[*attributes]])
    if rows:
        touched.doubt_in_part(session, " OR ".join(f"s.{physical} IS NOT NULL" for (physical,) in rows))


def compare(rivals: Rivals, layout: ColumnMap, whereabouts: Whereabouts | None) -> None:
    """Fill `holding` for the rows of the result too, and let the snapshot have what they hold back.

    Shapes:
        whereabouts: None where the store gives people no numbers.
    Raises:
        DefinitionError: nothing tells which rows of two syncs are about the same person.
        RunInProgressError: one of the rivals runs now.
    """
    session = rivals.session
    if not session.any("SELECT 1 FROM staged"):
        return
    if not rivals.is_changed:
        rivals.load("SELECT k1 FROM staged")
    columns = {c.name: c for c in layout.fed if c.name in {*PersonKey}}
    _check_names(session, layout, columns, numbers=whereabouts is not None)
    texts = {name: key_of(name, c.type, f"s.{c.staged()}") for name, c in columns.items()}
    if rivals.is_changed:
        session.execute(
            "CREATE OR REPLACE TEMP TABLE others AS FROM holding ANTI JOIN (SELECT k1 FROM staged) USING (k1)"
        )
    _fill(session, _numbered(session, whereabouts), "s.number", texts)
    if rivals.is_changed:
        session.execute("INSERT INTO holding FROM others; DROP TABLE others")
    _adopt(session, layout)


def _check_names(session: Session, layout: ColumnMap, columns: Mapping[str, StoredColumn], *, numbers: bool) -> None:
    if numbers:
        return
    mine = session.target.person
    for (kind,) in session.rows("SELECT kind FROM rivals GROUP BY kind HAVING count(k1) = 0"):
        if kind != mine and kind not in columns:
            definition = layout.schema.definition
            raise DefinitionError(
                f"`{definition.name}` knows people by {mine}, and a sync whose values count more by {kind}: nothing "
                "tells which of their rows are about the same person",
                path=definition.path,
                line=definition.lines.get("person", 1),
                hint=f"Return the column `{kind}` here, or `{mine}` there.",
            )


def _numbered(session: Session, whereabouts: Whereabouts | None) -> str:
    """SQL for the staged rows s, with the number of the person whom each reaches."""
    is_wanted = session.any(f"SELECT 1 FROM rivals WHERE kind <> {literal(str(session.target.person))} AND person > 0")
    if whereabouts is None or not is_wanted:
        return "(SELECT *, NULL::BIGINT AS number FROM staged) s"
    keys = session.connection.sql("SELECT DISTINCT k1, NULL::BIGINT AS person FROM staged").to_arrow_table()
    session.connection.register("found", whereabouts(keys))
    session.execute("CREATE OR REPLACE TEMP TABLE numbered AS SELECT k1, named FROM found WHERE named IS NOT NULL")
    session.connection.unregister("found")
    return "(SELECT staged.*, numbered.named AS number FROM staged LEFT JOIN numbered USING (k1)) s"


def _adopt(session: Session, layout: ColumnMap) -> None:
    """Let the snapshot have the values that the result's rows hold back: nothing differs then."""
    keeps = " AND s.{c} IS NOT NULL" if layout.schema.keeps_nulls else ""
    for column in layout.fed:
        if column.was is column.type and column.name in layout.schema.definition.rules:
            c = column.physical
            session.execute(
                f"UPDATE snapshot SET {c} = s.{c} FROM (SELECT k1, {c} FROM staged SEMI JOIN (SELECT k1 FROM holding "
                f"WHERE list_contains(attributes, {literal(column.name)})) USING (k1)) s WHERE s.k1 = snapshot.k1 "
                f"AND s.{c} IS DISTINCT FROM snapshot.{c}{keeps.format(c=c)}"
            )


def _find_unset(session: Session, layout: ColumnMap) -> None:
    """Fill `unset`."""
    shared = [c for c in _shared(layout) if c.fed is not None and c.was is c.type]
    gone = [
        f"CASE WHEN s.{c.physical} IS NULL AND b.{c.physical} IS NOT NULL THEN {literal(c.name)} END" for c in shared
    ]
    names = f"list_filter([{', '.join(gone) or 'NULL'}], lambda name: name IS NOT NULL)"
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE unset AS SELECT * FROM (SELECT s.k1, {names} AS attributes FROM staged s "
        "JOIN snapshot b ON b.k1 = s.k1) WHERE len(attributes) > 0"
    )


def _shared(layout: ColumnMap) -> list[StoredColumn]:
    """The columns of attributes that several syncs may write."""
    rules = layout.schema.definition.rules
    return [c for c in layout.columns if c.name in rules and len(rules[c.name].sources) > 1 and not c.is_visitor]


@dataclass(frozen=True, slots=True)
class Sending:
    """What rows of a run send and unset of the attributes that several syncs may write, as SQL."""

    #: The columns of the file.
    shared: frozenset[str]

    def beside(self, rows: str) -> str:
        """What to join to *rows*."""
        if not self.shared:
            return ""
        return f" LEFT JOIN held h ON h.k1 = {rows}.k1 LEFT JOIN unset u ON u.k1 = {rows}.k1"

    def unless_held(self, value: str, column: StoredColumn) -> str:
        """A *value* of a row; NULL where the row holds the column back."""
        return f"CASE WHEN NOT {is_held(column)} THEN {value} END" if column.physical in self.shared else value

    def if_unset(self, value: str, column: StoredColumn, doubted: str) -> str:
        """A *value* where the row unsets a column of its own; *doubted*: SQL for whether it was in doubt."""
        if column.physical not in self.shared or column.fed is None:
            return self.unless_held(value, column)
        unsets = f"({doubted} OR coalesce(list_contains(u.attributes, {literal(column.name)}), FALSE))"
        return f"CASE WHEN NOT {is_held(column)} AND {unsets} THEN {value} END"


def sending(layout: ColumnMap) -> Sending:
    """That of a run."""
    return Sending(frozenset(c.physical for c in _shared(layout)))


def is_held(column: StoredColumn) -> str:
    """SQL for whether a row beside `held`, as h, holds an attribute back."""
    return f"coalesce(list_contains(h.attributes, {literal(column.name)}), FALSE)"


def overtaken(session: Session, layout: ColumnMap, attributes: Collection[str], *, in_doubt: bool) -> str:
    """SQL for the rows of the outbox (seq, k1, person) that may have written over what counts more; empty if none can.

    *in_doubt*: those that hold a value back, and were in doubt, so that an earlier run may have sent it; else those
    that send a value of one of the *attributes*.
    """
    columns = [c for c in layout.fed if c.name in attributes]
    held = [f"({c.physical} IS NOT NULL AND {'' if in_doubt else 'NOT '}{is_held(c)})" for c in columns]
    if not held or not session.has_table("held"):
        return ""
    which = "AND o.doubted AND NOT o.restores " if in_doubt else ""
    return (
        "SELECT o.seq, o.k1, NULL::BIGINT AS person FROM outbox o JOIN staged ON staged.rowid = o.row_id "
        f"LEFT JOIN held h ON h.k1 = o.k1 WHERE o.action = 'put' {which}AND ({' OR '.join(held)})"
    )
