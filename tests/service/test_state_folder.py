from __future__ import annotations

from pathlib import Path

import pytest

from syncer.model.errors import ServiceRunningError
from syncer.service import state_folder
from syncer.settings import settings


def test_the_second_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "service.lock"
    with state_folder.held(path) as lock:
        with pytest.raises(ServiceRunningError, match="it is just starting"), state_folder.held(path):
            pass
        lock.introduce("process 12 on a-longer-name")
        lock.introduce("process 12 on host")
        with pytest.raises(ServiceRunningError) as told, state_folder.held(path):
            pass

    assert str(told.value) == f"another service uses {tmp_path}: process 12 on host"


def test_a_file_that_somebody_left_behind_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "service.lock"
    path.write_text("process 1 on host\n")

    with state_folder.held(path) as lock:
        lock.introduce("process 2")
        assert path.read_text() == "process 2\n"


@pytest.mark.parametrize(
    ("url", "locked"),
    [
        ("", [".syncer/service.lock"]),
        ("sqlite:///.syncer/other.db", [".syncer/service.lock"]),
        ("sqlite:///shared/runs.db", [".syncer/service.lock", "shared/runs.db.service.lock"]),
        ("postgresql://host/db", [".syncer/service.lock"]),
    ],
)
def test_a_run_log_in_a_file_elsewhere_is_locked_too(tmp_path: Path, url: str, locked: list[str]) -> None:
    found = settings.load(tmp_path, {"SYNCER_DATABASE_URL": url} if url else {})

    assert state_folder.paths(found) == [tmp_path / path for path in locked]
