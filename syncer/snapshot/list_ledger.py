"""The ledger of a list of people: what it has done to each of them stands, whatever becomes of them later."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from syncer.model.types import FindingKind, Removed, ValueForm
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.ledger import Writer, WriterState


class ListLedger(FileLedger):
    """Its rows are sent once: only a store that was put back, from before it took them, gets them again.

    That other syncs remove or make the same people puts none of them in doubt.
    """

    def open(self, claim: str, *, log_id: str, is_current: bool = False) -> int:
        notes = list(self.notes)
        seen = super().open(claim, log_id=log_id, is_current=is_current)
        if self._is_outdated and self.session.any("SELECT 1 FROM snapshot"):
            # What was said of every row is not so here.
            self.notes = [
                *notes,
                "rows of the list were sent from another machine, or before this file was restored: what this snapshot "
                "does not know of them is sent again",
            ]
        return seen

    def doubt(self, removed: Removed, *, log_id: str, also: Mapping[str, str]) -> None:
        notes = list(self.notes)
        super().doubt(Removed(newest=removed.newest), log_id=log_id, also=also)
        self.notes = notes

    def follow_writers(
        self, writers: Mapping[str, Writer], state_of: Callable[[str], WriterState], *, form: ValueForm
    ) -> None:
        """Nothing: a list has no attributes that others could write over."""

    def _put_in_doubt(self, which: str) -> None:
        if FindingKind.RESTORED in self.store_findings:
            super()._put_in_doubt(which)
