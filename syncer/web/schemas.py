"""The shapes of what the API answers with, and of what it takes."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from syncer.model.types import CatchUp, Counts, Entity, OnNull, OnRemoved, RunStatus, Trigger
from syncer.service.status import Freshness
from syncer.web.auth.audit import AuditAction

#: A cursor is where the page before ended; callers hand it back as they got it.
Next = Field(default=None, description="The `cursor` of the next page; null on the last one.")


class ProblemAnswer(BaseModel):
    """Why something was not done (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What happened.")
    hint: str | None = Field(default=None, description="What to do next.")
    run_id: str | None = Field(default=None, description="The run that is in the way.")


class ProgressAnswer(BaseModel):
    """How far a run has come that is not over."""

    phase: str = Field(description="`waiting`, `query`, `compare`, `journal`, `send` or `settle`.")
    rows: int = Field(description="Done in this phase.")
    total: int | None = Field(description="Of this phase, where that is known.")
    rate: float | None = Field(description="Rows a second in this phase.")
    seconds_left: float | None = Field(description="Of this phase, at this rate.")
    is_stopping: bool = Field(description="Whether it was asked to end after the batch in hand.")


class RunAnswer(BaseModel):
    """One run."""

    run_id: str
    sync: str
    status: RunStatus
    trigger: Trigger
    actor: str = Field(description="Who asked for it; empty for the schedule and the command line.")
    due_at: datetime | None = Field(description="The tick of the schedule that it answers.")
    started_at: datetime
    finished_at: datetime | None
    counts: Counts
    phases: dict[str, float] = Field(description="Seconds of each phase that is over.")
    error: str | None
    hint: str | None
    notes: list[str]
    progress: ProgressAnswer | None = Field(description="Null for a run that is over, or another process's.")


class RunPage(BaseModel):
    """Runs, newest first."""

    items: list[RunAnswer]
    next: str | None = Next


class RunningAnswer(BaseModel):
    """The run of a sync that waits or goes on."""

    run_id: str | None = Field(description="Null for one of the schedule that has not begun.")
    progress: ProgressAnswer


class SyncAnswer(BaseModel):
    """One sync and how it stands."""

    name: str
    description: str
    owner: str
    tags: list[str]
    entity: Entity
    warehouse: str
    store: str
    schedule: str
    enabled: bool
    paused: bool
    next_due: datetime | None
    freshness: Freshness
    held: bool = Field(description="Whether a limit holds it.")
    rejected: int = Field(description="Rows that are refused now.")
    last_ended_well: datetime | None = Field(description="When its newest run that ended well began.")
    last_run: RunAnswer | None = Field(description="The newest that was not skipped.")
    running: RunningAnswer | None
    outdated: str | None = Field(description="What is wrong with its file, if what it said before is in force.")


class SyncPage(BaseModel):
    """Syncs by name."""

    items: list[SyncAnswer]
    next: str | None = Next


class SyncDetailAnswer(SyncAnswer):
    """One sync, how it stands, and its definition."""

    file: str
    definition_hash: str
    sql: str
    key_columns: list[str]
    attributes: dict[str, str] | None = Field(description="Attribute to column; null takes every column.")
    depends_on: list[str]
    on_removed: OnRemoved
    on_null: OnNull
    create: bool
    catch_up: CatchUp


class RejectionAnswer(BaseModel):
    """A row that is refused now."""

    sync: str
    key: str
    reason: str
    attempts: int
    first_seen: datetime
    last_seen: datetime


class RejectionPage(BaseModel):
    """Rows that are refused now."""

    items: list[RejectionAnswer]
    total: int = Field(description="Also those beyond the first that are kept.")
    next: str | None = Next


class ChangeAnswer(BaseModel):
    """One row that a run would send."""

    change: str
    key: str
    before: JsonValue = None
    after: JsonValue = None


class PlanAnswer(BaseModel):
    """What a run would do now."""

    sync: str
    counts: Counts
    attributes: dict[str, int] = Field(description="In how many changed rows each attribute differs.")
    held: list[str] = Field(description="The limits that would hold the run.")
    notes: list[str]
    sample: list[ChangeAnswer]


class AuditAnswer(BaseModel):
    """One deed."""

    id: int
    at: datetime
    actor: str
    address: str
    action: AuditAction
    sync: str
    run_id: str


class AuditPage(BaseModel):
    """Deeds, newest first."""

    items: list[AuditAnswer]
    next: str | None = Next


class RunRequest(BaseModel):
    """How a run is to differ from the usual."""

    model_config = ConfigDict(extra="forbid", strict=True)

    full: bool = Field(default=False, description="Send every row, also those that did not change.")
    allow_limits: bool = Field(default=False, description="Let it through, whatever its limits say.")
