"""Objects in the run log's own database, in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import sqlalchemy as sa

from syncer.model.errors import ObjectGoneError
from syncer.settings.snapshots import DATABASE
from syncer.shared.place import Placed, tried_out, writing
from syncer.state.database import StateDatabase
from syncer.state.schema import snapshot_parts

#: Bytes of a part.
_PART = 1 << 20
#: Seconds that a slow disk may take for a part before the server ends the transaction, which nobody waits for: longer
#: than others may be silent, and shorter than an upgrade waits for the table.
_SILENCE_SECONDS = 25


class DatabasePlace:
    """A Place in the run log. Each method is a transaction of its own."""

    name = DATABASE

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def put(self, name: str, content: Path) -> None:
        """See Place."""
        parts = snapshot_parts
        with content.open("rb") as file, self._database.writing() as connection:
            if self._database.is_shared:
                connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{_SILENCE_SECONDS}s'")
            connection.execute(parts.delete().where(parts.c.name == name))
            for number in count():
                part = file.read(_PART)
                # An empty object has one part.
                if number and not part:
                    break
                connection.execute(parts.insert().values(name=name, number=number, bytes=part))

    def get(self, name: str, target: Path) -> None:
        """See Place."""
        query = sa.select(snapshot_parts.c.bytes).where(snapshot_parts.c.name == name)
        # It sees one moment: whoever deletes or replaces the object meanwhile takes no part of it away.
        with self._database.reading() as connection, writing(target) as file:
            for number in count():
                part = connection.execute(query.where(snapshot_parts.c.number == number)).scalar_one_or_none()
                if part is None:
                    break
                file.write(part)
            if not number:
                raise ObjectGoneError(f"the run log has no object `{name}`")

    def delete(self, names: Iterable[str]) -> None:
        """See Place."""
        with self._database.writing() as connection:
            for name in names:
                connection.execute(snapshot_parts.delete().where(snapshot_parts.c.name == name))

    def objects(self, prefix: str = "") -> Iterator[Placed]:
        """See Place."""
        parts = snapshot_parts.c
        size, at = sa.func.sum(sa.func.octet_length(parts.bytes)), sa.func.max(parts.at, type_=parts.at.type)
        query = sa.select(parts.name, size.label("size"), at.label("at")).group_by(parts.name)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(parts.name.startswith(prefix, autoescape=True))).all()
        for row in rows:
            yield Placed(name=row.name, bytes=int(row.size), at=row.at)

    def try_out(self) -> None:
        """See Place."""
        tried_out(self)
