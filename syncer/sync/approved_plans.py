"""The run of a plan that somebody approved: it sends exactly what the plan has, or nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from syncer.model.errors import SelectionError
from syncer.model.runs import Moved
from syncer.model.types import SyncDefinition
from syncer.snapshot import change_set
from syncer.snapshot.columns import ResultSchema
from syncer.snapshot.diff import Difference
from syncer.sync.flow import SyncRun
from syncer.sync.kept_plans import KeptPlans, attributes_of, store_of
from syncer.sync.plans import KeptPlan
from syncer.sync.progress import HeldError, RunOptions

#: SQL that gives another value each time.
_CHANGES_BY_ITSELF = re.compile(
    r"\b(now|current_(timestamp|date|time)|localtime(stamp)?|(get|sys)date|random|rand|uuid|gen_random_uuid|newid)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedPlan:
    """See `flow.Approval`."""

    plan: KeptPlan
    plans: KeptPlans
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
            with self.plans.rows(plan) as path:
                found = change_set.select(difference, path)
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
        if not _is_same_store(plan.store, store_of(run)):
            moved.insert(0, Moved(None, "snapshot"))
            reasons.append("the sync has another store, or another place in it")
        elif attributes_of(schema) != plan.fed:
            moved.insert(0, Moved(None, "warehouse"))
            reasons.append("the result has other columns")
        if not moved:
            return found.difference, None
        return found.difference, self._moved_on(moved, reasons)

    def use(self) -> None:
        """See `flow.Approval.use`."""
        self.plans.use(self.plan, self.run_id)

    def _moved_on(self, moved: list[Moved], reasons: list[str]) -> HeldError:
        self.plans.record_moved(self.plan, self.run_id, moved)
        return HeldError([f"plan {self.plan.plan_id} is out of date", *reasons], moved=moved)


def approved(plans: KeptPlans, definition: SyncDefinition, options: RunOptions, *, run_id: str) -> ApprovedPlan:
    """The plan that a run is to send.

    Raises:
        SyncerError: it cannot be run: see `KeptPlans.find`.
        HeldError: the definition is not the one that was planned.
    """
    found = ApprovedPlan(plan=plans.find(options.plan, definition.name), plans=plans, run_id=run_id)
    found.check(definition)
    return found


def _of_which(moved: list[Moved]) -> str:
    snapshot = sum(row.why == "snapshot" for row in moved)
    if snapshot == len(moved):
        return ", as other runs sent some of it"
    return ", as the warehouse's answer changed" + (", and other runs sent some of it" if snapshot else "")


def _is_same_store(planned: str, found: str) -> bool:
    """Whether a plan for one is for the other; the run of another sync may have made the store meanwhile."""
    return planned == found or (planned.startswith(" ") and found.partition(" ")[2] == planned[1:])
