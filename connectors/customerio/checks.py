"""What of a batch Customer.io would not take, as SQL: for all rows at once where that is enough, or for each.

The limits: https://docs.customer.io/api/track/ and the reserved names:
https://docs.customer.io/journeys/people/reserved-attributes/
"""

from __future__ import annotations

from typing import assert_never

from syncer.model.types import Entity, Identity, PersonKey, Target

#: Bytes of UTF-8, as all limits here.
LONGEST_IDENTIFIER = 150
LONGEST_NAME = 150
LONGEST_VALUE = 1_000
LONGEST_ITEM = 32_000
MOST_ATTRIBUTES = 300


def _reserved_names(entity: Entity) -> tuple[str, ...]:
    match entity:
        case Entity.PERSON:
            return ("cio_id", "_relationship", "_created_in_customerio_at", "_update", "_timestamp")
        case Entity.OBJECT:
            return ("cio_object_id", "object_id", "objectId", "relationship")
        case Entity.DEVICE:
            return ("_last_status",)
        case Entity.RELATIONSHIP | Entity.COLLECTION | Entity.MERGE | Entity.EVENT:
            return ()
        case _:
            assert_never(entity)


def too_long(length: str) -> str:
    """SQL for the reason of a row whose JSON is so many bytes, SQL too."""
    return f"'the row makes ' || {length} || ' bytes of JSON, over {LONGEST_ITEM}'"


def _name_faults(target: Target) -> dict[str, str]:
    """SQL for what is wrong with the `names` of a row's attributes, to the SQL of the reason."""
    claimed = ("anonymous_id",) if target.names_visitors else ()
    reserved = ", ".join(f"'{name}'" for name in (*_reserved_names(target.entity), *claimed))
    found = f"list_intersect(names, CAST([{reserved}] AS VARCHAR[]))"
    return {
        f"len(names) > {MOST_ATTRIBUTES}": f"'the row has ' || len(names) || ' attributes, over {MOST_ATTRIBUTES}'",
        f"len(list_filter(names, lambda n: strlen(n) > {LONGEST_NAME})) > 0": (
            f"'an attribute''s name is longer than {LONGEST_NAME} bytes'"
        ),
        f"len({found}) > 0": f"'the name `' || {found}[1] || '` is reserved'",
    }


def _key_faults(target: Target) -> dict[str, str]:
    """The same for a row's key, and for the visitor whom it claims."""
    entity = target.entity
    keys = [name for name in ("k1", "k2") if name == "k1" or entity.traits.links or entity is Entity.MERGE]
    faults = {" OR ".join(f"trim({key}) = ''" for key in keys): "'the identifier is blank'"}
    if entity.traits.names_device:
        keys.remove("k2")
        faults[f"strlen(k2) > {LONGEST_VALUE}"] = f"'the token is longer than {LONGEST_VALUE} bytes'"
    keys += ["anonymous"] if target.names_visitors else []
    faults[" OR ".join(f"strlen({key}) > {LONGEST_IDENTIFIER}" for key in keys)] = (
        f"'the identifier is longer than {LONGEST_IDENTIFIER} bytes'"
    )
    return faults


def _names(own: list[str], keys: str = "json_keys(attributes)") -> str:
    """SQL for the names of all attributes of a row, of which *keys* are those of its JSON."""
    present = ", ".join(f"CASE WHEN {name} IS NOT NULL THEN '{name}' END" for name in own)
    lists = f"{keys}, from_json(cleared, '[\"VARCHAR\"]'){f', [{present}]' if present else ''}"
    return f"list_filter(list_concat({lists}), lambda n: n IS NOT NULL)"


def is_faultless_sql(target: Target, own: list[str], identity: Identity) -> str:
    """SQL for whether every row can be sent, which takes a fraction of what each row's own check takes.

    It looks at names once for all rows that have the same, and does not vouch for rows that are long.
    """
    faults = [f"strlen({name}) > {LONGEST_VALUE}" for name in ("attributes", *own)]
    faulty = " OR ".join([*faults, *_key_faults(target)])
    of_kind = "".join(f", any_value({name}) AS {name}" for name in own)
    short = f"CASE WHEN strlen(attributes) <= {LONGEST_VALUE} THEN attributes ELSE '{{}}' END"
    kinds = f"SELECT json_keys({short}) AS keys, cleared, bool_or({faulty}) AS faulty{of_kind} FROM given GROUP BY ALL"
    shared = "".join(
        f" AND (SELECT count({value}) = count(DISTINCT {value}) FROM given)"
        for value in _must_differ(own, identity).values()
    )
    return (
        f"SELECT NOT bool_or(coalesce(faulty, FALSE) OR {' OR '.join(_name_faults(target))}){shared} "
        f"FROM (SELECT faulty, {_names(own, 'keys')} AS names FROM ({kinds}))"
    )


def _must_differ(own: list[str], identity: Identity) -> dict[str, str]:
    """What no two rows may have in common beside their keys, of emails and phones, each to the SQL that compares it."""
    values = {PersonKey.EMAIL: "lower(email)", PersonKey.PHONE: "phone"}
    return {str(name): value for name, value in values.items() if name in own and name in identity.unique}


def checked_sql(target: Target, own: list[str], identity: Identity) -> str:
    """SQL for the rows, with the reason why one cannot be sent as `fault`, else NULL."""
    shared = [
        f"WHEN {name} IS NOT NULL AND action = 'put' "
        f"AND count(*) FILTER (action = 'put') OVER (PARTITION BY {value}) > 1 THEN '{name}'"
        for name, value in _must_differ(own, identity).items()
    ]
    named = f"CASE {' '.join(shared)} END" if shared else "CAST(NULL AS VARCHAR)"
    # A row that is too long is not parsed as JSON: it may be nested without end.
    is_too_long = f"strlen(attributes) > {LONGEST_ITEM}"
    found = _key_faults(target) | {
        "excess IS NOT NULL": too_long("excess"),
        "shared IS NOT NULL": "'two rows have this ' || shared",
        **_name_faults(target),
        "l.name IS NOT NULL": f"'attribute `' || l.name || '` is longer than {LONGEST_VALUE} bytes'",
    }
    return (
        f"WITH sized AS (SELECT * REPLACE (CASE WHEN {is_too_long} THEN '{{}}' ELSE attributes END AS attributes), "
        f"CASE WHEN {is_too_long} THEN strlen(attributes) END AS excess, {named} AS shared FROM given), "
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
