"""A house of several syncs of one store, as one state folder has them; the test changes their results and runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from syncer.model.attribute_rules import AttributeRule
from syncer.model.errors import SyncerError
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity, Limit, Limits, OnRemoved, PersonKey, SyncDefinition, Target
from syncer.settings.registry import open_store
from syncer.snapshot.ledger import Asked
from syncer.snapshot.opening import addresses, opened
from syncer.snapshot.snapshot import Snapshot
from syncer.state.coordination import SharedCoordination
from syncer.state.database import StateDatabase
from syncer.sync.coordination import WriterStates, catch_up
from syncer.sync.flow import SyncRun, run_sync
from syncer.sync.leftovers import FormerRows, take_over_renamed
from syncer.sync.plans import planned
from syncer.sync.progress import HeldError, Progress, RunOptions
from tests.servers.table_warehouse import Table
from tests.sync.equations import check_rows
from tests.workbench import definition

ANY = Limits(removed=Limit(share=1.0), cleared=Limit(share=1.0), allow_empty=True)
BY_ID = Target(entity=Entity.PERSON, person_key=PersonKey.ID, key_columns=("id",))
BY_EMAIL = Target(entity=Entity.PERSON, person_key=PersonKey.EMAIL, key_columns=("email",))
BY_PHONE = Target(entity=Entity.PERSON, person_key=PersonKey.PHONE, key_columns=("phone",))
BY_NUMBER = Target(entity=Entity.PERSON, person_key=PersonKey.CIO_ID, key_columns=("cio_id",))
TEAMS = Target(entity=Entity.OBJECT, object_type="team", key_columns=("team",))
MEMBERS_BY_EMAIL = Target(
    entity=Entity.RELATIONSHIP, person_key=PersonKey.EMAIL, object_type="team", key_columns=("email", "team")
)

Rows = list[dict[str, str | None]]


@dataclass
class Interrupted(Table):
    """A result before which something else happens."""

    before: Callable[[], None]

    def query(self, sql: str, *, timeout: timedelta) -> pa.RecordBatchReader:
        self.before()
        return super().query(sql, timeout=timeout)


@dataclass
class House:
    """A state folder, a store, and syncs whose results the test changes."""

    folder: Path
    store_url: str
    identity: Identity = Identity.ID_OR_EMAIL
    #: Of the connector.
    options: Any = None
    syncs: dict[str, SyncDefinition] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    runs: int = 0
    #: The syncs that run, each within the query of the one before.
    running: list[str] = field(default_factory=list)
    #: Whether rows may be rejected.
    may_reject: bool = False
    #: Is called once, before the next query.
    at_query: Callable[[], None] = lambda: None
    #: Of the run that goes on.
    chosen: RunOptions = field(default_factory=RunOptions)

    @property
    def now(self) -> datetime:
        """The time of the newest run, by every clock."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.runs)

    def store(self) -> ProfileStore:
        """To be closed by the caller."""
        return open_store("default", self.store_url, identity=self.identity, options=self.options, started_at=self.now)

    def sync(self, name: str, target: Target, columns: str, on_removed: OnRemoved = OnRemoved.KEEP, **of: Any) -> None:
        self.columns[name], self.rows[name] = columns.split(), []
        self._write(definition(name=name, target=target, on_removed=on_removed, limits=ANY, **of))

    def edit(self, name: str, columns: Sequence[str] = (), **fields: Any) -> None:
        """Change fields of a definition, and the columns of its query if any are given."""
        self.columns[name] = [*(columns or self.columns[name])]
        self._write(replace(self.syncs[name], **fields))

    def rule(self, attribute: str, *sources: str, **of: Any) -> None:
        """Let the folder have a rule for an attribute; none where it names no source and says nothing else."""
        rule = {attribute: AttributeRule(sources=sources, **of)} if sources or of else {}
        for made in [*self.syncs.values()]:
            others = {one: kept for one, kept in made.rules.items() if one != attribute}
            self._write(replace(made, rules=others | rule))

    def rename(self, old: str, new: str) -> None:
        """Rename the file of a sync."""
        definition = self.syncs.pop(old)
        definition.path.unlink()
        self.columns[new], self.rows[new] = self.columns.pop(old), self.rows.pop(old)
        self._write(replace(definition, name=new))

    def _write(self, made: SyncDefinition) -> None:
        """The file has what other syncs read of it."""
        files = self.folder / "sync_definitions"
        files.mkdir(parents=True, exist_ok=True)
        text, path = _header(made.target) + ("" if made.enabled else "\nenabled: false"), files / f"{made.name}.sql"
        path.write_text(f"/* sync\n{text}\n*/\nSELECT 1")
        all_of_it = (text, made.sql, self.columns[made.name], made.on_removed, made.on_null, made.incremental)
        told = str(all_of_it).replace("-", "_")
        rules = [(attribute, rule.meaning) for attribute, rule in made.rules.items()]
        self.syncs[made.name] = replace(made, path=path, hash=f"{told}-{rules}" if rules else told)

    def put(self, name: str, *rows: str) -> None:
        """The whole result: rows of texts, where `-` is NULL."""
        values = [[None if text == "-" else text for text in row.split()] for row in rows]
        self.rows[name] = [dict(zip(self.columns[name], row, strict=True)) for row in values]

    def run(self, *names: str, **options: Any) -> Progress:
        """Run syncs one after the other, all unless some are named; *options* as RunOptions has them."""
        progress = Progress()
        for name in names or self.syncs:
            progress = self._run(name, **options)
        return progress

    def _run(self, name: str, *, plans: bool = False, **options: Any) -> Any:
        self.runs += 1
        self.chosen = RunOptions(**options)
        progress, made = Progress(), self.syncs[name]
        with (
            closing(StateDatabase(f"sqlite:///{self.folder}/runs.db")) as database,
            closing(self.store()) as opened_store,
            self.opened(name, opened_store) as snapshot,
        ):
            store = self.wrapped(opened_store)
            run_id = "" if plans else f"{self.folder.name}-{self.runs}"
            coordination = self.wrapped(
                SharedCoordination(database=database, sync=name, store_id=store.store_id, run_id=run_id)
            )
            state_of = WriterStates(self.folder / "sync_definitions", made)
            if not plans:
                coordination.close_removals()
                # As of a run some time later than the longest request.
                later = datetime.now(UTC) + timedelta(days=1)
                coordination.close_abandoned(lambda sync: sync not in self.running, before=later)
                if not snapshot.has_sent:
                    take_over_renamed(made, snapshot, coordination, state_of)
            catch_up(snapshot, coordination, store, state_of, made.rules)
            asked = self.asked(name, snapshot)
            run = SyncRun(
                definition=made,
                sql="SELECT",
                warehouse=Interrupted(self.result(name), before=self.at_query),
                snapshot=snapshot,
                store=store,
                options=self.chosen,
                progress=progress,
                asked=asked,
                leftovers=FormerRows() if snapshot.former else None,
                now=self.now if made.event_rules else None,
            )
            self.at_query = lambda: None
            if plans:
                return planned(run, sample_rows=10)
            self.running.append(name)
            try:
                run_sync(run, coordination=coordination, started_at=self.now)
            except (SyncerError, HeldError) as exc:
                check_rows(progress, exc)
                raise
            finally:
                self.running.remove(name)
        check_rows(progress)
        assert self.may_reject or progress.counts.rejected == 0
        return progress

    def asked(self, name: str, snapshot: Snapshot) -> Asked | None:
        """What the next run asks for, before `result`."""
        return None

    def result(self, name: str) -> pa.Table:
        """What the query of a sync returns."""
        schema = pa.schema([(column, pa.string()) for column in self.columns[name]])
        return pa.Table.from_pylist(self.rows[name], schema=schema)

    @contextmanager
    def opened(self, name: str, store: ProfileStore) -> Iterator[Snapshot]:
        """The snapshot of a sync."""
        path, address = self.folder / f"{name}.duckdb", addresses(store)
        with opened(path, self.syncs[name], store.store_id, address=address) as snapshot:
            yield snapshot

    def wrapped(self, inner: Any) -> Any:
        """The store, or the coordination, as a run gets it."""
        return inner

    def plan(self, name: str) -> Any:
        return self._run(name, plans=True)

    def person(self, key: str) -> dict[str, Any] | None:
        """By an id, an email or a phone."""
        kind = "email" if "@" in key else "phone" if key.startswith("+") else "id"
        with closing(self.store()) as store:
            found: dict[str, Any] | None = store.show(Entity.PERSON, kind, key)
        return found

    def attributes(self, key: str) -> dict[str, Any] | None:
        found = self.person(key)
        return found and found["attributes"]

    def teams(self, key: str) -> list[str]:
        found = self.person(key)
        return [related["object_id"] for related in found["relationships"]] if found else []


def _header(target: Target) -> str:
    """The header of a definition file."""
    lines = [f"entity: {target.entity}"]
    if target.merged_key is not None:
        keep, goes = target.key_columns
        return "\n".join([*lines, f"keep: {{{target.person_key}: {keep}}}", f"merge: {{{target.merged_key}: {goes}}}"])
    if target.person_key is not None:
        lines.append(f"person: {{{target.person_key}: {target.key_columns[0]}}}")
    if target.event is not None:
        lines += [f"event: {{name: {target.event.name}, id: {target.key_columns[0]}, time: at}}", "start: all"]
    if target.action:
        lines.append(f"action: {target.action}")
    if target.entity is Entity.DEVICE:
        lines.append(f"device: {{token: {target.key_columns[1]}, platform: ios}}")
    if target.object_type:
        lines.append(f"object: {{type: {target.object_type}, id: {target.key_columns[-1]}}}")
    return "\n".join(lines)
