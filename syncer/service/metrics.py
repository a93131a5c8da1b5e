"""The metrics of a service for Prometheus: the state in the run log, and what this process has counted."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, fields

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from syncer.model import call_counts
from syncer.model.errors import SyncerError
from syncer.model.types import OPEN, Counts, RunStatus
from syncer.service.lateness import Lateness
from syncer.service.pool import ActiveRun
from syncer.service.queue_metrics import WAIT_BUCKETS, QueueMetrics
from syncer.service.service import Service
from syncer.service.status import SyncStatus

_STATUSES = tuple(status for status in RunStatus if status not in OPEN)
_CHANGES = tuple(count.name for count in fields(Counts))


def metrics_router(service: Service) -> APIRouter:
    """`GET /metrics`, about a service from now on."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service))
    ProcessCollector(registry=registry)
    router = APIRouter()

    @router.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), media_type=content_type)

    return router


class ServiceCollector(Collector):
    """Computed at each scrape; a sync whose definition is gone has no metrics."""

    def __init__(self, service: Service) -> None:
        """Begin to count the runs that end."""
        self._service = service
        self._counted: set[str] = set()
        self._runs = Counter(
            "syncer_sync_runs", "Finished runs of this service, skipped ones too.", ["sync", "status"], registry=None
        )
        self._rows = Counter(
            "syncer_sync_rows", "Rows of these runs, by each count.", ["sync", "change"], registry=None
        )
        self._waits = Histogram(
            "syncer_sync_queue_wait_seconds",
            "Histogram of the seconds from the request for a run to its start.",
            ["sync"],
            buckets=WAIT_BUCKETS,
            registry=None,
        )
        self._lock = threading.Lock()
        self._lateness, self._queues = Lateness(service), QueueMetrics(service)
        service.ended.append(self._count)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        with self._lock:
            self._count_only(self._service.catalog.current.definitions.keys())
            found = [*self._of_the_service(), *self._of_the_stores()]
            for counted in (self._runs, self._rows, self._waits):
                found += counted.collect()
            is_up = True
            try:
                found += self._of_the_syncs(self._service.statuses())
                found += self._queues.collect()
            except SyncerError:
                # Without the run log there is still what is counted here.
                is_up = False
            found.append(_gauge("syncer_run_log_up", "1 if the run log can be read.", is_up))
        yield from found

    def _count(self, ended: ActiveRun) -> None:
        with self._lock:
            self._count_only(self._counted | {ended.name})
            if ended.run is not None:
                self._runs.labels(ended.name, ended.run.status.value).inc()
                for change, rows in asdict(ended.run.counts).items():
                    self._rows.labels(ended.name, change).inc(rows)
            self._queues.count(ended)
            if ended.began_at is not None:
                seconds = (ended.began_at - ended.asked_at).total_seconds()
                self._waits.labels(ended.name).observe(max(seconds, 0.0))

    def _count_only(self, names: Set[str]) -> None:
        """Begin at 0 for new syncs, and drop what was counted of those that are gone."""
        for name in names - self._counted:
            self._waits.labels(name)
            for status in _STATUSES:
                self._runs.labels(name, status.value)
            for change in _CHANGES:
                self._rows.labels(name, change)
        for name in self._counted - names:
            for counted in (self._runs, self._rows, self._waits):
                counted.remove_by_labels({"sync": name})
        self._counted = set(names)

    def _of_the_service(self) -> Iterable[Metric]:
        service = self._service
        current = service.catalog.current
        broken = len({error.path for error in current.errors}) + bool(current.folder_error)
        age = service.heartbeat_age.total_seconds()
        return [
            _gauge("syncer_leads", "1 if this service is the leader.", service.leads),
            _gauge("syncer_definitions_broken", "Definition files with an error.", broken),
            _gauge("syncer_beat_age_seconds", "Seconds since the schedule last made progress.", age),
        ]

    def _of_the_stores(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "syncer_store_requests", "Calls to a store over HTTP, such as Customer.io.", labels=["store"]
        )
        retries = CounterMetricFamily(
            "syncer_store_retries", "Those of these calls that were retries.", labels=["store"]
        )
        calls = call_counts.counted()
        for store in self._service.settings.stores.keys() & calls.keys():
            requests.add_metric([store], calls[store].requests)
            retries.add_metric([store], calls[store].retries)
        return [requests, retries]

    def _of_the_syncs(self, statuses: Sequence[SyncStatus]) -> Iterable[Metric]:
        now = self._service.now()
        gauges = {name: GaugeMetricFamily(name, help_, labels=["sync"]) for name, help_ in _SYNC_GAUGES.items()}
        late = self._lateness.late([(each.definition, each.last_ended_well, each.paused) for each in statuses], now)
        healths = GaugeMetricFamily("syncer_sync_health", "1 for the health of the sync.", labels=["sync", "health"])
        infos = GaugeMetricFamily(
            "syncer_sync_info", "1; the labels say what the sync feeds, and from where.", labels=_INFO
        )
        for status in statuses:
            definition = status.definition
            sync = definition.name
            infos.add_metric([sync, definition.target.entity, definition.warehouse, definition.store], 1)
            healths.add_metric([sync, status.health], 1)
            for name, value in _values(status, late=sync in late).items():
                gauges[name].add_metric([sync], value)
        return [*gauges.values(), healths, infos]


_INFO = ("sync", "entity", "warehouse", "store")

_SYNC_GAUGES = {
    "syncer_sync_last_success_timestamp_seconds": "When the newest run began that delivered its rows.",
    "syncer_sync_last_duration_seconds": "How long the newest finished run took.",
    "syncer_sync_rejected_rows": "Rows that are rejected now.",
    "syncer_sync_acknowledged_rows": "Those of them that somebody has acknowledged.",
    "syncer_sync_held": "1 if a limit, or a wrong clock, holds the sync.",
    "syncer_sync_late": "1 if a run that delivers its rows is overdue.",
    "syncer_sync_paused": "1 if the sync is paused.",
}


def _values(status: SyncStatus, *, late: bool) -> dict[str, float]:
    found: dict[str, float] = {
        "syncer_sync_rejected_rows": status.rejected,
        "syncer_sync_acknowledged_rows": status.acknowledged,
        "syncer_sync_held": status.is_held,
        "syncer_sync_late": late,
        "syncer_sync_paused": status.paused,
    }
    if status.last_ended_well is not None:
        found["syncer_sync_last_success_timestamp_seconds"] = status.last_ended_well.timestamp()
    if status.last_seconds is not None:
        found["syncer_sync_last_duration_seconds"] = status.last_seconds
    return found


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)
