"""A batch as the JSON of Customer.io's operations, which DuckDB makes and checks, never row by row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.customerio import events, merges
from connectors.customerio.checks import LONGEST_ITEM, checked_sql, is_faultless_sql, too_long
from connectors.customerio.naming import named, text
from connectors.customerio.options import Via
from syncer.model.types import Entity, Identity, PersonKey, Target

#: A person's attributes that the Track API does not take as null, and those that the Pipelines API does not.
UNCLEARABLE = ("id", "cio_subscription_preferences")
UNCLEARABLE_TRAITS = (*UNCLEARABLE, "email", "createdAt", "unsubscribed")
#: Requests in flight at once. A lane sends one after the other, and one lane has all items about one entity.
LANES = 8
#: Where what no batch takes goes, a call each.
ALONE = "/api/v1/events"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSettings:
    """What all items of a run have in common."""

    identity: Identity
    via: Via
    create: bool
    #: The run's start, unix seconds.
    timestamp: int
    #: The workspace's own.
    store_id: str
    #: The number of the target's object type, or empty.
    object_type: str = ""


def render(
    connection: duckdb.DuckDBPyConnection, target: Target, batch: pa.RecordBatch, settings: ItemSettings
) -> tuple[pa.Table, pa.Table]:
    """The items that send *batch*, and the rows that cannot be sent.

    Shapes:
        batch: as for `ProfileStore.apply`, of anything but a collection.
        returns: the items as `seq`, `lane`, `item`, a JSON text, and `alone`, in order; the rejected rows as `seq`,
            `reason`. Different lanes are about different entities; no other item is about the entity of one without a
            lane. One that is `alone` is the whole body of a call to ALONE.
    """
    own = [str(name) for name in settings.identity.names if name in batch.schema.names]
    given = merges.with_roots(connection, target, batch) if target.merged_key is not None else pa.table(batch)
    if target.names_visitors and "anonymous" not in given.column_names:
        given = given.append_column("anonymous", pa.nulls(len(given), pa.string()))
    alone = events.travels_alone_sql(target, settings.via) if target.event is not None else "FALSE"
    length = f"CASE WHEN strlen(item) > {LONGEST_ITEM} THEN {too_long('strlen(item)')} END"
    connection.register("given", given)
    try:
        rows = connection.sql(
            f"SELECT seq, {_lane_sql(target)} AS lane, item, {alone} AS alone, "
            f"coalesce(fault, {length}) AS reason FROM ("
            f"SELECT *, CASE WHEN fault IS NULL THEN {_item_sql(target, own, settings)} END AS item "
            f"FROM ({_checked_sql(connection, target, own, settings)})) "
            f"ORDER BY {'' if target.merged_key is None else 'depth DESC, '}seq"
        ).to_arrow_table()
    finally:
        connection.unregister("given")
    rows = rows.set_column(2, "item", rows["item"].cast(pa.string()))
    fits = pc.is_null(rows["reason"])
    return rows.filter(fits).drop_columns("reason"), rows.filter(pc.invert(fits)).select(["seq", "reason"])


def _lane_sql(target: Target) -> str:
    if target.merged_key is not None:
        # Pairs may share people.
        return "0"
    person = "k1" if target.entity.traits.links else ""
    if target.event is not None:
        person = "coalesce(who, anonymous)" if target.names_visitors else "who"
    return f"CAST(hash({person}) % {LANES} AS INTEGER)" if person else "CAST(NULL AS INTEGER)"


def _checked_sql(connection: duckdb.DuckDBPyConnection, target: Target, own: list[str], settings: ItemSettings) -> str:
    """SQL for the rows of `given` as items need them, with the reason why one cannot be sent as `fault`, else NULL."""
    if target.event is not None:
        return events.checked_sql(target, settings.via)
    is_faultless = connection.sql(is_faultless_sql(target, own, settings.identity)).fetchall()[0][0]
    checked = (
        "SELECT *, CAST(NULL AS VARCHAR) AS fault FROM given"
        if is_faultless
        else checked_sql(target, own, settings.identity)
    )
    if target.merged_key is not None:
        checked = merges.checked_sql(checked)
    if target.entity.traits.names_device:
        given = connection.table("given").columns
        absent = [f"CAST(NULL AS VARCHAR) AS {name}" for name in _OF_DEVICE if name not in given]
        checked = f"SELECT {', '.join(['*', *absent])} FROM ({checked})"
    if target.entity is Entity.PERSON and settings.via is Via.PIPELINES:
        checked = _with_iso_time(checked)
    return checked


def _members(own: list[str], *more: str, kept: tuple[str, ...] = ()) -> str:
    """SQL for a JSON object of what a row sets and unsets; it unsets none of *kept*."""
    names = "CAST(json_extract(cleared, '$[*]') AS VARCHAR[])"
    if kept:
        quoted = ", ".join(f"'\"{name}\"'" for name in kept)
        names = f"list_filter({names}, lambda n: n NOT IN ({quoted}))"
    unset = (
        f"CASE WHEN cleared <> '[]' THEN list_aggregate(list_transform({names}, "
        "lambda n: n || ':null'), 'string_agg', ',') END"
    )
    set_ = [f"CASE WHEN {name} IS NOT NULL THEN '\"{name}\":' || {text(name)} END" for name in own]
    nothing = " AND ".join(["cleared = '[]'", *(f"({member}) IS NULL" for member in (*set_, *more))])
    all_ = f"concat_ws(',', nullif(attributes[2:-2], ''), {', '.join([unset, *set_, *more])})"
    return f"CASE WHEN {nothing} THEN attributes ELSE '{{' || {all_} || '}}' END"


def _item_sql(target: Target, own: list[str], settings: ItemSettings) -> str:
    match target.entity:
        case Entity.PERSON if settings.via is Via.PIPELINES:
            return _pipelines_sql(own, settings, names_visitors=target.names_visitors)
        case Entity.PERSON:
            # Unsetting must not create a person.
            only_known = "TRUE" if not settings.create else "action = 'clear'"
            more = [f"CASE WHEN {only_known} THEN '\"_update\":true' END"]
            more += [f"'\"anonymous_id\":' || {text('anonymous')}"] if target.names_visitors else []
            members = _members(own, *more, kept=UNCLEARABLE)
            return _entity_sql("person", _person(target.person_key), members, f'"timestamp":{settings.timestamp},')
        case Entity.OBJECT:
            return _entity_sql("object", _object("k1", settings.object_type), _members([]))
        case Entity.RELATIONSHIP:
            return _relationship_sql(target, settings)
        case Entity.MERGE:
            primary, secondary = named(target.person, "k1"), named(target.merged, "k2")
            return (
                f'\'{{"type":"person","action":"merge","primary":\' || {primary} '
                f"|| ',\"secondary\":' || {secondary} || '}}'"
            )
        case Entity.DEVICE if settings.via is Via.PIPELINES:
            return _device_event_sql(settings)
        case Entity.DEVICE:
            return _device_sql(target)
        case Entity.COLLECTION:
            raise ValueError("a collection is sent as a whole")
        case Entity.EVENT:
            return events.item_sql(target, settings.via)
        case _:
            assert_never(target.entity)


def _person(key: PersonKey | None) -> str:
    return f"'\"identifiers\":' || {named(key, 'k1')}"


def _object(value: str, object_type: str) -> str:
    return f'\'"identifiers":{{"object_type_id":"{object_type}","object_id":\' || {text(value)} || \'}}\''


def _entity_sql(kind: str, who: str, members: str, more: str = "") -> str:
    return (
        f"CASE WHEN action IN ('delete', 'suppress', 'unsuppress') "
        f'THEN \'{{"type":"{kind}","action":"\' || action || \'",\' || {who} || \'}}\' '
        f'ELSE \'{{"type":"{kind}","action":"identify",\' || {who} || '
        f"',{more}\"attributes\":' || {members} || '}}' END"
    )


def _relationship_sql(target: Target, settings: ItemSettings) -> str:
    who, what = _person(target.person_key), _object("k2", settings.object_type)
    return (
        '\'{"type":"person","action":"\' || '
        "CASE WHEN action = 'delete' THEN 'delete_relationships' ELSE 'add_relationships' END || '\",' || "
        f"{who} || ',\"cio_relationships\":[{{' || {what} || CASE WHEN action = 'delete' THEN '' "
        f"ELSE ',\"relationship_attributes\":' || {_members([])} END || '}}]}}'"
    )


#: What a batch has of devices, and what `cleared` may name of that.
_OF_DEVICE = ("platform", "last_used")


def _device_sql(target: Target) -> str:
    # The API takes texts alone, and no null: an empty one unsets.
    texts = "CAST(to_json(CAST(CAST(attributes AS JSON) AS MAP(VARCHAR, VARCHAR))) AS VARCHAR)"
    names = f"list_filter(from_json(cleared, '[\"VARCHAR\"]'), lambda n: n NOT IN {_OF_DEVICE})"
    unset = (
        f"list_aggregate(list_transform({names}, lambda n: CAST(to_json(n) AS VARCHAR) || ':\"\"'), 'string_agg', ',')"
    )
    members = f"nullif(concat_ws(',', nullif({texts}[2:-2], ''), CASE WHEN cleared <> '[]' THEN {unset} END), '')"
    device = (
        f"'{{\"token\":' || {text('k2')} || ',\"platform\":' || {text('platform')} "
        f"|| coalesce(',\"last_used\":' || last_used, '') "
        f"|| coalesce(',\"attributes\":{{' || {members} || '}}', '') || '}}'"
    )
    return (
        '\'{"type":"person","action":"\' || '
        f"CASE WHEN action = 'delete' THEN 'delete_device\",' || {_person(target.person_key)} || "
        f"',\"device\":{{\"token\":' || {text('k2')} || '}}}}' "
        f"ELSE 'add_device\",' || {_person(target.person_key)} || ',\"device\":' || {device} || '}}' END"
    )


def _device_event_sql(settings: ItemSettings) -> str:
    """The same as an event of the Pipelines API, which has a time, and no `last_used`."""
    properties = _members([], kept=_OF_DEVICE)
    content = (
        f"concat_ws(chr(31), '{settings.store_id}', '{settings.timestamp}', action, k1, k2, platform, last_used, "
        f"{properties})"
    )
    used = f"make_timestamp(1000000 * coalesce(CAST(last_used AS BIGINT), {settings.timestamp}))"
    common = (
        f'\',"userId":\' || {text("k1")} || \',"messageId":"\' || md5({content}) || \'","timestamp":"\' '
        f'|| strftime({used}, \'%Y-%m-%dT%H:%M:%SZ\') || \'","context":{{"device":{{"token":\' || {text("k2")}'
    )
    return (
        f'CASE WHEN action = \'delete\' THEN \'{{"type":"track","event":"Device Deleted"\' || {common} || \'}}}}}}\' '
        f'ELSE \'{{"type":"track","event":"Device Created or Updated"\' || {common} '
        f"|| ',\"type\":' || {text('platform')} || '}}}},\"properties\":' || {properties} || '}}' END"
    )


def _with_iso_time(rows: str) -> str:
    """SQL for *rows* with the trait `createdAt` as ISO-8601 text, as the Pipelines API takes it, not as a number."""
    seconds = "json_extract_string(attributes, '$.createdAt')"
    moment = f"strftime(make_timestamp(CAST(round({seconds}::DOUBLE * 1e6) AS BIGINT)), '%Y-%m-%dT%H:%M:%SZ')"
    member = f"'\"createdAt\": *' || regexp_escape({seconds}) || '([,}}])'"
    text = f"regexp_replace(attributes, {member}, '\"createdAt\":\"' || {moment} || '\"\\1', 'g')"
    # Almost no row has it, and to parse each one takes long.
    is_number = (
        "contains(attributes, '\"createdAt\":') "
        "AND json_type(attributes, '$.createdAt') IN ('UBIGINT', 'BIGINT', 'DOUBLE')"
    )
    attributes = f"CASE WHEN {is_number} THEN coalesce(try({text}), attributes) ELSE attributes END"
    return f"SELECT * REPLACE ({attributes} AS attributes) FROM ({rows})"


def _pipelines_sql(own: list[str], settings: ItemSettings, *, names_visitors: bool) -> str:
    """The same for the Pipelines API, which recognises a repeated call by its `messageId`."""
    traits = _members([name for name in own if name != "id"], kept=UNCLEARABLE_TRAITS)
    # With the run's start, since a value that returns after another one is no repetition.
    visitor = ", anonymous" if names_visitors else ""
    content = f"concat_ws(chr(31), '{settings.store_id}', '{settings.timestamp}', action, k1, {traits}{visitor})"
    moment = datetime.fromtimestamp(settings.timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = f"',\"userId\":' || {text('k1')} || ',\"messageId\":\"' || md5({content}) || '\"'"
    if names_visitors:
        names += f" || coalesce(',\"anonymousId\":' || {text('anonymous')}, '')"
    common = f'{names} || \',"timestamp":"{moment}"\''
    event = "CASE action WHEN 'suppress' THEN 'Suppressed' WHEN 'unsuppress' THEN 'Unsuppressed' ELSE 'Deleted' END"
    return (
        f"CASE WHEN action IN ('delete', 'suppress', 'unsuppress') "
        f'THEN \'{{"type":"track","event":"User \' || {event} || \'"\' || {common} || \'}}\' '
        f"ELSE '{{\"type\":\"identify\"' || {common} || ',\"traits\":' || {traits} || '}}' END"
    )
