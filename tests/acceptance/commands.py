"""The real `syncer` in a working folder."""

from __future__ import annotations

import os
import resource
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli import forked
from tests.cli.forked import Command, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A working folder with sync definitions."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)
    #: The size in bytes beyond which a command can write no file.
    file_limit: int = resource.RLIM_INFINITY
    #: Every command so far: its words, and the files of what it printed.
    commands: list[tuple[tuple[str, ...], Path, Path]] = field(default_factory=list)

    def define(self, name: str, header: str, sql: str) -> Path:
        """Write a definition; the header's first line is line 2 of the file."""
        return self.write(f"sync_definitions/{name}.sql", f"/* sync\n{header.strip()}\n*/\n{sql.strip()}\n")

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def table(self, name: str, *lines: str) -> None:
        """Write a CSV file that is a table of the default warehouse; the first line is its columns."""
        self.write(f"sync_definitions/sample_data/{name}.csv", "".join(f"{line}\n" for line in lines))

    def syncer(self, *words: str) -> Result:
        """Run a command to its end."""
        return self.started(*words).result()

    def started(self, *words: str) -> Command:
        """Start a command."""
        printed = self.path / "printed"
        printed.mkdir(exist_ok=True)
        out, err = (printed / f"{len(self.commands)}.{stream}" for stream in ("out", "err"))
        self.commands.append((words, out, err))
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | self.environment
        return forked.start(
            words, folder=self.path, environment=environment, out=out, err=err, file_limit=self.file_limit
        )

    def told(self) -> str:
        """All that commands printed, but for those that show rows, and all that the run log says of runs."""
        texts = [path.read_text() for words, *paths in self.commands if words[0] not in _SHOW_ROWS for path in paths]
        log = self.path / ".syncer" / "runs.db"
        if log.exists():
            with closing(sqlite3.connect(log)) as connection:
                texts += map(str, connection.execute("SELECT * FROM syncer_runs"))
                texts += map(str, connection.execute("SELECT reason FROM syncer_rejections"))
        return "\n".join(texts)


#: Commands whose output is rows or their keys.
_SHOW_ROWS = ("plan", "rejected", "show")
