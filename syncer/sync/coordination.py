"""What one run shares with the other runs of its sync, and with those of other syncs of its store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from syncer.model.errors import RunInProgressError, StoreRefusesError
from syncer.model.protocols import (
    AddressesTargets,
    Fenced,
    NumbersPeople,
    ProfileStore,
    ReplacesCollections,
)
from syncer.model.spelling import listed
from syncer.model.types import AttributeRule, PersonKey, Removed, SyncDefinition, Target
from syncer.snapshot.file import is_being_changed
from syncer.snapshot.ledger import Writer, WriterState
from syncer.snapshot.outbox import Outbox, Taken
from syncer.snapshot.snapshot import Snapshot
from syncer.sync.takes import Claims, is_refused, refuse_earlier

if TYPE_CHECKING:
    from syncer.definitions.folder import DefinitionFiles


class Coordination(Claims, Protocol):
    """Claims tell other machines that rows were sent from this one's snapshot; removals tell other syncs of a store."""

    def at_one_moment(self) -> AbstractContextManager[object]:
        """Let everything that is read in the block be of one moment."""

    def at_once(self) -> AbstractContextManager[object]:
        """Make everything that the block records durable together, when it ends; nothing of it if it raises."""

    def claim(self, *, after: str) -> bool:
        """Claim the sync durably, before anything is sent; False where *after* is no longer the newest claim."""

    def confirm(self) -> bool:
        """Once nothing more is sent: whether no other run has claimed the sync since; else the next sends every row."""

    def writers(self, things: str) -> Mapping[str, tuple[frozenset[str], str]]:
        """The attributes of *things* and the newest claim of each other sync that feeds them, or has fed them."""

    def removed_since(self, seq: int) -> AbstractContextManager[Removed]:
        """What other syncs removed after a number; the files stay until the block ends."""

    def attributes_of_others(self, things: str, attributes: Collection[str] | None) -> set[str]:
        """Record which attributes of *things* (see `Target.things`) this sync writes, unless they are None.

        Returns which of those, and of those that it wrote before, others write, or wrote.
        """

    def announce(self, write: Callable[[Path, str], int]) -> None:
        """Make what is about to be removed, unset or moved durable and visible, before it is sent.

        Shapes:
            write: writes the file of a RemovedSet, whose hashes are to have a key; returns how many there are.
        """

    def close_removals(self) -> None:
        """Make them visible once more, now that the store has answered them all."""


@dataclass(frozen=True)
class WriterStates:
    """What other syncs that have fed the same as one definition do now, as the folder of definitions has it."""

    folder: Path
    definition: SyncDefinition

    def __call__(self, sync: str) -> WriterState:
        """Of one of them.

        Raises:
            SettingsError: the folder cannot be read.
        """
        found, mine = self._files.find(sync), self.definition
        if found is None:
            return WriterState.GONE
        if (other := found.definition) is None:
            return WriterState.FEEDS
        if other.target.things != mine.target.things or other.store != mine.store:
            return WriterState.ELSEWHERE
        return WriterState.FEEDS if other.enabled else WriterState.GONE

    @cached_property
    def _files(self) -> DefinitionFiles:
        from syncer.definitions.folder import DefinitionFiles

        return DefinitionFiles(self.folder)


def other_kinds(store: ProfileStore, target: Target) -> dict[str, str]:
    """To the kind of a target's objects and relationships, by which other one a store that addresses targets has them.

    Syncs that call the type otherwise know them by that.
    """
    name, other = target.object_type, store.address(target) if isinstance(store, AddressesTargets) else None
    if not name or not other or name == other:
        return {}
    return {name: other} | {f"{key}:{name}": f"{key}:{other}" for key in PersonKey}


def catch_up(
    snapshot: Snapshot,
    coordination: Coordination,
    store: ProfileStore,
    state_of: Callable[[str], WriterState] = lambda sync: WriterState.FEEDS,
    rules: Mapping[str, AttributeRule] = MappingProxyType({}),
) -> None:
    """Put in doubt what other machines, other syncs, or a restore of the store may have touched.

    Shapes:
        state_of: of another sync that feeds, or has fed, the same entities.
        rules: those of the definition.
    Raises:
        StoreRefusesError: another sync feeds a collection that the store replaces as a whole.
        RunInProgressError: a sync runs whose values count more.
    """
    ledger, log_id = snapshot.ledger, coordination.log_id
    with ExitStack() as files:
        with coordination.at_one_moment():
            seen = ledger.open(
                coordination.newest_claim(),
                log_id=log_id,
                is_current=snapshot.is_current,
            )
            removed = files.enter_context(coordination.removed_since(seen))
            writers = coordination.writers(ledger.session.target.things).items()
        ledger.doubt(removed, log_id=log_id, also=other_kinds(store, ledger.session.target))
    _refuse_sharing(ledger.session.target, store, [sync for sync, _ in writers], state_of)
    found = {sync: Writer(attributes=names, claim=claim) for sync, (names, claim) in writers}
    # What happened is nobody else's to write over.
    if not ledger.session.target.entity.traits.happens:
        ledger.follow_writers(found, state_of, form=store.value_form)
        ledger.follow_sources(*_ranked(coordination.sync, rules, found, state_of), store_id=store.store_id)
    refuse_earlier(snapshot.sharing, store, coordination)
    if isinstance(store, Fenced):
        ended = ledger.compare_fences(store.fences(coordination.sync), log_id=log_id)
        if coordination.run_id:
            store.fence(ledger=log_id, sync=coordination.sync, run_id=coordination.run_id)
            if ended:
                store.forget_fence(ledger=ended, sync=coordination.sync)
    if isinstance(store, NumbersPeople) and ledger.session.target.key_may_move:
        ledger.follow_people(store)
    ledger.follow_identity(store.identity)


def _ranked(
    sync: str, rules: Mapping[str, AttributeRule], writers: Mapping[str, Writer], state_of: Callable[[str], WriterState]
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, bool]]]:
    """The `rivals` and `followers` of `Ledger.follow_sources`."""
    claims = {name: one.claim for name, one in writers.items()}
    rivals: dict[str, dict[str, str]] = {}
    followers: dict[str, dict[str, bool]] = {}
    for name, rule in rules.items():
        # What a disabled one sent is in the store, and stands.
        before = [one for one in rule.before(sync) if state_of(one) is not WriterState.ELSEWHERE]
        if sync in rule.sources and len(rule.sources) > 1:
            rivals[name] = {one: claims.get(one, "") for one in before}
        after = {one: one in writers and name in writers[one].attributes for one in rule.after(sync)}
        followers |= {name: after} if after else {}
    return rivals, followers


def _refuse_sharing(
    target: Target, store: ProfileStore, writers: Sequence[str], state_of: Callable[[str], WriterState]
) -> None:
    if target.collection is None or not isinstance(store, ReplacesCollections):
        return
    if others := [sync for sync in writers if state_of(sync) is WriterState.FEEDS]:
        raise StoreRefusesError(
            f"{target.things} is fed by {listed(others, last='and')} too, and the store replaces a collection as a "
            "whole: each sync would remove the rows of the other",
            hint="Disable all but one of them, or give each sync a collection of its own.",
        )


def refuse_beside_rivals(definition: SyncDefinition, folder: Path) -> None:
    """Let no sync run beside one whose values count more.

    Raises:
        RunInProgressError: such a one runs now; *folder* has the snapshots.
    """
    for name in sorted(definition.yields_to) if definition.rules else ():
        if is_being_changed(folder / f"{name}.duckdb"):
            of = [attribute for attribute, rule in definition.rules.items() if name in rule.before(definition.name)]
            what = f"`{name}` runs now, and its values of {listed(of, last='and')} count more than those of"
            raise RunInProgressError(f"{what} `{definition.name}`", hint="Run it again when that has ended.")


def announce(
    definition: SyncDefinition,
    outbox: Outbox,
    store: ProfileStore,
    coordination: Coordination,
    shared: set[str],
    *,
    is_overtaken: bool = False,
) -> bool:
    """Let other syncs of the store know what the outbox takes from what they sent: see `Coordination.announce`.

    Shapes:
        shared: the attributes that others write too.
        is_overtaken: whether one whose values count more ran meanwhile.
        returns: whether there is anything.
    """
    target = definition.target
    taken = Taken(
        unset=shared,
        is_numbered=isinstance(store, NumbersPeople),
        identifiers=store.identifiers if target.entity.traits.has_other_names else None,
        also=other_kinds(store, target),
        outranked={name for name, rule in definition.rules.items() if rule.before(definition.name)},
        is_overtaken=is_overtaken,
    )
    if not outbox.takes_anything(taken):
        return False
    coordination.announce(partial(outbox.write_taken, taken))
    return True


def announce_again(
    definition: SyncDefinition, outbox: Outbox, store: ProfileStore, coordination: Coordination, shared: set[str]
) -> list[str]:
    """Announce again what other syncs may have looked for too early, or what they began to write meanwhile.

    Shapes:
        shared: as for `announce`, before anything was sent.
        returns: notes for the run.
    """
    if not outbox.rows:
        return []
    things = definition.target.things
    newer = coordination.attributes_of_others(things, None) - shared
    was_refused = is_refused(store, coordination)
    is_newest = not was_refused and coordination.confirm()
    is_overtaken = _is_any_newer(coordination, things, outbox.claims_of_rivals)
    if newer or is_overtaken or not is_newest:
        announce(definition, outbox, store, coordination, shared | newer, is_overtaken=is_overtaken)
        coordination.close_removals()
    stands = is_newest or was_refused
    return [] if stands else ["another run sent rows at the same time: the next one sends every row again"]


def _is_any_newer(coordination: Coordination, things: str, claims: Mapping[str, str]) -> bool:
    """Whether a sync has another newest claim than these."""
    if not claims:
        return False
    writers = coordination.writers(things)
    return any(writers.get(sync, ((), ""))[1] != claim for sync, claim in claims.items())
