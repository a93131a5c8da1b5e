"""The manual as the service shows it."""

from __future__ import annotations

from syncer.docs import topics
from tests.web.conftest import GUARDED, READ_TOKEN, Served, Site


def test_the_service_shows_the_manual(served: Served) -> None:
    client = served.client(headers={"Accept": "text/html"})

    contents = client.get("/docs").text
    assert all(f'href="/docs/{name}"' in contents for name in topics.topics())
    assert '<h2 id="limits">' in client.get("/docs/writing-a-sync").text
    assert "<mark>pgbouncer</mark>" in client.get("/docs?q=pgbouncer").text.lower()
    assert "&lt;script&gt;" in client.get("/docs?q=<script>").text
    kinds = {"page.png": "image/png", "growth.svg": "image/svg+xml", "grafana-dashboard.json": "application/json"}
    for file, kind in kinds.items():
        assert client.get(f"/docs/{file}").headers["content-type"] == kind


def test_a_page_that_there_is_not_says_what_was_meant(served: Served) -> None:
    answer = served.client(headers={"Accept": "text/html"}).get("/docs/promis")

    assert answer.status_code == 404
    assert "Did you mean <code>promise</code>?" in answer.text
    assert served.client().get("/docs/..%2fpyproject.toml").status_code == 404


def test_who_may_not_read_the_pages_may_not_read_the_manual(site: Site) -> None:
    with site.served(GUARDED) as guarded:
        assert guarded.client().get("/docs").status_code == 401
        assert guarded.client(READ_TOKEN).get("/docs/promise").status_code == 200
