"""How a run that shares its snapshot lets the store refuse those that it overtook; see `model.takes`."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from syncer.model.errors import StoreError
from syncer.model.protocols import ProfileStore
from syncer.model.takes import RefusesOvertaken
from syncer.snapshot.ledger import Sharing


class Claims(Protocol):
    """Who a run is, and who sends; see `coordination.Coordination`."""

    @property
    def run_id(self) -> str:
        """The run, for `Difference.open_outbox`; empty where nothing is claimed."""

    @property
    def sync(self) -> str:
        """The name of the sync."""

    @property
    def log_id(self) -> str:
        """The name of what keeps claims and removals; a new name means that earlier ones are gone."""

    def newest_claim(self) -> str:
        """The run that claimed the sync last; empty where none did."""


def refuse_earlier(sharing: Sharing | None, store: ProfileStore, claims: Claims) -> None:
    """Let the store refuse the runs that took the sync before this one, if it can, and the run has taken it.

    Raises:
        RunInProgressError: another run has taken it since.
        StoreError: the store did not answer.
    """
    if sharing is None or not claims.run_id or not isinstance(store, RefusesOvertaken):
        return
    known = store.newest_take(ledger=claims.log_id, sync=claims.sync)
    if known >= sharing.take:
        # Either this run was overtaken, or the run log was put back from a backup.
        sharing.take_after(known)
    store.hold(ledger=claims.log_id, sync=claims.sync, take=sharing.take)
    if not sharing.was_settled:
        # The run before may stand still, with a batch that it is about to send.
        store.shut_out()


def is_refused(store: ProfileStore, claims: Claims) -> bool:
    """Whether the store refuses a run, as a later one has written: all that this one wrote came before that."""
    if not isinstance(store, RefusesOvertaken) or not store.take or claims.newest_claim() == claims.run_id:
        return False
    # It may be down; then nobody knows.
    with suppress(StoreError):
        return store.newest_take(ledger=claims.log_id, sync=claims.sync) > store.take
    return False
