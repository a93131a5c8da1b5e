"""Where the rows of a snapshot may be, beside its file."""

from __future__ import annotations

import enum

from syncer.model.entities import Entity


class SnapshotHome(enum.StrEnum):
    """Where a header wants the rows of a sync's snapshot to be."""

    WAREHOUSE = "warehouse"


#: What may be kept there: of the others, a run needs all rows, or has none.
COMPARED = frozenset({Entity.PERSON, Entity.OBJECT, Entity.RELATIONSHIP})
