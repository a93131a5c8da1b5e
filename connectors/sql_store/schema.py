"""The tables of an SQL profile store, as the newest format has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles

from connectors.sql_store import widening
from connectors.sql_store.upgrades import FORMATS
from syncer.model.types import Identity


class _Now(sa.sql.functions.GenericFunction[str]):
    """The present moment; in SQLite as ISO-8601 text in UTC."""

    inherit_cache = True
    name = "utc_now"


@compiles(_Now)
def _now(_: _Now, compiler: sa.Compiled, **__: object) -> str:
    return "now()" if compiler.dialect.name == "postgresql" else "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))"


#: An identifier; PostgreSQL compares it byte by byte, which makes its indexes fast under any locale.
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_JSON = sa.Text().with_variant(postgresql.JSONB, "postgresql")
_TIME = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
#: Percent of each page that new rows fill: where a page has room for another version of each, an update touches no
#: index.
_FILLED = {"fillfactor": 50}
_FILLED_WITH_LINKS = {"fillfactor": 90}


def _attributes() -> list[sa.Column[str]]:
    return [
        sa.Column("attributes", _JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=_Now()),
        sa.Column("updated_at", _TIME, nullable=False, server_default=_Now()),
    ]


metadata = sa.MetaData()

#: Identifiers are indexed by what the store's identity says of them: see `_index_identifiers`. A phone is one only
#: where it says so, and NULL everywhere else; it comes last since stores of earlier formats got it later.
people = sa.Table(
    "people",
    metadata,
    sa.Column("person_id", _NUMBER, sa.Identity(always=True), primary_key=True),
    sa.Column("id", _NAME),
    sa.Column("email", _NAME),
    *_attributes(),
    sa.Column("phone", _NAME),
    sqlite_autoincrement=True,
    postgresql_with=_FILLED,
)

objects = sa.Table(
    "objects",
    metadata,
    sa.Column("object_type", _NAME, primary_key=True),
    sa.Column("object_id", _NAME, primary_key=True),
    *_attributes(),
    postgresql_with=_FILLED,
)

relationships = sa.Table(
    "relationships",
    metadata,
    sa.Column("person_id", _NUMBER, sa.ForeignKey(people.c.person_id, ondelete="CASCADE"), primary_key=True),
    sa.Column("object_type", _NAME, primary_key=True),
    sa.Column("object_id", _NAME, primary_key=True),
    *_attributes(),
    sa.ForeignKeyConstraint(
        ["object_type", "object_id"], [objects.c.object_type, objects.c.object_id], ondelete="CASCADE"
    ),
    sa.Index("relationships_of_object", "object_type", "object_id"),
    postgresql_with=_FILLED_WITH_LINKS,
)

devices = sa.Table(
    "devices",
    metadata,
    sa.Column("token", _NAME, primary_key=True),
    sa.Column("person_id", _NUMBER, sa.ForeignKey(people.c.person_id, ondelete="CASCADE"), nullable=False),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("last_used", _TIME),
    *_attributes(),
    sa.Index("devices_of_person", "person_id"),
    postgresql_with=_FILLED,
)

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("updated_at", _TIME, nullable=False, server_default=_Now()),
)

collection_rows = sa.Table(
    "collection_rows",
    metadata,
    sa.Column("collection", _NAME, sa.ForeignKey(collections.c.name, ondelete="CASCADE"), primary_key=True),
    sa.Column("key", _NAME, primary_key=True),
    sa.Column("data", _JSON, nullable=False),
)

#: Of events, those of visitors, and those of visitors whom nobody has claimed. The index of these begins with what all
#: of them have, since SQLite takes an index by more columns for the better one.
_ANONYMOUS, _UNCLAIMED = sa.text("anonymous_id IS NOT NULL"), sa.text("person_id IS NULL")

#: What happened, each once: an event is the same whatever its id says of its time.
events = sa.Table(
    "events",
    metadata,
    sa.Column("event_id", _NAME, primary_key=True),
    sa.Column("person_id", _NUMBER, sa.ForeignKey(people.c.person_id, ondelete="CASCADE")),
    sa.Column("anonymous_id", _NAME),
    sa.Column("name", _NAME, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("occurred_at", _TIME, nullable=False),
    sa.Column("received_at", _TIME, nullable=False, server_default=_Now()),
    sa.Column("data", _JSON, nullable=False),
    sa.Index("events_once", "name", sa.text("substr(event_id, 11)"), unique=True),
    sa.Index("events_of_person", "person_id", "occurred_at"),
    sa.Index("events_by_name", "name", "occurred_at"),
    sa.Index("events_of_visitor", "anonymous_id", postgresql_where=_ANONYMOUS, sqlite_where=_ANONYMOUS),
    sa.Index(
        "events_unclaimed_since", "person_id", "received_at", postgresql_where=_UNCLAIMED, sqlite_where=_UNCLAIMED
    ),
)

#: Whose a visitor is, for ever: the events that they did before are the person's.
visitors = sa.Table(
    "visitors",
    metadata,
    sa.Column("anonymous_id", _NAME, primary_key=True),
    sa.Column("person_id", _NUMBER, sa.ForeignKey(people.c.person_id, ondelete="CASCADE"), nullable=False),
    sa.Column("claimed_at", _TIME, nullable=False, server_default=_Now()),
    sa.Index("visitors_of_person", "person_id"),
)

#: From when on the events of a name and a key count.
event_starts = sa.Table(
    "event_starts",
    metadata,
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("key_columns", _NAME, primary_key=True),
    sa.Column("start_at", _TIME, nullable=False),
)

#: Which run wrote last for each sync: of a store that was put back from a backup it is an older one. A run whose take
#: is less than `taken` writes nothing; see `connectors.sql_store.fences`.
fences = sa.Table(
    "sync_fences",
    metadata,
    sa.Column("ledger", _NAME, primary_key=True),
    sa.Column("sync", _NAME, primary_key=True),
    sa.Column("fence", _NUMBER, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("taken", _NUMBER, nullable=False, server_default=sa.text("0")),
)

#: Identifiers that people lost, perhaps to others, in the order of `seq`, which only grows: what other syncs sent under
#: them went to the person who had them then.
moves = sa.Table(
    "identifier_moves",
    metadata,
    sa.Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("value", _NAME, nullable=False),
    sa.Column("moved_at", _TIME, nullable=False),
)

#: Identifiers by which nobody may be known; see `connectors.sql_store.suppressions`.
suppressions = sa.Table(
    "suppressions",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", _NAME, primary_key=True),
    sa.Column("since", _TIME, nullable=False, server_default=_Now()),
)

#: What merged people were known by, of every kind, and the person who was kept; see `connectors.sql_store.merges`.
merged_people = sa.Table(
    "merged_people",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", _NAME, primary_key=True),
    sa.Column("person_id", _NUMBER, sa.ForeignKey(people.c.person_id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("merged_at", _TIME, nullable=False),
)

#: One row.
workspace = sa.Table(
    "workspace",
    metadata,
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("store_id", sa.Text, nullable=False),
)

#: One row: see `connectors.sql_store.upgrades`.
_format = sa.Table(
    "workspace_version",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="workspace_version_pkc"),
)


def bring_up_to_date(engine: sa.Engine, lock: str, workspace: Mapping[str, str], *, keep: bool = True) -> None:
    """Make an empty database a store, or upgrade the store that it is.

    Shapes:
        lock: a statement after which this transaction is the only one that does so.
        workspace: the columns of that table for a new store; one that is there grows into its identity.
        keep: without it, all that is done is undone at once.
    """

    @contextmanager
    def transaction() -> Iterator[sa.Connection]:
        with engine.connect() as connection:
            connection.exec_driver_sql(lock)
            yield connection
            if keep:
                connection.commit()

    FORMATS.bring_up_to_date(
        transaction, read=_read, create=lambda connection: _create(connection, workspace), record=_record
    )
    if keep:
        with transaction() as connection:
            widening.widen(connection, Identity(workspace["identity"]))


def _read(connection: sa.Connection) -> int:
    if not connection.dialect.has_table(connection, _format.name):
        return 0
    return int(connection.execute(sa.select(_format.c.version_num)).scalar_one())


def _create(connection: sa.Connection, values: Mapping[str, str]) -> None:
    # Tables of another program are an error.
    metadata.create_all(connection, checkfirst=False)
    connection.execute(workspace.insert().values(**values))
    _index_identifiers(connection, Identity(values["identity"]))


def _record(connection: sa.Connection, number: int) -> None:
    connection.execute(_format.delete())
    connection.execute(_format.insert().values(version_num=f"{number:04}"))


def _index_identifiers(connection: sa.Connection, identity: Identity) -> None:
    for name in identity.names:
        unique = "UNIQUE" if name in identity.unique else ""
        connection.exec_driver_sql(f"CREATE {unique} INDEX people_{name} ON people ({name}) WHERE {name} IS NOT NULL")
