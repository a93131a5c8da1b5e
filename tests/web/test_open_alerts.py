"""The page says what the alerts say."""

from __future__ import annotations

from syncer.state.alerts import OpenAlerts
from tests.web.conftest import Served


def test_the_overview_shows_what_alerts_say_of_connections_and_flapping_syncs(served: Served) -> None:
    before = served.client().get("/").text
    assert "cannot be used" not in before
    assert "Flapping" not in before
    name = next(iter(served.service.catalog.current.definitions))
    opened = [
        ("warehouse default", "unreachable"),
        ("store default", "of another version"),
        ("the clock", "clock"),
        (name, "flapping"),
    ]

    OpenAlerts(served.service.run_log.database).update(opened, [], served.service.now())

    page = served.client().get("/").text
    assert "warehouse <code>default</code> cannot be used" in page
    assert "store <code>default</code> of another version" in page
    assert page.count("Flapping") == 1
    assert "the clock is wrong" in page
    assert '<a href="/runs?status=held">Held runs</a>' in page
