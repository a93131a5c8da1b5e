"""Plans that are kept, so that a run can send exactly what somebody has seen.

With SYNCER_SNAPSHOTS_URL they are where that says, for every machine; else in `plans` in the state folder.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from syncer.model.errors import PlaceError, RunInProgressError, SelectionError, StateDatabaseError, SyncerError
from syncer.model.protocols import MadeLater
from syncer.model.runs import Moved
from syncer.model.spelling import quoted
from syncer.model.types import Hold
from syncer.settings.settings import Settings
from syncer.shared.snapshots import SharedSnapshots
from syncer.snapshot import change_set
from syncer.snapshot.columns import ResultSchema
from syncer.snapshot.opening import addresses
from syncer.state.database import StateDatabase
from syncer.sync.flow import SyncRun
from syncer.sync.plan_files import LocalFiles, PlanFiles, SharedFiles
from syncer.sync.plans import KeptPlan, Plan

_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{12}")

#: How long parts are kept of which no plan is known, such as of one that is being kept.
_UNFINISHED = timedelta(days=1)

_AS_JSON = TypeAdapter(KeptPlan)
_MOVED_AS_JSON = TypeAdapter(tuple[str, list[Moved]])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlans:
    """The kept plans of a state folder, or of a place that several machines reach.

    Of a place, every method may also raise SettingsError, PlaceError or StateDatabaseError: it cannot be used.
    """

    files: PlanFiles
    keep_for: timedelta
    #: Gives aware UTC.
    now: Callable[[], datetime]

    @classmethod
    def of(cls, settings: Settings, now: Callable[[], datetime], run_log: Callable[[], StateDatabase]) -> KeptPlans:
        """Those that the settings say.

        Shapes:
            run_log: opens the run log; called only where machines share plans.
        """
        if not settings.snapshots_url:
            return cls._in(settings, now, _local(settings))
        shared = SharedSnapshots(settings=settings, database=run_log(), now=now)
        return cls._in(settings, now, SharedFiles(shared, settings.snapshots_url))

    @classmethod
    def everywhere(cls, shared: SharedSnapshots) -> Iterator[KeptPlans]:
        """Those in the state folder, and then those of each place where plans of the run log may be."""
        settings, now = shared.settings, shared.now
        yield cls._in(settings, now, _local(settings))
        for where in shared.places():
            yield cls._in(settings, now, SharedFiles(shared, where))

    @classmethod
    def _in(cls, settings: Settings, now: Callable[[], datetime], files: PlanFiles) -> KeptPlans:
        return cls(files=files, keep_for=timedelta(days=settings.keep_plans), now=now)

    def keep(self, run: SyncRun, plan: Plan) -> Plan:
        """Keep a *plan* while the comparison of its *run* is open; returns it with what it is called.

        Raises:
            RunInProgressError: somebody took the sync on another machine meanwhile; nothing is kept.
            SyncerError: the plan cannot be written; nothing is kept.
        """
        now, definition, schema = self.now(), run.definition, plan.staged.schema
        kept = KeptPlan(
            plan_id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}",
            sync=definition.name,
            created_at=now,
            expires_at=now + self.keep_for,
            definition_hash=definition.hash,
            store=store_of(run),
            last_sync_time=run.snapshot.known.last_sync_time,
            fed=attributes_of(schema),
            counts=plan.counts,
            planned=plan.difference.planned,
            held=plan.held,
            exceeded={kind: max(e.rows for e in plan.exceeded if e.kind is kind) for kind in plan.limit_kinds},
            clock=Hold.CLOCK in plan.holds,
            deletes=schema.deletes,
            is_of_deletions=bool(definition.target.action and definition.target.action.deletes),
        )
        try:
            self._put(kept, partial(change_set.keep, plan.difference), fence=run.snapshot.fence)
        except OSError as exc:
            raise SyncerError(
                f"the plan cannot be kept: {exc.strerror}: {self.files.here}",
                hint="Free some space, or plan without --save.",
            ) from None
        except PlaceError as exc:
            raise PlaceError(f"the plan cannot be kept: {exc.message}", hint=exc.hint) from None
        return replace(plan, kept=kept)

    def _put(self, plan: KeptPlan, write_rows: Callable[[Path], object], *, fence: int) -> None:
        """Put the files of a plan, by the last of which it is known."""
        rows, rest = f"{plan.plan_id}.parquet", f"{plan.plan_id}.json"
        self.files.put(rows, write_rows)
        try:
            self.files.put(rest, lambda path: path.write_bytes(_AS_JSON.dump_json(plan)))
            # Whoever forgets a person takes every sync first: from then on no plan may have what was before.
            if self.files.is_overtaken(plan.sync, fence):
                raise RunInProgressError(
                    f"the plan is not kept: another machine ran `{plan.sync}`, or changed its snapshot, meanwhile",
                    hint="Plan again.",
                )
        except BaseException:
            # Where a place cannot be reached, what is there without the rest is no plan, and goes after a day.
            with suppress(OSError, PlaceError, StateDatabaseError):
                self.files.delete([rest, rows])
            raise

    def all(self) -> list[KeptPlan]:
        """Those that have not expired, newest first."""
        plans = self._known(self.files.names()).values()
        return sorted((one for one in plans if one.expires_at > self.now()), key=lambda one: one.plan_id, reverse=True)

    def find(self, plan_id: str, sync: str) -> KeptPlan:
        """A plan that can be run.

        Raises:
            SelectionError: there is none of this id, or it was used, or has expired, or is another sync's.
        """
        hint = f"Make one with `syncer plan {sync} --save`; `syncer plans` shows those that there are."
        if not _ID.fullmatch(plan_id):
            raise SelectionError(f"{quoted(plan_id)} is not the id of a plan", hint=hint)
        names = self.files.names(plan_id)
        plan = self._known(names).get(plan_id)
        if plan is None:
            if f"{plan_id}.json" in names:
                raise SelectionError(f"plan {plan_id} cannot be read", hint=hint)
            raise SelectionError(f"there is no plan {plan_id}, or it has expired", hint=hint)
        if plan.used_by:
            raise SelectionError(f"plan {plan_id} was used by the run {plan.used_by}: a plan works once", hint=hint)
        if plan.expires_at <= self.now():
            raise SelectionError(f"plan {plan_id} expired at {plan.expires_at:%Y-%m-%d %H:%M:%S} UTC", hint=hint)
        if plan.sync != sync:
            raise SelectionError(f"plan {plan_id} is of the sync `{plan.sync}`, not of `{sync}`", hint=hint)
        return plan

    def rows(self, plan: KeptPlan) -> AbstractContextManager[Path]:
        """The file with the rows of a plan; see `change_set.keep`.

        Raises:
            FileNotFoundError: they are gone.
        """
        return self.files.copy(f"{plan.plan_id}.parquet")

    def use(self, plan: KeptPlan, run_id: str) -> None:
        """Let a run send a plan, which no other run can from now on.

        Raises:
            SelectionError: another run did so.
        """
        if not self.files.use(plan.plan_id, run_id):
            raise SelectionError(f"plan {plan.plan_id} was used by another run, or has expired", hint="Plan again.")

    def record_moved(self, plan: KeptPlan, run_id: str, moved: list[Moved]) -> None:
        """Remember why a run of a plan was held."""
        content = _MOVED_AS_JSON.dump_json((run_id, moved))
        # The run's error says it too.
        with suppress(OSError, PlaceError, StateDatabaseError):
            self.files.put(f"{plan.plan_id}.moved", lambda path: path.write_bytes(content))

    def moved(self, plan_id: str, run_id: str) -> list[Moved]:
        """Why a run of a plan was held; empty where that is not known any more, or its place cannot be used."""
        with suppress(OSError, ValueError, SyncerError), self.files.copy(f"{plan_id}.moved") as path:
            recorded, moved = _MOVED_AS_JSON.validate_json(path.read_bytes())
            return moved if recorded == run_id else []
        return []

    def delete_expired(self) -> int:
        """Delete the plans that have expired, and what is left of unfinished ones; returns how many files."""
        names, now = self.files.names(), self.now()
        known = self._known(names)
        deleted = 0
        for name, at in names.items():
            plan = known.get(name.partition(".")[0])
            if now >= (plan.expires_at if plan else at + _UNFINISHED):
                with suppress(OSError):
                    self.files.delete([name])
                    deleted += 1
        return deleted

    def forget(self, is_about: Callable[[Path], bool], is_named: Callable[[bytes], bool]) -> int:
        """Delete the plans about somebody, and what is left of unfinished ones; returns how many plans.

        Shapes:
            is_about: whether a file that `change_set.keep` wrote is.
            is_named: whether what a run of a plan that was out of date has left is: JSON of its id and of Moved.
        """
        names, found = self.files.names(), set[str]()
        for name in names:
            # Another process may have deleted it.
            with suppress(FileNotFoundError):
                if name.endswith(".parquet"):
                    with self.files.copy(name) as path:
                        is_found = is_about(path)
                else:
                    is_found = name.endswith(".moved") and is_named(self._read(name))
                if is_found:
                    found.add(name.partition(".")[0])
        self.files.delete(
            name
            for name in names
            if name.partition(".")[0] in found or not name.endswith((".parquet", ".json", ".moved"))
        )
        return len(found)

    def _known(self, names: Iterable[str]) -> dict[str, KeptPlan]:
        """The plans of some files, by id; also those that were used or have expired."""
        # What says that a plan was used comes after what does not.
        files = {name.partition(".")[0]: name for name in sorted(names) if name.endswith(".json")}
        found = dict[str, KeptPlan]()
        for plan_id, name in files.items():
            used_by = name.removesuffix(".json").partition(".used-")[2]
            # Another process may delete or use it meanwhile.
            with suppress(FileNotFoundError, ValueError):
                found[plan_id] = replace(_AS_JSON.validate_json(self._read(name)), used_by=used_by)
        return found

    def _read(self, name: str) -> bytes:
        with self.files.copy(name) as path:
            return path.read_bytes()


def store_of(run: SyncRun) -> str:
    """The store and the place in it; of a store that is still to be made, the place alone."""
    is_new = isinstance(run.store, MadeLater) and run.store.is_new
    return f"{'' if is_new else run.store.store_id} {addresses(run.store)(run.definition.target)}"


def attributes_of(schema: ResultSchema) -> list[str]:
    """The attributes that a result has, as plans remember them."""
    return sorted(attribute.name for attribute in schema.attributes)


def _local(settings: Settings) -> LocalFiles:
    return LocalFiles(settings.state_dir / "plans")
