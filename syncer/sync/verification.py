"""What a store contains of one sync, compared with the snapshot: see `syncer verify`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from syncer.definitions.conflicts import written_attributes
from syncer.model.errors import RunInProgressError, SnapshotError, StoreError
from syncer.model.event_stores import KnowsVisitors
from syncer.model.protocols import NumbersPeople, ProfileStore, ReadsBack
from syncer.model.spelling import listed
from syncer.model.temporary_folders import temporary_folder
from syncer.model.types import Entity, Identity, OnNull, OnRemoved, SyncDefinition
from syncer.settings.settings import Settings
from syncer.snapshot.cells import Rules
from syncer.snapshot.snapshot import Snapshot
from syncer.snapshot.store_comparison import StoreComparison
from syncer.state.coordination import SharedCoordination
from syncer.state.rates import sharing
from syncer.state.runs import RunLog
from syncer.sync import kept_rows
from syncer.sync.coordination import other_kinds
from syncer.sync.runner import Runner

#: Rows that are looked at unless the command says how many: if none of them differs, less than 0.3% of all rows do,
#: with a confidence of 95%.
SAMPLE_ROWS = 1_000
#: Keys of each sort that people see.
_SHOWN_KEYS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How a store compares with a snapshot, in rows."""

    #: `equal` + `different` + `missing`.
    checked: int
    equal: int
    different: int
    missing: int
    #: What the store contains although the sync removed it, or never sent it.
    extra: int
    #: Rows that are in doubt now, so that the next run sends or removes them.
    repaired: int
    #: The first rows that differ, each its key and the attributes; those that are missing; those that are extra.
    different_keys: Sequence[tuple[str, Sequence[str]]]
    missing_keys: Sequence[str]
    extra_keys: Sequence[str]
    notes: Sequence[str]
    #: Whether there is something to compare; of events and lists there is not, as the first note says.
    is_compared: bool = True

    @property
    def is_equal(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.different or self.missing or self.extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The other syncs whose snapshots are in the state folder, or should be."""

    #: Sync to its file, whatever it feeds.
    files: Mapping[str, Path]
    #: Syncs that feed the same entities of the same store, and have run, but have no file.
    absent: Sequence[str]


def verify(
    runner: Runner, definition: SyncDefinition, definitions: Iterable[SyncDefinition], *, rows: int | None, repair: bool
) -> Verified:
    """Compare the store with the snapshot, within its lock; see `compare_with_store`.

    Shapes:
        definitions: of all syncs.
    Raises:
        SyncerError: as there, and RunInProgressError.
    """
    if why := _why_not(definition):
        return _not_compared(why)
    definitions, snapshots = list(definitions), runner.snapshots
    same = [one.name for one in definitions if one.target.things == definition.target.things]
    snapshots.shared.follow([*same, *({*snapshots.shared.syncs()} - {one.name for one in definitions})])
    beside = neighbours(snapshots.path(definition.name), definition, definitions, runner.run_log)
    opened = snapshots.for_repair if repair else snapshots.for_plan
    settings, database = runner.settings.stores[definition.store], runner.run_log.database
    with (
        _with_all_rows(runner.settings, beside) as beside,
        closing(sharing(settings.open(definition.store, started_at=runner.now()), database)) as store,
        opened(definition, store) as snapshot,
        snapshot.ledger.explaining(),
    ):
        coordination = SharedCoordination(database=database, sync=definition.name, store_id=store.store_id)
        return compare_with_store(definition, snapshot, store, coordination, beside, rows=rows, repair=repair)


@contextmanager
def _with_all_rows(settings: Settings, beside: Neighbours) -> Iterator[Neighbours]:
    """The same with copies of those files whose rows a warehouse keeps; a file that cannot be read stays."""
    with temporary_folder() as folder:
        files = dict(beside.files)
        for name, path in beside.files.items():
            with suppress(RunInProgressError, SnapshotError):
                files[name] = kept_rows.whole_copy(settings, path, name, folder)
        yield replace(beside, files=files)


def _why_not(definition: SyncDefinition) -> str:
    """Why a sync cannot be compared: the store may have what it sent no more, or again, and rightly so."""
    if definition.target.action is not None:
        return f"`{definition.name}` is a list: what it did once is not compared with the store"
    if definition.target.entity.traits.happens:
        once = "each is sent once and never changes, so they are not compared with the store"
        return f"`{definition.name}` sends events: {once}; `syncer explain event` looks for one"
    return ""


def _not_compared(why: str) -> Verified:
    counts = dict.fromkeys(("checked", "equal", "different", "missing", "extra", "repaired"), 0)
    return Verified(**counts, different_keys=[], missing_keys=[], extra_keys=[], notes=[why], is_compared=False)


def neighbours(
    path: Path, definition: SyncDefinition, definitions: Iterable[SyncDefinition], run_log: RunLog
) -> Neighbours:
    """The other syncs that may feed the same entities, those without a definition included.

    Shapes:
        path: of the snapshot.
        definitions: of all syncs.
    """
    others = {one.name: one for one in definitions if one.name != definition.name}
    feeding = {name for name, one in others.items() if one.target.things == definition.target.things}
    found = {file.stem: file for file in sorted(path.parent.glob("*.duckdb")) if file.stem != definition.name}
    missing = [name for name in sorted(feeding - found.keys()) if others[name].store == definition.store]
    return Neighbours(
        files={name: file for name, file in found.items() if name in feeding or name not in others},
        absent=[name for name in missing if run_log.recent(name, 1)],
    )


def compare_with_store(
    definition: SyncDefinition,
    snapshot: Snapshot,
    store: ProfileStore,
    coordination: SharedCoordination,
    neighbours: Neighbours,
    *,
    rows: int | None,
    repair: bool,
) -> Verified:
    """Compare the store with the snapshot, and put what differs in doubt if that is wanted.

    Only the attributes of this sync count, and none that is as another sync's snapshot has it.

    Shapes:
        rows: how many rows of the snapshot to look at, chosen at random; None for all, and for what is extra.
    Raises:
        SnapshotError: there is no snapshot, or it is out of date.
        StoreError: the store cannot be read back.
        StateDatabaseError: the run log cannot be read.
    """
    if not isinstance(store, ReadsBack):
        raise StoreError(f"store `{definition.store}` cannot be read back", hint="`syncer show` reads single entities.")
    store.check(definition.target, create=definition.create)
    if (elsewhere := snapshot.ledger.warehouse_rows) is not None:
        elsewhere.take_all()
    _catch_up(definition, snapshot, coordination, store)
    notes = [*snapshot.ledger.notes]
    comparison = StoreComparison(snapshot.ledger.session, _rules(definition, store, store.identity))
    checked = comparison.want(rows)
    is_whole, lists = rows is None, rows is None and store.can_list(definition.target)
    with coordination.removed_by_itself() if is_whole and _removes(definition) else nullcontext() as removed:
        comparison.read(store.contained(definition.target, None if lists else comparison.keys(removed)))
        comparison.compare()
        notes += _compare_claims(comparison, store, definition.store)
        if comparison.found(0).in_doubt:
            with coordination.removed_since(0) as by_others:
                comparison.excuse_removed(by_others)
        if removed is not None:
            unknown = _why_more_is_unknown(store, coordination, neighbours) if lists and _owns_all(definition) else ""
            only = None if lists and _owns_all(definition) and not unknown else removed
            notes += [f"only what this sync removed counts as extra: {unknown}"] if unknown else []
            comparison.find_extra(removed=only, still_has_attributes=_clears(definition))
    _excuse(comparison, neighbours, store.store_id, notes)
    found = comparison.found(_SHOWN_KEYS)
    if found.in_doubt:
        notes.append(f"of these rows, {found.in_doubt:,} are in doubt anyway: the next run sends them again")
    return Verified(
        checked=checked,
        equal=checked - found.different - found.missing,
        different=found.different,
        missing=found.missing,
        extra=found.extra,
        repaired=comparison.put_in_doubt() if repair else 0,
        different_keys=found.different_keys,
        missing_keys=found.missing_keys,
        extra_keys=found.extra_keys,
        notes=notes,
    )


def _catch_up(
    definition: SyncDefinition, snapshot: Snapshot, coordination: SharedCoordination, store: ProfileStore
) -> None:
    """Put in doubt what other syncs removed or moved; what another run log or machine knows better is not compared."""
    ledger, log_id = snapshot.ledger, coordination.log_id
    if not snapshot.has_sent:
        raise SnapshotError(
            f"`{definition.name}` has no snapshot to compare the store with",
            hint=f"Run `syncer run {definition.name}` first.",
        )
    seen = ledger.open(coordination.newest_claim(), log_id=log_id)
    with coordination.removed_since(seen) as removed:
        ledger.doubt(removed, log_id=log_id, also=other_kinds(store, definition.target))
    if isinstance(store, NumbersPeople) and definition.target.key_may_move:
        ledger.follow_people(store)
    if snapshot.known.is_outdated:
        raise SnapshotError(
            f"the snapshot of `{definition.name}` is out of date: rows were sent from another machine, or before it "
            "was restored",
            hint=f"Verify the sync on that machine, or `syncer run {definition.name}` here first.",
        )


def _rules(definition: SyncDefinition, store: ReadsBack, identity: Identity) -> Rules:
    renamed = {column: name for name, column in (definition.attributes or {}).items()}
    written = written_attributes(definition, None)
    return Rules(
        form=store.value_form,
        gives_texts=store.gives_texts,
        keeps_nulls=definition.on_null is OnNull.KEEP and definition.target.entity.traits.merges,
        written=None if written is None else frozenset(written),
        key_names=tuple(renamed.get(column, column) for column in definition.target.key_columns),
        identifiers=identity.names if definition.target.entity.traits.has_other_identifiers else (),
    )


def _removes(definition: SyncDefinition) -> bool:
    """Whether rows that left the result are removed from the store."""
    return not definition.target.entity.traits.merges or definition.on_removed is not OnRemoved.KEEP


def _clears(definition: SyncDefinition) -> bool:
    return definition.target.entity.traits.merges and definition.on_removed is OnRemoved.CLEAR


def _owns_all(definition: SyncDefinition) -> bool:
    """Whether what no sync's snapshot has should not be in the store: people also come from elsewhere."""
    return definition.target.entity is not Entity.PERSON


def _why_more_is_unknown(store: ReadsBack, coordination: SharedCoordination, neighbours: Neighbours) -> str:
    if store.ledgers() - {coordination.log_id}:
        return "another state folder feeds this store too"
    if neighbours.absent:
        return f"what {listed(neighbours.absent, last='and')} sent is not known here"
    return ""


def _compare_claims(comparison: StoreComparison, store: ReadsBack, name: str) -> list[str]:
    """Compare whose visitors are, where the sync claims some; returns what to say of them."""
    claimed = comparison.claimed
    if claimed is None:
        return []
    if not isinstance(store, KnowsVisitors):
        return [f"whose visitors are is not compared: store `{name}` cannot be asked"]
    others = comparison.compare_claims(store.holders(claimed))
    return [f"visitors that belong to other people now, and stay theirs: {others:,}"] if others else []


def _excuse(comparison: StoreComparison, neighbours: Neighbours, store_id: str, notes: list[str]) -> None:
    """Count nothing that other syncs wrote."""
    found = comparison.found(0)
    may_have_moved = found.missing and comparison.may_move
    if not (found.different or found.extra or may_have_moved):
        return
    unread = [s for s, path in neighbours.files.items() if not comparison.excuse_written(path, s, store_id)]
    if unread:
        notes.append(f"what {listed(unread, last='and')} wrote counts too: its snapshot is in use, or cannot be read")
        comparison.find_nothing_extra()
