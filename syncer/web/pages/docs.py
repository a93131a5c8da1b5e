"""`/docs`: the manual, with a search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from syncer.docs import pages as manual
from syncer.docs.search import search
from syncer.docs.topics import CONTENTS, FOLDER, topic, topics
from syncer.web.pages.viewing import Pages

#: What pages of the manual show or offer for download.
_FILES = frozenset(file.name for file in FOLDER.iterdir() if file.suffix in (".png", ".json", ".yml"))


def add(routes: APIRouter, pages: Pages) -> None:
    """Add the routes."""

    @routes.get(manual.ROOT)
    def index(request: Request, q: Annotated[str, Query(max_length=200)] = "") -> Response:
        return pages.page(
            request, "docs.html", contents=CONTENTS, topics=topics(), shown=None, searched=q.strip(), hits=search(q)
        )

    @routes.get(f"{manual.ROOT}/{{name}}")
    def page(request: Request, name: str) -> Response:
        if name in _FILES:
            return FileResponse(FOLDER / name)
        shown = topic(name)
        return pages.page(
            request,
            "docs.html",
            contents=CONTENTS,
            topics=topics(),
            shown=shown,
            page=manual.page(shown.name),
            searched="",
            hits=[],
        )
