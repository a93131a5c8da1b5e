"""Where snapshots can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncer.model.errors import SnapshotError
from tests.workbench import Workbench, table


@pytest.mark.parametrize("name", ["my data", "a[1]", "st*r", "100%", "a#b", "it's", "a;b", "ä"])
def test_a_snapshot_can_be_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    bench = Workbench(tmp_path / name)

    bench.run(table({"id": ["1"], "a": ["x"]}))

    assert bench.run(table({"id": ["1"], "a": ["x"]})).counts.unchanged == 1


def test_a_folder_in_which_duckdb_cannot_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "what?x").mkdir()

    with pytest.raises(SnapshotError, match="holds a `\\?`") as caught:
        Workbench(tmp_path / "what?x").run(table({"id": ["1"]}))

    assert "SYNCER_STATE_DIR" in caught.value.hint
    assert not list((tmp_path / "what?x").iterdir())
