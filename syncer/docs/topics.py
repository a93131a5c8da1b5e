"""The topics of the manual, each a Markdown file in this folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from syncer.model.errors import SelectionError
from syncer.model.spelling import did_you_mean, quoted

FOLDER = Path(__file__).parent

#: The topics by heading, in reading order.
CONTENTS: Mapping[str, tuple[str, ...]] = {
    "Using Syncer": ("first-steps", "writing-a-sync", "editor", "commands", "settings"),
    "Warehouses": ("warehouses", "duckdb", "postgresql", "redshift", "mysql", "bigquery", "snowflake", "sqlalchemy"),
    "Stores": ("stores", "sqlite-store", "postgresql-store", "customerio"),
    "In production": ("production", "pages", "access", "monitoring", "api"),
    "Background": ("promise", "speed", "decisions", "adding-a-connector", "development", "changelog"),
}

_FILES = {"changelog": "CHANGELOG.md"}

#: Marks where generated parts of a file begin and end; readers do not see them.
_COMMENT = re.compile(r"(?m)^<!--.*?-->\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One page of the manual."""

    name: str
    title: str
    #: The first sentence, without its full stop.
    summary: str
    #: Markdown.
    text: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return file_of(self.name)


def file_of(name: str) -> str:
    """The file of a topic's name."""
    return _FILES.get(name, f"{name}.md")


@cache
def topics() -> Mapping[str, Topic]:
    """Every topic by name, in reading order."""
    return {name: _read(name) for names in CONTENTS.values() for name in names}


def topic(name: str) -> Topic:
    """The topic of this name, in any letter case.

    Raises:
        SelectionError: there is none.
    """
    found = topics().get(name.casefold().removesuffix(".md"))
    if found is None:
        raise SelectionError(f"the manual has no topic {quoted(name)}", hint=_suggestion(name.casefold()))
    return found


def _suggestion(name: str) -> str:
    for known in topics().values():
        if name and (name in known.name or name in known.title.casefold()):
            return f"Did you mean {quoted(known.name)}?"
    return did_you_mean(name, topics(), or_list=False) or "`syncer docs` lists the topics."


def _read(name: str) -> Topic:
    text = _COMMENT.sub("", (FOLDER / file_of(name)).read_text(encoding="utf-8"))
    heading, _, body = text.partition("\n\n")
    opening = " ".join(body.partition("\n\n")[0].split())
    summary = re.split(r"(?<=\.) ", opening)[0].rstrip(".:")
    return Topic(name=name, title=heading.removeprefix("# "), summary=summary, text=text)
