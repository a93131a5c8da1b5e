"""`syncer run`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import output, signals
from syncer.cli.arguments import Exclude, Json, Select
from syncer.cli.exit_codes import CODES, Outcome, outcome_of
from syncer.cli.project import Project, now, print_definition_errors
from syncer.model.errors import SelectionError, SyncerError
from syncer.model.runs import LimitKind, RunScope
from syncer.model.spelling import did_you_mean, identifier, listed, quoted
from syncer.model.types import (
    ENDED_WELL,
    Counts,
    EndedBy,
    Hold,
    Order,
    PersonKey,
    Run,
    RunStatus,
    SyncDefinition,
    Trigger,
)

if TYPE_CHECKING:
    from syncer.sync.progress import RunOptions

_COUNTS = tuple(field.name for field in fields(Counts))

_OUTCOMES = {
    RunStatus.SUCCESS: Outcome.WELL,
    RunStatus.WARNING: Outcome.ROWS_REJECTED,
    RunStatus.HELD: Outcome.HELD,
    RunStatus.SKIPPED: Outcome.IN_PROGRESS,
}

_BY_HAND = Order(trigger=Trigger.MANUAL)

#: Seconds.
_DAY = 86_400.0


def run(
    select: Select = None,
    everything: Annotated[bool, typer.Option("--all", help="Run every sync.")] = False,
    exclude: Exclude = None,
    full: Annotated[bool, typer.Option("--full", help="Send every row again, changed or not.")] = False,
    allow_limits: Annotated[bool, typer.Option("--allow-limits", help="The same as --allow limits.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="WHAT[=ROWS]",
            help="Let a run through once that this would hold: removed=8000 for so many rows at most, also changed, "
            "cleared, added, deleted, merged, events or empty; clock; limits for all. May be repeated.",
        ),
    ] = None,
    plan: Annotated[
        str, typer.Option("--plan", metavar="ID", help="Send what `syncer plan --save` showed, and nothing else.")
    ] = "",
    row: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Send only the row with this key, changed or not. Several columns: a JSON array."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run syncs once, and send what changed."""
    if bool(select) == everything:
        raise SelectionError(
            "`--all` and a selection do not go together" if select else "nothing is selected",
            hint="Name the syncs to run, such as `syncer run customers`, or run all of them with `syncer run --all`.",
        )
    project = Project()
    selected = project.select(select or [], exclude or [])
    print_definition_errors(selected.errors)
    chosen = selected.definitions
    if not chosen and not selected.errors:
        raise SelectionError("no sync is left to run", hint="`syncer list` shows the syncs.")
    from syncer.definitions.folder import in_dependency_order
    from syncer.sync.progress import RunOptions

    options = RunOptions(
        full=full,
        allow_limits=allow_limits or Hold.LIMITS in (allow or []),
        allow_clock=Hold.CLOCK in (allow or []),
        allow=_ceilings(word for word in allow or [] if word not in tuple(Hold)),
        only=None if row is None else _key(row, chosen),
        plan=plan,
    )
    if plan:
        _check_plan(project, plan, chosen, alone=not full and row is None)
    report = _Report(chosen, as_json=as_json)
    outcomes = [Outcome.UNUSABLE if selected.errors else Outcome.WELL]
    outcomes += _run_in_order(project, in_dependency_order(chosen), options, report, not_run=set(selected.broken))
    _prune(project)
    raise typer.Exit(signals.exit_code() or CODES[max(outcomes)])


def _ceilings(words: Iterable[str]) -> dict[LimitKind, int | None]:
    """What `--allow` allows of each limit.

    Raises:
        SelectionError: a word is none of its own.
    """
    found: dict[LimitKind, int | None] = {}
    for word in words:
        kind, sign, rows = word.partition("=")
        if kind not in tuple(LimitKind):
            known = [*(f"{limit}=ROWS" for limit in LimitKind), *Hold]
            hint = did_you_mean(kind, [*LimitKind, *Hold], or_list=False) or f"Write {listed(known, last='or')}."
            raise SelectionError(f"--allow does not know {quoted(word)}", hint=hint)
        if not (rows.isdecimal() if sign else kind == LimitKind.EMPTY):
            raise SelectionError(
                f"--allow {kind} needs the most rows, as a number", hint=f"Such as `--allow {kind}=8000`."
            )
        found[LimitKind(kind)] = int(rows) if sign else None
    return found


def _check_plan(project: Project, plan: str, chosen: Sequence[SyncDefinition], *, alone: bool) -> None:
    """Refuse a plan that cannot be run, before anything is recorded.

    Raises:
        SelectionError: see `KeptPlans.find`; or several syncs are selected, or the options do not go together.
    """
    from syncer.sync.kept_plans import KeptPlans

    if len(chosen) != 1:
        raise SelectionError(
            f"--plan takes one sync, and {len(chosen)} are selected", hint="Name the sync that was planned."
        )
    if not alone:
        raise SelectionError(
            "--plan does not go together with --full or --row", hint="A plan's run sends the plan's rows."
        )
    KeptPlans.of(project.settings, now, lambda: project.database).find(plan, chosen[0].name)


def _prune(project: Project) -> None:
    """Delete what is old, if no process with this state folder did so for a day."""
    from syncer.sync.retention import MARK, prune

    # The report is printed already: what fails here is tried again by the next command.
    with suppress(SyncerError, OSError):
        mark = project.settings.state_dir / MARK
        age = abs(now().timestamp() - mark.stat().st_mtime) if mark.exists() else _DAY
        if age >= _DAY and signals.exit_code() is None:
            prune(project.settings, project.run_log, now())


def _run_in_order(
    project: Project, ordered: Sequence[SyncDefinition], options: RunOptions, report: _Report, *, not_run: set[str]
) -> Iterator[Outcome]:
    """Run one after the other, but nothing that depends on a sync that did not succeed."""
    for place, definition in enumerate(ordered, start=1):
        missing = [name for name in definition.depends_on if name in not_run]
        if missing:
            ended, outcome = _left_out(project, definition, options, missing), Outcome.WELL
        else:
            title = f"[{place}/{len(ordered)}] {definition.name}" if len(ordered) > 1 else definition.name
            ended, outcome = _run_one(project, definition, options, report, title)
        report.show(ended)
        yield outcome
        if ended.status not in ENDED_WELL:
            not_run.add(definition.name)
        if signals.exit_code() is not None:
            return


def _run_one(
    project: Project, definition: SyncDefinition, options: RunOptions, report: _Report, title: str
) -> tuple[Run, Outcome]:
    from syncer.sync.progress import Progress

    progress, began = Progress(), now()

    def abandon() -> None:
        if progress.run_id:
            project.run_log.interrupt(progress.run_id, now(), by=EndedBy.PERSON)
        end_bar()
        stopped = SyncerError("stopped by a signal")
        report.show(_ended_by(definition, began, RunStatus.INTERRUPTED, stopped, run_id=progress.run_id))

    try:
        with (
            output.progress_shown(progress, title) as end_bar,
            signals.awaited(progress, abandon),
            progress.token.following(lambda: _stopped_by(project, progress.run_id)),
        ):
            ended = project.runner.run(definition, order=_BY_HAND, options=options, progress=progress)
    except SyncerError as exc:
        return _ended_by(definition, began, RunStatus.FAILED, exc, run_id=progress.run_id), outcome_of(exc)
    if (cause := ended.cause) is None:
        return ended, _OUTCOMES.get(ended.status, Outcome.FAILED)
    if ended.status is RunStatus.SKIPPED:
        # The run log has the reason as a note.
        ended = replace(ended, error=str(cause), hint=cause.hint, notes=())
    return ended, _OUTCOMES.get(ended.status, outcome_of(cause))


def _stopped_by(project: Project, run_id: str) -> str:
    """Who cancelled a run, as the reason why it stops; empty while nobody has, or the run log does not answer."""
    from syncer.state.cancellations import Cancellations

    with suppress(SyncerError):
        actor = Cancellations(project.database).of([run_id]).get(run_id)
        return f"stopped by {actor}" if actor else ""
    return ""


def _left_out(project: Project, definition: SyncDefinition, options: RunOptions, missing: Sequence[str]) -> Run:
    from syncer.model.spelling import listed

    reason = f"not run, as it depends on {listed(missing, last='and')}, which did not end well"
    began = now()
    order = replace(_BY_HAND, scope=options.scope, options=options.words)
    run_id = project.run_log.record_skipped(definition.name, order, definition.hash, began, note=reason)
    return _ended_by(definition, began, RunStatus.SKIPPED, SyncerError(reason), run_id=run_id)


def _ended_by(
    definition: SyncDefinition, began: datetime, status: RunStatus, error: SyncerError, *, run_id: str
) -> Run:
    """The run that *error* ended, if the run log returned none."""
    return Run(
        id=run_id,
        sync=definition.name,
        trigger=Trigger.MANUAL,
        status=status,
        started_at=began,
        finished_at=now(),
        definition_hash=definition.hash,
        error=str(error),
        hint=error.hint,
    )


def _key(text: str, chosen: Sequence[SyncDefinition]) -> tuple[str, ...]:
    """The key that *text* spells, a text for each column.

    Raises:
        SelectionError: several syncs are selected, or the key does not fit.
    """
    if len(chosen) != 1:
        raise SelectionError(
            f"--row takes one sync, and {len(chosen)} are selected", hint="Name the sync whose row it is."
        )
    target = chosen[0].target
    parts = [text] if len(target.key_columns) == 1 else _parts(text, target.key_columns)
    key = [identifier(part) for part in parts]
    if target.keys_of_people[:1] == (PersonKey.EMAIL,):
        key[0] = key[0].lower()
    return tuple(key)


def _parts(text: str, columns: Collection[str]) -> list[str]:
    try:
        parts = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        parts = None
    if not isinstance(parts, list) or len(parts) != len(columns) or not all(isinstance(part, str) for part in parts):
        example = json.dumps(list(columns))
        raise SelectionError(
            f"the key of this sync has {len(columns)} columns",
            hint=f"Write it as a JSON array in their order, such as --row '{example}' with the values in place.",
        )
    return parts


class _Report:
    """What a command prints of each run as it ends."""

    def __init__(self, chosen: Collection[SyncDefinition], *, as_json: bool) -> None:
        self._as_json = as_json
        updates_only = any(not definition.create for definition in chosen)
        are_events = any(definition.target.entity.traits.happens for definition in chosen)
        merge = any(definition.target.entity.traits.names_pair for definition in chosen)
        shown = {"absent": updates_only, "altered": are_events, "merged": merge}
        self._counts = [count for count in _COUNTS if shown.get(count, True)]
        self._headings = ["sync", "status", *self._counts, "seconds"]
        name_width = max(len(name) for name in ("sync", *(definition.name for definition in chosen)))
        self._widths = [name_width, len("success"), *map(len, self._headings[2:])]
        self._begun = False

    def show(self, ended: Run) -> None:
        """Print one run with its notes and problems."""
        if self._as_json:
            output.json_line(run_object(ended))
        else:
            self._print_row(ended)
        for note in ended.notes:
            output.remark(f"note: {ended.sync}: {note}", as_json=self._as_json)
        if ended.error is not None:
            word = "error" if ended.status is RunStatus.FAILED else ended.status
            output.sync_problem(word, ended.sync, ended.error, ended.hint)
        if ended.status is RunStatus.WARNING:
            rows = ended.counts.rejected
            output.sync_problem(
                "warning",
                ended.sync,
                f"{rows:,} {'row is' if rows == 1 else 'rows are'} rejected",
                f"See them with `syncer rejected {ended.sync}`; the next run tries them again.",
            )

    def _print_row(self, ended: Run) -> None:
        counts = asdict(ended.counts)
        numbers = [str(counts[name]) for name in self._counts]
        cells = [ended.sync, ended.status, *numbers, f"{_seconds(ended):.1f}"]
        if output.is_too_narrow(self._widths):
            output.print_narrow_run(self._headings, cells, self._widths[0], output.terminal_width())
            return
        right = [heading not in ("sync", "status") for heading in self._headings]
        if not self._begun:
            output.print_row(self._headings, self._widths, right)
            self._begun = True
        output.print_row(cells, self._widths, right)


def run_object(ended: Run) -> dict[str, object]:
    """A run as `syncer run --json` prints it."""
    return {
        "sync": ended.sync,
        "run_id": ended.id or None,
        "status": ended.status,
        **asdict(ended.counts),
        "planned": asdict(ended.planned),
        "delivered": ended.delivered and asdict(ended.delivered),
        "undelivered": ended.undelivered and asdict(ended.undelivered),
        "quarantined": ended.quarantined,
        "seconds": round(_seconds(ended), 3),
        "bytes_fetched": ended.bytes_fetched,
        "error": ended.error,
        **({"moved": [row._asdict() for row in ended.moved]} if ended.scope is RunScope.PLAN else {}),
    }


def _seconds(ended: Run) -> float:
    return ((ended.finished_at or now()) - ended.started_at).total_seconds()
