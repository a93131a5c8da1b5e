"""Forgetting one person: out of the stores, and out of everything that Syncer keeps beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from syncer.model.errors import StoreError
from syncer.model.event_stores import KeepsUnclaimed
from syncer.model.lists import ErasesTraces
from syncer.model.protocols import IDENTIFIERS, ProfileStore
from syncer.model.types import Entity, ListAction, PersonKey, SyncDefinition, Target, Verdict
from syncer.settings.settings import Settings
from syncer.shared.snapshot import SharedSnapshot
from syncer.shared.snapshots import SharedSnapshots
from syncer.snapshot import forgetting
from syncer.snapshot.forgetting import Names
from syncer.snapshot.visitors import VISITOR
from syncer.state.audit import Audit, AuditAction
from syncer.state.coordination import SharedCoordination
from syncer.state.forgetting import forget_rejections
from syncer.state.rates import sharing
from syncer.sync import kept_rows
from syncer.sync.kept_plans import KeptPlans
from syncer.sync.keys import key_parts
from syncer.sync.runner import Runner

#: Under this name a removal is announced; no sync can have it.
_ANNOUNCED_BY = "forget person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Whom to forget, and where."""

    #: `id`, `email` or `phone`.
    kind: PersonKey
    #: As stores spell it.
    value: str
    #: The stores, by name; at least one.
    stores: tuple[str, ...]
    #: Whether these are all of them, so that what belongs to none counts too.
    is_everywhere: bool
    #: Whether the stores accept the person again.
    may_return: bool
    #: Who asks.
    actor: str

    @property
    def target(self) -> Target:
        """As of a list with this person."""
        action = ListAction.DELETE if self.may_return else ListAction.SUPPRESS
        return Target(entity=Entity.PERSON, person_key=self.kind, key_columns=(str(self.kind),), action=action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was found of the person beside the stores, and is gone."""

    #: Rows of snapshots, also of those that were moved aside.
    rows: int
    rejections: int
    #: Saved plans that named them; they are deleted as a whole.
    plans: int
    #: Damaged snapshots that had been moved aside: nobody can see who is in them.
    damaged: int


def forget(runner: Runner, definitions: Mapping[str, SyncDefinition], request: Request) -> Forgotten:
    """Take one person out of stores, snapshots, saved plans and rejections; done twice is the same as once.

    Shapes:
        definitions: by name.
    Raises:
        RunInProgressError: a run or a plan has a snapshot open. Before anything was done; or, if it began meanwhile,
            after the stores were done with: to be called again.
        StoreRefusesError: a store does not tell people apart by this; nothing was done.
        SyncerError: of a store, the run log or a snapshot; to be called again.
    """
    settings, now, database = runner.settings, runner.now, runner.run_log.database
    with ExitStack() as stack:
        stores = {
            name: stack.enter_context(closing(sharing(settings.stores[name].open(name, started_at=now()), database)))
            for name in request.stores
        }
        for store in stores.values():
            store.check(request.target)
        shared = stack.enter_context(_taken(runner))
        files = forgetting.files_in(settings.snapshots_dir)
        known = _Known(request, stores)
        kept = [path for path in files.readable if _is_brought_home(settings, path)]
        for path in files.readable:
            known.add(forgetting.other_names(path, known.of))
        audit = Audit(database=database, now=now)
        options = [f"by_{request.kind}", *(["allow_return"] if request.may_return else [])]
        audit.record(AuditAction.FORGET, actor=request.actor, address="", options=options)
        for name, store in stores.items():
            _take_away(runner, request, name, store, known.in_store[store.store_id])
        rows = sum(forgetting.forget(path, known.of) for path in files.readable)
        for path in kept:
            kept_rows.put_back(settings, path, _sync_of(path))
        for path in files.damaged:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
        for snapshot in shared:
            snapshot.put_anew()
    return Forgotten(
        rows=rows,
        rejections=forget_rejections(database, partial(known.is_rejected, definitions)),
        plans=_forget_plans(runner.snapshots.shared, known.everywhere),
        damaged=len(files.damaged),
    )


def _is_brought_home(settings: Settings, path: Path) -> bool:
    """Take the rows of a snapshot out of the warehouse that keeps them, for a while; False if none does."""
    with kept_rows.opened(settings, path, _sync_of(path)) as ledger:
        if ledger is not None:
            ledger.rows.take_all()
        return ledger is not None


def _sync_of(path: Path) -> str:
    return path.name.partition(".duckdb")[0]


@contextmanager
def _taken(runner: Runner) -> Iterator[list[SharedSnapshot]]:
    """The shared snapshots of all syncs, also of those without a file, whose copies here are up to date.

    Raises:
        RunInProgressError: a run of one goes on.
    """
    snapshots, taken = runner.snapshots, list[SharedSnapshot]()
    with ExitStack() as stack:
        for sync in snapshots.shared.syncs():
            snapshots.refuse_beside_another(sync)
            taken.append(snapshots.shared.take(sync))
            stack.enter_context(taken[-1].following())
        yield taken


class _Known:
    """What the person is known by, in each store."""

    def __init__(self, request: Request, stores: Mapping[str, ProfileStore]) -> None:
        self._request = request
        self._ids = {name: store.store_id for name, store in stores.items()}
        #: By the store's id.
        self.in_store = {store.store_id: _names(request, store) for store in stores.values()}

    @property
    def everywhere(self) -> Names:
        """The identifiers of all stores; the own number of one means nothing in another."""
        kinds = (*(kind for kind in PersonKey if kind is not PersonKey.CIO_ID), VISITOR)
        return {kind: set().union(*(names.get(kind, set()) for names in self.in_store.values())) for kind in kinds}

    def of(self, store_id: str) -> Names | None:
        """See `forgetting.NamesOf`."""
        elsewhere = self.everywhere if self._request.is_everywhere else None
        return self.in_store.get(store_id, elsewhere)

    def add(self, found: tuple[str, Names] | None) -> None:
        """Add what a snapshot knows them by, which tells where else they may be, and no store whom to delete."""
        if found is None:
            return
        store_id, names = found
        for store_names in [self.in_store[store_id]] if store_id in self.in_store else self.in_store.values():
            for kind, values in names.items():
                if kind in store_names:
                    store_names[kind] |= values

    def is_rejected(self, definitions: Mapping[str, SyncDefinition], sync: str, key: str, values: str | None) -> bool:
        """Whether a rejected row is about them."""
        definition = definitions.get(sync)
        if definition is None:
            names = self.everywhere if self._request.is_everywhere else {}
            return _is_named(names, [key, *_first_part(key)], values)
        store_id = self._ids.get(definition.store)
        kinds, rules = definition.target.keys_of_people, definition.event_rules
        if store_id is None or not (kinds or rules):
            return False
        names = self.in_store[store_id]
        if rules is not None:
            people = set().union(*(known for kind, known in names.items() if kind != VISITOR))
            who = {rules.person_column: people, definition.visitor_column: names.get(VISITOR, set())}
            return any(_is_named({column: known}, [], values) for column, known in who.items() if column is not None)
        own = zip(kinds, key_parts(definition, key), strict=False)
        return any(part in names.get(kind, set()) for kind, part in own) or _is_named(names, [], values)


def _names(request: Request, store: ProfileStore) -> dict[str, set[str]]:
    # An email that may repeat could be another person's.
    names: dict[str, set[str]] = {kind: set() for kind in (*store.identity.unique, PersonKey.CIO_ID)}
    names[request.kind] = {request.value}
    for found in store.identifiers(request.target, pa.table({"k1": [request.value]})).to_pylist():
        if found["kind"] in names:
            names[found["kind"]].add(found["value"])
    if isinstance(store, KeepsUnclaimed):
        shown = store.show(Entity.PERSON, request.kind, request.value) or {}
        names[VISITOR] = {*shown["anonymous_ids"]} if shown else set()
    return names


def _is_named(names: Names, keys: Iterable[str], values: str | None) -> bool:
    held = json.loads(values) if values else {}
    of_row = {str(held[kind]) for kind in names if isinstance(held, dict) and held.get(kind) is not None}
    return bool(set().union(*names.values()) & {*keys, *of_row})


def _first_part(key: str) -> list[str]:
    try:
        parts = json.loads(key)
    except ValueError:
        return []
    return [str(parts[0])] if isinstance(parts, list) and parts else []


def _take_away(runner: Runner, request: Request, name: str, store: ProfileStore, names: Names) -> None:
    """Delete the person from a store, and suppress them unless they may return."""
    table = pa.Table.from_pylist(
        [
            {"entity": str(Entity.PERSON), "kind": kind, "value": value}
            for kind in names
            if kind != VISITOR
            for value in names[kind]
        ],
        schema=IDENTIFIERS,
    )
    database = runner.run_log.database
    coordination = SharedCoordination(database=database, sync=_ANNOUNCED_BY, store_id=store.store_id)
    if database.is_shared:
        # Snapshots of other machines have the person too.
        coordination.announce(partial(forgetting.write_announcement, table, request.target))
    batch = pa.RecordBatch.from_pylist(
        [{"seq": 1, "action": str(request.target.action), "k1": request.value, "attributes": "{}", "cleared": "[]"}]
    )
    verdicts = pa.concat_tables([store.apply(request.target, batch, create=True), store.flush()])
    refused = verdicts.filter(pc.not_equal(verdicts["verdict"], str(Verdict.ACCEPTED)))
    if len(refused) or not len(verdicts):
        reason = refused["reason"][0].as_py() if len(refused) else "it did not answer"
        raise StoreError(f"store `{name}` did not forget the person: {reason}", hint="Run the command again.")
    if database.is_shared:
        coordination.close_removals()
    if isinstance(store, ErasesTraces):
        store.erase_traces(table)


def _forget_plans(shared: SharedSnapshots, names: Names) -> int:
    """Delete the saved plans with rows that name the person, on this machine and where all find them; how many."""
    return sum(
        plans.forget(lambda rows: forgetting.is_in_plan(rows, names), lambda moved: _is_in_keys(moved, names))
        for plans in KeptPlans.everywhere(shared)
    )


def _is_in_keys(moved: bytes, names: Names) -> bool:
    keys = [key for key, _ in json.loads(moved)[1] if key is not None]
    return _is_named(names, [part for key in keys for part in (key, *_first_part(key))], None)
