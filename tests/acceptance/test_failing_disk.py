"""What becomes of a run where the disk fails to make something durable: `fsync` says so once, and never again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.commands import Project
from tests.acceptance.contents import held

PERSON = "entity: person\nperson: {id: id}\non_removed: delete\nlimits: {removed: 100%}"

#: Fails the call of the number FSYNC_FAILS_AT, counted from 1, and writes each number to FSYNC_COUNT. The kernel then
#: takes what was not written for clean: a second call says nothing. https://wiki.postgresql.org/wiki/Fsync_Errors
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int calls;

static int synced(const char *name, int fd) {
    int number = __sync_add_and_fetch(&calls, 1);
    FILE *count = fopen(getenv("FSYNC_COUNT"), "w");
    fprintf(count, "%d", number);
    fclose(count);
    if (number == atoi(getenv("FSYNC_FAILS_AT"))) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int)) dlsym(RTLD_NEXT, name))(fd);
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that stands before the system's `fsync`."""
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    return folder / "shim.so"


def run(project: Project, shim: Path, *, fails_at: int) -> tuple[int, int]:
    """The exit code of a run, and how often it asked for something durable."""
    count = project.path / "count"
    count.write_text("0")
    given = {"LD_PRELOAD": str(shim), "FSYNC_FAILS_AT": str(fails_at), "FSYNC_COUNT": str(count)}
    command = [sys.executable, "-m", "syncer", "run", "people"]
    ran = subprocess.run(
        command, cwd=project.path, env=os.environ | project.environment | given, capture_output=True, check=False
    )
    assert b"Traceback" not in ran.stderr
    return ran.returncode, int(count.read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="a library is put before the system's")
def test_what_was_not_made_durable_counts_as_unknown(tmp_path: Path, shim: Path) -> None:
    url = f"sqlite:///{tmp_path}/profiles.db"
    project = Project(path=tmp_path, environment={"SYNCER_STORES__DEFAULT__URL": url})
    project.define("people", PERSON, "SELECT id, plan FROM people")

    def people(plan: str) -> dict[str, dict[str, str]]:
        project.table("people", "id,plan", *(f"{key},{plan}" for key in "123"))
        return {key: {"plan": plan} for key in "123"}

    people("first-")
    code, calls = run(project, shim, fails_at=0)
    assert (code, held(url).people) == (0, people("first-"))
    assert calls > 10
    codes = []
    # From the first call of a run to its last ones.
    for number, fails_at in enumerate(range(1, calls, max(1, calls // 3))):
        expected = people(f"plan {number}-")
        codes.append(run(project, shim, fails_at=fails_at)[0])
        if codes[-1] == 0:
            assert held(url).people == expected
        code, _ = run(project, shim, fails_at=0)
        assert (code, held(url).people) == (0, expected)
    assert set(codes) >= {1}
