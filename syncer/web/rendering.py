"""HTML from templates, in which every value is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

#: `pages/templates` and `pages/static`.
PAGES = Path(__file__).parent / "pages"

environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGES / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any) -> HTMLResponse:
    """A page of one template."""
    return HTMLResponse(environment.get_template(template).render(**values), status, headers=headers)
