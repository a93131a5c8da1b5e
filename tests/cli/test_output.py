from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from syncer.cli import output
from tests.cli.conftest import Folder, environment
from tests.cli.watching import ENDLESS

HOSTILE = "\x1b[31mred\x1b[0m [bold]x[/bold] \u202eevil\r\n\x07"


def on_a_terminal(
    folder: Folder,
    *arguments: str,
    until: str = "",
    number: int = 0,
    typed: str = "",
    env: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command with a terminal as all its streams; send a signal or type once it has shown *until*."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        folder.command(*arguments), cwd=folder.path, env=environment(env), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        seen, waiting = b"", bool(until)
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
            if waiting and until.encode() in seen:
                waiting = False
                if number:
                    process.send_signal(number)
                os.write(ours, typed.encode())
        os.close(ours)
        return process.wait(timeout=60), seen.decode()


def test_a_long_run_shows_its_phase_on_a_terminal_and_gives_the_cursor_back(folder: Folder) -> None:
    folder.define("endless", ENDLESS)

    code, seen = on_a_terminal(folder, "run", "endless", until="query", number=signal.SIGTERM)

    assert code == 143
    assert "endless  query" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")


def test_a_long_run_shows_its_rows_and_their_rate_on_a_terminal(folder: Folder) -> None:
    folder.define("flood", "SELECT range AS id FROM range(1000000000000)")

    code, seen = on_a_terminal(folder, "run", "flood", until="/s ", number=signal.SIGINT)

    assert code == 130
    assert re.search(r"flood  query .*[1-9][\d,]+ rows  [1-9][\d,]*/s ", seen)
    assert "interrupted: flood: stopped by a signal" in seen


def test_a_status_has_a_colour_on_a_terminal_only(folder: Folder) -> None:
    _, coloured = on_a_terminal(folder, "run", "customers")
    _, plain = on_a_terminal(folder, "run", "customers", env={"NO_COLOR": "1"})
    piped = folder.syncer("run", "customers")

    assert "\x1b[32msuccess\x1b[0m" in coloured
    assert "\x1b" not in plain + piped.out + piped.err


def test_a_reset_asks_on_a_terminal(folder: Folder) -> None:
    folder.syncer("run", "customers")
    snapshot = folder.path / ".syncer/snapshots/customers.duckdb"

    refused, _ = on_a_terminal(folder, "reset", "customers", until="[y/N]", typed="n\n")
    still_there = snapshot.exists()
    agreed, seen = on_a_terminal(folder, "reset", "customers", until="[y/N]", typed="y\n")

    assert (refused, still_there) == (1, True)
    assert (agreed, snapshot.exists()) == (0, False)
    assert "The next run of customers sends every row again. Nothing is removed from the store" in seen


def test_what_a_terminal_would_obey_is_shown_as_escapes(folder: Folder) -> None:
    literal = " || ".join(f"chr({ord(c)})" for c in HOSTILE)
    folder.define("customers", f"SELECT {literal} AS id, {literal} AS name, NULL::INT AS n UNION ALL SELECT '', 'x', 1")

    planned, as_json = folder.syncer("plan", "customers"), folder.syncer("plan", "customers", "--json")
    ran = folder.syncer("run", "customers")

    for text in (planned.out, ran.out + ran.err, as_json.out):
        assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert "\\x1b[31mred\\x1b[0m [bold]x[/bold] \\u202eevil\\r\\n\\x07" in planned.out
    assert as_json.objects[0]["sample"][0]["key"] == HOSTILE
    assert as_json.objects[0]["sample"][0]["after"]["name"] == HOSTILE


def test_a_table_is_never_cut_or_wrapped_off_a_terminal(folder: Folder) -> None:
    description = "long " * 60 + "end"
    folder.define("wide", "SELECT 1 AS id", f"entity: person\nperson: {{id: id}}\ndescription: {description}")

    listed = folder.syncer("list", env={"COLUMNS": "40"})

    assert description in listed.out
    assert len(listed.out.splitlines()) == 3


def test_output_that_nobody_reads_is_no_error(folder: Folder) -> None:
    command = " ".join(folder.command("schema"))

    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -c 1"],
        cwd=folder.path,
        env=environment(),
        capture_output=True,
        check=False,
    )

    assert (ended.stdout, ended.stderr) == (b"{", b"")


def test_text_that_the_terminal_cannot_show_is_escaped(folder: Folder) -> None:
    folder.people({"1": "größe"})

    planned = subprocess.run(
        folder.command("plan", "customers"),
        cwd=folder.path,
        env=environment({"PYTHONIOENCODING": "ascii"}),
        capture_output=True,
        check=True,
    )

    assert b'plan: "gr\\xf6\\xdfe"' in planned.stdout


def test_an_unexpected_error_is_reported_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        int("secret value")
    except ValueError as exc:
        output.print_exception(exc)

    message = capsys.readouterr().err
    assert message.startswith("error: unexpected ValueError; this is a defect of Syncer\n")
    assert "in test_an_unexpected_error_is_reported_without_its_text" in message
    assert "invalid literal" not in message


def test_help_does_not_wait_for_drivers(folder: Folder) -> None:
    def seconds(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=folder.path, env=environment())
        return time.perf_counter() - began

    imports = min(seconds(sys.executable, "-c", "import duckdb, sqlalchemy") for _ in range(3))
    shown = min(seconds(sys.executable, "-m", "syncer", "--help") for _ in range(3))

    assert shown < 1.6 * imports


def test_help_waits_for_no_driver_and_no_database() -> None:
    program = """
import sys
from syncer.cli import main
sys.argv = ["syncer", "--help"]
try:
    main()
finally:
    heavy = "duckdb google numpy psycopg pyarrow pydantic pymysql snowflake sqlalchemy sqlglot".split()
    print(sorted({*heavy} & {*sys.modules}), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "Usage" in ended.stdout
    assert ended.stderr.strip() == "[]"


def test_a_run_does_not_import_pandas(tmp_path: Path) -> None:
    """It may be installed for a driver that needs it, and takes a fifth of a small run's time."""
    program = """
import sys
from syncer.cli import main
sys.argv = ["syncer", "run", "--all"]
try:
    main()
finally:
    print("pandas" in sys.modules, file=sys.stderr)
    import pandas, pyarrow
    print(pyarrow.table({"a": [1]}).to_pandas().shape, file=sys.stderr)
"""
    subprocess.run([sys.executable, "-m", "syncer", "init", "."], cwd=tmp_path, check=True, capture_output=True)
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert ended.stderr.split("\n")[-3:] == ["False", "(1, 1)", ""]


def test_a_run_that_needs_no_postgresql_loads_nothing_for_it(tmp_path: Path) -> None:
    program = """
import sys
from syncer.cli import main
sys.argv = ["syncer", "run", "--all"]
try:
    main()
finally:
    print(sorted({"psycopg", "sqlalchemy.dialects.postgresql"} & {*sys.modules}), file=sys.stderr)
"""
    for command in (["init", "."], ["run", "--all"]):
        subprocess.run([sys.executable, "-m", "syncer", *command], cwd=tmp_path, check=True, capture_output=True)
    again = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert again.stderr.split("\n")[-2:] == ["[]", ""]
