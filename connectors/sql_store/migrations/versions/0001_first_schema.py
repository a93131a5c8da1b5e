"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    in_postgresql = op.get_bind().dialect.name == "postgresql"
    now = sa.text("now()" if in_postgresql else "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))")
    name = sa.Text(collation="C") if in_postgresql else sa.Text()
    number = sa.BigInteger() if in_postgresql else sa.Integer()
    json: TypeEngine[Any] = postgresql.JSONB() if in_postgresql else sa.Text()
    time: TypeEngine[Any] = sa.TIMESTAMP(timezone=True) if in_postgresql else sa.Text()
    room = {"fillfactor": 90}

    def attributes() -> list[sa.Column[Any]]:
        return [
            sa.Column("attributes", json, nullable=False),
            sa.Column("created_at", time, nullable=False, server_default=now),
            sa.Column("updated_at", time, nullable=False, server_default=now),
        ]

    op.create_table(
        "people",
        sa.Column("person_id", number, sa.Identity(always=True), primary_key=True),
        sa.Column("id", name),
        sa.Column("email", name),
        *attributes(),
        sqlite_autoincrement=True,
        postgresql_with=room,
    )
    op.create_table(
        "objects",
        sa.Column("object_type", name, primary_key=True),
        sa.Column("object_id", name, primary_key=True),
        *attributes(),
        postgresql_with=room,
    )
    op.create_table(
        "relationships",
        sa.Column("person_id", number, sa.ForeignKey("people.person_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("object_type", name, primary_key=True),
        sa.Column("object_id", name, primary_key=True),
        *attributes(),
        sa.ForeignKeyConstraint(
            ["object_type", "object_id"], ["objects.object_type", "objects.object_id"], ondelete="CASCADE"
        ),
        postgresql_with=room,
    )
    op.create_index("relationships_of_object", "relationships", ["object_type", "object_id"])
    op.create_table(
        "collections",
        sa.Column("name", name, primary_key=True),
        sa.Column("updated_at", time, nullable=False, server_default=now),
    )
    op.create_table(
        "collection_rows",
        sa.Column("collection", name, sa.ForeignKey("collections.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", name, primary_key=True),
        sa.Column("data", json, nullable=False),
    )
    op.create_table(
        "workspace",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("store_id", sa.Text(), nullable=False),
    )
