"""What is special about devices: what the header says of them, and tokens, of which each belongs to one person.

A device's key is the person and the token. So a token that moves to somebody else is two rows of a comparison: one is
removed, the other added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pyarrow as pa

from syncer.model.errors import QueryResultError
from syncer.model.types import DeviceFields, Entity, Platform, ValueForm
from syncer.snapshot.attributes import Attribute
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType, canonical, literal

#: Why a row is not sent whose token another row has too.
SHARED = "rows of several people have this token"

_TIMES = (ColumnType.TIMESTAMP, ColumnType.DATE, ColumnType.TEXT)


def of_result(device: DeviceFields, attributes: tuple[Attribute, ...], width: int) -> tuple[Attribute, ...]:
    """The attributes of a result of so many columns, with what the header says of devices as it is stored.

    Raises:
        QueryResultError: as `check_types`.
    """
    own = Entity.DEVICE.traits.own_columns
    check_types(device, {a.name: a.kind for a in attributes if a.name in own})
    found = [replace(a, kind=kind_of(a.name, a.kind), is_of_device=True) if a.name in own else a for a in attributes]
    if device.platform is not None:
        text = {"kind": ColumnType.TEXT, "type": pa.string()}
        found.append(Attribute(name="platform", position=width, is_of_device=True, constant=device.platform, **text))
    return tuple(found)


def check_types(device: DeviceFields, kinds: Mapping[str, ColumnType]) -> None:
    """Make sure that the columns of a platform and of the last use can be read as such.

    Shapes:
        kinds: of the columns that the result has, by attribute.
    Raises:
        QueryResultError: one cannot.
    """
    if kinds.get("platform", ColumnType.TEXT) is not ColumnType.TEXT:
        raise QueryResultError(
            f"column `{device.platform_column}` is of the kind {kinds['platform']}, which is no platform",
            hint=f"Return {' or '.join(f'`{platform}`' for platform in Platform)}.",
        )
    if kinds.get("last_used", ColumnType.TIMESTAMP) not in _TIMES:
        raise QueryResultError(
            f"column `{device.last_used}` is of the kind {kinds['last_used']}, which is no time",
            hint="Cast it to a timestamp in the query, seconds since 1970 by to_timestamp or what your warehouse has.",
        )


def kind_of(attribute: str, kind: ColumnType) -> ColumnType:
    """The kind of a device's attribute in the snapshot, whose column is of another one perhaps."""
    return ColumnType.TIMESTAMP if attribute == "last_used" else kind


def read(attribute: str, type_: pa.DataType, value: str) -> str:
    """SQL for the stored form of what a column says of a device, which is scanned as *type_*."""
    if attribute == "platform":
        return f"lower(trim({value}))"
    if not pa.types.is_temporal(type_):
        # Without a zone, a text is in the session's, which is UTC.
        value, type_ = f"make_timestamp(epoch_us(TRY_CAST({value} AS TIMESTAMPTZ)))", pa.timestamp("us")
    return f"CAST({canonical(ColumnType.TIMESTAMP, type_, value)} AS TIMESTAMP)"


def fault(attribute: str, column: str, *, value: str, is_given: str) -> tuple[str, str]:
    """SQL for whether a row cannot be sent for what a column says of its device, and for the reason.

    Shapes:
        value, is_given: SQL for its stored form, and for whether the column has anything.
    """
    if attribute == "platform":
        known = ", ".join(literal(platform) for platform in Platform)
        words = " nor ".join(f"`{platform}`" for platform in Platform)
        return f"{value} IS NULL OR {value} NOT IN ({known})", literal(f"`{column}` is neither {words}")
    is_none = f"{is_given} AND ({value} IS NULL OR {value} < '1970-01-01')"
    return is_none, literal(f"`{column}` is no time since 1970")


def sent_text(kind: ColumnType, value: str, form: ValueForm) -> str:
    """SQL for what a store is sent of a stored *value* that it has a column for; NULL stays NULL."""
    if kind is not ColumnType.TIMESTAMP:
        return value
    if form is ValueForm.UNIX_SECONDS:
        return f"CAST(CAST(epoch(date_trunc('second', {value})) AS BIGINT) AS VARCHAR)"
    # As Python writes it.
    return f"(replace(strftime({value}, '%Y-%m-%dT%H:%M:%S.%f'), '.000000', '') || '+00:00')"


def sent_json(kind: ColumnType, value: str, form: ValueForm) -> str:
    """SQL for the same as JSON."""
    text = sent_text(kind, value, form)
    is_number = kind is ColumnType.TIMESTAMP and form is ValueForm.UNIX_SECONDS
    return text if is_number else f"CAST(to_json({text}) AS VARCHAR)"


#: SQL for the rows of the snapshot (k1, k2) that have the token of a staged row, and may be in the result beside it.
_BESIDE = (
    "SELECT s.k1, s.k2 FROM snapshot s SEMI JOIN staged t ON s.k2 = t.k2 "
    "ANTI JOIN staged u ON u.k1 = s.k1 AND u.k2 = s.k2 ANTI JOIN gone g ON g.k1 = s.k1 AND g.k2 = s.k2"
)


def may_share(session: Session) -> bool:
    """Whether a staged row has the token of a row that is in the result, though it is not staged."""
    return session.any(_BESIDE)


def mark_shared(session: Session, columns: Mapping[str, str], is_returned: Callable[[str], str]) -> int:
    """Mark the staged rows whose token rows of several people have; returns how many it put beside them.

    Those are rows of the result that `staged` lacked, since they did not change.

    Shapes:
        columns: of `staged`, to the SQL of what the snapshot has in their place.
        is_returned: SQL for whether the result has a row of the snapshot, which a table of this name has.
    """
    names, values = ("".join(f", {one}" for one in some) for some in (columns, columns.values()))
    session.execute(f"CREATE OR REPLACE TEMP TABLE beside AS SELECT * FROM ({_BESIDE}) b WHERE {is_returned('b')}")
    put = session.count(
        f"INSERT INTO staged (k1, k2{names}, nulled) SELECT k1, k2{values}, 0 FROM snapshot SEMI JOIN beside "
        "USING (k1, k2)"
    )
    session.execute(
        f"UPDATE staged SET fault = coalesce(fault, {literal(SHARED)}) WHERE k1 <> '' AND k2 IN (SELECT k2 FROM staged "
        "WHERE k1 <> '' AND k2 <> '' GROUP BY k2 HAVING count(DISTINCT k1) > 1)"
    )
    return put


#: SQL for whether a row of the result that can be sent has the token of a row of another person.
_MOVED = "EXISTS (SELECT 1 FROM staged s WHERE s.k2 = {0}.k2 AND s.k1 <> {0}.k1)"


def find_moved(session: Session) -> None:
    """Add to `changes`, as removed, what is known of tokens that a result which need not be whole gives to others.

    Nothing is sent of it: the ledger is to forget it, so that the token is sent if it comes back.
    """
    session.execute(
        "INSERT INTO changes SELECT k1, k2, 'removed', NULL, NULL, NULL FROM ("
        "SELECT k1, k2 FROM snapshot UNION SELECT k1, k2 FROM in_doubt) o WHERE " + _MOVED.format("o")
    )


def forget_moved(session: Session) -> None:
    """Drop the newest values and the rejections of such rows; part of the caller's transaction."""
    for table in ("kept", "rejections"):
        session.execute(f"DELETE FROM {table} WHERE {_MOVED.format(table)}")


def moved_rows(session: Session) -> int:
    """How many removed rows have a token that the result has for somebody else."""
    return session.count(
        "SELECT count(*) FROM changes c WHERE change = 'removed' AND EXISTS (SELECT 1 FROM ("
        "SELECT k2 FROM staged UNION ALL SELECT k2 FROM (SELECT k1, k2 FROM snapshot ANTI JOIN gone USING (k1, k2) "
        "SEMI JOIN changes USING (k2))) r WHERE r.k2 = c.k2)"
    )
