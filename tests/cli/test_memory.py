"""What a whole process takes at most, and what becomes of a run that needs more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb

from syncer.snapshot import file

_WIDE = ", ".join(f"'{n} of ' || repeat(md5(id::VARCHAR), 12) AS c{n}" for n in range(100))
_DEFINITION = "/* sync\nentity: person\nperson: {id: id}\nlimits: {changed: 100%}\n*/\nSELECT * FROM wide\n"
_RUN = """
import runpy, sys
from tests.benchmarks.peak_memory import peak_megabytes
try:
    sys.argv = ["syncer", "run", "wide", "--json"]
    runpy.run_module("syncer", run_name="__main__", alter_sys=True)
finally:
    print(peak_megabytes(), file=sys.stderr)
"""


def run(folder: Path, **settings: str) -> tuple[dict[str, Any], int, str]:
    """How the run ended, the megabytes that its process needed at most, and what it said."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{folder}/data",
        "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{folder}/store.db",
        **settings,
    }
    command = [sys.executable, "-c", _RUN]
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False
    )
    return json.loads(ended.stdout), int(ended.stderr.split()[-1]), ended.stderr


def make_wide(folder: Path, rows: int) -> None:
    for name in ("data", "sync_definitions"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "sync_definitions/wide.sql").write_text(_DEFINITION)
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT id, {_WIDE} FROM range({rows}) t (id)) TO '{folder}/data/wide.parquet'")


def test_wide_rows_take_little_memory(tmp_path: Path) -> None:
    make_wide(tmp_path, 1_000)

    ended, megabytes, _ = run(tmp_path)

    assert (ended["status"], ended["accepted"]) == ("success", 1_000)
    assert megabytes < 800


def test_many_rows_take_little_memory(tmp_path: Path) -> None:
    make_wide(tmp_path, 1)
    many = "SELECT id, 'name of ' || id AS name, {} AS plan FROM range(400000) t (id)"
    for plan in ("'free'", "'pro'"):
        (tmp_path / "sync_definitions/wide.sql").write_text(
            _DEFINITION.replace("SELECT * FROM wide", many.format(plan))
        )

        # 40 MB are for the rows.
        ended, megabytes, _ = run(tmp_path, SYNCER_MEMORY_LIMIT="280MB")

        assert (ended["status"], ended["accepted"]) == ("success", 400_000)
        assert megabytes < 450


def test_a_run_that_needs_more_memory_than_it_may_have_names_the_setting(tmp_path: Path) -> None:
    make_wide(tmp_path, 1_000)

    ended, megabytes, said = run(tmp_path, SYNCER_MEMORY_LIMIT="128MB")

    assert (ended["status"], ended["accepted"]) == ("failed", 0)
    assert "memory" in ended["error"]
    assert "Raise SYNCER_MEMORY_LIMIT" in said
    assert megabytes < 300


def test_what_duckdb_says_of_memory_and_of_a_full_disk_are_two_things(tmp_path: Path) -> None:
    says = {
        "could not allocate block of size 256.0 KiB (114.4 MiB/114.4 MiB used)": "SYNCER_MEMORY_LIMIT",
        "failed to offload data block of size 256.0 KiB … by increasing max_temp_directory_size": "Free some space",
    }

    for text, hint in says.items():
        assert hint in file.failed(tmp_path / "wide.duckdb", "wide", duckdb.OutOfMemoryException(text)).hint
