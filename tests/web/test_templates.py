"""Templates name nothing that their contexts do not have."""

from __future__ import annotations

import jinja2
import pytest

from syncer.web import app as app
from syncer.web import rendering
from syncer.web.pages.sync import SyncContext
from syncer.web.rendering import PAGES, Context, Layout
from tests.web.template_types import Checker

TEMPLATES = sorted(path.name for path in (PAGES / "templates").iterdir())
#: What the application imports.
CONTEXTS = {context.template: context for context in Context.__subclasses__()}


def checked(template: str, context: type[Context], text: str | None = None) -> Checker:
    """Follow a template; *text* stands for what it contains."""
    environment = rendering.environment.overlay()
    if text is not None:
        assert environment.loader is not None
        environment.loader = jinja2.ChoiceLoader([jinja2.DictLoader({template: text}), environment.loader])
    checker = Checker(environment=environment)
    checker.check(template, Layout, context)
    return checker


def test_every_template_but_the_macros_has_a_context() -> None:
    assert CONTEXTS.keys() == {*TEMPLATES} - {"macros.html"}


@pytest.mark.parametrize("template", sorted(CONTEXTS))
def test_a_template_names_only_what_there_is(template: str) -> None:
    found = checked(template, CONTEXTS[template])

    assert found.faults == set()
    # What stores and the API's document contain has no types.
    assert found.unknown <= {"api.html", "entity.html"}


@pytest.mark.parametrize(
    ("wrong", "missing"),
    [
        ("{{ sttus }}", "sttus"),
        ("{{ status.definition.nme }}", "SyncDefinition.nme"),
        ("{{ last.counts.quered }}", "Counts.quered"),
        ("{% for run in listed.runs[:3] %}{{ run.strted_at }}{% endfor %}", "Run.strted_at"),
        ("{% for name, value in last.phases.items() %}{{ value.secnds }}{% endfor %}", "float.secnds"),
        ("{% for row in rejected.rows %}{{ loop.frst }}{% endfor %}", "LoopContext.frst"),
        ("{% set run = last %}{% if run %}{{ run.hnt }}{% endif %}", "Run.hnt"),
        ('{% for name in ("added", "chnged") %}{{ last.counts[name] }}{% endfor %}', "Counts.chnged"),
        ("{% macro shown(run) %}{{ run.sttus }}{% endmacro %}{{ shown(last) }}", "Run.sttus"),
        ('{% from "macros.html" import freshness_badge with context %}{{ freshness_badge(listed) }}', "RunList.paused"),
        ('{% from "macros.html" import bdge %}', "bdge"),
        (
            "{% for column, part, url in key_links(status.definition, rejected.rows[0]) %}{{ url.hst }}{% endfor %}",
            "str.hst",
        ),
        ("{{ counts.tp }}", "Chart.tp"),
        ("{{ (status.outdated or status.definition).pth }}", "SyncDefinition.pth"),
        ("{{ status.active_run.run_ids }}", "ActiveRun.run_ids"),
        ("{{ status.is_helt }}", "SyncStatus.is_helt"),
        ("{{ (listed.runs | length).rael }}", "int.rael"),
        ("{{ rejected.first | number | nmber }}", "No filter named 'nmber'"),
    ],
)
def test_a_misspelled_name_is_found(wrong: str, missing: str) -> None:
    try:
        found = checked("sync.html", SyncContext, wrong).faults
    except KeyError as exc:
        found = {f"No filter named {exc}"}
    assert any(missing in fault for fault in found), found
