"""The ledger of events in a file of the state folder: what other syncs, machines or removals do concerns no event.

Beside what every ledger's `meta` has there are `event_start`: from when on events count (microseconds since 1970);
`starts_at_date`, if a date decided it; `former_start`, the same of a store that was put back; in unix seconds
`newest_event`, the newest that was sent or is past; `last_event_time`, the same at the last run that ended well; and
`forgotten_before`, before which no id is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pyarrow as pa

from syncer.model.types import FindingKind, Removed
from syncer.snapshot import event_journal
from syncer.snapshot.columns import ColumnMap
from syncer.snapshot.event_rows import starts_at_date
from syncer.snapshot.file_ledger import FileLedger
from syncer.snapshot.ledger import Intent, Journal, Known
from syncer.snapshot.session import retried
from syncer.snapshot.tables import MANY_ROWS, fit_blocks

#: Seconds by which events must be too old before ids are forgotten: to forget some at each run would take longer.
_FORGOTTEN_AT_ONCE = 86_400

_SINCE_1970 = datetime(1970, 1, 1, tzinfo=UTC)


class EventLedger(FileLedger):
    """One sync's file, open and locked; see `Ledger`."""

    _journal: ClassVar[Journal] = event_journal

    def open(self, claim: str, *, log_id: str, is_current: bool = False) -> int:
        """See `Ledger.open`; an event that was sent elsewhere too is the same event."""
        notes = [*self.notes]
        seen = super().open(claim, log_id=log_id, is_current=is_current)
        if self.session.any("SELECT 1 FROM sent_events"):
            self.notes = notes
        return seen

    def doubt(self, removed: Removed, *, log_id: str, also: Mapping[str, str]) -> None:
        """See `Ledger.doubt`; no removal touches what has happened."""
        former, values = self._memory()["log_id"], {"log_id": log_id, "removals_seen": str(removed.newest)}
        if former not in ("", log_id):
            values |= {"claimed_by": "", "claimed_after": "", "fence": "", "fence_before": "", "former_log": former}
        with self._transaction():
            self._remember(**values)

    def compare_fences(self, fences: Mapping[str, str], *, log_id: str) -> str:
        """See `Ledger.compare_fences`; of a store that was put back nobody knows which events it has."""
        ended = super().compare_fences(fences, log_id=log_id)
        if FindingKind.RESTORED in self.store_findings:
            with self._transaction() as session:
                memory = self._memory()
                session.execute("DELETE FROM sent_events")
                self._remember(
                    former_start=memory["event_start"] or memory["former_start"], event_start="", forgotten_before=""
                )
                self._remember(last_sync_time="0", last_event_time="", newest_event="")
        return ended

    def known(self) -> Known:
        """See `Ledger.known`."""
        memory = self._memory()
        return replace(
            super().known(),
            last_sync_time=int(memory["last_sync_time"] or 0),
            # A row that cannot be sent comes again while it is within the lookback.
            has_quarantined=False,
            last_event_time=int(memory["last_event_time"] or 0),
            event_start=_moment(memory["event_start"]),
            former_start=_moment(memory["former_start"]),
            starts_at_date=memory["starts_at_date"] != "",
            forgotten_before=int(memory["forgotten_before"] or 0),
        )

    @retried
    def intend(self, layout: ColumnMap, intent: Intent, known: Known) -> int:
        """See `Ledger.intend`; what is past is remembered from then on."""
        if self.session.any(f"FROM (SELECT 1 FROM past OFFSET {MANY_ROWS})"):
            fit_blocks(self.session, self._path.resolve())
        if layout.schema.definition.incremental and not (intent.is_partial or intent.only_some):
            # What only the whole result has is asked for again until such a run has ended well.
            self._with_intent["last_sync_time"] = "0"
        if intent.event_start is not None:
            self._with_intent |= {
                "event_start": str((intent.event_start - _SINCE_1970) // timedelta(microseconds=1)),
                "former_start": "",
                "starts_at_date": "yes" if starts_at_date(layout) else "",
            }
        return super().intend(layout, intent, known)

    @retried
    def acknowledge(self, layout: ColumnMap, verdicts: pa.Table) -> None:
        """See `Ledger.acknowledge`; nothing else of a run that dies says that the store has its fence."""
        with self._transaction():
            self._journal.write_verdicts(self.session, layout, verdicts)
            self._settle_fence()

    @retried
    def _settle(self, layout: ColumnMap, intent: Intent, values: dict[str, str], *, at: datetime) -> None:
        with self._transaction() as session:
            before = int(self._memory()["newest_event"] or 0)
            newest = max(before, intent.newest_known, event_journal.newest_accepted(session))
            if not intent.is_empty:
                self._settle_fence()
                event_journal.settle(session, intent, layout, at=at)
            if newest > before:
                values |= {"newest_event": str(newest)}
            if values.get("last_sync_time"):
                # Every row had an answer: none is forgotten that is to be sent again.
                values |= {"last_event_time": str(newest)} | self._forget(layout, newest)
            self._remember(**values)

    def _forget(self, layout: ColumnMap, newest: int) -> dict[str, str]:
        """Forget what is older than the definition wants it remembered; part of the caller's transaction."""
        rules, known = layout.schema.definition.event_rules, int(self._memory()["forgotten_before"] or 0)
        if rules is None or rules.remember is None:
            return {}
        before = newest - int(rules.remember.total_seconds())
        if before - known < _FORGOTTEN_AT_ONCE:
            return {}
        event_journal.forget(self.session, before)
        return {"forgotten_before": str(before)}


def _moment(micros: str) -> datetime | None:
    return _SINCE_1970 + timedelta(microseconds=int(micros)) if micros else None
