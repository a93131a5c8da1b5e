"""How large the code is, and how much of it one changed row needs, with the limits: `python -m tests.benchmarks.shape`.

Counted are the files that Git knows. An entry is a file or folder at the top of a package, other than `__init__.py`
and `__main__.py`. Executed is a file with a function whose body runs, other than during an import, when `syncer run`
syncs three people of a DuckDB file, of whom one has changed, to SQLite.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[2]
MOST_ENTRIES = {"syncer": 18, "connectors": 14}
#: Of the house in order; what features have added since is allowed beside it, and raised with each.
MOST_LINES = 23_678
LINES_OF_FEATURES = 35_900
MOST_FILES = 40
#: What looks for the project upwards, whether a state folder of another user can be used, whether another process
#: cancelled the run; what makes a store with its first row, whom its identity knows, and which limits a run may exceed;
#: what shares memory, keeps connections, and has rows on their way to a store; whom a store refuses; lists;
#: devices; which rows are rejected, and from when on events count; what names a person or a visitor, which text can be
#: sent, and which events nobody claimed; by what else people are known, and what runs leave in a store; how results
#: are read ahead; how runs end; temporary folders; which snapshots machines share, which stores refuse who was
#: overtaken, and who makes runs.
FILES_OF_FEATURES = 38

DEFINITION = """/* sync
entity: person
person: {id: id}
*/
SELECT id, email, plan FROM people
"""
PEOPLE = "CREATE TABLE people AS SELECT i AS id, i || '@example.com' AS email, 'free' AS plan FROM range(3) AS t (i)"
CHANGE = "UPDATE people SET plan = 'paid' WHERE id = 1"


def main() -> int:
    """Print the figures; returns how many are over their limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", action="store_true", help="also print the files that one changed row executes")
    wanted = parser.parse_args()
    executed = executed_files()
    modules = [path for path in tracked() if path.suffix == ".py"]
    figures = [(f"entries at the top of {name}/", len(entries(name)), most) for name, most in MOST_ENTRIES.items()]
    figures += [
        (
            f"lines of Python in both ({LINES_OF_FEATURES:,} for later features)",
            sum(len((ROOT / path).read_bytes().splitlines()) for path in modules),
            MOST_LINES + LINES_OF_FEATURES,
        ),
        (f"files of {len(modules)} that one changed row executes", len(executed), MOST_FILES + FILES_OF_FEATURES),
    ]
    for figure, found, most in figures:
        print(f"{figure:<60}{found:>8,}   at most {most:,}{'' if found <= most else ', too many'}")
    if wanted.files:
        print("", *executed, sep="\n")
    return sum(found > most for _, found, most in figures)


def tracked() -> list[Path]:
    """The files of both packages, from the root of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *MOST_ENTRIES]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for path in map(Path, listed.splitlines()) if (ROOT / path).exists()]


def entries(package: str) -> set[str]:
    """The files and folders at the top of *package*."""
    return {path.parts[1] for path in tracked() if path.parts[0] == package and not path.parts[1].startswith("__")}


def executed_files() -> list[Path]:
    """The files of which one changed row executes a function, from the root of the repository."""
    with tempfile.TemporaryDirectory(prefix="syncer-shape-") as folder:
        project = Path(folder)
        (project / "sync_definitions").mkdir()
        (project / "sync_definitions" / "people.sql").write_text(DEFINITION)
        for statement in (PEOPLE, CHANGE):
            with duckdb.connect(project / "warehouse.duckdb") as connection:
                connection.execute(statement)
            _run(project)
        return [Path(path).relative_to(ROOT) for path in (project / "executed").read_text().splitlines()]


def _run(project: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "SYNCER_WAREHOUSES__DEFAULT__URL": f"duckdb:///{project}/warehouse.duckdb",
        "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{project}/people.db",
    }
    command = [sys.executable, "-m", "tests.benchmarks.executed_files", "executed", "run", "people"]
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
