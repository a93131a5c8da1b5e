"""Plans that are kept, so that a run can send exactly what somebody has seen.

A plan is a few files of the state folder, in `plans`: its rows in `ID.parquet`, all else in `ID.json`. The run that
begins to send it renames that one to `ID.used-RUN.json`: so a plan works once, also between processes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from syncer.model.errors import SelectionError, SyncerError
from syncer.model.protocols import MadeLater
from syncer.model.runs import Moved
from syncer.model.spelling import quoted
from syncer.model.types import Hold, SyncDefinition
from syncer.settings.settings import Settings
from syncer.snapshot import change_set
from syncer.snapshot.columns import ResultSchema
from syncer.snapshot.diff import Difference
from syncer.snapshot.snapshot import addresses
from syncer.sync.flow import SyncRun
from syncer.sync.plans import KeptPlan, Plan
from syncer.sync.progress import HeldError, RunOptions

#: SQL that gives another value each time.
_CHANGES_BY_ITSELF = re.compile(
    r"\b(now|current_(timestamp|date|time)|localtime(stamp)?|(get|sys)date|random|rand|uuid|gen_random_uuid|newid)\b",
    re.IGNORECASE,
)

_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{12}")


_AS_JSON = TypeAdapter(KeptPlan)
_MOVED_AS_JSON = TypeAdapter(tuple[str, list[Moved]])


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFolder:
    """The kept plans of a state folder."""

    path: Path
    keep_for: timedelta
    #: Gives aware UTC.
    now: Callable[[], datetime]

    @classmethod
    def of(cls, settings: Settings, now: Callable[[], datetime]) -> PlanFolder:
        """Those that the settings say."""
        return cls(path=settings.state_dir / "plans", keep_for=timedelta(days=settings.keep_plans), now=now)

    def keep(self, run: SyncRun, plan: Plan) -> Plan:
        """Keep a *plan* while the comparison of its *run* is open; returns it with what it is called.

        Raises:
            SyncerError: the folder cannot be written.
        """
        now, definition, schema = self.now(), run.definition, plan.staged.schema
        kept = KeptPlan(
            plan_id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}",
            sync=definition.name,
            created_at=now,
            expires_at=now + self.keep_for,
            definition_hash=definition.hash,
            store=_store(run),
            last_sync_time=run.snapshot.known.last_sync_time,
            fed=_attributes(schema),
            counts=plan.counts,
            planned=plan.difference.planned,
            held=plan.held,
            exceeded={kind: max(e.rows for e in plan.exceeded if e.kind is kind) for kind in plan.limit_kinds},
            clock=Hold.CLOCK in plan.holds,
            deletes=schema.deletes,
            is_of_deletions=bool(definition.target.action and definition.target.action.deletes),
        )
        try:
            self.path.mkdir(mode=0o770, parents=True, exist_ok=True)
            change_set.keep(plan.difference, self.path / f"{kept.plan_id}.parquet")
            written = self.path / f"{kept.plan_id}.tmp"
            written.write_bytes(_AS_JSON.dump_json(kept))
            written.rename(self.path / f"{kept.plan_id}.json")
        except OSError as exc:
            raise SyncerError(
                f"the plan cannot be kept: {exc.strerror}: {self.path}", hint="Free some space, or plan without --save."
            ) from None
        return replace(plan, kept=kept)

    def all(self) -> list[KeptPlan]:
        """Those that have not expired, newest first."""
        found = []
        for path in sorted(self.path.glob("*.json"), reverse=True):
            # Another process may delete or use it meanwhile.
            with suppress(FileNotFoundError, ValueError):
                found.append(_read(path))
        return [plan for plan in found if plan.expires_at > self.now()]

    def find(self, plan_id: str, sync: str) -> KeptPlan:
        """A plan that can be run.

        Raises:
            SelectionError: there is none of this id, or it was used, or has expired, or is another sync's.
        """
        hint = f"Make one with `syncer plan {sync} --save`; `syncer plans` shows those that there are."
        if not _ID.fullmatch(plan_id):
            raise SelectionError(f"{quoted(plan_id)} is not the id of a plan", hint=hint)
        try:
            plan = _read(self.path / f"{plan_id}.json")
        except FileNotFoundError:
            if used := next(self.path.glob(f"{plan_id}.used-*.json"), None):
                raise _was_used(_read(used), hint) from None
            raise SelectionError(f"there is no plan {plan_id}, or it has expired", hint=hint) from None
        except ValueError:
            raise SelectionError(f"plan {plan_id} cannot be read", hint=hint) from None
        if plan.expires_at <= self.now():
            raise SelectionError(f"plan {plan_id} expired at {plan.expires_at:%Y-%m-%d %H:%M:%S} UTC", hint=hint)
        if plan.sync != sync:
            raise SelectionError(f"plan {plan_id} is of the sync `{plan.sync}`, not of `{sync}`", hint=hint)
        return plan

    def use(self, plan: KeptPlan, run_id: str) -> None:
        """Let a run send a plan, which no other run can from now on.

        Raises:
            SelectionError: another run did so.
        """
        try:
            (self.path / f"{plan.plan_id}.json").rename(self.path / f"{plan.plan_id}.used-{run_id}.json")
        except FileNotFoundError:
            raise SelectionError(
                f"plan {plan.plan_id} was used by another run, or has expired", hint="Plan again."
            ) from None

    def record_moved(self, plan: KeptPlan, run_id: str, moved: list[Moved]) -> None:
        """Remember why a run of a plan was held."""
        # The run's error says it too.
        with suppress(OSError):
            (self.path / f"{plan.plan_id}.moved").write_bytes(_MOVED_AS_JSON.dump_json((run_id, moved)))

    def moved(self, plan_id: str, run_id: str) -> list[Moved]:
        """Why a run of a plan was held; empty where that is not known any more."""
        with suppress(OSError, ValueError):
            recorded, moved = _MOVED_AS_JSON.validate_json((self.path / f"{plan_id}.moved").read_bytes())
            return moved if recorded == run_id else []
        return []

    def delete_expired(self) -> int:
        """Delete the plans that have expired, and what is left of unfinished ones; returns how many files."""
        deleted = 0
        known = {plan.plan_id for plan in self.all()}
        for path in self.path.glob("*"):
            with suppress(OSError):
                is_old = path.stat().st_mtime < (self.now() - self.keep_for).timestamp()
                if path.name.partition(".")[0] not in known and (is_old or path.suffix == ".json"):
                    path.unlink()
                    deleted += 1
        return deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedPlan:
    """See `flow.Approval`."""

    plan: KeptPlan
    folder: PlanFolder
    run_id: str

    def check(self, definition: SyncDefinition) -> None:
        """Go on only if the definition is the one that was planned.

        Raises:
            HeldError: it is another one.
        """
        if definition.hash != self.plan.definition_hash:
            raise self._moved_on([Moved(None, "definition")], ["the definition changed"])

    def lifted(self, options: RunOptions) -> RunOptions:
        """The options of the run, with the limits lifted that the plan showed."""
        allow = dict(options.allow)
        for kind, rows in self.plan.exceeded.items():
            most = allow.get(kind, 0)
            allow[kind] = None if most is None else max(most, rows)
        return replace(options, allow=allow, allow_clock=options.allow_clock or self.plan.clock)

    def select(self, run: SyncRun, schema: ResultSchema, difference: Difference) -> tuple[Difference, HeldError | None]:
        """See `flow.Approval.select`."""
        plan = self.plan
        try:
            found = change_set.select(difference, self.folder.path / f"{plan.plan_id}.parquet")
        except OSError:
            raise SelectionError(f"plan {plan.plan_id} cannot be read, or has expired", hint="Plan again.") from None
        if found.others:
            run.progress.notes.append(
                f"rows that differ now, are not in the plan, and are left to a later run: {found.others:,}"
            )
        moved, reasons = list(found.moved), []
        if run.snapshot.known.last_sync_time != plan.last_sync_time:
            # The query was asked for another window.
            moved = [Moved(row.key, "snapshot") for row in moved]
        if moved:
            rows = "1 row is" if found.moved_rows == 1 else f"{found.moved_rows:,} rows are"
            reasons.append(f"{rows} not as planned any more{_of_which(moved)}")
        if found.columns and (found.moved_rows > 1 or _CHANGES_BY_ITSELF.search(run.sql)):
            reasons.append(
                f"{', '.join(f'`{name}`' for name in found.columns)} has another value in every row: if it changes by "
                "itself, as with `now()`, no plan of it can be run; `exclude` leaves it out"
            )
        if not _is_same_store(plan.store, _store(run)):
            moved.insert(0, Moved(None, "snapshot"))
            reasons.append("the sync has another store, or another place in it")
        elif _attributes(schema) != plan.fed:
            moved.insert(0, Moved(None, "warehouse"))
            reasons.append("the result has other columns")
        if not moved:
            return found.difference, None
        return found.difference, self._moved_on(moved, reasons)

    def use(self) -> None:
        """See `flow.Approval.use`."""
        self.folder.use(self.plan, self.run_id)

    def _moved_on(self, moved: list[Moved], reasons: list[str]) -> HeldError:
        self.folder.record_moved(self.plan, self.run_id, moved)
        return HeldError([f"plan {self.plan.plan_id} is out of date", *reasons], moved=moved)


def approved(
    settings: Settings, now: Callable[[], datetime], definition: SyncDefinition, options: RunOptions, *, run_id: str
) -> ApprovedPlan:
    """The plan that a run is to send.

    Raises:
        SelectionError: it cannot be run: see `PlanFolder.find`.
        HeldError: the definition is not the one that was planned.
    """
    folder = PlanFolder.of(settings, now)
    found = ApprovedPlan(plan=folder.find(options.plan, definition.name), folder=folder, run_id=run_id)
    found.check(definition)
    return found


def _of_which(moved: list[Moved]) -> str:
    snapshot = sum(row.why == "snapshot" for row in moved)
    if snapshot == len(moved):
        return ", as other runs sent some of it"
    return ", as the warehouse's answer changed" + (", and other runs sent some of it" if snapshot else "")


def _store(run: SyncRun) -> str:
    """The store and the place in it; of a store that is still to be made, the place alone."""
    is_new = isinstance(run.store, MadeLater) and run.store.is_new
    return f"{'' if is_new else run.store.store_id} {addresses(run.store)(run.definition.target)}"


def _is_same_store(planned: str, found: str) -> bool:
    """Whether a plan for one is for the other; the run of another sync may have made the store meanwhile."""
    return planned == found or (planned.startswith(" ") and found.partition(" ")[2] == planned[1:])


def _attributes(schema: ResultSchema) -> list[str]:
    return sorted(attribute.name for attribute in schema.attributes)


def _read(path: Path) -> KeptPlan:
    used_by = path.name.removesuffix(".json").partition(".used-")[2]
    return replace(_AS_JSON.validate_json(path.read_bytes()), used_by=used_by)


def _was_used(plan: KeptPlan, hint: str) -> SelectionError:
    return SelectionError(f"plan {plan.plan_id} was used by the run {plan.used_by}: a plan works once", hint=hint)
