"""Writes the examples of this repository again: `python -m syncer.starter`, in its top folder."""

from __future__ import annotations

from pathlib import Path

from syncer.starter import example_files

for path, content in example_files().items():
    target = Path("sync_definitions") / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
