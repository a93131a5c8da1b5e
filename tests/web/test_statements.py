from __future__ import annotations

import re
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from syncer.model.types import RunStatus
from tests.web.conftest import Site
from tests.web.many import addresses, make_many, statements

#: Of any answer; also a page of everything about one sync has no more.
_MOST = 20


def test_no_answer_takes_more_statements_for_more_syncs_and_runs(tmp_path: Path) -> None:
    one = _counted(make_many(tmp_path / "one", syncs=1, runs_of_each=1))
    many = _counted(make_many(tmp_path / "many", syncs=50, runs_of_each=40))

    assert many == one
    assert max(many.values()) <= _MOST


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_metrics_take_no_more_statements_for_more_syncs_that_never_ended_well(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    counted = {}
    server = request.getfixturevalue("postgres") if kind == "postgresql" else None
    for syncs in (1, 30):
        with server.new_database() if server else nullcontext("") as url:
            site = make_many(
                tmp_path / str(syncs), syncs=syncs, runs_of_each=2, database_url=url, status=RunStatus.FAILED
            )
            with site.served({"SYNCER_DATABASE_URL": url} if url else None) as served:
                served.later(site, timedelta(days=3))
                client = served.client()
                client.get("/metrics")
                with statements() as seen:
                    text = client.get("/metrics").text
                counted[syncs] = len(seen)
                assert len(re.findall(r"(?m)^syncer_sync_late{.*} 1.0$", text)) == syncs

    assert counted[1] == counted[30] <= _MOST


def _counted(site: Site) -> dict[str, int]:
    """How many statements each route takes that only tells of something."""
    counted = {}
    with site.served() as served:
        asked = addresses(served.service.run_log)
        document = served.client().get("/api/v1/openapi.json").json()
        assert {path for path, methods in document["paths"].items() if "get" in methods} <= asked.keys()
        client = served.client(headers={"Accept": "text/html"})
        for route, address in asked.items():
            client.get(address)
            with statements() as seen:
                assert client.get(address).status_code in (200, 404), address
            counted[route] = len(seen)
    return counted
