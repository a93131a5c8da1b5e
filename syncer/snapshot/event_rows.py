"""What an event's row has beside its data: who did it and when, the number that is its id for ever, and its faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import duckdb

from syncer.definitions.columns import FORMER_EMAIL
from syncer.model.entities import EVENT_NAME_BYTES, PersonKey, Target
from syncer.model.types import Start
from syncer.snapshot.attributes import EventColumns
from syncer.snapshot.columns import Attribute, ColumnMap, ResultSchema, json_name, json_object, shown_row, whole_row
from syncer.snapshot.session import Session
from syncer.snapshot.values import ColumnType, as_json, as_key, literal, sum_of

KeyFaults = Callable[[Session, ResultSchema, Attribute, str], list[tuple[str, str]]]

#: The columns of `staged` that only events have: the person's identifier, or the visitor where there is none; the time
#: (UTC), and the 80 bits of the id that do not say the time.
COLUMNS = ("who", "anonymous", "happened", "high", "low")

#: How far a row's time may be ahead of the warehouse's clock.
_AHEAD = timedelta(hours=1)

#: Bytes of an event's data, as UTF-8 JSON. Customer.io takes no larger one (Track API limits).
LARGEST_DATA = 100_000

#: What one byte of text can take in JSON, as \u0001 does.
_MOST_ESCAPED = 6

#: How Crockford's base 32, which has no I, L, O and U, spells the digits that DuckDB writes as these.
_DIGITS = "'IJKLMNOPQRSTUV', 'JKMNPQRSTVWXYZ'"


def columns_sql(schema: ResultSchema, scanned: Callable[[Attribute], str]) -> list[str]:
    """SQL for `who`, `anonymous` and `happened`; none for other rows.

    *scanned* gives SQL for the value of a scanned column.
    """
    event, folded = schema.event, schema.definition.target.person_key is PersonKey.EMAIL
    if event is None:
        return []
    said = {
        name: as_key(one.kind, scanned(one), fold=folded and one is event.person) for name, one in event.who.items()
    }
    who, visitor = (said.get(name, "CAST(NULL AS VARCHAR)") for name in ("who", "anonymous"))
    if len(said) > 1:
        visitor = f"CASE WHEN {who} IS NULL THEN {visitor} END"
    return [f"{who} AS who", f"{visitor} AS anonymous", f"{_moment(event.time.kind, scanned(event.time))} AS happened"]


def names_sql(session: Session, schema: ResultSchema) -> list[str]:
    """SQL for COLUMNS, from k… and what `columns_sql` has; none for other rows."""
    return ["who", "anonymous", "happened", *numbers_sql(session, schema)] if schema.event else []


def _moment(kind: ColumnType, value: str) -> str:
    """SQL for the time that a canonical value says; NULL where it says none. Numbers are unix seconds."""
    match kind:
        case ColumnType.TIMESTAMP | ColumnType.DATE:
            return f"CAST({value} AS TIMESTAMP)"
        case ColumnType.TEXT:
            return f"make_timestamp(epoch_us(TRY_CAST({value} AS TIMESTAMPTZ)))"
        case _:
            micros = f"TRY_CAST(round(TRY_CAST({value} AS DOUBLE) * 1e6) AS BIGINT)"
            return f"CASE WHEN {micros} BETWEEN 0 AND 253402300799000000 THEN make_timestamp({micros}) END"


def numbers_sql(session: Session, schema: ResultSchema) -> list[str]:
    """SQL for `high` and `low`, from k…: the first 64 and the last 16 bits of a hash of store, name and key."""
    return _numbers_sql(session, schema.event.store_id) if schema.event else []


def _numbers_sql(session: Session, store_id: str) -> list[str]:
    names = [literal(part) for part in (store_id, session.target.events.name)]
    # No part of a key has a NUL character.
    text = " || chr(0) || ".join([*names, *session.keys])
    number = f"md5_number({text})"
    return [f"CAST({number} >> 64 AS UBIGINT) AS high", f"CAST({number} & 65535 AS USMALLINT) AS low"]


def id_sql(row: str) -> str:
    """SQL for the id of a staged row: a ULID of its time and its two numbers."""
    time = f"to_base(epoch_ms({row}.happened), 32, 10)"
    first = f"to_base(CAST({row}.high >> 4 AS BIGINT), 32, 12)"
    last = f"to_base(CAST(({row}.high & 15) * 65536 + {row}.low AS BIGINT), 32, 4)"
    return f"translate({time} || {first} || {last}, {_DIGITS})"


def known_by(target: Target, store_id: str, key: Sequence[str]) -> tuple[int, int, str]:
    """The two numbers of an event, and the last 16 signs of its id, which they make."""
    with duckdb.connect() as connection:
        session = Session(connection=connection, sync="", target=target)
        row = ", ".join(f"{literal(part)} AS {name}" for part, name in zip(key, session.keys, strict=True))
        high, low = _numbers_sql(session, store_id)
        numbers = f"SELECT {high}, {low}, TIMESTAMP '1970-01-01' AS happened FROM (SELECT {row})"
        ((high_number, low_number, signs),) = session.rows(f"SELECT high, low, {id_sql('r')}[11:] FROM ({numbers}) r")
    return high_number, low_number, signs


#: SQL for what is remembered of a sent event's row beside `high` and `low`: its time, and what tells it from another.
AT = "CAST(epoch_ms(happened) // 1000 AS UINTEGER)"
PRINT = "CAST(coalesce(fingerprint & 4294967295::UBIGINT, 0) AS UINTEGER)"


def fault_cases(layout: ColumnMap, session: Session, key_faults: KeyFaults) -> list[tuple[str, str]]:
    """SQL of tests, each with that of the reason why an event whose row passes it cannot be sent; none for others.

    *key_faults* gives those of a key, and so of the person.
    """
    event, target = layout.schema.event, layout.schema.definition.target
    if event is None:
        return []
    time, cases = f"`{event.time.name}`", _who_faults(session, layout.schema, event, key_faults)
    if target.events.column:
        name, key = target.events.column, session.keys[-1]
        reason = f"the event's name, in `{name}`, is longer than {EVENT_NAME_BYTES} bytes"
        cases.append((f"strlen({key}) > {EVENT_NAME_BYTES}", literal(reason)))
    cases += [
        (f"happened IS NULL AND r{event.time.position} IS NULL", literal(f"{time} is NULL")),
        ("happened IS NULL", literal(f"{time} is no time")),
        (
            f"happened > {moment(event.now + _AHEAD)}",
            literal(f"{time} is more than an hour ahead of the warehouse's clock"),
        ),
        ("happened < '1970-01-01'", literal(f"{time} is before 1970")),
        (_is_too_large(layout), literal(f"the event's data is over {LARGEST_DATA:,} bytes of JSON")),
    ]
    return cases


def _who_faults(
    session: Session, schema: ResultSchema, event: EventColumns, key_faults: KeyFaults
) -> list[tuple[str, str]]:
    """The same for who did it: one of two may be NULL."""
    cases = [
        (test, reason)
        for name, one in event.who.items()
        for test, reason in key_faults(session, schema, one, name)
        if len(event.who) == 1 or test != f"{name} IS NULL"
    ]
    if len(event.who) > 1:
        names = " and ".join(f"`{one.name}`" for one in event.who.values())
        cases.append(("who IS NULL AND anonymous IS NULL", literal(f"{names} are NULL")))
    return cases


def starts_at_date(layout: ColumnMap) -> bool:
    """Whether the header says by a date from when on events count."""
    rules = layout.schema.definition.event_rules
    return rules is not None and not isinstance(rules.start, Start)


def moment(at: datetime) -> str:
    """SQL for a time, as `happened` has it."""
    return f"TIMESTAMP '{at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}'"


def _is_too_large(layout: ColumnMap) -> str:
    """SQL for whether a row's data is too large; of most rows the JSON need not be made to say so."""
    texts = [f"coalesce(strlen({c.physical}), 0)" for c in layout.fed if c.type.storage == "VARCHAR"]
    # No number or time has more signs.
    others = sum(len(json_name(c.name)) + 40 for c in layout.fed)
    spare = (LARGEST_DATA - others) // _MOST_ESCAPED
    return f"CASE WHEN {sum_of(texts)} > {spare} THEN strlen({whole_row(layout)}) > {LARGEST_DATA} ELSE FALSE END"


def shown_staged(layout: ColumnMap) -> str:
    """SQL for a staged row as people see it, a JSON object; of an event with its time and who did it.

    Of a person who moves with the former email.
    """
    former = f"{json_name(FORMER_EMAIL)} || {as_json(ColumnType.TEXT, 'previous')}"
    shown = shown_row(layout.fed, "staged", [] if layout.schema.previous is None else [former])
    if layout.schema.event is None:
        return shown
    event = layout.schema.event
    who = [f"{json_name(one.name)} || {as_json(ColumnType.TEXT, name)}" for name, one in event.who.items()]
    own = json_object([f"{json_name(event.time.name)} || {as_json(ColumnType.TIMESTAMP, 'happened')}", *who])
    return f"CASE WHEN ({shown}) = '{{}}' THEN {own} ELSE ({own})[:-2] || ',' || ({shown})[2:] END"
