"""The progress of a run on a terminal: phase, rows and rate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from syncer.model.spelling import visible

if TYPE_CHECKING:
    from syncer.sync.progress import Progress

#: A shorter run shows no bar.
_QUIET_SECONDS = 0.5


@contextmanager
def shown(progress: Progress, title: str) -> Iterator[Callable[[], None]]:
    """Show the bar once the run has taken half a second; gives what removes it early."""
    bar = _Bar(progress, title)
    # In a thread: the main thread may wait for the first row for as long as the query takes.
    timer = threading.Timer(_QUIET_SECONDS, bar.show)
    timer.daemon = True
    changed = progress.changed

    def changed_and_shown() -> None:
        changed()
        bar.update()

    progress.changed = changed_and_shown
    timer.start()
    try:
        yield bar.end
    finally:
        timer.cancel()
        bar.end()


class _Bar:
    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = visible(title)
        self._lock = threading.Lock()
        self._ended = False
        self._phase: str | None = None
        self._shown: Any = None

    def show(self) -> None:
        """Draw the bar for the first time."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._ended:
                return
            self._shown = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[rows]}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._shown.start()
        self.update()

    def update(self) -> None:
        with self._lock:
            if self._shown is None or self._ended:
                return
            progress = self._progress
            if progress.phase != self._phase:
                self._phase = progress.phase
                for task in self._shown.task_ids:
                    self._shown.remove_task(task)
            if not self._shown.task_ids:
                self._shown.add_task(f"{self._title}  {self._phase}", total=progress.total, rows="")
            task = self._shown.tasks[0]
            speed = f"  {task.speed:,.0f}/s" if task.speed else ""
            rows = f"{progress.rows:,} rows{speed}" if progress.rows else ""
            self._shown.update(task.id, completed=progress.rows, total=progress.total, rows=rows)

    def end(self) -> None:
        with self._lock:
            self._ended = True
            if self._shown is not None:
                self._shown.stop()
