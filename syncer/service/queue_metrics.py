"""The metrics about workers and what waits for them; none where the service makes its own runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from syncer.service.pool import ActiveRun
from syncer.service.queues import Work, work_of
from syncer.service.service import Service

#: Seconds.
WAIT_BUCKETS = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)

WORKERS, WAITS = "syncer_workers", "syncer_queue_seconds"

#: What is told of each queue at each scrape.
OF_QUEUES: Mapping[str, str] = {
    "syncer_queue_oldest_seconds": "How long the run waits that no worker has begun and that was ordered first.",
    "syncer_queue_workers": "Workers that live and take the queue.",
    "syncer_queued_runs": "Runs that no worker has begun.",
}

#: By name, with the labels of each.
HELP: Mapping[str, tuple[str, tuple[str, ...]]] = {
    WORKERS: ("Workers that live.", ()),
    WAITS: ("Histogram of the seconds from the order of a run to its beginning by a worker.", ("queue",)),
    **{name: (help_, ("queue",)) for name, help_ in OF_QUEUES.items()},
}


class QueueMetrics:
    """For who holds a lock while calling it."""

    def __init__(self, service: Service) -> None:
        """Count nothing yet."""
        self._service = service
        help_, labels = HELP[WAITS]
        self._waits = Histogram(WAITS, help_, labels, buckets=WAIT_BUCKETS, registry=None)
        self._counted: set[str] = set()

    def count(self, ended: ActiveRun) -> None:
        """Count how long a run waited, if a worker made it."""
        if ended.order.worker and ended.run is not None and ended.run.waited_seconds is not None:
            self._waits.labels(ended.definition.queue).observe(ended.run.waited_seconds)
            self._counted.add(ended.definition.queue)

    def collect(self) -> Iterable[Metric]:
        """What is so now, and what was counted.

        Raises:
            StateDatabaseError: the run log cannot be used.
        """
        work = work_of(self._service)
        if work is None:
            return []
        queues = {definition.queue for definition in self._service.catalog.current.definitions.values()}
        for queue in self._counted - queues:
            self._waits.remove(queue)
        for queue in queues - self._counted:
            self._waits.labels(queue)
        self._counted = queues
        return [*self._now(work, queues), *self._waits.collect()]

    def _now(self, work: Work, queues: Iterable[str]) -> Iterable[Metric]:
        now = self._service.now()
        gauges = {name: GaugeMetricFamily(name, help_, labels=["queue"]) for name, help_ in OF_QUEUES.items()}
        for queue in sorted({*queues, *(run.queue for run in work.waiting)}):
            waits = [(now - run.since).total_seconds() for run in work.waiting if run.queue == queue]
            gauges["syncer_queued_runs"].add_metric([queue], len(waits))
            gauges["syncer_queue_oldest_seconds"].add_metric([queue], max([0.0, *waits]))
            gauges["syncer_queue_workers"].add_metric([queue], sum(one.takes(queue) for one in work.living))
        return [GaugeMetricFamily(WORKERS, HELP[WORKERS][0], value=len(work.living)), *gauges.values()]
