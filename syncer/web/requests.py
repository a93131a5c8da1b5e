"""The bodies of requests to the API."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class RejectionChoice(BaseModel):
    """Which rejected rows of a sync; a field that is left out fits all."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=2_000, description="The whole reason of the rejections.")
    key: str | None = Field(default=None, max_length=2_000, description="The key; empty for rows without one.")
    digest: str | None = Field(default=None, max_length=64, description="The `digest` of one row.")


class AcknowledgeRequest(RejectionChoice):
    """Which rejected rows count no more, why, and until when."""

    why: str = Field(min_length=1, max_length=500, description="Why they do not count.")
    until: AwareDatetime | None = Field(default=None, description="When they count again; in 30 days if left out.")


class AllowedRows(BaseModel):
    """Limits that one run may exceed, each with the most rows."""

    model_config = ConfigDict(extra="forbid", strict=True)

    removed: int | None = Field(default=None, ge=0, description="Rows that it may remove.")
    changed: int | None = Field(default=None, ge=0, description="Rows that it may change.")
    cleared: int | None = Field(default=None, ge=0, description="Rows in which it may unset an attribute.")
    events: int | None = Field(default=None, ge=0, description="Events that it may send.")
    added: int | None = Field(default=None, ge=0, description="Rows that it may add.")
    deleted: int | None = Field(default=None, ge=0, description="People that a list may delete or suppress.")
    merged: int | None = Field(default=None, ge=0, description="Pairs of people that a list may merge.")
    empty: int | None = Field(default=None, ge=0, description="Rows of the snapshot, where the result has none.")
    clock: Literal[True] | None = Field(default=None, description="The same as `allow_clock`.")


class RunRequest(BaseModel):
    """Options of a run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    full: bool = Field(default=False, description="Send every row, changed or not.")
    allow_limits: bool = Field(default=False, description="Ignore the limits in this run.")
    allow_clock: bool = Field(default=False, description="Take this machine's clock for right in this run.")
    allow: AllowedRows = Field(default=AllowedRows(), description="Exceed single limits: see `AllowedRows`.")
    plan: str = Field(default="", max_length=100, description="The `plan_id` of a plan: send its rows, and no others.")
