"""`syncer new`, and a project for one's own warehouse."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Folder
from tests.cli.test_output import on_a_terminal


@pytest.mark.parametrize(
    "options",
    [
        ["--entity", "person", "--person", "id=customer id", "--from", "people", "--columns", "plan, First Name"],
        ["--entity", "person", "--person", "email=email", "--from", "shop.people", "--on-removed", "clear"],
        ["--action", "suppress", "--person", "id=customer id", "--from", "requests"],
        ["--entity", "object", "--object", "account=no", "--from", "accounts", "--schedule", "every 2 hours"],
        ["--entity", "relationship", "--person", "id=id", "--object", "team=team", "--from", "members"],
        ["--entity", "device", "--person", "id=id", "--device", "token=t,platform=ios", "--from", "phones"],
        [
            "--entity",
            "device",
            "--person",
            "id=id",
            "--device",
            "token=a b,platform=os,last_used=at",
            "--from",
            "phones",
        ],
        [
            "--entity",
            "event",
            "--person",
            "id=id",
            "--id",
            "no,shop",
            "--time",
            "at",
            "--start",
            "now",
            "--from",
            "orders",
        ],
        ["--entity", "person", "--person", "id=id,anonymous=visitor id", "--from", "users"],
        [
            "--entity",
            "event",
            "--person",
            "anonymous=visitor",
            "--id",
            "no",
            "--time",
            "at",
            "--start",
            "all",
            "--from",
            "views",
        ],
        ["--entity", "collection", "--key", "code,country", "--from", "coupons", "--description", 'It\'s: "new"'],
    ],
)
def test_a_new_sync_is_written_from_options_and_validates(folder: Folder, options: list[str]) -> None:
    folder.write("syncer.toml", '[stores.default]\nidentity = "id_or_email"\n')

    written = folder.syncer("new", "fresh", *options)
    checked = folder.syncer("validate", "fresh")

    assert written.code == 0, written.err
    assert written.out.splitlines()[0] == "sync_definitions/fresh.sql"
    assert written.out.splitlines()[-1] == "  syncer validate --connect fresh && syncer plan fresh"
    assert checked.code == 0
    assert "1 definition, 0 errors, " in checked.out


def test_a_new_sync_is_written_from_answers(folder: Folder) -> None:
    code, seen = on_a_terminal(folder, "new", "fresh", until="feed", typed="\n\npeople\n")

    assert code == 0, seen
    assert (folder.path / "sync_definitions/fresh.sql").read_text() == (
        "/* sync\nentity: person\nperson: {id: id}\n*/\nSELECT *\nFROM people\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["customers"], "there is a sync `customers` in sync_definitions/customers.sql"),
        (["../x"], "a sync cannot be called `../x`"),
        (["fresh"], "--entity is missing, and there is no terminal to ask on"),
        (["fresh", "--entity", "person", "--person", "mail=x", "--from", "t"], "no file was written: "),
        (["fresh", "--entity", "person", "--person", "email=x", "--from", "t"], "cannot tell people apart by `email`"),
        (["fresh", "--entity", "object", "--object", "team", "--from", "t"], "--object should have two parts"),
        (["fresh", "--entity", "device", "--person", "id=id", "--device", "token=t", "--from", "t"], "--device should"),
    ],
)
def test_what_cannot_be_a_sync_is_not_written(folder: Folder, words: list[str], message: str) -> None:
    before = sorted(folder.path.rglob("*.sql"))

    refused = folder.syncer("new", *words)

    assert refused.code == 2
    assert message in refused.err
    assert sorted(folder.path.rglob("*.sql")) == before


def test_a_project_for_a_warehouse_keeps_its_secret_out_of_git(tmp_path: Path) -> None:
    folder = Folder(path=tmp_path)
    (tmp_path / ".gitignore").write_text("*.pyc")

    open_url = folder.syncer("init", "one", "--warehouse", "duckdb:///lake.duckdb")
    secret = folder.syncer("init", "--warehouse", "postgresql://reader:h%27ush@host/shop")
    shown = folder.syncer("connections")
    wrong = folder.syncer("init", "two", "--warehouse", "shop")

    assert (open_url.code, secret.code, wrong.code) == (0, 0, 2)
    assert open_url.out.splitlines()[-1] == "  cd one && syncer connections --test && syncer new NAME"
    assert 'url = "duckdb:///lake.duckdb"' in (tmp_path / "one/syncer.toml").read_text()
    assert (tmp_path / "one/.gitignore").read_text() == ".syncer/\n.env\n"
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\n.syncer/\n.env\n"
    assert "ush" not in (tmp_path / "syncer.toml").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert "postgresql://reader@host/shop" in shown.out
    assert "--warehouse: is not a URL" in wrong.err
    assert not (tmp_path / "two").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_what_commands_leave_behind_is_ignored_by_git(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        named = ["-c", "user.name=a", "-c", "user.email=a@example.com", *words]
        return subprocess.run(["git", *named], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    folder = Folder(path=tmp_path)
    folder.syncer("init")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "start")
    folder.syncer("run", "coupons")
    (tmp_path / ".env").write_text("SYNCER_POOL_SIZE=2\n")

    assert git("status", "--short") == ""
