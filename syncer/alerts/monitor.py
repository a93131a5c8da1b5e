"""Compares the state of each sync with its open alerts, and sends notices of the difference."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from syncer.alerts.causes import Shared, depended_on, named, seen_in_stores, used_by
from syncer.alerts.conditions import AlertKind, Record, blames, conditions
from syncer.alerts.messages import Change
from syncer.alerts.publisher import Publisher
from syncer.alerts.queues import PATIENCE, Queues
from syncer.alerts.recent_runs import RecentRuns
from syncer.alerts.targets import WAITS, AlertTarget
from syncer.model.errors import SyncerError
from syncer.model.types import ENDED_WELL, Run, SyncDefinition
from syncer.service.lateness import Lateness
from syncer.service.pool import ActiveRun
from syncer.service.service import Service
from syncer.state.alerts import Alert, OpenAlerts
from syncer.state.rejections import RejectionFilter, Rejections

log = logging.getLogger(__name__)

#: Seconds between two checks of every sync: a sync becomes late by itself, and commands run syncs too.
CHECK_SECONDS = 30.0
#: What was seen in a store is over once no run has seen it for so long.
QUIET = timedelta(days=2)

#: Reasons of rejections that a notice names, and characters of each.
_REASONS, _REASON = 3, 200

_OF_CONNECTIONS = frozenset({AlertKind.UNREACHABLE, AlertKind.FLAPPING, AlertKind.CLOCK})
_OF_STORES = frozenset({AlertKind.SHARED, AlertKind.RESTORED})


class AlertMonitor:
    """The alerts of one service; works in its own thread."""

    def __init__(
        self,
        service: Service,
        targets: Sequence[AlertTarget],
        of_owners: Mapping[str, Sequence[AlertTarget]] | None = None,
        *,
        check_seconds: float = CHECK_SECONDS,
        waits: Sequence[float] = WAITS,
        patience: float = PATIENCE,
    ) -> None:
        """Sends nothing yet; *of_owners*: who get the notices of syncs of an owner, in place of *targets*.

        Units:
            patience: seconds for which work may wait without a worker.
        """
        self._service = service
        self._open = OpenAlerts(service.run_log.database)
        self._stopped = threading.Event()
        self._publisher = Publisher(service, targets, of_owners or {}, stopped=self._stopped, waits=waits)
        self._check_seconds = check_seconds
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        #: The syncs to check next; None stands for all.
        self._due: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._all_due_at = float("-inf")
        self._lateness = Lateness(service)
        self._recent = RecentRuns(service.run_log)
        self._queues = Queues(service, patience=patience)

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
        if not self._service.leadership.holds() or self._publisher.is_paused:
            return
        known, now = self._service.catalog.current, self._service.now()
        alerts: dict[str, list[Alert]] = {}
        for alert in self._open.all():
            alerts.setdefault(alert.about, []).append(alert)
        wanted = known.definitions.keys() if names is None else known.definitions.keys() & set(names)
        recent = self._runs_of(wanted | depended_on(wanted, known.definitions))
        places = self._service.runner.snapshots.shared.places_of(known.definitions.keys())
        used = {name: used_by(definition, places[name]) for name, definition in known.definitions.items()}
        shared = self._shared(used, recent, alerts)
        changes = [change for each in shared.values() if (change := self._change_of_shared(each, alerts))]
        changes += self._changes_of_stores({name: runs[0] for name, runs in recent.items()}, alerts)
        of_queues = {about for about, each in alerts.items() if AlertKind.WORKERS in _kinds(each)}
        unattended = self._queues.look(of_queues)
        changes += unattended.changes
        changes += self._changes_of_syncs(sorted(wanted), known.definitions, recent, shared, alerts, unattended.syncs)
        if names is None and not known.errors and not known.folder_error:
            self._forget(alerts.keys() - known.definitions.keys() - of_queues - set(chain(*used.values())))
        if names is None:
            changes += self._stores_at_rest(alerts, now)
        self._publisher.publish(changes, now)

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

    def _shared(
        self,
        used: Mapping[str, Collection[str]],
        recent: Mapping[str, Sequence[Run]],
        alerts: Mapping[str, Sequence[Alert]],
    ) -> dict[str, Shared]:
        """The connections that runs blame, or that have an open alert, each with the runs of all its syncs."""
        abouts = {about for name in recent for about in used[name]}
        blamed = {about for runs in recent.values() for about in abouts if blames(runs[0], about)}
        blamed |= {about for about in abouts & alerts.keys() if _kinds(alerts[about]) & _OF_CONNECTIONS}
        users = {about: [name for name, its in used.items() if about in its] for about in sorted(blamed)}
        failing = {about for about, open_ in alerts.items() if AlertKind.FAILED in _kinds(open_)}
        return {
            about: Shared(
                about=about,
                runs=self._runs_of(names),
                failing=failing & set(names),
                was_flapping=AlertKind.FLAPPING in _kinds(alerts.get(about, ())),
            )
            for about, names in users.items()
        }

    def _runs_of(self, names: Collection[str]) -> Mapping[str, Sequence[Run]]:
        self._recent.look(names)
        return self._recent.conclusive(names)

    def _change_of_shared(self, shared: Shared, alerts: Mapping[str, Sequence[Alert]]) -> Change | None:
        current = shared.conditions()
        known = _kinds(alerts.get(shared.about, ())) & _OF_CONNECTIONS
        opened = {kind: text for kind, text in current.items() if kind not in known}
        closed = sorted(known - current.keys())
        if not opened and not closed:
            return None
        since = max((alert.since for alert in alerts.get(shared.about, ())), default=self._service.now())
        return Change(
            about=shared.about, opened=opened, closed=closed, recovered=not current and shared.worked_since(since)
        )

    def _changes_of_stores(self, newest: Mapping[str, Run], alerts: Mapping[str, Sequence[Alert]]) -> Iterator[Change]:
        here = f"{self._service.settings.state_dir.resolve()} on {socket.gethostname()}"
        found = seen_in_stores(newest, here=here, log_id=self._service.run_log.log_id)
        for (about, kind), text in found.items():
            if kind not in _kinds(alerts.get(about, ())):
                yield Change(about=about, opened={kind: text}, closed=[], recovered=False)

    def _stores_at_rest(self, alerts: Mapping[str, Sequence[Alert]], now: datetime) -> Iterator[Change]:
        """What no run has seen in a store for long."""
        open_ = [(about, kind) for about, each in alerts.items() for kind in _kinds(each) & _OF_STORES]
        if open_:
            runs = self._service.run_log.with_findings(now - QUIET)
            seen = {(finding.about, str(finding.kind)) for run in runs for finding in run.findings}
            for about, kind in open_:
                if (about, kind) not in seen:
                    yield Change(about=about, opened={}, closed=[kind], recovered=kind == AlertKind.SHARED)

    def _changes_of_syncs(
        self,
        names: Sequence[str],
        definitions: Mapping[str, SyncDefinition],
        recent: Mapping[str, Sequence[Run]],
        shared: Mapping[str, Shared],
        alerts: Mapping[str, Sequence[Alert]],
        unattended: Collection[str],
    ) -> Iterator[Change]:
        run_log, now = self._service.run_log, self._service.now()
        paused, well = run_log.paused(), run_log.last_ended_well(names)
        blameless = {name for name, runs in recent.items() if _is_blameless(name, runs[0], shared)}
        flapping = {name for name in names if AlertKind.FLAPPING in _kinds(alerts.get(name, ()))}
        for name in names:
            # A notice says already why they did not end well, or kept it from running; it is late once nobody tries.
            tried = [recent[name][0]] if name in (blameless | flapping) & recent.keys() else []
            needed = depended_on([name], definitions) & recent.keys()
            tried += [recent[other][0] for other in needed if recent[other][0].status not in ENDED_WELL]
            if tried:
                well[name] = max(filter(None, (well.get(name), *(run.started_at for run in tried))))
            if name in unattended:
                # One notice says already that no worker takes its queue.
                well[name] = now
        late = self._lateness.late(((definitions[name], well.get(name), name in paused) for name in names), now)
        refused = run_log.rejection_totals(now)
        for name in names:
            record = Record(
                definition=definitions[name],
                recent=recent.get(name, ()),
                well=self._recent.well(name),
                late=name in late,
                was_flapping=name in flapping,
                acknowledged=refused.get(name, (0, 0))[1],
                waits_for=self._waits_for(definitions[name], recent) if name in late else "",
            )
            change = self._change(record, alerts.get(name, []), name in paused, name in blameless)
            if change is not None:
                yield change

    def _change(self, record: Record, alerts: Sequence[Alert], paused: bool, blameless: bool) -> Change | None:
        current = dict(conditions(record, self._service.settings.alerts))
        if blameless:
            current.pop(AlertKind.FAILED, None)
            current.pop(AlertKind.HELD, None)
        known = _kinds(alerts)
        opened = {kind: text for kind, text in current.items() if kind not in known}
        if AlertKind.REJECTED in opened:
            opened[AlertKind.REJECTED] += self._reasons(record.definition.name)
        closed = [alert.kind for alert in alerts if alert.kind not in current]
        # No run has shown that a paused sync is well, or one whose connection fails.
        if not opened and (not closed or ((paused or blameless) and not current)):
            return None
        ended = record.well[0].finished_at if record.well else None
        # A clock that was ahead may have dated them.
        sinces = [alert.since for alert in alerts if alert.since <= self._service.now()]
        well_since = ended is not None and all(ended >= since for since in sinces)
        run = record.newest
        only_late = opened.keys() == {AlertKind.LATE}
        return Change(
            about=record.definition.name,
            opened=opened,
            closed=closed,
            recovered=bool(closed) and not current and well_since,
            run_id=run.id if run is not None and not only_late else "",
        )

    def _reasons(self, sync: str) -> str:
        """Why most rows of a sync are rejected that count, a line each."""
        rejections, now = Rejections(self._service.run_log.database), self._service.now()
        groups = rejections.groups(sync, RejectionFilter(acknowledged=False), now=now)
        lines = [f"\n{group.rows:,} rows: {group.reason[:_REASON]}" for group in groups[:_REASONS]]
        more = f"\nand {len(groups) - _REASONS:,} more reasons" if len(groups) > _REASONS else ""
        return "".join(lines) + more

    def _waits_for(self, definition: SyncDefinition, recent: Mapping[str, Sequence[Run]]) -> str:
        """What keeps a sync from its run, as a sentence; empty if that is not known."""
        for active in self._service.pool.active_runs():
            if active.name == definition.name:
                began = active.began_at
                if began:
                    return f"A run goes on since {began:%Y-%m-%d %H:%M:%S} UTC."
                remote = self._service.remote_runs
                waiting = remote.waiting() if remote else []
                is_ordered = any(run.is_due for run in waiting if run.sync == active.name)
                return "A run waits for a worker." if is_ordered else "A run waits for its turn."
        failing = [
            name for name in definition.depends_on if name in recent and recent[name][0].status not in ENDED_WELL
        ]
        return f"It runs after {named(sorted(failing))}, whose last run did not end well." if failing else ""

    def _forget(self, abouts: Iterable[str]) -> None:
        """Close the alerts of syncs whose files were removed, and of what no sync uses any more."""
        gone = set(abouts)
        if gone:
            closed = [(alert.about, alert.kind) for alert in self._open.all() if alert.about in gone]
            self._open.update([], closed, self._service.now())


def _kinds(alerts: Iterable[Alert]) -> set[str]:
    return {alert.kind for alert in alerts}


def _is_blameless(name: str, newest: Run, shared: Mapping[str, Shared]) -> bool:
    """Whether what others use too made the newest run of a sync fail, and not the sync."""
    return any(blames(newest, about) and not each.fails_alone(name) for about, each in shared.items())
