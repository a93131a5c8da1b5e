"""Where the files of kept plans are: in the state folder of one machine, or where several machines reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from syncer.model.errors import ObjectGoneError, PlaceError
from syncer.model.temporary_folders import TemporaryFolder
from syncer.shared.snapshots import PLANS, SharedSnapshots
from syncer.state.pointers import Pointer

if TYPE_CHECKING:
    from syncer.shared.place import Place


class PlanFiles(Protocol):
    """Files that a plan is made of; their names begin with its id and a dot.

    Its rows are in `ID.parquet`, all else is in `ID.json`. A run that begins to send it leaves `ID.used-RUN.json`, and
    one that found it out of date `ID.moved`. The methods raise OSError of a folder; of a place SettingsError,
    PlaceError or, where that is the run log, StateDatabaseError.
    """

    @property
    def here(self) -> Path:
        """The folder of this machine in which files are written, at least until they are elsewhere."""

    def names(self, plan_id: str = "") -> dict[str, datetime]:
        """The files of a plan, or of all, and when each was written; aware UTC."""

    def copy(self, name: str) -> AbstractContextManager[Path]:
        """A file to read within a block.

        Raises:
            FileNotFoundError: there is none of this name.
        """

    def put(self, name: str, write: Callable[[Path], object]) -> None:
        """Keep what *write* writes to the path that it is given: all of it, or nothing."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that are not there are fine."""

    def use(self, plan_id: str, run_id: str) -> bool:
        """Let a run send a plan; False where another one did, or the plan is gone."""

    def is_overtaken(self, sync: str, fence: int) -> bool:
        """Whether somebody took a sync's shared snapshot after it had this fence."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """PlanFiles in a folder."""

    path: Path

    @property
    def here(self) -> Path:
        """See PlanFiles."""
        return self.path

    def names(self, plan_id: str = "") -> dict[str, datetime]:
        """See PlanFiles."""
        found = dict[str, datetime]()
        for path in self.path.glob(f"{plan_id}.*" if plan_id else "*.*"):
            # Another process may delete or use it meanwhile.
            with suppress(FileNotFoundError):
                found[path.name] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return found

    @contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        """See PlanFiles."""
        path = self.path / name
        path.stat()
        yield path

    def put(self, name: str, write: Callable[[Path], object]) -> None:
        """See PlanFiles."""
        self.path.mkdir(mode=0o770, parents=True, exist_ok=True)
        written = self.path / f"{name}.tmp"
        try:
            write(written)
            written.rename(self.path / name)
        except BaseException:
            written.unlink(missing_ok=True)
            raise

    def delete(self, names: Iterable[str]) -> None:
        """See PlanFiles."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def use(self, plan_id: str, run_id: str) -> bool:
        """See PlanFiles."""
        try:
            (self.path / f"{plan_id}.json").rename(self.path / f"{plan_id}.used-{run_id}.json")
        except FileNotFoundError:
            return False
        return True

    def is_overtaken(self, sync: str, fence: int) -> bool:
        """See PlanFiles."""
        return False


@dataclass(slots=True)
class SharedFiles:
    """PlanFiles in a place that several machines reach.

    Two runs may begin to send one plan at the same moment. Both have taken the sync by then, so that only the later one
    can write down what it is about to send.
    """

    shared: SharedSnapshots
    #: `database` or a URL.
    where: str
    _opened: Place | None = field(default=None, init=False)

    @property
    def here(self) -> Path:
        """See PlanFiles."""
        return self.shared.settings.state_dir

    def names(self, plan_id: str = "") -> dict[str, datetime]:
        """See PlanFiles."""
        prefix = f"{self._folder}{plan_id}{'.' if plan_id else ''}"
        return {one.name.removeprefix(self._folder): one.at for one in self._place.objects(prefix)}

    @contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        """See PlanFiles."""
        with self._beside() as folder:
            try:
                self._place.get(f"{self._folder}{name}", path := folder / name)
            except ObjectGoneError:
                raise FileNotFoundError(name) from None
            yield path

    def put(self, name: str, write: Callable[[Path], object]) -> None:
        """See PlanFiles."""
        with self._beside() as folder:
            write(path := folder / name)
            self._place.put(f"{self._folder}{name}", path)

    def delete(self, names: Iterable[str]) -> None:
        """See PlanFiles."""
        self._place.delete([f"{self._folder}{name}" for name in names])

    def use(self, plan_id: str, run_id: str) -> bool:
        """See PlanFiles."""
        if any(name.startswith(f"{plan_id}.used-") for name in self.names(plan_id)):
            return False
        try:
            with self.copy(f"{plan_id}.json") as path:
                self._place.put(f"{self._folder}{plan_id}.used-{run_id}.json", path)
        except FileNotFoundError:
            return False
        return True

    def is_overtaken(self, sync: str, fence: int) -> bool:
        """See PlanFiles."""
        return self.shared.pointers.of(sync).fence != fence

    @contextmanager
    def _beside(self) -> Iterator[Path]:
        """A folder on this machine, for the block."""
        try:
            folder = TemporaryFolder(self.here)
        except OSError as exc:
            raise PlaceError(
                f"a plan cannot be copied from or to this machine: {exc.strerror}: {self.here}",
                hint="Free some space there, or correct the folder's mode.",
            ) from None
        with closing(folder):
            yield folder.path

    @property
    def _folder(self) -> str:
        return f"{self.shared.database.log_id}/{PLANS}/"

    @property
    def _place(self) -> Place:
        if self._opened is None:
            self._opened = self.shared.place(Pointer(place=self.where))
        return self._opened
