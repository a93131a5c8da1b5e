"""The bodies of the API's answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from syncer.model.types import (
    CatchUp,
    Changes,
    Counts,
    EndedBy,
    Entity,
    ListAction,
    OnNull,
    OnRemoved,
    RunScope,
    RunStatus,
    Trigger,
    Undelivered,
    Verdict,
)
from syncer.service.health import Freshness, Health
from syncer.state.audit import AuditAction

#: Where a page ended; callers send it back as it is.
Next = Field(default=None, description="The `cursor` of the next page; null on the last one.")


class ProblemAnswer(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="Always `about:blank`.")
    title: str = Field(description="The name of the HTTP status.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened.")
    hint: str | None = Field(default=None, description="What to do about it.")
    run_id: str | None = Field(default=None, description="The run that is in the way.")


class ProgressAnswer(BaseModel):
    """How far a run is."""

    phase: str = Field(
        description="`waiting`, `query`, `compare`, `journal`, `send` or `settle`; `elsewhere` where a worker makes it."
    )
    rows: int = Field(description="Rows done in this phase.")
    total: int | None = Field(description="All rows of this phase, if known.")
    rate: float | None = Field(description="Rows per second in this phase.")
    seconds_left: float | None = Field(description="Seconds left in this phase, at this rate.")
    is_stopping: bool = Field(description="Whether it stops after its current batch.")


class RunAnswer(BaseModel):
    """One run."""

    model_config = ConfigDict(from_attributes=True)

    run_id: str = Field(validation_alias="id", description="Its id.")
    sync: str = Field(description="The name of the sync.")
    status: RunStatus = Field(
        description="`queued` while it waits for its turn, `running`, or how it ended: `success`, `warning`, `failed`, "
        "`held`, `skipped` or `interrupted`."
    )
    trigger: Trigger = Field(description="Who started it: `schedule`, `manual` or `api`.")
    actor: str = Field(description="The person or program; empty for the schedule and the command line.")
    due_at: datetime | None = Field(description="The time in the schedule that it runs for.")
    started_at: datetime = Field(description="When it began.")
    finished_at: datetime | None = Field(description="When it ended.")
    ordered_at: datetime | None = Field(description="When it was ordered; null if it began at once.")
    waited_seconds: float | None = Field(
        description="Seconds from its order to its beginning; null if it did not wait, or has not begun."
    )
    worker: str | None = Field(description="The worker that makes or made it; null if none does.")
    bytes_fetched: int | None = Field(
        description="Bytes of the result that were fetched; null before its end, and of earlier versions."
    )
    counts: Counts = Field(
        description="Rows: `queried`, `added`, `changed`, `removed`, `unchanged`, `accepted`, `rejected`, `absent`, "
        "`altered` (events that changed after they were sent) and `merged` (pairs of people that the store made one)."
    )
    planned: Changes = Field(description="Rows that it was to send: `added`, `changed`, `removed` and `resent`.")
    delivered: Changes | None = Field(description="Those that the store accepted; null of an earlier version's run.")
    undelivered: Undelivered | None = Field(
        description="The other ones: `rejected`, `absent`, `in_doubt` and `not_sent`; null of an earlier version's run."
    )
    quarantined: int | None = Field(
        description="Rows that Syncer rejected before the comparison; null of an earlier version's run."
    )
    phases: dict[str, float] = Field(description="The seconds of each finished phase.")
    error: str | None = Field(description="What went wrong.")
    hint: Annotated[str | None, BeforeValidator(lambda text: text or None)] = Field(description="What to do about it.")
    notes: list[str] = Field(description="Remarks.")
    scope: RunScope = Field(
        description="`whole`: it sends what changed; `full`: every row; `plan`: those of a plan; `rows`: that of a key."
    )
    options: list[str] = Field(
        description="What it does differently: `full`, `allow_limits`, `allow_clock`, `row`, and such as "
        "`allow_removed=8000` and `plan=ID`."
    )
    ended_by: EndedBy | None = Field(
        description="Who or what interrupted it: `person`, `shutdown`, `takeover` or `crash`; null for every other run."
    )
    moved: list[MovedAnswer] = Field(
        default=[], description="If it was to send a plan and was held as that is out of date: the first 1,000 rows."
    )
    progress: ProgressAnswer | None = Field(None, description="Null if the run has ended, or runs in another process.")


class RunPage(BaseModel):
    """Runs, newest first."""

    items: list[RunAnswer]
    next: str | None = Next


class RunningAnswer(BaseModel):
    """The current run of a sync."""

    run_id: str | None = Field(description="Its id.")
    progress: ProgressAnswer = Field(description="How far it is.")


class SyncAnswer(BaseModel):
    """One sync and its status."""

    name: str = Field(description="Its name.")
    description: str = Field(description="From the header.")
    owner: str = Field(description="From the header.")
    tags: list[str] = Field(description="From the header.")
    entity: Entity = Field(
        description="`person`, `object`, `relationship`, `collection`, `device`, `merge` or `event`."
    )
    warehouse: str = Field(description="The name of the warehouse.")
    store: str = Field(description="The name of the store.")
    schedule: str = Field(description="When it runs.")
    enabled: bool = Field(description="False if the header says `enabled: false`.")
    paused: bool = Field(description="Whether its schedule is paused.")
    next_due: datetime | None = Field(description="When it is due next.")
    freshness: Freshness = Field(description="Whether the store has what the schedule promises.")
    health: Health = Field(
        description="The first that fits of `paused`, `failing`, `held`, `late`, `degraded`, `new` and `healthy`."
    )
    held: bool = Field(description="Whether a limit, or a wrong clock, holds it.")
    rejected: int = Field(description="Rows that are rejected now.")
    acknowledged: int = Field(description="Those of them that somebody has acknowledged.")
    last_ended_well: datetime | None = Field(description="When its newest run began that delivered its rows.")
    last_run: RunAnswer | None = Field(description="Its newest run that began, but for those of single rows.")
    running: RunningAnswer | None = Field(description="Its run that waits or runs now.")
    outdated: str | None = Field(description="The error of its file, if its last valid version is in use.")


class SyncPage(BaseModel):
    """Syncs by name."""

    items: list[SyncAnswer]
    next: str | None = Next


class SyncDetailAnswer(SyncAnswer):
    """One sync with its definition."""

    file: str = Field(description="The file of the definition.")
    definition_hash: str = Field(description="Changes with the definition.")
    sql: str = Field(description="The query.")
    key_columns: list[str] = Field(description="The columns of the key.")
    action: ListAction | None = Field(
        description="Of a list of people, `delete`, `suppress` or `unsuppress`; null for other syncs."
    )
    attributes: dict[str, str] | None = Field(description="Attribute to column; null sends every column.")
    depends_on: list[str] = Field(description="Syncs that run first.")
    queue: str = Field(description="The queue that its runs wait in.")
    priority: int = Field(description="Of runs that wait and may begin, those of a higher one go first.")
    on_removed: OnRemoved = Field(description="`keep`, `clear` or `delete`.")
    on_null: OnNull = Field(description="`clear` or `keep`.")
    create: bool = Field(description="Whether it creates people and objects.")
    catch_up: CatchUp = Field(description="`once` or `skip`.")


class RejectionAnswer(BaseModel):
    """A rejected row."""

    sync: str = Field(description="The name of the sync.")
    key: str = Field(description="The key of the row; empty if it has none, and for viewers.")
    reason: str = Field(description="Why it is rejected.")
    attempts: int = Field(description="How often it was rejected.")
    first_seen: datetime = Field(description="When it was rejected first.")
    last_seen: datetime = Field(description="When it was rejected last.")
    columns: list[str] = Field(description="Of rows that share a key, the columns in which they differ.")
    values: JsonValue = Field(description="Its values, long ones cut; null if they are not known, and for viewers.")
    digest: str = Field(description="Changes with its values; empty if they are not known, and for viewers.")
    acknowledged: AcknowledgementAnswer | None = Field(description="Who acknowledged it; null if nobody did.")


class AcknowledgementAnswer(BaseModel):
    """Somebody knows that a row is rejected: until then, or until it changes, it does not count."""

    model_config = ConfigDict(from_attributes=True)

    by: str = Field(description="The person or program.")
    reason: str = Field(description="Why it does not count.")
    at: datetime = Field(description="When it was acknowledged.")
    until: datetime = Field(description="When it counts again.")


class RejectionPage(BaseModel):
    """Rejected rows."""

    items: list[RejectionAnswer]
    total: int = Field(description="All rejected rows; only the first are kept.")
    matching: int = Field(description="Kept rows that fit the parameters.")
    next: str | None = Next


class ChangeAnswer(BaseModel):
    """One row that a run would send."""

    change: str = Field(description="`added`, `changed` or `removed`.")
    key: str = Field(description="The key of the row.")
    before: JsonValue = Field(default=None, description="What the store has.")
    after: JsonValue = Field(default=None, description="What the run would send.")


class PlanAnswer(BaseModel):
    """What a run would do now."""

    sync: str = Field(description="The name of the sync.")
    plan_id: str | None = Field(default=None, description="With `save`, what to send as `plan` to run it.")
    expires_at: datetime | None = Field(default=None, description="With `save`, until when it is kept.")
    counts: Counts = Field(description="The rows, as in `RunAnswer`.")
    attributes: dict[str, int] = Field(description="The number of changed rows in which each attribute differs.")
    held: list[str] = Field(description="What would hold the run.")
    notes: list[str] = Field(description="Remarks.")
    would_reject: list[dict[str, str]] = Field(
        description="Rows that would be rejected, or have nobody to update: each with `key` and `reason`."
    )
    sample: list[ChangeAnswer] = Field(description="Sample rows.")


class LastSentAnswer(BaseModel):
    """What the store answered last for a row; if it ever accepted the row, that is the last time it did."""

    values: dict[str, JsonValue] | None = Field(description="The attributes; null if they are not known.")
    at: datetime | None = Field(description="The start of the run; null if it is not known.")
    run_id: str | None = Field(description="The run; null if it is not known.")
    verdict: Verdict | None = Field(description="`accepted`, `rejected` or `absent`; null if no answer came.")
    reason: str | None = Field(description="Why the row was rejected.")


class RejectedAnswer(BaseModel):
    """That a row is rejected now."""

    reason: str = Field(description="Why.")
    since: datetime = Field(description="When it was rejected first.")


class AttributeAnswer(BaseModel):
    """An attribute that the store accepted from a sync."""

    attribute: str = Field(description="Its name.")
    sent: JsonValue = Field(description="What was sent.")
    stored: JsonValue = Field(description="What the store has now; null if it has none, or is not known.")
    stands: bool | None = Field(description="Whether they agree; null if that is not known.")


class RowNowAnswer(BaseModel):
    """What the warehouse has now of a row."""

    in_result: bool | None = Field(description="Whether the query returns it; null if that cannot be known.")
    values: dict[str, JsonValue] | None = Field(description="The attributes; null without a row that can be sent.")
    differs: list[str] = Field(description="The attributes of which the store did not accept this value.")
    reason: str | None = Field(description="Why the next run would reject it.")
    error: str | None = Field(description="Why the warehouse could not say.")


class ExplanationAnswer(BaseModel):
    """What one sync had to do with one row."""

    sync: str = Field(description="The name of the sync.")
    key: str = Field(description="The key of the row; empty if it is not known.")
    in_result: bool | None = Field(
        description="Whether the query returned the row when a run looked last; null if that is not known."
    )
    since_run: str | None = Field(description="The run since which that is so.")
    last_sent: LastSentAnswer | None = Field(description="What the store answered last.")
    rejected: RejectedAnswer | None = Field(description="Set if the row is rejected now.")
    in_doubt: bool = Field(description="Whether it was sent, and no answer came: the next run sends it again.")
    attributes: list[AttributeAnswer] = Field(description="What the store accepted.")
    now: RowNowAnswer | None = Field(description="What the warehouse has now; null if it was not asked.")
    busy: bool = Field(description="Whether a run or a plan has the snapshot open, so that only `rejected` is known.")
    done: str = Field(description="What a list does to the person, such as `deleted`; empty for other syncs.")


class ExplanationPage(BaseModel):
    """What each sync had to do with one entity."""

    items: list[ExplanationAnswer]
    notes: list[str] = Field(description="What the items do not say.")


class AuditAnswer(BaseModel):
    """One entry of the audit log."""

    id: int = Field(description="Its number.")
    at: datetime = Field(description="When.")
    actor: str = Field(description="The person or program.")
    address: str = Field(description="Their IP address.")
    action: AuditAction = Field(description="What they did.")
    sync: str = Field(description="To which sync.")
    run_id: str = Field(description="To which run.")
    options: list[str] = Field(description="The options of the run, or why a login failed.")


class AuditPage(BaseModel):
    """Entries of the audit log, newest first."""

    items: list[AuditAnswer]
    next: str | None = Next


class RowsAnswer(BaseModel):
    """How many rows that concerned."""

    rows: int = Field(description="How many rows that concerned.")


class MovedAnswer(BaseModel):
    """A row of a plan that is not as it was planned any more."""

    model_config = ConfigDict(from_attributes=True)

    key: str | None = Field(description="The key of the row; null if it is about every row.")
    why: str = Field(description="What changed: `definition`, `snapshot` (by another run) or `warehouse` (the result).")
