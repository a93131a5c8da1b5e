"""Another user of the system, as whom a command runs; the command's process imports this module."""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who has no entry in the system's list of users."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def become(self) -> None:
        """Let this process run as this user, in a working folder of Syncer; only root may."""
        _load_modules()
        os.setgroups(self.groups)
        os.setgid(self.gid)
        os.setuid(self.uid)


def _load_modules() -> None:
    """Load all that runs need, by runs as root that leave nothing: another user may not be able to read Python."""
    given, words, printed = dict(os.environ), sys.argv, [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"SYNCER_STATE_DIR": folder, "SYNCER_STORES__DEFAULT__URL": f"sqlite:///{folder}/profiles.db"}
        sys.argv = ["syncer", "run", "--all"]
        with suppress(SystemExit):
            runpy.run_module("syncer", run_name="__main__", alter_sys=True)
    sys.stdout.flush()
    for number, descriptor in zip((1, 2), printed, strict=True):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(given)
    sys.argv = words
    os.umask(0o022)
