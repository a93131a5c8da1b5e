from __future__ import annotations

from pathlib import Path

from tests.web.conftest import Site
from tests.web.many import addresses, make_many, statements

#: Of any answer; also a page of everything about one sync has no more.
_MOST = 20


def test_no_answer_takes_more_statements_for_more_syncs_and_runs(tmp_path: Path) -> None:
    one = _counted(make_many(tmp_path / "one", syncs=1, runs_of_each=1))
    many = _counted(make_many(tmp_path / "many", syncs=50, runs_of_each=40))

    assert many == one
    assert max(many.values()) <= _MOST


def _counted(site: Site) -> dict[str, int]:
    """How many statements each route takes that only tells of something."""
    counted = {}
    asked = addresses(site)
    with site.served() as served:
        document = served.client().get("/api/v1/openapi.json").json()
        assert {path for path, methods in document["paths"].items() if "get" in methods} <= asked.keys()
        client = served.client(headers={"Accept": "text/html"})
        for route, address in asked.items():
            client.get(address)
            with statements() as seen:
                assert client.get(address).status_code in (200, 404), address
            counted[route] = len(seen)
    return counted
