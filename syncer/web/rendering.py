"""HTML from templates: each has a typed context, and escapes every value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, dataclass_transform

import jinja2
from starlette.responses import HTMLResponse

from syncer.settings.service import Role, Times
from syncer.web import root_path

#: `pages/templates` and `pages/static`.
PAGES = Path(__file__).parent / "pages"

environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGES / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Context:
    """What one template shows. Subclasses are frozen dataclasses; a test compares their fields with the template."""

    template: ClassVar[str]

    def __init_subclass__(cls, *, template: str) -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        cls.template = template


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks at a page, and at what kind of service."""

    actor: str
    role: Role | None
    #: Also: see values of rows.
    may_run: bool
    may_approve: bool
    can_log_out: bool
    leads: bool
    #: The service that leads instead of this one.
    leader: str
    now: datetime


class Layout(Context, template="base.html"):
    """What surrounds the content of a page."""

    #: None on the login and where the guard refuses a request.
    viewer: Viewer | None = None
    #: What the viewer just did.
    message: str = ""
    path: str = ""
    #: What people see first; the other zone is in the title of a time.
    times: Times = Times.LOCAL


def page(
    context: Context, layout: Layout | None = None, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """The page that a context's template makes of it."""
    template = environment.get_template(context.template)
    html = template.render(vars(layout or Layout()) | vars(context))
    return HTMLResponse(root_path.linked(html), status, headers=headers)


#: Changes with the files, so that no browser keeps old ones.
environment.globals["assets"] = hashlib.sha256(
    b"".join(file.read_bytes() for file in sorted((PAGES / "static").iterdir()))
).hexdigest()[:12]
