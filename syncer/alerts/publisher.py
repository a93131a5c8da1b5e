"""Sends notices of changes to who is to get them, and records what was sent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from syncer.alerts import messages
from syncer.alerts.messages import Change
from syncer.alerts.targets import AlertDelivery, AlertRoute, AlertTarget, Notice
from syncer.observability.redaction import Redactor
from syncer.service.service import Service
from syncer.settings.secrets import secrets_of
from syncer.settings.service import owner_key
from syncer.state.alerts import Mutes, OpenAlerts

log = logging.getLogger(__name__)

#: More changes than this at one moment are sent as one notice.
SEPARATE_NOTICES = 5

#: The targets that get what is about no owner's sync.
_ALL = ""


class Publisher:
    """The targets of one service; for one thread at a time."""

    def __init__(
        self,
        service: Service,
        targets: Sequence[AlertTarget],
        of_owners: Mapping[str, Sequence[AlertTarget]],
        *,
        stopped: threading.Event,
        waits: Sequence[float],
    ) -> None:
        """Sends nothing yet, and nothing more once *stopped* is set; the rest as for `AlertMonitor`."""
        self._service, self._stopped = service, stopped
        self._open, self._mutes = OpenAlerts(service.run_log.database), Mutes(service.run_log.database)
        self._routes = {
            owner: AlertRoute(delivery=AlertDelivery(its, stopped=stopped, waits=waits))
            for owner, its in {**of_owners, _ALL: targets}.items()
            if its
        }
        self._clean = Redactor(secrets_of(service.settings))

    @property
    def is_paused(self) -> bool:
        """Whether no target takes anything now."""
        return all(route.is_paused for route in self._routes.values())

    def publish(self, changes: Sequence[Change], now: datetime) -> None:
        """Send notices of changes, and record those that somebody got; the others are found again."""
        muted = self._mutes.current(now)
        by_route: dict[str, list[Change]] = {}
        for change in changes:
            if change.about in muted:
                # What is wrong once the sync is heard again is found then.
                self._update([replace(change, opened={}, recovered=False)], now)
            elif not change.needs_notice:
                self._update([change], now)
            else:
                by_route.setdefault(self._route_of(change), []).append(change)
        web_url = self._service.settings.web.public_url
        for route, noticed in by_route.items():
            if len(noticed) > SEPARATE_NOTICES:
                self._send(route, noticed, messages.render_summary(noticed, web_url=web_url, clean=self._clean), now)
                continue
            for change in noticed:
                self._send(route, [change], messages.render(change, web_url=web_url, clean=self._clean), now)

    def _route_of(self, change: Change) -> str:
        """The owner who gets the notice of a change, or all."""
        definition = self._service.catalog.current.definitions.get(change.about)
        owner = owner_key(definition.owner) if definition else _ALL
        return owner if owner in self._routes else _ALL

    def _send(self, to: str, changes: Sequence[Change], notice: Notice, now: datetime) -> None:
        """Send a notice, and only then record it; if no target accepts it, a later check finds the change again.

        What no target of an owner accepts goes to the others.
        """
        routes = [self._routes[name] for name in dict.fromkeys((to, _ALL)) if name in self._routes]
        for route in routes:
            if self._stopped.is_set() or not self._service.leadership.holds():
                return
            if not route.is_paused and route.accepts(notice, stopped=self._stopped):
                break
        else:
            # Without a target, nobody waits for a notice.
            if routes:
                return
        self._update(changes, now)

    def _update(self, changes: Sequence[Change], now: datetime) -> None:
        opened = [(change.about, str(kind)) for change in changes for kind in change.opened]
        self._open.update(opened, [(change.about, kind) for change in changes for kind in change.closed], now)
        for change in changes:
            if change.needs_notice:
                states = [str(kind) for kind in change.opened] or ["recovered"]
                log.info("sent an alert", extra={"about": change.about, "alerts": states})
