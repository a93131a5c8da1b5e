"""A batch as the JSON of Customer.io's operations, which DuckDB makes and checks, never row by row.

The limits: https://docs.customer.io/api/track/ and the reserved names:
https://docs.customer.io/journeys/people/reserved-attributes/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.customerio import merges
from connectors.customerio.options import Via
from syncer.model.types import Entity, Identity, PersonKey, Target

#: Bytes of UTF-8, as all limits here.
LONGEST_IDENTIFIER = 150
LONGEST_NAME = 150
LONGEST_VALUE = 1_000
LONGEST_ITEM = 32_000
MOST_ATTRIBUTES = 300
#: A person's attributes that the Track API does not take as null, and those that the Pipelines API does not.
UNCLEARABLE = ("id", "cio_subscription_preferences")
UNCLEARABLE_TRAITS = (*UNCLEARABLE, "email", "createdAt", "unsubscribed")
#: Requests in flight at once. A lane sends one after the other, and one lane has all items about one entity.
LANES = 8


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
        batch: as for `ProfileStore.apply`, of a person, an object or a relationship.
        returns: the items as `seq`, `lane`, `item`, a JSON text, in order; the rejected rows as `seq`, `reason`.
            Different lanes are about different entities; no other item is about the entity of one without a lane.
    """
    own = [name for name in ("id", "email") if name in batch.schema.names]
    lane = f"CAST(hash(k1) % {LANES} AS INTEGER)" if target.entity.traits.links else "CAST(NULL AS INTEGER)"
    if target.merged_key is not None:
        # Pairs may share people.
        lane, batch = "0", merges.with_roots(connection, target, batch)
    length = f"CASE WHEN strlen(item) > {LONGEST_ITEM} THEN {_too_long('strlen(item)')} END"
    connection.register("given", pa.table(batch))
    try:
        is_faultless = connection.sql(_is_faultless_sql(target, own, settings)).fetchall()[0][0]
        checked = (
            "SELECT *, CAST(NULL AS VARCHAR) AS fault FROM given"
            if is_faultless
            else _checked_sql(target, own, settings)
        )
        if target.merged_key is not None:
            checked = merges.checked_sql(checked)
        if target.entity is Entity.PERSON and settings.via is Via.PIPELINES:
            checked = _with_iso_time(checked)
        rows = connection.sql(
            f"SELECT seq, {lane} AS lane, item, coalesce(fault, {length}) AS reason FROM ("
            f"SELECT *, CASE WHEN fault IS NULL THEN {_item_sql(target, own, settings)} END AS item "
            f"FROM ({checked})) ORDER BY seq"
        ).to_arrow_table()
    finally:
        connection.unregister("given")
    rows = rows.set_column(2, "item", rows["item"].cast(pa.string()))
    fits = pc.is_null(rows["reason"])
    return rows.filter(fits).drop_columns("reason"), rows.filter(pc.invert(fits)).select(["seq", "reason"])


def _reserved_names(entity: Entity) -> tuple[str, ...]:
    match entity:
        case Entity.PERSON:
            return ("cio_id", "_relationship", "_created_in_customerio_at", "_update", "_timestamp")
        case Entity.OBJECT:
            return ("cio_object_id", "object_id", "objectId", "relationship")
        case Entity.RELATIONSHIP | Entity.COLLECTION | Entity.MERGE:
            return ()
        case _:
            assert_never(entity)


def _too_long(length: str) -> str:
    return f"'the row makes ' || {length} || ' bytes of JSON, over {LONGEST_ITEM}'"


def _name_faults(entity: Entity) -> dict[str, str]:
    """SQL for what is wrong with the `names` of a row's attributes, to the SQL of the reason."""
    reserved = ", ".join(f"'{name}'" for name in _reserved_names(entity))
    found = f"list_intersect(names, CAST([{reserved}] AS VARCHAR[]))"
    return {
        f"len(names) > {MOST_ATTRIBUTES}": f"'the row has ' || len(names) || ' attributes, over {MOST_ATTRIBUTES}'",
        f"len(list_filter(names, lambda n: strlen(n) > {LONGEST_NAME})) > 0": (
            f"'an attribute''s name is longer than {LONGEST_NAME} bytes'"
        ),
        f"len({found}) > 0": f"'the name `' || {found}[1] || '` is reserved'",
    }


def _key_faults(entity: Entity) -> dict[str, str]:
    """The same for a row's key."""
    keys = [name for name in ("k1", "k2") if name == "k1" or entity.traits.links or entity is Entity.MERGE]
    return {
        " OR ".join(f"trim({key}) = ''" for key in keys): "'the identifier is blank'",
        " OR ".join(f"strlen({key}) > {LONGEST_IDENTIFIER}" for key in keys): (
            f"'the identifier is longer than {LONGEST_IDENTIFIER} bytes'"
        ),
    }


def _names(own: list[str], keys: str = "json_keys(attributes)") -> str:
    """SQL for the names of all attributes of a row, of which *keys* are those of its JSON."""
    present = ", ".join(f"CASE WHEN {name} IS NOT NULL THEN '{name}' END" for name in own)
    lists = f"{keys}, from_json(cleared, '[\"VARCHAR\"]'){f', [{present}]' if present else ''}"
    return f"list_filter(list_concat({lists}), lambda n: n IS NOT NULL)"


def _is_faultless_sql(target: Target, own: list[str], settings: ItemSettings) -> str:
    """SQL for whether every row can be sent, which takes a fraction of what each row's own check takes.

    It looks at names once for all rows that have the same, and does not vouch for rows that are long.
    """
    faults = [f"strlen({name}) > {LONGEST_VALUE}" for name in ("attributes", *own)]
    faulty = " OR ".join([*faults, *_key_faults(target.entity)])
    of_kind = "".join(f", any_value({name}) AS {name}" for name in own)
    short = f"CASE WHEN strlen(attributes) <= {LONGEST_VALUE} THEN attributes ELSE '{{}}' END"
    kinds = f"SELECT json_keys({short}) AS keys, cleared, bool_or({faulty}) AS faulty{of_kind} FROM given GROUP BY ALL"
    shared = ""
    if _must_differ(own, settings):
        shared = " AND (SELECT count(lower(email)) = count(DISTINCT lower(email)) FROM given)"
    return (
        f"SELECT NOT bool_or(coalesce(faulty, FALSE) OR {' OR '.join(_name_faults(target.entity))}){shared} "
        f"FROM (SELECT faulty, {_names(own, 'keys')} AS names FROM ({kinds}))"
    )


def _must_differ(own: list[str], settings: ItemSettings) -> bool:
    """Whether no two rows may have one email."""
    return "email" in own and settings.identity is Identity.ID_OR_EMAIL


def _checked_sql(target: Target, own: list[str], settings: ItemSettings) -> str:
    """SQL for the rows, with the reason why one cannot be sent as `fault`, else NULL."""
    shared = "FALSE"
    if _must_differ(own, settings):
        others = "count(*) FILTER (action = 'put') OVER (PARTITION BY lower(email))"
        shared = f"email IS NOT NULL AND action = 'put' AND {others} > 1"
    # A row that is too long is not parsed as JSON: it may be nested without end.
    too_long = f"strlen(attributes) > {LONGEST_ITEM}"
    found = _key_faults(target.entity) | {
        "excess IS NOT NULL": _too_long("excess"),
        "shared": "'two rows have this email'",
        **_name_faults(target.entity),
        "l.name IS NOT NULL": f"'attribute `' || l.name || '` is longer than {LONGEST_VALUE} bytes'",
    }
    return (
        f"WITH sized AS (SELECT * REPLACE (CASE WHEN {too_long} THEN '{{}}' ELSE attributes END AS attributes), "
        f"CASE WHEN {too_long} THEN strlen(attributes) END AS excess, {shared} AS shared FROM given), "
        f"named AS (SELECT *, {_names(own)} AS names FROM sized), long_values AS ({_long_values_sql(own)}) "
        "SELECT n.* EXCLUDE (excess, shared, names), "
        f"CASE {' '.join(f'WHEN {fault} THEN {reason}' for fault, reason in found.items())} END AS fault "
        "FROM named n LEFT JOIN long_values l USING (seq)"
    )


def _long_values_sql(own: list[str]) -> str:
    text = "CASE WHEN v.type = 'VARCHAR' THEN v.value->>'$' ELSE CAST(v.value AS VARCHAR) END"
    long_rows = f"SELECT seq, attributes FROM sized WHERE strlen(attributes) > {LONGEST_VALUE}"
    found = (
        f"SELECT s.seq, v.key AS name FROM ({long_rows}) s, "
        f"json_each(s.attributes) v WHERE strlen({text}) > {LONGEST_VALUE}"
    )
    for name in own:
        found += f" UNION ALL SELECT seq, '{name}' FROM sized WHERE strlen({name}) > {LONGEST_VALUE}"
    return f"SELECT seq, min(name) AS name FROM ({found}) GROUP BY seq"


def _text(value: str) -> str:
    return f"CAST(to_json({value}) AS VARCHAR)"


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
    set_ = [f"CASE WHEN {name} IS NOT NULL THEN '\"{name}\":' || {_text(name)} END" for name in own]
    nothing = " AND ".join(["cleared = '[]'", *(f"({member}) IS NULL" for member in (*set_, *more))])
    all_ = f"concat_ws(',', nullif(attributes[2:-2], ''), {', '.join([unset, *set_, *more])})"
    return f"CASE WHEN {nothing} THEN attributes ELSE '{{' || {all_} || '}}' END"


def _item_sql(target: Target, own: list[str], settings: ItemSettings) -> str:
    match target.entity:
        case Entity.PERSON if settings.via is Via.PIPELINES:
            return _pipelines_sql(own, settings)
        case Entity.PERSON:
            # Unsetting must not create a person.
            only_known = "TRUE" if not settings.create else "action = 'clear'"
            members = _members(own, f"CASE WHEN {only_known} THEN '\"_update\":true' END", kept=UNCLEARABLE)
            return _entity_sql("person", _person(target.person_key), members, f'"timestamp":{settings.timestamp},')
        case Entity.OBJECT:
            return _entity_sql("object", _object("k1", settings.object_type), _members([]))
        case Entity.RELATIONSHIP:
            return _relationship_sql(target, settings)
        case Entity.MERGE:
            primary, secondary = _named(target.person, "k1"), _named(target.merged, "k2")
            return (
                f'\'{{"type":"person","action":"merge","primary":\' || {primary} '
                f"|| ',\"secondary\":' || {secondary} || '}}'"
            )
        case Entity.COLLECTION:
            raise ValueError("a collection is sent as a whole")
        case _:
            assert_never(target.entity)


def _person(key: PersonKey | None) -> str:
    return f"'\"identifiers\":' || {_named(key, 'k1')}"


def _named(key: PersonKey | None, value: str) -> str:
    return f"'{{\"{key}\":' || {_text(value)} || '}}'"


def _object(value: str, object_type: str) -> str:
    return f'\'"identifiers":{{"object_type_id":"{object_type}","object_id":\' || {_text(value)} || \'}}\''


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


def _pipelines_sql(own: list[str], settings: ItemSettings) -> str:
    """The same for the Pipelines API, which recognises a repeated call by its `messageId`."""
    traits = _members([name for name in own if name != "id"], kept=UNCLEARABLE_TRAITS)
    # With the run's start, since a value that returns after another one is no repetition.
    content = f"concat_ws(chr(31), '{settings.store_id}', '{settings.timestamp}', action, k1, {traits})"
    moment = datetime.fromtimestamp(settings.timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = f"',\"userId\":' || {_text('k1')} || ',\"messageId\":\"' || md5({content}) || '\"'"
    common = f'{names} || \',"timestamp":"{moment}"\''
    event = "CASE action WHEN 'suppress' THEN 'Suppressed' WHEN 'unsuppress' THEN 'Unsuppressed' ELSE 'Deleted' END"
    return (
        f"CASE WHEN action IN ('delete', 'suppress', 'unsuppress') "
        f'THEN \'{{"type":"track","event":"User \' || {event} || \'"\' || {common} || \'}}\' '
        f"ELSE '{{\"type\":\"identify\"' || {common} || ',\"traits\":' || {traits} || '}}' END"
    )
