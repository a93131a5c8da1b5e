"""The one table of header fields; the parser, the JSON Schema and the manual read it."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from syncer.definitions import event_values, person_values, values
from syncer.definitions.values import Field
from syncer.model.entities import PERSON_ACTIONS
from syncer.model.snapshot_home import COMPARED, SnapshotHome
from syncer.model.types import CatchUp, Entity, OnNull, OnRemoved


class Empty(enum.StrEnum):
    """What a run does with an empty result where the snapshot has rows."""

    HOLD = "hold"
    ALLOW = "allow"


_MERGED = frozenset(entity for entity in Entity if entity.traits.merges)
_HAPPENING = frozenset(entity for entity in Entity if entity.traits.happens)
_KEPT = frozenset(Entity) - _HAPPENING
_IDENTIFIED_BY = {
    field: frozenset(entity for entity in Entity if field in entity.traits.identified_by)
    for field in ("person", "object", "device", "collection", "key", "keep", "merge", "event", "start")
}

#: The fields that a sync with `action` does not have.
NOT_OF_LISTS = frozenset({"attributes", "exclude", "on_removed", "on_null", "create", "snapshot"})

#: In the order in which a header reads best.
FIELDS: Mapping[str, Field] = {
    "name": Field(
        values.SYNC_NAME,
        "The name of the sync, unique in the folder: 1 to 63 of `a-z`, `0-9`, `_` and `-`. "
        "Default: the file's name without `.sql`.",
    ),
    "description": Field(values.PROSE, "What the sync is for.", default=""),
    "owner": Field(values.PROSE, "Whom to ask.", default=""),
    "tags": Field(values.NAMES, "A list of words to select syncs by, as `tag:word`.", default=[]),
    "entity": Field(
        values.choice(Entity),
        "What the rows describe: `person`, `object`, `relationship`, `collection` (a reference table), `device`, "
        "`merge` (pairs of people who are one), or `event`.",
    ),
    "person": Field(
        person_values.PERSON_OR_VISITOR,
        "The column that identifies the person: `{id: column}`, `{email: column}`, `{phone: column}` or "
        "`{cio_id: column}` (the store's own number). Of people and events also the [visitor](#anonymous-people) that "
        "they were before: `{id: column, anonymous: column}`, and of events the visitor alone: `{anonymous: column}`. "
        "Of people known by their email also the [email that they had before](#a-person-with-another-email): "
        "`{email: column, previous: column}`.",
        entities=_IDENTIFIED_BY["person"],
        example="{id: column}",
    ),
    "action": Field(
        values.choice(PERSON_ACTIONS),
        "Makes the rows a [list of people](#lists-of-people-to-delete-or-suppress): `delete` deletes each one once, "
        "`suppress` also refuses them from then on, `unsuppress` accepts them again. Default: the rows say what people "
        "are like.",
        entities=frozenset({Entity.PERSON}),
    ),
    "object": Field(
        values.mapping(
            {
                "type": Field(values.STORE_NAME, "The name of the object type, such as `account`."),
                "id": Field(values.TEXT, "The column that holds the object's id."),
            },
            "{type: account, id: column}",
            needs="all",
        ),
        "The type of the object, and the column that identifies it: `{type: account, id: column}`.",
        entities=_IDENTIFIED_BY["object"],
        example="{type: account, id: column}",
    ),
    "device": Field(
        values.mapping(
            {
                "token": Field(values.TEXT, "The column that holds the device's push token."),
                "platform": Field(values.PLATFORM, "`ios`, `android`, or the column that says which: `{column: os}`."),
                "last_used": Field(values.TEXT, "The column of the time at which the device was used last."),
            },
            "{token: column, platform: ios}",
            needs=("token", "platform"),
        ),
        "The column of the device's push token; its platform, `ios`, `android` or `{column: os}`; and, if the result "
        "has it, the column of the time of its last use: `{token: column, platform: ios, last_used: column}`.",
        entities=_IDENTIFIED_BY["device"],
        example="{token: column, platform: ios}",
    ),
    "collection": Field(
        values.STORE_NAME, "The name of the collection.", entities=_IDENTIFIED_BY["collection"], example="name"
    ),
    "key": Field(
        values.names(values.TEXT, least=1),
        "The column, or a list of columns, that identifies a row of the collection.",
        entities=_IDENTIFIED_BY["key"],
        example="column",
    ),
    "keep": Field(
        person_values.PERSON,
        "The column that identifies the person who is kept, as for `person`.",
        entities=_IDENTIFIED_BY["keep"],
        example="{id: column}",
    ),
    "merge": Field(
        person_values.PERSON,
        "The column that identifies the person who becomes part of the other, and is gone then.",
        entities=_IDENTIFIED_BY["merge"],
        example="{email: column}",
    ),
    "event": Field(
        event_values.EVENT,
        "What makes a row an [event](#events): `{name: order_paid, id: order_id, time: paid_at}`. `name` may be "
        "`{column: event_type}`, `id` a list of columns, and `kind` one of `event`, `page` and `screen`.",
        entities=_IDENTIFIED_BY["event"],
        example="{name: order_paid, id: column, time: column}",
    ),
    "start": Field(
        event_values.START,
        "What the first run does with events that are there already: `all` sends them, `now` takes them as past, a "
        "date such as `2026-01-31` sends from then on (UTC). It is decided once.",
        entities=_IDENTIFIED_BY["start"],
        example="now",
    ),
    "attributes": Field(
        values.ATTRIBUTES,
        "A list of columns to send, or `{attribute: column}` to rename them. Default: every column that "
        "is not an identifier, under its own name.",
    ),
    "exclude": Field(values.NAMES, "A list of columns to leave out.", default=[]),
    "warehouse": Field(values.TEXT, "The warehouse to query.", default="default"),
    "store": Field(values.TEXT, "The store to send to.", default="default"),
    "schedule": Field(
        values.SCHEDULE,
        "When to run: `every 15 minutes`, `every 2 hours`, `every day` (at least 1 minute), "
        '`{cron: "0 6 * * *"}` (0 and 7 are Sunday), or `manual`.',
        default="every 1 hour",
    ),
    "timezone": Field(values.TIMEZONE, "The time zone of `cron`, as an IANA name.", default="UTC"),
    "catch_up": Field(
        values.choice(CatchUp),
        "What to do about runs that were due while the service was down: `once` makes one run for all of "
        "them, `skip` none.",
        default="once",
    ),
    "on_removed": Field(
        values.choice(OnRemoved),
        "What to do when a row leaves the result: `keep` does nothing, `clear` unsets the attributes that "
        "this sync wrote, `delete` deletes the person, object, relationship or device. Default: `keep`; a collection "
        "always drops the row, and a device has no `clear`.",
        entities=_KEPT,
    ),
    "on_null": Field(
        values.choice(OnNull),
        "What to do with NULL: `clear` unsets the attribute, `keep` leaves it as it is.",
        default="clear",
        entities=_MERGED,
    ),
    "create": Field(
        values.FLAG,
        "`false` updates only people and objects that exist.",
        default=True,
        entities=_MERGED | _HAPPENING,
    ),
    "limits": Field(
        values.mapping(
            {
                "removed": Field(values.LIMIT, "The most rows to remove in one run.", default="15%"),
                "changed": Field(values.LIMIT, "The most rows to change in one run.", default="100%"),
                "cleared": Field(
                    values.LIMIT,
                    "The most rows in which one attribute may become NULL, a share of those that had a value.",
                    default="20%",
                ),
                "added": Field(values.LIMIT, "The most rows to add in one run. Default: no limit."),
                "deleted": Field(
                    values.LIMIT,
                    "The most people that a list may delete in one run, a share of the store's people. Default: 1 % "
                    "of them and at least 10; 100 where the store cannot count them, such as Customer.io.",
                ),
                "merged": Field(
                    values.LIMIT,
                    "The most pairs of people to merge in one run, a share of the store's people. Default: as for "
                    "`deleted`.",
                ),
                "empty": Field(values.choice(Empty), "What an empty result does: `hold` or `allow`.", default="hold"),
                "events": Field(event_values.COUNT, "The most events to send in one run. Default: no limit."),
            },
            "{removed: 15%, changed: 100%, cleared: 20%, empty: hold}",
        ),
        "The most rows that a run may remove, change, clear an attribute of, or add, each a share or a count, and "
        "whether an empty result holds the run. Default: `{removed: 15%, changed: 100%, cleared: 20%, empty: hold}`. "
        "Of events only how many are sent: `{events: 100000}`.",
    ),
    "tolerate": Field(
        values.mapping({"rejected": Field(values.LIMIT, "The most rejected rows.", default="0")}, "{rejected: 1%}"),
        "How many rows may be rejected, a share or a count, before a run ends as `warning`. Default: `{rejected: 0}`.",
    ),
    "timeout": Field(values.TIMEOUT, "How long the query may take: seconds, or `45s`, `30m`, `2h`.", default="30m"),
    "lookback": Field(
        values.LOOKBACK,
        "How far before the last run an [incremental query](#incremental-queries) looks again, such as `0`, "
        "`10 minutes` or `6h`; with `last_event_time`, how far before the newest event. Default: `10 minutes`; of "
        "events `1 day`.",
    ),
    "remember": Field(
        event_values.REMEMBER,
        "How long before the newest event the ids of sent ones are known, more than `lookback`; older rows are not "
        "sent. Default: for ever; with an incremental query `90 days`.",
        entities=_HAPPENING,
    ),
    "full_every": Field(
        values.PERIOD,
        "How often an incremental query asks for its whole result, such as `1 day`: then `last_sync_time` is `0`. "
        "Default: never.",
    ),
    "depends_on": Field(
        values.names(values.SYNC_NAME),
        "A list of syncs that run first. People, objects, relationships, collections, devices and events run in this "
        "order anyway.",
        default=[],
    ),
    "queue": Field(
        values.QUEUE,
        "The queue that its runs wait in: 1 to 50 letters, digits, `_` and `-`. The service runs every queue, and "
        "`syncer worker --queues` those that it names.",
        default="default",
    ),
    "priority": Field(
        values.PRIORITY,
        "A whole number from `-1000` to `1000`: of the runs in the service that wait for no other sync, those of a "
        "higher one go first.",
        default=0,
    ),
    "snapshot": Field(
        values.choice(SnapshotHome),
        "`warehouse`: the warehouse keeps the rows of the snapshot and compares them with the result, so that only "
        "what differs is fetched; see [the warehouse compares](warehouses.md#the-warehouse-compares).",
        entities=COMPARED,
    ),
    "enabled": Field(values.FLAG, "`false` takes the sync off the schedule.", default=True),
}


def default_of(field: Field) -> str:
    """A field's default for people, in Markdown, or who must have it; empty where its description says so."""
    if field.example:
        needing = [
            f"an {entity}" if str(entity)[0] in "aeiou" else f"a {entity}"
            for entity in Entity
            if entity in field.entities
        ]
        return f"required for {' and '.join(needing)}"
    match field.default:
        case None:
            return "" if "Default:" in field.description else "required"
        case bool() as flag:
            return f"`{str(flag).lower()}`"
        case int() as number:
            return f"`{number}`"
        case str() as text if text:
            return f"`{text}`"
        case _:
            return ""
