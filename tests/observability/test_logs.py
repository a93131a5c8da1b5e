from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from syncer.model.errors import SyncerError
from syncer.observability import logs
from syncer.observability.logs import Repetitions
from syncer.observability.redaction import REDACTED, Redactor
from syncer.settings import settings
from syncer.settings.secrets import secrets_of
from tests.cli.conftest import Folder, environment
from tests.service.conftest import Bench, wait_until

#: Everything in the settings that should be in no log; each is in its own spelling where it is part of a URL.
CANARIES = {
    "SYNCER_DATABASE_URL": "postgresql://syncer:p%40ss-CANARY01@127.0.0.1:1/log",
    "SYNCER_WAREHOUSES__DEFAULT__URL": "snowflake://ann@account/db/schema?warehouse=W&role=R",
    "SYNCER_WAREHOUSES__DEFAULT__TOKEN": "CANARY02-token",
    "SYNCER_WAREHOUSES__OTHER__URL": "bigquery://project/dataset",
    "SYNCER_WAREHOUSES__OTHER__KEY": r'{"private_key": "---BEGIN---\nCANARY03CANARY03CANARY03\n---END---"}',
    "SYNCER_WAREHOUSES__ODD__URL": "mssql://ann:CANARY04@host/db?authkey=CANARY05",
    "SYNCER_STORES__CRM__URL": "customerio://us",
    "SYNCER_STORES__CRM__SITE_ID": "CANARY06",
    "SYNCER_STORES__CRM__API_KEY": "CANARY07",
    "SYNCER_STORES__CRM__APP_API_KEY": "CANARY08",
    "SYNCER_WEB__PASSWORD": "CANARY09!$^",
    "SYNCER_WEB__TOKENS__CI__TOKEN": "CANARY10-CANARY10-CANARY10",
    "SYNCER_ALERTS__URLS": "slack://CANARY11T/CANARY12A/CANARY13 json://u:CANARY14@example.com/CANARY15?:k=CANARY16",
    "SYNCER_ALERTS__PING_URL": "https://hc-ping.com/CANARY17",
}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(path=tmp_path)
    made.people({"1": "free", "2": "pro", "3": "free"})
    return made


@pytest.fixture
def restored() -> Iterator[None]:
    """The log of this process as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers.copy(), root.level
    yield
    for handler in root.handlers.copy():
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    for name in ("syncer", "connectors", "apscheduler", "uvicorn", "watchfiles"):
        logging.getLogger(name).setLevel(logging.NOTSET)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(tmp_path: Path, write: Callable[[], Any], stream: io.StringIO, env: dict[str, str] | None = None) -> str:
    loaded = settings.load(tmp_path, env or {})
    logs.write_to(stream, level=loaded.log_level, secrets=secrets_of(loaded), colours=False)
    write()
    return stream.getvalue()


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("restored")
def test_no_secret_of_the_settings_is_in_any_log(tmp_path: Path) -> None:
    log = logging.getLogger("syncer.test")
    texts = [part for value in CANARIES.values() for part in (value, *re.split(r'[\s/:?&=@"]+', value))]

    def write() -> None:
        for text in texts:
            log.info("at the end %s", text)
            log.warning("x" * 200 + text, extra={"url": text, "list": [text], "map": {"key": text, text: 1}})
            try:
                raise SyncerError(f"refused: {text}", hint=text)
            except SyncerError:
                log.exception("failed")

    for stream in (io.StringIO(), Terminal()):
        shown = written(tmp_path, write, stream, CANARIES)
        assert shown.count(REDACTED) > 50
        assert not re.findall("CANARY[0-9]+", shown)
        assert "127.0.0.1:1/log" in shown, "what is no secret is shown"


def test_a_short_secret_is_taken_out_where_it_stands_alone(tmp_path: Path) -> None:
    redact = Redactor(secrets_of(settings.load(tmp_path, {"SYNCER_WEB__PASSWORD": "pw"})))

    assert redact("the pw is pw, not spwan") == f"the {REDACTED} is {REDACTED}, not spwan"
    assert Redactor(secrets_of(settings.load(tmp_path, {})))("nothing is secret") == "nothing is secret"


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("terminal", [True, False])
def test_nobody_forges_a_line_or_commands_the_terminal(tmp_path: Path, terminal: bool) -> None:
    evil = "x\n2026-01-01T00:00:00Z [info     ] forged\r\x1b[31mred\x9b31m\u202eback"
    log = logging.getLogger("syncer.test")

    def write() -> None:
        log.info("a file called %s", evil, extra={"file": evil, "list": [evil]})
        try:
            raise SyncerError(evil)
        except SyncerError:
            log.exception("failed")

    shown = written(tmp_path, write, Terminal() if terminal else io.StringIO())

    assert len(re.findall(r"(?m)^2026-01-01|^forged", shown)) == 0
    assert not set(shown) & set("\r\x1b\x9b\u202e")
    if not terminal:
        first, second = objects(shown)
        assert first["file"] == evil
        assert evil in second["exception"]


@pytest.mark.usefixtures("restored")
def test_an_unexpected_error_is_reported_without_its_text(tmp_path: Path) -> None:
    def write() -> None:
        try:
            try:
                int("canaryvalue")
            except ValueError as exc:
                raise KeyError("canarykey") from exc
        except KeyError:
            logging.getLogger("uvicorn.error").exception("failed")

    (entry,) = objects(written(tmp_path, write, io.StringIO()))

    assert "canary" not in entry["exception"].replace('int("canaryvalue")', "").replace('KeyError("canarykey")', "")
    assert entry["exception"].endswith("  KeyError, because of ValueError")
    assert "test_logs.py" in entry["exception"]


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["syncer debug", "syncer info", "apscheduler debug", "apscheduler info", "sqlalchemy warning"]),
        ("info", ["syncer info", "sqlalchemy warning"]),
        ("warning", ["sqlalchemy warning"]),
        ("error", []),
    ],
)
def test_the_level_is_that_of_the_settings_and_libraries_are_quiet(
    tmp_path: Path, level: str, shown: list[str]
) -> None:
    def write() -> None:
        for name in ("syncer", "apscheduler"):
            logging.getLogger(f"{name}.part").debug("%s debug", name)
            logging.getLogger(f"{name}.part").info("%s info", name)
        # Its statements have values of rows.
        logging.getLogger("sqlalchemy.engine").info("sqlalchemy info")
        logging.getLogger("sqlalchemy.engine").warning("sqlalchemy warning")

    found = written(tmp_path, write, io.StringIO(), {"SYNCER_LOG_LEVEL": level})

    assert [entry["event"] for entry in objects(found)] == shown


@pytest.mark.usefixtures("restored")
def test_each_line_of_a_run_tells_sync_and_run(bench: Bench) -> None:
    stream = io.StringIO()
    bench.define("customers", header="entity: person\nperson: {id: id}\nschedule: manual")
    bench.define("broken", "SELECT * FROM nowhere", "entity: person\nperson: {id: id}\nschedule: manual")
    with bench.service() as service:
        logs.write_to(stream, level=service.settings.log_level, secrets=secrets_of(service.settings), colours=False)
        active_runs = [service.run_now(name, actor="") for name in ("customers", "broken")]
        for active in active_runs:
            assert active.ended.wait(60)
        wait_until(lambda: stream.getvalue().count("the run ended") == 2)
        service.pause("customers")
        service.resume("customers")
        bench.define("customers", header="entity: nonsense")
        service.reload()
    entries = objects(stream.getvalue())

    for active in active_runs:
        of_run = [entry for entry in entries if entry.get("run") == active.run_id]
        assert {entry["sync"] for entry in of_run} == {active.name}
        assert {entry["event"] for entry in of_run} >= {"the run begins", "the run ended"}
    (well,) = (entry for entry in entries if entry.get("status") == "success")
    assert (well["queried"], well["added"], well["sync"]) == (3, 3, "customers")
    assert well["seconds"] > 0
    (failed,) = (entry for entry in entries if entry.get("status") == "failed")
    assert (failed["level"], failed["sync"]) == ("error", "broken")
    assert [entry["sync"] for entry in entries if entry["event"] in ("paused", "resumed")] == ["customers"] * 2
    assert any("a definition cannot be used: " in entry["event"] for entry in entries)
    assert entries[-1]["event"] == "this service leads no longer"
    assert "free" not in stream.getvalue()


def test_what_another_thread_writes_is_not_about_the_run() -> None:
    class Running:
        name, run_id = "customers", "1"

    seen = []
    with logs.about(Running()):
        thread = threading.Thread(target=lambda: seen.append(logs._run.get()))
        thread.start()
        thread.join()
        assert logs._run.get() is not None
    assert seen == [None]
    assert logs._run.get() is None


def test_a_served_folder_writes_json_where_nobody_looks(tmp_path: Path) -> None:
    folder = Folder(path=tmp_path)
    folder.people({"1": "free"})
    folder.define("customers", "SELECT id, plan FROM people")
    with folder.started("serve", "--port", "0") as process:
        assert process.stderr is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stderr or []))
        reader.start()
        wait_until(lambda: any("the run ended" in line for line in lines))
        address = next(entry["address"] for entry in map(json.loads, lines) if "address" in entry)
        with urlopen(f"{address}/metrics") as answer:
            assert b"syncer_leads 1.0" in answer.read()
        process.terminate()
        assert process.wait(60) == 143
        reader.join(10)
    events = [json.loads(line)["event"] for line in lines]

    assert f"Syncer serves {address}, 1 sync, leads" in events
    assert {"this service leads", "the run begins", "the run ended", "this service leads no longer"} <= set(events)
    assert {"timestamp", "level", "logger"} <= json.loads(lines[0]).keys()


def test_a_served_folder_writes_for_people_on_a_terminal(tmp_path: Path) -> None:
    folder = Folder(path=tmp_path)
    folder.people({"1": "free"})
    folder.define("customers", "SELECT id, plan FROM people")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        folder.command("serve", "--port", "0"), cwd=folder.path, env=environment({"NO_COLOR": "1"}), stderr=theirs
    )
    try:
        os.close(theirs)
        shown = ""
        while "the run ended" not in shown:
            shown += os.read(ours, 4096).decode()
        process.terminate()
        assert process.wait(60) == 143
    finally:
        process.kill()
        process.wait()
        os.close(ours)

    assert re.search(r"(?m)^\S+ \[info +\] Syncer serves http://127\.0\.0\.1:\d+, 1 sync, leads", shown)
    assert "\x1b" not in shown
    assert not shown.lstrip().startswith("{")


def test_other_commands_write_as_before(tmp_path: Path) -> None:
    folder = Folder(path=tmp_path)
    folder.people({"1": "free"})
    folder.define("customers", "SELECT id, plan FROM people")
    ran = folder.syncer("run", "customers", env={"SYNCER_LOG_LEVEL": "debug"})

    assert ran.code == 0
    assert ran.err == ""


def test_what_repeats_is_written_once_a_minute_with_how_often_it_came() -> None:
    now = 0.0
    repetitions = Repetitions(lambda: now)

    def written(level: int = logging.ERROR, text: str = "the run log is away", **more: str) -> logging.LogRecord | None:
        record = logging.LogRecord("syncer", level, "file", 1, text, None, None)
        vars(record).update(more)
        return record if repetitions.filter(record) else None

    assert written()
    assert [written() for _ in range(59)] == [None] * 59
    assert written(text="another")
    assert written(sync="customers")
    assert all(written(logging.INFO) for _ in range(3))

    now = 60.0
    again = written()
    assert again is not None
    assert vars(again)["repeated"] == 59
    now = 120.0
    steady = written()
    assert steady is not None
    assert "repeated" not in vars(steady)
