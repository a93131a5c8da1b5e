from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from syncer.model.errors import ObjectGoneError, PlaceError, SettingsError
from syncer.settings.secrets import secrets_of
from syncer.settings.settings import Settings, load
from syncer.shared import object_store
from syncer.shared.place import Place
from syncer.shared.places import open_place
from syncer.state.database import StateDatabase
from tests.cli.conftest import Folder, environment, folder
from tests.shared.conftest import KEY_ID, SECRET, Bucket

__all__ = ["folder"]

NAME = "people/20261130T215544411-fafdeb.base.zst"
#: Of a run log that is shared; nothing connects to it.
SHARED_LOG = "postgresql://syncer@127.0.0.1:1/syncer"
#: Variables that are empty count as not set.
NO_LOGIN = {"SYNCER_SNAPSHOTS__KEY_ID": "", "SYNCER_SNAPSHOTS__SECRET": ""}
LOGIN = {"SYNCER_SNAPSHOTS__KEY_ID": KEY_ID, "SYNCER_SNAPSHOTS__SECRET": SECRET}
#: Several parts of every place, and a rest.
LARGE = 20_000_003


def settings(url: str, folder: Path, **variables: str) -> Settings:
    given = {"SYNCER_DATABASE_URL": SHARED_LOG, "SYNCER_SNAPSHOTS_URL": url, **variables}
    return load(folder, given)


@contextmanager
def opened(url: str, folder: Path, run_log: str = "", **variables: str) -> Iterator[Place]:
    """A place as the settings have it."""
    found = settings(url, folder, **variables)
    database = StateDatabase(run_log or f"sqlite:///{folder}/runs.db")
    try:
        yield open_place(str(found.snapshots_url), found, database)
    finally:
        database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place that can be opened."""

    url: str
    run_log: str = ""
    login: Mapping[str, str] = field(default_factory=dict)


@pytest.fixture(params=["database", "file", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    """An empty place of each kind."""
    match request.param:
        case "database":
            return Where(url="database", run_log=request.getfixturevalue("postgres_url"))
        case "file":
            return Where(url=f"file://{tmp_path}/shared/snap%20shots")
        case _:
            return Where(url=request.getfixturevalue("bucket").url, login=LOGIN)


@pytest.fixture
def place(where: Where, tmp_path: Path) -> Iterator[Place]:
    with opened(where.url, tmp_path, where.run_log, **where.login) as made:
        yield made


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(b"rows")
    return path


def names(place: Place, prefix: str = "") -> list[str]:
    return sorted(found.name for found in place.objects(prefix))


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 8 << 20, LARGE])
def test_an_object_comes_back_as_it_was(place: Place, tmp_path: Path, size: int) -> None:
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(os.urandom(size))

    place.put(NAME, sent)
    place.get(NAME, got)

    assert got.read_bytes() == sent.read_bytes()
    (found,) = place.objects()
    assert (found.name, found.bytes) == (NAME, size)
    assert found.at.utcoffset() == timedelta(0)
    assert abs(found.at - datetime.now(UTC)) < timedelta(minutes=2)


def test_an_object_takes_the_place_of_one_of_its_name(place: Place, content: Path, tmp_path: Path) -> None:
    place.put(NAME, content)
    content.write_bytes(b"x" * 3_000_000)
    place.put(NAME, content)
    content.write_bytes(b"less")
    place.put(NAME, content)

    place.get(NAME, tmp_path / "got")

    assert (tmp_path / "got").read_bytes() == b"less"
    assert [found.bytes for found in place.objects()] == [4]


def test_objects_are_found_by_what_their_names_begin_with(place: Place, content: Path) -> None:
    for name in ("people/1.base.zst", "people/1.delta.zst", "people_2/1.base.zst", "people%/x", "other/people/1"):
        place.put(name, content)

    assert len(names(place)) == 5
    assert names(place, "people/") == ["people/1.base.zst", "people/1.delta.zst"]
    assert names(place, "people/1.b") == ["people/1.base.zst"]
    assert names(place, "people_") == ["people_2/1.base.zst"]
    assert names(place, "people%") == ["people%/x"]
    assert names(place, "nobody/") == []


def test_objects_are_deleted_whether_they_are_there_or_not(place: Place, content: Path) -> None:
    for name in ("people/1", "people/2", "people/3"):
        place.put(name, content)

    place.delete(["people/0", "people/1", "people/3", "people/1"])
    place.delete([])

    assert names(place) == ["people/2"]


def test_an_object_that_is_not_there_is_gone_and_leaves_no_file(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "got"
    target.write_bytes(b"earlier")

    with pytest.raises(ObjectGoneError, match=NAME):
        place.get(NAME, target)

    assert not target.exists()


def test_a_place_is_tried_out_and_nothing_is_left(place: Place, content: Path) -> None:
    place.put(NAME, content)

    place.try_out()

    assert names(place) == [NAME]


def test_the_name_of_a_place_opens_it_again(where: Where, place: Place, content: Path, tmp_path: Path) -> None:
    place.put(NAME, content)

    assert SECRET not in place.name
    with opened(place.name, tmp_path, where.run_log, **where.login) as again:
        assert names(again) == [NAME]


def test_a_disk_that_is_full_here_is_told(place: Place, tmp_path: Path) -> None:
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(bytes(3_000_000))
    place.put(NAME, sent)

    with file_size(1_000_000), pytest.raises(PlaceError, match=r"cannot be copied to this machine: .*/got"):
        place.get(NAME, got)

    assert not got.exists()


@contextmanager
def file_size(limit: int) -> Iterator[None]:
    """Let no file of this process become larger, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# The database


def test_the_server_waits_longer_for_a_part_than_for_a_process_that_is_frozen(
    postgres_url: str, tmp_path: Path, content: Path
) -> None:
    database = StateDatabase(postgres_url)
    found = settings("database", tmp_path)
    with database.writing() as connection:
        open_place("database", found, database).put(NAME, content)
        waits = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    database.close()

    assert waits == "25s"


# A folder


def test_only_who_may_write_a_folder_can_read_what_is_in_it(tmp_path: Path, content: Path) -> None:
    (tmp_path / "of_group").mkdir()
    (tmp_path / "of_group").chmod(0o2775)
    mask = os.umask(0o022)
    try:
        for folder in ("own", "of_group"):
            with opened(f"file://{tmp_path}/{folder}", tmp_path) as place:
                place.put(NAME, content)
    finally:
        os.umask(mask)

    def modes(folder: str) -> list[str]:
        paths = (tmp_path / folder, tmp_path / folder / "people", tmp_path / folder / NAME)
        return [f"{path.stat().st_mode & 0o777:o}" for path in paths]

    assert modes("own") == ["700", "700", "600"]
    assert modes("of_group") == ["775", "770", "660"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, content: Path) -> None:
    with opened(f"file://{tmp_path}/shared", tmp_path) as place:
        place.put(NAME, content)
        large = tmp_path / "large"
        large.write_bytes(bytes(3_000_000))

        with (
            file_size(1_000_000),
            pytest.raises(PlaceError, match=r"SYNCER_SNAPSHOTS_URL: file:///.* cannot be written"),
        ):
            place.put(NAME, large)

        assert [(found.name, found.bytes) for found in place.objects()] == [(NAME, 4)]


def test_objects_are_not_gone_while_their_folder_is_not_there(tmp_path: Path, content: Path) -> None:
    with opened(f"file://{tmp_path}/shared", tmp_path) as place:
        place.put(NAME, content)
        (tmp_path / "shared").rename(tmp_path / "elsewhere")

        with pytest.raises(PlaceError, match="cannot be read") as caught:
            place.get(NAME, tmp_path / "got")
        assert not isinstance(caught.value, ObjectGoneError)
        with pytest.raises(PlaceError, match="cannot be read"):
            names(place)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, content: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    if os.geteuid() == 0:
        os.chown(theirs, 12345, 12345)
    else:
        theirs.chmod(0o500)

    for path, said in (
        (theirs, "belongs to another user|cannot be written"),
        (content, "is not a folder"),
        (Path("/proc/snapshots"), "cannot be created"),
    ):
        with pytest.raises(PlaceError, match=rf"SYNCER_SNAPSHOTS_URL: {path} ({said})"):
            open_place(f"file://{path}", settings("database", tmp_path), StateDatabase(f"sqlite:///{tmp_path}/runs.db"))


def test_no_name_leads_out_of_a_folder(tmp_path: Path) -> None:
    with opened(f"file://{tmp_path}/shared", tmp_path) as place, pytest.raises(ValueError, match="no object"):
        place.delete(["../runs.db"])


# A bucket


def attempts(place: Place, content: Path) -> Mapping[str, Any]:
    """Everything that a place can be asked to do."""
    return {
        "put": lambda: place.put(NAME, content),
        "get": lambda: place.get(NAME, content.with_name("got")),
        "delete": lambda: place.delete([NAME]),
        "objects": lambda: names(place),
        "try_out": place.try_out,
    }


@pytest.mark.parametrize("attempt", ["put", "get", "delete", "objects", "try_out"])
def test_a_bucket_that_is_not_there_is_told(bucket: Bucket, tmp_path: Path, content: Path, attempt: str) -> None:
    with (
        opened(f"s3://nobodys-bucket?endpoint={bucket.endpoint}", tmp_path, **LOGIN) as place,
        pytest.raises(
            PlaceError, match=r"SYNCER_SNAPSHOTS_URL: s3://nobodys-bucket.* there is no such bucket"
        ) as caught,
    ):
        attempts(place, content)[attempt]()
    assert not isinstance(caught.value, ObjectGoneError)


@pytest.mark.parametrize("attempt", ["put", "get", "delete", "objects", "try_out"])
def test_a_login_that_is_refused_is_told(bucket: Bucket, tmp_path: Path, content: Path, attempt: str) -> None:
    bucket.ask_for_rights()
    with opened(bucket.url, tmp_path, **LOGIN) as place, pytest.raises(PlaceError) as caught:
        attempts(place, content)[attempt]()

    assert "the login is refused, or may not do this (InvalidAccessKeyId)" in caught.value.message
    assert "SYNCER_SNAPSHOTS__KEY_ID" in caught.value.hint
    assert "s3:PutObject" in caught.value.hint
    assert SECRET not in repr(caught.value) + caught.value.hint


def test_a_secret_that_is_wrong_is_told_and_not_shown(bucket: Bucket, tmp_path: Path) -> None:
    key_id, secret = bucket.user()
    bucket.ask_for_rights()
    wrong = {"SYNCER_SNAPSHOTS__KEY_ID": key_id, "SYNCER_SNAPSHOTS__SECRET": SECRET}
    with (
        opened(bucket.url, tmp_path, **wrong) as place,
        pytest.raises(PlaceError, match="SignatureDoesNotMatch") as caught,
    ):
        place.try_out()

    assert SECRET not in repr(caught.value) + caught.value.hint
    assert secret != SECRET


@pytest.mark.parametrize(
    ("may", "what"),
    [
        (("GetObject", "ListBucket", "DeleteObject"), "written"),
        (("PutObject", "ListBucket", "DeleteObject"), "read"),
        (("PutObject", "GetObject", "DeleteObject"), "listed"),
        (("PutObject", "GetObject", "ListBucket"), "deleted from"),
    ],
)
def test_a_right_that_a_login_lacks_is_told(bucket: Bucket, tmp_path: Path, may: tuple[str, ...], what: str) -> None:
    key_id, secret = bucket.user(*may)
    bucket.ask_for_rights()
    login = {"SYNCER_SNAPSHOTS__KEY_ID": key_id, "SYNCER_SNAPSHOTS__SECRET": secret}
    with (
        opened(bucket.url, tmp_path, **login) as place,
        pytest.raises(PlaceError, match=f"cannot be {what}: the login"),
    ):
        place.try_out()


def test_the_login_of_the_settings_is_used_and_no_other(bucket: Bucket, tmp_path: Path) -> None:
    key_id, secret = bucket.user()
    bucket.ask_for_rights()
    (tmp_path / "secret").write_text(f"{secret}\n")
    others = {"AWS_ACCESS_KEY_ID": "AKIAOTHER", "AWS_SECRET_ACCESS_KEY": "other", "AWS_SESSION_TOKEN": "other"}
    login = {"SYNCER_SNAPSHOTS__KEY_ID": key_id, "SYNCER_SNAPSHOTS__SECRET_FILE": "secret"}

    with opened(bucket.url, tmp_path, **login, **others) as place:
        place.try_out()


def test_without_a_login_of_its_own_that_of_the_cloud_is_used(bucket: Bucket, tmp_path: Path) -> None:
    key_id, secret = bucket.user()
    bucket.ask_for_rights()
    (tmp_path / ".env").write_text(
        f"AWS_ACCESS_KEY_ID={key_id}\nAWS_SECRET_ACCESS_KEY={secret}\nAWS_ENDPOINT_URL={bucket.endpoint}\n"
    )

    with opened(f"s3://{bucket.name}", tmp_path) as place:
        place.try_out()


def test_the_endpoint_of_the_url_wins(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)

    with opened(bucket.url, tmp_path, **LOGIN, **elsewhere) as place:
        place.try_out()


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://127.0.0.1:1", "the connection was refused"),
        ("http://nowhere.invalid", "the name of its host was not found"),
        ("https://127.0.0.1:{port}", "no connection came about"),
    ],
)
def test_an_endpoint_that_cannot_be_reached_is_told(bucket: Bucket, tmp_path: Path, endpoint: str, said: str) -> None:
    port = bucket.endpoint.rpartition(":")[2]
    url = f"s3://bucket?endpoint={endpoint.format(port=port)}"
    with opened(url, tmp_path, **LOGIN) as place, pytest.raises(PlaceError, match=said) as caught:
        place.try_out()

    assert "SYNCER_SNAPSHOTS_URL" in caught.value.hint


def test_an_endpoint_that_is_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little = replace(object_store._LITTLE_PATIENCE, seconds=0.3)
    monkeypatch.setattr(object_store, "_LITTLE_PATIENCE", little)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        opened(f"s3://bucket?endpoint=http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, **LOGIN) as place,
        pytest.raises(PlaceError, match="there was no answer in time"),
    ):
        place.try_out()


#: Uploads itself.
UPLOAD = """
import os, sys
from pathlib import Path
from syncer.settings.settings import load
from syncer.shared.places import open_place
found = load(Path(), os.environ)
open_place(found.snapshots_url, found, None).put("people/1", Path("content"))
"""


def test_a_signal_ends_a_transfer(tmp_path: Path, content: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"s3://bucket?endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
        given = {"SYNCER_DATABASE_URL": SHARED_LOG, "SYNCER_SNAPSHOTS_URL": url, **LOGIN}
        silent.settimeout(60)
        with subprocess.Popen(
            [sys.executable, "-c", UPLOAD],
            cwd=content.parent,
            env=environment(given),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                with silent.accept()[0]:
                    process.send_signal(signal.SIGINT)
                    # A request may take a minute.
                    _, err = process.communicate(timeout=30)
            finally:
                process.kill()

    assert process.returncode == -signal.SIGINT
    assert err.endswith("KeyboardInterrupt\n")


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SettingsError, match="is not installed") as caught, opened("s3://bucket", tmp_path, **LOGIN):
        pass

    assert caught.value.message.startswith("SYNCER_SNAPSHOTS_URL: ")
    assert "pip install 'syncer[cluster]'" in caught.value.hint


def test_an_endpoint_of_a_variable_is_checked(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match="AWS_ENDPOINT_URL: should be an address"),
        opened("s3://bucket", tmp_path, AWS_ENDPOINT_URL="minio:9000", **LOGIN),
    ):
        pass


def test_a_storage_account_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="storage account") as caught, opened("az://container/x", tmp_path):
        pass

    assert "SYNCER_SNAPSHOTS__KEY_ID" in caught.value.hint


def test_a_key_that_is_none_is_told_and_not_shown(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match="the login for gs://bucket cannot be used") as caught,
        opened("gs://bucket", tmp_path, SYNCER_SNAPSHOTS__SECRET=SECRET),
    ):
        pass

    assert SECRET not in repr(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None


# The settings


def test_the_secret_is_hidden_wherever_it_would_be_shown(tmp_path: Path) -> None:
    found = settings("s3://bucket", tmp_path, **LOGIN)

    assert SECRET in secrets_of(found)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3:///prefix", "names no bucket; it should be such as `s3://BUCKET/syncer`"),
        ("s3a://bucket", "Did you mean `s3://`?"),
        ("gcs://bucket", "Did you mean `gs://`?"),
        ("databse", "Did you mean `database`?"),
        ("files:///mnt", "Did you mean `file://`?"),
        ("ftp+hush://x", "should be `database` or begin with `s3://`, `gs://`, `az://` or `file://`"),
        ("hush", "should be `database` or begin with"),
        (
            "s3://key:hush@bucket/x",
            "contains a login; set SYNCER_SNAPSHOTS__KEY_ID and SYNCER_SNAPSHOTS__SECRET instead",
        ),
        ("s3://bucket?regoin=x", "has a parameter `regoin`; it may have `endpoint` and `region`"),
        ("gs://bucket?region=x", "has a parameter `region`; it may have `endpoint`"),
        ("s3://bucket?hush%20hush=x", "has a parameter that Syncer does not know"),
        ("s3://bucket?endpoint=minio:9000", "has a parameter `endpoint` that cannot be used"),
        ("s3://bucket?endpoint=http://hush:hush@minio", "has a parameter `endpoint` that cannot be used"),
        ("s3://bucket?region=", "has a parameter `region` that cannot be used"),
        ("s3://bucket?region=a&region=b", "has a parameter twice"),
        ("s3://bucket/a/../b", "has a path that cannot be used"),
        ("s3://bucket/a#b", "contains a `#`"),
        ("file://mnt/snapshots", "should be the absolute path of a folder"),
        ("file:///", "should be the absolute path of a folder"),
        ("file:///mnt?mode=1", "should be the absolute path of a folder"),
        ("file:///mnt/snap shots", "contains a blank"),
    ],
)
def test_a_url_that_names_no_place_is_told(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(url, tmp_path)

    assert caught.value.message.startswith("SYNCER_SNAPSHOTS_URL: ")
    assert said in caught.value.message
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("DATABASE", "database"),
        ("S3://Bucket/a//b/?region=x&endpoint=https://h:9000", "s3://Bucket/a/b?endpoint=https://h:9000&region=x"),
        ("gs://bucket/", "gs://bucket"),
        ("file:////mnt/snap%20shots/", "file:///mnt/snap%20shots"),
    ],
)
def test_a_place_is_spelled_in_one_way(tmp_path: Path, url: str, shown: str) -> None:
    assert settings(url, tmp_path).snapshots_url == shown
    assert settings(shown, tmp_path).snapshots_url == shown


@pytest.mark.parametrize(
    ("url", "login", "said"),
    [
        ("s3://bucket", {"KEY_ID": "k"}, "SYNCER_SNAPSHOTS__KEY_ID: needs both"),
        ("s3://bucket", {"SECRET": "hush"}, "SYNCER_SNAPSHOTS__SECRET: needs both"),
        ("gs://bucket", {"KEY_ID": "k", "SECRET": "hush"}, "SYNCER_SNAPSHOTS__KEY_ID: is not for `gs://` URLs"),
        ("database", {"SECRET": "hush"}, "SYNCER_SNAPSHOTS__SECRET: has no meaning"),
        (
            "s3://bucket",
            {"KEY": "k"},
            "SYNCER_SNAPSHOTS__KEY: is not a setting; did you mean SYNCER_SNAPSHOTS__KEY_ID?",
        ),
    ],
)
def test_a_login_that_does_not_fit_is_told(tmp_path: Path, url: str, login: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(url, tmp_path, **{f"SYNCER_SNAPSHOTS__{name}": value for name, value in login.items()})

    assert said in caught.value.message
    assert "hush" not in caught.value.message


# The command line


def test_shared_snapshots_need_a_shared_run_log(folder: Folder) -> None:
    ran = folder.syncer("list", env={"SYNCER_SNAPSHOTS_URL": "database"})

    assert ran.code == 2
    assert "SYNCER_SNAPSHOTS_URL: needs a run log that the machines share; set SYNCER_DATABASE_URL" in ran.err


def test_connections_shows_and_tests_the_place(folder: Folder, bucket: Bucket, postgres_url: str) -> None:
    plain = folder.syncer("connections", "--json")
    env = {"SYNCER_DATABASE_URL": postgres_url, "SYNCER_SNAPSHOTS_URL": bucket.url, **LOGIN}

    shown = folder.syncer("connections", "--json", env=env)
    tested = folder.syncer("connections", "--test", "--json", env=env)
    people = folder.syncer("connections", "--test", env=env)
    in_database = folder.syncer(
        "connections", "--test", "--json", env={**env, "SYNCER_SNAPSHOTS_URL": "database", **NO_LOGIN}
    )

    assert (shown.code, tested.code, people.code, in_database.code) == (0, 0, 0, 0)
    assert [one["kind"] for one in plain.objects] == ["warehouse", "store"]
    assert [one["kind"] for one in shown.objects] == ["warehouse", "store", "snapshots"]
    found = tested.objects[-1]
    assert (found["name"], found["url"], found["reachable"], found["can_write"]) == ("s3", bucket.url, True, True)
    assert "snapshots" in people.out
    assert (in_database.objects[-1]["name"], in_database.objects[-1]["can_write"]) == ("database", True)
    with opened(bucket.url, folder.path, **LOGIN) as place:
        assert names(place) == []
    for ran in (shown, tested, people):
        assert SECRET not in ran.out + ran.err


def test_connections_tells_what_is_wrong_with_the_place(folder: Folder, bucket: Bucket, postgres_url: str) -> None:
    env = {"SYNCER_DATABASE_URL": postgres_url, "SYNCER_SNAPSHOTS_URL": bucket.url, **LOGIN}
    bucket.ask_for_rights()

    tested = folder.syncer("connections", "--test", "--json", env=env)
    people = folder.syncer("connections", "--test", env=env)

    assert (tested.code, people.code) == (1, 1)
    found = tested.objects[-1]
    assert (found["kind"], found["reachable"], found["can_write"]) == ("snapshots", False, None)
    assert found["error"].startswith(f"SYNCER_SNAPSHOTS_URL: {bucket.url} cannot be written: the login is refused")
    assert SECRET not in tested.out + tested.err + people.out + people.err
