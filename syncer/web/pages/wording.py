"""How pages show times, durations, numbers, values, messages and SQL, and link to what stores contain."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import assert_never
from urllib.parse import urlencode

import pygments
from markupsafe import Markup, escape
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from syncer.model.json_text import json_text
from syncer.model.runs import LimitKind
from syncer.model.types import (
    EndedBy,
    Entity,
    Limits,
    ListAction,
    OnRemoved,
    Rejection,
    Run,
    RunOutcome,
    RunStatus,
    SyncDefinition,
    Trigger,
)
from syncer.sync.keys import key_parts

#: Seconds, and the name of that many.
_UNITS = ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))

_CODE = re.compile("`([^`]+)`")
_DOCS = re.compile("`syncer docs ([a-z-]+)`")

_DATE_FROM = timedelta(days=30)

STATUS_WORDS = {
    RunStatus.QUEUED: "Waiting",
    RunStatus.RUNNING: "Running",
    RunStatus.SUCCESS: "Success",
    RunStatus.WARNING: "Rows rejected",
    RunStatus.FAILED: "Failed",
    RunStatus.HELD: "Held",
    RunStatus.SKIPPED: "Skipped",
    RunStatus.INTERRUPTED: "Interrupted",
}

_STARTED_BY = {Trigger.SCHEDULE: "the schedule", Trigger.MANUAL: "the command line", Trigger.API: "the API"}

_OPTIONS = {
    "full": "sends every row",
    "row": "sends a single row",
    "allow_limits": "limits are lifted",
    "allow_clock": "the clock is taken for right",
    "plan": "sends a plan",
}

_ENDED_BY = {
    EndedBy.PERSON: "a person",
    EndedBy.SHUTDOWN: "the service's stop",
    EndedBy.TAKEOVER: "another service, which took the lead",
    EndedBy.CRASH: "a crash",
}

_REMOVED = {
    OnRemoved.KEEP: "stay in the store as they are",
    OnRemoved.CLEAR: "lose the attributes that this sync wrote",
    OnRemoved.DELETE: "are deleted from the store",
}


def moment(at: datetime) -> str:
    """Such as `2026-11-23 16:05:09 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(at: datetime, now: datetime) -> str:
    """`3 min ago`, `in 2 h`, `just now`; a date if that is more than a month away."""
    distance = abs(now - at)
    if distance < timedelta(seconds=5):
        return "just now"
    if distance >= _DATE_FROM:
        return f"{at.astimezone(UTC):%d %b %Y}"
    size, unit = next(pair for pair in _UNITS if distance.total_seconds() >= pair[0])
    count = int(distance.total_seconds() // size)
    text = f"{count} {unit.removesuffix('s') if unit == 'days' and count == 1 else unit}"
    return f"in {text}" if at > now else f"{text} ago"


def when(at: datetime, now: datetime) -> Markup:
    """How long ago it was, with the time as its title."""
    return Markup(f'<time datetime="{at.isoformat()}" title="{moment(at)}">{ago(at, now)}</time>')


def when_exactly(at: datetime, now: datetime) -> Markup:
    """A time, and how long ago it was."""
    return Markup(
        f'<time datetime="{at.isoformat()}" data-exact>{moment(at)}</time> <span class="muted">({ago(at, now)})</span>'
    )


def clock(at: datetime) -> Markup:
    """The time of day, with its zone."""
    return Markup(f'<time datetime="{at.isoformat()}" data-clock>{at.astimezone(UTC):%H:%M:%S} UTC</time>')


def read_time(text: object) -> datetime | None:
    """A time as stores print it; None if it is none."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def span(seconds: float) -> str:
    """A duration: `40 ms`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `30 min`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60 if whole < 3600 else 0, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def seconds_of(run: Run | RunOutcome) -> float | None:
    """How long a run took; None until it ends."""
    return None if run.finished_at is None else (run.finished_at - run.started_at).total_seconds()


def number(value: int) -> str:
    """With a comma between thousands."""
    return f"{value:,}"


def started_by(run: Run) -> str:
    """Who started a run."""
    return run.actor or _STARTED_BY[run.trigger]


def done_differently(run: Run) -> str:
    """What a run does, or did, otherwise than the schedule would; empty for most."""
    return ", ".join(map(_option, run.options))


def _option(word: str) -> str:
    name, _, value = word.partition("=")
    if (kind := name.removeprefix("allow_")) in tuple(LimitKind):
        return f"{kind}: {int(value):,} rows are allowed" if value else f"{kind} is allowed"
    return _OPTIONS.get(name, word)


def who_ended(by: EndedBy) -> str:
    """Who or what ended a run that was interrupted."""
    return _ENDED_BY[by]


def removal(definition: SyncDefinition) -> str:
    """What happens to rows that leave the result, as the end of a sentence."""
    if definition.target.action is not None:
        return "mean nothing: a list acts once on each row, and again if the row comes anew"
    if definition.target.entity.traits.happens:
        return "stay in the store: they have happened"
    if definition.incremental:
        return "stay in the store, as the query only returns what changed"
    if not definition.target.entity.traits.merges:
        return "are dropped from the collection"
    return _REMOVED[definition.on_removed]


def limits_of(definition: SyncDefinition) -> str:
    """What the limits of a sync bound, with the default of a list's."""
    action = definition.target.action
    if definition.target.entity.traits.happens:
        return "none" if (most := definition.limits.events) is None else f"{most.count:,} events sent"
    if action is None:
        return limits(definition.limits)
    if not action.deletes:
        return "none"
    given = definition.limits.merged if action is ListAction.MERGE else definition.limits.deleted
    if given is None:
        return f"1% of the store's people {action.done}, at least 10, or 100 where the store cannot count them"
    return f"{given.words}{' of the people in the store' if given.share is not None else ''} {action.done}"


def limits(given: Limits) -> str:
    """`15% removed, 100% changed, 20% set to NULL`, and what may be added if that is limited."""
    words = [(given.removed, "removed"), (given.changed, "changed"), (given.cleared, "set to NULL")]
    words += [(given.added, "added")] if given.added else []
    return ", ".join(f"{each.words} {what}" for each, what in words)


def plain(value: object) -> str:
    """A value of a store: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def prose(text: str) -> Markup:
    """A message, escaped; text between backticks becomes code or a link to the manual."""
    linked = _DOCS.sub(r'<a href="/docs/\1"><code>syncer docs \1</code></a>', str(escape(text)))
    return Markup(_CODE.sub(r"<code>\1</code>", linked))


@lru_cache(maxsize=256)
def sql(text: str, first_line: int, marked: int = 0) -> Markup:
    """A query in colours, escaped, with the line numbers of its file; the style sheet knows the classes.

    *marked*: the number of a line to mark.
    """
    lexer = get_lexer_by_name("sql+jinja", stripnl=False)
    formatter = HtmlFormatter(
        cssclass="sql", linenos="inline", linenostart=first_line, hl_lines=[marked - first_line + 1]
    )
    return Markup(pygments.highlight(text, lexer, formatter))


def entity_url(entity: Entity, kind: str, value: str, store: str) -> str:
    """The page of a person, an object, or a row of a collection."""
    match entity:
        case Entity.PERSON:
            path, query = "/people", {"by": kind, "value": value}
        case Entity.OBJECT:
            path, query = "/objects", {"type": kind, "id": value}
        case Entity.COLLECTION:
            path, query = "/collections", {"name": kind, "key": value}
        case Entity.RELATIONSHIP | Entity.DEVICE | Entity.MERGE | Entity.EVENT:
            raise ValueError(f"a {entity} has no page; its person has")
        case _:
            assert_never(entity)
    return f"{path}?{urlencode({**query, 'store': store})}"


def events_url(name: str, store: str, **more: str | int) -> str:
    """The page of who did something how often; without a name that of the names of events."""
    query = {"name": name, **more, "store": store}
    return f"/events?{urlencode({key: value for key, value in query.items() if value not in ('', 1)})}"


def key_links(sync: SyncDefinition, row: Rejection) -> list[tuple[str, str, str]]:
    """Each part of a rejected row's key: its column, its text, and the page of its entity; empty without a key.

    An event has no page, and the text is empty.
    """
    target, parts = sync.target, key_parts(sync, row.key)
    if not any(parts):
        return []
    if target.collection is not None:
        url = entity_url(target.entity, target.collection, row.key, sync.store)
        return [(column, part, url) for column, part in zip(target.key_columns, parts, strict=True)]
    if target.event is not None:
        return [(column, part, "") for column, part in zip(target.key_columns, parts, strict=True)]
    urls = [entity_url(Entity.PERSON, target.person_key, parts[0], sync.store)] if target.person_key else []
    if target.object_type:
        urls.append(entity_url(Entity.OBJECT, target.object_type, parts[-1], sync.store))
    if target.entity.traits.names_device:
        urls.append(urls[0])
    return list(zip(target.key_columns, parts, urls, strict=True))
