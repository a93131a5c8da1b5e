"""Tells people when the state of a sync changes: what was told is compared with what is so, and the difference told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from syncer.alerts import wording
from syncer.alerts.conditions import COMPARED, TELLING, AlertKind, Record, conditions
from syncer.alerts.delivery import WAITS, Delivery
from syncer.alerts.targets import Notice, Target
from syncer.alerts.told import Alert, Told
from syncer.alerts.wording import Change
from syncer.model.errors import SyncerError
from syncer.model.types import ENDED_WELL, SyncDefinition
from syncer.observability.redaction import Redactor
from syncer.service import ActiveRun, Service
from syncer.service.lateness import Lateness
from syncer.settings.secrets import secrets_of

log = logging.getLogger(__name__)

#: Seconds between two looks at every sync: time goes on, and commands run syncs too.
LOOK_SECONDS = 30.0
#: Changes that are found at one moment beyond which they are told in one notice.
SEPARATELY = 5
#: Seconds until delivery is tried again where no target takes anything, at first and at the most.
_FIRST_REST, _LONGEST_REST = 30.0, 600.0


class Alerts:
    """The alerts of one service. All is done in a thread of its own, which nobody waits for."""

    def __init__(
        self,
        service: Service,
        targets: Sequence[Target],
        *,
        look_seconds: float = LOOK_SECONDS,
        waits: Sequence[float] = WAITS,
    ) -> None:
        """Nobody is told anything yet."""
        self._service = service
        self._told = Told(service.run_log.database)
        self._stopped = threading.Event()
        self._delivery = Delivery(targets, stopped=self._stopped, waits=waits)
        self._clean = Redactor(secrets_of(service.settings))
        self._look_seconds = look_seconds
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        self._wake = threading.Event()
        self._all_looked_at = float("-inf")
        #: The syncs to look at next; None stands for all.
        self._names: set[str] | None = None
        self._lock = threading.Lock()
        self._rest = 0.0
        self._resting_until = 0.0
        self._lateness = Lateness(service)

    def start(self) -> None:
        """Look at each run that ends, and at every sync now and then."""
        self._service.ended.append(self.ended)
        self._service.beats.append(self.beat)
        self._thread.start()

    def stop(self, seconds: float = 3.0) -> None:
        """Tell nothing more; what is being handed over may end meanwhile."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(seconds)

    def ended(self, live: ActiveRun) -> None:
        """Look at a sync of which a run has ended."""
        with self._lock:
            if self._names is not None:
                self._names.add(live.name)
        self._wake.set()

    def beat(self) -> None:
        """Look at every sync where it is time to."""
        if time.monotonic() - self._all_looked_at >= self._look_seconds:
            with self._lock:
                self._names = None
            self._wake.set()

    def look(self, names: Iterable[str] | None = None) -> None:
        """Compare what is so with what was told, and tell the difference; of all syncs, or of some."""
        if not self._service.leadership.holds() or time.monotonic() < self._resting_until:
            return
        edition, now = self._service.catalog.edition, self._service.now()
        alerts: dict[str, list[Alert]] = {}
        for alert in self._told.all():
            alerts.setdefault(alert.sync, []).append(alert)
        paused = self._service.run_log.paused()
        wanted = edition.definitions.keys() if names is None else edition.definitions.keys() & set(names)
        found = [
            change
            for name in sorted(wanted)
            if (change := self._change(edition.definitions[name], alerts.get(name, []), name in paused, now))
        ]
        if names is None and not edition.errors and not edition.folder_error:
            self._forget(alerts.keys() - edition.definitions.keys())
        self._tell(found, now)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopped.is_set():
                return
            with self._lock:
                names, self._names = self._names, set()
            if names is None:
                self._all_looked_at = time.monotonic()
            try:
                self.look(names)
            except SyncerError as exc:
                log.warning("the alerts cannot be looked after: %s", exc)
            except Exception:
                log.exception("the alerts cannot be looked after")

    def _change(
        self, definition: SyncDefinition, alerts: Sequence[Alert], paused: bool, now: datetime
    ) -> Change | None:
        record = self._record(definition, paused, now)
        current = conditions(record, self._service.settings.alerts)
        known = {alert.kind for alert in alerts}
        begun = {kind: text for kind, text in current.items() if kind not in known}
        over = [alert.kind for alert in alerts if alert.kind not in current]
        if paused and not begun and not current:
            # Nothing has shown that it is well.
            return None
        if not begun and not over:
            return None
        ended = record.ended_well_at
        well_since = ended is not None and all(ended >= alert.since for alert in alerts)
        run = record.newest
        only_late = begun.keys() == {AlertKind.LATE}
        return Change(
            sync=definition.name,
            begun=begun,
            over=over,
            recovered=bool(over) and not current and well_since,
            run_id=run.id if run is not None and not only_late else "",
        )

    def _record(self, definition: SyncDefinition, paused: bool, now: datetime) -> Record:
        run_log, name = self._service.run_log, definition.name
        newest = run_log.recent(name, 1, statuses=TELLING)
        well = run_log.recent(name, COMPARED + 1, statuses=ENDED_WELL)
        began = well[0].started_at if well else None
        return Record(
            definition=definition,
            newest=newest[0] if newest else None,
            well=well,
            late=self._lateness.is_late(definition, began, paused=paused, now=now),
        )

    def _tell(self, changes: Sequence[Change], now: datetime) -> None:
        told = [change for change in changes if change.is_told]
        for change in changes:
            if not change.is_told:
                self._note([change], now)
        web_url = self._service.settings.web.url
        if len(told) > SEPARATELY:
            self._hand_over(told, wording.bundle(told, web_url=web_url), now)
            return
        for change in told:
            self._hand_over([change], wording.notice(change, web_url=web_url, clean=self._clean), now)

    def _hand_over(self, changes: Sequence[Change], notice: Notice, now: datetime) -> None:
        """Tell, and only then note that it was told; where nobody takes it, it is found again later."""
        if self._stopped.is_set() or not self._service.leadership.holds() or time.monotonic() < self._resting_until:
            return
        if self._delivery.hand_over(notice):
            self._rest = 0.0
            self._note(changes, now)
        elif not self._stopped.is_set():
            self._rest = min(max(self._rest * 2, _FIRST_REST), _LONGEST_REST)
            self._resting_until = time.monotonic() + self._rest
            log.error("no target takes alerts; they are tried again in %.0f seconds", self._rest)

    def _note(self, changes: Sequence[Change], now: datetime) -> None:
        begun = [Alert(sync=change.sync, kind=kind, since=now) for change in changes for kind in change.begun]
        self._told.change(begun, [(change.sync, kind) for change in changes for kind in change.over])
        for change in changes:
            if change.is_told:
                states = [str(kind) for kind in change.begun] or ["recovered"]
                log.info("told of a change", extra={"sync": change.sync, "alerts": states})

    def _forget(self, names: Iterable[str]) -> None:
        """Of a sync whose file was removed nothing more is told."""
        gone = set(names)
        if gone:
            self._told.change([], [(alert.sync, alert.kind) for alert in self._told.all() if alert.sync in gone])
