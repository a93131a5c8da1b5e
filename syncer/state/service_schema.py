"""The tables that only a service needs: who leads, who asked for what, who is logged in, what alerts are open, which
syncs send none, which runs are to stop, which workers make runs, and when they may call."""

from __future__ import annotations

import sqlalchemy as sa

from syncer.state.schema import AwareDateTime, ShownText, metadata

#: One row once a service has led: which one led last, counted from 1.
terms = sa.Table(
    "syncer_terms",
    metadata,
    sa.Column("term", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("holder", ShownText, nullable=False),
    sa.Column("began_at", AwareDateTime, nullable=False),
)

#: What callers of the API called their requests, so that one that is repeated is known again.
requests = sa.Table(
    "syncer_requests",
    metadata,
    sa.Column("key", ShownText, primary_key=True),
    sa.Column("sync", sa.Text, nullable=False),
    #: The options of the order: words, separated by blanks.
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("requested_at", AwareDateTime, nullable=False),
)

#: Who did what by way of the page and the API.
audit = sa.Table(
    "syncer_audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("at", AwareDateTime, nullable=False),
    sa.Column("actor", ShownText, nullable=False),
    sa.Column("address", ShownText, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("sync", ShownText, nullable=False),
    sa.Column("run_id", ShownText, nullable=False),
    #: Of a run: words, separated by blanks.
    sa.Column("options", sa.Text, nullable=False, server_default=""),
)

#: Who is logged in on the page.
sessions = sa.Table(
    "syncer_sessions",
    metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),
    sa.Column("actor", ShownText, nullable=False),
    sa.Column("expires_at", AwareDateTime, nullable=False),
    #: What somebody may do whom a provider named; null if the settings say it.
    sa.Column("role", sa.Text),
)

#: The open alerts; no row: all is well.
alerts = sa.Table(
    "syncer_alerts",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("since", AwareDateTime, nullable=False),
)

#: The syncs of which nobody gets a notice until a time; it may have passed.
mutes = sa.Table(
    "syncer_mutes",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("actor", ShownText, nullable=False),
    sa.Column("reason", ShownText, nullable=False),
    sa.Column("at", AwareDateTime, nullable=False),
    sa.Column("until", AwareDateTime, nullable=False),
)

#: Which open runs are to stop; the process that makes one looks here.
cancellations = sa.Table(
    "syncer_cancellations",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("actor", ShownText, nullable=False),
    sa.Column("requested_at", AwareDateTime, nullable=False),
)

#: The workers that make runs. One that ended in order has no row.
workers = sa.Table(
    "syncer_workers",
    metadata,
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("host", ShownText, nullable=False),
    # By the database's clock.
    sa.Column("began_at", AwareDateTime, nullable=False),
    sa.Column("beat_at", AwareDateTime, nullable=False),
    #: Names; empty for all.
    sa.Column("queues", sa.JSON, nullable=False),
)

#: Which worker makes the run of a sync. The row goes once the run has its end in the run log, not before.
leases = sa.Table(
    "syncer_leases",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    #: Of the snapshot, once the run has taken that; 0 before.
    sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("worker", sa.Text, nullable=False),
    #: By the database's clock.
    sa.Column("beat_at", AwareDateTime, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    #: Of what a worker and a leader expect of each other.
    sa.Column("format", sa.Integer, nullable=False),
)

#: One row once there are tables of Procrastinate, with the version that they are of.
job_tables = sa.Table(
    "syncer_job_tables",
    metadata,
    sa.Column("version", sa.Text, primary_key=True),
)

#: When the next call of each rate may go that all processes keep together.
rates = sa.Table(
    "syncer_rates",
    metadata,
    #: A hash of whose calls these are.
    sa.Column("workspace", sa.Text, primary_key=True),
    #: By the database's clock; the turns before are given away.
    sa.Column("next_at", AwareDateTime, nullable=False),
)
