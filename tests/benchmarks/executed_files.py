"""Runs `syncer` with the arguments given, and says in a file which of our files it executed: their paths, by line.

A file is executed when the body of one of its functions runs, in any thread, and not only while a module is imported.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import connectors
import syncer
from syncer.cli import main

_FOLDERS = tuple(f"{Path(str(package.__file__)).parent}/" for package in (syncer, connectors))
_executed: set[CodeType] = set()


def _note(frame: FrameType, event: str, _: Any) -> None:
    code = frame.f_code
    if event == "call" and code not in _executed and code.co_filename.startswith(_FOLDERS) and not _imports(frame):
        _executed.add(code)


def _imports(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(_FOLDERS):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    written = Path(sys.argv.pop(1)).resolve()
    threading.setprofile(_note)
    sys.setprofile(_note)
    try:
        main()
    finally:
        sys.setprofile(None)
        written.write_text("".join(f"{path}\n" for path in sorted({code.co_filename for code in _executed})))
