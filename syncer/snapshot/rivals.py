"""The syncs whose values of an attribute count more, by `attributes.yml`, as their snapshots have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb

from syncer.model.types import Target
from syncer.snapshot import file
from syncer.snapshot.cells import AttributeColumn, columns_of
from syncer.snapshot.identifiers import key_of
from syncer.snapshot.session import Session, target_of
from syncer.snapshot.values import literal


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """The syncs whose values count more."""

    session: Session
    #: Of the snapshots.
    folder: Path
    store_id: str
    #: By attribute, each to its newest claim when the run looked.
    claims: Mapping[str, Mapping[str, str]]
    #: What `marks` gave when every row was looked at last.
    seen: str

    @property
    def newest_claims(self) -> dict[str, str]:
        """The newest claim of each."""
        return {sync: claim for claims in self.claims.values() for sync, claim in claims.items()}

    @cached_property
    def is_changed(self) -> bool:
        """Whether they may have something else than when every row was looked at last."""
        return not self.marks or self.marks != self.seen

    @cached_property
    def marks(self) -> str:
        """What they have, in a text that differs once that does; empty where it may differ unseen."""
        found: dict[str, object] = {name: sorted(several) for name, several in self.claims.items()}
        for sync in self._names:
            with self._opened(sync) as other:
                if other is None:
                    continue
                if _target(self.session, other).person_key is not self.session.target.person_key:
                    # By their numbers, people may become others without a run.
                    return ""
                newest = f"SELECT max_by(run_id, number) FROM {other}.sent_runs"
                found[f"rows of {sync}"] = self.session.rows(f"SELECT ({newest}), count(*) FROM {other}.snapshot")
        return json.dumps(found, sort_keys=True)

    def load(self, keys: str = "") -> None:
        """Fill `rivals`; of those with the same kind of key only with *keys*, a query, if one is given."""
        names = "k1 VARCHAR, other VARCHAR, kind VARCHAR, person BIGINT, attributes VARCHAR[]"
        self.session.execute(f"CREATE OR REPLACE TEMP TABLE rivals ({names})")
        for sync in self._names:
            with self._opened(sync) as other:
                if other is not None:
                    attributes = {name for name, several in self.claims.items() if sync in several}
                    _add(self.session, _target(self.session, other), other, attributes, keys)

    @property
    def _names(self) -> list[str]:
        return sorted({one for several in self.claims.values() for one in several})

    @contextmanager
    def _opened(self, sync: str) -> Iterator[str | None]:
        """The snapshot of one, attached; None where it is of no use: the next run of its sync sends every row then.

        Raises:
            RunInProgressError: it runs now.
        """
        path = self.folder / f"{sync}.duckdb"
        if not path.exists():
            yield None
            return
        with ExitStack() as stack:
            other: str | None = None
            with suppress(duckdb.Error, KeyError):
                other = stack.enter_context(file.attached(self.session.connection, path, sync=sync))
                meta = dict(self.session.rows(f"SELECT name, value FROM {other}.meta"))
                target = target_of(meta["target"], self.session.keys_in(other))
                is_same = meta["store_id"] == self.store_id and target.things == self.session.target.things
                other = other if is_same else None
            yield other


def _target(session: Session, other: str) -> Target:
    ((signature,),) = session.rows(f"SELECT value FROM {other}.meta WHERE name = 'target'")
    return target_of(signature, session.keys_in(other))


def _add(session: Session, target: Target, other: str, attributes: set[str], keys: str) -> None:
    theirs = Session(connection=session.connection, sync="", target=target)
    columns = {c.name: c for c in columns_of(theirs, f"{other}.")}
    given = [columns[name] for name in sorted(attributes & columns.keys())]
    if not given:
        return
    is_same = session.target.person_key is target.person_key
    k1 = "s.k1" if is_same else _identifier(columns.get(str(session.target.person)))
    named, which = f"[{literal(given[0].name)}]", f"s.{given[0].physical} IS NOT NULL"
    if len(given) > 1:
        has = [f"CASE WHEN s.{c.physical} IS NOT NULL THEN {literal(c.name)} END" for c in given]
        named = f"list_filter([{', '.join(has)}], lambda name: name IS NOT NULL)"
        which = " OR ".join(f"s.{c.physical} IS NOT NULL" for c in given)
    only = f"SEMI JOIN ({keys}) USING (k1) " if keys and is_same else ""
    session.execute(
        f"INSERT INTO rivals SELECT {k1}, s.k1, {literal(str(target.person))}, s.person, {named} "
        f"FROM (SELECT * FROM {other}.snapshot {only}) s WHERE {which}"
    )


def _identifier(column: AttributeColumn | None) -> str:
    return "NULL" if column is None else key_of(column.name, column.kind, f"s.{column.physical}")
