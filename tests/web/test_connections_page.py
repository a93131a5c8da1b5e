"""The page of connections."""

from __future__ import annotations

from pathlib import Path

from tests.web.conftest import Site


def test_the_page_shows_and_tests_where_snapshots_are_kept(site: Site, tmp_path: Path, postgres_url: str) -> None:
    place = f"file://{tmp_path}/shared"
    with site.served({"SYNCER_DATABASE_URL": postgres_url, "SYNCER_SNAPSHOTS_URL": place}) as served:
        shown = served.client().get("/connections").text
        tested = served.client().get("/connections?test=1").text
        (tmp_path / "shared").rename(tmp_path / "elsewhere")
        (tmp_path / "shared").write_text("")
        broken = served.client().get("/connections?test=1").text

    assert f"<code>{place}</code>" in shown
    assert "Used by all syncs" in shown
    assert "and where snapshots are kept" in shown
    assert tested.count("Can write") == shown.count("Can write") + 2
    assert f"{tmp_path}/shared is not a folder" in broken


def test_without_the_setting_the_page_speaks_of_no_snapshots(site: Site) -> None:
    with site.served() as served:
        shown = served.client().get("/connections").text

    assert "snapshots" not in shown
    assert "all syncs" not in shown
