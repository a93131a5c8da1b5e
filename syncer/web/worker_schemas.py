"""The bodies of the API's answers about workers."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class LeasedAnswer(BaseModel):
    """A run that a worker makes."""

    model_config = ConfigDict(from_attributes=True)

    sync: str = Field(description="The name of the sync.")
    run_id: str = Field(description="The id of the run.")
    fence: int = Field(description="The fence of the sync's snapshot; 0 before the run has taken that.")


class WorkerAnswer(BaseModel):
    """One worker, and what it is doing."""

    model_config = ConfigDict(from_attributes=True)

    worker: str = Field(description="Its name.")
    host: str = Field(description="The machine that it is on.")
    beat_at: datetime = Field(description="When it gave a sign last, by the clock of PostgreSQL.")
    lives: bool = Field(description="False if it gave no sign for 10 seconds.")
    queues: list[str] = Field(description="The queues whose syncs it runs; empty for all.")
    running: list[LeasedAnswer] = Field(description="What it runs.")


class WorkerPage(BaseModel):
    """The workers of the last day that did not end in order."""

    items: list[WorkerAnswer]
