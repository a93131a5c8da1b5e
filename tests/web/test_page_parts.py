from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from syncer.model.json_text import json_value
from syncer.model.types import Limit, Limits, RunOutcome, RunStatus
from syncer.settings import settings, state_modes
from syncer.settings.service import Role
from syncer.sync import connections
from syncer.web import rendering
from syncer.web.pages import charts, wording
from syncer.web.pages.provenance import commit_of
from syncer.web.problems import ErrorContext, ProblemError
from syncer.web.rendering import Layout, Viewer
from tests.web.conftest import SECONDS, Site

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def run(status: RunStatus = RunStatus.SUCCESS, seconds: float = 1.0, **counts: int) -> RunOutcome:
    return RunOutcome(
        id=f"run-{status}",
        status=status,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=seconds),
        **dict.fromkeys(("added", "changed", "removed", "rejected"), 0) | counts,
    )


@pytest.mark.parametrize(
    ("distance", "told"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=61), "1 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=29), "29 days ago"),
        (timedelta(days=31), "23 Oct 2026"),
        (-timedelta(minutes=5), "in 5 min"),
        (-timedelta(hours=2), "in 2 h"),
    ],
)
def test_a_time_is_told_from_now(distance: timedelta, told: str) -> None:
    assert wording.ago(NOON - distance, NOON) == told


def test_every_limit_is_said() -> None:
    assert wording.limits(Limits()) == "15% removed, 100% changed, 20% set to NULL"
    given = Limits(removed=Limit(count=5000), changed=Limit(share=0.015), added=Limit(share=0.1))
    assert wording.limits(given) == "5,000 rows removed, 1.5% changed, 20% set to NULL, 10% added"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.04, "40 ms"),
        (0.44, "0.4 s"),
        (59.7, "1 min"),
        (12, "12 s"),
        (200, "3 min 20 s"),
        (1800, "30 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, told: str) -> None:
    assert wording.span(seconds) == told


def test_a_message_shows_code_and_escapes_the_rest() -> None:
    assert wording.prose("no `a<b` in <i>") == "no <code>a&lt;b</code> in &lt;i&gt;"


def test_a_message_leads_to_the_manual() -> None:
    shown = wording.prose("See `syncer docs access` and `syncer runs`.")

    assert shown == 'See <a href="/docs/access"><code>syncer docs access</code></a> and <code>syncer runs</code>.'


def bars(chart: charts.Chart) -> list[ElementTree.Element]:
    """The bar of each run."""
    return ElementTree.fromstring(chart.svg).findall("a")


def test_a_small_chart_shows_every_run_within_its_height_the_newest_at_the_right() -> None:
    runs = [run(added=3), run(RunStatus.FAILED), run(RunStatus.HELD, removed=2_000), run(RunStatus.FAILED)]

    svg = ElementTree.fromstring(charts.status_chart(tuple(runs)).svg)

    assert svg.get("aria-label") == "Rows changed in the last 4 runs: 2 failed, 1 success, 1 held"
    drawn = {shape.get("class"): re.findall(r"M(\d+) ([\d.]+)h8v([\d.]+)h-8z", shape.get("d", "")) for shape in svg}
    # Those that need a look have a mark below the bar.
    places = {kind: [int(x) for x, _, _ in parts] for kind, parts in drawn.items()}
    assert places == {
        "bar is-failed": [261, 261, 281, 281],
        "bar is-held": [271, 271],
        "bar is-success": [291],
    }
    assert svg.get("viewBox") == "0 0 300 116"
    heights = [float(height) for parts in drawn.values() for _, y, height in parts if float(y) < 100]
    assert sorted(heights) == [3, 3, 6, 100]


def test_a_chart_says_of_each_run_what_it_did_and_leads_to_it() -> None:
    runs = [run(added=3), run(RunStatus.HELD, removed=2_000)]

    shown = bars(charts.counts_chart(runs, 20))

    assert [bar.get("href") for bar in shown] == [f"/runs/{each.id}" for each in reversed(runs)]
    assert shown[0][0].text == "2026-11-23 12:00:00 UTC · Held · 2,000 removed · 1.0 s"


def test_a_chart_escapes_what_it_shows() -> None:
    svg = charts.counts_chart([run()._replace(id='"><script>')], 20).svg

    assert "<script>" not in svg
    assert svg.count("<title ") == 1


def test_the_parts_of_a_bar_stand_on_top_of_each_other() -> None:
    (added, below, _), (changed, middle, height), (removed, top, _) = charts.bar_parts(
        {"added": 1, "changed": 10_000, "removed": 1}, 10_002
    )

    assert (added, changed, removed) == ("added", "changed", "removed")
    assert below == pytest.approx(middle + height)
    assert below > middle >= top >= 0


def test_any_json_of_a_store_is_shown() -> None:
    text = "[" * 900 + "7" * 5_000 + "]" * 900

    assert wording.plain({"deep": json_value(text)}) == f'{{"deep": {text}}}'


def test_charts_of_no_run_are_empty() -> None:
    for chart in (charts.status_chart(()), charts.counts_chart([], 20), charts.durations_chart([], 20)):
        assert bars(chart) == []
    assert charts.phase_parts({}) == []


def test_the_phases_of_a_run_fill_the_bar() -> None:
    parts = charts.phase_parts({"query": 3.0, "send": 1.0})

    assert parts == [("query", 3.0, 0.0, 75.0), ("send", 1.0, 75.0, 25.0)]


def test_sql_has_the_numbers_of_the_file_and_nothing_unescaped() -> None:
    shown = wording.sql("SELECT '<script>'\nFROM a -- </pre>", 7)

    assert "<script>" not in shown
    assert shown.count("</pre>") == 1
    assert '<span class="linenos">7</span>' in shown
    assert '<span class="linenos">8</span>' in shown
    assert "style=" not in shown


def test_the_commit_of_a_file_is_found_and_remembered(tmp_path: Path) -> None:
    file = tmp_path / "customers.sql"
    file.write_text("SELECT 1")
    assert commit_of(file, at=0) is None
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "--message", "Count <b>customers</b>", "--date", "2026-11-23T12:00:00Z")

    assert commit_of(file, at=0) is None
    commit = commit_of(file, at=61)

    assert commit is not None
    assert (commit.subject, commit.authored_at) == ("Count <b>customers</b>", NOON)
    assert _git(tmp_path, "rev-parse", "HEAD").startswith(commit.hash)
    assert commit_of(tmp_path / "none.sql") is None
    file.write_text("SELECT 2, of more bytes")
    assert commit_of(file, at=61) == commit


def _git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_connection_that_is_silent_keeps_no_other_waiting(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"postgresql://reader@127.0.0.1:{silent.getsockname()[1]}/shop"
        (tmp_path / "data").mkdir()
        found = settings.load(
            tmp_path,
            {"SYNCER_WAREHOUSES__DEFAULT__URL": "duckdb:///data", "SYNCER_WAREHOUSES__SILENT__URL": url},
        )
        state_modes.make_state_dir(found)
        begun = time.monotonic()
        default, quiet, store = connections.tested_side_by_side(connections.connections(found), seconds=2)

    assert time.monotonic() - begun < 20
    assert default.probe is not None
    assert default.probe.can_write is False
    assert store.probe is not None
    assert quiet.probe is None
    assert str(quiet.error) == "warehouse `silent` did not answer within 2 seconds"


def test_a_service_that_stands_by_names_who_leads() -> None:
    viewer = Viewer(
        actor="ann",
        role=Role.OPERATOR,
        may_run=True,
        may_approve=False,
        can_log_out=True,
        leads=False,
        leader="process 7 on <host>",
        now=NOON,
    )
    context = ErrorContext(problem=ProblemError(404, "nothing"))

    page = bytes(rendering.page(context, Layout(viewer=viewer)).body).decode()

    assert "This service stands by." in page
    assert "process 7 on &lt;host&gt; leads" in page
    assert "ann, operator" in page
    assert "Log out" in page


def test_rejected_rows_are_shown_also_where_the_store_does_not_answer(site: Site) -> None:
    site.define(
        "twice",
        "SELECT * FROM (VALUES ('7', 1), ('7', 2)) t (id, score)",
        "entity: person\nperson: {id: id}",
    )
    with site.served() as served:
        served.service.run_now("twice", actor="ann").ended.wait(SECONDS)
    (site.path / ".syncer/profiles.db").write_bytes(b"no database")

    with site.served() as served:
        person = served.client().get("/people?value=7")
        found = served.client().get("/find?q=7")

    assert person.status_code == 502
    assert found.status_code == 200
    for page in (person.text, found.text):
        assert "rows that differ share this key" in page
        assert "profiles.db" in page or "store <code>default</code>" in page


def test_a_rejected_row_without_a_key_is_found_by_its_values(site: Site) -> None:
    site.define("keyless", "SELECT NULL::VARCHAR AS id, 'ann@example.com' AS mail", "entity: person\nperson: {id: id}")
    with site.served() as served:
        served.service.run_now("keyless", actor="ann").ended.wait(SECONDS)
        found = served.client().get("/find?q=ann@example.com").text
        listed = served.client().get("/syncs/keyless/rejected?key=ann@example").text

    for page in (found, listed):
        assert "no usable key" in page
        assert "ann@example.com" in page


def test_a_person_is_found_by_phone_and_by_a_part_of_it_and_shown_with_it(site: Site) -> None:
    rows = "('7', '+4915110000007', NULL), ('8', '+4915110000008', 'ann@example.com')"
    site.define("phones", f"SELECT * FROM (VALUES {rows}) t (id, phone, email)", "entity: person\nperson: {id: id}")
    with site.served({"SYNCER_STORES__DEFAULT__IDENTITY": "id_email_or_phone"}) as served:
        served.service.run_now("phones", actor="ann").ended.wait(SECONDS)
        client = served.client()
        page = client.get("/people", params={"value": "+4915110000007"}).text
        whole = client.get("/find", params={"q": "+4915110000007"}).text
        part = client.get("/find", params={"q": "110000007"}).text
        both = client.get("/find", params={"q": "110000008"}).text

    assert '<dt>phone</dt><dd class="value">+4915110000007</dd>' in page
    assert "Person by phone" in page
    assert "/people?by=phone" in whole
    assert "<strong>+4915110000007</strong>" in part
    assert "<strong>ann@example.com</strong>" in both
    assert "+4915110000008" in both


def test_the_page_of_a_person_has_the_visitors_they_were_and_what_these_did(site: Site) -> None:
    rows = "SELECT 'a' AS view, 'visitor-7' AS visitor, TIMESTAMP '2026-01-02' AS at, 'blue' AS colour"
    header = "entity: event\nperson: {anonymous: visitor}\nevent: {name: seen, id: view, time: at}\nstart: all"
    site.define("seen", rows, header)
    claims = "entity: person\nperson: {id: id, anonymous: visitor}"
    site.define("claims", "SELECT '7' AS id, 'visitor-7' AS visitor", claims)
    with site.served() as served:
        for sync in ("seen", "claims"):
            served.service.run_now(sync, actor="ann").ended.wait(SECONDS)
        client = served.client()
        person = client.get("/people?value=7").text

    assert "Visitors they were before" in person
    assert "<code>visitor-7</code>" in person
    assert "as visitor-7" in person
    assert "blue" in person


def test_pages_show_events_with_their_person_and_their_sync(site: Site) -> None:
    header = "entity: event\nperson: {id: id}\nevent: {name: joined, id: id, time: at}\nstart: all"
    row = "SELECT '{}' AS id, TIMESTAMP '{}' AS at, 'blue' AS colour"
    rows = " UNION ALL ".join(row.format(*one) for one in (("7", "2026-01-02"), ("8", "1960-01-01")))
    site.define("joined", rows, header + "\nlimits: {events: 2000}\ncreate: true")
    with site.served() as served:
        served.service.run_now("joined", actor="ann").ended.wait(SECONDS)
        client = served.client()
        person, sync = client.get("/people?value=7").text, client.get("/syncs/joined").text
        rejected, explained = (
            client.get("/syncs/joined/rejected").text,
            client.get("/api/v1/explain?entity=event&name=joined&value=7"),
        )
        counts = client.get("/api/v1/runs?sync=joined").json()["items"][0]["counts"]

    assert "Newest events" in person
    assert "<code>joined</code>" in person
    assert "blue" in person
    assert "2,000 events sent" in sync
    assert "stay in the store: they have happened" in sync
    assert "<code>8</code>" in rejected
    assert "is before 1970" in rejected
    (found,) = explained.json()["items"]
    said = {one["attribute"]: one["stored"] for one in found["attributes"]}
    assert (found["sync"], found["key"], said["person.id"], said["colour"]) == ("joined", "7", "7", "blue")
    assert (counts["accepted"], counts["altered"]) == (1, 0)
