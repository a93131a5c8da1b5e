"""A snapshot beside what its store contains: the rows that differ, are missing, or should not be there.

Temporary tables of the session have what is compared:

    wanted   k…, row_id: the rows of the snapshot that are looked at
    stored   k… (NULL where no row of the sync can have that key), id, email, phone, cio_id, object_id, key, token,
             platform, last_used, said: what the store contains; `said` is the JSON of the attributes by
             `numbers_as_text`
    cells    k…, name, mine, theirs: attributes that differ, as JSON by `numbers_as_text`, and claims that are lost
    missing  k…
    surplus  k…, shown (the key for people), row_id (of `stored`): what the store contains beyond the sync's rows
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from syncer.model.errors import RunInProgressError, SnapshotError
from syncer.model.spelling import numbers_as_text
from syncer.model.types import Entity, PersonKey, Removed, ValueForm
from syncer.snapshot import claims, file
from syncer.snapshot.announced import find_removed
from syncer.snapshot.cells import Cells, Rules, columns_of, pointer
from syncer.snapshot.session import Session, target_of
from syncer.snapshot.touched import is_unset
from syncer.snapshot.values import ColumnType, as_key, literal

_NAMES = ("id", "email", "phone", "cio_id", "object_id", "key", "token", "platform", "last_used")
#: Tables of a ledger that name rows which are the sync's own.
_OWN = ("snapshot", "in_doubt", "rejections")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows by what is wrong with them, and of each the first keys, as people read them."""

    different: int
    missing: int
    extra: int
    #: The attributes that differ beside the key.
    different_keys: list[tuple[str, list[str]]]
    missing_keys: list[str]
    extra_keys: list[str]
    #: Rows that are different or missing, and in doubt anyway.
    in_doubt: int


class StoreComparison:
    """One look at what a store contains, within the lock of the snapshot."""

    def __init__(self, session: Session, rules: Rules) -> None:
        self._session = session
        self._cells = Cells([c for c in columns_of(session, "") if rules.is_known(c)], rules)

    @property
    def may_move(self) -> bool:
        """Whether another sync may take a row to somebody else, as the token of a device."""
        return self._session.target.entity.traits.names_device

    def want(self, rows: int | None) -> int:
        """Choose that many rows to look at, at random, or all of them; returns how many there are."""
        sample = "" if rows is None else f" USING SAMPLE reservoir({rows} ROWS)"
        source = f"SELECT {self._session.k}, rowid AS row_id FROM snapshot{sample}"
        self._session.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS {source}")
        return self._session.count("SELECT count(*) FROM wanted")

    def keys(self, removed: Removed | None) -> pa.Table:
        """The keys of those rows, and those of what the sync *removed*, as far as the snapshot remembers them."""
        session, query = self._session, f"SELECT {self._session.k} FROM wanted"
        if removed is None:
            return session.connection.sql(query).to_arrow_table()
        left = f"SELECT {session.k} FROM left_rows UNION ALL SELECT {session.k} FROM in_doubt"
        find_removed(session, removed.sets, left, names=[session.own_name])
        parts = [f"json_extract_string(value, '$[{i}]')" for i in range(len(session.keys))]
        entity, kind, _ = session.entity
        query += f" UNION SELECT {', '.join((parts[1:] and parts) or ['value'])} FROM removed "
        query += f"WHERE entity = {entity} AND kind = {kind}"
        return session.connection.sql(query).to_arrow_table()

    def read(self, contained: Iterable[pa.Table]) -> None:
        """Read what the store contains (see `ReadsBack.contained`) to its end."""
        session = self._session
        names = ", ".join(f"{name} VARCHAR" for name in (*session.keys, *_NAMES, "said"))
        session.execute(f"CREATE OR REPLACE TEMP TABLE stored ({names})")
        for part in contained:
            self._add(part)

    def compare(self) -> None:
        """Find the rows that are missing, and the attributes that differ; nothing is extra yet."""
        session, k = self._session, self._session.k
        self.find_nothing_extra()
        session.execute(f"CREATE OR REPLACE TEMP TABLE missing AS SELECT {k} FROM wanted ANTI JOIN stored USING ({k})")
        none = f"SELECT {k}, '' AS name, '' AS mine, '' AS theirs FROM wanted LIMIT 0"
        session.execute(f"CREATE OR REPLACE TEMP TABLE cells AS {none}")
        if not self._cells.columns:
            return
        kept = [literal(c.name) for c in self._cells.columns if not self._cells.clears(c)]
        counts = f"mine IS NOT NULL OR name NOT IN ({', '.join(kept)})" if kept else "TRUE"
        rows = "snapshot h SEMI JOIN wanted w ON h.rowid = w.row_id"
        session.execute(
            f"INSERT INTO cells SELECT {k}, name, {self._cells.value('mine')}, {self._cells.value('theirs')} FROM "
            f"(SELECT {k}, unnest({self._cells.names}) AS name, unnest(mine) AS mine, unnest(theirs) AS theirs FROM "
            f"(SELECT {session.keys_of('m')}, m.cells AS mine, {self._cells.of_stored('t')} AS theirs "
            f"FROM (SELECT {k}, {self._cells.of(self._cells.columns)} AS cells FROM {rows}) m "
            f"JOIN stored t ON {session.same_keys('m', 't')} WHERE t.said IS NOT NULL) "
            "WHERE mine IS DISTINCT FROM theirs) WHERE mine IS DISTINCT FROM theirs"
        )
        same = f"mine IS NOT DISTINCT FROM theirs OR {self._cells.is_same('mine', 'theirs')}"
        session.execute(f"DELETE FROM cells WHERE NOT ({counts}) OR {same}")
        if session.has_table("held"):
            # What is held back is not in the store.
            held = "SELECT k1, unnest(attributes) AS name FROM held"
            session.execute(f"DELETE FROM cells USING ({held}) h WHERE cells.k1 = h.k1 AND cells.name = h.name")

    @property
    def claimed(self) -> pa.Table | None:
        """The visitors whom the rows claimed, as for `KnowsVisitors.holders`; None of a sync that claims none."""
        return claims.claimed(self._session) if claims.are_made(self._session) else None

    def compare_claims(self, holders: Iterable[pa.Table]) -> int:
        """Compare whose they are, after `compare`; returns how many are other people's, which is no difference."""
        return claims.compare(self._session, holders)

    def find_extra(self, *, removed: Removed | None, still_has_attributes: bool) -> None:
        """Find what is stored beyond the sync's rows.

        Shapes:
            removed: what the sync removed; only that counts then.
            still_has_attributes: whether only what has an attribute of the sync counts.
        """
        session, k = self._session, self._session.k
        is_collection = session.target.collection is not None
        which = ["TRUE"] if is_collection else [f"NOT ({session.lacks_key('s')})"]
        if still_has_attributes:
            which.append(f"len(list_filter({self._cells.of_stored('s')}, lambda c: c IS NOT NULL)) > 0")
        if removed is not None:
            by_number = (Entity.PERSON, PersonKey.CIO_ID, "cio_id")
            names = [session.own_name, *([by_number] if session.target.entity is Entity.PERSON else [])]
            present = find_removed(session, removed.sets, "SELECT * FROM stored", names=names) or ()
            entity, kind, value = session.entity
            named = f"SELECT value FROM removed WHERE entity = {entity} AND kind"
            which.append(f"{value} IN ({named} = {kind})")
            if by_number in names and by_number[:2] in present:
                # Somebody else may have the identifier by now.
                which.append(f"s.cio_id IN ({named} = 'cio_id')")
        own = " ".join(f"ANTI JOIN {table} USING ({k})" for table in _OWN)
        session.execute(
            f"CREATE OR REPLACE TEMP TABLE surplus AS SELECT {k}, shown, row_id FROM "
            f"(SELECT {k}, {'key' if is_collection else session.key_text} AS shown, rowid AS row_id "
            f"FROM stored s WHERE {' AND '.join(which)}) {own}"
        )

    def find_nothing_extra(self) -> None:
        """Take it that nothing is stored beyond the sync's rows."""
        none = f"SELECT {self._session.k}, '' AS shown, row_id FROM wanted LIMIT 0"
        self._session.execute(f"CREATE OR REPLACE TEMP TABLE surplus AS {none}")

    def excuse_removed(self, removed: Removed) -> None:
        """Count no row that is in doubt and that other syncs removed, or unset attributes of."""
        session = self._session
        rows = f"SELECT {session.k} FROM missing UNION SELECT {session.k} FROM cells"
        find_removed(session, removed.sets, rows)
        which = f"{session.touched('removed')} OR {is_unset(session, 'removed')}"
        for table, gone in (("missing", "TRUE"), ("cells", "theirs IS NULL")):
            in_doubt = f"EXISTS (SELECT 1 FROM in_doubt d WHERE {session.same_keys('d', table)})"
            session.execute(f"DELETE FROM {table} WHERE {gone} AND {in_doubt} AND ({which})")

    def excuse_written(self, path: Path, sync: str, store_id: str) -> bool:
        """Count nothing that is as another sync's snapshot has it; False if that cannot be read now."""
        session = self._session
        try:
            with file.attached(session.connection, path, sync=sync) as other:
                meta = dict(session.rows(f"SELECT name, value FROM {other}.meta"))
                target = target_of(meta["target"], session.keys_in(other))
                if meta["store_id"] == store_id and target.things == session.target.things:
                    self._excuse(Session(connection=session.connection, sync=sync, target=target), other)
        except (RunInProgressError, SnapshotError, duckdb.Error, KeyError):
            return False
        return True

    def found(self, keys: int) -> Found:
        """What is wrong, with at most so many *keys* of each sort."""
        session, k = self._session, self._session.k
        rows = f"SELECT {k}, list(name ORDER BY name) AS names FROM cells GROUP BY {k}"
        first = f"ORDER BY ALL LIMIT {keys}"
        return Found(
            different=session.count(f"SELECT count(*) FROM ({rows})"),
            missing=session.count("SELECT count(*) FROM missing"),
            extra=session.count("SELECT count(*) FROM surplus"),
            different_keys=session.rows(f"SELECT {session.key_text}, names FROM ({rows}) {first}"),
            missing_keys=[key for (key,) in session.rows(f"SELECT {session.key_text} FROM missing {first}")],
            extra_keys=[key for (key,) in session.rows(f"SELECT shown FROM surplus {first}")],
            in_doubt=session.count(
                f"SELECT count(*) FROM in_doubt SEMI JOIN (SELECT {k} FROM cells UNION ALL SELECT {k} FROM missing) "
                f"USING ({k})"
            ),
        )

    def put_in_doubt(self) -> int:
        """Make the next run send what is wrong again, and remove what is extra; returns how many rows that are."""
        session, k = self._session, self._session.k
        extra = f"SELECT {k} FROM surplus WHERE NOT ({session.lacks_key('surplus')})"
        wrong = f"SELECT {k} FROM cells UNION SELECT {k} FROM missing UNION {extra}"
        with session.transaction():
            session.execute(f"INSERT INTO in_doubt ({k}) SELECT {k} FROM ({wrong}) ANTI JOIN in_doubt USING ({k})")
            same = session.same_keys("in_doubt", "w")
            session.execute(f"UPDATE in_doubt SET unset = NULL FROM ({wrong}) w WHERE in_doubt.unset AND {same}")
        return session.count(f"SELECT count(*) FROM ({wrong})")

    def _add(self, part: pa.Table) -> None:
        session = self._session
        session.connection.register("part", part)
        given = ", ".join(n if n in part.column_names else f"NULL::VARCHAR AS {n}" for n in (*_NAMES, "attributes"))
        keys = ", ".join(f"{sql} AS {key}" for key, sql in zip(session.keys, self._stored_keys(), strict=True))
        session.execute(
            f"INSERT INTO stored SELECT {keys}, {', '.join(_NAMES)}, {numbers_as_text('attributes')} FROM "
            f"(SELECT {given} FROM part)"
        )
        session.connection.unregister("part")

    def _stored_keys(self) -> list[str]:
        """SQL for each column of the key of what is stored."""
        target = self._session.target
        if target.collection is None:
            person = [str(target.person_key)] if target.person_key is not None else []
            person += ["token"] if target.entity.traits.names_device else []
            return [*person, "object_id"] if target.object_type is not None else person
        inside = [self._key_in_row(name) for name in self._cells.rules.key_names]
        if len(inside) == 1:
            return [f"coalesce(key, {inside[0]})"]
        is_ours = f"json_valid(key) AND json_type(key) = 'ARRAY' AND json_array_length(key) = {len(inside)}"
        return [
            f"CASE WHEN key IS NULL THEN {sql} WHEN {is_ours} THEN json_extract_string(key, '$[{i}]') END"
            for i, sql in enumerate(inside)
        ]

    def _key_in_row(self, name: str) -> str:
        """SQL for a part of a collection's key, from the row where the store keeps no key."""
        value = f"json_extract(attributes, {pointer(name, '')})"
        kind = next((c.kind for c in self._cells.columns if c.name == name), ColumnType.TEXT)
        if self._cells.rules.form is ValueForm.UNIX_SECONDS and kind in (ColumnType.TIMESTAMP, ColumnType.DATE):
            moment = f"make_timestamp(1000000 * CAST({value} AS BIGINT))"
            return as_key(kind, f"CAST({moment} AS {kind.storage})", fold=False)
        return as_key(ColumnType.JSON, f"CAST({value} AS VARCHAR)", fold=False)

    def _excuse(self, other: Session, schema: str) -> None:
        session, k = self._session, self._session.k
        link = self._link(other)
        if session.any("SELECT 1 FROM cells"):
            columns = columns_of(other, f"{schema}.")
            cells = self._cells.of(columns)
            known = f"SELECT {other.k}, {other.key_text} AS shown, {cells} AS cells FROM {schema}.snapshot"
            session.execute(
                f"CREATE OR REPLACE TEMP TABLE elsewhere AS SELECT {session.keys_of('s')}, "
                f"unnest({self._cells.names}) AS name, unnest(o.cells) AS value "
                f"FROM (SELECT * FROM stored SEMI JOIN cells USING ({k})) s "
                f"JOIN ({known}) o ON {link}"
            )
            names = ", ".join(literal(c.name) for c in columns) or "NULL"
            # A collection's row is replaced whole, also by one without the attribute.
            which = f"o.name IN ({names}) AND " if session.target.entity.traits.merges else ""
            session.execute(
                f"DELETE FROM cells USING (SELECT * REPLACE ({self._cells.value('value')} AS value) FROM elsewhere) o "
                f"WHERE {which}o.name = cells.name AND {session.same_keys('o', 'cells')} "
                f"AND (cells.theirs IS NOT DISTINCT FROM o.value OR {self._cells.is_same('cells.theirs', 'o.value')})"
            )
        if self.may_move:
            # The token went to somebody else with a row of the other sync.
            moved = f"SELECT s.token FROM stored s JOIN {schema}.snapshot o ON {link}"
            session.execute(f"DELETE FROM missing WHERE k2 IN ({moved})")
        for table in _OWN:
            keys = f"SELECT {other.k}, {other.key_text} AS shown FROM {schema}.{table}"
            session.execute(
                f"DELETE FROM surplus WHERE row_id IN (SELECT s.rowid FROM stored s JOIN ({keys}) o ON {link})"
            )

    def _link(self, other: Session) -> str:
        """SQL for whether a stored row `s` is what a row `o` of another sync is about."""
        target = other.target
        if target.collection is not None:
            parts = ", ".join(f"s.{key}" for key in self._session.keys)
            text = parts if len(self._session.keys) == 1 else f"CAST(json_array({parts}) AS VARCHAR)"
            return f"o.shown = coalesce(s.key, {text})"
        same = [f"o.k1 = s.{target.person_key}"] if target.person_key is not None else []
        if target.object_type is not None:
            same.append(f"o.{other.keys[-1]} = s.object_id")
        if target.entity.traits.names_device:
            same.append("o.k2 = s.token")
        return " AND ".join(same)
