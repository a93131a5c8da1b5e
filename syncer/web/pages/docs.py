"""`/docs`: the manual, with a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response

from syncer.docs.pages import ROOT, Page, page
from syncer.docs.search import Hit, search
from syncer.docs.topics import CONTENTS, FOLDER, Topic, topic, topics
from syncer.web.pages.viewing import TheView
from syncer.web.rendering import Context

#: What pages of the manual show or offer for download.
_FILES = frozenset(file.name for file in FOLDER.iterdir() if file.suffix in (".png", ".svg", ".json", ".yml"))

router = APIRouter(include_in_schema=False)


class DocsContext(Context, template="docs.html"):
    """The contents of the manual, a topic, or the hits of a search."""

    contents: Mapping[str, Sequence[Topic]]
    topic: Topic | None = None
    page: Page | None = None
    #: Empty if nobody searched.
    searched: str = ""
    hits: Sequence[Hit] = ()


def _contents() -> dict[str, list[Topic]]:
    return {heading: [topics()[name] for name in names] for heading, names in CONTENTS.items()}


@router.get(ROOT)
def show_contents(view: TheView, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    return view.page(DocsContext(contents=_contents(), searched=q.strip(), hits=search(q)))


@router.get(f"{ROOT}/{{name}}")
def show_topic(view: TheView, name: str) -> Response:
    if name in _FILES:
        return FileResponse(FOLDER / name)
    found = topic(name)
    return view.page(DocsContext(contents=_contents(), topic=found, page=page(found.name)))
