from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from connectors.sqlite import store as sqlite_store
from connectors.sqlite import upserts
from connectors.sqlite.store import SQLiteStore
from syncer.model.errors import SettingsError, StoreError
from syncer.model.protocols import ProfileStore
from syncer.model.types import Entity, Identity
from syncer.settings.registry import open_store
from tests.contracts.batches import ACCEPTED, ACCOUNTS, PEOPLE, apply, batch_of, made, person, put


def opened(path: Path | str) -> SQLiteStore:
    return SQLiteStore("default", f"sqlite:///{path}", identity=Identity.ID)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    with closing(made(opened(tmp_path / "people.db"))) as store:
        yield store


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    made(opened(tmp_path / "state" / "people.db")).close()

    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_relative_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    made(opened("state/100%.db")).close()

    assert (tmp_path / "state" / "100%.db").exists()


def test_the_path_in_a_stores_url_is_decoded(tmp_path: Path) -> None:
    made(SQLiteStore("default", f"sqlite:///{tmp_path}/my%20data%3F/100%25.db", identity=Identity.ID)).close()

    assert (tmp_path / "my data?" / "100%.db").exists()


def test_a_store_whose_file_has_the_spelling_of_its_url_stays_where_it_is(tmp_path: Path) -> None:
    written = tmp_path / "a%20b.db"
    made(opened(tmp_path / "other.db")).close()
    (tmp_path / "other.db").rename(written)

    SQLiteStore("default", f"sqlite:///{written}", identity=Identity.ID).close()

    assert not (tmp_path / "a b.db").exists()


def test_a_path_that_is_too_long_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no file can be made in the folder .*: File name too long") as refused:
        opened(tmp_path / ("a" * 300) / "people.db")

    assert "SYNCER_STORES__DEFAULT__URL" in refused.value.hint


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:people.db"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="store `default`: its URL names no file"):
        SQLiteStore("default", url, identity=Identity.ID)


def test_commits_survive_a_loss_of_power(store: SQLiteStore) -> None:
    assert store._fetch("PRAGMA synchronous") == [(2,)]
    assert store._fetch("PRAGMA journal_mode") == [("wal",)]


def test_a_writer_that_hangs_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "_WAIT_SECONDS", 0.1)
    with (
        closing(made(opened(tmp_path / "people.db"))) as store,
        closing(sqlite3.connect(tmp_path / "people.db")) as other,
    ):
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match="store `default`: database is locked") as raised:
            store.apply(PEOPLE, batch_of(put("ann")), create=True)
        assert "another process" in raised.value.hint.lower()

        other.execute("ROLLBACK")
        apply(store, PEOPLE, put("ann"))


def test_a_full_disk_is_a_store_error_and_stores_nothing_of_the_batch(store: SQLiteStore) -> None:
    apply(store, PEOPLE, put("ann", attributes={"a": 1}))
    ((pages,),) = store._fetch("PRAGMA page_count")
    store._execute(f"PRAGMA max_page_count = {pages + 5}")
    rows = [put("ann", attributes={"a": 2}), *(put(f"p{i}", attributes={"text": "x" * 1000}) for i in range(100))]

    with pytest.raises(StoreError, match="store `default`: database or disk is full") as raised:
        store.apply(PEOPLE, batch_of(*rows), create=True)

    assert raised.value.hint == "Free space on the disk."
    assert person(store, "ann")["attributes"] == {"a": 1}
    assert store.show(Entity.PERSON, "id", "p0") is None


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    path.write_text("id,email\n" * 1000)

    with pytest.raises(StoreError, match="store `default`: file is not a database") as raised:
        opened(path)

    assert "SYNCER_STORES__DEFAULT__URL" in raised.value.hint
    assert path.read_text() == "id,email\n" * 1000


@pytest.mark.parametrize("path", ["file/people.db", "folder"])
def test_a_place_where_no_file_can_be_made_is_a_store_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    with pytest.raises(StoreError, match="store `default`: ") as raised:
        opened(tmp_path / path)

    assert "SYNCER_STORES__DEFAULT__URL" in raised.value.hint


def test_an_sqlite_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 38, 5))

    with pytest.raises(StoreError, match=r"store `default` needs SQLite 3\.39"):
        opened(tmp_path / "people.db")


def test_a_new_store_may_be_made_by_many_at_once(tmp_path: Path) -> None:
    for number in range(12):
        url = f"sqlite:///{tmp_path}/{number}/profiles.db"
        with ThreadPoolExecutor(max_workers=4) as pool:
            new = list(pool.map(lambda _, url=url: open_store("default", url, identity=Identity.ID), range(4)))
            opened = list(pool.map(made, new))

        assert len({store.store_id for store in opened}) == 1
        for store in opened:
            store.close()


def test_a_store_that_is_open_twice_keeps_what_it_stores_when_another_process_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with closing(made(opened(path))) as first, closing(opened(path)):
        apply(first, PEOPLE, put("ann"))
        other_process(path, "SELECT count(*) FROM people")
        apply(first, PEOPLE, put("bob"))
        with closing(opened(path)) as third:
            apply(third, PEOPLE, put("cid"))
        assert other_process(path, "SELECT group_concat(id) FROM people") == "ann,bob,cid"


def other_process(path: Path, sql: str) -> str:
    """What another process reads; the last to close the file deletes what SQLite keeps beside it."""
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(*c.execute(sys.argv[2]).fetchone()); c.close()"
    return subprocess.run(
        [sys.executable, "-c", code, path, sql], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_rows_that_are_too_long_together_are_stored(store: SQLiteStore) -> None:
    """The limit is a thousandth of what it is."""
    store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
    rows = [put(f"p{i}", attributes={"text": f"{i} " + "x" * 5_000}) for i in range(400)]
    rows[7] = put("p7", attributes={"text": "x" * 1_000_000})

    verdicts = apply(store, PEOPLE, *rows)

    assert [i for i, verdict in enumerate(verdicts) if verdict != ACCEPTED] == [7]
    pages = list(store.contained(PEOPLE, None))
    assert sum(map(len, pages)) == 399
    keys = pa.table({"k1": [f"p{i}" for i in range(400)]})
    assert sum(map(len, store.contained(PEOPLE, keys))) == 399


_VALUES = ["1", '"x"', '"a \\"b\\" \\\\"', '{"z":null,"y":[1.00,{}]}', "12345678901234567890.10", '"\u00e9"', "true"]
#: With a name that is there twice.
_EXACTLY: Any = {"parse_float": str, "object_pairs_hook": lambda pairs: sorted(pairs, key=repr)}
_NAMES = ["a", "b c", "d.e", "$f", "\u00fc", "a[0]", "it's", 'g"h', "i\\j", ""]


def some_puts(random: Random, *, of: Sequence[str], everybody: Sequence[str], **own: Any) -> list[Any]:
    puts = []
    for who in random.sample(everybody, random.randint(1, len(everybody))):
        named = random.sample(of, random.randint(0, len(of)))
        cleared = [name for name in (*of, *own) if name not in named and random.random() < 0.5]
        text = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{random.choice(_VALUES)}" for name in named)
        given = {name: f"{who}@x" for name in own if name not in cleared}
        puts.append(put(who, attributes=f"{{{text}}}", cleared=tuple(cleared), **given))
    return puts


@pytest.mark.parametrize("own", [{}, {"email": ""}])
def test_an_upsert_leaves_what_the_statements_for_every_case_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: dict[str, str]
) -> None:
    random = Random(7)
    upsert_of = upserts.upsert_of
    people = [f"p{i}" for i in range(6)]
    with closing(opened(tmp_path / "one.db")) as one, closing(opened(tmp_path / "other.db")) as other:
        for number in range(60):
            names = random.sample(_NAMES if number % 3 == 0 else _NAMES[:7], random.randint(0, 5))
            batch = some_puts(random, of=names, everybody=people, **own)
            for target in (PEOPLE, ACCOUNTS):
                rows = batch if target is PEOPLE else [(*row[:4], {}) for row in batch]
                monkeypatch.setattr(upserts, "upsert_of", upsert_of)
                taken = apply(one, target, *rows)
                monkeypatch.setattr(upserts, "upsert_of", lambda *_: None)
                assert apply(other, target, *rows) == taken

            assert contents(one) == contents(other)


def contents(store: SQLiteStore) -> list[Any]:
    found = store._fetch(
        "SELECT id, email, attributes FROM people UNION ALL SELECT object_id, object_type, attributes FROM objects"
    )
    return sorted(((key, more, json.loads(text, **_EXACTLY)) for key, more, text in found), key=repr)


def test_a_file_that_cannot_be_written_is_found_by_a_probe(store: SQLiteStore) -> None:
    assert store.probe().can_write is True
    store._connection.execute("PRAGMA query_only = 1")

    probe = store.probe()

    assert probe.can_write is False
    assert "Make the file and its folder writable" in probe.note


@pytest.mark.parametrize("table", ["workspace (id)", "workspace (identity, store_id)"])
def test_tables_of_another_program_are_said_to_be_none_of_a_store(tmp_path: Path, table: str) -> None:
    with closing(sqlite3.connect(tmp_path / "people.db")) as other:
        other.execute(f"CREATE TABLE {table}")
        if "identity" in table:
            other.execute("CREATE TABLE workspace_version (version_num)")
        other.commit()

    with pytest.raises(StoreError, match="store `default`: ") as raised:
        opened(tmp_path / "people.db")

    assert "names a profile store, and no other program's database" in raised.value.hint
