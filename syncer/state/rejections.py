"""The rejected rows in a state database: filtered, grouped by reason, and acknowledged by people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from syncer.model.types import Acknowledgement, RejectedRow, Rejection
from syncer.state.database import StateDatabase
from syncer.state.schema import KEPT_REJECTIONS, rejection_totals, rejections

#: How long an acknowledgement lasts if nobody says so.
ACKNOWLEDGED = timedelta(days=30)

_NOT_ACKNOWLEDGED: Mapping[str, Any] = dict.fromkeys(
    ("acknowledged_by", "acknowledged_why", "acknowledged_at", "acknowledged_until")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionFilter:
    """Which rejected rows of a sync; a field that is empty, or None, fits all."""

    #: What the key or the reason contains, whatever its case.
    text: str = ""
    #: Whether *text* is looked for in the values too: only for who may see them.
    in_values: bool = False
    #: The whole reason.
    reason: str = ""
    #: What the reason contains, whatever its case.
    reason_part: str = ""
    #: One row: its key, and its digest as RejectedRow has it.
    key: str | None = None
    digest: str | None = None
    #: Whether somebody has acknowledged it.
    acknowledged: bool | None = None

    def clause(self, sync: str, now: datetime) -> sa.ColumnElement[bool]:
        """The rows of *sync* that fit."""
        row = rejections.c
        is_acknowledged = row.acknowledged_until.is_not(None) & (row.acknowledged_until > now)
        found = [row.sync == sync]
        if self.text:
            found.append(_contains(self.text, in_values=self.in_values))
        if self.reason:
            found.append(row.reason == self.reason)
        if self.reason_part:
            found.append(row.reason.icontains(self.reason_part, autoescape=True))
        if self.key is not None:
            found.append(row.key == self.key)
        if self.digest is not None:
            found.append(row.row_digest == self.digest)
        if self.acknowledged is not None:
            found.append(is_acknowledged if self.acknowledged else sa.not_(is_acknowledged))
        return sa.and_(*found)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionGroup:
    """The rejected rows of a sync that have one reason."""

    reason: str
    rows: int
    #: Those of them that somebody has acknowledged.
    acknowledged: int
    #: As RejectedRow has them, of any of the rows.
    columns: tuple[str, ...]
    first_seen: datetime
    last_seen: datetime


_EVERY = RejectionFilter()


@dataclass(frozen=True, slots=True)
class Rejections:
    """The rejected rows in a state database. Every change is durable when its method returns."""

    database: StateDatabase

    def of(
        self,
        sync: str,
        wanted: RejectionFilter = _EVERY,
        *,
        now: datetime,
        first: int = 0,
        limit: int = KEPT_REJECTIONS,
    ) -> tuple[list[Rejection], int]:
        """What *sync* has rejected now and fits, in the order recorded, and how many kept rows fit.

        Shapes:
            first, limit: the part of them to give, counted from 0.
        """
        fits = wanted.clause(sync, now)
        part = rejections.select().where(fits).order_by(rejections.c.position).offset(first).limit(limit)
        with self.database.reading() as connection:
            rows = [rejection_of(row, now) for row in connection.execute(part)]
            number = len(rows)
            if first or number == limit:
                number = connection.execute(sa.select(sa.func.count()).select_from(rejections).where(fits)).scalar_one()
        return rows, number

    def total(self, sync: str) -> int:
        """How many rows *sync* has rejected now, also those that are only counted."""
        query = sa.select(rejection_totals.c.total).where(rejection_totals.c.sync == sync)
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one_or_none() or 0

    def groups(self, sync: str, wanted: RejectionFilter = _EVERY, *, now: datetime) -> list[RejectionGroup]:
        """The same rows by reason, the greatest group first."""
        row, number = rejections.c, sa.func.count()
        is_known = sa.func.count(sa.case((row.acknowledged_until > now, 1)))
        query = sa.select(
            row.reason, row.differing, number, is_known, sa.func.min(row.first_seen), sa.func.max(row.last_seen)
        ).where(wanted.clause(sync, now))
        found: dict[str, RejectionGroup] = {}
        with self.database.reading() as connection:
            for reason, differing, rows, known, first, last in connection.execute(
                query.group_by(row.reason, row.differing).order_by(number.desc(), row.reason)
            ):
                columns = tuple(filter(None, differing.split("\n")))
                group = RejectionGroup(
                    reason=reason, rows=rows, acknowledged=known, columns=columns, first_seen=first, last_seen=last
                )
                found[reason] = _joined(found[reason], group) if reason in found else group
        return sorted(found.values(), key=lambda group: -group.rows)

    def acknowledge(self, sync: str, wanted: RejectionFilter, given: Acknowledgement) -> int:
        """Let rows that fit count no more, until they change or it expires; returns how many."""
        values = {
            "acknowledged_by": given.by,
            "acknowledged_why": given.reason,
            "acknowledged_at": given.at,
            "acknowledged_until": given.until,
        }
        return self._update(wanted.clause(sync, given.at), values)

    def unacknowledge(self, sync: str, wanted: RejectionFilter, *, now: datetime) -> int:
        """Let acknowledged rows that fit count again; returns how many."""
        is_known = rejections.c.acknowledged_until > now
        return self._update(wanted.clause(sync, now) & is_known, _NOT_ACKNOWLEDGED)

    def _update(self, which: sa.ColumnElement[bool], values: Mapping[str, Any]) -> int:
        with self.database.writing() as connection:
            return connection.execute(rejections.update().where(which).values(**values)).rowcount


CSV_HEADINGS = (
    *("sync", "key", "reason", "attempts", "first_seen", "last_seen", "columns", "values"),
    *("acknowledged_by", "acknowledged_reason", "acknowledged_at", "acknowledged_until"),
)


def csv_row(row: Rejection, *, with_values: bool = True) -> list[object]:
    """A rejected row in a file with CSV_HEADINGS, with its values, the key included, or without them."""
    times = (at.isoformat() for at in (row.first_seen, row.last_seen))
    given, values = row.acknowledged, row.row.values if with_values else ""
    key = row.key if with_values else ""
    known = [given.by, given.reason, given.at.isoformat(), given.until.isoformat()] if given else [""] * 4
    return [row.sync, key, row.reason, row.attempts, *times, ", ".join(row.row.columns), values, *known]


def record(connection: sa.Connection, sync: str, refused: Sequence[Rejection], total: int, *, now: datetime) -> int:
    """Record what *sync* has rejected now in place of what it had before; returns how many rows are acknowledged.

    Rows that did not change stay acknowledged; those whose values no run has seen since keep the values known before.
    """
    row = rejections.c
    before = [rejection_of(found, now) for found in connection.execute(rejections.select().where(row.sync == sync))]
    refused = [*_with_what_is_known(refused[:KEPT_REJECTIONS], before)]
    connection.execute(rejections.delete().where(row.sync == sync))
    connection.execute(rejection_totals.delete().where(rejection_totals.c.sync == sync))
    if refused:
        connection.execute(rejections.insert(), [values_of(each, place) for place, each in enumerate(refused)])
    if total:
        connection.execute(rejection_totals.insert().values(sync=sync, total=total))
    return sum(each.acknowledged is not None for each in refused)


def values_of(rejection: Rejection, position: int) -> dict[str, Any]:
    """The columns of `rejections`."""
    given = rejection.acknowledged
    return {
        "position": position,
        **{name: getattr(rejection, name) for name in ("sync", "key", "reason", "attempts", "first_seen", "last_seen")},
        "differing": "\n".join(rejection.row.columns),
        "row_values": rejection.row.values,
        "row_digest": rejection.row.digest,
        "acknowledged_by": given and given.by,
        "acknowledged_why": given and given.reason,
        "acknowledged_at": given and given.at,
        "acknowledged_until": given and given.until,
    }


def rejection_of(row: sa.Row[Any], now: datetime | None = None) -> Rejection:
    """A row of `rejections`; an acknowledgement that has expired by *now* is none."""
    until = row.acknowledged_until
    known = until is not None and (now is None or until > now)
    return Rejection(
        sync=row.sync,
        key=row.key,
        reason=row.reason,
        attempts=row.attempts,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        row=RejectedRow(
            values=row.row_values, digest=row.row_digest, columns=tuple(filter(None, row.differing.split("\n")))
        ),
        acknowledged=Acknowledgement(
            by=row.acknowledged_by, reason=row.acknowledged_why, at=row.acknowledged_at, until=until
        )
        if known
        else None,
    )


def _joined(one: RejectionGroup, other: RejectionGroup) -> RejectionGroup:
    return RejectionGroup(
        reason=one.reason,
        rows=one.rows + other.rows,
        acknowledged=one.acknowledged + other.acknowledged,
        columns=tuple(dict.fromkeys([*one.columns, *other.columns])),
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
    )


def _with_what_is_known(refused: Iterable[Rejection], before: Sequence[Rejection]) -> Iterable[Rejection]:
    values = {(each.key, each.reason): each.row for each in before if each.key and each.row.values is not None}
    known = {(each.key, each.row.digest): each.acknowledged for each in before if each.acknowledged}
    for each in refused:
        found = each
        if each.row.values is None and (row := values.get((each.key, each.reason))):
            found = replace(found, row=row)
        if given := known.get((each.key, found.row.digest)):
            found = replace(found, acknowledged=given)
        yield found


def _contains(text: str, *, in_values: bool) -> sa.ColumnElement[bool]:
    row, quoted = rejections.c, json.dumps(text, ensure_ascii=False)[1:-1]
    columns = [row.key, row.reason, *([row.row_values] if in_values else [])]
    return sa.or_(*(column.icontains(each, autoescape=True) for column in columns for each in {text, quoted}))
