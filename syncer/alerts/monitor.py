"""Compares the state of each sync with its open alerts, and sends notices of the difference."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from syncer.alerts import messages
from syncer.alerts.conditions import COMPARED, CONCLUSIVE, AlertKind, Record, conditions
from syncer.alerts.messages import Change
from syncer.alerts.targets import WAITS, AlertDelivery, AlertTarget, Notice
from syncer.model.errors import SyncerError
from syncer.model.types import ENDED_WELL, SyncDefinition
from syncer.observability.redaction import Redactor
from syncer.service.lateness import Lateness
from syncer.service.pool import ActiveRun
from syncer.service.service import Service
from syncer.settings.secrets import secrets_of
from syncer.state.alerts import Alert, OpenAlerts

log = logging.getLogger(__name__)

#: Seconds between two checks of every sync: a sync becomes late by itself, and commands run syncs too.
CHECK_SECONDS = 30.0
#: More changes than this at one moment are sent as one notice.
SEPARATE_NOTICES = 5
#: Seconds until the next attempt when no target accepts anything, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 600.0


class AlertMonitor:
    """The alerts of one service; works in its own thread."""

    def __init__(
        self,
        service: Service,
        targets: Sequence[AlertTarget],
        *,
        check_seconds: float = CHECK_SECONDS,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """Sends nothing yet."""
        self._service = service
        self._open = OpenAlerts(service.run_log.database)
        self._stopped = threading.Event()
        self._delivery = AlertDelivery(targets, stopped=self._stopped, waits=waits)
        self._clean = Redactor(secrets_of(service.settings))
        self._check_seconds = check_seconds
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        #: The syncs to check next; None stands for all.
        self._due: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._all_due_at = float("-inf")
        self._pause = 0.0
        self._paused_until = 0.0
        self._lateness = Lateness(service)

    def start(self) -> None:
        """Check a sync after each of its runs, and every sync from time to time."""
        self._service.ended.append(self.ended)
        self._service.heartbeats.append(self.heartbeat)
        self._thread.start()

    def stop(self, seconds: float = 3.0) -> None:
        """Send nothing more; a notice on its way may still arrive.

        Units:
            seconds: how long to wait for the thread.
        """
        self._stopped.set()
        self._due.put(None)
        self._thread.join(seconds)

    def ended(self, run: ActiveRun) -> None:
        """Check the sync of a run that has ended."""
        self._due.put(run.name)

    def heartbeat(self) -> None:
        """Check every sync if it is time."""
        if time.monotonic() >= self._all_due_at:
            self._all_due_at = time.monotonic() + self._check_seconds
            self._due.put(None)

    def check(self, names: Iterable[str] | None = None) -> None:
        """Compare some syncs, or all, with their open alerts, and send notices of the difference."""
        if not self._service.leadership.holds() or time.monotonic() < self._paused_until:
            return
        known, now = self._service.catalog.current, self._service.now()
        alerts: dict[str, list[Alert]] = {}
        for alert in self._open.all():
            alerts.setdefault(alert.sync, []).append(alert)
        wanted = known.definitions.keys() if names is None else known.definitions.keys() & set(names)
        paused, well = self._service.run_log.paused(), self._service.run_log.last_ended_well(wanted)
        late = self._lateness.late(((known.definitions[name], well.get(name), name in paused) for name in wanted), now)
        found = [
            change
            for name in sorted(wanted)
            if (change := self._change(known.definitions[name], alerts.get(name, []), name in paused, name in late))
        ]
        if names is None and not known.errors and not known.folder_error:
            self._forget(alerts.keys() - known.definitions.keys())
        self._publish(found, now)

    def _work(self) -> None:
        while True:
            due = {self._due.get()}
            while not self._due.empty():
                due.add(self._due.get())
            if self._stopped.is_set():
                return
            try:
                self.check(None if None in due else filter(None, due))
            except SyncerError as exc:
                log.warning("the alerts cannot be checked: %s", exc)
            except Exception:
                log.exception("the alerts cannot be checked")

    def _change(self, definition: SyncDefinition, alerts: Sequence[Alert], paused: bool, late: bool) -> Change | None:
        record = self._record(definition, late)
        current = conditions(record, self._service.settings.alerts)
        known = {alert.kind for alert in alerts}
        opened = {kind: text for kind, text in current.items() if kind not in known}
        closed = [alert.kind for alert in alerts if alert.kind not in current]
        # No run has shown that a paused sync is well.
        if not opened and (not closed or (paused and not current)):
            return None
        ended = record.well[0].finished_at if record.well else None
        well_since = ended is not None and all(ended >= alert.since for alert in alerts)
        run = record.newest
        only_late = opened.keys() == {AlertKind.LATE}
        return Change(
            sync=definition.name,
            opened=opened,
            closed=closed,
            recovered=bool(closed) and not current and well_since,
            run_id=run.id if run is not None and not only_late else "",
        )

    def _record(self, definition: SyncDefinition, late: bool) -> Record:
        run_log, name = self._service.run_log, definition.name
        newest = run_log.recent(name, 1, statuses=CONCLUSIVE)
        well = run_log.recent(name, COMPARED + 1, statuses=ENDED_WELL)
        return Record(definition=definition, newest=newest[0] if newest else None, well=well, late=late)

    def _publish(self, changes: Sequence[Change], now: datetime) -> None:
        noticed = [change for change in changes if change.needs_notice]
        for change in changes:
            if not change.needs_notice:
                self._update([change], now)
        web_url = self._service.settings.web.public_url
        if len(noticed) > SEPARATE_NOTICES:
            self._send(noticed, messages.render_summary(noticed, web_url=web_url), now)
            return
        for change in noticed:
            self._send([change], messages.render(change, web_url=web_url, clean=self._clean), now)

    def _send(self, changes: Sequence[Change], notice: Notice, now: datetime) -> None:
        """Send a notice, and only then record it; if no target accepts it, a later check finds the change again."""
        if self._stopped.is_set() or not self._service.leadership.holds() or time.monotonic() < self._paused_until:
            return
        if self._delivery.send(notice):
            self._pause = 0.0
            self._update(changes, now)
        elif not self._stopped.is_set():
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._paused_until = time.monotonic() + self._pause
            log.error("no target accepts alerts; next attempt in %.0f seconds", self._pause)

    def _update(self, changes: Sequence[Change], now: datetime) -> None:
        opened = [Alert(sync=change.sync, kind=kind, since=now) for change in changes for kind in change.opened]
        self._open.update(opened, [(change.sync, kind) for change in changes for kind in change.closed])
        for change in changes:
            if change.needs_notice:
                states = [str(kind) for kind in change.opened] or ["recovered"]
                log.info("sent an alert", extra={"sync": change.sync, "alerts": states})

    def _forget(self, names: Iterable[str]) -> None:
        """Close the alerts of syncs whose files were removed."""
        gone = set(names)
        if gone:
            self._open.update([], [(alert.sync, alert.kind) for alert in self._open.all() if alert.sync in gone])
