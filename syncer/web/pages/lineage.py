"""`/lineage`: from which tables each sync reads, and which attributes it writes, as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from syncer.definitions.conflicts import written_attributes
from syncer.definitions.validation import dialect_of, rendered
from syncer.model.errors import SyncerError
from syncer.model.types import SyncDefinition
from syncer.queries.query import read_tables
from syncer.settings.settings import Settings
from syncer.web.pages.viewing import TheView
from syncer.web.rendering import Context

#: Syncs of one picture, and attributes of one sync in it.
_DRAWN_SYNCS = 40
_DRAWN_ATTRIBUTES = 12

#: Of the picture: the left edges of its columns, how wide a part and how high a line is, and the room above.
_LEFT = (1, 401, 801)
_WIDE, _HIGH, _GAP, _TOP = 300, 24, 6, 34
#: Characters that fit into a part.
_FITTING = 38

router = APIRouter(include_in_schema=False)


class LineageFilter(BaseModel, frozen=True):
    """Which syncs to draw; an empty field fits all."""

    sync: str = Field(default="", max_length=200)
    table: str = Field(default="", max_length=500)
    attribute: str = Field(default="", max_length=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What one sync reads and writes."""

    definition: SyncDefinition
    #: With the warehouse before them if there are several; None if the SQL cannot be parsed.
    tables: Sequence[str] | None
    #: With what they belong to, such as `person.plan`.
    attributes: Sequence[str]

    def fits(self, wanted: LineageFilter) -> bool:
        """Whether to draw it."""
        return (
            wanted.sync in ("", self.definition.name)
            and (not wanted.table or wanted.table in (self.tables or ()))
            and (not wanted.attribute or wanted.attribute in self.attributes)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the picture, which is a link."""

    text: str
    #: As much of it as fits.
    shown: str
    url: str
    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Tables on the left, syncs, and attributes on the right."""

    parts: Sequence[Part]
    #: The lines between them, as SVG paths.
    lines: Sequence[str]
    width: int
    height: int


class LineageContext(Context, template="lineage.html"):
    """The lineage of the syncs that fit a filter."""

    filter: LineageFilter
    drawn: Sequence[Lineage]
    #: How many syncs fit.
    matching: int
    #: Those of them whose SQL cannot be parsed.
    unparsed: Sequence[str]
    picture: Picture
    headings: Sequence[tuple[str, int]]
    part_width: int
    part_height: int


@router.get("/lineage")
def show_lineage(view: TheView, wanted: Annotated[LineageFilter, Query()]) -> Response:
    settings = view.service.settings
    definitions = view.service.catalog.current.definitions.values()
    fitting = [one for one in (lineage_of(settings, definition) for definition in definitions) if one.fits(wanted)]
    drawn = fitting[:_DRAWN_SYNCS]
    return view.page(
        LineageContext(
            filter=wanted,
            drawn=drawn,
            matching=len(fitting),
            unparsed=[one.definition.name for one in drawn if one.tables is None],
            picture=picture(drawn),
            headings=list(zip(("Tables", "Syncs", "Attributes"), _LEFT, strict=True)),
            part_width=_WIDE,
            part_height=_HIGH,
        )
    )


def lineage_of(settings: Settings, definition: SyncDefinition) -> Lineage:
    """What a sync reads, by its SQL, and what it writes, by its header and its SQL."""
    try:
        tables = read_tables(rendered(settings, definition, 0), dialect_of(settings, definition))
    except SyncerError:
        tables = None
    if tables is not None and len(settings.warehouses) > 1:
        tables = tuple(f"{definition.warehouse}: {table}" for table in tables)
    of = definition.target.object_type or definition.target.collection or definition.target.entity
    written = written_attributes(definition, None)
    names = ["every column"] if written is None else list(written)
    return Lineage(definition=definition, tables=tables, attributes=[f"{of}.{name}" for name in names])


def picture(drawn: Sequence[Lineage]) -> Picture:
    """Each table, sync and attribute once; what belongs together stands at about the same height."""
    syncs = {one.definition.name: place for place, one in enumerate(drawn)}
    read = [(table, one.definition.name) for one in drawn for table in one.tables or ()]
    written = [(name, one.definition.name) for one in drawn for name in one.attributes[:_DRAWN_ATTRIBUTES]]
    columns = (
        ("table", _ordered(read, syncs)),
        ("sync", list(syncs)),
        ("attribute", _ordered(written, syncs)),
    )
    most = max(len(names) for _, names in columns)
    parts = {
        (kind, name): _part(kind, name, x, _TOP + round((place + 0.5) * most / len(names) - 0.5) * (_HIGH + _GAP))
        for (kind, names), x in zip(columns, _LEFT, strict=True)
        for place, name in enumerate(names)
    }
    between = [(parts["table", table], parts["sync", sync]) for table, sync in read]
    between += [(parts["sync", sync], parts["attribute", name]) for name, sync in written]
    return Picture(
        parts=list(parts.values()),
        lines=[_line(left, right) for left, right in between],
        width=_LEFT[-1] + _WIDE + 1,
        height=_TOP + most * (_HIGH + _GAP),
    )


def _ordered(pairs: Iterable[tuple[str, str]], syncs: Mapping[str, int]) -> list[str]:
    """Names by the mean place of their syncs, so that few lines cross."""
    places: dict[str, list[int]] = {}
    for name, sync in pairs:
        places.setdefault(name, []).append(syncs[sync])
    return sorted(places, key=lambda name: sum(places[name]) / len(places[name]))


def _part(kind: str, text: str, x: int, y: int) -> Part:
    url = f"/syncs/{text}" if kind == "sync" else f"/lineage?{urlencode({kind: text})}"
    shown = text if len(text) <= _FITTING else f"{text[: _FITTING - 1]}…"
    return Part(text=text, shown=shown, url=url, x=x, y=y)


def _line(left: Part, right: Part) -> str:
    start, end = left.x + _WIDE, right.x
    middle = (start + end) // 2
    y, to = left.y + _HIGH // 2, right.y + _HIGH // 2
    return f"M{start} {y}C{middle} {y} {middle} {to} {end} {to}"
