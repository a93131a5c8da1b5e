"""The settings that SQL stores have beside their URLs."""

from __future__ import annotations

from pydantic import Field

from syncer.model.connectors import Options


class SQLStoreOptions(Options):
    """How long an SQL store keeps what belongs to nobody."""

    keep_anonymous: float = Field(
        default=30,
        gt=0,
        le=36500,
        description="how many days to keep [events of visitors](stores.md#anonymous-people) whom nobody has claimed",
    )
